//! MongoDB: positions in the target, written in the transactions of the documents. SIGKILL at random moments, lost answers,
//! a process that slept: every document is there exactly as it is on the source, and nothing else. `DT_SEED=… cargo test …`
//! plays the same moments again.

mod mongo_load;
mod mongo_streams;

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::copies::{self, Parts};
use dt_tests::deadline;
use dt_tests::dice::Dice;
use dt_tests::mongo::Mongo;
use dt_tests::proxy::{Fate, Proxy};
use dt_tests::sample;
use dt_tests::servers::mongo;
use dt_tests::task::{Running, Task};
use mongo_streams::{caught_up, equal, follow, in_lanes, position, set_up, stop, write};
use mongodb::bson::doc;

const KILLS: u32 = 10;
const ROWS: u64 = 60_000;
const ROWS_PER_SECOND: u64 = 4_000;
/// No kill comes later after its start than this.
const LATEST: Duration = Duration::from_millis(2000);
/// So much is written at least, for there to be large transactions.
const STEPS: u64 = 6_000;

/// The task with its positions in its target, and the database that has them, which is not there yet.
fn in_target(task: Task, database: &str) -> Result<(Task, String)> {
    let positions = format!("{database}_positions");
    mongo::pair()?.target.client()?.command(&positions, doc! {"dropDatabase": 1})?;
    let task = task.set("resumer", "resume_type", "from_target");
    Ok((task.set("resumer", "table_full_name", format!("{positions}.pos")), positions))
}

