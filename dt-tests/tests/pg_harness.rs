//! The harness with PostgreSQL: servers live and die as told, the judge sees what is wrong.

use std::net::TcpStream;

use anyhow::{Context, Result};
use dt_tests::db::Db;
use dt_tests::judge::{Judge, Verdict};
use dt_tests::sample;
use dt_tests::servers::{self, Kind, Options, PASSWORD, Server, USER};

const BOTH: [Kind; 2] = [Kind::Postgres15, Kind::Postgres18];

#[test]
fn a_pair_is_two_servers_of_the_version_that_was_asked_for() -> Result<()> {
    for (kind, version) in [(Kind::Postgres15, 15), (Kind::Postgres18, 18)] {
        let pair = servers::pair(kind)?;
        let identity = |server: &Server| -> Result<_> {
            let db = server.db()?;
            assert_eq!(db.number("SELECT current_setting('server_version_num')::int / 10000")?, version);
            assert_eq!(db.value("SHOW wal_level")?.as_deref(), Some("logical"));
            db.value("SELECT system_identifier FROM pg_control_system()")
        };
        assert_ne!(identity(&pair.source)?, identity(&pair.target)?, "two servers must not share an identity");
    }
    Ok(())
}

#[test]
fn the_task_user_logs_in_by_scram_with_a_password_full_of_special_characters() -> Result<()> {
    for kind in BOTH {
        let server = &servers::pair(kind)?.source;
        let connect = |password| Db::connect_postgres(server.port(), "postgres", USER, password);
        assert_eq!(connect(Some(PASSWORD))?.value("SHOW is_superuser")?.as_deref(), Some("on"));
        assert!(connect(Some("wrong")).is_err());
        assert!(connect(None).is_err());
        let stored =
            server.db()?.value(format!("SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = '{USER}'"))?;
        assert_eq!(stored.as_deref(), Some("SCRAM-SHA-256"));
    }
    Ok(())
}

#[test]
fn a_server_keeps_its_rows_and_its_port_through_a_restart_and_a_kill() -> Result<()> {
    for kind in BOTH {
        let server = Server::start(kind, &Options { durable: true, ..Options::default() })?;
        let port = server.port();
        let bystander = server.db()?;
        bystander.exec("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)")?;
        server.restart()?;
        assert!(bystander.exec("SELECT 1").is_err(), "a connection outlived its server");
        server.db()?.exec("INSERT INTO t VALUES (2)")?;
        server.kill9()?;
        assert!(server.db().is_err(), "a killed server still answers");
        server.up()?;
        assert_eq!((server.port(), server.db()?.number("SELECT count(*) FROM t")?), (port, 2));
    }
    Ok(())
}

#[test]
fn a_dropped_server_leaves_neither_process_nor_folder() -> Result<()> {
    for kind in BOTH {
        let server = Server::start(kind, &Options::default())?;
        let (folder, port) = (server.folder().to_owned(), server.port());
        let pid = std::fs::read_to_string(folder.join("data/postmaster.pid"))?;
        let pid = pid.lines().next().context("postmaster.pid is empty")?.to_owned();
        let checkpointer =
            server.db()?.value("SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")?;
        drop(server);
        assert!(!folder.exists());
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        for pid in [pid, checkpointer.context("no checkpointer")?] {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            assert!(!status.contains("postgres") || status.contains("State:\tZ"), "{pid} is alive:\n{status}");
        }
    }
    Ok(())
}

#[test]
fn settings_and_lines_of_pg_hba_can_be_added() -> Result<()> {
    for kind in BOTH {
        let extra = vec!["--wal_level=replica".to_owned(), "--max_connections=20".to_owned()];
        let hba =
            vec!["host all nobody 127.0.0.1/32 reject".to_owned(), "host all plain 127.0.0.1/32 trust".to_owned()];
        let server = Server::start(kind, &Options { extra, hba, ..Options::default() })?;
        let db = server.db()?;
        assert_eq!(db.value("SHOW wal_level")?.as_deref(), Some("replica"));
        db.exec("CREATE ROLE nobody LOGIN PASSWORD 'x'; CREATE ROLE plain LOGIN")?;
        assert!(Db::connect_postgres(server.port(), "postgres", "nobody", Some("x")).is_err());
        Db::connect_postgres(server.port(), "postgres", "plain", None)?;
    }
    Ok(())
}

