//! Rows that get another key while values of them are not sent.
//!
//! A value that is stored out of line and did not change is not sent (PostgreSQL documentation, 55.9 Logical Replication
//! Message Formats, TupleData). As long as its row stays where it is, the target has it. But once a row has moved to
//! another key, the target's row of the old key may be another one: after an interruption the target can be ahead of the
//! stream, and there a later row may have the old key already. So the source is asked for what was not sent.
//!
//! It answers with what is there now, which may be of later than the moment of the change. Then the stream will say
//! so further on: whatever gives the row another value, deletes it or moves it again comes as a change of its own. So the
//! target ends up right. If the row is not there any more, nothing has to be right but that it goes, and the target's own
//! values are good enough until then.
//!
//! A transaction is in the log before the source's sessions see it (PostgreSQL documentation, 30.4 Asynchronous Commit;
//! with synchronous replication the wait between is long). Its own session would be asked too early, so that it is
//! visible is waited for first.

use std::time::Duration;

use dt_common::schema::TableSchema;
use dt_common::{Error, Result};
use futures_util::TryStreamExt;

use super::assemble::Moved;
use super::image::UNSAID;
use super::pgoutput::Relation;
use crate::alive::while_alive;
use crate::catalog::Definition;
use crate::config::Address;
use crate::connect::{Conn, Server, flag};
use crate::error::classify;
use crate::sink::changes::key::{KeyPlaces, fields};
use crate::sink::changes::literal;
use crate::sql;

/// How a row of a table is asked for by its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    key: KeyPlaces,
    // `SELECT … FROM … WHERE`
    select: String,
    // The condition of each column of the key: what stands before its value, and behind.
    conditions: Vec<(String, String)>,
}

impl Lookup {
    /// For a relation of the stream, of which `schema` is copied; `None` if it has no key, or if the source's table is
    /// not what the stream describes any more (pure).
    pub fn new(relation: &Relation, schema: &TableSchema, now: Option<&Definition>) -> Option<Self> {
        let (now, key) = (now?, schema.key.as_ref()?);
        let catalog = |name: &str| {
            let described = relation.columns.iter().find(|column| column.name == name)?;
            now.columns.iter().find(|column| column.column.name == name && column.type_oid == described.type_oid)
        };
        let mut names = schema.columns.iter().map(|column| column.name.as_str());
        if !names.all(|name| catalog(name).is_some()) {
            return None;
        }
        let names = sql::names(schema.columns.iter().map(|column| column.name.as_str()));
        let conditions = key.columns.iter().map(|&at| {
            let column = catalog(&schema.columns[at].name)?;
            let name = &column.column.name;
            let indexed = now.indexes.iter().flat_map(|index| &index.columns);
            let equal = indexed
                .filter(|column| column.name.as_deref() == Some(name.as_str()))
                .map(|column| column.operators.equal.as_str())
                .find(|operator| !operator.is_empty());
            let equal = equal.map_or_else(|| "=".to_owned(), |operator| format!("OPERATOR({operator})"));
            Some((format!("{} {equal} ", sql::name(name)), format!("::{}", column.cast)))
        });
        Some(Lookup {
            key: KeyPlaces::new(key.columns.clone()),
            select: format!("SELECT {names} FROM {} WHERE ", now.from_clause()),
            conditions: conditions.collect::<Option<Vec<_>>>()?,
        })
    }

    /// Whether the two rows have two keys. A key that is sent although it did not change is not another one.
    pub fn is_moved(&self, before: &[u8], after: &[u8]) -> bool {
        match (self.key.of(before), self.key.of(after)) {
            (Some(was), Some(is)) => was != is,
            (_, None) | (None, _) => false,
        }
    }

    /// The statement that asks for the row with this row's key, as a line of COPY's text form (pure).
    fn statement(&self, row: &[u8]) -> Result<String> {
        let mut out = format!("COPY ({}", self.select).into_bytes();
        for (nth, (&at, (before, behind))) in self.key.places().iter().zip(&self.conditions).enumerate() {
            if nth > 0 {
                out.extend_from_slice(b" AND ");
            }
            out.extend_from_slice(before.as_bytes());
            literal::push(&mut out, fields(row).nth(at).unwrap_or(UNSAID));
            out.extend_from_slice(behind.as_bytes());
        }
        out.extend_from_slice(b") TO STDOUT");
        String::from_utf8(out).map_err(|_| Error::fatal("a statement that is not UTF-8"))
    }
}

/// Asks a source for rows.
#[derive(Debug, Default)]
pub struct Lookups {
    // The transaction that is known to be visible.
    visible: Option<u32>,
}

/// How often it is asked whether a transaction is visible.
const VISIBLE_PAUSE: Duration = Duration::from_millis(5);

