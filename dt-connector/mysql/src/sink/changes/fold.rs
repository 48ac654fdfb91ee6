//! Folding: the changes of one table, in the source's order, become the last state of each key. Pure.
//!
//! A key is known by the exact bytes of its columns in the row images. `'a'` and `'A'` are two keys here, whatever
//! the collation says, so that an update of one to the other is the end of one key and the beginning of another.
//! Rows with a null in the key cannot be told apart by it, nor can those of a table without one: their changes are kept
//! as they came.

use std::borrow::Cow;

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

/// Where the key's values are in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPlaces {
    places: Vec<usize>,
    // The columns follow each other in the row as they do in the key: the key is one piece of the row.
    adjacent: bool,
}

impl KeyPlaces {
    /// The key's columns by their places in the row, in the key's order; never empty.
    pub fn new(places: Vec<usize>) -> Self {
        assert!(!places.is_empty(), "fold: a key without columns");
        let adjacent = places.windows(2).all(|pair| pair[1] == pair[0] + 1);
        KeyPlaces { places, adjacent }
    }

    /// The places.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// The key of a row, as bytes that no other key of the table has; `None` if a column of it is null.
    pub fn of<'a>(&self, row: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if self.places.iter().any(|&at| field(row, at) == b"\\N") {
            return None;
        }
        if self.adjacent {
            let from = skip(row, self.places[0]);
            let rest = skip(from, self.places.len() - 1);
            let end = from.len() - rest.len() + field(rest, 0).len();
            return Some(Cow::Borrowed(&from[..end]));
        }
        // Fields hold no bare tab, so that two keys never run into one.
        let fields: Vec<&[u8]> = self.places.iter().map(|&at| field(row, at)).collect();
        Some(Cow::Owned(fields.join(&b'\t')))
    }
}

/// The row from its `count`th field on.
fn skip(row: &[u8], count: usize) -> &[u8] {
    (0..count).fold(row, |rest, _| {
        let tab = memchr::memchr(b'\t', rest).expect("fold: a row with fewer values than its table has columns");
        &rest[tab + 1..]
    })
}

/// One field of a row, escaped as it is.
fn field(row: &[u8], at: usize) -> &[u8] {
    let rest = skip(row, at);
    memchr::memchr(b'\t', rest).map_or(rest, |end| &rest[..end])
}

/// What the changes of one key come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net<'a> {
    /// A row that has the key; for its key's values only.
    pub keyed: &'a [u8],
    /// Whether a row with this key was there before the first of the changes.
    pub was_there: bool,
    /// The row that has the key in the end; `None` if there is none.
    pub last: Option<&'a [u8]>,
}

/// The changes of one table, of which those with keys fold.
///
/// A batch may hold more changes than any other structure of the process holds of anything, so that what is kept of
/// each is small: the fold is a sort, not a map.
#[derive(Debug, Default)]
pub struct Folded<'a> {
    nets: Vec<Net<'a>>,
    unkeyed: Vec<RowChange<'a>>,
}

impl<'a> Folded<'a> {
    /// Takes the next change of the table; `key` is `None` for a table without a key, and else the same each time.
    pub fn push(&mut self, key: Option<&KeyPlaces>, change: RowChange<'a>) {
        let key_of = |row: &'a [u8]| key.and_then(|key| key.of(row));
        match change {
            RowChange::Insert { after } => match key_of(after) {
                Some(_) => self.came(after),
                None => self.unkeyed.push(change),
            },
            RowChange::Delete { before } => match key_of(before) {
                Some(_) => self.went(before),
                None => self.unkeyed.push(change),
            },
            RowChange::Update { before, after } => match (key_of(before), key_of(after)) {
                (Some(was), Some(is)) if was == is => self.stayed(after),
                (None, None) => self.unkeyed.push(change),
                (was, is) => {
                    match was {
                        Some(_) => self.went(before),
                        None => self.unkeyed.push(RowChange::Delete { before }),
                    }
                    match is {
                        Some(_) => self.came(after),
                        None => self.unkeyed.push(RowChange::Insert { after }),
                    }
                }
            },
        }
    }

    fn came(&mut self, row: &'a [u8]) {
        self.nets.push(Net { keyed: row, was_there: false, last: Some(row) });
    }

    fn stayed(&mut self, row: &'a [u8]) {
        self.nets.push(Net { keyed: row, was_there: true, last: Some(row) });
    }

    fn went(&mut self, row: &'a [u8]) {
        self.nets.push(Net { keyed: row, was_there: true, last: None });
    }

