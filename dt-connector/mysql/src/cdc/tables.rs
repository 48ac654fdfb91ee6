//! What the tables in the binlog are: found in the source's catalog, brought together with what the binlog says of
//! them, and remembered until a statement may have changed them.
//!
//! Rows are decoded by the schema of their moment. The catalog has the schema of now; if the two do not fit and the
//! binlog does not describe its columns itself, the task stops and names the table.

use std::collections::HashMap;
use std::sync::Arc;

use dt_common::schema::{Column, Key, TableSchema};
use dt_common::{Error, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::router::Router;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::assemble::FollowedTable;
use super::binlog::TableMap;
use super::metadata::{self, Collations};
use super::row::{Mismatch, RowPlan};
use crate::catalog::{self, Definition};
use crate::config::Address;
use crate::connect::{self, Flavor, Session};
use crate::error::classify;

/// The tables met so far.
#[derive(Debug)]
pub struct Tables {
    filter: Arc<Filter>,
    router: Arc<Router>,
    known: HashMap<TableId, (TableMap, Arc<FollowedTable>)>,
}

impl Tables {
    /// Nothing met yet.
    pub fn new(filter: Arc<Filter>, router: Arc<Router>) -> Self {
        Tables { filter, router, known: HashMap::new() }
    }

    /// Forgets all tables: a statement may have changed any of them.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// What the map's table is; `None` if its changes are not copied.
    pub async fn find(
        &mut self,
        address: &Address,
        flavor: Flavor,
        map: &TableMap,
    ) -> Result<Option<Arc<FollowedTable>>> {
        let id = TableId::new(&map.schema, &map.table);
        if !self.filter.passes(&id) {
            return Ok(None);
        }
        if let Some((known, followed)) = self.known.get(&id)
            && is_same(known, map)
        {
            return Ok(Some(followed.clone()));
        }
        let asking = async |conn: &mut Conn| self.asked(conn, flavor, &id, map).await;
        let (schema, plan) = connect::asking(address, flavor, &Session::Read, asking).await?;
        let plan = match &schema.key {
            Some(key) => plan.with_key(&key.columns),
            None => plan,
        };
        let table = Arc::new(self.router.route(schema)?);
        let followed = Arc::new(FollowedTable { table, plan });
        self.known.insert(id, (map.clone(), followed.clone()));
        Ok(Some(followed))
    }

    async fn asked(
        &self,
        conn: &mut Conn,
        flavor: Flavor,
        id: &TableId,
        map: &TableMap,
    ) -> Result<(TableSchema, RowPlan)> {
        let definition = catalog::definition(conn, flavor, &self.filter, id).await?;
        if definition.as_ref().is_some_and(|definition| definition.versioned) {
            return Err(Error::user(
                "changes of a table WITH SYSTEM VERSIONING cannot be followed: its binlog holds old rows as new ones",
            )
            .with("table", id)
            .hint("leave the table out with [filter] ignore_tbs; a snapshot copies its present rows"));
        }
        match fitting(id, definition.as_ref(), map) {
            Ok((definition, plan)) => Ok((definition.schema.clone(), plan)),
            Err(misfit) => {
                let collations = collations(conn).await?;
                self.as_described(id, definition.as_ref(), map, &collations).ok_or(misfit)
            }
        }
    }

    /// The table as the binlog describes it.
    fn as_described(
        &self,
        id: &TableId,
        now: Option<&Definition>,
        map: &TableMap,
        collations: &Collations,
    ) -> Option<(TableSchema, RowPlan)> {
        let columns = metadata::columns(map, collations)?;
        let ignored = self.filter.ignored_columns(id);
        let generated: Vec<&str> = now.iter().flat_map(|now| &now.generated).map(String::as_str).collect();
        let copied: Vec<usize> = (0..columns.len())
            .filter(|&at| !ignored.contains(&columns[at].name) && !generated.contains(&columns[at].name.as_str()))
            .collect();
        let plan = RowPlan::new(&columns, &copied, map).ok()?;
        let copied_columns: Vec<Column> = copied.iter().map(|&at| columns[at].clone()).collect();
        let key = key_of(map, &columns, &copied_columns, now);
        let schema = TableSchema { id: id.clone(), columns: copied_columns, key, rows_estimate: 0 };
        tracing::info!("{id}: its rows are read as the binlog describes them, for the table has been altered since");
        Some((schema, plan))
    }
}

/// The primary key that the map names, or else the key that the table has now, if its columns are still the same ones.
fn key_of(map: &TableMap, columns: &[Column], copied: &[Column], now: Option<&Definition>) -> Option<Key> {
    let place = |name: &str| copied.iter().position(|column| column.name == name);
    let named = map.primary_key.as_ref().filter(|parts| parts.iter().all(|part| part.prefix.is_none()));
    let primary = named.and_then(|parts| {
        let places: Option<Vec<usize>> =
            parts.iter().map(|part| columns.get(part.column).and_then(|column| place(&column.name))).collect();
        places.filter(|places| !places.is_empty())
    });
    if let Some(columns) = primary {
        return Some(Key { name: "PRIMARY".to_owned(), columns, nullable: false });
    }
    let now = &now?.schema;
    let key = now.key.as_ref()?;
    let columns: Option<Vec<usize>> = key.columns.iter().map(|&at| place(&now.columns[at].name)).collect();
    Some(Key { columns: columns?, ..key.clone() })
}

fn fitting<'a>(id: &TableId, definition: Option<&'a Definition>, map: &TableMap) -> Result<(&'a Definition, RowPlan)> {
    let Some(definition) = definition else {
        return Err(Error::user("the source has no such table any more, and its binlog does not describe the columns")
            .with("table", id)
            .hint("leave the table out with [filter] ignore_tbs; or set binlog_row_metadata=FULL before tables are dropped or renamed"));
    };
    match RowPlan::new(&definition.columns, &definition.copied, map) {
        Ok(plan) => Ok((definition, plan)),
        Err(mismatch) => Err(unfitting(id, &mismatch)),
    }
}

fn unfitting(id: &TableId, mismatch: &Mismatch) -> Error {
    Error::user("the rows of a table in the binlog cannot be read by its definition: it has been altered since, or is of a kind that dt does not read, and the binlog does not describe its columns")
        .with("table", id)
        .caused_by(mismatch.to_string())
        .hint(mismatch.hint.unwrap_or("set binlog_row_metadata=FULL on the source, copy the table again with a snapshot, and follow the changes from there; or leave the table out with [filter] ignore_tbs"))
}

/// Whether rows behind the one can be read like rows behind the other.
fn is_same(one: &TableMap, other: &TableMap) -> bool {
    TableMap { table_id: other.table_id, ..one.clone() } == *other
}

async fn collations(conn: &mut Conn) -> Result<Collations> {
    // MariaDB's collations have their full names and numbers in the other table.
    let listed: Vec<(u64, String, String)> = conn
        .query("SELECT id, character_set_name, collation_name FROM information_schema.collations WHERE id IS NOT NULL AND character_set_name IS NOT NULL")
        .await
        .map_err(|error| classify("reading the source's collations", error))?;
    Ok(listed.into_iter().map(|(id, charset, collation)| (id, (charset, collation))).collect())
}
