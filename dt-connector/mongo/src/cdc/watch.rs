//! The change stream of a whole source, as bytes: `$changeStream` with `allChangesForCluster` (MongoDB documentation, Change
//! Streams). Which collections are followed is decided here and not by the server, so that a changed filter never makes a
//! token useless, and collections that come later are followed as well.

use std::time::Duration;

use bson::{Document, doc};
use dt_common::{Error, ErrorClass, Result};
use futures_util::StreamExt;
use mongodb::error::Error as DriverFailure;
use mongodb::options::ReadConcern;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};

use super::resume::Start;
use crate::alive::while_alive;
use crate::connect::Server;
use crate::error::{classify, code};

/// How long the server waits for something to tell before it says that there is nothing.
const AWAIT: Duration = Duration::from_secs(1);
/// Events of an answer, at most, so that it takes little memory beside what waits for the target; it ends at 16 MiB in any
/// case.
const ANSWER_EVENTS: u32 = 5_000;

/// MongoDB documentation, Error Codes: `ChangeStreamHistoryLost`, `ChangeStreamFatalError`, `InvalidResumeToken`, and
/// `ChangeStreamStartAfterInvalidate`.
const TOKEN_REFUSED: [i32; 4] = [286, 280, 260, 265];
/// `BSONObjectTooLarge`.
const TOO_LARGE: i32 = 10334;
/// `Unauthorized`.
const UNAUTHORIZED: i32 = 13;

/// An open change stream.
pub struct Watch {
    server: Server,
    cursor: RawBatchCursor,
}

/// Why a change stream gives nothing more.
pub enum Broken {
    /// The server does not know the token any more, or never did.
    TokenRefused(Error),
    /// Another error.
    Failed(Error),
}

impl Broken {
    /// The error, if nothing else is tried.
    pub fn error(self) -> Error {
        match self {
            Broken::TokenRefused(error) => error.hint(
                "what is to be read next is no longer in the source's oplog: copy the collections again with a snapshot, and follow the changes from there; a larger oplog (replSetResizeOplog) leaves more time",
            ),
            Broken::Failed(error) => error,
        }
    }
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Broken::Failed(error)
    }
}

impl Watch {
    /// Opens a stream.
    pub async fn open(server: &Server, start: &Start) -> std::result::Result<Self, Broken> {
        let stages = stages(start, server.raw_updates(), server.splits_large_events())?;
        let admin = server.client().database("admin");
        let asking = admin.aggregate(stages).max_await_time(AWAIT).batch_size(ANSWER_EVENTS);
        // What a majority has cannot be rolled back.
        let asking = asking.read_concern(ReadConcern::majority()).batch();
        let cursor = while_alive(server, asking).await?.map_err(|error| broken(server, &error))?;
        Ok(Watch { server: server.clone(), cursor })
    }

    /// What the server tells next: events, or after a while that there are none.
    pub async fn next(&mut self) -> std::result::Result<RawBatch, Broken> {
        match while_alive(&self.server, self.cursor.next()).await? {
            Some(Ok(batch)) => Ok(batch),
            Some(Err(error)) => Err(broken(&self.server, &error)),
            None => Err(Error::new(ErrorClass::Reconnect, "the source has ended the change stream").into()),
        }
    }
}

/// The pipeline (pure).
fn stages(start: &Start, raw_updates: bool, split: bool) -> Result<Vec<Document>> {
    let mut stream = doc! {"allChangesForCluster": true};
    match raw_updates {
        true => stream.extend(doc! {"showRawUpdateDescription": true, "showExpandedEvents": true}),
        false => stream.extend(doc! {"fullDocument": "updateLookup"}),
    }
    match start {
        Start::AfterToken { token, .. } => {
            let token = Document::from_reader(&token[..]);
            let token = token.map_err(|_| Error::user("the stored resume token is not understood"))?;
            // Unlike `resumeAfter`, also after a stream was invalidated.
            stream.insert("startAfter", token);
        }
        Start::At(time) => drop(stream.insert("startAtOperationTime", time.bson())),
        Start::After(time) => drop(stream.insert("startAtOperationTime", time.next().bson())),
    }
    let mut stages = vec![doc! {"$changeStream": stream}];
    if split {
        stages.push(doc! {"$changeStreamSplitLargeEvent": {}});
    }
    Ok(stages)
}

fn broken(server: &Server, error: &DriverFailure) -> Broken {
    let ours = classify(format!("reading the change stream of {}", server.address().place()), error);
    match code(error) {
        Some(refused) if TOKEN_REFUSED.contains(&refused) => Broken::TokenRefused(ours.with_class(ErrorClass::User)),
        Some(TOO_LARGE) => Broken::Failed(ours.with_class(ErrorClass::User).hint(
            "an event is larger than 16 MiB, and this server does not cut it in pieces (MongoDB 6.0.9 does): set source=op_log",
        )),
        Some(UNAUTHORIZED) => Broken::Failed(
            ours.hint("the change stream of a whole server needs the role readAnyDatabase, granted in the database admin"),
        ),
        Some(_) | None => Broken::Failed(ours),
    }
}

#[cfg(test)]
mod tests {
    use super::super::place::Time;
    use super::*;

    #[test]
    fn the_stream_is_asked_for_as_the_server_can_give_it() {
        let token = doc! {"_data": "82"}.to_vec().expect("bytes");
        let after = Start::AfterToken { token, time: None };
        let wanted = [
            doc! {"$changeStream": {"allChangesForCluster": true, "showRawUpdateDescription": true, "showExpandedEvents": true, "startAfter": {"_data": "82"}}},
            doc! {"$changeStreamSplitLargeEvent": {}},
        ];
        assert_eq!(stages(&after, true, true).expect("stages"), wanted);
        let time = |seconds, increment| bson::Timestamp { time: seconds, increment };
        let of = |start| stages(&start, false, false).expect("stages").remove(0);
        let stream = |time: bson::Timestamp| {
            doc! {"$changeStream": {"allChangesForCluster": true, "fullDocument": "updateLookup", "startAtOperationTime": time}}
        };
        assert_eq!(of(Start::At(Time { seconds: 5, increment: 1 })), stream(time(5, 1)));
        assert_eq!(of(Start::After(Time { seconds: 5, increment: 1 })), stream(time(5, 2)));
    }
}
