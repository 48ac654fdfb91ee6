//! `dt-main position` on the positions of streams: the room that the source's log gives, places that are rewound to, and
//! logs that do not hold what is to be read any more.

mod mongo_streams;
mod pg_streams;
mod streams;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::binlog;
use dt_tests::db::Db;
use dt_tests::deadline;
use dt_tests::positions::Positions;
use dt_tests::servers::{self, Kind, Options, Pair, Server, mongo};
use dt_tests::task::{Finished, Task};
use mongodb::bson::doc;
use serde_json::Value;

fn json(finished: &Finished) -> Result<Value> {
    serde_json::from_str(&finished.stdout).with_context(|| format!("no JSON: {}", finished.said()))
}

fn says(finished: &Finished, texts: &[&str]) -> Result<()> {
    for text in texts {
        ensure!(finished.said().contains(text), "`{text}` is not said: {}", finished.said());
    }
    Ok(())
}

/// A table without a key: what is applied twice is there twice.
fn keyless(source: &Server, target: &Server, database: &str) -> Result<(Db, Db, Task)> {
    let dbs = (source.db()?, target.db()?);
    for db in [&dbs.0, &dbs.1] {
        db.exec_all([
            format!("DROP DATABASE IF EXISTS {database}"),
            format!("CREATE DATABASE {database}"),
            format!("USE {database}"),
            "CREATE TABLE t (id int)".to_owned(),
        ])?;
    }
    Ok((dbs.0, dbs.1, streams::stream(source, target, database)?))
}

fn add(source: &Db, ids: std::ops::RangeInclusive<u64>) -> Result<()> {
    ids.into_iter().try_for_each(|id| source.exec(format!("INSERT INTO t VALUES ({id})")))
}

/// Follows until the target has as many rows; the checkpoint that is stored then.
fn followed(task: &Task, target: &Db, change: impl FnOnce() -> Result<()>, rows: u64) -> Result<Value> {
    let mut running = streams::follow(task)?;
    change()?;
    streams::until_rows(&mut running, target, "t", rows)?;
    streams::stop(running)?;
    let shown = json(&task.position(&["show", "--json"])?.expect_code(0)?)?;
    Ok(shown["streams"][0]["checkpoint"]["position"].clone())
}

#[test]
fn a_stream_of_mysql_is_rewound_to_an_earlier_checkpoint_and_replays_what_came_since() -> Result<()> {
    for (kind, by_gtid) in [(Kind::Mysql, "false"), (Kind::Mysql, "true"), (Kind::Mariadb, "true")] {
        let pair = servers::pair(kind)?;
        let (source, target, task) = keyless(&pair.source, &pair.target, "pos_replay")?;
        let task = task.set("extractor", "gtid_enabled", by_gtid);
        let first = followed(&task, &target, || add(&source, 1..=5), 5)?;
        let second = followed(&task, &target, || add(&source, 6..=9), 9)?;
        ensure!(first != second && first["type"] == "MysqlCdc", "{kind}: {first}, {second}");
        let done = task.position(&["rewind", "--yes", "--to", &first.to_string()])?.expect_code(0)?;
        says(&done, &["the next start follows from "])?;
        let shown = json(&task.position(&["show", "--json"])?.expect_code(0)?)?;
        ensure!(shown["streams"][0]["checkpoint"]["position"] == first, "{kind}: {shown}");
        ensure!(shown["streams"][0]["current"]["position"] == first, "{kind}: {shown}");
        // The four rows come again, and are there twice.
        followed(&task, &target, || Ok(()), 13)?;
        // Ahead is a loss: only if it is asked for.
        task.position(&["rewind", "--yes", "--to", &first.to_string()])?.expect_code(0)?;
        let refused = task.position(&["rewind", "--yes", "--to", &second.to_string()])?.expect_code(3)?;
        says(&refused, &["the changes in between would never be applied", "--allow-skip"])?;
        task.position(&["rewind", "--yes", "--allow-skip", "--to", &second.to_string()])?.expect_code(0)?;
        followed(&task, &target, || add(&source, 10..=10), 14)?;
        let other = r#"{"type":"PgCdc","lsn":"0/1","timestamp":""}"#;
        says(&task.position(&["rewind", "--yes", "--to", other])?.expect_code(2)?, &["a place of a pg stream"])?;
    }
    Ok(())
}

