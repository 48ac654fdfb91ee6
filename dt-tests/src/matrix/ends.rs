//! Both ends of a setting: how tables are made, written to and read, whatever the database.

use anyhow::Result;

use super::cell::{Database, Phase, Setting, Store};
use super::ledger::{Counted, Transaction};
use super::shape::Shape;
use super::{mongo, sql};
use crate::task::Task;

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where is read.
    Source,
    /// Where is written.
    Target,
}

/// The two servers of a setting, with a database of its own on each.
pub trait Ends {
    /// The shapes that its tables have.
    fn shapes(&self) -> &'static [Shape];

    /// Writes to the source, in one transaction.
    ///
    /// # Errors
    /// What the server says.
    fn write(&self, transaction: &Transaction) -> Result<()>;

    /// Lets the source's log go on in its next file.
    ///
    /// # Errors
    /// What the server says.
    fn rotate(&self) -> Result<()>;

    /// The newest file of the source's log; empty if it has none that could be told apart.
    ///
    /// # Errors
    /// What the server says.
    fn log_file(&self) -> Result<String>;

    /// The stream has recorded a place in this file or behind it: lets the source delete what nobody needs before that.
    ///
    /// # Errors
    /// What the server says.
    fn forget_log(&self, before: &str) -> Result<()>;

    /// A server's port on 127.0.0.1.
    fn port(&self, end: End) -> u16;

    /// Kills a server (SIGKILL) and starts it again with what it has.
    ///
    /// # Errors
    /// It does not come up.
    fn kill_server(&self, end: End) -> Result<()>;

    /// Connects anew: a server was killed.
    ///
    /// # Errors
    /// A server does not answer.
    fn reconnect(&mut self) -> Result<()>;

    /// How many changes of rows a transaction comes to on this source.
    fn changes(&self, transaction: &Transaction) -> u64;

    /// The rows of a table.
    ///
    /// # Errors
    /// What the server says.
    fn rows(&self, end: End, shape: Shape) -> Result<Counted>;

    /// How many rows the target has in a table.
    ///
    /// # Errors
    /// What the server says.
    fn count(&self, shape: Shape) -> Result<u64>;

    /// Tables of the target that are not the same as the source's, compared by the servers, each with what differs.
    ///
    /// # Errors
    /// What a server says.
    fn unequal(&self) -> Result<Vec<(String, String)>>;

    /// Deletes all rows of the target, and what the task has recorded anywhere but in its log_dir.
    ///
    /// # Errors
    /// What the server says.
    fn begin_anew(&self) -> Result<()>;

    /// Writes a mark to the source, behind all that was written before.
    ///
    /// # Errors
    /// What the server says.
    fn mark(&self, mark: u64) -> Result<()>;

    /// How many marks it takes, one after the other, until all that was written before the first is on the target.
    fn marks(&self) -> u64;

    /// Whether the mark is on the target.
    ///
    /// # Errors
    /// What the server says.
    fn is_marked(&self, mark: u64) -> Result<bool>;

    /// The task; a new one with each call, with a log_dir of its own.
    ///
    /// # Errors
    /// No temporary folder can be made.
    fn task(&self) -> Result<Task>;

    /// The schema that positions name tables with.
    fn schema(&self) -> &str;
}

/// Rows of a page, of a chunk and of a batch: few, so that there are many batches.
const ROWS: &str = "60";

/// Makes the tables of a setting on both servers, in databases of this name, and what its task needs. A stream begins here,
/// however often it is killed before it has recorded anything.
///
/// # Errors
/// A server cannot be started, or refuses something.
pub(super) fn open(setting: Setting, name: String) -> Result<Box<dyn Ends>> {
    Ok(match setting.database {
        Database::Mysql | Database::Mariadb | Database::Postgres => Box::new(sql::SqlEnds::open(setting, name)?),
        Database::Mongo => Box::new(mongo::MongoEnds::open(setting, name)?),
    })
}

/// What all tasks have in common.
pub(super) fn with_setting(task: Task, setting: Setting) -> Task {
    let Setting { phase, store, lanes, .. } = setting;
    let lanes = lanes.to_string();
    let task = task.set("pipeline", "checkpoint_interval_secs", "1");
    let task = task.set("parallelizer", "parallel_size", &lanes);
    let task = match phase {
        Phase::Snapshot => task.set("pipeline", "buffer_size", ROWS),
        Phase::Cdc => task,
    };
    let task = match phase {
        Phase::Cdc => task.set("parallelizer", "parallel_type", "rdb_merge"),
        Phase::Snapshot if lanes == "1" => task.set("extractor", "batch_size", ROWS),
        Phase::Snapshot => task.set("extractor", "batch_size", ROWS).set("extractor", "parallel_type", "chunk").set(
            "extractor",
            "parallel_size",
            &lanes,
        ),
    };
    match (store, phase) {
        // A row that came twice would stop the task.
        (Store::Target, Phase::Snapshot) => task.set("sinker", "replace", "false"),
        (Store::Target | Store::Log | Store::Db, _) => task,
    }
}
