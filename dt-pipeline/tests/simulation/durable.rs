//! What survives a crash: the model target, the model store, and what the source was told. Each checks its own
//! invariants whenever it changes.

use std::collections::{BTreeMap, BTreeSet};

use dt_common::ladder::{Entry, Rung};
use dt_common::position::{Position, PositionWrite, wire};
use dt_pipeline::Order;

use crate::source::{Row, Source, row_of};
use crate::spread::Kept;

/// A claim that did not hold.
pub type Checked = Result<(), String>;

pub fn ensure(holds: bool, claim: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(claim()) }
}

#[derive(Default)]
pub struct Durable {
    /// How often each row was committed in the target.
    pub committed: BTreeMap<Row, u64>,
    /// Of CDC: what the target holds under each key, each event being an upsert of its number.
    pub upserted: BTreeMap<(u32, u64), u64>,
    pub current: BTreeMap<u32, u64>,
    pub checkpoint: BTreeMap<u32, u64>,
    pub finished: BTreeSet<u32>,
    /// Of the lanes that are one table.
    pub is_split: bool,
    pub group_finished: bool,
    pub acknowledged: BTreeMap<u32, u64>,
    pub saves: u64,
    pub last_checkpoint_was_none: bool,
    /// Of positions that are committed with rows: how many rows behind the checkpoint are there.
    pub behind: BTreeMap<u32, u64>,
    /// Of a stream that several lanes apply.
    pub kept: Kept,
    /// What the last transaction of each lane has written.
    inscribed: BTreeMap<u32, Vec<String>>,
}

/// Few keys, so that order within a lane matters.
fn key_of(row: u64) -> u64 {
    row * 7 % 5
}

impl Durable {
    pub fn commit(&mut self, rows: &[Row]) {
        for &(lane, row) in rows {
            *self.committed.entry((lane, row)).or_default() += 1;
            self.upserted.insert((lane, key_of(row)), row);
        }
    }

    /// A transaction of rows and of the positions that they brought along. One that is tried again first asks whether it is
    /// there.
    pub fn commit_with(&mut self, lane: u32, rows: &[Row], position: &PositionWrite, is_retried: bool) {
        if is_retried && self.inscribed.get(&lane) == Some(&position.statements) {
            return;
        }
        self.commit(rows);
        for statement in &position.statements {
            let words: Vec<u64> = statement.split(' ').filter_map(|word| word.parse().ok()).collect();
            let (map, other) = match statement.starts_with("current") {
                true => (&mut self.current, None),
                false => (&mut self.checkpoint, Some(&mut self.behind)),
            };
            map.insert(lane, words[0]);
            if let Some(behind) = other {
                behind.insert(lane, words[1]);
            }
        }
        self.inscribed.insert(lane, position.statements.clone());
    }

    /// The same for a lane of a stream that several lanes apply.
    pub fn commit_lane(
        &mut self,
        source: &Source,
        lane: u32,
        rows: &[Row],
        position: Option<&PositionWrite>,
        again: bool,
    ) {
        let statements = position.map(|position| &position.statements);
        if again && statements.is_some() && self.inscribed.get(&lane) == statements {
            return;
        }
        self.commit(rows);
        for &(_, row) in rows {
            self.kept.apply(source, row);
        }
        for statement in statements.into_iter().flatten() {
            let position = wire::from_json(statement).expect("a position");
            self.kept.inscribe(&Entry { rung: Rung::Checkpoint, position });
        }
        self.inscribed.extend(statements.map(|statements| (lane, statements.clone())));
    }

    /// Takes the rows of a lane back that were counted.
    pub fn take_back(&mut self, lane: u32) {
        self.committed.retain(|row, _| row.0 != lane);
        self.current.remove(&lane);
        self.inscribed.remove(&lane);
    }

    /// Makes positions durable, one after the other.
    pub fn save(&mut self, entries: &[Entry], source: &Source) -> Checked {
        self.saves += 1;
        for Entry { rung, position } in entries {
            let is_spread = source.spread && source.inscribed;
            if is_spread {
                self.kept.save(&Entry { rung: *rung, position: position.clone() }, source)?;
            }
            if source.inscribed
                && !is_spread
                && matches!(rung, Rung::Current | Rung::Checkpoint)
                && row_of(position).is_some()
            {
                // It is there already, and may have moved on.
                continue;
            }
            self.last_checkpoint_was_none = *rung == Rung::Checkpoint && *position == Position::None;
            match rung {
                Rung::Finished if source.grouped > 0 && *position == source.group_finished() => {
                    self.group_finished = true;
                }
                Rung::Current if source.grouped > 0 && *position == source.split() => self.is_split = true,
                Rung::Finished => {
                    let lane = source.lanes.iter().find(|lane| lane.finished() == *position);
                    let lane = lane.ok_or("a finished position of no lane")?;
                    self.finished.insert(lane.id);
                }
                Rung::Current => {
                    let (lane, row) = row_of(position).ok_or("a current position of no lane")?;
                    let before = self.current.insert(lane, row).unwrap_or(0);
                    // CDC resumes from the checkpoint, so its progress is walked again after a crash.
                    let backwards = source.order == Order::Any && row < before;
                    ensure(!backwards, || format!("current of lane {lane} went back from {before} to {row}"))?;
                }
                Rung::Checkpoint => {
                    let Some((lane, row)) = row_of(position) else {
                        let snapshot = source.order == Order::Any && *position == Position::None;
                        ensure(snapshot, || "CDC recorded a checkpoint of none".into())?;
                        continue;
                    };
                    let before = self.checkpoint.insert(lane, row).unwrap_or(0);
                    ensure(row >= before, || format!("checkpoint of lane {lane} went back from {before} to {row}"))?;
                    let boundary = source.lane(lane).commits.contains(&row) || (is_spread && row == 0);
                    ensure(boundary, || format!("checkpoint of lane {lane} inside a transaction, at {row}"))?;
                }
            }
        }
        Ok(())
    }

