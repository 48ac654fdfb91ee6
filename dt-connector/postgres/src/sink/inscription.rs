//! The position that a batch brings along, written in its transaction.

use dt_common::{Error, Result};
use dt_connector::Batch;

use crate::connect::Conn;

/// Writes it, last before the commit.
///
/// # Errors
/// The task was taken over: the transaction must not be committed. Or the server refuses a statement.
pub(super) async fn inscribe(conn: &Conn, batch: &Batch) -> Result<()> {
    let Some(position) = batch.position() else { return Ok(()) };
    let doing = "writing the position into the target";
    if conn.rows(&position.guard, doing).await?.len() != 1 {
        return Err(Error::taken_over());
    }
    match position.script() {
        Some(script) => conn.exec(&script, doing).await,
        None => Ok(()),
    }
}
