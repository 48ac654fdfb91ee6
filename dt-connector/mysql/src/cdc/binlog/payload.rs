//! A transaction whose events were compressed together (`binlog_transaction_compression`).

use std::fmt;
use std::io::{self, BufRead, Read};

use bytes::Buf;
use bytes::Bytes;

use super::error::{BadEvent, Problem};
use super::event::Event;
use super::format_description::Format;
use super::header::{EventType, HEADER_BYTES, Header};
use super::input::Input;
use super::mariadb::EVENT_BYTES_MAX;

/// All of a transaction but its GTID event, in one event.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    compression: Compression,
    /// How many bytes the events have, as the server says; `None` if it doesn't.
    plain_bytes: Option<u64>,
    bytes: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compression {
    Zstd,
    None,
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Payload");
        shown.field("compression", &self.compression).field("plain_bytes", &self.plain_bytes);
        shown.field("bytes", &self.bytes.len()).finish()
    }
}

impl Payload {
    /// Type, length and value of each field, up to a type 0; then the events.
    pub(super) fn parse<'a>(
        mut input: Input<'a>,
        rest: impl FnOnce(Input<'a>) -> Result<Bytes, BadEvent>,
    ) -> Result<Self, BadEvent> {
        let (mut size, mut compression, mut plain_bytes) = (None, None, None);
        loop {
            let field = input.lenenc()?;
            if field == 0 {
                break;
            }
            let length = input.lenenc()?;
            let mut value = input.part(length)?;
            match field {
                1 => size = Some(value.lenenc()?),
                2 => {
                    compression = Some(match value.lenenc()? {
                        0 => Compression::Zstd,
                        255 => Compression::None,
                        _ => return Err(value.bad(Problem::NotUnderstood("the compression algorithm"))),
                    });
                }
                3 => plain_bytes = Some(value.lenenc()?),
                _ => return Err(value.bad(Problem::NotUnderstood("a field of the compressed transaction"))),
            }
            value.end()?;
        }
        let compression = compression.ok_or_else(|| input.malformed("no compression algorithm"))?;
        if size.is_some_and(|size| size != input.left() as u64) {
            return Err(input.malformed("another length than announced"));
        }
        Ok(Payload { compression, plain_bytes, bytes: rest(input)? })
    }

    /// How many bytes its events have when they are not compressed, as the server says.
    pub fn plain_bytes(&self) -> Option<u64> {
        self.plain_bytes
    }

    /// Its events, one after the other, each decompressed when it is asked for: never more than one is in memory,
    /// and the decompressor's window. They have no checksums, and their `log_pos` is 0: their place is that of the
    /// event they are in.
    ///
    /// # Errors
    /// The decompressor cannot be set up. Later, each event may be an error, after which there are none.
    pub fn events(&self) -> Result<PayloadEvents, BadEvent> {
        let stream: Box<dyn BufRead + Send> = match self.compression {
            Compression::None => Box::new(self.bytes.clone().reader()),
            Compression::Zstd => {
                let decoder = zstd::stream::read::Decoder::with_buffer(self.bytes.clone().reader());
                let decoder = decoder.map_err(|error| in_payload(0, Problem::Compression(error.to_string())))?;
                Box::new(io::BufReader::new(decoder))
            }
        };
        Ok(PayloadEvents { stream: Some(stream), read: 0, announced: self.plain_bytes })
    }
}

/// The events of a compressed transaction.
pub struct PayloadEvents {
    /// `None` after an error and after the end.
    stream: Option<Box<dyn BufRead + Send>>,
    read: u64,
    announced: Option<u64>,
}

impl fmt::Debug for PayloadEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PayloadEvents").field("read", &self.read).finish_non_exhaustive()
    }
}

impl Iterator for PayloadEvents {
    type Item = Result<Event, BadEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut stream = self.stream.take()?;
        match self.read_event(&mut *stream) {
            Ok(Some(event)) => {
                self.stream = Some(stream);
                Some(Ok(event))
            }
            Ok(None) => None,
            Err(bad) => Some(Err(bad)),
        }
    }
}

impl PayloadEvents {
    fn read_event(&mut self, stream: &mut dyn BufRead) -> Result<Option<Event>, BadEvent> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        self.read_up_to(stream, &mut bytes, HEADER_BYTES as u64)?;
        if bytes.is_empty() {
            return match self.announced {
                Some(announced) if announced != self.read => {
                    Err(in_payload(self.read, Problem::Malformed("another length of its events than announced")))
                }
                Some(_) | None => Ok(None),
            };
        }
        let header = Header::parse(&bytes)?;
        let size = u64::from(header.event_size);
        if size > EVENT_BYTES_MAX || size < HEADER_BYTES as u64 {
            let problem = Problem::Size { announced: header.event_size, actual: bytes.len() };
            return Err(BadEvent { event: header.event_type, offset: 0, problem });
        }
        self.read_up_to(stream, &mut bytes, size - HEADER_BYTES as u64)?;
        if header.event_type == EventType::TRANSACTION_PAYLOAD {
            return Err(in_payload(self.read, Problem::NotUnderstood("a compressed transaction within another")));
        }
        Event::parse(bytes.into(), Format::IN_PAYLOAD).map(Some)
    }

    /// Reads `count` bytes, or fewer if there are no more. Asks for no memory before it has the bytes.
    fn read_up_to(&mut self, stream: &mut dyn BufRead, into: &mut Vec<u8>, count: u64) -> Result<(), BadEvent> {
        let read = stream.take(count).read_to_end(into);
        let read = read.map_err(|error| in_payload(self.read, Problem::Compression(error.to_string())))?;
        self.read += read as u64;
        Ok(())
    }
}

fn in_payload(read: u64, problem: Problem) -> BadEvent {
    let offset = usize::try_from(read).unwrap_or(usize::MAX);
    BadEvent { event: EventType::TRANSACTION_PAYLOAD, offset, problem }
}
