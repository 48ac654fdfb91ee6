//! MySQL and MariaDB: a snapshot source and a sink.
//!
//! | room | what is in it |
//! |---|---|
//! | [`config`] | the address and credentials of a server |
//! | [`connect`] | a connection with its session pinned; what kind of server it is |
//! | [`alive`] | waiting for a server's answer for as long as the server is there |
//! | [`catalog`] | tables, columns and keys, and which key a table is read by |
//! | [`snapshot`] | reading: the statements (`plan`, pure), the rows (`read`) |
//! | [`sink`] | writing: the comparison with the target (`check`), the statements (`statement`, pure), the rows (`write`) |
//! | [`value`] | the kinds of columns, and how each is selected, compared and written |
//! | [`rows`] | the text form in which rows travel (pure) |
//! | [`sql`] | quoting of names and literals, in one place |
//! | [`error`] | what an error of the driver or the server means |
//!
//! The positions of a snapshot never carry an order decided here: key values are compared by the source's server
//! only, with the column's own character set and collation.

pub mod alive;
pub mod catalog;
pub mod cdc;
pub mod config;
pub mod connect;
pub mod error;
pub mod left;
pub mod rows;
pub mod sink;
pub mod snapshot;
pub mod sql;
pub mod value;

pub use config::Address;
pub use sink::MysqlTarget;
pub use snapshot::MysqlSource;
