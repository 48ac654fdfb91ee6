//! A store without a disk: for tests, and for tools that keep the positions themselves. It forgets when the process
//! ends.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use dt_common::ladder::{Entry, Recordable, Saved};
use dt_common::{Error, ErrorClass, Result};

use crate::loaded::{Loaded, Slot};
use crate::rewind::Rewind;
use crate::store::{PositionStore, SaveFailed};

/// Keeps positions in memory. Clones share what is kept, as two runs of a task share their files.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: Vec<Entry>,
    failures_left: u32,
}

impl MemoryStore {
    /// A store that holds nothing.
    pub fn new() -> Self {
        MemoryStore::default()
    }

    /// Every position that was ever saved, the oldest first.
    pub fn entries(&self) -> Vec<Entry> {
        self.kept().entries.clone()
    }

    /// Forgets every position.
    pub fn forget(&self) {
        self.kept().entries.clear();
    }

    /// Lets the next `count` saves fail with an error that may be retried.
    pub fn fail_next_saves(&self, count: u32) {
        self.kept().failures_left = count;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("memory store: a holder of the lock panicked")
    }
}

#[async_trait]
impl PositionStore for MemoryStore {
    async fn load(&mut self) -> Result<Loaded> {
        Ok(Loaded::of_entries(self.entries()))
    }

    async fn save(&mut self, recordable: Recordable) -> Result<Saved, SaveFailed> {
        let mut kept = self.kept();
        if kept.failures_left > 0 {
            kept.failures_left -= 1;
            let error = Error::new(ErrorClass::Retry, "the position store failed as it was told to");
            return Err(SaveFailed { recordable, error });
        }
        kept.entries.extend_from_slice(recordable.entries());
        Ok(Saved::after_sync(recordable))
    }
    async fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        let keeps = rewind.keeps();
        let mut kept = self.kept();
        kept.entries.retain(|entry| keeps(&Slot::of(entry)));
        kept.entries.extend_from_slice(&rewind.put);
        Ok(())
    }
}
