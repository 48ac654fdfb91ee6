//! A source that is written to, what it must hold, and the target that has to follow.

use anyhow::{Result, bail};

use super::cell::{Setting, Store};
use super::ends::{End, Ends, open};
use super::ledger::{Expected, Ledger};
use crate::dice::Dice;
use crate::task::Running;

/// Both ends of a setting, and the account of what was written.
pub(super) struct Load {
    pub(super) ends: Box<dyn Ends>,
    ledger: Ledger,
    setting: Setting,
    marks: u64,
    // The source's log when the target was last waited for.
    log: String,
}

impl Load {
    /// Tables of so many rows each, in databases of this name, which no other that is open has.
    ///
    /// # Errors
    /// A server cannot be started, or refuses something.
    pub(super) fn open(setting: Setting, name: &str, rows: u64) -> Result<Self> {
        let mut load = Load {
            ends: open(setting, name.to_owned())?,
            ledger: Ledger::default(),
            setting,
            marks: 0,
            log: String::new(),
        };
        for transaction in load.ledger.fill(load.ends.shapes(), rows) {
            load.ends.write(&transaction)?;
        }
        Ok(load)
    }

    /// The rows that there must be.
    pub(super) fn rows(&self) -> u64 {
        self.ends.shapes().iter().map(|&shape| self.ledger.count(shape)).sum()
    }

    /// The rows that the target has.
    pub(super) fn there(&self) -> Result<u64> {
        self.ends.shapes().iter().map(|&shape| self.ends.count(shape)).sum()
    }

    /// Writes some transactions to the source. How many changes they are.
    pub(super) fn write(&mut self, dice: &mut Dice) -> Result<u64> {
        // Without their position in their transaction, rows that no key tells apart may come twice.
        let is_exact = self.setting.store == Store::Target;
        let transactions = self.ledger.burst(self.ends.shapes(), dice, is_exact);
        transactions.iter().try_for_each(|transaction| self.ends.write(transaction))?;
        Ok(transactions.iter().map(|transaction| self.ends.changes(transaction)).sum())
    }

    /// Writes the next mark to the source, behind all that was written before.
    pub(super) fn mark(&mut self) -> Result<u64> {
        self.marks += 1;
        self.ends.mark(self.marks)?;
        Ok(self.marks)
    }

    /// How many marks there have been.
    pub(super) fn marked(&self) -> u64 {
        self.marks
    }

    /// Waits until the target has all that has been written until now.
    ///
    /// # Errors
    /// It does not come, or dt-main ends.
    pub(super) fn catch_up(&mut self, running: &mut Running) -> Result<()> {
        self.log = self.ends.log_file()?;
        for _ in 0..self.ends.marks() {
            let mark = self.mark()?;
            running.until("the last change arrives", || self.ends.is_marked(mark))?;
        }
        Ok(())
    }

    /// Lets the source delete its log up to where the target was last waited for: a later place is recorded.
    pub(super) fn forget_log(&self) -> Result<()> {
        self.ends.forget_log(&self.log)
    }

    /// Holds both servers to the account.
    ///
    /// # Errors
    /// The rows that are not as they should be.
    pub(super) fn judge(&self) -> Result<()> {
        let expected = if self.setting.store == Store::Target { Expected::Exactly } else { Expected::AtLeast };
        let shapes = self.ends.shapes();
        let mut wrong = Vec::new();
        for &shape in shapes {
            for (end, expected) in [(End::Source, Expected::Exactly), (End::Target, expected)] {
                let differences = self.ledger.differences(shape, &self.ends.rows(end, shape)?, expected);
                let some = differences.iter().take(5).map(|difference| format!("\n  {difference}")).collect::<String>();
                if !differences.is_empty() {
                    let (table, rows) = (shape.table(), differences.len());
                    wrong.push(format!("{end:?}, {table}: {rows} rows are not as written:{some}"));
                }
            }
        }
        let has_key =
            |table: &str| shapes.iter().any(|shape| shape.table() == table && (0..3).all(|n| shape.has_key(n)));
        for (table, verdict) in self.ends.unequal()? {
            if expected == Expected::Exactly || has_key(&table) {
                wrong.push(format!("{table}: {verdict}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
    }
}
