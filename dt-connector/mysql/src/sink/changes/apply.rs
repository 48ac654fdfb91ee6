//! A batch of changes in one transaction, in as few round trips as it takes.
//!
//! Statements go to the server many at a time, one after another in one text; it stops at the first that fails. The
//! transaction's begin and its COMMIT travel along, so that a small batch is one round trip. COMMIT is executed only
//! if all before it was, and the batch counts as applied only once it is answered (invariant 2).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dt_common::failpoint::{Failpoint, in_flight, is_armed, reach};
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};
use dt_connector::{Batch, Op, SinkOptions};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::super::failure::failed_to_write;
use super::super::inscription::inscribe;
use super::super::load::{Loaded, load};
use super::super::statement::Duplicates;
use super::super::write::statement_bytes;
use super::fold::RowChange;
use super::plans::{Known, Plans};
use super::steps::{Step, Traits, steps};
use crate::connect::Server;
use crate::error::classify;

/// From so many rows of one table on, loading them is faster than statements, the round trips included. Measured on rows
/// of 120 bytes: a third faster at 1,000 rows and up on both kinds of servers, slower at 300 on MySQL.
const LOAD_ROWS_MIN: usize = 1000;

/// So is a row of this size: as a statement's literal it would take up to twice its bytes in one packet.
const LOAD_ROW_BYTES_MIN: usize = 1024 * 1024;

/// Applies changes; one for each connection to the target.
#[derive(Debug)]
pub struct Changes {
    server: Server,
    duplicates: Duplicates,
    foreign_keys_checked: bool,
    statement_rows: usize,
    plans: Plans,
}

/// How a transaction went.
enum Ended {
    /// It is committed.
    Committed,
    /// A load left a doubt, or was refused: nothing is committed.
    Doubtful,
}

impl Changes {
    /// For a server, by these options.
    pub fn new(server: &Server, options: &SinkOptions) -> Self {
        let duplicates = Duplicates::of(options);
        Changes {
            server: server.clone(),
            duplicates,
            foreign_keys_checked: !options.disable_foreign_key_checks,
            statement_rows: options.statement_rows,
            plans: Plans::new(duplicates),
        }
    }

    /// Applies the batch's changes and commits. `load_data` says whether the server takes loads; it is put out where
    /// the server refuses one.
    ///
    /// # Errors
    /// Nothing is committed, unless the reply to COMMIT was lost; applying the batch again is harmless for rows with
    /// keys either way.
    pub async fn apply(&mut self, conn: &mut Conn, batch: &Batch, load_data: &mut bool) -> Result<()> {
        let applied = self.transaction(conn, batch, load_data).await;
        if applied.is_err() {
            self.plans.forget();
        }
        applied
    }

    async fn transaction(&mut self, conn: &mut Conn, batch: &Batch, load_data: &mut bool) -> Result<()> {
        let tables = Tables::of(batch)?;
        let known = self.plans.meet(conn, self.server.flavor, &tables.tables).await?;
        let traits = traits(&known);
        let steps = steps(&traits, tables.changes(batch), self.duplicates, self.foreign_keys_checked);
        if *load_data && !self.foreign_keys_checked && steps.iter().any(is_large) {
            match self.run(conn, batch, &known, &steps, load_data).await? {
                Ended::Committed => return Ok(()),
                Ended::Doubtful => {
                    conn.query_drop("ROLLBACK").await.map_err(|error| classify("rolling back", error))?;
                }
            }
        }
        match self.run(conn, batch, &known, &steps, &mut false).await? {
            Ended::Committed => Ok(()),
            Ended::Doubtful => Err(Error::fatal("a transaction of statements alone left a doubt")),
        }
    }

    async fn run(
        &self,
        conn: &mut Conn,
        batch: &Batch,
        known: &[Arc<Known>],
        steps: &[Step<'_>],
        load_data: &mut bool,
    ) -> Result<Ended> {
        let bytes_max = statement_bytes(&self.server);
        let mut script = Script::new(&self.server);
        script.push(b"START TRANSACTION", None);
        if is_armed(Failpoint::TargetBegun) {
            script.send(conn).await?;
            reach(Failpoint::TargetBegun);
        }
        for step in steps {
            let Known { target, plan, .. } = &*known[step.table()];
            match step {
                Step::Write { rows, .. } if *load_data && is_large(step) => {
                    script.send(conn).await?;
                    let text = lines(rows);
                    match load(conn, plan.write(), target, self.duplicates, vec![text], rows.len() as u64).await? {
                        Loaded::Whole { .. } => {}
                        Loaded::Doubtful => return Ok(Ended::Doubtful),
                        Loaded::Refused => {
                            tracing::info!(
                                "{} no longer accepts LOAD DATA LOCAL: rows are written as statements",
                                self.server
                            );
                            *load_data = false;
                            return Ok(Ended::Doubtful);
                        }
                    }
                }
                Step::Write { rows, .. } => {
                    let mut rest = rows.as_slice();
                    while !rest.is_empty() {
                        let (statement, count) = plan.write().statement(rest, self.statement_rows, bytes_max);
                        rest = &rest[count..];
                        script.add(conn, &statement, target).await?;
                    }
                }
                Step::DeleteKeys { rows, .. } => {
                    let mut rest = rows.as_slice();
                    while !rest.is_empty() {
                        let (statement, count) = plan.delete_keys(rest, bytes_max);
                        rest = &rest[count..];
                        script.add(conn, &statement, target).await?;
                    }
                }
                Step::DeleteRow { before, by, .. } => {
                    script.add(conn, &plan.delete_row(before, *by), target).await?;
                }
                Step::UpdateRow { before, after, by, .. } => {
                    script.add(conn, &plan.update_row(before, after, *by), target).await?;
                }
            }
        }
        if batch.position().is_some() || is_armed(Failpoint::TargetRows) {
            script.send(conn).await?;
            inscribe(conn, batch).await?;
        }
        script.push(b"COMMIT", None);
        in_flight(Failpoint::TargetCommit, script.send(conn)).await?;
        Ok(Ended::Committed)
    }
}

fn is_large(step: &Step<'_>) -> bool {
    match step {
        Step::Write { rows, .. } => {
            rows.len() >= LOAD_ROWS_MIN || rows.iter().any(|row| row.len() >= LOAD_ROW_BYTES_MIN)
        }
        Step::DeleteKeys { .. } | Step::DeleteRow { .. } | Step::UpdateRow { .. } => false,
    }
}

/// The rows as the text of a load.
fn lines(rows: &[&[u8]]) -> Bytes {
    let mut text = Vec::with_capacity(rows.iter().map(|row| row.len() + 1).sum());
    for row in rows {
        text.extend_from_slice(row);
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
        }
    });
    traits.collect()
}

