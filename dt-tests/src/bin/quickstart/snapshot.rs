//! The first part: a database is copied, the copying is killed, resumed, and proved equal by the servers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use dt_tests::db::Db;
use dt_tests::judge::{Judge, Verdict};
use dt_tests::sample::{self, SampleTable, TABLES};
use dt_tests::servers::Pair;
use dt_tests::task::{Progress, Task};

use crate::{Plan, grouped, say};

const DATABASE: &str = "shop";

/// One run of dt-main.
struct Run {
    ended: &'static str,
    wall: Duration,
    /// Rows on the target when it ended.
    rows_on_target: u64,
    /// Rows on the target that the next run copies once more, for no recorded position covers them.
    redone: u64,
}

/// Copies a database from one server of the pair to the other; whether all is as promised.
pub(crate) fn show(pair: &Pair, plan: &Plan) -> Result<bool> {
    let (source, target) = pair.database(DATABASE)?;
    say(format!("Filling the source with {} rows in {} tables …", grouped(plan.rows), TABLES.len()))?;
    sample::create_and_fill(&source, plan.rows)?;
    sample::create_tables(&target)?;

    let task = Task::of_pair(pair, &[DATABASE])?;
    let runs = copy(plan, &task, &target)?;
    let verdicts = Judge::new(&source, &target).database(DATABASE)?;
    let mut tables = Vec::new();
    for (name, verdict) in verdicts {
        let table = sample::table(&name)?;
        tables.push((table, verdict, table.is_as_promised(&verdict, &source, &target)?));
    }
    report(plan, &runs, &tables)
}

/// Kills it `plan.kills` times, evenly spread over the rows, and then lets it finish.
fn copy(plan: &Plan, task: &Task, target: &Db) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for kill in 1..=plan.kills {
        let enough = plan.rows * u64::from(kill) / u64::from(plan.kills + 1);
        say(format!("Run {kill}: dt-main copies; SIGKILL once {} rows are on the target …", grouped(enough)))?;
        let start = Instant::now();
        let mut running = task.spawn()?;
        running.until("there are enough rows on the target", || Ok(rows_on(target)? >= enough))?;
        let killed = running.kill9()?;
        let wall = start.elapsed();
        if killed.code != 128 + 9 {
            bail!("dt-main should have been killed: {}", killed.said());
        }
        let progress = task.progress()?;
        let redone = TABLES.iter().map(|table| redone(target, table, &progress)).sum::<Result<u64>>()?;
        runs.push(Run { ended: "SIGKILL", wall, rows_on_target: rows_on(target)?, redone });
    }
    say(format!("Run {}: dt-main resumes and finishes …", plan.kills + 1))?;
    let start = Instant::now();
    task.run()?.expect_code(0)?;
    runs.push(Run { ended: "done", wall: start.elapsed(), rows_on_target: rows_on(target)?, redone: 0 });
    Ok(runs)
}

fn rows_on(db: &Db) -> Result<u64> {
    let counts = TABLES.each_ref().map(|table| format!("(SELECT COUNT(*) FROM {DATABASE}.{})", table.name));
    db.number(format!("SELECT {}", counts.join(" + ")))
}

/// The table's rows on the target that no recorded position covers.
fn redone(target: &Db, table: &SampleTable, progress: &Progress) -> Result<u64> {
    let condition = match progress.of(DATABASE, table.name) {
        _ if progress.is_finished(DATABASE, table.name) => return Ok(0),
        Some(key) => key.rows_after(),
        None => "TRUE".to_owned(),
    };
    target.number(format!("SELECT COUNT(*) FROM {DATABASE}.{} WHERE {condition}", table.name))
}

fn report(plan: &Plan, runs: &[Run], tables: &[(&SampleTable, Verdict, bool)]) -> Result<bool> {
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
    let kills = plan.kills;
    say(format!(
        "\n{rows} rows in {:.1} s with {kills} kills, {} rows copied twice: {verdict}.",
        wall.as_secs_f64(),
        grouped(redone)
    ))?;
    Ok(right)
}
