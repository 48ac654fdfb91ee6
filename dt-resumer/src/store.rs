//! What a position store promises.

use std::fmt;

use async_trait::async_trait;
use dt_common::ladder::{Entry, Recordable, Saved};
use dt_common::position::PositionWrite;
use dt_common::{Error, Result};

use crate::loaded::Loaded;
use crate::rewind::Rewind;

/// Where positions are kept between two runs of a task.
///
/// A store never moves a position backwards by itself (invariant 3), and "there is none" and "it cannot be read" are
/// different answers (invariant 5): [`PositionStore::load`] gives an empty [`Loaded`] for the one and an error that
/// names the way out for the other.
#[async_trait]
pub trait PositionStore: Send {
    /// Everything that is stored. May be called again; it then reads again.
    async fn load(&mut self) -> Result<Loaded>;

    /// Makes the positions durable. [`Saved`] comes out only when all of them are; otherwise they come back to be
    /// tried again, and saving them twice is harmless.
    async fn save(&mut self, recordable: Recordable) -> Result<Saved, SaveFailed>;

    /// Steps back because a user said so. It is durable when it returns: all of it or nothing, also if the process is
    /// killed meanwhile; done twice, it changes nothing more.
    ///
    /// # Errors
    /// As for loading and saving; what is forgotten stands in a place that this store reads and does not write.
    async fn rewind(&mut self, rewind: &Rewind) -> Result<()>;
}

/// Makes what writes positions in the transaction of the rows that they stand for, where the store is in the target: then
/// rows and position are durable together, and a row is there exactly once whatever was interrupted. It is used for one
/// batch of a lane at a time, in order.
pub trait Inscriber: fmt::Debug + Send + Sync {
    /// What writes these positions, which hold once the batch that they come with is committed. None of them: the
    /// transaction only makes sure that the task has not been taken over.
    ///
    /// # Errors
    /// A position cannot be stored there.
    fn inscribe(&self, entries: &[Entry]) -> Result<PositionWrite>;
}

/// Positions that could not be saved, and why (invariant 6: tried again within a bound, then the task stops).
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SaveFailed {
    /// What was to be saved, whole.
    pub recordable: Recordable,
    /// Why it was not. Its class says whether trying again can help.
    pub error: Error,
}
