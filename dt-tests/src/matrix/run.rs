//! Many cells, some settings at a time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Redone;
use super::cell::{Cell, Phase, Setting};
use super::snapshot::Snapshots;
use super::stream::Streams;
use crate::dice::Dice;
use crate::task::dt_main;

/// What came of one kill.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where.
    pub cell: Cell,
    /// What the dice fell by.
    pub seed: u64,
    /// What it has cost, or what was wrong afterwards.
    pub result: Result<Redone, String>,
    /// How long it took, both runs and the judgement.
    pub took: Duration,
}

impl Outcome {
    /// The command that plays it again.
    pub fn again(&self) -> String {
        format!("./scripts/crash-matrix {} --seed {}", self.cell, self.seed)
    }
}

/// Runs the cells, `jobs` settings at a time. `tell` hears of each outcome.
///
/// # Errors
/// dt-main cannot be built.
pub fn run(
    settings: Vec<(Setting, Vec<Cell>)>,
    seed: u64,
    jobs: usize,
    tell: impl Fn(&Outcome) + Sync,
) -> Result<Vec<Outcome>> {
    // Before there are several that would want to.
    dt_main()?;
    let (queue, outcomes) = (Mutex::new(VecDeque::from(settings)), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some((setting, cells)) = next else { break };
                    run_setting(setting, &cells, seed, |outcome| {
                        tell(&outcome);
                        outcomes.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    });
                }
            });
        }
    });
    let mut outcomes = outcomes.into_inner().unwrap_or_else(PoisonError::into_inner);
    outcomes.sort_by_key(|outcome| outcome.cell);
    Ok(outcomes)
}

enum Opened {
    Snapshots(Snapshots),
    Streams(Streams),
}

impl Opened {
    fn open(setting: Setting) -> Result<Self> {
        Ok(match setting.phase {
            Phase::Snapshot => Opened::Snapshots(Snapshots::open(setting)?),
            Phase::Cdc => Opened::Streams(Streams::open(setting)?),
        })
    }

    fn kill(&mut self, cell: Cell, dice: &mut Dice) -> Result<Redone> {
        let redone = match self {
            Opened::Snapshots(snapshots) => snapshots.kill(cell, dice)?,
            Opened::Streams(streams) => streams.kill(cell, dice)?,
        };
        anyhow::ensure!(
            redone.rows <= redone.bound,
            "{} rows were written again, {} may be",
            redone.rows,
            redone.bound
        );
        Ok(redone)
    }
}

fn run_setting(setting: Setting, cells: &[Cell], seed: u64, mut tell: impl FnMut(Outcome)) {
    let mut opened: Option<Opened> = None;
    for &cell in cells {
        let begun = Instant::now();
        let result = kill(&mut opened, setting, cell, seed);
        if result.is_err() {
            // What is wrong now says nothing about the next cell.
            opened = None;
        }
        let result = result.map_err(|error| format!("{error:#}"));
        tell(Outcome { cell, seed, result, took: begun.elapsed() });
    }
}

fn kill(opened: &mut Option<Opened>, setting: Setting, cell: Cell, seed: u64) -> Result<Redone> {
    if opened.is_none() {
        *opened = Some(Opened::open(setting)?);
    }
    let opened = opened.as_mut().expect("run: it was just opened");
    // Each cell has dice of its own, so that it falls the same way alone.
    opened.kill(cell, &mut Dice::named(seed, &cell.to_string()))
}
