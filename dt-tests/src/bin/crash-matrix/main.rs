//! Runs the crash matrix and writes its page. See `./scripts/crash-matrix`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use dt_tests::dice::Dice;
use dt_tests::matrix::run::{Outcome, run};
use dt_tests::matrix::{cell, report};

/// Settings that run at the same time: most of a cell is waiting.
const JOBS: usize = 4;

struct Arguments {
    name: Option<String>,
    seed: u64,
    jobs: usize,
    rounds: u64,
    page: Option<PathBuf>,
    readme: Option<PathBuf>,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments { name: None, seed: Dice::new().seed(), jobs: JOBS, rounds: 1, page: None, readme: None };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        let mut value = || given.next().with_context(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--seed" => found.seed = value()?.parse().context("--seed")?,
            "--jobs" => found.jobs = value()?.parse().context("--jobs")?,
            "--rounds" => found.rounds = value()?.parse().context("--rounds")?,
            "--page" => found.page = Some(value()?.into()),
            "--readme" => found.readme = Some(value()?.into()),
            option if option.starts_with('-') => bail!("unknown option {option}"),
            _ => found.name = Some(argument),
        }
    }
    Ok(found)
}

fn main() -> Result<ExitCode> {
    let Arguments { name, seed, jobs, rounds, page, readme } = arguments()?;
    let settings = cell::chosen(name.as_deref())?;
    let tell = |outcome: &Outcome| {
        let said = match &outcome.result {
            Ok(redone) => format!("ok, {} of {} rows again", redone.rows, redone.bound),
            Err(why) => format!("FAILED: {why}\n  again: {}", outcome.again()),
        };
        // Nobody may be reading; the exit code still tells.
        let _ = writeln!(std::io::stderr(), "{}: {said} ({:.1} s)", outcome.cell, outcome.took.as_secs_f64());
    };
    let mut outcomes = Vec::new();
    for round in 0..rounds {
        outcomes.extend(run(settings.clone(), seed.wrapping_add(round), jobs.max(1), tell)?);
    }
    if let Some(page) = page {
        std::fs::write(&page, report::page(&outcomes, seed)).with_context(|| format!("write {}", page.display()))?;
    }
    if let Some(readme) = readme {
        let text = std::fs::read_to_string(&readme).with_context(|| format!("read {}", readme.display()))?;
        let text = report::with_summary(&text, &outcomes).context("README has no line of the crash matrix")?;
        std::fs::write(&readme, text).with_context(|| format!("write {}", readme.display()))?;
    }
    writeln!(std::io::stdout(), "{} (seed {seed})", report::summary(&outcomes))?;
    Ok(ExitCode::from(u8::from(outcomes.iter().any(|outcome| outcome.result.is_err()))))
}
