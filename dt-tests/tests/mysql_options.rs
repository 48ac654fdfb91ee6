//! The settings of a snapshot, each by what it changes: which tables, columns and rows are copied, under which names,
//! how they are read and written, and what `--check` says of it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dt_tests::db::{Db, literal, quoted};
use dt_tests::judge::Judge;
use dt_tests::sample::numbers;
use dt_tests::servers::{self, Kind, Options, PASSWORD, Pair, Server, USER};
use dt_tests::task::Task;

const BOTH: [Kind; 2] = [Kind::Mysql, Kind::Mariadb];

fn rows(db: &Db, table: &str) -> Result<u64> {
    db.number(format!("SELECT COUNT(*) FROM {table}"))
}

/// A query's rows: values separated by spaces, null as `-`, rows by commas.
fn all(db: &Db, sql: &str) -> Result<String> {
    let rows = db.rows(sql)?;
    let text = |row: Vec<Option<String>>| row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned())).collect();
    Ok(rows.into_iter().map(|row| -> Vec<String> { text(row) }).map(|row| row.join(" ")).collect::<Vec<_>>().join(","))
}

/// Ten rows `id` 1 to 10 and `v` = `v1` … on the source, none on the target.
fn ten(pair: &Pair, database: &str) -> Result<(Db, Db)> {
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(40))")?;
    }
    source.exec(format!("INSERT INTO t SELECT i + 1, CONCAT('v', i + 1) FROM {}", numbers(10)))?;
    Ok((source, target))
}

#[test]
fn the_filter_lists_decide_which_tables_are_copied() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let databases = ["pick_one", "pick_two", "pick_*", "Pick_one"];
    let tables = ["t1", "t2", "t.3", "T1"];
    let mut target = None;
    for database in databases {
        let (on_source, on_target) = pair.database(database)?;
        for (db, table) in [&on_source, &on_target].into_iter().flat_map(|db| tables.map(|table| (db, quoted(table)))) {
            db.exec(format!("CREATE TABLE {table} (id int PRIMARY KEY)"))?;
        }
        for table in tables.map(quoted) {
            on_source.exec(format!("INSERT INTO {table} VALUES (1)"))?;
        }
        target = Some(on_target);
    }
    let target = target.context("no database")?;
    let cases: [(&[(&str, &str)], &str); 14] = [
        (&[("do_dbs", "pick_one")], "pick_one: t1 t2 t.3 T1"),
        (&[("do_dbs", "pick_one, pick_two")], "pick_one: t1 t2 t.3 T1; pick_two: t1 t2 t.3 T1"),
        (&[("do_dbs", "pick_t*")], "pick_two: t1 t2 t.3 T1"),
        (&[("do_dbs", "pick_?w?")], "pick_two: t1 t2 t.3 T1"),
        // In quotes a wildcard is a name like any other.
        (&[("do_dbs", "`pick_*`")], "pick_*: t1 t2 t.3 T1"),
        (&[("do_dbs", "r#[Pp]ick_o.e#")], "Pick_one: t1 t2 t.3 T1; pick_one: t1 t2 t.3 T1"),
        // An expression stands for the whole name.
        (&[("do_dbs", "r#ick_o#,pick_two"), ("ignore_tbs", "pick_two.t?")], "pick_two: t.3 T1"),
        (&[("do_tbs", "pick_one.t1,pick_two.`t.3`")], "pick_one: t1; pick_two: t.3"),
        (&[("do_tbs", "pick_*.t1"), ("ignore_dbs", "`pick_*`")], "pick_one: t1; pick_two: t1"),
        (&[("do_tbs", "r#pick_(one|two)#.r#t[12]#")], "pick_one: t1 t2; pick_two: t1 t2"),
        (&[("do_tbs", "pick_one.*"), ("ignore_tbs", "*.T1,pick_one.`t.3`")], "pick_one: t1 t2"),
        (&[("do_dbs", "*ick_*"), ("ignore_dbs", "pick_two,`pick_*`,Pick*")], "pick_one: t1 t2 t.3 T1"),
        (&[("do_dbs", "pick_one"), ("do_tbs", "pick_two.t2")], "pick_one: t1 t2 t.3 T1; pick_two: t2"),
        // Ignore beats do.
        (&[("do_tbs", "pick_one.t1,pick_one.t2"), ("ignore_tbs", "pick_one.t1")], "pick_one: t2"),
    ];
    for (filter, expected) in cases {
        let mut task = Task::snapshot(&pair.source, &pair.target)?;
        for (key, value) in filter {
            task = task.set("filter", key, *value);
        }
        let done = task.run()?.expect_code(0)?;
        let mut copied = Vec::new();
        for database in ["Pick_one", "pick_*", "pick_one", "pick_two"] {
            let mut of_database = Vec::new();
            for table in tables {
                let name = format!("{}.{}", quoted(database), quoted(table));
                if rows(&target, &name)? > 0 {
                    of_database.push(table);
                }
                target.exec(format!("TRUNCATE TABLE {name}"))?;
            }
            if !of_database.is_empty() {
                copied.push(format!("{database}: {}", of_database.join(" ")));
            }
        }
        assert_eq!(copied.join("; "), expected, "{filter:?}: {}", done.said());
    }
    Ok(())
}

