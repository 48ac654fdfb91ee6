//! A task whose connections to one of its ends lead through a proxy: from its start, through all faults, to the judgement.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::cell::{Database, Phase, Setting};
use super::super::ends::End;
use super::super::load::Load;
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
/// So often a fault may find that the copy was over before it could strike.
const COPIES_MAX: u32 = 4;

pub(super) fn run(way: Way, setting: Setting, faults: &[Fault], dice: &mut Dice) -> Result<()> {
    let name = format!("net_{way}").replace('/', "_");
    let rows = match setting.phase {
        Phase::Snapshot => SNAPSHOT_ROWS,
        Phase::Cdc => STREAM_ROWS,
    };
    let load = Load::open(setting, &name, rows)?;
    let proxy = Proxy::start(load.ends.port(way.end))?;
    let travel = Travel { way, setting, name, load, proxy };
    match setting.phase {
        Phase::Snapshot => travel.snapshot(faults),
        Phase::Cdc => travel.stream(faults, dice),
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

/// Tasks on their way, one after the other.
struct Travel {
    way: Way,
    setting: Setting,
    name: String,
    load: Load,
    proxy: Proxy,
}

impl Travel {
    /// Copies until each fault has struck a copy under way: mostly one.
    fn snapshot(self, faults: &[Fault]) -> Result<()> {
        let mut running = self.copy()?;
        for fault in faults {
            let mut copies = 1;
            while !self.strikes(fault, &mut running).with_context(|| format!("{fault:?}"))? {
                self.is_whole(running)?;
                ensure!(copies < COPIES_MAX, "{fault:?}: {copies} copies were over before");
                copies += 1;
                self.load.ends.begin_anew()?;
                // A folder of its own: the old one knows that all is done.
                running = self.copy()?;
            }
        }
        self.is_whole(running)
    }

    /// One that has come a little way.
    fn copy(&self) -> Result<Running> {
        let mut running = self.task()?.spawn()?;
        if self.way.end == End::Source {
            // Rows are read ahead of any limit of the task's, as far as memory reaches: the wire must be narrow.
            running.until_log_holds("default.log", "tables to copy")?;
            self.proxy.bandwidth(Some(NARROW / self.setting.lanes));
        }
        running.until("the first rows arrive", || Ok(self.load.there()? >= PROGRESS))?;
        Ok(running)
    }

    /// Whether the fault has struck, and more rows came after it; or the copy was over before.
    fn strikes(&self, fault: &Fault, running: &mut Running) -> Result<bool> {
        let mut is_over = false;
        let struck = fault.strike(&self.proxy, || {
            is_over = running.has_ended()?;
            ensure!(!is_over, "the copy was over before");
            Ok(())
        });
        if is_over {
            return Ok(false);
        }
        struck?;
        let before = self.load.there()?;
        let enough = (before + PROGRESS).min(self.load.rows());
        running.until("more rows arrive", || Ok(self.load.there()? >= enough))?;
        self.proxy.latency(Duration::ZERO);
        Ok(true)
    }

    /// Lets it go on undisturbed, to its end.
    fn is_whole(&self, running: Running) -> Result<()> {
        self.proxy.heal()?;
        running.wait()?.expect_code(0)?;
        self.load.judge()
    }

    fn stream(mut self, faults: &[Fault], dice: &mut Dice) -> Result<()> {
        let mut running = self.task()?.spawn()?;
        self.load.catch_up(&mut running)?;
        for fault in faults {
            let mut written: Option<Instant> = None;
            let struck = fault.strike(&self.proxy, || {
                ensure!(!running.has_ended()?, "dt-main has ended\n{}", running.log()?);
                if written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) {
                    self.load.write(dice)?;
                    written = Some(Instant::now());
                }
                Ok(())
            });
            let followed = struck.and_then(|()| self.load.write(dice)).and_then(|_| self.load.catch_up(&mut running));
            followed.with_context(|| format!("{fault:?}"))?;
            self.proxy.latency(Duration::ZERO);
        }
        running.sigterm()?;
        running.wait()?.expect_code(128 + 15)?;
        self.load.judge()
    }

    fn task(&self) -> Result<Task> {
        let task = through(self.load.ends.task()?, self.setting, self.way.end, self.proxy.port(), &self.name);
        Ok(with_deadlines(task, self.setting))
    }
}
