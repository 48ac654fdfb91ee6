//! The `position_key` of a row: text that no collation takes for another one. Pure.
//!
//! A table's unique index may ignore case and accents and pad spaces (MySQL's default collations do), and a key column
//! holds 255 characters. So a name is written in lower-case ASCII letters, digits, `_`, `-` and `.`; every other byte,
//! upper-case letters too, is `%` and two lower-case hexadecimal digits. The separators `/` and `#` are outside of
//! that alphabet, so that two tables never have the same key.

use std::fmt::Write as _;

use dt_common::TableId;

/// As many characters as the column holds, less what `#` and a chunk's number take.
const TABLE_KEY_MAX: usize = 255 - 11;
/// `~` and the hash.
const HASHED: usize = 1 + 32;

/// The key of a table: `schema/table`. A key that would be too long ends in a hash of the whole instead of its tail.
pub(crate) fn of_table(table: &TableId) -> String {
    let mut key = String::new();
    push_encoded(&mut key, &table.schema);
    key.push('/');
    push_encoded(&mut key, &table.table);
    if key.len() > TABLE_KEY_MAX {
        let hash = fnv1a_128(key.as_bytes());
        key.truncate(TABLE_KEY_MAX - HASHED);
        let _ = write!(key, "~{hash:032x}");
    }
    key
}

/// The key of a chunk: the table's, and `#` and its number.
pub(crate) fn of_chunk(table: &TableId, no: u32) -> String {
    format!("{}#{no}", of_table(table))
}

/// Any text in that alphabet, whole.
#[cfg(feature = "mongodb")]
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    push_encoded(&mut encoded, text);
    encoded
}

fn push_encoded(key: &mut String, name: &str) {
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.' => key.push(char::from(byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(key, "%{byte:02x}")),
        }
    }
}

/// FNV-1a with 128 bits (draft-eastlake-fnv, 5 "The 128-bit FNV-1a").
fn fnv1a_128(bytes: &[u8]) -> u128 {
    const OFFSET: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    bytes.iter().fold(OFFSET, |hash, byte| (hash ^ u128::from(*byte)).wrapping_mul(PRIME))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn key(schema: &str, table: &str) -> String {
        of_table(&TableId::new(schema, table))
    }

    #[test]
    fn a_key_says_the_table_in_lower_case_ascii() {
        assert_eq!(key("shop", "order_lines-2.old"), "shop/order_lines-2.old");
        assert_eq!(key("Shop", "a b/c#é'"), "%53hop/a%20b%2fc%23%c3%a9%27");
        assert_eq!(of_chunk(&TableId::new("a", "b"), 4_294_967_295), "a/b#4294967295");
    }

    #[test]
    fn tables_that_a_collation_or_a_separator_could_mix_up_have_keys_of_their_own() {
        let names = [
            ("a-b", "c"),
            ("a", "b-c"),
            ("a.b", "c"),
            ("a", "b.c"),
            ("a/b", "c"),
            ("a", "b/c"),
            ("a", "t"),
            ("a", "T"),
            ("a", "t "),
            ("a", "t#1"),
            ("a", "e"),
            ("a", "é"),
            ("a", "%65"),
            ("", "a/b"),
            ("a", ""),
        ];
        let keys: BTreeSet<String> = names.iter().map(|(schema, table)| key(schema, table)).collect();
        assert_eq!(keys.len(), names.len(), "{keys:?}");
        assert!(!keys.contains(&of_chunk(&TableId::new("a", "t"), 1)));
    }

    #[test]
    fn a_long_key_ends_in_a_hash_and_stays_apart() {
        let long = "é".repeat(64);
        let (one, other) = (key(&long, &format!("{long}1")), key(&long, &format!("{long}2")));
        assert_eq!((one.len(), other.len()), (TABLE_KEY_MAX, TABLE_KEY_MAX));
        assert_ne!(one, other);
        assert!(of_chunk(&TableId::new(long.clone(), long), u32::MAX).len() <= 255);
    }

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a_128(b""), 0x6c62272e07bb014262b821756295c58d);
        assert_eq!(fnv1a_128(b"a"), 0xd228cb696f1a8caf78912b704e4a8964);
    }
}
