//! A connection whose session is pinned, and what kind of server is at its other end.
//!
//! Character set, time zone and SQL mode are set on every connection, whatever the server's defaults are.

use std::fmt;

use dt_common::{Error, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::alive::while_alive;
use crate::config::Address;
use crate::error::classify;
use crate::sql;

/// Which of the two families of servers it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavor {
    /// MySQL and what calls itself so.
    Mysql,
    /// MariaDB.
    Mariadb,
}

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct Server {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// The server's own version text.
    pub version: String,
    /// `server_uuid` (MySQL) or `server_uid` (MariaDB); where a server has neither, its address.
    pub identity: String,
    /// `host:port`.
    pub address: String,
    /// Whether it accepts `LOAD DATA LOCAL`.
    pub local_infile: bool,
    /// The largest statement it accepts, in bytes.
    pub max_allowed_packet: usize,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flavor = match self.flavor {
            Flavor::Mysql => "MySQL",
            Flavor::Mariadb => "MariaDB",
        };
        let version = self.version.split('-').next().unwrap_or(&self.version);
        write!(f, "{flavor} {version} at {}", self.address)
    }
}

/// What a connection is for.
#[derive(Clone, Debug)]
pub enum Session {
    /// Reading: values come in each column's own character set.
    Read,
    /// Writing.
    Write {
        /// `disable_foreign_key_checks`.
        disable_foreign_key_checks: bool,
        /// `READ COMMITTED` and its like.
        transaction_isolation: Option<&'static str>,
    },
}

impl Session {
    /// The one statement that pins the session (pure).
    fn statement(&self, flavor: Flavor) -> String {
        // Zero dates and dates like 2024-02-31 that a source may hold are values like any other, and an id of 0 stays
        // 0; everything else that does not fit is an error.
        let mut set = vec![
            "NAMES utf8mb4".to_owned(),
            "SESSION time_zone = '+00:00'".to_owned(),
            "SESSION sql_mode = 'STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'"
                .to_owned(),
            // A reader may be held up by a slow target, and a writer by a slow source, for as long as it takes.
            "SESSION net_write_timeout = 86400".to_owned(),
            "SESSION net_read_timeout = 86400".to_owned(),
            "SESSION wait_timeout = 86400".to_owned(),
            match flavor {
                Flavor::Mysql => "SESSION max_execution_time = 0".to_owned(),
                Flavor::Mariadb => "SESSION max_statement_time = 0".to_owned(),
            },
        ];
        match self {
            Session::Read => set.push("SESSION character_set_results = NULL".to_owned()),
            Session::Write { disable_foreign_key_checks, transaction_isolation } => {
                set.push(format!("SESSION foreign_key_checks = {}", u8::from(!disable_foreign_key_checks)));
                set.push("SESSION autocommit = 1".to_owned());
                if let Some(level) = transaction_isolation {
                    set.push(format!("SESSION transaction_isolation = {}", sql::string(&level.replace(' ', "-"))));
                }
            }
        }
        if flavor == Flavor::Mariadb {
            // The variable's name in MariaDB before 11.1.
            for item in &mut set {
                *item = item.replace("SESSION transaction_isolation", "SESSION tx_isolation");
            }
        }
        format!("SET {}", set.join(", "))
    }
}

/// Connects, without a session of ours yet.
async fn log_in(address: &Address) -> Result<Conn> {
    let connecting = async {
        let refused =
            |error| classify(format!("cannot connect to {} as `{}`", address.host_port(), address.user()), error);
        Conn::new(address.driver_options()).await.map_err(refused)
    };
    in_time(address, connecting).await
}

/// An attempt to connect, and what is said first: the link may die in between as at any other time.
async fn in_time<T>(address: &Address, attempt: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(address.connect_timeout, attempt).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(
            dt_common::ErrorClass::Reconnect,
            format!("{} did not answer within {} s", address.host_port(), address.connect_timeout.as_secs()),
        )
        .hint("check host and port, and what lies between; connection_timeout_secs sets the wait")),
    }
}

