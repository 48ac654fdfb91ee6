//! Reading tables: rows streamed by COPY, sent on as blocks; lost connections made again.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use dt_common::position::OrderKey;
use dt_common::{DbType, Error, ErrorClass, Result};
use dt_connector::readers::{self, Interrupted, Reading};
use dt_connector::retry::{Backoff, chance};
use dt_connector::{
    Acknowledger, Block, BlockContents, Event, Extractor, Outlet, ReadOptions, Start, TableTask, counted_rows_lost,
};
use futures_util::future::try_join;

use super::gathered::Gathered;
use super::keeper::{Keeper, Snapshot};
use super::plan::{From as Begin, Piece, Range, Rows, TablePlan};
use super::spare::Spare;
use crate::alive::while_alive;
use crate::catalog::Definition;
use crate::config::Address;
use crate::connect::{self, Server};
use crate::wire::{Next, Wire};

/// The tables of a snapshot, read `parallel_tables` at a time.
#[derive(Debug)]
pub(super) struct PgSnapshot {
    address: Address,
    server: Server,
    tables: Vec<Table>,
    options: ReadOptions,
}

/// A table that is to be read.
type Table = (TableTask, Arc<Definition>);

impl PgSnapshot {
    pub(super) fn new(address: Address, server: Server, tables: Vec<Table>, options: ReadOptions) -> Self {
        PgSnapshot { address, server, tables, options }
    }
}

#[async_trait]
impl Extractor for PgSnapshot {
    async fn extract(self: Box<Self>, outlet: Outlet) -> Result<()> {
        let keeper = Arc::new(Keeper::new(self.address.clone(), self.server.clone()));
        let spare = Spare::default();
        let reader = || Reader {
            address: self.address.clone(),
            server: self.server.clone(),
            options: self.options.clone(),
            outlet: outlet.clone(),
            keeper: keeper.clone(),
            spare: spare.clone(),
            conn: None,
            counted: None,
            backoff: Backoff::new(self.options.retry),
            clock: Instant::now(),
        };
        readers::read_all(self.tables, self.options.parallel_tables, &outlet, reader).await
    }

    fn acknowledger(&self) -> Option<Box<dyn Acknowledger>> {
        None
    }
}

/// One connection, and the tables it works through.
struct Reader {
    address: Address,
    server: Server,
    options: ReadOptions,
    outlet: Outlet,
    keeper: Arc<Keeper>,
    spare: Spare,
    conn: Option<Wire>,
    // Rows that were sent and that no key tells apart, where they are counted.
    counted: Option<u64>,
    backoff: Backoff,
    clock: Instant,
}

/// A table as it is read.
struct OfTable<'a> {
    task: &'a TableTask,
    table: &'a Definition,
    plan: TablePlan<'a>,
}

/// What an unordered range can be gone on with: its rows lie in this order for as long as both stay the same.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    generation: u32,
    filenode: u64,
}

/// How far a range, or the pieces of one, has been read.
#[derive(Default)]
struct Progress {
    /// Rows sent of it, those that were sent twice included.
    rows: u64,
    /// The key of the last of them, if they have one.
    last_key: Option<OrderKey>,
    /// Where an unordered range's rows were read.
    place: Option<Place>,
    /// The piece that is being read.
    piece: usize,
    /// Rows sent of that piece.
    piece_rows: u64,
    /// Rows that this try has to pass over, for they were sent.
    skip: u64,
}

#[async_trait]
impl readers::Reader<Table> for Reader {
    async fn read(&mut self, (task, table): &Table) -> Reading<()> {
        self.table(task, table).await
    }

    async fn finish(self) {
        if let Some(conn) = self.conn {
            conn.close().await;
        }
    }
}

impl Reader {
    async fn table(&mut self, task: &TableTask, table: &Definition) -> Reading<()> {
        let plan = TablePlan::of_task(table, task)?;
        let ranges = plan.start_ranges(&task.start)?;
        self.counted = (self.options.counts_rows && task.start == Start::Beginning).then_some(0);
        self.outlet.signal(Event::LaneStarted { lane: task.lane, table: task.table.clone() })?;
        tracing::info!("{}", task.start_line());
        let mut count = 0;
        let of = OfTable { task, table, plan };
        for range in ranges {
            let pieces = pieces(&self.server, table, range);
            count += self.range(&of, &pieces).await?;
        }
        tracing::info!("{}", task.end_line(count));
        let finished = task.finished(DbType::Pg, &self.options.lineage);
        self.outlet.signal(Event::LaneEnded { lane: task.lane, finished })?;
        Ok(())
    }

