//! The pipeline as a pure state machine: an input and the time go in, actions come out.
//!
//! It holds the memory of a run (ledger, batcher, queue, recorder) and makes its decisions. It does no IO, owns no
//! clock and spawns nothing; the driver performs the actions, the simulation plays them in every order. It never looks
//! inside a row or a position.
//!
//! A run ends in one of four ways, each with the same last steps, as far as they still make sense:
//!
//! | what happened | reads on | applies what was read | records what is applied | ends with |
//! |---|---|---|---|---|
//! | the source has no more | – | yes | yes | `Complete` |
//! | asked to stop, or the reader failed (invariant 9) | no | yes | yes | `Stopped`, or the error |
//! | the target refused a batch | no | no | yes | the error |
//! | the store refused a save (invariant 6) | no | no | no | the error |

use std::sync::Arc;
use std::time::Duration;

use dt_common::ladder::{Applied, Entry, Recordable, Rung, Saved};
use dt_common::schema::RoutedTable;
use dt_common::{Error, LaneId, Result};
use dt_connector::outlet::Delivery;
use dt_connector::{Batch, Block, Event};
use dt_resumer::Inscriber;

use crate::batcher::{BatchLimits, Batcher, Cut};
use crate::inscription::{Inscription, Written};
use crate::ledger::{Advance, GroupFinished, LaneGroup, Ledger};
use crate::lowest::{Low, Lowest};
use crate::outcome::{End, Outcome};
use crate::queue::Queue;
use crate::recorder::{Order, RecordOptions, Recorder};
use crate::stage::Spreading;

/// How long retries go on once the run is to end early: asked to stop, or failed elsewhere. An unreachable target must
/// not keep a process from ending, and what is not applied is read again at the next start.
pub const GRACE: Duration = Duration::from_secs(10);

/// The lane that a stream of several lanes is recorded as.
const STREAM: LaneId = LaneId(0);

/// The numbers a [`State`] works by.
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// How many batches may be out at once; at least 1.
    pub sinkers: usize,
    /// When a batch is cut.
    pub batch: BatchLimits,
    /// When positions are saved, and in which order a lane's batches are applied.
    pub record: RecordOptions,
}

/// What is known of a run before it begins.
#[derive(Debug, Default)]
pub struct Outset {
    /// What is recorded before anything is applied: how tables are split, so that positions of chunks mean something.
    pub first: Vec<Entry>,
    /// Lanes that are parts of one table.
    pub groups: Vec<LaneGroup>,
    /// Writes positions in the transactions of the rows that they stand for.
    pub inscriber: Option<Arc<dyn Inscriber>>,
    /// By which filter a stream's changes are counted.
    pub filter: String,
    /// How a stream is spread; `None` if its blocks are applied as the source sends them. [`crate::run`] makes `lanes` of it.
    pub spread: Option<Spreading>,
    /// Over how many lanes a stream is spread.
    pub lanes: Option<u32>,
    /// Whether these have positions of their own, if they have an inscriber.
    pub counts: bool,
}

/// What has happened.
#[derive(Debug)]
pub enum Input {
    /// The reader has sent something.
    Delivered(Box<Delivery>),
    /// The reader has returned, and all that it sent has been delivered.
    ReaderDone(Result<()>),
    /// The target has committed a batch.
    Applied {
        /// The spent batch.
        applied: Applied,
        /// Rows that the sinker saw replace others since it was last asked.
        replaced_rows: u64,
    },
    /// A batch will not be applied: the error is final.
    ApplyFailed(Error),
    /// A save is durable.
    Saved(Saved),
    /// A save has failed.
    SaveFailed {
        /// What was to be saved.
        recordable: Recordable,
        /// Why it was not.
        error: Error,
    },
    /// The store is gone for good, and with it the save in flight.
    StoreLost(Error),
    /// The source has been told, or could not be.
    Acknowledged(Result<()>),
    /// The user wants the run to end.
    StopRequested,
    /// The time of [`State::deadline`] has come.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Action {
    /// Hand the batch to a free sinker; there is one. Answered by `Applied` or `ApplyFailed`.
    Apply(Batch),
    /// Save. Answered by `Saved`, `SaveFailed` or `StoreLost`.
    Save(Recordable),
    /// Tell the source. Answered by `Acknowledged`.
    Acknowledge(Saved),
    /// Make the reader return. Answered by `ReaderDone`.
    StopReading,
    /// Bound all retries by [`GRACE`] from now, and lift rate limits.
    Hurry,
    /// Tell the observer.
    Observe(Notice),
    /// Log an error that is not the first, so not the one the run ends with.
    Report(Error),
    /// The run is over; nothing is in flight. The first error, if there was one.
    Finish(Result<Outcome>),
}

