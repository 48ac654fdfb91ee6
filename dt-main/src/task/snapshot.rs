//! A snapshot, from its plan to its end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dt_common::Result;
use dt_common::config::TaskConfig;
use dt_common::failpoint::{Failpoint, reach};
use dt_common::ladder::{Entry, Rung};
use dt_connector::retry::RetryBudget;
use dt_connector::{ReadOptions, Target};
use dt_pipeline::{End, Order, Outcome, Outset};
use dt_resumer::Inscriber;
use dt_resumer::held::Inscribed;
use indicatif::MultiProgress;
use tokio::sync::watch;

use super::Ends;
use super::options::{BLOCK_BYTES, pipeline_options, sinkers};
use super::plan::{SnapshotPlan, TakenBack};
use super::restored;
use crate::progress::Progress;

/// Copies what is there.
pub async fn run(
    config: &TaskConfig,
    ends: Ends,
    bars: Option<MultiProgress>,
    stop: watch::Receiver<bool>,
) -> Result<End> {
    let started = Instant::now();
    let Ends { mut store, mut source, mut target } = ends;
    let loaded = store.load().await?;
    if let Some(notice) = restored::notice(config, loaded.as_ref(), source.as_ref()).await? {
        tracing::warn!("{notice}");
    }
    let reading = Instant::now();
    let plan = SnapshotPlan::make(config, source.as_mut(), target.as_mut(), loaded.as_ref()).await?;
    plan.announce();
    tracing::info!(
        "{} tables to copy, {} finished before; planned in {:.2} s, of which {:.3} s decided where each begins",
        plan.tables,
        plan.skipped,
        reading.elapsed().as_secs_f64(),
        plan.deciding.as_secs_f64()
    );
    reach(Failpoint::Planned);
    // Only now that nothing stands against the start is the earlier run's record given up.
    store.set_earlier_run_aside(config, loaded.as_ref()).await?;

    let inscriber = store.inscriber(config, Inscribed::Progress);
    take_back(&plan.taken_back, target.as_mut(), inscriber.as_deref()).await?;
    let counts_rows = inscriber.is_some();
    let outset = Outset { inscriber, ..plan.outset };
    let parallel_tables = config.extractor.parallel_size.min(config.extractor.endpoint.max_connections);
    let sinkers = sinkers(config);
    let observer = Arc::new(Progress::new(&plan.tasks, plan.tables, bars));
    let skipped = plan.skipped;
    let extractor = source
        .snapshot(
            plan.tasks,
            ReadOptions {
                page_rows: config.extractor.page_rows(&config.pipeline),
                block_bytes: BLOCK_BYTES,
                parallel_tables,
                lineage: plan.lineage,
                counts_rows,
                retry: RetryBudget { total: config.pipeline.max_retry },
            },
        )
        .await?;
    let sinkers = (0..sinkers).map(|_| target.sinker()).collect();
    let outcome = dt_pipeline::driver::run(
        extractor,
        sinkers,
        store.boxed(),
        outset,
        pipeline_options(config, Order::Any, parallel_tables),
        observer,
        stop,
    )
    .await?;
    report(&outcome, skipped, started.elapsed());
    Ok(outcome.end)
}

/// Takes rows back that are copied again and that the target could not tell from those that it has.
async fn take_back(taken_back: &[TakenBack], target: &mut dyn Target, inscriber: Option<&dyn Inscriber>) -> Result<()> {
    for TakenBack { table, rows, then } in taken_back {
        let Some(inscriber) = inscriber else {
            tracing::warn!(
                "{}: rows without a usable key are copied again, and may be in the target twice",
                table.target
            );
            continue;
        };
        let position = inscriber.inscribe(&[Entry { rung: Rung::Current, position: then.clone() }])?;
        target.take_back(table, *rows, &position).await?;
    }
    Ok(())
}

fn report(outcome: &Outcome, skipped: usize, elapsed: Duration) {
    let ended = match outcome.end {
        End::Complete => "done",
        End::Stopped => "stopped",
    };
    tracing::info!(
        "snapshot {ended}: tables: {}, rows: {}, bytes: {}, skipped tables: {skipped}, replaced rows: {}, seconds: {:.1}",
        outcome.tables_finished,
        outcome.rows,
        outcome.bytes,
        outcome.replaced_rows,
        elapsed.as_secs_f64()
    );
}
