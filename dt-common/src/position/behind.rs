//! Changes behind a place at which a stream can be resumed.

use super::{MysqlCdc, PgCdc, Position};

/// How many changes behind a place the target has already, where a position is written together with rows. A transaction
/// that is larger than a batch is applied in parts, and only its end is a place to resume at: a resume reads it again and
/// leaves out so many changes, the first that pass the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behind {
    /// How many; at least 1.
    pub changes: u64,
    /// By which filter they were counted, as [`FilterConfig::fingerprint`](crate::config::FilterConfig::fingerprint) says.
    pub filter: String,
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
}
