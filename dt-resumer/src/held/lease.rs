//! The lease on a task: renewed while it is held, given back at the end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use dt_common::{Error, Result};
use tokio::sync::{Mutex, watch};

use super::fence::Holder;

/// How long a holder counts as alive after it was last heard of.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a holder lets itself be heard.
pub const RENEWED_EVERY: Duration = Duration::from_secs(10);
/// The end of a task does not wait longer than this to give its lease back.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);

/// What a store and its lease have in common, on whichever server.
#[async_trait]
pub(crate) trait Held: Send {
    /// Lets the holder be heard, if the fence is still its own.
    async fn renew(&mut self) -> Result<Replaced>;

    /// Gives the task back: nobody can write any more with this epoch.
    async fn release(&mut self) -> Result<()>;

    /// The error of a writer whose epoch is gone, with who took over.
    async fn lost(&mut self) -> Error;

    /// Given back, or lost: there is nothing to renew any more.
    fn is_over(&mut self) -> &mut bool;
}

/// What became of replacing the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaced {
    Done,
    NotOurs,
}

/// The right to write a task's positions, apart from the store that writes them: given back when all writing is over.
#[derive(Clone)]
pub struct Lease {
    held: Arc<Mutex<dyn Held>>,
    lost: watch::Receiver<bool>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl Lease {
    /// A lease that is renewed from now on, for as long as somebody has it or the store. To be called within a runtime.
    pub(crate) fn kept(held: Arc<Mutex<dyn Held>>) -> Lease {
        let (lose, lost) = watch::channel(false);
        // It ends by itself when nobody has the lease any more.
        tokio::spawn(renew(Arc::downgrade(&held), lose));
        Lease { held, lost }
    }

    /// Comes back when another process has taken the task over, which is noticed at the next renewal: then whoever writes
    /// for this task should be stopped at once. Never, once the lease is given back.
    pub async fn lost(&self) -> Error {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.held.lock().await.lost().await
    }

    /// Gives the task back, so that the next process need not wait. Whoever still has the store cannot write any more. A
    /// server that does not answer is left alone: the lease ends by itself.
    pub async fn release(&self) {
        let releasing = async {
            let mut held = self.held.lock().await;
            held.release().await
        };
        match tokio::time::timeout(RELEASED_WITHIN, releasing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the lease on the task ends in {} s by itself: {error}", LEASE.as_secs()),
            Err(_) => tracing::warn!("the lease on the task ends in {} s by itself", LEASE.as_secs()),
        }
    }
}

/// Renews the lease for as long as somebody has it, and says so when another process has taken the task over. That the
/// server is away is no loss: the epoch may still be ours.
async fn renew(held: Weak<Mutex<dyn Held>>, lost: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(RENEWED_EVERY).await;
        let Some(held) = held.upgrade() else { return };
        let mut held = held.lock().await;
        if *held.is_over() {
            return;
        }
        match held.renew().await {
            Ok(Replaced::Done) => {}
            Ok(Replaced::NotOurs) => {
                *held.is_over() = true;
                lost.send_replace(true);
                return;
            }
            Err(error) => tracing::warn!("the lease on the task was not renewed: {error}"),
        }
    }
}

/// Says who took the task over.
pub(crate) fn taken_over(by: Option<&Holder>) -> Error {
    let error = Error::taken_over();
    match by {
        Some(holder) => error.with("by", holder),
        None => error,
    }
}
