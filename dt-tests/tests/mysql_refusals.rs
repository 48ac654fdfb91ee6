//! What dt-main refuses, before the first row where it can be known: each time a message that names what is wrong and a
//! way out, the right exit code, nothing in the target, and no secret and no row value anywhere.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dt_tests::db::{Db, literal, quoted};
use dt_tests::proxy::Proxy;
use dt_tests::sample::numbers;
use dt_tests::servers::{self, Kind, PASSWORD, Pair};
use dt_tests::task::{Finished, Task};

const BOTH: [Kind; 2] = [Kind::Mysql, Kind::Mariadb];

/// A table of three rows on the source, and the same without rows on the target.
fn three_rows(pair: &Pair, database: &str) -> Result<(Db, Db)> {
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(40))")?;
    }
    source.exec("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')")?;
    Ok((source, target))
}

/// Ends with this code, says all of the texts on standard error, and never says a password of ours.
fn refused(task: &Task, code: i32, texts: &[&str]) -> Result<Finished> {
    let refused = task.run()?.expect_code(code)?;
    for text in texts {
        ensure!(refused.stderr.contains(text), "`{text}` is not said: {}", refused.said());
    }
    says_nothing_of(&refused, PASSWORD)?;
    Ok(refused)
}

fn says_nothing_of(finished: &Finished, secret: &str) -> Result<()> {
    for output in [&finished.stdout, &finished.stderr, &finished.log] {
        ensure!(!output.contains(secret), "`{secret}` is shown:\n{output}");
    }
    Ok(())
}

fn rows(db: &Db, table: &str) -> Result<u64> {
    db.number(format!("SELECT COUNT(*) FROM {table}"))
}

fn write(task: &Task, name: &str, text: &str) -> Result<PathBuf> {
    let path = task.log_dir().parent().context("a log_dir without a parent")?.join(name);
    fs::create_dir_all(path.parent().context("a file without a folder")?)?;
    fs::write(&path, text)?;
    Ok(path)
}

#[test]
fn a_wrong_password_is_refused_and_shown_nowhere() -> Result<()> {
    const WRONG: &str = "hunter2;#=%'\"";
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (_, target) = three_rows(pair, "wrong_password")?;
        for section in ["extractor", "sinker"] {
            let task = Task::of_pair(pair, &["wrong_password"])?.set(section, "password", WRONG);
            let refused = refused(&task, 3, &["Access denied", "check username and password", "`dt`"])?;
            says_nothing_of(&refused, WRONG)?;
            let in_url = Task::of_pair(pair, &["wrong_password"])?
                .unset(section, "password")
                .unset(section, "username")
                .set(section, "url", format!("mysql://dt:hunter2@127.0.0.1:{}", pair.source.port()));
            says_nothing_of(&in_url.run()?.expect_code(3)?, "hunter2")?;
        }
        assert_eq!(rows(&target, "t")?, 0);
    }
    Ok(())
}

#[test]
fn a_server_that_does_not_answer_is_refused_at_once_and_not_waited_for() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "unreachable")?;
    // A port that was free a moment ago. [pipeline] max_retry_secs is for a server that was there once.
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    for section in ["extractor", "sinker"] {
        let task = Task::of_pair(pair, &["unreachable"])?.address(section, port);
        let began = Instant::now();
        refused(&task, 3, &[&format!("127.0.0.1:{port}"), "refused", "check that the server runs"])?;
        ensure!(began.elapsed() < Duration::from_secs(15), "refused after {:?} only", began.elapsed());
    }
    assert_eq!(rows(&target, "t")?, 0);
    Ok(())
}

#[test]
fn a_server_that_swallows_everything_is_given_up_after_connection_timeout_secs() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    three_rows(pair, "swallowed")?;
    let proxy = Proxy::start(pair.source.port())?;
    proxy.black_hole(true);
    let task = Task::of_pair(pair, &["swallowed"])?.address("extractor", proxy.port()).set(
        "extractor",
        "connection_timeout_secs",
        "1",
    );
    refused(&task, 3, &[&format!("127.0.0.1:{} did not answer within 1 s", proxy.port())])?;
    Ok(())
}

