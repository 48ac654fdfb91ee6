//! A batch of changes in one transaction, in as few round trips as it takes.
//!
//! Many rows of one table are copied; all else goes to the server as statements, many at a time. The transaction's BEGIN
//! and its COMMIT travel along, so that a small batch is one round trip. COMMIT takes effect only if all before it did,
//! and the batch counts as applied only once it is answered (invariant 2).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use dt_common::failpoint::{Failpoint, in_flight, is_armed, reach};
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};
use dt_connector::{Batch, Op, SinkOptions};
use futures_util::SinkExt;
use tokio_postgres::Statement as Prepared;

use super::super::inscription::inscribe;
use super::super::statement::Duplicates;
use super::fold::RowChange;
use super::plans::{Known, Plans};
use super::script::{Failure, Missed, SCRIPT_BYTES, Script, Statement};
use super::steps::{Done, Mode, Step, Traits, steps};
use crate::connect::{Conn, Server};

/// From so many rows of one table on, copying them is faster than statements, the round trips included.
const COPY_ROWS_MIN: usize = 20;

/// Applies changes; one for each connection to the target.
#[derive(Debug)]
pub struct Changes {
    server: Server,
    options: SinkOptions,
    plans: Plans,
    // What belongs to the connection that was used last.
    session: Option<Session>,
    // Tables of which a row was deleted because it stood in the way of another.
    taken_from: HashSet<TableId>,
}

#[derive(Debug)]
struct Session {
    pid: i32,
    checks_foreign_keys: bool,
    copies: HashMap<String, Prepared>,
}

impl Changes {
    /// For a server, by these options.
    pub fn new(server: &Server, options: &SinkOptions) -> Self {
        Changes {
            server: server.clone(),
            options: options.clone(),
            plans: Plans::default(),
            session: None,
            taken_from: HashSet::new(),
        }
    }

    /// Applies the batch's changes and commits.
    ///
    /// # Errors
    /// Nothing is committed, unless the reply to COMMIT was lost; applying the batch again is harmless for rows with
    /// keys either way.
    pub async fn apply(&mut self, conn: &Conn, batch: &Batch) -> Result<()> {
        let applied = self.transaction(conn, batch).await;
        if applied.is_err() {
            self.plans.forget();
        }
        applied
    }

    async fn transaction(&mut self, conn: &Conn, batch: &Batch) -> Result<()> {
        if self.session.as_ref().is_none_or(|session| session.pid != conn.pid) {
            let checks_foreign_keys = super::super::checks_foreign_keys(conn).await?;
            self.session = Some(Session { pid: conn.pid, checks_foreign_keys, copies: HashMap::new() });
        }
        let checked = self.session.as_ref().is_some_and(|session| session.checks_foreign_keys);
        let duplicates = Duplicates::of(self.options.conflict, checked);
        let Read { tables, changes } = Read::of(batch)?;
        let known = self.plans.meet(conn, &self.server, &tables, duplicates).await?;
        let traits = traits(&known);
        let mut modes = if checked { &[Mode::InOrder][..] } else { &[Mode::Folded, Mode::Careful, Mode::InOrder] };
        // Where a conflict is to stop the task, it does so at once.
        if duplicates == Duplicates::Refuse && !checked {
            modes = &modes[..1];
        }
        let mut refused = None;
        for &mode in modes {
            let steps = steps(&traits, changes.iter().copied(), duplicates, mode);
            let mut missed = Vec::new();
            match self.run(conn, batch, &known, &steps, mode, &mut missed).await {
                Ok(()) => return self.account_for(missed),
                Err(Failure::Met(error)) => {
                    conn.exec("ROLLBACK", "rolling back").await?;
                    refused = Some(error);
                }
                Err(Failure::Other(error)) => return Err(error),
            }
        }
        Err(refused.unwrap_or_else(|| Error::fatal("a batch of changes was not tried")))
    }

    /// Updates that found no row. After an interruption the target may be ahead, and the row deleted as it will be; but
    /// not if it was taken out of the way of another, for then its values are gone.
    fn account_for(&self, missed: Vec<Missed>) -> Result<()> {
        let mut by_table: BTreeMap<TableId, u64> = BTreeMap::new();
        for Missed { table, rows } in missed {
            *by_table.entry(table).or_default() += rows;
        }
        for (table, rows) in by_table {
            if self.taken_from.contains(&table) {
                return Err(Error::user("a row is to be updated that was deleted because another had one of its unique values, and not all of its values are sent")
                    .with("table", &table)
                    .hint("copy the table anew with a snapshot; ALTER TABLE … REPLICA IDENTITY FULL on the source prevents it"));
            }
            tracing::warn!(
                "{table}: {rows} updated rows are not on the target; after an interruption that may be, as they may be deleted further on"
            );
        }
        Ok(())
    }

