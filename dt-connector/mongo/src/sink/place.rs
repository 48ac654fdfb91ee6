//! The collections that transactions write to: there before the first one, and such as take one.
//!
//! A transaction may make a collection, but not while another one makes it too; and none writes to a capped collection
//! (MongoDB documentation, Transactions and Operations).

use bson::{Document, doc};
use dt_common::{Error, Result, TableId};
use futures_util::TryStreamExt;

use super::reply;
use super::write::Shared;
use crate::alive::while_alive;
use crate::error::{classify, code};
use crate::raw::Writer;

/// MongoDB documentation, Error Codes: `NamespaceExists`.
const NAMESPACE_EXISTS: i32 = 48;

/// What is known of a collection of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// It is there, and transactions write to it.
    There,
    /// It is there, and no transaction writes to it.
    Capped,
    /// It is not there.
    Missing,
}

/// What the collection is, asked for once.
pub(super) async fn of(shared: &Shared, target: &TableId) -> Result<Place> {
    let known = shared.places(|places| places.get(target).copied());
    if let Some(known) = known {
        return Ok(known);
    }
    let place = look(shared, target).await?;
    if place != Place::Missing {
        shared.places(|places| places.insert(target.clone(), place));
    }
    if place == Place::Capped {
        tracing::warn!(
            "{target} is capped, and no transaction writes to it: its documents are written before their position, not together with it"
        );
    }
    Ok(place)
}

/// The same, made if it is missing.
pub(super) async fn made(shared: &Shared, target: &TableId) -> Result<Place> {
    for _ in 0..3 {
        match of(shared, target).await? {
            Place::Missing => make(shared, target).await?,
            there => return Ok(there),
        }
    }
    Err(Error::fatal("a collection was made and is not to be seen").with("collection", target))
}

async fn look(shared: &Shared, target: &TableId) -> Result<Place> {
    let database = shared.server.client().database(&target.schema);
    let listing = database.run_cursor_command(doc! {"listCollections": 1, "filter": {"name": &target.table}});
    let failed = |error: mongodb::error::Error| classify(format!("looking at {target}"), &error);
    let cursor = while_alive(&shared.server, listing.into_future()).await?.map_err(failed)?;
    let listed: Vec<Document> = cursor.try_collect().await.map_err(failed)?;
    Ok(match listed.first().map(|found| found.get_document("options")) {
        None => Place::Missing,
        Some(Ok(options)) if options.get_bool("capped").unwrap_or(false) => Place::Capped,
        Some(_) => Place::There,
    })
}

async fn make(shared: &Shared, target: &TableId) -> Result<()> {
    let mut command = Writer::new();
    command.text("create", &target.table);
    let doing = || format!("making {target}");
    let damaged = |_| Error::fatal("a command that makes a collection is damaged");
    let command = shared.durability.with(&command.finish()).map_err(damaged)?;
    match while_alive(&shared.server, shared.server.command(&target.schema, command, None)).await? {
        Ok(answer) => reply::outcome(&answer, target).map(drop),
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => Ok(()),
        Err(error) => Err(classify(doing(), &error)),
    }
}
