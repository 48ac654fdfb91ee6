//! What the configuration asks of the parts that do the work.

use dt_common::DbType;
use dt_common::config::{ConflictPolicy, ExtractType, ParallelType, ResumeKind, SinkTarget, TaskConfig};
use dt_connector::retry::RetryBudget;
use dt_connector::{Conflict, SinkOptions};
use dt_pipeline::{BatchLimits, Order, PipelineOptions, RateLimit};
use dt_resumer::LogOptions;

/// Rows that are read and not yet applied, where `buffer_memory_mb` leaves the bound to us: some batches for each of
/// a handful of connections, and well within what the smallest machine has.
const MEMORY_BYTES: u64 = 12 * 1024 * 1024;

/// The same for a stream, whose batches are larger.
const STREAM_MEMORY_BYTES: u64 = 64 * 1024 * 1024;

/// Blocks are small against a batch, so that batches are cut where they should be.
pub const BLOCK_BYTES: usize = 256 * 1024;

/// Where positions are read and written.
pub fn log_options(config: &TaskConfig) -> LogOptions {
    let mut options = LogOptions::new(&config.runtime.log_dir);
    match &config.resumer.kind {
        // With a position table the files are written, and nothing is read from them.
        ResumeKind::Dummy | ResumeKind::FromTarget(_) | ResumeKind::FromDb(_) => {}
        ResumeKind::FromLog => {
            options.resume_log_dir = config.resumer.log_dir.clone();
            options.resume_config = config.resumer.config_file.clone();
        }
    }
    options
}

pub fn sink_options(config: &TaskConfig) -> SinkOptions {
    let sinker = &config.sinker;
    SinkOptions {
        conflict: match (sinker.replace, sinker.conflict_policy) {
            (true, ConflictPolicy::Interrupt | ConflictPolicy::Ignore) => Conflict::Replace,
            (false, ConflictPolicy::Interrupt) => Conflict::Interrupt,
            (false, ConflictPolicy::Ignore) => Conflict::Ignore,
        },
        statement_rows: sinker.batch_size,
        disable_foreign_key_checks: sinker.disable_foreign_key_checks,
        transaction_isolation: sinker.transaction_isolation.as_sql(),
        task_id: config.task_id(),
    }
}

/// Over how many lanes a stream's changes are to be spread.
pub fn lanes(config: &TaskConfig) -> u32 {
    let wanted = match config.parallelizer.parallel_type {
        // The source's transactions one after the other.
        ParallelType::Serial => 1,
        ParallelType::Snapshot
        | ParallelType::RdbMerge
        | ParallelType::RdbPartition
        | ParallelType::Table
        | ParallelType::Mongo
        | ParallelType::Redis => config.parallelizer.parallel_size,
    };
    let lanes = match &config.sinker.target {
        SinkTarget::Write(endpoint) => wanted.min(endpoint.max_connections),
        SinkTarget::Dummy => 1,
    };
    u32::try_from(lanes.max(1)).unwrap_or(u32::MAX)
}

/// Batches are written as many at a time as tables are read, or as `[parallelizer] parallel_size` asks for, and at least
/// as many as keep the target busy.
pub fn sinkers(config: &TaskConfig) -> usize {
    let wanted = config.parallelizer.parallel_size.max(config.extractor.parallel_size);
    match &config.sinker.target {
        SinkTarget::Write(endpoint) => {
            let busy = match (&config.extractor.extract_type, endpoint.db_type) {
                // Its COPY, or its insert, is quick against its commit: while one connection waits for the disk, another
                // writes.
                (ExtractType::Snapshot, DbType::Pg | DbType::Mongo) => 2,
                (ExtractType::Snapshot, DbType::Mysql | DbType::Redis)
                | (ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) | ExtractType::MongoCdc(_), _) => 1,
            };
            wanted.max(busy).min(endpoint.max_connections)
        }
        SinkTarget::Dummy => wanted,
    }
}

/// The bytes of changes that go into one transaction of the target, where a batch is one: MongoDB keeps all that a transaction
/// writes in its cache until the end, which may be small.
fn transaction_bytes(config: &TaskConfig) -> u64 {
    match (&config.resumer.kind, &config.sinker.target) {
        (ResumeKind::FromTarget(_), SinkTarget::Write(endpoint)) if endpoint.db_type == DbType::Mongo => {
            4 * 1024 * 1024
        }
        (_, SinkTarget::Write(_) | SinkTarget::Dummy) => u64::MAX,
    }
}

/// `parallel_tables`: how many tables are read at a time, or over how many lanes a stream is spread.
pub fn pipeline_options(config: &TaskConfig, order: Order, parallel_tables: usize) -> PipelineOptions {
    let megabytes = |limit: Option<u64>| limit.map(|megabytes| megabytes * 1024 * 1024);
    let retry = RetryBudget { total: config.pipeline.max_retry };
    let apply_limit =
        RateLimit { rows_per_sec: config.sinker.max_rps, bytes_per_sec: megabytes(config.sinker.max_mbps) };
    let memory_or = |default: u64| megabytes(config.pipeline.buffer_memory_mb).unwrap_or(default);
    let (memory_bytes, batch_bytes, batch_rows, full_block_bytes) = match order {
        Order::Any => {
            let memory = memory_or(MEMORY_BYTES);
            let bytes = dt_pipeline::options::default_batch_bytes(memory, parallel_tables, sinkers(config));
            // Not the page: small pages must not make small transactions, each of which costs the target a sync.
            (memory, bytes, config.pipeline.buffer_size, u64::MAX)
        }
        Order::PerLane => {
            let memory = memory_or(STREAM_MEMORY_BYTES);
            // The larger the batch, the cheaper: what a stream has at hand goes into one.
            let most = dt_pipeline::options::stream_batch_bytes(memory, parallel_tables).min(transaction_bytes(config));
            // With one lane there is room for the rest of a transaction.
            let bytes = if lanes(config) == 1 { most / 4 * 3 } else { most };
            (memory, bytes, u64::MAX, BLOCK_BYTES as u64)
        }
    };
    let (age, full_block_bytes) = match config.pipeline.batch_sink_interval {
        // A bound that was asked for is one.
        Some(interval) => (interval, u64::MAX),
        None => (dt_pipeline::options::BATCH_AGE, full_block_bytes),
    };
    PipelineOptions {
        order,
        memory_bytes,
        batch: BatchLimits {
            // A batch arrives all at once: no more than a limited target is to take in a second.
            rows: batch_rows.min(apply_limit.rows_per_sec.unwrap_or(u64::MAX)),
            bytes: batch_bytes.min(apply_limit.bytes_per_sec.unwrap_or(u64::MAX)),
            age,
            empty_age: match &config.resumer.kind {
                ResumeKind::FromTarget(_) => age.max(dt_pipeline::options::EMPTY_AGE),
                ResumeKind::Dummy | ResumeKind::FromLog | ResumeKind::FromDb(_) => age,
            },
            whole_bytes: match (order, lanes(config)) {
                (Order::PerLane, 1) => batch_bytes / 3 * 4,
                (Order::PerLane | Order::Any, _) => 0,
            },
            full_block_bytes,
        },
        checkpoint_interval: config.pipeline.checkpoint_interval,
        apply_retry: retry,
        save_retry: retry,
        read_limit: RateLimit {
            rows_per_sec: config.extractor.max_rps,
            bytes_per_sec: megabytes(config.extractor.max_mbps),
        },
        apply_limit,
    }
}