#[test]
fn without_a_do_list_nothing_passes_and_the_task_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = ten(pair, "no_do_list")?;
    let refused = Task::snapshot(&pair.source, &pair.target)?.run()?.expect_code(2)?;
    ensure!(refused.stderr.contains("do_dbs") && refused.stderr.contains("do_tbs"), "{}", refused.said());
    assert_eq!(rows(&target, "t")?, 0);
    Ok(())
}

#[test]
fn ignored_columns_are_left_to_the_targets_defaults() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("ignored_columns")?;
        source.exec_all([
            "CREATE TABLE t (id int PRIMARY KEY, secret varchar(9), v varchar(9))",
            "INSERT INTO t VALUES (1, 's1', 'a'), (2, 's2', 'b')",
            // Without its key the table is one that has none.
            "CREATE TABLE keyless (id int PRIMARY KEY, v varchar(9))",
            "INSERT INTO keyless VALUES (1, 'a'), (2, 'b')",
        ])?;
        target.exec_all([
            "CREATE TABLE t (id int PRIMARY KEY, v varchar(9), secret varchar(9) DEFAULT 'none')",
            "CREATE TABLE keyless (v varchar(9))",
        ])?;
        let task = Task::of_pair(pair, &["ignored_columns"])?.set(
            "filter",
            "ignore_cols",
            r#"json:[{"db":"ignored_columns","tb":"t","ignore_cols":["secret"]},{"db":"ignored_columns","tb":"keyless","ignore_cols":["id"]}]"#,
        );
        task.run()?.expect_code(0)?;
        assert_eq!(all(&target, "SELECT id, v, secret FROM t ORDER BY id")?, "1 a none,2 b none", "{kind}");
        assert_eq!(all(&target, "SELECT v FROM keyless ORDER BY v")?, "a,b", "{kind}");
    }
    Ok(())
}

#[test]
fn a_condition_holds_on_every_page_whatever_it_says() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        for (condition, expected) in [
            ("id > 8 or id < 3", "1,2,9,10"),
            ("v in ('v1', 'v\\\"', 'v10') -- a comment", "1,10"),
            ("id = 5 # or", "5"),
            ("id < 0", ""),
        ] {
            let (_, target) = ten(pair, "condition")?;
            // Pages of two: without parentheses the `or` would lose the order, or never end.
            let task = Task::of_pair(pair, &["condition"])?.set("extractor", "batch_size", "2").set(
                "filter",
                "where_conditions",
                format!(r#"json:[{{"db":"condition","tb":"t","condition":"{condition}"}}]"#),
            );
            let done = task.run()?.expect_code(0)?;
            assert_eq!(all(&target, "SELECT id FROM t ORDER BY id")?, expected, "{kind}, {condition}: {}", done.said());
        }
    }
    Ok(())
}

