//! The oplog, `local.oplog.rs`, as bytes: a tailable cursor that waits at its end (MongoDB documentation, Tailable Cursors).

use std::time::Duration;

use bson::{RawDocumentBuf, doc};
use dt_common::{Error, ErrorClass, Result};
use futures_util::StreamExt;
use mongodb::error::Error as DriverFailure;
use mongodb::options::{CursorType, ReadConcern};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};

use super::place::{Time, utc};
use super::resume::Start;
use crate::alive::while_alive;
use crate::connect::Server;
use crate::error::{classify, code};

/// How long the server waits for something to tell before it says that there is nothing.
const AWAIT: Duration = Duration::from_secs(1);
/// Entries of an answer, at most, so that it takes little memory beside what waits for the target; it ends at 16 MiB in any
/// case.
const ANSWER_ENTRIES: u32 = 5_000;

/// MongoDB documentation, Error Codes: `CappedPositionLost`.
const OVERTAKEN: i32 = 136;
/// `Unauthorized`.
const UNAUTHORIZED: i32 = 13;

/// An open cursor on the oplog.
pub struct Tail {
    server: Server,
    cursor: RawBatchCursor,
    // The entry that must come first, and was seen before.
    seen: Option<Time>,
}

impl Tail {
    /// Opens a cursor.
    pub async fn open(server: &Server, start: &Start) -> Result<Self> {
        let (from, seen) = match start {
            Start::At(time) => (*time, None),
            Start::After(time) => (*time, Some(*time)),
            Start::AfterToken { .. } => return Err(Error::fatal("the oplog was to be read from a token")),
        };
        let entries = server.client().database("local").collection::<RawDocumentBuf>("oplog.rs");
        let asking = entries.find(doc! {"ts": {"$gte": from.bson()}}).cursor_type(CursorType::TailableAwait);
        // What a majority has cannot be rolled back.
        let asking = asking.max_await_time(AWAIT).batch_size(ANSWER_ENTRIES).read_concern(ReadConcern::majority());
        let cursor = while_alive(server, asking.batch()).await?.map_err(|error| failed(server, &error))?;
        Ok(Tail { server: server.clone(), cursor, seen })
    }

    /// What the server tells next: entries, or after a while that there are none.
    pub async fn next(&mut self) -> Result<RawBatch> {
        match while_alive(&self.server, self.cursor.next()).await? {
            Some(Ok(batch)) => Ok(batch),
            Some(Err(error)) => Err(failed(&self.server, &error)),
            // A cursor that has found nothing at all is not kept open.
            None => Err(Error::new(ErrorClass::Reconnect, "the source has ended the cursor on its oplog")),
        }
    }

    /// Whether an entry is the one that was seen before, which is passed over.
    ///
    /// # Errors
    /// Another one stands in its place: the oplog was cut off there, or rolled back.
    pub fn is_seen(&mut self, time: Time) -> Result<bool> {
        match self.seen.take() {
            None => Ok(false),
            Some(seen) if seen == time => Ok(true),
            Some(seen) => Err(Error::user("the place to go on from is no longer in the source's oplog")
                .with("place", format!("{}:{}", seen.seconds, seen.increment))
                .with("of", utc(seen.seconds))
                .with("next entry", utc(time.seconds))
                .hint("it was overwritten, or rolled back when another member became primary: copy the collections again with a snapshot, and follow the changes from there")),
        }
    }
}

fn failed(server: &Server, error: &DriverFailure) -> Error {
    let ours = classify(format!("reading the oplog of {}", server.address().place()), error);
    match code(error) {
        Some(OVERTAKEN) => ours.with_class(ErrorClass::Reconnect),
        Some(UNAUTHORIZED) => ours.hint("source=op_log needs the role read on the database local"),
        Some(_) | None => ours,
    }
}
