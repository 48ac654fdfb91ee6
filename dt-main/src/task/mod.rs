//! A task, from its configuration to its end.

mod check;
mod chunks;
mod lanes;
pub mod options;
pub mod outlook;
pub mod plan;
mod restored;
mod snapshot;
pub mod store;
pub mod stream;

use dt_common::Result;
use dt_common::config::{ExtractType, TaskConfig};
use dt_common::failpoint::{Failpoint, reach};
use dt_connector::{Source, Target};
use dt_pipeline::End;
use indicatif::MultiProgress;
use tokio::sync::watch;

use self::store::Store;
use crate::connectors;
pub use check::check;

/// What a task works with.
struct Ends {
    store: Store,
    source: Box<dyn Source>,
    target: Box<dyn Target>,
}

/// Runs the task to its end. `take_over`: also if another process holds it in the position table.
pub async fn run(
    config: &TaskConfig,
    take_over: bool,
    bars: Option<MultiProgress>,
    stop: watch::Receiver<bool>,
) -> Result<End> {
    let store = Store::open(config, take_over).await?;
    let Some(lease) = store.lease() else { return run_with(config, store, bars, stop).await };
    reach(Failpoint::LeaseTaken);
    let ended = tokio::select! {
        ended = run_with(config, store, bars, stop) => ended,
        // Invariant 10: what has been read is older than what the other process writes. It is dropped, not drained.
        error = lease.lost() => Err(error),
    };
    // However it ended, nothing is written any more.
    lease.release().await;
    reach(Failpoint::LeaseReleased);
    ended
}

async fn run_with(
    config: &TaskConfig,
    store: Store,
    bars: Option<MultiProgress>,
    stop: watch::Receiver<bool>,
) -> Result<End> {
    let source = connectors::source(&config.extractor).await?;
    let target = connectors::target(&config.sinker, options::sink_options(config)).await?;
    tracing::info!("task {}: from {} to {}", config.task_id(), source.describe(), target.describe());
    let ends = Ends { store, source, target };
    match &config.extractor.extract_type {
        ExtractType::Snapshot => snapshot::run(config, ends, bars, stop).await,
        ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) | ExtractType::MongoCdc(_) => {
            stream::run(config, ends, stop).await
        }
    }
}
