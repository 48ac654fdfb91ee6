//! The values of a row, still in the message. Pure.

use super::BadMessage;
use super::input::Input;

/// One value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// Null.
    Null,
    /// A value that is stored out of line (TOAST) and did not change: it is not sent.
    Unchanged,
    /// The type's text form, as the session's settings have it.
    Text(&'a [u8]),
}

/// A row's values in the order of its relation's columns; looked through when the message was parsed, so that reading
/// them cannot fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<'a> {
    columns: u16,
    bytes: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// `TupleData` of the documentation.
    pub(super) fn parse(input: &mut Input<'a>) -> Result<Self, BadMessage> {
        let columns = input.count()?;
        let start = input.rest();
        for _ in 0..columns {
            match input.byte()? {
                b'n' | b'u' => {}
                b't' => drop(input.sized()?),
                b'b' => return Err(input.bad("a value in binary form, which was not asked for")),
                _ => return Err(input.bad("a value of an unknown kind")),
            }
        }
        Ok(Tuple { columns, bytes: &start[..start.len() - input.rest().len()] })
    }

    /// How many values there are.
    pub fn columns(&self) -> usize {
        usize::from(self.columns)
    }

    /// The values, in order.
    pub fn fields(&self) -> Fields<'a> {
        Fields { rest: self.bytes }
    }
}

/// The values of a row, one by one.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let (kind, rest) = self.rest.split_first()?;
        match kind {
            b'n' => {
                self.rest = rest;
                Some(Field::Null)
            }
            b'u' => {
                self.rest = rest;
                Some(Field::Unchanged)
            }
            _ => {
                let (length, rest) = rest.split_first_chunk().expect("tuple: it was looked through");
                let (text, rest) = rest.split_at(u32::from_be_bytes(*length) as usize);
                self.rest = rest;
                Some(Field::Text(text))
            }
        }
    }
}
