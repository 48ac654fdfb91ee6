//! `[pipeline]` and `[parallelizer]`: how rows flow from source to target.

use std::time::Duration;

use super::keys::{Key, Section, keys};
use super::reader::{Choice, Reader};

keys! { KEYS:
    BUFFER_SIZE = Key::value("buffer_size", "16000", "Rows that the pages of all tables read at the same time hold \
        together.");
    BUFFER_MEMORY_MB = Key::value("buffer_memory_mb", "0", "Megabytes of rows that are read and not applied yet, at \
        most; 0 leaves the bound to dt. Memory is bounded in any case.");
    CHECKPOINT_INTERVAL_SECS = Key::value("checkpoint_interval_secs", "10", "How often positions are recorded.");
    BATCH_SINK_INTERVAL_SECS = Key::value("batch_sink_interval_secs", "0", "How long rows may wait for a batch to \
        fill; 0 leaves it to dt.");
    MAX_RETRY_SECS = Key::value("max_retry_secs", "300", "How long a lost connection is retried before the task \
        fails.");
    COUNTER_TIME_WINDOW_SECS = Key::unset("counter_time_window_secs", "The window of the counters.").idle("counters \
        are not kept in windows");
    COUNTER_MAX_SUB_COUNT = Key::unset("counter_max_sub_count", "The parts of a counter.").idle("counters are not \
        kept in windows");
}

pub(super) const SECTION: Section = Section { name: "pipeline", groups: &[KEYS] };

/// How rows flow from source to target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipelineConfig {
    /// Rows that the pages of all tables read at the same time hold together; at least 1.
    pub buffer_size: u64,
    /// Megabytes of rows that are read and not applied yet, at most; `None` leaves the bound to the pipeline.
    pub buffer_memory_mb: Option<u64>,
    /// How often positions are recorded; at least a second.
    pub checkpoint_interval: Duration,
    /// How long rows may wait for a batch to fill; `None` leaves it to the pipeline.
    pub batch_sink_interval: Option<Duration>,
    /// How long a lost connection is retried before the task fails; zero fails at once.
    pub max_retry: Duration,
}

impl PipelineConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        PipelineConfig {
            buffer_size: reader.number(&BUFFER_SIZE, 1..=u64::MAX).expect("config: buffer_size has a default"),
            buffer_memory_mb: reader.number(&BUFFER_MEMORY_MB, 0..=1 << 30).filter(|megabytes| *megabytes > 0),
            checkpoint_interval: reader.seconds(&CHECKPOINT_INTERVAL_SECS, 1),
            batch_sink_interval: Some(reader.seconds(&BATCH_SINK_INTERVAL_SECS, 0)).filter(|time| !time.is_zero()),
            max_retry: reader.seconds(&MAX_RETRY_SECS, 0),
        }
    }
}

keys! { PARALLELIZER_KEYS:
    PARALLEL_TYPE = Key::value("parallel_type", "serial", "How changes are spread: with `serial` \
        they are applied one batch after the other, whatever `parallel_size` is; `snapshot`, `rdb_merge`, `rdb_partition`, `table`, `mongo` and `redis` are \
        one engine. On a snapshot all of them do the same.");
    PARALLEL_SIZE = Key::value("parallel_size", "1", "Batches that are written at the same time: of a \
        snapshot, or of a stream, whose changes are then spread over as many lanes.");
}

pub(super) const PARALLELIZER: Section = Section { name: "parallelizer", groups: &[PARALLELIZER_KEYS] };

/// How batches are spread over sinkers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParallelizerConfig {
    /// How changes are spread; means nothing to a snapshot.
    pub parallel_type: ParallelType,
    /// Batches written at the same time; at least 1.
    pub parallel_size: usize,
}

/// How changes are spread over sinkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParallelType {
    /// One after the other: the source's transactions stay whole and in order.
    Serial,
    /// A snapshot's batches.
    Snapshot,
    /// By key, changes of one key folded.
    RdbMerge,
    /// By key.
    RdbPartition,
    /// By table.
    Table,
    /// By document.
    Mongo,
    /// By Redis key.
    Redis,
}

impl ParallelizerConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let parallel_type = reader.choice(
            &PARALLEL_TYPE,
            &[
                ("serial", Choice::Is(ParallelType::Serial)),
                ("snapshot", Choice::Is(ParallelType::Snapshot)),
                ("rdb_merge", Choice::Is(ParallelType::RdbMerge)),
                ("rdb_partition", Choice::Is(ParallelType::RdbPartition)),
                ("table", Choice::Is(ParallelType::Table)),
                ("mongo", Choice::Is(ParallelType::Mongo)),
                ("redis", Choice::Is(ParallelType::Redis)),
            ],
        );
        ParallelizerConfig {
            parallel_type: parallel_type.expect("config: parallel_type has a default"),
            parallel_size: reader.count(&PARALLEL_SIZE, 1..=10_000),
        }
    }
}
