//! What the server knows of its tables: columns, keys, and the key that each table is read by.
//!
//! Plain tables are each read by themselves (`ONLY`), whatever inherits from them. A partitioned table is read through
//! its root, and its partitions are not tables of their own, unless the filter lets a partition pass and not its root.

mod held;
mod key;
pub mod read;
pub mod types;

use std::collections::{BTreeMap, HashMap};

use dt_common::schema::TableSchema;
use dt_common::{Error, ErrorClass, Result, TableId};
use dt_connector::filter::Filter;

use crate::connect::{Conn, Server};
use crate::error::{classify, state};
use crate::sql;
pub use held::holds_rows;
pub use read::{CatalogColumn, Index, Operators, Relation};
use types::Types;

/// A table of the source with what reading it needs beside its schema.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The table in the catalog.
    pub relation: Relation,
    /// All columns, in the table's order, the ones that are not copied included.
    pub columns: Vec<CatalogColumn>,
    /// The places in `columns` of those that are copied.
    pub copied: Vec<usize>,
    /// All unique indexes.
    pub indexes: Vec<Index>,
    /// The operators of the key's columns, in the key's order.
    pub key_operators: Vec<Operators>,
    /// What is copied.
    pub schema: TableSchema,
}

impl Definition {
    /// The column of the catalog that the schema's column at this place is.
    pub fn copied_column(&self, at: usize) -> &CatalogColumn {
        &self.columns[self.copied[at]]
    }

    /// What to read from: the table alone, or a partitioned table with all of its partitions.
    pub fn from_clause(&self) -> String {
        let only = if self.relation.kind == 'p' { "" } else { "ONLY " };
        format!("{only}{}", sql::table(&self.schema.id))
    }
}

/// The base tables that pass the filter, ordered by schema, then name; `ignore_cols` and generated columns left out.
pub async fn tables(conn: &Conn, server: &Server, filter: &Filter) -> Result<Vec<Definition>> {
    let schemas: Vec<String> =
        read::schemas(conn).await?.into_iter().filter(|schema| filter.may_pass_schema(schema)).collect();
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let within = format!("n.nspname IN ({})", sql::strings(schemas.iter().map(String::as_str)));
    let relations = read::relations(conn, &within).await?;
    let passing = passing(relations, filter);
    let types = Types::read(conn, server).await?;
    let mut columns = read::columns(conn, server, &types, &within).await?;
    let mut indexes = read::indexes(conn, server, &within).await?;
    let tables = passing.into_iter().map(|(id, relation)| {
        let columns = columns.remove(&id).unwrap_or_default();
        let indexes = indexes.remove(&id).unwrap_or_default();
        define(id, relation, columns, indexes, filter)
    });
    let tables = tables.collect::<Result<Vec<Definition>>>()?;
    refuse_what_cannot_be_read(&tables)?;
    for table in &tables {
        if let Some(condition) = filter.condition(&table.schema.id) {
            check_condition(conn, table, condition).await?;
        }
    }
    Ok(tables)
}

/// One table as it is now; `None` if there is no base table of that name. A partition is a table here.
pub async fn definition(conn: &Conn, server: &Server, filter: &Filter, id: &TableId) -> Result<Option<Definition>> {
    let within = format!("n.nspname = {} AND c.relname = {}", sql::string(&id.schema), sql::string(&id.table));
    let found = read::relations(conn, &within).await?.into_iter().find(|(_, relation)| is_base(relation));
    let Some((id, relation)) = found else { return Ok(None) };
    let types = Types::read(conn, server).await?;
    let columns = read::columns(conn, server, &types, &within).await?.remove(&id).unwrap_or_default();
    let indexes = read::indexes(conn, server, &within).await?.remove(&id).unwrap_or_default();
    define(id, relation, columns, indexes, filter).map(Some)
}

fn is_base(relation: &Relation) -> bool {
    matches!(relation.kind, 'r' | 'p') && !relation.temporary
}

/// The base tables that pass. What passes the filter and is none is named in the log (pure but for that).
fn passing(relations: Vec<(TableId, Relation)>, filter: &Filter) -> BTreeMap<TableId, Relation> {
    let by_oid: HashMap<u32, (bool, Option<u32>)> = relations
        .iter()
        .map(|(id, relation)| (relation.oid, (filter.passes(id) && is_base(relation), relation.partition_of)))
        .collect();
    // A partition of another schema's table has a parent that is not among these.
    let is_within_a_passing_root = |relation: &Relation| {
        let mut parent = relation.partition_of;
        while let Some(oid) = parent {
            let Some(&(passes, next)) = by_oid.get(&oid) else { return false };
            if passes {
                return true;
            }
            parent = next;
        }
        false
    };
    let mut rows_of_partitions: HashMap<u32, u64> = HashMap::new();
    for (_, relation) in &relations {
        let mut parent = relation.partition_of;
        while let Some(oid) = parent.filter(|_| relation.kind == 'r') {
            *rows_of_partitions.entry(oid).or_default() += relation.rows_estimate;
            parent = by_oid.get(&oid).and_then(|(_, parent)| *parent);
        }
    }
    let mut passing = BTreeMap::new();
    for (id, mut relation) in relations {
        if !filter.passes(&id) || is_within_a_passing_root(&relation) {
            continue;
        }
        let kind = match relation.kind {
            'r' | 'p' if relation.temporary => "a temporary table",
            'r' | 'p' => {
                if relation.kind == 'p' {
                    relation.rows_estimate = rows_of_partitions.get(&relation.oid).copied().unwrap_or(0);
                }
                passing.insert(id, relation);
                continue;
            }
            'v' => "a view",
            'm' => "a materialized view",
            'f' => "a foreign table",
            _ => "no table",
        };
        tracing::info!("{id} passes the filter but is {kind}: it is left out");
    }
    passing
}

