//! Asking a source for what [`resume`](super::resume) decides by.

use std::collections::HashMap;

use dt_common::{Error, ErrorClass, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use super::gtid::GtidSet;
use super::resume::{BinlogFile, Gtids, Place, ServerFacts};
use crate::connect::{Flavor, Server};
use crate::error::{classify, code};

const DOING: &str = "asking the source about its binlog";

/// What the server says of its binlog now.
pub async fn facts(conn: &mut Conn, server: &Server) -> Result<ServerFacts> {
    let names = "'log_bin', 'binlog_format', 'binlog_row_image', 'binlog_row_metadata', 'binlog_checksum', \
                 'server_id', 'binlog_expire_logs_seconds', 'expire_logs_days', 'gtid_mode', 'gtid_purged'";
    let variables: Vec<(String, String)> = conn
        .query(format!("SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})"))
        .await
        .map_err(|error| classify(DOING, error))?;
    let variables: HashMap<String, String> = variables.into_iter().collect();
    let value = |name: &str| variables.get(name).cloned().unwrap_or_default();
    let log_bin = value("log_bin").eq_ignore_ascii_case("ON") || value("log_bin") == "1";
    let files = if log_bin { files(conn).await? } else { Vec::new() };
    let mut status = if log_bin { status(conn).await? } else { Status::default() };
    let set = |text: &str| {
        GtidSet::parse(server.flavor, text)
            .map_err(|error| Error::fatal("the source's GTID set is not understood").caused_by(error))
    };
    let (executed, purged) = match server.flavor {
        Flavor::Mysql => (set(&status.executed)?, set(&value("gtid_purged"))?),
        Flavor::Mariadb => {
            let executed = mariadb_executed(conn, &mut status).await?;
            let purged = match files.first() {
                Some(first) => {
                    let head = Place { file: first.name.clone(), position: 4 };
                    mariadb_gtids_at(conn, &head).await?.ok_or_else(|| untold(&head))?
                }
                None => String::new(),
            };
            (set(&executed)?, set(&purged)?)
        }
    };
    let expire = match (value("binlog_expire_logs_seconds").parse::<u64>(), value("expire_logs_days").parse::<f64>()) {
        (Ok(seconds), _) if seconds > 0 => Some(seconds),
        (_, Ok(days)) if days > 0.0 => Some((days * 86_400.0) as u64),
        _ => None,
    };
    Ok(ServerFacts {
        flavor: server.flavor,
        identity: server.identity.clone(),
        server_id: value("server_id").parse().unwrap_or(0),
        log_bin,
        binlog_format: value("binlog_format"),
        binlog_row_image: value("binlog_row_image"),
        binlog_row_metadata: variables.get("binlog_row_metadata").cloned(),
        binlog_checksum: value("binlog_checksum"),
        binlog_expire_secs: expire,
        binlog_do_db: status.do_db,
        binlog_ignore_db: status.ignore_db,
        files,
        end: status.end,
        gtids: Gtids { mode: value("gtid_mode"), executed, purged },
    })
}

async fn files(conn: &mut Conn) -> Result<Vec<BinlogFile>> {
    let rows: Vec<Row> = conn.query("SHOW BINARY LOGS").await.map_err(privileges)?;
    Ok(rows
        .iter()
        .filter_map(|row| Some(BinlogFile { name: row.get::<String, _>(0)?, size: row.get::<u64, _>(1)? }))
        .collect())
}

/// The server's clock, in seconds since 1970.
pub async fn clock(conn: &mut Conn) -> Result<u64> {
    let seconds: Option<u64> =
        conn.query_first("SELECT UNIX_TIMESTAMP()").await.map_err(|error| classify(DOING, error))?;
    seconds.ok_or_else(|| Error::fatal(DOING).caused_by("no answer"))
}

/// The answer about the binlog's end.
#[derive(Default)]
struct Status {
    end: Option<Place>,
    do_db: Vec<String>,
    ignore_db: Vec<String>,
    // MySQL only.
    executed: String,
}

async fn status(conn: &mut Conn) -> Result<Status> {
    // The statement was renamed in MySQL 8.2, and the old form is gone since 8.4.
    let mut status: std::result::Result<Option<Row>, _> = conn.query_first("SHOW MASTER STATUS").await;
    if status.as_ref().is_err_and(|error| code(error) == Some(1064)) {
        status = conn.query_first("SHOW BINARY LOG STATUS").await;
    }
    let Some(row) = status.map_err(privileges)? else { return Ok(Status::default()) };
    let list = |at: usize| {
        let text: String = row.get::<Option<String>, _>(at).flatten().unwrap_or_default();
        text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let place = row
        .get::<Option<String>, _>(0)
        .flatten()
        .zip(row.get::<Option<u64>, _>(1).flatten())
        .map(|(file, position)| Place { file, position });
    let executed = row.get::<Option<String>, _>(4).flatten().unwrap_or_default();
    Ok(Status { end: place, do_db: list(2), ignore_db: list(3), executed })
}

/// What MariaDB has executed at a place of its binlog; `None` if it cannot tell: it reads the file up to there as a
/// client would, and gives up at an event that is larger than `max_allowed_packet`.
pub async fn mariadb_gtids_at(conn: &mut Conn, place: &Place) -> Result<Option<String>> {
    let Place { file, position } = place;
    let answer: Option<Option<String>> = conn
        .query_first(format!("SELECT BINLOG_GTID_POS({}, {position})", crate::sql::string(file)))
        .await
        .map_err(|error| classify(DOING, error))?;
    Ok(answer.flatten())
}

/// What MariaDB has executed at the end that `status` tells, and not now: a transaction in between would be taken for
/// read.
async fn mariadb_executed(conn: &mut Conn, told: &mut Status) -> Result<String> {
    /// How often the log's end may move on while it is asked about.
    const TRIES: usize = 100;
    let Some(mut end) = told.end.clone() else { return Ok(String::new()) };
    if let Some(gtids) = mariadb_gtids_at(conn, &end).await? {
        return Ok(gtids);
    }
    // The same variable on both sides of an end that has not moved is what is done there.
    for _ in 0..TRIES {
        let now: Option<String> =
            conn.query_first("SELECT @@GLOBAL.gtid_binlog_pos").await.map_err(|error| classify(DOING, error))?;
        *told = status(conn).await?;
        match (&told.end, now) {
            (Some(still), Some(now)) if *still == end => return Ok(now),
            (Some(moved), _) => end = moved.clone(),
            (None, _) => return Ok(String::new()),
        }
    }
    Err(untold(&end))
}

fn untold(place: &Place) -> Error {
    Error::new(ErrorClass::Reconnect, "the source does not know the GTID position of its own binlog")
        .with("place", place)
        .hint("the file may have been purged while it was looked at: try again")
}

fn privileges(error: mysql_async::Error) -> Error {
    let refused = matches!(code(&error), Some(1227));
    let error = classify(DOING, error);
    match refused {
        true => error.hint(
            "grant the account REPLICATION SLAVE and REPLICATION CLIENT (MariaDB: BINLOG MONITOR and REPLICATION SLAVE) on *.*",
        ),
        false => error,
    }
}
