//! Waiting for a server's answer for as long as the server is there.
//!
//! A command may rightly take long, and the driver sets no limit to it, so that a link that is dead and says nothing would
//! be waited for without end. While one waits, the server is asked now and then over another connection. The other
//! connection may be well and this one dead, which nobody can ask. If the driver has lost the connection over which it watches
//! the server, then this one is taken for lost with it, as the driver does with those that it does not use at that moment
//! (MongoDB specifications, "Connection Monitoring and Pooling", `interruptInUseConnections`). And there is a limit, long
//! against anything that one command of ours has to do.

use std::time::Duration;

use bson::doc;
use dt_common::{Error, ErrorClass, Result};

use crate::connect::Server;

/// How long an answer is simply waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one answer is waited for at all.
const LIMIT: Duration = Duration::from_secs(600);

/// Waits for `operation`, which the server is to answer.
///
/// # Errors
/// Of class reconnect: the server cannot be reached any more, was lost sight of meanwhile, or has not answered for ten
/// minutes. The operation is then dropped unfinished.
pub async fn while_alive<T>(server: &Server, operation: impl Future<Output = T>) -> Result<T> {
    tokio::pin!(operation);
    let (began, times_lost) = (tokio::time::Instant::now(), server.times_lost());
    while began.elapsed() < LIMIT {
        tokio::select! {
            biased;
            done = &mut operation => return Ok(done),
            () = tokio::time::sleep(PATIENCE) => {}
        }
        tokio::select! {
            biased;
            done = &mut operation => return Ok(done),
            alive = is_alive(server) => alive?,
        }
        if server.times_lost() != times_lost {
            return Err(no_answer(server, PATIENCE).caused_by("and it was lost sight of meanwhile"));
        }
    }
    Err(no_answer(server, LIMIT).caused_by("though it answers other questions"))
}

async fn is_alive(server: &Server) -> Result<()> {
    let database = server.client().database("admin");
    let asking = database.run_command(doc! {"ping": 1});
    let limit = server.address().options().connect_timeout.unwrap_or(PATIENCE).saturating_mul(2);
    match tokio::time::timeout(limit, asking.into_future()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(no_answer(server, PATIENCE).caused_by("and none to a new question either")),
    }
}

fn no_answer(server: &Server, waited: Duration) -> Error {
    let message = format!("no answer from {} for {} s", server.address().place(), waited.as_secs());
    Error::new(ErrorClass::Reconnect, message)
}
