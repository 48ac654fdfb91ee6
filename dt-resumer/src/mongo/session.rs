//! The store's one session: made when it is needed, given up when it fails, used by one transaction at a time.

use std::time::Duration;

use bson::{Bson, Document, doc};
use dt_common::failpoint::{Failpoint, in_flight, reach};
use dt_common::position::PositionWrite;
use dt_common::{Error, ErrorClass, Result};
use futures_util::TryStreamExt;
use mongodb::options::{ReadConcern, WriteConcern};
use mongodb::{Client, ClientSession};

use super::command::{commands, commands_of, split};
use super::error::{by_code, classify};

/// How long a command or a transaction may take. Longer is a link that carries nothing any more.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a transaction is tried again at once that the server has ended for the sake of another one.
const TRIES: u32 = 5;
/// The pause before that.
const PAUSE: Duration = Duration::from_millis(20);

/// How a guarded write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is durable.
    Durable,
    /// The epoch is another one: nothing was written.
    Fenced,
}

/// A session that makes itself anew.
pub(crate) struct Session {
    client: Client,
    concern: WriteConcern,
    open: Option<Open>,
    // One whose last transaction may not have ended.
    lost: Option<bson::Uuid>,
}

/// A session that the collection knows.
struct Open {
    session: ClientSession,
    id: bson::Uuid,
}

