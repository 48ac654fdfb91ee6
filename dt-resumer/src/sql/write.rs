//! Positions as the statements that write them, complete and in order. Pure: they are executed by whoever has a
//! transaction of the server, this crate's store or the one that writes a target's rows.

use dt_common::ladder::Entry;
use dt_common::position::{PositionWrite, Settle, wire};
use dt_common::{Error, Result, TableId};

use super::dialect::Dialect;
use crate::held::fence::Fence;
use crate::held::key;
use crate::held::rows::{CHUNK, Foreign, Place, finished_tables, newest};
use crate::loaded::Slot;
use crate::rewind::{Forget, Rewind};
use crate::store::Inscriber;

/// Rows of one statement, at most.
const STATEMENT_ROWS: usize = 1000;

/// What a server and its table take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A statement's size in bytes that is not passed unless one row alone is larger.
    pub statement_bytes: usize,
    /// The largest statement in bytes that the server accepts at all.
    pub packet_bytes: usize,
    /// The bytes that `position_data` holds; `None` if it does not matter.
    pub data_bytes: Option<usize>,
}

impl Limits {
    /// A server's, by its `max_allowed_packet`.
    pub fn of_packet(packet_bytes: usize, data_bytes: Option<usize>) -> Limits {
        Limits { statement_bytes: (packet_bytes / 2).clamp(16 * 1024, 1024 * 1024), packet_bytes, data_bytes }
    }

    /// Where statements of any size are accepted.
    pub fn none() -> Limits {
        Limits { statement_bytes: 1024 * 1024, packet_bytes: usize::MAX, data_bytes: None }
    }
}

/// Makes the statements of one task and one epoch.
#[derive(Clone, Debug)]
pub struct PositionWriter {
    dialect: Dialect,
    table: String,
    task_id: String,
    fence: String,
    limits: Limits,
    foreign: Foreign,
}

impl PositionWriter {
    /// For the task as long as `fence` stands.
    pub(crate) fn new(dialect: Dialect, table: &TableId, task_id: &str, fence: &Fence, limits: Limits) -> Self {
        PositionWriter {
            dialect,
            table: dialect.table(table),
            task_id: dialect.string(task_id),
            fence: fence.to_json(),
            limits,
            foreign: Foreign::new(),
        }
    }

    /// Rows of an older tool, which go when ours are written.
    pub(crate) fn replaces(&mut self, foreign: Foreign) {
        self.foreign = foreign;
    }

    /// The statements that write `entries`, all of them or none.
    ///
    /// # Errors
    /// A position is larger than the table or the server takes: class user, with the table that it is of.
    pub fn statements(&self, entries: &[Entry]) -> Result<PositionWrite> {
        let newest = newest(entries);
        let finished = finished_tables(&newest);
        // A chunk of a table that is complete says nothing any more.
        let is_over = |place: &Place| {
            let table = place.key.split('#').next().unwrap_or_default();
            place.resumer_type == CHUNK && finished.contains(table)
        };
        let mut statements = Vec::new();
        let keys: Vec<String> = finished.iter().map(|key| format!("'{key}'")).collect();
        for keys in keys.chunks(STATEMENT_ROWS) {
            statements.push(self.dialect.delete_chunks(&self.table, &self.task_id, &keys.join(", ")));
        }
        let foreign: Vec<String> =
            newest.keys().filter_map(|place| self.foreign.get(place)).flatten().cloned().collect();
        for ids in foreign.chunks(STATEMENT_ROWS) {
            statements.push(format!("DELETE FROM {} WHERE id IN ({})", self.table, ids.join(", ")));
        }
        let mut rows = Batch::default();
        for (place, (entry, slot)) in newest.iter().filter(|(place, _)| !is_over(place)) {
            let row = self.row(place, entry, slot)?;
            let is_full = rows.count >= STATEMENT_ROWS || rows.text.len() + row.len() > self.limits.statement_bytes;
            if rows.count > 0 && is_full {
                statements.push(self.dialect.upsert(&self.table, &std::mem::take(&mut rows).text));
            }
            rows.push(&row);
        }
        if rows.count > 0 {
            statements.push(self.dialect.upsert(&self.table, &rows.text));
        }
        let written = newest.iter().next_back().map(|(place, (entry, _))| {
            let data = self.dialect.string(&wire::to_json(&entry.position));
            self.dialect.is_written(&self.table, &self.task_id, place.resumer_type, &place.key, &data)
        });
        Ok(self.guarded(statements, written))
    }

