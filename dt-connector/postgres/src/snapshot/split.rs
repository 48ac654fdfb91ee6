//! Where a table is cut into chunks: at the keys of a sample of its pages, put in order by the server.

use dt_common::position::OrderKey;
use dt_common::{Error, Result};
use dt_connector::{CHUNKS_MAX, RowFormat};

use super::plan::TablePlan;
use crate::catalog::Definition;
use crate::connect::Conn;

/// Sampled rows for each chunk: enough that chunks differ little in size.
const SAMPLED_ROWS: u64 = 1000;

/// What a page of a table that was never analyzed is taken to hold.
const ROWS_OF_A_PAGE: u64 = 50;

/// The bounds of the table's chunks; none if it is to stay in one piece.
pub(super) async fn split(conn: &Conn, table: &Definition, chunk_rows: u64) -> Result<Vec<OrderKey>> {
    let plan = TablePlan::new(table, None, RowFormat::PgText)?;
    let Some(Cut { chunks, percent }) = cut(table, chunk_rows) else { return Ok(Vec::new()) };
    let id = &table.schema.id;
    let rows = conn.rows(&plan.bounds_query(chunks, percent), "looking where a table can be cut into chunks").await;
    let rows = rows.map_err(|error| error.with("table", id))?;
    let bound = |row: &tokio_postgres::SimpleQueryRow| {
        let cells: Option<Vec<&[u8]>> = (0..row.len()).map(|at| row.get(at).map(str::as_bytes)).collect();
        plan.bound_of(cells?.into_iter())
    };
    let bounds: Option<Vec<OrderKey>> = rows.iter().map(bound).collect();
    bounds.ok_or_else(|| Error::fatal("a row without a key where the table was to be cut").with("table", id))
}

/// How a table is cut.
#[derive(Debug, PartialEq)]
struct Cut {
    chunks: u64,
    /// The share of its pages that is looked at.
    percent: f64,
}

fn cut(table: &Definition, chunk_rows: u64) -> Option<Cut> {
    let relation = &table.relation;
    // Only these can be sampled.
    let can_be_cut = table.schema.key.is_some() && matches!(relation.kind, 'r' | 'p');
    let rows = match relation.rows_estimate {
        0 => relation.pages * ROWS_OF_A_PAGE,
        estimate => estimate,
    };
    let chunks = rows.div_ceil(chunk_rows.max(1)).min(CHUNKS_MAX);
    let percent = 100.0 * (chunks * SAMPLED_ROWS) as f64 / rows as f64;
    (can_be_cut && chunks > 1).then_some(Cut { chunks, percent: percent.min(100.0) })
}
