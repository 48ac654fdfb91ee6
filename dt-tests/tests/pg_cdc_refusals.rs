//! What a stream of PostgreSQL refuses before its first change, each with its way out; and that a stored position is
//! never left behind in silence.

mod pg_streams;

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::servers::{self, Kind, Options, Pair};
use dt_tests::task::Task;
use pg_streams::{caught_up, checkpoint, drop_slot, equal, follow, followed, lsn, set_up, stop, stream};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

/// Fails unless the task ends with this code, and says this.
fn refused(task: &Task, code: i32, said: &[&str]) -> Result<()> {
    let finished = task.run()?.expect_code(code)?;
    let text = finished.said();
    for what in said.iter().chain(&["what to do: "]) {
        ensure!(text.contains(what), "`{what}` is not said:\n{text}");
    }
    Ok(())
}

#[test]
fn a_log_that_is_not_logical_is_refused() -> Result<()> {
    let options = Options { extra: vec!["--wal_level=replica".to_owned()], ..Options::default() };
    let pair = Pair::start(Kind::Postgres15, &options)?;
    let (_, _, task) = set_up(&pair, "no_logical", &[T])?;
    refused(&task, 3, &["wal_level is replica", "ALTER SYSTEM SET wal_level = logical"])
}

/// A role that may log in, and no more.
fn role(pair: &Pair, name: &str, attributes: &str) -> Result<()> {
    let db = pair.source.db()?;
    // It may be left from another test of this run.
    let _ = db.exec(format!("DROP ROLE IF EXISTS {name}"));
    db.exec(format!("CREATE ROLE {name} LOGIN PASSWORD 'x' {attributes}"))
}

fn as_role(task: Task, name: &str) -> Task {
    task.set("extractor", "username", name).set("extractor", "password", "x")
}

#[test]
fn an_account_that_may_not_replicate_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (_, _, task) = set_up(pair, "no_replication", &[T])?;
    role(pair, "plain_reader", "")?;
    refused(&as_role(task, "plain_reader"), 3, &["ALTER ROLE \"plain_reader\" REPLICATION"])
}

#[test]
fn an_account_that_may_not_publish_is_told_what_an_owner_can_execute() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "no_owner", &[T])?;
    role(pair, "replicator", "REPLICATION")?;
    source.exec("GRANT SELECT ON ALL TABLES IN SCHEMA public TO replicator")?;
    let task = as_role(task, "replicator");
    let way_out = "execute: CREATE PUBLICATION \"no_owner_publication_for_all_tables\" FOR TABLE \"public\".\"marks\", \"public\".\"t\"";
    refused(&task, 3, &["it may not create in the database", way_out])?;
    source.exec("GRANT CREATE ON DATABASE no_owner TO replicator")?;
    refused(&task, 3, &["it does not own `public`.`marks`, `public`.`t`", way_out])?;
    source.exec("CREATE PUBLICATION no_owner_publication_for_all_tables FOR TABLE t, marks")?;
    followed(&task, &source, &target, &["INSERT INTO t VALUES (1, 'a')"])?;
    drop_slot(pair, "no_owner")
}

#[test]
fn a_publication_that_holds_something_back_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "holds_back", &[T])?;
    let task = task.set("extractor", "pub_name", "P 1");
    for (made, said) in [
        ("FOR TABLE t", "lacks tables that pass the filter: `public`.`marks`"),
        ("FOR TABLE t, marks WITH (publish = 'insert')", "missing: update, delete, truncate"),
        ("FOR TABLE t (id), marks", "`public`.`t` (v)"),
        ("FOR TABLE t WHERE (id > 7), marks", "holds back rows of tables: `public`.`t`"),
    ] {
        source.exec_all([
            "DROP PUBLICATION IF EXISTS \"P 1\"".to_owned(),
            format!("CREATE PUBLICATION \"P 1\" {made}"),
        ])?;
        refused(&task, 3, &[said]).context(made)?;
    }
    source.exec_all(["DROP PUBLICATION \"P 1\"", "CREATE PUBLICATION \"P 1\" FOR TABLES IN SCHEMA public"])?;
    followed(&task, &source, &target, &["INSERT INTO t VALUES (1, 'a')"])?;
    drop_slot(pair, "holds_back")
}