impl Session {
    pub(crate) fn new(client: Client, concern: WriteConcern) -> Session {
        Session { client, concern, open: None, lost: None }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Executes a write by itself. How many documents it counts.
    pub(crate) async fn write_alone(&self, command: Document) -> Result<i64> {
        let (database, command) = split(command).ok_or_else(damaged)?;
        self.execute_alone(&database, command).await
    }

    async fn execute_alone(&self, database: &str, mut command: Document) -> Result<i64> {
        command.insert("writeConcern", bson::serialize_to_bson(&self.concern).map_err(|_| damaged())?);
        let reply = self.answer(database, command).await?;
        count(&reply)
    }

    /// Executes a command by itself.
    pub(crate) async fn answer(&self, database: &str, command: Document) -> Result<Document> {
        let database = self.client.database(database);
        let running = in_time(database.run_command(command).into_future()).await?;
        running.map_err(|error| classify(DOING, &error))
    }

    /// All documents that a question gives, as a majority of the members has them.
    pub(crate) async fn documents(&self, question: Document) -> Result<Vec<Document>> {
        let (database, mut question) = split(question).ok_or_else(damaged)?;
        question.insert("readConcern", doc! {"level": "majority"});
        let database = self.client.database(&database);
        let reading = async { database.run_cursor_command(question).await?.try_collect().await };
        in_time(reading)
            .await?
            .map_err(|error: mongodb::error::Error| classify("reading the position collection", &error))
    }

    /// What a listing gives. It takes no read concern.
    pub(crate) async fn listed(&self, question: Document) -> Result<Vec<Document>> {
        let (database, question) = split(question).ok_or_else(damaged)?;
        let database = self.client.database(&database);
        let reading = async { database.run_cursor_command(question).await?.try_collect().await };
        in_time(reading).await?.map_err(|error: mongodb::error::Error| classify("listing collections", &error))
    }

    /// Ends sessions of which a transaction may be open: those of a process that is gone, or was taken over. A user may end
    /// its own (MongoDB documentation, `killSessions`). If that fails, they end by themselves, within about a minute
    /// (`transactionLifetimeLimitSeconds`).
    pub(crate) async fn kill(&self, sessions: &[bson::Uuid]) {
        for part in sessions.chunks(1000) {
            let part: Vec<Document> = part.iter().map(|id| doc! {"id": bson::Binary::from(*id)}).collect();
            if let Err(error) = self.answer("admin", doc! {"killSessions": part}).await {
                tracing::debug!("sessions of the process before were not ended: {error}");
            }
        }
    }

    /// Executes a write in a transaction, if its guard lets it.
    pub(crate) async fn write(&mut self, write: &PositionWrite) -> Result<Written> {
        let mut tries = 1;
        loop {
            match self.write_once(write).await {
                Err(error) if error.class() == ErrorClass::Retry && tries < TRIES => tries += 1,
                ended => return ended,
            }
            tokio::time::sleep(PAUSE * tries).await;
        }
    }

    async fn write_once(&mut self, write: &PositionWrite) -> Result<Written> {
        let Some(mut open) = self.opened(write).await? else { return Ok(Written::Fenced) };
        self.lost = Some(open.id);
        let name = open.id.to_string();
        let mut script = commands_of(&write.guard, &name)?;
        for statement in &write.statements {
            script.extend(commands(statement)?);
        }
        let written = self.transaction(&mut open.session, script).await?;
        self.open = Some(open);
        self.lost = None;
        Ok(written)
    }

    /// The session, made known to the collection; `None` if the epoch is another one.
    async fn opened(&mut self, write: &PositionWrite) -> Result<Option<Open>> {
        if let Some(open) = self.open.take() {
            return Ok(Some(open));
        }
        if let Some(lost) = self.lost.take() {
            self.kill(&[lost]).await;
        }
        let starting = in_time(self.client.start_session().into_future()).await?;
        let session = starting.map_err(|error| classify(DOING, &error))?;
        let id = match session.id().get("id") {
            Some(Bson::Binary(id)) => id.to_uuid().map_err(|_| damaged())?,
            Some(_) | None => return Err(damaged()),
        };
        for (database, command) in commands_of(&write.settle.wait, &id.to_string())? {
            if self.execute_alone(&database, command).await? != 1 {
                return Ok(None);
            }
        }
        Ok(Some(Open { session, id }))
    }

    /// Executes commands in one transaction. The first must match one document.
    async fn transaction(&self, session: &mut ClientSession, script: Vec<(String, Document)>) -> Result<Written> {
        let failed = |error: mongodb::error::Error| classify(DOING, &error);
        let working = async {
            let starting = session.start_transaction().write_concern(self.concern.clone());
            starting.read_concern(ReadConcern::local()).await.map_err(failed)?;
            for (at, (database, command)) in script.into_iter().enumerate() {
                let database = self.client.database(&database);
                let reply = database.run_command(command).session(&mut *session).await.map_err(failed)?;
                if count(&reply)? != 1 && at == 0 {
                    session.abort_transaction().await.map_err(failed)?;
                    return Ok(Written::Fenced);
                }
            }
            reach(Failpoint::StoreRows);
            in_flight(Failpoint::StoreCommit, session.commit_transaction().into_future()).await.map_err(failed)?;
            Ok(Written::Durable)
        };
        in_time(working).await?
    }
}

const DOING: &str = "writing to the position collection";

async fn in_time<T>(work: impl Future<Output = T>) -> Result<T> {
    let late = |_| Error::new(ErrorClass::Reconnect, "the position collection's server did not answer in time");
    tokio::time::timeout(PATIENCE, work).await.map_err(late)
}

/// How many documents a write counts: those that were there, or were put there.
fn count(reply: &Document) -> Result<i64> {
    for errors in ["writeErrors", "writeConcernError"] {
        let error = match reply.get(errors) {
            Some(Bson::Array(errors)) => errors.first().and_then(Bson::as_document),
            Some(Bson::Document(error)) => Some(error),
            Some(_) | None => None,
        };
        if let Some(error) = error {
            return Err(by_code(
                DOING.to_owned(),
                error.get_i32("code").unwrap_or(0),
                error.get_str("codeName").unwrap_or(""),
            ));
        }
    }
    Ok(match reply.get("n") {
        Some(Bson::Int32(n)) => (*n).into(),
        Some(Bson::Int64(n)) => *n,
        Some(_) | None => 0,
    })
}

fn damaged() -> Error {
    Error::fatal("a command to the position collection is damaged")
}
