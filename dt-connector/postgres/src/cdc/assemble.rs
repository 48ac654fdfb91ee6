//! From messages to changes: which transaction a row belongs to, and from where the stream can be resumed. Pure:
//! messages and table definitions go in, blocks of changes come out.
//!
//! Only the end of a transaction is a checkpoint (invariant 4): the end of its commit in the log, from which the server
//! sends the next one on. Between transactions the server's own account of how far it has read is one too, so that a
//! source without changes of ours does not keep its log for us.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dt_common::config::Events;
use dt_common::position::{Lineage, PgCdc, PgOrigin};
use dt_common::schema::RoutedTable;
use dt_common::{Error, LaneId, Position, Result};
use dt_connector::sent::{At, Sent};
use dt_connector::{Block, BlockContents, Change, Op, RowFormat};

use super::image::{BadRow, ImagePlan};
use super::lsn::{Lsn, Moment};
use super::moved::Lookup;
use super::pgoutput::{Message, Old, Relation, Tuple};
use crate::sink::changes::key::{completed, has_unsaid};

/// The lane of the stream.
const LANE: LaneId = LaneId(0);

/// What a change costs in memory beside its rows.
const CHANGE_BYTES: usize = size_of::<Change>();

/// A table whose changes are copied.
#[derive(Debug)]
pub struct FollowedTable {
    /// Its schema and its names on the target.
    pub table: Arc<RoutedTable>,
    /// How its rows are written down.
    pub plan: ImagePlan,
    /// How a row of it is asked for; `None` if the source cannot be asked.
    pub lookup: Option<Lookup>,
}

/// What the caller has to do before the next message.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Say what the table is, with [`Assembler::learn`].
    Table(Relation),
    /// Say what the row is, with [`Assembler::complete`].
    Row(Moved),
}

/// A row that has got another key, and of which not all values are sent ([`super::moved`]).
#[derive(Debug)]
pub struct Moved {
    /// Its table.
    pub table: Arc<FollowedTable>,
    /// What it has become, as far as it is said; without a newline.
    pub row: Vec<u8>,
}

/// What every position carries along.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// The slot.
    pub slot: String,
    /// The source's timeline.
    pub timeline: u32,
    /// Between which servers.
    pub lineage: Lineage,
}

impl Provenance {
    /// The position at a place. `at` is for showing the lag.
    pub fn position(&self, lsn: Lsn, at: Option<Moment>) -> Position {
        Position::PgCdc(PgCdc {
            lsn: lsn.to_string(),
            timestamp: at.map_or_else(String::new, Moment::text),
            behind: None,
            origin: Some(PgOrigin { slot: self.slot.clone(), timeline: self.timeline }),
            lineage: self.lineage.clone(),
        })
    }
}

/// The state between two messages.
#[derive(Debug)]
pub struct Assembler {
    provenance: Provenance,
    events: Events,
    // Transactions that were committed earlier are left out.
    start_time: Option<Moment>,
    // The end of the last transaction, or how far the server has read since.
    committed: Lsn,
    committed_at: Option<Moment>,
    // How much had been read by then.
    committed_after: At,
    sent: Sent,
    // Where the open transaction's commit is.
    transaction: Option<Transaction>,
    tables: HashMap<u32, Option<Arc<FollowedTable>>>,
    data: Vec<u8>,
    changes: Vec<Change>,
    // A row that is to be completed: what it was, and what it has become.
    moved: Option<(Arc<FollowedTable>, Range<usize>, Range<usize>)>,
    // What is to be said of the checkpoint with the next block.
    checkpoint_moved: bool,
}

/// A transaction whose end has not been seen.
#[derive(Clone, Copy, Debug)]
struct Transaction {
    commit: Lsn,
    committed: Moment,
    is_left_out: bool,
}

impl Assembler {
    /// A stream that begins at `from`, which is the end of a transaction. What was committed before `start_time` is
    /// left out, and so are the first `applied` changes.
    pub fn new(from: Lsn, events: Events, start_time: Option<Moment>, provenance: Provenance, applied: u64) -> Self {
        Assembler {
            committed_after: At::default(),
            sent: Sent::new(applied),
            provenance,
            events,
            start_time,
            committed: from,
            committed_at: None,
            transaction: None,
            tables: HashMap::new(),
            data: Vec::new(),
            changes: Vec::new(),
            moved: None,
            checkpoint_moved: true,
        }
    }

    /// Where the stream can be resumed: the end of the last transaction.
    pub fn checkpoint(&self) -> Lsn {
        self.committed
    }

