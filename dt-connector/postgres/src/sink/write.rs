//! Applying batches: one target transaction each, by COPY.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dt_common::failpoint::{Failpoint, in_flight, is_armed, reach};
use dt_common::{Error, ErrorClass, Result, TableId};
use dt_connector::{Applying, Batch, Conflict, Failed, RowFormat, SinkOptions, Sinker};
use futures_util::SinkExt;
use futures_util::future::join;
use tokio::task::JoinHandle;
use tokio_postgres::{Error as DriverFailure, SimpleQueryMessage, Statement};

use super::changes::apply::Changes;
use super::inscription::{inscribe, is_there};
use super::statement::{Merge, WritePlan};
use crate::alive::while_alive;
use crate::config::Address;
use crate::connect::{self, Conn, Server, Session, number};
use crate::error::{classify, constraint, state};
use crate::left::Left;
use crate::rows::{BINARY_HEADER, BINARY_TRAILER};

/// What every sinker of a target shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) address: Address,
    pub(super) server: Server,
    pub(super) session: Session,
    pub(super) plans: HashMap<TableId, WritePlan>,
    pub(super) options: SinkOptions,
}

/// A connection to the target. Made within the runtime, for it connects by itself.
#[derive(Debug)]
pub(super) struct PgSinker {
    shared: Arc<Shared>,
    // Made while the first rows are read.
    connecting: Option<JoinHandle<Result<Conn>>>,
    conn: Option<Conn>,
    // The connection before, if it was given up.
    left: Option<Left>,
    // The last table's COPY as the server has it; most batches are of one table.
    prepared: Option<(String, Statement)>,
    // Tables of which the last batch met rows that were there: the next one is likely to, and goes the long way at once.
    meeting: HashSet<TableId>,
    replaced_rows: u64,
    changes: Changes,
}

/// How a straight COPY ended.
enum Copied {
    /// Committed.
    Whole,
    /// A row met another; nothing was written.
    Met,
}

impl PgSinker {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let changes = Changes::new(&shared.server, &shared.options);
        let connecting = {
            let shared = shared.clone();
            tokio::spawn(async move { connect::connect(&shared.address, &shared.server, &shared.session).await })
        };
        PgSinker {
            changes,
            shared,
            connecting: Some(connecting),
            conn: None,
            left: None,
            prepared: None,
            meeting: HashSet::new(),
            replaced_rows: 0,
        }
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        match batch.format() {
            RowFormat::PgBinary | RowFormat::PgText => {}
            RowFormat::MysqlText | RowFormat::Bson => {
                return Err(Error::fatal("a batch in another database's form came to a PostgreSQL target"));
            }
        }
        if batch.table().is_none() && batch.changes().next().is_none() && batch.position().is_none() {
            // How far the source has come, and nothing to write: all that there is, is in the target.
            return Ok(());
        }
        let shared = self.shared.clone();
        let conn = match self.conn.take() {
            Some(conn) => conn,
            None => {
                self.prepared = None;
                // One that was lost since, or not made, is made again now, and its error is this batch's.
                let first = match self.connecting.take() {
                    Some(connecting) => connecting.await.ok().and_then(Result::ok),
                    None => None,
                };
                let conn = connect::connect_or(first, &shared.address, &shared.server, &shared.session).await?;
                if let Some(left) = self.left.clone() {
                    while_alive(&shared.address, &shared.server, conn.pid, left.end(&conn)).await?;
                    self.left = None;
                }
                conn
            }
        };
        // The connection goes back only if all went well: after an error the next try has a new one, and what was not
        // committed on the old one is rolled back with it. Whatever the error says: of a link that is dead nothing is
        // known while the transaction waits for its turn.
        let pid = conn.pid;
        let writing = async {
            if is_there(&conn, batch).await? {
                return Ok(());
            }
            let Some(table) = batch.table() else { return self.changes.apply(&conn, batch).await };
            let plan = shared.plans.get(&table.source.id).ok_or_else(|| {
                Error::fatal("a batch of a table that the target was not asked about").with("table", &table.source.id)
            })?;
            self.rows(&conn, plan, &table.target, batch).await
        };
        let written = while_alive(&shared.address, &shared.server, pid, writing).await;
        if written.is_err() {
            self.left = Some(Left::of(&conn));
        }
        written?;
        self.conn = Some(conn);
        Ok(())
    }

    /// The batch in one transaction, committed.
    async fn rows(&mut self, conn: &Conn, plan: &WritePlan, target: &TableId, batch: &Batch) -> Result<()> {
        if !self.meeting.contains(target) {
            match self.copied(conn, plan, target, batch).await? {
                Copied::Whole => return Ok(()),
                Copied::Met => {}
            }
        }
        let merge = plan.merge.as_ref().expect("sink: a conflict that stops the task came through");
        let met = self.merged(conn, merge, target, batch).await?;
        if met > 0 {
            self.meeting.insert(target.clone());
        } else {
            self.meeting.remove(target);
        }
        if self.shared.options.conflict == Conflict::Replace {
            self.replaced_rows += met;
        }
        Ok(())
    }

    async fn copied(&mut self, conn: &Conn, plan: &WritePlan, target: &TableId, batch: &Batch) -> Result<Copied> {
        let statement = self.statement(conn, &plan.copy, target).await?;
        let mut begin = "BEGIN";
        if is_armed(Failpoint::TargetBegun) {
            conn.exec(std::mem::take(&mut begin), format!("writing to {target}")).await?;
            reach(Failpoint::TargetBegun);
        }
        match copy(conn, &statement, begin, batch).await {
            Ok(rows) => {
                expect_all(rows, target, batch)?;
                inscribe(conn, batch).await?;
                let committing = in_flight(Failpoint::TargetCommit, conn.client.batch_execute("COMMIT"));
                committing.await.map_err(|error| failed_to_write(target, error))?;
                Ok(Copied::Whole)
            }
            // Not unique, or excluded.
            Err(error) if matches!(state(&error), Some("23505" | "23P01")) && plan.merge.is_some() => {
                conn.exec("ROLLBACK", format!("writing to {target}")).await?;
                Ok(Copied::Met)
            }
            Err(error) => Err(failed_to_write(target, error)),
        }
    }

    /// By way of the temporary table. How many rows of the table went, were written over or were left as they are.
    async fn merged(&mut self, conn: &Conn, merge: &Merge, target: &TableId, batch: &Batch) -> Result<u64> {
        let failed = |error: DriverFailure| failed_to_write(target, error);
        conn.client.batch_execute(&format!("BEGIN; {}", merge.prepare)).await.map_err(failed)?;
        self.prepared = None;
        let statement = conn.client.prepare(&merge.copy).await.map_err(failed)?;
        let rows = copy(conn, &statement, "", batch).await.map_err(failed)?;
        expect_all(rows, target, batch)?;
        let mut replaced = 0;
        for delete in &merge.deletes {
            replaced += conn.client.execute_raw(delete, NO_VALUES).await.map_err(failed)?;
        }
        if merge.insert_counts_updates {
            let answers = conn.client.simple_query(&merge.insert).await.map_err(failed)?;
            replaced += answers.iter().find_map(first_number).unwrap_or(0);
        } else {
            let written = conn.client.execute_raw(&merge.insert, NO_VALUES).await.map_err(failed)?;
            // With ON CONFLICT DO NOTHING: those left out met a row.
            replaced = replaced.max(batch.rows().saturating_sub(written));
        }
        inscribe(conn, batch).await?;
        in_flight(Failpoint::TargetCommit, conn.client.batch_execute("COMMIT")).await.map_err(failed)?;
        Ok(replaced)
    }

    async fn statement(&mut self, conn: &Conn, text: &str, target: &TableId) -> Result<Statement> {
        if let Some((prepared, statement)) = &self.prepared
            && prepared == text
        {
            return Ok(statement.clone());
        }
        let statement = conn.client.prepare(text).await.map_err(|error| failed_to_write(target, error))?;
        self.prepared = Some((text.to_owned(), statement.clone()));
        Ok(statement)
    }
}

