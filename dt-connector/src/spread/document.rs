//! What tells a MongoDB document's slot: its `_id`, so that any two that a server without a collation takes for equal have
//! one slot (MongoDB documentation, Comparison/Sort Order; bsonspec.org, version 1.1).

use super::Fnv;

const DOUBLE: u8 = 0x01;
const STRING: u8 = 0x02;
const BINARY: u8 = 0x05;
const UNDEFINED: u8 = 0x06;
const OBJECT_ID: u8 = 0x07;
const BOOLEAN: u8 = 0x08;
const DATE: u8 = 0x09;
const NULL: u8 = 0x0a;
const SYMBOL: u8 = 0x0e;
const INT32: u8 = 0x10;
const TIMESTAMP: u8 = 0x11;
const INT64: u8 = 0x12;
const DECIMAL128: u8 = 0x13;
const MAX_KEY: u8 = 0x7f;
const MIN_KEY: u8 = 0xff;

/// What an `_id` adds to its collection's slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    /// This.
    Alone(Fnv),
    /// Nothing: it is where the whole collection would be.
    Whole,
    /// It cannot be said.
    Unknown,
}

/// The slot of the document's `_id`, which is its first field, as everywhere on a server.
pub(super) fn id(document: &[u8], mut hash: Fnv) -> Id {
    let field = document.get(4..).and_then(|fields| fields.split_first());
    let Some((&kind, named)) = field else { return Id::Unknown };
    let Some(value) = named.strip_prefix(b"_id\0") else { return Id::Unknown };
    let mut with = |kind: u8, bytes: Option<&[u8]>| {
        let Some(bytes) = bytes else { return Id::Unknown };
        hash.take_all(&[kind]);
        hash.take_all(bytes);
        Id::Alone(hash)
    };
    match kind {
        INT32 => with(
            INT64,
            fixed(value)
                .map(|bytes| i64::from(i32::from_le_bytes(bytes)).to_le_bytes())
                .as_ref()
                .map(|whole| &whole[..]),
        ),
        INT64 => with(INT64, value.get(..8)),
        DOUBLE => match fixed(value).map(f64::from_le_bytes) {
            Some(number) => match whole(number) {
                Some(whole) => with(INT64, Some(&whole.to_le_bytes())),
                None => with(DOUBLE, value.get(..8)),
            },
            None => Id::Unknown,
        },
        // Equal to numbers of the other types, in many forms.
        DECIMAL128 => Id::Unknown,
        STRING | SYMBOL => {
            let bytes = fixed(value).and_then(|length| usize::try_from(i32::from_le_bytes(length)).ok());
            with(STRING, bytes.and_then(|bytes| value.get(4..4 + bytes)))
        }
        BINARY => {
            let bytes = fixed(value).and_then(|length| usize::try_from(i32::from_le_bytes(length)).ok());
            with(BINARY, bytes.and_then(|bytes| value.get(..5 + bytes)))
        }
        OBJECT_ID => with(kind, value.get(..12)),
        DATE | TIMESTAMP => with(kind, value.get(..8)),
        BOOLEAN => with(kind, value.get(..1)),
        NULL | UNDEFINED | MIN_KEY | MAX_KEY => with(kind, Some(&[])),
        // A document's numbers may be written down in several ways, too.
        _ => Id::Whole,
    }
}

fn fixed<const N: usize>(value: &[u8]) -> Option<[u8; N]> {
    value.get(..N)?.try_into().ok()
}

/// The whole number that it is equal to.
fn whole(number: f64) -> Option<i64> {
    // 2^63, which a 64-bit number does not reach.
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    #[expect(clippy::cast_possible_truncation, reason = "it is a whole number within the bounds")]
    let whole = (number.fract() == 0.0 && (-BOUND..BOUND).contains(&number)).then_some(number as i64);
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: u8, value: &[u8]) -> Id {
        let mut document = vec![0; 4];
        document.push(kind);
        document.extend_from_slice(b"_id\0");
        document.extend_from_slice(value);
        document.push(0);
        id(&document, Fnv::new())
    }

    fn text(kind: u8, text: &str) -> Id {
        let mut value = u32::try_from(text.len() + 1).expect("short").to_le_bytes().to_vec();
        value.extend_from_slice(text.as_bytes());
        value.push(0);
        of(kind, &value)
    }

    #[test]
    fn numbers_that_are_equal_are_one_whatever_their_type() {
        for number in [0_i32, 1, -7, i32::MAX] {
            let int = of(INT32, &number.to_le_bytes());
            assert!(matches!(int, Id::Alone(_)));
            assert_eq!(int, of(INT64, &i64::from(number).to_le_bytes()));
            assert_eq!(int, of(DOUBLE, &f64::from(number).to_le_bytes()));
        }
        assert_eq!(of(DOUBLE, &(-0.0_f64).to_le_bytes()), of(INT32, &[0; 4]));
        assert_eq!(of(DOUBLE, &(-9_223_372_036_854_775_808.0_f64).to_le_bytes()), of(INT64, &i64::MIN.to_le_bytes()));
        for number in [1.5, 9_223_372_036_854_775_808.0, f64::NAN, f64::INFINITY] {
            assert_ne!(of(DOUBLE, &number.to_le_bytes()), of(INT64, &i64::MAX.to_le_bytes()), "{number}");
        }
        assert_ne!(of(INT32, &[1, 0, 0, 0]), of(INT32, &[2, 0, 0, 0]));
        assert_eq!(of(DECIMAL128, &[1; 16]), Id::Unknown, "it may be equal to any of them");
    }

    #[test]
    fn texts_are_one_with_symbols_and_told_from_what_has_their_bytes() {
        assert_eq!(text(STRING, "a"), text(SYMBOL, "a"));
        assert_ne!(text(STRING, "a"), text(STRING, "b"));
        assert_ne!(text(STRING, "a"), text(BINARY, "a"));
        assert_ne!(of(DATE, &[1; 8]), of(TIMESTAMP, &[1; 8]));
        assert_ne!(of(NULL, &[]), of(MIN_KEY, &[]));
    }

    #[test]
    fn what_may_be_equal_in_other_ways_is_where_the_whole_collection_is() {
        assert_eq!(of(0x03, &[5, 0, 0, 0, 0]), Id::Whole);
        assert_eq!(of(0x0b, b"a\0i\0"), Id::Whole);
    }

    #[test]
    fn what_is_cut_off_or_does_not_begin_with_its_id_is_not_guessed_at() {
        for (kind, value) in
            [(INT32, &[1, 0][..]), (STRING, &[9, 0, 0, 0, b'a']), (OBJECT_ID, &[0; 3]), (BINARY, &[255; 5])]
        {
            let mut document = vec![0, 0, 0, 0, kind];
            document.extend_from_slice(b"_id\0");
            document.extend_from_slice(value);
            assert_eq!(id(&document, Fnv::new()), Id::Unknown, "{kind}");
        }
        assert_eq!(id(b"\x0e\0\0\0\x10a\0\x01\0\0\0\0", Fnv::new()), Id::Unknown);
        assert_eq!(id(b"", Fnv::new()), Id::Unknown);
    }
}
