//! The cells of the matrix: which point, under which circumstances. Pure.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use dt_common::Failpoint;

use crate::dice::Dice;

/// A kind of database, as source and as target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Database {
    /// MySQL to MySQL.
    Mysql,
    /// MariaDB to MariaDB.
    Mariadb,
    /// PostgreSQL to PostgreSQL.
    Postgres,
    /// MongoDB to MongoDB.
    Mongo,
}

/// What the task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It copies what is there.
    Snapshot,
    /// It follows changes.
    Cdc,
}

/// Where its positions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Store {
    /// In the files of its log_dir.
    Log,
    /// In the target, with the rows.
    Target,
    /// In a table on the source's server.
    Db,
}

/// All that a task is but for what happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Setting {
    /// From and to what.
    pub database: Database,
    /// What it does.
    pub phase: Phase,
    /// Where its positions are.
    pub store: Store,
    /// Lanes of a stream; tables and chunks at a time of a snapshot.
    pub lanes: u32,
}

/// A run that is killed at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    /// The task.
    pub setting: Setting,
    /// The instant.
    pub point: Failpoint,
}

impl Database {
    /// All of them.
    pub const ALL: [Database; 4] = [Database::Mysql, Database::Mariadb, Database::Postgres, Database::Mongo];

    fn name(self) -> &'static str {
        match self {
            Database::Mysql => "mysql",
            Database::Mariadb => "mariadb",
            Database::Postgres => "pg",
            Database::Mongo => "mongo",
        }
    }
}

impl Phase {
    /// All of them.
    pub const ALL: [Phase; 2] = [Phase::Snapshot, Phase::Cdc];

    fn name(self) -> &'static str {
        match self {
            Phase::Snapshot => "snapshot",
            Phase::Cdc => "cdc",
        }
    }
}

impl Store {
    /// All of them.
    pub const ALL: [Store; 3] = [Store::Log, Store::Target, Store::Db];

    fn name(self) -> &'static str {
        match self {
            Store::Log => "from_log",
            Store::Target => "from_target",
            Store::Db => "from_db",
        }
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Setting { database, phase, store, lanes } = self;
        write!(f, "{database}/{phase}/{store}/{lanes}")
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.setting, self.point.name())
    }
}

impl FromStr for Cell {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let cell = all().into_iter().find(|cell| cell.to_string() == text);
        match cell {
            Some(cell) => Ok(cell),
            None => bail!("no cell `{text}`: they are called as mysql/cdc/from_log/1/target-commit"),
        }
    }
}

impl Setting {
    /// All of them.
    pub fn all() -> Vec<Setting> {
        let mut all = Vec::new();
        for database in Database::ALL {
            for phase in Phase::ALL {
                for store in Store::ALL {
                    for lanes in [1, 4] {
                        all.push(Setting { database, phase, store, lanes });
                    }
                }
            }
        }
        all
    }

    /// The databases that it has for itself.
    pub(super) fn databases(self) -> String {
        self.to_string().replace('/', "_")
    }

    /// Its cells, in the order in which they are to be run: a stream is anchored once, before all others.
    pub fn cells(self) -> Vec<Cell> {
        let reached = Failpoint::ALL.iter().copied().filter(|&point| self.reaches(point));
        let mut cells: Vec<Cell> = reached.map(|point| Cell { setting: self, point }).collect();
        cells.sort_by_key(|cell| cell.point != Failpoint::Anchored);
        cells
    }

