//! One source and one target for all tests of a binary: each test takes databases of its own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

use anyhow::{Result, anyhow};

use super::{Kind, Options, Server};
use crate::db::{Db, Dialect, quoted};

/// Two servers of one kind.
#[derive(Debug)]
pub struct Pair {
    /// Where rows are read.
    pub source: Server,
    /// Where rows are written.
    pub target: Server,
}

impl Pair {
    /// Starts two servers.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub fn start(kind: Kind, options: &Options) -> Result<Self> {
        Ok(Pair { source: Server::start(kind, options)?, target: Server::start(kind, options)? })
    }

    /// Makes an empty database of that name on both servers and connects to both.
    ///
    /// # Errors
    /// A server does not answer.
    pub fn database(&self, name: &str) -> Result<(Db, Db)> {
        Ok((self.source.fresh(name)?, self.target.fresh(name)?))
    }
}

impl Server {
    /// Makes an empty database of that name and connects to it, as the administrator.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn fresh(&self, name: &str) -> Result<Db> {
        let db = self.db()?;
        match self.kind().dialect() {
            Dialect::Mysql => {
                let name = quoted(name);
                db.exec_all([
                    format!("DROP DATABASE IF EXISTS {name}"),
                    format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
                    format!("USE {name}"),
                ])?;
                Ok(db)
            }
            Dialect::Postgres => {
                let (text, identifier) = (Dialect::Postgres.literal(name), Dialect::Postgres.quoted(name));
                db.exec_all([
                    // A slot outlives the connections of a task, and holds on to its database.
                    format!(
                        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
                         WHERE database = {text} AND NOT active"
                    ),
                    format!("DROP DATABASE IF EXISTS {identifier} WITH (FORCE)"),
                    format!("CREATE DATABASE {identifier}"),
                ])?;
                Server::database(self, name)
            }
        }
    }
}

static DURABLE: AtomicBool = AtomicBool::new(false);

/// From now on, pairs are started that keep what they have committed, also if they are killed.
pub fn make_durable() {
    DURABLE.store(true, Ordering::Relaxed);
}

/// The pair of that kind that all tests of this process share, started by the first one that asks.
///
/// # Errors
/// As [`Server::start`]; the same answer for every test.
pub fn pair(kind: Kind) -> Result<&'static Pair> {
    type Shared = OnceLock<Result<Pair, String>>;
    static MYSQL: Shared = OnceLock::new();
    static MARIADB: Shared = OnceLock::new();
    static POSTGRES_15: Shared = OnceLock::new();
    static POSTGRES_18: Shared = OnceLock::new();
    // One start at a time: starting is what costs the processor.
    static STARTING: Mutex<()> = Mutex::new(());
    let shared = match kind {
        Kind::Mysql => &MYSQL,
        Kind::Mariadb => &MARIADB,
        Kind::Postgres15 => &POSTGRES_15,
        Kind::Postgres18 => &POSTGRES_18,
    };
    let started = shared.get_or_init(|| {
        let _one = STARTING.lock();
        Pair::start(kind, &Options { durable: DURABLE.load(Ordering::Relaxed), ..Options::default() })
            .map_err(|error| format!("{error:#}"))
    });
    started.as_ref().map_err(|error| anyhow!("{error}"))
}
