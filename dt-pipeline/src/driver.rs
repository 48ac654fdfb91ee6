//! The thin part around [`State`]: tasks, channels and timers on tokio.
//!
//! It performs actions and reports what came of them, and decides nothing. One task reads, one per sinker applies,
//! one saves, one acknowledges; this one owns the state. Every task is joined, a panic in one is an error of the run,
//! and the only timers are the state's deadlines, the read limit's pause and the bounds of a run that is to end.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dt_common::failpoint::{Failpoint, reach};
use dt_common::ladder::{Recordable, Rung, Saved};
use dt_common::{Error, Result};
use dt_connector::outlet::Delivery;
use dt_connector::{Acknowledger, Batch, Event, Extractor, Outlet, Sinker};
use dt_resumer::store::{PositionStore, SaveFailed};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

use crate::grace::{Hurry, hurry};
use crate::options::PipelineOptions;
use crate::outcome::{Observer, Outcome, Retried};
use crate::rate::Pacer;
use crate::recorder::RecordOptions;
use crate::split::Splitter;
use crate::stage::{Spreading, Stage, Statements};
use crate::state::{Action, GRACE, Input, Notice, Outset, State, StateOptions};
use crate::worker::{Done, Worker};

/// A run that is to end and reports nothing for this long is given up. Longer than any task's own grace, so that it
/// ends only what does not listen.
const STUCK_AFTER: Duration = GRACE.saturating_mul(3);

/// Copies what `extractor` reads through `sinkers` into the target, and records in `store` how far it is, until the
/// source has no more or `stop` turns true.
///
/// # Errors
/// The first error that could not be retried away. Whatever comes out, what is recorded is in the target, and what is
/// not will be read again by the next run. If `stop` came first and the target could not be reached within
/// [`GRACE`], the error says so.
///
/// # Panics
/// If there is no sinker, or not within a tokio runtime with a timer.
pub async fn run(
    extractor: Box<dyn Extractor>,
    sinkers: Vec<Box<dyn Sinker>>,
    store: Box<dyn PositionStore>,
    outset: Outset,
    options: PipelineOptions,
    observer: Arc<dyn Observer>,
    stop: watch::Receiver<bool>,
) -> Result<Outcome> {
    assert!(!sinkers.is_empty(), "driver: no sinker");
    Driver::start(extractor, sinkers, store, outset, options, observer).run(stop).await
}

/// What the tasks tell the driver.
enum Report {
    Read(Result<()>),
    Staged(Result<()>),
    Applied { worker: usize, result: Result<Done> },
    Saved(Result<Saved, SaveFailed>),
    Acknowledged(Result<()>),
}

/// Whose task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Extractor,
    Stage,
    Worker(usize),
    Saver,
    Acknowledger,
}

struct Driver {
    state: State,
    observer: Arc<dyn Observer>,
    started: Instant,
    tasks: JoinSet<()>,
    roles: HashMap<Id, Role>,
    reports: mpsc::UnboundedReceiver<Report>,
    reader: Reader,
    workers: Vec<mpsc::Sender<Batch>>,
    idle: Vec<usize>,
    // How many statements of DDL the target has executed, for whoever waits for them.
    statements: watch::Sender<u64>,
    // What is out is one; it goes alone.
    applies_ddl: bool,
    saver: mpsc::Sender<Recordable>,
    acknowledger: Option<mpsc::Sender<Saved>>,
    hurry: Hurry,
    // Set when the run is to end early: when it counts as stuck, unless something is reported before.
    stuck_at: Option<Instant>,
}

/// The reading side as the driver sees it.
struct Reader {
    deliveries: mpsc::UnboundedReceiver<Delivery>,
    stop: watch::Sender<bool>,
    task: AbortHandle,
    pacer: Pacer,
    // Nothing is taken in before: `read_limit`.
    paused_until: Instant,
    // Set when told to stop: when it is aborted, if it has not returned by itself.
    abort_at: Option<Instant>,
    // Whether what it sends comes by way of a stage, and why that has ended.
    is_staged: bool,
    failed: Option<Error>,
    result: Option<Result<()>>,
    drained: bool,
}

