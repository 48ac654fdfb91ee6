//! Connections that were given up, and what the server still holds for them.
//!
//! A connection that is dead on our side may stand on the server's: it does not hear that it was closed. Its transaction
//! would hold its locks until the server's own time limit, hours later, and whoever writes the same rows again waits for them.

use std::time::{Duration, Instant};

use dt_common::{ErrorClass, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::error::classify;

/// A connection that was given up.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    id: u32,
    made_at: Instant,
}

impl Left {
    /// The connection of this id, which was made then.
    pub fn new(id: u32, made_at: Instant) -> Self {
        Left { id, made_at }
    }

    /// Has the server end it, by way of a new connection. An account may always end its own (MySQL documentation, "KILL
    /// Statement"). If it cannot be ended, its locks are waited
    /// for.
    ///
    /// # Errors
    /// Of class reconnect: the new connection is lost, too.
    pub async fn end(self, conn: &mut Conn) -> Result<()> {
        let failed = |error| classify("ending a lost connection", error);
        let uptime = conn.query_first::<(String, u64), _>("SHOW GLOBAL STATUS LIKE 'Uptime'").await.map_err(failed)?;
        // A server that was started since has given the id to somebody else.
        if !uptime.is_some_and(|(_, secs)| is_the_same(secs, self.made_at.elapsed())) {
            return Ok(());
        }
        match conn.query_drop(format!("KILL {}", self.id)).await.map_err(failed) {
            Ok(()) => {
                tracing::info!("connection {} was lost and still stood on the server: it was ended there", self.id);
                Ok(())
            }
            Err(error) if error.class() == ErrorClass::Reconnect => Err(error),
            // It is gone, as it should be; or the account may not.
            Err(_) => Ok(()),
        }
    }
}

/// Whether a server that has been up for so many seconds has run since a connection was made.
fn is_the_same(uptime_secs: u64, since: Duration) -> bool {
    uptime_secs > since.as_secs() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_a_server_that_was_started_since_are_left_alone() {
        assert!(is_the_same(100, Duration::from_secs(98)));
        assert!(!is_the_same(100, Duration::from_secs(99)));
        assert!(!is_the_same(3, Duration::from_secs(3600)));
    }
}
