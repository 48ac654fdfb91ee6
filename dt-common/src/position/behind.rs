//! Changes behind a place at which a stream can be resumed.

use super::{MysqlCdc, PgCdc, Position};
use crate::ids::TableId;

/// How many changes behind a place the target has already, where a position is written together with rows. A transaction
/// that is larger than a batch is applied in parts, and only its end is a place to resume at: a resume reads it again and
/// leaves out so many changes, the first that pass the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// How many; at least 1 where nothing is counted.
    pub changes: u64,
    /// By which filter they were counted, as [`FilterConfig::fingerprint`](crate::config::FilterConfig::fingerprint) says.
    pub filter: String,
    /// How the place lies in the stream, where several lanes apply it; `None` where one lane alone does.
    pub counted: Option<Box<Counted>>,
}

/// A place in the count of a stream's changes, which several lanes share. The count goes on from one run to the next, so
/// that `before + changes` says the same change to every lane and at every start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// How many changes there are before the place.
    pub before: u64,
    /// Whose changes are meant.
    pub share: Share,
}

/// Which of a stream's changes a position speaks of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Share {
    /// Those of all lanes: here a resume begins.
    All,
    /// Those of one lane, which has all of its changes up to here.
    Lane {
        /// Which one, from 0.
        no: u32,
        /// How many lanes there were; at least `no + 1`.
        of: u32,
    },
    /// Those of one table: from here on they are spread so. All before it are in the target, of every lane.
    Table {
        /// The table's name on the target.
        table: TableId,
        /// By the values of these columns, as their places in the row; `None`: they are all in one lane.
        by: Option<Vec<usize>>,
    },
}

impl Behind {
    /// How many changes of the stream the target has of the share, in the count that all lanes have in common; `None` where
    /// nothing is counted.
    pub fn reached(&self) -> Option<u64> {
        self.counted.as_ref().map(|counted| counted.before + self.changes)
    }
}

impl Position {
    /// The same place, with the changes behind it that the target has. Kinds of streams that may be applied twice without
    /// harm, and positions of tables, stay as they are.
    pub fn with_behind(self, behind: Option<Behind>) -> Position {
        match self {
            Position::MysqlCdc(cdc) => Position::MysqlCdc(MysqlCdc { behind, ..cdc }),
            Position::PgCdc(cdc) => Position::PgCdc(PgCdc { behind, ..cdc }),
            Position::None
            | Position::RdbSnapshot(_)
            | Position::RdbSnapshotFinished(_)
            | Position::RdbSnapshotRows(_)
            | Position::RdbSnapshotSplit(_)
            | Position::MongoCdc(_)
            | Position::Redis(_) => self,
        }
    }

    /// The changes behind the place that the target has.
    pub fn behind(&self) -> Option<&Behind> {
        match self {
            Position::MysqlCdc(cdc) => cdc.behind.as_ref(),
            Position::PgCdc(cdc) => cdc.behind.as_ref(),
            Position::None
            | Position::RdbSnapshot(_)
            | Position::RdbSnapshotFinished(_)
            | Position::RdbSnapshotRows(_)
            | Position::RdbSnapshotSplit(_)
            | Position::MongoCdc(_)
            | Position::Redis(_) => None,
        }
    }

    /// Whose changes the place speaks of, if it lies in the count of several lanes.
    pub fn share(&self) -> Option<&Share> {
        Some(&self.behind()?.counted.as_ref()?.share)
    }
}
