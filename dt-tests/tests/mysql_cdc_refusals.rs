//! What a stream refuses: each time a message that names what is wrong and a way out, the right exit code, a target that
//! was not touched, and a position that has not moved.

mod streams;

use std::fs;

use anyhow::{Context, Result, ensure};
use dt_tests::binlog;
use dt_tests::db::{Db, literal};
use dt_tests::servers::{self, Kind, Options, PASSWORD, Pair, Server};
use dt_tests::task::{Finished, Task};
use streams::{BOTH, checkpoint, follow, stop, stream, until_rows};

fn table(source: &Server, target: &Server, database: &str) -> Result<(Db, Db)> {
    let dbs = (source.db()?, target.db()?);
    for db in [&dbs.0, &dbs.1] {
        db.exec_all([
            format!("DROP DATABASE IF EXISTS {database}"),
            format!("CREATE DATABASE {database}"),
            format!("USE {database}"),
            "CREATE TABLE t (id int PRIMARY KEY, v varchar(40))".to_owned(),
        ])?;
    }
    Ok(dbs)
}

fn add(source: &Db, ids: std::ops::RangeInclusive<u32>) -> Result<()> {
    ids.into_iter().try_for_each(|id| source.exec(format!("INSERT INTO t VALUES ({id}, 'sekrit{id}')")))
}

fn rows(db: &Db) -> Result<u64> {
    db.number("SELECT COUNT(*) FROM t")
}

/// Ends with this code and says all of the texts; shows no password and no row; moves no position.
fn refused(task: &Task, code: i32, texts: &[&str]) -> Result<Finished> {
    let before = checkpoint(task)?;
    let refused = task.run()?.expect_code(code)?;
    for text in texts {
        ensure!(refused.stderr.contains(text), "`{text}` is not said: {}", refused.said());
    }
    ensure!(refused.stderr.contains("what to do"), "no way out: {}", refused.said());
    for output in [&refused.stdout, &refused.stderr, &refused.log] {
        ensure!(!output.contains(PASSWORD) && !output.contains("sekrit"), "a secret is shown:\n{output}");
    }
    assert_eq!(checkpoint(task)?, before, "the position has moved: {}", refused.said());
    Ok(refused)
}

/// A task that has followed two rows and was stopped.
fn stopped(pair: &Pair, database: &str, by_gtid: &str) -> Result<(Db, Db, Task)> {
    let (source, target) = table(&pair.source, &pair.target, database)?;
    let task = stream(&pair.source, &pair.target, database)?.set("extractor", "gtid_enabled", by_gtid);
    let mut running = follow(&task)?;
    add(&source, 1..=2)?;
    until_rows(&mut running, &target, "t", 2)?;
    stop(running)?;
    ensure!(checkpoint(&task)?.is_some(), "no checkpoint");
    Ok((source, target, task))
}

#[test]
fn a_source_whose_binlog_says_too_little_is_refused_by_the_settings_name() -> Result<()> {
    for kind in BOTH {
        let pair = Pair::start(kind, &Options::default())?;
        let (source, target) = table(&pair.source, &pair.target, "settings")?;
        let task = stream(&pair.source, &pair.target, "settings")?;
        for (setting, value) in [
            ("binlog_format", "STATEMENT"),
            ("binlog_format", "MIXED"),
            ("binlog_row_image", "MINIMAL"),
            ("binlog_row_image", "NOBLOB"),
        ] {
            let before = source.value(format!("SELECT @@GLOBAL.{setting}"))?.context("null")?;
            source.exec(format!("SET GLOBAL {setting} = {value}"))?;
            refused(&task, 3, &[&format!("{setting} is {value}"), &format!("SET GLOBAL {setting}=")])?;
            source.exec(format!("SET GLOBAL {setting} = {before}"))?;
        }
        add(&source, 1..=1)?;
        assert_eq!(rows(&target)?, 0, "{kind}");
        ensure!(checkpoint(&task)?.is_none(), "a position of a stream that never began");
    }
    Ok(())
}

