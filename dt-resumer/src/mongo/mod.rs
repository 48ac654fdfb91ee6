//! Positions in a collection of a MongoDB replica set or sharded cluster, one document each.
//!
//! - A save is one transaction: all of it or nothing.
//! - One process at a time holds a task ([`Fence`](crate::held::Fence)): each transaction writes a document that whoever takes
//!   the task over deletes, so that one that has slept through its lease cannot write.
//! - What writes a position is a command as text ([`Inscriber`]), which another connection of the same server may execute in
//!   a transaction of its own, with a session of its own.
//!
//! | room | what is in it |
//! |---|---|
//! | `address` | where the server is |
//! | `collection` | the collection, made if it is missing |
//! | `command` | documents and commands (pure) |
//! | `write` | what writes positions (pure) |
//! | `session` | transactions |
//! | `lease` | who holds the task |
//! | `error` | what the driver's errors mean |

mod address;
mod collection;
mod command;
mod error;
mod lease;
mod session;
mod write;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bson::{Bson, Document};
use dt_common::config::Endpoint;
use dt_common::ladder::{Entry, Recordable, Saved};
use dt_common::position::PositionWrite;
use dt_common::position::line::Stamp;
use dt_common::{DbType, Error, ErrorClass, Result, TableId};
use mongodb::Client;
use tokio::sync::Mutex;

use crate::held::fence::Holder;
use crate::held::lease::{Held as _, LEASE, Lease};
use crate::held::rows::{self, Row};
use crate::held::{DEFAULT_TABLE, HeldStore, Inscribed, Peeked};
use crate::loaded::Loaded;
use crate::rewind::Rewind;
use crate::store::{Inscriber, PositionStore, SaveFailed};
use command::Names;
use lease::{Held, epoch_of};
use session::{Session, Written};
use write::{By, Writer};

/// Which collection, and which task in it.
#[derive(Clone, Debug)]
pub struct MongoOptions {
    /// The server: a replica set's, or a `mongos`. Its `max_connections` is not used.
    pub endpoint: Endpoint,
    /// The database and the collection. Made if it is missing.
    pub table: TableId,
    /// The task whose documents are read and written.
    pub task_id: String,
    /// Who this is.
    pub holder: Holder,
    /// Whether the task is taken from a holder whose lease lives.
    pub take_over: bool,
}

impl MongoOptions {
    /// A task in the default collection; this process without a proof, taking nothing over.
    pub fn new(endpoint: Endpoint, task_id: impl Into<String>) -> Self {
        let (schema, table) = DEFAULT_TABLE;
        MongoOptions {
            endpoint,
            table: TableId::new(schema, table),
            task_id: task_id.into(),
            holder: Holder::here(None),
            take_over: false,
        }
    }
}

/// The store of one task in a position collection. Its lease is renewed for as long as the store, or the [`Lease`], is there;
/// [`Lease::release`] gives it back. Dropped without that, it ends by itself.
pub struct MongoStore {
    held: Arc<Mutex<Held>>,
    lease: Lease,
    writer: Writer,
    collection: Arc<str>,
    // What is written by whoever writes the rows; see `inscribed`.
    inscribed: Option<Inscribed>,
}

impl MongoStore {
    /// Connects, makes the collection if it is missing, and takes hold of the task. Reads no positions yet.
    ///
    /// # Errors
    /// The server cannot be reached, or has no transactions; a privilege is missing; another process holds the task.
    pub async fn open(options: MongoOptions) -> Result<MongoStore> {
        let MongoOptions { endpoint, table, task_id, holder, take_over } = options;
        let mut session = connect(&endpoint).await?;
        collection::ensure(&session, &table).await?;
        let names = Names::new(&table, &task_id);
        let fence = lease::acquire(&mut session, &names, &holder, take_over).await?;
        let writer = Writer::new(names.clone(), epoch_of(&fence));
        let collection = Arc::from(names.collection());
        let held = Arc::new(Mutex::new(Held { session, names, fence, is_over: false }));
        let lease = Lease::kept(held.clone());
        Ok(MongoStore { held, lease, writer, collection, inscribed: None })
    }

    /// Ends the store and gives its lease back.
    pub async fn close(self) {
        self.lease.release().await;
    }

