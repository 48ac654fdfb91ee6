//! A store whose positions are also written to position.log and finished.log, where people and scripts look for them.

use async_trait::async_trait;
use dt_common::Result;
use dt_common::ladder::{Recordable, Saved};

use crate::loaded::Loaded;
use crate::log::LogStore;
use crate::rewind::Rewind;
use crate::store::{PositionStore, SaveFailed};

/// What `truth` has saved is copied to files; what counts is in `truth` alone. Files that cannot be written are a warning:
/// nothing depends on them.
#[derive(Debug)]
pub struct Mirrored<S> {
    truth: S,
    files: LogStore,
    is_behind: bool,
}

impl<S: PositionStore> Mirrored<S> {
    /// Copies what `truth` saves into `files`.
    pub fn new(truth: S, files: LogStore) -> Self {
        Mirrored { truth, files, is_behind: false }
    }

    /// The store that counts.
    pub fn truth(&self) -> &S {
        &self.truth
    }

    /// The store that counts.
    pub fn truth_mut(&mut self) -> &mut S {
        &mut self.truth
    }

    /// The files.
    pub fn files(&mut self) -> &mut LogStore {
        &mut self.files
    }
}

#[async_trait]
impl<S: PositionStore> PositionStore for Mirrored<S> {
    async fn load(&mut self) -> Result<Loaded> {
        self.truth.load().await
    }

    async fn save(&mut self, recordable: Recordable) -> Result<Saved, SaveFailed> {
        let saved = self.truth.save(recordable).await?;
        match self.files.mirror(saved.entries().to_vec()).await {
            Ok(()) => self.is_behind = false,
            // Once, not with every save.
            Err(_) if self.is_behind => {}
            Err(error) => {
                tracing::warn!("position.log and finished.log are behind the position table: {error}");
                self.is_behind = true;
            }
        }
        Ok(saved)
    }
    async fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        self.truth.rewind(rewind).await?;
        if let Err(error) = self.files.rewind(rewind).await {
            tracing::warn!("position.log and finished.log still say what the position table said before: {error}");
        }
        Ok(())
    }
}
