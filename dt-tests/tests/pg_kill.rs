//! PostgreSQL: SIGKILL at a random moment, ten times over, then to the end: every row that a key identifies exactly
//! once, and no other row lost. Tables whole and in chunks. `DT_SEED=… cargo test …` plays the same moments again.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::dice::Dice;
use dt_tests::judge::Judge;
use dt_tests::sample::postgres::{self as sample, TABLES};
use dt_tests::servers::{self, Kind};
use dt_tests::task::Task;

const KILLS: u32 = 10;
const ROWS: u64 = 100_000;
/// The killed runs read no faster, so that there is time to die at every stage, also between two saved positions.
const ROWS_PER_SECOND: u64 = 20_000;

#[test]
fn postgresql_15_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres15, 1, Parts::Tables)?);
    Ok(())
}

#[test]
fn postgresql_15_survives_ten_kills_with_four_tables_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres15, 4, Parts::Tables)?);
    Ok(())
}

#[test]
fn postgresql_18_survives_ten_kills() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres18, 1, Parts::Tables)?);
    Ok(())
}

#[test]
fn postgresql_18_survives_ten_kills_with_four_tables_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres18, 4, Parts::Tables)?);
    Ok(())
}

#[test]
fn postgresql_15_survives_ten_kills_with_four_chunks_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres15, 4, Parts::Chunks)?);
    Ok(())
}

#[test]
fn postgresql_18_survives_ten_kills_with_four_chunks_at_a_time() -> Result<()> {
    println!("{}", survives_ten_kills(Kind::Postgres18, 4, Parts::Chunks)?);
    Ok(())
}

/// What is read at the same time.
#[derive(Clone, Copy, Debug)]
enum Parts {
    Tables,
    Chunks,
}

/// What happened, for whoever reads the test's output.
fn survives_ten_kills(kind: Kind, parallel: u32, parts: Parts) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{kind}, {parallel} {parts:?}, DT_SEED={}", dice.seed());
    let story = killed_and_resumed(kind, parallel, parts, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {story}"))
}

fn killed_and_resumed(kind: Kind, parallel: u32, parts: Parts, dice: &mut Dice) -> Result<String> {
    let pair = servers::pair(kind)?;
    let database = format!("kill_{parallel}_{parts:?}").to_lowercase();
    let (source, target) = pair.database(&database)?;
    sample::create_and_fill(&source, ROWS)?;

    // Once without a kill.
    sample::create_tables(&target)?;
    task(kind, parallel, parts, &database)?.run()?.expect_code(0)?;
    for (table, verdict) in Judge::new(&source, &target).database("public")? {
        ensure!(verdict.is_equal(), "`{table}` without any kill: {verdict}");
    }

    target.exec_all(TABLES.iter().map(|table| format!("TRUNCATE TABLE {}", table.name)))?;
    let task = task(kind, parallel, parts, &database)?.set("extractor", "max_rps", ROWS_PER_SECOND.to_string());
    // Each kill takes a tenth of the way on average, and one in ten comes before the first row.
    let latest = Duration::from_secs(2 * ROWS / ROWS_PER_SECOND) / KILLS;
    let mut in_flight = 0;
    for _ in 0..KILLS {
        let running = task.spawn()?;
        sleep(dice.moment(latest));
        let killed = running.kill9()?;
        // 0: it had nothing left to do and was faster than the kill.
        ensure!([0, 128 + 9].contains(&killed.code), "resumed, it failed by itself: {}", killed.said());
        in_flight += u32::from(killed.code != 0);
    }
    let mut story = format!("{in_flight} of {KILLS} kills were in mid-copy");
    task.run()?.expect_code(0)?;
    ensure!(in_flight > 0, "no kill came before the end: the sample is too small for this machine");

    for (table, verdict) in Judge::new(&source, &target).database("public")? {
        story += &format!("; `{table}` is {verdict}");
        let promised = sample::table(&table)?.is_as_promised(&verdict, &source, &target)?;
        ensure!(promised, "`{table}`: {verdict}");
    }

    // Two restarts in a row of a finished task: nothing is read again.
    let done = task.run()?.expect_code(0)?;
    ensure!(done.summary("rows").unwrap_or(0) == 0, "a finished task copied rows again: {}", done.said());
    Ok(story)
}

fn task(kind: Kind, parallel: u32, parts: Parts, database: &str) -> Result<Task> {
    let task = Task::of_postgres_pair(servers::pair(kind)?, database)?;
    let task = task.set("extractor", "parallel_size", parallel.to_string()).set(
        "parallelizer",
        "parallel_size",
        parallel.to_string(),
    );
    Ok(match parts {
        Parts::Tables => task,
        Parts::Chunks => task.set("extractor", "parallel_type", "chunk").set("extractor", "batch_size", "1500"),
    })
}
