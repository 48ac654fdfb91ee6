//! Throw-away MongoDB servers: `mongod` as unpacked by `./scripts/install-servers`, as a replica set of one member, or of
//! several ([`set`]).

pub mod set;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

use anyhow::{Context, Result, anyhow, bail};
use mongodb::bson::doc;
use tempfile::TempDir;

use super::keeper::Keeper;
use super::programs::{INSTALL, cache_dir};
use super::{PASSWORD, PATIENCE, USER, free_port};
use crate::deadline;
use crate::dice::Dice;
use crate::mongo::Mongo;

/// The name of the replica set, unless it is told otherwise.
pub const SET: &str = "rs0";

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The replica set's name; `None` for a server by itself.
    pub set: Option<&'static str>,
    /// Whether clients must log in; the user is [`USER`], who may do everything.
    pub login: bool,
    /// Arguments, `--option=value`, in the place of the defaults if they are of the same option.
    pub extra: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Setup { set: Some(SET), login: true, extra: Vec::new() }
    }
}

/// A running `mongod` (or one that was stopped and can be started again). Dropping it kills it and deletes its data; so
/// does the end of this process, however it ends.
#[derive(Debug)]
pub struct MongoServer {
    port: u16,
    keeper: Keeper,
    dir: PathBuf,
    setup: Setup,
}

impl MongoServer {
    /// Starts a server with an empty data folder and waits until it takes writes.
    ///
    /// # Errors
    /// It is not installed (the message names `./scripts/install-servers`), or does not come up.
    pub fn start(setup: &Setup) -> Result<Self> {
        MongoServer::start_as(setup, true)
    }

