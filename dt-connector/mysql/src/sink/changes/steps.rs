//! The steps of a batch, in the order in which they are executed. Pure.
//!
//! # Without foreign keys: folded
//!
//! Each table's changes are folded ([`super::fold`]) and executed as: first all its **deletes**, then the changes of
//! rows without a key, in order, then all its **writes**. Tables do not wait for each other. This gives the source's
//! state, by any collation and with any further unique keys, because of what the source has guaranteed: at each moment
//! of the history no two of its rows were equal in a unique key.
//!
//! - *A delete never takes a row that is to stay.* It may take a row whose key differs from the deleted one in bytes and
//!   is equal by collation. Such a row cannot have been there together with the deleted one, so that it came
//!   later: within the batch, and then it is among the writes.
//! - *A REPLACE never takes a row that is to stay.* It takes the rows that are equal to the new one in some unique
//!   key. A row that no change of the batch touches was there with the new row in the end, so that it is equal
//!   in none. A row that is touched and stays is itself written: if it comes later in the batch, it is written again; if
//!   it came before, it has its last values, and these are equal to those of no other row in the end.
//! - *The same holds when the target is ahead*, for a batch, or a part of it and of those that follow, had been applied
//!   before an interruption. The argument never uses what the target held of a touched key. Once the stream has
//!   caught up, each touched key has been written or deleted by its last change, and no later step can take it.
//!   In between, a row may be missing that a later batch brings back.
//! - *Rows without a key* are written between the two: they may take the place of a deleted row, and what they take
//!   from a row that moves away within the batch is written afterwards. An UPDATE would be refused such a place: where
//!   the target has another unique key, it is a delete and a write. Repeated, these can leave such a row twice if it is
//!   null in all unique keys; this is what rows without a key are promised.
//!
//! Where a written row does not meet itself in the target (there is no unique key there, or a duplicate is to be
//! refused or left), the row that was is deleted with the others first, and the new one is inserted.
//!
//! # With foreign keys checked: in the source's order
//!
//! A REPLACE deletes, and a delete may cascade; which table comes first is known to the source only. So each change is
//! executed by itself, as what it was, in order; only successive writes to one table share a statement, whose rows the
//! server takes in order too.

use std::collections::HashMap;

use super::super::statement::Duplicates;
use super::fold::{Folded, KeyPlaces, RowChange};

/// What the order depends on, of one table as it was at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Tables with equal numbers are one table on the target.
    pub target: usize,
    /// The key, if the source's table has one.
    pub key: Option<KeyPlaces>,
    /// A unique key of the target lies within the key, so that a row that is written again meets itself.
    pub meets_itself: bool,
    /// The target has a unique key that does not lie within the key, so that rows without a key can still be equal to
    /// others.
    pub unique_elsewhere: bool,
}

/// By what a single row is found in the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// By its key.
    Key,
    /// By all its values: one of the rows that have them.
    Image,
}

/// Something to execute. `table` is a place in the list of tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Delete all rows with these keys.
    DeleteKeys {
        /// The table.
        table: usize,
        /// A row for each key, for its key's values.
        rows: Vec<&'a [u8]>,
    },
    /// Write rows by the rule for duplicates.
    Write {
        /// The table.
        table: usize,
        /// The rows, in order.
        rows: Vec<&'a [u8]>,
    },
    /// Delete one row.
    DeleteRow {
        /// The table.
        table: usize,
        /// The row.
        before: &'a [u8],
        /// How it is found.
        by: By,
    },
    /// Give one row new values.
    UpdateRow {
        /// The table.
        table: usize,
        /// The row that was.
        before: &'a [u8],
        /// The row that is.
        after: &'a [u8],
        /// How it is found.
        by: By,
    },
}

impl Step<'_> {
    /// The table.
    pub fn table(&self) -> usize {
        match self {
            Step::DeleteKeys { table, .. }
            | Step::Write { table, .. }
            | Step::DeleteRow { table, .. }
            | Step::UpdateRow { table, .. } => *table,
        }
    }
}

/// The steps for these changes (the number of a table in `tables`, and what was done), which are in the source's order.
pub fn steps<'a>(
    tables: &[Traits],
    changes: impl IntoIterator<Item = (usize, RowChange<'a>)>,
    duplicates: Duplicates,
    foreign_keys_checked: bool,
) -> Vec<Step<'a>> {
    if foreign_keys_checked { in_order(tables, changes, duplicates) } else { folded(tables, changes, duplicates) }
}

