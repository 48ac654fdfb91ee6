//! Connections that were given up, and what the server still holds for them.
//!
//! A connection that is dead on our side may stand on the server's: it does not hear that it was closed. Its transaction
//! would hold its locks until the server's own time limit, hours later, and whoever writes the same rows again waits for them.
//! So each connection that writes holds a lock with a name of its own, by which another one finds it: its id alone may be
//! somebody else's by then, on a server that was started since or that has taken over the address.

use std::hash::{BuildHasher, RandomState};

use dt_common::{ErrorClass, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::error::classify;

/// The name of a connection's lock.
#[derive(Clone, Debug)]
pub struct Mark(String);

impl Mark {
    /// Marks the connection; `None` if the server does not let it (some clusters have no such locks).
    ///
    /// # Errors
    /// Of class reconnect: the connection is lost.
    pub async fn put_on(conn: &mut Conn) -> Result<Option<Mark>> {
        let mark = Mark(format!("dt-{:016x}{:016x}", RandomState::new().hash_one(0), RandomState::new().hash_one(1)));
        // MySQL documentation, "Locking Functions": it is held until the session ends, whatever its transactions do.
        let locked = conn.query_first::<Option<u64>, _>(format!("SELECT GET_LOCK('{}', 0)", mark.0)).await;
        match locked.map_err(|error| classify("marking a connection", error)) {
            Ok(Some(Some(1))) => Ok(Some(mark)),
            Err(error) if error.class() == ErrorClass::Reconnect => Err(error),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Has the server end the connection that is marked so, by way of another one. An account may always end its own (MySQL
    /// documentation, "KILL Statement"). If it cannot be ended, its locks are waited for.
    ///
    /// # Errors
    /// Of class reconnect: the other connection is lost, too.
    pub async fn end(self, conn: &mut Conn) -> Result<()> {
        match self.find_and_end(conn).await.map_err(|error| classify("ending a lost connection", error)) {
            Err(error) if error.class() == ErrorClass::Reconnect => Err(error),
            // It is gone by itself in between.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    async fn find_and_end(self, conn: &mut Conn) -> mysql_async::Result<()> {
        let holder = conn.query_first::<Option<u64>, _>(format!("SELECT IS_USED_LOCK('{}')", self.0)).await?.flatten();
        if let Some(id) = holder {
            conn.query_drop(format!("KILL {id}")).await?;
            tracing::info!("connection {id} was given up and still stood on the server: it was ended there");
        }
        Ok(())
    }
}
