//! What a store holds: for each table, and for each stream of changes, the newest position. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use dt_common::ladder::{Entry, Rung};
use dt_common::position::line::{Line, Stamp};
use dt_common::position::{Chunk, Lineage, RdbSnapshot, RdbSnapshotFinished, RdbSnapshotRows, Share, SplitId};
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
    /// Where it was read; absent if the store keeps no such place.
    pub origin: Option<Origin>,
    // What the entry's split is known by; worked out once.
    split: Option<SplitId>,
}

/// Where a position was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file.
    Line {
        /// The file.
        file: Arc<Path>,
        /// The line, counted from 1.
        line: u64,
    },
    /// A row of a position table.
    Row {
        /// The table's full name.
        table: Arc<str>,
        /// The row's `id`.
        id: String,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Line { file, line } => write!(f, "{}, line {line}", file.display()),
            Origin::Row { table, id } => write!(f, "{table}, id {id}"),
        }
    }
}

/// What a position is about: of each slot only the newest position counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Slot {
    /// A table in progress: how far it is, or where it is split.
    InProgress(DbType, TableId),
    /// A chunk of a table, in progress or complete.
    Chunk(DbType, TableId, u32),
    /// A table that is complete.
    Finished(DbType, TableId),
    /// The last applied place of a stream of changes.
    Current(DbType),
    /// The last applied place at which a stream of changes can be resumed.
    Checkpoint(DbType),
    /// What one lane of a stream of changes has.
    Lane(DbType, u32),
    /// How a table's changes are spread over a stream's lanes; by its name on the target.
    Spread(DbType, TableId),
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
        let stream = |db_type| match entry.position.share() {
            Some(Share::Lane { no, .. }) => Slot::Lane(db_type, *no),
            Some(Share::Table { table, .. }) => Slot::Spread(db_type, table.clone()),
            Some(Share::All) | None => stream(db_type),
        };
        match &entry.position {
            Position::None => Slot::Nothing,
            Position::RdbSnapshot(RdbSnapshot { db_type, table, chunk, .. }) => match chunk {
                None => Slot::InProgress(*db_type, table.clone()),
                Some(chunk) => Slot::Chunk(*db_type, table.clone(), chunk.no),
            },
            Position::RdbSnapshotRows(RdbSnapshotRows { db_type, table, chunk, .. }) => match chunk {
                None => Slot::InProgress(*db_type, table.clone()),
                Some(chunk) => Slot::Chunk(*db_type, table.clone(), chunk.no),
            },
            Position::RdbSnapshotFinished(RdbSnapshotFinished { db_type, table, chunk, .. }) => match chunk {
                None => Slot::Finished(*db_type, table.clone()),
                Some(chunk) => Slot::Chunk(*db_type, table.clone(), chunk.no),
            },
            Position::RdbSnapshotSplit(split) => Slot::InProgress(split.db_type, split.table.clone()),
            Position::MysqlCdc(_) => stream(DbType::Mysql),
            Position::PgCdc(_) => stream(DbType::Pg),
            Position::MongoCdc(_) => stream(DbType::Mongo),
            Position::Redis(_) => stream(DbType::Redis),
        }
    }
}

impl Slot {
    /// The table that it is about; `None` for a stream.
    pub(crate) fn table(&self) -> Option<&TableId> {
        match self {
            Slot::InProgress(_, table) | Slot::Chunk(_, table, _) | Slot::Finished(_, table) => Some(table),
            Slot::Current(_) | Slot::Checkpoint(_) | Slot::Lane(..) | Slot::Spread(..) | Slot::Nothing => None,
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

    /// The positions that count for a table: finished wins over in progress, with which its chunks go.
    pub(crate) fn of_table(&self, db_type: DbType, table: &TableId) -> Vec<&Stored> {
        if let Some(finished) = self.get(&Slot::Finished(db_type, table.clone())) {
            return vec![finished];
        }
        let chunk = |no| Slot::Chunk(db_type, table.clone(), no);
        let chunks = self.0.range(chunk(0)..=chunk(u32::MAX)).filter(|(slot, _)| self.is_live(slot));
        let in_progress = self.get(&Slot::InProgress(db_type, table.clone()));
        in_progress.into_iter().chain(chunks.map(|(_, stored)| stored)).collect()
    }

    /// Whether the slot's position is still of use: a table's progress is not once the table is finished, and a chunk's
    /// is not unless the table is split as it was then.
    pub(crate) fn is_live(&self, slot: &Slot) -> bool {
        let is_finished =
            |db_type: DbType, table: &TableId| self.get(&Slot::Finished(db_type, table.clone())).is_some();
        match slot {
            Slot::InProgress(db_type, table) => !is_finished(*db_type, table),
            Slot::Chunk(db_type, table, _) => {
                let in_progress = self.get(&Slot::InProgress(*db_type, table.clone()));
                let split = in_progress.and_then(|stored| stored.split);
                let chunk = self.get(slot).and_then(Stored::chunk);
                !is_finished(*db_type, table) && chunk.is_some_and(|chunk| Some(chunk.split) == split)
            }
            Slot::Finished(..)
            | Slot::Current(_)
            | Slot::Checkpoint(_)
            | Slot::Lane(..)
            | Slot::Spread(..)
            | Slot::Nothing => true,
        }
    }
}

impl Stored {
    pub(crate) fn new(entry: Entry, stamp: Option<Stamp>, origin: Option<Origin>) -> Stored {
        let split = match &entry.position {
            Position::RdbSnapshotSplit(split) => Some(split.id()),
            _ => None,
        };
        Stored { entry, stamp, origin, split }
    }

    pub(crate) fn of_line(line: Line, file: &Arc<Path>, number: u64) -> Stored {
        let origin = Origin::Line { file: Arc::clone(file), line: number };
        Stored::new(Entry { rung: line.rung, position: line.position }, line.stamp, Some(origin))
    }

    /// The chunk that the position is of.
    pub(crate) fn chunk(&self) -> Option<Chunk> {
        match &self.entry.position {
            Position::RdbSnapshot(snapshot) => snapshot.chunk,
            Position::RdbSnapshotRows(rows) => rows.chunk,
            Position::RdbSnapshotFinished(finished) => finished.chunk,
            Position::None
            | Position::RdbSnapshotSplit(_)
            | Position::MysqlCdc(_)
            | Position::PgCdc(_)
            | Position::MongoCdc(_)
            | Position::Redis(_) => None,
        }
    }

    /// Between which servers the position was taken; `None` for positions that say nothing of it.
    pub fn lineage(&self) -> Option<&Lineage> {
        self.entry.position.lineage()
    }
}

impl Loaded {
    /// What is left of these positions, the oldest first.
    pub fn of_entries(entries: impl IntoIterator<Item = Entry>) -> Loaded {
        let mut slots = Slots::default();
        for entry in entries {
            slots.put(Stored::new(entry, None, None));
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
