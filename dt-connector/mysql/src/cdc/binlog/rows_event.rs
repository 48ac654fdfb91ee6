//! The events that carry rows: what was inserted, updated and deleted in one table.
//!
//! The rows themselves stay as they are on the wire; the row decoder reads them with the table's plan.

use std::fmt;

use bytes::Bytes;

use super::bitmap::Bitmap;
use super::error::BadEvent;
use super::input::Input;

/// What happened to the rows of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowsKind {
    /// One after image per row.
    Insert,
    /// A before and an after image per row.
    Update,
    /// One before image per row.
    Delete,
    /// As `Update`; in front of each after image stand its value options and, if these say so, which JSON columns
    /// hold a list of differences instead of a document.
    PartialUpdate,
}

/// Rows of one table, changed in one way.
#[derive(Clone, PartialEq, Eq)]
pub struct RowsEvent {
    /// The number that the [`TableMap`](super::TableMap) before it gave the table.
    pub table_id: u64,
    /// As written; see [`Self::ends_statement`].
    pub flags: u16,
    /// What happened to the rows.
    pub kind: RowsKind,
    /// Which columns the before images hold; `None` for an insert.
    pub present_before: Option<Bitmap>,
    /// Which columns the after images hold; `None` for a delete.
    pub present_after: Option<Bitmap>,
    /// The images, one after the other, up to the event's end.
    pub rows: Bytes,
}

/// Without the rows' values.
impl fmt::Debug for RowsEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RowsEvent");
        shown.field("table_id", &self.table_id).field("kind", &self.kind).field("bytes", &self.rows.len());
        shown.finish_non_exhaustive()
    }
}

/// What differs between the types of rows events.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) kind: RowsKind,
    /// Whether extra data may stand in front of the rows (version 2).
    pub(super) extra: bool,
}

impl RowsEvent {
    const STATEMENT_END: u16 = 1;

    /// Whether it is the last of its statement: the tables' numbers are given up after it.
    pub fn ends_statement(&self) -> bool {
        self.flags & Self::STATEMENT_END != 0
    }

    /// Reads all but the rows, which `rows` makes of the bytes that are left (MariaDB compresses them).
    pub(super) fn parse<'a>(
        mut input: Input<'a>,
        form: Form,
        rows: impl FnOnce(Input<'a>) -> Result<Bytes, BadEvent>,
    ) -> Result<Self, BadEvent> {
        let table_id = input.uint::<6>()?;
        let flags = input.u16()?;
        if form.extra {
            // The length counts itself. What is in it (partitions, load figures) says nothing about the rows.
            let length = input.u16()?;
            let length = length.checked_sub(2).ok_or_else(|| input.malformed("extra data of an impossible length"))?;
            input.take(usize::from(length))?;
        }
        let columns = input.count(8)?;
        let bitmap = |input: &mut Input<'a>| {
            let bits = Bytes::copy_from_slice(input.take(Bitmap::bytes_for(columns))?);
            Bitmap::new(bits, columns).ok_or_else(|| input.malformed("columns without their bits"))
        };
        let (present_before, present_after) = match form.kind {
            RowsKind::Insert => (None, Some(bitmap(&mut input)?)),
            RowsKind::Delete => (Some(bitmap(&mut input)?), None),
            RowsKind::Update | RowsKind::PartialUpdate => (Some(bitmap(&mut input)?), Some(bitmap(&mut input)?)),
        };
        Ok(RowsEvent { table_id, flags, kind: form.kind, present_before, present_after, rows: rows(input)? })
    }
}
