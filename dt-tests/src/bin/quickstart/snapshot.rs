//! The first part: a database is copied, the copying is killed, resumed, and proved equal by the servers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dt_tests::db::Db;
use dt_tests::judge::{Judge, Verdict};
use dt_tests::sample::SampleTable;
use dt_tests::task::{Progress, RecordedKey, Task};

use crate::plan::Plan;
use crate::{grouped, say};

/// A database that is copied, whatever its servers are.
pub(crate) trait Copied {
    /// The task that copies it.
    fn task(&self) -> &Task;
    /// Its tables.
    fn tables(&self) -> Vec<Shown>;
    /// Makes and fills it on the source, and makes it on the target where that is needed.
    fn fill(&self, rows: u64) -> Result<()>;
    /// Rows of all tables.
    fn rows_on_target(&self) -> Result<u64>;
    /// The table's rows on the target that no recorded position covers.
    fn redone(&self, table: &str, progress: &Progress) -> Result<u64>;
    /// What became of the table's rows, and whether that is what is promised.
    fn verdict(&self, table: &str) -> Result<(Verdict, bool)>;
}

/// A table, for people.
pub(crate) struct Shown {
    /// Its name.
    pub(crate) name: &'static str,
    /// What kind of key it has.
    pub(crate) key: &'static str,
}

/// The SQL database that is copied.
pub(crate) struct Sample {
    /// A connection to it on the source.
    pub(crate) source: Db,
    /// A connection to the empty one on the target.
    pub(crate) target: Db,
    /// The task that copies it.
    pub(crate) task: Task,
    /// What its tables' schema is called in positions, and by the judge.
    pub(crate) schema: &'static str,
    /// Its tables.
    pub(crate) tables: &'static [SampleTable],
    /// Makes and fills them on the source.
    pub(crate) create_and_fill: fn(&Db, u64) -> Result<()>,
    /// Makes them on the target.
    pub(crate) create_tables: fn(&Db) -> Result<()>,
    /// An SQL condition for the rows after a recorded key.
    pub(crate) rows_after: fn(&RecordedKey) -> String,
}

/// One run of dt-main.
struct Run {
    ended: &'static str,
    wall: Duration,
    /// Rows on the target when it ended.
    rows_on_target: u64,
    /// Rows on the target that the next run copies once more, for no recorded position covers them.
    redone: u64,
}

/// Copies the database from one server to the other; whether all is as promised.
pub(crate) fn show(copied: &dyn Copied, plan: &Plan) -> Result<bool> {
    let tables = copied.tables();
    say(format!("Filling the source with {} rows in {} tables …", grouped(plan.rows), tables.len()))?;
    copied.fill(plan.rows)?;
    let runs = copy(plan, copied, &tables)?;
    let mut judged = Vec::new();
    for table in tables {
        let (verdict, promised) = copied.verdict(table.name)?;
        judged.push((table, verdict, promised));
    }
    report(plan, &runs, &judged)
}

/// Kills it `plan.kills` times, evenly spread over the rows, and then lets it finish.
fn copy(plan: &Plan, copied: &dyn Copied, tables: &[Shown]) -> Result<Vec<Run>> {
    let task = copied.task();
    let mut runs = Vec::new();
    for kill in 1..=plan.kills {
        let enough = plan.rows * u64::from(kill) / u64::from(plan.kills + 1);
        say(format!("Run {kill}: dt-main copies; SIGKILL once {} rows are on the target …", grouped(enough)))?;
        let start = Instant::now();
        let mut running = task.spawn()?;
        running.until("there are enough rows on the target", || Ok(copied.rows_on_target()? >= enough))?;
        let killed = running.kill9()?;
        let wall = start.elapsed();
        let ended = match killed.code {
            // 128 + 9.
            137 => "SIGKILL",
            // It was faster than the kill: there is nothing left to resume.
            0 => "done",
            _ => bail!("dt-main should have been killed: {}", killed.said()),
        };
        let progress = task.progress()?;
        let redone = tables.iter().map(|table| copied.redone(table.name, &progress)).sum::<Result<u64>>()?;
        runs.push(Run { ended, wall, rows_on_target: copied.rows_on_target()?, redone });
        if ended == "done" {
            return Ok(runs);
        }
    }
    say(format!("Run {}: dt-main resumes and finishes …", plan.kills + 1))?;
    let start = Instant::now();
    task.run()?.expect_code(0)?;
    runs.push(Run { ended: "done", wall: start.elapsed(), rows_on_target: copied.rows_on_target()?, redone: 0 });
    Ok(runs)
}

