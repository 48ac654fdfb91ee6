//! One life of the process: a `State`, the model's reader, sinkers and store around it, and a clock of its own. Every
//! operation takes a random time, so completions come in any order. A life ends by itself or by a crash after a given
//! number of steps; a step is one input taken in or one action performed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dt_common::ladder::{Entry, Recordable, Rung, Saved};
use dt_common::{Error, ErrorClass, LaneId};
use dt_connector::outlet::Delivery;
use dt_connector::retry::RetryBudget;
use dt_connector::{Batch, Block, Event, Turn};
use dt_pipeline::recorder::RecordOptions;
use dt_pipeline::split::Splitter;
use dt_pipeline::state::{Action, Input, State, StateOptions};
use dt_pipeline::{BatchLimits, End, LaneGroup, Order, Outcome, Outset};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::chance::Chance;
use crate::durable::{Checked, Durable, ensure};
use crate::scribe::{Scribe, Verbatim};
use crate::source::{Row, Source, rows_of};
use crate::spread;

/// What is built in wrong on purpose, to see that the checks see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    None,
    /// Batches are reported as applied when they are handed out.
    AppliedAtDispatch,
    /// The ledger hears of another batch of the lane than the one that was applied.
    WrongTicket,
    /// Saves are reported before they are durable.
    SavedTooEarly,
    /// The time of the deadline is not told.
    NoTicks,
    /// A batch that is tried again does not ask whether it is there.
    NotSettled,
    /// Batches are committed out of their turn.
    OutOfTurn,
    /// What is to go alone goes as any other.
    GateIgnored,
    /// What lanes have already is sent again.
    LanesForgotten,
    /// Nobody remembers how tables were spread.
    RulesForgotten,
}

/// How a life goes, beside its schedule.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances {
    pub sinkers: usize,
    pub budget_rows: u32,
    pub interval_ms: u64,
    /// Every operation takes up to this long.
    pub slowest_ms: u64,
    /// One apply in so many loses the reply to its commit, or does not commit, and is tried again; 0 for none.
    pub flaky_applies: u64,
    /// One save in so many fails and may be durable all the same; 0 for none.
    pub flaky_saves: u64,
    /// One apply in so many is refused for good; 0 for none.
    pub refused_applies: u64,
    /// The user asks to stop at this time.
    pub stop_at_ms: Option<u64>,
    /// The reader fails after so many deliveries.
    pub reader_fails_after: Option<u64>,
    /// Over how many lanes a stream is to be spread.
    pub lanes: u32,
    /// The keyed table is spread by its key, and not in one lane.
    pub by_key: bool,
    pub sabotage: Sabotage,
}

pub enum Ended {
    Finished(Result<Outcome, Error>),
    Crashed,
}

pub struct Life<'a> {
    source: &'a Source,
    durable: &'a mut Durable,
    read: &'a mut BTreeMap<u32, u64>,
    chance: &'a mut Chance,
    given: Circumstances,
    state: State,
    now: Duration,
    pending: Vec<(Duration, Operation)>,
    // What cannot go on before something else has happened.
    waiting: Vec<Operation>,
    budget: Arc<Semaphore>,
    lanes: Vec<Reading>,
    splitter: Option<Splitter>,
    // Parts of a block that are on their way.
    parts: VecDeque<Delivery>,
    written: spread::Written,
    reader_stopped: bool,
    delivered: u64,
    saving: usize,
    refused: bool,
    next_in_order: BTreeMap<u32, u64>,
    // What the state has been told is applied, and when; to bound what a crash makes us redo.
    reported: BTreeSet<Row>,
    progressed: Vec<(Duration, u32, u64)>,
    /// Steps until now.
    pub steps: u64,
    // Operations until now that the state did not hear of.
    looks: u64,
}

struct Reading {
    lane: u32,
    // Where it can be resumed; what is there already is not sent.
    begins_after: u64,
    next: u64,
    started: bool,
    ended: bool,
}

enum Operation {
    Read,
    ReaderReturns(Result<(), Error>),
    Commit { rows: Vec<Row>, batch: Option<Batch>, tried: bool },
    Save(Recordable),
    Acknowledge(Saved),
    Stop,
}

