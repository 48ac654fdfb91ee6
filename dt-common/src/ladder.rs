//! The four rungs: **read** → **applied** → **recorded** → **acknowledged**.
//!
//! Each rung is a value that can only be had by spending the one below, so that the compiler refuses a shortcut:
//!
//! | rung | value | who mints it |
//! |---|---|---|
//! | read | [`Ticket`] | the pipeline's ledger, with each batch |
//! | applied | [`Applied`] | a sinker, by spending the ticket after the target's commit |
//! | recorded | [`Saved`] | a position store, by spending the [`Recordable`] after it is durable |
//! | acknowledged | – | the source's acknowledger, by spending the [`Saved`] |
//!
//! None of these is `Clone`. A tidy test holds the four minting calls to the places named above.

use crate::ids::LaneId;
use crate::position::Position;

/// The receipt of a batch that was read: which lane, and where in the lane's order.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a ticket that is dropped is a batch that will never be recorded"]
pub struct Ticket {
    lane: LaneId,
    seq: u64,
}

impl Ticket {
    /// Minted by the ledger only, once per batch, `seq` counting up from 0 within the lane.
    pub fn issue(lane: LaneId, seq: u64) -> Self {
        Ticket { lane, seq }
    }

    /// The lane that the batch belongs to.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// Its place in the lane's order.
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// A batch whose rows are durable in the target.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the ledger must hear of every applied batch"]
pub struct Applied {
    lane: LaneId,
    seq: u64,
}

impl Applied {
    /// Minted by a sinker only, after the target has committed the whole batch that came with the ticket.
    pub fn after_commit(ticket: Ticket) -> Self {
        Applied { lane: ticket.lane, seq: ticket.seq }
    }

    /// The lane that the batch belongs to.
    pub fn lane(&self) -> LaneId {
        self.lane
    }

    /// Its place in the lane's order.
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

/// What a position stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rung {
    /// The last applied row: `current_position`. Progress, not always a place where one can resume.
    Current,
    /// The last applied boundary at which the source can be resumed: `checkpoint_position`.
    Checkpoint,
    /// A table is complete in the target: a line of finished.log.
    Finished,
}

/// A position of which every row before it, in its lane, is durable in the target.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What the position stands for.
    pub rung: Rung,
    /// The position itself; opaque to the pipeline.
    pub position: Position,
}

/// Positions that may be recorded now, in this order.
#[derive(Debug, PartialEq)]
#[must_use = "what may be recorded should be"]
pub struct Recordable {
    entries: Vec<Entry>,
}

impl Recordable {
    /// Minted by the pipeline's recorder only, from what the ledger says is applied (invariant 2).
    pub fn of_applied(entries: Vec<Entry>) -> Self {
        Recordable { entries }
    }

    /// What is to be saved.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// Positions that are durable in the position store.
#[derive(Debug, PartialEq)]
pub struct Saved {
    entries: Vec<Entry>,
}

impl Saved {
    /// Minted by a position store only, once all of `recordable` is durable.
    pub fn after_sync(recordable: Recordable) -> Self {
        Saved { entries: recordable.entries }
    }

    /// What was saved; its checkpoints may be acknowledged to the source (invariant 1).
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }
}
