//! The reading side of the contract.

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::ladder::Saved;
use dt_common::position::{Lineage, OrderKey, Position};
use dt_common::schema::{RoutedTable, TableSchema};
use dt_common::{LaneId, Result, TableId};

use crate::batch::RowFormat;
use crate::filter::Filter;
use crate::outlet::Outlet;
use crate::retry::RetryBudget;
use crate::router::Router;

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

    /// An extractor of the changes from `resume` on, which is a checkpoint that was recorded (invariant 4); without one,
    /// from where the configuration says. Everything that stands against it is found here.
    async fn stream(&mut self, resume: Option<Position>, options: StreamOptions) -> Result<Box<dyn Extractor>>;

    /// What the stream that was opened last may bring.
    fn followed(&self) -> Followed;

    /// An extractor of these tables, in this order.
    async fn snapshot(&mut self, tables: Vec<TableTask>, options: ReadOptions) -> Result<Box<dyn Extractor>>;
}

/// One table of a snapshot.
#[derive(Clone, Debug)]
pub struct TableTask {
    /// Its lane, counted up in the order of the tables.
    pub lane: LaneId,
    /// The table, routed.
    pub table: Arc<RoutedTable>,
    /// Where to begin.
    pub start: Start,
    /// `where_conditions` of the table, as the user wrote it.
    pub condition: Option<String>,
    /// The format its rows are to be written in; one of [`Source::formats`].
    pub format: RowFormat,
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
    /// How long a lost connection is retried.
    pub retry: RetryBudget,
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
