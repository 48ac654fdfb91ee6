//! Dates and times, in today's formats and in those of before MySQL 5.6, as the server prints them in a session at
//! UTC. No calendar is asked: zero dates and days that do not exist are printed as they are stored.

use super::flaw::Flaw;
use super::number::{push_padded, push_pair};

/// How many bytes the fraction of a second takes.
pub(super) const fn fraction_bytes(digits: u8) -> usize {
    digits.div_ceil(2) as usize
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

fn push_date(out: &mut Vec<u8>, year: u32, month: u32, day: u32) {
    if year > 9999 {
        push_padded(out, u64::from(year), 5);
    } else {
        push_pair(out, year / 100);
        push_pair(out, year);
    }
    out.push(b'-');
    push_pair(out, month);
    out.push(b'-');
    push_pair(out, day);
}

fn push_clock(out: &mut Vec<u8>, hour: u32, minute: u32, second: u32) {
    if hour >= 100 {
        push_padded(out, u64::from(hour), 2);
    } else {
        push_pair(out, hour);
    }
    out.push(b':');
    push_pair(out, minute);
    out.push(b':');
    push_pair(out, second);
}

/// Appends the fraction as it is stored: in hundredths, ten-thousandths or millionths.
fn push_fraction(out: &mut Vec<u8>, stored: u64, digits: u8) -> Result<(), Flaw> {
    if digits == 0 {
        return Ok(());
    }
    let stored_digits = fraction_bytes(digits) * 2;
    if stored >= 10_u64.pow(stored_digits as u32) {
        return Err(Flaw::Malformed("a fraction of a second of a whole second or more"));
    }
    let shown = if usize::from(digits) < stored_digits { stored / 10 } else { stored };
    out.push(b'.');
    push_padded(out, shown, usize::from(digits));
    Ok(())
}

/// YEAR, or YEAR(2).
pub(super) fn push_year(out: &mut Vec<u8>, stored: u8, two_digits: bool) {
    let stored = u32::from(stored);
    match (two_digits, stored) {
        (true, _) => push_pair(out, stored % 100),
        (false, 0) => out.extend_from_slice(b"0000"),
        (false, _) => push_padded(out, u64::from(stored + 1900), 4),
    }
}

/// DATE, three bytes.
pub(super) fn push_date3(out: &mut Vec<u8>, value: &[u8]) {
    let packed = little_endian(value) as u32;
    push_date(out, packed >> 9, packed >> 5 & 15, packed & 31);
}

/// DATETIME(fsp), five bytes and the fraction.
pub(super) fn push_datetime2(out: &mut Vec<u8>, value: &[u8], digits: u8) -> Result<(), Flaw> {
    let (whole, fraction) = value.split_at_checked(5).ok_or(Flaw::Short)?;
    let packed =
        big_endian(whole).checked_sub(0x80_0000_0000).ok_or(Flaw::Malformed("a DATETIME of before the year 0"))?;
    push_packed_datetime(out, packed);
    push_fraction(out, big_endian(fraction), digits)
}

/// Forty bits: 17 for year × 13 + month, 5 for the day, 5, 6, 6 for the clock.
pub(super) fn push_packed_datetime(out: &mut Vec<u8>, packed: u64) {
    let (days, clock) = ((packed >> 17) as u32, (packed & 0x1_ffff) as u32);
    let months = days >> 5;
    push_date(out, months / 13, months % 13, days & 31);
    out.push(b' ');
    push_clock(out, clock >> 12, clock >> 6 & 63, clock & 63);
}

/// The date of what [`push_packed_datetime`] takes.
pub(super) fn push_packed_date(out: &mut Vec<u8>, packed: u64) {
    let days = (packed >> 17) as u32;
    let months = days >> 5;
    push_date(out, months / 13, months % 13, days & 31);
}

/// A time of day or a span: 10 bits for the hours, 6 and 6.
pub(super) fn push_packed_time(out: &mut Vec<u8>, packed: u64) {
    let packed = packed as u32;
    push_clock(out, packed >> 12 & 0x3ff, packed >> 6 & 63, packed & 63);
}

/// TIMESTAMP(fsp), four bytes of seconds since 1970 (unsigned, as MariaDB has them beyond 2038) and the fraction.
pub(super) fn push_timestamp2(out: &mut Vec<u8>, value: &[u8], digits: u8) -> Result<(), Flaw> {
    let (seconds, fraction) = value.split_at_checked(4).ok_or(Flaw::Short)?;
    push_seconds(out, big_endian(seconds));
    push_fraction(out, big_endian(fraction), digits)
}

/// TIMESTAMP of before MySQL 5.6.
pub(super) fn push_timestamp4(out: &mut Vec<u8>, value: &[u8]) {
    push_seconds(out, little_endian(value));
}

/// Second 0 is the zero timestamp: the servers store no time in 1970's first second.
fn push_seconds(out: &mut Vec<u8>, seconds: u64) {
    if seconds == 0 {
        out.extend_from_slice(b"0000-00-00 00:00:00");
        return;
    }
    let (days, clock) = ((seconds / 86_400) as u32, (seconds % 86_400) as u32);
    let (year, month, day) = civil(days);
    push_date(out, year, month, day);
    out.push(b' ');
    push_clock(out, clock / 3600, clock / 60 % 60, clock % 60);
}

/// The date that many days after 1970-01-01, in the proleptic Gregorian calendar counted from 0000-03-01.
fn civil(days: u32) -> (u32, u32, u32) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year + u32::from(month <= 2), month, day)
}

