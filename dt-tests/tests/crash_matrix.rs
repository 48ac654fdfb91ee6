//! A third of the crash matrix: another one each day, and all of it in three. `./scripts/crash-matrix` runs the whole.
//! `DT_SEED=…` plays the same kills again.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use dt_tests::dice::Dice;
use dt_tests::matrix::run::{Outcome, run};
use dt_tests::matrix::{cell, report};

/// Settings at a time: most of a cell is waiting.
const JOBS: usize = 4;

#[test]
fn whatever_the_instant_a_start_after_a_kill_makes_the_target_equal() -> Result<()> {
    let seed = Dice::new().seed();
    let day = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() / 86_400;
    let is_todays = |at: usize| (at as u64 + day).is_multiple_of(3);
    let settings = cell::chosen(None)?.into_iter().enumerate().filter(|(at, _)| is_todays(*at));
    let outcomes = run(settings.map(|(_, setting)| setting).collect(), seed, JOBS, |_| ())?;
    let failed: Vec<String> = outcomes.iter().filter_map(failure).collect();
    println!("{}", report::summary(&outcomes));
    ensure!(failed.is_empty(), "{}\n{}", report::summary(&outcomes), failed.join("\n"));
    ensure!(outcomes.len() > 100, "only {} kills", outcomes.len());
    Ok(())
}

fn failure(outcome: &Outcome) -> Option<String> {
    let why = outcome.result.as_ref().err()?;
    Some(format!("{}: {why}\n  again: {}", outcome.cell, outcome.again()))
}
