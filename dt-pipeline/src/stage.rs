//! The task between the reader and the state where several lanes apply a stream: asks how tables are spread, and passes on
//! the parts of each block. It decides nothing else; [`crate::split`] does.

use std::fmt;
use std::sync::Arc;

use dt_common::Result;
use dt_common::schema::RoutedTable;
use dt_connector::outlet::Delivery;
use dt_connector::retry::{Backoff, RetryBudget, chance};
use dt_connector::{Event, Rule, Spreader};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep};

use crate::grace::Grace;
use crate::split::{Lanes, Splitter, share};

/// How a stream is spread over several lanes.
pub struct Spreading {
    /// Over how many, and what they have.
    pub lanes: Lanes,
    /// Says how tables are spread.
    pub rules: Box<dyn Spreader>,
}

impl fmt::Debug for Spreading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spreading").field("lanes", &self.lanes).finish_non_exhaustive()
    }
}

/// Statements of DDL, which may change how tables are spread.
pub(crate) struct Statements {
    /// How many were passed on.
    pub(crate) passed_on: u64,
    /// How many the target has executed; all that will ever be, if one has failed.
    pub(crate) applied: watch::Receiver<u64>,
}

/// The task.
pub(crate) struct Stage {
    pub(crate) splitter: Splitter,
    pub(crate) rules: Box<dyn Spreader>,
    pub(crate) incoming: mpsc::UnboundedReceiver<Delivery>,
    pub(crate) outgoing: mpsc::UnboundedSender<Delivery>,
    /// What the target has been asked to be.
    pub(crate) ddl: Statements,
    /// Given, or gone, once the reader has returned.
    pub(crate) ended: oneshot::Receiver<()>,
    /// How long the target is asked again.
    pub(crate) retry: RetryBudget,
    pub(crate) grace: Grace,
    /// The run's time zero.
    pub(crate) started: Instant,
}

impl Stage {
    /// Works until no more comes. What has come after an error is dropped: it is read again.
    pub(crate) async fn work(&mut self) -> Result<()> {
        let mut reads = true;
        loop {
            let delivery = tokio::select! {
                biased;
                _ = &mut self.ended, if reads => {
                    // A part of the reader that lives on can send no more; what it has sent is still taken in.
                    reads = false;
                    self.incoming.close();
                    continue;
                }
                delivery = self.incoming.recv() => delivery,
            };
            let Some(Delivery { event, memory }) = delivery else { return Ok(()) };
            let Event::Rows(block) = event else {
                self.pass_on(Delivery { event, memory });
                continue;
            };
            let unknown = self.splitter.unknown(&block);
            if !unknown.is_empty() {
                self.statements_applied().await?;
            }
            for table in unknown {
                let rule = self.ask(&table).await?;
                tracing::debug!("changes of {} are spread {rule:?}", table.target);
                self.splitter.learn(table, rule);
            }
            self.ddl.passed_on += u64::from(block.is_ddl());
            let parts = self.splitter.split(*block)?;
            let shares = share(memory, &parts);
            for (part, memory) in parts.into_iter().zip(shares) {
                self.pass_on(Delivery { event: Event::Rows(Box::new(part)), memory });
            }
        }
    }

    // Nobody hears it if the driver is gone, and this task with it.
    fn pass_on(&self, delivery: Delivery) {
        let _ = self.outgoing.send(delivery);
    }

    // What the target says of a table counts once it is what the source's was.
    async fn statements_applied(&mut self) -> Result<()> {
        let (passed_on, begun) = (self.ddl.passed_on, Instant::now());
        tokio::select! {
            biased;
            // A driver that is gone takes this task with it.
            _ = self.ddl.applied.wait_for(|applied| *applied >= passed_on) => Ok(()),
            () = self.grace.over(begun) => Err(crate::worker::hung()),
        }
    }

    async fn ask(&mut self, table: &Arc<RoutedTable>) -> Result<Rule> {
        let (mut backoff, begun) = (Backoff::new(self.retry), Instant::now());
        loop {
            let asked = tokio::select! {
                biased;
                asked = self.rules.rule(table) => asked,
                () = self.grace.over(begun) => return Err(crate::worker::hung()),
            };
            let error = match asked {
                Ok(rule) => return Ok(rule),
                Err(error) => error.with("target table", &table.target),
            };
            if !error.class().is_transient() {
                return Err(error);
            }
            let Some(pause) = backoff.failed(self.started.elapsed(), chance()) else {
                return Err(error.with("attempts", backoff.attempts() + 1).hint(crate::worker::BUDGET_SPENT));
            };
            tracing::warn!("{error}; trying again in {:.1} s (attempt {})", pause.as_secs_f64(), backoff.attempts());
            tokio::select! {
                biased;
                () = self.grace.over(begun) => return Err(error),
                () = sleep(pause) => {}
            }
        }
    }
}