#[test]
fn a_target_without_the_tables_and_columns_is_refused_with_all_that_is_missing() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("misfits")?;
        source.exec_all([
            "CREATE TABLE fits (id int PRIMARY KEY)",
            "INSERT INTO fits VALUES (1)",
            "CREATE TABLE gone (id int PRIMARY KEY)",
            "CREATE TABLE gone_too (id int PRIMARY KEY)",
            "CREATE TABLE lacks_columns (id int PRIMARY KEY, a int, b int)",
            "CREATE TABLE other_type (id int PRIMARY KEY, at datetime(6))",
            "CREATE TABLE wants_more (id int PRIMARY KEY)",
            "CREATE TABLE is_a_view (id int PRIMARY KEY)",
        ])?;
        target.exec_all([
            "CREATE TABLE fits (id int PRIMARY KEY)",
            "CREATE TABLE lacks_columns (id int PRIMARY KEY)",
            "CREATE TABLE other_type (id int PRIMARY KEY, at datetime)",
            "CREATE TABLE wants_more (id int PRIMARY KEY, must int NOT NULL)",
            "CREATE VIEW is_a_view AS SELECT id FROM fits",
        ])?;
        let task = Task::of_pair(pair, &["misfits"])?;
        let listed = [
            "7 misfits",
            "`misfits`.`gone` is missing",
            "`misfits`.`gone_too` is missing",
            "`misfits`.`lacks_columns`, column `a`, is missing",
            "`misfits`.`lacks_columns`, column `b`, is missing",
            "`misfits`.`other_type`, column `at`",
            "`misfits`.`wants_more`, column `must`",
            "`misfits`.`is_a_view` is a view",
            "ignore_tbs",
        ];
        refused(&task, 3, &listed)?;
        assert_eq!(rows(&target, "fits")?, 0, "{kind}");
        assert_eq!(task.log("position.log")? + &task.log("finished.log")?, "", "nothing was done, nothing is recorded");
        // Once it fits the same file does.
        target.exec_all([
            "DROP TABLE lacks_columns, other_type, wants_more",
            "DROP VIEW is_a_view",
            "CREATE TABLE lacks_columns (id int PRIMARY KEY, a int, b int)",
            "CREATE TABLE other_type (id int PRIMARY KEY, at datetime(6))",
        ])?;
        for table in ["gone", "gone_too", "wants_more", "is_a_view"] {
            target.exec(format!("CREATE TABLE {table} (id int PRIMARY KEY)"))?;
        }
        task.run()?.expect_code(0)?;
        assert_eq!(rows(&target, "fits")?, 1, "{kind}");
    }
    Ok(())
}

#[test]
fn a_target_without_the_database_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "no_database")?;
    target.exec("DROP DATABASE no_database")?;
    refused(&Task::of_pair(pair, &["no_database"])?, 3, &["`no_database`.`t` is missing"])?;
    Ok(())
}

const FIRST: &str = "2024-10-10 04:04:08.152044 | current_position | {\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"corrupt\",\"tb\":\"t\",\"order_col\":\"id\",\"value\":\"1\"}\n";

#[test]
fn a_line_that_cannot_be_read_is_refused_by_file_and_line() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "corrupt")?;
    let spoilt = [
        ("not a position\n", "position.log"),
        ("2024-10-10 04:04:08.152044 | current_position | {\"type\":\"RdbSna\n", "position.log"),
        ("2024-10-10 04:04:08.152044 | current_position | {\"type\":\"Other\"}\n", "position.log"),
        ("2024-13-10 04:04:08.152044 | {\"type\":\"None\"}\n", "position.log"),
        (
            "2024-10-10 04:04:08.152044 | {\"type\":\"RdbSnapshotFinished\",\"db_type\":\"mysql\",\"schema\":\"corrupt\"}\n",
            "finished.log",
        ),
    ];
    for (line, name) in spoilt {
        let task = Task::of_pair(pair, &["corrupt"])?;
        let text = format!("{FIRST}{line}{FIRST}");
        write(&task, &format!("logs/{name}"), &text)?;
        let path = task.log_dir().join(name).display().to_string();
        refused(&task, 3, &["cannot be read", &format!("file: {path}"), "line: 2", "resume_type=dummy"])?;
        assert_eq!(task.log(name)?, text, "a file that is not understood is left as it is");
        assert_eq!(rows(&target, "t")?, 0, "{line}");
    }
    let task = Task::of_pair(pair, &["corrupt"])?.set("resumer", "config_file", "./resume.config");
    write(&task, "resume.config", "// by hand\n{\"type\":\"RdbSnapshot\"")?;
    refused(&task, 3, &["./resume.config", "line: 2"])?;
    assert_eq!(rows(&target, "t")?, 0);
    Ok(())
}

