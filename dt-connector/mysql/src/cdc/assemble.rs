//! From events to changes: which transaction an event belongs to, when it is committed, and from where the stream can
//! be resumed. Pure: events and table definitions go in, blocks of changes come out.
//!
//! Only the end of a transaction is a checkpoint. Rows of an XA transaction count when it is committed, which
//! may be long after they were written: until then they are kept here, and the checkpoint stays in front of
//! them.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dt_common::config::Events;
use dt_common::position::Lineage;
use dt_common::schema::RoutedTable;
use dt_common::{Error, LaneId, Result};
use dt_connector::sent::{At, Sent};
use dt_connector::{Block, BlockContents, Change, Op, RowFormat};

use super::binlog::{
    self, Body, Event, MariadbGtidEvent, MariadbXa, Payload, Query, RowsEvent, RowsKind, StatementKind, TableMap, Xid,
};
use super::gtid::{self, Gtid};
use super::place::Place;
use super::row::{BadRow, RowPlan};

/// The lane of the stream.
const LANE: LaneId = LaneId(0);

/// What a change costs in memory beside its rows.
const CHANGE_BYTES: usize = size_of::<Change>();

/// Rows of XA transactions that are kept at most until they are committed. They are few and short-lived where XA is used as meant.
const PREPARED_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A table whose changes are copied.
#[derive(Debug)]
pub struct FollowedTable {
    /// Its schema and its names on the target.
    pub table: Arc<RoutedTable>,
    /// How its rows are read.
    pub plan: RowPlan,
}

/// What the caller has to do before the next event.
#[derive(Debug)]
pub enum Next {
    /// Nothing.
    Nothing,
    /// Say what the table is, with [`Assembler::learn`].
    Table(Box<TableMap>),
    /// Pass in the events that are in the payload, one by one.
    Payload(Payload),
    /// Forget what is known of tables: their definitions may have changed. Tables are asked for again.
    Forget {
        /// The schema that the statement was run in.
        schema: String,
    },
}

/// The state between two events.
#[derive(Debug)]
pub struct Assembler {
    // The end of the last event.
    place: Place,
    // The end of the last transaction. Its GTIDs are those of `place`, which move with commits only.
    committed: (String, u64),
    // How much had been read by then.
    committed_at: At,
    sent: Sent,
    seconds: u32,
    lineage: Lineage,
    events: Events,
    transaction: Option<Transaction>,
    tables: HashMap<u64, Option<Arc<FollowedTable>>>,
    gathered: Gathered,
    // What is to be said of the checkpoint with the next block.
    checkpoint_moved: bool,
    prepared: HashMap<Xid, Prepared>,
}

/// A transaction whose end has not been seen.
#[derive(Debug)]
struct Transaction {
    gtid: Option<Gtid>,
    // Whether rows may come before its end: BEGIN was seen, or MariaDB's GTID event stands for it.
    begun: bool,
    changes: u64,
    xa: Option<(Xid, Checkpoint, Gathered)>,
}

/// An XA transaction that is prepared and neither committed nor rolled back.
#[derive(Debug)]
struct Prepared {
    // Before its first event.
    before: Checkpoint,
    gathered: Gathered,
}

/// A place to resume at, and how many changes had been read there.
#[derive(Clone, Debug)]
struct Checkpoint {
    place: Place,
    at: At,
}

/// Changes that are not sent yet.
#[derive(Debug, Default)]
struct Gathered {
    data: Vec<u8>,
    changes: Vec<Change>,
}

impl Gathered {
    fn bytes(&self) -> usize {
        self.data.len() + self.changes.len() * CHANGE_BYTES
    }

    fn append(&mut self, other: Gathered) {
        if self.changes.is_empty() {
            *self = other;
            return;
        }
        let by = self.data.len();
        let moved = |range: std::ops::Range<usize>| range.start + by..range.end + by;
        self.data.extend_from_slice(&other.data);
        self.changes.extend(other.changes.into_iter().map(|change| Change {
            table: change.table,
            op: match change.op {
                Op::Insert { after } => Op::Insert { after: moved(after) },
                Op::Update { before, after } => Op::Update { before: moved(before), after: moved(after) },
                Op::Delete { before } => Op::Delete { before: moved(before) },
                Op::Truncate { restart_identity } => Op::Truncate { restart_identity },
                Op::Ddl { command } => Op::Ddl { command: moved(command) },
            },
        }));
    }
}

