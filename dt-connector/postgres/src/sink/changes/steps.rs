//! The steps of a batch, in the order in which they are executed. Pure.
//!
//! # Folded
//!
//! Each table's changes are folded ([`super::fold`]) and executed as: first all its **deletes**, and those of rows that
//! are written again; then the changes of rows without a key, in order; then its **patches**, which are updates of rows
//! of which not all values are said; then its **writes**. Tables do not wait for each other. This gives the source's
//! state, because of what the source has guaranteed: at each moment of its history no two of its rows were equal in a
//! unique key.
//!
//! - *A delete never takes a row that is to stay.* It may take a row whose key differs from the deleted one in bytes and
//!   is equal by the type or the collation. Such a row cannot have been there together with the deleted one, so that it
//!   came later: within the batch, and then it is among the writes.
//! - *A write meets no row that is to stay.* A row of the target that no change of the batch touches was there with the
//!   new row in the end, so that it is equal in no unique key; one that is touched has been deleted before, or is new.
//! - *Where the target is ahead*, for a batch, or a part of it and of those that follow, had been applied before an
//!   interruption, a write may meet a row of the future. The server refuses it then, and the batch is executed again
//!   with what stands in the way deleted first ([`Mode::Careful`]): the row will be written again when its time comes.
//! - *Rows without a key* are written between the two: they may take the place of a deleted row. Where the target has
//!   another unique key, an update of such a row is a delete and a write.
//!
//! A patch may meet a row that a later patch moves out of the way: then the server refuses it, and the batch is executed
//! change by change. TRUNCATE, and a row that gets another key while not all of its values are said, separate what was
//! before from what comes after.
//!
//! # In order
//!
//! Where foreign keys are checked, which table comes first is known to the source only. So each change is executed by
//! itself, as what it was, in order; only successive writes to one table share a statement.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::super::statement::Duplicates;
use super::fold::{Folded, RowChange};
use super::key::{KeyPlaces, has_unsaid, unsaid};

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
    /// The target's table has columns that are not written: a row that is there must keep its values in them.
    pub keeps_columns: bool,
}

/// How the steps are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Folded.
    Folded,
    /// Folded; what stands in the way of a write is deleted first.
    Careful,
    /// One change after the other.
    InOrder,
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done<'a> {
    /// To a row.
    Row(RowChange<'a>),
    /// To all of them.
    Truncate {
        /// Whether the sequences of the table's columns begin anew.
        restart_identity: bool,
    },
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
    /// Write rows, whole ones. No two of them have one key.
    Write {
        /// The table.
        table: usize,
        /// The rows, in order.
        rows: Vec<Cow<'a, [u8]>>,
    },
    /// Give rows new values in all columns but these, found by their keys, which stay as they are.
    Patch {
        /// The table.
        table: usize,
        /// The places of the columns that keep their values.
        kept: Vec<usize>,
        /// The rows.
        rows: Vec<Cow<'a, [u8]>>,
    },
    /// Give one row another key, and new values as far as they are said.
    Move {
        /// The table.
        table: usize,
        /// The row that was.
        before: &'a [u8],
        /// The row that is.
        after: &'a [u8],
    },
    /// Delete one of the rows with these values.
    DeleteRow {
        /// The table.
        table: usize,
        /// The row.
        before: &'a [u8],
    },
    /// Give one of the rows with these values others.
    UpdateRow {
        /// The table.
        table: usize,
        /// The row that was.
        before: &'a [u8],
        /// The row that is.
        after: &'a [u8],
    },
    /// Delete all rows of these tables, in one statement.
    Truncate {
        /// The tables.
        tables: Vec<usize>,
        /// Whether the sequences of their columns begin anew.
        restart_identity: bool,
    },
}

impl Step<'_> {
    /// The table, or the first of them.
    pub fn table(&self) -> usize {
        match self {
            Step::DeleteKeys { table, .. }
            | Step::Write { table, .. }
            | Step::Patch { table, .. }
            | Step::Move { table, .. }
            | Step::DeleteRow { table, .. }
            | Step::UpdateRow { table, .. } => *table,
            Step::Truncate { tables, .. } => tables[0],
        }
    }
}

