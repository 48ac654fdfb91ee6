//! The position that a batch brings along, written in its transaction.
//!
//! What writes it are commands as canonical Extended JSON (MongoDB documentation, Extended JSON v2), made by the position
//! store; `$session` in a guard, and in `settle.wait`, stands for the session that executes them. A session is made known to the store by `settle.wait`
//! before its first transaction, so that whoever takes the task over can end it: a server keeps the open transaction of a
//! client that is gone for about a minute, with all documents that it has written.

use bson::{Bson, Document, RawDocumentBuf, Uuid, doc};
use dt_common::failpoint::{Failpoint, in_flight, reach};
use dt_common::position::PositionWrite;
use dt_common::{Error, Result};
use dt_connector::Batch;
use mongodb::ClientSession;
use mongodb::options::{Acknowledgment, ReadConcern, ReadPreference, SelectionCriteria, WriteConcern};

use super::write::Shared;
use crate::alive::while_alive;
use crate::error::{classify, server_error};
use crate::raw::{self, RawValue};

/// MongoDB documentation, Error Codes: `WriteConcernFailed`.
const WRITE_CONCERN_FAILED: i32 = 64;

const DOING: &str = "writing a position together with its documents";

/// The session of one sinker.
#[derive(Debug, Default)]
pub(super) struct Inscriptions {
    known: Option<Known>,
    // One whose last transaction may not have ended.
    unsettled: Option<Uuid>,
}

/// A session that the position store knows.
#[derive(Debug)]
struct Known {
    session: ClientSession,
    id: Uuid,
}

/// A transaction that a position is written in. Dropped, it is ended without its changes.
#[derive(Debug)]
pub(super) struct Transaction<'s> {
    shared: &'s Shared,
    id: Uuid,
    session: ClientSession,
}

impl Inscriptions {
    /// Whether a try before this one was committed, and only the answer was lost.
    ///
    /// # Errors
    /// The task was taken over; or the server cannot say.
    pub(super) async fn is_there(&mut self, shared: &Shared, batch: &Batch) -> Result<bool> {
        let Some(id) = self.unsettled else { return Ok(false) };
        let session = id.to_string();
        let killing = doc! {"killSessions": [{"id": bson::Binary::from(id)}]};
        // If it fails, the transaction ends by itself.
        drop(answer(shared, "admin", killing, None).await);
        let Some(position) = batch.position().filter(|_| batch.is_retried()) else { return Ok(false) };
        // A write outside of a transaction waits for those that have written the document (MongoDB documentation, In-progress
        // Transactions and Write Conflicts): the transaction before has passed the same guard, or never will.
        for (database, mut command) in commands_of(&position.guard, &session)? {
            command.insert("writeConcern", concern(&shared.durability.concern()));
            expect_held(&answer(shared, &database, command, None).await?)?;
        }
        self.unsettled = None;
        let Some(written) = &position.settle.written else { return Ok(false) };
        let mut is_there = false;
        for (database, command) in commands(written)? {
            let reply = answer(shared, &database, command, None).await?;
            let found = raw::field(&reply, "cursor").and_then(RawValue::document);
            let found = found.and_then(|cursor| raw::field(cursor, "firstBatch")).and_then(RawValue::document);
            is_there |= found.is_some_and(|found| raw::fields(found).next().is_some());
        }
        Ok(is_there)
    }