impl Driver {
    fn start(
        extractor: Box<dyn Extractor>,
        sinkers: Vec<Box<dyn Sinker>>,
        store: Box<dyn PositionStore>,
        mut outset: Outset,
        options: PipelineOptions,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let started = Instant::now();
        let (reported, reports) = mpsc::unbounded_channel();
        let (hurry, grace) = hurry();
        let (mut tasks, mut roles) = (JoinSet::new(), HashMap::new());

        // Capacity 1 is enough everywhere: the state hands out nothing more before it has an answer.
        let acknowledger = extractor.acknowledger().map(|acknowledger| {
            let (sender, saved) = mpsc::channel(1);
            let task = tasks.spawn(acknowledge(acknowledger, saved, reported.clone()));
            roles.insert(task.id(), Role::Acknowledger);
            sender
        });
        let (saver, recordables) = mpsc::channel(1);
        roles.insert(tasks.spawn(save(store, recordables, reported.clone())).id(), Role::Saver);

        let pacer = Arc::new(Mutex::new(Pacer::new(options.apply_limit)));
        let mut workers = Vec::with_capacity(sinkers.len());
        for (at, sinker) in sinkers.into_iter().enumerate() {
            let worker = Worker {
                sinker,
                retry: options.apply_retry,
                pacer: pacer.clone(),
                grace: grace.clone(),
                observer: observer.clone(),
                started,
            };
            let (sender, batches) = mpsc::channel(1);
            let reported = reported.clone();
            // Here and below, a report that nobody hears means that the driver is gone, and this task with it.
            let task = tasks.spawn(worker.work(batches, move |result| {
                let _ = reported.send(Report::Applied { worker: at, result });
            }));
            roles.insert(task.id(), Role::Worker(at));
            workers.push(sender);
        }

        let (stop, stopped) = watch::channel(false);
        let (outlet, mut deliveries) = Outlet::new(options.memory_bytes, stopped);
        let (end, ended) = oneshot::channel();
        let statements = watch::Sender::new(0);
        let spread = outset.spread.take();
        let is_staged = spread.is_some();
        if let Some(Spreading { lanes, rules }) = spread {
            outset.lanes = Some(lanes.count);
            outset.counts = lanes.counts;
            let (outgoing, staged) = mpsc::unbounded_channel();
            let incoming = std::mem::replace(&mut deliveries, staged);
            let splitter = Splitter::new(lanes);
            let retry = options.apply_retry;
            let ddl = Statements { passed_on: 0, applied: statements.subscribe() };
            let grace = grace.clone();
            let mut stage = Stage { splitter, rules, incoming, outgoing, ended, ddl, retry, grace, started };
            let reported = reported.clone();
            let task = tasks.spawn(async move {
                // Reported before the reader can see that nobody takes in what it sends.
                let _ = reported.send(Report::Staged(stage.work().await));
            });
            roles.insert(task.id(), Role::Stage);
        }
        let task = tasks.spawn(async move {
            let result = extractor.extract(outlet).await;
            let _ = reported.send(Report::Read(result));
            drop(end);
        });
        roles.insert(task.id(), Role::Extractor);

        let record =
            RecordOptions { order: options.order, interval: options.checkpoint_interval, retry: options.save_retry };
        let reader = Reader {
            deliveries,
            stop,
            task,
            pacer: Pacer::new(options.read_limit),
            paused_until: started,
            abort_at: None,
            is_staged,
            failed: None,
            result: None,
            drained: false,
        };
        Driver {
            state: State::new(StateOptions { sinkers: workers.len(), batch: options.batch, record }, outset),
            observer,
            started,
            tasks,
            roles,
            reports,
            reader,
            idle: (0..workers.len()).rev().collect(),
            workers,
            statements,
            applies_ddl: false,
            saver,
            acknowledger,
            hurry,
            stuck_at: None,
        }
    }

    async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<Outcome> {
        let mut watching = true;
        let result = loop {
            let wake = self.wake();
            let input = tokio::select! {
                biased;
                asked = asked_to_stop(&mut stop), if watching => {
                    // A sender that is dropped will never ask.
                    watching = false;
                    asked.then_some(Input::StopRequested)
                }
                Some(report) = self.reports.recv() => self.reported(report),
                Some(joined) = self.tasks.join_next_with_id() => self.joined(joined),
                delivery = self.reader.deliveries.recv(), if self.reader.takes() => self.delivered(delivery),
                () = sleep_until(wake.unwrap_or(self.started)), if wake.is_some() => self.woken(),
            };
            if let Some(result) = self.give_up_if_stuck() {
                break result;
            }
            if let Some(result) = input.and_then(|input| self.decide(input)) {
                break result;
            }
        };
        self.join(result).await
    }

    /// The earliest time at which there is something to do though nothing happens.
    fn wake(&self) -> Option<Instant> {
        let deadline = self.state.deadline().map(|deadline| self.started + deadline);
        let paused = (!self.reader.drained && !self.reader.takes()).then_some(self.reader.paused_until);
        [deadline, paused, self.reader.abort_at, self.stuck_at].into_iter().flatten().min()
    }

    fn woken(&mut self) -> Option<Input> {
        if self.reader.abort_at.is_some_and(|at| at <= Instant::now()) {
            self.reader.abort_at = None;
            tracing::warn!("the extractor did not return within {} s and is cut off", GRACE.as_secs());
            self.reader.task.abort();
        }
        Some(Input::Tick)
    }

