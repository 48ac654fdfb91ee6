//! The position collection itself: looked at, and made if it is missing.

use bson::{Document, doc};
use dt_common::{Error, ErrorClass, Result, TableId};

use super::error::{NAMESPACE_EXISTS, UNAUTHORIZED, classify, code, is};
use super::session::Session;

/// Asks the server whether it has what positions need. Nothing is retried: an address that does not answer is for the user to
/// see at once.
///
/// # Errors
/// It does not answer, or has no transactions.
pub(crate) async fn check_server(session: &Session) -> Result<()> {
    let hello = match session.answer("admin", doc! {"hello": 1}).await {
        Ok(hello) => hello,
        Err(error) if error.class().is_transient() => {
            return Err(error
                .with_class(ErrorClass::User)
                .hint("check that the server runs, and host and port in the url"));
        }
        Err(error) => return Err(error),
    };
    // MongoDB documentation, `hello`: a `mongos` says `msg: isdbgrid`, a member its `setName`.
    if hello.contains_key("setName") || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid") {
        return Ok(());
    }
    Err(Error::user(
        "a standalone MongoDB server has no transactions, and cannot keep positions together with documents",
    )
    .hint(
        "make it a replica set, of one member too (--replSet and rs.initiate()); or set [resumer] resume_type=from_log",
    ))
}

/// Whether the collection is there.
///
/// # Errors
/// What has its name cannot keep positions.
pub(crate) async fn look(session: &Session, table: &TableId) -> Result<bool> {
    let name = format!("{}.{}", table.schema, table.table);
    let refused = |why: &str| {
        Error::user("what has the position collection's name cannot keep positions")
            .with("collection", &name)
            .caused_by(why)
            .hint("choose another [resumer] table_full_name; the collection is made by the task")
    };
    if ["admin", "config", "local"].contains(&table.schema.as_str()) || table.table.starts_with("system.") {
        return Err(refused("it belongs to the server"));
    }
    let listing = doc! {"$db": &table.schema, "listCollections": 1, "filter": {"name": &table.table}};
    let listed = session.listed(listing).await.map_err(|error| denied(error, table))?;
    let Some(found) = listed.first() else { return Ok(false) };
    let none = Document::new();
    let options = found.get_document("options").unwrap_or(&none);
    if found.get_str("type").ok() != Some("collection") {
        return Err(refused("it is no plain collection"));
    }
    if options.contains_key("collation") || options.get_bool("capped").unwrap_or(false) {
        return Err(refused("it is capped, or has a collation"));
    }
    Ok(true)
}

/// The collection, made if it is missing.
///
/// # Errors
/// As for looking; or the account may not make it.
pub(crate) async fn ensure(session: &Session, table: &TableId) -> Result<()> {
    if look(session, table).await? {
        return Ok(());
    }
    // A transaction should not have to make it.
    let database = session.client().database(&table.schema);
    match database.create_collection(&table.table).await {
        Ok(()) => Ok(()),
        Err(error) if code(&error) == Some(NAMESPACE_EXISTS) => look(session, table).await.map(drop),
        Err(error) => Err(denied(classify("making the position collection", &error), table)),
    }
}

/// The error; with what an administrator can do, if the account may not.
pub(crate) fn denied(error: Error, table: &TableId) -> Error {
    if !is(&error, UNAUTHORIZED) {
        return error;
    }
    error.with("collection", format!("{}.{}", table.schema, table.table)).hint(format!(
        "the account needs the role readWrite on the database `{0}`: db.grantRolesToUser(…, [{{role: \"readWrite\", db: \"{0}\"}}])",
        table.schema
    ))
}
