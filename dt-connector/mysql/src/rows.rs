//! The text form in which rows travel from source to target: [`RowFormat::MysqlText`](dt_connector::RowFormat).
//!
//! It is what `LOAD DATA … FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n'` reads: every value as
//! the server wrote it, byte by byte, with `\`, tab and newline escaped by a back-slash, `\N` for null. Escaping
//! works on bytes and the file is loaded as `CHARACTER SET binary`, so a value's character set does not matter here.

use std::borrow::Cow;

/// Appends one value.
pub fn push_value(out: &mut Vec<u8>, value: Option<&[u8]>) {
    let Some(mut rest) = value else {
        out.extend_from_slice(b"\\N");
        return;
    };
    while let Some(at) = memchr::memchr3(b'\\', b'\t', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(match rest[at] {
            b'\t' => b't',
            b'\n' => b'n',
            other => other,
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// Ends a value that is not the row's last.
pub fn end_value(out: &mut Vec<u8>) {
    out.push(b'\t');
}

/// Ends a row.
pub fn end_row(out: &mut Vec<u8>) {
    out.push(b'\n');
}

/// The rows of a block, each without its newline.
pub fn rows(block: &[u8]) -> impl Iterator<Item = &[u8]> {
    // Newlines within values are escaped, so that each newline ends a row.
    let mut rest = block;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let row = &rest[..end];
        rest = &rest[end + 1..];
        Some(row)
    })
}

/// The values of a row; `None` is null.
pub fn values(row: &[u8]) -> impl Iterator<Item = Option<Cow<'_, [u8]>>> {
    row.split(|&byte| byte == b'\t').map(|field| if field == b"\\N" { None } else { Some(unescape(field)) })
}

fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr(b'\\', field).is_none() {
        return Cow::Borrowed(field);
    }
    let mut out = Vec::with_capacity(field.len());
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next() {
                Some(b't') => b'\t',
                Some(b'n') => b'\n',
                Some(other) => other,
                None => b'\\',
            },
            other => other,
        });
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(rows: &[Vec<Option<Vec<u8>>>]) -> Vec<u8> {
        let mut out = Vec::new();
        for row in rows {
            for (at, value) in row.iter().enumerate() {
                if at > 0 {
                    end_value(&mut out);
                }
                push_value(&mut out, value.as_deref());
            }
            end_row(&mut out);
        }
        out
    }

    fn decode(block: &[u8]) -> Vec<Vec<Option<Vec<u8>>>> {
        rows(block).map(|row| values(row).map(|value| value.map(Cow::into_owned)).collect()).collect()
    }

    #[test]
    fn null_the_empty_string_and_a_literal_back_slash_n_are_three_things() {
        let row = vec![None, Some(b"".to_vec()), Some(b"\\N".to_vec()), Some(b"N".to_vec())];
        let text = encode(std::slice::from_ref(&row));
        assert_eq!(text, b"\\N\t\t\\\\N\tN\n");
        assert_eq!(decode(&text), [row]);
    }

    #[test]
    fn tabs_newlines_and_nul_bytes_stay_within_their_value() {
        let row = vec![Some(b"a\tb\nc\\d\0e\r".to_vec()), Some(b"x".to_vec())];
        assert_eq!(encode(std::slice::from_ref(&row)), b"a\\tb\\nc\\\\d\0e\r\tx\n");
    }

    proptest! {
        #[test]
        fn any_rows_round_trip(rows in prop::collection::vec(
            prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..12)), 3), 0..6))
        {
            prop_assert_eq!(decode(&encode(&rows)), rows);
        }
    }
}