    fn delivered(&mut self, delivery: Option<Delivery>) -> Option<Input> {
        let Some(delivery) = delivery else {
            self.reader.drained = true;
            return self.reader.done();
        };
        if let Event::Rows(block) = &delivery.event {
            let now = Instant::now();
            let pause = self.reader.pacer.take(block.rows, block.bytes(), now - self.started);
            self.reader.paused_until = now + pause;
        }
        Some(Input::Delivered(Box::new(delivery)))
    }

    fn reported(&mut self, report: Report) -> Option<Input> {
        self.stuck_at = self.stuck_at.map(|_| Instant::now() + STUCK_AFTER);
        match report {
            Report::Read(result) => self.reader.returned(result),
            Report::Staged(Ok(())) => None,
            Report::Staged(Err(error)) => self.reader.cut_off(error),
            Report::Applied { worker, result } => {
                self.idle.push(worker);
                if std::mem::take(&mut self.applies_ddl) || result.is_err() {
                    // Behind one that has failed nothing is applied: nobody is to wait for it.
                    self.statements
                        .send_modify(|done| *done = if result.is_ok() { done.saturating_add(1) } else { u64::MAX });
                }
                Some(match result {
                    Ok(Done { applied, replaced_rows }) => Input::Applied { applied, replaced_rows },
                    Err(error) => Input::ApplyFailed(error),
                })
            }
            Report::Saved(Ok(saved)) => {
                self.observer.saved(saved.entries());
                Some(Input::Saved(saved))
            }
            Report::Saved(Err(SaveFailed { recordable, error })) => Some(Input::SaveFailed { recordable, error }),
            Report::Acknowledged(result) => Some(Input::Acknowledged(result)),
        }
    }

    /// A task has ended before the run has. What it owed is answered in its place.
    fn joined(&mut self, joined: Result<(Id, ()), JoinError>) -> Option<Input> {
        let (id, failed) = match joined {
            Ok((id, ())) => (id, None),
            Err(failed) => (failed.id(), Some(failed)),
        };
        let role = self.roles.remove(&id).expect("driver: a task that was never started");
        let failed = failed?;
        match role {
            Role::Extractor if failed.is_cancelled() => self.reader.returned(Ok(())),
            Role::Extractor => self.reader.returned(Err(panicked("the extractor"))),
            Role::Stage => self.reader.cut_off(panicked("the stage of the lanes")),
            Role::Worker(_) => Some(Input::ApplyFailed(panicked("a sinker"))),
            Role::Saver => Some(Input::StoreLost(panicked("the position store"))),
            Role::Acknowledger => Some(Input::Acknowledged(Err(panicked("the acknowledger")))),
        }
    }

    /// Lets the state decide, and performs what it says, until there is nothing left to say.
    fn decide(&mut self, input: Input) -> Option<Result<Outcome>> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for action in self.state.on(input, self.started.elapsed()) {
                match action {
                    Action::Apply(batch) => inputs.extend(self.apply(batch)),
                    Action::Save(recordable) => {
                        if self.saver.try_send(recordable).is_err() {
                            inputs.push_back(Input::StoreLost(gone("the position store")));
                        }
                    }
                    Action::Acknowledge(saved) => inputs.extend(self.acknowledge(saved)),
                    Action::StopReading => {
                        reach(Failpoint::StopAsked);
                        self.reader.stop();
                    }
                    Action::Hurry => {
                        self.hurry.begin();
                        self.reader.paused_until = self.started;
                        self.reader.pacer = Pacer::new(Default::default());
                        self.stuck_at = Some(Instant::now() + STUCK_AFTER);
                    }
                    Action::Observe(notice) => self.observe(notice),
                    Action::Report(error) => tracing::error!("after the first error: {error}"),
                    Action::Finish(result) => {
                        reach(Failpoint::RunEnded);
                        return Some(result);
                    }
                }
            }
        }
        None
    }

    fn apply(&mut self, batch: Batch) -> Option<Input> {
        let worker = self.idle.pop().expect("driver: more batches out than sinkers");
        self.applies_ddl = batch.is_ddl();
        match self.workers[worker].try_send(batch) {
            Ok(()) => None,
            Err(_) => Some(Input::ApplyFailed(gone("a sinker"))),
        }
    }

    fn acknowledge(&mut self, saved: Saved) -> Option<Input> {
        // A source that keeps nothing for us need not be told.
        let Some(acknowledger) = &self.acknowledger else { return Some(Input::Acknowledged(Ok(()))) };
        match acknowledger.try_send(saved) {
            Ok(()) => None,
            Err(_) => Some(Input::Acknowledged(Err(gone("the acknowledger")))),
        }
    }

    fn observe(&self, notice: Notice) {
        match notice {
            Notice::LaneStarted(lane, table) => self.observer.lane_started(lane, &table),
            Notice::RowsApplied(lane, rows, bytes) => self.observer.rows_applied(lane, rows, bytes),
            Notice::LaneFinished(lane, rows) => self.observer.lane_finished(lane, rows),
            Notice::SaveRetried(error, attempt, pause) => {
                self.observer.retrying(Retried::Save, &error, attempt, pause);
            }
        }
    }

    fn give_up_if_stuck(&mut self) -> Option<Result<Outcome>> {
        if self.stuck_at.is_none_or(|at| Instant::now() < at) {
            return None;
        }
        let stuck = Error::fatal(format!("the task could not end: nothing moved for {} s", STUCK_AFTER.as_secs()))
            .hint("nothing is lost: what is not recorded is read again when the task is started again");
        self.tasks.abort_all();
        Some(Err(match self.state.take_error() {
            None => stuck,
            Some(first) => {
                tracing::error!("after the first error: {stuck}");
                first
            }
        }))
    }

    /// The tasks end when their channels do; one that does not is left behind rather than waited for.
    async fn join(self, result: Result<Outcome>) -> Result<Outcome> {
        let Driver { mut tasks, workers, saver, acknowledger, reader, .. } = self;
        drop((workers, saver, acknowledger, reader));
        let all_joined = async {
            while let Some(joined) = tasks.join_next().await {
                if joined.is_err_and(|failed| failed.is_panic()) {
                    tracing::error!("a task of the pipeline panicked after the run had ended");
                }
            }
        };
        if timeout(GRACE, all_joined).await.is_err() {
            tracing::error!("a task of the pipeline did not end and is cut off");
        }
        result
    }
}

