//! dt-main beside the usual tools, on the same servers in the same run.

mod changes;
mod mysql;
mod mysql_cdc;
mod report;
mod resume;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

const USAGE: &str = "bench mysql [--rows N] [--runs K] [--all] [--tool NAME]… | bench mysql-cdc [--changes N] \
                     [--rows N] [--runs K] [--tool NAME]… | bench resume [--tables N]";

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
    let mut plan = mysql::Plan::default();
    let mut tables = 10_000;
    let mut changes = 300_000;
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
            "--changes" => changes = number()?.max(1),
            "--tables" => tables = number()?.max(1),
            other => bail!("unknown argument `{other}`: {USAGE}"),
        }
    }
    match what.as_str() {
        "mysql" => mysql::bench(&plan),
        "mysql-cdc" => {
            let mysql::Plan { rows, runs, only, .. } = plan;
            mysql_cdc::bench(&mysql_cdc::Plan { changes, rows, runs, only })
        }
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