impl Assembler {
    /// A stream that begins at `place`, which is the end of a transaction. Of the changes behind it, the first `applied` are
    /// left out.
    pub fn new(place: Place, events: Events, lineage: Lineage, applied: u64) -> Self {
        Assembler {
            committed: (place.file.clone(), place.offset),
            committed_at: At::default(),
            sent: Sent::new(applied),
            place,
            seconds: 0,
            lineage,
            events,
            transaction: None,
            tables: HashMap::new(),
            gathered: Gathered::default(),
            checkpoint_moved: true,
            prepared: HashMap::new(),
        }
    }

    // Where the stream can be resumed: after everything that is committed, before anything that is prepared.
    fn checkpoint(&self) -> Checkpoint {
        let committed = || {
            let (file, offset) = self.committed.clone();
            Checkpoint { place: Place { file, offset, gtids: self.place.gtids.clone() }, at: self.committed_at }
        };
        let prepared = self.prepared.values().map(|prepared| &prepared.before);
        // Of one file, or of files that follow each other: the lowest is the one that was prepared first. After
        // `.999999` comes `.1000000`, so that the longer name is the later one.
        let order = |before: &&Checkpoint| (before.place.file.len(), before.place.file.clone(), before.place.offset);
        prepared.min_by_key(order).cloned().unwrap_or_else(committed)
    }

    /// The end of the last event.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether a transaction has begun and not ended.
    pub fn in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Takes in an event of the stream. After an error nothing further may be asked of the assembler.
    pub fn on(&mut self, event: Event) -> Result<Next> {
        let artificial = event.header.is_artificial();
        let log_pos = if artificial { 0 } else { event.header.log_pos };
        if event.header.timestamp != 0 && !artificial {
            self.seconds = event.header.timestamp;
        }
        self.take_in(event.body, log_pos)
    }

    /// Takes in an event that was inside a payload; its place is that of the payload's end.
    pub fn on_inner(&mut self, event: Event) -> Result<Next> {
        self.take_in(event.body, 0)
    }

    fn take_in(&mut self, body: Body, log_pos: u32) -> Result<Next> {
        match body {
            Body::Rotate(rotate) => {
                if self.place.file != rotate.file || self.transaction.is_none() {
                    self.place.file = rotate.file;
                    self.place.offset = rotate.position;
                }
                self.tables.clear();
                if self.transaction.is_none() {
                    self.commit_place();
                }
                return Ok(Next::Nothing);
            }
            Body::Heartbeat(heartbeat) => {
                self.heartbeat(&heartbeat.file, heartbeat.position, log_pos);
                return Ok(Next::Nothing);
            }
            _ => self.place.advance(log_pos),
        }
        match body {
            Body::Rotate(_) | Body::Heartbeat(_) => Ok(Next::Nothing),
            Body::FormatDescription(_)
            | Body::PreviousGtids(_)
            | Body::MariadbGtidList(_)
            | Body::MariadbBinlogCheckpoint { .. }
            | Body::MariadbStartEncryption
            | Body::Stop
            | Body::Note => {
                // Between transactions these only move the place.
                if self.transaction.is_none() {
                    self.commit_place();
                }
                Ok(Next::Nothing)
            }
            Body::Gtid(event) => {
                let gtid = event.gtid.map(mysql_gtid).transpose().map_err(|error| self.bad(error))?;
                self.begin(gtid, false)
            }
            Body::MariadbGtid(event) => self.begin_mariadb(&event),
            Body::Query(query) => self.query(&query),
            Body::Xid(_) => {
                self.commit()?;
                Ok(Next::Nothing)
            }
            Body::XaPrepare(prepare) => {
                self.xa_prepare(prepare.xid, prepare.one_phase)?;
                Ok(Next::Nothing)
            }
            Body::TableMap(map) => match self.tables.contains_key(&map.table_id) {
                true => Ok(Next::Nothing),
                false => Ok(Next::Table(Box::new(map))),
            },
            Body::Rows(rows) => {
                self.rows(&rows)?;
                Ok(Next::Nothing)
            }
            Body::TransactionPayload(payload) => Ok(Next::Payload(payload)),
            Body::Incident { number, message } => Err(Error::user(format!(
                "the source's binlog does not hold everything: it reports incident {number} ({message})"
            ))
            .hint("copy the tables again with a snapshot, and follow the changes from there")
            .with("at", self.shown())),
        }
    }

