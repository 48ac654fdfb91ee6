//! Places in a write-ahead log, and the moments of its transactions. Pure.

use std::fmt;
use std::str::FromStr;

/// A place in a write-ahead log: the number of bytes before it since the database cluster was made. Shown as `X/Y` in
/// hex, the upper and the lower 32 bits (PostgreSQL documentation, 8.20 `pg_lsn` Type).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Bytes of log from `earlier` to here; 0 if it is not earlier.
    pub fn bytes_since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

/// A text that is no place in a write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no LSN, which looks like 0/406E2C30")]
pub struct NoLsn;

impl FromStr for Lsn {
    type Err = NoLsn;

    fn from_str(text: &str) -> Result<Self, NoLsn> {
        let half = |digits: &str| {
            let is_hex = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hex.then(|| u64::from_str_radix(digits, 16).ok()).flatten().ok_or(NoLsn)
        };
        let (upper, lower) = text.split_once('/').ok_or(NoLsn)?;
        Ok(Lsn(half(upper)? << 32 | half(lower)?))
    }
}

/// A moment as the server counts: microseconds since 2000-01-01 00:00:00 UTC, which may be negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub i64);

/// Seconds from 1970-01-01 to 2000-01-01.
const EPOCH_SECS: i64 = 946_684_800;

impl Moment {
    /// The first microsecond of a second since 1970.
    pub fn of_unix(seconds: u64) -> Self {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        Moment(seconds.saturating_sub(EPOCH_SECS).saturating_mul(1_000_000))
    }

    /// Whole seconds since 1970; 0 for what was before.
    pub fn unix(self) -> u64 {
        u64::try_from(self.0.div_euclid(1_000_000) + EPOCH_SECS).unwrap_or(0)
    }

    /// `2024-10-10 08:00:58.000`, in UTC; the form of the positions.
    pub fn text(self) -> String {
        let milliseconds = self.0.rem_euclid(1_000_000) / 1000;
        let (days, second) = (self.unix() / 86_400, self.unix() % 86_400);
        // The civil calendar from a count of days, after Howard Hinnant's "chrono-compatible low-level date algorithms".
        let shifted = days + 719_468;
        let era = shifted / 146_097;
        let day_of_era = shifted % 146_097;
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_shifted = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
        let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
        let year = year_of_era + era * 400 + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{milliseconds:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_lsn_is_read_and_written_as_the_server_does() {
        for (text, lsn) in
            [("0/406E2C30", 0x406E_2C30), ("0/0", 0), ("16/B374D848", 0x16_B374_D848), ("FFFFFFFF/FFFFFFFF", u64::MAX)]
        {
            assert_eq!(text.parse(), Ok(Lsn(lsn)));
            assert_eq!(Lsn(lsn).to_string(), text);
        }
        assert_eq!("16/b374d848".parse(), Ok(Lsn(0x16_B374_D848)));
        assert!(Lsn(0xFFFF_FFFF) < Lsn(0x1_0000_0000), "places are ordered as numbers, and not as texts");
    }

    #[test]
    fn what_is_no_lsn_is_refused() {
        for text in ["", "/", "0/", "/0", "0", "0/0/0", "0/123456789", "g/0", "+1/0", "0/-1", " 0/1", "0x1/1"] {
            assert_eq!(text.parse::<Lsn>(), Err(NoLsn), "{text}");
        }
    }

    #[test]
    fn moments_are_written_as_the_documents_do() {
        assert_eq!(Moment::of_unix(1_728_547_258).text(), "2024-10-10 08:00:58.000");
        assert_eq!(Moment::of_unix(951_782_400).text(), "2000-02-29 00:00:00.000");
        assert_eq!(Moment(0).text(), "2000-01-01 00:00:00.000");
        assert_eq!(Moment(-1).text(), "1999-12-31 23:59:59.999");
        assert_eq!(Moment::of_unix(1_728_547_258).unix(), 1_728_547_258);
    }
}