/// What the observer is told.
#[derive(Debug)]
pub enum Notice {
    /// A lane has begun.
    LaneStarted(LaneId, Arc<RoutedTable>),
    /// Rows and bytes of a lane were committed.
    RowsApplied(LaneId, u64, u64),
    /// All of a lane's rows are applied; how many.
    LaneFinished(LaneId, u64),
    /// A failed save will be tried again: the error, how many failed in a row, the pause.
    SaveRetried(Error, u32, Duration),
}

/// What still makes sense to do; only ever goes down the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    /// Read, apply, record.
    Running,
    /// Read no more.
    Draining,
    /// Hand out no more batches: the target refused one.
    Abandoning,
    /// Save no more: the store refused.
    Unrecordable,
    /// `Finish` has been said.
    Over,
}

/// A run of the pipeline.
#[derive(Debug)]
pub struct State {
    order: Order,
    inscription: Option<Inscription>,
    lowest: Option<Lowest>,
    // Nothing is applied before it is known, and recorded, where the stream's lanes begin.
    has_begun: bool,
    ledger: Ledger,
    batcher: Batcher,
    queue: Queue,
    recorder: Recorder,
    mode: Mode,
    reading: bool,
    acknowledging: bool,
    // The batch that was handed out last is DDL.
    after_ddl: bool,
    hurried: bool,
    first_error: Option<Error>,
    outcome: Outcome,
}

impl State {
    /// A run that begins at time zero.
    pub fn new(options: StateOptions, outset: Outset) -> Self {
        let order = options.record.order;
        State {
            order,
            has_begun: outset.lanes.is_none() || outset.inscriber.is_none() || !outset.counts,
            inscription: outset.inscriber.map(|inscriber| {
                let written = Written::of(order, outset.lanes, outset.counts);
                Inscription::new(inscriber, written, outset.filter)
            }),
            lowest: outset.lanes.map(Lowest::new),
            ledger: Ledger::of_groups(outset.groups),
            batcher: Batcher::new(options.batch),
            queue: Queue::new(order, options.sinkers),
            recorder: Recorder::new(options.record, outset.first),
            mode: Mode::Running,
            reading: true,
            acknowledging: false,
            after_ddl: false,
            hurried: false,
            first_error: None,
            outcome: Outcome { rows: 0, bytes: 0, tables_finished: 0, replaced_rows: 0, end: End::Complete },
        }
    }

    /// Takes in what has happened at `now` (since the run began; never goes back) and decides what is to be done.
    pub fn on(&mut self, input: Input, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match input {
            Input::Delivered(delivery) => self.delivered(*delivery, now, &mut actions),
            Input::ReaderDone(result) => self.reader_done(result, now, &mut actions),
            Input::Applied { applied, replaced_rows } => self.applied(applied, replaced_rows, &mut actions),
            Input::ApplyFailed(error) => {
                self.queue.lost();
                self.fail(error, Mode::Abandoning, now, &mut actions);
            }
            Input::Saved(saved) => {
                self.recorder.saved();
                self.acknowledging = true;
                actions.push(Action::Acknowledge(saved));
            }
            Input::SaveFailed { recordable, error } => match self.recorder.failed(recordable, error, now) {
                Ok((error, pause)) => {
                    let attempts = self.recorder.attempts();
                    actions.push(Action::Observe(Notice::SaveRetried(error, attempts, pause)));
                }
                Err(error) => self.fail(error, Mode::Unrecordable, now, &mut actions),
            },
            Input::StoreLost(error) => {
                self.recorder.saved();
                self.fail(error, Mode::Unrecordable, now, &mut actions);
            }
            Input::Acknowledged(result) => {
                self.acknowledging = false;
                if let Err(error) = result {
                    self.fail(error, Mode::Draining, now, &mut actions);
                }
            }
            Input::StopRequested => self.stop(now, &mut actions),
            Input::Tick => {}
        }
        self.go_on(now, &mut actions);
        actions
    }

    /// When [`Input::Tick`] is due, if nothing else happens before.
    pub fn deadline(&self) -> Option<Duration> {
        let batch = self.batcher.deadline(|lane| self.queue.may_go(lane));
        let save = if self.acknowledging || self.mode >= Mode::Unrecordable { None } else { self.recorder.deadline() };
        batch.into_iter().chain(save).min()
    }

    /// The error that the run would end with, for a driver that must give it up.
    pub fn take_error(&mut self) -> Option<Error> {
        self.first_error.take()
    }

