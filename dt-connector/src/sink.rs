//! The writing side of the contract.

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::config::Events;
use dt_common::ladder::Applied;
use dt_common::position::PositionWrite;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};

use crate::batch::{Batch, RowFormat};
use crate::spread::Spreader;
use crate::standing::Held;

/// A target server, connected. Makes the sinkers, each with a connection of its own.
#[async_trait]
pub trait Target: Send + Sync {
    /// The server's own identity, which a restart keeps and another server does not have.
    fn identity(&self) -> &str;

    /// A word for people: `MariaDB 10.11.14 at 127.0.0.1:3307`.
    fn describe(&self) -> String;

    /// The row formats that it can read.
    fn formats(&self) -> &[RowFormat];

    /// Compares the tables with what the target has: everything that is missing or does not fit is listed in one
    /// error, before the first row. Remembers how each of them is to be written, and says in which format: for each
    /// table the best of `offered`, the formats that both sides know, best first and never none.
    async fn prepare(&mut self, tables: &[Arc<RoutedTable>], offered: &[RowFormat]) -> Result<Vec<RowFormat>>;

    /// Whether the account may change these tables as a stream of these kinds of changes asks for; `truncates`: and
    /// empty them. All that is missing is listed in one error, before the first change. A table that is not there is
    /// none of this: it is missed when its first change comes.
    async fn check_changes(&mut self, tables: &[TableId], events: Events, truncates: bool) -> Result<()>;

    /// Whether tables hold rows, in the tables' order. Nothing is counted.
    async fn holds_rows(&mut self, tables: &[TableId]) -> Result<Vec<Held>>;

    /// Takes rows back that no key tells apart: all of a table without a key, or those with a null in it. Exactly `rows` of
    /// them go, in one transaction with `position`; if there is another number of them, nothing is changed and it is an
    /// error.
    async fn take_back(&mut self, table: &RoutedTable, rows: u64, position: &PositionWrite) -> Result<()>;

    /// Says how tables are spread over several lanes. `None` if what one lane writes may depend on what another has not
    /// written yet, whatever the table: then the changes of a stream are applied one after the other.
    async fn spreader(&mut self) -> Result<Option<Box<dyn Spreader>>>;

    /// A new sinker. It connects when it is first used, and again after a lost connection.
    fn sinker(&self) -> Box<dyn Sinker>;
}

/// Applies batches, one at a time.
#[async_trait]
pub trait Sinker: Send {
    /// Applies the batch in one target transaction. [`Applied`] comes out only after the target has committed it
    /// (invariant 2); otherwise nothing of it is in the target, or it may be (a lost reply to COMMIT), and the batch
    /// comes back to be tried again: applying it twice must give the same rows where the table has a key.
    async fn apply(&mut self, batch: Batch) -> Applying;

    /// What the sinker noticed since it was last asked: rows that replaced others in the target.
    fn take_replaced_rows(&mut self) -> u64;
}

/// What comes out of applying a batch.
pub type Applying = std::result::Result<Applied, Failed>;

/// A batch that could not be applied, to be tried again if the error's class allows it.
#[derive(Debug)]
pub struct Failed {
    /// The batch, whole.
    pub batch: Batch,
    /// Why.
    pub error: Error,
}

/// What happens when a row's key is in the target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The new row replaces it (`replace=true`): applying twice is harmless.
    Replace,
    /// The task stops (`replace=false`).
    Interrupt,
    /// The new row is left out (`replace=false`, `conflict_policy=ignore`).
    Ignore,
}

/// How to write; from `[sinker]`.
#[derive(Clone, Debug)]
pub struct SinkOptions {
    /// What happens on a conflict.
    pub conflict: Conflict,
    /// Rows of one statement where rows are written as statements.
    pub statement_rows: usize,
    /// `disable_foreign_key_checks`.
    pub disable_foreign_key_checks: bool,
    /// The isolation level of the target's transactions, as SQL (`READ COMMITTED`); `None` for the server's default.
    pub transaction_isolation: Option<&'static str>,
    /// The task, for servers that list who is connected.
    pub task_id: String,
}

/// The error of a target that has another number of rows to take back than were recorded.
pub fn other_rows(table: &TableId, recorded: u64, found: u64) -> Error {
    Error::user("the target has other rows than those that were recorded, and they have no key to tell them apart")
        .with("table", table)
        .with("recorded", recorded)
        .with("found", found)
        .hint("something else writes to the table, or it was not empty at first: make it empty, and forget its position (dt-main position rewind --table), so that it is copied anew")
}