/// What a start would say of the lanes that are one table.
fn outset(source: &Source, durable: &Durable, lanes: &[Reading]) -> Outset {
    let open: Vec<LaneId> =
        lanes.iter().filter(|lane| lane.lane < source.grouped).map(|lane| LaneId(lane.lane)).collect();
    let mut outset = Outset::default();
    if source.grouped > 0 && !durable.is_split {
        outset.first.push(Entry { rung: Rung::Current, position: source.split() });
    }
    if !open.is_empty() {
        outset.groups.push(LaneGroup { lanes: open, finished: source.group_finished() });
    } else if source.grouped > 0 && !durable.group_finished {
        outset.first.push(Entry { rung: Rung::Finished, position: source.group_finished() });
    }
    outset
}

impl<'a> Life<'a> {
    pub fn new(
        source: &'a Source,
        durable: &'a mut Durable,
        read: &'a mut BTreeMap<u32, u64>,
        chance: &'a mut Chance,
        given: Circumstances,
    ) -> Self {
        let of = |map: &BTreeMap<u32, u64>, lane| map.get(&lane).copied().unwrap_or(0);
        for lane in source.lanes.iter().filter(|lane| source.inscribed && !lane.keyed) {
            if !durable.finished.contains(&lane.id) {
                durable.take_back(lane.id);
            }
        }
        let resumed = source.lanes.iter().filter(|lane| !durable.finished.contains(&lane.id)).map(|lane| {
            let (begins_after, there) = match source.order {
                Order::Any => (of(&durable.current, lane.id), 0),
                Order::PerLane => (of(&durable.checkpoint, lane.id), of(&durable.behind, lane.id)),
            };
            Reading { lane: lane.id, begins_after, next: begins_after + there + 1, started: false, ended: false }
        });
        let mut lanes: Vec<Reading> = resumed.collect();
        let spread = source.spread.then(|| durable.kept.begin(given.lanes));
        let splitter = spread.map(|begin| {
            if source.inscribed {
                lanes[0].begins_after = begin.after;
                lanes[0].next = begin.after + begin.there + 1;
            }
            spread::lanes(begin.lanes, source, given)
        });
        let count = splitter.as_ref().map(|lanes| lanes.count);
        let splitter = splitter.map(Splitter::new);
        let options = StateOptions {
            sinkers: given.sinkers,
            batch: BatchLimits {
                rows: chance.between(1, 8),
                bytes: chance.between(16, 160),
                age: Duration::from_millis(chance.between(1, 20)),
                empty_age: Duration::from_millis(20),
                whole_bytes: [0, chance.between(16, 240)][chance.between(0, 1) as usize],
                full_block_bytes: chance.between(8, 40),
            },
            record: RecordOptions {
                order: source.order,
                interval: Duration::from_millis(given.interval_ms),
                retry: RetryBudget { total: Duration::from_secs(3600) },
            },
        };
        let mut outset = outset(source, durable, &lanes);
        outset.lanes = count;
        outset.counts = source.inscribed;
        outset.inscriber = match (source.inscribed, source.spread) {
            (true, true) => Some(Arc::new(Verbatim)),
            (true, false) => Some(Arc::new(Scribe)),
            (false, _) => None,
        };
        let state = State::new(options, outset);
        let mut pending = vec![(Duration::ZERO, Operation::Read)];
        pending.extend(given.stop_at_ms.map(|at| (Duration::from_millis(at), Operation::Stop)));
        Life {
            next_in_order: lanes.iter().map(|lane| (lane.lane, lane.next)).collect(),
            budget: Arc::new(Semaphore::new(given.budget_rows as usize)),
            source,
            durable,
            read,
            chance,
            given,
            state,
            pending,
            waiting: Vec::new(),
            lanes,
            splitter,
            parts: VecDeque::new(),
            written: spread::Written::default(),
            now: Duration::ZERO,
            reader_stopped: false,
            delivered: 0,
            saving: 0,
            refused: false,
            reported: BTreeSet::new(),
            progressed: Vec::new(),
            steps: 0,
            looks: 0,
        }
    }
    /// Lives until the end, or until the crash after `crash_after` steps.
    pub fn live(&mut self, crash_after: u64) -> Result<Ended, String> {
        loop {
            if self.steps >= crash_after {
                return self.crash();
            }
            ensure(self.steps < 100_000, || "it goes round in circles".into())?;
            let Some(input) = self.next_input()? else {
                self.looks += 1;
                ensure(self.looks < 100_000, || "it waits for nothing".into())?;
                continue;
            };
            self.steps += 1;
            let actions = self.state.on(input, self.now);
            self.pending.extend(std::mem::take(&mut self.waiting).into_iter().map(|operation| (self.now, operation)));
            for action in actions {
                if let Action::Finish(result) = action {
                    ensure(self.pending.iter().all(|(_, left)| matches!(left, Operation::Stop)), || {
                        "finished with something in flight".into()
                    })?;
                    return Ok(Ended::Finished(result));
                }
                self.perform(action)?;
                self.steps += 1;
                self.durable.check(self.source, self.read)?;
                if self.steps >= crash_after {
                    return self.crash();
                }
            }
            self.durable.check(self.source, self.read)?;
            self.check_redo()?;
        }
    }

