//! Changes of documents that depend on each other, in one transaction.
//!
//! **Unique indexes.** The changes of a collection that has another unique index than that of `_id` are applied in one
//! transaction for each batch: in their place, or, where documents hold each other's keys, deleted and inserted. A batch's
//! end is a state that the source has had, so that they fit. If they do not, another document stands in the way, one of
//! which the batch knows nothing: then the target is ahead of the whole batch (see [`ahead`](super::ahead)), or the index is
//! not the source's. On a standalone target, which has no transactions, a document whose key is taken is tried again when
//! the others are written.

use std::borrow::Cow;

use dt_common::failpoint::{Failpoint, in_flight, reach};
use dt_common::{Error, ErrorClass, Result, TableId};
use mongodb::ClientSession;
use mongodb::error::Error as DriverFailure;

use super::super::left::{self, Open};
use super::super::statement::{self, Durability};
use super::answer::{self, Left, Why};
use super::apply::{Writer, changed, id_of, parts, unknown_place, warn_of_missing};
use super::fold::Folded;
use super::part::Part;
use crate::alive::while_alive;
use crate::error::classify;
use crate::snapshot::gathered;

/// How documents that are changed together are written.
#[derive(Clone, Copy)]
pub(super) enum Way {
    /// New ones are inserted, the others put in the place of those with their `_id`.
    Insert,
    /// In the place of those with their `_id`.
    InPlace,
    /// All are deleted, then inserted.
    Anew,
}

/// What became of documents that were to be written together.
pub(super) enum How {
    /// They are there.
    Done,
    /// None is, for another document holds this one's key.
    Taken(Vec<u8>, Error),
}

impl<'s> Writer<'s> {
    /// Applies all changes of a collection in one transaction, so that the target is never at two places of the stream.
    pub(super) async fn exactly(self, collection: &Folded<'_>) -> Result<()> {
        if let How::Done = self.try_exactly(collection, Way::InPlace).await? {
            return Ok(());
        }
        match self.try_exactly(collection, Way::Anew).await? {
            How::Done => Ok(()),
            How::Taken(document, error) if self.may_repeat => {
                let target = collection.target;
                tracing::warn!(
                    "{target}: {} changes are left out, for the target has them already and is ahead of them; later changes must come",
                    collection.nets().len()
                );
                self.shared.ahead().leave_out(self.lane, target, id_of(&document)?, error);
                Ok(())
            }
            How::Taken(_, error) => Err(error),
        }
    }

    /// One try.
    async fn try_exactly(self, collection: &Folded<'_>, way: Way) -> Result<How> {
        let target = collection.target;
        let mut open = self.begin(target).await?;
        let session = open.as_mut().map(|open| &mut open.session);
        let mut together = Together { writer: self, target, way, session };
        let taken = together.collection(collection).await?;
        self.end(target, open, taken).await
    }

    /// Deletes documents and inserts them, in one transaction where the target has such.
    pub(super) async fn anew(self, target: &TableId, documents: &[Cow<'_, [u8]>]) -> Result<How> {
        let mut open = self.begin(target).await?;
        let session = open.as_mut().map(|open| &mut open.session);
        let mut together = Together { writer: self, target, way: Way::Anew, session };
        let taken = match together.delete(documents.iter().map(AsRef::as_ref).collect()).await? {
            Some(taken) => Some(taken),
            None => together.write(documents, Form::Insert).await?,
        };
        self.end(target, open, taken).await
    }

    /// Begins a transaction, where the target has such.
    async fn begin(self, target: &TableId) -> Result<Option<Open<'s>>> {
        match self.shared.server.has_transactions() {
            true => left::begin(self.shared, &doing(target)).await.map(Some),
            false => Ok(None),
        }
    }

    /// Ends it; without its changes, if one of them was not taken.
    async fn end(self, target: &TableId, mut open: Option<Open<'s>>, taken: Option<How>) -> Result<How> {
        let Some(Open { session, .. }) = &mut open else { return Ok(taken.unwrap_or(How::Done)) };
        let server = &self.shared.server;
        let ended = match &taken {
            None => {
                reach(Failpoint::TargetRows);
                let committing = in_flight(Failpoint::TargetCommit, session.commit_transaction().into_future());
                while_alive(server, committing).await?
            }
            Some(_) => while_alive(server, session.abort_transaction().into_future()).await?,
        };
        ended.map_err(|error| failed(target, &error))?;
        Ok(taken.unwrap_or(How::Done))
    }
}

/// How documents are written by one command.
#[derive(Clone, Copy)]
enum Form {
    Insert,
    Replace,
}

/// The changes of a collection in a transaction; without one on a target that has none. Whoever has begun it ends it.
pub(super) struct Together<'s, 't> {
    pub(super) writer: Writer<'s>,
    pub(super) target: &'t TableId,
    pub(super) way: Way,
    pub(super) session: Option<&'t mut ClientSession>,
}