    /// Says what a table is: `None` if its changes are not copied.
    pub fn learn(&mut self, table_id: u64, table: Option<Arc<FollowedTable>>) {
        self.tables.insert(table_id, table);
    }

    /// Forgets what tables are; each is asked for again when its next description comes.
    pub fn forget(&mut self) {
        self.tables.clear();
    }

    /// Whether so much has been gathered that it should be sent.
    pub fn is_full(&self, block_bytes: usize) -> bool {
        self.gathered.bytes() >= block_bytes
    }

    /// What has been gathered since the last block; a block without changes if only the place has moved, `None` if
    /// nothing has.
    ///
    /// # Errors
    /// What is to be left out is not there any more.
    pub fn take_block(&mut self) -> Result<Option<Block>> {
        if self.gathered.changes.is_empty() && !self.checkpoint_moved {
            return Ok(None);
        }
        let Gathered { mut data, mut changes } = std::mem::take(&mut self.gathered);
        // The block may wait for long, and what is reserved and not used would wait with it.
        data.shrink_to_fit();
        changes.shrink_to_fit();
        self.sent.take(&mut changes);
        let checkpoint = self.checkpoint();
        let behind = self.sent.behind(checkpoint.at)?;
        let checkpoint =
            std::mem::take(&mut self.checkpoint_moved).then(|| checkpoint.place.position(self.seconds, &self.lineage));
        Ok(Some(Block {
            lane: LANE,
            rows: changes.len() as u64,
            contents: BlockContents::Changes(changes),
            format: RowFormat::MysqlText,
            data: Bytes::from(data),
            progress: Some(self.place.position(self.seconds, &self.lineage)),
            checkpoint,
            behind,
            spread: dt_connector::Spread::default(),
        }))
    }

    fn begin(&mut self, gtid: Option<Gtid>, begun: bool) -> Result<Next> {
        if let Some(open) = &self.transaction
            && open.begun
        {
            return Err(self.bad("a transaction begins before the one before it has ended"));
        }
        self.transaction = Some(Transaction { gtid, begun, changes: 0, xa: None });
        Ok(Next::Nothing)
    }

    fn begin_mariadb(&mut self, event: &MariadbGtidEvent) -> Result<Next> {
        // A standalone transaction is one statement that ends by itself; all others need no BEGIN.
        let binlog::MariadbGtid { domain, server, sequence } = event.gtid;
        let gtid = gtid::MariadbGtid { domain, server, seq: sequence };
        let before = self.checkpoint();
        let next = self.begin(Some(Gtid::Mariadb(gtid)), !event.standalone)?;
        // MariaDB says nothing else of an XA transaction's start.
        if let (Some(MariadbXa::Prepared(xid)), Some(transaction)) = (&event.xa, &mut self.transaction) {
            transaction.xa = Some((xid.clone(), before, Gathered::default()));
        }
        Ok(next)
    }

