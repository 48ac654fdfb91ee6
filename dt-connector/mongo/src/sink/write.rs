//! Applying batches: documents inserted many at a time, and those that are there already settled one by one.
//!
//! An unordered insert is no transaction: of a batch that failed on the way some documents may be there. It is tried again
//! as a whole, and finds them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bson::{RawDocumentBuf, Uuid};
use dt_common::failpoint::{Failpoint, in_flight, reach};
use dt_common::{Error, Result, TableId};
use dt_connector::{Applying, Batch, Conflict, Failed, RowFormat, SinkOptions, Sinker};
use futures_util::StreamExt;

use super::changes::ahead::Ahead;
use super::inscription::Inscriptions;
use super::left;
use super::place::{self, Place};
use super::statement::{self, Durability};
use super::{changes, ddl, reply, together};
use crate::alive::while_alive;
use crate::connect::Server;
use crate::error::{classify, is_too_large};
use crate::snapshot::gathered;

/// What every sinker of a target shares; the connections are the driver's.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) server: Server,
    pub(super) options: SinkOptions,
    pub(super) durability: Durability,
    pub(super) ahead: Mutex<Ahead>,
    // Whether a collection has unique indexes besides that of `_id`, as far as it was asked for.
    pub(super) unique: Mutex<HashMap<TableId, bool>>,
    // What the collections are that transactions write to, as far as it was asked for.
    pub(super) places: Mutex<HashMap<TableId, Place>>,
    // Sessions whose transactions are open; those of positions aside.
    pub(super) open: Mutex<HashSet<Uuid>>,
    // Whether a process before this one may have left transactions that are open.
    pub(super) may_be_left: AtomicBool,
    // So many batches of changes replace whatever may be there: one before has met documents that it held for new.
    pub(super) wary: AtomicU32,
    // Whether it was said that a batch is too large for a transaction.
    pub(super) told_too_large: AtomicBool,
    // Whether changes were applied by this process: what follows them was not executed by one before.
    pub(super) has_applied: AtomicBool,
    // Whether a statement of DDL was begun and is not known to be done: its next try may be a repetition.
    pub(super) tries_ddl: AtomicBool,
}

