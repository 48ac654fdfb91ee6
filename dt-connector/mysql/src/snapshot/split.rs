//! Where a table is cut into chunks.
//!
//! A key of one whole number whose values lie close together is cut evenly between the least and the greatest: two
//! looks at the index. Any other key is walked: the server is asked for the key that comes a chunk's rows after the last
//! bound, which reads the index once from end to end.

use dt_common::position::OrderKey;
use dt_common::schema::TableSchema;
use dt_common::{Result, TableId};
use dt_connector::CHUNKS_MAX;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::plan::TablePlan;
use super::read::cell;
use crate::connect::Flavor;
use crate::error::classify;
use crate::sql;

/// A key whose values lie this many times further apart than they would without gaps is not cut evenly.
const GAPS_MAX: u64 = 4;

/// The bounds of the table's chunks; none if it is to stay in one piece.
pub(super) async fn split(
    conn: &mut Conn,
    flavor: Flavor,
    table: &TableSchema,
    chunk_rows: u64,
) -> Result<Vec<OrderKey>> {
    let plan = TablePlan::new(table, None)?;
    if !plan.is_keyed() {
        return Ok(Vec::new());
    }
    let rows = rows_estimate(conn, flavor, &table.id).await?;
    let chunk_rows = chunk_rows.max(rows / CHUNKS_MAX).max(1);
    if rows <= chunk_rows {
        return Ok(Vec::new());
    }
    if let Some((least, greatest)) = span(conn, &plan, &table.id).await?
        && let Some(bounds) = even(least, greatest, rows, chunk_rows)
    {
        return Ok(bounds.into_iter().map(|bound| plan.whole_number(bound)).collect());
    }
    let mut bounds: Vec<OrderKey> = Vec::new();
    // The estimate may be far too low.
    while (bounds.len() as u64) < 2 * CHUNKS_MAX {
        let statement = plan.bound_statement(bounds.last(), chunk_rows - 1)?;
        let found: Option<Row> = conn.query_first(statement).await.map_err(|error| failed(&table.id, error))?;
        let Some(row) = found else { break };
        bounds.push(plan.bound_of(|at| cell(&row, at))?);
    }
    Ok(bounds)
}

/// Bounds of whole numbers, evenly spaced; `None` if the gaps are so large that the chunks would be uneven.
fn even(least: i128, greatest: i128, rows: u64, chunk_rows: u64) -> Option<Vec<i128>> {
    let span = greatest - least + 1;
    if span > i128::from(rows) * i128::from(GAPS_MAX) {
        return None;
    }
    let chunks = i128::from(rows.div_ceil(chunk_rows)).min(span);
    Some((1..chunks).map(|at| least - 1 + span * at / chunks).collect())
}

/// What the server thinks now, and not what it thought up to a day ago.
async fn rows_estimate(conn: &mut Conn, flavor: Flavor, id: &TableId) -> Result<u64> {
    match flavor {
        Flavor::Mysql => {
            let fresh = "SET SESSION information_schema_stats_expiry = 0";
            conn.query_drop(fresh).await.map_err(|error| failed(id, error))?;
        }
        Flavor::Mariadb => {}
    }
    let (schema, table) = (sql::string(&id.schema), sql::string(&id.table));
    let statement = format!(
        "SELECT table_rows FROM information_schema.tables WHERE table_schema = {schema} AND table_name = {table}"
    );
    let rows: Option<Option<u64>> = conn.query_first(statement).await.map_err(|error| failed(id, error))?;
    Ok(rows.flatten().unwrap_or(0))
}

async fn span(conn: &mut Conn, plan: &TablePlan<'_>, id: &TableId) -> Result<Option<(i128, i128)>> {
    let Some(statement) = plan.span_statement() else { return Ok(None) };
    let found: Option<Row> = conn.query_first(statement).await.map_err(|error| failed(id, error))?;
    let number = |row: &Row, at| std::str::from_utf8(cell(row, at)?).ok()?.parse().ok();
    Ok(found.and_then(|row| Some((number(&row, 0)?, number(&row, 1)?))))
}

fn failed(id: &TableId, error: mysql_async::Error) -> dt_common::Error {
    classify(format!("looking where {id} can be cut into chunks"), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_numbers_are_cut_evenly_and_every_number_is_in_one_chunk() {
        assert_eq!(even(1, 100, 100, 25), Some(vec![25, 50, 75]));
        assert_eq!(even(-10, 10, 21, 7), Some(vec![-4, 3]));
        assert_eq!(even(1, 3, 3, 1), Some(vec![1, 2]));
        assert_eq!(even(5, 5, 2, 1), Some(vec![]));
        let all = i128::from(u64::MAX);
        assert_eq!(even(0, all, u64::MAX, u64::MAX / 2 + 1), Some(vec![all / 2]));
    }

    #[test]
    fn numbers_far_apart_are_not() {
        assert_eq!(even(1, 401, 100, 10), None);
        assert!(even(1, 400, 100, 10).is_some());
    }
}
