//! What becomes of changed rows: every replica identity, values that did not change and are not sent, keys that change
//! places, TRUNCATE, transactions that are streamed before they are committed, partitions, and the target's own columns.

mod pg_streams;

use std::time::Duration;

use anyhow::{Result, ensure};
use dt_tests::deadline;
use dt_tests::servers::{self, Kind, Options, Pair};
use pg_streams::{BOTH, caught_up, drop_slot, equal, follow, followed, set_up, stop};

#[test]
fn every_replica_identity_identifies_rows() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let tables = [
            "CREATE TABLE by_key (id int PRIMARY KEY, v text)",
            "CREATE TABLE by_keys (a text, b numeric, v text, PRIMARY KEY (b, a))",
            "CREATE TABLE by_index (a int NOT NULL, b text NOT NULL, v text)",
            "CREATE UNIQUE INDEX chosen ON by_index (b, a)",
            "ALTER TABLE by_index REPLICA IDENTITY USING INDEX chosen",
            "CREATE TABLE by_all (a int, b text, c double precision, j json, p point)",
            "ALTER TABLE by_all REPLICA IDENTITY FULL",
            "CREATE TABLE by_all_with_key (id int PRIMARY KEY, v text)",
            "ALTER TABLE by_all_with_key REPLICA IDENTITY FULL",
            "CREATE TABLE nullable_key (k int UNIQUE, v text)",
            "ALTER TABLE nullable_key REPLICA IDENTITY FULL",
        ];
        let (source, target, task) = set_up(pair, "cdc_identities", &tables)?;
        let changes = [
            "INSERT INTO by_key VALUES (1, 'a'), (2, ''), (3, NULL), (4, E'\\t\\n\\\\N')",
            "UPDATE by_key SET v = 'b' WHERE id = 1; UPDATE by_key SET id = 10 WHERE id = 2; DELETE FROM by_key WHERE id = 3",
            "INSERT INTO by_keys VALUES ('x', 1.0, 'p'), ('y', 2.50, 'q'), ('z', 3, 'r')",
            "UPDATE by_keys SET b = 1.00 WHERE a = 'x'; UPDATE by_keys SET a = 'it''s' WHERE a = 'y'; DELETE FROM by_keys WHERE b = 3",
            "INSERT INTO by_index VALUES (1, 'a', 'p'), (2, 'b', 'q'), (3, 'c', NULL)",
            "UPDATE by_index SET a = 7 WHERE b = 'a'; UPDATE by_index SET v = 'z' WHERE b = 'b'; DELETE FROM by_index WHERE a = 3",
            "INSERT INTO by_all VALUES (1, 'x', 'NaN', '{\"a\": 1}', '(1,2)'), (1, 'x', 'NaN', '{\"a\": 1}', '(1,2)'), (NULL, NULL, -0.0, NULL, NULL), (2, 'y ', 1e300, '[]', '(0,0)')",
            "UPDATE by_all SET b = 'xx' WHERE ctid = (SELECT min(ctid) FROM by_all WHERE a = 1)",
            "UPDATE by_all SET c = 0.0 WHERE a IS NULL; DELETE FROM by_all WHERE a = 2",
            "INSERT INTO by_all_with_key VALUES (1, 'a'), (2, 'b'); UPDATE by_all_with_key SET id = 3 WHERE id = 1; DELETE FROM by_all_with_key WHERE id = 2",
            "INSERT INTO nullable_key VALUES (1, 'a'), (NULL, 'b'), (NULL, 'b'), (4, 'd')",
            "UPDATE nullable_key SET v = 'c' WHERE k = 1; UPDATE nullable_key SET k = NULL WHERE k = 4",
            "UPDATE nullable_key SET k = 9 WHERE ctid = (SELECT min(ctid) FROM nullable_key WHERE v = 'b')",
        ];
        followed(&task, &source, &target, &changes)?;
        drop_slot(pair, "cdc_identities")?;
    }
    Ok(())
}

