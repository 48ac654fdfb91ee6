//! The position that a batch brings along, written in its transaction.

use dt_common::failpoint::{Failpoint, reach};
use dt_common::position::PositionWrite;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result};
use dt_connector::{Batch, other_rows};

use super::write::failed_to_write;
use crate::connect::Conn;
use crate::sql;

const ASKING: &str = "asking whether the rows are in the target";
const WRITING: &str = "writing the position into the target";

/// Whether a try before this one was committed, and only the answer was lost.
///
/// # Errors
/// The task was taken over; or the server cannot say.
pub(super) async fn is_there(conn: &Conn, batch: &Batch) -> Result<bool> {
    let Some(settle) = batch.position().filter(|_| batch.is_retried()).map(|position| &position.settle) else {
        return Ok(false);
    };
    // Each statement sees what was committed before it, and the second waits for the first.
    conn.exec("BEGIN ISOLATION LEVEL READ COMMITTED", ASKING).await?;
    expect_held(conn, &settle.wait, ASKING).await?;
    let is_there = match &settle.written {
        Some(written) => !conn.rows(written, ASKING).await?.is_empty(),
        None => false,
    };
    conn.exec("ROLLBACK", ASKING).await?;
    Ok(is_there)
}

/// Writes it, last before the commit, when the batch's turn has come.
///
/// # Errors
/// The task was taken over, or earlier rows were not applied: the transaction must not be committed. Or the server
/// refuses a statement.
pub(super) async fn inscribe(conn: &Conn, batch: &Batch) -> Result<()> {
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
pub(super) async fn take_back(conn: &Conn, table: &RoutedTable, rows: u64, position: &PositionWrite) -> Result<()> {
    let target = &table.target;
    let doing = || format!("writing to {target}");
    conn.exec("BEGIN", doing()).await?;
    let delete = format!("DELETE FROM {}{}", sql::table(target), without_key(table));
    let deleted = conn.client.execute_raw(&delete, NO_VALUES).await;
    let found = deleted.map_err(|error| failed_to_write(target, error))?;
    if found != rows {
        conn.exec("ROLLBACK", doing()).await?;
        return Err(other_rows(target, rows, found));
    }
    write(conn, position).await?;
    conn.exec("COMMIT", doing()).await
}

const NO_VALUES: [&str; 0] = [];

/// The condition of rows that no key tells apart.
fn without_key(table: &RoutedTable) -> String {
    let Some(key) = &table.source.key else { return String::new() };
    let nulls: Vec<String> =
        key.columns.iter().map(|&at| format!("{} IS NULL", sql::name(&table.target_columns[at]))).collect();
    format!(" WHERE {}", nulls.join(" OR "))
}

/// Everything in one question; the guard alone answers with a row. If the task was taken over, what is written behind the
/// guard is never committed.
async fn write(conn: &Conn, position: &PositionWrite) -> Result<()> {
    expect_held(conn, &position.script(), WRITING).await
}

async fn expect_held(conn: &Conn, guard: &str, doing: &str) -> Result<()> {
    let held = conn.rows(guard, doing).await?;
    if held.len() == 1 { Ok(()) } else { Err(Error::taken_over()) }
}