    /// Starts a server; `first` makes the replica set.
    fn start_as(setup: &Setup, first: bool) -> Result<Self> {
        let program = cache_dir()?.join("mongodb/mongod");
        if !program.is_file() {
            bail!("MongoDB is not installed ({} is missing): {INSTALL}", program.display());
        }
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let start = (STARTS.fetch_add(1, Ordering::Relaxed) + 1) << 40;
        let mut dice = Dice::of((start | u64::from(std::process::id())) ^ Dice::new().roll());
        let mut last = None;
        // Another process may take the port between our look and the server's bind: then another port is tried.
        for _ in 0..5 {
            let port = free_port(&mut dice)?;
            let folder = TempDir::with_prefix("dt-server-").context("make a temporary folder for a server")?;
            let command = serve(&program, folder.path(), port, setup)?;
            // From here on the keeper deletes the folder, also if this process is killed.
            let dir = folder.keep();
            let keeper = Keeper::new(&dir, "TERM", &command)?;
            let mut server = MongoServer { port, keeper, dir, setup: setup.clone() };
            server.keeper.start()?;
            match server.first_start(first) {
                Ok(()) => return Ok(server),
                Err(error) if server.log_tail().contains("Address already in use") => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.expect("server: five tries without an error")).context("five ports in a row were taken")
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address as a task file's `url`, without user and password.
    pub fn url(&self) -> String {
        match self.setup.set {
            Some(set) => format!("mongodb://127.0.0.1:{}/?replicaSet={set}", self.port),
            None => format!("mongodb://127.0.0.1:{}/", self.port),
        }
    }

    /// A new client that may do everything.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn client(&self) -> Result<Mongo> {
        Mongo::connect(self.port, self.setup.login.then_some((USER, PASSWORD)))
    }

    /// Whether clients must log in.
    pub fn wants_login(&self) -> bool {
        self.setup.login
    }

    /// The folder that holds its data and its log.
    pub fn folder(&self) -> &Path {
        &self.dir
    }

    /// The end of its log, for messages.
    pub fn log_tail(&self) -> String {
        let text = fs::read(self.dir.join("log")).unwrap_or_default();
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

    /// Starts it again at the same port, with the data it has, and waits until it takes writes.
    ///
    /// # Errors
    /// It does not come up.
    pub fn up(&self) -> Result<()> {
        self.keeper.start()?;
        self.until_writable()
    }

    /// Makes the replica set and the user; the server takes both from this machine while there is no user yet (MongoDB
    /// documentation, Localhost Exception).
    fn first_start(&mut self, first: bool) -> Result<()> {
        let client = Mongo::connect(self.port, None)?;
        self.until("answers", || Ok(client.command("admin", doc! {"hello": 1}).ok().map(drop)))?;
        if !first {
            return Ok(());
        }
        if let Some(set) = self.setup.set {
            let member = doc! {"_id": 0, "host": format!("127.0.0.1:{}", self.port)};
            client.command("admin", doc! {"replSetInitiate": {"_id": set, "members": [member]}})?;
        }
        self.until_writable()?;
        if self.setup.login {
            client.command("admin", doc! {"createUser": USER, "pwd": PASSWORD, "roles": ["root"]})?;
        }
        Ok(())
    }

    fn until_writable(&self) -> Result<()> {
        let client = Mongo::connect(self.port, None)?;
        self.until("takes writes", || {
            let hello = client.command("admin", doc! {"hello": 1});
            Ok(hello
                .ok()
                .and_then(|hello| hello.get_bool("isWritablePrimary").ok())
                .filter(|writable| *writable)
                .map(drop))
        })
    }

    fn until(&self, what: &str, mut ask: impl FnMut() -> Result<Option<()>>) -> Result<()> {
        let up = deadline::until(&format!("MongoDB {what}"), PATIENCE, || {
            if self.keeper.has_ended()? {
                bail!("MongoDB ended instead of starting:\n{}", self.log_tail());
            }
            ask()
        });
        up.with_context(|| format!("start MongoDB on port {}", self.port))
    }
}

/// The command that serves `dir/data` on `port`.
fn serve(program: &Path, dir: &Path, port: u16, setup: &Setup) -> Result<Vec<String>> {
    fs::create_dir(dir.join("data")).context("make a data folder")?;
    let mut command = vec![program.display().to_string()];
    command.extend([format!("--dbpath={}", dir.join("data").display()), format!("--port={port}")]);
    let words = "--bind_ip=127.0.0.1 --nounixsocket --setParameter=diagnosticDataCollectionEnabled=false \
                 --setParameter=shutdownTimeoutMillisForSignaledShutdown=0";
    command.extend(words.split_whitespace().map(str::to_owned));
    // Small, and each may be given once only.
    for (option, value) in [("--wiredTigerCacheSizeGB", "0.25"), ("--oplogSize", "200")] {
        if !setup.extra.iter().any(|extra| extra.starts_with(option)) {
            command.push(format!("{option}={value}"));
        }
    }
    if let Some(set) = setup.set {
        command.extend(["--replSet".to_owned(), set.to_owned()]);
    }
    if setup.login {
        command.push("--auth".to_owned());
        if setup.set.is_some() {
            // Members of a set with logins know each other by a key; this one has no others.
            let key = dir.join("key");
            fs::write(&key, "dHJ1c3RtZQ==").context("write a key file")?;
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
            command.extend(["--keyFile".to_owned(), key.display().to_string()]);
        }
    }
    command.extend(setup.extra.iter().cloned());
    Ok(command)
}

/// Two replica sets of one member each.
#[derive(Debug)]
pub struct MongoPair {
    /// Where documents are read.
    pub source: MongoServer,
    /// Where documents are written.
    pub target: MongoServer,
}

impl MongoPair {
    /// Starts two servers.
    ///
    /// # Errors
    /// As [`MongoServer::start`].
    pub fn start(setup: &Setup) -> Result<Self> {
        Ok(MongoPair { source: MongoServer::start(setup)?, target: MongoServer::start(setup)? })
    }

    /// Drops the databases on both servers, and connects to both.
    ///
    /// # Errors
    /// A server does not answer.
    pub fn without(&self, databases: &[&str]) -> Result<(Mongo, Mongo)> {
        let clients = (self.source.client()?, self.target.client()?);
        for client in [&clients.0, &clients.1] {
            for database in databases {
                client.command(database, doc! {"dropDatabase": 1})?;
            }
        }
        Ok(clients)
    }
}

/// The pair that all tests of this process share, started by the first one that asks.
///
/// # Errors
/// As [`MongoServer::start`]; the same answer for every test.
pub fn pair() -> Result<&'static MongoPair> {
    static PAIR: OnceLock<Result<MongoPair, String>> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    let started = PAIR.get_or_init(|| {
        let _one = STARTING.lock();
        MongoPair::start(&Setup::default()).map_err(|error| format!("{error:#}"))
    });
    started.as_ref().map_err(|error| anyhow!("{error}"))
}
