//! One value: where its bytes end on the wire, and what its text is.

use super::address::{push_inet4, push_inet6, push_uuid};
use super::compressed::inflate;
use super::decimal::Decimal;
use super::flaw::Flaw;
use super::json;
use super::labels::Labels;
use super::number::{push_double, push_double_fixed, push_padded, push_signed, push_unsigned};
use super::temporal;
use crate::rows;

/// How many bytes a value takes on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// Always so many.
    Fixed(usize),
    /// As many as the little-endian number of so many bytes in front of it says.
    Counted(u8),
}

impl Layout {
    /// Cuts the value off the row; its bytes without the count.
    #[inline]
    pub(super) fn take<'a>(self, rest: &mut &'a [u8]) -> Option<&'a [u8]> {
        let (length, bytes) = match self {
            Layout::Fixed(length) => (length, *rest),
            Layout::Counted(1) => {
                let (&length, bytes) = rest.split_first()?;
                (usize::from(length), bytes)
            }
            Layout::Counted(2) => {
                let (length, bytes) = rest.split_first_chunk::<2>()?;
                (usize::from(u16::from_le_bytes(*length)), bytes)
            }
            Layout::Counted(width) => {
                let (length, bytes) = rest.split_at_checked(usize::from(width))?;
                (length.iter().rev().fold(0, |value, &byte| value << 8 | usize::from(byte)), bytes)
            }
        };
        let (value, after) = bytes.split_at_checked(length)?;
        *rest = after;
        Some(value)
    }
}

/// How a value's bytes are turned into its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// TINYINT … BIGINT.
    Signed,
    /// The same UNSIGNED.
    Unsigned,
    /// The same ZEROFILL, with so many digits.
    Padded(usize),
    /// DECIMAL.
    Decimal(Decimal),
    /// FLOAT, as the double that it is.
    Float,
    /// DOUBLE; filled up with zeros to `zerofill` characters.
    Double { decimals: Option<usize>, zerofill: usize },
    /// YEAR and YEAR(2).
    Year { two_digits: bool },
    /// DATE.
    Date,
    /// TIME(n).
    Time(u8),
    /// DATETIME(n).
    Datetime(u8),
    /// TIMESTAMP(n).
    Timestamp(u8),
    /// TIME of before MySQL 5.6.
    OldTime,
    /// DATETIME of before MySQL 5.6.
    OldDatetime,
    /// TIMESTAMP of before MySQL 5.6.
    OldTimestamp,
    /// Text, bytes, shapes, vectors, bits: as they are.
    Bytes,
    /// BINARY(n): the zeros at its end are not on the wire.
    Filled(usize),
    /// The same, compressed by MariaDB.
    Compressed,
    /// ENUM.
    Enum(Labels),
    /// SET.
    Set(Labels),
    /// MySQL's JSON.
    Json,
    /// MariaDB's UUID.
    Uuid,
    /// MariaDB's INET4.
    Inet4,
    /// MariaDB's INET6.
    Inet6,
}

const NO_LABEL: Flaw = Flaw::Malformed("a value for which the column has no label");
const TOO_LONG: Flaw = Flaw::Malformed("a value longer than the column");

impl Form {
    /// Appends the text of a value, escaped as a value of a row.
    #[inline]
    pub(super) fn push(&self, out: &mut Vec<u8>, value: &[u8]) -> Result<(), Flaw> {
        match self {
            Form::Signed => push_signed(out, signed(value)?),
            Form::Unsigned => push_unsigned(out, unsigned(value)?),
            Form::Bytes => rows::push_value(out, Some(value)),
            Form::Date => temporal::push_date3(out, value),
            Form::Datetime(digits) => temporal::push_datetime2(out, value, *digits)?,
            Form::Timestamp(digits) => temporal::push_timestamp2(out, value, *digits)?,
            Form::Decimal(decimal) => decimal.push(out, value)?,
            Form::Padded(_)
            | Form::Float
            | Form::Double { .. }
            | Form::Year { .. }
            | Form::Time(_)
            | Form::OldTime
            | Form::OldDatetime
            | Form::OldTimestamp
            | Form::Filled(_)
            | Form::Compressed
            | Form::Enum(_)
            | Form::Set(_)
            | Form::Json
            | Form::Uuid
            | Form::Inet4
            | Form::Inet6 => self.push_rarer(out, value)?,
        }
        Ok(())
    }

