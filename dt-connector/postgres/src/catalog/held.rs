//! Whether tables hold rows: by their first one.

use dt_common::{Result, TableId};
use dt_connector::Held;

use crate::connect::{Conn, text};
use crate::sql;

/// Looks for one row of each table, of those that meet the condition if there is one. What inherits from a table is not
/// looked at, but for the partitions of a partitioned one: as it is read.
pub async fn holds_rows(conn: &Conn, tables: &[(TableId, Option<String>)]) -> Result<Vec<Held>> {
    let mut held = Vec::new();
    for (table, condition) in tables {
        let doing = || format!("looking for a row of {table}");
        let name = sql::table(table);
        // PostgreSQL documentation, 9.27 System Information Functions: null where there is no such relation.
        let kind = format!(
            "SELECT relkind FROM pg_catalog.pg_class WHERE oid = pg_catalog.to_regclass({})",
            sql::string(&name)
        );
        let kind = conn.rows(&kind, doing()).await?.first().map(|row| text(row, 0));
        let only = match kind.as_deref() {
            None => {
                held.push(Held::Missing);
                continue;
            }
            Some("r") => "ONLY ",
            Some(_) => "",
        };
        let condition = condition.as_ref().map(|condition| format!(" WHERE ({condition})")).unwrap_or_default();
        let first = conn.rows(&format!("SELECT 1 FROM {only}{name}{condition} LIMIT 1"), doing()).await?;
        held.push(if first.is_empty() { Held::Nothing } else { Held::Rows });
    }
    Ok(held)
}