#[test]
fn a_source_without_a_binlog_is_refused() -> Result<()> {
    for kind in BOTH {
        let source = Server::start(kind, &Options { binlog: false, ..Options::default() })?;
        let pair = servers::pair(kind)?;
        table(&source, &pair.target, "no_binlog")?;
        refused(&stream(&source, &pair.target, "no_binlog")?, 3, &["log_bin is OFF", "log_bin=ON"])?;
    }
    Ok(())
}

#[test]
fn purged_files_and_purged_gtids_are_refused_and_named() -> Result<()> {
    for (kind, by_gtid) in BOTH.into_iter().flat_map(|kind| [(kind, "false"), (kind, "true")]) {
        let pair = Pair::start(kind, &Options::default())?;
        let (source, target, task) = stopped(&pair, "purged", by_gtid)?;
        add(&source, 3..=4)?;
        source.exec("FLUSH BINARY LOGS")?;
        let file = binlog::end(&source)?.file;
        // A file is kept while the connection of the task that was stopped is not cleared away.
        dt_tests::deadline::until("the first file is purged", std::time::Duration::from_secs(30), || {
            source.exec(format!("PURGE BINARY LOGS TO '{file}'"))?;
            let first = source.value("SHOW BINARY LOGS")?;
            Ok((first.as_deref() == Some(file.as_str())).then_some(()))
        })?;
        add(&source, 5..=5)?;
        let names: &[&str] = match (kind, by_gtid) {
            (_, "false") => &["purged", "missing", "binlog.000001"],
            (_, _) => &["purged", "missing", "transactions"],
        };
        refused(&task, 3, names)?;
        assert_eq!(rows(&target)?, 2, "{kind}");
        if kind == Kind::Mysql && by_gtid == "true" {
            // The same said by hand.
            let by_hand = stream(&pair.source, &pair.target, "purged")?.set("extractor", "gtid_enabled", "true").set(
                "extractor",
                "gtid_set",
                format!("{}:1", source.value("SELECT @@server_uuid")?.context("null")?),
            );
            refused(&by_hand, 3, &["purged", "missing"])?;
        }
    }
    Ok(())
}

#[test]
fn transactions_that_the_source_does_not_have_are_refused_and_named() -> Result<()> {
    for (kind, errant) in [(Kind::Mysql, "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5"), (Kind::Mariadb, "0-1-999999")] {
        let pair = servers::pair(kind)?;
        let (source, target) = table(&pair.source, &pair.target, "errant")?;
        let set = match kind {
            Kind::Mysql => format!("{},{errant}", binlog::end(&source)?.gtids),
            Kind::Mariadb => errant.to_owned(),
            Kind::Postgres15 | Kind::Postgres18 => anyhow::bail!("{kind} has no binlog"),
        };
        add(&source, 1..=1)?;
        let task = stream(&pair.source, &pair.target, "errant")?.set("extractor", "gtid_enabled", "true").set(
            "extractor",
            "gtid_set",
            set,
        );
        refused(&task, 3, &["does not have", "unknown to it"])?;
        assert_eq!(rows(&target)?, 0, "{kind}");
        refused(&task.set("extractor", "gtid_set", "nonsense"), 2, &["gtid_set"])?;
    }
    Ok(())
}

#[test]
fn a_log_that_was_made_anew_is_refused() -> Result<()> {
    for (kind, by_gtid) in BOTH.into_iter().flat_map(|kind| [(kind, "false"), (kind, "true")]) {
        let pair = Pair::start(kind, &Options::default())?;
        let (source, target, task) = stopped(&pair, "anew", by_gtid)?;
        // As many files as before, and longer ones.
        source.exec("RESET BINARY LOGS AND GTIDS").or_else(|_| source.exec("RESET MASTER"))?;
        for id in 3..=4 {
            source.exec(format!("INSERT INTO t VALUES ({id}, REPEAT('x', 40))"))?;
        }
        refused(&task, 3, &[])?;
        assert_eq!(rows(&target)?, 2, "{kind}, {by_gtid}");
    }
    Ok(())
}