#[test]
fn rows_go_to_the_names_that_the_router_gives_them() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, _) = pair.database("route_from")?;
        let (_, target) = pair.database("route_to")?;
        let (_, elsewhere) = pair.database("route.else:where")?;
        source.exec_all([
            "CREATE TABLE t (id int PRIMARY KEY, v varchar(9))",
            "INSERT INTO t VALUES (1, 'a')",
            "CREATE TABLE u (id int PRIMARY KEY, v varchar(9))",
            "INSERT INTO u VALUES (2, 'b')",
            "CREATE TABLE kept (id int PRIMARY KEY)",
            "INSERT INTO kept VALUES (3)",
        ])?;
        target.exec_all([
            "CREATE TABLE t (id int PRIMARY KEY, v varchar(9))",
            "CREATE TABLE kept (id int PRIMARY KEY)",
        ])?;
        elsewhere.exec("CREATE TABLE `u,2` (key_id int PRIMARY KEY, v varchar(9))")?;
        let task = Task::of_pair(pair, &["route_from"])?
            .set("router", "db_map", "route_from:route_to")
            .set("router", "tb_map", "route_from.u:`route.else:where`.`u,2`")
            .set("router", "col_map", r#"json:[{"db":"route_from","tb":"u","col_map":{"id":"key_id"}}]"#);
        let done = task.run()?.expect_code(0)?;
        assert_eq!(all(&target, "SELECT * FROM t")?, "1 a", "{kind}: {}", done.said());
        assert_eq!(all(&target, "SELECT * FROM kept")?, "3", "{kind}");
        assert_eq!(all(&elsewhere, "SELECT key_id, v FROM `u,2`")?, "2 b", "{kind}: tb_map beats db_map");
        // Positions are by the source's names, so that a changed route does not lose them.
        assert!(task.progress()?.is_finished("route_from", "u"));
    }
    Ok(())
}

#[test]
fn tables_may_be_merged_into_one_and_a_warning_says_so() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("merged")?;
    for (shard, id) in [("shard_1", 1), ("shard_2", 2)] {
        source.exec(format!("CREATE TABLE {shard} (id int PRIMARY KEY)"))?;
        source.exec(format!("INSERT INTO {shard} VALUES ({id})"))?;
    }
    target.exec("CREATE TABLE whole (id int PRIMARY KEY)")?;
    let task = Task::of_pair(pair, &["merged"])?.set(
        "router",
        "tb_map",
        "merged.shard_1:merged.whole,merged.shard_2:merged.whole",
    );
    let done = task.run()?.expect_code(0)?;
    assert_eq!(all(&target, "SELECT id FROM whole ORDER BY id")?, "1,2");
    let warned =
        done.log.lines().any(|line| line.contains("- WARN -") && line.contains("`merged`.`whole` takes the rows of"));
    ensure!(warned, "{}", done.said());
    Ok(())
}

#[test]
fn a_dummy_sink_reads_everything_and_needs_no_target() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (_, target) = ten(pair, "dummy_sink")?;
        let task = Task::of_pair(pair, &["dummy_sink"])?
            .set("sinker", "sink_type", "dummy")
            .unset("sinker", "url")
            .unset("sinker", "username")
            .unset("sinker", "password");
        let done = task.run()?.expect_code(0)?;
        assert_eq!(done.summary("rows"), Some(10), "{}", done.said());
        assert_eq!(rows(&target, "t")?, 0);
    }
    Ok(())
}

#[test]
fn rows_of_many_small_tables_stay_in_their_tables_whatever_the_sizes() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let sizes = [("1", "1", "1", "1"), ("4", "7", "3", "4"), ("4", "16000", "200", "1"), ("1", "16000", "200", "4")];
    for (parallel, page, statement, sinkers) in sizes {
        let (source, target) = pair.database("small_tables")?;
        for table in (0..12).map(|number| format!("t{number}")) {
            for db in [&source, &target] {
                db.exec(format!("CREATE TABLE {table} (id int PRIMARY KEY, owner varchar(9))"))?;
            }
            source.exec(format!("INSERT INTO {table} SELECT i, '{table}' FROM {}", numbers(50)))?;
        }
        let task = Task::of_pair(pair, &["small_tables"])?
            .set("extractor", "parallel_size", parallel)
            .set("extractor", "batch_size", page)
            .set("sinker", "batch_size", statement)
            .set("parallelizer", "parallel_size", sinkers);
        let done = task.run()?.expect_code(0)?;
        assert_eq!((done.summary("tables"), done.summary("rows")), (Some(12), Some(600)), "{}", done.said());
        for table in (0..12).map(|number| format!("t{number}")) {
            let own = target.number(format!("SELECT COUNT(*) FROM {table} WHERE owner = '{table}'"))?;
            assert_eq!((own, rows(&target, &table)?), (50, 50), "{table}, parallel_size {parallel}");
        }
    }
    Ok(())
}