    /// Deletes all positions of the task: the one way in which a position moves backwards (invariant 3).
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
            Err(error) => Err(collection::denied(error, &held.names.table)),
        }
    }
}

impl fmt::Debug for MongoStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoStore").field("collection", &self.collection).finish_non_exhaustive()
    }
}

impl HeldStore for MongoStore {
    fn inscribed(&mut self, what: Inscribed) -> Arc<dyn Inscriber> {
        self.inscribed = Some(what);
        Arc::new(self.writer.clone())
    }

    fn lease(&self) -> Lease {
        self.lease.clone()
    }
}

#[async_trait]
impl PositionStore for MongoStore {
    async fn load(&mut self) -> Result<Loaded> {
        let held = self.held.lock().await;
        read(&held.session, &held.names, &self.collection).await
    }

    async fn save(&mut self, recordable: Recordable) -> Result<Saved, SaveFailed> {
        let kept = |entry: &&Entry| self.inscribed.is_none_or(|what| !what.holds(entry));
        let entries: Vec<Entry> = recordable.entries().iter().filter(kept).cloned().collect();
        match self.write(&self.writer.write(&entries, By::Store)).await {
            // Invariant 1: the server has confirmed the commit.
            Ok(()) => Ok(Saved::after_sync(recordable)),
            Err(error) => Err(SaveFailed { recordable, error }),
        }
    }

    async fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        self.write(&self.writer.rewind(rewind)).await
    }
}

/// What [`PositionStore::load`] of a [`MongoStore`] would give, for a dry run.
///
/// # Errors
/// As for opening and loading, but for another holder.
pub async fn peek(options: &MongoOptions) -> Result<Peeked> {
    let session = connect(&options.endpoint).await?;
    if !collection::look(&session, &options.table).await? {
        return Ok(Peeked { loaded: Loaded::default(), holder: None });
    }
    let names = Names::new(&options.table, &options.task_id);
    let found = lease::look(&session, &names).await?;
    let loaded = read(&session, &names, &Arc::from(names.collection())).await?;
    let holder = found.and_then(|found| found.held(LEASE).map(|(holder, _)| holder.clone()));
    Ok(Peeked { loaded, holder })
}

async fn connect(endpoint: &Endpoint) -> Result<Session> {
    if endpoint.db_type != DbType::Mongo {
        return Err(Error::fatal("a position collection is MongoDB's"));
    }
    let options = address::options(endpoint).await?;
    let concern = address::concern(&options);
    let client = Client::with_options(options)
        .map_err(|error| error::classify("the position collection's url", &error).with_class(ErrorClass::Config))?;
    // When the last handle of a client is dropped, the driver spawns a task that ends its sessions, and at the end of the
    // process that task meets a runtime that is shutting down, and panics. So the last handle is never dropped.
    std::mem::forget(client.clone());
    let session = Session::new(client, concern);
    collection::check_server(&session).await?;
    Ok(session)
}

/// The positions of the task; of those about the same thing the newest counts.
async fn read(session: &Session, names: &Names, collection: &Arc<str>) -> Result<Loaded> {
    let found = session.documents(names.find(names.all())).await;
    let mut found = found.map_err(|error| collection::denied(error, &names.table))?;
    found.retain(|document| document.contains_key("n"));
    found.sort_by_key(|document| (document.get_i64("epoch").unwrap_or(0), document.get_i64("n").unwrap_or(0)));
    let rows = found.into_iter().map(|document| row(&document)).collect();
    Ok(rows::read(rows, &names.task_id, collection)?.loaded)
}

fn row(document: &Document) -> Row {
    let text = |name: &str| document.get(name).and_then(Bson::as_str).map(str::to_owned);
    Row {
        id: document.get("_id").map(Bson::to_string).unwrap_or_default(),
        task_id: text("task_id").unwrap_or_default(),
        resumer_type: text("resumer_type").unwrap_or_default(),
        key: text("position_key").unwrap_or_default(),
        data: text("position_data"),
        stamp: document.get_datetime("updated_at").ok().and_then(stamp),
    }
}

/// A time of the server's, as the lines of position.log have it.
fn stamp(time: &bson::DateTime) -> Option<Stamp> {
    let text = time.try_to_rfc3339_string().ok()?;
    Stamp::parse(&text.trim_end_matches('Z').replace('T', " "))
}
