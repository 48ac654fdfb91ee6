//! What is in a binlog, event by event: bytes in, events out.
//!
//! Nothing here reads a connection or a file, keeps a position, or looks into a row. An event that cannot be
//! understood is an error that names its type and where in it the trouble is, never a guess; whatever the bytes are,
//! nothing panics, and nothing asks for more memory than the bytes that are there account for.
//!
//! | room | what is in it |
//! |---|---|
//! | [`event`] | one event: header, checksum, and which of the others its body is; the place to begin |
//! | [`header`], [`checksum`], [`format_description`], [`rotate`], [`heartbeat`] | what holds a stream of events together |
//! | [`gtid_event`], [`mariadb`], [`xid`] | how transactions are named |
//! | [`query`], [`statement`] | statements, and what kind they are of |
//! | [`table_map`], [`kind`], [`rows_event`], [`bitmap`] | which rows of which table |
//! | [`payload`] | compressed transactions |
//!
//! The formats are those of the servers' sources and manuals; `testdata/binlog` holds files that servers wrote.

pub mod bitmap;
pub mod checksum;
pub mod error;
pub mod event;
pub mod format_description;
pub mod gtid_event;
pub mod header;
pub mod heartbeat;
mod input;
pub mod kind;
pub mod mariadb;
mod optional;
pub mod payload;
pub mod query;
pub mod rotate;
pub mod rows_event;
pub mod statement;
pub mod table_map;
pub mod xid;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod golden;

pub use bitmap::Bitmap;
pub use checksum::Checksum;
pub use error::{BadEvent, Problem};
pub use event::{Body, Event};
pub use format_description::{Format, FormatDescription};
pub use gtid_event::{GtidEvent, GtidIntervals, MysqlGtid};
pub use header::{EventType, HEADER_BYTES, Header};
pub use heartbeat::Heartbeat;
pub use mariadb::{MariadbGtid, MariadbGtidEvent, MariadbXa, TwoPartAlter};
pub use payload::{Payload, PayloadEvents};
pub use query::Query;
pub use rotate::Rotate;
pub use rows_event::{RowsEvent, RowsKind};
pub use statement::StatementKind;
pub use table_map::{KeyPart, TableMap, WireColumn};
pub use xid::{XaPrepare, Xid};
