//! A connection whose session is pinned, and what kind of server is at its other end.
//!
//! Everything that decides how a value is written as text, and what a name means, is set on every connection, whatever
//! the server's, the database's or the account's defaults are.

use std::fmt;

use dt_common::{Error, ErrorClass, Result};
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::alive::while_alive;
use crate::config::Address;
use crate::error::classify;
use crate::wire::{Purpose, Wire};
use crate::{sql, tls};

/// What a server says of itself.
#[derive(Clone, Debug)]
pub struct Server {
    /// The version for people: `15.18`.
    pub version: String,
    /// The version as a number: 150018.
    pub version_number: u32,
    /// The cluster's `system_identifier` and the database; where the account may not see the former, the address.
    pub identity: String,
    /// `host:port/database`.
    pub place: String,
    /// The database's encoding is SQL_ASCII: texts are bytes, and are passed on as such.
    pub is_sql_ascii: bool,
    /// It is a standby.
    pub is_in_recovery: bool,
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {} at {}", self.version, self.place)
    }
}

/// What a connection is for.
#[derive(Clone, Debug)]
pub enum Session {
    /// Reading.
    Read,
    /// Writing.
    Write {
        /// `disable_foreign_key_checks`.
        disable_foreign_key_checks: bool,
        /// `READ COMMITTED` and its like.
        transaction_isolation: Option<&'static str>,
    },
}

/// A connection. Dropped, it is closed at once, whatever it was doing.
#[derive(Debug)]
pub struct Conn {
    /// The driver's end of it.
    pub client: Client,
    /// The server's process, by which it is known to other sessions.
    pub pid: i32,
    /// When that process began, as the server writes it; empty if it does not say.
    pub began: String,
    driver: JoinHandle<()>,
}

impl Drop for Conn {
    fn drop(&mut self) {
        // The driver would otherwise read a COPY that nobody wants to its end.
        self.driver.abort();
    }
}

impl Conn {
    /// Whether the connection is known to be gone.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.driver.is_finished()
    }

    /// Nothing more is expected of it: it is closed.
    pub fn give_up(&self) {
        self.driver.abort();
    }

    /// Executes statements, separated by semicolons.
    pub async fn exec(&self, statements: &str, doing: impl Into<String>) -> Result<()> {
        self.client.batch_execute(statements).await.map_err(|error| classify(doing, error))
    }

    /// Asks; every value comes as text.
    pub async fn rows(&self, statement: &str, doing: impl Into<String>) -> Result<Vec<SimpleQueryRow>> {
        let answers = self.client.simple_query(statement).await.map_err(|error| classify(doing, error))?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }
}

/// A row's value as text; empty where it is null.
pub fn text(row: &SimpleQueryRow, at: usize) -> String {
    row.get(at).unwrap_or_default().to_owned()
}

/// A row's boolean.
pub fn flag(row: &SimpleQueryRow, at: usize) -> bool {
    row.get(at) == Some("t")
}

/// A row's number; zero where it is null or none.
pub fn number<T: std::str::FromStr + Default>(row: &SimpleQueryRow, at: usize) -> T {
    row.get(at).and_then(|text| text.parse().ok()).unwrap_or_default()
}

impl Session {
    /// The statements that pin the session (pure).
    fn statement(&self, address: &Address, server: &Server) -> String {
        let mut set: Vec<String> = [
            if server.is_sql_ascii { "client_encoding = 'SQL_ASCII'" } else { "client_encoding = 'UTF8'" },
            "\"DateStyle\" = 'ISO, YMD'",
            "\"IntervalStyle\" = 'postgres'",
            "\"TimeZone\" = 'UTC'",
            "extra_float_digits = 3",
            // The form of `money`.
            "lc_monetary = 'C'",
            "bytea_output = 'hex'",
            "xmloption = 'content'",
            // Off, a null within an array would be read as the text NULL.
            "array_nulls = on",
            // Names mean what the catalog says, and nobody's function can stand in for one of the server's.
            "search_path = ''",
            "client_min_messages = 'warning'",
            // Rows that a policy hides are an error, not left out.
            "row_security = off",
            // What is read in pieces must come in the same order each time.
            "synchronize_seqscans = off",
            "max_parallel_workers_per_gather = 0",
            // A machine that is gone without a word is noticed in a minute, not in hours (on Linux and the BSDs).
            "tcp_keepalives_idle = 30",
            "tcp_keepalives_interval = 10",
            "tcp_keepalives_count = 3",
        ]
        .map(str::to_owned)
        .into();
        if server.version_number >= 110_000 {
            // Long reads are no long computations.
            set.push("jit = off".to_owned());
        }
        let mut limits = vec!["statement_timeout"];
        if server.version_number >= 140_000 {
            limits.push("idle_session_timeout");
        }
        if server.version_number >= 170_000 {
            limits.push("transaction_timeout");
        }
        // A time limit that the user has set in the url is theirs.
        set.extend(limits.iter().filter(|name| !address.parameters.sets(name)).map(|name| format!("{name} = 0")));
        match self {
            Session::Read => {
                // A reader may be held up by a slow target, for as long as it takes.
                set.push("idle_in_transaction_session_timeout = 0".to_owned());
                if !address.parameters.sets("lock_timeout") {
                    set.push("lock_timeout = 0".to_owned());
                }
            }
            Session::Write { disable_foreign_key_checks: _, transaction_isolation } => {
                // Longer than a batch waits for its turn. Who is gone does not hold locks for longer.
                set.push("idle_in_transaction_session_timeout = '60s'".to_owned());
                // Who waits for a lock that long is told, and tries again.
                if !address.parameters.sets("lock_timeout") {
                    set.push("lock_timeout = '300s'".to_owned());
                }
                // Invariant 2: what the server has confirmed is durable.
                set.push("synchronous_commit = on".to_owned());
                set.push("default_transaction_read_only = off".to_owned());
                if let Some(level) = transaction_isolation {
                    set.push(format!("default_transaction_isolation = {}", sql::string(&level.to_lowercase())));
                }
            }
        }
        let mut statement: String = set.iter().map(|item| format!("SET {item};")).collect();
        statement.push_str(
            "SELECT pid, backend_start FROM (SELECT pg_catalog.pg_backend_pid() AS pid) me \
             LEFT JOIN pg_catalog.pg_stat_activity USING (pid)",
        );
        statement
    }
}

