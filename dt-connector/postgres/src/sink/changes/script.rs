//! Statements on their way: one after another in one text, many in one flight. The server stops at the first that
//! fails.

use std::pin::pin;

use dt_common::{Error, ErrorClass, Result, TableId};
use futures_util::StreamExt;
use tokio_postgres::{Error as DriverFailure, SimpleQueryMessage};

use super::super::write::failed_to_write;
use crate::connect::Conn;
use crate::error::{classify, state};

/// Texts stop growing here.
pub const SCRIPT_BYTES: usize = 512 * 1024;

/// Statements that are not sent yet.
#[derive(Debug, Default)]
pub struct Script<'k> {
    text: Vec<u8>,
    statements: Vec<Statement<'k>>,
}

/// One of them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Statement<'k> {
    /// The table that it writes to.
    pub table: Option<&'k TableId>,
    /// How many rows it is to touch; `None` if that does not matter.
    pub expected: Option<u64>,
    /// It is a TRUNCATE.
    pub truncates: bool,
}

/// Why a transaction did not come to its end.
#[derive(Debug)]
pub enum Failure {
    /// A row is equal to another in a unique key.
    Met(Error),
    /// Anything else.
    Other(Error),
}

impl Failure {
    /// The error of a statement that writes to this table.
    pub fn of(table: Option<&TableId>, error: DriverFailure) -> Self {
        let met = matches!(state(&error), Some("23505" | "23P01"));
        let error = match table {
            Some(table) => failed_to_write(table, error),
            None => classify("beginning or committing a transaction", error),
        };
        if met { Failure::Met(error) } else { Failure::Other(error) }
    }

    /// The error of a TRUNCATE: a table that others refer to cannot be emptied alone, whatever rows they have.
    fn of_truncate(table: Option<&TableId>, error: DriverFailure) -> Self {
        let is_referred_to = state(&error) == Some("0A000");
        match Failure::of(table, error) {
            Failure::Other(error) if is_referred_to => Failure::Other(error.with_class(ErrorClass::User).hint(
                "a table of the target that is not truncated along refers to this one: drop that foreign key on the target and start again, the TRUNCATE comes once more; it can be added again afterwards. To follow no TRUNCATE from then on: ALTER PUBLICATION … SET (publish = 'insert, update, delete') on the source; or truncate both tables there in one statement",
            )),
            failure => failure,
        }
    }

    /// The error alone.
    pub fn into_error(self) -> Error {
        match self {
            Failure::Met(error) | Failure::Other(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Other(error)
    }
}

/// Rows that an update by key did not find.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missed {
    /// The table.
    pub table: TableId,
    /// How many.
    pub rows: u64,
}

impl<'k> Script<'k> {
    /// Adds a statement.
    pub fn push(&mut self, text: &[u8], statement: Statement<'k>) {
        if !self.text.is_empty() {
            self.text.push(b';');
        }
        self.text.extend_from_slice(text);
        self.statements.push(statement);
    }

    /// Whether it should be sent before more is added.
    pub fn is_full(&self) -> bool {
        self.text.len() >= SCRIPT_BYTES
    }

    /// Sends what there is and hears the answer to each statement.
    pub async fn send(&mut self, conn: &Conn, missed: &mut Vec<Missed>) -> Result<(), Failure> {
        if self.text.is_empty() {
            return Ok(());
        }
        let statements = std::mem::take(&mut self.statements);
        let text = String::from_utf8(std::mem::take(&mut self.text))
            .map_err(|_| Error::fatal("a statement that is not UTF-8"))?;
        let mut answered = 0;
        let failed = |answered: usize, error| {
            let Statement { table, truncates, .. } = statements.get(answered).copied().unwrap_or_default();
            if truncates { Failure::of_truncate(table, error) } else { Failure::of(table, error) }
        };
        let answers = conn.client.simple_query_raw(&text).await.map_err(|error| failed(0, error))?;
        let mut answers = pin!(answers);
        while let Some(answer) = answers.next().await {
            // The statements give back no rows, only that they are complete.
            if let SimpleQueryMessage::CommandComplete(rows) = answer.map_err(|error| failed(answered, error))? {
                let Some(Statement { table, expected, .. }) = statements.get(answered) else { continue };
                if let (Some(table), Some(expected)) = (table, expected)
                    && rows < *expected
                {
                    missed.push(Missed { table: (*table).clone(), rows: expected - rows });
                }
                answered += 1;
            }
        }
        if answered != statements.len() {
            return Err(Failure::Other(
                Error::fatal("the server has not answered each statement of a transaction")
                    .with("statements", statements.len())
                    .with("answers", answered),
            ));
        }
        Ok(())
    }
}
