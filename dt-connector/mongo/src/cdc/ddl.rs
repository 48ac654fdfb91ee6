//! What becomes of something that was done to a collection or a database: the command that does the same on the target, a
//! word in the log, or an error where changes alone cannot say it. Pure.

use std::sync::Arc;

use dt_common::config::DdlKind;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::router::Router;

use super::row::{Action, Ddl};
use crate::catalog;
use crate::raw::{self, Writer};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub enum Plan {
    /// Nothing, and nothing is said.
    Nothing,
    /// It is not replicated, which the log says if it concerns what is copied.
    Tell,
    /// It is done on the target.
    Apply(Planned),
}

/// A statement for the target.
#[derive(Debug, PartialEq, Eq)]
pub struct Planned {
    /// The collection; of a database, one without a name.
    pub table: Arc<RoutedTable>,
    /// The command, a document.
    pub command: Vec<u8>,
    /// Whether it may be done before what precedes it in its transaction, and again after that.
    pub may_come_first: bool,
}

/// What the source says besides the options of a collection, or of an index.
const NOT_OPTIONS: [&[u8]; 7] = [b"create", b"createIndexes", b"collMod", b"idIndex", b"temp", b"uuid", b"ns"];

/// What becomes of it.
///
/// # Errors
/// It is asked for, and the target cannot be told by what is known.
pub fn plan(filter: &Filter, router: &Router, ddl: &Ddl<'_>) -> Result<Plan> {
    let (kind, may_come_first) = match &ddl.action {
        Action::Create(options) if is_made_by_server(ddl, options) => return Ok(Plan::Tell),
        Action::Create(_) => (DdlKind::CreateCollection, true),
        Action::Drop => (DdlKind::DropCollection, false),
        Action::Rename { .. } => (DdlKind::RenameCollection, false),
        Action::DropDatabase => (DdlKind::DropDatabase, false),
        Action::CreateIndexes(_) => (DdlKind::CreateIndex, true),
        Action::DropIndexes(_) => (DdlKind::DropIndex, false),
        Action::Modify(_) => (DdlKind::ModifyCollection, false),
        Action::Progress => return Ok(Plan::Nothing),
        Action::Other => return Ok(Plan::Tell),
    };
    if kind == DdlKind::DropDatabase && filter.ddls().hold(DdlKind::DropCollection) {
        // Its collections were dropped one by one in front of it, and a database is no more without any.
        return Ok(Plan::Nothing);
    }
    if !filter.ddls().hold(kind) {
        return Ok(Plan::Tell);
    }
    let Some(collection) = ddl.collection.filter(|_| kind != DdlKind::DropDatabase) else {
        return drop_database(filter, router, ddl.database);
    };
    let id = TableId::new(ddl.database, collection);
    let is_copied = passes(filter, &id);
    let mut command = Writer::new();
    let target = router.target_of(&id);
    match &ddl.action {
        Action::Rename { drop_target } => {
            let to = ddl.to.map(|(database, collection)| TableId::new(database, collection));
            let to = to.ok_or_else(|| Error::fatal(format!("a rename of {id} does not say to which name")))?;
            match (is_copied, passes(filter, &to)) {
                (false, false) => return Ok(Plan::Tell),
                (true, true) => {}
                (_, is_copied) => return Err(only_one_is_copied(&id, &to, is_copied)),
            }
            if is_capped_copy(collection) {
                return Err(Error::user(format!("{to} was made a capped collection on the source, which the source copies without saying its documents"))
                    .hint(format!("run convertToCapped on {} of the target; then start the task without `rename_collection` in [filter] do_ddls until it is past this place", router.target_of(&to))));
            }
            for name in [&id, &to] {
                refuse_merged(filter, router, name, ddl.what)?;
            }
            let to = router.target_of(&to);
            if to.schema != target.schema {
                return Err(Error::user(format!("{id} was renamed on the source, and [router] has its new name in another database of the target: {target}, {to}"))
                    .hint("rename it on the target yourself; then start the task without `rename_collection` in [filter] do_ddls until it is past this place"));
            }
            let full = |id: &TableId| format!("{}.{}", id.schema, id.table);
            command.text("renameCollection", &full(&target)).text("to", &full(&to)).flag("dropTarget", *drop_target);
        }
        _ if !is_copied => return Ok(Plan::Tell),
        Action::Create(options) => {
            command.text("create", &target.table);
            copy(options, &mut command)?;
        }
        Action::CreateIndexes(specs) => {
            command.text("createIndexes", &target.table).open_array("indexes");
            for (at, spec) in specs.iter().enumerate() {
                command.open(&at.to_string());
                copy(spec, &mut command)?;
                // A specification that has none means the comparison of bytes, whatever the collection has.
                if raw::field(spec, "collation").is_none() {
                    command.open("collation").text("locale", "simple").close();
                }
                command.close();
            }
            command.close();
        }
        Action::Modify(changes) => {
            refuse_merged(filter, router, &id, ddl.what)?;
            command.text("collMod", &target.table);
            copy(changes, &mut command)?;
        }
        Action::DropIndexes(names) => {
            refuse_merged(filter, router, &id, ddl.what)?;
            command.text("dropIndexes", &target.table).open_array("index");
            for (at, name) in names.iter().enumerate() {
                command.text(&at.to_string(), name);
            }
            command.close();
        }
        Action::Drop => {
            refuse_merged(filter, router, &id, ddl.what)?;
            command.text("drop", &target.table);
        }
        Action::DropDatabase | Action::Progress | Action::Other => return Ok(Plan::Tell),
    }
    catalog::refuse_what_is_for_columns(filter, &id)?;
    let table = Arc::new(router.route(catalog::schema(id, None, 0))?);
    Ok(Plan::Apply(Planned { table, command: command.finish(), may_come_first }))
}

