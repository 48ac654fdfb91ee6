//! What the tests of a MySQL snapshot's values, keys and batches share: from which server to which, how it is
//! written, and tables told in a line or two of SQL. It never looks at what dt says of itself, but for its exit code.

use std::fmt;
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow, bail, ensure};
use dt_tests::db::{Db, quoted};
use dt_tests::servers::{self, Kind, Options, Server};
use dt_tests::task::Task;

/// How the target takes rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// `LOAD DATA LOCAL INFILE`.
    LoadData,
    /// Multi-row statements: the target has `local_infile` off.
    Statements,
}

/// From which server to which.
#[derive(Clone, Copy)]
pub struct Route {
    from: Kind,
    to: Kind,
    writing: Writing,
    /// The server that is read from.
    pub source: &'static Server,
    /// The server that is written to.
    pub target: &'static Server,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let writing = match self.writing {
            Writing::LoadData => "LOAD DATA",
            Writing::Statements => "statements",
        };
        write!(f, "{} to {} by {writing}", self.from, self.to)
    }
}

impl Route {
    /// The servers of a route, shared by all tests of this process.
    pub fn new(from: Kind, to: Kind, writing: Writing) -> Result<Self> {
        let target = match writing {
            Writing::LoadData => &servers::pair(to)?.target,
            Writing::Statements => without_local_infile(to)?,
        };
        Ok(Route { from, to, writing, source: &servers::pair(from)?.source, target })
    }

    /// A connection to each end, in an empty database of that name.
    pub fn databases(&self, name: &str) -> Result<(Db, Db)> {
        Ok((fresh(self.source, name, "+05:30")?, fresh(self.target, name, "-08:00")?))
    }

    /// A snapshot of one database along this route.
    pub fn task(&self, database: &str) -> Result<Task> {
        let task = Task::snapshot(self.source, self.target)?.databases(&[database]);
        // Nothing here loses a connection: what keeps failing should say so soon.
        Ok(task.set("pipeline", "max_retry_secs", "5"))
    }
}

/// An empty database and a connection that is in it. The session takes any value, zero dates and an id of 0 too, and
/// the server's own time zone and SQL mode are as unhelpful as a stranger's can be.
fn fresh(server: &Server, name: &str, time_zone: &str) -> Result<Db> {
    let db = server.db()?;
    let name = quoted(name);
    db.exec_all([
        "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'".to_owned(),
        format!("SET GLOBAL time_zone = '{time_zone}'"),
        "SET GLOBAL sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,PAD_CHAR_TO_FULL_LENGTH'".to_owned(),
        format!("DROP DATABASE IF EXISTS {name}"),
        format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"),
        format!("USE {name}"),
    ])?;
    Ok(db)
}

/// The target without LOAD DATA that all tests of this process share.
fn without_local_infile(kind: Kind) -> Result<&'static Server> {
    type Shared = OnceLock<Result<Server, String>>;
    static MYSQL: Shared = OnceLock::new();
    static MARIADB: Shared = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let shared = match kind {
        Kind::Mysql => &MYSQL,
        Kind::Mariadb => &MARIADB,
        Kind::Postgres15 | Kind::Postgres18 => bail!("{kind} has no LOAD DATA"),
    };
    let started = shared.get_or_init(|| {
        let _one = STARTING.lock();
        let extra = vec!["--max-allowed-packet=64M".to_owned()];
        let options = Options { local_infile: false, extra, ..Options::default() };
        Server::start(kind, &options).map_err(|error| format!("{error:#}"))
    });
    started.as_ref().map_err(|error| anyhow!("{error}"))
}

/// Which servers know a table's types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Both.
    Everywhere,
    /// One of them.
    To(Kind),
}

impl Known {
    /// Whether a server of that kind knows them.
    pub fn by(self, kind: Kind) -> bool {
        match self {
            Known::Everywhere => true,
            Known::To(only) => only == kind,
        }
    }
}

/// Fails with every line of `wrong`, if there is one.
pub fn nothing_wrong(what: impl fmt::Display, wrong: &[String]) -> Result<()> {
    ensure!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    Ok(())
}

/// Runs statements that the message of a failure names as `what`.
pub fn run(db: &Db, what: &str, statements: &[String]) -> Result<()> {
    db.exec_all(statements).with_context(|| what.to_owned())
}
