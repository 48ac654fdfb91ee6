//! Names and literals in MySQL's SQL. Nothing else in this crate quotes or escapes.

use std::fmt::Write as _;

use dt_common::TableId;

/// A name in back-ticks; any name is legal between them.
pub fn name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table's full name in back-ticks.
pub fn table(id: &TableId) -> String {
    format!("{}.{}", name(&id.schema), name(&id.table))
}

/// A quoted string literal, for a session without NO_BACKSLASH_ESCAPES.
pub fn string(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    push_string(&mut out, text.as_bytes());
    String::from_utf8(out).expect("sql: escaping keeps UTF-8 whole")
}

/// Appends a quoted string literal. The bytes must be of a character set in which no character but itself holds the
/// byte of a quote or a back-slash (UTF-8, ASCII); others are written by [`push_hex`].
pub fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'\'');
    let mut rest = text;
    while let Some(at) = memchr::memchr3(b'\'', b'\\', 0, rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'\\');
        out.push(if rest[at] == 0 { b'0' } else { rest[at] });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

/// Appends `x'…'`.
pub fn push_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"x'");
    for byte in bytes {
        out.push(HEX_DIGITS[usize::from(byte >> 4)]);
        out.push(HEX_DIGITS[usize::from(byte & 15)]);
    }
    out.push(b'\'');
}

/// `x'…'`.
pub fn hex_literal(bytes: &[u8]) -> String {
    format!("x'{}'", hex(bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("sql: writing to a string");
        text
    })
}

/// The bytes of a hex text; `None` if it is not one.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        assert_eq!(table(&TableId::new("a.b", "c`d-é")), "`a.b`.`c``d-é`");
    }

    #[test]
    fn strings_are_escaped_byte_by_byte() {
        assert_eq!(string(r"it's a \ and"), r"'it\'s a \\ and'");
        let mut out = Vec::new();
        push_string(&mut out, b"a\0b");
        assert_eq!(out, b"'a\\0b'");
    }

    #[test]
    fn hex_round_trips_and_refuses_what_is_none() {
        assert_eq!(hex(&[0, 255, 16]), "00ff10");
        assert_eq!(unhex("00ff10"), Some(vec![0, 255, 16]));
        assert_eq!(unhex("0g"), None);
        assert_eq!(unhex("abc"), None);
        assert_eq!(unhex("é"), None);
        assert_eq!(hex_literal(&[]), "x''");
    }
}