impl Copied for Sample {
    fn task(&self) -> &Task {
        &self.task
    }

    fn tables(&self) -> Vec<Shown> {
        self.tables.iter().map(|table| Shown { name: table.name, key: table.key }).collect()
    }

    fn fill(&self, rows: u64) -> Result<()> {
        (self.create_and_fill)(&self.source, rows)?;
        (self.create_tables)(&self.target)
    }

    fn rows_on_target(&self) -> Result<u64> {
        let counts = self.tables.iter().map(|table| format!("(SELECT COUNT(*) FROM {})", table.name));
        self.target.number(format!("SELECT {}", counts.collect::<Vec<_>>().join(" + ")))
    }

    fn redone(&self, table: &str, progress: &Progress) -> Result<u64> {
        let condition = match progress.of(self.schema, table) {
            _ if progress.is_finished(self.schema, table) => return Ok(0),
            Some(key) => (self.rows_after)(&key),
            None => "TRUE".to_owned(),
        };
        self.target.number(format!("SELECT COUNT(*) FROM {table} WHERE {condition}"))
    }

    fn verdict(&self, table: &str) -> Result<(Verdict, bool)> {
        let verdict = Judge::new(&self.source, &self.target).table(self.schema, table)?;
        let sample = self.tables.iter().find(|sample| sample.name == table).context("no such table")?;
        Ok((verdict, sample.is_as_promised(&verdict, &self.source, &self.target)?))
    }
}

fn report(plan: &Plan, runs: &[Run], tables: &[(Shown, Verdict, bool)]) -> Result<bool> {
    say(format!(
        "\n{:<6}{:>10}{:>10}{:>18}{:>22}",
        "run", "ended by", "seconds", "rows on target", "redone afterwards"
    ))?;
    let mut redone = 0;
    for (at, run) in runs.iter().enumerate() {
        redone += run.redone;
        let share = 100.0 * run.redone as f64 / plan.rows as f64;
        let again =
            if run.ended == "done" { "-".to_owned() } else { format!("{} ({share:.1} %)", grouped(run.redone)) };
        let seconds = format!("{:.1}", run.wall.as_secs_f64());
        say(format!("{:<6}{:>10}{seconds:>10}{:>18}{again:>22}", at + 1, run.ended, grouped(run.rows_on_target)))?;
    }

    say(format!("\n{:<14}{:<22}{:>12}{:>12}   verdict of the servers", "table", "key", "source", "target"))?;
    for (table, verdict, promised) in tables {
        let words = match (verdict.is_equal(), promised) {
            (true, _) => "equal".to_owned(),
            (false, true) => format!("nothing lost, {} rows without a key repeated", grouped(verdict.repeated)),
            (false, false) => format!("NOT EQUAL: {verdict}"),
        };
        let (rows, target_rows) = (grouped(verdict.rows), grouped(verdict.target_rows));
        say(format!("{:<14}{:<22}{rows:>12}{target_rows:>12}   {words}", table.name, table.key))?;
    }
    let right = tables.iter().all(|(_, _, promised)| *promised);
    let equal = tables.iter().all(|(_, verdict, _)| verdict.is_equal());

    let wall: Duration = runs.iter().map(|run| run.wall).sum();
    let verdict = match (equal, right) {
        (true, _) => "source and target are equal",
        (false, true) => "nothing is lost, and every row with a key is there exactly once",
        (false, false) => "SOURCE AND TARGET DIFFER",
    };
    let rows = grouped(tables.iter().map(|(_, verdict, _)| verdict.rows).sum());
    let kills = runs.iter().filter(|run| run.ended == "SIGKILL").count();
    say(format!(
        "\n{rows} rows in {:.1} s with {kills} kills, {} rows copied twice: {verdict}.",
        wall.as_secs_f64(),
        grouped(redone)
    ))?;
    Ok(right)
}
