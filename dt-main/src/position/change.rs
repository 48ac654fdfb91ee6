//! A store held for a change: as by a run, so that none is in its way (invariant 10).

use dt_common::Result;
use dt_common::config::TaskConfig;
use dt_resumer::sql::Lease;
use dt_resumer::{Loaded, PositionStore, Rewind};

use crate::task::store::Store;

/// A task's store, held.
pub struct Change {
    store: Box<dyn PositionStore>,
    lease: Option<Lease>,
    loaded: Loaded,
}

impl Change {
    /// Takes hold of the store and reads it.
    ///
    /// # Errors
    /// The task is running; what a start would say of a store that cannot be read.
    pub async fn begin(config: &TaskConfig) -> Result<Change> {
        let store = Store::open(config, false).await?;
        let lease = store.lease();
        let mut store = store.boxed();
        match store.load().await {
            Ok(loaded) => {
                for warning in loaded.warnings() {
                    tracing::warn!("{warning}");
                }
                Ok(Change { store, lease, loaded })
            }
            Err(error) => {
                Change { store, lease, loaded: Loaded::default() }.end().await;
                Err(error)
            }
        }
    }

    /// What was stored when it began.
    pub fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Steps back, or aside.
    pub async fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        self.store.rewind(rewind).await
    }

    /// Gives the store back.
    pub async fn end(self) {
        if let Some(lease) = self.lease {
            lease.release().await;
        }
    }
}
