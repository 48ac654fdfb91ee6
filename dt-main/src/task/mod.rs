//! A task, from its configuration to its end.

mod check;
mod plan;

use std::sync::Arc;
use std::time::{Duration, Instant};

use dt_common::Result;
use dt_common::config::{ConflictPolicy, ResumeKind, TaskConfig};
use dt_connector::retry::RetryBudget;
use dt_connector::{Conflict, ReadOptions, SinkOptions};
use dt_pipeline::{BatchLimits, End, Order, Outcome, PipelineOptions, RateLimit};
use dt_resumer::{LogOptions, LogStore};
use indicatif::MultiProgress;
use tokio::sync::watch;

use crate::connectors;
use crate::progress::Progress;
pub use check::check;
use plan::SnapshotPlan;

/// Rows that are read and not yet applied, where `buffer_memory_mb` leaves the bound to us: some batches for each of
/// a handful of connections, and well within what the smallest machine has.
const MEMORY_BYTES: u64 = 12 * 1024 * 1024;

/// Blocks are small against a batch, so that batches are cut where they should be.
const BLOCK_BYTES: usize = 256 * 1024;

/// Runs the task to its end.
pub async fn run(config: &TaskConfig, bars: Option<MultiProgress>, stop: watch::Receiver<bool>) -> Result<End> {
    let started = Instant::now();
    let mut store = LogStore::open(log_options(config)).await?;
    let mut source = connectors::source(&config.extractor).await?;
    let mut target = connectors::target(&config.sinker, sink_options(config)).await?;
    tracing::info!("task {}: from {} to {}", config.task_id(), source.describe(), target.describe());

    let loaded = plan::load(config, &mut store).await?;
    let reading = Instant::now();
    let plan = SnapshotPlan::make(config, source.as_mut(), target.as_mut(), loaded.as_ref()).await?;
    plan.announce();
    tracing::info!(
        "{} tables to copy, {} finished before; planned in {:.2} s, of which {:.3} s decided where each begins",
        plan.tasks.len(),
        plan.skipped,
        reading.elapsed().as_secs_f64(),
        plan.deciding.as_secs_f64()
    );
    // Only now that nothing stands against the start is the earlier run's record given up.
    plan::set_earlier_run_aside(config, &mut store).await?;

    let parallel_tables = config.extractor.parallel_size.min(config.extractor.endpoint.max_connections);
    let sinkers = sinkers(config);
    let observer = Arc::new(Progress::new(plan.tasks.len(), bars));
    let skipped = plan.skipped;
    let extractor = source
        .snapshot(
            plan.tasks,
            ReadOptions {
                format: plan.format,
                page_rows: config.extractor.page_rows(&config.pipeline),
                block_bytes: BLOCK_BYTES,
                parallel_tables,
                lineage: plan.lineage,
                retry: RetryBudget { total: config.pipeline.max_retry },
            },
        )
        .await?;
    let sinkers = (0..sinkers).map(|_| target.sinker()).collect();
    let outcome = dt_pipeline::driver::run(
        extractor,
        sinkers,
        Box::new(store),
        pipeline_options(config, parallel_tables),
        observer,
        stop,
    )
    .await?;
    report(&outcome, skipped, started.elapsed());
    Ok(outcome.end)
}

fn report(outcome: &Outcome, skipped: usize, elapsed: Duration) {
    let ended = match outcome.end {
        End::Complete => "done",
        End::Stopped => "stopped",
    };
    tracing::info!(
        "snapshot {ended}: tables: {}, rows: {}, bytes: {}, skipped tables: {skipped}, replaced rows: {}, seconds: {:.1}",
        outcome.lanes_finished,
        outcome.rows,
        outcome.bytes,
        outcome.replaced_rows,
        elapsed.as_secs_f64()
    );
}

/// Where positions are read and written.
fn log_options(config: &TaskConfig) -> LogOptions {
    let mut options = LogOptions::new(&config.runtime.log_dir);
    match config.resumer.kind {
        ResumeKind::Dummy => {}
        ResumeKind::FromLog => {
            options.resume_log_dir = config.resumer.log_dir.clone();
            options.resume_config = config.resumer.config_file.clone();
        }
    }
    options
}

fn sink_options(config: &TaskConfig) -> SinkOptions {
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
    }
}

/// Batches are written as many at a time as tables are read, or as `[parallelizer] parallel_size` asks for.
fn sinkers(config: &TaskConfig) -> usize {
    let wanted = config.parallelizer.parallel_size.max(config.extractor.parallel_size);
    match &config.sinker.target {
        dt_common::config::SinkTarget::Write(endpoint) => wanted.min(endpoint.max_connections),
        dt_common::config::SinkTarget::Dummy => wanted,
    }
}

fn pipeline_options(config: &TaskConfig, parallel_tables: usize) -> PipelineOptions {
    let memory_bytes = config.pipeline.buffer_memory_mb.map_or(MEMORY_BYTES, |megabytes| megabytes * 1024 * 1024);
    let megabytes = |limit: Option<u64>| limit.map(|megabytes| megabytes * 1024 * 1024);
    let retry = RetryBudget { total: config.pipeline.max_retry };
    let apply_limit =
        RateLimit { rows_per_sec: config.sinker.max_rps, bytes_per_sec: megabytes(config.sinker.max_mbps) };
    let batch_bytes = dt_pipeline::options::default_batch_bytes(memory_bytes, parallel_tables, sinkers(config));
    PipelineOptions {
        order: Order::Any,
        memory_bytes,
        batch: BatchLimits {
            // Not the page: small pages must not make small transactions, each of which costs the target a sync.
            // But a batch arrives all at once: no more than a limited target is to take in a second.
            rows: config.pipeline.buffer_size.min(apply_limit.rows_per_sec.unwrap_or(u64::MAX)),
            bytes: batch_bytes.min(apply_limit.bytes_per_sec.unwrap_or(u64::MAX)),
            age: config.pipeline.batch_sink_interval.unwrap_or(dt_pipeline::options::BATCH_AGE),
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