#[test]
fn where_rows_go_as_statements_batch_size_is_the_rows_of_one() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, _) = pair.database("statements")?;
    let server = Server::start(Kind::Mysql, &Options { local_infile: false, ..Options::default() })?;
    let target = server.db()?;
    target.exec_all(["CREATE DATABASE statements", "USE statements"])?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY, v text)")?;
    }
    source.exec(format!("INSERT INTO t SELECT i, CONCAT('it''s \\\\ \\t ', i) FROM {}", numbers(1000)))?;
    let statements = || -> Result<u64> {
        let counts = target.rows("SHOW GLOBAL STATUS WHERE Variable_name IN ('Com_insert', 'Com_replace')")?;
        counts.iter().map(|row| row[1].as_deref().unwrap_or("0").parse::<u64>().context("no number")).sum()
    };
    for (batch_size, expected) in [("100", 10), ("1", 1000), ("5000", 1)] {
        target.exec("TRUNCATE TABLE t")?;
        let before = statements()?;
        let task = Task::snapshot(&pair.source, &server)?.databases(&["statements"]);
        task.set("sinker", "batch_size", batch_size).run()?.expect_code(0)?;
        assert_eq!(statements()? - before, expected, "batch_size {batch_size}");
        ensure!(Judge::new(&source, &target).table("statements", "t")?.is_equal());
    }
    Ok(())
}

/// The most connections that `user` had at once while the task ran.
fn connections_at_once(db: &Db, user: &str, task: &Task) -> Result<u64> {
    let mut running = task.spawn()?;
    let mut most = 0;
    running.until("the task has ended", || {
        let listed = db.rows("SHOW PROCESSLIST")?;
        most = most.max(listed.iter().filter(|row| row[1].as_deref() == Some(user)).count() as u64);
        Ok(task.log("default.log")?.contains("snapshot done:"))
    })?;
    running.wait()?.expect_code(0)?;
    Ok(most)
}

#[test]
fn no_more_connections_are_open_than_max_connections() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("connections")?;
    for table in ["a", "b", "c", "d"] {
        for db in [&source, &target] {
            db.exec(format!("CREATE TABLE {table} (id int PRIMARY KEY, wide varchar(1000))"))?;
        }
        source.exec(format!("INSERT INTO {table} SELECT i, REPEAT('x', 1000) FROM {}", numbers(1000)))?;
    }
    for (section, db) in [("extractor", &source), ("sinker", &target)] {
        let user = format!("counted_{section}");
        db.exec_all([
            format!("CREATE USER {user} IDENTIFIED BY {}", literal(PASSWORD)),
            format!("GRANT ALL ON *.* TO {user}"),
        ])?;
        for (max_connections, expected) in [("1", 1..=1), ("3", 2..=3)] {
            let task = Task::of_pair(pair, &["connections"])?
                .set("extractor", "parallel_size", "4")
                .set("extractor", "batch_size", "20")
                .set("extractor", "max_rps", "3000")
                .set("pipeline", "buffer_memory_mb", "1")
                .set(section, "username", &user)
                .set(section, "max_connections", max_connections);
            let most = connections_at_once(db, &user, &task)?;
            ensure!(expected.contains(&most), "[{section}] max_connections={max_connections}: {most} at once");
        }
    }
    Ok(())
}

#[test]
fn rate_limits_hold_the_task_back() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("rates")?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY, wide varchar(1000))")?;
    }
    source.exec(format!("INSERT INTO t SELECT i, REPEAT('x', 1000) FROM {}", numbers(3000)))?;
    // Three megabytes, or 3000 rows, at one a second; a tenth of a second's worth comes at once.
    for (section, key, limit) in [
        ("extractor", "max_rps", "1000"),
        ("extractor", "max_mbps", "1"),
        ("sinker", "max_rps", "1000"),
        ("sinker", "max_mbps", "1"),
    ] {
        target.exec("TRUNCATE TABLE t")?;
        let task = Task::of_pair(pair, &["rates"])?.set("extractor", "batch_size", "100").set(section, key, limit);
        let began = Instant::now();
        let mut running = task.spawn()?;
        running.until(&format!("a position is recorded, [{section}] {key}"), || {
            Ok(task.progress()?.of("rates", "t").is_some())
        })?;
        let there = rows(&target, "t")?;
        let most = 1100 * (began.elapsed().as_millis() as u64) / 1000 + 400;
        ensure!(there <= most, "[{section}] {key}: {there} rows after {:?}", began.elapsed());
        running.wait()?.expect_code(0)?;
        ensure!(began.elapsed() > Duration::from_millis(2300), "[{section}] {key}: done after {:?}", began.elapsed());
        assert_eq!(rows(&target, "t")?, 3000);
    }
    Ok(())
}

