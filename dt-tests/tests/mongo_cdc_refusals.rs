//! What a stream of MongoDB refuses before its first change, each with its way out; and that a stored position is never
//! left behind in silence.

mod mongo_streams;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::deadline;
use dt_tests::mongo::Mongo;
use dt_tests::servers::PASSWORD;
use dt_tests::servers::mongo::{self, MongoPair, MongoServer, Setup};
use dt_tests::task::{Finished, Task};
use mongo_streams::{BOTH, caught_up, equal, follow, followed, position, set_up, stop, store, stream, write};
use mongodb::bson::{Timestamp, doc};
use serde_json::json;

/// A token of a time at which no server of these tests was there.
const OLD_TOKEN: &str = "{\"_data\":\"8267079350000000012B022C0100296E5A1004B4A9FD2BFD9C44609366CD4CD6A3D98E46645F696400646707935067D762990668C8CE0004\"}";

/// Fails unless the task ends with this code, and says this and a way out.
fn refused(task: &Task, code: i32, said: &[&str]) -> Result<Finished> {
    let finished = task.run()?.expect_code(code)?;
    let text = finished.said();
    for what in said.iter().chain(&["what to do: "]) {
        ensure!(text.contains(what), "`{what}` is not said:\n{text}");
    }
    ensure!(!text.contains(PASSWORD) && !text.contains("panicked"), "{text}");
    Ok(finished)
}

fn add(source: &Mongo, database: &str, id: i32) -> Result<()> {
    write(source, database, doc! {"insert": "t", "documents": [{"_id": id}]}).map(drop)
}

#[test]
fn a_standalone_server_keeps_no_log_and_is_refused() -> Result<()> {
    let alone = MongoServer::start(&Setup { set: None, login: false, extra: Vec::new() })?;
    for by in BOTH {
        let task = Task::mongo(&alone, &mongo::pair()?.target)?.follows_mongo(by).databases(&["m_alone"]);
        refused(&task, 3, &["is a standalone server", "--replSet"])?;
    }
    Ok(())
}

#[test]
fn an_account_that_may_not_read_the_log_is_told_which_role_it_needs() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target, _) = set_up(pair, "m_roles", "op_log")?;
    let roles = [
        ("m_all", vec![doc! {"role": "readAnyDatabase", "db": "admin"}]),
        ("m_one", vec![doc! {"role": "read", "db": "m_roles"}]),
        ("m_log", vec![doc! {"role": "readAnyDatabase", "db": "admin"}, doc! {"role": "read", "db": "local"}]),
    ];
    for (user, roles) in roles {
        // It may be there from a run before, if the servers were.
        source.command("admin", doc! {"createUser": user, "pwd": "pw", "roles": roles})?;
    }
    let as_user = |by: &str, user: &str| -> Result<Task> {
        Ok(stream(pair, "m_roles", by)?.set("extractor", "username", user).set("extractor", "password", "pw"))
    };
    refused(&as_user("op_log", "m_all")?, 3, &["not authorized", "read on the database local"])?;
    refused(&as_user("change_stream", "m_one")?, 3, &["not authorized", "readAnyDatabase"])?;
    for (by, user) in [("change_stream", "m_all"), ("op_log", "m_log")] {
        let task = as_user(by, user)?;
        followed(&task, &source, &target, "m_roles", || add(&source, "m_roles", 1))?;
        source.command("m_roles", doc! {"drop": "t"})?;
        target.command("m_roles", doc! {"drop": "t"})?;
    }
    Ok(())
}

#[test]
fn a_token_that_the_source_does_not_know_leaves_its_time_or_is_refused() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target, task) = set_up(pair, "m_expired", "change_stream")?;
    let mut running = follow(&task)?;
    caught_up(&mut running, &source, &target, "m_expired")?;
    stop(running)?;
    let mut stored = position(&task)?.context("no position")?;
    add(&source, "m_expired", 1)?;
    // The time is covered.
    stored["resume_token"] = json!(OLD_TOKEN);
    store(&task, &stored.to_string())?;
    let finished = followed(&task, &source, &target, "m_expired", || add(&source, "m_expired", 2))?;
    ensure!(finished.log.contains("the oplog still covers the time of that event"), "{}", finished.said());
    // No time, or one from before the server was there.
    let no_time = json!({"type": "MongoCdc", "resume_token": OLD_TOKEN, "operation_time": 0, "timestamp": ""});
    store(&task, &no_time.to_string())?;
    // The token says it as well.
    refused(&task, 3, &["next: 2024-10-10 08:41:52.000", "missed by", "copy the collections again with a snapshot"])?;
    let before = json!({"type": "MongoCdc", "resume_token": OLD_TOKEN, "operation_time": 1_728_549_712, "timestamp": "2024-10-10 08:41:52.000"});
    store(&task, &before.to_string())?;
    refused(&task, 3, &["no longer in the source's oplog", "missed by", "copy the collections again"])?;
    let no_token = json!({"type": "MongoCdc", "resume_token": "{\"_data\":", "operation_time": 0, "timestamp": ""});
    store(&task, &no_token.to_string())?;
    refused(&task, 3, &["resume token is not understood"])?;
    // A time alone.
    let by_log = task.set("extractor", "source", "op_log");
    store(&by_log, &before.to_string())?;
    refused(&by_log, 3, &["no longer in the source's oplog", "missed by"])?;
    let later = json!({"type": "MongoCdc", "resume_token": "", "operation_time": 4_000_000_000_u64, "timestamp": ""});
    store(&by_log, &later.to_string())?;
    refused(&by_log, 3, &["later than the source's last operation"])?;
    Ok(())
}

