//! Applying batches: one target transaction each, loaded as a stream where the target allows it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dt_common::{Error, ErrorClass, Result, TableId};
use dt_connector::{Applying, Batch, Failed, RowFormat, SinkOptions, Sinker};
use futures_util::StreamExt;
use futures_util::stream;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::statement::{Duplicates, WritePlan};
use crate::alive::while_alive;
use crate::config::Address;
use crate::connect::{self, Server, Session};
use crate::error::{classify, code};
use crate::rows;

/// A connection to the target.
#[derive(Debug)]
pub(super) struct MysqlSinker {
    address: Address,
    server: Server,
    session: Session,
    duplicates: Duplicates,
    statement_rows: usize,
    plans: Arc<HashMap<TableId, WritePlan>>,
    conn: Option<Conn>,
    load_data: bool,
    replaced_rows: u64,
}

/// Pieces of a LOAD DATA stream: well below every server's packet limit.
const PIECE_BYTES: usize = 256 * 1024;

/// Multi-row statements stop growing here, or at a quarter of what the server takes.
const STATEMENT_BYTES: usize = 1024 * 1024;

/// How the rows of a batch went into the open transaction.
enum Written {
    /// All of them, by the conflict rule; so many replaced others.
    Whole { replaced: u64 },
    /// The server had something to say that LOAD DATA turns into warnings. Nothing is committed.
    Doubtful,
}