impl Reader {
    /// Whether deliveries are taken in now.
    fn takes(&self) -> bool {
        !self.drained && self.paused_until <= Instant::now()
    }

    fn stop(&mut self) {
        self.stop.send_replace(true);
        // What is in the channel was read: it is taken in at once.
        self.paused_until = Instant::now();
        self.pacer = Pacer::new(Default::default());
        self.abort_at = Some(Instant::now() + GRACE);
    }

    // What it sends goes nowhere any more.
    fn cut_off(&mut self, error: Error) -> Option<Input> {
        self.failed.get_or_insert(error);
        self.stop();
        self.done()
    }

    fn returned(&mut self, result: Result<()>) -> Option<Input> {
        self.abort_at = None;
        // A part of the extractor that lives on can send no more; what it has sent is still taken in.
        if !self.is_staged {
            self.deliveries.close();
        }
        self.result = Some(result);
        self.done()
    }

    fn done(&mut self) -> Option<Input> {
        if !self.drained {
            return None;
        }
        let result = self.result.take()?;
        Some(Input::ReaderDone(match (self.failed.take(), result) {
            (None, result) => result,
            (Some(failed), Ok(())) => Err(failed),
            (Some(failed), Err(error)) => {
                tracing::error!("after the first error: {error}");
                Err(failed)
            }
        }))
    }
}

async fn asked_to_stop(stop: &mut watch::Receiver<bool>) -> bool {
    stop.wait_for(|stop| *stop).await.is_ok()
}

async fn save(
    mut store: Box<dyn PositionStore>,
    mut recordables: mpsc::Receiver<Recordable>,
    reported: mpsc::UnboundedSender<Report>,
) {
    while let Some(recordable) = recordables.recv().await {
        let finishes = recordable.entries().iter().any(|entry| entry.rung == Rung::Finished);
        reach(if finishes { Failpoint::FinishBegin } else { Failpoint::RecordBegin });
        let saved = store.save(recordable).await;
        if saved.is_ok() {
            reach(if finishes { Failpoint::Finished } else { Failpoint::Recorded });
        }
        let _ = reported.send(Report::Saved(saved));
    }
}

async fn acknowledge(
    mut acknowledger: Box<dyn Acknowledger>,
    mut saved: mpsc::Receiver<Saved>,
    reported: mpsc::UnboundedSender<Report>,
) {
    while let Some(saved) = saved.recv().await {
        reach(Failpoint::AcknowledgeBegin);
        let acknowledged = acknowledger.acknowledge(saved).await;
        reach(Failpoint::Acknowledged);
        let _ = reported.send(Report::Acknowledged(acknowledged));
    }
}

// The panic's own message stays out: it may hold a row's values (invariant 11).
fn panicked(what: &str) -> Error {
    Error::fatal(format!("{what} panicked")).hint("this is a bug in dt; standard error shows where")
}

fn gone(what: &str) -> Error {
    Error::fatal(format!("the task of {what} has ended early")).hint("this is a bug in dt")
}
