//! The queue between the batcher and the sinkers: which batch may be handed out next.
//!
//! It hands out no more batches than there are sinkers, so what waits can still be called off, and with
//! [`Order::PerLane`] no second batch of a lane before the first is applied (invariant 7). A barrier is a gate: it goes
//! alone, when everything before it is applied, and nothing behind it goes before it is. What bounds the queue is the
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
    gate: Gate,
    // What waits behind the gate.
    after: VecDeque<Batch>,
}

/// What everything else waits for.
#[derive(Debug)]
enum Gate {
    None,
    /// It waits for what is before it.
    Waiting(Batch),
    /// It has been handed out.
    Out,
}

impl Queue {
    /// An empty queue in front of so many sinkers.
    pub fn new(order: Order, sinkers: usize) -> Self {
        Queue {
            order,
            sinkers,
            out: 0,
            ready: VecDeque::new(),
            behind: BTreeMap::new(),
            gate: Gate::None,
            after: VecDeque::new(),
        }
    }

    /// Takes a batch in.
    pub fn push(&mut self, batch: Batch) {
        match self.gate {
            Gate::None if batch.is_barrier() => self.gate = Gate::Waiting(batch),
            Gate::None => self.line_up(batch),
            Gate::Waiting(_) | Gate::Out => self.after.push_back(batch),
        }
    }

    fn line_up(&mut self, batch: Batch) {
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
        let gate_is_open = matches!(self.gate, Gate::None);
        lane_is_free && gate_is_open && self.out + self.ready.len() < self.sinkers
    }

    /// What [`Queue::pop`] would give.
    pub fn peek(&self) -> Option<&Batch> {
        match &self.gate {
            _ if self.out >= self.sinkers => None,
            Gate::Waiting(gate) if self.nothing_is_before_it() => Some(gate),
            Gate::None | Gate::Waiting(_) | Gate::Out => self.ready.front(),
        }
    }

    fn nothing_is_before_it(&self) -> bool {
        self.out == 0 && self.ready.is_empty() && self.behind.values().all(VecDeque::is_empty)
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
        let batch = match std::mem::replace(&mut self.gate, Gate::None) {
            Gate::Waiting(gate) if self.nothing_is_before_it() => {
                self.gate = Gate::Out;
                gate
            }
            gate => {
                self.gate = gate;
                self.ready.pop_front()?
            }
        };
        self.out += 1;
        Some(batch)
    }

    /// A batch of the lane is applied: its sinker is free, and the lane's next batch may go.
    ///
    /// # Panics
    /// If no batch is out.
    pub fn applied(&mut self, lane: LaneId) {
        self.returned();
        if matches!(self.gate, Gate::Out) {
            self.gate = Gate::None;
            // Up to the next barrier, which the rest waits behind again.
            for batch in std::mem::take(&mut self.after) {
                self.push(batch);
            }
            return;
        }
        if let Some(behind) = self.behind.get_mut(&lane) {
            match behind.pop_front() {
                Some(next) => self.ready.push_back(next),
                None => {
                    self.behind.remove(&lane);
                }
            }
        }
    }

    /// A batch that was out will never be applied. With [`Order::PerLane`] its lane goes no further, nor does anything
    /// behind a barrier.
    ///
    /// # Panics
    /// If no batch is out.
    pub fn lost(&mut self) {
        self.returned();
        if matches!(self.gate, Gate::Out) {
            self.gate = Gate::None;
            self.after.clear();
        }
    }

    fn returned(&mut self) {
        self.out = self.out.checked_sub(1).expect("queue: more batches came back than went out");
    }

    /// Drops what has not been handed out, and gives its memory back.
    pub fn clear(&mut self) {
        self.ready.clear();
        self.behind.values_mut().for_each(VecDeque::clear);
        self.after.clear();
        self.gate = match std::mem::replace(&mut self.gate, Gate::None) {
            Gate::Out => Gate::Out,
            Gate::None | Gate::Waiting(_) => Gate::None,
        };
    }

    /// Whether nothing waits and nothing is out.
    pub fn is_idle(&self) -> bool {
        self.nothing_is_before_it() && matches!(self.gate, Gate::None) && self.after.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dt_common::ladder::Ticket;
    use dt_connector::{Block, BlockContents, RowFormat, Spread};

    use super::*;
    use crate::ledger::{Contents, Ledger};

    struct Batches(Ledger);

    impl Batches {
        fn of(&mut self, lane: u32, barrier: bool) -> Batch {
            let lane = LaneId(lane);
            self.0.open(lane);
            let ticket: Ticket = self.0.issue(lane, Contents::default());
            let block = Block {
                lane,
                contents: BlockContents::Changes(Vec::new()),
                format: RowFormat::MysqlText,
                data: Bytes::new(),
                rows: 0,
                progress: None,
                checkpoint: None,
                behind: 0,
                spread: Spread { barrier, ..Spread::default() },
            };
            Batch::new(ticket, vec![block], Vec::new())
        }
    }

    fn popped(queue: &mut Queue) -> Vec<(u32, bool)> {
        std::iter::from_fn(|| queue.pop()).map(|batch| (batch.lane().0, batch.is_barrier())).collect()
    }

    #[test]
    fn a_barrier_goes_alone_after_all_before_it_and_before_all_behind_it() {
        let (mut queue, mut batches) = (Queue::new(Order::PerLane, 4), Batches(Ledger::default()));
        for (lane, barrier) in [(0, false), (1, false), (1, false), (0, true), (1, false), (0, true), (2, false)] {
            queue.push(batches.of(lane, barrier));
        }
        assert_eq!(popped(&mut queue), [(0, false), (1, false)]);
        assert!(!queue.may_go(LaneId(3)));
        queue.applied(LaneId(0));
        assert_eq!(popped(&mut queue), []);
        queue.applied(LaneId(1));
        assert_eq!(popped(&mut queue), [(1, false)]);
        queue.applied(LaneId(1));
        assert_eq!((queue.peek().map(Batch::is_barrier), popped(&mut queue)), (Some(true), vec![(0, true)]));
        queue.applied(LaneId(0));
        assert_eq!(popped(&mut queue), [(1, false)], "what is behind the next barrier waits");
        queue.applied(LaneId(1));
        assert_eq!(popped(&mut queue), [(0, true)]);
        queue.applied(LaneId(0));
        assert_eq!(popped(&mut queue), [(2, false)]);
        queue.applied(LaneId(2));
        assert!(queue.is_idle() && queue.may_go(LaneId(0)));
    }

    #[test]
    fn nothing_goes_behind_a_barrier_that_was_lost() {
        let (mut queue, mut batches) = (Queue::new(Order::PerLane, 4), Batches(Ledger::default()));
        queue.push(batches.of(0, true));
        queue.push(batches.of(1, false));
        assert_eq!(popped(&mut queue), [(0, true)]);
        queue.lost();
        queue.clear();
        assert!(queue.pop().is_none() && queue.is_idle());
    }
}