fn folded<'a>(
    tables: &[Traits],
    changes: impl IntoIterator<Item = (usize, RowChange<'a>)>,
    duplicates: Duplicates,
) -> Vec<Step<'a>> {
    // One group for each table of the target; a new one where another table of the source (or the same one with other
    // columns) goes on with it, for their keys are not to be compared.
    let mut groups: Vec<(usize, Folded<'a>)> = Vec::new();
    let mut open: HashMap<usize, usize> = HashMap::new();
    for (table, change) in changes {
        let traits = &tables[table];
        let at = match open.get(&traits.target) {
            Some(&at) if groups[at].0 == table => at,
            Some(_) | None => {
                groups.push((table, Folded::default()));
                open.insert(traits.target, groups.len() - 1);
                groups.len() - 1
            }
        };
        groups[at].1.push(traits.key.as_ref(), change);
    }
    let mut steps = Vec::new();
    for (table, mut group) in groups {
        let traits = &tables[table];
        if let Some(key) = &traits.key {
            group.fold(key);
        }
        group_steps(table, traits, &group, duplicates, &mut steps);
    }
    steps
}

fn group_steps<'a>(
    table: usize,
    traits: &Traits,
    group: &Folded<'a>,
    duplicates: Duplicates,
    steps: &mut Vec<Step<'a>>,
) {
    let nets = group.nets();
    let goes_first = |was_there: bool| match duplicates {
        Duplicates::Replace | Duplicates::Update => !traits.meets_itself,
        // What is new must not take the place of a row that the source knows nothing of.
        Duplicates::Refuse | Duplicates::Leave => was_there,
    };
    let deleted = nets.iter().filter(|net| net.last.is_none() || goes_first(net.was_there));
    let rows: Vec<&[u8]> = deleted.map(|net| net.keyed).collect();
    if !rows.is_empty() {
        steps.push(Step::DeleteKeys { table, rows });
    }
    for &change in group.unkeyed() {
        match change {
            RowChange::Insert { after } => write(steps, table, after),
            RowChange::Update { before, after } if traits.unique_elsewhere => {
                steps.push(Step::DeleteRow { table, before, by: By::Image });
                write(steps, table, after);
            }
            RowChange::Update { before, after } => {
                steps.push(Step::UpdateRow { table, before, after, by: By::Image });
            }
            RowChange::Delete { before } => steps.push(Step::DeleteRow { table, before, by: By::Image }),
        }
    }
    for row in nets.iter().filter_map(|net| net.last) {
        write(steps, table, row);
    }
}

/// Adds a row to the step before, if that writes to the same table.
fn write<'a>(steps: &mut Vec<Step<'a>>, table: usize, row: &'a [u8]) {
    match steps.last_mut() {
        Some(Step::Write { table: last, rows }) if *last == table => rows.push(row),
        Some(Step::Write { .. } | Step::DeleteKeys { .. } | Step::DeleteRow { .. } | Step::UpdateRow { .. }) | None => {
            steps.push(Step::Write { table, rows: vec![row] });
        }
    }
}

fn in_order<'a>(
    tables: &[Traits],
    changes: impl IntoIterator<Item = (usize, RowChange<'a>)>,
    duplicates: Duplicates,
) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    for (table, change) in changes {
        let traits = &tables[table];
        let key_of = |row: &'a [u8]| traits.key.as_ref().and_then(|key| key.of(row));
        let by = |row: &'a [u8]| if key_of(row).is_some() { By::Key } else { By::Image };
        match change {
            RowChange::Insert { after } => write(&mut steps, table, after),
            RowChange::Delete { before } => steps.push(Step::DeleteRow { table, before, by: by(before) }),
            RowChange::Update { before, after } => {
                let (was, is) = (key_of(before), key_of(after));
                let upserts = match duplicates {
                    Duplicates::Replace | Duplicates::Update => traits.meets_itself && is.is_some(),
                    Duplicates::Refuse | Duplicates::Leave => false,
                };
                if !(upserts && was == is) {
                    steps.push(Step::UpdateRow { table, before, after, by: by(before) });
                }
                // After a key's change as well: the row that was may not be there (any more).
                if upserts {
                    write(&mut steps, table, after);
                }
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests;
