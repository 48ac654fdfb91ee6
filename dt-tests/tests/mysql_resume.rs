//! Where a snapshot goes on: from its own files, from files of ape-dts and from files that a person wrote, and which of
//! them counts. Each test gives the target no rows before the stored position, so that what is there afterwards is
//! what this run has read.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use dt_tests::db::{Db, quoted};
use dt_tests::sample::numbers;
use dt_tests::servers::{self, Kind};
use dt_tests::task::{Finished, Task};

const BOTH: [Kind; 2] = [Kind::Mysql, Kind::Mariadb];

/// A table of `rows` rows, `id` from 1, on both servers; on the target without rows.
fn ids(source: &Db, target: &Db, table: &str, rows: u64) -> Result<()> {
    for db in [source, target] {
        db.exec(format!("CREATE TABLE {} (id int PRIMARY KEY, v varchar(40))", quoted(table)))?;
    }
    source.exec(format!("INSERT INTO {} SELECT i + 1, CONCAT('v', i) FROM {}", quoted(table), numbers(rows)))
}

/// The values of a column, in order, separated by spaces; null as `-`.
fn values(db: &Db, table: &str, column: &str) -> Result<String> {
    let rows = db.rows(format!("SELECT {} FROM {table} ORDER BY 1", quoted(column)))?;
    let values = rows.into_iter().map(|row| row[0].clone().unwrap_or_else(|| "-".to_owned()));
    Ok(values.collect::<Vec<_>>().join(" "))
}

/// Writes a file into the folder that dt-main runs in.
fn write(task: &Task, name: &str, text: &str) -> Result<PathBuf> {
    let path = folder(task).join(name);
    fs::create_dir_all(path.parent().context("a file without a folder")?)?;
    fs::write(&path, text)?;
    Ok(path)
}

fn folder(task: &Task) -> PathBuf {
    task.log_dir().parent().expect("a log_dir without a parent").to_owned()
}

/// What default.log says of the resume, in order: `INFO resumer, …`.
fn resumer_lines(log: &str) -> Vec<String> {
    log.lines().filter_map(message).filter(|line| line.contains("resumer, ")).collect()
}

/// `2024-10-18 06:51:10.161794 - INFO - [1180981] - text` as `INFO text`; `None` if the line has another form.
fn message(line: &str) -> Option<String> {
    let mut parts = line.splitn(4, " - ");
    let (time, level, process, text) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_process =
        process.starts_with('[') && process.ends_with(']') && process[1..process.len() - 1].parse::<u64>().is_ok();
    (is_time(time) && is_process).then(|| format!("{level} {text}"))
}

/// `2024-10-18 06:51:10.161794`
fn is_time(text: &str) -> bool {
    text.len() == 26
        && text.bytes().zip(*b"dddd-dd-dd dd:dd:dd.dddddd").all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            mark => byte == mark,
        })
}

fn warnings(finished: &Finished) -> Vec<String> {
    finished.log.lines().filter_map(message).filter_map(|line| line.strip_prefix("WARN ").map(str::to_owned)).collect()
}

