//! Which chunks of a split table remain, and where each of them begins. Pure.

use dt_common::Position;
use dt_common::position::{KeyText, RdbSnapshot, RdbSnapshotSplit};

use crate::decision::{ChunkDecision, Decision};

/// All chunks of a table that has just been split.
pub fn all(split: &RdbSnapshotSplit) -> Decision {
    remaining(split, |_| None)
}

/// The chunks that are not finished; `known` is what is stored of a chunk of this very split.
pub(crate) fn remaining<'a>(split: &RdbSnapshotSplit, known: impl Fn(u32) -> Option<&'a Position>) -> Decision {
    let begins = |no: u32| match known(no) {
        Some(Position::RdbSnapshotFinished(_)) => None,
        Some(Position::RdbSnapshot(RdbSnapshot { key, null_keys_done, .. }))
            if key.parts().iter().all(|part| part.value != KeyText::Null) =>
        {
            Some(Decision::After { key: key.clone(), null_keys_done: *null_keys_done || no > 0 })
        }
        Some(Position::RdbSnapshotRows(counted)) if no == 0 => Some(Decision::Again { rows: counted.rows }),
        Some(_) | None => Some(match split.after(no) {
            None => Decision::Beginning { why: None },
            Some(bound) => Decision::After { key: bound.clone(), null_keys_done: true },
        }),
    };
    let remaining = (0..split.chunks())
        .filter_map(|no| begins(no).map(|begins| ChunkDecision { no, begins, until: split.until(no).cloned() }));
    Decision::InChunks { split: split.id(), of: split.chunks(), remaining: remaining.collect() }
}
