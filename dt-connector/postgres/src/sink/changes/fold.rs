//! Folding: the changes of one table, in the source's order, become the last state of each key. Pure.
//!
//! A key is known by the exact bytes of its columns in the row images: `'a'` and `'A'` are two keys here, whatever a
//! collation says, so that an update of one to the other is the end of one key and the beginning of another.
//! Rows with a null in the key cannot be told apart by it, nor can those of a table without one: their changes are kept
//! as they came.
//!
//! A value that a row does not say is taken from the row's earlier change in the batch; without one it
//! stays unsaid, and the row is one to be patched.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::key::{KeyPlaces, completed, has_unsaid};

/// What was done to a row; the rows are lines of text without their newlines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowChange<'a> {
    /// A new row.
    Insert {
        /// The row.
        after: &'a [u8],
    },
    /// Another row in a row's place.
    Update {
        /// The row that was.
        before: &'a [u8],
        /// The row that is.
        after: &'a [u8],
    },
    /// A row that is no more.
    Delete {
        /// The row that was.
        before: &'a [u8],
    },
}

/// What the changes of one key come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net<'a> {
    /// A row that has the key; for its key's values only.
    pub keyed: &'a [u8],
    /// Whether a row with this key was there before the first of the changes.
    pub was_there: bool,
    /// The row that is there after the last of them, if one is.
    pub last: Option<Cow<'a, [u8]>>,
    /// Whether a value of that row is not said.
    pub is_partial: bool,
}

/// The changes of one table, folded.
#[derive(Debug, Default)]
pub struct Folded<'a> {
    nets: Vec<Net<'a>>,
    places: HashMap<Cow<'a, [u8]>, usize>,
    unkeyed: Vec<RowChange<'a>>,
}

/// A change that cannot be folded: a row gets another key, and not all of its values are said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfoldable;

impl<'a> Folded<'a> {
    /// Takes the next change of the table; `key` is `None` for a table without a key.
    pub fn push(&mut self, key: Option<&KeyPlaces>, change: RowChange<'a>) -> Result<(), Unfoldable> {
        let key_of = |row: &'a [u8]| key.and_then(|key| key.of(row));
        match change {
            RowChange::Insert { after } => match key_of(after) {
                Some(key) => self.came(key, after, Cow::Borrowed(after)),
                None => self.unkeyed.push(change),
            },
            RowChange::Delete { before } => match key_of(before) {
                Some(key) => self.went(key, before),
                None => self.unkeyed.push(change),
            },
            RowChange::Update { before, after } => match (key_of(before), key_of(after)) {
                (Some(was), Some(is)) if was == is => self.stayed(is, after),
                (None, None) => self.unkeyed.push(change),
                (was, is) => {
                    let row = self.whole(was.as_ref(), after).ok_or(Unfoldable)?;
                    match was {
                        Some(was) => self.went(was, before),
                        None => self.unkeyed.push(RowChange::Delete { before }),
                    }
                    match is {
                        Some(is) => self.came(is, after, row),
                        // Only where all values are said can a key be null: the row is the one that came.
                        None => self.unkeyed.push(RowChange::Insert { after }),
                    }
                }
            },
        }
        Ok(())
    }

