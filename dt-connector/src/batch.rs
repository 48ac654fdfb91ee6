//! What flows: blocks of rows from an extractor, batches of them to a sinker.

use std::sync::Arc;

use bytes::Bytes;
use dt_common::LaneId;
use dt_common::ladder::{Applied, Ticket};
use dt_common::position::Position;
use dt_common::schema::RoutedTable;
use tokio::sync::OwnedSemaphorePermit;

/// How the rows of a block are written down. Source and target agree on one before the first row, so that a copy
/// between servers of one kind passes bytes through instead of decoding them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowFormat {
    /// The text form of MySQL's `LOAD DATA`: a line per row, fields separated by tabs, `\N` for null, and `\\`, `\t`,
    /// `\n`, `\0` escaped by a back-slash. Every value is the server's text form in the column's own character set.
    MysqlText,
}

/// Rows of one table that were read together.
#[derive(Debug)]
pub struct RowBlock {
    /// The lane that the rows belong to. A snapshot's lane is its table (pitfall 45: never two tables in one batch).
    pub lane: LaneId,
    /// The table and its names on the target.
    pub table: Arc<RoutedTable>,
    /// How `data` is to be read.
    pub format: RowFormat,
    /// The rows.
    pub data: Bytes,
    /// How many rows `data` holds.
    pub rows: u64,
    /// Where the source stands after the block's last row: progress. `None` if the table has no key to say it by.
    pub progress: Option<Position>,
    /// The last place within the block at which the source can be resumed; `None` if there is none in it.
    pub checkpoint: Option<Position>,
}

/// What an extractor sends.
#[derive(Debug)]
pub enum Event {
    /// A table's first row is about to be read.
    LaneStarted {
        /// The table's lane.
        lane: LaneId,
        /// The table.
        table: Arc<RoutedTable>,
    },
    /// Rows.
    Rows(RowBlock),
    /// All rows of the lane have been sent. A barrier: `finished` is recorded once all of them are applied.
    LaneEnded {
        /// The lane that has ended.
        lane: LaneId,
        /// What is recorded then.
        finished: Position,
    },
}

/// Rows of one lane that are applied in one target transaction.
#[derive(Debug)]
pub struct Batch {
    ticket: Ticket,
    blocks: Vec<RowBlock>,
    // The bytes that this batch holds of the pipeline's memory budget; given back when the batch is dropped.
    _memory: Vec<OwnedSemaphorePermit>,
}

impl Batch {
    /// A batch of one or more blocks of one lane and one table.
    ///
    /// # Panics
    /// If there is no block, or the blocks are not all of the ticket's lane and of one table (pitfall 45).
    pub fn new(ticket: Ticket, blocks: Vec<RowBlock>, memory: Vec<OwnedSemaphorePermit>) -> Self {
        let first = blocks.first().expect("batch: no block");
        for block in &blocks {
            assert_eq!(block.lane, ticket.lane(), "batch: a block of another lane");
            assert!(Arc::ptr_eq(&block.table, &first.table), "batch: a block of another table");
            assert_eq!(block.format, first.format, "batch: a block in another format");
        }
        Batch { ticket, blocks, _memory: memory }
    }

    /// The batch's lane.
    pub fn lane(&self) -> LaneId {
        self.ticket.lane()
    }

    /// The table that all rows belong to.
    pub fn table(&self) -> &Arc<RoutedTable> {
        &self.blocks[0].table
    }

    /// How the rows are written down.
    pub fn format(&self) -> RowFormat {
        self.blocks[0].format
    }

    /// The rows' bytes, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.blocks.iter().map(|block| &block.data)
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| block.rows).sum()
    }

    /// How many bytes the rows take.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(|block| block.data.len() as u64).sum()
    }

    /// Spends the batch. Called by a sinker, only after the target has committed all of its rows.
    pub fn committed(self) -> Applied {
        Applied::after_commit(self.ticket)
    }
}