impl MysqlSinker {
    pub(super) fn new(
        address: Address,
        server: Server,
        session: Session,
        options: &SinkOptions,
        plans: Arc<HashMap<TableId, WritePlan>>,
    ) -> Self {
        MysqlSinker {
            address,
            load_data: server.local_infile,
            server,
            session,
            duplicates: Duplicates::of(options),
            statement_rows: options.statement_rows,
            plans,
            conn: None,
            replaced_rows: 0,
        }
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        match batch.format() {
            RowFormat::MysqlText => {}
        }
        let plans = self.plans.clone();
        let table = &batch.table().source.id;
        let plan = plans.get(table).ok_or_else(|| {
            Error::fatal("a batch of a table that the target was not asked about").with("table", table)
        })?;
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => connect::connect(&self.address, self.server.flavor, &self.session).await?,
        };
        // The connection goes back only if all went well: after an error the next try has a new one, and what was
        // not committed on the old one is rolled back with it.
        let (address, id) = (self.address.clone(), conn.id());
        let replaced = while_alive(&address, id, self.transaction(&mut conn, plan, batch)).await?;
        self.replaced_rows += replaced;
        self.conn = Some(conn);
        Ok(())
    }

    /// The batch in one transaction, committed. How many rows replaced others.
    async fn transaction(&mut self, conn: &mut Conn, plan: &WritePlan, batch: &Batch) -> Result<u64> {
        let target = &batch.table().target;
        let failed = |error| classify(format!("writing to {target}"), error);
        conn.query_drop("START TRANSACTION").await.map_err(failed)?;
        let mut written = Written::Doubtful;
        if self.load_data {
            written = self.load(conn, plan, batch).await?;
            if matches!(written, Written::Doubtful) {
                // As statements, in strict mode, the server either takes the rows or says what is wrong with them.
                conn.query_drop("ROLLBACK").await.map_err(failed)?;
                conn.query_drop("START TRANSACTION").await.map_err(failed)?;
            }
        }
        let replaced = match written {
            Written::Whole { replaced } => replaced,
            Written::Doubtful => self.insert(conn, plan, batch).await?,
        };
        conn.query_drop("COMMIT").await.map_err(failed)?;
        Ok(replaced)
    }

    async fn load(&mut self, conn: &mut Conn, plan: &WritePlan, batch: &Batch) -> Result<Written> {
        let pieces: Vec<io::Result<Bytes>> = batch
            .chunks()
            .flat_map(|chunk| {
                let chunk = chunk.clone();
                (0..chunk.len().div_ceil(PIECE_BYTES)).map(move |piece| {
                    Ok(chunk.slice(piece * PIECE_BYTES..((piece + 1) * PIECE_BYTES).min(chunk.len())))
                })
            })
            .collect();
        conn.set_infile_handler(async move { Ok(stream::iter(pieces).boxed()) });
        match conn.query_drop(plan.load_data()).await {
            Ok(()) => {}
            // The server was told since to take no such loads (1148 not allowed, 3948 disabled).
            Err(error) if matches!(code(&error), Some(1148 | 3948 | 4166)) => {
                tracing::info!("{} no longer accepts LOAD DATA LOCAL: rows are written as statements", self.server);
                self.load_data = false;
                return Ok(Written::Doubtful);
            }
            Err(error) => return Err(classify(format!("loading into {}", batch.table().target), error)),
        }
        let counts = Counts::of(&conn.info());
        Ok(match counts {
            Some(counts) if counts.records == batch.rows() => {
                let clean = match self.duplicates {
                    Duplicates::Replace | Duplicates::Update | Duplicates::Refuse => {
                        counts.skipped == 0 && counts.warnings == 0
                    }
                    // Each row that was left out is a warning; any further one is something else.
                    Duplicates::Leave => counts.warnings == counts.skipped,
                };
                if clean { Written::Whole { replaced: counts.deleted } } else { Written::Doubtful }
            }
            Some(_) | None => Written::Doubtful,
        })
    }

    async fn insert(&self, conn: &mut Conn, plan: &WritePlan, batch: &Batch) -> Result<u64> {
        let bytes_max = STATEMENT_BYTES.min(self.server.max_allowed_packet / 4);
        let mut affected = 0;
        let rows: Vec<&[u8]> = batch.chunks().flat_map(|chunk| rows::rows(chunk)).collect();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (statement, count) = plan.statement(rest, self.statement_rows, bytes_max);
            rest = &rest[count..];
            conn.query_drop(statement).await.map_err(|error| {
                let duplicate = code(&error) == Some(1062);
                let error = classify(format!("writing to {}", batch.table().target), error);
                if duplicate {
                    error.with_class(ErrorClass::User).hint(
                        "a row with that key is in the target already and replace=false: after an interruption, or for a table that is not empty, use replace=true, or conflict_policy=ignore to keep the target's row",
                    )
                } else {
                    error
                }
            })?;
            affected += conn.affected_rows();
        }
        Ok(match self.duplicates {
            // A row that replaces or updates another counts twice (and one that is already the same, not at all).
            Duplicates::Replace | Duplicates::Update => affected.saturating_sub(batch.rows()),
            Duplicates::Refuse | Duplicates::Leave => 0,
        })
    }
}

#[async_trait]
impl Sinker for MysqlSinker {
    async fn apply(&mut self, batch: Batch) -> Applying {
        match self.write(&batch).await {
            // Invariant 2: COMMIT was answered.
            Ok(()) => Ok(batch.committed()),
            Err(error) => Err(Failed { batch, error }),
        }
    }

    fn take_replaced_rows(&mut self) -> u64 {
        std::mem::take(&mut self.replaced_rows)
    }
}

/// What the server says after a LOAD DATA: `Records: 3  Deleted: 0  Skipped: 0  Warnings: 0`.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    records: u64,
    deleted: u64,
    skipped: u64,
    warnings: u64,
}

impl Counts {
    fn of(info: &str) -> Option<Self> {
        let mut numbers = ["Records:", "Deleted:", "Skipped:", "Warnings:"].iter().map(|label| {
            let rest = info.split_once(label)?.1.trim_start();
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        Some(Counts {
            records: numbers.next()??,
            deleted: numbers.next()??,
            skipped: numbers.next()??,
            warnings: numbers.next()??,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_counts_are_read() {
        assert_eq!(
            Counts::of("Records: 16000  Deleted: 1  Skipped: 2  Warnings: 3"),
            Some(Counts { records: 16000, deleted: 1, skipped: 2, warnings: 3 })
        );
        assert_eq!(Counts::of(""), None);
    }
}
