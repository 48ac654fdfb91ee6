//! The key of a row, and the values that a row does not say. Pure; rows are lines of COPY's text form without their
//! newlines, in which a bare tab stands between two fields only.

use std::borrow::Cow;

use crate::cdc::image::UNSAID;

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
        assert!(!places.is_empty(), "key: a key without columns");
        let adjacent = places.windows(2).all(|pair| pair[1] == pair[0] + 1);
        KeyPlaces { places, adjacent }
    }

    /// The places.
    pub fn places(&self) -> &[usize] {
        &self.places
    }

    /// The key of a row, as bytes that no other key of the table has; `None` if a column of it is null or unsaid.
    pub fn of<'a>(&self, row: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        if self.places.iter().any(|&at| matches!(field(row, at), b"\\N" | UNSAID)) {
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
        let tab = memchr::memchr(b'\t', rest).expect("key: a row with fewer values than its table has columns");
        &rest[tab + 1..]
    })
}

/// One field of a row, escaped as it is.
fn field(row: &[u8], at: usize) -> &[u8] {
    let rest = skip(row, at);
    memchr::memchr(b'\t', rest).map_or(rest, |end| &rest[..end])
}

/// The fields of a row, escaped as they are.
pub fn fields(row: &[u8]) -> impl Iterator<Item = &[u8]> {
    row.split(|&byte| byte == b'\t')
}

/// Whether a value of the row is not said.
pub fn has_unsaid(row: &[u8]) -> bool {
    let mut from = 0;
    while let Some(found) = memchr::memchr(b'\\', &row[from..]) {
        let at = from + found;
        let begins = at == 0 || row[at - 1] == b'\t';
        let ends = row.get(at + 2).is_none_or(|&next| next == b'\t');
        if row.get(at + 1) == Some(&b'T') && begins && ends {
            return true;
        }
        // What stands behind a back-slash belongs to it.
        from = (at + 2).min(row.len());
    }
    false
}

/// The places of the values that are not said.
pub fn unsaid(row: &[u8]) -> Vec<usize> {
    fields(row).enumerate().filter(|(_, field)| *field == UNSAID).map(|(at, _)| at).collect()
}

/// The row with what it does not say taken from the row that it was.
pub fn completed(row: &[u8], was: &[u8]) -> Vec<u8> {
    let mut whole = Vec::with_capacity(row.len().max(was.len()));
    for (nth, (is, was)) in fields(row).zip(fields(was)).enumerate() {
        if nth > 0 {
            whole.push(b'\t');
        }
        whole.extend_from_slice(if is == UNSAID { was } else { is });
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_bytes_of_its_columns_in_the_keys_order() {
        let row = b"1\ta\\tb\t\\N\tz\t\\T";
        let of = |places: &[usize]| KeyPlaces::new(places.to_vec()).of(row).map(Cow::into_owned);
        assert_eq!(of(&[0]).as_deref(), Some(&b"1"[..]));
        assert_eq!(of(&[0, 1]).as_deref(), Some(&b"1\ta\\tb"[..]));
        assert_eq!(of(&[3, 0]).as_deref(), Some(&b"z\t1"[..]));
        assert_eq!(of(&[0, 2]), None, "a null tells no row from another");
        assert_eq!(of(&[4]), None);
    }

    #[test]
    fn what_is_unsaid_is_told_from_what_looks_like_it() {
        for row in [&b"\\T"[..], b"1\t\\T", b"\\T\t1", b"1\t\\T\t2", b"\\\\\t\\T"] {
            assert!(has_unsaid(row), "{}", row.escape_ascii());
        }
        for row in [&b""[..], b"1", b"\\\\T", b"a\\T", b"\\TT", b"\\N", b"1\t\\\\T\t2", b"\\\\", b"x\\\\\\\\T"] {
            assert!(!has_unsaid(row), "{}", row.escape_ascii());
            assert!(unsaid(row).is_empty());
        }
        assert_eq!(unsaid(b"\\T\t1\t\\T\t\\\\T"), [0, 2]);
    }

    #[test]
    fn a_row_is_completed_from_what_it_was() {
        assert_eq!(completed(b"7\t\\T\t\\N\t\\T", b"6\tlong\tx\t\\T"), b"7\tlong\t\\N\t\\T");
    }
}