#[test]
fn a_place_within_a_transaction_is_none_to_rewind_to() -> Result<()> {
    for kind in streams::BOTH {
        let pair = servers::pair(kind)?;
        let (source, target, task) = keyless(&pair.source, &pair.target, "pos_within")?;
        let transaction =
            || source.exec_all(["BEGIN", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)", "COMMIT"]);
        let mut place = followed(&task, &target, transaction, 2)?;
        let file = place["binlog_filename"].as_str().context("no file")?.to_owned();
        // The places that the server lists: those of the transaction's own events are none to begin at.
        let events = source.rows(format!("SHOW BINLOG EVENTS IN '{file}'"))?;
        let within = events.iter().rev().filter(|row| row[2].as_deref() == Some("Table_map"));
        for row in within.take(2) {
            let at: u64 = row[1].as_deref().context("no place")?.parse()?;
            place["next_event_position"] = at.into();
            place["gtid_set"] = "".into();
            let refused = task.position(&["rewind", "--yes", "--to", &place.to_string()])?.expect_code(3)?;
            says(&refused, &["the place to begin at lies within a transaction", &format!("{file}:{at}")])?;
        }
    }
    Ok(())
}

#[test]
fn a_stream_of_mysql_is_rewound_to_a_time() -> Result<()> {
    for kind in streams::BOTH {
        let pair = servers::pair(kind)?;
        let (source, target, task) = keyless(&pair.source, &pair.target, "pos_time")?;
        let clock = || source.value("SELECT UTC_TIMESTAMP()")?.context("no time");
        let next_second = || {
            let now = clock()?;
            deadline::until("the next second", Duration::from_secs(5), || Ok((clock()? > now).then_some(())))
        };
        let mut running = streams::follow(&task)?;
        add(&source, 1..=5)?;
        next_second()?;
        let between = clock()?;
        add(&source, 6..=9)?;
        streams::until_rows(&mut running, &target, "t", 9)?;
        streams::stop(running)?;
        task.position(&["rewind", "--yes", "--time", &between])?.expect_code(0)?;
        followed(&task, &target, || Ok(()), 13)?;
        ensure!(target.number("SELECT COUNT(*) FROM t WHERE id <= 5")? == 5, "{kind}: earlier rows came again");
        let long_ago = task.position(&["rewind", "--yes", "--time", "2001-01-01 00:00:00"])?.expect_code(3)?;
        says(&long_ago, &["the source's binlog does not reach back"])?;
        next_second()?;
        // The log has nothing of that time yet: its end is ahead of what is stored only if there is something between.
        add(&source, 10..=10)?;
        let ahead = task.position(&["rewind", "--yes", "--time", "2099-01-01 00:00:00"])?.expect_code(3)?;
        says(&ahead, &["--allow-skip"])?;
    }
    Ok(())
}

#[test]
fn the_binlog_s_head_room_is_told_and_a_purge_is_found() -> Result<()> {
    let pair = Pair::start(Kind::Mysql, &Options::default())?;
    let (source, target, task) = keyless(&pair.source, &pair.target, "pos_room")?;
    followed(&task, &target, || add(&source, 1..=2), 2)?;
    source.exec("FLUSH BINARY LOGS")?;
    add(&source, 3..=4)?;
    let told = json(&task.position(&["explain", "--json"])?.expect_code(0)?)?;
    let room = &told["head_room"];
    ensure!(told["would"] == "follow" && told["resume_from"]["type"] == "MysqlCdc", "{told}");
    ensure!(room["bytes_to_read"].as_u64().is_some_and(|bytes| bytes > 0), "{told}");
    ensure!(room["kept_for_secs"] == 2_592_000 && room["newest_file"] != room["oldest_file"], "{told}");
    says(
        &task.position(&["explain"])?.expect_code(0)?,
        &["a start would follow from", "kept for secs: 2592000 (30 days)"],
    )?;
    says(&task.position(&["verify"])?.expect_code(0)?, &["holds: the source's log goes on from"])?;
    source.exec("FLUSH BINARY LOGS")?;
    let file = binlog::end(&source)?.file;
    deadline::until("the first files are purged", Duration::from_secs(30), || {
        source.exec(format!("PURGE BINARY LOGS TO '{file}'"))?;
        Ok((source.rows("SHOW BINARY LOGS")?.len() == 1).then_some(()))
    })?;
    let found = task.position(&["verify"])?.expect_code(3)?;
    says(&found, &["does not hold: the binlog file to go on from is purged", "  what to do: copy the tables anew"])?;
    says(&task.position(&["explain"])?.expect_code(3)?, &["a start would stop at once", "is purged"])?;
    // Only what is stored can be looked at without the source.
    task.position(&["show"])?.expect_code(0)?;
    Ok(())
}

#[test]
fn a_slot_s_head_room_is_told_and_a_slot_that_is_gone_is_found() -> Result<()> {
    for kind in [Kind::Postgres15, Kind::Postgres18] {
        let pair = servers::pair(kind)?;
        let table = "CREATE TABLE t (id int PRIMARY KEY, v text)";
        let (source, target, task) = pg_streams::set_up(pair, "pos_slot", &[table])?;
        let task = Positions::on(Kind::Postgres15, "at_slot")?.of(task);
        pg_streams::followed(&task, &source, &target, &["INSERT INTO t VALUES (1, 'a')"])?;
        let shown = json(&task.position(&["show", "--json"])?.expect_code(0)?)?;
        let checkpoint = shown["streams"][0]["checkpoint"]["position"].clone();
        ensure!(checkpoint["slot"] == "pos_slot" && shown["store"]["resume_type"] == "from_db", "{kind}: {shown}");
        ensure!(shown["streams"][0]["checkpoint"]["age_secs"].as_u64().is_some_and(|age| age < 300), "{kind}: {shown}");
        source.exec("INSERT INTO t VALUES (2, 'b')")?;
        // A commit that is not waited for is in the log a little later.
        let told = deadline::until("there is something to read", Duration::from_secs(10), || {
            let told = json(&task.position(&["explain", "--json"])?.expect_code(0)?)?;
            Ok((told["head_room"]["bytes_to_read"].as_u64() > Some(0)).then_some(told))
        })?;
        let room = &told["head_room"];
        ensure!(room["slot"] == "pos_slot" && room["wal_status"] == "reserved", "{kind}: {told}");
        ensure!(room["retained_bytes"].is_u64() && room["confirmed_flush_lsn"].is_string(), "{kind}: {told}");
        task.position(&["verify"])?.expect_code(0)?;
        // Back is as far as the slot holds, and a time is none of its places.
        let earlier = r#"{"type":"PgCdc","lsn":"0/10","timestamp":""}"#;
        let refused = task.position(&["rewind", "--yes", "--to", earlier])?.expect_code(3)?;
        says(&refused, &["the replication slot is ahead of the stored position"])?;
        let refused = task.position(&["rewind", "--yes", "--time", "2026-01-01 00:00:00"])?.expect_code(3)?;
        says(&refused, &["cannot be rewound to a time", "confirmed_flush_lsn"])?;
        let end = source.value("SELECT pg_current_wal_lsn()::text")?.context("no LSN")?;
        let ahead = format!(r#"{{"type":"PgCdc","lsn":"{end}","timestamp":""}}"#);
        says(&task.position(&["rewind", "--yes", "--to", &ahead])?.expect_code(3)?, &["--allow-skip"])?;
        pg_streams::followed(&task, &source, &target, &[])?;
        pg_streams::drop_slot(pair, "pos_slot")?;
        let found = task.position(&["verify", "--json"])?.expect_code(3)?;
        let what = json(&found)?["findings"][0]["what"].as_str().unwrap_or_default().to_owned();
        ensure!(what.contains("the replication slot is gone"), "{kind}: {}", found.said());
    }
    Ok(())
}

#[test]
fn an_oplog_s_head_room_is_told_and_a_stream_of_mongodb_is_rewound() -> Result<()> {
    let pair = mongo::pair()?;
    for by in mongo_streams::BOTH {
        let (source, target, task) = mongo_streams::set_up(pair, "pos_oplog", by)?;
        let insert = |id: i32| {
            mongo_streams::write(&source, "pos_oplog", doc! {"insert": "t", "documents": [{"_id": id}]}).map(drop)
        };
        mongo_streams::followed(&task, &source, &target, "pos_oplog", || insert(1))?;
        let first = mongo_streams::position(&task)?.context("no position")?;
        mongo_streams::followed(&task, &source, &target, "pos_oplog", || insert(2))?;
        let told = json(&task.position(&["explain", "--json"])?.expect_code(0)?)?;
        let room = &told["head_room"];
        for name in ["head_room_secs", "oplog_secs", "secs_to_read"] {
            ensure!(room[name].is_u64(), "{by}: {told}");
        }
        ensure!(room["oplog_begins"].is_string() && told["head_room_warning"].is_null(), "{by}: {told}");
        task.position(&["verify"])?.expect_code(0)?;
        // What is taken away in the target comes again from the earlier place on, and nothing from before it.
        let delete = doc! {"delete": "t", "deletes": [{"q": {}, "limit": 0}]};
        mongo_streams::write(&target, "pos_oplog", delete)?;
        task.position(&["rewind", "--yes", "--to", &first.to_string()])?.expect_code(0)?;
        let mut running = mongo_streams::follow(&task)?;
        mongo_streams::caught_up(&mut running, &source, &target, "pos_oplog")?;
        mongo_streams::stop(running)?;
        ensure!(target.count("pos_oplog", "t")? == 1, "{by}: {} documents came", target.count("pos_oplog", "t")?);
        let begins = first["timestamp"].as_str().and_then(|time| time.split('.').next()).context("no time")?.to_owned();
        task.position(&["rewind", "--yes", "--time", &begins])?.expect_code(0)?;
        let ahead = task.position(&["rewind", "--yes", "--time", "2001-01-01 00:00:00"])?.expect_code(3)?;
        says(&ahead, &["no longer in the source's oplog"])?;
    }
    Ok(())
}
