//! Faults of the network: one dt-main runs through them all, never started again, and ends with the target equal.
//!
//! - `fault`: what may happen to a way, and makes it happen.
//! - `way`: a task whose connections to one of its ends lead through a proxy, from its start to the judgement.

pub(super) mod fault;
pub(super) mod way;

use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::cell::{Database, Phase, Setting, Store};
use super::ends::End;
use crate::dice::Dice;
use crate::task::dt_main;

/// Which connections of which task have to suffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// From and to what.
    pub database: Database,
    /// What the task does.
    pub phase: Phase,
    /// The end whose connections they are.
    pub end: End,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The way.
    pub way: Way,
    /// What the dice fell by.
    pub seed: u64,
    /// The task, and all faults in their order.
    pub plan: String,
    /// Nothing, or what was wrong.
    pub result: Result<(), String>,
    /// How long it took.
    pub took: Duration,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.end {
            End::Source => "source",
            End::Target => "target",
        };
        write!(f, "{}/{}/{end}", self.database, self.phase)
    }
}

impl Way {
    /// All of them.
    pub fn all() -> Vec<Way> {
        let mut all = Vec::new();
        for database in Database::ALL {
            for phase in Phase::ALL {
                all.extend([End::Source, End::Target].map(|end| Way { database, phase, end }));
            }
        }
        all
    }

    /// Where the task's positions are, and how many lanes it has: each time others.
    fn setting(self, dice: &mut Dice) -> Setting {
        let Way { database, phase, .. } = self;
        let store = if dice.pick(0..2) == 0 { Store::Log } else { Store::Target };
        let lanes = if dice.pick(0..2) == 0 { 1 } else { 4 };
        Setting { database, phase, store, lanes }
    }
}

/// The ways whose name begins so; all for none.
///
/// # Errors
/// There is nothing of that name.
pub fn chosen(name: Option<&str>) -> Result<Vec<Way>> {
    let Some(name) = name else { return Ok(Way::all()) };
    let is_of = |whole: &str| whole.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let ways: Vec<Way> = Way::all().into_iter().filter(|way| is_of(&way.to_string())).collect();
    ensure!(!ways.is_empty(), "no way `{name}`: they are called as mysql/cdc/source");
    Ok(ways)
}

/// Runs them all at the same time: what they do is wait.
///
/// # Errors
/// dt-main cannot be built.
pub fn run(ways: &[Way], seed: u64) -> Result<Vec<Outcome>> {
    // Before there are several that would want to.
    dt_main()?;
    Ok(std::thread::scope(|scope| {
        let running: Vec<_> = ways.iter().map(|&way| scope.spawn(move || outcome(way, seed))).collect();
        running.into_iter().map(|running| running.join().expect("network: a way's thread panicked")).collect()
    }))
}

fn outcome(way: Way, seed: u64) -> Outcome {
    let began = Instant::now();
    // Each has dice of its own, so that it falls the same way alone.
    let mut dice = Dice::named(seed, &way.to_string());
    let setting = way.setting(&mut dice);
    let faults = fault::faults(way, setting, &mut dice);
    let plan = format!("{setting}: {faults:?}");
    let result = way::run(way, setting, &faults, &mut dice).map_err(|error| format!("{error:#}"));
    Outcome { way, seed, plan, result, took: began.elapsed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_named_from_the_left() -> Result<()> {
        assert_eq!(chosen(None)?.len(), 16);
        assert_eq!(chosen(Some("pg/cdc"))?.len(), 2);
        assert_eq!(chosen(Some("mongo/snapshot/target"))?.len(), 1);
        assert!(chosen(Some("mong")).is_err());
        Ok(())
    }
}
