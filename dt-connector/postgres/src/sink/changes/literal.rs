//! A field of a row as a literal of SQL. Pure.

use crate::rows::unescaped;

/// Appends the literal of a field: `NULL`, or a string, which takes the type of what it is written to or cast to.
pub fn push(out: &mut Vec<u8>, field: &[u8]) {
    if field == b"\\N" {
        out.extend_from_slice(b"NULL");
        return;
    }
    push_string(out, &unescaped(field));
}

/// Appends a string literal of any bytes. Back-slashes are escaped whatever `standard_conforming_strings` says.
fn push_string(out: &mut Vec<u8>, text: &[u8]) {
    if std::str::from_utf8(text).is_err() {
        // Of a database without an encoding: a statement is sent as UTF-8.
        out.extend_from_slice(b" ");
        out.extend_from_slice(crate::sql::bytes(text).as_bytes());
        return;
    }
    out.extend_from_slice(if memchr::memchr(b'\\', text).is_some() { b" E'" } else { b"'" });
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\\', b'\'', rest) {
        out.extend_from_slice(&rest[..=at]);
        out.push(rest[at]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

/// Appends `'{"a","b"}'`, the literal of an array of these fields (PostgreSQL documentation, 8.15.6 Array Input and
/// Output Syntax); none of them is null.
pub fn push_array<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = &'a [u8]>) {
    let mut text = vec![b'{'];
    for field in fields {
        if text.len() > 1 {
            text.push(b',');
        }
        let value = unescaped(field);
        if !value.is_empty() && value.len() < 4 * 1024 && is_plain(&value) {
            text.extend_from_slice(&value);
            continue;
        }
        text.push(b'"');
        let mut rest: &[u8] = &value;
        while let Some(at) = memchr::memchr2(b'\\', b'"', rest) {
            text.extend_from_slice(&rest[..at]);
            text.extend_from_slice(&[b'\\', rest[at]]);
            rest = &rest[at + 1..];
        }
        text.extend_from_slice(rest);
        text.push(b'"');
    }
    text.push(b'}');
    push_string(out, &text);
}

/// Digits alone need no quotes.
fn is_plain(value: &[u8]) -> bool {
    value.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(field: &[u8]) -> String {
        let mut out = Vec::new();
        push(&mut out, field);
        String::from_utf8(out).expect("is UTF-8")
    }

    #[test]
    fn a_field_is_a_string_or_null() {
        assert_eq!(literal(b"\\N"), "NULL");
        assert_eq!(literal(b""), "''");
        assert_eq!(literal(b"it's"), "'it''s'");
        assert_eq!(literal(b"a\\tb\\nc"), "'a\tb\nc'");
        assert_eq!(literal(b"\\\\N and it's"), " E'\\\\N and it''s'");
    }

    #[test]
    fn keys_are_an_array() {
        let mut out = Vec::new();
        push_array(&mut out, [&b"-7"[..], b"", b"it's \"so\"", b"a\\\\b", b"NULL", b"x,y"].into_iter());
        assert_eq!(String::from_utf8(out).expect("is UTF-8"), r#" E'{-7,"","it''s \\"so\\"","a\\\\b","NULL","x,y"}'"#);
    }
}
