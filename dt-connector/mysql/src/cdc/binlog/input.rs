//! The bytes of an event, taken from front to back; nothing is taken that is not there.

use super::error::{BadEvent, Problem};
use super::header::EventType;

/// What is left of an event.
#[derive(Clone, Debug)]
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begins in the event.
    base: usize,
    event: EventType,
}

impl<'a> Input<'a> {
    /// All of `bytes`, which begin where the event begins.
    pub(super) fn over(bytes: &'a [u8], event: EventType) -> Self {
        Input { bytes, at: 0, base: 0, event }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether none are.
    pub(super) fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// Bytes from the event's first byte to the next one taken.
    pub(super) fn offset(&self) -> usize {
        self.base + self.at
    }

    /// An error at the current place.
    pub(super) fn bad(&self, problem: Problem) -> BadEvent {
        BadEvent { event: self.event, offset: self.offset(), problem }
    }

    /// A field at the current place, or just before it, has a value that it cannot have.
    pub(super) fn malformed(&self, what: &'static str) -> BadEvent {
        self.bad(Problem::Malformed(what))
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], BadEvent> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..count) else {
            return Err(self.bad(Problem::Short { needed: count as u64, left: rest.len() }));
        };
        self.at += count;
        Ok(taken)
    }

    /// The next `count` bytes, for a count as it is on the wire.
    pub(super) fn take_u64(&mut self, count: u64) -> Result<&'a [u8], BadEvent> {
        match usize::try_from(count) {
            Ok(count) => self.take(count),
            Err(_) => Err(self.bad(Problem::Short { needed: count, left: self.left() })),
        }
    }

    /// The next `count` bytes as an input of their own.
    pub(super) fn part(&mut self, count: u64) -> Result<Input<'a>, BadEvent> {
        let base = self.offset();
        Ok(Input { bytes: self.take_u64(count)?, at: 0, base, event: self.event })
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        let rest = &self.bytes[self.at..];
        self.at = self.bytes.len();
        rest
    }

    /// Everything has been taken.
    pub(super) fn end(&self) -> Result<(), BadEvent> {
        match self.left() {
            0 => Ok(()),
            bytes => Err(self.bad(Problem::Surplus { bytes })),
        }
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], BadEvent> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8, BadEvent> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, BadEvent> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, BadEvent> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, BadEvent> {
        self.array().map(u64::from_le_bytes)
    }

    /// An integer of `N` bytes, at most eight.
    pub(super) fn uint<const N: usize>(&mut self) -> Result<u64, BadEvent> {
        const { assert!(N <= 8) };
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(self.take(N)?);
        Ok(u64::from_le_bytes(wide))
    }

    /// A length-encoded integer of the client protocol: 1, 3, 4 or 9 bytes.
    pub(super) fn lenenc(&mut self) -> Result<u64, BadEvent> {
        match self.u8()? {
            small @ 0..=250 => Ok(u64::from(small)),
            252 => self.uint::<2>(),
            253 => self.uint::<3>(),
            254 => self.u64(),
            251 | 255 => Err(self.malformed("not a length-encoded integer")),
        }
    }

    /// A length-encoded integer that is used as a count of things that take at least a byte each (or a bit, with
    /// `per_byte` 8): more of them than there is room for is an error, so that a count never asks for memory.
    pub(super) fn count(&mut self, per_byte: usize) -> Result<usize, BadEvent> {
        let count = self.lenenc()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.left().saturating_mul(per_byte) => Ok(count),
            _ => Err(self.bad(Problem::Short { needed: count, left: self.left() })),
        }
    }

    /// An unsigned integer of MySQL's serialization library: as many bytes as the first one has trailing ones, and
    /// one more.
    pub(super) fn varlen(&mut self) -> Result<u64, BadEvent> {
        let first = self.u8()?;
        let more = first.trailing_ones() as usize;
        let mut wide = [0; 8];
        let further = self.take(more)?;
        if more == 8 {
            wide.copy_from_slice(further);
            return Ok(u64::from_le_bytes(wide));
        }
        wide[0] = first;
        wide[1..=more].copy_from_slice(further);
        Ok(u64::from_le_bytes(wide) >> (more + 1))
    }

    /// A signed integer of MySQL's serialization library that cannot be negative here.
    pub(super) fn varlen_natural(&mut self) -> Result<u64, BadEvent> {
        match self.varlen()? {
            even if even & 1 == 0 => Ok(even >> 1),
            _ => Err(self.malformed("a negative number")),
        }
    }

    /// `count` bytes of UTF-8: the names of schemas, tables, columns and files.
    pub(super) fn text(&mut self, count: u64) -> Result<String, BadEvent> {
        let bytes = self.take_u64(count)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| self.malformed("a name that is not UTF-8"))
    }

    /// All that is left, as UTF-8.
    pub(super) fn text_rest(&mut self) -> Result<String, BadEvent> {
        self.text(self.left() as u64)
    }

    /// The zero byte behind a name.
    pub(super) fn nul(&mut self) -> Result<(), BadEvent> {
        match self.u8()? {
            0 => Ok(()),
            _ => Err(self.malformed("no zero byte behind a name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: &[u8]) -> Input<'_> {
        Input::over(bytes, EventType::TABLE_MAP)
    }

    #[test]
    fn nothing_is_taken_that_is_not_there() {
        let mut two = input(&[1, 2]);
        let bad = two.u32().expect_err("two bytes are no u32");
        assert_eq!(bad.problem, Problem::Short { needed: 4, left: 2 });
        assert_eq!(two.u16().ok(), Some(0x0201));
        assert!(two.take_u64(u64::MAX).is_err());
        assert!(two.is_empty() && two.end().is_ok());
    }

    #[test]
    fn length_encoded_integers_have_four_sizes() {
        assert_eq!(input(&[250]).lenenc().ok(), Some(250));
        assert_eq!(input(&[252, 1, 2]).lenenc().ok(), Some(0x0201));
        assert_eq!(input(&[253, 1, 2, 3]).lenenc().ok(), Some(0x03_0201));
        assert_eq!(input(&[254, 1, 0, 0, 0, 0, 0, 0, 128]).lenenc().ok(), Some(1 << 63 | 1));
        assert!(input(&[251]).lenenc().is_err() && input(&[255]).lenenc().is_err());
        assert!(input(&[252, 1]).lenenc().is_err());
    }

    #[test]
    fn a_count_cannot_ask_for_more_than_there_is() {
        assert_eq!(input(&[2, 0, 0]).count(1).ok(), Some(2));
        assert!(input(&[3, 0, 0]).count(1).is_err());
        assert_eq!(input(&[16, 0, 0]).count(8).ok(), Some(16));
        assert!(input(&[254, 255, 255, 255, 255, 255, 255, 255, 255]).count(8).is_err());
    }

    #[test]
    fn the_serialization_librarys_integers_grow_with_trailing_ones() {
        assert_eq!(input(&[0b0000_0110]).varlen().ok(), Some(3));
        assert_eq!(input(&[0b0000_0001, 2]).varlen().ok(), Some(0x0201 >> 2));
        assert_eq!(input(&[255, 1, 0, 0, 0, 0, 0, 0, 128]).varlen().ok(), Some(1 << 63 | 1));
        assert_eq!(input(&[0b0000_1000]).varlen_natural().ok(), Some(2));
        assert!(input(&[0b0000_0010]).varlen_natural().is_err());
    }
}
