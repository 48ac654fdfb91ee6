//! SIGKILL at a random moment, ten times over, while a writer changes the source; then to its end: tables with a key
//! are exactly equal, and of the other tables no row is lost. `DT_SEED=… cargo test …` plays the same moments again.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::binlog::{self, Place};
use dt_tests::db::Db;
use dt_tests::dice::Dice;
use dt_tests::judge::Judge;
use dt_tests::servers::{self, Kind, Pair};
use dt_tests::task::{Running, Task};
use dt_tests::writer::{self, LoadTable, TABLES, Writer};

const KILLS: u32 = 10;
/// No kill comes later after its start than this; one in ten comes before the first event.
const LATEST: Duration = Duration::from_millis(2500);

/// How the stream is named to the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Place,
    Gtid,
    /// By GTID, applied by four lanes.
    Lanes,
}

#[test]
fn mysql_survives_ten_kills_by_place() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mysql, By::Place)?);
    Ok(())
}

#[test]
fn mysql_survives_ten_kills_by_gtid() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mysql, By::Gtid)?);
    Ok(())
}

#[test]
fn mysql_survives_ten_kills_in_lanes() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mysql, By::Lanes)?);
    Ok(())
}

#[test]
fn mariadb_survives_ten_kills_in_lanes() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mariadb, By::Lanes)?);
    Ok(())
}

#[test]
fn mariadb_survives_ten_kills_by_place() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mariadb, By::Place)?);
    Ok(())
}

#[test]
fn mariadb_survives_ten_kills_by_gtid() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Mariadb, By::Gtid)?);
    Ok(())
}

fn survives_ten_kills(kind: Kind, by: By) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{kind} by {by:?}, DT_SEED={}", dice.seed());
    let told = killed_and_resumed(kind, by, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {told}"))
}

fn killed_and_resumed(kind: Kind, by: By, dice: &mut Dice) -> Result<String> {
    let pair = servers::pair(kind)?;
    let database = match by {
        By::Place => "cdc_kill_place",
        By::Gtid => "cdc_kill_gtid",
        By::Lanes => "cdc_kill_lanes",
    };
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        writer::create(db)?;
        db.exec("CREATE TABLE marks (id int PRIMARY KEY, v int)")?;
    }
    let task = task(pair, &source, by, database)?;

    let writer = Writer::start(&pair.source, database, dice.roll())?;
    let (mut in_flight, mut resumed) = (0, 0);
    for _ in 0..KILLS {
        let running = task.spawn()?;
        sleep(dice.moment(LATEST));
        let killed = running.kill9()?;
        ensure!(killed.code == 128 + 9, "resumed, it failed by itself: {}", killed.said());
        in_flight += 1;
        resumed = killed.log.matches("resume from: ").count();
    }
    let mut running = task.spawn()?;
    let transactions = writer.stop()?;
    caught_up(&mut running, &source, &target, 1)?;
    stopped(running)?;
    let mut story = format!("{in_flight} kills, {resumed} resumes, {transactions} transactions");
    for table in &TABLES {
        story += &format!("; `{}` is {}", table.name, is_as_promised(table, &source, &target, database)?);
    }

    // Two restarts in a row go on from the newest position, and read nothing again.
    let visits = || target.number("SELECT COUNT(*) FROM visits");
    let before = visits()?;
    for mark in 2..4 {
        let newest = newest_checkpoint(&task)?;
        let mut running = task.spawn()?;
        caught_up(&mut running, &source, &target, mark)?;
        let log = stopped(running)?;
        let from = log.lines().rev().find_map(|line| line.split_once("resume from: ")).context("no `resume from`")?.1;
        ensure!(from == newest, "resumed from {from} instead of {newest}");
    }
    ensure!(visits()? == before, "a restart read again: {before} rows without a key became {}", visits()?);
    Ok(story)
}

fn task(pair: &Pair, source: &Db, by: By, database: &str) -> Result<Task> {
    let task = Task::of_pair(pair, &[database])?.set("extractor", "extract_type", "cdc");
    let Place { file, position, gtids } = binlog::beginning(source)?;
    match by {
        By::Place => Ok(task.set("extractor", "binlog_filename", file).set("extractor", "binlog_position", position)),
        By::Gtid | By::Lanes => {
            let task = match by {
                By::Lanes => {
                    task.set("parallelizer", "parallel_type", "rdb_merge").set("parallelizer", "parallel_size", "4")
                }
                By::Place | By::Gtid => task,
            };
            Ok(task.set("extractor", "gtid_enabled", "true").set("extractor", "gtid_set", gtids))
        }
    }
}

/// Writes a row last of all, and waits until it arrives.
fn caught_up(running: &mut Running, source: &Db, target: &Db, mark: u32) -> Result<()> {
    source.exec(format!("INSERT INTO marks VALUES ({mark}, 0)"))?;
    running.until("the last row arrives", || {
        Ok(target.number(format!("SELECT COUNT(*) FROM marks WHERE id = {mark}"))? == 1)
    })
}

/// SIGTERM; gives back default.log.
fn stopped(mut running: Running) -> Result<String> {
    running.sigterm()?;
    Ok(running.wait()?.expect_code(128 + 15)?.log)
}

fn newest_checkpoint(task: &Task) -> Result<String> {
    let text = task.log("position.log")?;
    let line = text.lines().rev().find_map(|line| line.split_once("| checkpoint_position | "));
    Ok(line.context("no checkpoint was recorded")?.1.to_owned())
}

/// Fails unless the rows that a key tells apart are equal, and none of the others is missing.
fn is_as_promised(table: &LoadTable, source: &Db, target: &Db, database: &str) -> Result<String> {
    let judge = Judge::new(source, target);
    let verdict = judge.table(database, table.name)?;
    if verdict.is_equal() {
        return Ok(verdict.to_string());
    }
    ensure!(verdict.missing == 0, "`{}`: {verdict}", table.name);
    if table.is_keyless() {
        ensure!(verdict.nothing_lost(), "`{}`: {verdict}", table.name);
        return Ok(verdict.to_string());
    }
    // A row that was null in its key and has one now may have left a copy of what it was.
    for db in [source, target] {
        db.exec(format!(
            "CREATE OR REPLACE VIEW keyed AS SELECT * FROM {} WHERE NOT ({})",
            table.name, table.unidentified
        ))?;
    }
    let keyed = judge.table(database, "keyed")?;
    ensure!(keyed.is_equal(), "`{}`: {verdict}; of the rows with a key: {keyed}", table.name);
    Ok(format!("{verdict} (with a key: {keyed})"))
}
