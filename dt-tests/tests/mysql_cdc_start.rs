//! Where a stream begins and ends, what is recorded of it, and what of the changes it copies.

mod streams;

use std::fs;

use anyhow::{Context, Result, ensure};
use dt_tests::binlog::{self, Place};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::{self, Kind, Options, Pair};
use dt_tests::task::Task;
use streams::{BOTH, checkpoint, follow, stop, stream, until_rows};

/// A table of two columns on both servers, empty.
fn table(pair: &Pair, database: &str) -> Result<(Db, Db)> {
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(40))")?;
    }
    Ok((source, target))
}

fn add(source: &Db, ids: std::ops::RangeInclusive<u32>) -> Result<()> {
    ids.into_iter().try_for_each(|id| source.exec(format!("INSERT INTO t VALUES ({id}, 'v{id}')")))
}

fn ids(db: &Db) -> Result<String> {
    let rows = db.rows("SELECT id FROM t ORDER BY id")?;
    Ok(rows.into_iter().flatten().flatten().collect::<Vec<_>>().join(" "))
}

fn of(pair: &Pair, database: &str) -> Result<Task> {
    stream(&pair.source, &pair.target, database)
}

fn text(checkpoint: &serde_json::Value, field: &str) -> Result<String> {
    Ok(checkpoint[field].as_str().with_context(|| format!("no {field} in {checkpoint}"))?.to_owned())
}

/// The stored set holds the source's first transaction, and all that `then` holds.
fn is_the_full_set(source: &Db, kind: Kind, stored: &str, then: &str) -> Result<()> {
    let holds = match kind {
        Kind::Mysql => source.number(format!("SELECT GTID_SUBSET('{then}', '{stored}')"))? == 1,
        // One number stands for all before it.
        Kind::Mariadb => {
            let number = |set: &str| set.rsplit('-').next().and_then(|number| number.parse::<u64>().ok());
            number(stored).zip(number(then)).is_some_and(|(stored, then)| stored >= then)
        }
        Kind::Postgres15 | Kind::Postgres18 => anyhow::bail!("{kind} has no binlog"),
    };
    ensure!(holds, "{kind}: the stored set `{stored}` does not hold all of `{then}`");
    Ok(())
}

#[test]
fn now_is_recorded_at_once_and_what_comes_while_the_task_is_dead_is_not_lost() -> Result<()> {
    for (kind, by_gtid) in BOTH.into_iter().flat_map(|kind| [(kind, "false"), (kind, "true")]) {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "from_now")?;
        add(&source, 1..=2)?;
        let then = binlog::end(&source)?.gtids;
        let task = of(pair, "from_now")?.set("extractor", "gtid_enabled", by_gtid).set(
            "pipeline",
            "checkpoint_interval_secs",
            "3600",
        );
        let mut running = task.spawn()?;
        running.until("a checkpoint is recorded", || Ok(checkpoint(&task)?.is_some()))?;
        let first = checkpoint(&task)?.context("no checkpoint")?;
        running.kill9()?;
        is_the_full_set(&source, kind, &text(&first, "gtid_set")?, &then)?;
        add(&source, 3..=4)?;
        let mut running = follow(&task)?;
        until_rows(&mut running, &target, "t", 2)?;
        stop(running)?;
        assert_eq!(ids(&target)?, "3 4", "{kind}");
    }
    Ok(())
}

#[test]
fn it_begins_at_a_file_and_position_and_stores_the_full_set() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "from_place")?;
        add(&source, 1..=2)?;
        let Place { file, position, .. } = binlog::end(&source)?;
        add(&source, 3..=5)?;
        let then = binlog::end(&source)?.gtids;
        let task = of(pair, "from_place")?.set("extractor", "binlog_filename", &file).set(
            "extractor",
            "binlog_position",
            &position,
        );
        let mut running = follow(&task)?;
        until_rows(&mut running, &target, "t", 3)?;
        let ended = stop(running)?;
        assert_eq!(ids(&target)?, "3 4 5", "{kind}");
        let starts = format!(
            "MysqlCdcExtractor starts, binlog_filename: {file}, binlog_position: {position}, gtid_enabled: false, gtid_set: "
        );
        ensure!(ended.log.contains(&starts), "{}", ended.said());
        let stored = checkpoint(&task)?.context("no checkpoint")?;
        is_the_full_set(&source, kind, &text(&stored, "gtid_set")?, &then)?;
    }
    Ok(())
}