#[test]
fn the_example_of_the_documents_resumes_as_they_say_it_does() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("test_db_1")?;
        for db in [&source, &target] {
            db.exec_all([
                "CREATE TABLE one_pk_no_uk (f_0 tinyint PRIMARY KEY, f_1 varchar(9))",
                "CREATE TABLE one_pk_multi_uk (f_0 tinyint PRIMARY KEY, f_1 smallint NOT NULL UNIQUE, f_2 int, f_3 int, UNIQUE (f_2, f_3))",
            ])?;
        }
        source.exec_all([
            format!("INSERT INTO one_pk_no_uk SELECT i + 1, 'x' FROM {}", numbers(9)),
            format!("INSERT INTO one_pk_multi_uk SELECT i + 1, i, i, i FROM {}", numbers(9)),
        ])?;
        let (source, target) = pair.database("test_db_@")?;
        let tables = [
            "finished_table_*$1",
            "finished_table_*$2",
            "in_finished_log_table_*$1",
            "in_finished_log_table_*$2",
            "in_position_log_table_*$1",
            "resume_table_*$4",
            "unknown_to_all_files_*$1",
        ];
        for table in tables.map(quoted) {
            for db in [&source, &target] {
                db.exec(format!("CREATE TABLE {table} (`p.k` serial, val numeric(20,8))"))?;
            }
            source.exec(format!("INSERT INTO {table} VALUES (1, 1), (2, 2), (3, 3)"))?;
        }

        let task = Task::of_pair(pair, &["test_db_1", "test_db_@"])?
            .unset("resumer", "resume_type")
            .set("resumer", "resume_from_log", "true")
            .set("resumer", "resume_log_dir", "./resume_logs")
            .set("resumer", "resume_config_file", "./resume.config");
        write(
            &task,
            "resume.config",
            r#"{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"test_db_@","tb":"finished_table_*$1"}
{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"test_db_@","tb":"finished_table_*$2"}
{"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_1","tb":"one_pk_no_uk","order_col":"f_0","value":"5"}
{"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_1","tb":"one_pk_multi_uk","order_col":"f_0","value":"5"}
{"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_@","tb":"resume_table_*$4","order_col":"p.k","value":"1"}
"#,
        )?;
        write(
            &task,
            "resume_logs/finished.log",
            r#"2024-04-01 07:08:05.459594 | {"type":"RdbSnapshotFinished","db_type":"mysql","schema":"test_db_@","tb":"in_finished_log_table_*$1"}
2024-04-01 07:08:06.537135 | {"type":"RdbSnapshotFinished","db_type":"mysql","schema":"test_db_@","tb":"in_finished_log_table_*$2"}
"#,
        )?;
        write(
            &task,
            "resume_logs/position.log",
            r#"2024-03-29 07:02:24.463776 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_@","tb":"in_position_log_table_*$1","order_col":"p.k","value":"0"}
2024-03-29 07:02:24.463777 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_@","tb":"in_position_log_table_*$1","order_col":"p.k","value":"1"}
"#,
        )?;
        let done = task.run()?.expect_code(0)?;

        assert_eq!(
            resumer_lines(&done.log),
            [
                r#"INFO resumer, get resume value, schema: test_db_1, tb: one_pk_multi_uk, col: f_0, result: Some("5")"#,
                r#"INFO resumer, get resume value, schema: test_db_1, tb: one_pk_no_uk, col: f_0, result: Some("5")"#,
                "INFO resumer, check finished: schema: test_db_@, tb: finished_table_*$1, result: true",
                "INFO resumer, check finished: schema: test_db_@, tb: finished_table_*$2, result: true",
                "INFO resumer, check finished: schema: test_db_@, tb: in_finished_log_table_*$1, result: true",
                "INFO resumer, check finished: schema: test_db_@, tb: in_finished_log_table_*$2, result: true",
                r#"INFO resumer, get resume value, schema: test_db_@, tb: in_position_log_table_*$1, col: p.k, result: Some("1")"#,
                r#"INFO resumer, get resume value, schema: test_db_@, tb: resume_table_*$4, col: p.k, result: Some("1")"#,
            ],
            "{kind}"
        );
        let copied = tables.map(|table| values(&target, &quoted(table), "p.k"));
        let copied = copied.into_iter().collect::<Result<Vec<_>>>()?;
        assert_eq!(copied, ["", "", "", "", "2 3", "2 3", "1 2 3"], "{kind}");
        for table in ["one_pk_no_uk", "one_pk_multi_uk"] {
            assert_eq!(values(&target, &format!("test_db_1.{table}"), "f_0")?, "6 7 8 9", "{kind}, {table}");
        }
        for (old, new) in
            [("resume_from_log", "resume_type"), ("resume_log_dir", "log_dir"), ("resume_config_file", "config_file")]
        {
            let told = warnings(&done)
                .iter()
                .any(|line| line.contains(&format!("`{old}")) && line.contains(&format!("`{new}")));
            ensure!(told, "no warning names {new} for {old}: {}", done.said());
        }
        for start in [
            r"start extracting data from `test_db_1`.`one_pk_no_uk` by slices",
            r"end extracting data from `test_db_1`.`one_pk_no_uk`, all count: 4",
        ] {
            ensure!(
                done.log.lines().filter_map(message).any(|line| line == format!("INFO {start}")),
                "{start}: {}",
                done.said()
            );
        }
    }
    Ok(())
}

