//! Positions: where in a source something is.
//!
//! The types here are the meaning; [`wire`] holds the JSON forms (three generations are read for ever) and [`mod@line`]
//! the lines of position.log, finished.log and resume.config. Key values are text as the source's server wrote it
//! and are never compared here: order belongs to the server and its collation.

mod behind;
pub mod line;
mod split;
pub mod wire;
mod write;

use crate::ids::{DbType, TableId};
pub use behind::{Behind, Counted, Share};
pub use split::{Chunk, RdbSnapshotSplit, SplitId};
pub use write::{PositionWrite, Settle};

/// A place in a source. The pipeline carries it and never looks inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Position {
    /// No position: a snapshot has no checkpoint of its own.
    None,
    /// A table in progress, or a chunk of one.
    RdbSnapshot(RdbSnapshot),
    /// A table in progress, or the first chunk of one, of whose rows only the number is known.
    RdbSnapshotRows(RdbSnapshotRows),
    /// A table that is complete, or a chunk of one.
    RdbSnapshotFinished(RdbSnapshotFinished),
    /// A table in progress that is copied in chunks: where it is split.
    RdbSnapshotSplit(RdbSnapshotSplit),
    /// A place in a MySQL or MariaDB binlog.
    MysqlCdc(MysqlCdc),
    /// A place in a PostgreSQL write-ahead log.
    PgCdc(PgCdc),
    /// A place in a MongoDB oplog or change stream.
    MongoCdc(MongoCdc),
    /// A place in a Redis replication stream.
    Redis(Redis),
}

impl Position {
    /// Between which servers it was taken; `None` for positions that say nothing of it.
    pub fn lineage(&self) -> Option<&Lineage> {
        match self {
            Position::RdbSnapshot(snapshot) => Some(&snapshot.lineage),
            Position::RdbSnapshotRows(rows) => Some(&rows.lineage),
            Position::RdbSnapshotFinished(finished) => Some(&finished.lineage),
            Position::RdbSnapshotSplit(split) => Some(&split.lineage),
            Position::MysqlCdc(cdc) => Some(&cdc.lineage),
            Position::PgCdc(cdc) => Some(&cdc.lineage),
            Position::MongoCdc(cdc) => Some(&cdc.lineage),
            Position::None | Position::Redis(_) => None,
        }
    }
}

/// Which servers a position was taken between. Absent in files of older tools.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Lineage {
    /// The source server's own identity (MySQL: `server_uuid`).
    pub source: Option<String>,
    /// The target server's own identity.
    pub target: Option<String>,
}

/// The last row of a table, or of a chunk of it, that is durable in the target, by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdbSnapshot {
    /// The source's kind.
    pub db_type: DbType,
    /// The table.
    pub table: TableId,
    /// The chunk; `None` if the table is copied in one piece.
    pub chunk: Option<Chunk>,
    /// The row's key.
    pub key: OrderKey,
    /// Rows with a null in the key have all been copied as well (they come first). False in files of older tools.
    pub null_keys_done: bool,
    /// Between which servers.
    pub lineage: Lineage,
}

/// How many rows that no key tells apart are durable in the target: all rows of a table without a key, or those with a null
/// in it, which come first. It is recorded together with them, so that the target has these and no others: a resume takes
/// them back and begins anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdbSnapshotRows {
    /// The source's kind.
    pub db_type: DbType,
    /// The table.
    pub table: TableId,
    /// The chunk; `None` if the table is copied in one piece.
    pub chunk: Option<Chunk>,
    /// How many.
    pub rows: u64,
    /// Between which servers.
    pub lineage: Lineage,
}

/// A key's columns and values, in the key's order; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderKey(Vec<KeyPart>);

impl OrderKey {
    /// A key of one or more parts; `None` if there is none.
    pub fn new(parts: Vec<KeyPart>) -> Option<Self> {
        (!parts.is_empty()).then_some(OrderKey(parts))
    }

    /// A key of one column.
    pub fn single(column: impl Into<String>, value: KeyText) -> Self {
        OrderKey(vec![KeyPart { column: column.into(), value }])
    }

    /// Its parts, in order.
    pub fn parts(&self) -> &[KeyPart] {
        &self.0
    }

    /// The columns' names, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|part| part.column.as_str())
    }
}

/// One column of a key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// The column's exact name.
    pub column: String,
    /// The value.
    pub value: KeyText,
}

/// A key value as it is stored: exactly as the source's server writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyText {
    /// Null: the position lies within the rows that have a null in the key.
    Null,
    /// The server's own text: numbers, dates, UTF-8 strings; binary columns in lower-case hex (their type says so).
    Text(String),
    /// The bytes of a text column that are not valid UTF-8.
    Bytes(Vec<u8>),
}

/// A table whose last row, or that of a chunk, is durable in the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdbSnapshotFinished {
    /// The source's kind.
    pub db_type: DbType,
    /// The table.
    pub table: TableId,
    /// The chunk; `None` if it is the whole table.
    pub chunk: Option<Chunk>,
    /// Between which servers.
    pub lineage: Lineage,
}

/// A place in a binlog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlCdc {
    /// The server's id, often empty.
    pub server_id: String,
    /// The binlog file.
    pub binlog_filename: String,
    /// The offset of the next event. 64 bits: a binlog can pass 4 GiB within one transaction.
    pub next_event_position: u64,
    /// The executed GTID set; empty when GTIDs are not used.
    pub gtid_set: String,
    /// The event's time, for lag metrics only.
    pub timestamp: String,
    /// The changes behind the place that the target has already, if it is recorded together with them.
    pub behind: Option<Behind>,
    /// Between which servers.
    pub lineage: Lineage,
}

/// A place in a write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgCdc {
    /// `X/Y` in hex, as PostgreSQL prints it.
    pub lsn: String,
    /// The commit's time, for lag metrics only.
    pub timestamp: String,
    /// The changes behind the place that the target has already, if it is recorded together with them.
    pub behind: Option<Behind>,
    /// Whose log it is a place in. Absent in files of older tools.
    pub origin: Option<PgOrigin>,
    /// Between which servers.
    pub lineage: Lineage,
}

/// What a place in a write-ahead log belongs to, beside the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgOrigin {
    /// The replication slot that was read.
    pub slot: String,
    /// The server's timeline: a standby that is promoted begins a new one.
    pub timeline: u32,
}

/// A place in an oplog or change stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongoCdc {
    /// The change stream's token as JSON text; empty for the oplog.
    pub resume_token: String,
    /// Seconds since 1970.
    pub operation_time: u64,
    /// The place among the operations of that second; absent in files of older tools. The two are the server's
    /// timestamp (MongoDB documentation, BSON Types, Timestamps).
    pub increment: Option<u32>,
    /// The operation's time, for lag metrics only.
    pub timestamp: String,
    /// Between which servers.
    pub lineage: Lineage,
}

/// A place in a replication stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// The replication id.
    pub repl_id: String,
    /// The replica's port; absent in older lines.
    pub repl_port: u64,
    /// The replication offset.
    pub repl_offset: u64,
    /// The selected database.
    pub now_db_id: i64,
    /// The time, for lag metrics only.
    pub timestamp: String,
}