    async fn run(
        &mut self,
        conn: &Conn,
        batch: &Batch,
        known: &[Arc<Known>],
        steps: &[Step<'_>],
        mode: Mode,
        missed: &mut Vec<Missed>,
    ) -> Result<(), Failure> {
        let mut script = Script::default();
        script.push(b"BEGIN", Statement::default());
        if is_armed(Failpoint::TargetBegun) {
            script.send(conn, missed).await?;
            reach(Failpoint::TargetBegun);
        }
        if mode == Mode::InOrder {
            // What the source checked at its commit is checked at ours, where the target's constraints allow it.
            script.push(b"SET CONSTRAINTS ALL DEFERRED", Statement::default());
        }
        for step in steps {
            let Known { target, plan, keeps_columns, .. } = &*known[step.table()];
            let of_table = Statement { table: Some(target), ..Statement::default() };
            match step {
                Step::Write { rows, .. } => {
                    let by_way_of = match (mode, keeps_columns, &plan.write.merge) {
                        (Mode::InOrder, _, _) => None,
                        (Mode::Folded, _, _) if rows.len() < COPY_ROWS_MIN => None,
                        (Mode::Folded, false, _) | (_, _, None) => Some((&plan.write.copy, None)),
                        (Mode::Folded | Mode::Careful, _, Some(merge)) => Some((&merge.copy, Some(merge))),
                    };
                    match by_way_of {
                        None => {
                            let mut rest = rows.as_slice();
                            while !rest.is_empty() {
                                let (statement, count) = plan.insert(rest, SCRIPT_BYTES);
                                rest = &rest[count..];
                                script.push(&statement, of_table);
                                self.send_if_full(&mut script, conn, missed).await?;
                            }
                        }
                        Some((copy, merge)) => {
                            script.send(conn, missed).await?;
                            if let Some(merge) = merge {
                                let prepared = conn.client.batch_execute(&merge.prepare).await;
                                prepared.map_err(|error| Failure::of(Some(target), error))?;
                            }
                            self.copy(conn, copy, target, rows).await?;
                            for delete in merge.iter().flat_map(|merge| &merge.deletes) {
                                let deleted = conn.client.execute_raw(delete, NO_VALUES).await;
                                if deleted.map_err(|error| Failure::of(Some(target), error))? > 0 {
                                    self.taken_from.insert(target.clone());
                                }
                            }
                            if let Some(merge) = merge {
                                script.push(merge.insert.as_bytes(), of_table);
                                script.push(merge.clear.as_bytes(), Statement::default());
                            }
                        }
                    }
                }
                Step::DeleteKeys { rows, .. } => {
                    let mut rest = rows.as_slice();
                    while !rest.is_empty() {
                        let (statement, count) = plan.delete_keys(rest, SCRIPT_BYTES);
                        rest = &rest[count..];
                        script.push(&statement, of_table);
                        self.send_if_full(&mut script, conn, missed).await?;
                    }
                }
                Step::Patch { rows, kept, .. } => {
                    let mut rest = rows.as_slice();
                    while !rest.is_empty() {
                        let (statement, count) = plan.patch(rest, kept, SCRIPT_BYTES);
                        rest = &rest[count..];
                        let Some(statement) = statement else { continue };
                        script.push(&statement, Statement { expected: Some(count as u64), ..of_table });
                        self.send_if_full(&mut script, conn, missed).await?;
                    }
                }
                Step::Move { before, after, .. } => {
                    script.push(&plan.move_row(before, after), of_table);
                }
                Step::DeleteRow { before, .. } => script.push(&plan.delete_row(before), of_table),
                Step::UpdateRow { before, after, .. } => script.push(&plan.update_row(before, after), of_table),
                Step::Truncate { tables, restart_identity } => {
                    let names: Vec<&str> = tables.iter().map(|&at| known[at].plan.truncated()).collect();
                    let identity = if *restart_identity { " RESTART IDENTITY" } else { "" };
                    let statement = format!("TRUNCATE {}{identity}", names.join(", "));
                    script.push(statement.as_bytes(), Statement { truncates: true, ..of_table });
                }
            }
            self.send_if_full(&mut script, conn, missed).await?;
        }
        if batch.position().is_some() || is_armed(Failpoint::TargetRows) {
            script.send(conn, missed).await?;
            inscribe(conn, batch).await?;
        }
        script.push(b"COMMIT", Statement::default());
        in_flight(Failpoint::TargetCommit, script.send(conn, missed)).await
    }

    async fn send_if_full(
        &self,
        script: &mut Script<'_>,
        conn: &Conn,
        missed: &mut Vec<Missed>,
    ) -> Result<(), Failure> {
        if script.is_full() { script.send(conn, missed).await } else { Ok(()) }
    }

    /// Copies rows; the server's count must be ours.
    async fn copy(
        &mut self,
        conn: &Conn,
        text: &str,
        target: &TableId,
        rows: &[impl AsRef<[u8]>],
    ) -> Result<(), Failure> {
        let failed = |error| Failure::of(Some(target), error);
        let session = self.session.as_mut().expect("apply: the session was asked for");
        let statement = match session.copies.get(text) {
            Some(statement) => statement.clone(),
            None => {
                let statement = conn.client.prepare(text).await.map_err(failed)?;
                session.copies.insert(text.to_owned(), statement.clone());
                statement
            }
        };
        let mut sink = pin!(conn.client.copy_in::<_, Bytes>(&statement).await.map_err(failed)?);
        for chunk in rows.chunks(CHUNK_ROWS) {
            sink.feed(lines(chunk)).await.map_err(failed)?;
        }
        let taken = sink.as_mut().finish().await.map_err(failed)?;
        if taken != rows.len() as u64 {
            return Err(Failure::Other(
                Error::fatal("the target has taken another number of rows than it was sent")
                    .with("table", target)
                    .with("sent", rows.len())
                    .with("taken", taken),
            ));
        }
        Ok(())
    }
}

/// Rows that are sent to a COPY at a time.
const CHUNK_ROWS: usize = 1000;

const NO_VALUES: [&str; 0] = [];

/// The rows as the text of a COPY.
fn lines(rows: &[impl AsRef<[u8]>]) -> Bytes {
    let mut text = Vec::with_capacity(rows.iter().map(|row| row.as_ref().len() + 1).sum());
    for row in rows {
        text.extend_from_slice(row.as_ref());
        text.push(b'\n');
    }
    Bytes::from(text)
}

/// What the steps depend on, of each table.
fn traits(known: &[Arc<Known>]) -> Vec<Traits> {
    let mut targets: HashMap<&TableId, usize> = HashMap::new();
    let traits = known.iter().map(|known| {
        let next = targets.len();
        Traits {
            target: *targets.entry(&known.target).or_insert(next),
            key: known.plan.key().cloned(),
            meets_itself: known.meets_itself,
            unique_elsewhere: known.unique_elsewhere,
            keeps_columns: known.keeps_columns,
        }
    });
    traits.collect()
}

/// A batch's changes, cut out of its blocks.
struct Read<'a> {
    tables: Vec<Arc<RoutedTable>>,
    changes: Vec<(usize, Done<'a>)>,
}

impl<'a> Read<'a> {
    fn of(batch: &'a Batch) -> Result<Self> {
        let mut tables: Vec<Arc<RoutedTable>> = Vec::new();
        // By address first: a stream names a table by the same allocation for as long as it does not change.
        let mut places: HashMap<usize, usize> = HashMap::new();
        let mut changes = Vec::new();
        for (change, data) in batch.changes() {
            let table = *places.entry(Arc::as_ptr(&change.table).addr()).or_insert_with(|| {
                tables.iter().position(|table| *table == change.table).unwrap_or_else(|| {
                    tables.push(change.table.clone());
                    tables.len() - 1
                })
            });
            let row = |range: &Range<usize>| {
                let row = data.get(range.clone()).ok_or_else(|| {
                    Error::fatal("a change names a row outside its block").with("table", &change.table.source.id)
                })?;
                // With its newline or without: within a row there is none.
                Ok::<&[u8], Error>(row.strip_suffix(b"\n").unwrap_or(row))
            };
            let done = match &change.op {
                Op::Insert { after } => Done::Row(RowChange::Insert { after: row(after)? }),
                Op::Update { before, after } => {
                    Done::Row(RowChange::Update { before: row(before)?, after: row(after)? })
                }
                Op::Delete { before } => Done::Row(RowChange::Delete { before: row(before)? }),
                Op::Truncate { restart_identity } => Done::Truncate { restart_identity: *restart_identity },
                Op::Ddl { .. } => {
                    return Err(Error::fatal("DDL came to a PostgreSQL target, whose sources send none")
                        .with("table", &change.table.source.id));
                }
            };
            changes.push((table, done));
        }
        Ok(Read { tables, changes })
    }
}