#[test]
fn positions_of_all_three_generations_are_read() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("generations")?;
    for table in ["g1", "g1_finished", "g2", "g2_finished", "g3_single", "g3_null"] {
        ids(&source, &target, table, 6)?;
    }
    for db in [&source, &target] {
        db.exec("CREATE TABLE g3_composite (a int, b varchar(9), PRIMARY KEY (a, b))")?;
    }
    source.exec("INSERT INTO g3_composite VALUES (1, '29'), (1, '30'), (1, '31'), (2, '1')")?;
    let task = Task::of_pair(pair, &["generations"])?;
    write(
        &task,
        "logs/position.log",
        r#"2024-02-28 10:07:35.791465 | current_position | {"RdbSnapshot":{"db_type":"mysql","schema":"generations","tb":"g1","order_col":"id","value":"4"}}
2024-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"generations","tb":"g2","order_col":"id","value":"4"}
2024-10-10 04:04:08.152181 | checkpoint_position | {"type":"None"}
2025-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"generations","tb":"g3_single","order_key":{"single":["id","4"]}}
2025-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"generations","tb":"g3_null","order_key":null}
2025-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"generations","tb":"g3_composite","order_key":{"composite":[["a","1"],["b","30"]]}}
"#,
    )?;
    write(
        &task,
        "logs/finished.log",
        r#"2024-02-28 10:07:35.791465 | {"RdbSnapshotFinished":{"db_type":"mysql","schema":"generations","tb":"g1_finished"}}
2024-10-10 04:04:07.803422 | {"type":"RdbSnapshotFinished","db_type":"mysql","schema":"generations","tb":"g2_finished"}
"#,
    )?;
    let done = task.run()?.expect_code(0)?;
    for table in ["g1", "g2", "g3_single"] {
        assert_eq!(values(&target, table, "id")?, "5 6", "{table}: {}", done.said());
    }
    assert_eq!(values(&target, "g3_null", "id")?, "1 2 3 4 5 6", "a table in progress at no known place");
    assert_eq!(values(&target, "g3_composite", "b")?, "1 31");
    for table in ["g1_finished", "g2_finished"] {
        assert_eq!(values(&target, table, "id")?, "", "{table}");
    }
    Ok(())
}

#[test]
fn a_resume_config_alone_resumes_and_may_hold_comments_and_bare_json() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("config_alone")?;
    for table in ["bare", "barred", "finished", "stamped"] {
        ids(&source, &target, table, 5)?;
    }
    let task = Task::of_pair(pair, &["config_alone"])?.unset("resumer", "resume_type").set(
        "resumer",
        "config_file",
        "./resume.config",
    );
    write(
        &task,
        "resume.config",
        r#"// where the others left off

{"type":"RdbSnapshot","db_type":"mysql","schema":"config_alone","tb":"bare","order_col":"id","value":"3"}
| current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"config_alone","tb":"barred","order_col":"id","value":"3"}
2024-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"config_alone","tb":"stamped","order_col":"id","value":"3"}
{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"config_alone","tb":"finished"}"#,
    )?;
    let done = task.run()?.expect_code(0)?;
    for table in ["bare", "barred", "stamped"] {
        assert_eq!(values(&target, table, "id")?, "4 5", "{table}: {}", done.said());
    }
    assert_eq!(values(&target, "finished", "id")?, "");
    Ok(())
}

