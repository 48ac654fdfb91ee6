//! A connection to MySQL or MariaDB.

use async_trait::async_trait;
use dt_common::{Error, ErrorClass};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, Error as DriverFailure, OptsBuilder, Row, SslOpts, Value};

use super::address::{Address, Tls};
use super::link::{Failure, FailureKind, Link, TextRow};
use super::write::Limits;

/// Pins the session, whatever the server's defaults are. What is not renewed for longer than a lease is a process that
/// hangs: the server ends its session, and with it a transaction that others would wait for.
const SESSION: &str = "SET NAMES utf8mb4, SESSION time_zone = '+00:00', \
                       SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', SESSION autocommit = 1, \
                       SESSION innodb_lock_wait_timeout = 10, SESSION lock_wait_timeout = 10, SESSION wait_timeout = 30";

/// The driver's own bound is lifted: the server's is asked for.
const PACKET_BYTES_MAX: usize = 1024 * 1024 * 1024;

pub(super) struct MysqlLink {
    conn: Conn,
    limits: Limits,
}

/// Connects and pins the session.
pub(super) async fn connect(address: &Address) -> Result<MysqlLink, Failure> {
    // They hold the password in clear: never formatted.
    let options = OptsBuilder::default()
        .ip_or_hostname(address.host.clone())
        .tcp_port(address.port)
        .user(Some(address.user.clone()))
        .pass(Some(address.password.expose().to_owned()))
        .prefer_socket(false)
        .tcp_nodelay(true)
        .max_allowed_packet(Some(PACKET_BYTES_MAX))
        .stmt_cache_size(0)
        .ssl_opts(tls(address));
    let doing = format!("connecting to the position table's server {} as `{}`", address.host_port(), address.user);
    let conn = Conn::new(options).await.map_err(|error| classify(&doing, error))?;
    let mut link = MysqlLink { conn, limits: Limits::none() };
    link.rows(SESSION).await?;
    let answer = link.rows("SELECT @@max_allowed_packet").await?;
    let packet = answer.first().and_then(|row| row.first()?.as_deref()?.parse().ok());
    let packet = packet.ok_or_else(|| Failure::other(Error::fatal(doing).caused_by("no max_allowed_packet")))?;
    link.limits = Limits::of_packet(packet, None);
    Ok(link)
}

fn tls(address: &Address) -> Option<SslOpts> {
    let options = SslOpts::default();
    let options = match &address.ca_path {
        Some(path) => options.with_root_certs(vec![path.clone().into()]),
        None => options,
    };
    match address.tls {
        Tls::Disable | Tls::Prefer => None,
        Tls::Require => Some(options.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true)),
        Tls::VerifyCa => Some(options.with_danger_skip_domain_validation(true)),
        Tls::VerifyFull => Some(options),
    }
}

#[async_trait]
impl Link for MysqlLink {
    async fn rows(&mut self, statement: &str) -> Result<Vec<TextRow>, Failure> {
        let rows: Vec<Row> =
            self.conn.query(statement).await.map_err(|error| classify("using the position table", error))?;
        Ok(rows.iter().map(|row| (0..row.len()).map(|at| row.as_ref(at).and_then(text)).collect()).collect())
    }

    fn limits(&self) -> Limits {
        self.limits
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        // The text protocol sends bytes only.
        other => Some(other.as_sql(true)),
    }
}

/// Codes from the servers' own lists (mysqld_error.h, MariaDB's errmsg).
fn classify(doing: &str, error: DriverFailure) -> Failure {
    let server = match error {
        DriverFailure::Server(server) => server,
        DriverFailure::Driver(DriverError::FromRow { .. } | DriverError::FromValue { .. }) => {
            return Failure::other(Error::fatal(doing).caused_by("the server's answer has an unexpected form"));
        }
        DriverFailure::Url(_) => {
            return Failure::other(Error::fatal(doing).caused_by("the driver refused the connection options"));
        }
        DriverFailure::Io(_) | DriverFailure::Driver(_) | DriverFailure::Other(_) => {
            return Failure::other(Error::new(ErrorClass::Reconnect, doing).caused_by(error.to_string()));
        }
    };
    let (class, kind, hint) = match server.code {
        1205 | 1213 | 1020 | 1317 => (ErrorClass::Retry, FailureKind::Other, None),
        1062 | 1007 | 1050 => (ErrorClass::Retry, FailureKind::Duplicate, None),
        1040
        | 1041
        | 1053
        | 1077
        | 1079
        | 1080
        | 1152
        | 1154..=1161
        | 1184
        | 1203
        | 1226
        | 1290
        | 1836
        | 1927
        | 2006
        | 2013
        | 3032
        | 4031 => (ErrorClass::Reconnect, FailureKind::Other, None),
        1045 | 1698 => (
            ErrorClass::User,
            FailureKind::Other,
            Some("check username and password, and from which hosts the account may connect"),
        ),
        1044 | 1142 | 1143 | 1227 | 1370 => (ErrorClass::User, FailureKind::Denied, None),
        1129 | 1130 => (ErrorClass::User, FailureKind::Other, Some("allow this host to connect to the server")),
        1049 | 1146 | 1054 => (
            ErrorClass::User,
            FailureKind::Other,
            Some("the position table was there when the task started, or has other columns"),
        ),
        1366 => (
            ErrorClass::User,
            FailureKind::Other,
            Some("the position table cannot hold such names: ALTER TABLE … CONVERT TO CHARACTER SET utf8mb4"),
        ),
        1153 => (ErrorClass::User, FailureKind::Other, Some("raise max_allowed_packet on that server")),
        1021 | 1114 => (ErrorClass::User, FailureKind::Other, Some("make room on that server's disk")),
        _ => (ErrorClass::Fatal, FailureKind::Other, None),
    };
    // These quote a value, and a parse error the statement.
    let message = match server.code {
        1062 | 1064 | 1264 | 1265 | 1292 | 1366 | 1406 => "",
        _ => server.message.as_ref(),
    };
    let error = Error::new(class, doing).caused_by(format!("ERROR {} ({}): {message}", server.code, server.state));
    let error = match hint {
        Some(hint) => error.hint(hint),
        None => error,
    };
    Failure { kind, error }
}
