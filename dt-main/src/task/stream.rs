//! Following changes, from where the last run had come to.

use std::sync::Arc;
use std::time::Instant;

use dt_common::config::TaskConfig;
use dt_common::failpoint::{Failpoint, reach};
use dt_common::position::Lineage;
use dt_common::{Error, Position, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::retry::RetryBudget;
use dt_connector::router::Router;
use dt_connector::{Extractor, Followed, Source, StreamOptions, Target, Whence};
use dt_pipeline::{End, Order, Outset};
use dt_resumer::held::Inscribed;
use dt_resumer::{Loaded, cdc};
use tokio::sync::watch;

use super::Ends;
use super::lanes;
use super::options::{BLOCK_BYTES, pipeline_options};
use super::restored;
use crate::progress::StreamProgress;

/// Follows changes until it is stopped, or `end_time_utc` has passed.
pub(super) async fn run(config: &TaskConfig, ends: Ends, stop: watch::Receiver<bool>) -> Result<End> {
    let started = Instant::now();
    let Ends { mut store, mut source, mut target } = ends;
    let loaded = store.load().await?;
    let resume = resume_point(config, target.as_ref(), loaded.as_ref())?;
    if let Some(notice) = restored::notice(config, loaded.as_ref(), source.as_ref()).await? {
        tracing::warn!("{notice}");
    }
    if let Some(position) = &resume {
        cdc::announce(position);
    }
    let identity = source.identity().to_owned();
    let spread = lanes::spreading(config, &identity, target.as_mut(), resume.as_ref(), loaded.as_ref()).await?;
    let count = spread.as_ref().map_or(1, |spread| spread.lanes.count as usize);
    let counts = spread.as_ref().is_some_and(|spread| spread.lanes.counts);
    let extractor = open(config, source.as_mut(), target.as_mut(), resume, counts).await?;
    reach(Failpoint::Anchored);
    // Only now that nothing stands against the start is the earlier run's record given up.
    store.set_earlier_run_aside(config, loaded.as_ref()).await?;
    let filter = config.filter.fingerprint();
    let inscribed = if spread.is_some() { Inscribed::Lanes } else { Inscribed::Progress };
    let inscriber = store.inscriber(config, inscribed);
    let mut options = pipeline_options(config, Order::PerLane, count);
    if spread.is_some() {
        // A lane without changes costs nothing.
        options.batch.empty_age = options.batch.age;
    }
    let outset = Outset { inscriber, filter, spread, ..Outset::default() };

    let outcome = dt_pipeline::driver::run(
        extractor,
        // One for each lane: what one batch of a lane changes, the next may change again.
        (0..count).map(|_| target.sinker()).collect(),
        store.boxed(),
        outset,
        options,
        Arc::new(StreamProgress::new()),
        stop,
    )
    .await?;
    let ended = match outcome.end {
        End::Complete => "done",
        End::Stopped => "stopped",
    };
    tracing::info!(
        "stream {ended}: changes: {}, bytes: {}, seconds: {:.1}",
        outcome.rows,
        outcome.bytes,
        started.elapsed().as_secs_f64()
    );
    Ok(outcome.end)
}

/// The checkpoint to go on from, if there is one.
///
/// # Errors
/// It was recorded for another target: what is between it and now would be missing in this one.
pub fn resume_point(config: &TaskConfig, target: &dyn Target, loaded: Option<&Loaded>) -> Result<Option<Position>> {
    let Some(loaded) = loaded else { return Ok(None) };
    let Some(stored) = cdc::resume_point(loaded, config.extractor.endpoint.db_type)? else { return Ok(None) };
    let then = stored.lineage().and_then(|lineage| lineage.target.as_deref());
    match then {
        Some(then) if then != target.identity() && !config.resumer.allow_other_server => {
            Err(Error::user("the stored position is of another target server")
                .with("stored", then)
                .with("actual", target.identity())
                .hint("if it is the same data on another server (a failover, a restored backup), set [resumer] allow_other_server=true; to start over, set [resumer] resume_type=dummy"))
        }
        Some(_) | None => {
            let position = stored.entry.position.clone();
            refuse_another_filter(config, &position)?;
            Ok(Some(position))
        }
    }
}

/// A transaction that was applied in part goes on with the filter that it was begun with.
fn refuse_another_filter(config: &TaskConfig, position: &Position) -> Result<()> {
    match position.behind() {
        Some(behind) if behind.changes > 0 && behind.filter != config.filter.fingerprint() => {
            Err(Error::user("[filter] was changed in the midst of a large transaction")
                .with("changes of it in the target", behind.changes)
                .hint(
                    "start once more with the filter as it was, and change it after that transaction has been applied",
                ))
        }
        Some(_) | None => Ok(()),
    }
}

/// An extractor of the changes from there on, once nothing is found that stands against it at either end.
/// `counts_changes`: see [`StreamOptions::counts_changes`].
pub async fn open(
    config: &TaskConfig,
    source: &mut dyn Source,
    target: &mut dyn Target,
    resume: Option<Position>,
    counts_changes: bool,
) -> Result<Box<dyn Extractor>> {
    let options = StreamOptions { counts_changes, ..options(config, source, target)? };
    let (filter, router) = (options.filter.clone(), options.router.clone());
    refuse_circles(source, target, &filter, &router).await?;
    let extractor = source.stream(resume, options).await?;
    let Followed { tables, truncates } = source.followed();
    let tables: Vec<TableId> = tables.iter().map(|table| router.target_of(table)).collect();
    target.check_changes(&tables, filter.events(), truncates).await?;
    Ok(extractor)
}

/// The checkpoint that a user asks for.
pub async fn checkpoint(
    config: &TaskConfig,
    source: &mut dyn Source,
    target: &dyn Target,
    whence: Whence,
) -> Result<Position> {
    let options = options(config, source, target)?;
    source.checkpoint(whence, options).await
}

fn options(config: &TaskConfig, source: &dyn Source, target: &dyn Target) -> Result<StreamOptions> {
    let lineage = Lineage { source: Some(source.identity().to_owned()), target: Some(target.identity().to_owned()) };
    Ok(StreamOptions {
        filter: Arc::new(Filter::new(&config.filter)?),
        router: Arc::new(Router::new(&config.router)?),
        format: super::plan::formats_in_common(source, target)?[0],
        block_bytes: BLOCK_BYTES,
        task_id: config.task_id(),
        lineage,
        counts_changes: false,
        allow_other_server: config.resumer.allow_other_server,
        retry: RetryBudget { total: config.pipeline.max_retry },
    })
}

/// Refuses to follow what the task itself writes: each change would come back as another one, for ever.
async fn refuse_circles(source: &mut dyn Source, target: &dyn Target, filter: &Filter, router: &Router) -> Result<()> {
    if source.identity() != target.identity() {
        return Ok(());
    }
    for table in source.tables(filter).await? {
        let routed = router.route(table)?;
        if filter.passes(&routed.target) {
            return Err(Error::config(
                "source and target are the same server, and what is written to itself would be followed again",
            )
            .with("table", &routed.source.id)
            .with("written to", &routed.target)
            .hint("check the two urls, or give the tables other names with [router] that [filter] does not follow"));
        }
    }
    Ok(())
}
