//! A task, from its configuration to its end.

mod check;
mod chunks;
mod options;
mod plan;
mod snapshot;
mod stream;

use dt_common::Result;
use dt_common::config::{ExtractType, ResumeKind, TaskConfig};
use dt_connector::{Source, Target};
use dt_pipeline::End;
use dt_resumer::{Loaded, LogStore, PositionStore};
use indicatif::MultiProgress;
use tokio::sync::watch;

use crate::connectors;
pub use check::check;

/// What a task works with.
struct Ends {
    store: LogStore,
    source: Box<dyn Source>,
    target: Box<dyn Target>,
}

/// Runs the task to its end.
pub async fn run(config: &TaskConfig, bars: Option<MultiProgress>, stop: watch::Receiver<bool>) -> Result<End> {
    let store = LogStore::open(options::log_options(config)).await?;
    let source = connectors::source(&config.extractor).await?;
    let target = connectors::target(&config.sinker, options::sink_options(config)).await?;
    tracing::info!("task {}: from {} to {}", config.task_id(), source.describe(), target.describe());
    let ends = Ends { store, source, target };
    match &config.extractor.extract_type {
        ExtractType::Snapshot => snapshot::run(config, ends, bars, stop).await,
        ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) => stream::run(config, ends, stop).await,
    }
}

/// What earlier runs have left, if the task is to go on from it.
async fn load(config: &TaskConfig, store: &mut LogStore) -> Result<Option<Loaded>> {
    match config.resumer.kind {
        ResumeKind::Dummy => Ok(None),
        ResumeKind::FromLog => {
            let loaded = store.load().await?;
            for warning in loaded.warnings() {
                tracing::warn!("{warning}");
            }
            Ok(Some(loaded))
        }
    }
}

/// A task that starts from the beginning sets aside what an earlier run has left, so that no later one mixes the two.
async fn set_earlier_run_aside(config: &TaskConfig, store: &mut LogStore) -> Result<()> {
    match config.resumer.kind {
        ResumeKind::FromLog => Ok(()),
        ResumeKind::Dummy => {
            if !store.holds_positions().await? {
                return Ok(());
            }
            let names = store.set_aside().await?;
            let names: Vec<String> = names.iter().map(|name| name.display().to_string()).collect();
            tracing::warn!(
                "starting from the beginning although {} holds positions of an earlier run; they are now in {}. To go on from them: set [resumer] resume_type=from_log",
                config.runtime.log_dir.display(),
                names.join(", ")
            );
            Ok(())
        }
    }
}
