//! A snapshot that is killed once, and started again.

use anyhow::{Result, bail, ensure};
use dt_common::Failpoint;

use super::cell::{Cell, Database, Setting, Store};
use super::ends::{Ends, open};
use super::ledger::Ledger;
use super::{ABORTED, Redone, judge, let_grow};
use crate::dice::Dice;
use crate::task::{Finished, Task};

/// Rows of each table.
const ROWS: u64 = 300;
/// So many a second where the copy has to last for longer than it takes to record.
const SLOW: &str = "1200";

/// A source, and a target that is emptied for each kill.
pub(super) struct Snapshots {
    setting: Setting,
    ends: Box<dyn Ends>,
    ledger: Ledger,
}

impl Snapshots {
    pub(super) fn open(setting: Setting) -> Result<Self> {
        let ends = open(setting)?;
        let mut ledger = Ledger::default();
        for transaction in ledger.fill(ends.shapes(), ROWS) {
            ends.write(&transaction)?;
        }
        Ok(Snapshots { setting, ends, ledger })
    }

    pub(super) fn kill(&mut self, cell: Cell, dice: &mut Dice) -> Result<Redone> {
        let point = cell.point;
        let (task, _) = match self.killed_at(point, times(point, dice))? {
            Some(killed) => killed,
            // So often it does not come there.
            None => match self.killed_at(point, 1)? {
                Some(killed) => killed,
                None => bail!("the run ended without coming to {}", point.name()),
            },
        };
        let (there, bound) = self.there(&task)?;
        let last = task.unset("extractor", "max_rps").run()?.expect_code(0)?;
        judge(self.ends.as_ref(), &self.ledger, self.setting)?;
        let all: u64 = self.ends.shapes().iter().map(|&shape| self.ledger.count(shape)).sum();
        let written = last.summary("rows").unwrap_or(0);
        ensure!(there + written >= all, "{there} rows were there, {written} were written, and there are {all}");
        Ok(Redone { rows: there + written - all, bound })
    }

    /// A task that was killed there; `None` if it ended without.
    fn killed_at(&self, point: Failpoint, nth: u32) -> Result<Option<(Task, Finished)>> {
        self.ends.begin_anew()?;
        let mut task = self.ends.task()?;
        if is_slow(point) {
            task = task.set("extractor", "max_rps", SLOW);
        }
        if matches!(point, Failpoint::LogRotate | Failpoint::LogRotateWritten | Failpoint::LogRotated) {
            // There must be something to grow.
            let begun = task.spawn_armed(Failpoint::Finished, 2)?.wait()?;
            ensure!(
                begun.code == ABORTED,
                "it should have been killed when two tables were finished: {}",
                begun.said()
            );
            let_grow(&task)?;
        }
        let mut running = task.spawn_armed(point, nth)?;
        if point == Failpoint::StopAsked {
            running.until("rows are on the target", || Ok(self.there(&task)?.0 > 0))?;
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
        for &shape in self.ends.shapes() {
            let there = self.ends.count(shape)?;
            all += there;
            let is_exact = self.setting.store == Store::Target
                && (self.setting.database == Database::Mongo || (0..3).all(|n| shape.has_key(n)));
            if !is_exact && !progress.is_finished(self.ends.schema(), shape.table()) {
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

/// The how-manieth time it dies. What happens once in a run, happens at the first.
fn times(point: Failpoint, dice: &mut Dice) -> u32 {
    match point {
        Failpoint::TargetBegin
        | Failpoint::TargetBegun
        | Failpoint::TargetRows
        | Failpoint::TargetPosition
        | Failpoint::TargetCommit
        | Failpoint::TargetCommitted => 1 + (dice.pick(0..12) as u32),
        Failpoint::FinishBegin | Failpoint::Finished | Failpoint::StoreRows | Failpoint::StoreCommit => {
            1 + (dice.pick(0..4) as u32)
        }
        Failpoint::LogAppend | Failpoint::LogHalf | Failpoint::LogAppended | Failpoint::LogSynced => {
            1 + (dice.pick(0..4) as u32)
        }
        _ => 1,
    }
}
