//! Why an event cannot be used.

use std::fmt;

use dt_common::{Error, ErrorClass};

use super::header::EventType;

/// An event that cannot be used, and where in it the trouble is. Never holds a row's value or a statement's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("binlog event {event}, byte {offset}: {problem}")]
pub struct BadEvent {
    /// The event's type.
    pub event: EventType,
    /// Bytes from the event's first byte.
    pub offset: usize,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// It ends too early.
    Short {
        /// How many bytes were to come.
        needed: u64,
        /// How many there are.
        left: usize,
    },
    /// It goes on after what was to be its end.
    Surplus {
        /// How many bytes there are beyond the end.
        bytes: usize,
    },
    /// Its header announces another size than it has.
    Size {
        /// As the header says, in bytes.
        announced: u32,
        /// As it is, in bytes.
        actual: usize,
    },
    /// It is not what the server wrote.
    Checksum {
        /// As written behind the event.
        written: u32,
        /// As computed from the event.
        computed: u32,
    },
    /// A field has a value that it cannot have.
    Malformed(&'static str),
    /// A compressed part cannot be decompressed.
    Compression(String),
    /// It changes data by a statement's text instead of by rows.
    StatementFormat,
    /// It is of a type or a form that nobody here knows.
    NotUnderstood(&'static str),
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Short { needed, left } => write!(f, "{needed} bytes are to come, {left} are there"),
            Problem::Surplus { bytes } => write!(f, "{bytes} bytes beyond the end"),
            Problem::Size { announced, actual } => {
                write!(f, "the header announces {announced} bytes, {actual} are there")
            }
            Problem::Checksum { written, computed } => {
                write!(f, "the checksum is {computed:08x}, but {written:08x} was written")
            }
            Problem::Malformed(what) => f.write_str(what),
            Problem::Compression(why) => write!(f, "cannot be decompressed: {why}"),
            Problem::StatementFormat => f.write_str("changes data by a statement, not by rows"),
            Problem::NotUnderstood(what) => write!(f, "{what} is not understood"),
        }
    }
}

impl From<BadEvent> for Error {
    fn from(bad: BadEvent) -> Self {
        let (class, hint) = match &bad.problem {
            // What was damaged on its way comes whole when it is read again; what is damaged on disk does not, and
            // ends the task when the budget is spent.
            Problem::Checksum { .. } => (
                ErrorClass::Reconnect,
                "if it comes again, the source's binlog is damaged (mysqlbinlog --verify-binlog-checksum shows where): \
                 copy the tables anew",
            ),
            Problem::StatementFormat => (
                ErrorClass::User,
                "set binlog_format=ROW on the source, globally and in all sessions, and copy anew what was changed \
                 by statements",
            ),
            Problem::NotUnderstood(_) => (
                ErrorClass::User,
                "the source writes something that this version does not know: use a newer version, or switch off the \
                 server's feature that the message names and copy the tables anew",
            ),
            Problem::Short { .. }
            | Problem::Surplus { .. }
            | Problem::Size { .. }
            | Problem::Malformed(_)
            | Problem::Compression(_) => (
                ErrorClass::Fatal,
                "the binlog is damaged, or of a server that this version does not know: see whether mysqlbinlog can \
                 read it",
            ),
        };
        Error::new(class, "cannot read the source's binlog").caused_by(bad).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_event_the_place_and_the_way_out() {
        let bad = BadEvent { event: EventType::INTVAR, offset: 19, problem: Problem::StatementFormat };
        let error = Error::from(bad);
        assert_eq!(error.class(), ErrorClass::User);
        let text = error.to_string();
        assert!(text.contains("INTVAR (5), byte 19: changes data by a statement"), "{text}");
        assert!(text.contains("binlog_format=ROW"), "{text}");
    }
}
