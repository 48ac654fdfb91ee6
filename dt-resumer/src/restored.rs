//! A position table that is behind the copies of its positions in the log_dir. Pure.
//!
//! A copy is written after the table, so that it is never ahead of it, unless the table's database was restored from an
//! older copy of itself, or somebody has changed the table.

use std::cmp::Ordering;

use dt_common::{DbType, Position, Result, TableId};

use crate::cdc;
use crate::loaded::{Loaded, Slot, Stored};

/// What the table has lost.
#[derive(Clone, Debug, PartialEq)]
pub enum Lost<'a> {
    /// That these tables were complete.
    Finished(Vec<&'a TableId>),
    /// How far the stream was.
    Checkpoint {
        /// By the copy.
        copy: &'a Stored,
        /// By the table.
        table: &'a Stored,
    },
    /// That there was a stream.
    Stream {
        /// By the copy.
        copy: &'a Stored,
    },
}

/// What `copies` says of a snapshot's tables that `table` does not say any more; `None` if nothing.
pub fn of_snapshot<'a>(copies: &'a Loaded, table: &Loaded) -> Option<Lost<'a>> {
    let is_gone = |slot: &Slot| matches!(slot, Slot::Finished(..)) && table.slots().get(slot).is_none();
    let gone: Vec<&TableId> =
        copies.slots().iter().filter(|(slot, _)| is_gone(slot)).filter_map(|(slot, _)| slot.table()).collect();
    (!gone.is_empty()).then_some(Lost::Finished(gone))
}

/// The same of a stream. `order` tells which of two checkpoints comes first.
///
/// # Errors
/// What is stored is of another kind of source.
pub fn of_stream<'a>(
    copies: &'a Loaded,
    table: &'a Loaded,
    db_type: DbType,
    order: impl Fn(&Position, &Position) -> Option<Ordering>,
) -> Result<Option<Lost<'a>>> {
    let Some(copy) = cdc::resume_point(copies, db_type)? else { return Ok(None) };
    Ok(match cdc::resume_point(table, db_type)? {
        None => Some(Lost::Stream { copy }),
        Some(table) => match order(&copy.entry.position, &table.entry.position) {
            Some(Ordering::Greater) => Some(Lost::Checkpoint { copy, table }),
            Some(Ordering::Less | Ordering::Equal) | None => None,
        },
    })
}