    /// Begins a transaction.
    pub(super) async fn begin<'s>(&mut self, shared: &'s Shared, position: &PositionWrite) -> Result<Transaction<'s>> {
        let Known { mut session, id } = match self.known.take() {
            Some(known) => known,
            None => self.new_session(shared, position).await?,
        };
        start(shared, &mut session).await?;
        self.unsettled = Some(id);
        reach(Failpoint::TargetBegun);
        Ok(Transaction { shared, id, session })
    }

    /// Ends the transaction with its changes and the position, when the batch's turn has come.
    ///
    /// # Errors
    /// The task was taken over, or earlier rows were not applied: then nothing is committed. Or the end is not known.
    pub(super) async fn commit(&mut self, mut transaction: Transaction<'_>, batch: &Batch) -> Result<()> {
        reach(Failpoint::TargetRows);
        if let Some(turn) = batch.turn() {
            turn.come().await?;
        }
        if let Some(position) = batch.position() {
            let id = transaction.id.to_string();
            for (database, command) in commands_of(&position.guard, &id)? {
                expect_held(&answer(transaction.shared, &database, command, Some(&mut transaction.session)).await?)?;
            }
            for statement in &position.statements {
                for (database, command) in commands(statement)? {
                    answer(transaction.shared, &database, command, Some(&mut transaction.session)).await?;
                }
            }
        }
        reach(Failpoint::TargetPosition);
        let committing = in_flight(Failpoint::TargetCommit, transaction.session.commit_transaction().into_future());
        let committed = while_alive(&transaction.shared.server, committing).await?;
        committed.map_err(|error| classify(DOING, &error))?;
        self.keep(transaction.session, transaction.id);
        Ok(())
    }

    /// Ends the transaction without its changes.
    pub(super) async fn abort(&mut self, transaction: Transaction<'_>) -> Result<()> {
        let Transaction { shared, id, mut session } = transaction;
        let ended = while_alive(&shared.server, session.abort_transaction().into_future()).await?;
        ended.map_err(|error| classify(DOING, &error))?;
        self.keep(session, id);
        Ok(())
    }

    fn keep(&mut self, session: ClientSession, id: Uuid) {
        self.unsettled = None;
        self.known = Some(Known { session, id });
    }

    async fn new_session(&mut self, shared: &Shared, position: &PositionWrite) -> Result<Known> {
        let starting = shared.server.client().start_session();
        let started = while_alive(&shared.server, starting.into_future()).await?;
        let session = started.map_err(|error| classify(DOING, &error))?;
        let id = match session.id().get("id") {
            Some(Bson::Binary(id)) => id.to_uuid().map_err(|_| damaged())?,
            Some(_) | None => return Err(damaged()),
        };
        for (database, mut command) in commands_of(&position.settle.wait, &id.to_string())? {
            command.insert("writeConcern", concern(&shared.durability.concern()));
            expect_held(&answer(shared, &database, command, None).await?)?;
        }
        Ok(Known { session, id })
    }
}

impl<'s> Transaction<'s> {
    /// Runs a command within the transaction.
    pub(super) async fn run(&mut self, database: &str, command: Vec<u8>) -> Result<Vec<u8>> {
        let server = &self.shared.server;
        let running = server.command(database, command, Some(&mut self.session));
        while_alive(server, running).await?.map_err(|error| classify(DOING, &error))
    }

    /// Lets somebody else run commands in it.
    pub(super) fn session(&mut self) -> &mut ClientSession {
        &mut self.session
    }
}

async fn start(shared: &Shared, session: &mut ClientSession) -> Result<()> {
    let starting = session.start_transaction().write_concern(shared.durability.concern());
    // The URL may say what a transaction cannot have.
    let starting = starting.read_concern(ReadConcern::local());
    let starting = starting.selection_criteria(SelectionCriteria::ReadPreference(ReadPreference::Primary));
    starting.await.map_err(|error| classify(DOING, &error))
}

/// The commands of a guard, or of what makes a session known, for this session.
fn commands_of(text: &str, session: &str) -> Result<Vec<(String, Document)>> {
    commands(&text.replace("$session", session))
}

/// The commands of a text, each with its database.
fn commands(text: &str) -> Result<Vec<(String, Document)>> {
    let json: serde_json::Value = serde_json::from_str(text).map_err(|_| damaged())?;
    let commands = match Bson::try_from(json).map_err(|_| damaged())? {
        Bson::Array(commands) => commands,
        command => vec![command],
    };
    let split = |command: Bson| match command {
        Bson::Document(mut command) => match command.remove("$db") {
            Some(Bson::String(database)) => Ok((database, command)),
            Some(_) | None => Err(damaged()),
        },
        _ => Err(damaged()),
    };
    commands.into_iter().map(split).collect()
}

