//! What a run tells: at its end the [`Outcome`], on its way the [`Observer`].

use std::fmt;
use std::time::Duration;

use dt_common::ladder::Entry;
use dt_common::schema::RoutedTable;
use dt_common::{Error, LaneId};

/// What a run has done, when it has ended without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Rows that the target has committed.
    pub rows: u64,
    /// Their bytes, in the format they were passed on in.
    pub bytes: u64,
    /// Tables of which everything is applied and recorded as finished: lanes, or groups of lanes.
    pub tables_finished: u64,
    /// Rows that replaced others in the target.
    pub replaced_rows: u64,
    /// Why the run has ended.
    pub end: End,
}

/// Why a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The source had no more.
    Complete,
    /// It was asked to stop: what had been read is applied and recorded, the rest is for the next start.
    Stopped,
}

/// What is being tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retried {
    /// A batch of this lane could not be applied.
    Apply(LaneId),
    /// Positions could not be saved.
    Save,
}

impl fmt::Display for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Retried::Apply(_) => f.write_str("writing a batch to the target"),
            Retried::Save => f.write_str("saving positions"),
        }
    }
}

/// Watches a run: for progress bars, log lines and counters. Called from the pipeline's own tasks, so every method
/// must be quick and must not block.
pub trait Observer: Send + Sync {
    /// A table's first row is about to be read.
    fn lane_started(&self, lane: LaneId, table: &RoutedTable);

    /// The target has committed so many more rows of the lane.
    fn rows_applied(&self, lane: LaneId, rows: u64, bytes: u64);

    /// Everything of the lane is applied: `rows` since the run began.
    fn lane_finished(&self, lane: LaneId, rows: u64);

    /// Something failed in a way that may pass, and is tried again after `pause`. `attempt` counts the failures in a
    /// row from 1.
    fn retrying(&self, what: Retried, error: &Error, attempt: u32, pause: Duration);

    /// Positions are durable in the position store.
    fn saved(&self, entries: &[Entry]);
}
