//! Connections that were given up, and what the server still holds for them.
//!
//! A connection that is dead on our side may stand on the server's: it does not hear that it was closed. Its transaction
//! would hold its locks until the server's own time limit, hours later, and whoever writes the same rows again waits for them.

use dt_common::{ErrorClass, Result};

use crate::connect::{Conn, flag};
use crate::sql;

/// The server's process of a connection. Its number alone may be somebody else's by then, on a server that was started since
/// or that has taken over the address; the instant at which it began is its own.
#[derive(Clone, Debug)]
pub struct Left {
    pid: i32,
    began: String,
}

impl Left {
    /// What is left of this connection.
    pub fn of(conn: &Conn) -> Self {
        Left { pid: conn.pid, began: conn.began.clone() }
    }

    /// Has the server end it, by way of another connection. An account may always end its own (PostgreSQL documentation,
    /// "Server Signaling Functions"). If it cannot be ended, its locks are waited for.
    ///
    /// # Errors
    /// Of class reconnect: the other connection is lost, too.
    pub async fn end(self, conn: &Conn) -> Result<()> {
        match conn.rows(&self.statement(), "ending a lost connection").await {
            Ok(rows) if rows.first().is_some_and(|row| flag(row, 0)) => {
                tracing::info!(
                    "a connection was given up and still stood on the server: process {} was ended there",
                    self.pid
                );
                Ok(())
            }
            Err(error) if error.class() == ErrorClass::Reconnect => Err(error),
            // It is gone, as it should be; or the account may not.
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn statement(&self) -> String {
        format!(
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE pid = {} AND \
             usename = current_user AND backend_start::text = {}",
            self.pid,
            sql::string(&self.began)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number_its_account_and_its_beginning() {
        let left = Left { pid: 42, began: "2024-01-01 00:00:00.123456+00".to_owned() };
        assert!(left.statement().ends_with(
            "WHERE pid = 42 AND usename = current_user AND backend_start::text = '2024-01-01 00:00:00.123456+00'"
        ));
    }
}