const NO_VALUES: [&str; 0] = [];

fn first_number(answer: &SimpleQueryMessage) -> Option<u64> {
    match answer {
        SimpleQueryMessage::Row(row) => Some(number(row, 0)),
        _ => None,
    }
}

/// Sends the batch's rows to a COPY. `before` is executed first, in the same flight. How many rows the server took.
async fn copy(conn: &Conn, statement: &Statement, before: &str, batch: &Batch) -> Result<u64, DriverFailure> {
    let (begun, sink) = join(conn.client.batch_execute(before), conn.client.copy_in::<_, Bytes>(statement)).await;
    begun?;
    let mut sink = pin!(sink?);
    let is_binary = batch.format() == RowFormat::PgBinary;
    if is_binary {
        sink.feed(Bytes::from_static(BINARY_HEADER)).await?;
    }
    for chunk in batch.chunks() {
        sink.feed(chunk.clone()).await?;
    }
    if is_binary {
        sink.feed(Bytes::from_static(BINARY_TRAILER)).await?;
    }
    sink.as_mut().finish().await
}

/// The server's count must be ours, or the transaction is given up with the connection.
fn expect_all(rows: u64, target: &TableId, batch: &Batch) -> Result<()> {
    if rows == batch.rows() {
        return Ok(());
    }
    Err(Error::fatal("the target has taken another number of rows than it was sent")
        .with("table", target)
        .with("sent", batch.rows())
        .with("taken", rows)
        .hint("a trigger of the target that leaves rows out is not fired with [sinker] disable_foreign_key_checks=true and an account that may set session_replication_role"))
}

/// The error of a statement that writes to this table, with the way out where the user has one.
pub(super) fn failed_to_write(target: &TableId, error: DriverFailure) -> Error {
    let refused = state(&error).map(str::to_owned);
    let by = constraint(&error).map(str::to_owned);
    let ours = classify(format!("writing to {target}"), error);
    let ours = match by {
        Some(constraint) => ours.with("constraint", constraint),
        None => ours,
    };
    match refused.as_deref() {
        Some("23505") => ours.with_class(ErrorClass::User).hint(
            "a row with that key is in the target already. With replace=false, after an interruption or for a table that is not empty: use replace=true, or conflict_policy=ignore to keep the target's row. With replace=true: two rows of the source have one key on the target, or a unique index on expressions or with a condition stands in the way",
        ),
        Some("21000") => ours
            .with_class(ErrorClass::User)
            .hint("two rows of the source have one key on the target: give its unique keys the source's columns and collations"),
        Some("23503") => ours.with_class(ErrorClass::User).hint(
            "a foreign key of the target refuses the row: what it refers to is not there yet, or is not copied; set [sinker] disable_foreign_key_checks=true and let the account set session_replication_role",
        ),
        Some(_) | None => ours,
    }
}

#[async_trait]
impl Sinker for PgSinker {
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
