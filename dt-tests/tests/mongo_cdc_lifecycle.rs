//! What a running stream of MongoDB does when it is told to stop, when connections break, when servers go away and come
//! back or another member becomes primary, and when nothing happens.

mod mongo_streams;

use anyhow::{Context, Result, ensure};
use dt_common::failpoint::Failpoint;
use dt_tests::mongo::Mongo;
use dt_tests::proxy::Proxy;
use dt_tests::servers::mongo::set::MongoSet;
use dt_tests::servers::mongo::{self, MongoPair, MongoServer, Setup};
use dt_tests::task::{Running, Task};
use mongo_streams::{BOTH, caught_up, equal, follow, position, set_up, starts, stop, stream, time, update, write};
use mongodb::bson::{Bson, doc};

/// Inserts documents, and changes each of them.
fn add(source: &Mongo, database: &str, ids: std::ops::Range<i32>) -> Result<()> {
    for id in ids {
        write(source, database, doc! {"insert": "t", "documents": [{"_id": id, "list": []}]})?;
        write(source, database, update("t", id, doc! {"$push": {"list": id}}))?;
    }
    Ok(())
}

#[test]
fn sigterm_drains_and_records_and_the_resume_does_nothing_again() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_sigterm", by)?;
        let task = task.set("pipeline", "checkpoint_interval_secs", "3600");
        for round in 0..3 {
            let mut running = follow(&task)?;
            add(&source, "m_sigterm", round * 100..round * 100 + 50)?;
            running.until("some are there", || Ok(target.count("m_sigterm", "t")? > 0))?;
            stop(running)?;
            // What was applied is recorded: it may be gone now, and does not come again.
            let applied = target.count("m_sigterm", "t")?;
            target.command("m_sigterm", doc! {"delete": "t", "deletes": [{"q": {}, "limit": 0}]})?;
            let mut running = follow(&task)?;
            caught_up(&mut running, &source, &target, "m_sigterm")?;
            stop(running)?;
            let came = target.count("m_sigterm", "t")?;
            ensure!(applied + came == 50, "{by}, round {round}: {applied} were applied, then {came}");
            target.command("m_sigterm", doc! {"delete": "t", "deletes": [{"q": {}, "limit": 0}]})?;
        }
    }
    Ok(())
}

#[test]
fn an_idle_stream_goes_on_in_the_source_s_log() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, _, task) = set_up(pair, "m_idle", by)?;
        let mut running = follow(&task)?;
        // Nothing of the task's own, only of another database.
        let reply = write(&source, "m_others", doc! {"insert": "t", "documents": [{"v": 1}]})?;
        let written = reply.get_timestamp("operationTime")?;
        running.until("the position is behind the other database's document", || {
            let Some(position) = position(&task)? else { return Ok(false) };
            Ok(time(&position)? >= (written.time.into(), written.increment.into()))
        })?;
        let finished = stop(running)?;
        ensure!(finished.log.matches("resume from").count() == 0, "{}", finished.said());
    }
    Ok(())
}

#[test]
fn a_heartbeat_is_written_and_moves_the_position() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, _, task) = set_up(pair, "m_beat", by)?;
        source.command("m_beats", doc! {"dropDatabase": 1})?;
        let task =
            task.set("extractor", "heartbeat_interval_secs", "1").set("extractor", "heartbeat_tb", "m_beats.beat");
        let mut running = follow(&task)?;
        running.until("a heartbeat is there", || Ok(source.count("m_beats", "beat")? == 1))?;
        let at = |position: Option<serde_json::Value>| position.as_ref().map(time).transpose();
        let before = at(position(&task)?)?;
        running.until("the position has moved", || Ok(at(position(&task)?)? > before))?;
        stop(running)?;
        let bytes = source.documents("m_beats", "beat")?.pop().context("no heartbeat")?;
        let beat = mongodb::bson::Document::from_reader(&bytes[..])?;
        ensure!(matches!(beat.get("update_timestamp"), Some(Bson::DateTime(_))), "{beat}");
    }
    Ok(())
}

/// Adds documents, and in between does something to the connections.
fn survives(
    running: &mut Running,
    source: &Mongo,
    target: &Mongo,
    database: &str,
    mut blow: impl FnMut() -> Result<()>,
) -> Result<()> {
    for round in 0..3 {
        add(source, database, round * 60..round * 60 + 30)?;
        blow()?;
        add(source, database, round * 60 + 30..round * 60 + 60)?;
        caught_up(running, source, target, database)?;
    }
    Ok(())
}

#[test]
fn cut_connections_at_either_end_are_made_again() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        for (section, server) in [("extractor", &pair.source), ("sinker", &pair.target)] {
            let (source, target, task) = set_up(pair, "m_cut", by)?;
            let proxy = Proxy::start(server.port())?;
            let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", proxy.port());
            let task = task.set(section, "url", url);
            let mut running = follow(&task)?;
            survives(&mut running, &source, &target, "m_cut", || {
                proxy.cut();
                Ok(())
            })?;
            stop(running)?;
            equal(&source, &target, "m_cut")?;
        }
    }
    Ok(())
}