#[test]
fn foreign_keys_are_checked_only_if_they_are_not_disabled() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("foreign_keys")?;
        for db in [&source, &target] {
            db.exec_all([
                "CREATE TABLE z_parent (id int PRIMARY KEY)",
                "CREATE TABLE a_child (id int PRIMARY KEY, parent int, FOREIGN KEY (parent) REFERENCES z_parent (id))",
            ])?;
        }
        source.exec_all(["INSERT INTO z_parent VALUES (4711)", "INSERT INTO a_child VALUES (1, 4711)"])?;
        // The child comes first: by name.
        let checked = Task::of_pair(pair, &["foreign_keys"])?.set("sinker", "disable_foreign_key_checks", "false");
        let refused = checked.run()?;
        ensure!(refused.code != 0, "a child without its parent was written: {}", refused.said());
        ensure!(refused.stderr.contains("foreign key constraint fails"), "{}", refused.said());
        ensure!(!refused.stderr.contains("4711"), "a row's value is shown: {}", refused.said());
        assert_eq!(rows(&target, "a_child")?, 0, "{kind}");
        Task::of_pair(pair, &["foreign_keys"])?.run()?.expect_code(0)?;
        assert_eq!(all(&target, "SELECT parent FROM a_child")?, "4711", "{kind}");
        // And where the parent is there, with the checks on.
        target.exec("DELETE FROM a_child")?;
        let checked = checked.set("filter", "ignore_tbs", "foreign_keys.z_parent");
        checked.run()?.expect_code(0)?;
        assert_eq!(all(&target, "SELECT parent FROM a_child")?, "4711", "{kind}");
    }
    Ok(())
}

#[test]
fn rows_are_written_in_the_isolation_level_that_was_asked_for() -> Result<()> {
    for (kind, variable) in [(Kind::Mysql, "@@transaction_isolation"), (Kind::Mariadb, "@@tx_isolation")] {
        let pair = servers::pair(kind)?;
        for (level, expected) in [
            ("default", "REPEATABLE-READ"),
            ("read_uncommitted", "READ-UNCOMMITTED"),
            ("read_committed", "READ-COMMITTED"),
            ("repeatable_read", "REPEATABLE-READ"),
            ("serializable", "SERIALIZABLE"),
        ] {
            let (_, target) = ten(pair, "isolation")?;
            target.exec(format!("CREATE TRIGGER asks BEFORE INSERT ON t FOR EACH ROW SET NEW.v = {variable}"))?;
            let task = Task::of_pair(pair, &["isolation"])?.set("sinker", "transaction_isolation", level);
            task.run()?.expect_code(0)?;
            assert_eq!(all(&target, "SELECT DISTINCT v FROM t")?, expected, "{kind}, {level}");
        }
    }
    Ok(())
}

#[test]
fn the_old_name_of_parallel_size_works_with_a_note() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = ten(pair, "old_name")?;
    let done = Task::of_pair(pair, &["old_name"])?.set("runtime", "tb_parallel_size", "2").run()?.expect_code(0)?;
    ensure!(
        done.log.contains("`tb_parallel_size` is the old name of `parallel_size` of [extractor]"),
        "{}",
        done.said()
    );
    assert_eq!(rows(&target, "t")?, 10);
    Ok(())
}

#[test]
fn positions_are_recorded_whatever_the_log_level() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = ten(pair, "log_level")?;
    let task = Task::of_pair(pair, &["log_level"])?.set("runtime", "log_level", "off");
    let done = task.run()?.expect_code(0)?;
    assert_eq!(done.log, "");
    assert_eq!(rows(&target, "t")?, 10);
    assert!(task.progress()?.is_finished("log_level", "t"));
    Ok(())
}

/// Every file of the log_dir with its contents; none if there is no log_dir.
fn files(task: &Task) -> Result<Vec<(String, Vec<u8>)>> {
    if !task.log_dir().exists() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(task.log_dir())? {
        let path = entry?.path();
        files.push((path.display().to_string(), fs::read(&path)?));
    }
    files.sort();
    Ok(files)
}

