//! What the tests of PostgreSQL's streams share: a task that follows a slot, how it is started and stopped, and when it
//! has caught up.

// Each test binary uses some of it.
#![allow(dead_code)]

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::{Kind, Pair};
use dt_tests::task::{Finished, Running, Task};
use serde_json::Value;

/// Both versions.
pub const BOTH: [Kind; 2] = [Kind::Postgres15, Kind::Postgres18];

/// A task that follows the schema `public` of a pair's database, through a slot that is called as the database.
pub fn stream(pair: &Pair, database: &str) -> Result<Task> {
    Ok(Task::of_postgres_pair(pair, database)?.follows(database))
}

/// A new database on both sides with these tables, and a task that follows it. A slot of an earlier run is dropped.
pub fn set_up(pair: &Pair, database: &str, tables: &[&str]) -> Result<(Db, Db, Task)> {
    drop_slot(pair, database)?;
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec_all(tables)?;
        db.exec("CREATE TABLE marks (id int PRIMARY KEY)")?;
    }
    Ok((source, target, stream(pair, database)?))
}

/// Drops a slot, if it is there.
pub fn drop_slot(pair: &Pair, slot: &str) -> Result<()> {
    let Some(row) =
        pair.source.db()?.rows(format!("SELECT database FROM pg_replication_slots WHERE slot_name = '{slot}'"))?.pop()
    else {
        return Ok(());
    };
    let database = row.into_iter().next().flatten().context("a slot of no database")?;
    pair.source.database(&database)?.exec(format!("SELECT pg_drop_replication_slot('{slot}')"))
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
    Ok(task.log("default.log")?.matches("PgCdcExtractor starts, ").count())
}

/// SIGTERM, and a clean end.
pub fn stop(mut running: Running) -> Result<Finished> {
    running.sigterm()?;
    running.wait()?.expect_code(128 + 15)
}

/// Writes a row last of all, and waits until it arrives.
pub fn caught_up(running: &mut Running, source: &Db, target: &Db) -> Result<()> {
    let mark = source.number("INSERT INTO marks SELECT COALESCE(max(id), 0) + 1 FROM marks RETURNING id")?;
    running.until("the last row arrives", || {
        Ok(target.number(format!("SELECT count(*) FROM marks WHERE id = {mark}"))? == 1)
    })
}

/// All tables of the schema hold the same rows.
pub fn equal(source: &Db, target: &Db) -> Result<()> {
    let judge = Judge::new(source, target);
    for (table, verdict) in judge.database("public")? {
        ensure!(verdict.is_equal(), "`{table}`: {verdict}\n{}", judge.differences("public", &table, 5)?.join("\n"));
    }
    Ok(())
}

/// Makes changes while the task follows, and holds the target to the source.
pub fn followed(task: &Task, source: &Db, target: &Db, changes: &[&str]) -> Result<Finished> {
    let mut running = follow(task)?;
    source.exec_all(changes)?;
    caught_up(&mut running, source, target)?;
    let finished = stop(running)?;
    equal(source, target)?;
    Ok(finished)
}

/// The checkpoint that was recorded last.
pub fn checkpoint(task: &Task) -> Result<Option<Value>> {
    let text = task.log("position.log")?;
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let last = lines.filter_map(|line| line.split_once(" | checkpoint_position | ")).next_back();
    last.map(|(_, json)| serde_json::from_str(json).context("a checkpoint that is no JSON")).transpose()
}

/// The LSN of a checkpoint.
pub fn lsn(checkpoint: &Value) -> Result<String> {
    Ok(checkpoint["lsn"].as_str().context("a checkpoint without an LSN")?.to_owned())
}