/// Takes the copies of the positions out of the log_dir.
fn without_files(task: &Task) -> Result<()> {
    for name in ["position.log", "finished.log"] {
        match std::fs::remove_file(task.log_dir().join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

fn count(target: &Mongo, positions: &str, resumer_type: &str) -> Result<i32> {
    let counted = doc! {"count": "pos", "query": {"resumer_type": resumer_type}};
    Ok(target.command(positions, counted)?.get_i32("n")?)
}

#[test]
fn a_snapshot_is_exact_after_kills() -> Result<()> {
    println!("{}", snapshot_is_exact(Parts::Tables)?);
    Ok(())
}

#[test]
fn a_snapshot_in_chunks_is_exact_after_kills() -> Result<()> {
    println!("{}", snapshot_is_exact(Parts::Chunks)?);
    Ok(())
}

fn snapshot_is_exact(parts: Parts) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{parts:?}, DT_SEED={}", dice.seed());
    Ok(format!("{case}: {}", snapshot(parts, &mut dice).with_context(|| case.clone())?))
}

fn snapshot(parts: Parts, dice: &mut Dice) -> Result<String> {
    let pair = mongo::pair()?;
    let database = format!("exact_{parts:?}").to_lowercase();
    let (source, target) = pair.without(&[&database])?;
    sample::mongo::fill(&source, &database, ROWS)?;
    let (task, positions) = in_target(Task::of_mongo_pair(pair, &[&database])?, &database)?;
    // Nothing is replaced: another document under the same `_id` would stop the task.
    let task = parts.at_a_time(4, task.set("sinker", "replace", "false"));
    let (task, kills) = copies::kill(task, ROWS, ROWS_PER_SECOND, dice, without_files)?;
    let finished = count(&target, &positions, "SnapshotFinished")?;
    let task = task.set("extractor", "max_rps", "1000000");
    let last = task.run()?.expect_code(0)?;
    let rows = equal(&source, &target, &database)?;
    ensure!(rows == ROWS, "{rows} documents");
    let again = last.summary("rows").unwrap_or(0);
    without_files(&task)?;
    copies::is_done(&task)?;
    Ok(format!("{kills}, {finished} finished by then, {again} documents in the last run"))
}

#[test]
fn a_change_stream_is_exact_after_kills() -> Result<()> {
    println!("{}", stream_is_exact("change_stream", Lanes::One)?);
    Ok(())
}

#[test]
fn an_oplog_is_exact_after_kills() -> Result<()> {
    println!("{}", stream_is_exact("op_log", Lanes::One)?);
    Ok(())
}

#[test]
fn an_oplog_in_lanes_is_exact_though_their_number_changes() -> Result<()> {
    println!("{}", stream_is_exact("op_log", Lanes::Changing)?);
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Lanes {
    One,
    /// Another number at each start; one of them is one, whose position is written with its documents.
    Changing,
}

impl Lanes {
    /// The task as it is started next.
    fn of(self, task: Task, dice: &mut Dice) -> Result<Task> {
        match self {
            Lanes::One => Ok(task),
            Lanes::Changing => Ok(in_lanes(task, 1 + u32::try_from(dice.pick(0..5))?)),
        }
    }
}

fn stream_is_exact(by: &str, lanes: Lanes) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{by}, {lanes:?}, DT_SEED={}", dice.seed());
    Ok(format!("{case}: {}", stream(by, lanes, &mut dice).with_context(|| case.clone())?))
}

fn stream(by: &str, lanes: Lanes, dice: &mut Dice) -> Result<String> {
    let pair = mongo::pair()?;
    let database = format!("exact_{by}_{lanes:?}").to_lowercase();
    let (source, target, task) = set_up(pair, &database, by)?;
    for server in [&source, &target] {
        mongo_load::create(server, &database)?;
    }
    let (mut task, positions) = in_target(task, &database)?;
    // The first start is clean, so that there is a place from which nothing is missed.
    let mut running = follow(&task)?;
    running.until("a position is recorded", || Ok(position(&task)?.is_some()))?;
    running.kill9()?;
    without_files(&task)?;

    let load = mongo_load::start(&pair.source, &database, dice.roll())?;
    for _ in 0..KILLS {
        task = lanes.of(task, dice)?;
        let running = task.spawn()?;
        sleep(dice.moment(LATEST));
        let killed = running.kill9()?;
        ensure!(killed.code == 128 + 9, "resumed, it failed by itself: {}", killed.said());
        without_files(&task)?;
    }
    let mut running = task.spawn()?;
    deadline::until("enough is written", Duration::from_secs(60), || Ok((load.steps() > STEPS).then_some(())))?;
    let told = load.stop()?;
    caught_up(&mut running, &source, &target, &database)?;
    let log = stop(running)?.log;
    let rows = equal(&source, &target, &database)?;
    ensure!(told.committed > 0 && told.aborted > 0 && told.large > 0, "{told:?}");
    let resumed = log.matches("resume from: ").count();
    // What is written with documents has a place of its own beside what the store writes; the newer one counts.
    let most = if let Lanes::One = lanes { 1 } else { 2 };
    let stored = count(&target, &positions, "CdcDoing")?;
    ensure!((1..=most).contains(&stored), "a stream has {stored} positions");
    Ok(format!("{KILLS} kills, {resumed} resumes, {told:?}, {rows} documents"))
}

/// The target by way of a wire that loses answers.
fn by_wire(task: Task) -> Result<(Task, Proxy)> {
    let proxy = Proxy::start(mongo::pair()?.target.port())?;
    let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", proxy.port());
    Ok((task.set("sinker", "url", url), proxy))
}

/// As many answers are lost at most: each costs the task a pause.
const LOST: u32 = 60;

/// Loses an answer now and then, until the task has ended or `until` says so. How many.
fn lose(running: &mut Running, proxy: &Proxy, dice: &mut Dice, mut until: impl FnMut() -> bool) -> Result<u32> {
    let mut lost = 0;
    while lost < LOST && !running.has_ended()? && !until() {
        proxy.after_replies(dice.pick(0..12), Fate::Lost);
        lost += 1;
        sleep(Duration::from_millis(dice.pick(50..400)));
    }
    Ok(lost)
}

#[test]
fn a_snapshot_whose_answers_are_lost_is_exact() -> Result<()> {
    let mut dice = Dice::new();
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["exact_lost"])?;
    sample::mongo::fill(&source, "exact_lost", ROWS)?;
    let (task, _) = in_target(Task::of_mongo_pair(pair, &["exact_lost"])?, "exact_lost")?;
    let task = task.set("sinker", "replace", "false").set("extractor", "max_rps", ROWS_PER_SECOND.to_string());
    let (task, proxy) = by_wire(task.set("parallelizer", "parallel_size", "3"))?;
    let mut running = task.spawn()?;
    // The first connections are made in peace.
    running.until_log_holds("default.log", "tables to copy")?;
    let lost = lose(&mut running, &proxy, &mut dice, || false)?;
    let done = running.wait()?.expect_code(0).with_context(|| format!("DT_SEED={}", dice.seed()))?;
    ensure!(equal(&source, &target, "exact_lost")? == ROWS, "DT_SEED={}", dice.seed());
    ensure!(done.summary("rows") == Some(ROWS) && done.summary("replaced rows") == Some(0), "{}", done.said());
    println!("{lost} answers lost, DT_SEED={}", dice.seed());
    Ok(())
}

#[test]
fn a_stream_whose_answers_are_lost_is_exact() -> Result<()> {
    let mut dice = Dice::new();
    let pair = mongo::pair()?;
    let (source, target, task) = set_up(pair, "exact_lost_stream", "change_stream")?;
    for server in [&source, &target] {
        mongo_load::create(server, "exact_lost_stream")?;
    }
    let (task, _) = in_target(task, "exact_lost_stream")?;
    let (task, proxy) = by_wire(task)?;
    let mut running = follow(&task)?;
    let load = mongo_load::start(&pair.source, "exact_lost_stream", dice.roll())?;
    let lost = lose(&mut running, &proxy, &mut dice, || load.steps() > STEPS)?;
    let told = load.stop()?;
    caught_up(&mut running, &source, &target, "exact_lost_stream")
        .with_context(|| format!("DT_SEED={}", dice.seed()))?;
    stop(running)?;
    let rows = equal(&source, &target, "exact_lost_stream").with_context(|| format!("DT_SEED={}", dice.seed()))?;
    println!("{lost} answers lost, {told:?}, {rows} documents, DT_SEED={}", dice.seed());
    Ok(())
}

fn signal(running: &Running, name: &str) -> Result<()> {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", running.pid())]).status()?;
    ensure!(sent.success(), "SIG{name} was not sent");
    Ok(())
}

#[test]
fn who_was_taken_over_in_its_sleep_writes_no_document_afterwards() -> Result<()> {
    let pair = mongo::pair()?;
    let database = "exact_asleep";
    let (source, target, task) = set_up(pair, database, "change_stream")?;
    let (task, positions) = in_target(task, database)?;
    let task = task.set("global", "task_id", "asleep");
    let mut first = follow(&task)?;
    write(&source, database, doc! {"insert": "c", "documents": [{"_id": 0, "v": 0}]})?;
    caught_up(&mut first, &source, &target, database)?;

    let second = Task::of_mongo_pair(pair, &[database])?.follows_mongo("change_stream");
    let second = second.set("resumer", "resume_type", "from_target").set("global", "task_id", "asleep");
    let second = second.set("resumer", "table_full_name", format!("{positions}.pos"));
    let refused = second.run()?.expect_code(3)?;
    ensure!(refused.stderr.contains("another process is running this task"), "{}", refused.said());

    signal(&first, "STOP")?;
    for v in 1..=50 {
        let set = doc! {"q": {"_id": 0}, "u": {"$set": {"v": v}}};
        write(&source, database, doc! {"update": "c", "updates": [set]})?;
    }
    let mut running = second.spawn_with(&["--take-over"])?;
    caught_up(&mut running, &source, &target, database)?;
    // Only who writes after this has an older state to write.
    let marked = doc! {"q": {"_id": 0}, "u": {"$set": {"v": -1}}};
    write(&target, database, doc! {"update": "c", "updates": [marked]})?;
    signal(&first, "CONT")?;
    let fenced = first.wait()?.expect_code(3)?;
    ensure!(fenced.stderr.contains("taken this task over"), "{}", fenced.said());
    let found = target.documents(database, "c")?;
    let found = mongodb::bson::Document::from_reader(&found[0][..])?;
    ensure!(found.get_i32("v").ok() == Some(-1), "a document was written: {found}\n{}", fenced.log);
    stop(running)?;
    Ok(())
}

#[test]
fn ddl_a_capped_collection_and_what_is_there_already_go_with_positions_in_the_target() -> Result<()> {
    let pair = mongo::pair()?;
    let database = "exact_ddl";
    let (source, target, task) = set_up(pair, database, "change_stream")?;
    let (task, _) = in_target(task.set("filter", "do_ddls", "*"), database)?;
    for server in [&source, &target] {
        server.command(database, doc! {"create": "capped", "capped": true, "size": 65536})?;
    }
    // In the target already, though the stream holds it for new.
    write(&target, database, doc! {"insert": "c", "documents": [{"_id": 1, "v": "older"}]})?;
    let mut running = follow(&task)?;
    source.command(database, doc! {"create": "made"})?;
    for at in 0..5 {
        for collection in ["c", "made", "capped", "to be renamed"] {
            write(&source, database, doc! {"insert": collection, "documents": [{"_id": at, "v": "new"}]})?;
        }
    }
    let renamed = doc! {"renameCollection": format!("{database}.to be renamed"), "to": format!("{database}.renamed")};
    source.command("admin", renamed)?;
    write(&source, database, doc! {"insert": "renamed", "documents": [{"_id": "after"}]})?;
    source.command(database, doc! {"drop": "made"})?;
    write(&source, database, doc! {"insert": "made", "documents": [{"_id": "anew"}]})?;
    caught_up(&mut running, &source, &target, database)?;
    stop(running)?;
    equal(&source, &target, database)?;
    Ok(())
}
