//! Throw-away database servers: on 127.0.0.1, on a free port, in a temporary folder, gone with the test.
//!
//! A server that cannot be had is an error whose message names `./scripts/install-servers`, never a skipped test.

mod keeper;
mod programs;
mod shared;
mod template;

use std::fmt;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::db::Db;
use crate::deadline;
use crate::dice::Dice;
use keeper::Keeper;

pub use programs::cache_dir;
pub use shared::{Pair, pair};

/// The user that dt-main logs in as; it may do everything.
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
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Mysql => "MySQL",
            Kind::Mariadb => "MariaDB",
        })
    }
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether clients may send files (`LOAD DATA LOCAL`).
    pub local_infile: bool,
    /// The server's own defaults for memory and for what a commit survives; otherwise small and quick. For tests
    /// that kill a server, and for benchmarks.
    pub durable: bool,
    /// Whether it writes a binlog.
    pub binlog: bool,
    /// `--name=value` arguments, after all others.
    pub extra: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { local_infile: true, durable: false, binlog: true, extra: Vec::new() }
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
        let program = programs::find(kind)?;
        let template = template::of(&program)?;
        let mut dice = Dice::of(u64::from(std::process::id()) ^ Dice::new().roll());
        let mut last = None;
        // Another process may take the port between our look and the server's bind: then another port is tried.
        for _ in 0..5 {
            let port = free_port(&mut dice)?;
            match Server::start_at(port, &program, &template, options) {
                Ok(server) => return Ok(server),
                Err(error) if format!("{error:#}").contains("Address already in use") => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.expect("server: five tries without an error")).context("five ports in a row were taken")
    }

    fn start_at(port: u16, program: &programs::Program, template: &Path, options: &Options) -> Result<Self> {
        let folder = TempDir::with_prefix("dt-server-").context("make a temporary folder for a server")?;
        template::copy(template, &folder.path().join("data"))?;
        // From here on the keeper deletes the folder, also if this process is killed.
        let dir = folder.keep();
        let command = program.serve(&dir, port, options);
        let keeper = Keeper::new(&dir, &command)?;
        let mut server = Server { kind: program.kind, port, keeper, dir };
        server.up()?;
        Ok(server)
    }

    /// MySQL or MariaDB.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as a task file's `url`, without user and password.
    pub fn url(&self) -> String {
        format!("mysql://127.0.0.1:{}", self.port)
    }

    /// A new connection as root.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn db(&self) -> Result<Db> {
        Db::connect(self.port, "root", None)
    }

    /// Its unix socket, for the servers' own command line tools.
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
    pub fn stop(&mut self) -> Result<()> {
        self.keeper.stop(PATIENCE)
    }

    /// Kills it: SIGKILL, and waits until it is gone.
    ///
    /// # Errors
    /// It does not stop.
    pub fn kill9(&mut self) -> Result<()> {
        self.keeper.kill(PATIENCE)
    }

    /// Starts it again at the same port, with the data it has, and waits until it answers.
    ///
    /// # Errors
    /// It does not come up.
    pub fn up(&mut self) -> Result<()> {
        self.keeper.start()?;
        let port = self.port;
        let up = deadline::until("the server answers", PATIENCE, || {
            if self.keeper.has_ended()? {
                bail!("{} ended instead of starting:\n{}", self.kind, self.log_tail());
            }
            Ok(Db::connect(port, USER, Some(PASSWORD)).and_then(|db| db.exec("SELECT 1")).ok())
        });
        up.with_context(|| format!("start {} on port {port}", self.kind))
    }

    /// Stops it cleanly and starts it again.
    ///
    /// # Errors
    /// It does not stop, or does not come up.
    pub fn restart(&mut self) -> Result<()> {
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