    // The earliest thing to happen: an operation, or the state's deadline.
    fn next_input(&mut self) -> Result<Option<Input>, String> {
        let first = (0..self.pending.len()).min_by_key(|&at| self.pending[at].0);
        let deadline = if self.given.sabotage == Sabotage::NoTicks { None } else { self.state.deadline() };
        match (first, deadline) {
            (None, None) => Err("stuck: nothing is in flight and no deadline is set".into()),
            (Some(first), deadline) if deadline.is_none_or(|at| at >= self.pending[first].0) => {
                let (at, operation) = self.pending.swap_remove(first);
                self.now = self.now.max(at);
                self.complete(operation)
            }
            (_, Some(deadline)) => {
                self.now = self.now.max(deadline);
                Ok(Some(Input::Tick))
            }
            (Some(_), None) => Err("a deadline that is and is not".into()),
        }
    }

    fn begin(&mut self, operation: Operation) {
        let takes = Duration::from_micros(self.chance.between(1, self.given.slowest_ms * 1000));
        self.pending.push((self.now + takes, operation));
    }

    fn perform(&mut self, action: Action) -> Checked {
        match action {
            Action::Apply(batch) => {
                let rows: Vec<Row> = match self.source.spread {
                    true => spread::numbers(&batch).into_iter().map(|row| (0, row)).collect(),
                    false => rows_of(batch.chunks()),
                };
                ensure(!self.refused, || "a batch was handed out after one was refused".into())?;
                let lane = batch.lane().0;
                let of_table = batch.table().map(|table| table.target.table == lane.to_string());
                let alone = rows.iter().all(|row| row.0 == lane) && of_table.unwrap_or(batch.is_ddl());
                ensure(alone || self.source.spread, || format!("a batch of lane {lane} holds rows of another"))?;
                let out = self.pending.iter().filter(|(_, left)| matches!(left, Operation::Commit { .. })).count();
                ensure(out < self.given.sinkers, || "more batches out than sinkers".into())?;
                self.begin(Operation::Commit { rows, batch: Some(batch), tried: false });
            }
            Action::Save(recordable) => {
                self.saving += 1;
                ensure(self.saving == 1, || "two saves in flight".into())?;
                self.begin(Operation::Save(recordable));
            }
            Action::Acknowledge(saved) => self.begin(Operation::Acknowledge(saved)),
            Action::StopReading => {
                self.reader_stopped = true;
                self.pending.retain(|(_, left)| !matches!(left, Operation::Read | Operation::ReaderReturns(_)));
                self.begin(Operation::ReaderReturns(Ok(())));
            }
            Action::Hurry | Action::Observe(_) | Action::Report(_) => {}
            Action::Finish(_) => return Err("finish is the caller's".into()),
        }
        Ok(())
    }