#[test]
fn it_begins_after_a_gtid_set_and_stores_the_full_set() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "from_set")?;
        add(&source, 1..=2)?;
        let set = binlog::end(&source)?.gtids;
        add(&source, 3..=5)?;
        let then = binlog::end(&source)?.gtids;
        let task = of(pair, "from_set")?.set("extractor", "gtid_enabled", "true").set("extractor", "gtid_set", &set);
        let mut running = follow(&task)?;
        until_rows(&mut running, &target, "t", 3)?;
        let ended = stop(running)?;
        assert_eq!(ids(&target)?, "3 4 5", "{kind}");
        ensure!(ended.log.contains(&format!("gtid_enabled: true, gtid_set: {set}, ")), "{}", ended.said());
        let stored = checkpoint(&task)?.context("no checkpoint")?;
        is_the_full_set(&source, kind, &text(&stored, "gtid_set")?, &then)?;
    }
    Ok(())
}

/// The source's clock, some seconds later, as a task file's time.
fn time(source: &Db, later: i32) -> Result<String> {
    let time =
        source.value(format!("SELECT DATE_FORMAT(UTC_TIMESTAMP() + INTERVAL {later} SECOND, '%Y-%m-%d %H:%i:%s')"))?;
    time.context("no time")
}

/// Waits until the source's clock has passed a time.
fn until_passed(source: &Db, time: &str) -> Result<()> {
    dt_tests::deadline::until("the time has come", std::time::Duration::from_secs(30), || {
        Ok((source.number(format!("SELECT UTC_TIMESTAMP() > '{time}'"))? == 1).then_some(()))
    })
}

#[test]
fn it_begins_with_what_was_committed_at_a_time_and_ends_after_another() -> Result<()> {
    for (kind, by_gtid) in BOTH.into_iter().flat_map(|kind| [(kind, "false"), (kind, "true")]) {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "from_time")?;
        source.exec("FLUSH BINARY LOGS")?;
        add(&source, 1..=2)?;
        let before = time(&source, 0)?;
        until_passed(&source, &before)?;
        let start = time(&source, 0)?;
        add(&source, 3..=4)?;
        source.exec("FLUSH BINARY LOGS")?;
        add(&source, 5..=6)?;
        let end = time(&source, 1)?;
        until_passed(&source, &end)?;
        let task = of(pair, "from_time")?
            .set("extractor", "gtid_enabled", by_gtid)
            .set("extractor", "start_time_utc", &start)
            .set("extractor", "end_time_utc", &end);
        // Another than this change tells that the time is over, or nothing does: both must end it.
        if by_gtid == "true" {
            add(&source, 7..=7)?;
        }
        let ended = task.run()?.expect_code(0)?;
        assert_eq!(ids(&target)?, "3 4 5 6", "{kind}, gtid_enabled={by_gtid}: {}", ended.said());
        ensure!(ended.log.contains("stream done: changes: 4"), "{}", ended.said());
        // What is recorded is the end: a later start without it brings what is left, and once.
        let later = task.unset("extractor", "end_time_utc");
        add(&source, 8..=8)?;
        let mut running = follow(&later)?;
        until_rows(&mut running, &target, "t", if by_gtid == "true" { 6 } else { 5 })?;
        stop(running)?;
        equal_but(&source, &target, "id > 2")?;
    }
    Ok(())
}

