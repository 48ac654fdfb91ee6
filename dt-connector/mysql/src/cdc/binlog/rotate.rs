//! Which file comes next.

use super::error::BadEvent;
use super::input::Input;

/// The next file: at the end of each, and made up by the server at the start of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotate {
    /// Where in it the next event begins, in bytes.
    pub position: u64,
    /// Its name, without a path.
    pub file: String,
}

impl Rotate {
    pub(super) fn parse(mut input: Input<'_>) -> Result<Self, BadEvent> {
        let position = input.u64()?;
        let file = input.text_rest()?;
        if file.is_empty() {
            return Err(input.malformed("no name of a file"));
        }
        Ok(Rotate { position, file })
    }
}
