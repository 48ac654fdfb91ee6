//! A connection to a position table's server, whichever it is: statements in, rows of text out.

use async_trait::async_trait;
use dt_common::{Error, ErrorClass};

use super::write::Limits;

/// A row: each column's text, `None` for null.
pub(crate) type TextRow = Vec<Option<String>>;

/// A connection. Dropped, it is closed, and the server rolls back what it had begun.
#[async_trait]
pub(crate) trait Link: Send {
    /// Executes one statement.
    async fn rows(&mut self, statement: &str) -> Result<Vec<TextRow>, Failure>;

    /// What the server takes.
    fn limits(&self) -> Limits;
}

/// Why a statement failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// Classified, without values.
    pub(crate) error: Error,
}

/// What a caller can do something about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The account may not.
    Denied,
    /// Somebody else has just made the same row, schema or table.
    Duplicate,
    /// Anything else.
    Other,
}

impl Failure {
    pub(crate) fn other(error: Error) -> Failure {
        Failure { kind: FailureKind::Other, error }
    }

    pub(crate) fn late(doing: &str) -> Failure {
        let error = Error::new(ErrorClass::Reconnect, "the position table's server did not answer in time");
        Failure::other(error.with("doing", doing))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Error {
        failure.error
    }
}