    /// Whether a transaction has begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Takes in a message of a transaction that is committed. After an error nothing further may be asked of the
    /// assembler.
    ///
    /// # Errors
    /// The stream is not what the protocol says that it is.
    pub fn on(&mut self, message: Message<'_>) -> Result<Next> {
        if self.moved.is_some() {
            return Err(self.bad("a row is not complete, and the next one comes"));
        }
        match message {
            Message::Begin { final_lsn, committed, .. } => self.begin(final_lsn, committed)?,
            Message::Commit { lsn, end_lsn, committed } => self.commit(lsn, end_lsn, committed)?,
            Message::Relation(relation) => return Ok(Next::Table(relation)),
            // A type's name is asked of the catalog; where a transaction came from is no matter of ours; and a logical
            // message is for those who wrote it.
            Message::Origin | Message::Type { .. } | Message::Logical { .. } => {}
            Message::Insert { relation, new } => self.insert(relation, &new)?,
            Message::Update { relation, old, new } => return self.update(relation, old.as_ref(), &new),
            Message::Delete { relation, old } => self.delete(relation, &old)?,
            Message::Truncate { restart_identity, relations } => self.truncate(&relations, restart_identity)?,
            Message::StreamStart { .. }
            | Message::StreamStop
            | Message::StreamCommit { .. }
            | Message::StreamAbort { .. } => {
                return Err(self.bad("a part of an open transaction within a committed one"));
            }
        }
        Ok(Next::Nothing)
    }

    /// A transaction begins whose commit is known.
    ///
    /// # Errors
    /// The one before it has not ended.
    pub fn begin(&mut self, commit: Lsn, committed: Moment) -> Result<()> {
        if self.transaction.is_some() {
            return Err(self.bad("a transaction begins before the one before it has ended"));
        }
        let is_left_out = self.start_time.is_some_and(|start| committed < start);
        self.transaction = Some(Transaction { commit, committed, is_left_out });
        Ok(())
    }

    /// It ends: everything up to `end` has been sent.
    ///
    /// # Errors
    /// It had not begun.
    pub fn commit(&mut self, commit: Lsn, end: Lsn, committed: Moment) -> Result<()> {
        match self.transaction.take() {
            Some(open) if open.commit == commit => {}
            Some(_) => return Err(self.bad("another transaction ends than the one that has begun")),
            None => return Err(self.bad("a transaction ends that has not begun")),
        }
        self.advance(end, committed);
        Ok(())
    }

    /// The server has sent all that was committed before `wal_end`.
    pub fn idle(&mut self, wal_end: Lsn, clock: Moment) {
        if self.transaction.is_none() && wal_end > self.committed {
            self.advance(wal_end, clock);
        }
    }

    fn advance(&mut self, to: Lsn, at: Moment) {
        // What is sent again after a new connection has been counted already.
        self.committed = self.committed.max(to);
        self.committed_at = Some(at);
        self.committed_after = self.sent.at(self.changes.len());
        self.checkpoint_moved = true;
    }

    /// When the open transaction was committed.
    pub fn open_committed(&self) -> Option<Moment> {
        self.transaction.map(|transaction| transaction.committed)
    }

    /// Says what a table is: `None` if its changes are not copied.
    pub fn learn(&mut self, oid: u32, table: Option<Arc<FollowedTable>>) {
        self.tables.insert(oid, table);
    }

    /// Whether so much has been gathered that it should be sent.
    pub fn is_full(&self, block_bytes: usize) -> bool {
        self.data.len() + self.changes.len() * CHANGE_BYTES >= block_bytes
    }

    /// What has been gathered since the last block; a block without changes if only the place has moved, `None` if
    /// nothing has.
    ///
    /// # Errors
    /// What is to be left out is not there any more.
    pub fn take_block(&mut self) -> Result<Option<Block>> {
        if self.changes.is_empty() && !self.checkpoint_moved {
            return Ok(None);
        }
        let (mut data, mut changes) = (std::mem::take(&mut self.data), std::mem::take(&mut self.changes));
        // What waits to be applied holds no more memory than it is counted for.
        data.shrink_to_fit();
        changes.shrink_to_fit();
        self.sent.take(&mut changes);
        let behind = self.sent.behind(self.committed_after)?;
        let checkpoint = std::mem::take(&mut self.checkpoint_moved)
            .then(|| self.provenance.position(self.committed, self.committed_at));
        let (reached, at) = match self.transaction {
            Some(open) => (self.committed.max(open.commit), Some(open.committed)),
            None => (self.committed, self.committed_at),
        };
        Ok(Some(Block {
            lane: LANE,
            rows: changes.len() as u64,
            contents: BlockContents::Changes(changes),
            format: RowFormat::PgText,
            data: Bytes::from(data),
            progress: Some(self.provenance.position(reached, at)),
            checkpoint,
            behind,
            spread: dt_connector::Spread::default(),
        }))
    }

