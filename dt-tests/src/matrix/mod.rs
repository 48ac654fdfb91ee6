//! The crash matrix: the real dt-main, killed at every instant that matters ([`Failpoint`](dt_common::Failpoint)), for each
//! kind of database, phase, store of positions and number of lanes, over tables of every shape of key.
//!
//! - [`cell`]: what there is to run (pure); [`shape`]: the tables (pure); [`ledger`]: what the source must hold, kept by those
//!   who write to it (pure).
//! - [`ends`], with `sql`, `mongo` and `kept`: both servers of a setting; `load`: what is written to them, and the judgement.
//! - `snapshot` and `stream`: one kill, and the start after it.
//! - [`run`]: many cells, some at a time; [`report`]: what came of them, as a page.
//! - [`network`]: the same tables, judged in the same way, while not dt-main suffers but its connections.
//! - [`soak`]: streams under load for hours, with all of that by dice.
//!
//! Who judges is never dt-main: the rows of both servers are compared with the ledger, and by the servers' hashes with each
//! other. What dt-main says is used for one thing: how many rows it wrote again.

pub mod cell;
pub mod ends;
mod kept;
pub mod ledger;
mod load;
mod mongo;
pub mod network;
pub mod report;
pub mod run;
pub mod shape;
mod snapshot;
pub mod soak;
mod sql;
mod stream;

use anyhow::Result;

use crate::task::Task;

/// From so many bytes on, dt-main replaces a file of positions by a shorter one.
const ROTATE_BYTES: u64 = 16 * 1024 * 1024;

/// The signal of a process that has come to its failpoint.
const ABORTED: i32 = 128 + 6;

/// What a kill has cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redone {
    /// Rows or changes that were written again.
    pub rows: u64,
    /// As many as may be.
    pub bound: u64,
}

/// Makes position.log and finished.log so long, by saying the same again, that they are replaced by shorter ones when next
/// something is recorded.
fn let_grow(task: &Task) -> Result<()> {
    const LONG: u64 = ROTATE_BYTES + 1024 * 1024;
    for name in ["position.log", "finished.log"] {
        let mut text = task.log(name)?;
        let Some(line) = text.lines().last().map(str::to_owned) else { continue };
        while (text.len() as u64) < LONG {
            text.push_str(&line);
            text.push('\n');
        }
        std::fs::write(task.log_dir().join(name), text)?;
    }
    Ok(())
}
