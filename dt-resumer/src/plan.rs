//! The resume plan of a snapshot: for each table, whether it is skipped, goes on, or begins. Pure.

use std::collections::{BTreeMap, HashMap};

use dt_common::position::{KeyText, Lineage, OrderKey, RdbSnapshot, RdbSnapshotRows, RdbSnapshotSplit};
use dt_common::schema::TableSchema;
use dt_common::{DbType, Error, Position, Result, TableId};

use crate::chunks;
use crate::decision::Decision;
use crate::loaded::{Loaded, Stored};

/// What a snapshot task knows of its earlier runs.
#[derive(Clone, Debug)]
pub struct Plan {
    tables: HashMap<TableId, Known>,
}

/// What is known of a table.
#[derive(Clone, Debug, Default)]
struct Known {
    stored: Option<Stored>,
    chunks: BTreeMap<u32, Stored>,
}

impl Plan {
    /// The plan of a snapshot whose source is of kind `db_type`.
    ///
    /// # Errors
    /// Positions of another kind of task or of another kind of source are refused, for the files then belong to
    /// another task (invariant 5).
    pub fn for_snapshot(loaded: &Loaded, db_type: DbType) -> Result<Plan> {
        let mut tables: HashMap<TableId, Known> = HashMap::new();
        for stored in loaded.positions() {
            let (table, stored_db_type) = match &stored.entry.position {
                Position::RdbSnapshot(snapshot) => (&snapshot.table, snapshot.db_type),
                Position::RdbSnapshotRows(rows) => (&rows.table, rows.db_type),
                Position::RdbSnapshotFinished(finished) => (&finished.table, finished.db_type),
                Position::RdbSnapshotSplit(split) => (&split.table, split.db_type),
                Position::None => continue,
                Position::MysqlCdc(_) | Position::PgCdc(_) | Position::MongoCdc(_) | Position::Redis(_) => {
                    let message = "the stored positions are of another kind of task: one that follows changes";
                    return Err(of_another_task(Error::user(message), stored));
                }
            };
            if stored_db_type != db_type {
                let message = format!("the stored positions are of a {stored_db_type} source, this one is {db_type}");
                return Err(of_another_task(Error::user(message), stored));
            }
            let known = tables.entry(table.clone()).or_default();
            match stored.chunk() {
                None => known.stored = Some(stored.clone()),
                Some(chunk) => drop(known.chunks.insert(chunk.no, stored.clone())),
            }
        }
        Ok(Plan { tables })
    }

    /// Whether nothing is known of any table.
    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// How many tables are finished, and how many are in progress; tables that the task no longer has included.
    pub fn counts(&self) -> (usize, usize) {
        let is_finished = |stored: &&Stored| matches!(stored.entry.position, Position::RdbSnapshotFinished(_));
        let finished = self.tables.values().filter_map(|known| known.stored.as_ref()).filter(is_finished).count();
        (finished, self.tables.len() - finished)
    }

    /// Whether the positions were taken between the servers that the task has now. A server that is not known, here
    /// or in the position, is accepted: older tools did not write it.
    ///
    /// # Errors
    /// The first table, by name, whose position is of another source or target, with both identities.
    pub fn check_lineage(&self, here: &Lineage) -> Result<()> {
        let positions = self.tables.iter().flat_map(|(table, known)| {
            known.stored.iter().chain(known.chunks.values()).map(move |stored| (table, stored))
        });
        let differing = positions.filter_map(|(table, stored)| {
            let then = stored.lineage()?;
            let differs = |then: &Option<String>, now: &Option<String>| match (then, now) {
                (Some(then), Some(now)) if then != now => Some((then.clone(), now.clone())),
                (Some(_) | None, Some(_) | None) => None,
            };
            let source = differs(&then.source, &here.source).map(|ids| ("source", ids));
            let (side, (then, now)) =
                source.or_else(|| differs(&then.target, &here.target).map(|ids| ("target", ids)))?;
            Some((table, stored, side, then, now))
        });
        let Some((table, stored, side, then, now)) = differing.min_by_key(|(table, ..)| *table) else {
            return Ok(());
        };
        let error = Error::user(format!("the stored position is of another {side} server"))
            .with("table", table)
            .with("stored", then)
            .with("actual", now);
        Err(at_origin(error, stored).hint(
            "if it is the same data on another server (a failover, a restored backup), set [resumer] \
             allow_other_server=true; to start over, set [resumer] resume_type=dummy",
        ))
    }