/// Connects, without a session of ours yet.
async fn log_in(address: &Address) -> Result<(Client, JoinHandle<()>)> {
    let at = address.place();
    let config = address.driver_config();
    let connector = tls::connector(address)?;
    let attempt = async {
        let (client, connection) = config.connect(connector).await?;
        // Joined when the `Conn` is dropped. What ends it is seen by whoever waits for an answer.
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Ok((client, driver))
    };
    let attempt = async {
        attempt.await.map_err(|error| classify(format!("cannot connect to {at} as \"{}\"", address.user()), error))
    };
    in_time(address, attempt).await
}

/// An attempt to connect, and what is said first: the link may die in between as at any other time.
async fn in_time<T>(address: &Address, attempt: impl Future<Output = Result<T>>) -> Result<T> {
    match tokio::time::timeout(address.connect_timeout, attempt).await {
        Ok(done) => done,
        Err(_) => Err(Error::new(
            ErrorClass::Reconnect,
            format!("{} did not answer within {} s", address.place(), address.connect_timeout.as_secs()),
        )
        .hint("check host and port, and what lies between; connection_timeout_secs sets the wait")),
    }
}

/// Connects for the first time and asks the server what it is; the connection is for what is asked next. At this point
/// nothing is retried: an address that does not answer is for the user to see at once.
pub async fn discover(address: &Address, session: &Session) -> Result<(Server, Conn)> {
    let asking = async {
        let (server, mut conn) = log_in_and_ask(address).await?;
        in_time(address, pin(&mut conn, address, &server, session)).await?;
        Ok((server, conn))
    };
    asking.await.map_err(|error: Error| {
        if error.class().is_transient() {
            error.with_class(ErrorClass::User).hint("check that the server runs, and host and port in the url")
        } else {
            error
        }
    })
}

/// The oldest version whose catalog and COPY are as this crate expects them.
const OLDEST: u32 = 100_000;

/// What the server is, asked in the middle of a task: a server that does not answer is tried again.
pub async fn discover_again(address: &Address) -> Result<Server> {
    log_in_and_ask(address).await.map(|(server, _)| server)
}

async fn log_in_and_ask(address: &Address) -> Result<(Server, Conn)> {
    let (client, driver) = log_in(address).await?;
    in_time(address, ask(address, Conn { client, pid: 0, began: String::new(), driver })).await
}

async fn ask(address: &Address, conn: Conn) -> Result<(Server, Conn)> {
    let doing = || format!("asking {} what it is", address.place());
    let statement = "SELECT pg_catalog.current_setting('server_version'), \
         pg_catalog.current_setting('server_version_num'), pg_catalog.current_setting('server_encoding'), \
         pg_catalog.pg_is_in_recovery(), \
         pg_catalog.has_function_privilege('pg_catalog.pg_control_system()', 'execute')";
    let answer = conn.rows(statement, doing()).await?;
    let row = answer.first().ok_or_else(|| Error::fatal(doing()).caused_by("no answer"))?;
    let version = text(row, 0);
    let version_number: u32 = number(row, 1);
    if version_number < OLDEST {
        return Err(Error::user(format!("PostgreSQL {version} at {} is too old", address.place()))
            .hint("PostgreSQL 10 and newer are supported"));
    }
    let system = if flag(row, 4) {
        let answer = conn.rows("SELECT system_identifier FROM pg_catalog.pg_control_system()", doing()).await?;
        answer.first().map(|row| text(row, 0))
    } else {
        None
    };
    let server = Server {
        version: version.split(' ').next().unwrap_or(&version).to_owned(),
        version_number,
        identity: match system {
            Some(system) => format!("{system}/{}", address.database),
            None => address.place(),
        },
        place: address.place(),
        is_sql_ascii: text(row, 2) == "SQL_ASCII",
        is_in_recovery: flag(row, 3),
    };
    Ok((server, conn))
}