/// The steps for these changes (the number of a table in `tables`, and what was done), which are in the source's order.
pub fn steps<'a>(
    tables: &[Traits],
    changes: impl IntoIterator<Item = (usize, Done<'a>)>,
    duplicates: Duplicates,
    mode: Mode,
) -> Vec<Step<'a>> {
    match mode {
        Mode::Folded | Mode::Careful => {
            folded(tables, changes, &Rule { duplicates, is_careful: mode == Mode::Careful })
        }
        Mode::InOrder => in_order(tables, changes, duplicates),
    }
}

/// What decides which rows are deleted before they are written.
struct Rule {
    duplicates: Duplicates,
    is_careful: bool,
}

/// One group for each table of the target; a new one where another table of the source (or the same one with other
/// columns) goes on with it, for their keys are not to be compared.
#[derive(Default)]
struct Groups<'a> {
    groups: Vec<(usize, Folded<'a>)>,
    open: HashMap<usize, usize>,
}

impl<'a> Groups<'a> {
    fn of(&mut self, table: usize, traits: &Traits) -> &mut Folded<'a> {
        let at = match self.open.get(&traits.target) {
            Some(&at) if self.groups[at].0 == table => at,
            Some(_) | None => {
                self.groups.push((table, Folded::default()));
                self.open.insert(traits.target, self.groups.len() - 1);
                self.groups.len() - 1
            }
        };
        &mut self.groups[at].1
    }

    fn flush(&mut self, tables: &[Traits], rule: &Rule, steps: &mut Vec<Step<'a>>) {
        self.open.clear();
        for (table, group) in self.groups.drain(..) {
            group_steps(table, &tables[table], group, rule, steps);
        }
    }
}

fn folded<'a>(tables: &[Traits], changes: impl IntoIterator<Item = (usize, Done<'a>)>, rule: &Rule) -> Vec<Step<'a>> {
    let mut groups = Groups::default();
    let mut steps = Vec::new();
    for (table, done) in changes {
        let traits = &tables[table];
        match done {
            Done::Row(change) => {
                if groups.of(table, traits).push(traits.key.as_ref(), change).is_err()
                    && let RowChange::Update { before, after } = change
                {
                    groups.flush(tables, rule, &mut steps);
                    steps.push(Step::Move { table, before, after });
                }
            }
            Done::Truncate { restart_identity } => {
                groups.flush(tables, rule, &mut steps);
                truncate(&mut steps, table, restart_identity);
            }
        }
    }
    groups.flush(tables, rule, &mut steps);
    steps
}

fn group_steps<'a>(table: usize, traits: &Traits, group: Folded<'a>, rule: &Rule, steps: &mut Vec<Step<'a>>) {
    let (nets, unkeyed) = group.into_parts();
    // A row that has values of the target's own is written over, and not taken away, if that can be done.
    let goes_first = |was_there: bool| match rule.duplicates {
        Duplicates::Replace => !traits.meets_itself || ((was_there || rule.is_careful) && !traits.keeps_columns),
        Duplicates::Update => !traits.meets_itself,
        // What is new must not take the place of a row that the source knows nothing of.
        Duplicates::Refuse | Duplicates::Leave => was_there,
    };
    let deleted = nets.iter().filter(|net| !net.is_partial && (net.last.is_none() || goes_first(net.was_there)));
    let rows: Vec<&[u8]> = deleted.map(|net| net.keyed).collect();
    if !rows.is_empty() {
        steps.push(Step::DeleteKeys { table, rows });
    }
    for change in unkeyed {
        match change {
            RowChange::Insert { after } => write(steps, table, Cow::Borrowed(after)),
            RowChange::Update { before, after } if traits.unique_elsewhere => {
                steps.push(Step::DeleteRow { table, before });
                write(steps, table, Cow::Borrowed(after));
            }
            RowChange::Update { before, after } => steps.push(Step::UpdateRow { table, before, after }),
            RowChange::Delete { before } => steps.push(Step::DeleteRow { table, before }),
        }
    }
    let (mut patches, mut writes) = (BTreeMap::new(), Vec::new());
    for net in nets {
        match net.last {
            Some(row) if net.is_partial => patches.entry(unsaid(&row)).or_insert_with(Vec::new).push(row),
            Some(row) => writes.push(row),
            None => {}
        }
    }
    steps.extend(patches.into_iter().map(|(kept, rows)| Step::Patch { table, kept, rows }));
    for row in writes {
        write(steps, table, row);
    }
}

