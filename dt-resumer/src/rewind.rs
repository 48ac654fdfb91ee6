//! An explicit step back: the one way in which a store's positions move backwards (invariant 3). Pure.

use std::collections::BTreeSet;

use dt_common::ladder::Entry;
use dt_common::{Position, TableId};

use crate::loaded::Slot;

/// What [`PositionStore::rewind`](crate::PositionStore::rewind) does, all of it or nothing: forgets, then puts.
#[derive(Clone, Debug, PartialEq)]
pub struct Rewind {
    /// What is not known any more.
    pub forget: Forget,
    /// What is known instead: newer than all that is stored. Everything that was stored of the same tables goes, and the
    /// position of the same stream and rung. Who puts a position says that all before it is in the target: a resume
    /// begins behind it, and asks nobody.
    pub put: Vec<Entry>,
}

/// What is forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forget {
    /// All positions of the task.
    Everything,
    /// All positions of these tables: finished, in progress, and of chunks. Other positions stay as they are. A table
    /// that nothing is known of is no error.
    Tables(Vec<TableId>),
}

impl Rewind {
    /// Un-finishes tables: each is copied again from its beginning.
    pub fn of_tables(tables: Vec<TableId>) -> Rewind {
        Rewind { forget: Forget::Tables(tables), put: Vec::new() }
    }

    /// Puts positions, and forgets nothing else.
    pub fn to(put: Vec<Entry>) -> Rewind {
        Rewind { forget: Forget::Tables(Vec::new()), put }
    }

    /// The tables that something is put of, and those that are forgotten; each once.
    pub(crate) fn tables(&self) -> Vec<&TableId> {
        let put = self.put.iter().filter_map(table_of);
        let forgotten: &[TableId] = match &self.forget {
            Forget::Everything => &[],
            Forget::Tables(tables) => tables,
        };
        let mut tables: Vec<&TableId> = put.chain(forgotten).collect();
        tables.sort();
        tables.dedup();
        tables
    }

    /// What is still known afterwards of positions that were known before.
    pub(crate) fn keeps(&self) -> impl Fn(&Slot) -> bool {
        let tables: BTreeSet<TableId> = self.tables().into_iter().cloned().collect();
        let put: Vec<Slot> = self.put.iter().map(Slot::of).collect();
        let everything = self.forget == Forget::Everything;
        move |slot| !everything && !put.contains(slot) && slot.table().is_none_or(|table| !tables.contains(table))
    }
}

fn table_of(entry: &Entry) -> Option<&TableId> {
    match &entry.position {
        Position::RdbSnapshot(snapshot) => Some(&snapshot.table),
        Position::RdbSnapshotRows(counted) => Some(&counted.table),
        Position::RdbSnapshotFinished(finished) => Some(&finished.table),
        Position::RdbSnapshotSplit(split) => Some(&split.table),
        Position::None | Position::MysqlCdc(_) | Position::PgCdc(_) | Position::MongoCdc(_) | Position::Redis(_) => {
            None
        }
    }
}
