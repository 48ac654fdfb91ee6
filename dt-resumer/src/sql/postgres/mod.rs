//! A connection to PostgreSQL: the simple query protocol, in which every value is text.

mod tls;

use std::error::Error as _;

use async_trait::async_trait;
use dt_common::{Error, ErrorClass};
use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Error as DriverFailure, SimpleQueryMessage};

use super::address::{Address, Tls};
use super::link::{Failure, FailureKind, Link, TextRow};
use super::write::Limits;

/// Pins the session, whatever the server's, the database's or the account's defaults are. A transaction that stands still
/// for longer than a lease is one of a process that hangs: the server ends it.
const SESSION: &str = "SET client_encoding = 'UTF8'; SET \"TimeZone\" = 'UTC'; SET search_path = ''; \
                       SET standard_conforming_strings = on; SET client_min_messages = 'warning'; \
                       SET lock_timeout = '10s'; SET statement_timeout = 0; \
                       SET idle_in_transaction_session_timeout = '30s'; SET synchronous_commit = on; \
                       SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'";

pub(super) struct PostgresLink {
    client: Client,
    driver: JoinHandle<()>,
}

impl Drop for PostgresLink {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects and pins the session.
pub(super) async fn connect(address: &Address) -> Result<PostgresLink, Failure> {
    let mut config = tokio_postgres::Config::new();
    config
        .host(&address.host)
        .port(address.port)
        .user(&address.user)
        .dbname(&address.database)
        .application_name("dt positions")
        .connect_timeout(address.connect_timeout)
        .ssl_mode(match address.tls {
            Tls::Disable => SslMode::Disable,
            Tls::Prefer => SslMode::Prefer,
            Tls::Require | Tls::VerifyCa | Tls::VerifyFull => SslMode::Require,
        });
    // It holds the password in clear: never formatted.
    if !address.password.expose().is_empty() {
        config.password(address.password.expose());
    }
    let doing = format!("connecting to the position table's server {} as \"{}\"", address.host_port(), address.user);
    let connector = tls::connector(address).map_err(Failure::other)?;
    let (client, connection) = config.connect(connector).await.map_err(|error| classify(&doing, error))?;
    // What ends it is seen by whoever waits for an answer.
    let driver = tokio::spawn(async move { drop(connection.await) });
    let mut link = PostgresLink { client, driver };
    link.rows(SESSION).await?;
    Ok(link)
}

#[async_trait]
impl Link for PostgresLink {
    async fn rows(&mut self, statement: &str) -> Result<Vec<TextRow>, Failure> {
        let answers = self.client.simple_query(statement).await;
        let answers = answers.map_err(|error| classify("using the position table", error))?;
        let rows = answers.into_iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
            // The number of rows, and the names of columns.
            _ => None,
        });
        Ok(rows.collect())
    }

    fn limits(&self) -> Limits {
        Limits::none()
    }
}

/// SQLSTATE codes: PostgreSQL documentation, Appendix A.
fn classify(doing: &str, error: DriverFailure) -> Failure {
    let Some(server) = error.as_db_error() else {
        let cause = error.source().map_or(error.to_string(), |source| format!("{error}: {source}"));
        let text = cause.to_lowercase();
        if text.contains("tls") || text.contains("certificate") || text.contains("authentication") {
            let hint = "check ssl_mode, the certificate authorities, username and password";
            return Failure::other(Error::user(doing).caused_by(cause).hint(hint));
        }
        return Failure::other(Error::new(ErrorClass::Reconnect, doing).caused_by(cause));
    };
    let state = server.code().code();
    let (class, kind, hint) = match state {
        "40001" | "40P01" | "55P03" | "57014" | "53200" => (ErrorClass::Retry, FailureKind::Other, None),
        // Which of them two that make a table at once get depends on the moment: 42710 is of the row type.
        "23505" | "42P06" | "42P07" | "42710" => (ErrorClass::Retry, FailureKind::Duplicate, None),
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" | "25006" | "25P03" => {
            (ErrorClass::Reconnect, FailureKind::Other, None)
        }
        "28000" | "28P01" => {
            let hint = "check username and password, and pg_hba.conf for this host, user and database";
            (ErrorClass::User, FailureKind::Other, Some(hint))
        }
        "42501" => (ErrorClass::User, FailureKind::Denied, None),
        "3D000" => (ErrorClass::User, FailureKind::Other, Some("check the database in the url")),
        "3F000" | "42P01" | "42703" => {
            let hint = "the position table was there when the task started, or has other columns";
            (ErrorClass::User, FailureKind::Other, Some(hint))
        }
        "22P05" => {
            let hint = "keep the position table in a database whose encoding is UTF8";
            (ErrorClass::User, FailureKind::Other, Some(hint))
        }
        "53100" => (ErrorClass::User, FailureKind::Other, Some("make room on that server's disk")),
        _ if state.starts_with("08") => (ErrorClass::Reconnect, FailureKind::Other, None),
        _ => (ErrorClass::Fatal, FailureKind::Other, None),
    };
    // A parse error quotes the statement, and so do data exceptions; DETAIL holds values and is left out.
    let message = if state.starts_with("22") || state == "42601" { "" } else { server.message() };
    let error = Error::new(class, doing).caused_by(format!("ERROR {state}: {message}"));
    let error = match hint {
        Some(hint) => error.hint(hint),
        None => error,
    };
    Failure { kind, error }
}