/// Adds a row to the step before, if that writes to the same table.
fn write<'a>(steps: &mut Vec<Step<'a>>, table: usize, row: Cow<'a, [u8]>) {
    match steps.last_mut() {
        Some(Step::Write { table: last, rows }) if *last == table => rows.push(row),
        Some(_) | None => steps.push(Step::Write { table, rows: vec![row] }),
    }
}

/// Adds a table to the step before, if that is the same statement.
fn truncate(steps: &mut Vec<Step<'_>>, table: usize, restart_identity: bool) {
    match steps.last_mut() {
        Some(Step::Truncate { tables, restart_identity: last }) if *last == restart_identity => tables.push(table),
        Some(_) | None => steps.push(Step::Truncate { tables: vec![table], restart_identity }),
    }
}

fn in_order<'a>(
    tables: &[Traits],
    changes: impl IntoIterator<Item = (usize, Done<'a>)>,
    duplicates: Duplicates,
) -> Vec<Step<'a>> {
    let mut steps = Vec::new();
    // The keys of the write that is open: one statement takes each key once.
    let mut written: HashSet<Cow<'a, [u8]>> = HashSet::new();
    for (table, done) in changes {
        let traits = &tables[table];
        let change = match done {
            Done::Row(change) => change,
            Done::Truncate { restart_identity } => {
                truncate(&mut steps, table, restart_identity);
                continue;
            }
        };
        let key_of = |row: &'a [u8]| traits.key.as_ref().and_then(|key| key.of(row));
        let mut add = |steps: &mut Vec<Step<'a>>, row: &'a [u8]| {
            let goes_on = matches!(steps.last(), Some(Step::Write { table: last, .. }) if *last == table);
            if !goes_on {
                written.clear();
            }
            let is_new = key_of(row).is_none_or(|key| written.insert(key.clone()));
            if is_new {
                write(steps, table, Cow::Borrowed(row));
            } else {
                written.clear();
                written.extend(key_of(row));
                steps.push(Step::Write { table, rows: vec![Cow::Borrowed(row)] });
            }
        };
        match change {
            RowChange::Insert { after } => add(&mut steps, after),
            RowChange::Delete { before } => match key_of(before) {
                Some(_) => steps.push(Step::DeleteKeys { table, rows: vec![before] }),
                None => steps.push(Step::DeleteRow { table, before }),
            },
            RowChange::Update { before, after } => {
                let is_whole = !has_unsaid(after);
                let upserts = match duplicates {
                    Duplicates::Replace | Duplicates::Update => traits.meets_itself && is_whole,
                    Duplicates::Refuse | Duplicates::Leave => false,
                };
                match (key_of(before), key_of(after)) {
                    (Some(was), Some(is)) if was == is => match upserts {
                        true => add(&mut steps, after),
                        false => {
                            let (kept, rows) = (unsaid(after), vec![Cow::Borrowed(after)]);
                            steps.push(Step::Patch { table, kept, rows });
                        }
                    },
                    (Some(_), Some(_)) => {
                        steps.push(Step::Move { table, before, after });
                        // The row that was may not be there (any more).
                        if upserts {
                            add(&mut steps, after);
                        }
                    }
                    (Some(_), None) => {
                        steps.push(Step::DeleteKeys { table, rows: vec![before] });
                        add(&mut steps, after);
                    }
                    (None, _) => steps.push(Step::UpdateRow { table, before, after }),
                }
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests;
