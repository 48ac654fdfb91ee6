//! Documents as they lie in a row: a type, and a value; containers hold tables of offsets.

use super::super::flaw::Flaw;

const SHORT: Flaw = Flaw::Malformed("a JSON document that ends before its values do");

/// A value within a document; containers are looked into one by one.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    /// UTF-8.
    String(&'a [u8]),
    /// A value of another of the server's types: its number, and its bytes.
    Opaque(u8, &'a [u8]),
    Array(Container<'a>),
    Object(Container<'a>),
}

/// An array or an object.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container<'a> {
    bytes: &'a [u8],
    large: bool,
    object: bool,
    count: usize,
}

fn part(bytes: &[u8], at: usize, length: usize) -> Result<&[u8], Flaw> {
    at.checked_add(length).and_then(|end| bytes.get(at..end)).ok_or(SHORT)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Flaw> {
    part(bytes, at, N)?.try_into().map_err(|_| SHORT)
}

impl<'a> Value<'a> {
    /// The document's root. A row may hold no bytes at all where a column was added to it: that is the JSON null.
    pub(super) fn of_document(document: &'a [u8]) -> Result<Self, Flaw> {
        match document.split_first() {
            Some((&kind, value)) => Value::of(kind, value),
            None => Ok(Value::Null),
        }
    }

    /// The value of that type at the beginning of the bytes.
    fn of(kind: u8, bytes: &'a [u8]) -> Result<Self, Flaw> {
        Ok(match kind {
            0 | 1 => Value::Object(Container::of(bytes, kind == 1, true)?),
            2 | 3 => Value::Array(Container::of(bytes, kind == 3, false)?),
            4 => match array::<1>(bytes, 0)?[0] {
                0 => Value::Null,
                1 => Value::Bool(true),
                2 => Value::Bool(false),
                _ => return Err(Flaw::Malformed("a JSON literal that is neither null nor true nor false")),
            },
            5 => Value::Int(i64::from(i16::from_le_bytes(array(bytes, 0)?))),
            6 => Value::Uint(u64::from(u16::from_le_bytes(array(bytes, 0)?))),
            7 => Value::Int(i64::from(i32::from_le_bytes(array(bytes, 0)?))),
            8 => Value::Uint(u64::from(u32::from_le_bytes(array(bytes, 0)?))),
            9 => Value::Int(i64::from_le_bytes(array(bytes, 0)?)),
            10 => Value::Uint(u64::from_le_bytes(array(bytes, 0)?)),
            11 => Value::Double(f64::from_le_bytes(array(bytes, 0)?)),
            12 => Value::String(counted(bytes)?),
            15 => {
                let (&kind, data) = bytes.split_first().ok_or(SHORT)?;
                Value::Opaque(kind, counted(data)?)
            }
            _ => return Err(Flaw::Malformed("a JSON value of a type that dt does not know")),
        })
    }
}

/// Bytes after their length, which is written seven bits to the byte.
fn counted(bytes: &[u8]) -> Result<&[u8], Flaw> {
    let mut length = 0_u64;
    for (at, &byte) in bytes.iter().take(5).enumerate() {
        length |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return part(bytes, at + 1, usize::try_from(length).map_err(|_| SHORT)?);
        }
    }
    Err(SHORT)
}

impl<'a> Container<'a> {
    fn of(bytes: &'a [u8], large: bool, object: bool) -> Result<Self, Flaw> {
        let mut container = Container { bytes, large, object, count: 0 };
        container.count = container.offset(0)?;
        let size = container.offset(container.width())?;
        container.bytes = part(bytes, 0, size)?;
        // The table of entries must be there, so that a count is never more than the bytes could hold.
        let entries = container.count.checked_mul(container.key_entry() + container.value_entry()).ok_or(SHORT)?;
        part(container.bytes, container.header(), entries)?;
        Ok(container)
    }

    /// How many bytes an offset takes.
    fn width(&self) -> usize {
        if self.large { 4 } else { 2 }
    }

    fn header(&self) -> usize {
        2 * self.width()
    }

    fn key_entry(&self) -> usize {
        if self.object { self.width() + 2 } else { 0 }
    }

    fn value_entry(&self) -> usize {
        1 + self.width()
    }

    fn offset(&self, at: usize) -> Result<usize, Flaw> {
        Ok(if self.large {
            u32::from_le_bytes(array(self.bytes, at)?) as usize
        } else {
            usize::from(u16::from_le_bytes(array(self.bytes, at)?))
        })
    }

    /// How many elements or members it has.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// A member's name, of an object.
    pub(super) fn key(&self, at: usize) -> Result<&'a [u8], Flaw> {
        let entry = self.header() + at * self.key_entry();
        let length = u16::from_le_bytes(array(self.bytes, entry + self.width())?);
        part(self.bytes, self.offset(entry)?, usize::from(length))
    }

    /// An element, or a member's value.
    pub(super) fn value(&self, at: usize) -> Result<Value<'a>, Flaw> {
        let entry = self.header() + self.count * self.key_entry() + at * self.value_entry();
        let kind = array::<1>(self.bytes, entry)?[0];
        // Small values lie in the entry itself.
        let inlined = matches!(kind, 4..=6) || (self.large && matches!(kind, 7 | 8));
        let place = if inlined { entry + 1 } else { self.offset(entry + 1)? };
        // A value behind its container's header: none can hold itself.
        if !inlined && place < self.header() {
            return Err(Flaw::Malformed("a JSON value that lies within its container's header"));
        }
        Value::of(kind, self.bytes.get(place..).ok_or(SHORT)?)
    }
}
