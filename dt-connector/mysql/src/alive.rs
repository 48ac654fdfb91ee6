//! Waiting for a server's answer for as long as the server is there.
//!
//! A statement may rightly take an hour, so no deadline of its own can tell a slow server from a link that is dead and
//! says nothing: a half-open connection hangs unseen. While one waits, the server is asked now and then over a second
//! connection whether the first is still there, and whether it has anything to do: if it waits for a question while we wait
//! for an answer, one of them was lost on the way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dt_common::{Error, ErrorClass, Result};
use mysql_async::prelude::Queryable;

use crate::config::Address;
use crate::error::code;

/// How long an answer is simply waited for: long against any page or batch, short against a night.
const PATIENCE: Duration = Duration::from_secs(30);

/// For so long a connection that is asked something is without a question only if that was lost: longer than a batch waits
/// for its turn ([`dt_connector::Turn`]), in seconds.
const IDLE_SECS_MAX: u64 = 25;

/// Waits for `operation` on the connection `id`, which does nothing but ask and hear answers.
///
/// # Errors
/// Those of the operation; or, of class reconnect, that the server cannot be reached any more, has given up the
/// connection, or has no question to answer. The operation is then dropped unfinished.
pub async fn while_alive<T, E: From<Error>>(
    address: &Address,
    id: u32,
    operation: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    while_asking(address, id, &AtomicBool::new(false), operation).await
}

/// As [`while_alive`], of an operation that says in `held_up` when it waits for something else than the server.
///
/// # Errors
/// As [`while_alive`].
pub async fn while_asking<T, E: From<Error>>(
    address: &Address,
    id: u32,
    held_up: &AtomicBool,
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
            alive = is_alive(address, id, held_up) => alive.map_err(E::from)?,
        }
    }
}

async fn is_alive(address: &Address, id: u32, held_up: &AtomicBool) -> Result<()> {
    let dead = |why: &str| {
        let message = format!("no answer from {} for {} s", address.host_port(), PATIENCE.as_secs());
        Error::new(ErrorClass::Reconnect, message).caused_by(why)
    };
    let asking = async {
        let mut conn = mysql_async::Conn::new(address.driver_options()).await?;
        // MySQL documentation, "The INFORMATION_SCHEMA PROCESSLIST Table": `Sleep` is a thread that waits for a statement, and
        // `time` how many seconds it has been in its state.
        let statement = format!(
            "SELECT command = 'Sleep' AND time >= {IDLE_SECS_MAX} FROM information_schema.processlist WHERE id = {id}"
        );
        conn.query_first::<bool, _>(statement).await
    };
    match tokio::time::timeout(address.connect_timeout.saturating_mul(2), asking).await {
        Ok(Ok(Some(true))) if !held_up.load(Ordering::Relaxed) => {
            Err(dead("the server waits for a question: it was lost, or its answer"))
        }
        Ok(Ok(Some(_))) => Ok(()),
        Ok(Ok(None)) => Err(dead("the server has given up the connection")),
        // It answered, if only to refuse one more connection: it is there, and there is nothing better to ask it.
        Ok(Err(error)) if code(&error).is_some() => Ok(()),
        Ok(Err(_)) | Err(_) => Err(dead("and none to a new connection either")),
    }
}