async fn answer(
    shared: &Shared,
    database: &str,
    command: Document,
    session: Option<&mut ClientSession>,
) -> Result<Vec<u8>> {
    let command = RawDocumentBuf::try_from(&command).map_err(|_| damaged())?.into_bytes();
    let running = shared.server.command(database, command, session);
    let reply = while_alive(&shared.server, running).await?.map_err(|error| classify(DOING, &error))?;
    match refusal(&reply) {
        Some(code) => Err(server_error(DOING.to_owned(), code, "", "")),
        None => Ok(reply),
    }
}

/// The code of what an answer holds against a write (MongoDB documentation, `insert`, Output: `writeErrors` are many, of which
/// the first counts, and `writeConcernError` is one). Pure.
fn refusal(reply: &[u8]) -> Option<i32> {
    let code =
        |error: &[u8]| raw::field(error, "code").and_then(RawValue::integer).and_then(|code| code.try_into().ok());
    if let Some(errors) = raw::field(reply, "writeErrors").and_then(RawValue::document)
        && let Some(first) = raw::fields(errors).find_map(|field| field.ok()?.value.document())
    {
        return Some(code(first).unwrap_or(0));
    }
    let concern = raw::field(reply, "writeConcernError").and_then(RawValue::document)?;
    Some(code(concern).unwrap_or(WRITE_CONCERN_FAILED))
}

fn concern(concern: &WriteConcern) -> Document {
    let mut document = Document::new();
    match &concern.w {
        Some(Acknowledgment::Nodes(nodes)) => {
            document.insert("w", i32::try_from(*nodes).unwrap_or(i32::MAX));
            document.insert("j", true);
        }
        Some(Acknowledgment::Custom(tag)) => drop(document.insert("w", tag)),
        Some(_) | None => drop(document.insert("w", "majority")),
    }
    document
}

/// The one document was there: the epoch is still ours.
fn expect_held(reply: &[u8]) -> Result<()> {
    match raw::field(reply, "n").and_then(RawValue::integer) {
        Some(1) => Ok(()),
        Some(_) | None => Err(Error::taken_over()),
    }
}

fn damaged() -> Error {
    Error::fatal("the command that writes a position is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_of_a_write_concern_is_its_own_and_not_that_of_what_it_encloses() -> Result<()> {
        let of = |reply: Document| RawDocumentBuf::try_from(&reply).map(|reply| refusal(reply.as_bytes()));
        let enclosed = doc! {"code": 91, "codeName": "ShutdownInProgress", "errInfo": {"writeConcern": {"w": 1}}};
        assert_eq!(of(doc! {"ok": 1, "n": 1, "writeConcernError": enclosed}).map_err(|_| damaged())?, Some(91));
        let errors = [doc! {"index": 0, "code": 112, "errmsg": "x"}];
        assert_eq!(of(doc! {"ok": 1, "writeErrors": errors.to_vec()}).map_err(|_| damaged())?, Some(112));
        assert_eq!(of(doc! {"ok": 1, "n": 1}).map_err(|_| damaged())?, None);
        Ok(())
    }

    #[test]
    fn a_command_is_read_with_its_types_its_database_and_its_session() {
        let text = r#"{"$db":"meta","update":"pos","updates":[{"q":{"_id":"t:Guard:$session","epoch":{"$numberLong":"3"}},"u":{"$inc":{"writes":{"$numberLong":"1"}}}}]}"#;
        let (database, command) = commands_of(text, "0b6e").expect("a command").remove(0);
        let update = doc! {"q": {"_id": "t:Guard:0b6e", "epoch": 3_i64}, "u": {"$inc": {"writes": 1_i64}}};
        assert_eq!((database.as_str(), command), ("meta", doc! {"update": "pos", "updates": [update]}));
        assert_eq!(commands(&format!("[{text},{text}]")).expect("two").len(), 2);
        assert!(commands("{}").is_err() && commands("[1]").is_err());
    }
}
