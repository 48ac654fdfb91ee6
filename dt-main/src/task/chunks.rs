//! Tables in chunks: where they are cut, and the lanes that copy what remains of them.

use dt_common::ladder::{Entry, Rung};
use dt_common::position::{Chunk, Lineage, RdbSnapshotFinished, RdbSnapshotSplit, SplitId};
use dt_common::schema::TableSchema;
use dt_common::{DbType, LaneId, Position, Result, TableId};
use dt_connector::{ChunkTask, Source, Start};
use dt_pipeline::{LaneGroup, Outset};
use dt_resumer::{ChunkDecision, Decision};

use super::plan::start;

/// What one lane copies of a table.
pub struct Part {
    pub lane: LaneId,
    pub start: Start,
    /// Rows without a key that are to be taken back first, where an earlier run has counted them.
    pub counted: Option<u64>,
    /// `None` if it is all of it.
    pub chunk: Option<ChunkTask>,
}

impl Part {
    /// What begins as it was decided.
    pub fn new(lane: LaneId, begins: Decision, chunk: Option<ChunkTask>) -> Part {
        let counted = match &begins {
            Decision::Again { rows } => Some(*rows),
            Decision::Skip
            | Decision::Beginning { .. }
            | Decision::After { .. }
            | Decision::InChunks { .. }
            | Decision::AtPrefix { .. }
            | Decision::AfterFirstColumn { .. } => None,
        };
        Part { lane, start: start(begins), counted, chunk }
    }
}

/// Cuts a table that begins, if it is large enough. One that is in progress goes on as it was begun.
pub async fn in_chunks(
    decision: Decision,
    source: &mut dyn Source,
    table: &TableSchema,
    db_type: DbType,
    chunk_rows: u64,
    lineage: &Lineage,
    outset: &mut Outset,
) -> Result<Decision> {
    if !matches!(decision, Decision::Beginning { .. }) {
        return Ok(decision);
    }
    let bounds = source.split(table, chunk_rows).await?;
    if bounds.is_empty() {
        return Ok(decision);
    }
    let split = RdbSnapshotSplit { db_type, table: table.id.clone(), bounds, lineage: lineage.clone() };
    let decision = dt_resumer::chunks::all(&split);
    outset.first.push(Entry { rung: Rung::Current, position: Position::RdbSnapshotSplit(split) });
    Ok(decision)
}

/// The chunks that remain, each with a lane of its own; together they are the table.
pub fn parts(
    split: SplitId,
    of: u32,
    remaining: Vec<ChunkDecision>,
    finished: Position,
    lanes: &mut impl Iterator<Item = LaneId>,
    outset: &mut Outset,
) -> Vec<Part> {
    if remaining.is_empty() {
        // The run before was ended between the last chunk and the table.
        outset.first.push(Entry { rung: Rung::Finished, position: finished });
        return Vec::new();
    }
    let part = |ChunkDecision { no, begins, until }| {
        let chunk = ChunkTask { id: Chunk { split, no }, of, until };
        Part::new(next(lanes), begins, Some(chunk))
    };
    let parts: Vec<Part> = remaining.into_iter().map(part).collect();
    outset.groups.push(LaneGroup { lanes: parts.iter().map(|part| part.lane).collect(), finished });
    parts
}

/// What is recorded of a table once all of its chunks are in the target.
pub fn finished(db_type: DbType, table: &TableId, lineage: &Lineage) -> Position {
    Position::RdbSnapshotFinished(RdbSnapshotFinished {
        db_type,
        table: table.clone(),
        chunk: None,
        lineage: lineage.clone(),
    })
}

/// The next lane's number.
pub fn next(lanes: &mut impl Iterator<Item = LaneId>) -> LaneId {
    lanes.next().expect("plan: more tables and chunks than can be numbered")
}