#[test]
fn another_servers_file_and_position_is_refused() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (_, target, task) = stopped(pair, "other_server", "false")?;
        let other = task.address("extractor", pair.target.port()).address("sinker", pair.source.port());
        refused(&other, 3, &["another server"])?;
        assert_eq!(rows(&target)?, 2, "{kind}");
    }
    Ok(())
}

#[test]
fn a_position_of_another_target_is_refused_until_it_is_allowed() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, _, task) = stopped(pair, "other_target", "false")?;
        source.exec_all([
            "DROP DATABASE IF EXISTS other_target_2",
            "CREATE DATABASE other_target_2",
            "CREATE TABLE other_target_2.t LIKE other_target.t",
        ])?;
        let other = task.address("sinker", pair.source.port()).set("router", "db_map", "other_target:other_target_2");
        refused(&other, 3, &["another target", "allow_other_server"])?;
        assert_eq!(source.number("SELECT COUNT(*) FROM other_target_2.t")?, 0, "{kind}");
        let allowed = other.set("resumer", "allow_other_server", "true");
        let mut running = follow(&allowed)?;
        add(&source, 3..=3)?;
        running.until("the row is there", || Ok(source.number("SELECT COUNT(*) FROM other_target_2.t")? == 1))?;
        stop(running)?;
    }
    Ok(())
}

#[test]
fn a_stream_onto_itself_is_refused() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, _) = table(&pair.source, &pair.target, "itself")?;
        let task = stream(&pair.source, &pair.source, "itself")?;
        refused(&task, 2, &["itself", "`itself`.`t`"])?;
        // Changes that come back as changes to follow are no better.
        source.exec_all([
            "DROP DATABASE IF EXISTS itself_2",
            "CREATE DATABASE itself_2",
            "CREATE TABLE itself_2.t LIKE t",
        ])?;
        let round = task.set("filter", "do_dbs", "itself,itself_2").set("router", "db_map", "itself:itself_2");
        refused(&round, 2, &["itself"])?;
    }
    Ok(())
}

#[test]
fn missing_privileges_are_refused_with_their_names() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(&pair.source, &pair.target, "replication")?;
        let all = match kind {
            Kind::Mysql => "REPLICATION SLAVE, REPLICATION CLIENT",
            Kind::Mariadb => "REPLICATION SLAVE, BINLOG MONITOR",
            Kind::Postgres15 | Kind::Postgres18 => anyhow::bail!("{kind} has no binlog"),
        };
        for (user, grants, code) in [
            ("no_replication", "", 3),
            ("monitor_only", all.split_once(", ").context("two grants")?.1, 3),
            ("replicates", all, 0),
        ] {
            source.exec_all([
                format!("DROP USER IF EXISTS {user}"),
                format!("CREATE USER {user} IDENTIFIED BY {}", literal(PASSWORD)),
                format!("GRANT SELECT ON replication.* TO {user}"),
            ])?;
            if !grants.is_empty() {
                source.exec(format!("GRANT {grants} ON *.* TO {user}"))?;
            }
            let task = stream(&pair.source, &pair.target, "replication")?.set("extractor", "username", user);
            if code == 0 {
                let mut running = follow(&task)?;
                add(&source, 1..=1)?;
                until_rows(&mut running, &target, "t", 1)?;
                stop(running)?;
            } else {
                refused(&task, code, &["REPLICATION"])?;
                assert_eq!(rows(&target)?, 0, "{kind}");
            }
        }
    }
    Ok(())
}

#[test]
fn of_two_tasks_with_one_server_id_one_ends_and_says_so() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(&pair.source, &pair.target, "one_id")?;
        let task = || {
            Ok::<_, anyhow::Error>(stream(&pair.source, &pair.target, "one_id")?.set("extractor", "server_id", "4711"))
        };
        let (first, second) = (task()?, task()?);
        let one = follow(&first)?;
        let mut other = follow(&second)?;
        let ended = one.wait()?.expect_code(3)?;
        ensure!(ended.stderr.contains("uses this server_id"), "{}", ended.said());
        add(&source, 1..=2)?;
        until_rows(&mut other, &target, "t", 2)?;
        stop(other)?;
        let own = source.value("SELECT @@server_id")?.context("null")?;
        refused(&first.set("extractor", "server_id", own), 3, &["the source's own server_id"])?;
    }
    Ok(())
}

