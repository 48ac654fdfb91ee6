//! Where the programs of MySQL and MariaDB are, and how they are called.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, anyhow, bail};

use super::{Kind, Options, PASSWORD, USER};
use crate::db::literal;

/// The folder that outlives a checkout: `$DT_SERVERS_DIR`, else `$XDG_CACHE_HOME/dt-servers`, else
/// `$HOME/.cache/dt-servers`; the same for `./scripts/install-servers`.
///
/// # Errors
/// None of the three variables is set.
pub fn cache_dir() -> Result<PathBuf> {
    let named = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    named("DT_SERVERS_DIR")
        .or_else(|| named("XDG_CACHE_HOME").map(|dir| dir.join("dt-servers")))
        .or_else(|| named("HOME").map(|dir| dir.join(".cache/dt-servers")))
        .ok_or_else(|| anyhow!("none of DT_SERVERS_DIR, XDG_CACHE_HOME and HOME is set"))
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Brand {
    Mysql,
    Mariadb,
}

/// A server program that is on this machine.
pub(super) struct Program {
    brand: Brand,
    /// What starts the daemon: the program, and what must stand before all other arguments.
    daemon: Vec<String>,
    /// For the template's name: another version gets another template.
    pub(super) version: String,
}

/// Finds the server on this machine; `None` for another kind of server.
pub(super) fn find(kind: Kind) -> Result<Option<Program>> {
    let (brand, daemon) = match kind {
        Kind::Mysql => (Brand::Mysql, mysql_daemon(&cache_dir()?.join("mysql"))?),
        Kind::Mariadb => (Brand::Mariadb, mariadb_daemon()?),
        Kind::Postgres15 | Kind::Postgres18 => return Ok(None),
    };
    let output = Command::new(&daemon[0]).args(&daemon[1..]).arg("--version").output();
    let output = output.with_context(|| format!("run {}", daemon.join(" ")))?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || version.is_empty() {
        bail!("{} does not run: {}\n{INSTALL}", daemon[0], String::from_utf8_lossy(&output.stderr));
    }
    Ok(Some(Program { brand, daemon, version }))
}

pub(super) const INSTALL: &str = "run ./scripts/install-servers";

/// MySQL comes unpacked, with the libraries it was built for, and runs through their loader.
fn mysql_daemon(root: &Path) -> Result<Vec<String>> {
    let usr = root.join("usr");
    let daemon = usr.join("sbin/mysqld");
    let loader = ["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"].map(|loader| usr.join(loader));
    let loader = loader.into_iter().find(|loader| loader.exists());
    let (Some(loader), true) = (loader, daemon.exists()) else {
        bail!("MySQL is not in {}: {INSTALL}", root.display());
    };
    let libraries = ["x86_64-linux-gnu", "aarch64-linux-gnu"].map(|arch| usr.join("lib").join(arch));
    let libraries = libraries.iter().filter(|dir| dir.exists());
    let libraries: Vec<String> =
        libraries.flat_map(|dir| [dir.clone(), dir.join("private")]).map(|dir| dir.display().to_string()).collect();
    Ok(vec![
        loader.display().to_string(),
        "--library-path".to_owned(),
        libraries.join(":"),
        daemon.display().to_string(),
        "--no-defaults".to_owned(),
        format!("--basedir={}", usr.display()),
        "--secure-file-priv=".to_owned(),
    ])
}

fn mariadb_daemon() -> Result<Vec<String>> {
    let daemon = on_path("mariadbd").ok_or_else(|| anyhow!("mariadbd is not installed: {INSTALL}"))?;
    Ok(vec![daemon.display().to_string(), "--no-defaults".to_owned()])
}

/// Daemons live in `/usr/sbin`, which is not on everyone's `PATH`.
fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/bin")]);
    dirs.map(|dir| dir.join(program)).find(|file| file.is_file())
}

