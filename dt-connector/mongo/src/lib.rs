//! MongoDB: a source of snapshots and of changes, and a sink.
//!
//! | room | what is in it |
//! |---|---|
//! | [`config`] | the address and credentials of a server |
//! | [`connect`] | a server and its kind; commands; why it cannot be reached |
//! | [`alive`] | waiting for a server's answer for as long as the server is there |
//! | [`catalog`] | databases and collections |
//! | [`snapshot`] | reading: the shared moment, the commands (`plan`, pure), the documents (`read`) |
//! | [`cdc`] | following: the change stream, or the oplog |
//! | [`sink`] | writing: the comparison with the target (`check`), the commands (`statement`, pure), the documents (`write`) |
//! | [`value`] | the values of `_id` (pure) |
//! | [`raw`] | BSON as bytes (pure) |
//! | [`error`] | what an error of the driver or the server means |
//!
//! A document is never decoded but for its `_id`: names and texts that are not UTF-8, names that occur twice, the order of
//! fields and the types of numbers arrive as they are. Values of `_id` are compared by the source's server only.

pub mod alive;
pub mod catalog;
pub mod cdc;
pub mod config;
pub mod connect;
pub mod error;
pub mod raw;
pub mod sink;
pub mod snapshot;
pub mod value;

#[cfg(test)]
mod damage;

pub use config::Address;
pub use sink::MongoTarget;
pub use snapshot::MongoSource;