    /// Out of the way of the kinds that most columns are of.
    fn push_rarer(&self, out: &mut Vec<u8>, value: &[u8]) -> Result<(), Flaw> {
        match self {
            Form::Padded(width) => push_padded(out, unsigned(value)?, *width),
            Form::Float => push_double(out, f64::from(finite(f32::from_le_bytes(array(value)?))?)),
            Form::Double { decimals, zerofill } => {
                let number = finite(f64::from_le_bytes(array(value)?))?;
                let start = out.len();
                match decimals {
                    Some(decimals) => push_double_fixed(out, number, *decimals),
                    None => push_double(out, number),
                }
                let missing = zerofill.saturating_sub(out.len() - start);
                out.splice(start..start, std::iter::repeat_n(b'0', missing));
            }
            Form::Year { two_digits } => temporal::push_year(out, array::<1>(value)?[0], *two_digits),
            Form::Time(digits) => temporal::push_time2(out, value, *digits)?,
            Form::OldTime => temporal::push_time3(out, value),
            Form::OldDatetime => temporal::push_datetime8(out, value)?,
            Form::OldTimestamp => temporal::push_timestamp4(out, value),
            Form::Filled(length) => {
                let missing = length.checked_sub(value.len()).ok_or(TOO_LONG)?;
                rows::push_value(out, Some(value));
                out.resize(out.len() + missing, 0);
            }
            Form::Compressed => {
                let mut plain = Vec::new();
                inflate(value, &mut plain)?;
                rows::push_value(out, Some(&plain));
            }
            Form::Enum(labels) => labels.push_one(out, unsigned(value)?).ok_or(NO_LABEL)?,
            Form::Set(labels) => labels.push_set(out, unsigned(value)?).ok_or(NO_LABEL)?,
            Form::Json => json::push_document(out, value)?,
            Form::Uuid => push_uuid(out, &filled(value)?),
            Form::Inet4 => push_inet4(out, &filled(value)?),
            Form::Inet6 => push_inet6(out, &filled(value)?),
            Form::Signed
            | Form::Unsigned
            | Form::Bytes
            | Form::Date
            | Form::Datetime(_)
            | Form::Timestamp(_)
            | Form::Decimal(_) => self.push(out, value)?,
        }
        Ok(())
    }
}

/// A little-endian number of one to eight bytes.
#[inline]
fn unsigned(value: &[u8]) -> Result<u64, Flaw> {
    Ok(match *value {
        [a] => u64::from(a),
        [a, b] => u64::from(u16::from_le_bytes([a, b])),
        [a, b, c] => u64::from(u32::from_le_bytes([a, b, c, 0])),
        [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        ref odd if odd.len() < 8 => odd.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
        _ => return Err(TOO_LONG),
    })
}

#[inline]
fn signed(value: &[u8]) -> Result<i64, Flaw> {
    let unused = match value.len() {
        length @ 1..=8 => 64 - 8 * length as u32,
        _ => return Err(TOO_LONG),
    };
    Ok(((unsigned(value)? << unused) as i64) >> unused)
}

fn array<const N: usize>(value: &[u8]) -> Result<[u8; N], Flaw> {
    value.try_into().map_err(|_| Flaw::Short)
}

/// Bytes whose last zeros are not on the wire.
fn filled<const N: usize>(value: &[u8]) -> Result<[u8; N], Flaw> {
    let mut bytes = [0; N];
    bytes.get_mut(..value.len()).ok_or(TOO_LONG)?.copy_from_slice(value);
    Ok(bytes)
}

/// The servers store no other numbers.
fn finite<F: Copy + Into<f64>>(number: F) -> Result<F, Flaw> {
    let is_finite: f64 = number.into();
    if is_finite.is_finite() { Ok(number) } else { Err(Flaw::Malformed("a number that is not finite")) }
}
