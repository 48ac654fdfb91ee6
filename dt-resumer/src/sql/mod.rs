//! Positions in a table of a MySQL, MariaDB or PostgreSQL server, one row each.
//!
//! - A save is one transaction: all of it or nothing, in statements of many rows. Saved again, it changes nothing, so that
//!   a save whose answer was lost is repeated.
//! - One process at a time holds a task ([`Fence`]): each transaction looks whether the epoch is still its own, so that
//!   one that has slept through its lease cannot write.
//! - What the rows are is in [`PositionWriter`]: its statements are complete texts, and another connection of the same
//!   server may execute them in a transaction of its own.
//! - Rows that ape-dts wrote are read, and replaced when their position is written.
//!
//! The connection is made with the features `mysql` and `postgres` of this crate; without either this module is not there.

mod address;
mod dialect;
mod lease;
mod link;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod session;
mod table;
mod write;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use dt_common::config::Endpoint;
use dt_common::ladder::{Entry, Recordable, Saved};
use dt_common::position::PositionWrite;
use dt_common::position::line::Stamp;
use dt_common::{Error, Result, TableId};
use tokio::sync::Mutex;

pub use crate::held::{DEFAULT_TABLE, Fence, Holder, Inscribed, LEASE, Lease, Peeked, RENEWED_EVERY};
pub use dialect::Dialect;
pub use write::{Limits, PositionWriter};

use crate::held::HeldStore;
use crate::held::lease::Held as _;
use crate::held::rows::{self, Read, Row};
use crate::loaded::Loaded;
use crate::rewind::{Forget, Rewind};
use crate::store::{Inscriber, PositionStore, SaveFailed};
use address::Address;
use lease::Held;
use link::TextRow;
use session::{Session, Written};

/// Which table, and which task in it.
#[derive(Clone, Debug)]
pub struct SqlOptions {
    /// The server. Its `max_connections` is not used: a store has one connection.
    pub endpoint: Endpoint,
    /// The table; with MySQL the schema is the database. Made if it is missing.
    pub table: TableId,
    /// The task whose rows are read and written; at most 255 characters.
    pub task_id: String,
    /// Who this is.
    pub holder: Holder,
    /// Whether the task is taken from a holder whose lease lives.
    pub take_over: bool,
}

impl SqlOptions {
    /// A task in the default table; this process without a proof, taking nothing over.
    pub fn new(endpoint: Endpoint, task_id: impl Into<String>) -> Self {
        let (schema, table) = DEFAULT_TABLE;
        SqlOptions {
            endpoint,
            table: TableId::new(schema, table),
            task_id: task_id.into(),
            holder: Holder::here(None),
            take_over: false,
        }
    }
}

/// The store of one task in a position table. Its lease is renewed for as long as the store, or the [`Lease`], is there;
/// [`Lease::release`] gives it back. Dropped without that, it ends by itself.
pub struct SqlStore {
    held: Arc<Mutex<Held>>,
    lease: Lease,
    writer: PositionWriter,
    table: Arc<str>,
    // What is written by whoever writes the rows; see `inscribed`.
    inscribed: Option<Inscribed>,
}

impl SqlStore {
    /// Connects, makes the table if it is missing, and takes hold of the task. Reads no positions yet.
    ///
    /// # Errors
    /// The server cannot be reached; a privilege is missing (with the statement that grants it); another process holds
    /// the task.
    pub async fn open(options: SqlOptions) -> Result<SqlStore> {
        let SqlOptions { endpoint, table, task_id, holder, take_over } = options;
        let dialect = Dialect::of(endpoint.db_type)?;
        let mut session = Session::new(dialect, Address::new(&endpoint, dialect)?);
        let limits = session.open().await?;
        let found = table::ensure(&mut session, dialect, &table).await?;
        let fence = lease::acquire(&mut session, dialect, &table, &task_id, &holder, take_over).await?;
        let limits = Limits { data_bytes: found.data_bytes, ..limits };
        let writer = PositionWriter::new(dialect, &table, &task_id, &fence, limits);
        let name = Arc::from(dialect.table(&table));
        let held = Arc::new(Mutex::new(Held { session, dialect, table, task_id, fence, is_over: false }));
        let lease = Lease::kept(held.clone());
        Ok(SqlStore { held, lease, writer, table: name, inscribed: None })
    }

    /// From here on progress is written in the transactions of the rows that it stands for (see [`Inscriber`]), and is
    /// there before it is saved: what is saved leaves it as it is, for it may have moved on.
    pub fn inscribed(&mut self, what: Inscribed) -> Arc<dyn Inscriber> {
        self.inscribed = Some(what);
        Arc::new(self.writer.clone())
    }

