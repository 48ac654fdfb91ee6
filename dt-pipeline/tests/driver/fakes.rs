//! An extractor, sinkers and stores that do as they are told, and a run made of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dt_common::ladder::{Entry, Recordable, Rung, Saved};
use dt_common::position::{self, Lineage, Position};
use dt_common::schema::{RoutedTable, TableSchema};
use dt_common::{DbType, Error, ErrorClass, LaneId, Result, TableId};
use dt_connector::retry::RetryBudget;
use dt_connector::{
    Acknowledger, Applying, Batch, Block, BlockContents, Event, Extractor, Failed, Outlet, RowFormat, Sinker, Stopped,
};
use dt_pipeline::{BatchLimits, Observer, Order, Outcome, Outset, PipelineOptions, RateLimit, Retried, Spreading, run};
use dt_resumer::loaded::Loaded;
use dt_resumer::memory::MemoryStore;
use dt_resumer::store::{PositionStore, SaveFailed};
use tokio::sync::watch;

pub const SEC: Duration = Duration::from_secs(1);

/// The position after a row of a lane.
pub fn at(lane: u32, row: u64) -> Position {
    Position::Redis(position::Redis {
        repl_id: String::new(),
        repl_port: 0,
        repl_offset: row,
        now_db_id: i64::from(lane),
        timestamp: String::new(),
    })
}

/// What is recorded when a lane has ended.
pub fn end_of(lane: u32) -> Position {
    let table = TableId::new("db", lane.to_string());
    Position::RdbSnapshotFinished(position::RdbSnapshotFinished {
        db_type: DbType::Mysql,
        table,
        chunk: None,
        lineage: Lineage::default(),
    })
}

/// Sends the rows of one lane, a block at a time.
pub struct LaneSender {
    lane: u32,
    table: Arc<RoutedTable>,
    row: u64,
    pub outlet: Outlet,
}

impl LaneSender {
    pub fn start(lane: u32, outlet: &Outlet) -> std::result::Result<Self, Stopped> {
        let id = TableId::new("db", lane.to_string());
        let source = TableSchema { id: id.clone(), columns: vec![], key: None, rows_estimate: 0 };
        let table = Arc::new(RoutedTable { source, target: id, target_columns: vec![] });
        outlet.signal(Event::LaneStarted { lane: LaneId(lane), table: table.clone() })?;
        Ok(LaneSender { lane, table, row: 0, outlet: outlet.clone() })
    }

    pub async fn rows(&mut self, rows: u64, bytes: usize) -> std::result::Result<(), Stopped> {
        let block = Block {
            lane: LaneId(self.lane),
            contents: BlockContents::Rows(self.table.clone()),
            format: RowFormat::MysqlText,
            data: Bytes::from(vec![b'x'; bytes]),
            rows,
            progress: Some(at(self.lane, self.row + rows)),
            checkpoint: Some(at(self.lane, self.row + rows)),
            behind: 0,
            spread: dt_connector::Spread::default(),
        };
        self.outlet.rows(block).await?;
        self.row += rows;
        Ok(())
    }

    pub fn end(self) -> std::result::Result<(), Stopped> {
        self.outlet.signal(Event::LaneEnded { lane: LaneId(self.lane), finished: end_of(self.lane) })
    }
}

/// An extractor made of an async closure; `Stopped` out of it is a clean return, as the contract has it.
pub struct Script<F>(pub F);

pub enum Stop {
    Stopped,
    Failed(Error),
}

impl From<Stopped> for Stop {
    fn from(_: Stopped) -> Self {
        Stop::Stopped
    }
}

