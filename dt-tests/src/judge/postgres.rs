//! The judge's SQL for PostgreSQL: each value is the text that the type's own output function gives, under the
//! settings of [`Db`]'s sessions, which make it exact.

use anyhow::{Result, anyhow};

use crate::db::{Db, Dialect};

/// The names of the tables, in order: without the leaves of partitioned tables, which their root speaks for.
pub(super) fn tables(schema: &str) -> String {
    format!(
        "SELECT relname FROM pg_catalog.pg_class WHERE relnamespace = (SELECT oid FROM pg_catalog.pg_namespace \
         WHERE nspname = {}) AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname::text COLLATE \"C\"",
        literal(schema)
    )
}

/// Name and type of each column, in order.
pub(super) fn columns(schema: &str, table: &str) -> String {
    format!(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute \
         WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        literal(&name(schema, table))
    )
}

/// The table alone, without those that inherit from it; a partitioned one has no rows of its own.
pub(super) fn relation(db: &Db, schema: &str, table: &str) -> Result<String> {
    let name = name(schema, table);
    let kind = db.value(format!("SELECT relkind FROM pg_catalog.pg_class WHERE oid = {}::regclass", literal(&name)))?;
    match kind.ok_or_else(|| anyhow!("{name} has no kind"))?.as_str() {
        "p" => Ok(name),
        _ => Ok(format!("ONLY {name}")),
    }
}

/// A row as a text for people.
pub(super) fn row_text(columns: &[(String, String)]) -> String {
    let columns: Vec<String> = columns.iter().map(|(name, _)| quoted(name)).collect();
    format!("ROW({})::text", columns.join(", "))
}

pub(super) fn row_hash<'a>(columns: &[(String, String)], expression: impl Fn(&str) -> Option<&'a String>) -> String {
    let parts = columns.iter().map(|(column, _)| {
        let name = quoted(column);
        let value = expression(column).map_or_else(|| name.clone(), |expression| expression.replace("{}", &name));
        // `concat` calls the output function; a cast to text takes the padding off a char(n). `IS DISTINCT FROM NULL`
        // needs no equality, and tells a row of nulls from a null.
        format!("CASE WHEN {value} IS DISTINCT FROM NULL THEN md5(concat({value})) ELSE 'N' END")
    });
    let parts: Vec<String> = parts.collect();
    format!("('x' || left(md5({}), 15))::bit(60)::bigint", parts.join(" || '|' || "))
}

fn name(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

fn quoted(identifier: &str) -> String {
    Dialect::Postgres.quoted(identifier)
}

fn literal(text: &str) -> String {
    Dialect::Postgres.literal(text)
}
