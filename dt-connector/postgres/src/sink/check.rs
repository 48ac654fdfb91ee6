//! Does the target have what the rows need? Everything that does not fit is found before the first row, in one list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};

use super::fit;
use crate::catalog::types::Types;
use crate::catalog::{CatalogColumn, Index, Relation, read};
use crate::connect::{Conn, Server};
use crate::sql;

/// The target's tables.
#[derive(Debug, Default)]
pub struct Found {
    relations: HashMap<TableId, Relation>,
    columns: HashMap<TableId, Vec<CatalogColumn>>,
    indexes: HashMap<TableId, Vec<Index>>,
    is_sql_ascii: bool,
}

impl Found {
    /// Reads all relations of these schemas.
    pub async fn read<'a>(conn: &Conn, server: &Server, schemas: impl Iterator<Item = &'a str>) -> Result<Self> {
        let within = format!("n.nspname IN ({})", sql::strings(schemas));
        let types = Types::read(conn, server).await?;
        Ok(Found {
            relations: read::relations(conn, &within).await?.into_iter().collect(),
            columns: read::columns(conn, server, &types, &within).await?,
            indexes: read::indexes(conn, server, &within).await?,
            is_sql_ascii: server.is_sql_ascii,
        })
    }

    /// A table that has nothing but unique indexes.
    #[cfg(test)]
    pub(super) fn of_indexes(table: TableId, indexes: Vec<Index>) -> Self {
        Found { indexes: HashMap::from([(table, indexes)]), ..Found::default() }
    }

    /// A relation; `None` if it is not there.
    pub fn relation(&self, table: &TableId) -> Option<&Relation> {
        self.relations.get(table)
    }

    /// A table's columns; none if it is not there.
    pub fn columns(&self, table: &TableId) -> &[CatalogColumn] {
        self.columns.get(table).map_or(&[], Vec::as_slice)
    }

    /// A table's unique indexes.
    pub fn indexes(&self, table: &TableId) -> &[Index] {
        self.indexes.get(table).map_or(&[], Vec::as_slice)
    }

    /// The target's column for each of the source's.
    pub fn pairs<'a>(
        &'a self,
        table: &'a RoutedTable,
    ) -> impl Iterator<Item = (&'a dt_common::schema::Column, &'a CatalogColumn)> {
        let columns = self.columns(&table.target);
        table.source.columns.iter().zip(&table.target_columns).filter_map(|(source, name)| {
            columns.iter().find(|column| column.column.name == *name).map(|column| (source, column))
        })
    }

    /// Whether a row of this table that is written again meets itself: some unique key on the target lies within the
    /// source's key. Never true for a table without a key.
    pub fn meets_itself(&self, table: &RoutedTable) -> bool {
        let key = key_on_target(table);
        let within = |index: &Index| {
            index.columns.iter().all(|column| column.name.as_deref().is_some_and(|name| key.contains(&name)))
        };
        self.indexes(&table.target).iter().any(|index| index.usable && within(index))
    }
}

/// The names that the columns of the source's key have on the target.
pub fn key_on_target(table: &RoutedTable) -> Vec<&str> {
    let places = table.source.key.iter().flat_map(|key| &key.columns);
    places.map(|&at| table.target_columns[at].as_str()).collect()
}

/// The most misfits that one message lists; the rest is counted.
const LISTED_MAX: usize = 50;

/// Compares; the error lists every misfit.
pub fn compare(tables: &[Arc<RoutedTable>], found: &Found) -> Result<()> {
    let mut misfits: Vec<String> = Vec::new();
    for table in tables {
        table_misfits(table, found, &mut misfits);
    }
    if misfits.is_empty() {
        return Ok(());
    }
    let more = misfits.len().saturating_sub(LISTED_MAX);
    let mut lines: Vec<String> = misfits.iter().take(LISTED_MAX).map(|misfit| format!("\n    - {misfit}")).collect();
    if more > 0 {
        lines.push(format!("\n    - and {more} more"));
    }
    Err(Error::user(format!("the target does not have what the rows need ({} misfits):{}", misfits.len(), lines.concat()))
        .hint("create or change the tables on the target, grant what is missing, or leave tables and columns out with [filter] ignore_tbs and ignore_cols, or rename them with [router]"))
}

fn table_misfits(table: &RoutedTable, found: &Found, misfits: &mut Vec<String>) {
    let target = &table.target;
    let Some(relation) = found.relation(target) else {
        misfits.push(format!("table {target} is missing{}", renamed(table)));
        return;
    };
    let not_a_table = match relation.kind {
        'r' | 'p' => None,
        'v' => Some("a view"),
        'm' => Some("a materialized view"),
        'f' => Some("a foreign table"),
        _ => Some("something else"),
    };
    if let Some(kind) = not_a_table {
        misfits.push(format!("{target} is {kind}, not a table{}", renamed(table)));
        return;
    }
    let columns = found.columns(target);
    if !relation.may_insert {
        misfits.push(format!("{target}: no INSERT privilege, or no USAGE on its schema"));
    }
    if relation.hides_rows {
        misfits.push(format!("{target}: a policy of row-level security holds for the account"));
    }
    let is_ascii = table.source.columns.iter().any(|column| column.charset.as_deref() == Some("SQL_ASCII"));
    if is_ascii && !found.is_sql_ascii {
        misfits.push(format!(
            "{target}: texts of the source are bytes in no known encoding (SQL_ASCII), and the target's database has one"
        ));
    }
    let key_columns = table.source.key_columns();
    for (source, name) in table.source.columns.iter().zip(&table.target_columns) {
        let place = format!("{target}, column `{name}`");
        let Some(column) = columns.iter().find(|column| column.column.name == *name) else {
            misfits.push(format!("{place}, is missing"));
            continue;
        };
        if column.generated {
            misfits.push(format!("{place}, is generated there and cannot be written"));
        } else if relation.may_insert && !column.may_insert {
            misfits.push(format!("{place}: no INSERT privilege"));
        } else if let Some(why) = fit::misfit(source, column) {
            misfits.push(format!("{place}: {why}"));
        } else if key_columns.contains(&source.name.as_str())
            && let Some(why) = fit::key_misfit(source, column)
        {
            misfits.push(format!("{place}: {why}"));
        }
    }
    let written: HashSet<&str> = table.target_columns.iter().map(String::as_str).collect();
    for column in columns {
        if !column.generated && !column.optional && !written.contains(column.column.name.as_str()) {
            misfits.push(format!(
                "{target}, column `{}`, is NOT NULL without a default and is not among the columns copied",
                column.column.name
            ));
        }
    }
    // Not a misfit, but the promise is weaker: say so.
    if table.source.key.is_some() && !found.meets_itself(table) {
        tracing::warn!(
            "{target} has no unique key on ({}) on the target: rows that are written again after an interruption will be there twice",
            key_on_target(table).join(", ")
        );
    }
}

fn renamed(table: &RoutedTable) -> String {
    if table.source.id == table.target { String::new() } else { format!(" (for {} of the source)", table.source.id) }
}
