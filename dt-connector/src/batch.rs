//! What flows: blocks of rows, or of changes, from an extractor, batches of them to a sinker.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dt_common::LaneId;
use dt_common::ladder::{Applied, Ticket};
use dt_common::position::{Position, PositionWrite};
use dt_common::schema::RoutedTable;
use tokio::sync::OwnedSemaphorePermit;

use crate::spread::{Ruled, Spread};
use crate::turn::Turn;

/// How the rows of a block are written down. Source and target agree on one before the first row, so that a copy
/// between servers of one kind passes bytes through instead of decoding them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowFormat {
    /// The text form of MySQL's `LOAD DATA`: a line per row, fields separated by tabs, `\N` for null, and `\\`, `\t`,
    /// `\n`, `\0` escaped by a back-slash. Every value is the server's text form in the column's own character set.
    MysqlText,
    /// The tuples of PostgreSQL's `COPY … (FORMAT binary)` without the file's header and trailer: for each row the
    /// number of fields (16 bits), then each field's length (32 bits, -1 for null) and bytes. Rows only, no changes.
    PgBinary,
    /// The lines of PostgreSQL's `COPY … (FORMAT text)` in UTF-8, or in the servers' bytes where both are SQL_ASCII:
    /// fields separated by tabs, `\N` for null, special bytes escaped by a back-slash. In changes a field that is `\T`
    /// alone is a value that was stored out of line and did not change; a value never looks like that, for its
    /// back-slashes are doubled.
    PgText,
    /// MongoDB's documents as BSON (bsonspec.org, version 1.1), one after the other: each begins with its own length. They
    /// are passed on byte for byte, and no one decodes them but for `_id`. In changes `before` is a document of the `_id`
    /// alone, and `after` of an update either the whole document, which begins with `_id`, or what the oplog says of the update,
    /// which begins with a name that begins with a dollar.
    Bson,
}

impl RowFormat {
    /// Whether a part of a stream may be applied twice, in any lane, and leave the same: every document has an `_id`, and what
    /// the oplog says of an update is made for it. So nothing need be known of what lies behind a place to resume at.
    pub fn may_repeat(self) -> bool {
        match self {
            RowFormat::MysqlText | RowFormat::PgBinary | RowFormat::PgText => false,
            RowFormat::Bson => true,
        }
    }
}

/// Rows, or changes of rows, that were read together.
#[derive(Debug)]
pub struct Block {
    /// The lane that it belongs to. A snapshot's lane is its table (never two tables in one batch).
    pub lane: LaneId,
    /// What `data` is.
    pub contents: BlockContents,
    /// How the rows in `data` are to be read.
    pub format: RowFormat,
    /// The rows' bytes.
    pub data: Bytes,
    /// How many rows there are, or how many changes.
    pub rows: u64,
    /// Where the source stands after the block: progress. `None` if there is no position to say it by.
    pub progress: Option<Position>,
    /// The last place within the block at which the source can be resumed; `None` if there is none in it.
    pub checkpoint: Option<Position>,
    /// How many changes there are between the last place at which the source can be resumed, in this block or before, and
    /// the block's end. 0 if the block ends at such a place, or if applying the changes twice does no harm.
    pub behind: u64,
    /// Where it lies in a stream that several lanes apply; else nothing.
    pub spread: Spread,
}

impl Block {
    /// The bytes it takes while it waits: its rows, and what is said of each change.
    pub fn bytes(&self) -> u64 {
        let changes = match &self.contents {
            BlockContents::Rows(_) => 0,
            BlockContents::Changes(changes) => size_of_val(changes.as_slice()),
        };
        (self.data.len() + changes) as u64
    }

    /// Whether it is DDL, which goes alone.
    pub fn is_ddl(&self) -> bool {
        match &self.contents {
            BlockContents::Rows(_) => false,
            BlockContents::Changes(changes) => changes.iter().any(|change| matches!(change.op, Op::Ddl { .. })),
        }
    }

    /// Whether it is in no batch with others: DDL, or what other lanes wait for.
    pub fn stands_alone(&self) -> bool {
        self.spread.barrier || self.is_ddl()
    }

    /// Whether the two may be applied in one target transaction: rows of the same table, or changes.
    pub fn goes_with(&self, other: &Block) -> bool {
        if self.stands_alone() || other.stands_alone() {
            return false;
        }
        let alike = match (&self.contents, &other.contents) {
            (BlockContents::Rows(table), BlockContents::Rows(other)) => Arc::ptr_eq(table, other),
            (BlockContents::Changes(_), BlockContents::Changes(_)) => true,
            (BlockContents::Rows(_), BlockContents::Changes(_))
            | (BlockContents::Changes(_), BlockContents::Rows(_)) => false,
        };
        alike && self.lane == other.lane && self.format == other.format
    }
}

/// What the bytes of a block are.
#[derive(Debug)]
pub enum BlockContents {
    /// Rows of a table, one after the other: a snapshot.
    Rows(Arc<RoutedTable>),
    /// Changes in the order in which the source made them, of any tables: a stream. Without any, the block only says
    /// how far the source has come.
    Changes(Vec<Change>),
}

/// One row's change.
#[derive(Clone, Debug)]
pub struct Change {
    /// The table as it was at that moment, and its names on the target.
    pub table: Arc<RoutedTable>,
    /// What was done; the rows are places in the block's data.
    pub op: Op,
}

