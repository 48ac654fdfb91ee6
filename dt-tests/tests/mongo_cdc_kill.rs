//! MongoDB: SIGKILL at a random moment, ten times over, while a writer changes the source; then to the end: every document
//! exactly as it is on the source. `DT_SEED=… cargo test …` plays the same moments again.

mod mongo_load;
mod mongo_streams;

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::deadline;
use dt_tests::dice::Dice;
use dt_tests::positions::{Positions, without_files};
use dt_tests::servers::{Kind, mongo};
use mongo_streams::{caught_up, equal, follow, in_lanes, position, set_up, stop, store, time};

const KILLS: u32 = 10;
/// No kill comes later after its start than this; some come before the first change.
const LATEST: Duration = Duration::from_millis(2000);
/// So much is written at least, for there to be large transactions.
const STEPS: u64 = 6_000;

#[test]
fn a_change_stream_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills("change_stream", None, 4)?);
    Ok(())
}

#[test]
fn an_oplog_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills("op_log", None, 1)?);
    Ok(())
}

#[test]
fn a_change_stream_survives_ten_kills_with_positions_in_mysql() -> Result<()> {
    println!("{}", survives_ten_kills("change_stream", Some(Kind::Mysql), 1)?);
    Ok(())
}

fn survives_ten_kills(source: &str, positions: Option<Kind>, lanes: u32) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{source}, positions in {positions:?}, {lanes} lanes, DT_SEED={}", dice.seed());
    let told = killed_and_resumed(source, positions, lanes, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {told}"))
}

fn killed_and_resumed(by: &str, positions: Option<Kind>, lanes: u32, dice: &mut Dice) -> Result<String> {
    let pair = mongo::pair()?;
    let database = format!("killed_{by}{}", if positions.is_some() { "_db" } else { "" });
    let (source, target, task) = set_up(pair, &database, by)?;
    let task = in_lanes(task, lanes);
    let positions = positions.map(|kind| Positions::on(kind, "mongo_stream")).transpose()?;
    let task = match &positions {
        Some(positions) => positions.of(task),
        None => task,
    };
    for server in [&source, &target] {
        mongo_load::create(server, &database)?;
    }
    // The first start is clean, so that there is a place from which nothing is missed.
    let mut running = follow(&task)?;
    running.until("a position is recorded", || Ok(position(&task)?.is_some()))?;
    running.kill9()?;
    let first = position(&task)?.context("no position was recorded")?;

    let load = mongo_load::start(&pair.source, &database, dice.roll())?;
    for _ in 0..KILLS {
        let running = task.spawn()?;
        sleep(dice.moment(LATEST));
        let killed = running.kill9()?;
        ensure!(killed.code == 128 + 9, "resumed, it failed by itself: {}", killed.said());
        if positions.is_some() {
            without_files(&task)?;
        }
    }
    let mut running = task.spawn()?;
    deadline::until("enough is written", Duration::from_secs(60), || Ok((load.steps() > STEPS).then_some(())))?;
    let told = load.stop()?;
    caught_up(&mut running, &source, &target, &database)?;
    let log = stop(running)?.log;
    let rows = equal(&source, &target, &database)?;
    ensure!(told.committed > 0 && told.aborted > 0 && told.large > 0, "{told:?}");
    let resumed = log.matches("resume from: ").count();

    // Two restarts in a row go on from the newest position, and do nothing again.
    for _ in 0..2 {
        let newest = position(&task)?.context("no position was recorded")?;
        let mut running = task.spawn()?;
        caught_up(&mut running, &source, &target, &database)?;
        let log = stop(running)?.log;
        let from = log.lines().rev().find_map(|line| line.split_once("resume from: ")).context("no `resume from`")?.1;
        let from: serde_json::Value = serde_json::from_str(from)?;
        ensure!(from == newest, "resumed from {from} instead of {newest}");
        let after = position(&task)?.context("no position was recorded")?;
        ensure!(time(&after)? > time(&newest)?, "{after} was recorded after {newest}");
    }
    equal(&source, &target, &database)?;

    if positions.is_some() {
        return Ok(format!("{KILLS} kills, {resumed} resumes, {told:?}, {rows} documents"));
    }

    // All of it a second time, onto a target that has it already.
    store(&task, &first.to_string())?;
    let mut running = task.spawn()?;
    caught_up(&mut running, &source, &target, &database)?;
    let log = stop(running)?.log;
    equal(&source, &target, &database).context("applied twice")?;
    let ahead = log.matches("for the target is ahead").count();
    Ok(format!("{KILLS} kills, {resumed} resumes, {told:?}, {rows} documents, {ahead} times ahead"))
}
