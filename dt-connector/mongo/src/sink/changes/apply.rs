//! Changes onto the target: deletions first, then what is to be there, many documents a command and some commands at once.
//!
//! Documents that no update can write (a name that begins with a dollar; an `_id` that is the same to the server, and another
//! number type) are deleted and inserted, in one transaction.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use bson::RawDocumentBuf;
use dt_common::failpoint::{Failpoint, in_flight, reach};
use dt_common::{Error, LaneId, Position, Result, TableId};
use dt_connector::Batch;
use futures_util::{StreamExt, TryStreamExt};
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor};

use super::super::statement;
use super::super::write::Shared;
use super::answer::{Left, Why, left};
use super::exact::How;
use super::fold::{Folded, Last, Net, fold};
use super::part::Part;
use super::unique::has_unique_index;
use crate::alive::while_alive;
use crate::connect::Server;
use crate::error::classify;
use crate::raw::{self, RawValue};
use crate::snapshot::gathered;
use crate::value::ID;

/// Documents of a command: enough that the wait for its answer is small beside its work.
const COMMAND_DOCUMENTS: usize = 2000;
/// Bytes after which a command takes no more documents.
const COMMAND_BYTES: usize = 2 * 1024 * 1024;
/// Commands that are under way at once: while one waits for the target's journal, others are worked on.
const COMMANDS_AT_ONCE: usize = 4;
/// Documents are written again as long as fewer are left each time, but not for ever.
const ROUNDS_MAX: usize = 64;

/// A document that is still to be written, and where.
type Open<'a> = (&'a TableId, Vec<u8>, Option<Error>);

/// Applies a batch of changes.
pub async fn apply(shared: &Shared, batch: &Batch) -> Result<()> {
    let (folded, may_repeat) = prepare(shared, batch)?;
    Writer { shared, lane: batch.lane(), may_repeat }.plainly(folded.iter().collect()).await?;
    shared.ahead().take_error(batch.lane()).map_or(Ok(()), Err)
}

/// What the changes of a batch come to, and whether they may have been applied before.
pub(super) fn prepare<'b>(shared: &Shared, batch: &'b Batch) -> Result<(Vec<Folded<'b>>, bool)> {
    let folded = fold(batch.changes())?;
    let time = match batch.progress() {
        Some(Position::MongoCdc(position)) => Some(position.operation_time),
        Some(_) | None => None,
    };
    let may_repeat = shared.ahead().comes_to(batch.lane(), time);
    for collection in &folded {
        for net in collection.nets() {
            shared.ahead().is_changed(collection.target, id_of(net.keyed)?);
        }
    }
    Ok((folded, may_repeat))
}

async fn all<T>(commands: Vec<impl Future<Output = Result<T>>>) -> Result<Vec<T>> {
    futures_util::stream::iter(commands).buffer_unordered(COMMANDS_AT_ONCE).try_collect().await
}

/// The documents of a collection that are to be there, in parts.
pub(super) fn changed<'a, 'f>(collection: &'f Folded<'a>) -> Vec<Vec<&'f Net<'a>>> {
    parts(collection.kept().collect(), |net| match &net.last {
        Last::Whole { document, .. } => document.len(),
        Last::Amended(_) | Last::Gone => net.keyed.len(),
    })
}

/// Items in parts that fit a command (pure).
pub(super) fn parts<T>(items: Vec<T>, bytes_of: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut parts: Vec<Vec<T>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let more = bytes_of(&item);
        match parts.last_mut() {
            Some(part) if part.len() < COMMAND_DOCUMENTS && bytes + more <= COMMAND_BYTES => {
                bytes += more;
                part.push(item);
            }
            Some(_) | None => {
                bytes = more;
                parts.push(vec![item]);
            }
        }
    }
    parts
}

#[derive(Clone, Copy)]
pub(super) struct Writer<'s> {
    pub(super) shared: &'s Shared,
    pub(super) lane: LaneId,
    // Whether the changes may have been applied before, so that the target is ahead of them.
    pub(super) may_repeat: bool,
}

impl<'s> Writer<'s> {
    /// Writes what the changes come to, without a transaction for all of it.
    pub(super) async fn plainly(self, collections: Vec<&Folded<'_>>) -> Result<()> {
        let (mut plain, mut exact) = (Vec::new(), Vec::new());
        for collection in collections {
            match self.shared.server.has_transactions() && has_unique_index(self.shared, collection.target).await? {
                true => exact.push(collection),
                false => plain.push(collection),
            }
        }
        let mut deletions = Vec::new();
        for collection in &plain {
            let gone: Vec<&[u8]> = collection.gone().collect();
            deletions
                .extend(parts(gone, |keyed| keyed.len()).into_iter().map(|part| self.delete(collection.target, part)));
        }
        all(deletions).await?;
        let mut writes = Vec::new();
        for collection in &plain {
            writes.extend(changed(collection).into_iter().map(|part| self.write(collection.target, part)));
        }
        let open: Vec<Vec<Open<'_>>> = all(writes).await?;
        let mut open: Vec<Open<'_>> = open.into_iter().flatten().collect();
        if self.shared.server.has_transactions() {
            // An index that came after it was asked for.
            let late: HashSet<&TableId> =
                open.iter().filter(|(_, _, error)| error.is_some()).map(|(target, ..)| *target).collect();
            open.retain(|(target, ..)| !late.contains(target));
            self.shared.unique(|unique| unique.extend(late.iter().map(|target| ((*target).clone(), true))));
            exact.extend(plain.into_iter().filter(|collection| late.contains(collection.target)));
        }
        self.settle(open).await?;
        for collection in exact {
            self.exactly(collection).await?;
        }
        Ok(())
    }

