//! The rows of a block as they are gathered from the messages of a COPY. Pure.
//!
//! The server sends one message for each row (PostgreSQL documentation, 55.2.6 COPY Operations); the first of a binary
//! COPY begins with the file's header, and the last is its trailer.

use bytes::Bytes;
use dt_common::{Error, Result};
use dt_connector::RowFormat;

use super::spare::Spare;
use crate::rows::{self, BinaryFields};

/// The rows of a block.
#[derive(Debug)]
pub struct Gathered {
    binary: bool,
    fields: usize,
    extras: usize,
    full_bytes: usize,
    data: Vec<u8>,
    rows: u64,
    last_row: usize,
    last_extras: Vec<u8>,
    header_seen: bool,
    trailer_seen: bool,
    // How large the last block was: what the next one makes room for. A block counts in the memory budget by its
    // length, so it should hold no more than that.
    typical_bytes: usize,
    spare: Spare,
}

impl Gathered {
    /// Gathers rows of this many fields, behind each of which the server adds `extras` more that are cut off.
    pub fn new(format: RowFormat, fields: usize, extras: usize, full_bytes: usize, spare: Spare) -> Self {
        Gathered {
            binary: match format {
                RowFormat::PgBinary => true,
                RowFormat::PgText | RowFormat::MysqlText | RowFormat::Bson => false,
            },
            fields,
            extras,
            full_bytes,
            data: Vec::new(),
            rows: 0,
            last_row: 0,
            last_extras: Vec::new(),
            header_seen: false,
            trailer_seen: false,
            typical_bytes: 0,
            spare,
        }
    }

    /// A new COPY begins; rows that were not sent are forgotten.
    pub fn begin(&mut self) {
        self.data.clear();
        self.rows = 0;
        self.header_seen = false;
        self.trailer_seen = false;
    }

    /// Takes a message. Whether it held a row.
    ///
    /// # Errors
    /// It is not what a COPY of these columns sends.
    pub fn push(&mut self, message: &[u8]) -> Result<bool> {
        if !self.binary {
            if message.last() != Some(&b'\n') {
                return Err(not_understood("a line without its end"));
            }
            self.start_row(message.len());
            self.data.extend_from_slice(message);
            return Ok(true);
        }
        let mut tuple = message;
        if !self.header_seen {
            tuple = rows::after_header(message).ok_or_else(|| not_understood("another header"))?;
            self.header_seen = true;
            if tuple.is_empty() {
                return Ok(false);
            }
        }
        if self.trailer_seen {
            return Err(not_understood("something behind its trailer"));
        }
        match rows::field_count(tuple) {
            Some(-1) if tuple.len() == rows::BINARY_TRAILER.len() => {
                self.trailer_seen = true;
                return Ok(false);
            }
            Some(count) if usize::try_from(count).is_ok_and(|count| count == self.fields + self.extras) => {}
            Some(_) | None => return Err(not_understood("a row of another number of fields")),
        }
        self.start_row(tuple.len());
        if self.extras == 0 {
            self.data.extend_from_slice(tuple);
            return Ok(true);
        }
        let mut fields = BinaryFields::new(tuple);
        for _ in 0..self.fields {
            fields.field().ok_or_else(|| not_understood("a torn row"))?;
        }
        let extras = fields.rest();
        let count = i16::try_from(self.fields).map_err(|_| not_understood("a row of too many fields"))?;
        self.data.extend_from_slice(&count.to_be_bytes());
        self.data.extend_from_slice(&tuple[2..tuple.len() - extras.len()]);
        self.last_extras.clear();
        self.last_extras.extend_from_slice(extras);
        Ok(true)
    }

    /// The COPY has ended.
    ///
    /// # Errors
    /// It ended before it was complete.
    pub fn end(&self) -> Result<()> {
        match self.binary && !self.trailer_seen {
            true => Err(not_understood("an end without its trailer")),
            false => Ok(()),
        }
    }

    /// Whether the block is large enough to be sent.
    pub fn is_full(&self) -> bool {
        self.data.len() >= self.full_bytes
    }

    /// How many rows there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The last row, and the fields that were cut off from it.
    pub fn last(&self) -> (&[u8], &[u8]) {
        (&self.data[self.last_row..], &self.last_extras)
    }

    /// Takes the last row back.
    pub fn pop(&mut self) {
        self.data.truncate(self.last_row);
        self.rows -= 1;
    }

    /// The rows, and how many they are; the next block begins.
    pub fn take(&mut self) -> (Bytes, u64) {
        let mut data = std::mem::take(&mut self.data);
        self.typical_bytes = data.len().min(self.full_bytes);
        if data.len() < data.capacity() - data.capacity() / 8 {
            data.shrink_to_fit();
        }
        (self.spare.lend(data), std::mem::take(&mut self.rows))
    }

    fn start_row(&mut self, bytes: usize) {
        if self.data.capacity() == 0 {
            self.data = self.spare.take(bytes.max(self.typical_bytes + self.typical_bytes / 16));
        }
        self.last_row = self.data.len();
        self.rows += 1;
    }
}

fn not_understood(what: &str) -> Error {
    Error::fatal(format!("the source's COPY holds {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &[u8] = b"\0\x01\0\0\0\x02ab";

    fn header_and(row: &[u8]) -> Vec<u8> {
        [rows::BINARY_HEADER, row].concat()
    }

    #[test]
    fn a_block_holds_tuples_without_header_and_trailer() {
        let mut block = Gathered::new(RowFormat::PgBinary, 1, 0, 1 << 20, Spare::default());
        block.begin();
        assert!(block.push(&header_and(ROW)).unwrap());
        assert!(block.push(ROW).unwrap());
        assert!(block.end().is_err());
        assert!(!block.push(rows::BINARY_TRAILER).unwrap());
        assert!(block.end().is_ok());
        assert_eq!(block.last().0, ROW);
        let (data, count) = block.take();
        assert_eq!((data.as_ref(), count), ([ROW, ROW].concat().as_slice(), 2));
    }

    #[test]
    fn fields_that_serve_the_key_are_cut_off() {
        let mut block = Gathered::new(RowFormat::PgBinary, 1, 1, 1 << 20, Spare::default());
        block.begin();
        block.push(&header_and(b"\0\x02\0\0\0\x02ab\0\0\0\x01x")).unwrap();
        assert_eq!(block.last(), (ROW, &b"\0\0\0\x01x"[..]));
    }

    #[test]
    fn what_is_no_row_of_the_table_is_refused() {
        let mut block = Gathered::new(RowFormat::PgBinary, 2, 0, 1 << 20, Spare::default());
        block.begin();
        assert!(block.push(b"something else").is_err());
        assert!(block.push(&header_and(ROW)).is_err());
        let mut text = Gathered::new(RowFormat::PgText, 2, 0, 1 << 20, Spare::default());
        assert!(text.push(b"no end").is_err());
        assert!(text.push(b"a\tb\n").unwrap());
        text.pop();
        assert_eq!(text.rows(), 0);
    }
}
