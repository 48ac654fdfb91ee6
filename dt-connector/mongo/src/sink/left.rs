//! Transactions that nobody will end, and what the server still holds for them.
//!
//! A server keeps the open transaction of a client that is gone for about a minute, with all documents that it has written, and
//! whoever writes them meanwhile waits or is refused (MongoDB documentation, Production Considerations, "Runtime Limit"). So a
//! target's connections are listed under a name that tells the task. What stands still under that name, and is not one of this
//! process's own, was left by a process of the task that was killed, or lies behind a link that was lost.
//!
//! Transactions of positions are not found so: they have a guard (see `inscription`).

use bson::{Binary, Bson, Document, Uuid, doc};
use dt_common::{Error, Result};
use futures_util::TryStreamExt;
use mongodb::ClientSession;

use super::write::Shared;
use crate::alive::while_alive;
use crate::error::classify;

/// A transaction of this process. Dropped, it is ended without its changes.
pub(super) struct Open<'s> {
    pub(super) session: ClientSession,
    _own: Own<'s>,
}

/// Is not left, for as long as this is there.
struct Own<'s> {
    shared: &'s Shared,
    id: Option<Uuid>,
}

impl Drop for Own<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.shared.open(|open| open.remove(&id));
        }
    }
}

/// Begins a transaction.
pub(super) async fn begin<'s>(shared: &'s Shared, doing: &str) -> Result<Open<'s>> {
    let failed = |error| classify(doing, &error);
    let mut session = shared.server.client().start_session().await.map_err(failed)?;
    let id = id_of(session.id());
    shared.open(|open| open.extend(id));
    let own = Own { shared, id };
    let starting = session.start_transaction().write_concern(shared.durability.concern());
    starting.await.map_err(failed)?;
    Ok(Open { session, _own: own })
}

/// Ends what was left.
///
/// # Errors
/// Of class reconnect: the server is away. If it only does not let us look, or end them, they are waited for.
pub(super) async fn end(shared: &Shared) -> Result<()> {
    let Some(name) = shared.server.address().name_of_task().filter(|_| shared.server.has_transactions()) else {
        return Ok(());
    };
    let looking = async {
        let still = doc! {"appName": name, "active": false, "transaction": {"$exists": true}};
        let stages = [
            doc! {"$currentOp": {"allUsers": false, "idleSessions": true}},
            doc! {"$match": still},
            doc! {"$project": {"lsid": 1}},
        ];
        let listed = shared.server.client().database("admin").aggregate(stages).await?;
        listed.try_collect::<Vec<Document>>().await
    };
    let asked = while_alive(&shared.server, looking).await?;
    let listed = match asked.map_err(|error| classify("looking for transactions that were left", &error)) {
        Ok(listed) => listed,
        Err(error) => return unless_away(error),
    };
    let own = shared.open(|open| open.clone());
    let found = listed.iter().filter_map(|found| id_of(found.get_document("lsid").ok()?));
    let left: Vec<Uuid> = found.filter(|id| !own.contains(id)).collect();
    if left.is_empty() {
        return Ok(());
    }
    let sessions: Vec<Document> = left.iter().map(|id| doc! {"id": Binary::from(*id)}).collect();
    let admin = shared.server.client().database("admin");
    let killing = admin.run_command(doc! {"killSessions": sessions});
    match while_alive(&shared.server, killing.into_future()).await? {
        Ok(_) => {
            tracing::info!(
                "{} transactions of an earlier process, or of a lost connection, were still open on the target: they were ended there",
                left.len()
            );
            Ok(())
        }
        Err(error) => unless_away(classify("ending transactions that were left", &error)),
    }
}

fn unless_away(error: Error) -> Result<()> {
    match error.class() {
        dt_common::ErrorClass::Reconnect => Err(error),
        _ => {
            tracing::debug!("{error}");
            Ok(())
        }
    }
}

fn id_of(session: &Document) -> Option<Uuid> {
    match session.get("id") {
        Some(Bson::Binary(id)) => id.to_uuid().ok(),
        Some(_) | None => None,
    }
}
