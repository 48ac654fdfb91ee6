//! What is stored, told by streams and tables. Pure.

use std::collections::BTreeMap;

use dt_common::position::{Chunk, OrderKey, RdbSnapshot, RdbSnapshotFinished, RdbSnapshotRows};
use dt_common::{DbType, Position, TableId};

use crate::loaded::{Loaded, Slot, Stored};

/// What is stored of a stream of changes.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamSummary<'a> {
    /// The source's kind.
    pub db_type: DbType,
    /// Where it can be resumed.
    pub checkpoint: Option<&'a Stored>,
    /// How far it is.
    pub current: Option<&'a Stored>,
    /// How far each lane is that is ahead of the checkpoint, by its number.
    pub lanes: BTreeMap<u32, &'a Stored>,
}

/// What is stored of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct TableSummary<'a> {
    /// The source's kind.
    pub db_type: DbType,
    /// The table.
    pub table: &'a TableId,
    /// How far it is.
    pub state: TableState<'a>,
    /// The position of it that was written last.
    pub newest: &'a Stored,
}

/// How far a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableState<'a> {
    /// Its last row is in the target.
    Finished,
    /// The row with this key is in the target, and all before it.
    InProgress {
        /// The key: row values.
        key: &'a OrderKey,
    },
    /// So many rows that no key tells apart are in the target.
    Counted {
        /// How many.
        rows: u64,
    },
    /// It is copied in chunks.
    InChunks {
        /// How many it has.
        of: u32,
        /// How many are finished.
        finished: u32,
        /// How many more are in progress.
        begun: u32,
    },
}

/// The streams, by the kind of their source.
pub fn streams(loaded: &Loaded) -> Vec<StreamSummary<'_>> {
    let mut streams: BTreeMap<DbType, StreamSummary<'_>> = BTreeMap::new();
    for (slot, stored) in loaded.slots().iter() {
        let db_type = match slot {
            Slot::Current(db_type) | Slot::Checkpoint(db_type) | Slot::Lane(db_type, _) => *db_type,
            Slot::InProgress(..) | Slot::Chunk(..) | Slot::Finished(..) | Slot::Spread(..) | Slot::Nothing => continue,
        };
        let nothing = StreamSummary { db_type, checkpoint: None, current: None, lanes: BTreeMap::new() };
        let stream = streams.entry(db_type).or_insert(nothing);
        if let Slot::Lane(_, no) = slot {
            stream.lanes.insert(*no, stored);
        } else if let Slot::Checkpoint(_) = slot {
            stream.checkpoint = Some(stored);
        } else {
            stream.current = Some(stored);
        }
    }
    streams.into_values().collect()
}

/// The tables, by schema, then name.
pub fn tables(loaded: &Loaded) -> Vec<TableSummary<'_>> {
    let mut tables: BTreeMap<(&TableId, DbType), TableSummary<'_>> = BTreeMap::new();
    let mut chunks: Vec<(&TableId, DbType, &Stored)> = Vec::new();
    for stored in loaded.positions() {
        let (table, db_type, state) = match &stored.entry.position {
            Position::RdbSnapshot(RdbSnapshot { table, db_type, chunk: None, key, .. }) => {
                (table, *db_type, TableState::InProgress { key })
            }
            Position::RdbSnapshotFinished(RdbSnapshotFinished { table, db_type, chunk: None, .. }) => {
                (table, *db_type, TableState::Finished)
            }
            Position::RdbSnapshotSplit(split) => {
                (&split.table, split.db_type, TableState::InChunks { of: split.chunks(), finished: 0, begun: 0 })
            }
            Position::RdbSnapshotRows(RdbSnapshotRows { table, db_type, chunk: None, rows, .. }) => {
                (table, *db_type, TableState::Counted { rows: *rows })
            }
            Position::RdbSnapshot(RdbSnapshot { table, db_type, chunk: Some(Chunk { .. }), .. })
            | Position::RdbSnapshotRows(RdbSnapshotRows { table, db_type, chunk: Some(Chunk { .. }), .. })
            | Position::RdbSnapshotFinished(RdbSnapshotFinished {
                table, db_type, chunk: Some(Chunk { .. }), ..
            }) => {
                chunks.push((table, *db_type, stored));
                continue;
            }
            Position::None
            | Position::MysqlCdc(_)
            | Position::PgCdc(_)
            | Position::MongoCdc(_)
            | Position::Redis(_) => continue,
        };
        tables.insert((table, db_type), TableSummary { db_type, table, state, newest: stored });
    }
    for (table, db_type, stored) in chunks {
        // What counts of chunks is of the split that is stored.
        let Some(summary) = tables.get_mut(&(table, db_type)) else { continue };
        if let TableState::InChunks { finished, begun, .. } = &mut summary.state {
            match stored.entry.position {
                Position::RdbSnapshotFinished(_) => *finished += 1,
                _ => *begun += 1,
            }
        }
        if stored.stamp > summary.newest.stamp {
            summary.newest = stored;
        }
    }
    tables.into_values().collect()
}

