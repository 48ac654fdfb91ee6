//! What is done to collections and databases, done on the target.
//!
//! | room | what is in it |
//! |---|---|
//! | `same` | whether a collection, or an index, is what it is to be (pure) |
//!
//! A statement comes again only by itself: everything before it is recorded before it is executed, and nothing after it is
//! executed before it is recorded. So a repetition is told by what the target is: what is to be dropped is not there, what
//! is to be made is there and is the same, what is to be renamed has its new name already. Error codes: MongoDB
//! documentation, Error Codes.

mod same;

use std::sync::atomic::Ordering;

use bson::{Document, doc};
use dt_common::{Error, ErrorClass, Result, TableId};
use dt_connector::{Batch, Op};
use futures_util::TryStreamExt;

use super::write::Shared;
use crate::alive::while_alive;
use crate::catalog::{self, Listed};
use crate::error::{DUPLICATE_KEY, classify, code};
use crate::raw::{self, RawValue, Writer};
use crate::sink::reply;

/// `NamespaceNotFound`.
const NAMESPACE_NOT_FOUND: i32 = 26;
/// `IndexNotFound`.
const INDEX_NOT_FOUND: i32 = 27;
/// `NamespaceExists`.
const NAMESPACE_EXISTS: i32 = 48;
/// `IndexOptionsConflict` and `IndexKeySpecsConflict`.
const ANOTHER_INDEX: [i32; 2] = [85, 86];

/// Executes the statement of a batch.
///
/// # Errors
/// The target refuses it.
pub(super) async fn execute(shared: &Shared, batch: &Batch) -> Result<()> {
    let damaged = || Error::fatal("a block of DDL is damaged");
    for (change, data) in batch.changes() {
        let Op::Ddl { command } = &change.op else { return Err(damaged()) };
        let command = data.get(command.clone()).ok_or_else(damaged)?;
        let name = raw::fields(command).next().and_then(|field| field.ok()).ok_or_else(damaged)?.name;
        let name = std::str::from_utf8(name).map_err(|_| damaged())?;
        let statement = Statement { shared, target: &change.table.target, name, command };
        statement.execute().await?;
    }
    Ok(())
}

/// One statement.
struct Statement<'s> {
    shared: &'s Shared,
    // Without a collection for all of a database.
    target: &'s TableId,
    name: &'s str,
    command: &'s [u8],
}