    /// Reads a range, or the pieces of one, to its end, over as many connections as it takes. The rows it has sent.
    async fn range(&mut self, of: &OfTable<'_>, pieces: &[Range]) -> Reading<u64> {
        let mut progress = Progress::default();
        let (fields, extras) = (of.plan.fields(), of.plan.extras());
        let mut block = Gathered::new(of.task.format, fields, extras, self.options.block_bytes, self.spare.clone());
        loop {
            let before = progress.rows;
            let read = self.attempt(of, pieces, &mut block, &mut progress).await;
            if progress.rows > before {
                self.backoff.succeeded();
            }
            match read {
                Ok(()) => {
                    self.backoff.succeeded();
                    return Ok(progress.rows);
                }
                Err(Interrupted::Failed(error)) if error.class().is_transient() => self.pause(error).await?,
                Err(interrupted) => return Err(interrupted),
            }
        }
    }

    /// Reads what is left of a range in a transaction of its own.
    async fn attempt(
        &mut self,
        of: &OfTable<'_>,
        pieces: &[Range],
        block: &mut Gathered,
        progress: &mut Progress,
    ) -> Reading<()> {
        let connecting = async {
            match self.conn.take() {
                Some(conn) => Ok(conn),
                None => connect::connect_to_read(&self.address, &self.server).await,
            }
        };
        let (mut conn, snapshot) = try_join(connecting, self.keeper.snapshot()).await?;
        let pid = conn.pid();
        let opening = self.open(&mut conn, &snapshot, of, &pieces[0]);
        let place = while_alive(&self.address, &self.server, pid, opening).await?;
        if let Range::Unordered { .. } = pieces[0] {
            self.go_on(of, progress, place)?;
        }
        while let Some(piece) = pieces.get(progress.piece) {
            let range = match (piece, &progress.last_key) {
                (Range::Keyed(_), Some(key)) => Range::Keyed(Begin::After(key.clone())),
                (Range::Keyed(_), None) | (Range::Unordered { .. }, _) => piece.clone(),
            };
            self.copy(&mut conn, of, &range, block, progress).await?;
            progress.piece += 1;
            progress.piece_rows = 0;
        }
        // The rows are here: if the connection is lost by now, only the next read needs another.
        let ending = conn.command("COMMIT", "ending a read");
        if while_alive(&self.address, &self.server, pid, ending).await.is_ok() {
            self.conn = Some(conn);
        }
        Ok(())
    }

    /// Begins a transaction in the snapshot. Where the rows of an unordered range lie, if that can be said.
    async fn open(
        &self,
        conn: &mut Wire,
        snapshot: &Snapshot,
        of: &OfTable<'_>,
        range: &Range,
    ) -> Reading<Option<Place>> {
        self.join(conn, snapshot).await?;
        match range {
            Range::Keyed(_) => Ok(None),
            Range::Unordered { rows, .. } => {
                let filenode = format!("SELECT pg_catalog.pg_relation_filenode({})", of.table.relation.oid);
                let answer = conn.command(&filenode, "asking where a table lies").await?;
                let filenode = answer.first().and_then(|row| row.first()?.as_ref()?.parse().ok()).unwrap_or(0);
                if *rows != Rows::NullKeys {
                    // The rows in the order in which they lie, whatever the condition has an index for.
                    let set = "SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; \
                               SET LOCAL enable_bitmapscan = off";
                    conn.command(set, "setting up a read").await?;
                }
                let is_plain = of.table.relation.kind == 'r' && filenode != 0;
                Ok(is_plain.then_some(Place { generation: snapshot.generation, filenode }))
            }
        }
    }

