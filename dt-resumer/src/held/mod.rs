//! What position tables have in common, whatever the server: positions as rows, and who may write them.
//!
//! | room | what is in it |
//! |---|---|
//! | `key` | keys that no collation takes for each other (pure) |
//! | `rows` | what a position is as a row, and what rows say (pure) |
//! | `fence` | who may write (pure) |
//! | `lease` | the right to write, renewed and given back |

pub(crate) mod fence;
pub(crate) mod key;
pub(crate) mod lease;
pub(crate) mod rows;

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::ladder::{Entry, Recordable, Saved};
use dt_common::{Position, Result};

pub use fence::{Fence, Holder};
pub use lease::{LEASE, Lease, RENEWED_EVERY};

use crate::loaded::Loaded;
use crate::rewind::Rewind;
use crate::store::{Inscriber, PositionStore, SaveFailed};

/// A store in a position table, which one process at a time holds.
pub trait HeldStore: PositionStore {
    /// From here on progress is written in the transactions of the rows that it stands for (see [`Inscriber`]), and is
    /// there before it is saved: what is saved leaves it as it is, for it may have moved on. Called once the positions are
    /// loaded.
    fn inscribed(&mut self, what: Inscribed) -> Arc<dyn Inscriber>;

    /// The lease, to be given back when all writing is over.
    fn lease(&self) -> Lease;
}

/// Which positions are written together with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inscribed {
    /// How far tables and streams are.
    Progress,
    /// How far each lane of a stream is. How far all of them are is saved as ever, for none of them knows it.
    Lanes,
}

impl Inscribed {
    /// Whether the position is one that moves with rows. How a table is split comes before its rows, and that a table or a
    /// chunk is finished comes after them.
    pub(crate) fn holds(self, entry: &Entry) -> bool {
        match &entry.position {
            Position::RdbSnapshot(_) | Position::RdbSnapshotRows(_) | Position::None => true,
            Position::MysqlCdc(_) | Position::PgCdc(_) | Position::MongoCdc(_) | Position::Redis(_) => match self {
                Inscribed::Progress => true,
                Inscribed::Lanes => false,
            },
            Position::RdbSnapshotFinished(_) | Position::RdbSnapshotSplit(_) => false,
        }
    }
}

#[async_trait]
impl PositionStore for Box<dyn HeldStore> {
    async fn load(&mut self) -> Result<Loaded> {
        (**self).load().await
    }

    async fn save(&mut self, recordable: Recordable) -> Result<Saved, SaveFailed> {
        (**self).save(recordable).await
    }

    async fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        (**self).rewind(rewind).await
    }
}

/// What a start would find; nothing is made, written or held.
#[derive(Debug)]
pub struct Peeked {
    /// The positions; none where there is no table yet.
    pub loaded: Loaded,
    /// Whoever holds the task now.
    pub holder: Option<Holder>,
}

/// The schema and the table where none are named.
pub const DEFAULT_TABLE: (&str, &str) = ("apecloud_metadata", "apedts_task_position");
