//! A task whose connections to one of its ends lead through a proxy: from its start, through all faults, to the judgement.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::cell::{Database, Phase, Setting, Store};
use super::super::ends::{End, Ends, open_as};
use super::super::judge;
use super::super::ledger::Ledger;
use super::Way;
use super::fault::Fault;
use crate::dice::Dice;
use crate::proxy::Proxy;
use crate::task::{Running, Task};

/// Rows of each table: as many as are copied while all this happens, and a few more.
const SNAPSHOT_ROWS: u64 = 1000;
/// Rows a second of a snapshot that are written.
const SNAPSHOT_RPS: &str = "300";
/// Bytes a second of a snapshot that are read.
const NARROW: u32 = 8_000;
/// So many more rows, and a snapshot goes on again.
const PROGRESS: u64 = 60;
/// Rows of each table at the beginning of a stream.
const STREAM_ROWS: u64 = 60;
/// How often a stream's source is written to while something happens.
const WRITE_EVERY: Duration = Duration::from_millis(400);
/// How often a target is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long a fault may hold a task up: a dead connection is asked after each half minute, twice at most, and the pauses
/// between attempts are ten seconds at most.
const PATIENCE: Duration = Duration::from_secs(110);

pub(super) fn run(way: Way, setting: Setting, faults: &[Fault], dice: &mut Dice) -> Result<()> {
    let name = format!("net_{way}").replace('/', "_");
    let ends = open_as(setting, name.clone())?;
    let mut ledger = Ledger::default();
    let rows = match setting.phase {
        Phase::Snapshot => SNAPSHOT_ROWS,
        Phase::Cdc => STREAM_ROWS,
    };
    for transaction in ledger.fill(ends.shapes(), rows) {
        ends.write(&transaction)?;
    }
    let proxy = Proxy::start(ends.port(way.end))?;
    let task = with_deadlines(through(ends.task()?, setting, way.end, proxy.port(), &name), setting);
    let running = task.spawn()?;
    let travel = Travel { running, ends, ledger, setting, dice, marks: 0 };
    match setting.phase {
        Phase::Snapshot => travel.snapshot(&proxy, way.end, faults),
        Phase::Cdc => travel.stream(&proxy, faults),
    }
}

/// The task with one of its ends behind the port.
pub(in crate::matrix) fn through(task: Task, setting: Setting, end: End, port: u16, database: &str) -> Task {
    let section = match end {
        End::Source => "extractor",
        End::Target => "sinker",
    };
    let task = task.set(section, "connection_timeout_secs", "2");
    match setting.database {
        Database::Mysql | Database::Mariadb => task.address(section, port),
        Database::Postgres => task.postgres_address(section, port, database),
        // Otherwise the driver learns the server's own port, and goes there.
        Database::Mongo => task.set(section, "url", format!("mongodb://127.0.0.1:{port}/?directConnection=true")),
    }
}

/// What is silent is noticed soon.
pub(in crate::matrix) fn with_deadlines(task: Task, setting: Setting) -> Task {
    match (setting.phase, setting.database) {
        (Phase::Snapshot, _) => task.set("extractor", "max_rps", SNAPSHOT_RPS).set("sinker", "max_rps", SNAPSHOT_RPS),
        (Phase::Cdc, Database::Mysql | Database::Mariadb) => {
            task.set("extractor", "binlog_heartbeat_interval_secs", "1").set("extractor", "binlog_timeout_secs", "4")
        }
        (Phase::Cdc, Database::Postgres) => task.set("extractor", "keepalive_interval_secs", "1"),
        (Phase::Cdc, Database::Mongo) => task,
    }
}

/// A task under way.
struct Travel<'a> {
    running: Running,
    ends: Box<dyn Ends>,
    ledger: Ledger,
    setting: Setting,
    dice: &'a mut Dice,
    marks: u64,
}

impl Travel<'_> {
    fn snapshot(mut self, proxy: &Proxy, end: End, faults: &[Fault]) -> Result<()> {
        if end == End::Source {
            // Rows are read ahead of any limit of the task's, as far as memory reaches: the wire must be narrow.
            self.running.until_log_holds("default.log", "tables to copy")?;
            proxy.bandwidth(Some(NARROW / self.setting.lanes));
        }
        self.comes_further("the beginning", 0)?;
        for fault in faults {
            let (running, mut is_over) = (&mut self.running, false);
            let struck = fault.strike(proxy, || {
                is_over = running.has_ended()?;
                ensure!(!is_over, "the copy was over before");
                Ok(())
            });
            if is_over {
                return Err(self.ended(&format!("{fault:?}")));
            }
            struck.with_context(|| format!("{fault:?}"))?;
            let there = self.there()?;
            self.comes_further(&format!("{fault:?}"), there)?;
            proxy.latency(Duration::ZERO);
        }
        proxy.bandwidth(None);
        self.running.wait()?.expect_code(0)?;
        judge(self.ends.as_ref(), &self.ledger, self.setting)
    }

    fn there(&self) -> Result<u64> {
        self.ends.shapes().iter().map(|&shape| self.ends.count(shape)).sum()
    }

    /// Waits for more rows than there were.
    fn comes_further(&mut self, after: &str, before: u64) -> Result<()> {
        let since = Instant::now();
        while self.there()? < before + PROGRESS {
            if self.running.has_ended()? {
                return Err(self.ended(after));
            }
            ensure!(
                since.elapsed() < PATIENCE,
                "{after}: no rows for {} s\n{}",
                PATIENCE.as_secs(),
                self.running.log()?
            );
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    fn stream(mut self, proxy: &Proxy, faults: &[Fault]) -> Result<()> {
        self.catches_up("the beginning")?;
        for fault in faults {
            let mut written: Option<Instant> = None;
            fault
                .strike(proxy, || {
                    if self.running.has_ended()? {
                        return Err(self.ended(&format!("{fault:?}")));
                    }
                    if written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) {
                        self.write()?;
                        written = Some(Instant::now());
                    }
                    Ok(())
                })
                .with_context(|| format!("{fault:?}"))?;
            self.write()?;
            self.catches_up(&format!("{fault:?}"))?;
            proxy.latency(Duration::ZERO);
        }
        self.running.sigterm()?;
        self.running.wait()?.expect_code(128 + 15)?;
        judge(self.ends.as_ref(), &self.ledger, self.setting)
    }

    fn write(&mut self) -> Result<()> {
        let is_exact = self.setting.store == Store::Target;
        let transactions = self.ledger.burst(self.ends.shapes(), self.dice, is_exact);
        transactions.iter().try_for_each(|transaction| self.ends.write(transaction))
    }

    /// Waits until the target has all that has been written until now.
    fn catches_up(&mut self, after: &str) -> Result<()> {
        (0..self.ends.marks()).try_for_each(|_| self.is_marked(after))
    }

    fn is_marked(&mut self, after: &str) -> Result<()> {
        self.marks += 1;
        self.ends.mark(self.marks)?;
        let since = Instant::now();
        while !self.ends.is_marked(self.marks)? {
            if self.running.has_ended()? {
                return Err(self.ended(after));
            }
            ensure!(
                since.elapsed() < PATIENCE,
                "{after}: no changes for {} s\n{}",
                PATIENCE.as_secs(),
                self.running.log()?
            );
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// It should still be running.
    fn ended(&self, after: &str) -> anyhow::Error {
        let log = self.running.log().unwrap_or_else(|error| error.to_string());
        anyhow::anyhow!("{after}: dt-main has ended\n{log}")
    }
}