#[test]
fn a_torn_last_line_is_left_out_with_a_warning_and_the_one_before_it_counts() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "corrupt")?;
    let task = Task::of_pair(pair, &["corrupt"])?;
    write(
        &task,
        "logs/position.log",
        &format!("{FIRST}2024-10-10 04:04:09.152044 | current_position | {{\"type\":\"RdbSnap"),
    )?;
    let done = task.run()?.expect_code(0)?;
    ensure!(done.log.contains("WARN") && done.log.contains("cut short"), "{}", done.said());
    assert_eq!(target.value("SELECT GROUP_CONCAT(id) FROM t")?.as_deref(), Some("2,3"));
    task.run()?.expect_code(0)?;
    Ok(())
}

#[test]
fn places_to_resume_from_that_are_not_there_are_refused() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "no_place")?;
    let task = Task::of_pair(pair, &["no_place"])?.set("resumer", "log_dir", "./nowhere");
    refused(&task, 3, &["./nowhere", "[resumer] log_dir"])?;
    let task = Task::of_pair(pair, &["no_place"])?.set("resumer", "config_file", "./nowhere.config");
    refused(&task, 3, &["./nowhere.config", "[resumer] config_file"])?;
    assert_eq!(rows(&target, "t")?, 0);
    Ok(())
}

#[test]
fn positions_that_belong_to_another_task_are_refused() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "another_task")?;
    let lines = [
        (
            r#"{"type":"MysqlCdc","server_id":"","binlog_filename":"mysql-bin.000036","next_event_position":773,"gtid_set":"","timestamp":"2024-10-10 08:00:58.000"}"#,
            "another kind of task",
        ),
        (
            r#"{"type":"RdbSnapshot","db_type":"pg","schema":"public","tb":"t","order_col":"id","value":"1"}"#,
            "of a pg source",
        ),
        (
            r#"{"type":"RdbSnapshot","db_type":"mysql","schema":"another_task","tb":"t","order_col":"id","value":"one"}"#,
            "is no value of column `id`",
        ),
    ];
    for (line, said) in lines {
        let task = Task::of_pair(pair, &["another_task"])?;
        write(&task, "logs/position.log", &format!("2024-10-10 04:04:08.152044 | checkpoint_position | {line}\n"))?;
        refused(&task, 3, &[said])?;
        assert_eq!(rows(&target, "t")?, 0);
    }
    Ok(())
}

#[test]
fn a_log_dir_that_cannot_be_written_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "log_dir")?;
    let task = Task::of_pair(pair, &["log_dir"])?;
    // Within a file: not even root can make a folder there.
    let file = write(&task, "file", "")?;
    let log_dir = file.join("logs").display().to_string();
    let task = task.set("runtime", "log_dir", &log_dir);
    refused(&task, 3, &[&log_dir, "[runtime] log_dir"])?;
    assert_eq!(rows(&target, "t")?, 0);
    Ok(())
}

#[test]
fn a_second_task_in_the_same_log_dir_is_refused_and_the_first_goes_on() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database("two_tasks")?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY)")?;
    }
    source.exec(format!("INSERT INTO t SELECT i + 1 FROM {}", numbers(3000)))?;
    let task =
        Task::of_pair(pair, &["two_tasks"])?.set("extractor", "batch_size", "100").set("extractor", "max_rps", "1000");
    let mut first = task.spawn()?;
    first.until("the first rows are there", || Ok(rows(&target, "t")? > 0))?;
    refused(&task, 3, &["another task is running", "[runtime] log_dir"])?;
    // Only to look is no second writer.
    task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
    first.wait()?.expect_code(0)?;
    assert_eq!(rows(&target, "t")?, 3000);
    Ok(())
}

#[test]
fn a_filter_that_matches_nothing_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    three_rows(pair, "matches_nothing")?;
    refused(&Task::of_pair(pair, &["matches_nothin"])?, 2, &["no table", "do_dbs"])?;
    let task = Task::of_pair(pair, &["matches_nothing"])?.set("filter", "ignore_tbs", "matches_nothing.*");
    refused(&task, 2, &["no table"])?;
    let system = Task::of_pair(pair, &["mysql"])?;
    refused(&system, 2, &["system schema"])?;
    Ok(())
}

#[test]
fn a_name_in_the_filter_that_nothing_answers_to_is_warned_of() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "unmatched")?;
    let task = Task::of_pair(pair, &["unmatched"])?.set("filter", "do_tbs", "unmatched.tt").set(
        "filter",
        "where_conditions",
        r#"json:[{"db":"unmatched","tb":"T","condition":"id = 1"}]"#,
    );
    let done = task.run()?.expect_code(0)?;
    for said in ["`do_tbs` of [filter]: `unmatched`.`tt`", "`where_conditions` of [filter]: `unmatched`.`T`"] {
        ensure!(
            done.log.lines().any(|line| line.contains("- WARN -") && line.contains(said)),
            "{said}: {}",
            done.said()
        );
    }
    assert_eq!(rows(&target, "t")?, 3);
    Ok(())
}

