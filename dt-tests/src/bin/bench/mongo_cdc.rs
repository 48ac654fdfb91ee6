//! Following MongoDB's changes: a load of them, written while nothing follows, is caught up with.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use dt_tests::deadline;
use dt_tests::dice::Dice;
use dt_tests::mongo::Mongo;
use dt_tests::servers::mongo::{MongoPair, MongoServer};
use dt_tests::task::Task;
use dt_tests::usage::Usage;
use mongodb::bson::{Document, doc};
use tempfile::TempDir;

use crate::documents::{digits, document, fill};
use crate::mongo::{must_be_equal, python, servers, url};
use crate::plan::Plan;
use crate::report::{self, Measured};
use crate::{dt_main, exactly_once, run_shell, say};

const DATABASE: &str = "cdc";
/// The target's database with the documents as they were before the changes.
const START: &str = "start";
const COLLECTIONS: u64 = 4;
/// The most changes in a transaction.
const TRANSACTION_MAX: u64 = 10;
/// Writers of the load, each with documents of its own, so that the end is the same in every run; many, for each waits for
/// the source's journal.
const LANES: u64 = 16;

/// A change stream applied with the public Python driver.
const FOLLOW: &str = include_str!("follow.py");

#[derive(Clone, Copy)]
enum Tool {
    Pymongo,
    ChangeStream,
    OpLog,
    /// The same with positions in the target.
    OpLogExactly,
    /// By several lanes.
    Lanes,
    /// By several lanes, with positions in the target.
    LanesExactly,
    Decoding,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Pymongo => "pymongo, watch to bulk_write",
            Tool::ChangeStream => "dt-main, change_stream",
            Tool::OpLog => "dt-main, op_log",
            Tool::OpLogExactly => "dt-main, op_log, from_target",
            Tool::Lanes => "dt-main, 4 lanes",
            Tool::LanesExactly => "dt-main, 4 lanes, from_target",
            Tool::Decoding => "dt-main, op_log, sink_type=dummy",
        }
    }

    fn writes(self) -> bool {
        match self {
            Tool::Decoding => false,
            Tool::Pymongo
            | Tool::ChangeStream
            | Tool::OpLog
            | Tool::OpLogExactly
            | Tool::Lanes
            | Tool::LanesExactly => true,
        }
    }
}

/// Where the changes begin and end.
struct Recorded {
    /// In the seconds after this one, since 1970.
    begin: u32,
    /// `YYYY-MM-DD HH:MM:SS`: a time after the last change and before the marker behind it.
    end: String,
}

pub(crate) fn bench(plan: &Plan) -> Result<()> {
    let mut tools = vec![
        Tool::Pymongo,
        Tool::ChangeStream,
        Tool::OpLog,
        Tool::OpLogExactly,
        Tool::Lanes,
        Tool::LanesExactly,
        Tool::Decoding,
    ];
    tools.retain(|tool| plan.has(tool.name()));
    say("Starting two MongoDB servers with their default durability …")?;
    let pair = servers()?;
    let (source, target) = pair.without(&[DATABASE])?;
    let rows = plan.rows / COLLECTIONS;
    say(format!("Generating {COLLECTIONS} x {rows} documents, the same on both servers …"))?;
    for name in names() {
        fill(&source, DATABASE, &name, rows)?;
        fill(&target, START, &name, rows)?;
    }
    say(format!("Writing {} changes while nothing follows …", plan.changes))?;
    let recorded = record(&pair.source, rows, plan.changes)?;

    let mut measured: Vec<Measured> =
        tools.iter().map(|tool| Measured { tool: tool.name(), runs: Vec::new() }).collect();
    for run in 1..=plan.runs {
        for (tool, measured) in tools.iter().zip(&mut measured) {
            if tool.writes() {
                reset(&target)?;
            }
            let usage = follow(*tool, &pair, &recorded).with_context(|| tool.name())?;
            if tool.writes() {
                must_be_equal(&source, &target, DATABASE).with_context(|| tool.name())?;
            }
            say(format!("  run {run}: {:<32} {:.2} s", tool.name(), usage.wall.as_secs_f64()))?;
            measured.runs.push(usage);
        }
    }
    let title = format!("{} changes of {COLLECTIONS} x {rows} documents, medians of {}", plan.changes, plan.runs);
    report::table(&title, "changes", plan.changes, &measured).into_iter().try_for_each(say)?;
    say("\nThe target's documents were the source's, byte by byte, after every run that wrote.")
}

fn names() -> impl Iterator<Item = String> {
    (1..=COLLECTIONS).map(|at| format!("sbtest{at}"))
}

/// Writes the changes, and a marker by which the follower knows the end.
fn record(server: &MongoServer, rows: u64, changes: u64) -> Result<Recorded> {
    let source = server.client()?;
    let begin = now(&source)?;
    until_later(&source, begin)?;
    std::thread::scope(|scope| {
        let lanes = (0..LANES).map(|lane| {
            scope.spawn(move || {
                write(&server.client()?, lane, rows, changes / LANES + u64::from(lane < changes % LANES))
            })
        });
        let running: Vec<_> = lanes.collect();
        running.into_iter().try_for_each(|lane| lane.join().map_err(|_| anyhow!("a writer panicked"))?)
    })?;
    let end = now(&source)?;
    until_later(&source, end)?;
    // Followers that are told an end see it when something is later.
    source.command("later", doc! {"insert": "marker", "documents": [{"_id": 1}]})?;
    source.command(DATABASE, doc! {"create": "marker"})?;
    source.command(DATABASE, doc! {"insert": "marker", "documents": [{"_id": 1}]})?;
    source.command(DATABASE, doc! {"drop": "marker"})?;
    let end = mongodb::bson::DateTime::from_millis(i64::from(end) * 1000).try_to_rfc3339_string()?;
    Ok(Recorded { begin, end: end.trim_end_matches('Z').replace('T', " ") })
}