#[test]
fn after_a_gtid_set_it_ends_only_when_everything_until_the_end_time_is_read() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "set_to_time")?;
        add(&source, 1..=2)?;
        let set = binlog::end(&source)?.gtids;
        add(&source, 3..=5)?;
        let end = time(&source, 1)?;
        until_passed(&source, &end)?;
        // The time is over before the first event has come: what the server has not sent yet is still to be had.
        let task = of(pair, "set_to_time")?
            .set("extractor", "gtid_enabled", "true")
            .set("extractor", "gtid_set", &set)
            .set("extractor", "end_time_utc", &end);
        let ended = task.run()?.expect_code(0)?;
        assert_eq!(ids(&target)?, "3 4 5", "{kind}: {}", ended.said());
    }
    Ok(())
}

#[test]
fn mariadb_is_followed_by_gtid_behind_an_event_that_it_does_not_look_over_itself() -> Result<()> {
    let pair = Pair::start(Kind::Mariadb, &Options::default())?;
    let (source, target) = pair.database("large_event")?;
    for db in [&source, &target] {
        db.exec_all([
            "CREATE TABLE t (id int PRIMARY KEY, v longblob)",
            "SET GLOBAL max_allowed_packet = 64 * 1024 * 1024",
        ])?;
    }
    // Sessions have the limit that was there when they began.
    let large = pair.source.db()?;
    large.exec("INSERT INTO large_event.t VALUES (1, REPEAT('x', 20000000))")?;
    source.exec("SET GLOBAL max_allowed_packet = 16 * 1024 * 1024")?;
    let Place { file, position, .. } = binlog::end(&source)?;
    let asked = pair.source.db()?.value(format!("SELECT BINLOG_GTID_POS('{file}', {position})"))?;
    assert_eq!(asked, None, "the server does tell its position: the test tests nothing");
    source.exec("SET GLOBAL max_allowed_packet = 64 * 1024 * 1024")?;
    add(&source, 2..=3)?;
    let then = binlog::end(&source)?.gtids;
    source.exec("SET GLOBAL max_allowed_packet = 16 * 1024 * 1024")?;
    let task = of(&pair, "large_event")?.set("extractor", "binlog_filename", &file).set(
        "extractor",
        "binlog_position",
        &position,
    );
    let mut running = follow(&task)?;
    until_rows(&mut running, &target, "t", 2)?;
    stop(running)?;
    assert_eq!(ids(&target)?, "2 3");
    let stored = checkpoint(&task)?.context("no checkpoint")?;
    is_the_full_set(&source, Kind::Mariadb, &text(&stored, "gtid_set")?, &then)
}

fn equal_but(source: &Db, target: &Db, condition: &str) -> Result<()> {
    let rows = |db: &Db| db.rows(format!("SELECT id, v FROM t WHERE {condition} ORDER BY id"));
    assert_eq!(rows(source)?, rows(target)?);
    Ok(())
}

#[test]
fn it_ends_by_itself_on_an_idle_source_when_the_time_comes() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "ends_idle")?;
        let task = of(pair, "ends_idle")?.set("extractor", "binlog_heartbeat_interval_secs", "1").set(
            "extractor",
            "end_time_utc",
            time(&source, 3)?,
        );
        let mut running = follow(&task)?;
        add(&source, 1..=2)?;
        until_rows(&mut running, &target, "t", 2)?;
        let ended = running.wait()?.expect_code(0)?;
        ensure!(ended.log.contains("stream done: changes: 2"), "{}", ended.said());
    }
    Ok(())
}

/// A position as the documents write it.
fn documented(file: &str, position: &str) -> String {
    format!(
        r#"{{"type":"MysqlCdc","server_id":"","binlog_filename":"{file}","next_event_position":{position},"gtid_set":"","timestamp":"2024-10-18 05:21:44.000"}}"#
    )
}

