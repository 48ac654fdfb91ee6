//! DECIMAL: groups of nine digits in four bytes, big-endian, the sign in the first bit.

use super::flaw::Flaw;
use super::number::push_padded;

/// The bytes that 0 to 9 digits take.
const BYTES: [usize; 10] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
/// The most digits: 65 in a column, but nine whole groups within JSON, where the server counts by groups.
const DIGITS_MAX: u8 = 81;
/// The most bytes that so many digits take, whatever the scale.
const BYTES_MAX: usize = 40;

/// DECIMAL(precision, scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Decimal {
    pub(super) precision: u8,
    pub(super) scale: u8,
    /// Whether the whole part is shown with all its digits.
    pub(super) zerofill: bool,
}

impl Decimal {
    /// `None` if there is no such type.
    pub(super) fn new(precision: u8, scale: u8) -> Option<Self> {
        let fits = (1..=DIGITS_MAX).contains(&precision) && scale <= precision && scale <= 38;
        fits.then_some(Decimal { precision, scale, zerofill: false })
    }

    fn whole_digits(self) -> usize {
        usize::from(self.precision - self.scale)
    }

    /// How many bytes a value takes.
    pub(super) fn bytes(self) -> usize {
        let part = |digits: usize| digits / 9 * 4 + BYTES[digits % 9];
        part(self.whole_digits()) + part(usize::from(self.scale))
    }

    /// Appends a value's text; `value` is [`Self::bytes`] long.
    pub(super) fn push(self, out: &mut Vec<u8>, value: &[u8]) -> Result<(), Flaw> {
        let mut buffer = [0; BYTES_MAX];
        let stored = buffer.get_mut(..value.len()).ok_or(Flaw::Malformed("a DECIMAL of too many bytes"))?;
        let negative = value.first().is_some_and(|byte| byte & 0x80 == 0);
        let mask = if negative { 0xff } else { 0 };
        for (to, from) in stored.iter_mut().zip(value) {
            *to = from ^ mask;
        }
        if let Some(first) = stored.first_mut() {
            *first ^= 0x80;
        }
        let mut groups = Groups { rest: stored };
        if negative {
            out.push(b'-');
        }

        let whole = self.whole_digits();
        let start = out.len();
        if !whole.is_multiple_of(9) {
            groups.push(out, whole % 9, self.zerofill || out.len() > start)?;
        }
        for _ in 0..whole / 9 {
            groups.push(out, 9, self.zerofill || out.len() > start)?;
        }
        if out.len() == start {
            out.push(b'0');
        }
        let scale = usize::from(self.scale);
        if scale > 0 {
            out.push(b'.');
            for _ in 0..scale / 9 {
                groups.push(out, 9, true)?;
            }
            if !scale.is_multiple_of(9) {
                groups.push(out, scale % 9, true)?;
            }
        }
        Ok(())
    }
}

struct Groups<'a> {
    rest: &'a [u8],
}

impl Groups<'_> {
    /// Appends the next group, of so many digits; with its leading zeros if it is `full`, and if it is not, nothing
    /// at all for zero.
    fn push(&mut self, out: &mut Vec<u8>, digits: usize, full: bool) -> Result<(), Flaw> {
        let (group, rest) = self.rest.split_at_checked(BYTES[digits]).ok_or(Flaw::Short)?;
        self.rest = rest;
        let value = group.iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        if value >= 10_u64.pow(digits as u32) {
            return Err(Flaw::Malformed("a DECIMAL with more digits than its groups hold"));
        }
        if full {
            push_padded(out, value, digits);
        } else if value > 0 {
            push_padded(out, value, 1);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(precision: u8, scale: u8, value: &[u8]) -> String {
        let decimal = Decimal::new(precision, scale).expect("a type");
        assert_eq!(decimal.bytes(), value.len());
        let mut out = Vec::new();
        decimal.push(&mut out, value).expect("a value");
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn signs_groups_and_leading_zeros() {
        // The example of the servers' sources.
        let value = [0x81, 0x0d, 0xfb, 0x38, 0xd2, 0x04, 0xd2];
        assert_eq!(text(14, 4, &value), "1234567890.1234");
        let negative: Vec<u8> = value.iter().map(|byte| !byte).collect();
        assert_eq!(text(14, 4, &negative), "-1234567890.1234");
        assert_eq!(text(1, 1, &[0x89]), "0.9");
        assert_eq!(text(3, 0, &[0x80, 0]), "0");
    }

    #[test]
    fn zerofill_shows_all_whole_digits() {
        let decimal = Decimal { zerofill: true, ..Decimal::new(5, 2).expect("a type") };
        let mut out = Vec::new();
        decimal.push(&mut out, &[0x80, 0x07, 0x05]).expect("a value");
        assert_eq!(out, b"007.05");
    }

    #[test]
    fn digits_beyond_the_group_are_refused() {
        let decimal = Decimal::new(1, 1).expect("a type");
        assert_eq!(
            decimal.push(&mut Vec::new(), &[0x8a]),
            Err(Flaw::Malformed("a DECIMAL with more digits than its groups hold"))
        );
    }

    #[test]
    fn no_type_takes_more_bytes_than_the_buffer() {
        for precision in 1..=DIGITS_MAX {
            for scale in 0..=38.min(precision) {
                assert!(Decimal::new(precision, scale).is_some_and(|decimal| decimal.bytes() <= BYTES_MAX));
            }
        }
        assert_eq!(Decimal::new(82, 0), None);
        assert_eq!(Decimal::new(5, 6), None);
    }
}