    /// Folds what was pushed: one net for each key.
    ///
    /// They are in order, about as the target's index has them: one after another they touch each of its pages once.
    /// Whole numbers go by their size, all else by its bytes; nothing but speed depends on it.
    pub fn fold(&mut self, key: &KeyPlaces) {
        // The sort is stable: the changes of a key stay in the source's order.
        self.nets.sort_by_cached_key(|net| key.of(net.keyed).map(|key| (digits(&key), key)));
        self.nets.dedup_by(|later, first| {
            let same = key.of(later.keyed) == key.of(first.keyed);
            if same {
                first.last = later.last;
            }
            same
        });
    }

    /// What the changes come to, key by key, once they are folded.
    pub fn nets(&self) -> &[Net<'a>] {
        &self.nets
    }

    /// The changes of rows that no key tells apart, in the source's order.
    pub fn unkeyed(&self) -> &[RowChange<'a>] {
        &self.unkeyed
    }
}

/// How many digits the whole number has that the key begins with, if it is one without a sign.
fn digits(key: &[u8]) -> usize {
    let first = memchr::memchr(b'\t', key).map_or(key, |end| &key[..end]);
    if first.iter().all(u8::is_ascii_digit) { first.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded<'a>(places: &[usize], changes: &[RowChange<'a>]) -> Folded<'a> {
        let key = KeyPlaces::new(places.to_vec());
        let mut folded = Folded::default();
        for &change in changes {
            folded.push(Some(&key), change);
        }
        folded.fold(&key);
        folded
    }

    #[test]
    fn a_key_is_the_bytes_of_its_columns_in_the_keys_order() {
        let row = b"1\ta\\tb\t\\N\tz";
        let of = |places: &[usize]| KeyPlaces::new(places.to_vec()).of(row).map(Cow::into_owned);
        assert_eq!(of(&[0]).as_deref(), Some(&b"1"[..]));
        assert_eq!(of(&[0, 1]).as_deref(), Some(&b"1\ta\\tb"[..]));
        assert_eq!(of(&[3, 0]).as_deref(), Some(&b"z\t1"[..]));
        assert_eq!(of(&[3]).as_deref(), Some(&b"z"[..]));
        assert_eq!(of(&[0, 2]), None, "a null tells no row from another");
    }

    #[test]
    fn the_last_change_of_a_key_stands_for_all() {
        let folded = folded(
            &[0],
            &[
                RowChange::Insert { after: b"1\ta" },
                RowChange::Update { before: b"1\ta", after: b"1\tb" },
                RowChange::Delete { before: b"2\tx" },
                RowChange::Insert { after: b"2\ty" },
                RowChange::Update { before: b"3\tx", after: b"3\ty" },
                RowChange::Delete { before: b"3\ty" },
            ],
        );
        assert_eq!(
            folded.nets(),
            [
                Net { keyed: b"1\ta", was_there: false, last: Some(b"1\tb") },
                Net { keyed: b"2\tx", was_there: true, last: Some(b"2\ty") },
                Net { keyed: b"3\ty", was_there: true, last: None },
            ]
        );
    }

    #[test]
    fn keys_are_sorted_as_numbers_or_else_as_bytes() {
        let rows: [&[u8]; 7] = [b"10\ta", b"9\tb", b"b\tc", b"a\td", b"100\te", b"9\ta", b"-5\tf"];
        let folded = folded(&[0, 1], &rows.map(|after| RowChange::Insert { after }));
        let sorted: Vec<&[u8]> = folded.nets().iter().map(|net| net.keyed).collect();
        assert_eq!(sorted, [&b"-5\tf"[..], b"a\td", b"b\tc", b"9\ta", b"9\tb", b"10\ta", b"100\te"]);
    }

    #[test]
    fn another_case_of_a_key_is_another_key() {
        let folded = folded(&[0], &[RowChange::Update { before: b"a\t1", after: b"A\t1" }]);
        assert_eq!(
            folded.nets(),
            [
                Net { keyed: b"A\t1", was_there: false, last: Some(b"A\t1") },
                Net { keyed: b"a\t1", was_there: true, last: None },
            ]
        );
    }

    #[test]
    fn rows_with_a_null_key_keep_their_order_and_a_row_that_gets_a_key_leaves_them() {
        let changes = [
            RowChange::Insert { after: b"\\N\t1" },
            RowChange::Update { before: b"\\N\t1", after: b"\\N\t2" },
            RowChange::Update { before: b"\\N\t2", after: b"7\t2" },
            RowChange::Update { before: b"7\t2", after: b"\\N\t3" },
        ];
        let folded = folded(&[0], &changes);
        assert_eq!(
            folded.unkeyed(),
            [changes[0], changes[1], RowChange::Delete { before: b"\\N\t2" }, RowChange::Insert { after: b"\\N\t3" }]
        );
        assert_eq!(folded.nets(), [Net { keyed: b"7\t2", was_there: false, last: None }]);
    }
}