/// Connects and pins the session.
pub async fn connect(address: &Address, server: &Server, session: &Session) -> Result<Conn> {
    let (client, driver) = log_in(address).await?;
    let mut conn = Conn { client, pid: 0, began: String::new(), driver };
    in_time(address, pin(&mut conn, address, server, session)).await?;
    Ok(conn)
}

/// The connection, if it is there and not known to be gone; else a new one.
pub async fn connect_or(kept: Option<Conn>, address: &Address, server: &Server, session: &Session) -> Result<Conn> {
    match kept {
        Some(conn) if !conn.is_closed() => Ok(conn),
        Some(_) | None => connect(address, server, session).await,
    }
}

/// Asks over a connection, for as long as the server is there: the one that is kept, or a new one. The connection comes back.
///
/// # Errors
/// Those of connecting and of the questions; of class reconnect: the server is away, or the connection is dead.
pub async fn asking<T>(
    kept: Option<Conn>,
    address: &Address,
    server: &Server,
    session: &Session,
    questions: impl AsyncFnOnce(&Conn) -> Result<T>,
) -> Result<(T, Conn)> {
    let conn = connect_or(kept, address, server, session).await?;
    let answers = while_alive(address, server, conn.pid, questions(&conn)).await?;
    Ok((answers, conn))
}

async fn pin(conn: &mut Conn, address: &Address, server: &Server, session: &Session) -> Result<()> {
    let doing = || format!("setting up a session at {}", address.place());
    let answer = conn.rows(&session.statement(address, server), doing()).await?;
    conn.pid = answer.last().map_or(0, |row| number(row, 0));
    conn.began = answer.last().map_or_else(String::new, |row| text(row, 1));
    if let Session::Write { disable_foreign_key_checks: true, .. } = session
        && let Err(error) = conn.client.batch_execute("SET session_replication_role = replica").await
    {
        // 42501: the account may not. `prepare` has said so; foreign keys are checked then.
        if crate::error::state(&error) != Some("42501") {
            return Err(classify(doing(), error));
        }
    }
    Ok(())
}

/// Connects for reading rows in bulk, and pins the session.
pub async fn connect_to_read(address: &Address, server: &Server) -> Result<Wire> {
    let mut wire = Wire::connect(address, server, Purpose::Reading).await?;
    let doing = format!("setting up a session at {}", address.place());
    wire.command(&Session::Read.statement(address, server), &doing).await?;
    Ok(wire)
}

#[cfg(test)]
mod tests {
    use dt_common::config::Endpoint;
    use dt_common::{DbType, Secret};

    use super::*;

    fn statement(session: &Session, options: &str, version_number: u32) -> String {
        let url = format!("postgres://u@db1/d?{options}");
        let endpoint = Endpoint::new(DbType::Pg, Secret::new(url)).expect("an endpoint");
        let address = Address::new(&endpoint, "extractor").expect("an address");
        let server = Server {
            version: "15.1".into(),
            version_number,
            identity: "1/d".into(),
            place: address.place(),
            is_sql_ascii: false,
            is_in_recovery: false,
        };
        session.statement(&address, &server)
    }

    #[test]
    fn every_session_writes_values_in_one_way() {
        let text = statement(&Session::Read, "", 150_000);
        for setting in [
            "client_encoding = 'UTF8'",
            "\"TimeZone\" = 'UTC'",
            "lc_monetary = 'C'",
            "search_path = ''",
            "row_security = off",
        ] {
            assert!(text.contains(&format!("SET {setting};")), "{text}");
        }
        assert!(text.contains("statement_timeout = 0") && !text.contains("transaction_timeout"), "{text}");
        assert!(statement(&Session::Read, "", 170_000).contains("SET transaction_timeout = 0"));
    }

    #[test]
    fn a_time_limit_of_the_user_is_kept() {
        assert!(!statement(&Session::Read, "options[statement_timeout]=10s", 150_000).contains("statement_timeout"));
    }

    #[test]
    fn a_writer_waits_for_the_disk() {
        let session = Session::Write { disable_foreign_key_checks: true, transaction_isolation: Some("SERIALIZABLE") };
        let text = statement(&session, "", 150_000);
        assert!(text.contains("SET synchronous_commit = on;"), "{text}");
        assert!(text.contains("SET idle_in_transaction_session_timeout = '60s';"), "{text}");
        assert!(text.contains("default_transaction_isolation = 'serializable'"), "{text}");
    }
}
