//! Reading tables: pages of rows, sent on as blocks; lost connections made again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use dt_common::position::{OrderKey, Position};
use dt_common::{DbType, Error, Result};
use dt_connector::readers::{self, Interrupted, Reading};
use dt_connector::retry::{Backoff, chance};
use dt_connector::{
    Acknowledger, Block, BlockContents, Event, Extractor, Outlet, ReadOptions, Start, TableTask, counted_rows_lost,
};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};

use super::plan::{Range, TablePlan};
use crate::alive::while_asking;
use crate::config::Address;
use crate::connect::{self, Flavor, Session};
use crate::error::classify;
use crate::rows;

/// The tables of a snapshot, read `parallel_tables` at a time.
#[derive(Debug)]
pub(super) struct MysqlSnapshot {
    address: Address,
    flavor: Flavor,
    tables: Vec<TableTask>,
    options: ReadOptions,
}

impl MysqlSnapshot {
    pub(super) fn new(address: Address, flavor: Flavor, tables: Vec<TableTask>, options: ReadOptions) -> Self {
        MysqlSnapshot { address, flavor, tables, options }
    }
}

#[async_trait]
impl Extractor for MysqlSnapshot {
    async fn extract(self: Box<Self>, outlet: Outlet) -> Result<()> {
        let reader = || Reader {
            address: self.address.clone(),
            flavor: self.flavor,
            options: self.options.clone(),
            outlet: outlet.clone(),
            conn: None,
            held_up: Arc::default(),
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
    flavor: Flavor,
    options: ReadOptions,
    outlet: Outlet,
    conn: Option<Conn>,
    // By those who write what was read.
    held_up: Arc<AtomicBool>,
    // Rows that were sent and that no key tells apart, where they are counted.
    counted: Option<u64>,
    backoff: Backoff,
    clock: Instant,
}

#[async_trait]
impl readers::Reader<TableTask> for Reader {
    async fn read(&mut self, task: &TableTask) -> Reading<()> {
        self.table(task).await
    }

    async fn finish(self) {
        if let Some(conn) = self.conn {
            // All rows are here; a failure to say good-bye changes nothing.
            let _ = conn.disconnect().await;
        }
    }
}

impl Reader {
    async fn table(&mut self, task: &TableTask) -> Reading<()> {
        let plan = TablePlan::of_task(task)?;
        let ranges = plan.start_ranges(&task.start)?;
        self.counted = (self.options.counts_rows && task.start == Start::Beginning).then_some(0);
        self.outlet.signal(Event::LaneStarted { lane: task.lane, table: task.table.clone() })?;
        tracing::info!("{}", task.start_line());
        let mut count = 0;
        for range in ranges {
            count += self.range(task, &plan, range).await?;
        }
        tracing::info!("{}", task.end_line(count));
        let finished = task.finished(DbType::Mysql, &self.options.lineage);
        self.outlet.signal(Event::LaneEnded { lane: task.lane, finished })?;
        Ok(())
    }

    /// Reads a range to its end, over as many connections as it takes. The rows it has read.
    async fn range(&mut self, task: &TableTask, plan: &TablePlan<'_>, mut range: Range) -> Reading<u64> {
        let mut count = 0;
        let mut block = Gathered::new(self.options.block_bytes);
        loop {
            let mut sent = Sent { rows: 0, last_key: None };
            let limit = self.options.page_rows;
            let page = self.watched_page(&Slice { task, plan, range: &range }, &mut block, &mut sent).await;
            // What was sent is behind us, however the page ended.
            count += sent.rows;
            if sent.rows > 0 {
                self.backoff.succeeded();
            }
            if let (Range::Keyed(_), Some(key)) = (&range, &sent.last_key) {
                range = plan.onwards(&range, key)?;
            }
            match page {
                Ok(()) => {
                    self.backoff.succeeded();
                    match range {
                        Range::Keyed(_) if sent.rows == limit => {}
                        Range::Keyed(_) | Range::Whole | Range::NullKeys | Range::AfterFirstColumn(_) => {
                            return Ok(count);
                        }
                    }
                }
                Err(Interrupted::Failed(error)) if error.class().is_transient() => {
                    if sent.rows > 0 && !matches!(range, Range::Keyed(_)) {
                        if self.counted.is_some() {
                            return Err(counted_rows_lost(&task.table.source.id, error).into());
                        }
                        tracing::warn!(
                            "{}: the connection was lost while rows without a usable key were read: they are read again from the first, and may be in the target twice",
                            task.table.source.id
                        );
                    }
                    self.pause(error).await?;
                }
                Err(interrupted) => return Err(interrupted),
            }
        }
    }

    async fn watched_page(&mut self, slice: &Slice<'_>, block: &mut Gathered, sent: &mut Sent) -> Reading<()> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => connect::connect(&self.address, self.flavor, &Session::Read).await?,
        };
        let (address, id, held_up) = (self.address.clone(), conn.id(), self.held_up.clone());
        while_asking(&address, id, &held_up, self.page(&mut conn, slice, block, sent)).await?;
        // The connection is kept only if all went well.
        self.conn = Some(conn);
        Ok(())
    }

    /// Reads one page and sends it, as one block or, where it is large, as several.
    async fn page(&mut self, conn: &mut Conn, slice: &Slice<'_>, block: &mut Gathered, sent: &mut Sent) -> Reading<()> {
        let Slice { task, plan, range } = *slice;
        let statement = plan.statement(range, self.options.page_rows)?;
        let doing = || format!("reading {}", task.table.source.id);
        let mut result = conn.query_iter(statement).await.map_err(|error| classify(doing(), error))?;
        block.clear();
        while let Some(row) = result.next().await.map_err(|error| classify(doing(), error))? {
            block.push(&row, plan.row_cells());
            if block.is_full() {
                self.send(block, task, keyed(plan, range, &row)?, sent).await?;
            } else {
                block.last = Some(row);
            }
        }
        if let Some(row) = block.last.take() {
            self.send(block, task, keyed(plan, range, &row)?, sent).await?;
        }
        Ok(())
    }

    /// Sends the block's rows, the last of which has this key. They count as sent only once they are: what is given up
    /// on the way is read again.
    async fn send(
        &mut self,
        block: &mut Gathered,
        task: &TableTask,
        key: Option<OrderKey>,
        sent: &mut Sent,
    ) -> Reading<()> {
        let rows = block.rows;
        let counted = self.counted.map(|counted| counted + rows);
        let progress = match &key {
            Some(key) => Some(task.progress(DbType::Mysql, key.clone(), &self.options.lineage)),
            None => counted.map(|rows| task.counted(DbType::Mysql, rows, &self.options.lineage)),
        };
        self.held_up.store(true, Ordering::Relaxed);
        self.outlet.rows(block.take(task, progress)).await?;
        self.held_up.store(false, Ordering::Relaxed);
        if key.is_none() {
            self.counted = counted;
        }
        sent.note(rows, key);
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

/// What a page is of.
struct Slice<'a> {
    task: &'a TableTask,
    plan: &'a TablePlan<'a>,
    range: &'a Range,
}

/// What a page has sent on, whether or not it came to its end.
struct Sent {
    rows: u64,
    last_key: Option<OrderKey>,
}

impl Sent {
    fn note(&mut self, rows: u64, key: Option<OrderKey>) {
        self.rows += rows;
        self.last_key = key.or(self.last_key.take());
    }
}

/// The key by which the row is found again; only ordered ranges have one.
fn keyed(plan: &TablePlan<'_>, range: &Range, row: &Row) -> Result<Option<OrderKey>> {
    match range {
        Range::Keyed(_) => plan.key_of(|at| cell(row, at)).map(Some),
        Range::Whole | Range::NullKeys | Range::AfterFirstColumn(_) => Ok(None),
    }
}

/// The rows of a block as they are gathered.
struct Gathered {
    text: Vec<u8>,
    rows: u64,
    full_bytes: usize,
    last: Option<Row>,
    // How large the last block was: what the next one makes room for. A block counts in the memory budget by its
    // length, so it should hold no more than that.
    typical_bytes: usize,
}

impl Gathered {
    fn new(full_bytes: usize) -> Self {
        Gathered { text: Vec::new(), rows: 0, full_bytes, last: None, typical_bytes: 0 }
    }

    fn push(&mut self, row: &Row, cells: usize) {
        if self.text.capacity() == 0 {
            self.text.reserve(self.typical_bytes + self.typical_bytes / 16);
        }
        for at in 0..cells {
            if at > 0 {
                rows::end_value(&mut self.text);
            }
            rows::push_value(&mut self.text, cell(row, at));
        }
        rows::end_row(&mut self.text);
        self.rows += 1;
    }

    /// Forgets rows that were not sent.
    fn clear(&mut self) {
        self.text.clear();
        self.rows = 0;
        self.last = None;
    }

    fn is_full(&self) -> bool {
        self.text.len() >= self.full_bytes
    }

    fn take(&mut self, task: &TableTask, progress: Option<Position>) -> Block {
        assert!(self.rows > 0, "snapshot: a block without rows");
        self.last = None;
        let mut text = std::mem::take(&mut self.text);
        self.typical_bytes = text.len().min(self.full_bytes);
        if text.len() < text.capacity() - text.capacity() / 8 {
            text.shrink_to_fit();
        }
        Block {
            lane: task.lane,
            contents: BlockContents::Rows(task.table.clone()),
            format: dt_connector::RowFormat::MysqlText,
            data: Bytes::from(text),
            rows: std::mem::take(&mut self.rows),
            progress,
            checkpoint: None,
            behind: 0,
            spread: dt_connector::Spread::default(),
        }
    }
}

/// A cell's bytes; the text protocol knows no other values.
pub(super) fn cell(row: &Row, at: usize) -> Option<&[u8]> {
    match row.as_ref(at) {
        Some(Value::Bytes(bytes)) => Some(bytes),
        Some(Value::NULL) | None => None,
        Some(
            Value::Int(_) | Value::UInt(_) | Value::Float(_) | Value::Double(_) | Value::Date(..) | Value::Time(..),
        ) => unreachable!("snapshot: a binary value in the text protocol"),
    }
}
