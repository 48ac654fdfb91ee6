//! The reading side of the contract.

use std::cmp::Ordering;
use std::sync::Arc;

use async_trait::async_trait;
use dt_common::ladder::Saved;
use dt_common::position::{Chunk, Lineage, OrderKey, Position, RdbSnapshot, RdbSnapshotFinished, RdbSnapshotRows};
use dt_common::schema::{RoutedTable, TableSchema};
use dt_common::{DbType, Error, LaneId, Result, TableId};

use crate::batch::RowFormat;
use crate::filter::Filter;
use crate::outlet::Outlet;
use crate::retry::RetryBudget;
use crate::router::Router;
use crate::standing::{HeadRoom, Held};

/// A source server, connected.
#[async_trait]
pub trait Source: Send {
    /// The server's own identity, which a restart keeps and another server does not have.
    fn identity(&self) -> &str;

    /// A word for people: `MySQL 9.7.4 at 127.0.0.1:3306`.
    fn describe(&self) -> String;

    /// The row formats that it can write for what it was opened for (a snapshot, a stream), best first.
    fn formats(&self) -> &[RowFormat];

    /// The base tables that pass the filter, ordered by schema, then name (byte by byte), their `ignore_cols` left out.
    /// What passes the filter but is no base table (a view, a sequence) is named in the log.
    async fn tables(&mut self, filter: &Filter) -> Result<Vec<TableSchema>>;

    /// Refuses a start that it could not read from: a stored key that its column cannot hold.
    async fn check_start(&mut self, table: &TableSchema, start: &Start) -> Result<()>;

    /// Keys at which the table can be cut into chunks of about so many rows, in the server's order and without nulls;
    /// none for a table without a key, or with no more rows than that. They need not be keys of rows.
    async fn split(&mut self, table: &TableSchema, chunk_rows: u64) -> Result<Vec<OrderKey>>;

    /// An extractor of the changes from `resume` on, which is a checkpoint that was recorded (invariant 4); without one,
    /// from where the configuration says. Everything that stands against it is found here.
    async fn stream(&mut self, resume: Option<Position>, options: StreamOptions) -> Result<Box<dyn Extractor>>;

    /// What the stream that was opened last may bring.
    fn followed(&self) -> Followed;

    /// The checkpoint that a user asks for by its place or by a time.
    ///
    /// # Errors
    /// The place lies within a transaction; the log does not reach back to the time, or cannot be read from a time on.
    async fn checkpoint(&mut self, whence: Whence, options: StreamOptions) -> Result<Position>;

    /// Which of two checkpoints of this source comes first. `None` where it cannot be told: they are of two servers, or of
    /// two histories.
    fn order(&self, one: &Position, other: &Position) -> Option<Ordering>;

    /// How far the source's log is from giving up what a stream at this checkpoint still has to read.
    ///
    /// # Errors
    /// It has given it up already; the source cannot be asked.
    async fn head_room(&mut self, checkpoint: &Position) -> Result<HeadRoom>;

    /// Whether tables hold rows, each with its `where_conditions` if it has some; in the tables' order. Nothing is counted.
    async fn holds_rows(&mut self, tables: &[(TableId, Option<String>)]) -> Result<Vec<Held>>;

    /// An extractor of these tables, or chunks of tables, in this order.
    async fn snapshot(&mut self, tables: Vec<TableTask>, options: ReadOptions) -> Result<Box<dyn Extractor>>;
}

/// The most chunks that a table is cut into: their bounds are kept, and each is a line of the store while the table is
/// copied.
pub const CHUNKS_MAX: u64 = 1000;

/// One table of a snapshot, or one chunk of a table.
#[derive(Clone, Debug)]
pub struct TableTask {
    /// Its lane, counted up in the order of the tables, and of the chunks of a table.
    pub lane: LaneId,
    /// The table, routed.
    pub table: Arc<RoutedTable>,
    /// The chunk; `None` if it is the whole table.
    pub chunk: Option<ChunkTask>,
    /// Where to begin.
    pub start: Start,
    /// `where_conditions` of the table, as the user wrote it.
    pub condition: Option<String>,
    /// The format its rows are to be written in; one of [`Source::formats`].
    pub format: RowFormat,
}

/// One chunk of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkTask {
    /// Which one.
    pub id: Chunk,
    /// How many the table has.
    pub of: u32,
    /// The greatest key that belongs to it; `None` if it is the last one.
    pub until: Option<OrderKey>,
}

impl TableTask {
    /// The greatest key that is to be read.
    pub fn until(&self) -> Option<&OrderKey> {
        self.chunk.as_ref().and_then(|chunk| chunk.until.as_ref())
    }

    /// How far the task is once the row of this key is in the target. Rows with a null in the key are to be read before
    /// all others.
    pub fn progress(&self, db_type: DbType, key: OrderKey, lineage: &Lineage) -> Position {
        Position::RdbSnapshot(RdbSnapshot {
            db_type,
            table: self.table.source.id.clone(),
            chunk: self.chunk.as_ref().map(|chunk| chunk.id),
            key,
            null_keys_done: self.table.source.key.as_ref().is_some_and(|key| key.nullable),
            lineage: lineage.clone(),
        })
    }

    /// How far the task is once so many rows are in the target that no key tells apart.
    pub fn counted(&self, db_type: DbType, rows: u64, lineage: &Lineage) -> Position {
        Position::RdbSnapshotRows(RdbSnapshotRows {
            db_type,
            table: self.table.source.id.clone(),
            chunk: self.chunk.as_ref().map(|chunk| chunk.id),
            rows,
            lineage: lineage.clone(),
        })
    }