    async fn delete(self, target: &TableId, keyed: Vec<&[u8]>) -> Result<()> {
        let command = statement::delete(&target.table, &keyed, Some(&self.shared.durability));
        match self.run(target, command).await?.is_empty() {
            true => Ok(()),
            false => {
                Err(Error::fatal("the target's answer to a deletion is not understood").with("collection", target))
            }
        }
    }

    /// Writes a part of a collection. What could not be written for now comes back.
    async fn write<'a>(self, target: &'a TableId, nets: Vec<&Net<'_>>) -> Result<Vec<Open<'a>>> {
        let mut part = Part::of(&nets, target)?;
        let mut open = self.insert(target, &part.new).await?;
        open.extend(self.replace(target, &part.whole).await?);
        if !part.keyed.is_empty() {
            self.amend(target, &mut part, &mut open).await?;
        }
        Ok(open)
    }

    /// Reads documents, amends them and writes them.
    async fn amend<'a>(self, target: &'a TableId, part: &mut Part<'_>, open: &mut Vec<Open<'a>>) -> Result<()> {
        let mut reading = self.read(target, &part.keyed).await?;
        let mut waiting: Vec<Cow<'_, [u8]>> = Vec::new();
        let mut bytes = 0;
        while let Some(answer) = reading.next().await? {
            for document in gathered::documents(answer.as_raw_document().as_bytes())? {
                let Some(document) = part.amended(document?, target)? else { continue };
                bytes += document.len();
                waiting.push(Cow::Owned(document));
                if bytes >= COMMAND_BYTES {
                    open.extend(self.replace(target, &waiting).await?);
                    waiting.clear();
                    bytes = 0;
                }
            }
        }
        open.extend(self.replace(target, &waiting).await?);
        warn_of_missing(target, part.missing());
        Ok(())
    }

    /// Inserts documents that the source did not have before; what is there nevertheless is replaced.
    async fn insert<'a>(self, target: &'a TableId, documents: &[Cow<'_, [u8]>]) -> Result<Vec<Open<'a>>> {
        if documents.is_empty() {
            return Ok(Vec::new());
        }
        let slices: Vec<&[u8]> = documents.iter().map(AsRef::as_ref).collect();
        let mut open = Vec::new();
        for group in statement::groups(slices.iter().copied())? {
            let command = statement::insert(&target.table, &group, Some(&self.shared.durability));
            let left = self.run(target, command).await?;
            let mut written: HashSet<usize> = (0..group.len()).collect();
            let mut there = Vec::new();
            for Left { at, why } in left {
                written.remove(&at);
                let document = *group.get(at).ok_or_else(unknown_place)?;
                match why {
                    Why::IsThere => there.push(Cow::Borrowed(document)),
                    Why::KeyIsTaken(error) => open.push((target, document.to_vec(), Some(error))),
                    Why::InTheWay => open.push((target, document.to_vec(), None)),
                }
            }
            let written: Vec<&[u8]> = group
                .iter()
                .enumerate()
                .filter(|(at, _)| written.contains(at))
                .map(|(_, document)| *document)
                .collect();
            self.restore(target, &written).await?;
            open.extend(self.replace(target, &there).await?);
        }
        Ok(open)
    }

    /// Puts documents in the place of those with their `_id`, or where there is none.
    async fn replace<'a>(self, target: &'a TableId, documents: &[Cow<'_, [u8]>]) -> Result<Vec<Open<'a>>> {
        let mut open = Vec::new();
        let mut plain = Vec::new();
        for document in documents {
            match statement::may_replace(document) {
                true => plain.push(document.as_ref()),
                false => open.push((target, document.to_vec(), None)),
            }
        }
        for part in parts(plain, |document| document.len()) {
            let command = statement::replace(&target.table, &part, Some(&self.shared.durability));
            let left = self.run(target, command).await?;
            let mut unwritten = HashSet::new();
            for Left { at, why } in left {
                unwritten.insert(at);
                let document = *part.get(at).ok_or_else(unknown_place)?;
                let error = match why {
                    // Inserted by somebody else between the look and the write: tried again.
                    Why::IsThere | Why::InTheWay => None,
                    Why::KeyIsTaken(error) => Some(error),
                };
                open.push((target, document.to_vec(), error));
            }
            let written: Vec<&[u8]> = part
                .iter()
                .enumerate()
                .filter(|(at, _)| !unwritten.contains(at))
                .map(|(_, document)| *document)
                .collect();
            self.restore(target, &written).await?;
        }
        Ok(open)
    }

    /// Timestamps of zero, which the server has put the time in the place of.
    pub(super) async fn restore(self, target: &TableId, written: &[&[u8]]) -> Result<()> {
        let restore = statement::restore_zero_timestamps(&target.table, written, Some(&self.shared.durability));
        let Some(command) = restore else { return Ok(()) };
        match self.run(target, command).await?.is_empty() {
            true => Ok(()),
            false => Err(Error::fatal("a timestamp could not be written as it is").with("collection", target)),
        }
    }

    /// Writes what is left: those that waited for others, again and again, then those that wait for each other.
    async fn settle(self, mut open: Vec<Open<'_>>) -> Result<()> {
        let mut anew = Vec::new();
        for _ in 0..ROUNDS_MAX {
            let (waiting, awkward): (Vec<_>, Vec<_>) = open.into_iter().partition(|(_, _, error)| error.is_some());
            anew.extend(awkward);
            open = waiting;
            let before = open.len();
            if before == 0 {
                break;
            }
            let mut again = Vec::new();
            for (target, document, _) in open {
                again.extend(self.replace(target, &[Cow::Owned(document)]).await?);
            }
            open = again;
            if open.iter().filter(|(_, _, error)| error.is_some()).count() >= before {
                break;
            }
        }
        anew.extend(open);
        if !self.shared.server.has_transactions()
            && let Some(error) = anew.iter_mut().find_map(|(_, _, error)| error.take())
        {
            // Without a transaction a document could be lost between its deletion and its insertion.
            return Err(error);
        }
        let mut by_target: HashMap<&TableId, Vec<Cow<'_, [u8]>>> = HashMap::new();
        for (target, document, _) in anew {
            by_target.entry(target).or_default().push(Cow::Owned(document));
        }
        for (target, documents) in by_target {
            let How::Taken(_, error) = self.anew(target, &documents).await? else { continue };
            return Err(error);
        }
        Ok(())
    }

    /// Asks for the documents of a collection with these `_id`s.
    pub(super) async fn read(self, target: &TableId, keyed: &[&[u8]]) -> Result<Reading<'s>> {
        let server = &self.shared.server;
        let doing = format!("reading {target}");
        let command = RawDocumentBuf::from_bytes(statement::find(&target.table, keyed));
        let command = command.map_err(|error| classify(doing.as_str(), &error.into()))?;
        let database = server.client().database(&target.schema);
        let asking = database.run_raw_cursor_command(command).batch();
        let cursor = while_alive(server, asking.into_future()).await?;
        let cursor = cursor.map_err(|error| classify(doing.as_str(), &error))?;
        Ok(Reading { server, cursor, doing })
    }

    async fn run(self, target: &TableId, command: Vec<u8>) -> Result<Vec<Left>> {
        let server = &self.shared.server;
        let running = in_flight(Failpoint::TargetCommit, server.command(&target.schema, command, None));
        let reply = while_alive(server, running).await?;
        reach(Failpoint::TargetRows);
        let reply = reply.map_err(|error| classify(format!("writing to {target}"), &error))?;
        left(&reply, target)
    }
}

