//! Where a task's positions are: in the files of its log_dir, or in a position table with copies in those files.

use std::fmt;
use std::sync::Arc;

use dt_common::config::{PositionTable, ResumeKind, TaskConfig};
use dt_common::{DbType, Error, Result};
use dt_resumer::held::{HeldStore, Holder, Inscribed, Lease, Peeked};
use dt_resumer::mongo::{MongoOptions, MongoStore};
use dt_resumer::sql::{SqlOptions, SqlStore};
use dt_resumer::{Inscriber, Loaded, LogStore, Mirrored, PositionStore, Rewind};

use super::options::log_options;

/// A task's position store.
pub enum Store {
    /// The log_dir's files. Nothing is loaded from them if the task is to start from the beginning.
    Files { files: LogStore, resumes: bool },
    /// A position table. What the files hold is a copy.
    Table(Box<Mirrored<Box<dyn HeldStore>>>),
}

impl Store {
    /// Takes hold of the log_dir, and of the task in its position table.
    pub async fn open(config: &TaskConfig, take_over: bool) -> Result<Store> {
        if take_over && config.resumer.kind.table().is_none() {
            return Err(Error::config("--take-over is for [resumer] resume_type=from_target and from_db")
                .hint("start without it: a process that holds this log_dir is there, or it is gone"));
        }
        let files = LogStore::open(log_options(config)).await?;
        match &config.resumer.kind {
            ResumeKind::Dummy => Ok(Store::Files { files, resumes: false }),
            ResumeKind::FromLog => Ok(Store::Files { files, resumes: true }),
            ResumeKind::FromTarget(table) | ResumeKind::FromDb(table) => {
                // Whoever had this log_dir is gone, for the directory's lock is ours now: its lease need not be waited for.
                let holder = Holder::here(files.proof());
                let table: Box<dyn HeldStore> = match table.endpoint.db_type {
                    DbType::Mongo => {
                        let options = MongoOptions { holder, take_over, ..mongo_options(config, table) };
                        Box::new(MongoStore::open(options).await?)
                    }
                    DbType::Mysql | DbType::Pg | DbType::Redis => {
                        let options = SqlOptions { holder, take_over, ..sql_options(config, table) };
                        Box::new(SqlStore::open(options).await?)
                    }
                };
                Ok(Store::Table(Box::new(Mirrored::new(table, files))))
            }
        }
    }

    /// What is to be given back at the end.
    pub fn lease(&self) -> Option<Lease> {
        match self {
            Store::Files { .. } => None,
            Store::Table(table) => Some(table.truth().lease()),
        }
    }

    /// What earlier runs have left, if the task is to go on from it.
    pub async fn load(&mut self) -> Result<Option<Loaded>> {
        let loaded = match self {
            Store::Files { resumes: false, .. } => return Ok(None),
            Store::Files { files, resumes: true } => files.load().await?,
            Store::Table(table) => table.load().await?,
        };
        for warning in loaded.warnings() {
            tracing::warn!("{warning}");
        }
        Ok(Some(loaded))
    }

    /// What writes positions together with rows, if they are kept in the target: from here on the store leaves them alone.
    /// Asked for once the positions are loaded.
    pub fn inscriber(&mut self, config: &TaskConfig, what: Inscribed) -> Option<Arc<dyn Inscriber>> {
        match (self, &config.resumer.kind) {
            (Store::Table(table), ResumeKind::FromTarget(_)) => Some(table.truth_mut().inscribed(what)),
            (Store::Files { .. } | Store::Table(_), _) => None,
        }
    }

    /// A task that starts from the beginning sets aside what an earlier run has left in its log_dir, so that no later one
    /// mixes the two.
    pub async fn set_earlier_run_aside(&mut self, config: &TaskConfig, loaded: Option<&Loaded>) -> Result<()> {
        let (files, way_back) = match self {
            Store::Files { resumes: true, .. } => return Ok(()),
            Store::Files { files, resumes: false } => (files, "set [resumer] resume_type=from_log"),
            Store::Table(_) if loaded.is_some_and(|loaded| !loaded.is_empty()) => return Ok(()),
            Store::Table(table) => (
                table.files(),
                "stop the task, give the files their names again and set [resumer] resume_type=from_log",
            ),
        };
        if !files.holds_positions().await? {
            return Ok(());
        }
        let names: Vec<String> = files.set_aside().await?.iter().map(|name| name.display().to_string()).collect();
        let why = match self {
            Store::Files { .. } => "",
            Store::Table(_) => ", as the position table knows nothing of this task,",
        };
        tracing::warn!(
            "starting from the beginning{why} although {} holds positions of an earlier run; they are now in {}. To go on from them: {way_back}",
            config.runtime.log_dir.display(),
            names.join(", ")
        );
        Ok(())
    }