    fn complete(&mut self, operation: Operation) -> Result<Option<Input>, String> {
        match operation {
            Operation::Read => Ok(self.read_on()),
            Operation::ReaderReturns(result) => Ok(Some(Input::ReaderDone(result))),
            Operation::Commit { rows, batch, tried } => self.commit(rows, batch, tried),
            Operation::Save(recordable) => self.save(recordable),
            Operation::Acknowledge(saved) => {
                self.durable.acknowledge(saved.entries());
                Ok(Some(Input::Acknowledged(Ok(()))))
            }
            Operation::Stop => Ok(Some(Input::StopRequested)),
        }
    }

    fn read_on(&mut self) -> Option<Input> {
        if self.given.reader_fails_after.is_some_and(|after| self.delivered >= after) {
            return Some(Input::ReaderDone(Err(Error::fatal("the source is gone"))));
        }
        if let Some(part) = self.parts.pop_front() {
            self.begin(Operation::Read);
            return Some(Input::Delivered(Box::new(part)));
        }
        let open: Vec<usize> = (0..self.lanes.len()).filter(|&at| !self.lanes[at].ended).collect();
        if open.is_empty() {
            self.begin(Operation::ReaderReturns(Ok(())));
            return None;
        }
        // Two tables are read at a time.
        let at = open[self.chance.between(0, open.len().min(2) as u64 - 1) as usize];
        let (source, reading) = (self.source, &mut self.lanes[at]);
        let lane = source.lane(reading.lane);
        let event = if source.order == Order::Any && !reading.started {
            reading.started = true;
            Delivery { event: Event::LaneStarted { lane: LaneId(lane.id), table: lane.table.clone() }, memory: None }
        } else if source.spread && source.inscribed && !reading.started {
            reading.started = true;
            let block = spread::start(reading.begins_after, reading.next - 1 - reading.begins_after);
            return self.send_parts(block, None);
        } else if reading.next > lane.rows {
            reading.ended = true;
            if source.order == Order::PerLane {
                self.begin(Operation::Read);
                return None;
            }
            Delivery { event: Event::LaneEnded { lane: LaneId(lane.id), finished: lane.finished() }, memory: None }
        } else {
            let last = lane.last_of_block(reading.next, (reading.next + self.chance.between(0, 4)).min(lane.rows));
            let units = ((last - reading.next + 1) as u32).min(self.given.budget_rows);
            let Ok(memory) = self.budget.clone().try_acquire_many_owned(units) else {
                // Waits for memory: looks again when something else has happened.
                self.waiting.push(Operation::Read);
                return None;
            };
            let is_first = source.inscribed && !source.spread && !std::mem::replace(&mut reading.started, true);
            let begins_after = is_first.then_some(reading.begins_after);
            let block = lane.block(source, reading.next, last, begins_after);
            reading.next = last + 1;
            let read = self.read.entry(lane.id).or_default();
            *read = last.max(*read);
            if source.spread {
                return self.send_parts(block, Some(memory));
            }
            Delivery { event: Event::Rows(Box::new(block)), memory: Some(memory) }
        };
        self.delivered += 1;
        self.begin(Operation::Read);
        Some(Input::Delivered(Box::new(event)))
    }

    fn send_parts(&mut self, block: Block, memory: Option<OwnedSemaphorePermit>) -> Option<Input> {
        let splitter = self.splitter.as_mut().expect("a stream that is spread");
        let is_open = self.given.sabotage == Sabotage::GateIgnored;
        self.parts = spread::parts(splitter, block, memory, self.given.by_key, is_open);
        self.delivered += 1;
        self.begin(Operation::Read);
        self.parts.pop_front().map(|part| Input::Delivered(Box::new(part)))
    }

