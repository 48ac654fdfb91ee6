//! What the tests of MongoDB's streams share: a task that follows a database, how it is started and stopped, and when it
//! has caught up.

// Each test binary uses some of it.
#![allow(dead_code)]

use anyhow::{Context, Result, bail, ensure};
use dt_tests::judge::mongo::MongoJudge;
use dt_tests::mongo::Mongo;
use dt_tests::servers::mongo::MongoPair;
use dt_tests::task::{Finished, Running, Task};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use serde_json::Value;

/// Both ways to follow a source.
pub const BOTH: [&str; 2] = ["change_stream", "op_log"];

/// A task that follows a database of a pair.
pub fn stream(pair: &MongoPair, database: &str, source: &str) -> Result<Task> {
    Ok(Task::of_mongo_pair(pair, &[database])?.follows_mongo(source))
}

/// A database that is on neither side, and a task that follows it.
pub fn set_up(pair: &MongoPair, database: &str, source: &str) -> Result<(Mongo, Mongo, Task)> {
    let (from, to) = pair.without(&[database])?;
    Ok((from, to, stream(pair, database, source)?))
}

/// The same by so many lanes.
pub fn in_lanes(task: Task, lanes: u32) -> Task {
    task.set("parallelizer", "parallel_type", "mongo").set("parallelizer", "parallel_size", lanes.to_string())
}

/// Starts it, and waits until it follows.
pub fn follow(task: &Task) -> Result<Running> {
    let before = starts(task)?;
    let mut running = task.spawn()?;
    running.until("the stream has started", || Ok(starts(task)? > before))?;
    Ok(running)
}

/// How often it has begun to follow so far.
pub fn starts(task: &Task) -> Result<usize> {
    Ok(task.log("default.log")?.matches("MongoCdcExtractor starts, ").count())
}

/// SIGTERM, and a clean end.
pub fn stop(mut running: Running) -> Result<Finished> {
    running.sigterm()?;
    running.wait()?.expect_code(128 + 15)
}

/// Writes a document last of all, and waits until everything before it is applied: a batch's documents arrive in any order,
/// but the next batch only follows when all of them are there.
pub fn caught_up(running: &mut Running, source: &Mongo, target: &Mongo, database: &str) -> Result<()> {
    for _ in 0..2 {
        let mark = ObjectId::new();
        write(source, database, doc! {"insert": "marks", "documents": [{"_id": mark}]})?;
        running.until("the last document arrives", || {
            let count = target.command(database, doc! {"count": "marks", "query": {"_id": mark}})?;
            Ok(count.get_i32("n")? == 1)
        })?;
    }
    Ok(())
}

/// Runs a write command, of which every statement must succeed.
pub fn write(server: &Mongo, database: &str, command: Document) -> Result<Document> {
    let reply = server.command(database, command)?;
    match reply.get("writeErrors") {
        None => Ok(reply),
        Some(errors) => bail!("a write was refused: {errors}"),
    }
}

/// An update of one document by its `_id`.
pub fn update(collection: &str, id: impl Into<mongodb::bson::Bson>, change: Document) -> Document {
    doc! {"update": collection, "updates": [{"q": {"_id": id.into()}, "u": change}]}
}

/// All collections of the database hold the same documents, byte by byte. How many there are.
pub fn equal(source: &Mongo, target: &Mongo, database: &str) -> Result<u64> {
    let mut rows = 0;
    for (collection, verdict) in MongoJudge::new(source, target).database(database)? {
        ensure!(
            verdict.is_equal(),
            "`{collection}`: {verdict}\n{}",
            differences(source, target, database, &collection)?
        );
        rows += verdict.rows;
    }
    Ok(rows)
}

/// Some of the documents that differ.
fn differences(source: &Mongo, target: &Mongo, database: &str, collection: &str) -> Result<String> {
    let (had, has) = (source.documents(database, collection)?, target.documents(database, collection)?);
    let show = |sign: &str, document: &Vec<u8>| {
        let text =
            Document::from_reader(&document[..]).map_or_else(|_| format!("{document:?}"), |read| read.to_string());
        format!("{sign} {}", text.chars().take(600).collect::<String>())
    };
    let lost = had.iter().filter(|document| !has.contains(document)).take(3).map(|document| show("source", document));
    let more = has.iter().filter(|document| !had.contains(document)).take(3).map(|document| show("target", document));
    Ok(lost.chain(more).collect::<Vec<_>>().join("\n"))
}

/// Makes changes while the task follows, and holds the target to the source.
pub fn followed(
    task: &Task,
    source: &Mongo,
    target: &Mongo,
    database: &str,
    changes: impl FnOnce() -> Result<()>,
) -> Result<Finished> {
    let mut running = follow(task)?;
    changes()?;
    caught_up(&mut running, source, target, database)?;
    let finished = stop(running)?;
    equal(source, target, database)?;
    Ok(finished)
}

/// The position that was recorded last.
pub fn position(task: &Task) -> Result<Option<Value>> {
    let text = task.log("position.log")?;
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let last = lines.filter_map(|line| line.split_once(" | current_position | ")).next_back();
    last.map(|(_, json)| serde_json::from_str(json).context("a position that is no JSON")).transpose()
}

/// Its time: seconds and what is counted within the second.
pub fn time(position: &Value) -> Result<(u64, u64)> {
    let part = |name: &str| position[name].as_u64().with_context(|| format!("a position without {name}: {position}"));
    Ok((part("operation_time")?, part("operation_increment")?))
}

/// Writes a position.log that holds this position alone.
pub fn store(task: &Task, json: &str) -> Result<()> {
    std::fs::create_dir_all(task.log_dir())?;
    let line = format!("2024-10-10 04:04:08.152044 | current_position | {json}\n");
    Ok(std::fs::write(task.log_dir().join("position.log"), line)?)
}
