//! Which position counts when several places hold one. Pure.

use std::collections::BTreeSet;

use dt_common::Position;
use dt_common::ladder::Rung;
use dt_common::position::line::Stamp;

use crate::loaded::{Slot, Slots, Stored};

/// Merges what was read in three places.
///
/// For each table and each stream the position with the newest time wins; of two equally old ones a finished table,
/// then the task's own directory. A position without a time is older than any with one. What `config` says counts
/// only for what neither directory knows. Within one place, finished beats in progress whatever the times are.
pub(crate) fn merge(own: &Slots, other: &Slots, config: &Slots) -> Slots {
    let mut merged = Slots::default();
    let subjects: BTreeSet<Slot> = [own, other, config].iter().flat_map(|place| place.iter()).map(subject).collect();
    for subject in &subjects {
        let in_logs = newest(counting(own, subject), counting(other, subject));
        if let Some(stored) = in_logs.or_else(|| counting(config, subject)) {
            merged.put(stored.clone());
        }
    }
    merged
}

/// The slot that stands for all slots of the same table or stream.
fn subject((slot, _): (&Slot, &Stored)) -> Slot {
    match slot {
        Slot::Finished(db_type, table) => Slot::InProgress(*db_type, table.clone()),
        Slot::InProgress(..) | Slot::Current(_) | Slot::Checkpoint(_) | Slot::Nothing => slot.clone(),
    }
}

fn counting<'a>(place: &'a Slots, subject: &Slot) -> Option<&'a Stored> {
    match subject {
        Slot::InProgress(db_type, table) | Slot::Finished(db_type, table) => place.of_table(*db_type, table),
        Slot::Current(_) | Slot::Checkpoint(_) | Slot::Nothing => place.get(subject),
    }
}

fn newest<'a>(own: Option<&'a Stored>, other: Option<&'a Stored>) -> Option<&'a Stored> {
    match (own, other) {
        (Some(own), Some(other)) if rank(other) > rank(own) => Some(other),
        (Some(own), _) => Some(own),
        (None, other) => other,
    }
}

fn rank(stored: &Stored) -> (Option<&Stamp>, bool) {
    (stored.stamp.as_ref(), matches!(stored.entry.position, Position::RdbSnapshotFinished(_)))
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
            Slot::InProgress(..) | Slot::Current(_) | Slot::Checkpoint(_) | Slot::Nothing => Home::Position,
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