    fn query(&mut self, query: &Query) -> Result<Next> {
        match query.kind() {
            StatementKind::Begin => {
                match &mut self.transaction {
                    Some(transaction) => transaction.begun = true,
                    None => return self.begin(None, true),
                }
                Ok(Next::Nothing)
            }
            StatementKind::Commit => {
                self.commit()?;
                Ok(Next::Nothing)
            }
            StatementKind::Rollback => {
                if self.transaction.as_ref().is_some_and(|transaction| transaction.changes > 0) {
                    return Err(self.bad(
                        "a transaction with changes was rolled back, in part on tables without transactions: which of them hold is not in the binlog",
                    ));
                }
                self.commit()?;
                Ok(Next::Nothing)
            }
            StatementKind::RollbackToSavepoint => match &self.transaction {
                Some(transaction) if transaction.changes > 0 => Err(self.bad(
                    "a transaction was rolled back to a savepoint, in part on tables without transactions: which changes hold is not in the binlog",
                )),
                Some(_) | None => Ok(Next::Nothing),
            },
            StatementKind::Savepoint | StatementKind::ReleaseSavepoint | StatementKind::XaEnd(_) => Ok(Next::Nothing),
            StatementKind::XaStart(xid) => {
                let before = self.checkpoint();
                let transaction = self
                    .transaction
                    .get_or_insert(Transaction { gtid: None, begun: true, changes: 0, xa: None });
                transaction.begun = true;
                transaction.xa = Some((xid, before, Gathered::default()));
                Ok(Next::Nothing)
            }
            StatementKind::XaPrepare(xid) => {
                self.xa_prepare(xid, false)?;
                Ok(Next::Nothing)
            }
            StatementKind::XaCommit { xid, one_phase } => {
                if !one_phase {
                    let prepared = self.prepared.remove(&xid).ok_or_else(|| {
                        self.bad("an XA transaction is committed that was prepared before the stream began").hint(
                            "start from a place before it was prepared; or, for a task that starts from now, wait until no XA transaction is open (XA RECOVER)",
                        )
                    })?;
                    self.gathered.append(prepared.gathered);
                }
                self.commit()?;
                Ok(Next::Nothing)
            }
            StatementKind::XaRollback(xid) => {
                self.prepared.remove(&xid);
                self.commit()?;
                Ok(Next::Nothing)
            }
            StatementKind::Ddl => {
                // `CREATE TABLE … SELECT` is logged as a CREATE that begins a transaction, with its rows behind it.
                match begins_transaction(&query.sql) {
                    true => {
                        if let Some(transaction) = &mut self.transaction {
                            transaction.begun = true;
                        }
                    }
                    false => self.end_of_statement()?,
                }
                Ok(Next::Forget { schema: query.schema.clone() })
            }
            StatementKind::Administration => {
                self.end_of_statement()?;
                Ok(Next::Nothing)
            }
            StatementKind::Dml => Err(Error::user("the source logs statements instead of rows")
                .with("at", self.shown())
                .hint("set binlog_format=ROW on the source, for every session, and copy the tables again with a snapshot")),
            StatementKind::Other => Err(self.bad("a statement that dt does not understand")),
        }
    }

    /// A statement outside a transaction is one of its own.
    fn end_of_statement(&mut self) -> Result<()> {
        match &self.transaction {
            Some(transaction) if transaction.begun => Ok(()),
            Some(_) | None => self.commit(),
        }
    }

    fn xa_prepare(&mut self, xid: Xid, one_phase: bool) -> Result<()> {
        let xa = self.transaction.as_mut().and_then(|transaction| transaction.xa.take());
        let Some((started, before, gathered)) = xa else {
            return Err(self.bad("an XA transaction is prepared whose start was not seen"));
        };
        if started != xid {
            return Err(self.bad("another XA transaction is prepared than the one that was started"));
        }
        match one_phase {
            true => self.gathered.append(gathered),
            false => {
                self.prepared.insert(xid, Prepared { before, gathered });
            }
        }
        self.commit()
    }

    fn commit(&mut self) -> Result<()> {
        if let Some(transaction) = self.transaction.take()
            && let (Some(gtids), Some(gtid)) = (&mut self.place.gtids, &transaction.gtid)
        {
            gtids.add(gtid).map_err(|error| Error::fatal(error.to_string()))?;
        }
        self.commit_place();
        Ok(())
    }

    fn commit_place(&mut self) {
        if self.committed.0 != self.place.file {
            self.committed.0.clone_from(&self.place.file);
        }
        self.committed.1 = self.place.offset;
        self.committed_at = self.sent.at(self.gathered.changes.len());
        self.checkpoint_moved = true;
    }

    /// The server has read on without finding anything for us.
    fn heartbeat(&mut self, file: &str, position: Option<u64>, log_pos: u32) {
        if self.transaction.is_some() || file != self.place.file {
            return;
        }
        let before = self.place.offset;
        match position {
            Some(position) => self.place.offset = self.place.offset.max(position),
            None => self.place.advance(log_pos),
        }
        if self.place.offset != before {
            self.commit_place();
        }
    }

