//! One document's change, as a change stream or the oplog says it. Pure.

use dt_common::{Error, Result};

use crate::raw;

/// A change of a document, within the bytes that say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row<'a> {
    /// The database.
    pub database: &'a str,
    /// The collection.
    pub collection: &'a str,
    /// What was done.
    pub op: RowOp<'a>,
}

/// What was done to a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowOp<'a> {
    /// It is new.
    Insert(&'a [u8]),
    /// It is another.
    Update {
        /// A document with its `_id`.
        key: &'a [u8],
        /// The oplog's form of an update: the whole document, which begins with `_id`, or an amendment, which begins with a
        /// name that begins with a dollar.
        after: &'a [u8],
    },
    /// It is no more.
    Delete {
        /// A document with its `_id`.
        key: &'a [u8],
    },
}

/// What is done to collections and databases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ddl<'a> {
    /// The source's word for it.
    pub what: &'a str,
    /// The database.
    pub database: &'a str,
    /// The collection; `None` for all of the database.
    pub collection: Option<&'a str>,
    /// The database and the collection that it is called from now on, if that is what was done.
    pub to: Option<(&'a str, &'a str)>,
    /// What it is, in the terms of the target's commands.
    pub action: Action<'a>,
}

/// What is done to a collection or a database, in the terms of the commands that do it (MongoDB documentation, Database
/// Commands).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action<'a> {
    /// A collection is made: a document of its options, and of what the source says besides.
    Create(&'a [u8]),
    /// A collection is dropped.
    Drop,
    /// A collection gets another name.
    Rename {
        /// The collection that had the name is dropped.
        drop_target: bool,
    },
    /// A database is dropped, after each of its collections was.
    DropDatabase,
    /// Indexes are there: their specifications, with what the source says besides.
    CreateIndexes(Vec<&'a [u8]>),
    /// Indexes are dropped: their names.
    DropIndexes(Vec<&'a str>),
    /// Options are changed: a document of those, and of what the source says besides.
    Modify(&'a [u8]),
    /// The beginning of what is told again when it is done, or the end of what was not done.
    Progress,
    /// Something else, which is known and not replicated; also what is done to views.
    Other,
}

/// A name's text; databases and collections are UTF-8 (MongoDB documentation, Naming Restrictions).
pub(super) fn text<'a>(value: raw::RawValue<'a>) -> Option<&'a str> {
    let bytes = (value.kind == raw::kind::STRING).then_some(value.bytes)?;
    std::str::from_utf8(bytes.get(4..bytes.len().checked_sub(1)?)?).ok()
}

/// A timestamp's two halves (bsonspec.org: the increment in the lower 32 bits, the seconds in the upper).
pub(super) fn timestamp(value: raw::RawValue<'_>) -> Option<super::place::Time> {
    let bytes = (value.kind == raw::kind::TIMESTAMP).then_some(value.bytes)?;
    let both = u64::from_le_bytes(bytes.try_into().ok()?);
    Some(super::place::Time { seconds: (both >> 32) as u32, increment: (both & u64::from(u32::MAX)) as u32 })
}

/// Databases end at the first dot, collections may hold more of them.
pub(super) fn namespace(ns: &str) -> Result<(&str, &str)> {
    ns.split_once('.').ok_or_else(|| Error::fatal("a name in the source's oplog is not understood"))
}
