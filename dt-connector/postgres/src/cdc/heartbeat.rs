//! `heartbeat_tb`: a row of the source that is written now and then, so that the position of an idle source moves and
//! its lag can be seen. It runs beside the stream and never holds it up: what goes wrong is a warning.

use std::sync::Arc;

use std::time::Duration;

use dt_common::config::Heartbeat;
use dt_common::failpoint::{Failpoint, reach};
use dt_common::{Error, ErrorClass, Result};

use crate::config::Address;
use crate::connect::{self, Conn, Server, Session};
use crate::sql;
use crate::wire::Acknowledged;

/// Writes the row each interval, until it is aborted.
pub async fn run(
    address: Address,
    server: Server,
    heartbeat: Heartbeat,
    slot: String,
    acknowledged: Arc<Acknowledged>,
) {
    let mut conn = None;
    loop {
        let flushed = acknowledged.flushed().to_string();
        let beating = beat(&mut conn, &address, &server, &heartbeat, &slot, &flushed);
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
    server: &Server,
    heartbeat: &Heartbeat,
    slot: &str,
    flushed: &str,
) -> Result<()> {
    if conn.is_none() {
        let session = Session::Write { disable_foreign_key_checks: false, transaction_isolation: None };
        let new = connect::connect(address, server, &session).await?;
        // Without the privilege to create what is there already, the statement that creates it must not be executed.
        let there = format!("SELECT to_regclass({}) IS NOT NULL", sql::string(&sql::table(&heartbeat.table)));
        let there = new.rows(&there, "looking for the heartbeat table").await?;
        if !there.first().is_some_and(|row| connect::flag(row, 0)) {
            new.exec(&creation(heartbeat), "creating the heartbeat table").await?;
        }
        *conn = Some(new);
    }
    let Some(open) = conn else { return Ok(()) };
    open.exec(&row(heartbeat, slot, flushed), "writing the heartbeat row").await
}

/// The statements that make the table. Its columns are those that ape-dts gives it.
fn creation(heartbeat: &Heartbeat) -> String {
    format!(
        "CREATE SCHEMA IF NOT EXISTS {}; \
         CREATE TABLE IF NOT EXISTS {} (slot_name character varying(64) NOT NULL, \
         update_timestamp timestamp without time zone DEFAULT (now() AT TIME ZONE 'utc'), \
         received_lsn character varying(64), received_timestamp character varying(64), \
         flushed_lsn character varying(64), flushed_timestamp character varying(64), PRIMARY KEY (slot_name))",
        sql::name(&heartbeat.table.schema),
        sql::table(&heartbeat.table)
    )
}

fn row(heartbeat: &Heartbeat, slot: &str, flushed: &str) -> String {
    format!(
        "INSERT INTO {} (slot_name, update_timestamp, flushed_lsn) VALUES ({}, now() AT TIME ZONE 'utc', {}) \
         ON CONFLICT (slot_name) DO UPDATE SET update_timestamp = EXCLUDED.update_timestamp, \
         flushed_lsn = EXCLUDED.flushed_lsn",
        sql::table(&heartbeat.table),
        sql::string(slot),
        sql::string(flushed)
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dt_common::TableId;

    use super::*;

    #[test]
    fn the_row_is_the_slots_own() {
        let heartbeat = Heartbeat { table: TableId::new("hb", "Beat"), interval: Duration::from_secs(1) };
        let row = row(&heartbeat, "dt_1", "0/7");
        assert!(
            row.starts_with("INSERT INTO \"hb\".\"Beat\" (slot_name, update_timestamp, flushed_lsn) VALUES ('dt_1', ")
        );
        assert!(creation(&heartbeat).starts_with("CREATE SCHEMA IF NOT EXISTS \"hb\"; "));
    }
}
