//! Over how many lanes a stream is spread, and what earlier runs have left of them.

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::config::{ResumeKind, TaskConfig};
use dt_common::position::Behind;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Position, Result};
use dt_connector::{Rule, Spreader, Target};
use dt_pipeline::{Lanes, Spreading};
use dt_resumer::{Loaded, cdc};

use super::options;

/// How the stream is spread that goes on from `resume`; `None` if one lane applies it as the source sends it. A task whose
/// lanes have left positions of their own stays with them, even if there is only one lane by now.
///
/// # Errors
/// Lanes of the run before are ahead, and by now no two lanes may apply the stream, or the filter is another one.
pub async fn spreading(
    config: &TaskConfig,
    source: &str,
    target: &mut dyn Target,
    resume: Option<&Position>,
    loaded: Option<&Loaded>,
) -> Result<Option<Spreading>> {
    let wanted = options::lanes(config);
    let spreader = if wanted > 1 { target.spreader().await? } else { None };
    if wanted > 1 && spreader.is_none() {
        tracing::warn!(
            "parallel_size={wanted} has no effect: changes of {} are applied one after the other, as its foreign keys are checked, or lanes are not available for it",
            target.describe()
        );
    }
    let allowed = if spreader.is_some() { wanted } else { 1 };
    let may_repeat = target.formats().iter().all(|format| format.may_repeat());
    let lanes = match &config.resumer.kind {
        ResumeKind::FromTarget(_) if !may_repeat => counted(config, source, resume, loaded, allowed)?,
        // Keys may be written twice, and every lane begins at the same place.
        ResumeKind::FromTarget(_) | ResumeKind::Dummy | ResumeKind::FromLog | ResumeKind::FromDb(_) => {
            // What a copy of a position in a target says to be there is left out by the reader.
            let begin = resume.and_then(Position::behind).map_or(0, |behind| behind.changes);
            (allowed > 1).then(|| Lanes { count: allowed, begin, ..Lanes::default() })
        }
    };
    let Some(lanes) = lanes else { return Ok(None) };
    let rules: Box<dyn Spreader> = match spreader {
        Some(spreader) => spreader,
        None if lanes.count == 1 => Box::new(InOneLane),
        // Fewer are wanted than are ahead: they are spread as they were until all are past it.
        None => target.spreader().await?.ok_or_else(|| {
            Error::user("some lanes of the run before are ahead of others, and the target checks foreign keys by now")
                .with("lanes", lanes.count)
                .hint("start once more with foreign keys unchecked as before ([sinker] disable_foreign_key_checks), stop the task with SIGTERM, and then change it")
        })?,
    };
    match lanes.count {
        1 => tracing::info!("changes are applied by one lane"),
        count => tracing::info!("changes are spread over {count} lanes"),
    }
    Ok(Some(Spreading { lanes, rules }))
}

/// With positions in the target.
fn counted(
    config: &TaskConfig,
    source: &str,
    resume: Option<&Position>,
    loaded: Option<&Loaded>,
    allowed: u32,
) -> Result<Option<Lanes>> {
    let db_type = config.extractor.endpoint.db_type;
    let rows: Vec<&Position> = loaded
        .into_iter()
        .flat_map(|loaded| cdc::lanes(loaded, db_type))
        .map(|stored| &stored.entry.position)
        .collect();
    let stream = resume.and_then(Position::behind);
    let was_counted = !rows.is_empty() || stream.is_some_and(|stream| stream.counted.is_some());
    if allowed == 1 && !was_counted {
        return Ok(None);
    }
    let of_rows = || rows.iter().filter_map(|row| row.behind());
    let lanes = Lanes::resumed(stream, of_rows(), allowed);
    let is_of_source = |position: &Position| {
        position.lineage().and_then(|lineage| lineage.source.as_deref()).is_none_or(|then| then == source)
    };
    let reached = |behind: &Behind| behind.reached().is_some_and(|reached| reached > lanes.begin);
    let mut ahead = rows.iter().filter(|row| row.behind().is_some_and(reached));
    let same_source = resume.is_none_or(is_of_source) && ahead.clone().all(|row| is_of_source(row));
    if !same_source {
        if lanes.are_ahead() {
            tracing::warn!("changes that some lanes have already come again, as the source is another server");
        }
        // The order of its transactions may be another one: what was counted there means nothing here.
        return Ok(Some(Lanes::resumed(None, of_rows(), allowed)));
    }
    let filter = config.filter.fingerprint();
    if ahead.any(|row| row.behind().is_some_and(|behind| behind.filter != filter)) {
        return Err(Error::user("[filter] was changed while some lanes were ahead of others")
            .hint("start once more with the filter as it was, stop the task with SIGTERM, and then change it"));
    }
    if lanes.count != allowed {
        tracing::info!(
            "{} lanes as in the run before, for some are ahead of others; parallel_size takes effect at the next start after the task was stopped with SIGTERM",
            lanes.count
        );
    }
    Ok(Some(lanes))
}

/// For a stream that has one lane.
struct InOneLane;

#[async_trait]
impl Spreader for InOneLane {
    async fn rule(&mut self, _table: &Arc<RoutedTable>) -> Result<Rule> {
        Ok(Rule::Whole)
    }
}