/// Connects for the first time and asks the server what it is. At this point nothing is retried: an address that does
/// not answer is for the user to see at once.
pub async fn discover(address: &Address) -> Result<(Server, Flavor)> {
    discover_again(address).await.map_err(|error| {
        if error.class().is_transient() {
            error
                .with_class(dt_common::ErrorClass::User)
                .hint("check that the server runs, and host and port in the url")
        } else {
            error
        }
    })
}

/// The same in the middle of a task: a server that does not answer is tried again.
pub async fn discover_again(address: &Address) -> Result<(Server, Flavor)> {
    let conn = log_in(address).await?;
    in_time(address, ask(address, conn)).await
}

async fn ask(address: &Address, mut conn: Conn) -> Result<(Server, Flavor)> {
    let doing = || format!("asking {} what it is", address.host_port());
    let (version, local_infile, packet): (String, bool, usize) = conn
        .query_first("SELECT @@version, @@local_infile, @@max_allowed_packet")
        .await
        .map_err(|error| classify(doing(), error))?
        .ok_or_else(|| Error::fatal(doing()).caused_by("no answer"))?;
    let flavor = if version.to_ascii_lowercase().contains("mariadb") { Flavor::Mariadb } else { Flavor::Mysql };
    let identity: Option<(String, String)> = conn
        .query_first("SHOW GLOBAL VARIABLES WHERE Variable_name IN ('server_uuid', 'server_uid')")
        .await
        .map_err(|error| classify(doing(), error))?;
    conn.disconnect().await.map_err(|error| classify(doing(), error))?;
    let identity =
        identity.map(|(_, value)| value).filter(|value| !value.is_empty()).unwrap_or_else(|| address.host_port());
    let server =
        Server { flavor, version, identity, address: address.host_port(), local_infile, max_allowed_packet: packet };
    Ok((server, flavor))
}

/// Connects and pins the session.
pub async fn connect(address: &Address, flavor: Flavor, session: &Session) -> Result<Conn> {
    let mut conn = log_in(address).await?;
    let setting_up = async {
        let failed = |error| classify(format!("setting up a session at {}", address.host_port()), error);
        conn.query_drop(session.statement(flavor)).await.map_err(failed)
    };
    in_time(address, setting_up).await?;
    Ok(conn)
}

/// Asks over a connection of its own, for as long as the server is there.
///
/// # Errors
/// Those of connecting and of the questions; of class reconnect: the server is away, or the connection is dead.
pub async fn asking<T>(
    address: &Address,
    flavor: Flavor,
    session: &Session,
    questions: impl AsyncFnOnce(&mut Conn) -> Result<T>,
) -> Result<T> {
    let mut conn = connect(address, flavor, session).await?;
    let id = conn.id();
    let answers = while_alive(address, id, questions(&mut conn)).await?;
    // The server closes its end; a failure to say good-bye changes nothing.
    let _ = conn.disconnect().await;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readers_session_gets_values_in_their_own_character_set() {
        let text = Session::Read.statement(Flavor::Mysql);
        assert!(text.starts_with("SET NAMES utf8mb4, SESSION time_zone = '+00:00'"), "{text}");
        assert!(text.ends_with("SESSION character_set_results = NULL"), "{text}");
    }

    #[test]
    fn a_writers_session_is_strict_and_keeps_id_zero() {
        let session =
            Session::Write { disable_foreign_key_checks: true, transaction_isolation: Some("READ COMMITTED") };
        let text = session.statement(Flavor::Mariadb);
        assert!(text.contains("STRICT_ALL_TABLES,NO_AUTO_VALUE_ON_ZERO"), "{text}");
        assert!(text.contains("foreign_key_checks = 0"), "{text}");
        assert!(text.contains("SESSION tx_isolation = 'READ-COMMITTED'"), "{text}");
    }
}