/// TIME(fsp), three bytes and the fraction, one number around the middle of its range.
pub(super) fn push_time2(out: &mut Vec<u8>, value: &[u8], digits: u8) -> Result<(), Flaw> {
    let fraction_bits = 8 * fraction_bytes(digits);
    let middle = 0x80_0000_u64 << fraction_bits;
    let stored = big_endian(value);
    // A negative span with a fraction is the negative of the whole number, not of its seconds alone.
    if stored < middle {
        out.push(b'-');
    }
    let span = stored.abs_diff(middle);
    push_packed_time(out, span >> fraction_bits);
    push_fraction(out, span & ((1 << fraction_bits) - 1), digits)
}

/// TIME of before MySQL 5.6: the number hhmmss, signed, in three bytes.
pub(super) fn push_time3(out: &mut Vec<u8>, value: &[u8]) {
    let raw = little_endian(value) as u32;
    let signed = ((raw << 8) as i32) >> 8;
    if signed < 0 {
        out.push(b'-');
    }
    let number = signed.unsigned_abs();
    push_clock(out, number / 10_000, number / 100 % 100, number % 100);
}

/// DATETIME of before MySQL 5.6: the number yyyymmddhhmmss in eight bytes.
pub(super) fn push_datetime8(out: &mut Vec<u8>, value: &[u8]) -> Result<(), Flaw> {
    let number = little_endian(value);
    if number > 99_999_999_999_999 {
        return Err(Flaw::Malformed("a DATETIME beyond the year 9999"));
    }
    let (date, clock) = ((number / 1_000_000) as u32, (number % 1_000_000) as u32);
    push_date(out, date / 10_000, date / 100 % 100, date % 100);
    out.push(b' ');
    push_clock(out, clock / 10_000, clock / 100 % 100, clock % 100);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        push(&mut out);
        String::from_utf8(out).expect("ASCII")
    }

    #[test]
    fn negative_times_keep_their_fraction() {
        let time = |value: &[u8], digits| text(|out| push_time2(out, value, digits).expect("a time"));
        // -00:00:01.50 is stored as -2 seconds and 50 hundredths.
        assert_eq!(time(&[0x7f, 0xff, 0xfe, 0xce], 2), "-00:00:01.50");
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0xf6], 1), "-00:00:00.1");
        assert_eq!(time(&[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff], 6), "-00:00:00.000001");
        assert_eq!(time(&[0x80, 0, 0], 0), "00:00:00");
        assert_eq!(time(&[0xb4, 0x6e, 0xfb], 0), "838:59:59");
        assert_eq!(time(&[0x4b, 0x91, 0x05], 0), "-838:59:59");
    }

    #[test]
    fn timestamps_reach_from_the_zero_to_the_last_second() {
        let stamp = |value: &[u8], digits| text(|out| push_timestamp2(out, value, digits).expect("a timestamp"));
        assert_eq!(stamp(&[0, 0, 0, 0, 0, 0, 0], 6), "0000-00-00 00:00:00.000000");
        assert_eq!(stamp(&[0, 0, 0, 1], 0), "1970-01-01 00:00:01");
        assert_eq!(stamp(&[0x7f, 0xff, 0xff, 0xff, 99], 2), "2038-01-19 03:14:07.99");
        assert_eq!(stamp(&[0xff, 0xff, 0xff, 0xff], 0), "2106-02-07 06:28:15");
        assert_eq!(stamp(&951_782_400_u32.to_be_bytes(), 0), "2000-02-29 00:00:00");
        assert_eq!(text(|out| push_timestamp4(out, &951_868_800_u32.to_le_bytes())), "2000-03-01 00:00:00");
    }

    #[test]
    fn the_formats_of_before_mysql_5_6_are_read() {
        assert_eq!(text(|out| push_time3(out, &[0x04, 0x00, 0x80])), "-838:86:04");
        let span = (-8_385_959_i32).to_le_bytes();
        assert_eq!(text(|out| push_time3(out, &span[..3])), "-838:59:59");
        let moment = 20_240_229_235_959_u64.to_le_bytes();
        assert_eq!(text(|out| push_datetime8(out, &moment).expect("a moment")), "2024-02-29 23:59:59");
        assert!(push_datetime8(&mut Vec::new(), &u64::MAX.to_le_bytes()).is_err());
    }

    #[test]
    fn years_and_zero_dates_are_printed_as_stored() {
        assert_eq!(text(|out| push_year(out, 0, false)), "0000");
        assert_eq!(text(|out| push_year(out, 1, false)), "1901");
        assert_eq!(text(|out| push_year(out, 255, false)), "2155");
        assert_eq!(text(|out| push_year(out, 124, true)), "24");
        assert_eq!(text(|out| push_date3(out, &[0, 0, 0])), "0000-00-00");
        assert_eq!(text(|out| push_date3(out, &[0x9f, 0x1f, 0x4e])), "9999-12-31");
    }
}
