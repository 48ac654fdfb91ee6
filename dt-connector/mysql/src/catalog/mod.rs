//! The source's tables: columns, keys, and the key each table is read by.

mod held;
pub mod key;

use std::collections::{BTreeMap, HashMap};

use dt_common::schema::{Column, TableSchema};
use dt_common::{Error, ErrorClass, Result, TableId};
use dt_connector::filter::Filter;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::connect::Flavor;
use crate::error::{classify, code};
use crate::sql;
use crate::value;
pub use held::holds_rows;
use key::Index;

/// A column as information_schema describes it.
#[derive(Clone, Debug)]
pub struct CatalogColumn {
    /// The column.
    pub column: Column,
    /// Computed by the server: never copied, never written.
    pub generated: bool,
    /// Has a default, is nullable or counts itself up: may be left out when rows are written.
    pub optional: bool,
}

/// The base tables that pass the filter, ordered by schema, then name; `ignore_cols` and generated columns left out.
pub async fn tables(conn: &mut Conn, flavor: Flavor, filter: &Filter) -> Result<Vec<TableSchema>> {
    let schemas = schemas(conn, filter).await?;
    if schemas.is_empty() {
        return Ok(Vec::new());
    }
    let within = schema_list(schemas.iter().map(String::as_str));

    let listed: Vec<(String, String, String, Option<u64>)> = query(
        conn,
        format!(
            "SELECT table_schema, table_name, table_type, table_rows FROM information_schema.tables WHERE {within}"
        ),
    )
    .await?;
    let mut passing: BTreeMap<TableId, u64> = BTreeMap::new();
    for (schema, table, kind, rows) in listed {
        let id = TableId::new(schema, table);
        if !filter.passes(&id) {
            continue;
        }
        if kind == "BASE TABLE" || kind == "SYSTEM VERSIONED" {
            passing.insert(id, rows.unwrap_or(0));
        } else {
            tracing::info!("{id} passes the filter but is a {}, not a table: it is left out", kind.to_lowercase());
        }
    }

    let mut columns = columns(conn, &within).await?;
    let mut indexes = unique_indexes(conn, flavor, &within).await?;
    for id in passing.keys() {
        if let Some(condition) = filter.condition(id) {
            check_condition(conn, id, condition).await?;
        }
    }
    passing
        .into_iter()
        .map(|(id, rows_estimate)| {
            let columns = columns.remove(&id).unwrap_or_default();
            let indexes = indexes.remove(&id).unwrap_or_default();
            schema(id, columns, &indexes, rows_estimate, filter)
        })
        .collect()
}

/// The schemas of which tables may pass the filter.
pub async fn schemas(conn: &mut Conn, filter: &Filter) -> Result<Vec<String>> {
    let statement = "SELECT schema_name FROM information_schema.schemata ORDER BY schema_name".to_owned();
    let schemas: Vec<String> = query(conn, statement).await?;
    Ok(schemas.into_iter().filter(|schema| filter.may_pass_schema(schema)).collect())
}

/// A table with all of its columns, the ones that are not copied included.
#[derive(Clone, Debug)]
pub struct Definition {
    /// All columns, in the table's order.
    pub columns: Vec<Column>,
    /// The places in `columns` of those that are copied.
    pub copied: Vec<usize>,
    /// The names of generated columns.
    pub generated: Vec<String>,
    /// What is copied.
    pub schema: TableSchema,
    /// Whether the server keeps its old rows too (MariaDB's `WITH SYSTEM VERSIONING`).
    pub versioned: bool,
}

