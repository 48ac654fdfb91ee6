//! Waiting for a server's answer for as long as the server is there.
//!
//! A statement may rightly take an hour, so no deadline of its own can tell a slow server from a link that is dead and
//! says nothing. While one waits, the server is asked now and then over a second connection whether the first is still
//! there, and whether it has anything to do: if it waits for a question while we wait for an answer, one of them was lost on
//! the way.

use std::time::Duration;

use dt_common::{Error, ErrorClass, Result};

use crate::config::Address;
use crate::connect::{self, Server, Session};

/// How long an answer is simply waited for: long against any batch, short against a night.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// For so long a connection that is asked something is without a question only if that was lost: longer than a batch waits
/// for its turn ([`dt_connector::Turn`]), in seconds.
const IDLE_SECS_MAX: u64 = 25;

/// Waits for `operation` on the connection whose server process is `pid`, which does nothing but ask and hear answers.
///
/// # Errors
/// Those of the operation; or, of class reconnect, that the server cannot be reached any more, has given up the
/// connection, or has no question to answer. The operation is then dropped unfinished.
pub async fn while_alive<T, E: From<Error>>(
    address: &Address,
    server: &Server,
    pid: i32,
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::pin!(operation);
    loop {
        tokio::select! {
            biased;
            done = &mut operation => return done,
            () = tokio::time::sleep(PATIENCE) => {}
        }
        tokio::select! {
            biased;
            done = &mut operation => return done,
            alive = is_alive(address, server, pid) => alive.map_err(E::from)?,
        }
    }
}

/// Asks over another connection whether the server's process is there, and has something to do.
///
/// # Errors
/// Of class reconnect: it cannot be reached any more, has given up the connection, or has nothing to do.
pub async fn is_alive(address: &Address, server: &Server, pid: i32) -> Result<()> {
    let dead = |why: &str| {
        let message = format!("no answer from {} for {} s", address.place(), PATIENCE.as_secs());
        Error::new(ErrorClass::Reconnect, message).caused_by(why)
    };
    let asking = async {
        let conn = connect::connect(address, server, &Session::Read).await?;
        conn.rows(&statement(server.version_number, pid), "asking whether a connection is there").await
    };
    match tokio::time::timeout(address.connect_timeout.saturating_mul(2), asking).await {
        Ok(Ok(rows)) if rows.first().is_some_and(|row| connect::flag(row, 0)) => {
            Err(dead("the server waits for a question: it was lost, or its answer"))
        }
        Ok(Ok(rows)) if rows.is_empty() => Err(dead("the server has given up the connection")),
        Ok(Ok(_)) => Ok(()),
        // It answered, if only to refuse one more connection: it is there, and there is nothing better to ask it.
        Ok(Err(error)) if error.to_string().contains("ERROR 53300") => Ok(()),
        Ok(Err(_)) | Err(_) => Err(dead("and none to a new connection either")),
    }
}

/// Whether a server's process waits for us, and has for so long that what it was asked, or has answered, was lost (pure).
///
/// PostgreSQL documentation, "`pg_stat_activity`": `state` is idle, or idle in a transaction, from `state_change` on. "Wait Events
/// of Type Activity" and "Client": a sender in `WalSenderMain` or `WalSenderWaitForWAL` has sent all that there is, and hears what
/// it is asked; one in `WalSenderWriteData` has more, which is not taken, though we take what comes. "COPY Progress
/// Reporting" (14 and newer): a COPY that has got nothing, and waits for it, has answered that it is ready.
fn statement(version_number: u32, pid: i32) -> String {
    let copies = match version_number >= 140_000 {
        true => {
            "OR wait_event = 'ClientRead' AND EXISTS (SELECT FROM pg_catalog.pg_stat_progress_copy AS copy \
             WHERE copy.pid = activity.pid AND copy.bytes_processed = 0)"
        }
        false => "",
    };
    format!(
        "SELECT coalesce(lower(wait_event) IN ('walsendermain', 'walsenderwaitforwal', 'walsenderwritedata') OR (state LIKE 'idle%' {copies}) AND \
         state_change <= pg_catalog.clock_timestamp() - interval '{IDLE_SECS_MAX} seconds', false) \
         FROM pg_catalog.pg_stat_activity AS activity WHERE pid = {pid}"
    )
}