#[test]
fn a_killed_cursor_is_opened_again() -> Result<()> {
    let pair = MongoPair::start(&Setup::default())?;
    for by in BOTH {
        let (source, target, task) = set_up(&pair, "m_killed_cursor", by)?;
        let killer = pair.source.client()?;
        let mut running = follow(&task)?;
        survives(&mut running, &source, &target, "m_killed_cursor", || {
            killer.command("admin", doc! {"killAllSessions": []}).map(drop)
        })?;
        let log = stop(running)?.log;
        ensure!(log.contains("trying again in"), "no cursor was killed:\n{log}");
        equal(&source, &target, "m_killed_cursor")?;
    }
    Ok(())
}

#[test]
fn servers_may_restart_and_be_killed_in_mid_stream() -> Result<()> {
    let pair = MongoPair::start(&Setup::default())?;
    let database = "m_restarts";
    let tasks: Vec<Task> = BOTH.iter().map(|by| stream(&pair, database, by)).collect::<Result<_>>()?;
    for (turn, task) in tasks.iter().enumerate() {
        pair.without(&[database])?;
        let mut running = follow(task)?;
        for (round, (of_source, kill)) in (0..).zip([(true, turn == 0), (false, turn == 1)]) {
            add(&pair.source.client()?, database, round * 60..round * 60 + 30)?;
            let server: &MongoServer = if of_source { &pair.source } else { &pair.target };
            match kill {
                true => server.kill9()?,
                false => server.stop()?,
            }
            server.up()?;
            let (source, target) = (pair.source.client()?, pair.target.client()?);
            add(&source, database, round * 60 + 30..round * 60 + 60)?;
            caught_up(&mut running, &source, &target, database)?;
        }
        stop(running)?;
        ensure!(starts(task)? == 1, "the task itself has begun again");
        equal(&pair.source.client()?, &pair.target.client()?, database)?;
    }
    Ok(())
}

#[test]
fn a_transaction_that_a_killed_process_has_left_open_is_ended_by_the_next_start() -> Result<()> {
    let pair = MongoPair::start(&Setup::default())?;
    let (source, target, task) = set_up(&pair, "m_left", "change_stream")?;
    // Nobody but the next start ends it.
    target.command("admin", doc! {"setParameter": 1, "transactionLifetimeLimitSeconds": 3600})?;
    for server in [&source, &target] {
        server.command(
            "m_left",
            doc! {"createIndexes": "t", "indexes": [{"key": {"v": 1}, "name": "v", "unique": true}]},
        )?;
    }
    // A start to go on from.
    let mut running = follow(&task)?;
    caught_up(&mut running, &source, &target, "m_left")?;
    stop(running)?;
    write(&source, "m_left", doc! {"insert": "t", "documents": [{"_id": 1, "v": 1}, {"_id": 2, "v": 2}]})?;
    task.spawn_armed(Failpoint::TargetRows, 1)?.wait()?.expect_code(128 + 6)?;
    let left = doc! {"transaction": {"$exists": true}, "active": false};
    let listing =
        doc! {"aggregate": 1, "cursor": {}, "pipeline": [{"$currentOp": {"idleSessions": true}}, {"$match": left}]};
    let listed = target.command("admin", listing)?;
    let listed = listed.get_document("cursor")?.get_array("firstBatch")?.len();
    // A count tells of documents that are not committed, too.
    ensure!(listed == 1 && target.documents("m_left", "t")?.is_empty(), "{listed} transactions were left");
    let mut running = follow(&task)?;
    caught_up(&mut running, &source, &target, "m_left")?;
    let finished = stop(running)?;
    ensure!(finished.log.contains("1 transactions of an earlier process"), "{}", finished.said());
    equal(&source, &target, "m_left").map(drop)
}

#[test]
fn another_member_becomes_primary_in_mid_stream() -> Result<()> {
    let mut set = MongoSet::start()?;
    let to = &mongo::pair()?.target;
    let target = to.client()?;
    let mut running = Vec::new();
    for by in BOTH {
        let database = format!("m_primary_{by}");
        target.command(&database, doc! {"dropDatabase": 1})?;
        let task = Task::mongo(to, to)?.follows_mongo(by).databases(&[&database]).set("extractor", "url", set.url());
        let task = task.unset("extractor", "username").unset("extractor", "password");
        running.push((follow(&task)?, task, database));
    }
    for round in 0..2 {
        let (_, before) = set.primary()?;
        for (_, _, database) in &running {
            add(&before, database, round * 40..round * 40 + 20)?;
        }
        match round {
            0 => set.step_down()?,
            _ => set.kill_primary()?,
        }
        let (_, source) = set.primary()?;
        for (running, _, database) in &mut running {
            add(&source, database, round * 40 + 20..round * 40 + 40)?;
            caught_up(running, &source, &target, database).with_context(|| format!("{database}, round {round}"))?;
            equal(&source, &target, database)?;
        }
    }
    // And the target of a stream: the same set, to a database of another name.
    for (running, ..) in running {
        stop(running)?;
    }
    let pair = mongo::pair()?;
    let source = pair.source.client()?;
    source.command("m_to_set", doc! {"dropDatabase": 1})?;
    let task = stream(pair, "m_to_set", "change_stream")?.set("sinker", "url", set.url());
    let task = task.unset("sinker", "username").unset("sinker", "password");
    let mut running = follow(&task)?;
    add(&source, "m_to_set", 0..20)?;
    set.step_down()?;
    add(&source, "m_to_set", 20..40)?;
    let (_, target) = set.primary()?;
    caught_up(&mut running, &source, &target, "m_to_set")?;
    stop(running)?;
    equal(&source, &target, "m_to_set").map(drop)
}