/// One table out of the catalog's pieces (pure).
fn define(
    id: TableId,
    relation: Relation,
    columns: Vec<CatalogColumn>,
    indexes: Vec<Index>,
    filter: &Filter,
) -> Result<Definition> {
    let names: Vec<&str> = columns.iter().map(|column| column.column.name.as_str()).collect();
    let unknown = filter.unknown_ignored_columns(&id, &names);
    if !unknown.is_empty() {
        return Err(Error::config(format!(
            "[filter] ignore_cols names columns that the table does not have: {}",
            unknown.join(", ")
        ))
        .with("table", &id)
        .hint("names are taken exactly, upper and lower case included"));
    }
    let ignored = filter.ignored_columns(&id);
    let is_copied = |&at: &usize| !columns[at].generated && !ignored.contains(&columns[at].column.name);
    let copied: Vec<usize> = (0..columns.len()).filter(is_copied).collect();
    if copied.is_empty() {
        return Err(Error::user("no column is left to copy")
            .with("table", &id)
            .hint("check [filter] ignore_cols; a table without columns can be left out with ignore_tbs"));
    }
    let copied_columns: Vec<_> = copied.iter().map(|&at| columns[at].column.clone()).collect();
    let (key, key_operators) = match key::choose(&copied_columns, &indexes) {
        Some((key, at)) => {
            let operators = indexes[at].columns.iter().map(|column| column.operators.clone()).collect();
            (Some(key), operators)
        }
        None => (None, Vec::new()),
    };
    let schema = TableSchema { id, columns: copied_columns, key, rows_estimate: relation.rows_estimate };
    Ok(Definition { relation, columns, copied, indexes, key_operators, schema })
}

/// The most tables that one message lists; the rest is counted.
const LISTED_MAX: usize = 50;

/// Rows and columns that the account may not see are found before the first row.
fn refuse_what_cannot_be_read(tables: &[Definition]) -> Result<()> {
    let mut flaws: Vec<String> = Vec::new();
    for table in tables {
        let hidden: Vec<&str> = (0..table.copied.len())
            .map(|at| table.copied_column(at))
            .filter(|column| !column.may_select)
            .map(|column| column.column.name.as_str())
            .collect();
        if hidden.len() == table.copied.len() {
            flaws.push(format!("{}: no SELECT privilege", table.schema.id));
        } else if !hidden.is_empty() {
            flaws.push(format!("{}: no SELECT privilege on {}", table.schema.id, hidden.join(", ")));
        } else if table.relation.hides_rows {
            flaws.push(format!("{}: a policy of row-level security hides rows from the account", table.schema.id));
        }
    }
    if flaws.is_empty() {
        return Ok(());
    }
    let more = flaws.len().saturating_sub(LISTED_MAX);
    let mut lines: Vec<String> = flaws.iter().take(LISTED_MAX).map(|flaw| format!("\n    - {flaw}")).collect();
    if more > 0 {
        lines.push(format!("\n    - and {more} more"));
    }
    Err(Error::user(format!("the account may not read all of the source ({} tables):{}", flaws.len(), lines.concat()))
        .hint("GRANT USAGE ON SCHEMA and SELECT, or BYPASSRLS for tables with policies; or leave tables and columns out with [filter] ignore_tbs and ignore_cols"))
}

/// A condition that the server does not take is found here, and not when the table's turn comes.
async fn check_condition(conn: &Conn, table: &Definition, condition: &str) -> Result<()> {
    let statement = format!("SELECT 1 FROM {} WHERE (\n{condition}\n) LIMIT 0", table.from_clause());
    match conn.client.batch_execute(&statement).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let refused = state(&error).is_some_and(|state| state.starts_with("42") || state.starts_with("22"));
            let error = classify("[filter] where_conditions: the source does not take the condition", error);
            Err(match refused {
                true => error.with_class(ErrorClass::Config).hint(
                    "it is the part of a SELECT after WHERE, in the source's SQL; functions and types outside of pg_catalog need their schema in front",
                ),
                false => error,
            }
            .with("table", &table.schema.id))
        }
    }
}