/// The tables of a batch's changes, as they were at their moments.
#[derive(Debug, Default)]
struct Tables {
    tables: Vec<Arc<RoutedTable>>,
    // By address: a stream names a table by the same allocation for as long as it does not change.
    places: HashMap<usize, usize>,
}

impl Tables {
    fn of(batch: &Batch) -> Result<Self> {
        let mut all = Tables::default();
        for (change, _) in batch.changes() {
            let Tables { tables, places } = &mut all;
            places.entry(Arc::as_ptr(&change.table).addr()).or_insert_with(|| {
                tables.iter().position(|table| *table == change.table).unwrap_or_else(|| {
                    tables.push(change.table.clone());
                    tables.len() - 1
                })
            });
            if let Op::Truncate { .. } | Op::Ddl { .. } = &change.op {
                return Err(Error::fatal("a TRUNCATE or DDL came to a MySQL target, whose sources send none")
                    .with("table", &change.table.source.id));
            }
        }
        Ok(all)
    }

    /// The batch's changes, each with its table's place, cut out of their blocks.
    fn changes<'a>(&self, batch: &'a Batch) -> impl Iterator<Item = (usize, RowChange<'a>)> {
        batch.changes().map(|(change, data)| {
            let row = |range: &Range<usize>| {
                let row = data.get(range.clone()).expect("changes: a change names a row outside its block");
                // With its newline or without: within a row there is none.
                row.strip_suffix(b"\n").unwrap_or(row)
            };
            let row_change = match &change.op {
                Op::Insert { after } => RowChange::Insert { after: row(after) },
                Op::Update { before, after } => RowChange::Update { before: row(before), after: row(after) },
                Op::Delete { before } => RowChange::Delete { before: row(before) },
                Op::Truncate { .. } | Op::Ddl { .. } => {
                    unreachable!("changes: a TRUNCATE is refused when the tables are met")
                }
            };
            (self.places[&Arc::as_ptr(&change.table).addr()], row_change)
        })
    }
}

/// Statements on their way, each with the table it writes to.
struct Script<'k> {
    text: Vec<u8>,
    tables: Vec<Option<&'k TableId>>,
    bytes_max: usize,
    packet_max: usize,
}

impl<'k> Script<'k> {
    fn new(server: &Server) -> Self {
        let (bytes_max, packet_max) = (statement_bytes(server), server.max_allowed_packet);
        Script { text: Vec::new(), tables: Vec::new(), bytes_max, packet_max }
    }

    fn push(&mut self, statement: &[u8], table: Option<&'k TableId>) {
        if !self.text.is_empty() {
            self.text.push(b';');
        }
        self.text.extend_from_slice(statement);
        self.tables.push(table);
    }

    /// Adds a statement; what would grow too large is sent first.
    async fn add(&mut self, conn: &mut Conn, statement: &[u8], table: &'k TableId) -> Result<()> {
        if self.text.len() + statement.len() > self.bytes_max {
            self.send(conn).await?;
        }
        // The server would cut the connection, which looks like something that passes.
        if statement.len() >= self.packet_max {
            return Err(Error::user("a row is too large for one statement on the target")
                .with("table", table)
                .with("bytes", statement.len())
                .hint(format!("raise max_allowed_packet on the target, which is {} bytes", self.packet_max)));
        }
        self.push(statement, Some(table));
        Ok(())
    }

    /// Sends what there is and hears the answer to each statement.
    async fn send(&mut self, conn: &mut Conn) -> Result<()> {
        if self.text.is_empty() {
            return Ok(());
        }
        let text = std::mem::take(&mut self.text);
        let tables = std::mem::take(&mut self.tables);
        let failed = |answered: usize, error| match tables.get(answered).copied().flatten() {
            Some(table) => failed_to_write(table, error),
            None => classify("beginning or committing a transaction", error),
        };
        let mut result = conn.query_iter(text).await.map_err(|error| failed(0, error))?;
        let mut answered = 1;
        while !result.is_empty() {
            result.next().await.map_err(|error| failed(answered, error))?;
            answered += 1;
        }
        // The driver counts a refusal as an answer, and tells of it here.
        result.drop_result().await.map_err(|error| failed(answered - 1, error))?;
        if answered != tables.len() {
            return Err(Error::fatal("the server has not answered each statement of a transaction")
                .with("statements", tables.len())
                .with("answers", answered));
        }
        Ok(())
    }
}