#[test]
fn position_log_wins_over_resume_config_for_the_same_table() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("log_wins")?;
    for table in ["further_in_the_config", "less_far_in_the_config", "finished_in_the_config"] {
        ids(&source, &target, table, 9)?;
    }
    let task = Task::of_pair(pair, &["log_wins"])?.set("resumer", "config_file", "resume.config");
    let line = |table: &str, value: u32| {
        format!(
            r#"{{"type":"RdbSnapshot","db_type":"mysql","schema":"log_wins","tb":"{table}","order_col":"id","value":"{value}"}}"#
        )
    };
    let finished =
        r#"{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"log_wins","tb":"finished_in_the_config"}"#;
    let config = [line("further_in_the_config", 8), line("less_far_in_the_config", 2), finished.to_owned()];
    write(&task, "resume.config", &config.join("\n"))?;
    let log = ["further_in_the_config", "less_far_in_the_config", "finished_in_the_config"];
    let log = log.map(|table| format!("2024-10-10 04:04:08.152044 | current_position | {}\n", line(table, 5)));
    write(&task, "logs/position.log", &log.concat())?;
    let done = task.run()?.expect_code(0)?;
    for table in ["further_in_the_config", "less_far_in_the_config", "finished_in_the_config"] {
        assert_eq!(values(&target, table, "id")?, "6 7 8 9", "{table}: {}", done.said());
    }
    Ok(())
}

#[test]
fn a_table_whose_key_was_changed_starts_from_the_beginning_with_a_warning() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("key_changed")?;
        for db in [&source, &target] {
            db.exec_all([
                "CREATE TABLE moved (old_id int, id int PRIMARY KEY)",
                "CREATE TABLE swapped (a int, b int, PRIMARY KEY (b, a))",
                "CREATE TABLE same (id int PRIMARY KEY)",
            ])?;
        }
        source.exec_all([
            "INSERT INTO moved VALUES (9, 1), (8, 2), (7, 3)",
            "INSERT INTO swapped VALUES (1, 1), (2, 2), (3, 3)",
            "INSERT INTO same VALUES (1), (2), (3)",
        ])?;
        let task = Task::of_pair(pair, &["key_changed"])?;
        write(
            &task,
            "logs/position.log",
            r#"2024-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"key_changed","tb":"moved","order_col":"old_id","value":"8"}
2024-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"key_changed","tb":"swapped","order_key":{"composite":[["a","2"],["b","2"]]}}
2024-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"key_changed","tb":"same","order_col":"id","value":"2"}
"#,
        )?;
        let done = task.run()?.expect_code(0)?;
        assert_eq!(values(&target, "moved", "id")?, "1 2 3");
        assert_eq!(values(&target, "swapped", "a")?, "1 2 3");
        assert_eq!(values(&target, "same", "id")?, "3");
        let warnings = warnings(&done);
        for table in ["`key_changed`.`moved`", "`key_changed`.`swapped`"] {
            let told = warnings.iter().any(|line| line.contains(table) && line.contains("starts from the beginning"));
            ensure!(told, "no warning of {table}: {}", done.said());
        }
        ensure!(!warnings.iter().any(|line| line.contains("`same`")), "{}", done.said());
    }
    Ok(())
}

#[test]
fn a_stored_prefix_of_a_composite_key_is_honoured_and_its_last_value_is_read_again() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("prefix")?;
        for db in [&source, &target] {
            db.exec("CREATE TABLE t (a int, b int, v varchar(9), PRIMARY KEY (a, b))")?;
        }
        source.exec("INSERT INTO t VALUES (1, 1, 'x'), (1, 2, 'x'), (2, 1, 'x'), (2, 2, 'x'), (3, 1, 'x')")?;
        let task = Task::of_pair(pair, &["prefix"])?;
        write(
            &task,
            "logs/position.log",
            "2024-10-10 04:04:08.152044 | current_position | {\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"prefix\",\"tb\":\"t\",\"order_col\":\"a\",\"value\":\"2\"}\n",
        )?;
        let done = task.run()?.expect_code(0)?;
        assert_eq!(values(&target, "t", "a")?, "2 2 3", "{kind}: {}", done.said());
    }
    Ok(())
}