    /// The table of a row, if the row is copied.
    fn table(&self, oid: u32, wanted: bool) -> Result<Option<Arc<FollowedTable>>> {
        let Some(transaction) = self.transaction else { return Err(self.bad("a row outside a transaction")) };
        let Some(known) = self.tables.get(&oid) else {
            return Err(self.bad("a row of a table that was not described"));
        };
        Ok(known.clone().filter(|_| wanted && !transaction.is_left_out))
    }

    fn insert(&mut self, oid: u32, new: &Tuple<'_>) -> Result<()> {
        let Some(followed) = self.table(oid, self.events.insert)? else { return Ok(()) };
        let start = self.data.len();
        followed.plan.inserted(&mut self.data, new).map_err(|bad| self.misfit(&followed, bad))?;
        self.push(&followed, Op::Insert { after: start..self.data.len() });
        Ok(())
    }

    fn update(&mut self, oid: u32, old: Option<&Old<'_>>, new: &Tuple<'_>) -> Result<Next> {
        let Some(followed) = self.table(oid, self.events.update)? else { return Ok(Next::Nothing) };
        let before = self.was(&followed, old)?;
        let start = self.data.len();
        followed.plan.updated(&mut self.data, new, old).map_err(|bad| self.misfit(&followed, bad))?;
        let after = start..self.data.len();
        let Some(before) = before else {
            // Without an old image the identity is what it was, and the new row says it.
            self.push(&followed, Op::Update { before: after.clone(), after });
            return Ok(Next::Nothing);
        };
        let row = |range: &Range<usize>| &self.data[range.start..range.end - 1];
        let (was, is) = (row(&before), row(&after));
        if followed.lookup.as_ref().is_some_and(|lookup| has_unsaid(is) && lookup.is_moved(was, is)) {
            let row = is.to_vec();
            self.moved = Some((followed.clone(), before, after));
            return Ok(Next::Row(Moved { table: followed, row }));
        }
        self.push(&followed, Op::Update { before, after });
        Ok(Next::Nothing)
    }

    /// Says what the row is that was asked for: a line without its newline, of which only the values are taken that were
    /// not sent; `None` if it is not there any more.
    pub fn complete(&mut self, row: Option<&[u8]>) {
        let Some((followed, before, mut after)) = self.moved.take() else { return };
        if let Some(row) = row {
            let whole = completed(&self.data[after.start..after.end - 1], row);
            self.data.truncate(after.start);
            self.data.extend_from_slice(&whole);
            self.data.push(b'\n');
            after.end = self.data.len();
        }
        self.push(&followed, Op::Update { before, after });
    }

    fn delete(&mut self, oid: u32, old: &Old<'_>) -> Result<()> {
        let Some(followed) = self.table(oid, self.events.delete)? else { return Ok(()) };
        if let Some(before) = self.was(&followed, Some(old))? {
            self.push(&followed, Op::Delete { before });
        }
        Ok(())
    }

    fn was(&mut self, followed: &FollowedTable, old: Option<&Old<'_>>) -> Result<Option<Range<usize>>> {
        let Some(old) = old else { return Ok(None) };
        let start = self.data.len();
        followed.plan.was(&mut self.data, old).map_err(|bad| self.misfit(followed, bad))?;
        Ok(Some(start..self.data.len()))
    }

    /// Tables that one statement emptied are next to each other.
    fn truncate(&mut self, oids: &[u32], restart_identity: bool) -> Result<()> {
        for &oid in oids {
            if let Some(followed) = self.table(oid, self.events.delete)? {
                self.push(&followed, Op::Truncate { restart_identity });
            }
        }
        Ok(())
    }

    fn push(&mut self, followed: &FollowedTable, op: Op) {
        self.changes.push(Change { table: followed.table.clone(), op });
    }

    fn misfit(&self, followed: &FollowedTable, bad: BadRow) -> Error {
        Error::fatal("a row of the stream does not fit its table")
            .with("table", &followed.table.source.id)
            .caused_by(bad)
    }

    fn bad(&self, what: &str) -> Error {
        Error::fatal(format!("the replication stream is not understood: {what}")).with("after", self.committed)
    }
}

#[cfg(test)]
mod tests;
