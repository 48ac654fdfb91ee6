//! PostgreSQL's programs: where they are, under which user they run, and how they are called.
//!
//! PostgreSQL 15 is the machine's own. PostgreSQL 18 was built for other libraries than the machine's, and its
//! programs start each other by their own paths: it lies in a folder that is the root of its file system (chroot),
//! and so must its data.
//!
//! Each server gets a data folder of its own by `initdb`, which takes a second: copies of one folder would share the
//! system identifier, by which a server is told from another.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::programs::{INSTALL, cache_dir};
use super::{Kind, Options};

/// The programs of one version.
#[derive(Debug)]
pub(super) struct Programs {
    bin: &'static str,
    /// The root of their file system, if it is not the machine's.
    root: Option<PathBuf>,
    /// User and group that they run under; `None` for those of this process. They refuse to run as root.
    owner: Option<(u32, u32)>,
}

/// The version's programs; `None` for another kind of server.
pub(super) fn find(kind: Kind) -> Result<Option<Programs>> {
    let (bin, root) = match kind {
        Kind::Postgres15 => ("/usr/lib/postgresql/15/bin", None),
        Kind::Postgres18 => ("/usr/lib/postgresql/18/bin", Some(cache_dir()?.join("postgresql-18"))),
        Kind::Mysql | Kind::Mariadb => return Ok(None),
    };
    let as_root = fs::metadata("/proc/self").context("look at /proc/self")?.uid() == 0;
    if root.is_some() && !as_root {
        bail!("{kind} runs in a chroot, and only root may start it");
    }
    let owner = if as_root { Some(owner()?) } else { None };
    let programs = Programs { bin, root, owner };
    let server = programs.outside(&Path::new(bin).join("postgres"));
    if !server.is_file() {
        bail!("{kind} is not installed ({} is missing): {INSTALL}", server.display());
    }
    Ok(Some(programs))
}

/// The user that the machine's own PostgreSQL runs under, from `/etc/passwd`.
fn owner() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|user| user[0] == "postgres");
    let number = |at: usize| fields.as_ref().and_then(|fields| fields.get(at)?.parse().ok());
    number(2).zip(number(3)).with_context(|| format!("this machine has no user postgres: {INSTALL}"))
}

impl Programs {
    /// Where a path of theirs is for us.
    fn outside(&self, path: &Path) -> PathBuf {
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    /// Where a path of ours is for them.
    fn inside(&self, path: &Path) -> PathBuf {
        let below = self.root.as_ref().and_then(|root| path.strip_prefix(root).ok());
        below.map_or_else(|| path.to_owned(), |below| Path::new("/").join(below))
    }

    /// The words that call one of the programs.
    fn call(&self, program: &str) -> Vec<String> {
        let mut words: Vec<String> = match (&self.root, self.owner) {
            (Some(root), Some((user, group))) => {
                vec!["chroot".to_owned(), format!("--userspec=+{user}:+{group}"), root.display().to_string()]
            }
            (None, Some((user, group))) => {
                vec![
                    "setpriv".to_owned(),
                    format!("--reuid={user}"),
                    format!("--regid={group}"),
                    "--clear-groups".to_owned(),
                ]
            }
            (_, None) => Vec::new(),
        };
        words.push(format!("{}/{program}", self.bin));
        words
    }

    fn run(&self, program: &str, arguments: &[String]) -> Result<()> {
        let words = self.call(program);
        let output = Command::new(&words[0]).args(&words[1..]).args(arguments).current_dir("/").output();
        let output = output.with_context(|| format!("run {}", words.join(" ")))?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("{program} failed ({}):\n{}", output.status, String::from_utf8_lossy(&said));
        }
        Ok(())
    }

    /// A new folder for a server, which the server can reach and write to.
    pub(super) fn folder(&self) -> Result<TempDir> {
        let parent = self.outside(&std::env::temp_dir());
        // Another temporary folder than /tmp may be missing below the other root.
        let parent = if parent.is_dir() { parent } else { self.outside(Path::new("/tmp")) };
        let folder = TempDir::with_prefix_in("dt-server-", &parent).context("make a temporary folder for a server")?;
        if let Some((user, group)) = self.owner {
            chown(folder.path(), Some(user), Some(group))?;
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        }
        Ok(folder)
    }

    /// Makes an empty data folder. Its administrator is `postgres`, who needs no password; everyone else does.
    pub(super) fn initialise(&self, dir: &Path, options: &Options) -> Result<()> {
        let data = dir.join("data");
        let mut arguments = vec![format!("--pgdata={}", self.inside(&data).display())];
        let words = "--username=postgres --encoding=UTF8 --locale=C.UTF-8 --auth=trust --no-sync --no-instructions";
        arguments.extend(words.split(' ').map(str::to_owned));
        self.run("initdb", &arguments)?;
        let mut lines = options.hba.clone();
        // `all` does not mean the physical replication of a standby, which asks for no database.
        for database in ["all", "replication"] {
            lines.push(format!("host {database} postgres 127.0.0.1/32 trust"));
            lines.push(format!("host {database} all 127.0.0.1/32 scram-sha-256"));
        }
        fs::write(data.join("pg_hba.conf"), lines.join("\n") + "\n").context("write pg_hba.conf")
    }

    /// Makes the data folder of a standby of the server at `port`.
    pub(super) fn follow(&self, dir: &Path, port: u16) -> Result<()> {
        let mut arguments = vec![format!("--pgdata={}", self.inside(&dir.join("data")).display())];
        arguments.push(format!("--port={port}"));
        let words = "--host=127.0.0.1 --username=postgres --write-recovery-conf --wal-method=stream --checkpoint=fast \
                     --no-sync";
        arguments.extend(words.split_whitespace().map(str::to_owned));
        self.run("pg_basebackup", &arguments)
    }

    /// The command that serves `dir/data` on `port`.
    pub(super) fn serve(&self, dir: &Path, port: u16, options: &Options) -> Vec<String> {
        let mut command = self.call("postgres");
        command.extend(["-D".to_owned(), self.inside(&dir.join("data")).display().to_string()]);
        command.push(format!("--port={port}"));
        let words = "--listen_addresses=127.0.0.1 --unix_socket_directories= --wal_level=logical \
                     --max_wal_senders=20 --max_replication_slots=20 --max_prepared_transactions=20";
        command.extend(words.split_whitespace().map(str::to_owned));
        if !options.durable {
            let words = "--fsync=off --synchronous_commit=off --full_page_writes=off --shared_buffers=64MB --max_connections=300";
            command.extend(words.split_whitespace().map(str::to_owned));
        }
        command.extend(options.extra.iter().cloned());
        command
    }
}