#[test]
fn a_keyless_table_goes_on_after_its_stored_first_column_and_reads_the_nulls_again() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("keyless")?;
        for db in [&source, &target] {
            db.exec("CREATE TABLE t (first int, v varchar(9))")?;
        }
        source
            .exec("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (2, 'b'), (3, 'c'), (4, 'd'), (NULL, 'n'), (NULL, 'n')")?;
        let task = Task::of_pair(pair, &["keyless"])?;
        write(
            &task,
            "logs/position.log",
            "2024-10-10 04:04:08.152044 | current_position | {\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"keyless\",\"tb\":\"t\",\"order_col\":\"first\",\"value\":\"2\"}\n",
        )?;
        let done = task.run()?.expect_code(0)?;
        assert_eq!(values(&target, "t", "first")?, "- - 3 4", "{kind}: {}", done.said());
    }
    Ok(())
}

/// Kills a slowed task after a recorded position beyond `after`; what is recorded for the table then.
fn killed_beyond(task: &Task, schema: &str, table: &str, after: u64) -> Result<u64> {
    let recorded = || -> Result<u64> {
        let Some(key) = task.progress()?.of(schema, table) else { return Ok(0) };
        key.0[0].1.as_deref().unwrap_or("0").parse().context("a key that is no number")
    };
    let mut running = task.spawn()?;
    running.until(&format!("a position beyond {after} is recorded"), || Ok(recorded()? > after))?;
    let killed = running.kill9()?;
    ensure!(killed.code == 128 + 9, "it ended before the kill: {}", killed.said());
    recorded()
}

#[test]
fn each_of_two_restarts_goes_on_from_the_newest_position_also_with_another_directory_to_resume_from() -> Result<()> {
    for (database, elsewhere) in [("restarts_here", false), ("restarts_elsewhere", true)] {
        let pair = servers::pair(Kind::Mysql)?;
        let (source, target) = pair.database(database)?;
        ids(&source, &target, "t", 20_000)?;
        let mut task =
            Task::of_pair(pair, &[database])?.set("extractor", "batch_size", "100").set("extractor", "max_rps", "2000");
        if elsewhere {
            task = task.set("resumer", "log_dir", "elsewhere");
            write(
                &task,
                "elsewhere/position.log",
                &format!(
                    "2024-10-10 04:04:08.152044 | current_position | {{\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"{database}\",\"tb\":\"t\",\"order_col\":\"id\",\"value\":\"700\"}}\n"
                ),
            )?;
        }
        let first = killed_beyond(&task, database, "t", if elsewhere { 700 } else { 0 })?;
        assert_eq!(target.number("SELECT MIN(id) FROM t")?, if elsewhere { 701 } else { 1 });
        target.exec("TRUNCATE TABLE t")?;
        let second = killed_beyond(&task, database, "t", first)?;
        assert_eq!(target.number("SELECT MIN(id) FROM t")?, first + 1, "the first restart begins after the newest");
        target.exec("TRUNCATE TABLE t")?;
        let done = task.unset("extractor", "max_rps").run()?.expect_code(0)?;
        assert_eq!(target.number("SELECT MIN(id) FROM t")?, second + 1, "the second restart: {}", done.said());
        assert_eq!(target.number("SELECT COUNT(*) FROM t")?, 20_000 - second);
    }
    Ok(())
}

#[test]
fn without_resume_the_earlier_positions_are_set_aside_with_a_warning_that_names_the_setting() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("set_aside")?;
    for table in ["begun", "finished"] {
        ids(&source, &target, table, 5)?;
    }
    let task = Task::of_pair(pair, &["set_aside"])?.set("resumer", "resume_type", "dummy");
    let position = "2024-10-10 04:04:08.152044 | current_position | {\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"set_aside\",\"tb\":\"begun\",\"order_col\":\"id\",\"value\":\"3\"}\n";
    let finished = "2024-10-10 04:04:08.152044 | {\"type\":\"RdbSnapshotFinished\",\"db_type\":\"mysql\",\"schema\":\"set_aside\",\"tb\":\"finished\"}\n";
    write(&task, "logs/position.log", position)?;
    write(&task, "logs/finished.log", finished)?;
    let done = task.run()?.expect_code(0)?;
    for table in ["begun", "finished"] {
        assert_eq!(values(&target, table, "id")?, "1 2 3 4 5", "{table}");
    }
    let told =
        warnings(&done).iter().any(|line| line.contains("from the beginning") && line.contains("resume_type=from_log"));
    ensure!(told, "no warning names the setting: {}", done.said());
    let kept = |name: &str| -> Result<Vec<String>> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(task.log_dir())? {
            let path = entry?.path();
            if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&format!("{name}."))) {
                kept.push(fs::read_to_string(path)?);
            }
        }
        Ok(kept)
    };
    assert_eq!(kept("position.log")?, [position]);
    assert_eq!(kept("finished.log")?, [finished]);
    // What is recorded now is this run's alone, and a resume from it has nothing left to do.
    let again = task.set("resumer", "resume_type", "from_log").run()?.expect_code(0)?;
    assert_eq!(again.summary("rows"), Some(0), "{}", again.said());
    Ok(())
}