/// A database is dropped whole or not at all: what is not copied of it, or comes from elsewhere, stays.
fn drop_database(filter: &Filter, router: &Router, database: &str) -> Result<Plan> {
    if !filter.may_pass_schema(database) {
        return Ok(Plan::Tell);
    }
    let target = router.whole_schema(database, |other| filter.may_pass_schema(other));
    let Some(target) = target.filter(|_| filter.passes_whole_schema(database)) else {
        return Err(Error::user(format!("`{database}` was dropped on the source, and is not copied as a whole, or not alone, to a database of the target"))
            .hint("drop its collections on the target yourself, and add `drop_collection` to [filter] do_ddls: then those of the next one are dropped one by one"));
    };
    let source = catalog::schema(TableId::new(database, ""), None, 0);
    let table = RoutedTable { source, target: TableId::new(target, ""), target_columns: Vec::new() };
    let mut command = Writer::new();
    command.int("dropDatabase", 1);
    Ok(Plan::Apply(Planned { table: Arc::new(table), command: command.finish(), may_come_first: false }))
}

/// Whether the collection's changes are copied.
fn passes(filter: &Filter, id: &TableId) -> bool {
    !id.table.starts_with("system.") && filter.passes(id)
}

/// A copy of a collection that the server makes for itself, a view, or a time-series collection.
fn is_made_by_server(ddl: &Ddl<'_>, options: &[u8]) -> bool {
    ddl.collection.is_some_and(is_capped_copy)
        || ["viewOn", "timeseries"].iter().any(|name| raw::field(options, name).is_some())
}

/// What `convertToCapped` fills and puts in the collection's place (MongoDB server, `capped_utils.cpp`).
fn is_capped_copy(collection: &str) -> bool {
    collection.starts_with("tmp") && collection.contains(".convertToCapped.")
}

fn copy(options: &[u8], command: &mut Writer) -> Result<()> {
    for field in raw::fields(options) {
        let field = field.map_err(|raw::Malformed| Error::fatal("the options of a collection are damaged"))?;
        if !NOT_OPTIONS.contains(&field.name) {
            command.put(field.name, field.value);
        }
    }
    Ok(())
}

/// What is done to one of them would be done to the documents of the other as well.
fn refuse_merged(filter: &Filter, router: &Router, id: &TableId, what: &str) -> Result<()> {
    let Some(other) = router.meets(id, |other| passes(filter, other)) else { return Ok(()) };
    Err(Error::user(format!("`{what}` of {id} cannot be replicated: {other} goes to the same collection of the target"))
        .with("target", router.target_of(id))
        .hint(format!("if {other} is not there, or not wanted, leave it out with [filter] ignore_tbs; else do on the target what is right for both, and start the task without this kind in do_ddls until it is past this place")))
}

fn only_one_is_copied(from: &TableId, to: &TableId, is_new_copied: bool) -> Error {
    let what = format!("{from} was renamed to {to} on the source, and only one of them passes the filter");
    let error = Error::user(what);
    match is_new_copied {
        true => error.hint(format!("the documents of {to} are not known here: let both pass ([filter] do_tbs, with `tmp*` for what $out makes) and copy {to} again with a snapshot; or start the task without `rename_collection` in do_ddls until it is past this place")),
        false => error.hint(format!("let both pass the filter and copy {to} with a snapshot; or drop {from} on the target if it is not wanted, and start the task without `rename_collection` in do_ddls until it is past this place")),
    }
}

#[cfg(test)]
mod tests;