    fn rows(&mut self, event: &RowsEvent) -> Result<()> {
        let Some(known) = self.tables.get(&event.table_id) else {
            return Err(self.bad("rows of a table whose description was not seen"));
        };
        let Some(table) = known.clone() else { return Ok(()) };
        let wanted = match event.kind {
            RowsKind::Insert => self.events.insert,
            RowsKind::Update | RowsKind::PartialUpdate => self.events.update,
            RowsKind::Delete => self.events.delete,
        };
        if !wanted {
            return Ok(());
        }
        let into = match self.transaction.as_mut() {
            Some(transaction) => match &mut transaction.xa {
                Some((_, _, gathered)) => gathered,
                None => &mut self.gathered,
            },
            None => return Err(self.bad("rows outside a transaction")),
        };
        let added = read_rows(event, &table, into).map_err(|error| {
            Error::user("a row of the binlog cannot be read").caused_by(error).with("at", format!("{}:{}", self.place.file, self.place.offset)).hint(
                "the table's definition at that moment is not the one that the source has now, or its images are not whole: set binlog_row_image=FULL and binlog_row_metadata=FULL on the source, and copy the table again",
            )
        })?;
        let Some(transaction) = &mut self.transaction else { return Ok(()) };
        transaction.changes += added;
        if let Some((_, _, gathered)) = &transaction.xa {
            let held: usize = self.prepared.values().map(|prepared| prepared.gathered.bytes()).sum();
            if held + gathered.bytes() > PREPARED_BYTES_MAX {
                return Err(Error::user("XA transactions that are not committed hold more rows than fit into memory")
                    .with("at", self.shown())
                    .hint("commit or roll back the XA transactions that XA RECOVER lists on the source"));
            }
        }
        Ok(())
    }

    fn shown(&self) -> String {
        format!("{}:{}", self.place.file, self.place.offset)
    }

    fn bad(&self, what: impl std::fmt::Display) -> Error {
        Error::fatal(format!("the binlog is not understood: {what}")).with("at", self.shown())
    }
}

fn mysql_gtid(named: binlog::MysqlGtid) -> Result<Gtid, gtid::GtidError> {
    let tag = named.tag.map(|tag| tag.parse()).transpose()?;
    let origin = gtid::Origin { uuid: gtid::Uuid(named.uuid), tag };
    gtid::MysqlGtid::new(origin, named.number).map(Gtid::Mysql)
}

/// Whether a DDL statement opens a transaction whose rows follow: `CREATE TABLE … START TRANSACTION`.
fn begins_transaction(sql: &[u8]) -> bool {
    const MARK: &[u8] = b"START TRANSACTION";
    let text = sql.trim_ascii_end();
    text.len() >= MARK.len() && text[text.len() - MARK.len()..].eq_ignore_ascii_case(MARK)
}

/// Appends the event's rows; how many changes there are.
fn read_rows(event: &RowsEvent, followed: &FollowedTable, into: &mut Gathered) -> Result<u64, BadRow> {
    let before = event.present_before.as_ref().map(|present| followed.plan.image(present)).transpose()?;
    let after = event.present_after.as_ref().map(|present| followed.plan.image(present)).transpose()?;
    let mut rest: &[u8] = &event.rows;
    let mut count = 0;
    while !rest.is_empty() {
        let data = &mut into.data;
        let start = data.len();
        let op = match (event.kind, &before, &after) {
            (RowsKind::Insert, _, Some(after)) => {
                after.decode(data, &mut rest)?;
                Op::Insert { after: start..data.len() }
            }
            (RowsKind::Delete, Some(before), _) => {
                before.decode_before(data, &mut rest)?;
                Op::Delete { before: start..data.len() }
            }
            (RowsKind::Update, Some(before), Some(after)) => {
                before.decode_before(data, &mut rest)?;
                let middle = data.len();
                after.decode(data, &mut rest)?;
                Op::Update { before: start..middle, after: middle..data.len() }
            }
            (RowsKind::PartialUpdate, Some(before), Some(after)) => {
                let whole = rest;
                before.decode_before(data, &mut rest)?;
                let before_bytes = &whole[..whole.len() - rest.len()];
                let middle = data.len();
                after.decode_partial(data, &mut rest, (before, before_bytes))?;
                Op::Update { before: start..middle, after: middle..data.len() }
            }
            (RowsKind::Insert | RowsKind::Delete | RowsKind::Update | RowsKind::PartialUpdate, _, _) => {
                unreachable!("assemble: a rows event has the bitmaps of its kind")
            }
        };
        into.changes.push(Change { table: followed.table.clone(), op });
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests;
