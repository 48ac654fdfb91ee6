//! Which position counts when several places hold one. Pure.

use std::collections::BTreeSet;

use dt_common::Position;
use dt_common::ladder::Rung;
use dt_common::position::line::Stamp;

use crate::loaded::{Slot, Slots, Stored};

/// Merges what was read in three places.
///
/// For each table and each stream the place with the newest time wins; of two equally old ones that of a finished table,
/// then the task's own directory. A position without a time is older than any with one. What `config` says counts
/// only for what neither directory knows. Within one place, finished beats in progress whatever the times are. The
/// chunks of a table go with it: those of two places are never mixed.
pub(crate) fn merge(own: &Slots, other: &Slots, config: &Slots) -> Slots {
    let mut merged = Slots::default();
    let subjects: BTreeSet<Slot> = [own, other, config].iter().flat_map(|place| place.iter()).map(subject).collect();
    for subject in &subjects {
        let in_logs = newest(counting(own, subject), counting(other, subject));
        let found = if in_logs.is_empty() { counting(config, subject) } else { in_logs };
        for stored in found {
            merged.put(stored.clone());
        }
    }
    merged
}

/// The slot that stands for all slots of the same table or stream.
fn subject((slot, _): (&Slot, &Stored)) -> Slot {
    match slot {
        Slot::Finished(db_type, table) | Slot::Chunk(db_type, table, _) => Slot::InProgress(*db_type, table.clone()),
        Slot::InProgress(..)
        | Slot::Current(_)
        | Slot::Checkpoint(_)
        | Slot::Lane(..)
        | Slot::Spread(..)
        | Slot::Nothing => slot.clone(),
    }
}

fn counting<'a>(place: &'a Slots, subject: &Slot) -> Vec<&'a Stored> {
    match subject {
        Slot::InProgress(db_type, table) | Slot::Finished(db_type, table) | Slot::Chunk(db_type, table, _) => {
            place.of_table(*db_type, table)
        }
        Slot::Current(_) | Slot::Checkpoint(_) | Slot::Lane(..) | Slot::Spread(..) | Slot::Nothing => {
            place.get(subject).into_iter().collect()
        }
    }
}

fn newest<'a>(own: Vec<&'a Stored>, other: Vec<&'a Stored>) -> Vec<&'a Stored> {
    if own.is_empty() || rank(&other) > rank(&own) { other } else { own }
}

fn rank<'a>(found: &[&'a Stored]) -> Option<(Option<&'a Stamp>, bool)> {
    let of = |stored: &&'a Stored| {
        let finished = matches!(&stored.entry.position, Position::RdbSnapshotFinished(of) if of.chunk.is_none());
        (stored.stamp.as_ref(), finished)
    };
    found.iter().map(of).max()
}

/// The file of a log_dir that a slot belongs into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// position.log
    Position,
    /// finished.log
    Finished,
}

impl Home {
    /// Where a slot is written.
    pub(crate) fn of(slot: &Slot) -> Home {
        match slot {
            Slot::Finished(..) => Home::Finished,
            Slot::InProgress(..)
            | Slot::Chunk(..)
            | Slot::Current(_)
            | Slot::Checkpoint(_)
            | Slot::Lane(..)
            | Slot::Spread(..)
            | Slot::Nothing => Home::Position,
        }
    }

    /// The rung that a line of this file is written with: finished.log has no word between the bars.
    pub(crate) fn rung(self, rung: Rung) -> Rung {
        match (self, rung) {
            (Home::Finished, _) => Rung::Finished,
            (Home::Position, Rung::Checkpoint) => Rung::Checkpoint,
            (Home::Position, Rung::Current | Rung::Finished) => Rung::Current,
        }
    }
}