#[test]
fn the_examples_of_the_documents_resume_as_they_say_they_do() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "documents")?;
        let begin = binlog::end(&source)?;
        add(&source, 1..=2)?;
        let Place { file, position, .. } = binlog::end(&source)?;
        add(&source, 3..=4)?;
        let json = documented(&file, &position);
        let line = format!("2024-10-18 05:21:45.207788 | checkpoint_position | {json}\n");
        for from_config in [false, true] {
            target.exec("TRUNCATE t")?;
            let task = of(pair, "documents")?
                .set("extractor", "binlog_filename", &begin.file)
                .set("extractor", "binlog_position", &begin.position)
                .unset("resumer", "resume_type");
            let folder = task.log_dir();
            fs::create_dir_all(&folder)?;
            let task = if from_config {
                fs::write(folder.with_file_name("resume.config"), &line)?;
                task.set("resumer", "resume_config_file", "./resume.config")
            } else {
                fs::write(folder.join("position.log"), &line)?;
                task.set("resumer", "resume_from_log", "true")
            };
            let mut running = follow(&task)?;
            until_rows(&mut running, &target, "t", 2)?;
            let ended = stop(running)?;
            assert_eq!(ids(&target)?, "3 4", "{kind}");
            let resumed = ended.log.find(&format!("resume from: {json}")).with_context(|| ended.said())?;
            let starts = format!(
                "MysqlCdcExtractor starts, binlog_filename: {file}, binlog_position: {position}, gtid_enabled: false, gtid_set: "
            );
            let starts = ended.log.find(&starts).with_context(|| ended.said())?;
            ensure!(resumed < starts, "{}", ended.said());
            ensure!(ended.log.contains(", heartbeat_interval_secs: "), "{}", ended.said());
        }
    }
    Ok(())
}

#[test]
fn position_log_wins_over_resume_config() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = table(pair, "both_files")?;
    let older = binlog::end(&source)?;
    add(&source, 1..=2)?;
    let Place { file, position, .. } = binlog::end(&source)?;
    add(&source, 3..=4)?;
    let task = of(pair, "both_files")?.set("resumer", "config_file", "resume.config");
    fs::create_dir_all(task.log_dir())?;
    fs::write(
        task.log_dir().with_file_name("resume.config"),
        format!("// by hand\n\n{}\n", documented(&older.file, &older.position)),
    )?;
    fs::write(
        task.log_dir().join("position.log"),
        format!("2024-10-18 05:21:45.207788 | checkpoint_position | {}\n", documented(&file, &position)),
    )?;
    let mut running = follow(&task)?;
    until_rows(&mut running, &target, "t", 2)?;
    stop(running)?;
    assert_eq!(ids(&target)?, "3 4");
    Ok(())
}

#[test]
fn restarts_in_a_row_go_on_from_the_newest_and_through_new_files() -> Result<()> {
    for (kind, by_gtid) in BOTH.into_iter().flat_map(|kind| [(kind, "false"), (kind, "true")]) {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "restarts")?;
        // Without a key: what is read twice is there twice.
        for db in [&source, &target] {
            db.exec("ALTER TABLE t DROP PRIMARY KEY")?;
        }
        let task = of(pair, "restarts")?.set("extractor", "gtid_enabled", by_gtid);
        let mut before = String::new();
        for round in 0..4 {
            let mut running = follow(&task)?;
            add(&source, round * 10 + 1..=round * 10 + 5)?;
            source.exec("FLUSH BINARY LOGS")?;
            add(&source, round * 10 + 6..=round * 10 + 8)?;
            until_rows(&mut running, &target, "t", u64::from(round + 1) * 8)?;
            let ended = stop(running)?;
            let resumed: Vec<&str> =
                ended.log.lines().filter_map(|line| line.split_once("resume from: ")).map(|(_, json)| json).collect();
            assert_eq!(resumed.len(), round as usize, "{}", ended.said());
            if let Some(last) = resumed.last() {
                assert_eq!(*last, before, "{}", ended.said());
            }
            before = checkpoint(&task)?.context("no checkpoint")?.to_string();
            let at = format!("{} ", task.log("position.log")?);
            let (_, json) = at.trim_end().rsplit_once(" | checkpoint_position | ").context("no checkpoint")?;
            before = json.lines().next().unwrap_or(&before).to_owned();
            equal("restarts", &source, &target)?;
        }
    }
    Ok(())
}