#[async_trait]
impl<F, Fut> Extractor for Script<F>
where
    F: FnOnce(Outlet) -> Fut + Send,
    Fut: Future<Output = std::result::Result<(), Stop>> + Send,
{
    async fn extract(self: Box<Self>, outlet: Outlet) -> Result<()> {
        match (self.0)(outlet).await {
            Ok(()) | Err(Stop::Stopped) => Ok(()),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    fn acknowledger(&self) -> Option<Box<dyn Acknowledger>> {
        None
    }
}

/// An extractor of whole lanes: each of so many blocks of 10 rows and 1 KiB.
pub fn lanes(count: u32, blocks: u64) -> Box<dyn Extractor> {
    Box::new(Script(move |outlet: Outlet| async move {
        for lane in 0..count {
            let mut lane = LaneSender::start(lane, &outlet)?;
            for _ in 0..blocks {
                lane.rows(10, 1024).await?;
            }
            lane.end()?;
        }
        Ok(())
    }))
}

/// What a sinker does with a batch.
#[derive(Clone, Copy, Debug)]
pub enum Verdict {
    Commit,
    CommitAfter(Duration),
    Fail(ErrorClass, &'static str),
    Hang,
    Panic,
}

/// What the target has seen, shared by its sinkers.
#[derive(Default)]
pub struct Target {
    pub attempts: AtomicU64,
    pub rows: AtomicU64,
    pub bytes: AtomicU64,
    /// The lane, rows and first byte's address of every batch at every attempt: the same batch is the same memory.
    pub seen: Mutex<Vec<(u32, u64, usize)>>,
}

pub type Decide = Arc<dyn Fn(u64) -> Verdict + Send + Sync>;

struct FakeSinker {
    target: Arc<Target>,
    decide: Decide,
}

#[async_trait]
impl Sinker for FakeSinker {
    async fn apply(&mut self, batch: Batch) -> Applying {
        let attempt = self.target.attempts.fetch_add(1, Ordering::SeqCst) + 1;
        let address = batch.chunks().next().map_or(0, |chunk| chunk.as_ptr() as usize);
        self.target.seen.lock().expect("no panic under the lock").push((batch.lane().0, batch.rows(), address));
        match (self.decide)(attempt) {
            Verdict::Commit => {}
            Verdict::CommitAfter(time) => tokio::time::sleep(time).await,
            Verdict::Fail(class, message) => return Err(Failed { batch, error: Error::new(class, message) }),
            Verdict::Hang => std::future::pending().await,
            Verdict::Panic => panic!("the sinker was told to panic"),
        }
        self.target.rows.fetch_add(batch.rows(), Ordering::SeqCst);
        self.target.bytes.fetch_add(batch.bytes(), Ordering::SeqCst);
        Ok(batch.committed())
    }

    fn take_replaced_rows(&mut self) -> u64 {
        1
    }
}

/// Counts what it is told, and says so to whoever waits.
#[derive(Default)]
pub struct Watcher {
    pub rows: AtomicU64,
    pub retries: Mutex<Vec<Retried>>,
    pub finished: AtomicU64,
    pub notify: tokio::sync::Notify,
}

impl Observer for Watcher {
    fn lane_started(&self, _: LaneId, _: &RoutedTable) {}

    fn rows_applied(&self, _: LaneId, rows: u64, _: u64) {
        self.rows.fetch_add(rows, Ordering::SeqCst);
        self.notify.notify_waiters();
    }

    fn lane_finished(&self, _: LaneId, _: u64) {
        self.finished.fetch_add(1, Ordering::SeqCst);
    }

    fn retrying(&self, what: Retried, _: &Error, _: u32, _: Duration) {
        self.retries.lock().expect("no panic under the lock").push(what);
        self.notify.notify_waiters();
    }

    fn saved(&self, _: &[Entry]) {}
}

/// A store that is asked and never answers, or panics.
pub enum BadStore {
    Hangs,
    Panics,
}

#[async_trait]
impl PositionStore for BadStore {
    async fn load(&mut self) -> Result<Loaded> {
        Err(Error::fatal("not for reading"))
    }

    async fn save(&mut self, _: Recordable) -> Result<Saved, SaveFailed> {
        match self {
            BadStore::Hangs => std::future::pending().await,
            BadStore::Panics => panic!("the store was told to panic"),
        }
    }

    async fn rewind(&mut self, _: &dt_resumer::Rewind) -> Result<()> {
        Err(Error::fatal("not for stepping back"))
    }
}

/// A run, its parts to be looked at.
pub struct Run {
    pub target: Arc<Target>,
    pub watcher: Arc<Watcher>,
    pub store: MemoryStore,
    pub bad_store: Option<BadStore>,
    pub options: PipelineOptions,
    pub sinkers: usize,
    pub spread: Option<Spreading>,
    pub decide: Decide,
    pub stop: watch::Sender<bool>,
}

impl Run {
    pub fn new(decide: impl Fn(u64) -> Verdict + Send + Sync + 'static) -> Self {
        Run {
            target: Arc::default(),
            watcher: Arc::default(),
            store: MemoryStore::new(),
            bad_store: None,
            options: PipelineOptions {
                order: Order::Any,
                memory_bytes: 64 * 1024,
                batch: BatchLimits {
                    rows: 20,
                    bytes: 8 * 1024,
                    age: Duration::from_millis(100),
                    empty_age: Duration::from_millis(100),
                    whole_bytes: 0,
                    full_block_bytes: u64::MAX,
                },
                checkpoint_interval: 10 * SEC,
                apply_retry: RetryBudget { total: 300 * SEC },
                save_retry: RetryBudget { total: 60 * SEC },
                read_limit: RateLimit::default(),
                apply_limit: RateLimit::default(),
            },
            sinkers: 2,
            spread: None,
            decide: Arc::new(decide),
            stop: watch::Sender::new(false),
        }
    }

    /// Begins the run as a task. A run that hangs shows as a timeout after an hour of paused time.
    pub fn spawn(&mut self, extractor: Box<dyn Extractor>) -> tokio::task::JoinHandle<Result<Outcome>> {
        let sinker =
            || -> Box<dyn Sinker> { Box::new(FakeSinker { target: self.target.clone(), decide: self.decide.clone() }) };
        let sinkers = (0..self.sinkers).map(|_| sinker()).collect();
        let store: Box<dyn PositionStore> = match self.bad_store.take() {
            Some(bad) => Box::new(bad),
            None => Box::new(self.store.clone()),
        };
        let outset = Outset { spread: self.spread.take(), ..Outset::default() };
        let watcher = self.watcher.clone();
        let running = run(extractor, sinkers, store, outset, self.options, watcher, self.stop.subscribe());
        tokio::spawn(async { tokio::time::timeout(3600 * SEC, running).await.expect("the run hangs") })
    }

    pub async fn finish(&mut self, extractor: Box<dyn Extractor>) -> Result<Outcome> {
        self.spawn(extractor).await.expect("the run panicked")
    }

    /// Waits until the watcher has seen it.
    pub async fn until(&self, seen: impl Fn(&Watcher) -> bool) {
        let waiting = async {
            loop {
                let notified = self.watcher.notify.notified();
                if seen(&self.watcher) {
                    return;
                }
                notified.await;
            }
        };
        tokio::time::timeout(3600 * SEC, waiting).await.expect("what is waited for never comes");
    }

    pub fn recorded(&self, rung: Rung) -> Vec<Position> {
        self.store.entries().into_iter().filter(|entry| entry.rung == rung).map(|entry| entry.position).collect()
    }

    pub fn rows(&self) -> u64 {
        self.target.rows.load(Ordering::SeqCst)
    }
}