#[test]
fn a_log_that_has_gone_on_without_the_task_is_refused_with_what_is_missed() -> Result<()> {
    // As small as there is one, and forgotten as soon as it may be.
    let extra = vec!["--oplogSize=1".to_owned(), "--syncdelay=1".to_owned()];
    let source_server = MongoServer::start(&Setup { extra, ..Setup::default() })?;
    let target_server = &mongo::pair()?.target;
    let (source, target) = (source_server.client()?, target_server.client()?);
    target.command("m_rolled", doc! {"dropDatabase": 1})?;
    let mut tasks = Vec::new();
    for by in BOTH {
        let task = Task::mongo(&source_server, target_server)?.follows_mongo(by).databases(&["m_rolled"]);
        let mut running = follow(&task)?;
        caught_up(&mut running, &source, &target, "m_rolled")?;
        stop(running)?;
        tasks.push(task);
    }
    let stored = position(&tasks[1])?.context("no position")?;
    let part = |name: &str| stored[name].as_u64().and_then(|part| u32::try_from(part).ok()).context("no time");
    let last = Timestamp { time: part("operation_time")?, increment: part("operation_increment")? };
    deadline::until("the oplog has gone on", Duration::from_secs(60), || {
        write(&source, "m_others", doc! {"insert": "t", "documents": [{"text": "x".repeat(400_000)}]})?;
        let found = source.command("local", doc! {"find": "oplog.rs", "filter": {"ts": {"$lte": last}}, "limit": 1})?;
        Ok(found.get_document("cursor")?.get_array("firstBatch")?.is_empty().then_some(()))
    })?;
    for task in &tasks {
        refused(task, 3, &["copy the collections again with a snapshot", "missed by"])?;
    }
    Ok(())
}

#[test]
fn a_position_of_another_server_or_of_another_kind_is_refused() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_lineage", by)?;
        let mut running = follow(&task)?;
        caught_up(&mut running, &source, &target, "m_lineage")?;
        stop(running)?;
        let mut stored = position(&task)?.context("no position")?;
        stored["source"] = json!("rs0/000000000000000000000000");
        store(&task, &stored.to_string())?;
        refused(&task, 3, &["of another source server", "allow_other_server=true"])?;
        let task = task.set("resumer", "allow_other_server", "true");
        followed(&task, &source, &target, "m_lineage", || add(&source, "m_lineage", 1))?;
        for other in [
            r#"{"type":"MysqlCdc","server_id":"","binlog_filename":"mysql-bin.000054","next_event_position":4,"timestamp":""}"#,
            r#"{"type":"PgCdc","lsn":"0/406E2C30","timestamp":""}"#,
        ] {
            let line = format!("2024-10-10 04:04:08.152044 | checkpoint_position | {other}\n");
            std::fs::write(task.log_dir().join("position.log"), line)?;
            let finished = task.run()?.expect_code(3)?;
            ensure!(finished.stderr.contains("what to do: "), "{}", finished.said());
        }
        std::fs::write(task.log_dir().join("position.log"), "not a position\n")?;
        let finished = task.run()?.expect_code(3)?;
        ensure!(finished.stderr.contains("position.log"), "{}", finished.said());
        equal(&source, &target, "m_lineage")?;
    }
    Ok(())
}

#[test]
fn what_cannot_be_followed_is_refused_by_name() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, _, task) = set_up(pair, "m_kinds", by)?;
        source.command("m_kinds", doc! {"create": "series", "timeseries": {"timeField": "at"}})?;
        refused(&task, 3, &["`m_kinds`.`series`", "time-series", "ignore_tbs"])?;
        let task = task.set("filter", "ignore_tbs", "m_kinds.series");
        stop(follow(&task)?)?;
        add(&source, "m_kinds", 1)?;
        let column = r#"json:[{"db":"m_kinds","tb":"t","ignore_cols":["v"]}]"#;
        refused(&task.set("filter", "ignore_cols", column), 2, &["ignore_cols"])?;
    }
    Ok(())
}

#[test]
fn a_unique_index_that_only_the_target_has_stops_the_task() -> Result<()> {
    let pair: &MongoPair = mongo::pair()?;
    let (source, target, task) = set_up(pair, "m_index", "change_stream")?;
    let index = doc! {"key": {"v": 1}, "name": "v_once", "unique": true};
    target.command("m_index", doc! {"createIndexes": "t", "indexes": [index]})?;
    let mut running = follow(&task)?;
    write(
        &source,
        "m_index",
        doc! {"insert": "t", "documents": [{"_id": 1, "v": "s3cret"}, {"_id": 2, "v": "s3cret"}]},
    )?;
    // At first the target might be ahead of the change; later ones tell that it is not.
    running.until_log_holds("default.log", "ahead of them")?;
    let mut id = 10;
    deadline::until("the task has ended", Duration::from_secs(60), || {
        id += 1;
        write(&source, "m_index", doc! {"insert": "t", "documents": [{"_id": id, "v": id}]})?;
        Ok(running.has_ended()?.then_some(()))
    })?;
    let finished = running.wait()?.expect_code(3)?;
    for text in ["v_once", "another document of the target holds the same key", "what to do: "] {
        ensure!(finished.stderr.contains(text), "`{text}` is not said: {}", finished.said());
    }
    ensure!(!finished.said().contains("s3cret"), "{}", finished.said());
    Ok(())
}
