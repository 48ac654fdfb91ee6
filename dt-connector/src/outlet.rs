//! Where an extractor sends what it has read: a channel bounded by bytes.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::batch::{Block, Event};

/// The pipeline takes no more events: it is draining, or it has failed. An extractor that meets this returns at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline has stopped reading")]
pub struct Stopped;

/// What arrives at the pipeline's end of the channel: the event, and the bytes it holds of the memory budget.
#[derive(Debug)]
pub struct Delivery {
    /// The event.
    pub event: Event,
    /// The budget it holds, given back when dropped.
    pub memory: Option<OwnedSemaphorePermit>,
}

/// The extractor's end; clones share one budget and one channel.
#[derive(Clone, Debug)]
pub struct Outlet {
    sender: mpsc::UnboundedSender<Delivery>,
    budget: Arc<Semaphore>,
    budget_bytes: u32,
    stop: watch::Receiver<bool>,
}

/// The budget counts in units of this many bytes, so that a semaphore's permits suffice for any memory size.
const UNIT_BYTES: u64 = 1024;

impl Outlet {
    /// A channel whose unapplied rows hold `budget_bytes` at most (a single larger block is let through alone), and
    /// its receiving end. `stop` turning true makes every send answer [`Stopped`].
    pub fn new(budget_bytes: u64, stop: watch::Receiver<bool>) -> (Self, mpsc::UnboundedReceiver<Delivery>) {
        // Unbounded in messages: what bounds it is the budget, which counts every block from here to its commit.
        let (sender, receiver) = mpsc::unbounded_channel();
        let units = u32::try_from((budget_bytes / UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
        let budget = Arc::new(Semaphore::new(units as usize));
        (Outlet { sender, budget, budget_bytes: units, stop }, receiver)
    }

    /// Sends a block, waiting until the memory budget has room for it.
    pub async fn rows(&self, block: Block) -> Result<(), Stopped> {
        let units = u32::try_from(block.bytes().div_ceil(UNIT_BYTES).max(1)).unwrap_or(u32::MAX);
        let mut stop = self.stop.clone();
        let memory = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return Err(Stopped),
            memory = self.budget.clone().acquire_many_owned(units.min(self.budget_bytes)) => memory.map_err(|_| Stopped)?,
        };
        self.deliver(Delivery { event: Event::Rows(Box::new(block)), memory: Some(memory) })
    }

    /// Sends an event that carries no rows; it takes no memory and never waits.
    pub fn signal(&self, event: Event) -> Result<(), Stopped> {
        self.deliver(Delivery { event, memory: None })
    }

    fn deliver(&self, delivery: Delivery) -> Result<(), Stopped> {
        if *self.stop.borrow() {
            return Err(Stopped);
        }
        self.sender.send(delivery).map_err(|_| Stopped)
    }

    /// Waits until the pipeline stops reading; for an extractor that waits for its server or for a retry.
    pub async fn stopped(&self) -> Stopped {
        let mut stop = self.stop.clone();
        // A dropped sender means that the pipeline is gone: stopped as well.
        let _ = stop.wait_for(|stop| *stop).await;
        Stopped
    }
}