    fn delivered(&mut self, delivery: Delivery, now: Duration, actions: &mut Vec<Action>) {
        if self.mode >= Mode::Abandoning {
            // Dropped on purpose: it was read, will not be applied and is not recorded.
            return;
        }
        match delivery.event {
            Event::LaneStarted { lane, table } => {
                if self.ledger.open(lane) {
                    actions.push(Action::Observe(Notice::LaneStarted(lane, table)));
                } else {
                    self.misread("the extractor began a lane twice", lane, now, actions);
                }
            }
            Event::Rows(block) => {
                // A stream of changes has no first row to announce its lanes by.
                if self.order == Order::PerLane {
                    self.ledger.open(block.lane);
                }
                if !self.begin(&block) {
                    self.misread("the extractor did not say where the stream begins", block.lane, now, actions);
                } else if self.ledger.takes_rows(block.lane) {
                    let (lane, is_barrier) = (block.lane, block.spread.barrier);
                    // Everything before it is in the queue before it.
                    let before = if is_barrier { self.batcher.cut_all() } else { Vec::new() };
                    self.enqueue(before, now, actions);
                    let full = self.batcher.push(*block, delivery.memory, now);
                    self.enqueue(full, now, actions);
                    let barrier = if is_barrier { self.batcher.cut(lane) } else { None };
                    self.enqueue(barrier, now, actions);
                } else {
                    self.misread("the extractor sent rows of a lane that is not open", block.lane, now, actions);
                }
            }
            Event::LaneEnded { lane, finished } => {
                if self.ledger.takes_rows(lane) {
                    let rest = self.batcher.cut(lane);
                    self.enqueue(rest, now, actions);
                    if let Some(advance) = self.ledger.end(lane, finished) {
                        self.advance(advance, actions);
                    }
                } else {
                    self.misread("the extractor ended a lane that is not open", lane, now, actions);
                }
            }
        }
    }

    // Where several lanes have positions of their own: the place that they are counted from is recorded first. `false` if
    // it is not known.
    fn begin(&mut self, block: &Block) -> bool {
        let (false, Some(inscription)) = (self.has_begun, &self.inscription) else { return true };
        let (Some(position), 0) = (&block.checkpoint, block.rows) else { return false };
        let index = block.spread.index;
        let position = inscription.of_all(position.clone(), index.saturating_sub(block.behind), index);
        self.recorder.begin(Entry { rung: Rung::Checkpoint, position });
        self.has_begun = true;
        true
    }

    // The extractor broke the contract: what it sent cannot be trusted, so nothing more of it is applied.
    fn misread(&mut self, message: &str, lane: LaneId, now: Duration, actions: &mut Vec<Action>) {
        self.fail(Error::fatal(message).with("lane", lane.0), Mode::Abandoning, now, actions);
    }

    fn reader_done(&mut self, result: Result<()>, now: Duration, actions: &mut Vec<Action>) {
        self.reading = false;
        let unended = match self.order {
            Order::Any => self.ledger.unended(),
            Order::PerLane => None,
        };
        match (result, unended) {
            (Err(error), _) => self.fail(error, Mode::Draining, now, actions),
            // A table that is given up half-way must not look like a copy that is complete.
            (Ok(()), Some(lane)) if self.mode == Mode::Running => {
                let error = Error::fatal("the extractor returned before the end of a table").with("lane", lane.0);
                self.fail(error, Mode::Draining, now, actions);
            }
            (Ok(()), _) => self.mode = self.mode.max(Mode::Draining),
        }
        if self.mode == Mode::Draining {
            let rest = self.batcher.cut_all();
            self.enqueue(rest, now, actions);
        }
    }

    fn applied(&mut self, applied: Applied, replaced_rows: u64, actions: &mut Vec<Action>) {
        let lane = applied.lane();
        self.queue.applied(lane);
        let closed = self.ledger.close(applied);
        self.outcome.rows += closed.rows;
        self.outcome.bytes += closed.bytes;
        self.outcome.replaced_rows += replaced_rows;
        actions.push(Action::Observe(Notice::RowsApplied(lane, closed.rows, closed.bytes)));
        if let Some(advance) = closed.advance {
            if let Some(inscription) = &mut self.inscription {
                inscription.applied(lane, self.ledger.lowest_open(lane));
            }
            self.advance(advance, actions);
        }
    }