/// One table as it is now; `None` if there is no base table of that name.
pub async fn definition(conn: &mut Conn, flavor: Flavor, filter: &Filter, id: &TableId) -> Result<Option<Definition>> {
    let within = format!("table_schema = {} AND table_name = {}", sql::string(&id.schema), sql::string(&id.table));
    let Some(all) = columns(conn, &within).await?.remove(id) else { return Ok(None) };
    let indexes = unique_indexes(conn, flavor, &within).await?.remove(id).unwrap_or_default();
    let schema = schema(id.clone(), all.clone(), &indexes, 0, filter)?;
    let kinds: Vec<String> =
        query(conn, format!("SELECT table_type FROM information_schema.tables WHERE {within}")).await?;
    let versioned = kinds.iter().any(|kind| kind == "SYSTEM VERSIONED");
    let generated = all.iter().filter(|column| column.generated).map(|column| column.column.name.clone()).collect();
    let columns: Vec<Column> = all.into_iter().map(|column| column.column).collect();
    let copied = (0..columns.len()).filter(|&at| schema.column(&columns[at].name).is_some()).collect();
    Ok(Some(Definition { columns, copied, generated, schema, versioned }))
}

/// A condition that the server does not take is found here, and not when the table's turn comes.
async fn check_condition(conn: &mut Conn, id: &TableId, condition: &str) -> Result<()> {
    let statement = format!("SELECT 1 FROM {} WHERE (\n{condition}\n) LIMIT 0", sql::table(id));
    match conn.query_drop(statement).await {
        Ok(()) => Ok(()),
        Err(error) => {
            let refused = matches!(code(&error), Some(1054 | 1064 | 1305 | 1630));
            let error = classify("[filter] where_conditions: the source does not take the condition", error);
            Err(match refused {
                true => error
                    .with_class(ErrorClass::Config)
                    .hint("it is the part of a SELECT after WHERE, in the source's SQL"),
                false => error,
            }
            .with("table", id))
        }
    }
}

/// One table's schema out of the catalog's pieces (pure).
fn schema(
    id: TableId,
    columns: Vec<CatalogColumn>,
    indexes: &[Index],
    rows_estimate: u64,
    filter: &Filter,
) -> Result<TableSchema> {
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
    let mut copied = Vec::with_capacity(columns.len());
    for CatalogColumn { column, generated, .. } in columns {
        if generated || ignored.contains(&column.name) {
            continue;
        }
        if value::kind(&column.data_type).is_none() {
            return Err(Error::user(format!(
                "column `{}` has the type `{}`, which dt does not know",
                column.name, column.data_type
            ))
            .with("table", &id)
            .hint("leave the column out with [filter] ignore_cols, or the table with ignore_tbs"));
        }
        copied.push(column);
    }
    if copied.is_empty() {
        return Err(Error::user("no column is left to copy").with("table", &id).hint("check [filter] ignore_cols"));
    }
    let key = key::choose(&copied, indexes);
    Ok(TableSchema { id, columns: copied, key, rows_estimate })
}

/// Every table's columns in order, of the schemas in `within` (an SQL condition on `table_schema`).
pub async fn columns(conn: &mut Conn, within: &str) -> Result<HashMap<TableId, Vec<CatalogColumn>>> {
    type Listed = (String, String, String, String, String, Option<String>, Option<String>, String, bool);
    let listed: Vec<Listed> = query(
        conn,
        format!(
            "SELECT table_schema, table_name, column_name, CAST(column_type AS CHAR), is_nullable, \
             character_set_name, collation_name, extra, column_default IS NOT NULL FROM information_schema.columns \
             WHERE {within} ORDER BY table_schema, table_name, ordinal_position"
        ),
    )
    .await?;
    let mut tables: HashMap<TableId, Vec<CatalogColumn>> = HashMap::new();
    for (schema, table, name, data_type, nullable, charset, collation, extra, has_default) in listed {
        let extra = extra.to_ascii_uppercase();
        // MySQL marks defaults that are expressions as DEFAULT_GENERATED: those are ordinary columns.
        let generated = (extra.contains("GENERATED") && !extra.contains("DEFAULT_GENERATED"))
            || extra.contains("STORED GENERATED")
            || extra.contains("VIRTUAL GENERATED");
        let nullable = nullable == "YES";
        let optional =
            nullable || has_default || extra.contains("AUTO_INCREMENT") || extra.contains("DEFAULT_GENERATED");
        let kind = value::kind(&data_type.to_ascii_lowercase());
        let column = Column {
            name,
            // Only the type's own words are folded: an ENUM's members keep their case.
            data_type: if matches!(kind, Some(value::Kind::Enum | value::Kind::Set)) {
                data_type
            } else {
                data_type.to_ascii_lowercase()
            },
            nullable,
            charset: charset.map(|name| if name == "utf8" { "utf8mb3".to_owned() } else { name }),
            collation,
            binary_form: None,
        };
        tables.entry(TableId::new(schema, table)).or_default().push(CatalogColumn { column, generated, optional });
    }
    Ok(tables)
}

