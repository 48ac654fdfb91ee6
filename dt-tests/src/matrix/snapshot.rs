//! A snapshot that is killed once, and started again.

use anyhow::{Result, bail};
use dt_common::Failpoint;

use super::cell::{Cell, Database, Setting, Store};
use super::load::Load;
use super::{ABORTED, Redone, let_grow};
use crate::dice::Dice;
use crate::task::{Finished, Task};

/// Rows of each table.
const ROWS: u64 = 300;
/// So many a second where the copy has to last for longer than it takes to record.
const SLOW: &str = "1200";

/// A source, and a target that is emptied for each kill.
pub(super) struct Snapshots {
    setting: Setting,
    load: Load,
}

impl Snapshots {
    pub(super) fn open(setting: Setting) -> Result<Self> {
        Ok(Snapshots { setting, load: Load::open(setting, &setting.databases(), ROWS)? })
    }

    pub(super) fn kill(&mut self, cell: Cell, dice: &mut Dice) -> Result<Redone> {
        let (task, _) = match self.killed_at(cell, cell.times(dice))? {
            Some(killed) => killed,
            // So often it does not come there.
            None => match self.killed_at(cell, 1)? {
                Some(killed) => killed,
                None => bail!("the run ended without coming to {}", cell.point.name()),
            },
        };
        let (there, bound) = self.there(&task)?;
        let last = task.unset("extractor", "max_rps").run()?.expect_code(0)?;
        self.load.judge()?;
        let (all, written) = (self.load.rows(), last.summary("rows").unwrap_or(0));
        // What the dead process had sent may be committed after it was counted what is there.
        Ok(Redone { rows: (there + written).saturating_sub(all), bound })
    }

    /// A task for a target that is empty.
    fn task(&self, point: Failpoint) -> Result<Task> {
        let ends = &self.load.ends;
        ends.begin_anew()?;
        let task = ends.task()?;
        Ok(if is_slow(point) { task.set("extractor", "max_rps", SLOW) } else { task })
    }

    /// The same with files that have something to grow, and have grown.
    fn with_long_files(&self, point: Failpoint) -> Result<Task> {
        // Tables that end at the same moment are recorded at once, so that there may be no second time, or nothing left to do.
        for nth in [2, 1, 1] {
            let task = self.task(point)?;
            let begun = task.spawn_armed(Failpoint::Finished, nth)?.wait()?;
            match begun.code {
                ABORTED => {
                    let_grow(&task)?;
                    return Ok(task);
                }
                0 => {}
                _ => bail!("before a table was finished, it failed: {}", begun.said()),
            }
        }
        bail!("all tables were finished at the same moment, three times")
    }

    /// A task that was killed there; `None` if it ended without.
    fn killed_at(&self, cell: Cell, nth: u32) -> Result<Option<(Task, Finished)>> {
        let point = cell.point;
        let task = if cell.rotates() { self.with_long_files(point)? } else { self.task(point)? };
        let mut running = task.spawn_armed(point, nth)?;
        if point == Failpoint::StopAsked {
            running.until("rows are on the target", || Ok(self.load.there()? > 0))?;
            running.sigterm()?;
        }
        let killed = running.wait()?;
        match killed.code {
            ABORTED => Ok(Some((task, killed))),
            0 => Ok(None),
            _ => bail!("before it came to {}, it failed: {}", point.name(), killed.said()),
        }
    }

    /// The rows of the target, and how many of them may be written again.
    fn there(&self, task: &Task) -> Result<(u64, u64)> {
        let progress = task.progress()?;
        let (mut all, mut again) = (0, 0);
        let ends = &self.load.ends;
        for &shape in ends.shapes() {
            let there = ends.count(shape)?;
            all += there;
            let is_exact = self.setting.store == Store::Target
                && (self.setting.database == Database::Mongo || (0..3).all(|n| shape.has_key(n)));
            if !is_exact && !progress.is_finished(ends.schema(), shape.table()) {
                again += there;
            }
        }
        Ok((all, again))
    }
}

/// Whether the run must last for the point to be reached: progress is recorded each second, and a signal takes a moment.
fn is_slow(point: Failpoint) -> bool {
    matches!(point, Failpoint::RecordBegin | Failpoint::Recorded | Failpoint::StopAsked)
}
