//! Following changes: by the change stream, or by the oplog itself.
//!
//! | room | what is in it |
//! |---|---|
//! | [`row`] | one document's change, as either source says it (pure) |
//! | [`change_event`] | the events of a change stream (pure) |
//! | [`split`] | events that the server has cut in pieces, put together (pure) |
//! | [`oplog`] | the entries of the oplog (pure) |
//! | [`place`] | where in the history of a source something is (pure) |
//! | [`resume`] | whether and from where a source can be followed (pure) |
//! | [`standing`] | how far a position is from the oplog's beginning, and which of two comes first |
//! | [`ddl`] | what becomes of what is done to collections (pure) |
//! | [`overlap`] | what the target may have from a snapshot already (pure) |
//! | [`gather`] | changes into blocks, with the place to resume at (pure) |
//! | [`ask`], `watch`, `tail`, [`stream`], [`heartbeat`] | the source, asked and followed over the network |
//!
//! How an update is carried, and why it may be applied twice, is told where it is applied: `sink/changes`.

pub mod ask;
pub mod change_event;
pub mod ddl;
pub mod gather;
pub mod heartbeat;
pub mod oplog;
pub mod overlap;
pub mod place;
pub mod resume;
pub mod row;
pub mod split;
pub mod standing;
pub mod stream;
mod tail;
mod watch;