#[test]
fn the_heartbeat_row_moves_the_position_of_an_idle_source() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "beats")?;
        let task = of(pair, "beats")?.set("extractor", "heartbeat_interval_secs", "1").set(
            "extractor",
            "heartbeat_tb",
            "heartbeat_db.ape_dts_heartbeat",
        );
        source.exec("DROP DATABASE IF EXISTS heartbeat_db")?;
        let mut running = follow(&task)?;
        running.until("a checkpoint is recorded", || Ok(checkpoint(&task)?.is_some()))?;
        let place = |task: &Task| -> Result<(String, u64)> {
            let at = checkpoint(task)?.context("no checkpoint")?;
            Ok((text(&at, "binlog_filename")?, at["next_event_position"].as_u64().context("no position")?))
        };
        let first = place(&task)?;
        running.until("the position moves", || Ok(place(&task)? > first))?;
        let row = "SELECT COUNT(*) FROM heartbeat_db.ape_dts_heartbeat WHERE update_timestamp > ''";
        assert_eq!(source.number(row)?, 1, "{kind}");
        let beat = || source.value("SELECT update_timestamp FROM heartbeat_db.ape_dts_heartbeat");
        let now = beat()?;
        running.until("it beats again", || Ok(beat()? != now))?;
        let ended = stop(running)?;
        let said = "heartbeat_interval_secs: 1, heartbeat_tb: heartbeat_db.ape_dts_heartbeat";
        ensure!(ended.log.contains(said), "{}", ended.said());
        assert_eq!(ids(&target)?, "", "{kind}");
        let there =
            target.number("SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'heartbeat_db'")?;
        assert_eq!(there, 0, "{kind}: the heartbeat is of the source alone");
    }
    Ok(())
}

#[test]
fn only_the_events_that_are_asked_for_are_copied() -> Result<()> {
    for (kind, events, expected) in BOTH.into_iter().flat_map(|kind| {
        [
            (kind, "insert", "1 a|2 a|3 a"),
            (kind, "insert,update", "1 a|2 b|3 a"),
            (kind, "insert,delete", "1 a|2 a"),
            (kind, "delete", ""),
        ]
    }) {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "events")?;
        let task = of(pair, "events")?.set("filter", "do_events", events).set(
            "extractor",
            "end_time_utc",
            "2020-01-01 00:00:00",
        );
        // The end is long past: it copies what is there at its start, and ends.
        let Place { file, position, .. } = binlog::end(&source)?;
        source.exec_all([
            "INSERT INTO t VALUES (1, 'a'), (2, 'a'), (3, 'a')",
            "UPDATE t SET v = 'b' WHERE id = 2",
            "DELETE FROM t WHERE id = 3",
        ])?;
        let task = task.unset("extractor", "end_time_utc").set("extractor", "binlog_filename", file).set(
            "extractor",
            "binlog_position",
            position,
        );
        let mut running = follow(&task)?;
        until_recorded(&mut running, &task, &source)?;
        stop(running)?;
        let rows = target.rows("SELECT CONCAT(id, ' ', v) FROM t ORDER BY id")?;
        assert_eq!(rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("|"), expected, "{kind}, {events}");
    }
    Ok(())
}

/// Waits until everything that the source has logged by now is recorded.
fn until_recorded(running: &mut dt_tests::task::Running, task: &Task, source: &Db) -> Result<()> {
    let Place { file, position, .. } = binlog::end(source)?;
    let position: u64 = position.parse()?;
    running.until("everything is recorded", || {
        let Some(at) = checkpoint(task)? else { return Ok(false) };
        let at_file = text(&at, "binlog_filename")?;
        Ok(at_file > file || (at_file == file && at["next_event_position"].as_u64() >= Some(position)))
    })
}

