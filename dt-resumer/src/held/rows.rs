//! Positions as rows of the position table, and rows as positions. Pure.
//!
//! | `resumer_type` | what it holds |
//! |---|---|
//! | `SnapshotDoing` | a table in progress: its last key, or where it is split |
//! | `SnapshotFinished` | a table that is complete |
//! | `SnapshotChunk` | a chunk of a table, in progress or complete |
//! | `CdcDoing` | what a stream is resumed from: the checkpoint, and with MongoDB the current position |
//! | `CdcCurrent` | how far a stream is; with MongoDB the checkpoint |
//! | `CdcLane` | how far one lane of a stream is, where several apply it |
//! | `CdcSpread` | how a table's changes are spread over those lanes |
//! | `Fence` | who may write: no position ([`super::fence`]) |
//!
//! The first, the second and `CdcDoing` are what ape-dts writes, under keys of its own (`schema-tb`), which may collide:
//! what a row is about is read from `position_data`, never from its key.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dt_common::ladder::{Entry, Rung};
use dt_common::position::line::Stamp;
use dt_common::position::{RdbSnapshotFinished, wire};
use dt_common::{DbType, Error, Position, Result};

use super::key;
use crate::loaded::{Loaded, Origin, Slot, Slots, Stored};

/// The `resumer_type` of the row that says who may write.
pub(crate) const FENCE: &str = "Fence";
pub(crate) const CHUNK: &str = "SnapshotChunk";
pub(crate) const DOING: &str = "SnapshotDoing";
pub(crate) const FINISHED: &str = "SnapshotFinished";
const CDC: &str = "CdcDoing";
const CDC_CURRENT: &str = "CdcCurrent";
const LANE: &str = "CdcLane";
const SPREAD: &str = "CdcSpread";

/// What tells a position's row from the others of its task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) resumer_type: &'static str,
    pub(crate) key: String,
}

impl Place {
    /// Where a position belongs; `None` if there is nothing to keep of it.
    pub(crate) fn of(slot: &Slot) -> Option<Place> {
        let place = |resumer_type, key| Some(Place { resumer_type, key });
        match slot {
            Slot::InProgress(_, table) => place(DOING, key::of_table(table)),
            Slot::Chunk(_, table, no) => place(CHUNK, key::of_chunk(table, *no)),
            Slot::Finished(_, table) => place(FINISHED, key::of_table(table)),
            Slot::Checkpoint(DbType::Mongo) => place(CDC_CURRENT, DbType::Mongo.to_string()),
            Slot::Current(DbType::Mongo) => place(CDC, DbType::Mongo.to_string()),
            Slot::Checkpoint(db_type) => place(CDC, db_type.to_string()),
            Slot::Current(db_type) => place(CDC_CURRENT, db_type.to_string()),
            Slot::Lane(db_type, no) => place(LANE, format!("{db_type}#{no}")),
            Slot::Spread(_, table) => place(SPREAD, key::of_table(table)),
            Slot::Nothing => None,
        }
    }
}

/// A row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    /// What names it in its table.
    pub(crate) id: String,
    pub(crate) task_id: String,
    pub(crate) resumer_type: String,
    pub(crate) key: String,
    pub(crate) data: Option<String>,
    /// When it was written, in UTC.
    pub(crate) stamp: Option<Stamp>,
}

/// What was read of a task.
#[derive(Debug, Default)]
pub(crate) struct Read {
    pub(crate) loaded: Loaded,
    /// Rows under another key than ours: they go when ours is written.
    // No older tool keeps positions in MongoDB.
    #[cfg_attr(not(feature = "sql"), allow(dead_code))]
    pub(crate) foreign: Foreign,
}

/// The ids of rows of a position that stand under other keys than ours, by our place.
pub(crate) type Foreign = BTreeMap<Place, Vec<String>>;

