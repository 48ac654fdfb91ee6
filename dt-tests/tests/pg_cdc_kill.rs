//! PostgreSQL: SIGKILL at a random moment, ten times over, while a writer changes the source; then to its end: tables
//! with a key are exactly equal, and of the other tables no row is lost. At no time has the source been told of more than
//! is recorded. `DT_SEED=… cargo test …` plays the same moments again.

mod pg_load;
mod pg_streams;

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::dice::Dice;
use dt_tests::judge::Judge;
use dt_tests::servers::{Kind, Options, Pair};
use dt_tests::task::Task;
use pg_load::{LoadTable, Promise, TABLES};
use pg_streams::{caught_up, checkpoint, lsn, stop, stream};

const KILLS: u32 = 10;
/// No kill comes later after its start than this; one in ten comes before the first change.
const LATEST: Duration = Duration::from_millis(2500);
/// The database, and the slot.
const NAME: &str = "killed";

#[test]
fn postgresql_15_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres15, 1)?);
    Ok(())
}

#[test]
fn postgresql_18_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres18, 1)?);
    Ok(())
}

#[test]
fn postgresql_18_survives_ten_kills_in_lanes() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres18, 4)?);
    Ok(())
}

fn survives_ten_kills(kind: Kind, lanes: u32) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{kind}, lanes: {lanes}, DT_SEED={}", dice.seed());
    killed_and_resumed(kind, lanes, &mut dice).with_context(|| case.clone()).map(|told| format!("{case}: {told}"))
}

fn killed_and_resumed(kind: Kind, lanes: u32, dice: &mut Dice) -> Result<String> {
    // As little as there can be: large transactions are streamed before they end.
    let options = Options { extra: vec!["--logical_decoding_work_mem=64kB".to_owned()], ..Options::default() };
    let pair = Pair::start(kind, &options)?;
    let (source, target) = pair.database(NAME)?;
    for db in [&source, &target] {
        pg_load::create(db)?;
        db.exec("CREATE TABLE marks (id int PRIMARY KEY)")?;
    }
    // What is written before the first start is not to be missed, nor what is written before anything is recorded.
    let publication = format!("CREATE PUBLICATION {NAME}_publication_for_all_tables FOR ALL TABLES");
    let slot = format!("SELECT lsn FROM pg_create_logical_replication_slot('{NAME}', 'pgoutput')");
    source.exec(publication)?;
    let begin = source.value(slot)?.context("no slot")?;
    let task = stream(&pair, NAME)?.set("parallelizer", "parallel_type", "rdb_merge");
    let task = task.set("parallelizer", "parallel_size", lanes.to_string());
    // It may have to be built, and the writer would write all the while.
    dt_tests::task::dt_main()?;

    let writer = pg_load::start(&pair.source, NAME, dice.roll())?;
    for kill in 1..=KILLS {
        let running = task.spawn()?;
        sleep(dice.moment(LATEST));
        let killed = running.kill9()?;
        ensure!(killed.code == 128 + 9, "resumed, it failed by itself: {}", killed.said());
        is_not_told_of_more_than_is_recorded(&task, &source, &begin).with_context(|| format!("kill {kill}"))?;
    }
    let mut running = task.spawn()?;
    let transactions = writer.stop()?;
    caught_up(&mut running, &source, &target)?;
    let log = stop(running)?.log;
    is_not_told_of_more_than_is_recorded(&task, &source, &begin)?;
    let streamed = format!("SELECT stream_txns FROM pg_stat_replication_slots WHERE slot_name = '{NAME}'");
    let streamed = source.number(streamed)?;
    ensure!(streamed > 0, "no transaction was streamed before it ended");
    let resumed = log.matches("resume from: ").count();
    let mut story = format!("{KILLS} kills, {resumed} resumes, {transactions} transactions, {streamed} times streamed");
    for table in &TABLES {
        story += &format!("; `{}` is {}", table.name, is_as_promised(table, &source, &target)?);
    }

    // Two restarts in a row go on from the newest position, and read nothing again.
    let visits = || target.number("SELECT count(*) FROM visits");
    let before = visits()?;
    for _ in 0..2 {
        let newest = checkpoint(&task)?.context("no checkpoint was recorded")?;
        let mut running = task.spawn()?;
        caught_up(&mut running, &source, &target)?;
        let log = stop(running)?.log;
        let from = log.lines().rev().find_map(|line| line.split_once("resume from: ")).context("no `resume from`")?.1;
        let from: serde_json::Value = serde_json::from_str(from)?;
        ensure!(from == newest, "resumed from {from} instead of {newest}");
    }
    ensure!(visits()? == before, "a restart read again: {before} rows without a key became {}", visits()?);
    Ok(story)
}

/// What the source was told it may forget: nothing that is not recorded; before the first record, nothing at all.
fn is_not_told_of_more_than_is_recorded(task: &Task, source: &Db, begin: &str) -> Result<()> {
    let recorded = checkpoint(task)?.as_ref().map(lsn).transpose()?;
    let recorded = recorded.as_deref().unwrap_or(begin);
    let told = format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{NAME}'");
    let told = source.value(told)?.context("no slot")?;
    let is_more = source.value(format!("SELECT '{told}'::pg_lsn > '{recorded}'::pg_lsn"))?;
    ensure!(is_more.as_deref() == Some("f"), "the source was told of {told}, recorded is {recorded}");
    Ok(())
}

/// Fails unless the table is what is promised.
fn is_as_promised(table: &LoadTable, source: &Db, target: &Db) -> Result<String> {
    let judge = Judge::new(source, target);
    let verdict = judge.table("public", table.name)?;
    let kept = match table.promise {
        Promise::Equal => verdict.is_equal(),
        Promise::Repeated => verdict.nothing_lost(),
        Promise::NotLost => verdict.missing == 0,
        Promise::EqualWhere(condition) => {
            for db in [source, target] {
                let view = format!("CREATE VIEW keyed AS SELECT * FROM {} WHERE {condition}", table.name);
                db.exec_all(["DROP VIEW IF EXISTS keyed", &view])?;
            }
            judge.table("public", "keyed")?.is_equal() && verdict.missing == 0
        }
    };
    ensure!(kept, "`{}`: {verdict}\n{}", table.name, shortened(judge.differences("public", table.name, 6)?));
    Ok(verdict.to_string())
}

/// Long values are of no use in a message.
fn shortened(lines: Vec<String>) -> String {
    let short = |line: String| line.chars().take(120).collect::<String>();
    lines.into_iter().map(short).collect::<Vec<_>>().join("\n")
}
