//! What the server sends during the copy (PostgreSQL documentation, 55.4 Streaming Replication Protocol).

use bytes::{Buf, BytesMut};
use dt_common::{Error, ErrorClass, Result};
use postgres_protocol::message::backend::{
    COMMAND_COMPLETE_TAG, COPY_DATA_TAG, COPY_DONE_TAG, ERROR_RESPONSE_TAG, Header, Message, NOTICE_RESPONSE_TAG,
    PARAMETER_STATUS_TAG,
};
use tokio::io::ReadHalf;

use super::copy_out::ROOM_BYTES_MAX;
use super::{Stream, fill, garbled, server_error};
use crate::cdc::lsn::{Lsn, Moment};

/// The half that the server speaks on.
pub struct Incoming {
    read: ReadHalf<Stream>,
    buffer: BytesMut,
    // Bytes of the frame that was handed out last.
    taken: usize,
    place: String,
}

/// One thing that the server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// A message of the plugin.
    Data {
        /// Where it begins in the log; 0 for messages that are in no place of their own.
        start: Lsn,
        /// The message.
        message: &'a [u8],
    },
    /// A sign of life.
    Keepalive {
        /// Everything that was committed before this place has been sent.
        wal_end: Lsn,
        /// The server's clock.
        clock: Moment,
        /// Whether an answer is asked for at once.
        reply: bool,
    },
}

/// Kind, two places and a clock before each message; kind, place, clock and a flag of a keepalive.
const DATA_HEAD: usize = 1 + 8 + 8 + 8;
const KEEPALIVE_BYTES: usize = 1 + 8 + 8 + 1;

/// A frame is no larger than what the server can allocate at once.
const FRAME_BYTES_MAX: usize = 0x4000_0000;

impl Incoming {
    pub(super) fn new(read: ReadHalf<Stream>, buffer: BytesMut, place: String) -> Self {
        Incoming { read, buffer, taken: 0, place }
    }

    /// The next frame, if all of it has arrived.
    ///
    /// # Errors
    /// The server has ended the copy, with an error or without; or what it sent is no frame.
    pub fn take(&mut self) -> Result<Option<Frame<'_>>> {
        self.buffer.advance(std::mem::take(&mut self.taken));
        loop {
            let Some(header) = Header::parse(&self.buffer).map_err(|error| garbled(&self.place, &error))? else {
                return Ok(None);
            };
            let whole = 1 + usize::try_from(header.len()).unwrap_or(usize::MAX - 1);
            if whole > FRAME_BYTES_MAX {
                return Err(self.bad("a frame that is too long"));
            }
            if self.buffer.len() < whole {
                // Room is made at once, though not because of the length alone.
                self.buffer.reserve((whole - self.buffer.len()).min(ROOM_BYTES_MAX));
                return Ok(None);
            }
            match header.tag() {
                COPY_DATA_TAG => {
                    self.taken = whole;
                    return frame(&self.buffer[5..whole])
                        .map(Some)
                        .ok_or_else(|| self.bad("a frame of an unknown kind"));
                }
                ERROR_RESPONSE_TAG => {
                    let body = Message::parse(&mut self.buffer).map_err(|error| garbled(&self.place, &error))?;
                    let Some(Message::ErrorResponse(body)) = body else { return Err(self.bad("half an error")) };
                    return Err(server_error("following the source's log", &body));
                }
                COPY_DONE_TAG | COMMAND_COMPLETE_TAG => {
                    let what = format!("{} has ended the replication", self.place);
                    return Err(Error::new(ErrorClass::Reconnect, what));
                }
                NOTICE_RESPONSE_TAG | PARAMETER_STATUS_TAG => self.buffer.advance(whole),
                _ => return Err(self.bad("a message that does not belong there")),
            }
        }
    }

    /// Waits for more bytes. May be given up at any time: nothing is lost.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn fill(&mut self) -> Result<()> {
        self.buffer.advance(std::mem::take(&mut self.taken));
        fill(&mut self.read, &mut self.buffer, &self.place).await
    }

    fn bad(&self, what: &str) -> Error {
        Error::fatal(format!("what {} sent is not understood: {what}", self.place))
    }
}

fn frame(bytes: &[u8]) -> Option<Frame<'_>> {
    let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    match bytes.first()? {
        b'w' => Some(Frame::Data { start: Lsn(number(1)?), message: bytes.get(DATA_HEAD..)? }),
        b'k' if bytes.len() == KEEPALIVE_BYTES => {
            let clock = Moment(i64::from_be_bytes(number(9)?.to_be_bytes()));
            Some(Frame::Keepalive { wal_end: Lsn(number(1)?), clock, reply: bytes[17] == 1 })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_read_as_the_documentation_lays_them_out() {
        let mut data = vec![b'w'];
        data.extend(7u64.to_be_bytes());
        data.extend(9u64.to_be_bytes());
        data.extend((-1i64).to_be_bytes());
        data.extend(b"E");
        assert_eq!(frame(&data), Some(Frame::Data { start: Lsn(7), message: b"E" }));
        let mut keepalive = vec![b'k'];
        keepalive.extend(7u64.to_be_bytes());
        keepalive.extend((-1i64).to_be_bytes());
        keepalive.push(1);
        assert_eq!(frame(&keepalive), Some(Frame::Keepalive { wal_end: Lsn(7), clock: Moment(-1), reply: true }));
        for bad in [&b""[..], b"w", b"x", &data[..20], &keepalive[..17], &[&keepalive[..], b"x"].concat()] {
            assert_eq!(frame(bad), None);
        }
    }
}
