//! Connections that were given up, and what the server still holds for them.
//!
//! A connection that is dead on our side may stand on the server's: it does not hear that it was closed. Its transaction
//! would hold its locks until the server's own time limit, hours later, and whoever writes the same rows again waits for them.

use std::time::Instant;

use dt_common::{ErrorClass, Result};

use crate::connect::{Conn, flag};

/// A connection that was given up.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    pid: i32,
    made_at: Instant,
}

impl Left {
    /// The connection of this server process, which was made by then.
    pub fn new(pid: i32, made_at: Instant) -> Self {
        Left { pid, made_at }
    }

    /// Has the server end it, by way of a new connection. An account may always end its own (PostgreSQL documentation,
    /// "Server Signaling Functions"). If it cannot be ended, its locks are waited
    /// for.
    ///
    /// # Errors
    /// Of class reconnect: the new connection is lost, too.
    pub async fn end(self, conn: &Conn) -> Result<()> {
        let asked = conn.rows(&statement(self.pid, self.made_at.elapsed().as_secs()), "ending a lost connection").await;
        match asked {
            Ok(rows) if rows.first().is_some_and(|row| flag(row, 0)) => {
                tracing::info!(
                    "a connection was lost and still stood on the server: process {} was ended there",
                    self.pid
                );
                Ok(())
            }
            Err(error) if error.class() == ErrorClass::Reconnect => Err(error),
            // It is gone, as it should be; or the account may not.
            Ok(_) | Err(_) => Ok(()),
        }
    }
}

/// A process that began later than the connection has only its number (pure).
fn statement(pid: i32, secs: u64) -> String {
    format!(
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = {pid} AND \
         usename = current_user AND backend_start <= pg_catalog.clock_timestamp() - interval '{secs} seconds'"
    )
}
