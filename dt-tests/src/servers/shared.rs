//! One source and one target for all tests of a binary: each test takes databases of its own.

use std::sync::{Mutex, OnceLock};

use anyhow::{Result, anyhow};

use super::{Kind, Options, Server};
use crate::db::{Db, quoted};

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
        let (source, target) = (self.source.db()?, self.target.db()?);
        for db in [&source, &target] {
            let name = quoted(name);
            db.exec(format!("DROP DATABASE IF EXISTS {name}"))?;
            db.exec(format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"))?;
            db.exec(format!("USE {name}"))?;
        }
        Ok((source, target))
    }
}

/// The pair of that kind that all tests of this process share, started by the first one that asks.
///
/// # Errors
/// As [`Server::start`]; the same answer for every test.
pub fn pair(kind: Kind) -> Result<&'static Pair> {
    type Shared = OnceLock<Result<Pair, String>>;
    static MYSQL: Shared = OnceLock::new();
    static MARIADB: Shared = OnceLock::new();
    // One start at a time: starting is what costs the processor.
    static STARTING: Mutex<()> = Mutex::new(());
    let shared = match kind {
        Kind::Mysql => &MYSQL,
        Kind::Mariadb => &MARIADB,
    };
    let started = shared.get_or_init(|| {
        let _one = STARTING.lock();
        Pair::start(kind, &Options::default()).map_err(|error| format!("{error:#}"))
    });
    started.as_ref().map_err(|error| anyhow!("{error}"))
}