    /// The row with all of its values, if they are known.
    fn whole(&self, was: Option<&Cow<'a, [u8]>>, row: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if !has_unsaid(row) {
            return Some(Cow::Borrowed(row));
        }
        let net = &self.nets[*self.places.get(was?)?];
        let last = net.last.as_ref().filter(|_| !net.is_partial)?;
        Some(Cow::Owned(completed(row, last)))
    }

    fn came(&mut self, key: Cow<'a, [u8]>, keyed: &'a [u8], row: Cow<'a, [u8]>) {
        let net = self.net(key, keyed, false);
        net.last = Some(row);
        net.is_partial = false;
    }

    fn stayed(&mut self, key: Cow<'a, [u8]>, row: &'a [u8]) {
        let is_partial = has_unsaid(row);
        let net = self.net(key, row, true);
        let row = match net.last.take() {
            Some(last) if is_partial => {
                let row = completed(row, &last);
                net.is_partial = net.is_partial && has_unsaid(&row);
                Cow::Owned(row)
            }
            Some(_) | None => {
                net.is_partial = is_partial;
                Cow::Borrowed(row)
            }
        };
        net.last = Some(row);
    }

    fn went(&mut self, key: Cow<'a, [u8]>, keyed: &'a [u8]) {
        let net = self.net(key, keyed, true);
        net.last = None;
        net.is_partial = false;
    }

    fn net(&mut self, key: Cow<'a, [u8]>, keyed: &'a [u8], was_there: bool) -> &mut Net<'a> {
        let at = match self.places.entry(key) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                self.nets.push(Net { keyed, was_there, last: None, is_partial: false });
                *entry.insert(self.nets.len() - 1)
            }
        };
        &mut self.nets[at]
    }

    /// What the changes come to, key by key, in the order in which the keys were first met; and the changes of rows
    /// that no key tells apart, in the source's order.
    pub fn into_parts(self) -> (Vec<Net<'a>>, Vec<RowChange<'a>>) {
        (self.nets, self.unkeyed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded<'a>(changes: &[RowChange<'a>]) -> (Vec<Net<'a>>, Vec<RowChange<'a>>) {
        let key = KeyPlaces::new(vec![0]);
        let mut folded = Folded::default();
        for &change in changes {
            folded.push(Some(&key), change).expect("can be folded");
        }
        folded.into_parts()
    }

    fn net<'a>(keyed: &'a [u8], was_there: bool, last: Option<&'a [u8]>) -> Net<'a> {
        Net { keyed, was_there, is_partial: last.is_some_and(has_unsaid), last: last.map(Cow::Borrowed) }
    }

    #[test]
    fn the_last_change_of_a_key_stands_for_all() {
        let (nets, _) = folded(&[
            RowChange::Insert { after: b"1\ta" },
            RowChange::Update { before: b"1\ta", after: b"1\tb" },
            RowChange::Delete { before: b"2\t\\T" },
            RowChange::Insert { after: b"2\ty" },
            RowChange::Update { before: b"3\tx", after: b"3\ty" },
            RowChange::Delete { before: b"3\t\\T" },
            RowChange::Update { before: b"a\t1", after: b"A\t1" },
        ]);
        assert_eq!(
            nets,
            [
                net(b"1\ta", false, Some(b"1\tb")),
                net(b"2\t\\T", true, Some(b"2\ty")),
                net(b"3\ty", true, None),
                net(b"a\t1", true, None),
                net(b"A\t1", false, Some(b"A\t1")),
            ]
        );
    }

    #[test]
    fn an_unsaid_value_keeps_what_an_earlier_change_said() {
        let (nets, _) = folded(&[
            RowChange::Insert { after: b"1\tlong\ta" },
            RowChange::Update { before: b"1\t\\T\tb", after: b"1\t\\T\tb" },
            RowChange::Update { before: b"2\t\\T\ta", after: b"2\t\\T\ta" },
            RowChange::Update { before: b"2\t\\T\tb", after: b"2\t\\T\tb" },
            RowChange::Update { before: b"3\t\\T\ta", after: b"3\t\\T\ta" },
            RowChange::Update { before: b"3\tnew\tb", after: b"3\tnew\tb" },
            RowChange::Update { before: b"3\t\\T\tc", after: b"3\t\\T\tc" },
        ]);
        assert_eq!(
            nets,
            [
                net(b"1\tlong\ta", false, Some(b"1\tlong\tb")),
                net(b"2\t\\T\ta", true, Some(b"2\t\\T\tb")),
                net(b"3\t\\T\ta", true, Some(b"3\tnew\tc")),
            ]
        );
    }

    #[test]
    fn values_that_are_unsaid_in_turn_are_each_taken_from_where_they_were_said() {
        let (nets, _) = folded(&[
            RowChange::Update { before: b"1\ta\t\\T", after: b"1\ta\t\\T" },
            RowChange::Update { before: b"1\t\\T\tb", after: b"1\t\\T\tb" },
        ]);
        assert_eq!(nets, [net(b"1\ta\t\\T", true, Some(b"1\ta\tb"))]);
    }

    #[test]
    fn a_row_that_moves_with_unsaid_values_is_folded_only_if_they_are_known() {
        let key = KeyPlaces::new(vec![0]);
        let moved = RowChange::Update { before: b"1\t\\T", after: b"2\t\\T" };
        assert_eq!(Folded::default().push(Some(&key), moved), Err(Unfoldable));
        let (nets, _) = folded(&[RowChange::Insert { after: b"1\tlong" }, moved]);
        assert_eq!(nets, [net(b"1\tlong", false, None), net(b"2\t\\T", false, Some(b"2\tlong"))]);
    }

    #[test]
    fn rows_with_a_null_key_keep_their_order_and_a_row_that_gets_a_key_leaves_them() {
        let changes = [
            RowChange::Insert { after: b"\\N\t1" },
            RowChange::Update { before: b"\\N\t1", after: b"\\N\t2" },
            RowChange::Update { before: b"\\N\t2", after: b"7\t2" },
            RowChange::Update { before: b"7\t2", after: b"\\N\t3" },
        ];
        let (nets, unkeyed) = folded(&changes);
        assert_eq!(
            unkeyed,
            [changes[0], changes[1], RowChange::Delete { before: b"\\N\t2" }, RowChange::Insert { after: b"\\N\t3" }]
        );
        assert_eq!(nets, [net(b"7\t2", false, None)]);
    }
}
