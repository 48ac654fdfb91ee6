//! Integers and doubles as the server prints them.

use std::fmt::Write as _;

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Appends the two digits of a number below 100.
#[inline]
pub(super) fn push_pair(out: &mut Vec<u8>, value: u32) {
    let at = (value as usize % 100) * 2;
    out.extend_from_slice(&PAIRS[at..at + 2]);
}

/// Appends the number with at least `width` digits.
pub(super) fn push_padded(out: &mut Vec<u8>, value: u64, width: usize) {
    let mut buffer = [0; 20];
    let digits = digits(value, &mut buffer);
    for _ in digits.len()..width {
        out.push(b'0');
    }
    out.extend_from_slice(digits);
}

/// Appends the number.
#[inline]
pub(super) fn push_unsigned(out: &mut Vec<u8>, value: u64) {
    let mut buffer = [0; 20];
    out.extend_from_slice(digits(value, &mut buffer));
}

/// Appends the number, with a sign if it is negative.
#[inline]
pub(super) fn push_signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    push_unsigned(out, value.unsigned_abs());
}

#[inline]
fn digits(mut value: u64, buffer: &mut [u8; 20]) -> &[u8] {
    let mut at = buffer.len();
    while value >= 100 {
        let pair = (value % 100) as usize * 2;
        value /= 100;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    }
    if value >= 10 {
        let pair = value as usize * 2;
        at -= 2;
        buffer[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
    } else {
        at -= 1;
        buffer[at] = b'0' + value as u8;
    }
    &buffer[at..]
}

/// The shortest decimal digits that give the double again: `0.digits × 10^point`.
struct Shortest {
    text: [u8; 40],
    len: usize,
    point: i32,
}

impl Shortest {
    /// Of a finite, positive number.
    fn of(value: f64) -> Self {
        let mut stack = Stack { text: [0; 40], len: 0 };
        // Never fails: at most 17 digits, a point, and an exponent of up to four characters.
        let _ = write!(stack, "{value:e}");
        let written = &stack.text[..stack.len];
        let (mantissa, exponent) = match written.iter().position(|&byte| byte == b'e') {
            Some(at) => (&written[..at], exponent(&written[at + 1..])),
            None => (written, 0),
        };
        let mut shortest = Shortest { text: [0; 40], len: 0, point: exponent + 1 };
        for &digit in mantissa.iter().filter(|byte| byte.is_ascii_digit()) {
            shortest.text[shortest.len] = digit;
            shortest.len += 1;
        }
        shortest.break_tie(value);
        shortest
    }

    /// Where two texts of that many digits are equally near, the servers take the one that ends in an even digit, the
    /// standard library the greater one.
    fn break_tie(&mut self, value: f64) {
        let last = self.text[self.len - 1];
        if (last - b'0').is_multiple_of(2) || !self.is_tied(value) {
            return;
        }
        // An odd digit is no zero, so that nothing is carried.
        let mut lower = Shortest { text: self.text, ..*self };
        lower.text[lower.len - 1] -= 1;
        // The other one counts only if it gives the same double again.
        if lower.value() == Some(value) {
            *self = lower;
        }
    }

    /// Whether the exact value lies half a unit of the last digit below: whether it has one more digit, a five.
    fn is_tied(&self, value: f64) -> bool {
        let fraction = self.len as i32 - self.point;
        if fraction >= 0 {
            // As many decimal digits behind the point as binary ones, and the last of them always a five.
            return binary_digits_behind_the_point(value) == fraction + 1;
        }
        let exact = format!("{value:.0}");
        let rest = exact.as_bytes().get(self.len..).unwrap_or_default();
        rest.split_first().is_some_and(|(&first, rest)| first == b'5' && rest.iter().all(|&digit| digit == b'0'))
    }

    fn value(&self) -> Option<f64> {
        let mut text = Vec::with_capacity(self.len + 8);
        self.push_with_exponent(&mut text);
        std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok())
    }

    fn digits(&self) -> &[u8] {
        &self.text[..self.len]
    }

    /// Without an exponent.
    fn push_plain(&self, out: &mut Vec<u8>) {
        let digits = self.digits();
        if self.point <= 0 {
            out.extend_from_slice(b"0.");
            push_zeros(out, self.point.unsigned_abs() as usize);
            out.extend_from_slice(digits);
            return;
        }
        let whole = self.point as usize;
        if whole >= digits.len() {
            out.extend_from_slice(digits);
            push_zeros(out, whole - digits.len());
        } else {
            out.extend_from_slice(&digits[..whole]);
            out.push(b'.');
            out.extend_from_slice(&digits[whole..]);
        }
    }

    fn push_with_exponent(&self, out: &mut Vec<u8>) {
        let digits = self.digits();
        out.push(digits[0]);
        if digits.len() > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        push_signed(out, i64::from(self.point) - 1);
    }
}

