//! Why a table's schema does not fit the wire, and why a row cannot be read. Neither ever holds a value of a row.

use std::fmt;

use dt_common::{Error, TableId};

/// The table's columns, as the schema has them, are not those of the rows on the wire: the schema is of another moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The table.
    pub table: TableId,
    /// The column that differs; `None` if it is about all of them.
    pub column: Option<String>,
    /// What differs.
    pub what: String,
    /// A setting that would help, where there is one.
    pub hint: Option<&'static str>,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the rows of {} in the binlog do not fit the table's schema: ", self.table)?;
        match &self.column {
            Some(column) => write!(f, "column `{column}` {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

impl std::error::Error for Mismatch {}

impl From<Mismatch> for Error {
    fn from(mismatch: Mismatch) -> Self {
        let hint = mismatch.hint.unwrap_or(
            "the table was altered after these rows were written; leave it out with [filter] ignore_tbs, or copy it again from a snapshot taken after the change",
        );
        Error::user(mismatch.to_string()).hint(hint)
    }
}

/// What is wrong with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// The event ends before the value does.
    Short,
    /// The image does not hold the column.
    Absent,
    /// The value is not one that the column's type can have.
    Malformed(&'static str),
    /// A list of differences does not apply to the document before it.
    Unapplicable(&'static str),
}

/// A row image that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadRow {
    /// The table.
    pub table: TableId,
    /// The column; `None` if the row ends before its first one.
    pub column: Option<String>,
    /// What is wrong.
    pub flaw: Flaw,
}

impl fmt::Display for BadRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a row of {} in the binlog cannot be read: ", self.table)?;
        if let Some(column) = &self.column {
            write!(f, "column `{column}`: ")?;
        }
        match self.flaw {
            Flaw::Short => f.write_str("the event ends before the row does"),
            Flaw::Absent => f.write_str("the row's image does not hold it"),
            Flaw::Malformed(what) => f.write_str(what),
            Flaw::Unapplicable(what) => write!(f, "the change of the document cannot be applied: {what}"),
        }
    }
}

impl std::error::Error for BadRow {}

impl From<BadRow> for Error {
    fn from(bad: BadRow) -> Self {
        let text = bad.to_string();
        match bad.flaw {
            Flaw::Absent => Error::user(text)
                .hint("set binlog_row_image=FULL on the source, and start after the rows that were written without it"),
            Flaw::Short | Flaw::Malformed(_) | Flaw::Unapplicable(_) => Error::fatal(text)
                .hint("the table may have been altered after the row was written; leave it out with [filter] ignore_tbs, or copy it again from a new snapshot"),
        }
    }
}