#[cfg(test)]
mod tests {
    use dt_common::ladder::{Entry, Rung};
    use dt_common::position::{KeyText, Lineage, MysqlCdc, RdbSnapshotSplit};

    use super::*;

    fn cdc(at: u64) -> Position {
        Position::MysqlCdc(MysqlCdc {
            server_id: String::new(),
            binlog_filename: "b.1".into(),
            next_event_position: at,
            gtid_set: String::new(),
            timestamp: String::new(),
            lineage: Lineage::default(),
            behind: None,
        })
    }

    #[test]
    fn streams_and_tables_are_told_by_their_newest_positions() {
        let lineage = Lineage::default;
        let split = RdbSnapshotSplit {
            db_type: DbType::Mysql,
            table: TableId::new("d", "chunks"),
            bounds: ["10", "20"].map(|at| OrderKey::single("id", KeyText::Text(at.into()))).into(),
            lineage: lineage(),
        };
        let key = |at: &str| OrderKey::single("id", KeyText::Text(at.into()));
        let (db_type, table) = (DbType::Mysql, |name: &str| TableId::new("d", name));
        let chunk = |no| Some(Chunk { split: split.id(), no });
        let progress = |name: &str, chunk, at: &str| {
            let (table, key) = (table(name), key(at));
            Position::RdbSnapshot(RdbSnapshot { db_type, table, chunk, key, null_keys_done: true, lineage: lineage() })
        };
        let finished = |name: &str, chunk| {
            let table = table(name);
            Position::RdbSnapshotFinished(RdbSnapshotFinished { db_type, table, chunk, lineage: lineage() })
        };
        let current = |position| Entry { rung: Rung::Current, position };
        let loaded = Loaded::of_entries([
            Entry { rung: Rung::Checkpoint, position: cdc(5) },
            current(cdc(7)),
            current(progress("a", None, "3")),
            current(progress("b", None, "3")),
            Entry { rung: Rung::Finished, position: finished("b", None) },
            current(Position::RdbSnapshotSplit(split.clone())),
            current(finished("chunks", chunk(0))),
            current(progress("chunks", chunk(2), "25")),
        ]);
        let streams = streams(&loaded);
        assert_eq!(streams.len(), 1);
        assert_eq!(streams[0].checkpoint.map(|stored| &stored.entry.position), Some(&cdc(5)));
        assert_eq!(streams[0].current.map(|stored| &stored.entry.position), Some(&cdc(7)));
        let states: Vec<(&str, TableState<'_>)> =
            tables(&loaded).iter().map(|summary| (summary.table.table.as_str(), summary.state)).collect();
        assert_eq!(
            states,
            [
                ("a", TableState::InProgress { key: &key("3") }),
                ("b", TableState::Finished),
                ("chunks", TableState::InChunks { of: 3, finished: 1, begun: 1 }),
            ]
        );
    }
}
