//! What the tests of streams share: a task that follows changes, what it has recorded, and how it is stopped.

// Each test binary uses some of it.
#![allow(dead_code)]

use anyhow::{Context, Result};
use dt_tests::db::Db;
use dt_tests::servers::{Kind, Server};
use dt_tests::task::{Finished, Running, Task};
use serde_json::Value;

/// Both kinds of servers.
pub const BOTH: [Kind; 2] = [Kind::Mysql, Kind::Mariadb];

/// A task that follows the changes of a database, from now on.
pub fn stream(source: &Server, target: &Server, database: &str) -> Result<Task> {
    Ok(Task::snapshot(source, target)?.databases(&[database]).set("extractor", "extract_type", "cdc"))
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
    Ok(task.log("default.log")?.matches("MysqlCdcExtractor starts, ").count())
}

/// SIGTERM, and a clean end.
pub fn stop(mut running: Running) -> Result<Finished> {
    running.sigterm()?;
    running.wait()?.expect_code(128 + 15)
}

/// The checkpoint that was recorded last.
pub fn checkpoint(task: &Task) -> Result<Option<Value>> {
    let text = task.log("position.log")?;
    let lines = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let last = lines.filter_map(|line| line.split_once(" | checkpoint_position | ")).next_back();
    last.map(|(_, json)| serde_json::from_str(json).context("a checkpoint that is no JSON")).transpose()
}

/// Waits until the table has as many rows on the target.
pub fn until_rows(running: &mut Running, target: &Db, table: &str, wanted: u64) -> Result<()> {
    running.until(&format!("{table} has {wanted} rows"), || {
        Ok(target.number(format!("SELECT COUNT(*) FROM {table}"))? == wanted)
    })
}
