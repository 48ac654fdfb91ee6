//! Rows as they are in the binlog become rows as a snapshot writes them: byte for byte the text that the server would
//! have sent for them, in [`RowFormat::MysqlText`](dt_connector::RowFormat).
//!
//! | file | what is in it |
//! |---|---|
//! | `plan` | [`RowPlan`]: a table's columns and the wire's, brought together once; [`Image`]: reading rows by it |
//! | `fit` | how one column lies on the wire and is written, or why the two do not fit |
//! | `value` | one value's bytes into its text |
//! | `number`, `decimal`, `temporal`, `labels`, `address`, `compressed`, `json` | the kinds of values |
//! | `flaw` | what can be wrong |
//!
//! Pure. Nothing here asks a server, and nothing is guessed: a value that its column's type cannot have is an error
//! that names table and column, never the value. FLOAT is written as the double that it is, as a snapshot selects it.

mod address;
mod compressed;
mod decimal;
mod fit;
mod flaw;
mod json;
mod labels;
mod number;
mod plan;
mod temporal;
mod value;

pub use flaw::{BadRow, Flaw, Mismatch};
pub use plan::{Image, RowPlan};

#[cfg(test)]
mod tests;
