//! The rows of a COPY to us, read where they lie in the buffer (PostgreSQL documentation, 55.2.6 COPY Operations).

use bytes::Buf;
use dt_common::Result;
use postgres_protocol::message::backend::{
    COMMAND_COMPLETE_TAG, COPY_DATA_TAG, COPY_DONE_TAG, COPY_OUT_RESPONSE_TAG, ERROR_RESPONSE_TAG, Header, Message,
    NOTICE_RESPONSE_TAG, PARAMETER_STATUS_TAG, READY_FOR_QUERY_TAG,
};

use super::{Wire, server_error};

/// How much room is made at once for a message that has not arrived yet, however long it says it is: more comes as it does.
pub(super) const ROOM_BYTES_MAX: usize = 16 << 20;

/// A COPY that is being read. Given up before its end, the connection is of no more use.
pub struct CopyOut<'w> {
    wire: &'w mut Wire,
    doing: String,
    // Bytes at the beginning of the buffer that were handed out.
    taken: usize,
}

/// What comes next of a COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A message: a row, or the header or the trailer of the binary format.
    Data(&'a [u8]),
    /// Not here yet: [`CopyOut::fill`] waits for it.
    Awaited,
    /// All of it was handed out, and the connection takes commands again.
    End,
}

/// Tag and length.
const HEADER_BYTES: usize = 5;

impl Wire {
    /// Begins a COPY to us; `doing` is what an error of it will say.
    ///
    /// # Errors
    /// The connection is gone. The server's errors come with the rows.
    pub async fn copy_out(&mut self, statement: &str, doing: impl Into<String>) -> Result<CopyOut<'_>> {
        self.ask(statement).await?;
        Ok(CopyOut { wire: self, doing: doing.into(), taken: 0 })
    }
}

impl CopyOut<'_> {
    /// What comes next, if it is here.
    ///
    /// # Errors
    /// The server's, classified; or what it sent belongs to no COPY.
    pub fn take(&mut self) -> Result<Next<'_>> {
        loop {
            let buffer = &self.wire.buffer[self.taken..];
            let header = Header::parse(buffer).map_err(|error| self.wire.garbled(&error))?;
            let Some(header) = header else { return Ok(Next::Awaited) };
            let whole = 1 + usize::try_from(header.len()).unwrap_or(usize::MAX - 1);
            if buffer.len() < whole {
                // A large row is made room for at once, though not because of its length alone.
                let missing = whole - buffer.len();
                self.wire.buffer.advance(std::mem::take(&mut self.taken));
                self.wire.buffer.reserve(missing.min(ROOM_BYTES_MAX));
                return Ok(Next::Awaited);
            }
            match header.tag() {
                COPY_DATA_TAG => {
                    let from = self.taken + HEADER_BYTES;
                    self.taken += whole;
                    return Ok(Next::Data(&self.wire.buffer[from..self.taken]));
                }
                READY_FOR_QUERY_TAG => {
                    self.wire.buffer.advance(self.taken + whole);
                    self.taken = 0;
                    return Ok(Next::End);
                }
                ERROR_RESPONSE_TAG => {
                    self.wire.buffer.advance(std::mem::take(&mut self.taken));
                    let error = Message::parse(&mut self.wire.buffer).map_err(|error| self.wire.garbled(&error))?;
                    return Err(match error {
                        Some(Message::ErrorResponse(body)) => server_error(&self.doing, &body),
                        Some(_) | None => self.wire.unexpected(&self.doing),
                    });
                }
                COPY_OUT_RESPONSE_TAG
                | COPY_DONE_TAG
                | COMMAND_COMPLETE_TAG
                | NOTICE_RESPONSE_TAG
                | PARAMETER_STATUS_TAG => self.taken += whole,
                _ => return Err(self.wire.unexpected(&self.doing)),
            }
        }
    }

    /// Waits for more bytes. May be given up at any time: nothing is lost.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn fill(&mut self) -> Result<()> {
        self.wire.buffer.advance(std::mem::take(&mut self.taken));
        self.wire.fill().await
    }
}

#[cfg(test)]
mod tests {
    use dt_common::ErrorClass;
    use tokio::io::AsyncWriteExt;