    /// What is recorded once all of it is in the target.
    pub fn finished(&self, db_type: DbType, lineage: &Lineage) -> Position {
        Position::RdbSnapshotFinished(RdbSnapshotFinished {
            db_type,
            table: self.table.source.id.clone(),
            chunk: self.chunk.as_ref().map(|chunk| chunk.id),
            lineage: lineage.clone(),
        })
    }

    /// What the log says when the reading begins.
    pub fn start_line(&self) -> String {
        let how = if self.table.source.key.is_some() { "by slices" } else { "in one stream" };
        format!("start extracting data from {} {how}{}", self.table.source.id, self.part())
    }

    /// What the log says when so many rows have been read.
    pub fn end_line(&self, rows: u64) -> String {
        format!("end extracting data from {}{}, all count: {rows}", self.table.source.id, self.part())
    }

    fn part(&self) -> String {
        let chunk = self.chunk.as_ref();
        chunk.map(|chunk| format!(", chunk {} of {}", chunk.id.no + 1, chunk.of)).unwrap_or_default()
    }
}

/// Where the reading of a table begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With its first row.
    Beginning,
    /// After the row with this key; the key's columns are the table's key.
    After {
        /// The key of the last row that is durable in the target.
        key: OrderKey,
        /// Rows with a null in the key are in the target already. Otherwise they are read again.
        null_keys_done: bool,
    },
    /// At this value of the key's first column, its rows included: the stored key is a prefix of the table's.
    AtPrefix {
        /// One part, the key's first column.
        key: OrderKey,
    },
    /// A table without a key, stored by an older tool that paged by its first column: after this value, and the rows
    /// where that column is null once more.
    AfterFirstColumn {
        /// One part, the table's first column.
        key: OrderKey,
    },
}

/// Where a user wants a stream to be followed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whence {
    /// From this place.
    Place(Position),
    /// With all that was committed at this time, in seconds since 1970, or later.
    Time(u64),
}

/// What a stream may bring, as far as its source knows before the first change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Followed {
    /// Its tables, by their names on the source; none where they are met only as they come.
    pub tables: Vec<TableId>,
    /// Whether tables may be emptied ([`Op::Truncate`](crate::Op::Truncate)).
    pub truncates: bool,
}

/// How to read.
#[derive(Clone, Debug)]
pub struct ReadOptions {
    /// Rows of a page.
    pub page_rows: u64,
    /// Bytes after which a block is sent though its page has not ended.
    pub block_bytes: usize,
    /// Tables that are read at the same time.
    pub parallel_tables: usize,
    /// What every position carries along.
    pub lineage: Lineage,
    /// Whether positions are written together with rows, each row once. Then rows that no key tells apart are counted
    /// ([`TableTask::counted`]) if their table begins with them, and none is sent twice: a reader that cannot find them again
    /// ends with an error ([`counted_rows_lost`]).
    pub counts_rows: bool,
    /// How long a lost connection is retried.
    pub retry: RetryBudget,
}

/// The error of a reader that was interrupted among rows that it has counted.
pub fn counted_rows_lost(table: &TableId, error: Error) -> Error {
    let message =
        "the source's connection was lost while rows without a usable key were read, and they cannot be found again";
    Error::fatal(message)
        .with("table", table)
        .caused_by(error)
        .hint("start the task again: it takes these rows back and copies them anew, all others are there once")
}

/// How to follow changes.
#[derive(Clone, Debug)]
pub struct StreamOptions {
    /// Which tables and events pass.
    pub filter: Arc<Filter>,
    /// What tables are called on the target.
    pub router: Arc<Router>,
    /// The format the rows are to be written in; one of [`Source::formats`].
    pub format: RowFormat,
    /// Bytes after which a block is sent though the source has more.
    pub block_bytes: usize,
    /// The task's name: what the source is to know the stream by, where the user has not chosen something else.
    pub task_id: String,
    /// What every position carries along.
    pub lineage: Lineage,
    /// Whether changes are counted from the place on at which the stream begins. Then that place is sent before any change, in
    /// a block of its own, and what a part of a transaction has brought never comes again: a source that has become another
    /// server meanwhile ends the stream with an error, and the next start counts anew.
    pub counts_changes: bool,
    /// Whether a position that was recorded on another server is accepted.
    pub allow_other_server: bool,
    /// How long a lost connection is retried.
    pub retry: RetryBudget,
}

/// Reads until the source has no more, or the outlet is stopped.
#[async_trait]
pub trait Extractor: Send {
    /// Sends everything into `outlet`. Lost connections are retried inside; an error that comes out is final.
    /// [`crate::Stopped`] from the outlet is a clean return.
    async fn extract(self: Box<Self>, outlet: Outlet) -> Result<()>;

    /// Who tells the source what has been recorded; `None` if the source keeps nothing for us (a snapshot).
    fn acknowledger(&self) -> Option<Box<dyn Acknowledger>>;
}

/// Tells the source what is safe, so that it may forget it: a slot's flush LSN, a replica's ack.
#[async_trait]
pub trait Acknowledger: Send {
    /// Invariant 1: acknowledges no more than what `saved` holds.
    async fn acknowledge(&mut self, saved: Saved) -> Result<()>;
}
