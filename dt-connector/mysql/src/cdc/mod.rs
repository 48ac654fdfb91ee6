//! Following the binlog: what changes, in the order in which the source committed it.
//!
//! | room | what is in it |
//! |---|---|
//! | [`binlog`] | bytes into events (pure) |
//! | [`row`] | row images into the text of a snapshot's rows (pure) |
//! | [`gtid`], [`place`] | where in the history of a source something is (pure) |
//! | [`resume`] | whether and from where a source can be followed (pure) |
//! | [`seek`] | a place in a file, by time or with what is done there (pure) |
//! | [`standing`] | how far a position is from the purge, and which of two comes first |
//! | [`assemble`] | events into transactions, changes and checkpoints (pure) |
//! | [`metadata`] | columns as the binlog describes them (pure) |
//! | [`ask`], [`tables`], [`dump`], [`stream`], [`heartbeat`] | the source, asked and followed over the network |

pub mod ask;
pub mod assemble;
pub mod binlog;
pub mod dump;
pub mod gtid;
pub mod heartbeat;
pub mod metadata;
pub mod place;
pub mod resume;
pub mod row;
pub mod seek;
pub mod standing;
pub mod stream;
pub mod tables;
mod wire;