    /// Whether a run of it comes to the point.
    fn reaches(self, point: Failpoint) -> bool {
        let Setting { database, phase, store, .. } = self;
        let is_snapshot = phase == Phase::Snapshot;
        match point {
            Failpoint::LeaseTaken | Failpoint::LeaseReleased => store != Store::Log,
            Failpoint::CatalogRead | Failpoint::Planned => is_snapshot,
            Failpoint::Anchored | Failpoint::Heartbeat => !is_snapshot,
            Failpoint::TargetBegin
            | Failpoint::TargetRows
            | Failpoint::TargetCommit
            | Failpoint::TargetCommitted
            | Failpoint::RecordBegin
            | Failpoint::Recorded
            | Failpoint::StopAsked
            | Failpoint::RunEnded => true,
            // Documents are written without a transaction, unless their position goes with them.
            Failpoint::TargetBegun => database != Database::Mongo || store == Store::Target,
            Failpoint::TargetPosition => store == Store::Target,
            // With positions in the target, what the store itself writes are marks of tables.
            Failpoint::StoreRows | Failpoint::StoreCommit => {
                store == Store::Db || store == Store::Target && is_snapshot
            }
            // The files are a copy in the other stores.
            Failpoint::LogAppend
            | Failpoint::LogHalf
            | Failpoint::LogAppended
            | Failpoint::LogSynced
            | Failpoint::LogRotate
            | Failpoint::LogRotateWritten
            | Failpoint::LogRotated => store == Store::Log,
            Failpoint::FinishBegin | Failpoint::Finished => is_snapshot,
            // Of these sources, PostgreSQL keeps its log until it is told.
            Failpoint::AcknowledgeBegin | Failpoint::Acknowledged => database == Database::Postgres && !is_snapshot,
        }
    }
}

impl Cell {
    /// Whether a file of positions must be long for a run to come there.
    pub(super) fn rotates(self) -> bool {
        matches!(self.point, Failpoint::LogRotate | Failpoint::LogRotateWritten | Failpoint::LogRotated)
    }

    /// The how-manieth time a run dies there. What happens once in a run, happens at the first.
    pub(super) fn times(self, dice: &mut Dice) -> u32 {
        let most = match (self.point, self.setting.phase) {
            (
                Failpoint::TargetBegin
                | Failpoint::TargetBegun
                | Failpoint::TargetRows
                | Failpoint::TargetPosition
                | Failpoint::TargetCommit
                | Failpoint::TargetCommitted,
                phase,
            ) => match phase {
                Phase::Snapshot => 12,
                Phase::Cdc => 3,
            },
            (
                Failpoint::FinishBegin
                | Failpoint::Finished
                | Failpoint::StoreRows
                | Failpoint::StoreCommit
                | Failpoint::LogAppend
                | Failpoint::LogHalf
                | Failpoint::LogAppended
                | Failpoint::LogSynced,
                Phase::Snapshot,
            ) => 4,
            _ => return 1,
        };
        1 + dice.pick(0..most) as u32
    }
}

/// All cells.
pub fn all() -> Vec<Cell> {
    Setting::all().into_iter().flat_map(Setting::cells).collect()
}

/// The settings whose name begins so, or the one cell of that name; all for none.
///
/// # Errors
/// There is nothing of that name.
pub fn chosen(name: Option<&str>) -> Result<Vec<(Setting, Vec<Cell>)>> {
    let Some(name) = name else { return Ok(Setting::all().into_iter().map(|it| (it, it.cells())).collect()) };
    let is_of = |whole: &str| whole == name || whole.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'));
    let settings = Setting::all().into_iter().filter(|setting| is_of(&setting.to_string()));
    let settings: Vec<(Setting, Vec<Cell>)> = settings.map(|it| (it, it.cells())).collect();
    if !settings.is_empty() {
        return Ok(settings);
    }
    let cell: Cell = name.parse().context("what to run")?;
    Ok(vec![(cell.setting, vec![cell])])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failpoint_is_in_the_matrix() {
        for point in Failpoint::ALL {
            assert!(all().iter().any(|cell| cell.point == *point), "{} is in no cell", point.name());
        }
    }

    #[test]
    fn a_cell_is_found_by_its_name() -> Result<()> {
        for cell in all() {
            assert_eq!(cell.to_string().parse::<Cell>()?, cell);
        }
        assert!("mysql/snapshot/from_log/1/anchored".parse::<Cell>().is_err());
        Ok(())
    }

    #[test]
    fn what_is_to_run_is_named_from_the_left() -> Result<()> {
        assert_eq!(chosen(None)?.len(), Setting::all().len());
        assert_eq!(chosen(Some("pg"))?.len(), 12);
        assert_eq!(chosen(Some("mongo/cdc"))?.len(), 6);
        let one = chosen(Some("mysql/cdc/from_log/1/target-commit"))?;
        assert_eq!(one.iter().map(|(_, cells)| cells.len()).collect::<Vec<_>>(), [1]);
        assert!(chosen(Some("my")).is_err());
        Ok(())
    }
}
