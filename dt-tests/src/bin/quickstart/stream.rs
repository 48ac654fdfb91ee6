//! The second part: a writer changes a database, the changes are followed, and the following is killed and resumed.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dt_tests::db::Db;
use dt_tests::judge::{Judge, Verdict};
use dt_tests::task::{Running, Task};
use dt_tests::writer::Writer;
use serde_json::Value;

use crate::plan::Plan;
use crate::{grouped, say};

/// A database that is followed, whatever its servers are.
pub(crate) trait Followed {
    /// The task that follows it.
    fn task(&self) -> &Task;
    /// How much of the source's history passes between a start and the kill, in the unit of [`Place::offset`], and in words.
    fn history_a_run(&self) -> (u64, String);
    /// The place of a recorded checkpoint.
    fn place(&self, checkpoint: &Value) -> Option<Place>;
    /// Ends the writing, with one last change; how many transactions there were.
    fn end(&mut self) -> Result<u64>;
    /// Whether that last change is on the target.
    fn has_the_end(&self) -> Result<bool>;
    /// What became of each table's rows, and whether that is what is promised.
    fn verdicts(&self) -> Result<Vec<(&'static str, Verdict, bool)>>;
}

/// The SQL database that is followed.
pub(crate) struct Live {
    /// A connection to it on the source.
    pub(crate) source: Db,
    /// … and on the target.
    pub(crate) target: Db,
    /// The task that follows it.
    pub(crate) task: Task,
    /// Who writes to it; `None` once it has ended.
    pub(crate) writer: Option<Writer>,
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
    /// How far it is from the beginning: bytes, or seconds.
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
pub(crate) fn show(followed: &mut dyn Followed, plan: &Plan) -> Result<bool> {
    let last_checkpoint = |followed: &dyn Followed| {
        Ok::<_, anyhow::Error>(checkpoints(followed)?.pop().context("position.log has no checkpoint")?.text)
    };
    let (enough, words) = followed.history_a_run();
    let mut runs = Vec::new();
    for kill in 1..=plan.kills {
        say(format!("Run {kill}: dt-main follows; SIGKILL once {words} are recorded …"))?;
        let start = Instant::now();
        let mut running = followed.task().spawn()?;
        let from = checkpoints(followed)?.len();
        running.until("there are checkpoints of this run", || {
            let checkpoints = checkpoints(followed)?;
            let first = checkpoints.get(from).cloned();
            Ok(first.is_some_and(|first| checkpoints.last().is_some_and(|last| lie_apart(&first, last, enough))))
        })?;
        let killed = running.kill9()?;
        if killed.code != 128 + 9 {
            bail!("dt-main should have been killed: {}", killed.said());
        }
        runs.push(Run { ended: "SIGKILL", wall: start.elapsed(), checkpoint: last_checkpoint(followed)? });
    }
    say(format!(
        "Run {}: dt-main resumes; the writer ends; dt-main catches up, and is told to stop …",
        plan.kills + 1
    ))?;
    let start = Instant::now();
    let running = followed.task().spawn()?;
    let transactions = followed.end()?;
    stop_when_caught_up(running, followed)?;
    runs.push(Run { ended: "SIGTERM", wall: start.elapsed(), checkpoint: last_checkpoint(followed)? });
    report(&runs, transactions, &followed.verdicts()?)
}

/// The last change of the source is on the target, and so are all that came before it.
fn stop_when_caught_up(mut running: Running, followed: &dyn Followed) -> Result<()> {
    running.until("the last change is on the target", || followed.has_the_end())?;
    running.sigterm()?;
    running.wait()?.expect_code(128 + 15)?;
    Ok(())
}

impl Followed for Live {
    fn task(&self) -> &Task {
        &self.task
    }

    fn history_a_run(&self) -> (u64, String) {
        (self.bytes_a_run, format!("{} bytes of the log", grouped(self.bytes_a_run)))
    }

    fn place(&self, checkpoint: &Value) -> Option<Place> {
        (self.place)(checkpoint)
    }

    fn end(&mut self) -> Result<u64> {
        let transactions = self.writer.take().context("the writer has ended before")?.stop()?;
        self.source.exec("INSERT INTO marks VALUES (1)")?;
        Ok(transactions)
    }

    fn has_the_end(&self) -> Result<bool> {
        Ok(self.target.number("SELECT COUNT(*) FROM marks")? == 1)
    }

    fn verdicts(&self) -> Result<Vec<(&'static str, Verdict, bool)>> {
        let judge = Judge::new(&self.source, &self.target);
        let judged = self.tables.iter().map(|table| {
            let verdict = judge.table(self.schema, table.name)?;
            // A row that has lost or got its key may have left a copy of what it was: foreign, and without a key.
            let promised = verdict.missing == 0 && identified_rows_are_equal(table, &self.source, &self.target)?;
            Ok((table.name, verdict, promised))
        });
        judged.collect()
    }
}

/// The recorded checkpoints, oldest first.
fn checkpoints(followed: &dyn Followed) -> Result<Vec<Place>> {
    let text = followed.task().log("position.log")?;
    let whole =
        text.split_inclusive('\n').filter(|line| line.ends_with('\n') && line.contains("| checkpoint_position |"));
    let mut found = Vec::new();
    for line in whole {
        let Some((_, json)) = line.split_once('{') else { continue };
        let json: Value = serde_json::from_str(&format!("{{{json}")).context("a line of position.log")?;
        found.extend(followed.place(&json));
    }
    Ok(found)
}

/// Whether enough lies between two places; another file is enough.
fn lie_apart(first: &Place, last: &Place, enough: u64) -> bool {
    first.file != last.file || last.offset - first.offset >= enough
}

fn report(runs: &[Run], transactions: u64, judged: &[(&str, Verdict, bool)]) -> Result<bool> {
    say(format!("\n{:<6}{:>10}{:>10}   recorded checkpoint", "run", "ended by", "seconds"))?;
    for (at, run) in runs.iter().enumerate() {
        let seconds = format!("{:.1}", run.wall.as_secs_f64());
        say(format!("{:<6}{:>10}{seconds:>10}   {}", at + 1, run.ended, run.checkpoint))?;
    }
    say(format!("\n{:<14}{:>12}{:>12}   verdict of the servers", "table", "source", "target"))?;
    let (mut right, mut equal) = (true, true);
    for &(name, ref verdict, promised) in judged {
        let words = match (verdict.is_equal(), promised) {
            (true, _) => "equal".to_owned(),
            (false, true) => {
                format!("nothing lost, {} rows without a key repeated", grouped(verdict.repeated + verdict.foreign))
            }
            (false, false) => format!("NOT EQUAL: {verdict}"),
        };
        (right, equal) = (right && promised, equal && verdict.is_equal());
        let (rows, target_rows) = (grouped(verdict.rows), grouped(verdict.target_rows));
        say(format!("{name:<14}{rows:>12}{target_rows:>12}   {words}"))?;
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