/// About ten seconds.
const PAUSES_UNTIL_TOLD: u32 = 2000;

impl Lookups {
    /// The row of that key as it is now, as far as the transaction `xid` and others were committed: a line of COPY's text
    /// form without its newline; `None` if there is none.
    ///
    /// # Errors
    /// Those of the connection; the account may not read the table.
    pub async fn find(
        &mut self,
        conn: &Conn,
        (address, server): (&Address, &Server),
        xid: u32,
        moved: &Moved,
    ) -> Result<Option<Vec<u8>>> {
        let doing = || {
            format!("asking the source for the values of a row of {} that are not sent", moved.table.table.source.id)
        };
        let Some(lookup) = &moved.table.lookup else { return Ok(None) };
        let mut pauses = 0_u32;
        while self.visible != Some(xid) {
            let asked = while_alive(address, server, conn.pid, conn.rows(&is_visible(xid), doing())).await?;
            if asked.first().is_some_and(|row| flag(row, 0)) {
                self.visible = Some(xid);
            } else {
                pauses += 1;
                if pauses == PAUSES_UNTIL_TOLD {
                    tracing::warn!(
                        "the stream waits until the source shows a transaction that is in its log: it seems to wait for a synchronous replica (synchronous_standby_names)"
                    );
                }
                tokio::time::sleep(VISIBLE_PAUSE).await;
            }
        }
        let statement = lookup.statement(&moved.row)?;
        let reading = async {
            let failed = |error| classify(doing(), error);
            let stream = conn.client.copy_out(statement.as_str()).await.map_err(failed)?;
            let mut stream = std::pin::pin!(stream);
            let mut lines = Vec::new();
            while let Some(bytes) = stream.try_next().await.map_err(failed)? {
                lines.extend_from_slice(&bytes);
            }
            Ok::<_, Error>(lines)
        };
        let lines = while_alive(address, server, conn.pid, reading).await?;
        // Within a row there is no newline.
        match lines.strip_suffix(b"\n") {
            None if lines.is_empty() => Ok(None),
            Some(line) if memchr::memchr(b'\n', line).is_none() => Ok(Some(line.to_vec())),
            Some(_) | None => Err(Error::fatal("the source has several rows of one key")
                .with("table", &moved.table.table.source.id)
                .hint("its index is broken: REINDEX it")),
        }
    }
}

/// Asks whether what a transaction did is seen by others. The stream says the lower half of its number, and the server
/// the whole number of the next one: from the two, numbers being compared as on a circle, comes how far the transaction
/// is behind (PostgreSQL documentation, 67.1 Transactions and Identifiers).
fn is_visible(xid: u32) -> String {
    format!(
        "SELECT ahead >= 2147483648 AND txid_visible_in_snapshot(greatest(next + ahead - 4294967296, 0), now) FROM \
         (SELECT now, next, (({xid} - next) % 4294967296 + 4294967296) % 4294967296 AS ahead FROM \
         (SELECT txid_current_snapshot() AS now, txid_snapshot_xmax(txid_current_snapshot()) AS next) AS s) AS t"
    )
}

#[cfg(test)]
impl Lookup {
    /// Of a table whose first column is its key.
    pub fn sample() -> Self {
        let conditions = vec![("\"id\" = ".to_owned(), "::integer".to_owned())];
        Lookup { key: KeyPlaces::new(vec![0]), select: "SELECT * FROM t WHERE ".into(), conditions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup() -> Lookup {
        Lookup {
            key: KeyPlaces::new(vec![2, 0]),
            select: "SELECT \"a\", \"long\", \"b\" FROM ONLY \"s\".\"t\" WHERE ".into(),
            conditions: vec![
                ("\"b\" OPERATOR(pg_catalog.=) ".into(), "::text".into()),
                ("\"a\" = ".into(), "::integer".into()),
            ],
        }
    }

    #[test]
    fn a_row_is_asked_for_by_all_columns_of_its_key() {
        assert_eq!(
            lookup().statement(b"7\t\\T\tit's\\ta").expect("is UTF-8"),
            "COPY (SELECT \"a\", \"long\", \"b\" FROM ONLY \"s\".\"t\" WHERE \
             \"b\" OPERATOR(pg_catalog.=) 'it''s\ta'::text AND \"a\" = '7'::integer) TO STDOUT"
        );
    }

    #[test]
    fn only_a_key_that_is_another_one_has_moved() {
        assert!(lookup().is_moved(b"7\t\\T\ta", b"8\t\\T\ta"));
        assert!(!lookup().is_moved(b"7\t\\T\ta", b"7\tnew\ta"));
        assert!(!lookup().is_moved(b"7\t\\T\t\\T", b"8\t\\T\ta"));
    }
}
