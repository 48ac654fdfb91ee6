//! A stream that is killed under load, once for each cell, and started again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use dt_common::Failpoint;

use super::cell::{Cell, Setting, Store};
use super::ends::{Ends, open};
use super::ledger::Ledger;
use super::{ABORTED, Redone, judge, let_grow};
use crate::deadline;
use crate::dice::Dice;
use crate::task::{Running, Task};

/// Rows of each table at the beginning.
const ROWS: u64 = 60;
/// How long a run may go on after all is applied until it counts as one that does not come to its point: longer than it
/// takes to record.
const IDLE: Duration = Duration::from_millis(3500);
/// How long a run may take in all.
const PATIENCE: Duration = Duration::from_secs(120);

/// A source that is written to, and a task that follows.
pub(super) struct Streams {
    setting: Setting,
    ends: Box<dyn Ends>,
    task: Task,
    ledger: Ledger,
    marks: u64,
}

impl Streams {
    pub(super) fn open(setting: Setting) -> Result<Self> {
        let ends = open(setting)?;
        let task = ends.task()?;
        let mut streams = Streams { setting, ends, task, ledger: Ledger::default(), marks: 0 };
        for transaction in streams.ledger.fill(streams.ends.shapes(), ROWS) {
            streams.ends.write(&transaction)?;
        }
        Ok(streams)
    }

    pub(super) fn kill(&mut self, cell: Cell, dice: &mut Dice) -> Result<Redone> {
        let point = cell.point;
        if matches!(point, Failpoint::LogRotate | Failpoint::LogRotateWritten | Failpoint::LogRotated) {
            if self.task.log("position.log")?.is_empty() {
                self.follow_to_the_end()?;
            }
            let_grow(&self.task)?;
        }
        let mut before = self.write(dice)?;
        if !self.is_killed_at(point, times(point, dice))? {
            before += self.write(dice)?;
            ensure!(self.is_killed_at(point, 1)?, "the run never came to {}", point.name());
        }
        let meanwhile = self.write(dice)?;
        let applied = self.follow_to_the_end()?;
        judge(self.ends.as_ref(), &self.ledger, self.setting)?;
        // The first run of all applies what was there at the beginning.
        let first = if self.marks <= 2 + self.ends.marks() { ROWS * self.ends.shapes().len() as u64 } else { 0 };
        Ok(Redone { rows: applied.saturating_sub(meanwhile + self.ends.marks()), bound: before + first + 2 })
    }

    /// Writes a burst. How many changes it is.
    fn write(&mut self, dice: &mut Dice) -> Result<u64> {
        let is_exact = self.setting.store == Store::Target;
        let transactions = self.ledger.burst(self.ends.shapes(), dice, is_exact);
        let (first, rest) = transactions.split_at(transactions.len() / 2);
        for transaction in first {
            self.ends.write(transaction)?;
        }
        self.ends.rotate()?;
        for transaction in rest {
            self.ends.write(transaction)?;
        }
        Ok(transactions.iter().map(|transaction| self.ends.changes(transaction)).sum())
    }

    fn mark(&mut self) -> Result<u64> {
        self.marks += 1;
        self.ends.mark(self.marks)?;
        Ok(self.marks)
    }

    /// Whether it dies there, and not too late.
    fn is_killed_at(&mut self, point: Failpoint, nth: u32) -> Result<bool> {
        let mut running = self.task.spawn_armed(point, nth)?;
        let mark = self.mark()?;
        if matches!(point, Failpoint::StopAsked | Failpoint::RunEnded | Failpoint::LeaseReleased) {
            self.until_marked(&mut running, mark)?;
            running.sigterm()?;
        }
        let mut idle_since = None;
        deadline::until("the run dies or idles", PATIENCE, || {
            if running.has_ended()? {
                return Ok(Some(()));
            }
            if idle_since.is_none() && self.ends.is_marked(mark)? {
                idle_since = Some(Instant::now());
            }
            Ok(idle_since.is_some_and(|since| since.elapsed() > IDLE).then_some(()))
        })?;
        let ended = match running.has_ended()? {
            true => running.wait()?,
            false => {
                running.kill9()?;
                return Ok(false);
            }
        };
        match ended.code {
            ABORTED => Ok(true),
            _ => bail!("before it came to {}, it ended: {}", point.name(), ended.said()),
        }
    }

    fn until_marked(&self, running: &mut Running, mark: u64) -> Result<()> {
        running.until("the last change arrives", || self.ends.is_marked(mark))
    }

    /// Follows until all is applied, and stops. How many changes were applied.
    fn follow_to_the_end(&mut self) -> Result<u64> {
        let mut running = self.task.spawn()?;
        for _ in 0..self.ends.marks() {
            let mark = self.mark()?;
            self.until_marked(&mut running, mark)?;
        }
        running.sigterm()?;
        let stopped = running.wait()?.expect_code(128 + 15)?;
        Ok(stopped.summary("changes").unwrap_or(0))
    }
}

/// The how-manieth time it dies.
fn times(point: Failpoint, dice: &mut Dice) -> u32 {
    match point {
        Failpoint::TargetBegin
        | Failpoint::TargetBegun
        | Failpoint::TargetRows
        | Failpoint::TargetPosition
        | Failpoint::TargetCommit
        | Failpoint::TargetCommitted => 1 + (dice.pick(0..3) as u32),
        _ => 1,
    }
}