    /// The lease, to be given back when all writing is over.
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Ends the store and gives its lease back.
    pub async fn close(self) {
        self.lease().release().await;
    }

    /// What makes the statements of this task and epoch.
    pub fn writer(&self) -> &PositionWriter {
        &self.writer
    }

    /// Deletes all positions of the task (invariant 3).
    ///
    /// # Errors
    /// As for saving.
    pub async fn reset(&mut self) -> Result<()> {
        self.write(&self.writer.reset()).await
    }

    async fn write(&self, write: &PositionWrite) -> Result<()> {
        let mut held = self.held.lock().await;
        match held.session.write(write).await {
            Ok(Written::Durable) => Ok(()),
            Ok(Written::Fenced) => Err(held.lost().await),
            Err(failure) => Err(held.denied(failure).await),
        }
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlStore").field("table", &self.table).finish_non_exhaustive()
    }
}

impl HeldStore for SqlStore {
    fn inscribed(&mut self, what: Inscribed) -> Arc<dyn Inscriber> {
        SqlStore::inscribed(self, what)
    }

    fn lease(&self) -> Lease {
        SqlStore::lease(self)
    }
}

#[async_trait]
impl PositionStore for SqlStore {
    async fn load(&mut self) -> Result<Loaded> {
        let mut held = self.held.lock().await;
        let select = held.dialect.select(&held.dialect.table(&held.table), &held.dialect.string(&held.task_id));
        let rows = match held.session.rows(&select).await {
            Ok(rows) => rows,
            Err(failure) => return Err(held.denied(failure).await),
        };
        let Read { loaded, foreign } = rows::read(rows_of(rows)?, &held.task_id, &self.table)?;
        self.writer.replaces(foreign);
        Ok(loaded)
    }

    async fn save(&mut self, recordable: Recordable) -> Result<Saved, SaveFailed> {
        let entries = recordable.entries();
        let written = match self.inscribed {
            Some(what) => {
                let not_inscribed = entries.iter().filter(|entry| !what.holds(entry));
                self.writer.statements(&not_inscribed.cloned().collect::<Vec<Entry>>())
            }
            None => self.writer.statements(entries),
        };
        let written = match written {
            Ok(write) => self.write(&write).await,
            Err(error) => Err(error),
        };
        match written {
            // Invariant 1: the server has confirmed the commit.
            Ok(()) => Ok(Saved::after_sync(recordable)),
            Err(error) => Err(SaveFailed { recordable, error }),
        }
    }

    async fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        if rewind.forget != Forget::Everything {
            // Rows that an older tool wrote are known by their ids only.
            self.load().await?;
        }
        let write = self.writer.rewind(rewind)?;
        self.write(&write).await
    }
}

/// What [`PositionStore::load`] of a [`SqlStore`] would give, for a dry run.
///
/// # Errors
/// As for opening and loading, but for another holder.
pub async fn peek(options: &SqlOptions) -> Result<Peeked> {
    let dialect = Dialect::of(options.endpoint.db_type)?;
    let mut session = Session::new(dialect, Address::new(&options.endpoint, dialect)?);
    session.open().await?;
    if table::look(&mut session, dialect, &options.table).await?.is_none() {
        return Ok(Peeked { loaded: Loaded::default(), holder: None });
    }
    let (name, task) = (dialect.table(&options.table), dialect.string(&options.task_id));
    let fence = match session.rows(&dialect.select_fence(&name, &task, false)).await {
        Ok(fence) => fence,
        Err(failure) => return Err(table::denied(failure, &mut session, dialect, &options.table).await),
    };
    let found = lease::found(&fence, &name)?;
    let rows = rows_of(session.rows(&dialect.select(&name, &task)).await?)?;
    let read = rows::read(rows, &options.task_id, &Arc::from(name))?;
    let holder = found.and_then(|found| found.held(LEASE).map(|(holder, _)| holder.clone()));
    Ok(Peeked { loaded: read.loaded, holder })
}

fn rows_of(rows: Vec<TextRow>) -> Result<Vec<Row>> {
    let row = |row: TextRow| {
        let mut cells = row.into_iter();
        Some(Row {
            // A number.
            id: cells.next()??.parse::<u64>().ok()?.to_string(),
            task_id: cells.next()??,
            resumer_type: cells.next()??,
            key: cells.next()??,
            data: cells.next()?,
            stamp: cells.next()?.as_deref().and_then(Stamp::parse),
        })
    };
    let rows: Option<Vec<Row>> = rows.into_iter().map(row).collect();
    rows.ok_or_else(|| Error::user("the position table's columns are not those of a position table"))
}

#[cfg(test)]
mod tests;