    fn commit(&mut self, rows: Vec<Row>, batch: Option<Batch>, tried: bool) -> Result<Option<Input>, String> {
        if self.given.sabotage == Sabotage::AppliedAtDispatch
            && let Some(batch) = batch
        {
            self.begin(Operation::Commit { rows, batch: None, tried: true });
            return Ok(Some(Input::Applied { applied: batch.committed(), replaced_rows: 0 }));
        }
        let Some(mut batch) = batch else {
            self.write_rows(&rows);
            return Ok(None);
        };
        let in_turn = self.given.sabotage != Sabotage::OutOfTurn;
        if in_turn && batch.turn().is_some_and(Turn::is_lost) {
            return Ok(Some(Input::ApplyFailed(Error::fatal("an earlier batch was refused"))));
        }
        if in_turn && batch.turn().is_some_and(|turn| !turn.has_come()) {
            // Its rows are written, and it waits for those before it: looks again when something else has happened.
            self.waiting.push(Operation::Commit { rows, batch: Some(batch), tried });
            return Ok(None);
        }
        let chance = &mut self.chance;
        let mut one_in = |n: u64| n > 0 && chance.one_in(n);
        if !tried && one_in(self.given.refused_applies) {
            self.refused = true;
            return Ok(Some(Input::ApplyFailed(Error::fatal("the target refused"))));
        }
        let lost = !tried && one_in(self.given.flaky_applies);
        if !lost || one_in(2) {
            self.check_order(&rows)?;
            self.check_ddl(&rows)?;
            self.write(&rows, &batch);
        }
        if lost {
            // The sinker tries the same batch again; the state does not hear of it.
            let again = if self.given.sabotage == Sabotage::NotSettled { batch } else { batch.tried_again() };
            self.begin(Operation::Commit { rows, batch: Some(again), tried: true });
            return Ok(None);
        }
        if self.given.sabotage == Sabotage::WrongTicket {
            let lane = batch.lane();
            for (_, operation) in &mut self.pending {
                if let Operation::Commit { batch: Some(other), .. } = operation
                    && other.lane() == lane
                {
                    std::mem::swap(other, &mut batch);
                    break;
                }
            }
        }
        self.reported.extend(rows.iter().copied());
        let lane = batch.lane().0;
        let begun = self.lanes.iter().find(|reading| reading.lane == lane).map_or(1, |_| self.begun(lane));
        let applied = (begun..).take_while(|&row| self.reported.contains(&(lane, row))).last().unwrap_or(0);
        self.progressed.push((self.now, lane, applied));
        Ok(Some(Input::Applied { applied: batch.committed(), replaced_rows: 0 }))
    }

    fn write_rows(&mut self, rows: &[Row]) {
        match self.source.spread {
            true => self.durable.commit_lane(self.source, 0, rows, None, false),
            false => self.durable.commit(rows),
        }
    }

    fn write(&mut self, rows: &[Row], batch: &Batch) {
        match batch.position() {
            position if self.source.spread => {
                self.durable.commit_lane(self.source, batch.lane().0, rows, position, batch.is_retried());
            }
            Some(position) => self.durable.commit_with(batch.lane().0, rows, position, batch.is_retried()),
            None => self.durable.commit(rows),
        }
    }

    fn begun(&self, lane: u32) -> u64 {
        let first = self.reported.range((lane, 0)..).next().map_or(1, |row| row.1);
        let resumed = match self.source.order {
            Order::Any => self.durable.current.get(&lane),
            Order::PerLane => self.durable.checkpoint.get(&lane),
        };
        first.min(resumed.copied().unwrap_or(0) + 1)
    }

    // Before DDL and after it, all that is applied is recorded first.
    fn check_ddl(&self, rows: &[Row]) -> Checked {
        if self.source.spread && self.source.inscribed {
            // The lane's own position says that it has been; its order is checked with that of all.
            return Ok(());
        }
        for &(lane, row) in rows {
            let recorded = self.durable.checkpoint.get(&lane).copied().unwrap_or(0);
            let ddls = &self.source.lane(lane).ddls;
            let alone = !ddls.contains(&row) || recorded + 1 >= row;
            ensure(alone, || format!("lane {lane}: DDL {row} was applied when {recorded} was recorded"))?;
            let unrecorded = ddls.iter().find(|&&ddl| recorded < ddl && ddl < row);
            ensure(unrecorded.is_none(), || {
                format!("lane {lane}: {row} was applied before DDL {unrecorded:?} was recorded")
            })?;
        }
        Ok(())
    }

