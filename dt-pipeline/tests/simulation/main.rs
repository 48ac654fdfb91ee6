//! Plays thousands of runs of the pipeline against a model source, target and store, crashes them after every step,
//! starts them again from what the store holds, and checks the invariants all the way.

mod chance;
mod durable;
mod life;
mod scribe;
mod source;
mod spread;

use std::collections::BTreeMap;

use chance::Chance;
use dt_pipeline::{End, Order};
use durable::{Durable, ensure};
use life::{Circumstances, Ended, Life, Sabotage};
use source::Source;

/// When the process crashes.
#[derive(Clone, Copy, Debug)]
enum Crashes {
    Never,
    /// Once, after so many steps.
    After(u64),
    /// Again and again, after up to so many steps, five times.
    Often(u64),
}

fn circumstances(chance: &mut Chance) -> Circumstances {
    Circumstances {
        sinkers: chance.between(1, 4) as usize,
        budget_rows: chance.between(1, 30) as u32,
        interval_ms: chance.between(1, 60),
        slowest_ms: chance.between(1, 20),
        flaky_applies: [0, 5][chance.between(0, 1) as usize],
        flaky_saves: [0, 4][chance.between(0, 1) as usize],
        refused_applies: 0,
        stop_at_ms: None,
        reader_fails_after: None,
        lanes: chance.between(1, 4) as u32,
        by_key: !chance.one_in(3),
        sabotage: Sabotage::None,
    }
}

/// Plays one run to its complete end. The steps of its first life.
fn play(
    order: Order,
    seed: u64,
    crashes: Crashes,
    change: impl Fn(&mut Circumstances, &mut Chance, u64),
) -> Result<u64, String> {
    let mut chance = Chance::new(seed);
    let source = Source::random(order, &mut chance);
    let (mut durable, mut read) = (Durable::default(), BTreeMap::new());
    let mut steps_of_first = None;
    for life in 0_u64..20 {
        let crash_after = match crashes {
            Crashes::After(steps) if life == 0 => steps,
            Crashes::Often(steps) if life < 5 => chance.between(0, steps),
            Crashes::Never | Crashes::After(_) | Crashes::Often(_) => u64::MAX,
        };
        let mut given = circumstances(&mut chance);
        change(&mut given, &mut chance, life);
        let mut playing = Life::new(&source, &mut durable, &mut read, &mut chance, given);
        let ended = playing.live(crash_after)?;
        steps_of_first.get_or_insert(playing.steps);
        if let Ended::Finished(Ok(outcome)) = ended {
            playing.check_end(&outcome)?;
            if outcome.end == End::Complete {
                durable.check_complete(&source, life > 0)?;
                let twice = durable.committed.values().any(|&times| times > 1);
                let calm = matches!(crashes, Crashes::Never) && life == 0 && given.flaky_applies == 0;
                ensure(!(calm && twice), || "a row was applied twice without any failure".into())?;
                return Ok(steps_of_first.unwrap_or(0));
            }
        }
    }
    Err("never completes".into())
}

fn unchanged(_: &mut Circumstances, _: &mut Chance, _: u64) {}

const ORDERS: [Order; 2] = [Order::Any, Order::PerLane];

#[track_caller]
fn holds(order: Order, seed: u64, crashes: Crashes, played: Result<u64, String>) -> u64 {
    played.unwrap_or_else(|claim| panic!("{order:?}, seed {seed}, {crashes:?}: {claim}"))
}

#[test]
fn without_a_crash_the_target_equals_the_source() {
    for order in ORDERS {
        for seed in 0..1000 {
            holds(order, seed, Crashes::Never, play(order, seed, Crashes::Never, unchanged));
        }
    }
}

#[test]
fn a_crash_after_any_step_loses_nothing() {
    for order in ORDERS {
        for seed in 0..40 {
            let steps = holds(order, seed, Crashes::Never, play(order, seed, Crashes::Never, unchanged));
            for crash in (0..=steps).map(Crashes::After) {
                holds(order, seed, crash, play(order, seed, crash, unchanged));
            }
        }
    }
}

#[test]
fn crashing_again_and_again_loses_nothing() {
    for order in ORDERS {
        for seed in 0..2000 {
            let crashes = Crashes::Often(150);
            holds(order, seed, crashes, play(order, seed, crashes, unchanged));
        }
    }
}

#[test]
fn a_stop_a_refusing_target_and_a_failing_reader_lose_nothing() {
    for order in ORDERS {
        for seed in 0..1000 {
            let change = |given: &mut Circumstances, chance: &mut Chance, life: u64| {
                if life < 6 {
                    match chance.between(0, 2) {
                        0 => given.stop_at_ms = Some(chance.between(0, 200)),
                        1 => given.refused_applies = 6,
                        _ => given.reader_fails_after = Some(chance.between(0, 15)),
                    }
                }
            };
            for crashes in [Crashes::Never, Crashes::Often(300)] {
                holds(order, seed, crashes, play(order, seed, crashes, change));
            }
        }
    }
}

/// How many of many runs break a check when something is built in wrong.
fn caught(order: Order, sabotage: Sabotage) -> usize {
    let change = |given: &mut Circumstances, _: &mut Chance, _: u64| {
        given.sabotage = sabotage;
        given.sinkers = 4;
        given.budget_rows = 30;
        given.interval_ms = 1;
        given.slowest_ms = 20;
    };
    (0..300).filter(|&seed| play(order, seed, Crashes::Often(150), change).is_err()).count()
}

#[test]
fn the_checks_see_what_is_built_in_wrong() {
    for order in ORDERS {
        assert_eq!(caught(order, Sabotage::None), 0);
    }
    for (order, sabotage) in [
        (Order::Any, Sabotage::AppliedAtDispatch),
        (Order::PerLane, Sabotage::AppliedAtDispatch),
        (Order::Any, Sabotage::SavedTooEarly),
        (Order::PerLane, Sabotage::SavedTooEarly),
        (Order::Any, Sabotage::WrongTicket),
        (Order::Any, Sabotage::NoTicks),
        (Order::Any, Sabotage::OutOfTurn),
        (Order::PerLane, Sabotage::NotSettled),
        (Order::PerLane, Sabotage::GateIgnored),
        (Order::PerLane, Sabotage::LanesForgotten),
        (Order::PerLane, Sabotage::RulesForgotten),
    ] {
        let caught = caught(order, sabotage);
        println!("{order:?} with {sabotage:?}: {caught} of 300 runs are caught");
        assert!(caught >= 10, "{order:?} with {sabotage:?}: only {caught} of 300 runs are caught");
    }
}