    /// Where the reading of a table begins.
    pub fn decide(&self, table: &TableSchema) -> Decision {
        let known = self.tables.get(&table.id);
        let Some((stored, chunks)) = known.and_then(|known| Some((known.stored.as_ref()?, &known.chunks))) else {
            return Decision::Beginning { why: None };
        };
        match &stored.entry.position {
            Position::RdbSnapshotFinished(_) => Decision::Skip,
            Position::RdbSnapshot(snapshot) => go_on(snapshot, table),
            Position::RdbSnapshotRows(counted) => begin_again(counted, table),
            Position::RdbSnapshotSplit(split) => go_on_in_chunks(split, chunks, table),
            Position::None
            | Position::MysqlCdc(_)
            | Position::PgCdc(_)
            | Position::MongoCdc(_)
            | Position::Redis(_) => Decision::Beginning { why: None },
        }
    }
}

fn go_on(stored: &RdbSnapshot, table: &TableSchema) -> Decision {
    let key = stored.key.clone();
    let stored_columns: Vec<&str> = key.columns().collect();
    let has_null = key.parts().iter().any(|part| part.value == KeyText::Null);
    let table_columns = table.key_columns();
    match &table.key {
        Some(table_key) if stored_columns == table_columns => match has_null {
            false => Decision::After { key, null_keys_done: stored.null_keys_done },
            // Within the rows that have a null in the key: they come first, so little is redone.
            true if table_key.nullable => Decision::Beginning { why: None },
            true => restart(table, "the stored key is null, and the table's key cannot be"),
        },
        Some(_) if table_columns.first().is_some_and(|first| stored_columns == [*first]) => match has_null {
            false => Decision::AtPrefix { key },
            true => Decision::Beginning { why: None },
        },
        None if table.columns.first().is_some_and(|first| stored_columns == [first.name.as_str()]) => match has_null {
            false => Decision::AfterFirstColumn { key },
            true => Decision::Beginning { why: None },
        },
        Some(_) => restart(table, &differs(&key, &format!("its key is ({})", table_columns.join(", ")))),
        None => restart(table, &differs(&key, "it has no key")),
    }
}

fn begin_again(counted: &RdbSnapshotRows, table: &TableSchema) -> Decision {
    match &table.key {
        Some(key) if !key.nullable => {
            let now = format!("its key is ({})", table.key_columns().join(", "));
            restart(table, &format!("it was copied without a key, and now {now}"))
        }
        Some(_) | None => Decision::Again { rows: counted.rows },
    }
}

fn go_on_in_chunks(split: &RdbSnapshotSplit, known: &BTreeMap<u32, Stored>, table: &TableSchema) -> Decision {
    let table_columns = table.key_columns();
    match split.bounds.iter().find(|bound| bound.columns().ne(table_columns.iter().copied())) {
        Some(bound) => restart(table, &differs(bound, &format!("its key is ({})", table_columns.join(", ")))),
        None => chunks::remaining(split, |no| known.get(&no).map(|stored| &stored.entry.position)),
    }
}

fn differs(stored: &OrderKey, now: &str) -> String {
    let columns: Vec<&str> = stored.columns().collect();
    format!("its position was stored by the column(s) ({}), and now {now}", columns.join(", "))
}

fn restart(table: &TableSchema, why: &str) -> Decision {
    Decision::Beginning { why: Some(format!("table {} starts from the beginning: {why}", table.id)) }
}

fn of_another_task(error: Error, stored: &Stored) -> Error {
    at_origin(error, stored).hint(
        "give each task a [runtime] log_dir of its own, and where its positions are in a database a [global] task_id; to \
         start this task over in this log_dir, set [resumer] resume_type=dummy, which sets the old files aside",
    )
}

fn at_origin(error: Error, stored: &Stored) -> Error {
    match &stored.origin {
        Some(origin) => error.with("at", origin),
        None => error,
    }
}

#[cfg(test)]
mod tests;
