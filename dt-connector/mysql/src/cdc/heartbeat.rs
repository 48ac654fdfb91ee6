//! `heartbeat_tb`: a row of the source that is written now and then, so that the position of an idle source moves and
//! its lag can be seen. It runs beside the stream and never holds it up: what goes wrong is a warning.

use std::time::Duration;

use dt_common::config::Heartbeat;
use dt_common::failpoint::{Failpoint, reach};
use dt_common::{Error, ErrorClass, Result};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::config::Address;
use crate::connect::{self, Flavor, Session};
use crate::error::classify;
use crate::sql;

/// Writes the row each interval, until it is aborted.
pub async fn run(address: Address, flavor: Flavor, heartbeat: Heartbeat, server_id: u32) {
    let mut conn = None;
    loop {
        let beating = beat(&mut conn, &address, flavor, &heartbeat, server_id);
        match tokio::time::timeout(PATIENCE, beating).await.unwrap_or_else(|_| Err(late())) {
            Ok(()) => reach(Failpoint::Heartbeat),
            Err(error) => {
                conn = None;
                tracing::warn!("the heartbeat row could not be written: {error}");
            }
        }
        tokio::time::sleep(heartbeat.interval).await;
    }
}

/// How long writing the row may take; longer is a link that carries nothing any more.
const PATIENCE: Duration = Duration::from_secs(30);

fn late() -> Error {
    Error::new(ErrorClass::Reconnect, format!("no answer for {} s", PATIENCE.as_secs()))
}

async fn beat(
    conn: &mut Option<Conn>,
    address: &Address,
    flavor: Flavor,
    heartbeat: &Heartbeat,
    server_id: u32,
) -> Result<()> {
    if conn.is_none() {
        let session = Session::Write { disable_foreign_key_checks: false, transaction_isolation: None };
        let mut new = connect::connect(address, flavor, &session).await?;
        for statement in creation(heartbeat) {
            new.query_drop(statement).await.map_err(|error| classify("creating the heartbeat table", error))?;
        }
        *conn = Some(new);
    }
    let Some(open) = conn else { return Ok(()) };
    open.query_drop(row(heartbeat, server_id)).await.map_err(|error| classify("writing the heartbeat row", error))
}

/// The statements that make the table, if it is not there. Its columns are those that ape-dts gives it.
fn creation(heartbeat: &Heartbeat) -> [String; 2] {
    [
        format!("CREATE DATABASE IF NOT EXISTS {}", sql::name(&heartbeat.table.schema)),
        format!(
            "CREATE TABLE IF NOT EXISTS {} (server_id INT UNSIGNED NOT NULL PRIMARY KEY, update_timestamp VARCHAR(255), \
             received_binlog_filename VARCHAR(255), received_next_event_position INT UNSIGNED, \
             received_timestamp VARCHAR(255), flushed_binlog_filename VARCHAR(255), \
             flushed_next_event_position INT UNSIGNED, flushed_timestamp VARCHAR(255))",
            sql::table(&heartbeat.table)
        ),
    ]
}

fn row(heartbeat: &Heartbeat, server_id: u32) -> String {
    format!(
        "INSERT INTO {} (server_id, update_timestamp) VALUES ({server_id}, UTC_TIMESTAMP(6)) \
         ON DUPLICATE KEY UPDATE update_timestamp = VALUES(update_timestamp)",
        sql::table(&heartbeat.table)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dt_common::TableId;

    use super::*;

    #[test]
    fn the_row_is_the_tasks_own() {
        let heartbeat = Heartbeat { table: TableId::new("hb", "beat"), interval: Duration::from_secs(1) };
        assert!(row(&heartbeat, 7).starts_with("INSERT INTO `hb`.`beat` (server_id, update_timestamp) VALUES (7, "));
        assert!(creation(&heartbeat)[1].starts_with("CREATE TABLE IF NOT EXISTS `hb`.`beat` (server_id INT UNSIGNED"));
    }
}
