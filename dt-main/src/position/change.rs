//! A store held for a change: as by a run, so that none is in its way (invariant 10).

use dt_common::Result;
use dt_common::config::TaskConfig;
use dt_resumer::sql::Lease;
use dt_resumer::{Loaded, Rewind};

use crate::task::store::Store;

/// A task's store, held.
pub struct Change {
    store: Store,
    lease: Option<Lease>,
    loaded: Loaded,
}

impl Change {
    /// Takes hold of the store and reads it.
    ///
    /// # Errors
    /// The task is running; what a start would say of a store that cannot be read.
    pub async fn begin(config: &TaskConfig) -> Result<Change> {
        let mut store = Store::open(config, false).await?;
        let lease = store.lease();
        match store.load().await {
            Ok(loaded) => Ok(Change { store, lease, loaded: loaded.unwrap_or_default() }),
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

    /// Steps back, or aside. Copies in log_dir of what an earlier run has left are set aside, as by a start.
    pub async fn rewind(&mut self, config: &TaskConfig, rewind: &Rewind) -> Result<()> {
        self.store.set_earlier_run_aside(config, Some(&self.loaded)).await?;
        self.store.rewind(rewind).await
    }

    /// Gives the store back.
    pub async fn end(self) {
        drop(self.store);
        if let Some(lease) = self.lease {
            lease.release().await;
        }
    }
}
