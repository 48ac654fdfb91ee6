//! What a server says while it has nothing to say, so that the reader knows that it is there.

use super::error::BadEvent;
use super::header::Header;
use super::input::Input;

/// How far the server has read its binlog without finding anything for the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The file's name.
    pub file: String,
    /// Where in the file; `None` where the server writes the lower 32 bits only (they are the header's `log_pos`).
    pub position: Option<u64>,
}

impl Heartbeat {
    pub(super) fn parse(mut input: Input<'_>) -> Result<Self, BadEvent> {
        Ok(Heartbeat { file: input.text_rest()?, position: None })
    }

    /// Type, length and value of each field, up to a type 0.
    pub(super) fn parse_v2(mut input: Input<'_>, header: &Header) -> Result<Self, BadEvent> {
        let (mut file, mut position) = (None, u64::from(header.log_pos));
        loop {
            let field = input.lenenc()?;
            if field == 0 {
                break;
            }
            let length = input.lenenc()?;
            let mut value = input.part(length)?;
            match field {
                1 => file = Some(value.text_rest()?),
                2 => {
                    position = value.lenenc()?;
                    value.end()?;
                }
                // Fields are there to be added to: a reader passes over those that it doesn't know.
                _ => {}
            }
        }
        let file = file.ok_or_else(|| input.malformed("no name of a file"))?;
        Ok(Heartbeat { file, position: Some(position) })
    }
}