    async fn join(&self, conn: &mut Wire, snapshot: &Snapshot) -> Reading<()> {
        let statement = format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT {}",
            crate::sql::string(&snapshot.name)
        );
        let Err(error) = conn.command(&statement, "reading in the task's snapshot").await else { return Ok(()) };
        let text = error.to_string();
        // No such snapshot (22023, since 17 42704), or the process that held it is gone (55000).
        if ["22023", "42704", "55000"].iter().any(|state| text.contains(&format!("ERROR {state}"))) {
            self.keeper.lost(snapshot).await;
            return Err(error.with_class(ErrorClass::Reconnect).into());
        }
        Err(error.into())
    }

    /// Streams the rows of an opened range.
    async fn copy(
        &mut self,
        conn: &mut Wire,
        of: &OfTable<'_>,
        range: &Range,
        block: &mut Gathered,
        progress: &mut Progress,
    ) -> Reading<()> {
        let pid = conn.pid();
        let statement = of.plan.copy(range)?;
        let beginning = conn.copy_out(&statement, format!("reading {}", of.table.schema.id));
        let mut rows = while_alive(&self.address, &self.server, pid, beginning).await?;
        block.begin();
        loop {
            let message = match rows.take()? {
                Next::Data(message) => message,
                Next::Awaited => {
                    while_alive(&self.address, &self.server, pid, rows.fill()).await?;
                    continue;
                }
                Next::End => break,
            };
            if !block.push(message)? {
                continue;
            }
            if progress.skip > 0 {
                progress.skip -= 1;
                block.pop();
                continue;
            }
            if block.is_full() || block.rows() >= self.options.page_rows {
                self.send(of, range, block, progress).await?;
            }
        }
        block.end()?;
        if block.rows() > 0 {
            self.send(of, range, block, progress).await?;
        }
        Ok(())
    }

    /// Sends the block's rows. They count as sent only once they are: what is given up on the way is read again.
    async fn send(
        &mut self,
        of: &OfTable<'_>,
        range: &Range,
        block: &mut Gathered,
        progress: &mut Progress,
    ) -> Reading<()> {
        let key = match range {
            Range::Keyed(_) => {
                let (row, extras) = block.last();
                Some(of.plan.key_of(row, extras)?)
            }
            Range::Unordered { .. } => None,
        };
        let (data, rows) = block.take();
        let counted = self.counted.map(|counted| counted + rows);
        let sending = Block {
            lane: of.task.lane,
            contents: BlockContents::Rows(of.task.table.clone()),
            format: of.task.format,
            data,
            rows,
            progress: match &key {
                Some(key) => Some(of.task.progress(DbType::Pg, key.clone(), &self.options.lineage)),
                None => counted.map(|rows| of.task.counted(DbType::Pg, rows, &self.options.lineage)),
            },
            checkpoint: None,
            behind: 0,
            spread: dt_connector::Spread::default(),
        };
        self.outlet.rows(sending).await?;
        if key.is_none() {
            self.counted = counted;
        }
        progress.rows += rows;
        progress.piece_rows += rows;
        progress.last_key = key.or(progress.last_key.take());
        Ok(())
    }

    /// Where an unordered range is gone on with: in the piece and after the rows that were sent, if all of its rows lie where
    /// they did. In another snapshot a row that was changed since may lie on a page that has been passed, so that the table
    /// is read from its first page again.
    fn go_on(&self, of: &OfTable<'_>, progress: &mut Progress, place: Option<Place>) -> Result<()> {
        if place.is_some() && place == progress.place {
            progress.skip = progress.piece_rows;
            return Ok(());
        }
        if progress.rows > 0 {
            if self.counted.is_some() {
                let error = Error::new(ErrorClass::Reconnect, "the snapshot that they were read in is gone");
                return Err(counted_rows_lost(&of.table.schema.id, error));
            }
            tracing::warn!(
                "{}: the connection was lost while rows without a usable key were read, and they cannot be found again: they are read again from the first, and may be in the target twice",
                of.table.schema.id
            );
        }
        *progress = Progress { rows: progress.rows, place, ..Progress::default() };
        Ok(())
    }

    /// Waits before the next try, or gives up.
    async fn pause(&mut self, error: Error) -> Reading<()> {
        self.conn = None;
        let Some(pause) = self.backoff.failed(self.clock.elapsed(), chance()) else {
            return Err(Interrupted::Failed(
                error.hint("the connection could not be made again within [pipeline] max_retry_secs; start the task again with resume_type=from_log"),
            ));
        };
        tracing::warn!("{error}; trying again in {:.1} s (attempt {})", pause.as_secs_f64(), self.backoff.attempts());
        tokio::time::sleep(pause).await;
        Ok(())
    }
}

/// An unordered range of a plain table is cut by pages, where the server finds rows by their page (since 14).
fn pieces(server: &Server, table: &Definition, range: Range) -> Vec<Range> {
    match range {
        Range::Unordered { rows: rows @ (Rows::All | Rows::AfterFirstColumn(_)), piece: None }
            if table.relation.kind == 'r' && server.version_number >= 140_000 =>
        {
            let pieces = Piece::all(table.relation.pages);
            pieces.into_iter().map(|piece| Range::Unordered { rows: rows.clone(), piece: Some(piece) }).collect()
        }
        Range::Keyed(_) | Range::Unordered { .. } => vec![range],
    }
}