/// Every table's unique indexes that cover whole columns.
/// Every table's unique indexes, those of prefixes and expressions included.
pub async fn unique_indexes(conn: &mut Conn, flavor: Flavor, within: &str) -> Result<HashMap<TableId, Vec<Index>>> {
    // An index that the optimizer is told not to see cannot be forced either.
    let usable = match flavor {
        Flavor::Mysql => "IF(is_visible = 'YES', 1, 0)",
        Flavor::Mariadb => "IF(ignored = 'NO', 1, 0)",
    };
    type Listed = (String, String, String, Option<String>, Option<u64>, bool, bool);
    let listed: Vec<Listed> = query(
        conn,
        format!(
            "SELECT table_schema, table_name, index_name, column_name, sub_part, {usable}, \
             index_type <> 'HASH' \
             FROM information_schema.statistics WHERE {within} AND non_unique = 0 \
             ORDER BY table_schema, table_name, index_name, seq_in_index"
        ),
    )
    .await?;
    let mut tables: HashMap<TableId, Vec<Index>> = HashMap::new();
    for (schema, table, name, column, prefix, usable, ordered) in listed {
        let indexes = tables.entry(TableId::new(schema, table)).or_default();
        if indexes.last().is_none_or(|index| index.name != name) {
            indexes.push(Index { name, columns: Vec::new(), whole: true, ordered });
        }
        let index = indexes.last_mut().expect("catalog: an index was just pushed");
        // A prefix or an expression (no column name) is not a key.
        index.whole &= prefix.is_none() && usable;
        match column {
            Some(column) => index.columns.push(column),
            None => index.whole = false,
        }
    }
    Ok(tables)
}

/// The columns of a unique index.
pub type UniqueColumns = Vec<String>;

/// The columns of every table's unique indexes that cover whole columns.
pub async fn unique_columns(
    conn: &mut Conn,
    flavor: Flavor,
    within: &str,
) -> Result<HashMap<TableId, Vec<UniqueColumns>>> {
    let tables = unique_indexes(conn, flavor, within).await?;
    let columns =
        |indexes: Vec<Index>| indexes.into_iter().filter(|index| index.whole).map(|index| index.columns).collect();
    Ok(tables.into_iter().map(|(id, indexes)| (id, columns(indexes))).collect())
}

/// The foreign keys of these schemas by which the server itself changes rows of other tables, as people write them.
pub async fn cascades(conn: &mut Conn, filter: &Filter) -> Result<Vec<String>> {
    let listed: Vec<(String, String, String)> = query(
        conn,
        "SELECT constraint_schema, table_name, constraint_name FROM information_schema.referential_constraints \
         WHERE delete_rule IN ('CASCADE', 'SET NULL') OR update_rule IN ('CASCADE', 'SET NULL') \
         ORDER BY constraint_schema, table_name, constraint_name"
            .to_owned(),
    )
    .await?;
    let passing = listed.into_iter().filter(|(schema, table, _)| filter.passes(&TableId::new(schema, table)));
    Ok(passing.map(|(schema, table, name)| format!("{} ({name})", TableId::new(schema, table))).collect())
}

/// `table_schema IN ('a', 'b')`.
pub fn schema_list<'a>(schemas: impl Iterator<Item = &'a str>) -> String {
    format!("table_schema IN ({})", schemas.map(sql::string).collect::<Vec<_>>().join(", "))
}

async fn query<T>(conn: &mut Conn, statement: String) -> Result<Vec<T>>
where
    T: mysql_async::prelude::FromRow + Send + 'static,
{
    conn.query(statement).await.map_err(|error| classify("reading the catalog", error))
}
