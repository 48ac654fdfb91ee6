//! The snapshot that all readers share: exported once, and held by a connection of its own.
//!
//! If that connection is lost, the snapshot is gone with it, and the next one sees the source as it is by then. What has
//! been read stays right: a table is read in the order of its key, so that the rows before a key are those of the older
//! view and the rows after it those of the newer one; a stream of changes that begins before the first view repeats
//! whatever happened to either since. Only without such a stream is the copy no longer that of one moment, and the log
//! says so.

use dt_common::{Error, Result};
use tokio::sync::Mutex;

use crate::alive::while_alive;
use crate::config::Address;
use crate::connect::{self, Conn, Server, Session, text};

/// Holds the snapshot.
#[derive(Debug)]
pub struct Keeper {
    address: Address,
    server: Server,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    // Kept open, and in its transaction, for as long as the snapshot is needed.
    conn: Option<Conn>,
    snapshot: Snapshot,
}

/// A snapshot that can be read in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Its name on the server.
    pub name: String,
    /// Counts up with each new one: rows that were read in another one are not these.
    pub generation: u32,
}

impl Keeper {
    /// A keeper that holds none yet.
    pub fn new(address: Address, server: Server) -> Self {
        Keeper { address, server, held: Mutex::default() }
    }

    /// The snapshot. Exports one if none is held, or the connection that held it is lost.
    pub async fn snapshot(&self) -> Result<Snapshot> {
        let mut held = self.held.lock().await;
        if held.conn.as_ref().is_some_and(|conn| !conn.is_closed()) {
            return Ok(held.snapshot.clone());
        }
        held.conn = None;
        let conn = connect::connect(&self.address, &self.server, &Session::Read).await?;
        let doing = "exporting a snapshot";
        let exporting = async {
            conn.exec("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", doing).await?;
            conn.rows("SELECT pg_catalog.pg_export_snapshot()", doing).await
        };
        let answer = while_alive(&self.address, &self.server, conn.pid, exporting).await?;
        let name = answer.first().map(|row| text(row, 0)).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Error::fatal(doing).caused_by("no answer"))?;
        let generation = held.snapshot.generation + 1;
        if generation > 1 {
            tracing::warn!(
                "the connection that held the snapshot was lost: rows that are read from now on are those of a newer view of the source"
            );
        }
        held.snapshot = Snapshot { name, generation };
        held.conn = Some(conn);
        Ok(held.snapshot.clone())
    }

    /// The server no longer knows this snapshot: the next one asked for is another.
    pub async fn lost(&self, snapshot: &Snapshot) {
        let mut held = self.held.lock().await;
        if held.snapshot == *snapshot {
            held.conn = None;
        }
    }
}
