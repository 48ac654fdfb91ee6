//! Whether tables hold rows: by their first one.

use dt_common::{Result, TableId};
use dt_connector::Held;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::error::{classify, code};
use crate::sql;

/// MySQL's ER_NO_SUCH_TABLE and ER_BAD_DB_ERROR (the server error message reference).
const MISSING: [u16; 2] = [1146, 1049];

/// Looks for one row of each table, of those that meet the condition if there is one.
pub async fn holds_rows(conn: &mut Conn, tables: &[(TableId, Option<String>)]) -> Result<Vec<Held>> {
    let mut held = Vec::new();
    for (table, condition) in tables {
        let condition = condition.as_ref().map(|condition| format!(" WHERE ({condition})")).unwrap_or_default();
        let first = conn.query_first::<u8, _>(format!("SELECT 1 FROM {}{condition} LIMIT 1", sql::table(table))).await;
        held.push(match first {
            Ok(Some(_)) => Held::Rows,
            Ok(None) => Held::Nothing,
            Err(error) if code(&error).is_some_and(|code| MISSING.contains(&code)) => Held::Missing,
            Err(error) => return Err(classify(format!("looking for a row of {table}"), error)),
        });
    }
    Ok(held)
}