#[test]
fn what_did_not_change_and_is_not_sent_stays() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let tables = [
            "CREATE TABLE t (id int PRIMARY KEY, a text, b text, n int)",
            "ALTER TABLE t ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL",
            "CREATE TABLE long_keys (k text PRIMARY KEY, n int)",
            "ALTER TABLE long_keys ALTER k SET STORAGE EXTERNAL",
            "CREATE TABLE whole (a text, n int)",
            "ALTER TABLE whole ALTER a SET STORAGE EXTERNAL",
            "ALTER TABLE whole REPLICA IDENTITY FULL",
        ];
        let (source, target, task) = set_up(pair, "cdc_toast", &tables)?;
        let fill = [
            "INSERT INTO t SELECT i, repeat('a' || i, 3000), CASE WHEN i % 3 > 0 THEN repeat('b' || i, 3000) END, i FROM generate_series(1, 200) i",
            "INSERT INTO long_keys SELECT repeat('k' || i, 500), i FROM generate_series(1, 20) i",
            "INSERT INTO whole SELECT repeat('w' || i, 3000), i FROM generate_series(1, 20) i",
        ];
        followed(&task, &source, &target, &fill)?;
        let changes = [
            "UPDATE t SET n = n + 1000 WHERE id <= 100",
            "UPDATE t SET a = 'short' WHERE id = 5",
            "UPDATE t SET b = NULL WHERE id = 7",
            "UPDATE t SET id = id + 1000 WHERE id BETWEEN 50 AND 60",
            "BEGIN; UPDATE t SET a = repeat('new', 3000) WHERE id = 70; UPDATE t SET n = 0 WHERE id = 70; UPDATE t SET id = 2000 WHERE id = 70; COMMIT",
            "BEGIN; DELETE FROM t WHERE id = 80; INSERT INTO t VALUES (80, repeat('again', 3000), 'x', 1); UPDATE t SET n = 2 WHERE id = 80; COMMIT",
            "BEGIN; UPDATE t SET n = 1 WHERE id = 90; DELETE FROM t WHERE id = 90; COMMIT",
            "UPDATE long_keys SET n = n + 1; DELETE FROM long_keys WHERE n = 5",
            "UPDATE whole SET n = n + 1; DELETE FROM whole WHERE n = 5",
        ];
        followed(&task, &source, &target, &changes)?;
        ensure!(target.number("SELECT count(*) FROM t WHERE a IS NULL")? == 0, "a value became null");
        drop_slot(pair, "cdc_toast")?;
    }
    Ok(())
}

#[test]
fn values_that_are_not_sent_go_along_with_their_rows_where_the_target_is_ahead() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let tables = [
            "CREATE TABLE t (id int, part text, long text, n int, PRIMARY KEY (part, id))",
            "ALTER TABLE t ALTER long SET STORAGE EXTERNAL",
        ];
        let (source, target, task) = set_up(pair, "cdc_ahead", &tables)?;
        let fill = ["INSERT INTO t SELECT i, 'it''s', repeat('x' || i, 3000), i FROM generate_series(1, 40) i"];
        followed(&task, &source, &target, &fill)?;
        // What is applied from here on is not recorded.
        let task = task.set("pipeline", "checkpoint_interval_secs", "3600");
        let mut running = follow(&task)?;
        source.exec_all([
            // Rows take each other's keys, others take the keys of the next, and one goes and comes back as another.
            "BEGIN; UPDATE t SET id = -1 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 2; UPDATE t SET id = 2 WHERE id = -1; COMMIT",
            "UPDATE t SET id = id + 100 WHERE id = 13",
            "UPDATE t SET id = 13 WHERE id = 12",
            "UPDATE t SET id = 12 WHERE id = 11",
            "UPDATE t SET id = 11 WHERE id = 10",
            "UPDATE t SET part = 'other' WHERE id = 20",
            "UPDATE t SET part = 'it''s', id = 21 + 100 WHERE id = 20; DELETE FROM t WHERE id = 121",
            "UPDATE t SET id = 20, n = 0 WHERE id = 30",
        ])?;
        caught_up(&mut running, &source, &target)?;
        equal(&source, &target)?;
        ensure!(running.kill9()?.code == 128 + 9, "it ended by itself");
        let mut running = follow(&task)?;
        caught_up(&mut running, &source, &target)?;
        stop(running)?;
        equal(&source, &target)?;
        drop_slot(pair, "cdc_ahead")?;
    }
    Ok(())
}

