//! Positions that are written in the transactions of the rows that they stand for: what each batch brings along, and in
//! which order the batches of a lane are committed.
//!
//! Batches of a snapshot's lane may be written at the same time; each is committed in its turn, so that the position in the
//! target never passes rows that are not there. A stream's lane has one batch out anyway.
//!
//! Where several lanes apply a stream, each batch with rows writes its own lane's position. The place at which a resume
//! begins is behind all of them, and is recorded by the recorder. Changes that may be applied twice need no more than that
//! place: their batches only make sure that the task has not been taken over.

use std::collections::BTreeMap;
use std::sync::Arc;

use dt_common::ladder::{Entry, Rung};
use dt_common::position::{Behind, Counted, Position, PositionWrite, Share};
use dt_common::{LaneId, Result};
use dt_connector::{Batch, Rule, Turns};
use dt_resumer::Inscriber;

use crate::ledger::{Contents, Reached};
use crate::recorder::Order;

/// What is inscribed of a run.
#[derive(Debug)]
pub struct Inscription {
    inscriber: Arc<dyn Inscriber>,
    written: Written,
    filter: String,
    lanes: BTreeMap<LaneId, Lane>,
}

/// What batches write.
#[derive(Clone, Copy, Debug)]
pub enum Written {
    /// A snapshot's: how far its table is.
    Keys,
    /// A stream's: where it is.
    Stream,
    /// Those of a stream that so many lanes apply: where their lane is.
    Lanes(u32),
    /// Nothing: those of a stream that several lanes apply, and may apply twice.
    Nothing,
}

impl Written {
    /// Of a stream, in this order, that is spread over so many lanes, with positions of their own or without.
    pub fn of(order: Order, lanes: Option<u32>, counts: bool) -> Written {
        match (order, lanes) {
            (Order::Any, _) => Written::Keys,
            (Order::PerLane, None) => Written::Stream,
            (Order::PerLane, Some(lanes)) if counts => Written::Lanes(lanes),
            (Order::PerLane, Some(_)) => Written::Nothing,
        }
    }
}

#[derive(Debug, Default)]
struct Lane {
    turns: Turns,
    // Where a stream can be resumed, as its batches have said until now.
    checkpoint: Option<Position>,
}

impl Inscription {
    /// Nothing yet. `filter` is by which filter a stream's changes are counted.
    pub fn new(inscriber: Arc<dyn Inscriber>, written: Written, filter: String) -> Self {
        Inscription { inscriber, written, filter, lanes: BTreeMap::new() }
    }

    /// What the transaction of the lane's next batch writes of its position. `None` where several lanes apply a stream and
    /// nothing of the batch is for this one: how far the stream is, is recorded without it.
    ///
    /// # Errors
    /// A position cannot be stored.
    pub fn of(&mut self, id: LaneId, contents: &Contents) -> Result<Option<PositionWrite>> {
        let lane = self.lanes.entry(id).or_default();
        if contents.checkpoint.is_some() {
            lane.checkpoint.clone_from(&contents.checkpoint);
        }
        let entries = match self.written {
            Written::Keys => current(contents).collect(),
            Written::Stream => {
                let behind = Some(contents.behind).filter(|&changes| changes > 0);
                let behind = behind.map(|changes| Behind { changes, filter: self.filter.clone(), counted: None });
                let checkpoint = lane.checkpoint.clone().map(|position| checkpoint(position, behind));
                current(contents).chain(checkpoint).collect()
            }
            Written::Lanes(_) | Written::Nothing if contents.rows == 0 && contents.ruled.is_empty() => return Ok(None),
            Written::Nothing => Vec::new(),
            Written::Lanes(of) => {
                let place = lane.checkpoint.clone().expect("inscription: changes of a stream that has not begun");
                let shares = contents.ruled.iter().map(|ruled| Share::Table {
                    table: ruled.table.target.clone(),
                    by: match &ruled.rule {
                        Rule::ByKey(places) => Some(places.clone()),
                        Rule::Whole => None,
                    },
                });
                let own = (contents.rows > 0).then_some(Share::Lane { no: id.0, of });
                let behind = |share| counted(&self.filter, contents.reached, contents.reached.index, share);
                shares.chain(own).map(|share| checkpoint(place.clone(), Some(behind(share)))).collect()
            }
        };
        let entries: Vec<Entry> = entries;
        self.inscriber.inscribe(&entries).map(Some)
    }

    /// Where a stream that several lanes apply can be resumed once all of them are so far; as it is, where one lane applies
    /// it, or the position is not committed together with rows.
    pub fn of_all(&self, position: Position, before: u64, index: u64) -> Position {
        match self.written {
            Written::Keys | Written::Stream | Written::Nothing => position,
            Written::Lanes(_) => {
                let reached = Reached { before, ..Reached::default() };
                position.with_behind(Some(counted(&self.filter, reached, index, Share::All)))
            }
        }
    }

    /// Lets the batch bring `position` along, to be committed in its turn.
    pub fn bring(&mut self, batch: Batch, position: PositionWrite) -> Batch {
        let batch = batch.with_position(position);
        match self.written {
            Written::Keys => {
                let turn = self.lanes.entry(batch.lane()).or_default().turns.of(batch.seq());
                batch.in_turn(turn)
            }
            Written::Stream | Written::Lanes(_) | Written::Nothing => batch,
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

fn current(contents: &Contents) -> impl Iterator<Item = Entry> {
    contents.progress.clone().map(|position| Entry { rung: Rung::Current, position }).into_iter()
}

fn checkpoint(position: Position, behind: Option<Behind>) -> Entry {
    Entry { rung: Rung::Checkpoint, position: position.with_behind(behind) }
}

/// What is there of a stream's changes until number `index`.
fn counted(filter: &str, reached: Reached, index: u64, share: Share) -> Behind {
    let before = reached.before;
    let counted = Some(Box::new(Counted { before, share }));
    Behind { changes: index - before, filter: filter.to_owned(), counted }
}