#[test]
fn tables_without_an_identity_are_refused_and_the_source_stays_as_it_is() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let tables = [
        T,
        "CREATE TABLE logs (line text)",
        "CREATE TABLE nothing (id int PRIMARY KEY)",
        "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
    ];
    let (source, _, task) = set_up(pair, "no_identity", &tables)?;
    refused(&task, 3, &["`public`.`logs`", "`public`.`nothing`", "REPLICA IDENTITY FULL"])?;
    ensure!(source.number("SELECT count(*) FROM pg_publication")? == 0, "a publication was made");
    // A table that is not followed is not published either, where that would take its updates away from its users.
    let task = task.set("filter", "ignore_tbs", "public.logs,public.nothing");
    stop(follow(&task)?)?;
    source.exec("INSERT INTO logs VALUES ('a'); UPDATE logs SET line = 'b'")?;
    drop_slot(pair, "no_identity")
}

#[test]
fn a_slot_that_someone_else_reads_or_that_is_of_another_kind_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, _, task) = set_up(pair, "other_slot", &[T])?;
    let first = follow(&task)?;
    refused(&stream(pair, "other_slot")?, 3, &["in use by another process", "active_pid: "])?;
    stop(first)?;
    drop_slot(pair, "other_slot")?;
    source.exec("SELECT pg_create_logical_replication_slot('other_slot', 'test_decoding')")?;
    refused(&stream(pair, "other_slot")?, 3, &["of another plugin", "plugin: test_decoding"])?;
    source.exec("SELECT pg_drop_replication_slot('other_slot'), pg_create_physical_replication_slot('other_slot')")?;
    refused(&stream(pair, "other_slot")?, 3, &["is a physical one"])?;
    source.exec("SELECT pg_drop_replication_slot('other_slot')")
}

/// A task that has followed and recorded something.
fn begun(pair: &Pair, database: &str) -> Result<(Db, Db, Task)> {
    let (source, target, task) = set_up(pair, database, &[T])?;
    followed(&task, &source, &target, &["INSERT INTO t VALUES (1, 'a')"])?;
    ensure!(checkpoint(&task)?.is_some(), "nothing is recorded");
    Ok((source, target, task))
}

#[test]
fn a_slot_that_is_gone_or_ahead_is_never_jumped_over() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, _, task) = begun(pair, "gap")?;
    // Read by someone else; a slot gives only what is on disk.
    source.exec("SET synchronous_commit = on")?;
    source.exec("INSERT INTO t VALUES (2, 'b')")?;
    source.exec("SELECT count(*) FROM pg_logical_slot_get_binary_changes('gap', NULL, NULL, 'proto_version', '1', 'publication_names', 'gap_publication_for_all_tables')")?;
    refused(&task, 3, &["ahead of the stored position", "bytes between: "])?;
    drop_slot(pair, "gap")?;
    refused(&task, 3, &["the replication slot is gone"])?;
    // Made anew, it does not hold what was committed before.
    source.exec("SELECT pg_create_logical_replication_slot('gap', 'pgoutput')")?;
    refused(&task, 3, &["ahead of the stored position"])?;
    refused(&task.set("extractor", "recreate_slot_if_exists", "true"), 3, &["ahead of the stored position"])?;
    drop_slot(pair, "gap")
}

