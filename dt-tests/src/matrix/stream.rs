//! A stream that is killed under load, once for each cell, and started again.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use dt_common::Failpoint;

use super::cell::{Cell, Setting};
use super::load::Load;
use super::{ABORTED, Redone, let_grow};
use crate::deadline;
use crate::dice::Dice;
use crate::task::Task;

/// Rows of each table at the beginning.
const ROWS: u64 = 60;
/// How long a run may go on after all is applied until it counts as one that does not come to its point: longer than it
/// takes to record.
const IDLE: Duration = Duration::from_millis(3500);
/// How long a run may take in all.
const PATIENCE: Duration = Duration::from_secs(120);

/// A source that is written to, and a task that follows.
pub(super) struct Streams {
    load: Load,
    task: Task,
}

impl Streams {
    pub(super) fn open(setting: Setting) -> Result<Self> {
        let load = Load::open(setting, &setting.databases(), ROWS)?;
        Ok(Streams { task: load.ends.task()?, load })
    }

    pub(super) fn kill(&mut self, cell: Cell, dice: &mut Dice) -> Result<Redone> {
        if cell.rotates() {
            if self.task.log("position.log")?.is_empty() {
                self.follow_to_the_end()?;
            }
            let_grow(&self.task)?;
        }
        let mut before = self.write(dice)?;
        if !self.is_killed_at(cell.point, cell.times(dice))? {
            before += self.write(dice)?;
            ensure!(self.is_killed_at(cell.point, 1)?, "the run never came to {}", cell.point.name());
        }
        let meanwhile = self.write(dice)?;
        let applied = self.follow_to_the_end()?;
        self.load.judge()?;
        let marks = self.load.ends.marks();
        // The first run of all applies what was there at the beginning.
        let first = if self.load.marked() <= 2 + marks { ROWS * self.load.ends.shapes().len() as u64 } else { 0 };
        Ok(Redone { rows: applied.saturating_sub(meanwhile + marks), bound: before + first + 2 })
    }

    /// Writes a burst, and lets the source's log go on in its next file. How many changes it is.
    fn write(&mut self, dice: &mut Dice) -> Result<u64> {
        let changes = self.load.write(dice)?;
        self.load.ends.rotate()?;
        Ok(changes)
    }

    /// Whether it dies there, and not too late.
    fn is_killed_at(&mut self, point: Failpoint, nth: u32) -> Result<bool> {
        let mut running = self.task.spawn_armed(point, nth)?;
        let mark = self.load.mark()?;
        if matches!(point, Failpoint::StopAsked | Failpoint::RunEnded | Failpoint::LeaseReleased) {
            running.until("the last change arrives", || self.load.ends.is_marked(mark))?;
            running.sigterm()?;
        }
        let mut idle_since = None;
        deadline::until("the run dies or idles", PATIENCE, || {
            if running.has_ended()? {
                return Ok(Some(()));
            }
            if idle_since.is_none() && self.load.ends.is_marked(mark)? {
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

    /// Follows until all is applied, and stops. How many changes were applied.
    fn follow_to_the_end(&mut self) -> Result<u64> {
        let mut running = self.task.spawn()?;
        self.load.catch_up(&mut running)?;
        running.sigterm()?;
        let stopped = running.wait()?.expect_code(128 + 15)?;
        self.load.forget_log()?;
        Ok(stopped.summary("changes").unwrap_or(0))
    }
}
