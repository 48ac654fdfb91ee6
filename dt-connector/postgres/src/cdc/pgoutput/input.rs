//! Bytes of a message, taken one field after the other. Pure.

use super::BadMessage;
use crate::cdc::lsn::{Lsn, Moment};

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    kind: u8,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    /// The fields of a message, behind the byte that says its kind.
    pub fn new(kind: u8, rest: &'a [u8]) -> Self {
        Input { kind, rest }
    }

    /// What is left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], BadMessage> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(BadMessage::Short { kind: self.kind })?;
        self.rest = rest;
        Ok(*array)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, BadMessage> {
        self.array().map(u8::from_be_bytes)
    }

    /// `Int16`, which counts something.
    pub fn count(&mut self) -> Result<u16, BadMessage> {
        let count = i16::from_be_bytes(self.array()?);
        u16::try_from(count).map_err(|_| self.bad("a negative number of columns"))
    }

    /// `Int32` that is an OID or a transaction's id.
    pub fn number(&mut self) -> Result<u32, BadMessage> {
        self.array().map(u32::from_be_bytes)
    }

    /// `Int32` with a sign.
    pub fn signed(&mut self) -> Result<i32, BadMessage> {
        self.array().map(i32::from_be_bytes)
    }

    /// `Int64` that is a place in the log.
    pub fn lsn(&mut self) -> Result<Lsn, BadMessage> {
        self.array().map(|bytes| Lsn(u64::from_be_bytes(bytes)))
    }

    /// `Int64` that is a moment.
    pub fn moment(&mut self) -> Result<Moment, BadMessage> {
        self.array().map(|bytes| Moment(i64::from_be_bytes(bytes)))
    }

    /// `Int32` and as many bytes.
    pub fn sized(&mut self) -> Result<&'a [u8], BadMessage> {
        let length = self.signed()?;
        let length = usize::try_from(length).map_err(|_| self.bad("a negative length"))?;
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(BadMessage::Short { kind: self.kind })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// `String`: bytes up to a zero byte. Names are UTF-8, as the session asks for.
    pub fn string(&mut self) -> Result<&'a str, BadMessage> {
        let end = memchr::memchr(0, self.rest).ok_or(BadMessage::Short { kind: self.kind })?;
        let text = std::str::from_utf8(&self.rest[..end]).map_err(|_| self.bad("a name that is not UTF-8"))?;
        self.rest = &self.rest[end + 1..];
        Ok(text)
    }

    /// Nothing may be left.
    pub fn end(&self) -> Result<(), BadMessage> {
        match self.rest {
            [] => Ok(()),
            rest => Err(BadMessage::Long { kind: self.kind, bytes: rest.len() }),
        }
    }

    /// The message holds something that the protocol does not have.
    pub fn bad(&self, what: &'static str) -> BadMessage {
        BadMessage::Wrong { kind: self.kind, what }
    }
}
