//! dt-main beside the usual tools, on the same servers in the same run.

mod changes;
mod documents;
mod mongo;
mod mongo_cdc;
mod mysql;
mod mysql_cdc;
mod pg;
mod pg_cdc;
mod plan;
mod report;
mod resume;

use std::fs::File;
use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, bail};
use dt_tests::task::Task;
use dt_tests::usage::{self, Usage};
use plan::Plan;

const USAGE: &str = "bench mysql|pg|mongo [--rows N] [--runs K] [--all] [--tool NAME]… | \
                     bench mysql-cdc|pg-cdc|mongo-cdc [--changes N] [--rows N] [--runs K] [--tool NAME]… | bench resume [--tables N]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let what = words.next().context(USAGE)?;
    let mut plan = Plan::default();
    let mut tables = 10_000;
    while let Some(word) = words.next() {
        if word == "--tool" {
            plan.only.push(words.next().context("--tool needs a part of a tool's name")?);
            continue;
        }
        let mut number = || words.next().and_then(|text| text.parse().ok()).context(format!("{word} needs a number"));
        match word.as_str() {
            "--rows" => plan.rows = number()?,
            "--runs" => plan.runs = number()?.max(1),
            "--all" => plan.all = true,
            "--changes" => plan.changes = number()?.max(1),
            "--tables" => tables = number()?.max(1),
            other => bail!("unknown argument `{other}`: {USAGE}"),
        }
    }
    match what.as_str() {
        "mysql" => mysql::bench(&plan),
        "mysql-cdc" => mysql_cdc::bench(&plan),
        "pg" => pg::bench(&plan),
        "pg-cdc" => pg_cdc::bench(&plan),
        "mongo" => mongo::bench(&plan),
        "mongo-cdc" => mongo_cdc::bench(&plan),
        "resume" => resume::bench(tables),
        other => bail!("unknown benchmark `{other}`: {USAGE}"),
    }
}

/// Prints a line at once, for people who wait.
fn say(line: impl AsRef<str>) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", line.as_ref())?;
    out.flush().context("write to standard output")
}

/// The same task with its positions in the target: as one that has never run, for it has a name of its own.
fn exactly_once(task: Task) -> Task {
    static TASKS: AtomicU64 = AtomicU64::new(0);
    let name = format!("bench {} {}", std::process::id(), TASKS.fetch_add(1, Ordering::Relaxed));
    task.set("global", "task_id", name).set("resumer", "resume_type", "from_target")
}

/// What dt-main costs with this task.
fn dt_main(task: &Task) -> Result<Usage> {
    let mut command = task.command()?;
    let said = task.log_dir().with_extension("stderr");
    command.stdout(Stdio::null()).stderr(File::create(&said)?);
    let (status, usage) = usage::of(&mut command)?;
    if !status.success() {
        bail!("dt-main failed: {status}\n{}{}", std::fs::read_to_string(said)?, task.log("default.log")?);
    }
    Ok(usage)
}

/// What the programs of a shell script cost.
fn run_shell(script: &str) -> Result<Usage> {
    let (status, usage) = usage::of(Command::new("sh").args(["-c", script]).stdin(Stdio::null()))?;
    if !status.success() {
        bail!("{status}: {script}");
    }
    Ok(usage)
}