#[test]
fn a_row_is_asked_for_once_its_transaction_is_visible() -> Result<()> {
    let pair = Pair::start(Kind::Postgres15, &Options::default())?;
    let tables = ["CREATE TABLE t (id int PRIMARY KEY, long text)", "ALTER TABLE t ALTER long SET STORAGE EXTERNAL"];
    let (source, target, task) = set_up(&pair, "cdc_visible", &tables)?;
    followed(&task, &source, &target, &["INSERT INTO t VALUES (1, repeat('one', 1000)), (2, repeat('two', 1000))"])?;
    let mut running = follow(&task)?;
    // A replica that never answers: what is committed is in the log, and not visible.
    source.exec_all(["ALTER SYSTEM SET synchronous_standby_names = 'nobody'", "SELECT pg_reload_conf()"])?;
    let writing = pair.source.database("cdc_visible")?;
    deadline::until("a replica is waited for", Duration::from_secs(60), || {
        Ok((writing.value("SHOW synchronous_standby_names")?.as_deref() == Some("nobody")).then_some(()))
    })?;
    let change = "BEGIN; UPDATE t SET id = 3 WHERE id = 1; UPDATE t SET id = 1 WHERE id = 2; UPDATE t SET id = 2 WHERE id = 3; COMMIT";
    let writer = std::thread::spawn(move || writing.exec_all(["SET synchronous_commit = on", change]));
    let is_asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT ahead%' AND pid <> pg_backend_pid()";
    running.until("it is asked whether the transaction is visible", || Ok(source.number(is_asked)? > 0))?;
    ensure!(
        target.value("SELECT left(long, 3) FROM t WHERE id = 1")?.as_deref() == Some("one"),
        "it was not waited for"
    );
    source.exec_all(["ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()"])?;
    ensure!(writer.join().is_ok_and(|written| written.is_ok()), "the transaction failed");
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    equal(&source, &target)
}

#[test]
fn unique_values_may_change_places() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let tables = [
        "CREATE TABLE t (id int PRIMARY KEY, u int NOT NULL UNIQUE, long text)",
        "ALTER TABLE t ALTER long SET STORAGE EXTERNAL",
    ];
    let (source, target, task) = set_up(pair, "cdc_swaps", &tables)?;
    let fill = ["INSERT INTO t SELECT i, i, repeat('x' || i, 3000) FROM generate_series(1, 100) i"];
    followed(&task, &source, &target, &fill)?;
    let changes = [
        // Whole rows, and rows of which not all is sent, by way of a value that no row keeps.
        "BEGIN; UPDATE t SET u = -1, long = 'a' WHERE id = 1; UPDATE t SET u = 1, long = 'b' WHERE id = 2; UPDATE t SET u = 2 WHERE id = 1; COMMIT",
        "BEGIN; UPDATE t SET u = -1 WHERE id = 3; UPDATE t SET u = 3 WHERE id = 4; UPDATE t SET u = 4 WHERE id = 3; COMMIT",
        "BEGIN; DELETE FROM t WHERE id = 5; UPDATE t SET u = 5 WHERE id = 6; INSERT INTO t VALUES (5, 6, 'new'); COMMIT",
    ];
    followed(&task, &source, &target, &changes)?;
    drop_slot(pair, "cdc_swaps")
}

#[test]
fn truncate_empties_in_its_turn() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let tables = [
            "CREATE TABLE parents (id int PRIMARY KEY)",
            "CREATE TABLE children (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, parent int REFERENCES parents)",
            "CREATE TABLE others (id int PRIMARY KEY)",
        ];
        let (source, target, task) = set_up(pair, "cdc_truncate", &tables)?;
        let changes = [
            "INSERT INTO parents SELECT generate_series(1, 50); INSERT INTO children (parent) SELECT id FROM parents; INSERT INTO others VALUES (1)",
            "BEGIN; INSERT INTO parents VALUES (99); TRUNCATE parents CASCADE; INSERT INTO parents VALUES (1); INSERT INTO children (parent) VALUES (1); COMMIT",
            "TRUNCATE children RESTART IDENTITY; INSERT INTO children (parent) VALUES (1)",
        ];
        followed(&task, &source, &target, &changes)?;
        ensure!(target.number("SELECT max(id) FROM children")? == 1, "the identity did not begin anew");
        drop_slot(pair, "cdc_truncate")?;
    }
    Ok(())
}

