//! Throw-away database servers: on 127.0.0.1, on a free port, in a temporary folder, gone with the test.
//!
//! A server that cannot be had is an error whose message names `./scripts/install-servers`, never a skipped test.

mod keeper;
pub mod mongo;
mod postgres;
mod programs;
mod shared;
mod template;

use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::db::{Db, Dialect};
use crate::deadline;
use crate::dice::Dice;
use keeper::Keeper;

pub use programs::cache_dir;
pub use shared::{Pair, make_durable, pair};

/// The user that dt-main logs in as; it may do everything. With PostgreSQL it logs in by SCRAM.
pub const USER: &str = "dt";
/// Its password, of characters that configuration files, URLs and SQL each hold dear.
pub const PASSWORD: &str = r#"it's;#="pw%20:@/\"#;

/// How long a server may take to answer after its start (recovery after a kill included), and to stop.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ports are taken from below the range that the kernel gives to outgoing connections, so that a port stays ours
/// while its server is down.
const PORTS: std::ops::Range<u64> = 18_000..32_000;

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// MySQL, as unpacked by `./scripts/install-servers`.
    Mysql,
    /// MariaDB, as installed by the machine's package manager.
    Mariadb,
    /// PostgreSQL 15, as installed by the machine's package manager.
    Postgres15,
    /// PostgreSQL 18, as unpacked by `./scripts/install-servers`.
    Postgres18,
}

impl Kind {
    /// The language it speaks.
    pub fn dialect(self) -> Dialect {
        match self {
            Kind::Mysql | Kind::Mariadb => Dialect::Mysql,
            Kind::Postgres15 | Kind::Postgres18 => Dialect::Postgres,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Mysql => "MySQL",
            Kind::Mariadb => "MariaDB",
            Kind::Postgres15 => "PostgreSQL 15",
            Kind::Postgres18 => "PostgreSQL 18",
        })
    }
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether clients may send files (`LOAD DATA LOCAL`). MySQL and MariaDB only.
    pub local_infile: bool,
    /// The server's own defaults for memory and for what a commit survives; otherwise small and quick. For tests
    /// that kill a server, and for benchmarks.
    pub durable: bool,
    /// Whether it writes a binlog. MySQL and MariaDB only; PostgreSQL always has `wal_level=logical`, unless `extra`
    /// says otherwise.
    pub binlog: bool,
    /// `--name=value` arguments, after all others.
    pub extra: Vec<String>,
    /// Lines of PostgreSQL's `pg_hba.conf`, before all others.
    pub hba: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { local_infile: true, durable: false, binlog: true, extra: Vec::new(), hba: Vec::new() }
    }
}

/// A running server (or one that was stopped and can be started again). Dropping it kills it and deletes its data;
/// so does the end of this process, however it ends.
#[derive(Debug)]
pub struct Server {
    kind: Kind,
    port: u16,
    keeper: Keeper,
    dir: PathBuf,
}

/// Starts a MySQL server.
///
/// # Errors
/// As [`Server::start`].
pub fn mysql(options: &Options) -> Result<Server> {
    Server::start(Kind::Mysql, options)
}

/// Starts a MariaDB server.
///
/// # Errors
/// As [`Server::start`].
pub fn mariadb(options: &Options) -> Result<Server> {
    Server::start(Kind::Mariadb, options)
}

impl Server {
    /// Starts a server with an empty data folder and waits until it answers.
    ///
    /// # Errors
    /// It is not installed (the message names `./scripts/install-servers`), or does not come up (the message holds
    /// the end of its log).
    pub fn start(kind: Kind, options: &Options) -> Result<Self> {
        if let Some(programs) = postgres::find(kind)? {
            let server = Server::at_free_port(kind, |port| {
                let folder = programs.folder()?;
                programs.initialise(folder.path(), options)?;
                let command = programs.serve(folder.path(), port, options);
                Ok((folder, command))
            })?;
            let password = Dialect::Postgres.literal(PASSWORD);
            server.db()?.exec(format!("CREATE ROLE {USER} SUPERUSER LOGIN PASSWORD {password}"))?;
            return Ok(server);
        }
        let program = programs::find(kind)?.with_context(|| format!("no programs of {kind}"))?;
        let template = template::of(&program)?;
        Server::at_free_port(kind, |port| {
            let folder = TempDir::with_prefix("dt-server-").context("make a temporary folder for a server")?;
            template::copy(&template, &folder.path().join("data"))?;
            let command = program.serve(folder.path(), port, options);
            Ok((folder, command))
        })
    }

    /// Starts a server that follows this one, to be promoted by [`Server::promote`]. PostgreSQL only.
    ///
    /// # Errors
    /// It is another kind of server, or as [`Server::start`].
    pub fn standby(&self, options: &Options) -> Result<Server> {
        let programs = postgres::find(self.kind)?.with_context(|| format!("no standby of a {}", self.kind))?;
        Server::at_free_port(self.kind, |port| {
            let folder = programs.folder()?;
            programs.follow(folder.path(), self.port)?;
            let command = programs.serve(folder.path(), port, options);
            Ok((folder, command))
        })
    }