impl Program {
    /// Its name.
    pub(super) fn name(&self) -> &'static str {
        match self.brand {
            Brand::Mysql => "MySQL",
            Brand::Mariadb => "MariaDB",
        }
    }

    /// The command that makes an empty data folder.
    pub(super) fn initialise(&self, data: &Path) -> Result<Command> {
        let data = format!("--datadir={}", data.display());
        match self.brand {
            Brand::Mysql => {
                let mut command = Command::new(&self.daemon[0]);
                command.args(&self.daemon[1..]).args(as_root()).args([data, "--initialize-insecure".to_owned()]);
                Ok(command)
            }
            Brand::Mariadb => {
                let program = on_path("mariadb-install-db");
                let mut command = Command::new(program.ok_or_else(|| anyhow!("no mariadb-install-db: {INSTALL}"))?);
                command.args(["--no-defaults".to_owned(), data]).args(as_root());
                command.args([
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    "--innodb-log-file-size=64M",
                ]);
                Ok(command)
            }
        }
    }

    /// The command that serves `dir/data` on `port`.
    pub(super) fn serve(&self, dir: &Path, port: u16, options: &Options) -> Vec<String> {
        let mut command = self.daemon.clone();
        command.extend(as_root());
        command.extend([
            format!("--datadir={}", dir.join("data").display()),
            format!("--socket={}", dir.join("sock").display()),
            format!("--pid-file={}", dir.join("pid").display()),
            format!("--init-file={}", dir.join("data").join(INIT_FILE).display()),
            format!("--port={port}"),
            format!("--server-id={}", server_id()),
            format!("--local-infile={}", u8::from(options.local_infile)),
            format!("--tmpdir={}", dir.display()),
        ]);
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        command.extend(words("--bind-address=127.0.0.1 --skip-name-resolve --performance-schema=OFF"));
        command.extend(words(match (self.brand, options.binlog) {
            (Brand::Mysql, true) => "--mysqlx=OFF --gtid-mode=ON --enforce-gtid-consistency=ON",
            (Brand::Mysql, false) => "--mysqlx=OFF --disable-log-bin",
            (Brand::Mariadb, true) => "--log-bin=binlog --binlog-format=ROW",
            (Brand::Mariadb, false) => "",
        }));
        if !options.durable {
            command.extend(words(
                "--innodb-flush-log-at-trx-commit=2 --sync-binlog=0 --innodb-doublewrite=0 \
                 --innodb-buffer-pool-size=128M --max-connections=100 --table-open-cache=400",
            ));
            command.extend(words(match self.brand {
                Brand::Mysql => "--innodb-redo-log-capacity=128M --innodb-buffer-pool-load-at-startup=OFF",
                Brand::Mariadb => "--innodb-buffer-pool-load-at-startup=OFF --aria-pagecache-buffer-size=8M",
            }));
        }
        command.extend(options.extra.iter().cloned());
        command
    }
}

/// The statements that a server runs at each start, kept in the data folder.
pub(super) const INIT_FILE: &str = "init.sql";

/// Users: root without a password from everywhere (the server listens on 127.0.0.1 only), and dt-main's.
pub(super) fn init_sql() -> String {
    let password = literal(PASSWORD);
    ["root", USER].map(|user| {
        let identified = if user == USER { format!(" IDENTIFIED BY {password}") } else { String::new() };
        format!(
            "CREATE USER IF NOT EXISTS '{user}'@'%'{identified};\nGRANT ALL ON *.* TO '{user}'@'%' WITH GRANT OPTION;\n"
        )
    })
    .concat()
}

/// The servers refuse to run as root unless they are told to.
fn as_root() -> Option<String> {
    let uid = std::fs::metadata("/proc/self").map(|own| std::os::unix::fs::MetadataExt::uid(&own));
    matches!(uid, Ok(0)).then(|| "--user=root".to_owned())
}

/// Different for any two servers of one test.
fn server_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    1 + std::process::id() % 100_000 * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100
}
