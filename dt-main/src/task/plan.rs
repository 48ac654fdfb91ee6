//! What a snapshot will do: which tables, from where in each, in which format. Everything that stands against the
//! start is found here, before the first row.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dt_common::config::TaskConfig;
use dt_common::position::Lineage;
use dt_common::schema::RoutedTable;
use dt_common::{Error, LaneId, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::router::{Router, merged};
use dt_connector::{RowFormat, Source, Start, TableTask, Target};
use dt_resumer::{Decision, Loaded, Plan};

/// What a snapshot will do.
pub struct SnapshotPlan {
    /// The tables that are not finished, ordered by schema, then name.
    pub tasks: Vec<TableTask>,
    /// How many tables are finished.
    pub skipped: usize,
    /// Between which servers.
    pub lineage: Lineage,
    /// The time it took to decide where each table begins.
    pub deciding: Duration,
    /// Each table with what was decided.
    pub decisions: Vec<(TableId, Decision)>,
}

impl SnapshotPlan {
    /// Plans; `loaded` is what earlier runs have left, `None` if the task is to start from the beginning.
    pub async fn make(
        config: &TaskConfig,
        source: &mut dyn Source,
        target: &mut dyn Target,
        loaded: Option<&Loaded>,
    ) -> Result<Self> {
        let lineage =
            Lineage { source: Some(source.identity().to_owned()), target: Some(target.identity().to_owned()) };
        let plan = loaded.map(|loaded| Plan::for_snapshot(loaded, config.extractor.endpoint.db_type)).transpose()?;
        if let Some(plan) = &plan
            && !config.resumer.allow_other_server
        {
            plan.check_lineage(&lineage)?;
        }
        let offered = formats_in_common(source, target)?;
        let filter = Filter::new(&config.filter)?;
        let router = Router::new(&config.router)?;
        let tables = source.tables(&filter).await?;
        let ids: Vec<TableId> = tables.iter().map(|table| table.id.clone()).collect();
        for unmatched in filter.unmatched(&ids).into_iter().chain(router.unmatched(&ids)) {
            tracing::warn!("{unmatched}");
        }
        if tables.is_empty() {
            return Err(Error::config("no table of the source passes the filter")
                .hint("[filter] do_dbs and do_tbs say what is copied; names are case-sensitive, and the account must be allowed to see the tables"));
        }

        let deciding = Instant::now();
        let mut tasks = Vec::new();
        let mut decisions = Vec::with_capacity(tables.len());
        for (lane, table) in tables.into_iter().enumerate() {
            let decision = plan.as_ref().map_or(Decision::Beginning { why: None }, |plan| plan.decide(&table));
            decisions.push((table.id.clone(), decision.clone()));
            let Some(start) = start(decision) else { continue };
            source.check_start(&table, &start).await?;
            let condition = filter.condition(&table.id).map(str::to_owned);
            let lane = LaneId(u32::try_from(lane).map_err(|_| Error::user("more tables than can be numbered"))?);
            // The format is the target's to choose, once it has seen the tables.
            tasks.push(TableTask { lane, table: Arc::new(router.route(table)?), start, condition, format: offered[0] });
        }
        let deciding = deciding.elapsed();

        let routed: Vec<Arc<RoutedTable>> = tasks.iter().map(|task| task.table.clone()).collect();
        for (meeting, sources) in merged(routed.iter().map(Arc::as_ref)) {
            let sources: Vec<String> = sources.iter().map(TableId::to_string).collect();
            tracing::warn!(
                "{meeting} takes the rows of {}: rows of the same key replace each other",
                sources.join(", ")
            );
        }
        refuse_copies_onto_themselves(source, target, &routed)?;
        let formats = target.prepare(&routed, &offered).await?;
        assert_eq!(formats.len(), tasks.len(), "plan: a format for each table");
        for (task, format) in tasks.iter_mut().zip(formats) {
            task.format = format;
        }
        let skipped = decisions.len() - tasks.len();
        Ok(SnapshotPlan { tasks, skipped, lineage, deciding, decisions })
    }

    /// Says in the log what was decided, in the documents' wording.
    pub fn announce(&self) {
        for (table, decision) in &self.decisions {
            decision.announce(table);
        }
    }
}

/// The row formats that both sides know, best first.
///
/// # Errors
/// There is none.
pub fn formats_in_common(source: &dyn Source, target: &dyn Target) -> Result<Vec<RowFormat>> {
    let common: Vec<RowFormat> =
        source.formats().iter().copied().filter(|format| target.formats().contains(format)).collect();
    if common.is_empty() {
        return Err(Error::config(format!(
            "{} cannot be written to {}: they have no row format in common",
            source.describe(),
            target.describe()
        ))
        .hint("source and target must be of the same kind of database; set [sinker] db_type and url accordingly"));
    }
    Ok(common)
}

fn start(decision: Decision) -> Option<Start> {
    match decision {
        Decision::Skip => None,
        Decision::Beginning { why: _ } => Some(Start::Beginning),
        Decision::After { key, null_keys_done } => Some(Start::After { key, null_keys_done }),
        Decision::AtPrefix { key } => Some(Start::AtPrefix { key }),
        Decision::AfterFirstColumn { key } => Some(Start::AfterFirstColumn { key }),
    }
}

fn refuse_copies_onto_themselves(source: &dyn Source, target: &dyn Target, tables: &[Arc<RoutedTable>]) -> Result<()> {
    if source.identity() != target.identity() {
        return Ok(());
    }
    match tables.iter().find(|table| table.source.id == table.target) {
        None => Ok(()),
        Some(table) => {
            Err(Error::config("source and target are the same server, and a table would be copied onto itself")
                .with("table", &table.source.id)
                .hint("check the two urls, or give the tables other names with [router]"))
        }
    }
}
