//! Following changes by logical replication, in the order in which the source committed them.
//!
//! | room | what is in it |
//! |---|---|
//! | [`pgoutput`] | bytes into messages (pure) |
//! | [`image`] | rows into the text of a snapshot's rows (pure) |
//! | [`lsn`] | places in the log, and moments (pure) |
//! | [`resume`] | whether and from where a source can be followed (pure) |
//! | [`standing`] | how much room a slot has, and which of two places comes first |
//! | [`assemble`] | messages into transactions, changes and checkpoints (pure) |
//! | [`spool`] | transactions that are not committed, in temporary files |
//! | [`acknowledger`] | what is recorded, told to the slot |
//! | [`ask`], [`tables`], [`moved`], [`stream`], [`heartbeat`], [`watch`] | the source, asked and followed over the network |

pub mod acknowledger;
pub mod ask;
pub mod assemble;
pub mod heartbeat;
pub mod image;
pub mod lsn;
pub mod moved;
pub mod pgoutput;
pub mod resume;
pub mod spool;
pub mod standing;
pub mod stream;
pub mod tables;
pub mod watch;
