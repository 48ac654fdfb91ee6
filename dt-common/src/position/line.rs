//! Lines of position.log, finished.log and resume.config.
//!
//! ```text
//! 2024-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot",…}
//! 2024-10-10 04:04:08.152181 | checkpoint_position | {"type":"None"}
//! 2024-10-10 04:04:07.803422 | {"type":"RdbSnapshotFinished",…}
//! | current_position | {"type":"RdbSnapshot",…}
//! {"type":"RdbSnapshotFinished",…}
//! ```
//!
//! The last two are what people write by hand. Blank lines and lines that begin with `//` say nothing. The time in
//! front is carried as text, for it is only ever compared with its like; nothing here knows a calendar's time zone.

use std::fmt;

use super::Position;
use super::wire::{self, WireError};
use crate::ladder::Rung;

/// The time at the beginning of a line: `2024-10-10 04:04:08.152044`, with up to 9 digits of a second's fraction.
/// Its order as text is its order in time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp(String);

impl Stamp {
    /// Reads a time of that form; `None` for anything else, such as the 31st of June.
    pub fn parse(text: &str) -> Option<Stamp> {
        let (seconds, fraction) = text.split_once('.').map_or((text, None), |(whole, part)| (whole, Some(part)));
        let bytes = seconds.as_bytes();
        let punctuation = [(4, b'-'), (7, b'-'), (10, b' '), (13, b':'), (16, b':')];
        if bytes.len() != 19 || punctuation.iter().any(|&(at, mark)| bytes[at] != mark) {
            return None;
        }
        let number = |from: usize, to: usize| -> Option<u32> {
            let digits = &bytes[from..to];
            digits.iter().try_fold(0, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0')))
        };
        let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
        let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
        let in_range = (1..=days_of(year, month)?).contains(&day) && hour < 24 && minute < 60 && second < 60;
        let fraction_fits = fraction
            .is_none_or(|part| (1..=9).contains(&part.len()) && part.bytes().all(|digit| digit.is_ascii_digit()));
        (in_range && fraction_fits).then(|| Stamp(text.to_owned()))
    }

    /// The time as it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn days_of(year: u32, month: u32) -> Option<u32> {
    let is_leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(if is_leap { 29 } else { 28 }),
        _ => None,
    }
}

/// What one line says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it was written; absent where a person wrote it.
    pub stamp: Option<Stamp>,
    /// What the position stands for. A line that doesn't say so by `current_position` or `checkpoint_position` is
    /// taken by its type: a finished table is finished, a table in progress and a place in MongoDB are current, any
    /// other place is a checkpoint.
    pub rung: Rung,
    /// The position.
    pub position: Position,
}

/// Why a line cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// What stands before the first `|` is neither empty nor a time.
    #[error("it does not begin with a time like `2024-10-10 04:04:08.152044 |`")]
    NoStamp,
    /// Between the bars stands neither `current_position` nor `checkpoint_position`.
    #[error("what is between the bars is neither `current_position` nor `checkpoint_position`")]
    UnknownWord,
    /// The position itself.
    #[error(transparent)]
    Position(#[from] WireError),
}

impl Line {
    /// Reads one line, with or without its line end; `None` if it is blank or a `//` comment.
    pub fn parse(text: &str) -> Result<Option<Line>, LineError> {
        let text = text.trim();
        if text.is_empty() || text.starts_with("//") {
            return Ok(None);
        }
        if is_json(text) {
            return Line::of(None, None, text).map(Some);
        }
        let (stamp, rest) = text.split_once('|').ok_or(LineError::NoStamp)?;
        let stamp = match stamp.trim() {
            "" => None,
            stamp => Some(Stamp::parse(stamp).ok_or(LineError::NoStamp)?),
        };
        let rest = rest.trim_start();
        if is_json(rest) {
            return Line::of(stamp, None, rest).map(Some);
        }
        let (word, json) = rest.split_once('|').ok_or(LineError::UnknownWord)?;
        let rung = match word.trim() {
            "current_position" => Rung::Current,
            "checkpoint_position" => Rung::Checkpoint,
            _ => return Err(LineError::UnknownWord),
        };
        Line::of(stamp, Some(rung), json.trim_start()).map(Some)
    }

    fn of(stamp: Option<Stamp>, rung: Option<Rung>, json: &str) -> Result<Line, LineError> {
        let position = wire::from_json(json)?;
        let rung = rung.unwrap_or(match &position {
            Position::RdbSnapshotFinished(finished) if finished.chunk.is_none() => Rung::Finished,
            Position::RdbSnapshotFinished(_)
            | Position::RdbSnapshot(_)
            | Position::RdbSnapshotRows(_)
            | Position::RdbSnapshotSplit(_)
            | Position::MongoCdc(_) => Rung::Current,
            Position::None | Position::MysqlCdc(_) | Position::PgCdc(_) | Position::Redis(_) => Rung::Checkpoint,
        });
        Ok(Line { stamp, rung, position })
    }
}

/// The line as the documents show it, without a line end.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = wire::to_json(&self.position);
        let word = match self.rung {
            Rung::Current => "| current_position | ",
            Rung::Checkpoint => "| checkpoint_position | ",
            Rung::Finished if self.stamp.is_some() => "| ",
            Rung::Finished => "",
        };
        match &self.stamp {
            Some(stamp) => write!(f, "{stamp} {word}{json}"),
            None => write!(f, "{word}{json}"),
        }
    }
}

/// Whether the text begins as a position does: with an object, or the quoted name of a type without fields.
fn is_json(text: &str) -> bool {
    text.starts_with(['{', '"'])
}

#[cfg(test)]
mod damage;
#[cfg(test)]
mod tests;
