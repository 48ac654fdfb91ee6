//! Positions, and the commands that write them under one epoch. Pure but for two counters.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bson::{Document, doc};
use dt_common::Result;
use dt_common::ladder::Entry;
use dt_common::position::{PositionWrite, wire};

use super::command::{Names, STORE_SLOT};
use crate::held::key;
use crate::held::rows::{CHUNK, Place, finished_tables, newest};
use crate::loaded::Slot;
use crate::rewind::{Forget, Rewind};
use crate::store::Inscriber;

/// How many batches of one table are written at a time without one waiting for another. More are possible: the server
/// then ends some of their transactions, and they are tried again.
const SLOTS: u64 = 16;

/// Makes the commands of one task and one epoch. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    names: Names,
    epoch: i64,
    written: Arc<AtomicI64>,
    // How often each table's or chunk's position was written: neighbours get different slots.
    turns: Arc<Mutex<BTreeMap<Place, u64>>>,
}

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The store, one transaction after the other.
    Store,
    /// Whoever writes the rows, several at a time.
    Rows,
}

impl Writer {
    /// For the task as long as the epoch stands.
    pub(crate) fn new(names: Names, epoch: i64) -> Writer {
        Writer { names, epoch, written: Arc::default(), turns: Arc::default() }
    }

    /// What writes `entries`, all of them or none.
    pub(crate) fn write(&self, entries: &[Entry], by: By) -> PositionWrite {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let newest = newest(entries);
        let finished: BTreeSet<String> = finished_tables(&newest);
        // A chunk of a table that is complete says nothing any more.
        let is_over = |place: &Place| {
            place.resumer_type == CHUNK && finished.contains(place.key.split('#').next().unwrap_or_default())
        };
        let mut statements = self.names.delete_chunks(finished.iter());
        let mut written = None;
        let mut documents = Vec::new();
        for (place, (entry, slot)) in newest.iter().filter(|(place, _)| !is_over(place)) {
            let (bytes, document) = self.document(place, entry, slot, by, number);
            let mark = doc! {"_id": document.get("_id"), "epoch": self.epoch, "n": number};
            written = Some(self.names.find(mark));
            documents.push((bytes, document));
        }
        statements.extend(self.names.upsert(documents));
        self.names.guarded(self.epoch, statements, written)
    }

    /// Deletes all positions of the task.
    pub(crate) fn reset(&self) -> PositionWrite {
        let mut positions = self.names.all();
        positions.insert("n", doc! {"$exists": true});
        self.names.guarded(self.epoch, vec![self.names.delete(positions)], None)
    }

    /// Forgets and puts, in one transaction.
    pub(crate) fn rewind(&self, rewind: &Rewind) -> PositionWrite {
        let forgotten = match rewind.forget {
            Forget::Everything => self.reset().statements,
            Forget::Tables(_) => Vec::new(),
        };
        let tables: Vec<String> = rewind.tables().into_iter().map(key::of_table).collect();
        let forgotten_tables = self.names.guarded(self.epoch, self.names.delete_tables(&tables), None).statements;
        let put = self.write(&rewind.put, By::Store);
        let statements = [forgotten, forgotten_tables, put.statements].concat();
        PositionWrite { statements, ..put }
    }

    fn document(&self, place: &Place, entry: &Entry, slot: &Slot, by: By, number: i64) -> (usize, Document) {
        let data = wire::to_json(&entry.position);
        let slot = match by {
            By::Store => STORE_SLOT.to_owned(),
            By::Rows => self.slot(place, slot).to_string(),
        };
        let bytes = data.len() + 1024;
        let document = doc! {
            "_id": self.names.position(place.resumer_type, &place.key, &slot),
            "task_id": &self.names.task_id,
            "resumer_type": place.resumer_type,
            "position_key": &place.key,
            "position_data": data,
            "epoch": self.epoch,
            "n": number,
        };
        (bytes, document)
    }

    fn slot(&self, place: &Place, slot: &Slot) -> u64 {
        match slot {
            // One batch after the other.
            Slot::Current(_) | Slot::Checkpoint(_) | Slot::Lane(..) | Slot::Spread(..) | Slot::Nothing => 0,
            Slot::InProgress(..) | Slot::Chunk(..) | Slot::Finished(..) => {
                let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
                let turn = turns.entry(place.clone()).or_default();
                *turn += 1;
                *turn % SLOTS
            }
        }
    }
}

impl Inscriber for Writer {
    fn inscribe(&self, entries: &[Entry]) -> Result<PositionWrite> {
        Ok(self.write(entries, By::Rows))
    }
}

#[cfg(test)]
mod tests {
    use dt_common::ladder::Rung;
    use dt_common::position::{KeyText, Lineage, MongoCdc, OrderKey, RdbSnapshot};
    use dt_common::{DbType, Position, TableId};

    use super::*;

    fn writer() -> Writer {
        Writer::new(Names::new(&TableId::new("meta", "pos"), "t"), 2)
    }

    fn at(value: &str) -> Entry {
        let position = Position::RdbSnapshot(RdbSnapshot {
            db_type: DbType::Mongo,
            table: TableId::new("a", "b"),
            chunk: None,
            key: OrderKey::single("_id", KeyText::Text(value.to_owned())),
            null_keys_done: true,
            lineage: Lineage::default(),
        });
        Entry { rung: Rung::Current, position }
    }

    #[test]
    fn neighbours_of_a_table_are_written_into_different_slots() {
        let writer = writer();
        let writes: Vec<PositionWrite> =
            (0..SLOTS).map(|at_| writer.write(&[at(&at_.to_string())], By::Rows)).collect();
        let slots: BTreeSet<&str> = writes
            .iter()
            .map(|write| write.statements[0].split("t:SnapshotDoing:a/b:").nth(1).expect("a slot"))
            .map(|rest| rest.split('"').next().expect("its end"))
            .collect();
        assert_eq!(slots.len() as u64, SLOTS);
    }

    #[test]
    fn a_try_is_told_from_another_though_their_positions_are_the_same() {
        let writer = writer();
        let same = Position::MongoCdc(MongoCdc {
            resume_token: "x".into(),
            operation_time: 1,
            increment: None,
            timestamp: String::new(),
            lineage: Lineage::default(),
        });
        let same = [Entry { rung: Rung::Current, position: same }];
        let (one, other) = (writer.write(&same, By::Rows), writer.write(&same, By::Rows));
        assert_ne!(one.settle.written, other.settle.written);
        assert!(one.settle.written.expect("a look").contains("t:CdcDoing:mongo:0"));
        assert_eq!(writer.write(&[], By::Rows).settle.written, None);
    }
}
