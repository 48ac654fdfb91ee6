//! The numbers of column types (`MYSQL_TYPE_*`), and what is written of each in a table's map.

use super::error::{BadEvent, Problem};
use super::input::Input;

macro_rules! kinds {
    ($($name:ident = $number:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: u8 = $number;)*
    };
}

kinds! {
    DECIMAL = 0, "A decimal number of before MySQL 5.0: text.";
    TINY = 1, "One byte.";
    SHORT = 2, "Two bytes.";
    LONG = 3, "Four bytes.";
    FLOAT = 4, "A single.";
    DOUBLE = 5, "A double.";
    NULL = 6, "No value at all.";
    TIMESTAMP = 7, "Seconds since 1970, of before MySQL 5.6.";
    LONGLONG = 8, "Eight bytes.";
    INT24 = 9, "Three bytes.";
    DATE = 10, "A date.";
    TIME = 11, "A time, of before MySQL 5.6.";
    DATETIME = 12, "Date and time, of before MySQL 5.6.";
    YEAR = 13, "Years since 1900.";
    NEWDATE = 14, "A date.";
    VARCHAR = 15, "Text or bytes, up to a length.";
    BIT = 16, "Bits.";
    TIMESTAMP2 = 17, "Seconds since 1970, and a fraction.";
    DATETIME2 = 18, "Date and time, and a fraction.";
    TIME2 = 19, "A time, and a fraction.";
    BLOB_COMPRESSED = 140, "A BLOB or TEXT that MariaDB compressed.";
    VARCHAR_COMPRESSED = 141, "A VARCHAR or VARBINARY that MariaDB compressed.";
    VECTOR = 242, "Singles, one after the other.";
    JSON = 245, "MySQL's binary JSON.";
    NEWDECIMAL = 246, "A decimal number.";
    ENUM = 247, "The number of a label.";
    SET = 248, "A bit for each label.";
    TINY_BLOB = 249, "A BLOB or TEXT.";
    MEDIUM_BLOB = 250, "A BLOB or TEXT.";
    LONG_BLOB = 251, "A BLOB or TEXT.";
    BLOB = 252, "A BLOB or TEXT.";
    VAR_STRING = 253, "Text or bytes, up to a length.";
    STRING = 254, "Text or bytes, up to a length: CHAR and BINARY.";
    GEOMETRY = 255, "A place, with its reference system.";
}

/// The kind that is behind `wire`, and its [`WireColumn::meta`](super::WireColumn::meta).
pub(super) fn resolve(wire: u8, meta: &mut Input<'_>) -> Result<(u8, u16), BadEvent> {
    let value = match wire {
        DECIMAL | TINY | SHORT | LONG | NULL | TIMESTAMP | LONGLONG | INT24 | DATE | TIME | DATETIME | YEAR
        | NEWDATE => 0,
        FLOAT | DOUBLE | TIMESTAMP2 | DATETIME2 | TIME2 | TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB | GEOMETRY
        | JSON | VECTOR | BLOB_COMPRESSED => u16::from(meta.u8()?),
        // Bits and bytes, in this order.
        VARCHAR | VAR_STRING | VARCHAR_COMPRESSED | BIT => meta.u16()?,
        // Precision and scale.
        NEWDECIMAL => u16::from_be_bytes(meta.array()?),
        STRING | ENUM | SET => return string(wire, meta),
        _ => return Err(meta.bad(Problem::NotUnderstood("the type of a column"))),
    };
    let fits = match wire {
        TIMESTAMP2 | DATETIME2 | TIME2 => value <= 6,
        TINY_BLOB | MEDIUM_BLOB | LONG_BLOB | BLOB | GEOMETRY | JSON | VECTOR | BLOB_COMPRESSED => {
            (1..=4).contains(&value)
        }
        _ => true,
    };
    if !fits {
        return Err(meta.malformed("a column's type with an impossible length"));
    }
    Ok((wire, value))
}

/// A STRING says in its first byte what it is really, and there are also two bits of a CHAR's length in it, turned
/// over, so that what was written before there were long CHARs reads as it did.
fn string(wire: u8, meta: &mut Input<'_>) -> Result<(u8, u16), BadEvent> {
    let [real, length] = meta.array()?;
    let length = u16::from(length);
    if wire != STRING || real == ENUM || real == SET {
        let fits = matches!((real, length), (ENUM, 1..=2) | (SET, 1..=8)) && (wire == STRING || wire == real);
        return if fits { Ok((real, length)) } else { Err(meta.malformed("an ENUM or SET of an impossible length")) };
    }
    if real | 0x30 != STRING {
        return Err(meta.bad(Problem::NotUnderstood("the type of a text column")));
    }
    Ok((STRING, u16::from(real & 0x30 ^ 0x30) << 4 | length))
}

/// Whether the server says if such a column is unsigned.
pub(super) fn has_sign(kind: u8) -> bool {
    matches!(kind, TINY | SHORT | INT24 | LONG | LONGLONG | DECIMAL | NEWDECIMAL | FLOAT | DOUBLE | YEAR)
}

/// Whether both servers name the collation of such a column among those of text.
pub(super) fn is_text(kind: u8) -> bool {
    matches!(
        kind,
        STRING
            | VAR_STRING
            | VARCHAR
            | TINY_BLOB
            | MEDIUM_BLOB
            | LONG_BLOB
            | BLOB
            | VARCHAR_COMPRESSED
            | BLOB_COMPRESSED
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cdc::binlog::header::EventType;

    fn resolved(wire: u8, meta: &[u8]) -> Option<(u8, u16)> {
        resolve(wire, &mut Input::over(meta, EventType::TABLE_MAP)).ok()
    }

    #[test]
    fn enum_and_set_stand_behind_string() {
        assert_eq!(resolved(STRING, &[ENUM, 2]), Some((ENUM, 2)));
        assert_eq!(resolved(STRING, &[SET, 8]), Some((SET, 8)));
        assert_eq!(resolved(STRING, &[ENUM, 3]), None);
        assert_eq!(resolved(STRING, &[SET, 0]), None);
    }

    #[test]
    fn a_long_char_has_two_bits_of_its_length_in_its_type() {
        assert_eq!(resolved(STRING, &[0xfe, 12]), Some((STRING, 12)));
        // char(255) in utf8mb4: 1020 bytes.
        assert_eq!(resolved(STRING, &[0xce, 0xfc]), Some((STRING, 1020)));
        assert_eq!(resolved(STRING, &[0xde, 0xff]), Some((STRING, 767)));
        assert_eq!(resolved(STRING, &[VARCHAR, 1]), None);
    }

    #[test]
    fn an_unknown_type_is_an_error_for_its_length_is_not_known() {
        assert_eq!(resolved(200, &[0; 8]), None);
        assert_eq!(resolved(244, &[0; 8]), None);
    }

    #[test]
    fn decimals_have_the_precision_in_the_high_byte() {
        assert_eq!(resolved(NEWDECIMAL, &[12, 3]), Some((NEWDECIMAL, 12 << 8 | 3)));
        assert_eq!(resolved(BIT, &[3, 1]), Some((BIT, 1 << 8 | 3)));
    }
}