    use super::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).expect("a short body");
        [&[tag][..], &length.to_be_bytes(), body].concat()
    }

    /// What is read of a COPY whose answer comes in pieces of so many bytes.
    async fn read(answer: &[u8], piece: usize) -> Result<Vec<Vec<u8>>> {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let mut wire = Wire::new(Box::new(ours), "here".to_owned(), super::super::Purpose::Reading);
        let mut copy = wire.copy_out("COPY", "reading").await?;
        let mut rows = Vec::new();
        let mut pieces = answer.chunks(piece);
        loop {
            match copy.take()? {
                Next::Data(row) => rows.push(row.to_vec()),
                Next::Awaited => {
                    match pieces.next() {
                        Some(piece) => theirs.write_all(piece).await.expect("room"),
                        None => theirs.shutdown().await.expect("an open end"),
                    }
                    copy.fill().await?;
                }
                Next::End => return Ok(rows),
            }
        }
    }

    #[tokio::test]
    async fn rows_are_the_same_however_the_bytes_arrive() {
        let messages = [
            message(b'H', b"\x01\0\0"),
            message(b'd', b"one"),
            message(b'N', b"\0"),
            message(b'd', b""),
            message(b'd', b"three"),
            message(b'c', b""),
            message(b'C', b"COPY 3\0"),
            message(b'Z', b"T"),
        ];
        for piece in [1, 3, 7, 1000] {
            let rows = read(&messages.concat(), piece).await.expect("three rows");
            assert_eq!(rows, [&b"one"[..], b"", b"three"], "{piece}");
        }
    }

    #[tokio::test]
    async fn a_row_may_be_larger_than_what_is_read_at_a_time() {
        let large: Vec<u8> = (0..300_000u32).map(|at| at.to_le_bytes()[0]).collect();
        let messages = [message(b'd', b"one"), message(b'd', &large), message(b'd', b"three"), message(b'Z', b"T")];
        let rows = read(&messages.concat(), 10_000).await.expect("three rows");
        assert_eq!(rows, [&b"one"[..], &large, b"three"]);
    }

    #[tokio::test]
    async fn an_error_between_rows_is_the_servers() {
        let error = message(b'E', b"SERROR\0C40001\0Mno more\0\0");
        let answer = [message(b'H', b"\x01\0\0"), message(b'd', b"one"), error].concat();
        let error = read(&answer, 4).await.expect_err("an error");
        assert_eq!(error.class(), ErrorClass::Retry);
        assert!(error.to_string().contains("reading") && error.to_string().contains("no more"), "{error}");
    }

    #[tokio::test]
    async fn an_answer_that_breaks_off_is_no_end() {
        let answer = [message(b'H', b"\x01\0\0"), message(b'd', b"one"), message(b'c', b"")].concat();
        let error = read(&answer, 1000).await.expect_err("no end");
        assert_eq!(error.class(), ErrorClass::Reconnect);
    }

    #[tokio::test]
    async fn what_belongs_to_no_copy_is_refused() {
        let error = read(&message(b'D', b"\0\0"), 1000).await.expect_err("a row of a query");
        assert_eq!(error.class(), ErrorClass::Fatal);
    }

    #[tokio::test]
    async fn a_length_alone_asks_for_no_memory() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 16);
        let mut wire = Wire::new(Box::new(ours), "here".to_owned(), super::super::Purpose::Reading);
        let mut copy = wire.copy_out("COPY", "reading").await.expect("asked");
        theirs.write_all(b"d\x7f\xff\xff\xffnot two gibibytes").await.expect("room");
        copy.fill().await.expect("an open end");
        assert_eq!(copy.take().expect("the beginning of a row"), Next::Awaited);
        assert!(copy.wire.buffer.capacity() <= 2 * ROOM_BYTES_MAX, "{}", copy.wire.buffer.capacity());
    }

    /// An answer with rows, a notice and an end.
    fn answer() -> Vec<u8> {
        let messages = [
            message(b'H', b"\x01\0\x02\0\x01\0\x01"),
            message(b'd', b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"),
            message(b'd', b"\0\x02\0\0\0\x01x\xff\xff\xff\xff"),
            message(b'N', b"SNOTICE\0C00000\0Mhello\0\0"),
            message(b'd', b"\xff\xff"),
            message(b'c', b""),
            message(b'C', b"COPY 1\0"),
            message(b'Z', b"T"),
        ];
        messages.concat()
    }

    /// Reads it to its end, with the fields of each row: rows, or an error.
    fn read_through(answer: &[u8], piece: usize) -> Result<usize> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let rows = runtime.block_on(read(answer, piece))?;
        for row in &rows {
            let mut fields = crate::rows::BinaryFields::new(crate::rows::after_header(row).unwrap_or(row));
            let count = crate::rows::field_count(row).unwrap_or_default();
            let _ = (0..count).try_for_each(|_| fields.field().map(drop));
        }
        Ok(rows.len())
    }

    #[test]
    fn an_answer_cut_short_anywhere_is_an_error() {
        let answer = answer();
        assert_eq!(read_through(&answer, answer.len()).expect("three messages of data"), 3);
        for end in 0..answer.len() {
            assert!(read_through(&answer[..end], 9).is_err(), "{end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_answer_is_rows_or_an_error(
            damages in proptest::collection::vec(proptest::prelude::any::<(u8, u16, u8, u8)>(), 1..6),
            piece in 1_usize..200,
        ) {
            let _ = read_through(&dt_common::damage::damaged(&answer(), &damages), piece);
        }
    }
}
