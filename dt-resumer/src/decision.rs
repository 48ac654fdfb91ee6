//! What the plan decides about one table, and the log lines that say so. Pure but for [`Decision::announce`].

use dt_common::TableId;
use dt_common::position::{KeyText, OrderKey, SplitId};

/// Where the reading of a table begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is finished.
    Skip,
    /// With its first row.
    Beginning {
        /// Why, if a position was stored that can't be used; a sentence for the user.
        why: Option<String>,
    },
    /// With its first row, once so many rows are taken back that no key tells apart: all of a table without a key, or those
    /// with a null in it. If the target has another number of them it has changed, and nothing may be taken.
    Again {
        /// How many; they were recorded together with the number.
        rows: u64,
    },
    /// After the row with this key, whose columns are the table's key.
    After {
        /// The key of the last row that is durable in the target; no part of it is null.
        key: OrderKey,
        /// Rows with a null in the key are in the target already; otherwise they are to be read again.
        null_keys_done: bool,
    },
    /// In chunks.
    InChunks {
        /// What the chunks' positions know their split by.
        split: SplitId,
        /// How many chunks the table has.
        of: u32,
        /// Those that are not finished. None at all if only the table's own finished mark is missing.
        remaining: Vec<ChunkDecision>,
    },
    /// At this value of the first column of the table's longer key, its rows included.
    AtPrefix {
        /// One part, not null.
        key: OrderKey,
    },
    /// After this value of the first column of a table without a key, and the rows where that column is null again.
    AfterFirstColumn {
        /// One part, not null.
        key: OrderKey,
    },
}

/// Where the reading of a chunk begins, and where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkDecision {
    /// Which chunk, counted from 0.
    pub no: u32,
    /// [`Decision::Beginning`] or [`Decision::Again`] for the first chunk of a table, [`Decision::After`] for all others.
    pub begins: Decision,
    /// The greatest key that belongs to it; `None` if it is the last one.
    pub until: Option<OrderKey>,
}

impl Decision {
    /// The line for default.log, in the documents' wording; `None` for a table that simply begins.
    /// A composite key is one line: `col: a,b, result: Some("1,30")`.
    pub fn log_line(&self, table: &TableId) -> Option<String> {
        match self {
            Decision::Skip => Some(check_finished(table, true)),
            Decision::Beginning { why } => why.clone(),
            Decision::Again { rows } => Some(taken_back(table, *rows)),
            Decision::InChunks { of, remaining, .. } => Some(finished_chunks(table, *of, remaining.len())),
            Decision::After { key, null_keys_done: _ }
            | Decision::AtPrefix { key }
            | Decision::AfterFirstColumn { key } => Some(get_resume_value(table, key)),
        }
    }

    /// Writes that line to the log: as a warning if a stored position can't be used.
    pub fn announce(&self, table: &TableId) {
        let Some(line) = self.log_line(table) else { return };
        match self {
            Decision::Beginning { .. } => tracing::warn!("{line}"),
            Decision::Skip
            | Decision::Again { .. }
            | Decision::After { .. }
            | Decision::InChunks { .. }
            | Decision::AtPrefix { .. }
            | Decision::AfterFirstColumn { .. } => tracing::info!("{line}"),
        }
    }
}

/// `resumer, check finished: schema: a, tb: b, result: true`
pub fn check_finished(table: &TableId, result: bool) -> String {
    format!("resumer, check finished: schema: {}, tb: {}, result: {result}", table.schema, table.table)
}

/// `resumer, check rows: schema: a, tb: b, taken back: 62`
fn taken_back(table: &TableId, rows: u64) -> String {
    format!("resumer, check rows: schema: {}, tb: {}, taken back: {rows}", table.schema, table.table)
}

/// `resumer, check chunks: schema: a, tb: b, chunks: 62, finished: 5`
fn finished_chunks(table: &TableId, of: u32, remaining: usize) -> String {
    let finished = of as usize - remaining;
    format!("resumer, check chunks: schema: {}, tb: {}, chunks: {of}, finished: {finished}", table.schema, table.table)
}

/// `resumer, get resume value, schema: a, tb: b, col: c, result: Some("5")`
///
/// The documents put the value into this line; it is the one place where a key's value is shown.
pub fn get_resume_value(table: &TableId, key: &OrderKey) -> String {
    let columns: Vec<&str> = key.columns().collect();
    let values: Option<Vec<String>> = key.parts().iter().map(|part| shown(&part.value)).collect();
    format!(
        "resumer, get resume value, schema: {}, tb: {}, col: {}, result: {:?}",
        table.schema,
        table.table,
        columns.join(","),
        values.map(|values| values.join(","))
    )
}

fn shown(value: &KeyText) -> Option<String> {
    match value {
        KeyText::Null => None,
        KeyText::Text(text) => Some(text.clone()),
        KeyText::Bytes(bytes) => Some(dt_common::position::wire::to_hex(bytes)),
    }
}