    fn advance(&mut self, advance: Advance, actions: &mut Vec<Action>) {
        if let Some(finished) = &advance.finished {
            match finished.group {
                GroupFinished::Alone | GroupFinished::Finished(_) => self.outcome.tables_finished += 1,
                GroupFinished::NotYet => {}
            }
            actions.push(Action::Observe(Notice::LaneFinished(advance.lane, finished.rows)));
        }
        let Some(lowest) = &mut self.lowest else { return self.recorder.advance(advance) };
        if let Some(Low { progress, checkpoint, before, index }) = lowest.advance(&advance) {
            let counted = |position| match &self.inscription {
                Some(inscription) => inscription.of_all(position, before, index),
                None => position,
            };
            let checkpoint = checkpoint.map(counted);
            self.recorder.advance(Advance { lane: STREAM, progress, checkpoint, ..advance });
        }
    }

    fn stop(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.reading && self.mode == Mode::Running {
            self.outcome.end = End::Stopped;
        }
        // What is applied already is recorded first: the rest of the drain may be cut short by a second signal.
        self.recorder.flush(now);
        self.descend(Mode::Draining, actions);
        self.hurry(now, actions);
    }

    fn fail(&mut self, error: Error, mode: Mode, now: Duration, actions: &mut Vec<Action>) {
        match self.first_error {
            None => self.first_error = Some(error),
            Some(_) => actions.push(Action::Report(error)),
        }
        self.descend(mode, actions);
        if mode >= Mode::Abandoning {
            self.hurry(now, actions);
        }
    }

    fn descend(&mut self, mode: Mode, actions: &mut Vec<Action>) {
        if self.mode == Mode::Running && self.reading {
            actions.push(Action::StopReading);
        }
        self.mode = self.mode.max(mode);
        if self.mode >= Mode::Abandoning {
            // Their tickets go with them: the ledger will never let their positions, or later ones, through.
            self.queue.clear();
            drop(self.batcher.cut_all());
            if let Some(inscription) = &mut self.inscription {
                inscription.abandon();
            }
        }
    }

    fn hurry(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if !self.hurried {
            self.hurried = true;
            self.recorder.give_up_at(now + GRACE);
            actions.push(Action::Hurry);
        }
    }

    fn enqueue(&mut self, cuts: impl IntoIterator<Item = Cut>, now: Duration, actions: &mut Vec<Action>) {
        for Cut { lane, blocks, memory, contents } in cuts {
            let position = self.inscription.as_mut().map(|inscription| inscription.of(lane, &contents)).transpose();
            let position = match position.map(Option::flatten) {
                Ok(position) => position,
                Err(error) => {
                    // What comes after it must not be applied without it.
                    self.fail(error, Mode::Abandoning, now, actions);
                    return;
                }
            };
            let batch = Batch::new(self.ledger.issue(lane, contents), blocks, memory);
            self.queue.push(match (&mut self.inscription, position) {
                (Some(inscription), Some(position)) => inscription.bring(batch, position),
                (None, _) | (_, None) => batch,
            });
        }
    }

    // DDL comes again only by itself: before it and after it, all that is applied is recorded first.
    fn may_apply(&mut self, now: Duration) -> bool {
        if !self.has_begun {
            return false;
        }
        let is_ddl = self.queue.peek().is_some_and(Batch::is_ddl);
        if !is_ddl && !self.after_ddl {
            return self.recorder.is_prepared();
        }
        self.recorder.flush(now);
        self.queue.none_is_out() && self.recorder.is_settled() && self.recorder.is_prepared()
    }

    // What follows from the state alone, whatever has just happened.
    fn go_on(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let aged = self.batcher.cut_aged(now, |lane| self.queue.may_go(lane));
        self.enqueue(aged, now, actions);
        while self.may_apply(now)
            && let Some(batch) = self.queue.pop()
        {
            self.after_ddl = batch.is_ddl();
            actions.push(Action::Apply(batch));
        }
        let all_applied = !self.reading && self.queue.is_idle();
        if all_applied {
            self.recorder.close();
        }
        if self.mode < Mode::Unrecordable
            && !self.acknowledging
            && let Some(recordable) = self.recorder.poll(now)
        {
            actions.push(Action::Save(recordable));
        }
        let all_recorded = match self.mode {
            Mode::Running | Mode::Draining | Mode::Abandoning => self.recorder.is_closed(),
            Mode::Unrecordable => !self.recorder.is_saving(),
            Mode::Over => false,
        };
        if all_applied && all_recorded && !self.acknowledging {
            self.mode = Mode::Over;
            actions.push(Action::Finish(match self.first_error.take() {
                Some(error) => Err(error),
                None => Ok(self.outcome),
            }));
        }
    }
}
