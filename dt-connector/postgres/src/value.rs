//! The values of keys: out of a row as text that finds the row again, and as a literal that the server compares with.
//!
//! Nothing is ordered or compared here: that is the server's, with the column's own type and collation.

use dt_common::position::KeyText;
use dt_common::position::wire::{from_hex, to_hex};

use crate::sql;

/// Types whose binary form is read here; of any other type the server is asked for the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direct {
    /// A signed whole number of so many bytes.
    Integer,
    /// A whole number of 32 bits without a sign.
    Unsigned,
    /// The text itself; an enum's label.
    Text,
    /// 16 bytes.
    Uuid,
    /// One byte.
    Boolean,
    /// The bytes themselves.
    Bytes,
}

/// How a column with this binary form is read (see [`dt_common::schema::Column::binary_form`]).
pub fn direct(binary_form: &str) -> Option<Direct> {
    match binary_form {
        "pg_catalog.int2" | "pg_catalog.int4" | "pg_catalog.int8" => Some(Direct::Integer),
        "pg_catalog.oid" => Some(Direct::Unsigned),
        "pg_catalog.text" | "pg_catalog.varchar" | "pg_catalog.bpchar" | "pg_catalog.name" | "citext.citext" => {
            Some(Direct::Text)
        }
        "pg_catalog.uuid" => Some(Direct::Uuid),
        "pg_catalog.bool" => Some(Direct::Boolean),
        "pg_catalog.bytea" => Some(Direct::Bytes),
        form if form.starts_with("enum ") => Some(Direct::Text),
        _ => None,
    }
}

impl Direct {
    /// The value as text; `None` if these are not the bytes of such a value.
    pub fn key(self, bytes: &[u8]) -> Option<KeyText> {
        let text = match self {
            Direct::Integer => match bytes.len() {
                2 => i16::from_be_bytes(bytes.try_into().ok()?).to_string(),
                4 => i32::from_be_bytes(bytes.try_into().ok()?).to_string(),
                8 => i64::from_be_bytes(bytes.try_into().ok()?).to_string(),
                _ => return None,
            },
            Direct::Unsigned => u32::from_be_bytes(bytes.try_into().ok()?).to_string(),
            Direct::Text => return Some(text_key(bytes)),
            Direct::Uuid => {
                let bytes: [u8; 16] = bytes.try_into().ok()?;
                let parts = [&bytes[..4], &bytes[4..6], &bytes[6..8], &bytes[8..10], &bytes[10..]];
                parts.map(to_hex).join("-")
            }
            Direct::Boolean => match bytes {
                [0] => "f".to_owned(),
                [1] => "t".to_owned(),
                _ => return None,
            },
            Direct::Bytes => to_hex(bytes),
        };
        Some(KeyText::Text(text))
    }
}

/// A text of the server's as a key value: `bytea` as bare hex, anything that is not UTF-8 as bytes.
pub fn key_of_text(type_name: &str, bytes: &[u8]) -> KeyText {
    match (type_name, bytes.strip_prefix(b"\\x")) {
        ("bytea", Some(digits)) => text_key(digits),
        _ => text_key(bytes),
    }
}

fn text_key(bytes: &[u8]) -> KeyText {
    match std::str::from_utf8(bytes) {
        Ok(text) => KeyText::Text(text.to_owned()),
        Err(_) => KeyText::Bytes(bytes.to_vec()),
    }
}

/// The value as a literal of the column's own type; `None` if a column of that type cannot hold it, as far as that can
/// be seen here: the server has the last word.
pub fn literal(type_name: &str, cast: &str, value: &KeyText) -> Option<String> {
    let quoted = match (type_name, value) {
        (_, KeyText::Null) => return None,
        ("bytea", KeyText::Text(text)) => {
            let digits = text.strip_prefix("\\x").unwrap_or(text);
            sql::string(&format!("\\x{}", to_hex(&from_hex(digits)?)))
        }
        ("bytea", KeyText::Bytes(bytes)) => sql::string(&format!("\\x{}", to_hex(bytes))),
        (_, KeyText::Text(text)) if text.contains('\0') => return None,
        (_, KeyText::Text(text)) => sql::string(text),
        (_, KeyText::Bytes(bytes)) => sql::bytes(bytes),
    };
    Some(format!("{quoted}::{cast}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> KeyText {
        KeyText::Text(text.into())
    }

    #[test]
    fn binary_keys_become_the_server_s_text() {
        let cases: &[(&str, &[u8], &str)] = &[
            ("pg_catalog.int2", &[0xff, 0xfe], "-2"),
            ("pg_catalog.int4", &[0, 0, 1, 0], "256"),
            ("pg_catalog.int8", &[0x80, 0, 0, 0, 0, 0, 0, 0], "-9223372036854775808"),
            ("pg_catalog.oid", &[0xff, 0xff, 0xff, 0xff], "4294967295"),
            ("pg_catalog.bpchar", b"ab  ", "ab  "),
            ("enum a.b", b"sad", "sad"),
            ("pg_catalog.bool", &[1], "t"),
            ("pg_catalog.bytea", &[0, 0xab], "00ab"),
            (
                "pg_catalog.uuid",
                &[0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 1, 2, 3, 4, 5, 6, 7],
                "01234567-89ab-cdef-0001-020304050607",
            ),
        ];
        for (form, bytes, key) in cases {
            assert_eq!(direct(form).expect(form).key(bytes), Some(text(key)), "{form}");
        }
        assert_eq!(direct("pg_catalog.int4").and_then(|direct| direct.key(&[1, 2, 3])), None);
        assert_eq!(direct("pg_catalog.numeric"), None);
    }

    #[test]
    fn literals_have_the_column_s_type() {
        assert_eq!(literal("int4", "integer", &text("5")).as_deref(), Some("'5'::integer"));
        assert_eq!(literal("text", "text", &text("it's")).as_deref(), Some("'it''s'::text"));
        assert_eq!(literal("bytea", "bytea", &text("00ab")).as_deref(), Some("E'\\\\x00ab'::bytea"));
        assert_eq!(literal("bytea", "bytea", &text("\\x00AB")).as_deref(), Some("E'\\\\x00ab'::bytea"));
        assert_eq!(literal("bytea", "bytea", &text("no hex")), None);
        assert_eq!(literal("text", "text", &KeyText::Bytes(vec![0xe9])).as_deref(), Some("E'\\xe9'::text"));
        assert_eq!(literal("int4", "integer", &KeyText::Null), None);
    }
}
