//! Positions that are written in the transactions of the rows that they stand for: what each batch brings along, and in
//! which order the batches of a lane are committed.
//!
//! Batches of a snapshot's lane may be written at the same time; each is committed in its turn, so that the position in the
//! target never passes rows that are not there. A stream's lane has one batch out anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use dt_common::ladder::{Entry, Rung};
use dt_common::position::{Behind, Position, PositionWrite};
use dt_common::{LaneId, Result};
use dt_connector::{Batch, Turns};
use dt_resumer::Inscriber;

use crate::ledger::Contents;
use crate::recorder::Order;

/// What is inscribed of a run.
#[derive(Debug)]
pub struct Inscription {
    inscriber: Arc<dyn Inscriber>,
    order: Order,
    filter: String,
    lanes: BTreeMap<LaneId, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    turns: Turns,
    // Where a stream can be resumed, as its batches have said until now.
    checkpoint: Option<Position>,
}

impl Inscription {
    /// Nothing yet. `filter` is by which filter a stream's changes are counted.
    pub fn new(inscriber: Arc<dyn Inscriber>, order: Order, filter: String) -> Self {
        Inscription { inscriber, order, filter, lanes: BTreeMap::new() }
    }

    /// What the transaction of the lane's next batch writes of its position.
    ///
    /// # Errors
    /// A position cannot be stored.
    pub fn of(&mut self, lane: LaneId, contents: &Contents) -> Result<PositionWrite> {
        let lane = self.lanes.entry(lane).or_default();
        if contents.checkpoint.is_some() {
            lane.checkpoint.clone_from(&contents.checkpoint);
        }
        let checkpoint = match self.order {
            Order::Any => None,
            Order::PerLane => lane.checkpoint.clone(),
        };
        let behind = Some(contents.behind).filter(|&changes| changes > 0);
        let behind = behind.map(|changes| Behind { changes, filter: self.filter.clone() });
        let checkpoint =
            checkpoint.map(|position| Entry { rung: Rung::Checkpoint, position: position.with_behind(behind) });
        let current = contents.progress.clone().map(|position| Entry { rung: Rung::Current, position });
        let entries: Vec<Entry> = current.into_iter().chain(checkpoint).collect();
        self.inscriber.inscribe(&entries)
    }

    /// Lets the batch bring `position` along, to be committed in its turn.
    pub fn bring(&mut self, batch: Batch, position: PositionWrite) -> Batch {
        let batch = batch.with_position(position);
        match self.order {
            Order::Any => {
                let turn = self.lanes.entry(batch.lane()).or_default().turns.of(batch.seq());
                batch.in_turn(turn)
            }
            Order::PerLane => batch,
        }
    }

    /// All of the lane's batches below `next` are applied; `None`: all of them.
    pub fn applied(&mut self, lane: LaneId, next: Option<u64>) {
        match next {
            Some(next) => {
                if let Some(lane) = self.lanes.get(&lane) {
                    lane.turns.pass_to(next);
                }
            }
            None => drop(self.lanes.remove(&lane)),
        }
    }

    /// A batch will never be applied: the turn of those behind it does not come.
    pub fn abandon(&mut self) {
        self.lanes.clear();
    }
}
