//! What a running copy of PostgreSQL does when it is told to stop, and when servers go away and come back.
//!
//! Every task here reads slowly enough to be met in mid-table, and holds little in memory.

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::{self, Kind, Options, Pair, Server};
use dt_tests::task::{Running, Task};

const BOTH: [Kind; 2] = [Kind::Postgres15, Kind::Postgres18];
/// Rows of nearly two kilobytes: a table is more than what fits into the buffers of a connection.
const ROWS: u64 = 4000;
const ROWS_PER_SECOND: u64 = 2000;

/// A database with tables `a` and `b`, full on the source.
fn two_tables(pair: &Pair, database: &str, rows: u64) -> Result<(Db, Db)> {
    let (source, target) = pair.database(database)?;
    for table in ["a", "b"] {
        for db in [&source, &target] {
            db.exec(format!("CREATE TABLE {table} (id int PRIMARY KEY, wide text)"))?;
        }
        source.exec(format!(
            "INSERT INTO {table} SELECT i, rpad(i::text, 1900, '{table}') FROM generate_series(1, {rows}) i"
        ))?;
    }
    Ok((source, target))
}

fn slow(pair: &Pair, database: &str) -> Result<Task> {
    let task = Task::of_postgres_pair(pair, database)?.set("extractor", "batch_size", "50");
    Ok(task.set("extractor", "max_rps", ROWS_PER_SECOND.to_string()).set("pipeline", "buffer_memory_mb", "1"))
}

const COUNT: &str = "SELECT (SELECT count(*) FROM a) + (SELECT count(*) FROM b)";

fn equal(source: &Db, target: &Db) -> Result<()> {
    for (table, verdict) in Judge::new(source, target).database("public")? {
        ensure!(verdict.is_equal(), "`{table}`: {verdict}");
    }
    Ok(())
}

fn recorded(task: &Task) -> Result<u64> {
    let Some(key) = task.progress()?.of("public", "a") else { return Ok(0) };
    key.0[0].1.as_deref().unwrap_or_default().parse().context("a key that is no number")
}

fn signalled(kind: Kind, send: fn(&mut Running) -> Result<()>, code: i32) -> Result<()> {
    let pair = servers::pair(kind)?;
    let database = format!("pg_signal_{code}");
    let (source, target) = two_tables(pair, &database, ROWS)?;
    // Seldom by the clock, so that what is recorded is the stop's doing.
    let task = slow(pair, &database)?.set("pipeline", "checkpoint_interval_secs", "3600");
    let mut running = task.spawn()?;
    running.until("some rows are there", || Ok(target.number("SELECT count(*) FROM a")? > 500))?;
    send(&mut running)?;
    let stopped = running.wait()?.expect_code(code)?;
    ensure!(stopped.log.contains("snapshot stopped:"), "{}", stopped.said());
    let there = target.number("SELECT count(*) FROM a")?;
    ensure!(there < ROWS, "it was not stopped in mid-table");
    ensure!(recorded(&task)? == there, "{} rows are recorded, {there} are there", recorded(&task)?);
    let resumed = task.unset("extractor", "max_rps").run()?.expect_code(0)?;
    ensure!(resumed.summary("rows") == Some(2 * ROWS - there), "rows were copied again: {}", resumed.said());
    equal(&source, &target)
}

#[test]
fn sigterm_in_mid_table_drains_and_records_and_the_resume_redoes_nothing() -> Result<()> {
    BOTH.into_iter().try_for_each(|kind| signalled(kind, Running::sigterm, 128 + 15))
}

#[test]
fn sigint_in_mid_table_drains_and_records_and_the_resume_redoes_nothing() -> Result<()> {
    BOTH.into_iter().try_for_each(|kind| signalled(kind, Running::sigint, 128 + 2))
}

fn survives_restarts(kind: Kind) -> Result<()> {
    const NAME: &str = "pg_restarted";
    let pair = Pair::start(kind, &Options { durable: true, ..Options::default() })?;
    drop(two_tables(&pair, NAME, 3 * ROWS)?);
    let task = slow(&pair, NAME)?;
    let mut running = task.spawn()?;
    type Blow = fn(&Server) -> Result<()>;
    let kill: Blow = |server| server.kill9().and_then(|()| server.up());
    let mut there = 0;
    for (of_source, blow) in [(true, Server::restart as Blow), (true, kill), (false, Server::restart), (false, kill)] {
        let target = pair.target.database(NAME)?;
        running.until(&format!("more than {} rows are there", there + 1000), || {
            Ok(target.number(COUNT)? > there + 1000)
        })?;
        there = target.number(COUNT)?;
        ensure!(there < 6 * ROWS, "the copy was over before the last blow");
        drop(target);
        blow(if of_source { &pair.source } else { &pair.target })?;
        let promised = recorded(&task)?;
        let kept = pair.target.database(NAME)?.number("SELECT count(*) FROM a")?;
        ensure!(kept >= promised, "a recorded row is gone: {kept} rows, {promised} recorded");
    }
    let done = running.wait()?.expect_code(0)?;
    ensure!(done.log.contains("trying again in") && done.log.contains("is tried again in"), "{}", done.said());
    equal(&pair.source.database(NAME)?, &pair.target.database(NAME)?)
}

#[test]
fn postgresql_15_servers_may_restart_and_be_killed_in_mid_copy() -> Result<()> {
    survives_restarts(Kind::Postgres15)
}

#[test]
fn postgresql_18_servers_may_restart_and_be_killed_in_mid_copy() -> Result<()> {
    survives_restarts(Kind::Postgres18)
}