#[test]
fn a_check_says_what_would_happen_and_changes_nothing() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = ten(pair, "checked")?;
        for (db, table) in [&source, &target].into_iter().flat_map(|db| ["begun", "done"].map(|table| (db, table))) {
            db.exec(format!("CREATE TABLE {table} (id int PRIMARY KEY)"))?;
        }
        let task = Task::of_pair(pair, &["checked"])?;
        let checked = task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
        for said in [
            "`checked`.`t`: from the beginning",
            "3 tables to copy, 0 finished before",
            "nothing was changed",
            &format!("127.0.0.1:{}", pair.source.port()),
            &format!("127.0.0.1:{}", pair.target.port()),
        ] {
            ensure!(checked.stdout.contains(said), "{said}: {}", checked.said());
        }
        ensure!(!task.log_dir().exists(), "a check makes a log_dir");

        fs::create_dir(task.log_dir())?;
        fs::write(
            task.log_dir().join("position.log"),
            "2024-10-10 04:04:08.152044 | current_position | {\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"checked\",\"tb\":\"begun\",\"order_col\":\"id\",\"value\":\"4711\"}\n2024-10-10 04:04:08.152044 | curr",
        )?;
        fs::write(
            task.log_dir().join("finished.log"),
            "2024-10-10 04:04:08.152044 | {\"type\":\"RdbSnapshotFinished\",\"db_type\":\"mysql\",\"schema\":\"checked\",\"tb\":\"done\"}\n",
        )?;
        let before = files(&task)?;
        let resumed = task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
        for said in [
            "`checked`.`begun`: after the row last recorded, by its key (id)",
            "`checked`.`done`: finished, skipped",
            "2 tables to copy, 1 finished before",
        ] {
            ensure!(resumed.stdout.contains(said), "{said}: {}", resumed.said());
        }
        assert_eq!(files(&task)?, before, "a check changes the log_dir");
        let task = task.set("resumer", "resume_type", "dummy");
        let over = task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
        ensure!(
            over.stdout.contains("set them aside") && over.stdout.contains("resume_type=from_log"),
            "{}",
            over.said()
        );
        assert_eq!(files(&task)?, before, "a check sets positions aside");
        assert_eq!(rows(&target, "t")?, 0);

        target.exec("DROP TABLE t")?;
        let refused = task.spawn_with(&["--check"])?.wait()?.expect_code(3)?;
        ensure!(refused.stderr.contains("`checked`.`t` is missing"), "{}", refused.said());
    }
    Ok(())
}

/// Everything but letters and digits as `%XX`.
fn percent_encoded(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    });
    encoded.collect()
}

#[test]
fn credentials_of_special_characters_work_as_keys_and_percent_encoded_in_the_url() -> Result<()> {
    const ODD_USER: &str = "a b:c@d/e%20é#;=";
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = ten(pair, "credentials")?;
        let user = literal(ODD_USER);
        for db in [&source, &target] {
            db.exec_all([
                format!("DROP USER IF EXISTS {user}"),
                format!("CREATE USER {user} IDENTIFIED BY {}", literal(PASSWORD)),
                format!("GRANT ALL ON *.* TO {user}"),
            ])?;
        }
        let ends = [("extractor", pair.source.port()), ("sinker", pair.target.port())];
        for user in [USER, ODD_USER] {
            let mut keys = Task::of_pair(pair, &["credentials"])?;
            let mut in_url = Task::of_pair(pair, &["credentials"])?;
            let mut keys_win = Task::of_pair(pair, &["credentials"])?;
            for (section, port) in ends {
                let credentials = format!("{}:{}", percent_encoded(user), percent_encoded(PASSWORD));
                keys = keys.set(section, "username", user);
                in_url = in_url.unset(section, "username").unset(section, "password").set(
                    section,
                    "url",
                    format!("mysql://{credentials}@127.0.0.1:{port}/ignored?ssl-mode=disabled"),
                );
                keys_win = keys_win.set(section, "username", user).set(
                    section,
                    "url",
                    format!("mysql://nobody:wrong@127.0.0.1:{port}"),
                );
            }
            for (way, task) in [("as keys", keys), ("in the url", in_url), ("keys win", keys_win)] {
                target.exec("TRUNCATE TABLE t")?;
                let done = task.run()?.expect_code(0).with_context(|| format!("{kind}, {way}, {user}"))?;
                assert_eq!(rows(&target, "t")?, 10);
                for text in [&done.stdout, &done.stderr, &done.log] {
                    ensure!(!text.contains(PASSWORD) && !text.contains(&percent_encoded(PASSWORD)), "{way}: {text}");
                }
            }
        }
    }
    Ok(())
}
