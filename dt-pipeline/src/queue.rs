//! The queue between the batcher and the sinkers: which batch may be handed out next.
//!
//! It hands out no more batches than there are sinkers, so what waits can still be called off, and with
//! [`Order::PerLane`] no second batch of a lane before the first is applied (invariant 7). What bounds it is the
//! memory budget that every batch in it holds.

use std::collections::{BTreeMap, VecDeque};

use dt_common::LaneId;
use dt_connector::Batch;

use crate::recorder::Order;

/// Batches that wait, and how many are out.
#[derive(Debug)]
pub struct Queue {
    order: Order,
    sinkers: usize,
    out: usize,
    ready: VecDeque<Batch>,
    // Lanes with a batch that is ready or out, and what waits behind it. Used with `Order::PerLane` only.
    behind: BTreeMap<LaneId, VecDeque<Batch>>,
}

impl Queue {
    /// An empty queue in front of so many sinkers.
    pub fn new(order: Order, sinkers: usize) -> Self {
        Queue { order, sinkers, out: 0, ready: VecDeque::new(), behind: BTreeMap::new() }
    }

    /// Takes a batch in.
    pub fn push(&mut self, batch: Batch) {
        match self.order {
            Order::Any => self.ready.push_back(batch),
            Order::PerLane => match self.behind.get_mut(&batch.lane()) {
                Some(behind) => behind.push_back(batch),
                None => {
                    self.behind.insert(batch.lane(), VecDeque::new());
                    self.ready.push_back(batch);
                }
            },
        }
    }

    /// Whether a batch of the lane that came now would be handed out at once.
    pub fn may_go(&self, lane: LaneId) -> bool {
        let lane_is_free = match self.order {
            Order::Any => true,
            Order::PerLane => !self.behind.contains_key(&lane),
        };
        lane_is_free && self.out + self.ready.len() < self.sinkers
    }

    /// What [`Queue::pop`] would give.
    pub fn peek(&self) -> Option<&Batch> {
        if self.out < self.sinkers { self.ready.front() } else { None }
    }

    /// Whether no batch is out.
    pub fn none_is_out(&self) -> bool {
        self.out == 0
    }

    /// The next batch for a sinker, if one is free and one may go.
    pub fn pop(&mut self) -> Option<Batch> {
        if self.out >= self.sinkers {
            return None;
        }
        let batch = self.ready.pop_front()?;
        self.out += 1;
        Some(batch)
    }

    /// A batch of the lane is applied: its sinker is free, and the lane's next batch may go.
    ///
    /// # Panics
    /// If no batch is out.
    pub fn applied(&mut self, lane: LaneId) {
        self.lost();
        if let Some(behind) = self.behind.get_mut(&lane) {
            match behind.pop_front() {
                Some(next) => self.ready.push_back(next),
                None => {
                    self.behind.remove(&lane);
                }
            }
        }
    }

    /// A batch that was out will never be applied. With [`Order::PerLane`] its lane goes no further.
    ///
    /// # Panics
    /// If no batch is out.
    pub fn lost(&mut self) {
        self.out = self.out.checked_sub(1).expect("queue: more batches came back than went out");
    }

    /// Drops what has not been handed out, and gives its memory back.
    pub fn clear(&mut self) {
        self.ready.clear();
        self.behind.values_mut().for_each(VecDeque::clear);
    }

    /// Whether nothing waits and nothing is out.
    pub fn is_idle(&self) -> bool {
        self.out == 0 && self.ready.is_empty() && self.behind.values().all(VecDeque::is_empty)
    }
}
