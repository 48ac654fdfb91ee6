//! The judge's SQL for MySQL and MariaDB.

use anyhow::{Result, bail};

use crate::db::{literal, quoted};

/// The names of the base tables, in order.
pub(super) fn tables(database: &str) -> String {
    format!(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = {} AND table_type = 'BASE TABLE' \
         ORDER BY CAST(table_name AS BINARY)",
        literal(database)
    )
}

/// Name and data type of each column, in order.
pub(super) fn columns(database: &str, table: &str) -> String {
    format!(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = {} AND table_name = {} \
         ORDER BY ordinal_position",
        literal(database),
        literal(table)
    )
}

pub(super) fn relation(database: &str, table: &str) -> String {
    format!("{}.{}", quoted(database), quoted(table))
}

/// A row as a text for people.
pub(super) fn row_text(columns: &[(String, String)]) -> String {
    let columns: Vec<String> = columns.iter().map(|(name, _)| format!("QUOTE({})", quoted(name))).collect();
    format!("CONCAT_WS(', ', {})", columns.join(", "))
}

pub(super) fn row_hash<'a>(
    columns: &[(String, String)],
    expression: impl Fn(&str) -> Option<&'a String>,
) -> Result<String> {
    let mut parts = Vec::with_capacity(columns.len());
    for (column, data_type) in columns {
        let name = quoted(column);
        let expression = match expression(column) {
            Some(expression) => format!("SHA2({}, 256)", expression.replace("{}", &name)),
            None => comparable(&name, data_type)?,
        };
        // 'N' is nothing that any of the expressions yields.
        parts.push(format!("IFNULL({expression}, 'N')"));
    }
    Ok(format!("CAST(CONV(LEFT(SHA2(CONCAT_WS('|', {}), 256), 15), 16, 10) AS UNSIGNED)", parts.join(", ")))
}

/// A column's value as a text that says all of it, is short (a longer result than `max_allowed_packet` would turn
/// to null), and is the same on every server.
fn comparable(column: &str, data_type: &str) -> Result<String> {
    Ok(match data_type {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "double" | "date" | "time"
        | "datetime" | "timestamp" | "year" => format!("CAST({column} AS CHAR)"),
        // A FLOAT's own text form drops digits.
        "float" => format!("CAST({column} + 0e0 AS CHAR)"),
        "bit" => format!("CAST({column} + 0 AS CHAR)"),
        // By text and by index: the index 0 is an invalid value, and not a member ''.
        "enum" | "set" => format!("CONCAT({column} + 0, ':', HEX(CONVERT({column} USING utf8mb4)))"),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "json" | "uuid" | "inet4" | "inet6" => {
            format!("SHA2(CONVERT({column} USING utf8mb4), 256)")
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => {
            format!("SHA2({column}, 256)")
        }
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => {
            format!("CONCAT(ST_SRID({column}), ':', SHA2(ST_AsBinary({column}), 256))")
        }
        other => bail!("the judge does not know how to compare a column of type `{other}`; give it an expression"),
    })
}