#[test]
fn a_misspelt_column_in_ignore_cols_or_col_map_is_refused() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (_, target) = three_rows(pair, "misspelt_column")?;
    let ignored = Task::of_pair(pair, &["misspelt_column"])?.set(
        "filter",
        "ignore_cols",
        r#"json:[{"db":"misspelt_column","tb":"t","ignore_cols":["vv"]}]"#,
    );
    refused(&ignored, 2, &["ignore_cols", "vv", "`misspelt_column`.`t`"])?;
    let mapped = Task::of_pair(pair, &["misspelt_column"])?.set(
        "router",
        "col_map",
        r#"json:[{"db":"misspelt_column","tb":"t","col_map":{"vv":"w"}}]"#,
    );
    refused(&mapped, 2, &["col_map", "vv", "`misspelt_column`.`t`"])?;
    assert_eq!(rows(&target, "t")?, 0);
    Ok(())
}

#[test]
fn a_condition_that_the_source_does_not_understand_is_refused() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (_, target) = three_rows(pair, "bad_condition")?;
        for condition in ["id >< 1", "no_such_column = 1", "id = 1) AND ("] {
            let json = format!(r#"json:[{{"db":"bad_condition","tb":"t","condition":"{condition}"}}]"#);
            let task = Task::of_pair(pair, &["bad_condition"])?.set("filter", "where_conditions", json);
            refused(&task, 2, &["where_conditions", "`bad_condition`.`t`"])?;
            assert_eq!(rows(&target, "t")?, 0, "{condition}");
        }
    }
    Ok(())
}

#[test]
fn a_copy_onto_itself_is_refused_and_one_to_another_name_is_not() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, _) = three_rows(pair, "itself")?;
        let task = Task::snapshot(&pair.source, &pair.source)?.databases(&["itself"]);
        refused(&task, 2, &["onto itself", "`itself`.`t`", "[router]"])?;
        // The same server under another address is the same server.
        let proxy = Proxy::start(pair.source.port())?;
        let disguised =
            Task::snapshot(&pair.source, &pair.source)?.databases(&["itself"]).address("sinker", proxy.port());
        refused(&disguised, 2, &["onto itself"])?;
        source.exec_all([
            "DROP DATABASE IF EXISTS itself_copy",
            "CREATE DATABASE itself_copy",
            "CREATE TABLE itself_copy.t LIKE t",
        ])?;
        let renamed = Task::snapshot(&pair.source, &pair.source)?.databases(&["itself"]).set(
            "router",
            "db_map",
            "itself:itself_copy",
        );
        renamed.run()?.expect_code(0)?;
        assert_eq!(rows(&source, "itself_copy.t")?, 3, "{kind}");
    }
    Ok(())
}

/// A user with these privileges on everything, and the task with it at that end.
fn limited(db: &Db, task: Task, section: &str, user: &str, grant: &str) -> Result<Task> {
    db.exec_all([
        format!("DROP USER IF EXISTS {user}"),
        format!("CREATE USER {user} IDENTIFIED BY {}", literal(PASSWORD)),
        format!("GRANT {grant} TO {user}"),
    ])?;
    Ok(task.set(section, "username", user))
}

#[test]
fn missing_privileges_are_refused_with_the_servers_words_and_nothing_is_written() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = three_rows(pair, "privileges")?;
        let task = || Task::of_pair(pair, &["privileges"]);
        let reads_nothing = limited(&source, task()?, "extractor", "reads_nothing", "INSERT ON privileges.*")?;
        refused(&reads_nothing, 3, &["SELECT command denied", "grant", "`privileges`.`t`"])?;
        let sees_nothing = limited(&source, task()?, "extractor", "sees_nothing", "USAGE ON *.*")?;
        refused(&sees_nothing, 2, &["no table", "the account must be allowed to see"])?;
        let writes_nothing = limited(&target, task()?, "sinker", "writes_nothing", "SELECT ON privileges.*")?;
        refused(&writes_nothing, 3, &["command denied", "grant", "`privileges`.`t`"])?;
        let finds_nothing = limited(&target, task()?, "sinker", "finds_nothing", "USAGE ON *.*")?;
        refused(&finds_nothing, 3, &["`privileges`.`t` is missing"])?;
        assert_eq!(rows(&target, "t")?, 0, "{kind}");
        // What is needed, and no more.
        let enough = limited(&source, task()?, "extractor", "enough", "SELECT ON privileges.*")?;
        let enough = limited(&target, enough, "sinker", "enough", "SELECT, INSERT, DELETE ON privileges.*")?;
        enough.run()?.expect_code(0)?;
        assert_eq!(rows(&target, "t")?, 3, "{kind}");
    }
    Ok(())
}