    /// Steps back because a user said so.
    pub async fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        match self {
            Store::Files { files, .. } => files.rewind(rewind).await,
            Store::Table(table) => table.rewind(rewind).await,
        }
    }

    /// The store as the pipeline takes it.
    pub fn boxed(self) -> Box<dyn PositionStore> {
        match self {
            Store::Files { files, .. } => Box::new(files),
            Store::Table(table) => table,
        }
    }
}

/// Where a task's positions are, in words.
pub struct Kept {
    /// `resume_type`
    pub by: &'static str,
    /// The directory, or the table and its server.
    pub place: String,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.by, self.place)
    }
}

impl Kept {
    /// The same for scripts.
    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({"resume_type": self.by, "place": self.place})
    }
}

/// Where the positions are that a start would go on from.
///
/// # Errors
/// A start would begin anew: `resume_type=dummy`.
pub fn kept(config: &TaskConfig) -> Result<Kept> {
    let log_dir = || config.runtime.log_dir.display().to_string();
    match &config.resumer.kind {
        ResumeKind::Dummy => {
            Err(Error::config("the task keeps no positions to go on from: [resumer] resume_type=dummy")
                .with("log_dir", log_dir())
                .hint("with resume_type=from_log these commands look at what a run has written into log_dir"))
        }
        ResumeKind::FromLog => Ok(Kept { by: "from_log", place: log_dir() }),
        ResumeKind::FromTarget(table) => Ok(Kept { by: "from_target", place: in_table(table) }),
        ResumeKind::FromDb(table) => Ok(Kept { by: "from_db", place: in_table(table) }),
    }
}

fn in_table(table: &PositionTable) -> String {
    format!("{} at {}", table.table, table.endpoint.address)
}

/// What a start would find, without holding or changing anything.
pub struct Found {
    /// What it would go on from; `None` if it is to start from the beginning.
    pub loaded: Option<Loaded>,
    /// Whether it would set the files of an earlier run aside.
    pub would_set_aside: bool,
    /// Who holds the task now.
    pub holder: Option<Holder>,
}

/// Looks, for `--check` and `position`.
pub async fn look(config: &TaskConfig) -> Result<Found> {
    let options = log_options(config);
    match &config.resumer.kind {
        ResumeKind::FromLog => {
            let loaded = Some(dt_resumer::log::peek(options).await?);
            Ok(Found { loaded, would_set_aside: false, holder: None })
        }
        ResumeKind::Dummy => {
            let would_set_aside = dt_resumer::log::peek_holds_positions(options).await?;
            Ok(Found { loaded: None, would_set_aside, holder: None })
        }
        ResumeKind::FromTarget(table) | ResumeKind::FromDb(table) => {
            let Peeked { loaded, holder } = match table.endpoint.db_type {
                DbType::Mongo => dt_resumer::mongo::peek(&mongo_options(config, table)).await?,
                DbType::Mysql | DbType::Pg | DbType::Redis => {
                    dt_resumer::sql::peek(&sql_options(config, table)).await?
                }
            };
            let would_set_aside = loaded.is_empty() && dt_resumer::log::peek_holds_positions(options).await?;
            Ok(Found { loaded: Some(loaded), would_set_aside, holder })
        }
    }
}

fn sql_options(config: &TaskConfig, table: &PositionTable) -> SqlOptions {
    SqlOptions { table: table.table.clone(), ..SqlOptions::new(table.endpoint.clone(), config.task_id()) }
}

fn mongo_options(config: &TaskConfig, table: &PositionTable) -> MongoOptions {
    MongoOptions { table: table.table.clone(), ..MongoOptions::new(table.endpoint.clone(), config.task_id()) }
}
