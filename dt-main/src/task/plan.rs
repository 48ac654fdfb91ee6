//! What a snapshot will do: which tables, from where in each, in which format. Everything that stands against the
//! start is found here, before the first row.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dt_common::config::{ExtractParallelType, TaskConfig};
use dt_common::failpoint::{Failpoint, reach};
use dt_common::position::Lineage;
use dt_common::schema::RoutedTable;
use dt_common::{DbType, Error, LaneId, Position, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::router::{Router, merged};
use dt_connector::{RowFormat, Source, Start, TableTask, Target};
use dt_pipeline::Outset;
use dt_resumer::{Decision, Loaded, Plan};

use super::chunks::{self, Part};

/// What a snapshot will do.
pub struct SnapshotPlan {
    /// What is not finished of the tables, ordered by schema, then name: whole tables, or chunks of them.
    pub tasks: Vec<TableTask>,
    /// Rows that are to be taken back before.
    pub taken_back: Vec<TakenBack>,
    /// What is recorded before the first row, and which tasks are one table.
    pub outset: Outset,
    /// How many tables are not finished.
    pub tables: usize,
    /// How many tables are finished.
    pub skipped: usize,
    /// Between which servers.
    pub lineage: Lineage,
    /// The time it took to decide where each table begins.
    pub deciding: Duration,
    /// Each table with what was decided.
    pub decisions: Vec<(TableId, Decision)>,
}

/// Rows that an earlier run has counted, as no key tells them apart: they go before their table is begun with again.
pub struct TakenBack {
    /// The table.
    pub table: Arc<RoutedTable>,
    /// How many rows of it.
    pub rows: u64,
    /// What is recorded instead of their number.
    pub then: Position,
}

impl TakenBack {
    fn of(task: &TableTask, rows: u64, db_type: DbType, lineage: &Lineage) -> TakenBack {
        TakenBack { table: task.table.clone(), rows, then: task.counted(db_type, 0, lineage) }
    }
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
        reach(Failpoint::CatalogRead);
        let ids: Vec<TableId> = tables.iter().map(|table| table.id.clone()).collect();
        for unmatched in filter.unmatched(&ids).into_iter().chain(router.unmatched(&ids)) {
            tracing::warn!("{unmatched}");
        }
        if tables.is_empty() {
            return Err(Error::config("no table of the source passes the filter")
                .hint("[filter] do_dbs and do_tbs say what is copied; names are case-sensitive, and the account must be allowed to see the tables"));
        }

        let deciding = Instant::now();
        let (mut tasks, mut taken_back) = (Vec::new(), Vec::new());
        let mut decisions = Vec::with_capacity(tables.len());
        let db_type = config.extractor.endpoint.db_type;
        let mut outset = Outset::default();
        let mut routed: Vec<Arc<RoutedTable>> = Vec::new();
        let mut lanes = (0..).map(LaneId);
        for table in tables {
            let decision = plan.as_ref().map_or(Decision::Beginning { why: None }, |plan| plan.decide(&table));
            decisions.push((table.id.clone(), decision.clone()));
            let decision = match config.extractor.parallel_type {
                ExtractParallelType::Table => decision,
                ExtractParallelType::Chunk => {
                    let chunk_rows = config.extractor.chunk_rows();
                    chunks::in_chunks(decision, source, &table, db_type, chunk_rows, &lineage, &mut outset).await?
                }
            };
            let parts = match decision {
                Decision::Skip => continue,
                Decision::InChunks { split, of, remaining } => {
                    let finished = chunks::finished(db_type, &table.id, &lineage);
                    chunks::parts(split, of, remaining, finished, &mut lanes, &mut outset)
                }
                whole => vec![Part::new(chunks::next(&mut lanes), whole, None)],
            };
            // What chunks are stored by is all of one form.
            if let Some(part) = parts.iter().find(|part| part.start != Start::Beginning).or(parts.first()) {
                source.check_start(&table, &part.start).await?;
            }
            let condition = filter.condition(&table.id).map(str::to_owned);
            let table = Arc::new(router.route(table)?);
            routed.push(table.clone());
            // The format is the target's to choose, once it has seen the tables.
            for Part { lane, start, counted, chunk } in parts {
                let (table, condition) = (table.clone(), condition.clone());
                let task = TableTask { lane, table, chunk, start, condition, format: offered[0] };
                taken_back.extend(counted.map(|rows| TakenBack::of(&task, rows, db_type, &lineage)));
                tasks.push(task);
            }
        }
        let deciding = deciding.elapsed();

        for (meeting, sources) in merged(routed.iter().map(Arc::as_ref)) {
            let sources: Vec<String> = sources.iter().map(TableId::to_string).collect();
            tracing::warn!(
                "{meeting} takes the rows of {}: rows of the same key replace each other",
                sources.join(", ")
            );
        }
        refuse_copies_onto_themselves(source, target, &routed)?;
        let formats = target.prepare(&routed, &offered).await?;
        assert_eq!(formats.len(), routed.len(), "plan: a format for each table");
        let formats: HashMap<&TableId, RowFormat> = routed.iter().map(|table| &table.source.id).zip(formats).collect();
        for task in &mut tasks {
            task.format = formats[&task.table.source.id];
        }
        let (tables, skipped) = (routed.len(), decisions.len() - routed.len());
        Ok(SnapshotPlan { tasks, taken_back, outset, tables, skipped, lineage, deciding, decisions })
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

/// Where a table, or a chunk, is begun with that is neither finished nor in chunks itself.
pub fn start(decision: Decision) -> Start {
    match decision {
        Decision::Beginning { why: _ } | Decision::Again { rows: _ } => Start::Beginning,
        Decision::After { key, null_keys_done } => Start::After { key, null_keys_done },
        Decision::AtPrefix { key } => Start::AtPrefix { key },
        Decision::AfterFirstColumn { key } => Start::AfterFirstColumn { key },
        Decision::Skip | Decision::InChunks { .. } => unreachable!("plan: a start of what is not begun"),
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