/// The second of the server's last operation.
fn now(source: &Mongo) -> Result<u32> {
    let hello = source.command("admin", doc! {"hello": 1})?;
    Ok(hello.get_document("lastWrite")?.get_document("opTime")?.get_timestamp("ts")?.time)
}

/// Waits until the server's operations are of a later second.
fn until_later(source: &Mongo, second: u32) -> Result<()> {
    deadline::until("the second is over", Duration::from_secs(20), || {
        // What is written is also a note in the oplog, which is seen as time that passes.
        source.command("admin", doc! {"appendOplogNote": 1, "data": {"dt": "bench"}})?;
        Ok((now(source)? > second).then_some(()))
    })
}

/// One writer's changes: 40 % inserts, 40 % updates of `k` and `c`, 20 % deletes, collections and documents by chance, in
/// transactions of 1 to 10.
fn write(source: &Mongo, lane: u64, rows: u64, changes: u64) -> Result<()> {
    let mut dice = Dice::of(300_000 + lane);
    let own = || (1..=rows).filter(|id| id % LANES == lane).collect::<Vec<_>>();
    let mut live: Vec<Vec<u64>> = names().map(|_| own()).collect();
    let mut next = rows + LANES + lane - rows % LANES;
    let mut left = changes;
    while left > 0 {
        let size = dice.pick(1..TRANSACTION_MAX + 1).min(left);
        left -= size;
        let mut commands = Vec::new();
        for _ in 0..size {
            let at = dice.pick(0..COLLECTIONS);
            commands
                .push((DATABASE, change(&mut dice, &format!("sbtest{}", at + 1), &mut live[at as usize], &mut next)?));
        }
        match commands.as_slice() {
            [(database, command)] => drop(source.command(database, command.clone())?),
            several => ensure!(source.transaction(several, true)?, "the source refused a transaction"),
        }
    }
    Ok(())
}

fn change(dice: &mut Dice, collection: &str, live: &mut Vec<u64>, next: &mut u64) -> Result<Document> {
    let kind = dice.pick(0..10);
    if kind < 4 || live.is_empty() {
        let id = *next;
        *next += LANES;
        live.push(id);
        return Ok(doc! {"insert": collection, "documents": [document(id, dice)?]});
    }
    let at = dice.pick(0..live.len() as u64) as usize;
    let by_id = |id: u64| Ok::<_, anyhow::Error>(doc! {"_id": i32::try_from(id)?});
    if kind < 8 {
        let set = doc! {"$set": {"k": i32::try_from(dice.pick(1..1_000_000))?, "c": digits(dice, 10)}};
        return Ok(doc! {"update": collection, "updates": [{"q": by_id(live[at])?, "u": set}]});
    }
    let id = live.swap_remove(at);
    Ok(doc! {"delete": collection, "deletes": [{"q": by_id(id)?, "limit": 1}]})
}

/// Gives the target its documents of before the changes.
fn reset(target: &Mongo) -> Result<()> {
    target.command(DATABASE, doc! {"dropDatabase": 1})?;
    for name in names() {
        let out = doc! {"$out": {"db": DATABASE, "coll": &name}};
        target.command(START, doc! {"aggregate": name, "pipeline": [out], "cursor": {}})?;
    }
    target.command("admin", doc! {"fsync": 1}).map(drop)
}

fn in_lanes(task: Task) -> Task {
    task.set("parallelizer", "parallel_type", "mongo").set("parallelizer", "parallel_size", "4")
}

fn follow(tool: Tool, pair: &MongoPair, recorded: &Recorded) -> Result<Usage> {
    let task = |source: &str| -> Result<Task> {
        Ok(Task::of_mongo_pair(pair, &[DATABASE])?
            .follows_mongo(source)
            .set("extractor", "start_timestamp", (recorded.begin + 1).to_string())
            .set("extractor", "end_time_utc", &recorded.end)
            .set("pipeline", "checkpoint_interval_secs", "10"))
    };
    match tool {
        Tool::Pymongo => {
            let folder = TempDir::with_prefix("dt-bench-")?;
            let urls = format!("{} {} {DATABASE} {}", url(&pair.source), url(&pair.target), recorded.begin + 1);
            run_shell(&python(&folder, FOLLOW, &urls)?)
        }
        Tool::ChangeStream => dt_main(&task("change_stream")?),
        Tool::OpLog => dt_main(&task("op_log")?),
        Tool::OpLogExactly => dt_main(&exactly_once(task("op_log")?)),
        Tool::Lanes => dt_main(&in_lanes(task("op_log")?)),
        Tool::LanesExactly => dt_main(&exactly_once(in_lanes(task("op_log")?))),
        Tool::Decoding => dt_main(
            &task("op_log")?
                .set("sinker", "sink_type", "dummy")
                .unset("sinker", "url")
                .unset("sinker", "username")
                .unset("sinker", "password"),
        ),
    }
}