#[test]
fn a_transaction_that_is_streamed_counts_when_it_is_committed() -> Result<()> {
    for kind in BOTH {
        let options =
            servers::Options { extra: vec!["--logical_decoding_work_mem=64kB".to_owned()], ..Default::default() };
        let pair = servers::Pair::start(kind, &options)?;
        let tables = ["CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE u (id int PRIMARY KEY)"];
        let (source, target, task) = set_up(&pair, "cdc_streamed", &tables)?;
        let mut running = follow(&task)?;
        let other = pair.source.database("cdc_streamed")?;
        source.exec_all([
            "BEGIN",
            "INSERT INTO t SELECT i, repeat('a', 100) FROM generate_series(1, 5000) i",
            "SAVEPOINT s",
            "INSERT INTO t SELECT i, repeat('b', 100) FROM generate_series(5001, 9000) i",
            "INSERT INTO u SELECT generate_series(1, 2000)",
            "ROLLBACK TO s",
            "UPDATE t SET v = 'u' WHERE id % 7 = 0",
            "INSERT INTO u SELECT generate_series(3001, 5000)",
        ])?;
        // Another transaction goes by meanwhile, and one that is rolled back in the end.
        caught_up(&mut running, &other, &target)?;
        ensure!(target.number("SELECT count(*) FROM t")? == 0, "rows of an open transaction arrived");
        other.exec_all(["BEGIN", "INSERT INTO t SELECT i, 'gone' FROM generate_series(20001, 30000) i", "ROLLBACK"])?;
        source.exec("COMMIT")?;
        caught_up(&mut running, &source, &target)?;
        stop(running)?;
        equal(&source, &target)?;
        // The server counts a little later.
        deadline::until("the server says that it has streamed", Duration::from_secs(60), || {
            let told = "SELECT stream_txns FROM pg_stat_replication_slots WHERE slot_name = 'cdc_streamed'";
            Ok((source.number(told)? > 0).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn partitions_arrive_under_their_root() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let on_both = ["CREATE TABLE p (id int, r int, v text, PRIMARY KEY (id, r)) PARTITION BY RANGE (r)"];
        let (source, target, task) = set_up(pair, "cdc_partitions", &on_both)?;
        source.exec_all([
            "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
            "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
        ])?;
        target.exec("CREATE TABLE all_of_it PARTITION OF p DEFAULT")?;
        let mut running = follow(&task)?;
        source.exec_all([
            "INSERT INTO p VALUES (1, 5, 'a'), (2, 15, 'b'), (3, 5, 'c')",
            "UPDATE p SET r = 16 WHERE id = 1; UPDATE p SET v = 'z' WHERE id = 2; DELETE FROM p WHERE id = 3",
        ])?;
        caught_up(&mut running, &source, &target)?;
        let rows = "SELECT string_agg(p::text, ' ' ORDER BY id) FROM p";
        ensure!(target.value(rows)?.as_deref() == Some("(1,16,a) (2,15,z)"), "{:?}", target.value(rows)?);
        source.exec("TRUNCATE p")?;
        caught_up(&mut running, &source, &target)?;
        stop(running)?;
        ensure!(target.number("SELECT count(*) FROM p")? == 0, "rows are left");
        drop_slot(pair, "cdc_partitions")?;
    }
    Ok(())
}

#[test]
fn the_targets_own_columns_keep_their_values() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) =
        set_up(pair, "cdc_own", &["CREATE TABLE t (id int PRIMARY KEY, v text, secret text)"])?;
    target.exec("ALTER TABLE t ADD COLUMN note text DEFAULT 'noted'")?;
    let task = task.set("filter", "ignore_cols", r#"json:[{"db":"public","tb":"t","ignore_cols":["secret"]}]"#);
    let mut running = follow(&task)?;
    source.exec("INSERT INTO t SELECT i, 'v', 's' FROM generate_series(1, 100) i")?;
    caught_up(&mut running, &source, &target)?;
    target.exec("UPDATE t SET note = 'kept', secret = 'own'")?;
    source.exec("UPDATE t SET v = 'w', secret = 'other'; UPDATE t SET v = 'x' WHERE id = 1")?;
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    let kept = target.number("SELECT count(*) FROM t WHERE note = 'kept' AND secret = 'own' AND v IN ('w', 'x')")?;
    ensure!(kept == 100, "{kept} rows have kept their values");
    drop_slot(pair, "cdc_own")
}

#[test]
fn with_foreign_keys_checked_changes_come_in_the_sources_order() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let tables = [
        "CREATE TABLE parents (id int PRIMARY KEY, v text)",
        "CREATE TABLE children (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents ON DELETE CASCADE ON UPDATE CASCADE)",
        "CREATE TABLE laters (id int PRIMARY KEY, parent int NOT NULL REFERENCES parents DEFERRABLE INITIALLY DEFERRED)",
    ];
    let (source, target, task) = set_up(pair, "cdc_checked", &tables)?;
    let task = task.set("sinker", "disable_foreign_key_checks", "false");
    let changes = [
        "INSERT INTO parents VALUES (1, 'a'), (2, 'b'), (3, 'c'); INSERT INTO children VALUES (10, 1), (20, 2), (30, 3)",
        "UPDATE parents SET v = 'z' WHERE id = 1; UPDATE parents SET id = 7 WHERE id = 2; DELETE FROM parents WHERE id = 3",
        "BEGIN; INSERT INTO laters VALUES (1, 99); INSERT INTO parents VALUES (99, 'late'); COMMIT",
        "BEGIN; DELETE FROM children; INSERT INTO children VALUES (10, 7), (11, 7); UPDATE children SET parent = 1 WHERE id = 11; COMMIT",
    ];
    followed(&task, &source, &target, &changes)?;
    ensure!(target.number("SELECT count(*) FROM children")? == 2, "a row that was written again took others with it");
    drop_slot(pair, "cdc_checked")
}

#[test]
fn only_the_kinds_of_changes_that_are_asked_for_arrive() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) =
        set_up(pair, "cdc_events", &["CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE logs (line text)"])?;
    let task = task.set("filter", "do_events", "insert");
    let mut running = follow(&task)?;
    source.exec_all([
        "INSERT INTO t VALUES (1), (2); INSERT INTO logs VALUES ('a'), ('a')",
        // A table without an identity may be changed, for its updates are not published.
        "UPDATE t SET id = 3 WHERE id = 1; DELETE FROM t WHERE id = 2; UPDATE logs SET line = 'b'; TRUNCATE logs",
    ])?;
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    let rows = target.value("SELECT string_agg(id::text, ' ' ORDER BY id) FROM t")?;
    ensure!(rows.as_deref() == Some("1 2") && target.number("SELECT count(*) FROM logs")? == 2, "{rows:?}");
    drop_slot(pair, "cdc_events")
}

#[test]
fn an_altered_table_goes_on_with_the_columns_of_each_moment() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "cdc_altered", &["CREATE TABLE t (id int PRIMARY KEY, a text, b text)"])?;
    let mut running = follow(&task)?;
    source.exec("INSERT INTO t VALUES (1, 'a', 'b')")?;
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    // While the task is away: rows with the old columns, then with the new ones.
    source.exec_all([
        "INSERT INTO t VALUES (2, 'a', 'b')",
        "ALTER TABLE t DROP COLUMN a, ADD COLUMN c int DEFAULT 7",
        "INSERT INTO t VALUES (3, 'b', 8)",
    ])?;
    target.exec("ALTER TABLE t ADD COLUMN c int")?;
    let mut running = follow(&task)?;
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    let rows = target.value("SELECT string_agg(t::text, ' ' ORDER BY id) FROM t")?;
    ensure!(rows.as_deref() == Some("(1,a,b,) (2,a,b,) (3,,b,8)"), "{rows:?}");
    drop_slot(pair, "cdc_altered")
}