impl Shared {
    /// What the changes had to leave out.
    pub(super) fn ahead(&self) -> MutexGuard<'_, Ahead> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the transactions that are open, by their sessions.
    pub(super) fn open<T>(&self, look: impl FnOnce(&mut HashSet<Uuid>) -> T) -> T {
        look(&mut self.open.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at what is known of the collections' unique indexes.
    pub(super) fn unique<T>(&self, look: impl FnOnce(&mut HashMap<TableId, bool>) -> T) -> T {
        look(&mut self.unique.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    /// Says that a batch was too large for a transaction; once.
    pub(super) fn tell_too_large(&self) {
        if !self.told_too_large.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "a batch is larger than a transaction of the target can be (its cache is small): such are written before their position, not together with it; a smaller [pipeline] buffer_memory_mb makes smaller batches"
            );
        }
    }

    /// Looks at what is known of the collections that transactions write to.
    pub(super) fn places<T>(&self, look: impl FnOnce(&mut HashMap<TableId, Place>) -> T) -> T {
        look(&mut self.places.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes batches, one at a time.
#[derive(Debug)]
pub(super) struct MongoSinker {
    pub(super) shared: Arc<Shared>,
    pub(super) replaced_rows: u64,
    // Collections of which the last command met mostly documents that were there: the next one is likely to, and replaces at
    // once what an insert would only be refused for.
    pub(super) meeting: HashSet<TableId>,
    pub(super) inscriptions: Inscriptions,
}

impl MongoSinker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        MongoSinker { shared, replaced_rows: 0, meeting: HashSet::new(), inscriptions: Inscriptions::default() }
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        match batch.format() {
            RowFormat::Bson => {}
            RowFormat::MysqlText | RowFormat::PgBinary | RowFormat::PgText => {
                return Err(Error::fatal("a batch in another database's form came to a MongoDB target"));
            }
        }
        if self.inscriptions.is_there(&self.shared, batch).await? {
            return Ok(());
        }
        let may_be_left = batch.is_retried() || self.shared.may_be_left.load(Ordering::Acquire);
        if may_be_left && batch.position().is_none() && batch.rows() > 0 {
            left::end(&self.shared).await?;
            self.shared.may_be_left.store(false, Ordering::Release);
        }
        let Some(table) = batch.table() else {
            match (batch.is_ddl(), batch.position()) {
                (true, position) => {
                    ddl::execute(&self.shared, batch).await?;
                    // No transaction takes it: the position follows in one of its own.
                    if let Some(position) = position {
                        let transaction = self.inscriptions.begin(&self.shared, position).await?;
                        self.inscriptions.commit(transaction, batch).await?;
                    }
                }
                (false, Some(position)) => {
                    match changes::apply_with(&self.shared, batch, position, &mut self.inscriptions).await {
                        Err(error) if is_too_large(&error) => {
                            self.shared.tell_too_large();
                            changes::apply_before(&self.shared, batch, position, &mut self.inscriptions).await?;
                        }
                        applied => applied?,
                    }
                }
                (false, None) => changes::apply(&self.shared, batch).await?,
            }
            if batch.rows() > 0 {
                self.shared.has_applied.store(true, Ordering::Release);
            }
            return Ok(());
        };
        let groups = statement::groups(batch.chunks().map(|chunk| &chunk[..]))?;
        let held: usize = groups.iter().map(Vec::len).sum();
        if held as u64 != batch.rows() {
            return Err(Error::fatal("a batch does not hold as many documents as it says")
                .with("collection", &table.target)
                .with("said", batch.rows())
                .with("held", held));
        }
        let Some(position) = batch.position() else { return self.plainly(&table.target, &groups).await };
        match place::made(&self.shared, &table.target).await? {
            Place::There | Place::Missing => match self.together(batch, &table.target, &groups).await {
                Err(error) if is_too_large(&error) => self.shared.tell_too_large(),
                written => return written,
            },
            Place::Capped => {}
        }
        // What no transaction takes comes before its position: a document may be written again, and is the same then.
        self.plainly(&table.target, &groups).await?;
        let transaction = self.inscriptions.begin(&self.shared, position).await?;
        self.inscriptions.commit(transaction, batch).await
    }

    /// Writes documents without a transaction.
    async fn plainly(&mut self, target: &TableId, groups: &[Vec<&[u8]>]) -> Result<()> {
        for group in groups {
            self.group(target, group).await?;
        }
        Ok(())
    }

    /// Writes the documents of one command.
    async fn group(&mut self, target: &TableId, documents: &[&[u8]]) -> Result<()> {
        let shared = self.shared.clone();
        let durability = Some(&shared.durability);
        if self.meeting.contains(target) && shared.options.conflict == Conflict::Replace {
            let replaced = self.replace(target, documents).await?;
            if replaced * 2 < documents.len() as u64 {
                self.meeting.remove(target);
            }
            return self.restore_zero_timestamps(target, documents).await;
        }
        let insert = statement::insert(&target.table, documents, durability);
        let outcome = self.run(target, insert).await?;
        if outcome.written + outcome.duplicates.len() as u64 != documents.len() as u64 {
            return Err(Error::fatal("the target has taken another number of documents than it was sent")
                .with("collection", target)
                .with("sent", documents.len())
                .with("taken", outcome.written));
        }
        let met = outcome.duplicates.iter().map(|&at| documents.get(at).copied());
        let met: Option<Vec<&[u8]>> = met.collect();
        let met = met.ok_or_else(|| Error::fatal("the target names a document that it was not sent"))?;
        let mut kept = HashSet::new();
        if !met.is_empty() {
            match shared.options.conflict {
                Conflict::Replace => {
                    self.replace(target, &met).await?;
                    if met.len() * 2 > documents.len() {
                        self.meeting.insert(target.clone());
                    }
                }
                Conflict::Interrupt => self.compare(target, &met).await?,
                Conflict::Ignore => kept.extend(outcome.duplicates),
            }
        }
        let new: Vec<&[u8]> =
            documents.iter().enumerate().filter(|(at, _)| !kept.contains(at)).map(|(_, document)| *document).collect();
        self.restore_zero_timestamps(target, &new).await
    }

    async fn restore_zero_timestamps(&self, target: &TableId, documents: &[&[u8]]) -> Result<()> {
        let durability = Some(&self.shared.durability);
        for part in statement::parts(documents) {
            if let Some(restore) = statement::restore_zero_timestamps(&target.table, part, durability) {
                self.run(target, restore).await?;
            }
        }
        Ok(())
    }

    /// Puts these documents in the place of those that have their `_id`, if there are any. How many there were.
    async fn replace(&mut self, target: &TableId, documents: &[&[u8]]) -> Result<u64> {
        let (plain, awkward): (Vec<&[u8]>, Vec<&[u8]>) =
            documents.iter().partition(|document| statement::may_replace(document));
        let mut replaced = documents.len() as u64;
        for part in statement::parts(&plain) {
            let command = statement::replace(&target.table, part, Some(&self.shared.durability));
            replaced = replaced.saturating_sub(self.run_whole(target, command).await?);
        }
        for part in statement::parts(&awkward) {
            self.anew(target, part).await?;
        }
        self.replaced_rows += replaced;
        Ok(replaced)
    }

    /// The same for documents that no update can write: deleted and inserted, in one transaction where there is one.
    async fn anew(&self, target: &TableId, documents: &[&[u8]]) -> Result<()> {
        let server = &self.shared.server;
        let doing = || format!("writing to {target}");
        if !server.has_transactions() {
            let durability = Some(&self.shared.durability);
            self.run_whole(target, statement::delete(&target.table, documents, durability)).await?;
            return self.run_whole(target, statement::insert(&target.table, documents, durability)).await.map(drop);
        }
        let mut open = left::begin(&self.shared, &doing()).await?;
        let session = &mut open.session;
        // A session that is dropped in mid-transaction ends it.
        for command in
            [statement::delete(&target.table, documents, None), statement::insert(&target.table, documents, None)]
        {
            let running = server.command(&target.schema, command, Some(&mut *session));
            let reply = while_alive(server, running).await?.map_err(|error| classify(doing(), &error))?;
            let outcome = reply::outcome(&reply, target)?;
            if !outcome.duplicates.is_empty() {
                return Err(Error::fatal("a document was there twice").with("collection", target));
            }
        }
        while_alive(server, session.commit_transaction().into_future())
            .await?
            .map_err(|error| classify(doing(), &error))
    }

    /// Accepts documents that are there already only if they are the same: those that an earlier try has written.
    async fn compare(&self, target: &TableId, documents: &[&[u8]]) -> Result<()> {
        let mut wanted: HashSet<&[u8]> = documents.iter().copied().collect();
        for document in self.there(target, documents).await? {
            wanted.remove(&document[..]);
        }
        match wanted.is_empty() {
            true => Ok(()),
            false => Err(together::others_there(target).with("documents", wanted.len())),
        }
    }

    /// The documents of the target that have the `_id`s of these.
    pub(super) async fn there(&self, target: &TableId, documents: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
        let doing = || format!("reading {target}");
        let command = RawDocumentBuf::from_bytes(statement::find(&target.table, documents));
        let command = command.map_err(|error| classify(doing(), &error.into()))?;
        let database = self.shared.server.client().database(&target.schema);
        let mut cursor =
            database.run_raw_cursor_command(command).batch().await.map_err(|error| classify(doing(), &error))?;
        let mut there = Vec::new();
        while let Some(answer) = while_alive(&self.shared.server, cursor.next()).await? {
            let answer = answer.map_err(|error| classify(doing(), &error))?;
            for document in gathered::documents(answer.as_raw_document().as_bytes())? {
                there.push(document?.to_vec());
            }
        }
        Ok(there)
    }

    /// Runs a command of which every document must succeed. How many came new by an upsert.
    async fn run_whole(&self, target: &TableId, command: Vec<u8>) -> Result<u64> {
        let outcome = self.run(target, command).await?;
        match outcome.duplicates.is_empty() {
            true => Ok(outcome.upserted),
            // Another writer was faster: the next try finds its document.
            false => Err(Error::new(
                dt_common::ErrorClass::Retry,
                format!("another writer wrote the same documents to {target}"),
            )),
        }
    }

    async fn run(&self, target: &TableId, command: Vec<u8>) -> Result<reply::Outcome> {
        let server = &self.shared.server;
        let running = in_flight(Failpoint::TargetCommit, server.command(&target.schema, command, None));
        let reply = while_alive(server, running).await?;
        reach(Failpoint::TargetRows);
        let reply = reply.map_err(|error| classify(format!("writing to {target}"), &error))?;
        reply::outcome(&reply, target)
    }
}

#[async_trait]
impl Sinker for MongoSinker {
    async fn apply(&mut self, batch: Batch) -> Applying {
        match self.write(&batch).await {
            // Invariant 2: the write concern was met.
            Ok(()) => Ok(batch.committed()),
            Err(error) => Err(Failed { batch, error }),
        }
    }

    fn take_replaced_rows(&mut self) -> u64 {
        std::mem::take(&mut self.replaced_rows)
    }
}
