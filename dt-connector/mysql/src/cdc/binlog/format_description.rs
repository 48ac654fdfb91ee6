//! The first event of each file: which server wrote it, and how the events after it look.

use super::checksum::Checksum;
use super::error::{BadEvent, Problem};
use super::header::{EventType, HEADER_BYTES};
use super::input::Input;

/// What must be known to read an event, as the last format description said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// How events are protected.
    pub checksum: Checksum,
    /// Whether MariaDB wrote them: it counts other columns among those of text.
    pub mariadb: bool,
}

impl Format {
    /// For what comes before the first format description: a made-up rotation, a heartbeat.
    pub const UNANNOUNCED: Format = Format { checksum: Checksum::Unannounced, mariadb: false };

    /// For the events in a compressed transaction.
    pub(super) const IN_PAYLOAD: Format = Format { checksum: Checksum::None, mariadb: false };
}

/// What the events after it look like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatDescription {
    /// The server that wrote the file: `9.7.4`, `10.11.6-MariaDB-log`.
    pub server_version: String,
    /// When the file was begun by a server's start, in seconds since 1970 UTC; 0 otherwise.
    pub created: u32,
    /// What must be known to read the events after it.
    pub format: Format,
}

/// Events whose fixed part is read here with a certain length, and that length.
const FIXED_PARTS: [(EventType, u8); 9] = [
    (EventType::QUERY, 13),
    (EventType::ROTATE, 8),
    (EventType::TABLE_MAP, 8),
    (EventType::WRITE_ROWS_V1, 8),
    (EventType::UPDATE_ROWS_V1, 8),
    (EventType::DELETE_ROWS_V1, 8),
    (EventType::WRITE_ROWS, 10),
    (EventType::UPDATE_ROWS, 10),
    (EventType::DELETE_ROWS, 10),
];

/// Where the server version is in the event, and how long it is.
const VERSION: std::ops::Range<usize> = HEADER_BYTES + 2..HEADER_BYTES + 52;

/// How many bytes stand behind the list of fixed parts: the checksum's algorithm, and the checksum, which this
/// event has whatever the algorithm.
const TAIL: usize = 5;

impl FormatDescription {
    /// How this very event and those after it are protected, for which nothing before it need be known.
    pub(super) fn checksum_of(event: &[u8]) -> Result<Checksum, BadEvent> {
        let short = |needed| BadEvent {
            event: EventType::FORMAT_DESCRIPTION,
            offset: HEADER_BYTES,
            problem: Problem::Short { needed, left: event.len().saturating_sub(HEADER_BYTES) },
        };
        let version = event.get(VERSION).ok_or_else(|| short(52))?;
        if !knows_checksums(version) {
            return Ok(Checksum::None);
        }
        let at = event.len().checked_sub(TAIL).filter(|at| *at >= VERSION.end).ok_or_else(|| short(57))?;
        Checksum::by_number(event[at]).ok_or(BadEvent {
            event: EventType::FORMAT_DESCRIPTION,
            offset: at,
            problem: Problem::NotUnderstood("the checksum algorithm"),
        })
    }

    /// Reads what is behind the header. The input ends with the list of fixed parts, and with the algorithm and the
    /// checksum if the server knows of these.
    pub(super) fn parse(mut input: Input<'_>, checksum: Checksum) -> Result<Self, BadEvent> {
        if input.u16()? != 4 {
            return Err(input.bad(Problem::NotUnderstood("a binlog version other than 4")));
        }
        let version = input.take(50)?;
        let tail = if knows_checksums(version) { TAIL } else { 0 };
        let version = version.split(|byte| *byte == 0).next().unwrap_or_default();
        let server_version = String::from_utf8_lossy(version).into_owned();
        let created = input.u32()?;
        if usize::from(input.u8()?) != HEADER_BYTES {
            return Err(input.bad(Problem::NotUnderstood("a header of another length than 19")));
        }
        let parts_at = input.offset();
        let parts = input.rest();
        let parts = &parts[..parts.len().saturating_sub(tail)];
        for (event, expected) in FIXED_PARTS {
            // A server that doesn't know the event has no entry for it.
            match parts.get(usize::from(event.0) - 1) {
                Some(0) | None => {}
                Some(length) if *length == expected => {}
                Some(_) => {
                    return Err(BadEvent {
                        event: EventType::FORMAT_DESCRIPTION,
                        offset: parts_at + usize::from(event.0) - 1,
                        problem: Problem::NotUnderstood("another length of the events' fixed parts"),
                    });
                }
            }
        }
        let mariadb = server_version.contains("MariaDB");
        Ok(FormatDescription { server_version, created, format: Format { checksum, mariadb } })
    }
}

/// Servers know of checksums since MySQL 5.6.1 and MariaDB 5.3.
fn knows_checksums(version: &[u8]) -> bool {
    let version = version.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut numbers = version.split(|byte| !byte.is_ascii_digit()).map(|digits| {
        digits.iter().fold(0u32, |number, digit| number.saturating_mul(10).saturating_add(u32::from(digit - b'0')))
    });
    let number = [(); 3].map(|()| numbers.next().unwrap_or(0));
    let first = if version.windows(7).any(|word| word == b"MariaDB") { [5, 3, 0] } else { [5, 6, 1] };
    number >= first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_servers_write_no_checksums() {
        for (version, knows) in [
            ("9.7.4", true),
            ("8.0.36-log", true),
            ("5.6.1-m5", true),
            ("5.6.0", false),
            ("5.5.62-log", false),
            ("5.5.5-10.0.1-MariaDB", true),
            ("10.11.6-MariaDB-log", true),
            ("5.2.14-MariaDB", false),
            ("", false),
        ] {
            assert_eq!(knows_checksums(version.as_bytes()), knows, "{version}");
        }
    }
}