/// The answers to a question for documents.
pub(super) struct Reading<'s> {
    server: &'s Server,
    cursor: RawBatchCursor,
    doing: String,
}

impl Reading<'_> {
    pub(super) async fn next(&mut self) -> Result<Option<RawBatch>> {
        let answer = while_alive(self.server, self.cursor.next()).await?;
        answer.transpose().map_err(|error| classify(self.doing.as_str(), &error))
    }
}

pub(super) fn warn_of_missing(target: &TableId, missing: usize) {
    if missing > 0 {
        // After an interruption the target may be ahead: then its deletion follows. Else it was never copied.
        tracing::warn!(
            "{target}: {missing} updates are of documents that the target does not have, and were left out (right if they are deleted later on; else copy the collection with a snapshot first)"
        );
    }
}

pub(super) fn id_of(document: &[u8]) -> Result<RawValue<'_>> {
    raw::field(document, ID).ok_or_else(|| Error::fatal("a document without `_id`"))
}

pub(super) fn unknown_place() -> Error {
    Error::fatal("the target names a document that it was not sent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_end_by_count_or_by_size() {
        let sizes = |parts: Vec<Vec<usize>>| parts.iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(parts(vec![1; 4500], |&bytes| bytes)), [2000, 2000, 500]);
        assert_eq!(sizes(parts(vec![1_500_000, 1_500_000, 100, 100], |&bytes| bytes)), [1, 3]);
        assert_eq!(sizes(parts(vec![16_000_000, 16_000_000], |&bytes| bytes)), [1, 1]);
        assert!(parts(Vec::<usize>::new(), |&bytes| bytes).is_empty());
    }
}
