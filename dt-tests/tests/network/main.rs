//! Faults of the network between dt-main and real servers: latency, connections that are cut, refused, reset, swallowed and
//! half open, and lost answers to commits. `DT_SEED=…` plays the same faults again, and `DT_WAY=mysql/cdc/source` one way
//! alone. Beside it, what most of the time is waited for: machines that vanish, and questions that are never answered.

#[path = "../streams/mod.rs"]
mod streams;
mod unanswered;
mod vanished;

use anyhow::{Result, ensure};
use dt_tests::dice::Dice;
use dt_tests::matrix::network::{Outcome, chosen, run};

#[test]
fn whatever_happens_to_its_connections_one_process_makes_the_target_equal() -> Result<()> {
    let seed = Dice::new().seed();
    let name = std::env::var("DT_WAY").ok();
    let outcomes = run(&chosen(name.as_deref())?, seed)?;
    for Outcome { way, plan, took, .. } in &outcomes {
        println!("{way}: {:.0} s, {plan}", took.as_secs_f64());
    }
    let failed: Vec<String> = outcomes.iter().filter_map(failure).collect();
    ensure!(failed.is_empty(), "{} of {} ways\n{}", failed.len(), outcomes.len(), failed.join("\n"));
    Ok(())
}

fn failure(outcome: &Outcome) -> Option<String> {
    let Outcome { way, seed, plan, result, .. } = outcome;
    let why = result.as_ref().err()?;
    Some(format!(
        "{way} ({plan}): {why}\n  again: DT_SEED={seed} DT_WAY={way} ./scripts/test -p dt-tests --test network -- --nocapture"
    ))
}
