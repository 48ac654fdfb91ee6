//! The position that a batch brings along, written in its transaction.

use dt_common::{Error, Result};
use dt_connector::Batch;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::error::classify;

/// Writes it, last before the commit.
///
/// # Errors
/// The task was taken over: the transaction must not be committed. Or the server refuses a statement.
pub(super) async fn inscribe(conn: &mut Conn, batch: &Batch) -> Result<()> {
    let Some(position) = batch.position() else { return Ok(()) };
    let failed = |error| classify("writing the position into the target", error);
    let held: Vec<Row> = conn.query(position.guard.as_str()).await.map_err(failed)?;
    if held.len() != 1 {
        return Err(Error::taken_over());
    }
    if let Some(script) = position.script() {
        // Each statement's answer is heard: the driver gives the first failure.
        conn.query_drop(script).await.map_err(failed)?;
    }
    Ok(())
}
