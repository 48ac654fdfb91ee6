//! What a store holds: for each table, and for each stream of changes, the newest position. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use dt_common::ladder::{Entry, Rung};
use dt_common::position::Lineage;
use dt_common::position::line::{Line, Stamp};
use dt_common::{DbType, Position, TableId};

/// Everything that a store holds, reduced to what counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Loaded {
    slots: Slots,
    warnings: Vec<String>,
}

/// A position with what is known of how it was stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// The position, and what it stands for.
    pub entry: Entry,
    /// When it was written; absent where a person wrote it, or the store keeps no times.
    pub stamp: Option<Stamp>,
    /// Where it was read; absent if the store has no files.
    pub origin: Option<Origin>,
}

/// A line of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file.
    pub file: Arc<Path>,
    /// The line, counted from 1.
    pub line: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.file.display(), self.line)
    }
}

/// What a position is about: of each slot only the newest position counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// A table in progress.
    InProgress(DbType, TableId),
    /// A table that is complete.
    Finished(DbType, TableId),
    /// The last applied place of a stream of changes.
    Current(DbType),
    /// The last applied place at which a stream of changes can be resumed.
    Checkpoint(DbType),
    /// No position: says that the task ran, nothing else.
    Nothing,
}

impl Slot {
    /// The slot of a position. What it is counts, not the file that it was found in.
    pub(crate) fn of(entry: &Entry) -> Slot {
        let stream = |db_type| match entry.rung {
            Rung::Checkpoint => Slot::Checkpoint(db_type),
            Rung::Current | Rung::Finished => Slot::Current(db_type),
        };
        match &entry.position {
            Position::None => Slot::Nothing,
            Position::RdbSnapshot(snapshot) => Slot::InProgress(snapshot.db_type, snapshot.table.clone()),
            Position::RdbSnapshotFinished(finished) => Slot::Finished(finished.db_type, finished.table.clone()),
            Position::MysqlCdc(_) => stream(DbType::Mysql),
            Position::PgCdc(_) => stream(DbType::Pg),
            Position::MongoCdc(_) => stream(DbType::Mongo),
            Position::Redis(_) => stream(DbType::Redis),
        }
    }
}

/// The newest position of each slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slots(BTreeMap<Slot, Stored>);

impl Slots {
    /// Takes in a position that is newer than all before it.
    pub(crate) fn put(&mut self, stored: Stored) {
        self.0.insert(Slot::of(&stored.entry), stored);
    }

    pub(crate) fn get(&self, slot: &Slot) -> Option<&Stored> {
        self.0.get(slot)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Slot, &Stored)> {
        self.0.iter()
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&Slot) -> bool) {
        self.0.retain(|slot, _| keep(slot));
    }

    /// The position that counts for a table: finished wins over in progress.
    pub(crate) fn of_table(&self, db_type: DbType, table: &TableId) -> Option<&Stored> {
        let finished = self.get(&Slot::Finished(db_type, table.clone()));
        finished.or_else(|| self.get(&Slot::InProgress(db_type, table.clone())))
    }

    /// Whether the slot's position is still of use: a table's progress is not once the table is finished.
    pub(crate) fn is_live(&self, slot: &Slot) -> bool {
        match slot {
            Slot::InProgress(db_type, table) => self.get(&Slot::Finished(*db_type, table.clone())).is_none(),
            Slot::Finished(..) | Slot::Current(_) | Slot::Checkpoint(_) | Slot::Nothing => true,
        }
    }
}

impl Stored {
    pub(crate) fn of_line(line: Line, file: &Arc<Path>, number: u64) -> Stored {
        Stored {
            entry: Entry { rung: line.rung, position: line.position },
            stamp: line.stamp,
            origin: Some(Origin { file: Arc::clone(file), line: number }),
        }
    }

    /// Between which servers the position was taken; `None` for positions that say nothing of it.
    pub fn lineage(&self) -> Option<&Lineage> {
        match &self.entry.position {
            Position::RdbSnapshot(snapshot) => Some(&snapshot.lineage),
            Position::RdbSnapshotFinished(finished) => Some(&finished.lineage),
            Position::MysqlCdc(cdc) => Some(&cdc.lineage),
            Position::PgCdc(cdc) => Some(&cdc.lineage),
            Position::None | Position::MongoCdc(_) | Position::Redis(_) => None,
        }
    }
}

impl Loaded {
    /// What is left of these positions, the oldest first.
    pub fn of_entries(entries: impl IntoIterator<Item = Entry>) -> Loaded {
        let mut slots = Slots::default();
        for entry in entries {
            slots.put(Stored { entry, stamp: None, origin: None });
        }
        Loaded { slots, warnings: Vec::new() }
    }

    pub(crate) fn new(slots: Slots, warnings: Vec<String>) -> Loaded {
        Loaded { slots, warnings }
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Whether there is no position at all: the task has never recorded any.
    pub fn is_empty(&self) -> bool {
        self.positions().next().is_none()
    }

    /// The positions that count, tables in the order of their names. A finished table's progress is left out, and so
    /// is [`Position::None`].
    pub fn positions(&self) -> impl Iterator<Item = &Stored> {
        self.slots
            .iter()
            .filter(|(slot, _)| **slot != Slot::Nothing && self.slots.is_live(slot))
            .map(|(_, stored)| stored)
    }

    /// What the user should hear of, each a sentence: a line cut short by a crash that was left out.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}
