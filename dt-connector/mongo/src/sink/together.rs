//! The documents of a snapshot's batch and its position, in one transaction.
//!
//! A transaction ends with the first document that is refused. So a batch that meets documents which are there is written
//! once more, in another way.

use std::collections::HashSet;

use dt_common::{Error, ErrorClass, Result, TableId};
use dt_connector::{Batch, Conflict};

use super::inscription::Transaction;
use super::write::MongoSinker;
use super::{reply, statement};
use crate::raw::{self, RawValue};
use crate::value::ID;

/// How often a batch is written in another way because others write the same documents.
const TRIES: u32 = 5;

/// How documents are written.
#[derive(Debug)]
enum Way {
    /// None is there.
    Insert,
    /// Those that are there are replaced.
    Replace,
    /// These, by the kind and the bytes of their `_id`, are there and stay as they are.
    InsertOthers(HashSet<(u8, Vec<u8>)>),
}

/// What became of a try.
enum Tried {
    /// All documents are written; so many were there before.
    Written(u64),
    /// One of them was there.
    Met,
}

impl MongoSinker {
    /// Writes the documents of a batch and its position.
    pub(super) async fn together(&mut self, batch: &Batch, target: &TableId, groups: &[Vec<&[u8]>]) -> Result<()> {
        let Some(position) = batch.position() else {
            return Err(Error::fatal("a batch without a position was to be written together with it"));
        };
        let shared = self.shared.clone();
        let replaces = shared.options.conflict == Conflict::Replace;
        let mut way = if replaces && self.meeting.contains(target) { Way::Replace } else { Way::Insert };
        for _ in 0..TRIES {
            let mut transaction = self.inscriptions.begin(&shared, position).await?;
            let mut there = 0;
            let mut is_met = false;
            for group in groups {
                match try_group(&mut transaction, target, group, &way).await? {
                    Tried::Written(count) => there += count,
                    Tried::Met => {
                        is_met = true;
                        break;
                    }
                }
            }
            if !is_met {
                self.inscriptions.commit(transaction, batch).await?;
                self.replaced_rows += there;
                let documents: usize = groups.iter().map(Vec::len).sum();
                match there * 2 < documents as u64 {
                    true => drop(self.meeting.remove(target)),
                    false => drop(self.meeting.insert(target.clone())),
                }
                return Ok(());
            }
            self.inscriptions.abort(transaction).await?;
            way = self.another_way(target, groups).await?;
        }
        Err(Error::new(ErrorClass::Retry, format!("another writer writes the same documents to {target}")))
    }

    async fn another_way(&self, target: &TableId, groups: &[Vec<&[u8]>]) -> Result<Way> {
        let conflict = self.shared.options.conflict;
        if conflict == Conflict::Replace {
            return Ok(Way::Replace);
        }
        let mut there = HashSet::new();
        for group in groups {
            for document in self.there(target, group).await? {
                let id = raw::field(&document, ID).map(|id| (id.kind, id.bytes.to_vec()));
                let ours = group.iter().find(|ours| id.as_ref() == id_of(ours).as_ref());
                match (ours, conflict) {
                    (Some(ours), Conflict::Interrupt) if **ours != document[..] => return Err(others_there(target)),
                    // The server takes the two for one, and they are not the same.
                    (None, _) => return Err(others_there(target)),
                    (Some(_), _) => there.extend(id),
                }
            }
        }
        Ok(Way::InsertOthers(there))
    }
}

fn id_of(document: &[u8]) -> Option<(u8, Vec<u8>)> {
    raw::field(document, ID).map(|RawValue { kind, bytes }| (kind, bytes.to_vec()))
}

/// The error of a target that has other documents under the same `_id`s, which are not to be replaced.
pub(super) fn others_there(target: &TableId) -> Error {
    Error::user("documents of the source are in the target already, and are others there")
        .with("collection", target)
        .hint("replace=true replaces them, conflict_policy=ignore leaves them as they are; or empty the collection on the target")
}

/// Writes the documents of one command.
async fn try_group(transaction: &mut Transaction<'_>, target: &TableId, group: &[&[u8]], way: &Way) -> Result<Tried> {
    let new: Vec<&[u8]> = match way {
        Way::Insert => group.to_vec(),
        Way::Replace => return replace(transaction, target, group).await,
        Way::InsertOthers(there) => {
            group.iter().copied().filter(|document| id_of(document).is_none_or(|id| !there.contains(&id))).collect()
        }
    };
    if new.is_empty() {
        return Ok(Tried::Written(0));
    }
    let outcome = run(transaction, target, statement::insert(&target.table, &new, None)).await?;
    if !outcome.duplicates.is_empty() {
        return Ok(Tried::Met);
    }
    if outcome.written != new.len() as u64 {
        return Err(Error::fatal("the target has taken another number of documents than it was sent")
            .with("collection", target)
            .with("sent", new.len())
            .with("taken", outcome.written));
    }
    restore(transaction, target, &new).await?;
    Ok(Tried::Written(0))
}

/// Puts documents in the place of those that have their `_id`, if there are any.
async fn replace(transaction: &mut Transaction<'_>, target: &TableId, group: &[&[u8]]) -> Result<Tried> {
    let (plain, awkward): (Vec<&[u8]>, Vec<&[u8]>) =
        group.iter().partition(|document| statement::may_replace(document));
    let mut there = plain.len() as u64;
    for part in statement::parts(&plain) {
        let outcome = run(transaction, target, statement::replace(&target.table, part, None)).await?;
        if !outcome.duplicates.is_empty() {
            return Ok(Tried::Met);
        }
        there = there.saturating_sub(outcome.upserted);
    }
    for part in statement::parts(&awkward) {
        there += run(transaction, target, statement::delete(&target.table, part, None)).await?.written;
        if !run(transaction, target, statement::insert(&target.table, part, None)).await?.duplicates.is_empty() {
            return Ok(Tried::Met);
        }
    }
    restore(transaction, target, group).await?;
    Ok(Tried::Written(there))
}

async fn restore(transaction: &mut Transaction<'_>, target: &TableId, documents: &[&[u8]]) -> Result<()> {
    for part in statement::parts(documents) {
        if let Some(command) = statement::restore_zero_timestamps(&target.table, part, None) {
            run(transaction, target, command).await?;
        }
    }
    Ok(())
}

async fn run(transaction: &mut Transaction<'_>, target: &TableId, command: Vec<u8>) -> Result<reply::Outcome> {
    let reply = transaction.run(&target.schema, command).await.map_err(|error| error.with("collection", target))?;
    reply::outcome(&reply, target)
}