impl Statement<'_> {
    async fn execute(&self) -> Result<()> {
        if matches!(self.target.schema.as_str(), "admin" | "config" | "local")
            || self.target.table.starts_with("system.")
        {
            return Err(Error::user(format!(
                "`{}` of {}, which belongs to the target's server",
                self.name,
                self.place()
            ))
            .hint("give the collection another name on the target with [router]"));
        }
        // Only a first statement can have been executed by a process before this one.
        let may_repeat =
            !self.shared.has_applied.load(Ordering::Acquire) || self.shared.tries_ddl.swap(true, Ordering::AcqRel);
        match self.name {
            "create" => self.create().await?,
            "createIndexes" => self.create_indexes().await?,
            "dropIndexes" => self.drop_indexes().await?,
            "renameCollection" => self.rename(may_repeat).await?,
            "drop" => {
                let there = self.run(self.command.to_vec(), &[NAMESPACE_NOT_FOUND]).await?;
                self.forget(self.target);
                self.told(there.is_ok());
            }
            "dropDatabase" => {
                self.run(self.command.to_vec(), &[]).await?.map_err(|code| self.unexpected(code))?;
                self.shared.unique(|unique| unique.retain(|collection, _| collection.schema != self.target.schema));
                self.shared.places(|places| places.retain(|collection, _| collection.schema != self.target.schema));
                self.shared.ahead().forget(|collection| collection.schema == self.target.schema);
                self.told(true);
            }
            "collMod" => {
                self.run(self.command.to_vec(), &[]).await?.map_err(|code| self.unexpected(code))?;
                self.forget(self.target);
                self.told(true);
            }
            other => {
                return Err(Error::fatal(format!("a statement `{other}` came to MongoDB, which it does not have")));
            }
        }
        self.shared.tries_ddl.store(false, Ordering::Release);
        Ok(())
    }

    async fn create(&self) -> Result<()> {
        let made = self.run(self.command.to_vec(), &[NAMESPACE_EXISTS]).await?;
        self.forget(self.target);
        if made.is_err() {
            let wanted = Document::from_reader(self.command).map_err(|_| self.damaged())?;
            let found = catalog::listed(&self.shared.server, &self.target.schema).await?;
            match found.get(&self.target.table) {
                Some((Listed::Collection, options)) => {
                    if let Some(option) = same::another_option(&wanted, options) {
                        return Err(Error::user(format!("{} was made on the source, and is there on the target with other options", self.target))
                            .with("option", option)
                            .hint("drop or rename the target's, or make it with the source's options, and start the task again"));
                    }
                }
                Some((Listed::View | Listed::TimeSeries, _)) | None => {
                    return Err(Error::user(format!("{} was made on the source, and what has this name on the target is no collection that can be written to", self.target))
                        .hint("drop or rename it on the target, and start the task again"));
                }
            }
        }
        self.told(made.is_ok());
        Ok(())
    }

    async fn create_indexes(&self) -> Result<()> {
        let made = self.run(self.command.to_vec(), &ANOTHER_INDEX).await?;
        self.forget(self.target);
        if let Err(code) = made {
            let wanted = Document::from_reader(self.command).map_err(|_| self.damaged())?;
            let found = self.indexes().await?;
            let wanted = wanted.get_array("indexes").map(Vec::as_slice).unwrap_or_default();
            let wanted: Vec<&Document> = wanted.iter().filter_map(|index| index.as_document()).collect();
            if let Some(another) =
                wanted.into_iter().find(|wanted| !found.iter().any(|found| same::index(wanted, found)))
            {
                return Err(Error::user(format!(
                    "the target has an index on {} that stands in the way of one that the source made",
                    self.target
                ))
                .with("index", another.get_str("name").unwrap_or("?"))
                .with("code", code)
                .hint("drop the index of that name, or of those keys, on the target, and start the task again"));
            }
        }
        self.told(made.is_ok());
        Ok(())
    }

    async fn indexes(&self) -> Result<Vec<Document>> {
        let server = &self.shared.server;
        let listing = server.client().database(&self.target.schema);
        let listing = listing.run_cursor_command(doc! {"listIndexes": &self.target.table});
        let failed = |error: &mongodb::error::Error| classify(format!("listing the indexes of {}", self.target), error);
        let cursor = while_alive(server, listing.into_future()).await?.map_err(|error| failed(&error))?;
        cursor.try_collect().await.map_err(|error| failed(&error))
    }

    async fn drop_indexes(&self) -> Result<()> {
        let names = raw::field(self.command, "index").and_then(RawValue::document).ok_or_else(|| self.damaged())?;
        let mut there = false;
        for name in raw::fields(names) {
            let name = name.ok().and_then(|name| name.value.text()).ok_or_else(|| self.damaged())?;
            let mut command = Writer::new();
            command.text("dropIndexes", &self.target.table).text("index", &name);
            there |= self.run(command.finish(), &[NAMESPACE_NOT_FOUND, INDEX_NOT_FOUND]).await?.is_ok();
        }
        self.forget(self.target);
        self.told(there);
        Ok(())
    }

    async fn rename(&self, may_repeat: bool) -> Result<()> {
        let to = raw::field(self.command, "to").and_then(RawValue::text).ok_or_else(|| self.damaged())?;
        let to = to.split_once('.').map(|(database, collection)| TableId::new(database, collection));
        let to = to.ok_or_else(|| self.damaged())?;
        let renamed = self.run_on("admin", self.command.to_vec(), &[NAMESPACE_NOT_FOUND]).await?;
        self.forget(&to);
        self.forget(self.target);
        if renamed.is_ok() {
            self.told(true);
            return Ok(());
        }
        let is_there = catalog::listed(&self.shared.server, &to.schema).await?.contains_key(&to.table);
        match is_there && may_repeat {
            true => {
                tracing::warn!("{} is not on the target, and {to} is: this is taken for the rename that was done before the interruption", self.target);
                Ok(())
            }
            false => Err(Error::user(format!("{} was renamed to {to} on the source, and is not on the target", self.target))
                .hint("a collection that was empty when it was copied is not there: make it on the target, and start the task again; was it renamed there already, start the task without `rename_collection` in [filter] do_ddls until it is past this place")),
        }
    }

    async fn run(&self, command: Vec<u8>, answers: &[i32]) -> Result<std::result::Result<(), i32>> {
        self.run_on(&self.target.schema, command, answers).await
    }

    /// Runs a command; one of `answers` is an answer and no error.
    async fn run_on(&self, database: &str, command: Vec<u8>, answers: &[i32]) -> Result<std::result::Result<(), i32>> {
        let server = &self.shared.server;
        let command = self.shared.durability.with(&command).map_err(|raw::Malformed| self.damaged())?;
        let reply = match while_alive(server, server.command(database, command, None)).await? {
            Ok(reply) => reply,
            Err(error) => match code(&error) {
                Some(code) if answers.contains(&code) => return Ok(Err(code)),
                code => {
                    return Err(self.refused(classify(format!("`{}` of {}", self.name, self.place()), &error), code));
                }
            },
        };
        // Whether as many members have it as the write concern asks for.
        reply::outcome(&reply, self.target)?;
        Ok(Ok(()))
    }

    /// What the target does not do stops the task, for the documents that follow would not fit.
    fn refused(&self, error: Error, code: Option<i32>) -> Error {
        if error.class().is_transient() || code.is_none() {
            return error;
        }
        let hint = match code {
            Some(DUPLICATE_KEY) => {
                "documents of the target hold the same key, which those of the source did not when the index was made: remove what the source does not have, and start the task again"
            }
            Some(13) => {
                "the target's account needs the role readWrite, and for collMod and dropDatabase dbAdmin as well (or the `AnyDatabase` ones)"
            }
            Some(_) | None => {
                "do on the target what the source did, or what comes near to it; then start the task without this kind in [filter] do_ddls until it is past this place"
            }
        };
        error.with_class(ErrorClass::User).hint(hint)
    }

    fn unexpected(&self, code: i32) -> Error {
        Error::fatal(format!("`{}` of {}: error {code}", self.name, self.place()))
    }

    fn damaged(&self) -> Error {
        Error::fatal(format!("`{}` of {} is damaged", self.name, self.place()))
    }

    /// What is known of the collection was of another one.
    fn forget(&self, collection: &TableId) {
        self.shared.unique(|unique| unique.remove(collection));
        self.shared.places(|places| places.remove(collection));
        self.shared.ahead().forget(|held| held == collection);
    }

    fn told(&self, is_done: bool) {
        match is_done {
            true => tracing::info!("`{}` of {} was done on the target", self.name, self.place()),
            false => {
                tracing::info!("`{}` of {} leaves the target as it is, which is so already", self.name, self.place())
            }
        }
    }

    fn place(&self) -> String {
        match self.target.table.as_str() {
            "" => format!("`{}`", self.target.schema),
            _ => self.target.to_string(),
        }
    }
}