#[test]
fn a_standby_follows_until_it_is_promoted_to_the_next_timeline() -> Result<()> {
    for kind in BOTH {
        let primary = Server::start(kind, &Options::default())?;
        primary.db()?.exec("CREATE TABLE t AS SELECT 1 AS id")?;
        let standby = primary.standby(&Options::default())?;
        let db = standby.db()?;
        assert_eq!(db.value("SELECT pg_is_in_recovery()")?.as_deref(), Some("t"));
        let identity = "SELECT system_identifier FROM pg_control_system()";
        assert_eq!(db.value(identity)?, primary.db()?.value(identity)?);
        let timeline = "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int";
        let before = primary.db()?.number(timeline)?;
        standby.promote()?;
        db.exec("INSERT INTO t VALUES (2)")?;
        assert_eq!(db.number("SELECT count(*) FROM t")?, 2);
        assert_eq!(db.number(timeline)?, before + 1);
    }
    Ok(())
}

#[test]
fn the_judge_finds_a_copy_of_the_sample_equal_also_across_versions() -> Result<()> {
    let (old, old_copy) = servers::pair(Kind::Postgres15)?.database("judge_sample")?;
    let (new, _) = servers::pair(Kind::Postgres18)?.database("judge_sample")?;
    for db in [&old, &old_copy, &new] {
        sample::postgres::create_and_fill(db, 2000)?;
    }
    for copy in [&old_copy, &new] {
        for (table, verdict) in Judge::new(&old, copy).database("public")? {
            let shown = Judge::new(&old, copy).differences("public", &table, 3)?;
            assert!(verdict.is_equal() && verdict.rows > 0 && shown.is_empty(), "{table}: {verdict} {shown:?}");
        }
    }
    Ok(())
}

/// What the judge says after the target alone was changed.
fn verdict_after(database: &str, create: &str, fill: &str, change: &str) -> Result<(Verdict, Vec<String>)> {
    let (source, target) = servers::pair(Kind::Postgres15)?.database(database)?;
    for db in [&source, &target] {
        db.exec_all([create, fill])?;
    }
    let judge = Judge::new(&source, &target);
    assert!(judge.table("public", "t")?.is_equal());
    target.exec(change)?;
    Ok((judge.table("public", "t")?, judge.differences("public", "t", 10)?))
}

