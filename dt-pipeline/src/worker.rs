//! The task around one sinker: takes a batch, keeps to the rate limit, applies, tries again what may pass.
//!
//! It never drops a batch without saying so, never gives the sinker another batch before the one in hand is applied,
//! and decides nothing about the run: an error that is final goes to the driver.

use std::sync::{Arc, Mutex};

use dt_common::ladder::Applied;
use dt_common::{Error, ErrorClass, Result};
use dt_connector::retry::{Backoff, RetryBudget, chance};
use dt_connector::{Batch, Failed, Sinker};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::grace::Grace;
use crate::outcome::{Observer, Retried};
use crate::rate::Pacer;
use crate::state::GRACE;

/// A sinker and what its task needs.
pub(crate) struct Worker {
    pub(crate) sinker: Box<dyn Sinker>,
    pub(crate) retry: RetryBudget,
    /// Shared by all workers of a run.
    pub(crate) pacer: Arc<Mutex<Pacer>>,
    pub(crate) grace: Grace,
    pub(crate) observer: Arc<dyn Observer>,
    /// The run's time zero.
    pub(crate) started: Instant,
}

pub(crate) const BUDGET_SPENT: &str = "the target did not take the rows within [pipeline] max_retry_secs; nothing is lost: once it \
     is back, start the task again, with [resumer] resume_type as it was or from_log";

/// A batch that is in the target.
pub(crate) struct Done {
    pub(crate) applied: Applied,
    pub(crate) replaced_rows: u64,
}

impl Worker {
    /// Works until no more batches come; each is answered by one report.
    pub(crate) async fn work(mut self, mut batches: mpsc::Receiver<Batch>, report: impl Fn(Result<Done>)) {
        while let Some(batch) = batches.recv().await {
            self.pace(&batch).await;
            report(self.apply(batch).await);
        }
    }

    async fn pace(&mut self, batch: &Batch) {
        let now = self.started.elapsed();
        let pause =
            self.pacer.lock().expect("worker: a holder of the pacer panicked").take(batch.rows(), batch.bytes(), now);
        if !pause.is_zero() {
            tokio::select! {
                biased;
                _ = self.grace.begun() => {}
                () = sleep(pause) => {}
            }
        }
    }

    async fn apply(&mut self, mut batch: Batch) -> Result<Done> {
        let (lane, begun) = (batch.lane(), Instant::now());
        let mut backoff = Backoff::new(self.retry);
        loop {
            let applying = tokio::select! {
                biased;
                applying = self.sinker.apply(batch) => applying,
                () = self.grace.over(begun) => return Err(hung()),
            };
            let Failed { batch: again, error } = match applying {
                Ok(applied) => return Ok(Done { applied, replaced_rows: self.sinker.take_replaced_rows() }),
                Err(failed) => failed,
            };
            let error = match again.table() {
                Some(table) => error.with("target table", &table.target),
                None => error,
            };
            if !error.class().is_transient() {
                return Err(error);
            }
            let Some(pause) = backoff.failed(self.started.elapsed(), chance()) else {
                let error = error.with("attempts", backoff.attempts() + 1);
                return Err(error.hint(BUDGET_SPENT));
            };
            self.observer.retrying(Retried::Apply(lane), &error, backoff.attempts(), pause);
            tokio::select! {
                biased;
                () = self.grace.over(begun) => {
                    let attempts = backoff.attempts();
                    return Err(left_out(error.with("attempts", attempts)));
                }
                () = sleep(pause) => {}
            }
            batch = again.tried_again();
        }
    }
}

pub(crate) fn hung() -> Error {
    let message = format!("the target did not answer within {} s while the task was ending", GRACE.as_secs());
    left_out(Error::new(ErrorClass::Reconnect, message))
}

fn left_out(error: Error) -> Error {
    error.hint("nothing is lost: what is not in the target yet is read again when the task is started again")
}
