//! The position that a batch brings along, written in its transaction.

use dt_common::failpoint::{Failpoint, reach};
use dt_common::position::PositionWrite;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result};
use dt_connector::{Batch, other_rows};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::failure::failed_to_write;
use crate::error::classify;
use crate::sql;

/// Whether a try before this one was committed, and only the answer was lost.
///
/// # Errors
/// The task was taken over; or the server cannot say.
pub(super) async fn is_there(conn: &mut Conn, batch: &Batch) -> Result<bool> {
    let Some(settle) = batch.position().filter(|_| batch.is_retried()).map(|position| &position.settle) else {
        return Ok(false);
    };
    let failed = |error| classify("asking whether the rows are in the target", error);
    conn.query_drop("START TRANSACTION").await.map_err(failed)?;
    expect_held(conn, &settle.wait).await?;
    // The first reading that does not lock: whatever was committed until now is seen.
    let written: Vec<Row> = match &settle.written {
        Some(written) => conn.query(written.as_str()).await.map_err(failed)?,
        None => Vec::new(),
    };
    conn.query_drop("ROLLBACK").await.map_err(failed)?;
    Ok(!written.is_empty())
}

/// Writes it, last before the commit, when the batch's turn has come.
///
/// # Errors
/// The task was taken over, or earlier rows were not applied: the transaction must not be committed. Or the server
/// refuses a statement.
pub(super) async fn inscribe(conn: &mut Conn, batch: &Batch) -> Result<()> {
    reach(Failpoint::TargetRows);
    if let Some(turn) = batch.turn() {
        turn.come().await?;
    }
    match batch.position() {
        Some(position) => {
            write(conn, position).await?;
            reach(Failpoint::TargetPosition);
            Ok(())
        }
        None => Ok(()),
    }
}

/// Takes rows back, in one transaction with what their position becomes.
///
/// # Errors
/// There is another number of them.
pub(super) async fn take_back(conn: &mut Conn, table: &RoutedTable, rows: u64, position: &PositionWrite) -> Result<()> {
    let target = &table.target;
    let failed = |error| failed_to_write(target, error);
    conn.query_drop("START TRANSACTION").await.map_err(failed)?;
    conn.query_drop(format!("DELETE FROM {}{}", sql::table(target), without_key(table))).await.map_err(failed)?;
    let found = conn.affected_rows();
    if found != rows {
        conn.query_drop("ROLLBACK").await.map_err(failed)?;
        return Err(other_rows(target, rows, found));
    }
    write(conn, position).await?;
    conn.query_drop("COMMIT").await.map_err(failed)
}

/// The condition of rows that no key tells apart.
fn without_key(table: &RoutedTable) -> String {
    let Some(key) = &table.source.key else { return String::new() };
    let nulls: Vec<String> =
        key.columns.iter().map(|&at| format!("{} IS NULL", sql::name(&table.target_columns[at]))).collect();
    format!(" WHERE {}", nulls.join(" OR "))
}

/// Everything in one question. If the task was taken over, what is written behind the guard is never committed.
async fn write(conn: &mut Conn, position: &PositionWrite) -> Result<()> {
    let failed = |error| classify("writing the position into the target", error);
    let mut answers = conn.query_iter(position.script()).await.map_err(failed)?;
    let held: Vec<Row> = answers.collect().await.map_err(failed)?;
    // Each statement's answer is heard: the driver gives the first failure.
    answers.drop_result().await.map_err(failed)?;
    expect_one(&held)
}

async fn expect_held(conn: &mut Conn, guard: &str) -> Result<()> {
    let failed = |error| classify("reading in the target who holds the task", error);
    expect_one(&conn.query::<Row, _>(guard).await.map_err(failed)?)
}

fn expect_one(held: &[Row]) -> Result<()> {
    if held.len() == 1 { Ok(()) } else { Err(Error::taken_over()) }
}