/// How many binary digits the number has behind the point, up to its last one that is set; 0 for a whole number.
fn binary_digits_behind_the_point(value: f64) -> i32 {
    const FRACTION_BITS: i32 = 52;
    const BIAS: i32 = 1023;
    let bits = value.to_bits();
    let exponent = (bits >> FRACTION_BITS & 0x7ff) as i32;
    let fraction = bits & ((1 << FRACTION_BITS) - 1);
    let mantissa = if exponent == 0 { fraction } else { fraction | 1 << FRACTION_BITS };
    let power = exponent.max(1) - BIAS - FRACTION_BITS;
    (-power - mantissa.trailing_zeros() as i32).max(0)
}

fn exponent(text: &[u8]) -> i32 {
    let (sign, digits) = match text {
        [b'-', digits @ ..] => (-1, digits),
        digits => (1, digits),
    };
    sign * digits.iter().fold(0, |value, digit| value * 10 + i32::from(digit - b'0'))
}

fn push_zeros(out: &mut Vec<u8>, count: usize) {
    out.resize(out.len() + count, b'0');
}

/// Formats without the heap; what does not fit is an error of the formatter.
struct Stack {
    text: [u8; 40],
    len: usize,
}

impl std::fmt::Write for Stack {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let place = self.text.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Appends the double as the servers' `my_gcvt` writes it: the shortest digits that give it again; with an exponent
/// below 1e-15, and from 1e15 on where there is nothing behind the point.
pub(super) fn push_double(out: &mut Vec<u8>, value: f64) {
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    // Whole numbers are the common case, and exact.
    if value < 1e15 && value.trunc() == value {
        push_unsigned(out, value as u64);
        return;
    }
    let shortest = Shortest::of(value);
    let plain = shortest.point >= -14 && (shortest.point <= 15 || shortest.len as i32 > shortest.point);
    if plain { shortest.push_plain(out) } else { shortest.push_with_exponent(out) }
}

/// Appends the double with `decimals` digits after the point, as the servers' `my_fcvt` does for DOUBLE(M,D).
pub(super) fn push_double_fixed(out: &mut Vec<u8>, value: f64, decimals: usize) {
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let value = value.abs();
    let shortest = Shortest::of(value);
    let fraction = if value == 0.0 { 0 } else { (shortest.len as i32 - shortest.point).max(0) as usize };
    if fraction > decimals {
        // More digits than are shown: the exact value is rounded.
        out.extend_from_slice(format!("{value:.decimals$}").as_bytes());
        return;
    }
    if value == 0.0 {
        out.push(b'0');
    } else {
        shortest.push_plain(out);
    }
    if decimals > 0 {
        if fraction == 0 {
            out.push(b'.');
        }
        push_zeros(out, decimals - fraction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        push_double(&mut out, value);
        String::from_utf8(out).expect("ASCII")
    }

    fn fixed(value: f64, decimals: usize) -> String {
        let mut out = Vec::new();
        push_double_fixed(&mut out, value, decimals);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn doubles_change_to_an_exponent_where_the_server_does() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e14, "100000000000000"),
            (1e15, "1e15"),
            (123_456_789_012_345_680.0, "1.2345678901234568e17"),
            (1e-15, "0.000000000000001"),
            (1e-16, "1e-16"),
            (-1.797_693_134_862_315_7e308, "-1.7976931348623157e308"),
            (5e-324, "5e-324"),
            (f64::from(0.1_f32), "0.10000000149011612"),
            (999_999_999_999_999.9, "999999999999999.9"),
            (1_917_365_169_916_217.8, "1917365169916217.8"),
            (838.591_369_628_906_3, "838.5913696289062"),
            (123_456_789_012_345.13, "123456789012345.12"),
        ] {
            assert_eq!(double(value), text);
        }
    }

    #[test]
    fn fixed_decimals_are_padded_and_rounded() {
        assert_eq!(fixed(123_456_789_012_345.12, 5), "123456789012345.12000");
        assert_eq!(fixed(-0.001, 3), "-0.001");
        assert_eq!(fixed(0.0, 2), "0.00");
        assert_eq!(fixed(2.675, 2), "2.67");
        assert_eq!(fixed(1e22, 1), "10000000000000000000000.0");
        assert_eq!(fixed(7.0, 0), "7");
    }

    proptest! {
        #[test]
        fn integers_are_those_of_the_standard_library(value: i64) {
            let mut out = Vec::new();
            push_signed(&mut out, value);
            prop_assert_eq!(out, value.to_string().into_bytes());
        }

        #[test]
        fn the_text_of_a_double_gives_the_double_again(bits: u64) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let again: f64 = double(value).parse().expect("a number");
            prop_assert_eq!(again.to_bits(), bits);
        }
    }
}