#[test]
fn a_table_that_the_target_lacks_or_that_does_not_fit_stops_at_its_first_change() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target, task) = stopped(pair, "misfits", "false")?;
        for (make, name) in [("", "missing"), ("CREATE TABLE u (id int PRIMARY KEY)", "column `v`")] {
            target.exec("DROP TABLE IF EXISTS u")?;
            source.exec_all(["DROP TABLE IF EXISTS u", "CREATE TABLE u (id int PRIMARY KEY, v varchar(40))"])?;
            if !make.is_empty() {
                target.exec(make)?;
            }
            source.exec("INSERT INTO u VALUES (1, 'sekrit')")?;
            let refused = task.run()?.expect_code(3)?;
            ensure!(refused.stderr.contains("`misfits`.`u`") && refused.stderr.contains(name), "{}", refused.said());
            ensure!(refused.stderr.contains("what to do"), "{}", refused.said());
            ensure!(!refused.stderr.contains("sekrit"), "{}", refused.said());
        }
        // Mended, it goes on where it stopped: the change was not skipped.
        target.exec_all(["DROP TABLE u", "CREATE TABLE u (id int PRIMARY KEY, v varchar(40))"])?;
        let mut running = follow(&task)?;
        until_rows(&mut running, &target, "u", 1)?;
        stop(running)?;
    }
    Ok(())
}

#[test]
fn a_change_logged_as_a_statement_stops_the_task_and_is_not_passed_by() -> Result<()> {
    for kind in BOTH {
        let pair = Pair::start(kind, &Options::default())?;
        let (source, target, task) = stopped(&pair, "statements", "false")?;
        source.exec_all([
            "SET SESSION binlog_format = STATEMENT",
            "INSERT INTO t VALUES (3, 'sekrit')",
            "SET SESSION binlog_format = ROW",
        ])?;
        add(&source, 4..=4)?;
        for _ in 0..2 {
            let refused = task.run()?.expect_code(3)?;
            ensure!(refused.stderr.contains("statements instead of rows"), "{}", refused.said());
            ensure!(refused.stderr.contains("binlog_format=ROW"), "{}", refused.said());
            ensure!(!refused.stderr.contains("sekrit"), "{}", refused.said());
            assert_eq!(rows(&target)?, 2, "{kind}");
        }
    }
    Ok(())
}

#[test]
fn unreadable_positions_are_refused_and_named() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = table(&pair.source, &pair.target, "unreadable")?;
    let file = binlog::end(&source)?.file;
    for (position, said) in [
        (r#"{"type":"PgCdc","lsn":"0/406E2C30","timestamp":""}"#.to_owned(), "pg source"),
        (r#"{"type":"MysqlCdc","server_id":"","binlog_filename":"elsewhere.000036","next_event_position":773,"gtid_set":"","timestamp":""}"#.to_owned(), "elsewhere.000036"),
        (format!(r#"{{"type":"MysqlCdc","server_id":"","binlog_filename":"{file}","next_event_position":99999999,"gtid_set":"","timestamp":""}}"#), "behind the end"),
        (r#"{"type":"MysqlCdc","server_id":"","binlog_fi"#.to_owned(), "position.log"),
    ] {
        let task = stream(&pair.source, &pair.target, "unreadable")?;
        fs::create_dir_all(task.log_dir())?;
        let line = format!("2024-10-18 05:21:45.207788 | checkpoint_position | {position}\n");
        fs::write(task.log_dir().join("position.log"), &line)?;
        let refused = task.run()?.expect_code(3)?;
        ensure!(refused.stderr.contains(said), "{said}: {}", refused.said());
        assert_eq!(task.log("position.log")?, line);
    }
    assert_eq!(rows(&target)?, 0);
    Ok(())
}