    /// Makes a standby a server of its own, with the next timeline, and waits until it is.
    ///
    /// # Errors
    /// It is no standby, or is not promoted within a minute.
    pub fn promote(&self) -> Result<()> {
        match self.db()?.value("SELECT pg_promote(true, 60)")?.as_deref() {
            Some("t") => Ok(()),
            _ => bail!("the standby was not promoted:\n{}", self.log_tail()),
        }
    }

    /// Starts what `make` sets up in a folder for a port.
    fn at_free_port(kind: Kind, make: impl Fn(u16) -> Result<(TempDir, Vec<String>)>) -> Result<Self> {
        // Two tests of one process start servers at the same time, also where `DT_SEED` gives both the same dice.
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let start = STARTS.fetch_add(1, Ordering::Relaxed) << 32;
        let mut dice = Dice::of((start | u64::from(std::process::id())) ^ Dice::new().roll());
        let mut last = None;
        // Another process may take the port between our look and the server's bind: then another port is tried.
        for _ in 0..5 {
            let port = free_port(&mut dice)?;
            let (folder, command) = make(port)?;
            // From here on the keeper deletes the folder, also if this process is killed.
            let dir = folder.keep();
            let stop = match kind.dialect() {
                Dialect::Mysql => "TERM",
                // PostgreSQL waits at SIGTERM until all clients have left.
                Dialect::Postgres => "INT",
            };
            let keeper = Keeper::new(&dir, stop, &command)?;
            let server = Server { kind, port, keeper, dir };
            match server.up() {
                Ok(()) => return Ok(server),
                Err(error) if format!("{error:#}").contains("Address already in use") => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.expect("server: five tries without an error")).context("five ports in a row were taken")
    }

    /// What kind of server it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as a task file's `url`, without user and password.
    pub fn url(&self) -> String {
        match self.kind.dialect() {
            Dialect::Mysql => format!("mysql://127.0.0.1:{}", self.port),
            Dialect::Postgres => format!("postgres://127.0.0.1:{}", self.port),
        }
    }

    /// A new connection as the administrator; with PostgreSQL to the database `postgres`.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn db(&self) -> Result<Db> {
        match self.kind.dialect() {
            Dialect::Mysql => Db::connect(self.port, "root", None),
            Dialect::Postgres => self.database("postgres"),
        }
    }

    /// A new connection to a PostgreSQL server's database as `postgres`.
    ///
    /// # Errors
    /// The server does not answer, or has no such database.
    pub fn database(&self, name: &str) -> Result<Db> {
        Db::connect_postgres(self.port, name, "postgres", None)
    }

    /// A new connection as the administrator, to a database that is there.
    ///
    /// # Errors
    /// The server does not answer, or has no such database.
    pub fn connection(&self, database: &str) -> Result<Db> {
        match self.kind.dialect() {
            Dialect::Mysql => {
                let db = self.db()?;
                db.exec(format!("USE {}", Dialect::Mysql.quoted(database)))?;
                Ok(db)
            }
            Dialect::Postgres => self.database(database),
        }
    }

    /// The folder that holds its data and its log.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// Its unix socket, for the servers' own command line tools. MySQL and MariaDB only.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("sock")
    }

    /// The end of its error log, for messages.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.dir.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    /// Shuts it down cleanly and waits until it is gone.
    ///
    /// # Errors
    /// It does not stop.
    pub fn stop(&self) -> Result<()> {
        self.keeper.stop(PATIENCE)
    }

    /// Kills it: SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// It does not stop.
    pub fn kill9(&self) -> Result<()> {
        self.keeper.kill(PATIENCE)
    }

    /// Starts it again at the same port, with the data it has, and waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn up(&self) -> Result<()> {
        self.keeper.start()?;
        let port = self.port;
        let dialect = self.kind.dialect();
        let connect = || match dialect {
            Dialect::Mysql => Db::connect(port, USER, Some(PASSWORD)),
            Dialect::Postgres => Db::connect_postgres(port, "postgres", "postgres", None),
        };
        let up = deadline::until("the server answers", PATIENCE, || {
            if self.keeper.has_ended()? {
                bail!("{} ended instead of starting:\n{}", self.kind, self.log_tail());
            }
            Ok(connect().and_then(|db| db.exec("SELECT 1")).ok())
        });
        up.with_context(|| format!("start {} on port {port}", self.kind))
    }

    /// Stops it cleanly and starts it again.
    ///
    /// # Errors
    /// It does not stop, or does not come up.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.up()
    }
}

fn free_port(dice: &mut Dice) -> Result<u16> {
    for _ in 0..200 {
        let port = u16::try_from(dice.pick(PORTS)).expect("server: a port beyond 65535");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port on 127.0.0.1 between {} and {}", PORTS.start, PORTS.end)
}