/// What was done to a row, or to all of them. A row that is, is whole: all columns that are copied. So is a row that was
/// in a table without a key, or with a null in its key; of others the fields outside the key may be left empty. Only
/// [`RowFormat::PgText`] has a sign for a value that is not said: one that did not change, and in a row that was all but
/// its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// A new row.
    Insert {
        /// The row.
        after: Range<usize>,
    },
    /// Another row in a row's place; its key may be another as well.
    Update {
        /// The row that was; the same place as `after` where its key did not change and nothing else of it is known.
        before: Range<usize>,
        /// The row that is.
        after: Range<usize>,
    },
    /// A row that is no more.
    Delete {
        /// The row that was.
        before: Range<usize>,
    },
    /// A statement that changes which tables there are, or how they are. Its block holds nothing else and has a checkpoint,
    /// and so has what was sent before it. The pipeline records what was before, then this, then goes on: so it comes
    /// again only by itself, and the sinker tells a repetition by what the target is.
    Ddl {
        /// The statement as the target executes it, its names already those of the target.
        command: Range<usize>,
    },
    /// All rows are no more. What follows it directly for other tables was the same statement.
    Truncate {
        /// Whether the sequences of the table's columns begin anew.
        restart_identity: bool,
    },
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
    Rows(Box<Block>),
    /// All rows of the lane have been sent. A barrier: `finished` is recorded once all of them are applied.
    LaneEnded {
        /// The lane that has ended.
        lane: LaneId,
        /// What is recorded then.
        finished: Position,
    },
}

/// Rows of one table, or changes, of one lane that are applied in one target transaction.
#[derive(Debug)]
pub struct Batch {
    ticket: Ticket,
    blocks: Vec<Block>,
    position: Option<PositionWrite>,
    turn: Option<Turn>,
    is_retried: bool,
    // The bytes that this batch holds of the pipeline's memory budget; given back when the batch is dropped.
    _memory: Vec<OwnedSemaphorePermit>,
}

impl Batch {
    /// A batch of one or more blocks of one lane that go together.
    ///
    /// # Panics
    /// If there is no block, or the blocks are not all of the ticket's lane and of one table, or all changes.
    pub fn new(ticket: Ticket, blocks: Vec<Block>, memory: Vec<OwnedSemaphorePermit>) -> Self {
        let first = blocks.first().expect("batch: no block");
        assert_eq!(first.lane, ticket.lane(), "batch: a block of another lane");
        for block in &blocks[1..] {
            assert!(block.goes_with(first), "batch: blocks that do not go together");
        }
        Batch { ticket, blocks, position: None, turn: None, is_retried: false, _memory: memory }
    }

    /// Brings a position along that is to be written in the batch's transaction.
    pub fn with_position(self, position: PositionWrite) -> Self {
        Batch { position: Some(position), ..self }
    }

    /// Is not to be committed before `turn` has come.
    pub fn in_turn(self, turn: Turn) -> Self {
        Batch { turn: Some(turn), ..self }
    }

    /// Is tried once more. The try before may have been committed, if the reply to COMMIT was lost.
    pub fn tried_again(self) -> Self {
        Batch { is_retried: true, ..self }
    }

    /// Whether a try before this one may have been committed.
    pub fn is_retried(&self) -> bool {
        self.is_retried
    }

    /// When the batch may be committed; `None` if at any time.
    pub fn turn(&self) -> Option<&Turn> {
        self.turn.as_ref()
    }

    /// The batch's number in its lane.
    pub fn seq(&self) -> u64 {
        self.ticket.seq()
    }

    /// What the sinker executes in the transaction of the batch, last before its commit, also if the batch has no rows;
    /// `None` if positions are kept elsewhere.
    pub fn position(&self) -> Option<&PositionWrite> {
        self.position.as_ref()
    }

    /// The batch's lane.
    pub fn lane(&self) -> LaneId {
        self.ticket.lane()
    }

    /// The table that all rows belong to; `None` if the batch holds changes, which name their own.
    pub fn table(&self) -> Option<&Arc<RoutedTable>> {
        match &self.blocks[0].contents {
            BlockContents::Rows(table) => Some(table),
            BlockContents::Changes(_) => None,
        }
    }

    /// The changes in order, each with the data that its rows are places in; none if the batch holds rows of a table.
    pub fn changes(&self) -> impl Iterator<Item = (&Change, &Bytes)> {
        self.blocks.iter().flat_map(|block| {
            let changes = match &block.contents {
                BlockContents::Rows(_) => &[][..],
                BlockContents::Changes(changes) => changes,
            };
            changes.iter().map(move |change| (change, &block.data))
        })
    }

    /// Whether it is a statement of DDL, alone.
    pub fn is_ddl(&self) -> bool {
        self.blocks[0].is_ddl()
    }

    /// Whether every lane waits for it, and it for every lane. It is alone in its batch.
    pub fn is_barrier(&self) -> bool {
        self.blocks[0].spread.barrier
    }

    /// What the batch makes known of how tables are spread.
    pub fn ruled(&self) -> impl Iterator<Item = &Ruled> {
        self.blocks.iter().filter_map(|block| block.spread.ruled.as_ref())
    }

    /// The last place that the batch says by itself; `None` if it lies within a transaction.
    pub fn progress(&self) -> Option<&Position> {
        self.blocks.iter().rev().find_map(|block| block.progress.as_ref())
    }

    /// How the rows are written down.
    pub fn format(&self) -> RowFormat {
        self.blocks[0].format
    }

    /// The rows' bytes, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        self.blocks.iter().map(|block| &block.data)
    }

    /// How many rows there are, or changes.
    pub fn rows(&self) -> u64 {
        self.blocks.iter().map(|block| block.rows).sum()
    }

    /// How many bytes the blocks take.
    pub fn bytes(&self) -> u64 {
        self.blocks.iter().map(Block::bytes).sum()
    }

    /// Spends the batch. Called by a sinker, only after the target has committed all of its rows.
    pub fn committed(self) -> Applied {
        Applied::after_commit(self.ticket)
    }
}