    // Invariant 7: a stream's rows reach the target in the order they were read, but for a batch that is tried again.
    fn check_order(&mut self, rows: &[Row]) -> Checked {
        if self.source.order == Order::Any {
            return Ok(());
        }
        if self.source.spread {
            let numbers: Vec<u64> = rows.iter().map(|row| row.1).collect();
            let committed = &self.durable.committed;
            return self.written.check(self.source, &numbers, |row| committed.contains_key(&(0, row)));
        }
        for &(lane, row) in rows {
            let next = self.next_in_order.entry(lane).or_insert(1);
            let again = row < *next && rows.iter().any(|&(_, other)| other + 1 == *next);
            ensure(row == *next || again, || format!("lane {lane}: row {row} came when {next} was next"))?;
            *next = row.max(*next - 1) + 1;
        }
        Ok(())
    }

    fn save(&mut self, recordable: Recordable) -> Result<Option<Input>, String> {
        self.saving -= 1;
        if self.given.flaky_saves > 0 && self.chance.one_in(self.given.flaky_saves) {
            if self.chance.one_in(2) {
                self.durable.save(recordable.entries(), self.source)?;
            }
            let error = Error::new(ErrorClass::Reconnect, "the store is away");
            return Ok(Some(Input::SaveFailed { recordable, error }));
        }
        if self.given.sabotage != Sabotage::SavedTooEarly {
            self.durable.save(recordable.entries(), self.source)?;
        }
        Ok(Some(Input::Saved(Saved::after_sync(recordable))))
    }

    // A crash redoes no more than what was applied within an interval and the saves around it.
    fn check_redo(&mut self) -> Checked {
        // Where positions are committed with rows, nothing is redone: that is checked with every step.
        if self.source.inscribed
            || self.source.spread
            || self.given.flaky_saves > 0
            || self.given.sabotage != Sabotage::None
        {
            return Ok(());
        }
        let bound = Duration::from_millis(self.given.interval_ms + 3 * self.given.slowest_ms);
        let Some(horizon) = self.now.checked_sub(bound) else { return Ok(()) };
        for &(when, lane, applied) in &self.progressed {
            if when >= horizon || self.durable.finished.contains(&lane) || !self.source.lane(lane).keyed {
                continue;
            }
            let (due, recorded) = match self.source.order {
                Order::Any => (applied, self.durable.current.get(&lane)),
                Order::PerLane => (
                    self.source.lane(lane).commit_at_or_before(applied).unwrap_or(0),
                    self.durable.checkpoint.get(&lane),
                ),
            };
            let recorded = recorded.copied().unwrap_or(0);
            ensure(recorded >= due, || {
                format!("lane {lane}: {due} was applied at {when:?}, at {:?} recorded is {recorded}", self.now)
            })?;
        }
        Ok(())
    }

    // The process is gone. What was in flight has reached its server or has not.
    fn crash(&mut self) -> Result<Ended, String> {
        for (_, operation) in std::mem::take(&mut self.pending) {
            if self.chance.one_in(2) {
                continue;
            }
            match operation {
                Operation::Commit { batch: Some(batch), .. } if batch.turn().is_some_and(|turn| !turn.has_come()) => {}
                Operation::Commit { rows, batch: Some(batch), .. } => self.write(&rows, &batch),
                Operation::Commit { rows, batch: None, .. } => self.write_rows(&rows),
                // A save of several entries may be torn between two of them.
                Operation::Save(recordable) => {
                    let entries = recordable.entries();
                    let whole = self.chance.between(0, entries.len() as u64) as usize;
                    self.durable.save(&entries[..whole], self.source)?;
                }
                Operation::Acknowledge(saved) => self.durable.acknowledge(saved.entries()),
                Operation::Read | Operation::ReaderReturns(_) | Operation::Stop => {}
            }
        }
        self.durable.check(self.source, self.read)?;
        Ok(Ended::Crashed)
    }

    /// Of a life that finished: `Stopped` only if it was asked to.
    pub fn check_end(&self, outcome: &Outcome) -> Checked {
        let asked = self.given.stop_at_ms.is_some();
        ensure(outcome.end == End::Complete || asked, || "stopped without being asked".into())
    }
}
