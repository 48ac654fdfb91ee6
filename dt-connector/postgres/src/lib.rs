//! PostgreSQL: a snapshot source, a stream of changes and a sink.
//!
//! | room | what is in it |
//! |---|---|
//! | [`config`] | the address and credentials of a server |
//! | [`tls`] | how a connection is secured |
//! | [`connect`] | a connection with its session pinned; what kind of server it is |
//! | [`wire`] | a connection of our own, for what the driver does not do, or not fast enough |
//! | [`alive`] | waiting for a server's answer for as long as the server is there |
//! | [`catalog`] | tables, columns, keys and types, and which key a table is read by |
//! | [`snapshot`] | reading: the shared snapshot, the statements (`plan`, pure), the rows (`read`) |
//! | [`cdc`] | following changes by logical replication |
//! | [`sink`] | writing: the comparison with the target (`check`), the statements (`statement`, pure), the rows (`write`) |
//! | [`value`] | the values of keys |
//! | [`rows`] | the forms in which rows travel (pure) |
//! | [`sql`] | quoting of names and literals, in one place |
//! | [`error`] | what an error of the driver or the server means |
//!
//! The positions of a snapshot never carry an order decided here: key values are compared by the source's server
//! only, with the column's own type and collation.

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
pub mod tls;
pub mod value;
pub mod wire;

pub use config::Address;
pub use sink::PgTarget;
pub use snapshot::PgSource;