#[test]
fn a_position_of_another_server_is_refused_unless_it_is_allowed() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("other_server")?;
        ids(&source, &target, "t", 5)?;
        let task = Task::of_pair(pair, &["other_server"])?;
        task.run()?.expect_code(0)?;
        let finished = task.log("finished.log")?;
        // The other way round both servers are other ones, as after a mix-up of two task files.
        let (here, there) = (pair.source.port(), pair.target.port());
        let swapped = task.address("extractor", there).address("sinker", here);
        source.exec("TRUNCATE TABLE t")?;
        let refused = swapped.run()?.expect_code(3)?;
        ensure!(refused.stderr.contains("another source server"), "{}", refused.said());
        ensure!(refused.stderr.contains("allow_other_server=true"), "no way out: {}", refused.said());
        assert_eq!(source.number("SELECT COUNT(*) FROM t")?, 0);
        assert_eq!(swapped.log("finished.log")?, finished, "a refused start changes no position");
        let accepted = swapped.set("resumer", "allow_other_server", "true").run()?.expect_code(0)?;
        assert_eq!(
            resumer_lines(&accepted.log).last().map(String::as_str),
            Some("INFO resumer, check finished: schema: other_server, tb: t, result: true")
        );
        assert_eq!(source.number("SELECT COUNT(*) FROM t")?, 0, "the finished table is skipped");
    }
    Ok(())
}

/// The text after the time; fails unless the line begins with one.
fn after_time(line: &str) -> Result<&str> {
    let (time, rest) = line.split_once(" | ").context("no bar in a line")?;
    ensure!(is_time(time), "no time: {line}");
    Ok(rest)
}

