//! What positions become on their way into a transaction of the model target.

use dt_common::ladder::{Entry, Rung};
use dt_common::position::{PositionWrite, Settle, wire};
use dt_resumer::Inscriber;

use crate::source::row_of;

/// Writes a lane's positions down as they are.
#[derive(Debug)]
pub struct Verbatim;

impl Inscriber for Verbatim {
    fn inscribe(&self, entries: &[Entry]) -> dt_common::Result<PositionWrite> {
        let settle = Settle { wait: String::new(), written: None };
        let statements = entries.iter().map(|entry| wire::to_json(&entry.position)).collect();
        Ok(PositionWrite { guard: String::new(), statements, settle })
    }
}

/// Writes positions down as words: what it is, the row, and for a checkpoint how many rows behind it are there.
#[derive(Debug)]
pub struct Scribe;

impl Inscriber for Scribe {
    fn inscribe(&self, entries: &[Entry]) -> dt_common::Result<PositionWrite> {
        let words = |entry: &Entry| {
            let row = row_of(&entry.position).expect("a position of a row").1;
            let behind = entry.position.behind().map_or(0, |behind| behind.changes);
            match entry.rung {
                Rung::Current => format!("current {row}"),
                Rung::Checkpoint | Rung::Finished => format!("checkpoint {row} {behind}"),
            }
        };
        let settle = Settle { wait: String::new(), written: None };
        Ok(PositionWrite { guard: String::new(), statements: entries.iter().map(words).collect(), settle })
    }
}