#[test]
fn a_slot_that_the_source_has_given_up_is_refused() -> Result<()> {
    let options = Options {
        // As small as two segments of 16 MB allow.
        extra: ["--max_slot_wal_keep_size=1MB", "--min_wal_size=32MB", "--max_wal_size=32MB", "--wal_keep_size=0"]
            .map(str::to_owned)
            .to_vec(),
        ..Options::default()
    };
    for kind in pg_streams::BOTH {
        let pair = Pair::start(kind, &options)?;
        let (source, _, task) = begun(&pair, "lost")?;
        for _ in 0..6 {
            source.exec_all([
                "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1000, 6000) i",
                "DELETE FROM t WHERE id >= 1000",
                "SELECT pg_switch_wal()",
                "CHECKPOINT",
            ])?;
        }
        refused(&task, 3, &["has given up the replication slot", "max_slot_wal_keep_size"])?;
    }
    Ok(())
}

#[test]
fn a_position_of_another_server_or_database_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (_, _, task) = begun(pair, "this_one")?;
    let other = servers::pair(Kind::Postgres18)?;
    let (_, _, elsewhere) = set_up(other, "this_one", &[T])?;
    drop(elsewhere);
    let moved = task.postgres_address("extractor", other.source.port(), "this_one");
    refused(&moved, 3, &["another server's log"])?;
    drop_slot(pair, "this_one")
}

#[test]
fn a_promoted_standby_is_another_timeline() -> Result<()> {
    let pair = Pair::start(Kind::Postgres15, &Options { durable: true, ..Options::default() })?;
    let (source, _, task) = begun(&pair, "promoted")?;
    let standby = pair.source.standby(&Options { durable: true, ..Options::default() })?;
    let end = source.value("SELECT pg_current_wal_lsn()")?.context("no end")?;
    dt_tests::deadline::until("the standby has it all", std::time::Duration::from_secs(60), || {
        let there = standby.db()?.value(format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"))?;
        Ok((there.as_deref() == Some("t")).then_some(()))
    })?;
    drop(source);
    pair.source.kill9()?;
    standby.promote()?;
    let task = task.postgres_address("extractor", standby.port(), "promoted");
    refused(&task, 3, &["another timeline"])?;
    // Even if the user says that the log is the same: the slot did not come along.
    let task = task.set("resumer", "allow_other_server", "true");
    refused(&task, 3, &["the replication slot is gone"])
}

#[test]
fn a_table_that_the_target_lacks_stops_the_stream() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "lacks", &[T])?;
    let running = follow(&task)?;
    source.exec("ALTER TABLE t ADD COLUMN extra int; INSERT INTO t VALUES (1, 'a', 7)")?;
    let finished = running.wait()?.expect_code(3)?;
    ensure!(finished.said().contains("column `extra`, is missing"), "{}", finished.said());
    // It goes on where it stopped once the column is there.
    target.exec("ALTER TABLE t ADD COLUMN extra int")?;
    let mut running = follow(&task)?;
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    equal(&source, &target)?;
    drop_slot(pair, "lacks")
}

#[test]
fn a_start_lsn_begins_where_it_says_if_the_slot_holds_it() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "start_lsn", &[T])?;
    source.exec_all([
        // The end of the log is then behind each row.
        "SET synchronous_commit = on",
        "CREATE PUBLICATION start_lsn_publication_for_all_tables FOR ALL TABLES",
        "SELECT pg_create_logical_replication_slot('start_lsn', 'pgoutput')",
        "INSERT INTO t VALUES (1, 'before')",
    ])?;
    let here = source.value("SELECT pg_current_wal_lsn()")?.context("no LSN")?;
    source.exec("INSERT INTO t VALUES (2, 'after')")?;
    let far = task.set("extractor", "start_lsn", "FFFFFF/0");
    refused(&far, 3, &["behind the end of the source's log"])?;
    let near = far.set("extractor", "start_lsn", "0/1");
    refused(&near, 3, &["does not hold any more"])?;
    let task = near.set("extractor", "start_lsn", &here);
    let mut running = follow(&task)?;
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    let rows = target.value("SELECT string_agg(v, ' ') FROM t")?;
    ensure!(rows.as_deref() == Some("after"), "{rows:?}");
    ensure!(!lsn(&checkpoint(&task)?.context("no checkpoint")?)?.is_empty(), "no LSN");
    drop_slot(pair, "start_lsn")
}
