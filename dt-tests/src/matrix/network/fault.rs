//! What may happen to the connections between dt-main and a server.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::super::cell::{Database, Phase, Setting, Store};
use super::super::ends::End;
use super::Way;
use crate::deadline;
use crate::dice::Dice;
use crate::proxy::{Death, Direction, Fate, Proxy};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::matrix) enum Fault {
    /// Everything takes longer.
    Latency,
    /// All connections are closed.
    Cut,
    /// One direction of each connection is closed.
    HalfClosed(Direction),
    /// One direction of each connection carries nothing any more, for ever; of new ones for a time.
    HalfSilent(Direction, Duration),
    /// After so many bytes, a connection is reset.
    Reset(Direction, u64),
    /// After so many commits, the next one is not answered.
    LostCommit(u64),
    /// After so many answers, the next one is lost, and all connections with it.
    LostReply(u64),
    /// Nothing comes through for a time, and then everything.
    BlackHole(Duration),
    /// All connections are closed, and for a time no new ones are taken.
    Refuse(Duration),
}

/// How much longer everything takes, in each direction.
const LATENCY: Duration = Duration::from_millis(20);
/// How long it takes until what was announced happens, at most.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a server is silent until dt-main asks over another connection whether it is there, and a little more.
const UNTIL_ASKED: Duration = Duration::from_secs(36);

/// One of each kind that there may be, in an order that the dice give.
pub(super) fn faults(way: Way, setting: Setting, dice: &mut Dice) -> Vec<Fault> {
    let mut faults = vec![
        Fault::Latency,
        Fault::Cut,
        Fault::HalfClosed(direction(dice)),
        Fault::HalfSilent(direction(dice), silence(dice)),
        reset(way.end, dice),
        Fault::BlackHole(seconds(dice)),
        Fault::Refuse(seconds(dice)),
    ];
    // Documents are written without a transaction, unless their position goes with them.
    let commits = (setting.database, setting.phase, setting.store) != (Database::Mongo, Phase::Snapshot, Store::Log);
    match (way.end, commits) {
        (End::Source, _) => {}
        (End::Target, true) => faults.push(Fault::LostCommit(dice.pick(0..6))),
        (End::Target, false) => faults.push(Fault::LostReply(dice.pick(0..12))),
    }
    for at in (1..faults.len()).rev() {
        faults.swap(at, dice.pick(0..at as u64 + 1) as usize);
    }
    faults
}

fn direction(dice: &mut Dice) -> Direction {
    Direction::BOTH[dice.pick(0..2) as usize]
}

/// Of what a source is asked there is little, and so there is of what a target answers.
fn reset(end: End, dice: &mut Dice) -> Fault {
    let direction = direction(dice);
    let bytes = match (end, direction) {
        (End::Source, Direction::Requests) => dice.pick(1..400),
        (End::Target, Direction::Replies) => dice.pick(1..2000),
        (End::Source, Direction::Replies) | (End::Target, Direction::Requests) => dice.pick(1..12_000),
    };
    Fault::Reset(direction, bytes)
}

fn seconds(dice: &mut Dice) -> Duration {
    Duration::from_millis(dice.pick(1000..4000))
}

/// Over before anybody asks, or not.
fn silence(dice: &mut Dice) -> Duration {
    if dice.pick(0..2) == 0 { seconds(dice) } else { UNTIL_ASKED }
}

impl Fault {
    /// One that the dice give, of those that may happen to a stream whose positions are in its target.
    pub(in crate::matrix) fn by(dice: &mut Dice, end: End) -> Self {
        match dice.pick(0..8) {
            0 => Fault::Latency,
            1 => Fault::Cut,
            2 => Fault::HalfClosed(direction(dice)),
            3 => Fault::HalfSilent(direction(dice), seconds(dice)),
            4 => Fault::Reset(direction(dice), dice.pick(1..12_000)),
            5 => Fault::BlackHole(seconds(dice)),
            6 if end == End::Target => Fault::LostCommit(dice.pick(0..6)),
            _ => Fault::Refuse(seconds(dice)),
        }
    }

    /// Lets it happen, and be over but for what it has left behind. `meanwhile` is done now and then.
    pub(in crate::matrix) fn strike(self, proxy: &Proxy, mut meanwhile: impl FnMut() -> Result<()>) -> Result<()> {
        let mut lasts = |time: Duration| {
            let since = Instant::now();
            deadline::until("its time is over", PATIENCE, || {
                meanwhile()?;
                Ok((since.elapsed() >= time).then_some(()))
            })
        };
        match self {
            Fault::Latency => proxy.latency(LATENCY),
            Fault::Cut => proxy.cut(),
            Fault::HalfClosed(direction) => proxy.half_open(direction, Death::Closed),
            Fault::HalfSilent(direction, time) => {
                proxy.half_open_anew(direction);
                proxy.half_open(direction, Death::Silent);
                lasts(time)?;
                proxy.reopen()?;
            }
            Fault::BlackHole(time) => {
                proxy.black_hole(true);
                lasts(time)?;
                proxy.reopen()?;
            }
            Fault::Refuse(time) => {
                proxy.refuse();
                lasts(time)?;
                proxy.reopen()?;
            }
            Fault::Reset(direction, bytes) => proxy.reset_after(direction, bytes),
            Fault::LostCommit(commits) => proxy.after_commits(commits),
            Fault::LostReply(replies) => proxy.after_replies(replies, Fate::Lost),
        }
        deadline::until("it has happened", PATIENCE, || {
            meanwhile()?;
            Ok((!proxy.is_armed()).then_some(()))
        })
    }
}