    pub fn acknowledge(&mut self, entries: &[Entry]) {
        for Entry { rung, position } in entries {
            if let (Rung::Checkpoint, Some((lane, row))) = (rung, row_of(position)) {
                self.acknowledged.insert(lane, row);
            }
        }
    }

    /// Invariants 1 and 2, at any instant.
    pub fn check(&self, source: &Source, read: &BTreeMap<u32, u64>) -> Checked {
        for lane in &source.lanes {
            let of = |map: &BTreeMap<u32, u64>| map.get(&lane.id).copied().unwrap_or(0);
            let applied =
                (1..=lane.rows).take_while(|&row| self.committed.contains_key(&(lane.id, row))).count() as u64;
            let (current, checkpoint) = (of(&self.current), of(&self.checkpoint));
            let (acknowledged, read) = (of(&self.acknowledged), of(read));
            let id = lane.id;
            ensure(acknowledged <= checkpoint, || format!("lane {id}: acknowledged {acknowledged} > {checkpoint}"))?;
            ensure(current <= applied, || format!("lane {id}: recorded {current} > applied {applied}"))?;
            ensure(checkpoint <= applied, || format!("lane {id}: checkpoint {checkpoint} > applied {applied}"))?;
            ensure(applied <= read, || format!("lane {id}: applied {applied} > read {read}"))?;
            if source.inscribed {
                let there = match source.order {
                    Order::Any => current,
                    Order::PerLane => checkpoint + of(&self.behind),
                };
                if !source.spread {
                    ensure(applied == there, || format!("lane {id}: {applied} rows, and {there} are recorded"))?;
                }
                let rows = self.committed.range((id, 0)..=(id, u64::MAX));
                let in_order = source.spread || rows.clone().count() as u64 == applied;
                let once = in_order && rows.clone().all(|(_, &times)| times == 1);
                ensure(once, || format!("lane {id}: not every row is there once and in order"))?;
            }
            if self.finished.contains(&id) {
                ensure(applied == lane.rows, || format!("lane {id}: finished with {applied} of {}", lane.rows))?;
            }
            if id < source.grouped {
                ensure(applied == 0 || self.is_split, || format!("lane {id}: applied before the split is recorded"))?;
                let too_early = self.group_finished && applied < lane.rows;
                ensure(!too_early, || format!("lane {id}: its group is finished with {applied} of {}", lane.rows))?;
            }
        }
        Ok(())
    }

    /// At the end of everything, the target equals the source.
    ///
    /// A life that crashes between recording and acknowledging leaves the latter to the next one's first move; if
    /// there is none (`restarted`), the source knows less than it could, which is safe.
    pub fn check_complete(&self, source: &Source, restarted: bool) -> Checked {
        for lane in &source.lanes {
            let missing = (1..=lane.rows).find(|&row| !self.committed.contains_key(&(lane.id, row)));
            ensure(missing.is_none(), || format!("lane {}: row {missing:?} is lost", lane.id))?;
            match source.order {
                Order::Any => {
                    let whole = lane.id >= source.grouped || self.group_finished;
                    ensure(whole, || format!("the group of lane {} is not finished", lane.id))?;
                    ensure(self.finished.contains(&lane.id), || format!("lane {} is not finished", lane.id))?;
                    ensure(self.last_checkpoint_was_none, || "the last line is not checkpoint none".into())?;
                }
                Order::PerLane => {
                    let checkpoint = self.checkpoint.get(&lane.id).copied().unwrap_or(0);
                    ensure(checkpoint == lane.rows, || format!("lane {}: ends at {checkpoint}", lane.id))?;
                    let told = self.acknowledged.get(&lane.id).copied().unwrap_or(0);
                    ensure(restarted || told == lane.rows, || format!("lane {}: told {told}", lane.id))?;
                    if source.spread {
                        self.kept.check_complete(source)?;
                        continue;
                    }
                    let truth: BTreeMap<u64, u64> = (1..=lane.rows).map(|row| (key_of(row), row)).collect();
                    for (key, row) in truth {
                        let held = self.upserted.get(&(lane.id, key)).copied();
                        ensure(held == Some(row), || format!("lane {} key {key}: {held:?} not {row}", lane.id))?;
                    }
                }
            }
        }
        let strays = self.committed.keys().find(|(lane, row)| *row > source.lane(*lane).rows);
        ensure(strays.is_none(), || format!("row {strays:?} came from nowhere"))
    }
}