    fn guarded(&self, statements: Vec<String>, written: Option<String>) -> PositionWrite {
        let wait = self.dialect.wait(&self.table, &self.task_id, &self.fence);
        PositionWrite { guard: self.guard(), statements, settle: Settle { wait, written } }
    }

    /// Gives one row as long as the epoch is ours.
    pub fn guard(&self) -> String {
        self.dialect.guard(&self.table, &self.task_id, &self.fence)
    }

    /// Deletes all positions of the task.
    pub(crate) fn reset(&self) -> PositionWrite {
        let delete = self.dialect.delete_positions(&self.table, &self.task_id);
        self.guarded(vec![delete], None)
    }

    /// Forgets and puts, in one transaction.
    ///
    /// # Errors
    /// As for [`PositionWriter::statements`].
    pub(crate) fn rewind(&self, rewind: &Rewind) -> Result<PositionWrite> {
        let mut statements = match rewind.forget {
            Forget::Everything => self.reset().statements,
            Forget::Tables(_) => Vec::new(),
        };
        let tables: Vec<String> = rewind.tables().into_iter().map(key::of_table).collect();
        for tables in tables.chunks(STATEMENT_ROWS) {
            let keys: Vec<String> = tables.iter().map(|key| format!("'{key}'")).collect();
            let keys = keys.join(", ");
            statements.push(self.dialect.delete_tables(&self.table, &self.task_id, &keys));
            statements.push(self.dialect.delete_chunks(&self.table, &self.task_id, &keys));
        }
        let of_tables = self.foreign.iter().filter(|(place, _)| tables.contains(&place.key));
        let foreign: Vec<String> = of_tables.flat_map(|(_, ids)| ids).cloned().collect();
        for ids in foreign.chunks(STATEMENT_ROWS) {
            statements.push(format!("DELETE FROM {} WHERE id IN ({})", self.table, ids.join(", ")));
        }
        statements.extend(self.statements(&rewind.put)?.statements);
        Ok(self.guarded(statements, None))
    }

    fn row(&self, place: &Place, entry: &Entry, slot: &Slot) -> Result<String> {
        let data = wire::to_json(&entry.position);
        if let Some(most) = self.limits.data_bytes.filter(|most| data.len() > *most) {
            let error = too_large(slot, data.len(), most);
            let alter = format!("ALTER TABLE {} MODIFY position_data mediumtext", self.table);
            return Err(error.hint(format!("the column position_data is too small: {alter}")));
        }
        let row = self.dialect.row(&self.task_id, place.resumer_type, &place.key, &self.dialect.string(&data));
        // The statement around it is less than a kilobyte.
        let bytes = row.len() + 1024;
        if bytes > self.limits.packet_bytes {
            return Err(
                too_large(slot, bytes, self.limits.packet_bytes).hint("raise max_allowed_packet on that server")
            );
        }
        Ok(row)
    }
}

impl Inscriber for PositionWriter {
    fn inscribe(&self, entries: &[Entry]) -> Result<PositionWrite> {
        self.statements(entries)
    }
}

fn too_large(slot: &Slot, bytes: usize, most: usize) -> Error {
    let error = Error::user("a position is larger than the position table takes");
    let error = match slot {
        Slot::InProgress(_, table) | Slot::Chunk(_, table, _) | Slot::Finished(_, table) | Slot::Spread(_, table) => {
            error.with("table", table)
        }
        Slot::Current(db_type) | Slot::Checkpoint(db_type) | Slot::Lane(db_type, _) => error.with("stream of", db_type),
        Slot::Nothing => error,
    };
    error.with("bytes", bytes).with("at most", most)
}

#[derive(Default)]
struct Batch {
    text: String,
    count: usize,
}

impl Batch {
    fn push(&mut self, row: &str) {
        if self.count > 0 {
            self.text.push_str(", ");
        }
        self.text.push_str(row);
        self.count += 1;
    }
}