/// Held while a server's `local_infile` is another one than the tests expect.
static LOCAL_INFILE: Mutex<()> = Mutex::new(());

/// Runs the task with `LOAD DATA LOCAL` allowed on the target or not: without it rows are written as statements.
fn run_with(local_infile: bool, target: &Db, task: &Task) -> Result<Finished> {
    let _held = LOCAL_INFILE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    target.exec(format!("SET GLOBAL local_infile = {}", u8::from(local_infile)))?;
    let finished = task.run();
    target.exec("SET GLOBAL local_infile = 1")?;
    finished
}

/// A target that has the row with key 'sekrit-2' already, with another value.
fn conflict(pair: &Pair, database: &str) -> Result<(Db, Db)> {
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (k varchar(40) PRIMARY KEY, v varchar(40))")?;
    }
    source.exec("INSERT INTO t VALUES ('sekrit-1', 'new'), ('sekrit-2', 'new'), ('sekrit-3', 'new')")?;
    target.exec("INSERT INTO t VALUES ('sekrit-2', 'old')")?;
    Ok((source, target))
}

fn copied(target: &Db) -> Result<String> {
    let rows = target.rows("SELECT RIGHT(k, 1), v FROM t ORDER BY k")?;
    Ok(rows.into_iter().flatten().flatten().collect::<Vec<_>>().join(" "))
}

#[test]
fn without_replace_a_row_that_is_there_stops_the_task_and_is_not_shown() -> Result<()> {
    for (kind, local_infile) in BOTH.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let pair = servers::pair(kind)?;
        let (_, target) = conflict(pair, "interrupt")?;
        let task = Task::of_pair(pair, &["interrupt"])?.set("sinker", "replace", "false");
        let refused = run_with(local_infile, &target, &task)?.expect_code(3)?;
        for said in ["Duplicate entry", "conflict_policy=ignore", "`interrupt`.`t`"] {
            ensure!(refused.stderr.contains(said), "{said}: {}", refused.said());
        }
        says_nothing_of(&refused, "sekrit")?;
        assert_eq!(copied(&target)?, "2 old", "{kind}");
        assert_eq!(task.log("finished.log")?, "", "{kind}");
    }
    Ok(())
}

#[test]
fn conflict_policy_ignore_keeps_the_targets_row_and_replace_replaces_it() -> Result<()> {
    for (kind, local_infile) in BOTH.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
        let pair = servers::pair(kind)?;
        let (_, target) = conflict(pair, "ignore")?;
        let ignore = Task::of_pair(pair, &["ignore"])?.set("sinker", "replace", "false").set(
            "sinker",
            "conflict_policy",
            "ignore",
        );
        run_with(local_infile, &target, &ignore)?.expect_code(0)?;
        assert_eq!(copied(&target)?, "1 new 2 old 3 new", "{kind}");
        run_with(local_infile, &target, &Task::of_pair(pair, &["ignore"])?)?.expect_code(0)?;
        assert_eq!(copied(&target)?, "1 new 2 new 3 new", "{kind}");
    }
    Ok(())
}

#[test]
fn a_value_that_does_not_fit_the_target_stops_the_task_and_is_not_shown() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("too_long")?;
        source.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(40))")?;
        target.exec(format!("CREATE TABLE {} (id int PRIMARY KEY, v varchar(4))", quoted("t")))?;
        source.exec("INSERT INTO t VALUES (1, 'abc'), (2, 'sekrit-value')")?;
        let task = Task::of_pair(pair, &["too_long"])?;
        let ended = task.run()?;
        ensure!([1, 3].contains(&ended.code), "{}", ended.said());
        ensure!(ended.stderr.contains("`too_long`.`t`") && ended.stderr.contains("'v'"), "{}", ended.said());
        says_nothing_of(&ended, "sekrit")?;
        assert_eq!(rows(&target, "t")?, 0, "{kind}: a batch goes in whole or not at all");
    }
    Ok(())
}