#[test]
fn the_written_lines_have_the_documented_form() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("written")?;
        for db in [&source, &target] {
            db.exec_all([
                "CREATE TABLE a (id int)",
                "CREATE TABLE b (id int PRIMARY KEY, wide varchar(1000))",
                "CREATE TABLE c (x int, y varchar(9), wide varchar(1000), PRIMARY KEY (x, y))",
                "CREATE TABLE d (k binary(2) PRIMARY KEY, wide varchar(1000))",
            ])?;
        }
        source.exec_all([
            "INSERT INTO a VALUES (1)".to_owned(),
            format!("INSERT INTO b SELECT i + 1, REPEAT('x', 1000) FROM {}", numbers(6000)),
            format!(
                "INSERT INTO c SELECT 1, CONCAT('q\"é', LPAD(i, 5, '0')), REPEAT('x', 1000) FROM {}",
                numbers(6000)
            ),
            format!("INSERT INTO d SELECT UNHEX(LPAD(HEX(i), 4, '0')), REPEAT('x', 1000) FROM {}", numbers(6000)),
        ])?;
        let task = Task::of_pair(pair, &["written"])?
            .set("extractor", "parallel_size", "4")
            .set("extractor", "batch_size", "50")
            // What has been read before the stop is written: let it be little.
            .set("pipeline", "buffer_memory_mb", "1")
            .set("extractor", "max_rps", "1500");
        let mut running = task.spawn()?;
        running.until("all three with a key have a position", || {
            let progress = task.progress()?;
            Ok(["b", "c", "d"].iter().all(|table| progress.of("written", table).is_some()))
        })?;
        running.sigterm()?;
        running.wait()?.expect_code(128 + 15)?;

        let uuid = |db: &Db| -> Result<String> {
            let row = db.rows("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid')")?;
            row.first().and_then(|row| row[1].clone()).context("a server without an identity")
        };
        let lineage = format!(r#""source":"{}","target":"{}"}}"#, uuid(&source)?, uuid(&target)?);
        let start = r#"current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"written","tb":"#;
        let last = |column: &str, table: &str| target.value(format!("SELECT MAX({column}) FROM {table}"));
        let (id, y) = (last("id", "b")?.context("b is empty")?, last("y", "c")?.context("c is empty")?);
        let k = last("LOWER(HEX(k))", "d")?.context("d is empty")?;
        let y = y.replace('"', "\\\"");
        let expected = [
            format!(r#"{start}"b","order_col":"id","value":"{id}",{lineage}"#),
            format!(r#"{start}"c","order_key":{{"composite":[["x","1"],["y","{y}"]]}},{lineage}"#),
            format!(r#"{start}"d","order_col":"k","value":"{k}",{lineage}"#),
        ];
        let position = task.log("position.log")?;
        let lines: Vec<&str> = position.lines().map(after_time).collect::<Result<_>>()?;
        for (table, expected) in ["b", "c", "d"].iter().zip(&expected) {
            let newest = lines.iter().rfind(|line| line.starts_with(&format!("{start}\"{table}\"")));
            assert_eq!(newest, Some(&expected.as_str()), "{kind}: what is in the target is what is recorded");
        }
        assert_eq!(lines.last(), Some(&r#"checkpoint_position | {"type":"None"}"#), "{kind}, stopped");

        let task = task.unset("extractor", "max_rps");
        task.run()?.expect_code(0)?;
        let lines = task.log("position.log")?;
        ensure!(lines.ends_with('\n'), "{lines}");
        let last = lines.lines().last().context("an empty position.log")?;
        assert_eq!(after_time(last)?, r#"checkpoint_position | {"type":"None"}"#, "{kind}, complete");
        let finished = task.log("finished.log")?;
        let mut finished: Vec<&str> = finished.lines().map(after_time).collect::<Result<_>>()?;
        finished.sort_unstable();
        let expected = ["a", "b", "c", "d"].map(|table| {
            format!(r#"{{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"written","tb":"{table}",{lineage}"#)
        });
        assert_eq!(finished, expected, "{kind}");
    }
    Ok(())
}

#[test]
fn every_running_table_has_its_current_position_beside_the_empty_checkpoint() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("running")?;
    for table in ["a", "b", "c"] {
        ids(&source, &target, table, 20_000)?;
    }
    let task = Task::of_pair(pair, &["running"])?
        .set("extractor", "parallel_size", "3")
        .set("extractor", "batch_size", "100")
        .set("extractor", "max_rps", "3000");
    let mut running = task.spawn()?;
    running.until("all three have a position", || {
        let progress = task.progress()?;
        Ok(["a", "b", "c"].iter().all(|table| progress.of("running", table).is_some()))
    })?;
    running.kill9()?;
    let text = task.log("position.log")?;
    let lines: Vec<&str> = text.lines().map(after_time).collect::<Result<_>>()?;
    ensure!(lines.contains(&r#"checkpoint_position | {"type":"None"}"#), "{text}");
    for table in ["a", "b", "c"] {
        let has = lines.iter().any(|line| line.starts_with(&format!(r#"current_position | {{"type":"RdbSnapshot","db_type":"mysql","schema":"running","tb":"{table}","order_col":"id","value":""#)));
        ensure!(has, "{table}: {text}");
        let key = task.progress()?.of("running", table).context("no position")?;
        let recorded: u64 = key.0[0].1.as_deref().unwrap_or_default().parse()?;
        let there = target.number(format!("SELECT COUNT(*) FROM {table} WHERE id <= {recorded}"))?;
        assert_eq!(there, recorded, "{table}: a recorded position stands for rows that are in the target");
    }
    Ok(())
}
