//! Applying batches: one target transaction each, loaded as a stream where the target allows it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dt_common::failpoint::{Failpoint, in_flight, reach};
use dt_common::{Error, Result, TableId};
use dt_connector::{Applying, Batch, Failed, RowFormat, SinkOptions, Sinker};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::changes::apply::Changes;
use super::failure::failed_to_write;
use super::inscription::{inscribe, is_there};
use super::load::{Loaded, load};
use super::statement::{Duplicates, WritePlan};
use crate::alive::while_alive;
use crate::config::Address;
use crate::connect::{self, Server, Session};
use crate::error::classify;
use crate::left::Mark;
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
    changes: Changes,
    conn: Option<Idle>,
    mark: Option<Mark>,
    // Of the connection before, if it was given up.
    left: Option<Mark>,
    load_data: bool,
    replaced_rows: u64,
}

/// A connection between two batches.
#[derive(Debug)]
struct Idle {
    conn: Conn,
    since: Instant,
}

/// How long the server waits for anything more of a transaction, in seconds: longer than a batch waits for its turn
/// ([`dt_connector::Turn`]). A machine that is gone without a word cannot hold its locks for longer, and who follows it does
/// not wait for the hours after which a server asks whether anybody is there.
const SILENT_SECS_MAX: u64 = 60;
/// A connection that has been idle for so long is made anew, before the server ends it.
const IDLE_MAX: Duration = Duration::from_secs(SILENT_SECS_MAX / 2);

/// Has the server end the connection when it hears nothing for that long.
async fn bound(conn: &mut Conn) -> Result<()> {
    let set = format!("SET SESSION wait_timeout = {SILENT_SECS_MAX}, SESSION net_read_timeout = {SILENT_SECS_MAX}");
    let bounded = conn.query_drop(set).await;
    bounded.map_err(|error| classify("limiting how long a transaction may stand still", error))
}

/// Multi-row statements stop growing here, or at a quarter of what the server takes.
const STATEMENT_BYTES: usize = 1024 * 1024;

/// Where a multi-row statement for this server stops growing.
pub(super) fn statement_bytes(server: &Server) -> usize {
    STATEMENT_BYTES.min(server.max_allowed_packet / 4)
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
            changes: Changes::new(&server, options),
            load_data: server.local_infile,
            server,
            session,
            duplicates: Duplicates::of(options),
            statement_rows: options.statement_rows,
            plans,
            conn: None,
            mark: None,
            left: None,
            replaced_rows: 0,
        }
    }

    async fn write(&mut self, batch: &Batch) -> Result<()> {
        match batch.format() {
            RowFormat::MysqlText => {}
            RowFormat::PgBinary | RowFormat::PgText | RowFormat::Bson => {
                return Err(Error::fatal("a batch in another database's form came to a MySQL target"));
            }
        }
        if batch.table().is_none() && batch.changes().next().is_none() && batch.position().is_none() {
            // How far the source has come, and nothing to write: all that there is, is in the target.
            return Ok(());
        }
        let mut conn = match self.conn.take().filter(|idle| idle.since.elapsed() < IDLE_MAX) {
            Some(idle) => idle.conn,
            None => {
                let mut conn = connect::connect(&self.address, self.server.flavor, &self.session).await?;
                let id = conn.id();
                while_alive(&self.address, id, bound(&mut conn)).await?;
                if let Some(left) = self.left.clone() {
                    while_alive(&self.address, id, left.end(&mut conn)).await?;
                    self.left = None;
                }
                self.mark = while_alive(&self.address, id, Mark::put_on(&mut conn)).await?;
                conn
            }
        };
        // The connection goes back only if all went well: after an error the next try has a new one, and what was
        // not committed on the old one is rolled back with it. Whatever the error says: of a link that is dead nothing
        // is known while the transaction waits for its turn.
        let (address, id) = (self.address.clone(), conn.id());
        let written = while_alive(&address, id, self.transaction(&mut conn, batch)).await;
        if written.is_err() {
            self.left = self.mark.take();
        }
        self.replaced_rows += written?;
        self.conn = Some(Idle { conn, since: Instant::now() });
        Ok(())
    }

    /// The batch in one transaction, committed. How many rows replaced others.
    async fn transaction(&mut self, conn: &mut Conn, batch: &Batch) -> Result<u64> {
        if is_there(conn, batch).await? {
            return Ok(0);
        }
        match batch.table() {
            Some(table) => {
                let plans = self.plans.clone();
                let plan = plans.get(&table.source.id).ok_or_else(|| {
                    Error::fatal("a batch of a table that the target was not asked about")
                        .with("table", &table.source.id)
                })?;
                self.rows(conn, plan, &table.target, batch).await
            }
            None => {
                self.changes.apply(conn, batch, &mut self.load_data).await?;
                // An update writes a row over what it was: that is no news.
                Ok(0)
            }
        }
    }

    /// Rows of one table.
    async fn rows(&mut self, conn: &mut Conn, plan: &WritePlan, target: &TableId, batch: &Batch) -> Result<u64> {
        let failed = |error| classify(format!("writing to {target}"), error);
        conn.query_drop("START TRANSACTION").await.map_err(failed)?;
        reach(Failpoint::TargetBegun);
        let mut loaded = Loaded::Refused;
        if self.load_data {
            let chunks = batch.chunks().cloned().collect();
            loaded = load(conn, plan, target, self.duplicates, chunks, batch.rows()).await?;
        }
        let replaced = match loaded {
            Loaded::Whole { replaced } => replaced,
            Loaded::Refused => {
                if std::mem::take(&mut self.load_data) {
                    tracing::info!("{} no longer accepts LOAD DATA LOCAL: rows are written as statements", self.server);
                }
                self.insert(conn, plan, target, batch).await?
            }
            Loaded::Doubtful => {
                conn.query_drop("ROLLBACK").await.map_err(failed)?;
                conn.query_drop("START TRANSACTION").await.map_err(failed)?;
                self.insert(conn, plan, target, batch).await?
            }
        };
        inscribe(conn, batch).await?;
        in_flight(Failpoint::TargetCommit, conn.query_drop("COMMIT")).await.map_err(failed)?;
        Ok(replaced)
    }

    async fn insert(&self, conn: &mut Conn, plan: &WritePlan, target: &TableId, batch: &Batch) -> Result<u64> {
        let bytes_max = statement_bytes(&self.server);
        let mut affected = 0;
        let rows: Vec<&[u8]> = batch.chunks().flat_map(|chunk| rows::rows(chunk)).collect();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (statement, count) = plan.statement(rest, self.statement_rows, bytes_max);
            rest = &rest[count..];
            conn.query_drop(statement).await.map_err(|error| failed_to_write(target, error))?;
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