#[test]
fn changes_go_where_the_router_says_without_the_columns_that_are_ignored() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "routed")?;
        source.exec("CREATE TABLE u (id int PRIMARY KEY, a int, secret varchar(9), b varchar(9))")?;
        target.exec_all([
            "DROP DATABASE IF EXISTS routed_to",
            "CREATE DATABASE routed_to",
            "CREATE TABLE routed_to.t (id int PRIMARY KEY, v varchar(40))",
            "CREATE TABLE routed.elsewhere (id int PRIMARY KEY, b varchar(9), renamed int)",
        ])?;
        let task = of(pair, "routed")?
            .set("router", "db_map", "routed:routed_to")
            .set("router", "tb_map", "routed.u:routed.elsewhere")
            .set("router", "col_map", r#"json:[{"db":"routed","tb":"u","col_map":{"a":"renamed"}}]"#)
            .set("filter", "ignore_cols", r#"json:[{"db":"routed","tb":"u","ignore_cols":["secret"]}]"#);
        let mut running = follow(&task)?;
        add(&source, 1..=3)?;
        source.exec_all([
            "INSERT INTO u VALUES (1, 1, 'x', 'b'), (2, 2, 'x', 'b'), (3, 3, 'x', 'b')",
            "UPDATE u SET a = a * 10, secret = 'y' WHERE id = 2",
            "UPDATE u SET id = 4 WHERE id = 1",
            "DELETE FROM u WHERE id = 3",
            "UPDATE t SET v = 'changed' WHERE id = 2",
        ])?;
        until_recorded(&mut running, &task, &source)?;
        stop(running)?;
        assert!(Judge::new(&source, &target).tables(("routed", "t"), ("routed_to", "t"))?.is_equal(), "{kind}");
        let rows = target.rows("SELECT CONCAT_WS(' ', id, renamed, b) FROM elsewhere ORDER BY id")?;
        assert_eq!(rows.into_iter().flatten().flatten().collect::<Vec<_>>().join("|"), "2 20 b|4 1 b", "{kind}");
        assert_eq!(ids(&target)?, "", "{kind}");
    }
    Ok(())
}

#[test]
fn a_dummy_target_takes_everything_and_the_position_moves() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target) = table(pair, "thrown_away")?;
        let task = of(pair, "thrown_away")?.set("sinker", "sink_type", "dummy");
        let mut running = follow(&task)?;
        add(&source, 1..=5)?;
        until_recorded(&mut running, &task, &source)?;
        let ended = stop(running)?;
        ensure!(ended.log.contains("stream stopped: changes: 5"), "{}", ended.said());
        assert_eq!(ids(&target)?, "", "{kind}");
    }
    Ok(())
}

#[test]
fn check_says_where_a_stream_would_go_on_and_changes_nothing() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = table(pair, "checked")?;
    let task = of(pair, "checked")?;
    let first = task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
    ensure!(first.stdout.contains("no position is stored"), "{}", first.said());
    assert_eq!(task.log("position.log")?, "");
    let mut running = follow(&task)?;
    add(&source, 1..=2)?;
    until_rows(&mut running, &target, "t", 2)?;
    stop(running)?;
    let before = task.log("position.log")?;
    let second = task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
    ensure!(second.stdout.contains("resume from: {\"type\":\"MysqlCdc\""), "{}", second.said());
    assert_eq!(task.log("position.log")?, before);
    Ok(())
}

/// All tables of the database hold the same rows.
fn equal(database: &str, source: &Db, target: &Db) -> Result<()> {
    for (table, verdict) in Judge::new(source, target).database(database)? {
        ensure!(verdict.is_equal(), "`{database}`.`{table}`: {verdict}");
    }
    Ok(())
}
