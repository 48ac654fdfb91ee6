//! The numbers a run is given, most of them from `[pipeline]`, `[extractor]` and `[sinker]`.

use std::time::Duration;

use dt_connector::retry::RetryBudget;

use crate::batcher::BatchLimits;
use crate::rate::RateLimit;
use crate::recorder::Order;

/// How a run goes about it.
#[derive(Clone, Copy, Debug)]
pub struct PipelineOptions {
    /// A snapshot or a stream.
    pub order: Order,
    /// Bytes of rows that are read and not yet applied, at most; a single larger block is let through alone.
    pub memory_bytes: u64,
    /// When a batch is cut.
    pub batch: BatchLimits,
    /// The time between two saves of positions in progress: `checkpoint_interval_secs`.
    pub checkpoint_interval: Duration,
    /// How long a batch is tried again while the target is away.
    pub apply_retry: RetryBudget,
    /// How long a save is tried again while the store is away.
    pub save_retry: RetryBudget,
    /// `max_rps` and `max_mbps` of `[extractor]`. Up to the memory budget may be read ahead of it.
    pub read_limit: RateLimit,
    /// `max_rps` and `max_mbps` of `[sinker]`, for all sinkers together. Lifted once the run is to end early, when
    /// no more than the memory budget is left to be applied.
    pub apply_limit: RateLimit,
}

/// How long a partial batch waits for company: long against a commit, short against a checkpoint interval.
pub const BATCH_AGE: Duration = Duration::from_millis(100);

/// The same for a batch without rows where its position costs a transaction.
pub const EMPTY_AGE: Duration = Duration::from_secs(1);

/// More bytes do not make a transaction cheaper, and are redone when it fails.
const BATCH_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Fewer make the commit the larger part of the work.
const BATCH_BYTES_MIN: u64 = 256 * 1024;

/// The bytes of a batch, so that every table being read can collect one while every sinker applies one, twice over,
/// within the memory budget.
pub fn default_batch_bytes(memory_bytes: u64, tables: usize, sinkers: usize) -> u64 {
    let shares = 2 * (tables + sinkers).max(1) as u64;
    (memory_bytes / shares).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX)
}

/// The bytes of a stream's batch: of each lane one is collected while one is applied. Larger than a snapshot's, for its keys lie
/// anywhere: the more changes are folded and written in the order of their keys, the fewer times the target reads and
/// writes each page.
pub fn stream_batch_bytes(memory_bytes: u64, lanes: usize) -> u64 {
    (memory_bytes / 2 / lanes.max(1) as u64).max(BATCH_BYTES_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn a_batch_is_a_share_of_the_memory_within_bounds() {
        assert_eq!(default_batch_bytes(64 * MIB, 1, 1), 4 * MIB);
        assert_eq!(default_batch_bytes(64 * MIB, 8, 8), 2 * MIB);
        assert_eq!(default_batch_bytes(MIB, 8, 8), 256 * 1024);
        assert_eq!(default_batch_bytes(MIB, 0, 0), 512 * 1024);
    }
}
