//! The second part: a writer changes a database, the changes are followed, and the following is killed and resumed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::task::{Running, Task};
use dt_tests::writer::Writer;
use serde_json::Value;

use crate::plan::Plan;
use crate::{grouped, say};

/// The database that is followed.
pub(crate) struct Live {
    /// A connection to it on the source.
    pub(crate) source: Db,
    /// … and on the target.
    pub(crate) target: Db,
    /// The task that follows it.
    pub(crate) task: Task,
    /// Who writes to it.
    pub(crate) writer: Writer,
    /// Its tables.
    pub(crate) tables: Vec<LiveTable>,
    /// What the judge calls the tables' schema.
    pub(crate) schema: &'static str,
    /// How many bytes of the source's log pass between a start and the kill.
    pub(crate) bytes_a_run: u64,
    /// The place of a recorded checkpoint.
    pub(crate) place: fn(&Value) -> Option<Place>,
}

/// One of its tables.
pub(crate) struct LiveTable {
    /// Its name.
    pub(crate) name: &'static str,
    /// An SQL condition for the rows that no key identifies.
    pub(crate) unidentified: &'static str,
}

/// A place in the source's log.
#[derive(Clone)]
pub(crate) struct Place {
    /// As it is shown.
    pub(crate) text: String,
    /// Of a log in several files: the file's name.
    pub(crate) file: String,
    /// Bytes before it.
    pub(crate) offset: u64,
}

/// One run of dt-main.
struct Run {
    ended: &'static str,
    wall: Duration,
    /// The recorded checkpoint when it ended.
    checkpoint: String,
}

/// The table whose one row is written last of all.
pub(crate) const MARKS: &str = "CREATE TABLE marks (id int PRIMARY KEY)";

/// Follows the database from one server to the other; whether all is as promised.
pub(crate) fn show(live: Live, plan: &Plan) -> Result<bool> {
    let Live { source, target, task, writer, tables, schema, bytes_a_run, place } = live;
    let checkpoints = || checkpoints(&task, place);
    let last_checkpoint =
        || Ok::<_, anyhow::Error>(checkpoints()?.pop().context("position.log has no checkpoint")?.text);
    let mut runs = Vec::new();
    for kill in 1..=plan.kills {
        say(format!(
            "Run {kill}: dt-main follows; SIGKILL once {} bytes of the log are recorded …",
            grouped(bytes_a_run)
        ))?;
        let start = Instant::now();
        let mut running = task.spawn()?;
        let from = checkpoints()?.len();
        running.until("there are checkpoints of this run", || {
            let checkpoints = checkpoints()?;
            let first = checkpoints.get(from).cloned();
            Ok(first.is_some_and(|first| checkpoints.last().is_some_and(|last| lie_apart(&first, last, bytes_a_run))))
        })?;
        let killed = running.kill9()?;
        if killed.code != 128 + 9 {
            bail!("dt-main should have been killed: {}", killed.said());
        }
        runs.push(Run { ended: "SIGKILL", wall: start.elapsed(), checkpoint: last_checkpoint()? });
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
    runs.push(Run { ended: "SIGTERM", wall: start.elapsed(), checkpoint: last_checkpoint()? });
    report(&runs, transactions, &Judged { source: &source, target: &target, schema, tables: &tables })
}

/// The last change of the source is on the target, and so are all that came before it.
fn stop_when_caught_up(mut running: Running, target: &Db) -> Result<()> {
    running.until("the last change is on the target", || Ok(target.number("SELECT COUNT(*) FROM marks")? == 1))?;
    running.sigterm()?;
    running.wait()?.expect_code(128 + 15)?;
    Ok(())
}

/// The recorded checkpoints, oldest first.
fn checkpoints(task: &Task, place: fn(&Value) -> Option<Place>) -> Result<Vec<Place>> {
    let text = task.log("position.log")?;
    let whole =
        text.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.contains("| checkpoint_position |"));
    let mut found = Vec::new();
    for line in whole {
        let Some((_, json)) = line.split_once('{') else { continue };
        let json: Value = serde_json::from_str(&format!("{{{json}")).context("a line of position.log")?;
        found.extend(place(&json));
    }
    Ok(found)
}

/// Whether enough lies between two places; another file is enough.
fn lie_apart(first: &Place, last: &Place, bytes: u64) -> bool {
    first.file != last.file || last.offset - first.offset >= bytes
}

/// What is compared in the end.
struct Judged<'a> {
    source: &'a Db,
    target: &'a Db,
    schema: &'a str,
    tables: &'a [LiveTable],
}

fn report(runs: &[Run], transactions: u64, judged: &Judged<'_>) -> Result<bool> {
    let Judged { source, target, schema, tables } = *judged;
    say(format!("\n{:<6}{:>10}{:>10}   recorded checkpoint", "run", "ended by", "seconds"))?;
    for (at, run) in runs.iter().enumerate() {
        let seconds = format!("{:.1}", run.wall.as_secs_f64());
        say(format!("{:<6}{:>10}{seconds:>10}   {}", at + 1, run.ended, run.checkpoint))?;
    }
    say(format!("\n{:<14}{:>12}{:>12}   verdict of the servers", "table", "source", "target"))?;
    let judge = Judge::new(source, target);
    let (mut right, mut equal) = (true, true);
    for table in tables {
        let verdict = judge.table(schema, table.name)?;
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
fn identified_rows_are_equal(table: &LiveTable, source: &Db, target: &Db) -> Result<bool> {
    let identified = format!("SELECT COUNT(*) FROM {} WHERE NOT ({})", table.name, table.unidentified);
    Ok(source.number(&identified)? == target.number(&identified)?)
}
