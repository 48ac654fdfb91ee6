//! Positions in position.log and finished.log of the task's log_dir: files that a person can read, and a store that
//! a kill at any instant leaves whole.
//!
//! - Every save is appended and synced before it counts. A failed append is undone, so that no two lines are glued.
//! - A last line that a crash cut short is left out with a warning; any other line that can't be read is an error
//!   that names file and line (invariant 5).
//! - The files are rewritten when they have grown: the live positions are durable under another name before that
//!   takes the file's name.
//! - One task at a time holds a log_dir (invariant 10).
//!
//! Blocking calls run on the runtime's threads for them, so that the data path never waits for a disk.

mod clock;
mod disk;
mod elsewhere;
mod file;
mod journal;
mod lock;
mod merge;
mod scan;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dt_common::ladder::{Entry, Recordable, Saved};
use dt_common::{Error, Result};

use self::disk::RealDisk;
pub use self::elsewhere::read;
use self::journal::Journal;
use self::lock::DirLock;
pub use self::lock::proof_of;
pub(crate) use self::merge::Home;
use crate::loaded::Loaded;
use crate::rewind::Rewind;
use crate::store::{PositionStore, SaveFailed};

/// The name of the file of positions in progress.
pub const POSITION_LOG: &str = "position.log";
/// The name of the file of finished tables.
pub const FINISHED_LOG: &str = "finished.log";
/// Stands in a log_dir from the moment its files are to be set aside until they are.
const SET_ASIDE: &str = ".set-aside";

/// Holds all lines of both files while they are replaced at once: from the moment it has its name, it is what counts.
const REWOUND: &str = ".rewound";

/// The size at which a file is rewritten to hold nothing but the live positions.
pub const ROTATE_BYTES: u64 = 16 * 1024 * 1024;

/// Where positions are read and written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// `[runtime] log_dir`: read, and written. Made if it is not there.
    pub log_dir: PathBuf,
    /// `[resumer] log_dir`: read as well, never written.
    pub resume_log_dir: Option<PathBuf>,
    /// `[resumer] config_file`: read for what neither directory knows, never written.
    pub resume_config: Option<PathBuf>,
    /// The size in bytes at which a file is rewritten shorter.
    pub rotate_bytes: u64,
}

impl LogOptions {
    /// Reads and writes in `log_dir` alone.
    pub fn new(log_dir: impl Into<PathBuf>) -> Self {
        LogOptions { log_dir: log_dir.into(), resume_log_dir: None, resume_config: None, rotate_bytes: ROTATE_BYTES }
    }
}

/// The store in a log_dir. Holds the directory's lock until it is dropped and its last write has ended.
pub struct LogStore {
    held: Arc<Mutex<Held>>,
    log_dir: PathBuf,
    proof: Option<String>,
}

struct Held {
    journal: Journal,
    // Released when the last write has ended: a dropped store may still have one on its way.
    _lock: Option<DirLock>,
}

impl LogStore {
    /// Takes hold of the log_dir. Reads nothing yet.
    ///
    /// # Errors
    /// If another task holds the directory, or it cannot be made or written.
    pub async fn open(options: LogOptions) -> Result<LogStore> {
        let log_dir = options.log_dir.clone();
        let (held, proof) = off_the_runtime(move || {
            make_dir(&options.log_dir)?;
            let lock = DirLock::take(&options.log_dir)?;
            let proof = lock.proof();
            let options = without_itself(options);
            let journal = Journal::new(Box::new(RealDisk::default()), clock::utc(), options);
            Ok((Held { journal, _lock: Some(lock) }, proof))
        })
        .await?;
        Ok(LogStore { held: Arc::new(Mutex::new(held)), log_dir, proof })
    }

    /// The directory that is written.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// Whether the log_dir holds positions of an earlier run, readable or not. A task that is to start from the
    /// beginning says so in a warning, and sets them aside.
    pub async fn holds_positions(&self) -> Result<bool> {
        self.with_journal(Journal::holds_positions).await
    }

    /// Renames position.log and finished.log to `position.log.<time>` and `finished.log.<time>`, so that no later
    /// run mixes what they say with its own. After a crash half-way the next call of any method finishes it.
    /// Returns the new names.
    pub async fn set_aside(&mut self) -> Result<Vec<PathBuf>> {
        self.with_journal(Journal::set_aside).await
    }

    /// Writes positions that another store has made durable. They count for nothing here: this is for people, and for a
    /// later start with these files alone.
    pub(crate) async fn mirror(&self, entries: Vec<Entry>) -> Result<()> {
        self.with_journal(move |journal| journal.record(&entries)).await
    }

    /// A text that only the process that holds this directory can present, on this machine and until it is started anew;
    /// `None` where the system does not tell.
    pub fn proof(&self) -> Option<String> {
        self.proof.clone()
    }

    async fn with_journal<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Journal) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let held = Arc::clone(&self.held);
        off_the_runtime(move || {
            let mut held = held.lock().map_err(|_| Error::fatal("the position store met a bug before, and stopped"))?;
            work(&mut held.journal)
        })
        .await
    }
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore").field("log_dir", &self.log_dir).finish_non_exhaustive()
    }
}

#[async_trait]
impl PositionStore for LogStore {
    async fn load(&mut self) -> Result<Loaded> {
        self.with_journal(Journal::load).await
    }

    async fn save(&mut self, recordable: Recordable) -> Result<Saved, SaveFailed> {
        let entries = recordable.entries().to_vec();
        match self.with_journal(move |journal| journal.record(&entries)).await {
            // Invariant 1: both files and their names have been synced.
            Ok(()) => Ok(Saved::after_sync(recordable)),
            Err(error) => Err(SaveFailed { recordable, error }),
        }
    }

    async fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        let rewind = rewind.clone();
        self.with_journal(move |journal| journal.rewind(&rewind)).await
    }
}

/// What [`PositionStore::load`] of a [`LogStore`] would give, for a dry run: nothing is written, made or locked, and a
/// running task is not disturbed. A log_dir that does not exist holds nothing.
///
/// # Errors
/// As for loading.
pub async fn peek(options: LogOptions) -> Result<Loaded> {
    off_the_runtime(move || reader_of(options).peek()).await
}

/// What [`LogStore::holds_positions`] would answer, for a dry run. Lines that cannot be read are no error here.
///
/// # Errors
/// If a file cannot be opened.
pub async fn peek_holds_positions(options: LogOptions) -> Result<bool> {
    off_the_runtime(move || reader_of(options).peek_holds_positions()).await
}

fn reader_of(options: LogOptions) -> Journal {
    Journal::new(Box::new(RealDisk::default()), clock::utc(), without_itself(options))
}

async fn off_the_runtime<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::fatal("the position store's thread ended early").caused_by(error)),
    }
}

/// Makes the directory and its parents, and their names durable.
fn make_dir(dir: &Path) -> Result<()> {
    let made = fs::create_dir_all(dir).and_then(|()| {
        let full = fs::canonicalize(dir)?;
        full.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
    });
    made.map_err(|error| {
        Error::user("the log directory cannot be made")
            .with("[runtime] log_dir", dir.display())
            .caused_by(error)
            .hint("choose a directory that this user may write")
    })
}

/// Forgets a `resume_log_dir` that is the log_dir under another name.
fn without_itself(mut options: LogOptions) -> LogOptions {
    let other = options.resume_log_dir.as_deref().and_then(|dir| fs::canonicalize(dir).ok());
    if other.is_some() && other == fs::canonicalize(&options.log_dir).ok() {
        options.resume_log_dir = None;
    }
    options
}

#[cfg(test)]
mod tests;
