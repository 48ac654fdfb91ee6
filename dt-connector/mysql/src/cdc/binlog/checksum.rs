//! Whether an event is what the server wrote.

use super::error::{BadEvent, Problem};
use super::header::{EventType, HEADER_BYTES, Header};

/// How the events of a stream are protected, as the last format description said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checksum {
    /// No format description has come yet. A server may put a checksum behind what it says before (a made-up
    /// rotation): four bytes that fit as a checksum are taken for one.
    Unannounced,
    /// There is none.
    None,
    /// The last four bytes are the CRC-32 of those before them.
    Crc32,
}

const CRC_BYTES: usize = 4;

impl Checksum {
    /// By the number in a format description; `None` if nobody here knows it.
    pub(super) fn by_number(number: u8) -> Option<Self> {
        match number {
            // 255 is "undefined": written by a server that knows of checksums, for one that doesn't.
            0 | 255 => Some(Checksum::None),
            1 => Some(Checksum::Crc32),
            _ => None,
        }
    }

    /// The event without its checksum, which has been verified.
    pub(super) fn verified(self, header: &Header, event: &[u8]) -> Result<usize, BadEvent> {
        if self == Checksum::None {
            return Ok(event.len());
        }
        let Some((body, written)) =
            event.split_last_chunk::<CRC_BYTES>().filter(|(body, _)| body.len() >= HEADER_BYTES)
        else {
            return match self {
                Checksum::Crc32 => Err(BadEvent {
                    event: header.event_type,
                    offset: HEADER_BYTES,
                    problem: Problem::Short {
                        needed: CRC_BYTES as u64,
                        left: event.len().saturating_sub(HEADER_BYTES),
                    },
                }),
                Checksum::Unannounced | Checksum::None => Ok(event.len()),
            };
        };
        let written = u32::from_le_bytes(*written);
        let computed = crc_of(header, body);
        match self {
            _ if written == computed => Ok(body.len()),
            Checksum::Crc32 => Err(BadEvent {
                event: header.event_type,
                offset: body.len(),
                problem: Problem::Checksum { written, computed },
            }),
            Checksum::Unannounced | Checksum::None => Ok(event.len()),
        }
    }
}

fn crc_of(header: &Header, body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    if header.event_type == EventType::FORMAT_DESCRIPTION && header.is_in_use() {
        // The flag is set in the file after the checksum was computed.
        let (before, rest) = body.split_at(Header::FLAGS_AT);
        crc.update(before);
        crc.update(&[rest[0] & !1]);
        crc.update(&rest[1..]);
    } else {
        crc.update(body);
    }
    crc.finalize()
}
