//! The forms in which rows travel, [`RowFormat::PgBinary`](dt_connector::RowFormat) and
//! [`RowFormat::PgText`](dt_connector::RowFormat). Pure.
//!
//! PostgreSQL documentation, COPY, File Formats.

use std::borrow::Cow;

/// What stands in front of the first tuple of a binary file: the signature, no flags, no extension.
pub const BINARY_HEADER: &[u8; 19] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
/// What stands behind the last one: a field count of -1.
pub const BINARY_TRAILER: &[u8; 2] = b"\xff\xff";

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";

/// What follows the header of a binary file; `None` if this is no such header, or one with flags that must be
/// understood.
pub fn after_header(data: &[u8]) -> Option<&[u8]> {
    let rest = data.strip_prefix(SIGNATURE)?;
    let (flags, rest) = rest.split_first_chunk::<4>()?;
    let (extension, rest) = rest.split_first_chunk::<4>()?;
    // Bits 16 to 31 are critical: a reader that does not know them must stop.
    (u32::from_be_bytes(*flags) >> 16 == 0).then_some(())?;
    rest.get(u32::from_be_bytes(*extension) as usize..)
}

/// The number of fields of a binary tuple; -1 is the trailer.
pub fn field_count(tuple: &[u8]) -> Option<i16> {
    tuple.first_chunk::<2>().map(|count| i16::from_be_bytes(*count))
}

/// The fields of a binary tuple, one by one; null is `None`.
#[derive(Clone, Debug)]
pub struct BinaryFields<'a> {
    rest: &'a [u8],
}

impl<'a> BinaryFields<'a> {
    /// The fields of this tuple.
    pub fn new(tuple: &'a [u8]) -> Self {
        BinaryFields { rest: tuple.get(2..).unwrap_or_default() }
    }

    /// Fields without a count in front.
    pub fn of_fields(fields: &'a [u8]) -> Self {
        BinaryFields { rest: fields }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field; the outer `None` if the tuple is too short for it.
    pub fn field(&mut self) -> Option<Option<&'a [u8]>> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        match i32::from_be_bytes(*length) {
            -1 => {
                self.rest = rest;
                Some(None)
            }
            length => {
                let (value, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
                self.rest = rest;
                Some(Some(value))
            }
        }
    }
}

/// The fields of a text line without its newline, still escaped; null is `None`.
pub fn text_fields(line: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    line.split(|&byte| byte == b'\t').map(|field| (field != b"\\N").then_some(field))
}

/// A text field without its escapes.
pub fn unescaped(field: &[u8]) -> Cow<'_, [u8]> {
    let Some(first) = memchr::memchr(b'\\', field) else { return Cow::Borrowed(field) };
    let mut plain = field[..first].to_vec();
    let mut rest = &field[first..];
    while let [b'\\', escaped, behind @ ..] = rest {
        plain.push(match escaped {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            other => *other,
        });
        let next = memchr::memchr(b'\\', behind).unwrap_or(behind.len());
        plain.extend_from_slice(&behind[..next]);
        rest = &behind[next..];
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_skipped_and_only_a_header() {
        let mut data = BINARY_HEADER.to_vec();
        data.extend_from_slice(b"rest");
        assert_eq!(after_header(&data), Some(&b"rest"[..]));
        assert_eq!(after_header(b"PGCOPY\n"), None);
        data[12] = 1;
        assert_eq!(after_header(&data), None, "a critical flag");
    }

    #[test]
    fn a_tuple_is_read_field_by_field() {
        let tuple = b"\0\x03\0\0\0\x02ab\xff\xff\xff\xff\0\0\0\0";
        let mut fields = BinaryFields::new(tuple);
        assert_eq!(field_count(tuple), Some(3));
        assert_eq!(fields.field(), Some(Some(&b"ab"[..])));
        assert_eq!(fields.field(), Some(None));
        assert_eq!(fields.field(), Some(Some(&b""[..])));
        assert_eq!(fields.field(), None);
    }

    #[test]
    fn a_torn_tuple_is_no_tuple() {
        assert_eq!(BinaryFields::new(b"\0\x01\0\0\0\x05ab").field(), None);
        assert_eq!(BinaryFields::new(b"\0\x01\xff\xff\xff\xfe").field(), None);
        assert_eq!(field_count(b"\0"), None);
    }

    #[test]
    fn null_and_empty_and_escapes_are_told_apart() {
        let fields: Vec<_> = text_fields(b"\\N\t\ta\\tb\\\\N\t\\\\N").collect();
        assert_eq!(fields, [None, Some(&b""[..]), Some(b"a\\tb\\\\N"), Some(b"\\\\N")]);
        assert_eq!(unescaped(b"a\\tb\\\\N\\b\\f\\n\\r\\v"), &b"a\tb\\N\x08\x0c\n\r\x0b"[..]);
        assert_eq!(unescaped(b"plain"), &b"plain"[..]);
    }
}