/// What the rows of `task_id` say, the oldest first.
///
/// # Errors
/// A row that cannot be understood is named by its id: it is never "no position" (invariant 5).
pub(crate) fn read(rows: Vec<Row>, task_id: &str, table: &Arc<str>) -> Result<Read> {
    let mut slots = Slots::default();
    let mut foreign = Foreign::new();
    for row in rows {
        if row.task_id != task_id {
            return Err(Error::user("the position table cannot tell this task from another one")
                .with("table", table)
                .with("this task", task_id)
                .with("the other one", &row.task_id)
                .hint(
                    "give this task a [global] task_id that differs in more than case, accents or spaces at its end",
                ));
        }
        if row.resumer_type == FENCE {
            continue;
        }
        let entry = entry_of(&row).map_err(|why| cannot_be_read(&row, table, why))?;
        let slot = Slot::of(&entry);
        let Some(place) = Place::of(&slot) else { continue };
        if place.key != row.key || place.resumer_type != row.resumer_type {
            foreign.entry(place).or_default().push(row.id.clone());
        }
        let origin = Origin::Row { table: Arc::clone(table), id: row.id };
        slots.put(Stored::new(entry, row.stamp, Some(origin)));
    }
    Ok(Read { loaded: Loaded::new(slots, Vec::new()), foreign })
}

fn entry_of(row: &Row) -> Result<Entry, String> {
    let data = row.data.as_deref().ok_or("position_data is null")?;
    let position = wire::from_json(data).map_err(|error| error.to_string())?;
    let (is_stream, is_mongo) = match &position {
        Position::MongoCdc(_) => (true, true),
        Position::MysqlCdc(_) | Position::PgCdc(_) | Position::Redis(_) => (true, false),
        Position::None
        | Position::RdbSnapshot(_)
        | Position::RdbSnapshotFinished(_)
        | Position::RdbSnapshotRows(_)
        | Position::RdbSnapshotSplit(_) => (false, false),
    };
    let rung = match (row.resumer_type.as_str(), is_stream) {
        (CDC, true) => {
            if is_mongo {
                Rung::Current
            } else {
                Rung::Checkpoint
            }
        }
        (CDC_CURRENT, true) => {
            if is_mongo {
                Rung::Checkpoint
            } else {
                Rung::Current
            }
        }
        (LANE | SPREAD, true) => Rung::Checkpoint,
        (FINISHED, false) => Rung::Finished,
        (DOING | CHUNK, false) => Rung::Current,
        (DOING | CHUNK | FINISHED, true) => return Err(format!("a {} holds no place of a stream", row.resumer_type)),
        (CDC | CDC_CURRENT, false) if position == Position::None => Rung::Checkpoint,
        (CDC | CDC_CURRENT | LANE | SPREAD, false) => {
            return Err(format!("a {} holds no position of a table", row.resumer_type));
        }
        (other, _) => return Err(format!("`{other}` is not a known resumer_type")),
    };
    let entry = Entry { rung, position };
    let (says, is) = (row.resumer_type.as_str(), Slot::of(&entry));
    let fits = match &is {
        Slot::Finished(..) => says == FINISHED,
        Slot::InProgress(..) => says == DOING,
        Slot::Chunk(..) => says == CHUNK,
        Slot::Lane(..) => says == LANE,
        Slot::Spread(..) => says == SPREAD,
        Slot::Current(_) | Slot::Checkpoint(_) => says == CDC || says == CDC_CURRENT,
        Slot::Nothing => true,
    };
    if fits { Ok(entry) } else { Err(format!("resumer_type is {says}, and position_data is of another type")) }
}

fn cannot_be_read(row: &Row, table: &Arc<str>, why: String) -> Error {
    Error::user("a row of the position table cannot be read")
        .with("table", table)
        .with("id", &row.id)
        .with("task_id", &row.task_id)
        .caused_by(why)
        .hint("correct the row; or delete it, and its table begins anew; or start over with another [global] task_id")
}

/// The positions that are to be written, each once: of two for one place the newer counts.
pub(crate) fn newest(entries: &[Entry]) -> BTreeMap<Place, (&Entry, Slot)> {
    let mut newest = BTreeMap::new();
    for entry in entries {
        let slot = Slot::of(entry);
        if let Some(place) = Place::of(&slot) {
            newest.insert(place, (entry, slot));
        }
    }
    newest
}

/// The keys of the tables that are complete by these positions.
pub(crate) fn finished_tables(newest: &BTreeMap<Place, (&Entry, Slot)>) -> BTreeSet<String> {
    let finished = |entry: &Entry| match &entry.position {
        Position::RdbSnapshotFinished(RdbSnapshotFinished { table, chunk: None, .. }) => Some(key::of_table(table)),
        _ => None,
    };
    newest.values().filter_map(|(entry, _)| finished(entry)).collect()
}
