//! A place in a binlog, and its form as a position. Pure.

use dt_common::Position;
use dt_common::position::{Lineage, MysqlCdc};

use super::gtid::GtidSet;

/// Where in a server's binlog something is: the end of an event, which is where the next one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The binlog file.
    pub file: String,
    /// The offset in it. 64 bits, though events carry the lower 32 only: a file may grow beyond 4 GiB within a
    /// transaction.
    pub offset: u64,
    /// All transactions that are executed at this place, whether or not they were seen from here; `None` if GTIDs are
    /// not followed.
    pub gtids: Option<GtidSet>,
}

impl Place {
    /// Moves on to the end of an event of the same file, whose header says the lower 32 bits of it. Artificial events
    /// say 0, and move nothing.
    pub fn advance(&mut self, log_pos: u32) {
        if log_pos == 0 {
            return;
        }
        let within = (self.offset & !u64::from(u32::MAX)) | u64::from(log_pos);
        // A binlog grows past 4 GiB within one transaction, and then the lower bits begin anew.
        self.offset = if within < self.offset { within + (1 << 32) } else { within };
    }

    /// The position at this place. `seconds` is the event's time since 1970, for showing the lag.
    pub fn position(&self, seconds: u32, lineage: &Lineage) -> Position {
        Position::MysqlCdc(MysqlCdc {
            server_id: String::new(),
            binlog_filename: self.file.clone(),
            next_event_position: self.offset,
            gtid_set: self.gtids.as_ref().map_or_else(String::new, GtidSet::to_string),
            timestamp: if seconds == 0 { String::new() } else { utc(seconds) },
            behind: None,
            lineage: lineage.clone(),
        })
    }
}

/// `2024-10-10 08:00:58.000`, in UTC.
fn utc(seconds: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar from a count of days, after Howard Hinnant's "chrono-compatible low-level date algorithms".
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.000")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binlog_that_passes_4_gib_goes_on_counting() {
        let mut place = Place { file: "b.1".into(), offset: u64::from(u32::MAX) - 10, gtids: None };
        place.advance(0);
        assert_eq!(place.offset, u64::from(u32::MAX) - 10, "an artificial event moves nothing");
        place.advance(u32::MAX - 3);
        place.advance(50);
        assert_eq!(place.offset, (1 << 32) + 50);
        place.advance(60);
        assert_eq!(place.offset, (1 << 32) + 60);
    }

    #[test]
    fn times_are_written_as_the_documents_do() {
        assert_eq!(utc(1_728_547_258), "2024-10-10 08:00:58.000");
        assert_eq!(utc(951_782_400), "2000-02-29 00:00:00.000");
        assert_eq!(utc(u32::MAX), "2106-02-07 06:28:15.000");
    }
}
