//! The second part: a writer changes a database, the changes are followed, and the following is killed and resumed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::Pair;
use dt_tests::task::{Running, Task};
use dt_tests::writer::{self, LoadTable, TABLES, Writer};

use crate::{Plan, grouped, say};

const DATABASE: &str = "live";

/// How many binlog bytes pass between a start and the kill.
const BYTES_A_RUN: u64 = 2_000_000;

/// One run of dt-main.
struct Run {
    ended: &'static str,
    wall: Duration,
    /// `file:place` of the recorded checkpoint when it ended.
    checkpoint: String,
}

/// Follows a database from one server of the pair to the other; whether all is as promised.
pub(crate) fn show(pair: &Pair, plan: &Plan) -> Result<bool> {
    let (source, target) = pair.database(DATABASE)?;
    for db in [&source, &target] {
        writer::create(db)?;
        db.exec("CREATE TABLE marks (id int PRIMARY KEY)")?;
    }
    let (file, place) = end_of_binlog(&source)?;
    let task = Task::of_pair(pair, &[DATABASE])?
        .set("extractor", "extract_type", "cdc")
        .set("extractor", "binlog_filename", file)
        .set("extractor", "binlog_position", place.to_string());

    say("A writer begins: inserts, updates, deletes, changes of keys, rollbacks, XA, large transactions …")?;
    let writer = Writer::start(&pair.source, DATABASE, 7)?;
    let mut runs = Vec::new();
    for kill in 1..=plan.kills {
        say(format!(
            "Run {kill}: dt-main follows; SIGKILL once {} bytes of binlog are recorded …",
            grouped(BYTES_A_RUN)
        ))?;
        let start = Instant::now();
        let mut running = task.spawn()?;
        let from = checkpoints(&task)?.len();
        running.until("there are checkpoints of this run", || {
            let checkpoints = checkpoints(&task)?;
            let first = checkpoints.get(from).cloned();
            Ok(first.is_some_and(|first| checkpoints.last().is_some_and(|last| bytes_between(&first, last))))
        })?;
        let killed = running.kill9()?;
        if killed.code != 128 + 9 {
            bail!("dt-main should have been killed: {}", killed.said());
        }
        runs.push(Run { ended: "SIGKILL", wall: start.elapsed(), checkpoint: last_checkpoint(&task)? });
    }
    say(format!(
        "Run {}: dt-main resumes; the writer ends; dt-main catches up, and is told to stop …",
        plan.kills + 1
    ))?;
    let start = Instant::now();
    let running = task.spawn()?;
    let transactions = writer.stop()?;
    source.exec("INSERT INTO marks VALUES (1)")?;
    stop_when_caught_up(running, &target)?;
    runs.push(Run { ended: "SIGTERM", wall: start.elapsed(), checkpoint: last_checkpoint(&task)? });
    report(&runs, transactions, &source, &target)
}

/// The last change of the source is on the target, and so are all that came before it.
fn stop_when_caught_up(mut running: Running, target: &Db) -> Result<()> {
    running.until("the last change is on the target", || Ok(target.number("SELECT COUNT(*) FROM marks")? == 1))?;
    running.sigterm()?;
    running.wait()?.expect_code(128 + 15)?;
    Ok(())
}

fn end_of_binlog(source: &Db) -> Result<(String, u64)> {
    let row = source.rows("SHOW BINARY LOG STATUS")?.into_iter().next().context("the source has no binlog")?;
    let mut cells = row.into_iter().flatten();
    let (file, place) = cells.next().zip(cells.next()).context("the source does not say where its binlog ends")?;
    Ok((file, place.parse()?))
}

/// The recorded checkpoints, oldest first, as file and place.
fn checkpoints(task: &Task) -> Result<Vec<(String, u64)>> {
    let text = task.log("position.log")?;
    let whole =
        text.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.contains("| checkpoint_position |"));
    let mut found = Vec::new();
    for line in whole {
        let Some((_, json)) = line.split_once('{') else { continue };
        let json: serde_json::Value = serde_json::from_str(&format!("{{{json}")).context("a line of position.log")?;
        if let (Some(file), Some(place)) = (json["binlog_filename"].as_str(), json["next_event_position"].as_u64()) {
            found.push((file.to_owned(), place));
        }
    }
    Ok(found)
}

fn last_checkpoint(task: &Task) -> Result<String> {
    let (file, place) = checkpoints(task)?.pop().context("position.log has no checkpoint")?;
    Ok(format!("{file}:{place}"))
}

/// Whether enough lies between two places; another file is enough.
fn bytes_between(first: &(String, u64), last: &(String, u64)) -> bool {
    first.0 != last.0 || last.1 - first.1 >= BYTES_A_RUN
}

fn report(runs: &[Run], transactions: u64, source: &Db, target: &Db) -> Result<bool> {
    say(format!("\n{:<6}{:>10}{:>10}   recorded checkpoint", "run", "ended by", "seconds"))?;
    for (at, run) in runs.iter().enumerate() {
        let seconds = format!("{:.1}", run.wall.as_secs_f64());
        say(format!("{:<6}{:>10}{seconds:>10}   {}", at + 1, run.ended, run.checkpoint))?;
    }
    say(format!("\n{:<14}{:>12}{:>12}   verdict of the servers", "table", "source", "target"))?;
    let judge = Judge::new(source, target);
    let (mut right, mut equal) = (true, true);
    for table in &TABLES {
        let verdict = judge.table(DATABASE, table.name)?;
        // A row that has lost or got its key may have left a copy of what it was: foreign, and without a key.
        let promised = verdict.missing == 0 && identified_rows_are_equal(table, source, target)?;
        let words = match (verdict.is_equal(), promised) {
            (true, _) => "equal".to_owned(),
            (false, true) => {
                format!("nothing lost, {} rows without a key repeated", grouped(verdict.repeated + verdict.foreign))
            }
            (false, false) => format!("NOT EQUAL: {verdict}"),
        };
        (right, equal) = (right && promised, equal && verdict.is_equal());
        let (rows, target_rows) = (grouped(verdict.rows), grouped(verdict.target_rows));
        say(format!("{:<14}{rows:>12}{target_rows:>12}   {words}", table.name))?;
    }
    let verdict = match (equal, right) {
        (true, _) => "source and target are equal",
        (false, true) => "nothing is lost, and every row with a key is there exactly once",
        (false, false) => "SOURCE AND TARGET DIFFER",
    };
    let kills = runs.len() - 1;
    say(format!("\n{} transactions followed with {kills} kills: {verdict}.", grouped(transactions)))?;
    Ok(right)
}

/// As many rows that a key tells apart are there as on the source; with none missing, the very same.
fn identified_rows_are_equal(table: &LoadTable, source: &Db, target: &Db) -> Result<bool> {
    let identified = format!("SELECT COUNT(*) FROM {DATABASE}.{} WHERE NOT ({})", table.name, table.unidentified);
    Ok(source.number(&identified)? == target.number(&identified)?)
}
