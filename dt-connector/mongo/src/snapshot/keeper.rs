//! The one moment that all readers see (MongoDB documentation, Read Concern "snapshot": `atClusterTime`).
//!
//! The server keeps the past for `minSnapshotHistoryWindowInSeconds`, five minutes unless it is told otherwise. When the
//! moment is gone, the next one is taken. What has been read stays right: a collection is read in the order of `_id`, so
//! that the documents before a key are those of the older view and those after it of the newer one; a stream of changes
//! that begins before the first view repeats whatever happened to either since. Only without such a stream is the copy no
//! longer that of one moment, and the log says so.

use bson::{RawDocumentBuf, Timestamp};
use dt_common::{Result, TableId};
use mongodb::ClientSession;
use mongodb::options::SessionOptions;
use tokio::sync::Mutex;

use super::plan;
use crate::connect::Server;
use crate::error::classify;

/// Holds the moment.
#[derive(Debug)]
pub struct Keeper {
    server: Server,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    moment: Option<Timestamp>,
    generation: u32,
}

/// How a reader sees the source.
pub enum View {
    /// In a session that sees the moment.
    Moment {
        /// The session.
        session: Box<ClientSession>,
        /// Counts up with each new moment.
        generation: u32,
    },
    /// As it is when it is read: the server has nothing better. The read concern, if there is one to be named.
    Current(Option<&'static str>),
}

impl Keeper {
    /// A keeper that holds no moment yet. Says in the log if the server offers none.
    pub fn new(server: Server) -> Self {
        if let Err(why) = server.snapshot_reads() {
            tracing::warn!(
                "{why}: documents that change while they are copied are read as they are by then, and the copy is not that of one moment"
            );
        }
        Keeper { server, held: Mutex::default() }
    }

    /// A view of the moment; the first one that asks takes it, by a read of `table`.
    pub async fn view(&self, table: &TableId) -> Result<View> {
        if self.server.snapshot_reads().is_err() {
            return Ok(View::Current(self.server.has_transactions().then_some("majority")));
        }
        let mut held = self.held.lock().await;
        let doing = || "taking the moment that is copied";
        let starting = |moment: Option<Timestamp>| {
            let options = SessionOptions::builder().snapshot(true).snapshot_time(moment).build();
            self.server.client().start_session().with_options(options)
        };
        let mut session = starting(held.moment).await.map_err(|error| classify(doing(), &error))?;
        if held.moment.is_none() {
            let command = RawDocumentBuf::from_bytes(plan::find_any(&table.table));
            let command = command.map_err(|error| classify(doing(), &error.into()))?;
            let database = self.server.client().database(&table.schema);
            let reading = database.run_raw_cursor_command(command).session(&mut session);
            let reading = match self.server.reads_from() {
                Some(members) => reading.selection_criteria(members),
                None => reading,
            };
            drop(reading.batch().await.map_err(|error| classify(doing(), &error))?);
            held.moment = session.snapshot_time();
            held.generation += 1;
            if held.generation > 1 {
                tracing::warn!(
                    "the server no longer keeps the moment that was copied: documents that are read from now on are those of a newer view of the source"
                );
            }
        }
        Ok(View::Moment { session: Box::new(session), generation: held.generation })
    }

    /// The server no longer knows the moment of this generation: the next one asked for is another.
    pub async fn lost(&self, generation: u32) {
        let mut held = self.held.lock().await;
        if held.generation == generation {
            held.moment = None;
        }
    }
}