#[test]
fn the_judge_sees_one_changed_byte_of_any_type() -> Result<()> {
    let changes = [
        ("int", "1", "2"),
        ("text", "''", "NULL"),
        ("text", "'N'", "NULL"),
        ("text", "'é'", "'e'"),
        ("text", "'a '", "'a'"),
        ("char(5)", "'a'", "'b'"),
        ("bytea", r"'\x0001'", r"'\x0000'"),
        ("float4", "0.1", "0.10000001"),
        ("float8", "'-0'", "'0'"),
        ("numeric", "1.10", "1.1"),
        ("numeric", "'NaN'", "'Infinity'"),
        ("json", r#"'{"a": 1}'"#, r#"'{"a":1}'"#),
        ("jsonb", r#"'{"a": 1}'"#, r#"'{"a": 1.0}'"#),
        ("timestamptz", "'2024-01-01 00:00:00.000001+00'", "'2024-01-01 00:00:00.000002+00'"),
        ("interval", "'1 mon'", "'30 days'"),
        ("point", "'(0.1,0)'", "'(0.1,1e-17)'"),
        ("int[]", "'{1,2}'", "'[0:1]={1,2}'"),
        ("text[]", "'{NULL}'", r#"'{"NULL"}'"#),
        ("pair", "ROW(NULL, NULL)", "NULL"),
        ("pair", "ROW('', NULL)", "ROW(NULL, NULL)"),
        ("bit varying", "B'01'", "B'010'"),
        ("xml", "'<a/>'", "'<a></a>'"),
    ];
    let (source, target) = servers::pair(Kind::Postgres15)?.database("judge_byte")?;
    for db in [&source, &target] {
        db.exec("CREATE TYPE pair AS (a text, b text)")?;
    }
    for (data_type, was, is) in changes {
        let create = format!("DROP TABLE IF EXISTS t; CREATE TABLE t (id int, v {data_type})");
        for db in [&source, &target] {
            db.exec(&create)?;
            db.exec(format!("INSERT INTO t VALUES (1, {was}), (2, NULL)"))?;
        }
        let judge = Judge::new(&source, &target);
        assert!(judge.table("public", "t")?.is_equal(), "{data_type} {was}");
        target.exec(format!("UPDATE t SET v = {is} WHERE id = 1"))?;
        let verdict = judge.table("public", "t")?;
        let expected = Verdict { rows: 2, target_rows: 2, missing: 1, repeated: 0, foreign: 1 };
        assert_eq!(verdict, expected, "{data_type}: {was} became {is}");
        assert_eq!(judge.differences("public", "t", 10)?.len(), 2, "{data_type}: {was} became {is}");
    }
    Ok(())
}

#[test]
fn the_judge_tells_missing_repeated_and_foreign_rows_apart() -> Result<()> {
    let keyless = "CREATE TABLE t (a int, b varchar(10))";
    let rows = "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (2, NULL)";
    let after = |change| verdict_after("judge_rows", keyless, rows, change);
    let verdict =
        |target_rows, missing, repeated, foreign| Verdict { rows: 3, target_rows, missing, repeated, foreign };

    assert_eq!(after("DELETE FROM t WHERE a = 2")?, (verdict(2, 1, 0, 0), vec!["1 x became 0 x: (2,)".to_owned()]));
    let one_of_two = "DELETE FROM t WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 1)";
    assert_eq!(after(one_of_two)?, (verdict(2, 1, 0, 0), vec!["2 x became 1 x: (1,x)".to_owned()]));
    let (twice, lines) = after("INSERT INTO t VALUES (2, NULL), (1, 'x')")?;
    assert_eq!((twice, twice.nothing_lost(), lines.len()), (verdict(5, 0, 2, 0), true, 2));
    let (foreign, lines) = after("INSERT INTO t VALUES (3, 'y')")?;
    assert_eq!((foreign, lines), (verdict(4, 0, 0, 1), vec!["0 x became 1 x: (3,y)".to_owned()]));
    let (swapped, _) = after("UPDATE t SET a = 2, b = NULL WHERE ctid = (SELECT min(ctid) FROM t WHERE a = 1)")?;
    assert_eq!(swapped, verdict(3, 1, 1, 0));
    Ok(())
}

#[test]
fn the_judge_looks_at_a_table_alone_and_at_a_partitioned_one_as_a_whole() -> Result<()> {
    let (source, target) = servers::pair(Kind::Postgres18)?.database("judge_shapes")?;
    for db in [&source, &target] {
        db.exec(
            "CREATE TABLE parent (a int); CREATE TABLE child () INHERITS (parent); INSERT INTO child VALUES (1); \
             CREATE TABLE whole (a int) PARTITION BY LIST (a); CREATE TABLE leaf PARTITION OF whole FOR VALUES IN (1); \
             INSERT INTO whole VALUES (1)",
        )?;
    }
    target.exec("INSERT INTO child VALUES (2); INSERT INTO leaf VALUES (1)")?;
    let verdicts = Judge::new(&source, &target).database("public")?;
    let seen: Vec<(&str, u64, u64)> =
        verdicts.iter().map(|(table, verdict)| (table.as_str(), verdict.rows, verdict.target_rows)).collect();
    assert_eq!(seen, [("child", 1, 2), ("parent", 0, 0), ("whole", 1, 2)]);
    Ok(())
}

#[test]
fn the_judge_refuses_to_compare_with_a_table_that_is_not_there() -> Result<()> {
    let (source, target) = servers::pair(Kind::Postgres15)?.database("judge_absent")?;
    source.exec("CREATE TABLE t (id int PRIMARY KEY)")?;
    assert!(Judge::new(&source, &target).table("public", "t").is_err());
    assert!(Judge::new(&target, &source).table("public", "t").is_err());
    Ok(())
}