impl<'s> Together<'s, '_> {
    /// Writes what the changes of the collection come to; `Some` if a document does not fit, and then the transaction can only
    /// be ended. What documents are amended to is read outside of the transaction, which sees them as they were also where
    /// they are deleted already: so no more than an answer of them is in memory.
    pub(super) async fn collection(&mut self, collection: &Folded<'_>) -> Result<Option<How>> {
        let target = collection.target;
        let mut deletions: Vec<&[u8]> = collection.gone().collect();
        if let Way::Anew = self.way {
            deletions.extend(collection.kept().map(|net| net.keyed));
        }
        if let Some(taken) = self.delete(deletions).await? {
            return Ok(Some(taken));
        }
        for nets in changed(collection) {
            let mut part = Part::of(&nets, target)?;
            let (of_new, of_others) = match self.way {
                Way::Insert => (Form::Insert, Form::Replace),
                Way::InPlace => (Form::Replace, Form::Replace),
                Way::Anew => (Form::Insert, Form::Insert),
            };
            if let Some(taken) = self.write(&part.new, of_new).await? {
                return Ok(Some(taken));
            }
            if let Some(taken) = self.write(&part.whole, of_others).await? {
                return Ok(Some(taken));
            }
            if part.keyed.is_empty() {
                continue;
            }
            let mut reading = self.writer.read(target, &part.keyed).await?;
            while let Some(answer) = reading.next().await? {
                let mut read = Vec::new();
                for document in gathered::documents(answer.as_raw_document().as_bytes())? {
                    read.extend(part.amended(document?, target)?.map(Cow::Owned));
                }
                if let Some(taken) = self.write(&read, of_others).await? {
                    return Ok(Some(taken));
                }
            }
            warn_of_missing(target, part.missing());
        }
        Ok(None)
    }

    fn durability(&self) -> Option<&'s Durability> {
        self.session.is_none().then_some(&self.writer.shared.durability)
    }

    async fn delete(&mut self, keyed: Vec<&[u8]>) -> Result<Option<How>> {
        for part in parts(keyed, |keyed| keyed.len()) {
            let command = statement::delete(&self.target.table, &part, self.durability());
            if let Some(taken) = self.run(command, &part).await? {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    /// Writes documents; `Some` if one of them does not fit.
    async fn write(&mut self, documents: &[Cow<'_, [u8]>], form: Form) -> Result<Option<How>> {
        let table = &self.target.table;
        let slices: Vec<&[u8]> = documents.iter().map(AsRef::as_ref).collect();
        let groups = match form {
            Form::Replace => parts(slices, |document| document.len()),
            Form::Insert => {
                statement::groups(slices.iter().copied())?.into_iter().map(|group| group.to_vec()).collect()
            }
        };
        for group in groups {
            let command = match form {
                Form::Replace => {
                    if !group.iter().all(|document| statement::may_replace(document)) {
                        return Ok(Some(How::Taken(Vec::new(), self.another_writer())));
                    }
                    statement::replace(table, &group, self.durability())
                }
                Form::Insert => statement::insert(table, &group, self.durability()),
            };
            if let Some(taken) = self.run(command, &group).await? {
                return Ok(Some(taken));
            }
            // Timestamps of zero, which the server has put the time in the place of.
            if let Some(command) = statement::restore_zero_timestamps(table, &group, self.durability())
                && let Some(taken) = self.run(command, &group).await?
            {
                return Ok(Some(taken));
            }
        }
        Ok(None)
    }

    async fn run(&mut self, command: Vec<u8>, part: &[&[u8]]) -> Result<Option<How>> {
        let server = &self.writer.shared.server;
        let running = server.command(&self.target.schema, command, self.session.as_deref_mut());
        let reply = while_alive(server, running).await?.map_err(|error| failed(self.target, &error))?;
        let Some(Left { at, why }) = answer::left(&reply, self.target)?.pop() else { return Ok(None) };
        Ok(Some(match (why, self.way) {
            (Why::KeyIsTaken(error), Way::Insert | Way::InPlace | Way::Anew) => {
                How::Taken(part.get(at).ok_or_else(unknown_place)?.to_vec(), error)
            }
            (Why::IsThere | Why::InTheWay, Way::Insert | Way::InPlace) => How::Taken(Vec::new(), self.another_writer()),
            (Why::IsThere | Why::InTheWay, Way::Anew) => return Err(self.another_writer()),
        }))
    }

    fn another_writer(&self) -> Error {
        Error::new(ErrorClass::Retry, format!("another writer wrote the same documents to {}", self.target))
    }
}

fn failed(target: &TableId, error: &DriverFailure) -> Error {
    classify(doing(target), error)
}

fn doing(target: &TableId) -> String {
    format!("writing to {target} in a transaction")
}
