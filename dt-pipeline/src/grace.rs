//! How the tasks of a run hear that it is to end early, and how long they may still try.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::state::GRACE;

/// The driver's end.
#[derive(Debug)]
pub(crate) struct Hurry(watch::Sender<Option<Instant>>);

/// A task's end.
#[derive(Clone, Debug)]
pub(crate) struct Grace(watch::Receiver<Option<Instant>>);

/// A signal that has not been given.
pub(crate) fn hurry() -> (Hurry, Grace) {
    let (sender, receiver) = watch::channel(None);
    (Hurry(sender), Grace(receiver))
}

impl Hurry {
    /// From now on the run is to end.
    pub(crate) fn begin(&self) {
        self.0.send_replace(Some(Instant::now()));
    }
}

impl Grace {
    /// Waits until the run is to end; when that was said.
    pub(crate) async fn begun(&mut self) -> Instant {
        let begun = self.0.wait_for(Option::is_some).await.ok().and_then(|begun| *begun);
        match begun {
            Some(begun) => begun,
            // The driver is gone, and aborts its tasks: there is nothing to wait for.
            None => std::future::pending().await,
        }
    }

    /// Waits until the run was to end, and something that was tried since `since` has been tried for long enough.
    pub(crate) async fn over(&mut self, since: Instant) {
        let begun = self.begun().await;
        sleep_until(begun.max(since) + GRACE).await;
    }
}
