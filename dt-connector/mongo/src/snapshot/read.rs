//! Reading collections: documents streamed in the order of `_id`, sent on as blocks; lost connections made again.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bson::RawDocumentBuf;
use dt_common::position::OrderKey;
use dt_common::{DbType, Error, Result};
use dt_connector::readers::{self, Interrupted, Reading as ReadResult};
use dt_connector::retry::{Backoff, chance};
use dt_connector::{Acknowledger, Block, BlockContents, Event, Extractor, Outlet, ReadOptions, RowFormat, TableTask};
use futures_util::StreamExt;
use mongodb::ClientSession;
use mongodb::error::Error as DriverFailure;
use mongodb::raw_batch_cursor::{RawBatch, RawBatchCursor, SessionRawBatchCursor};

use super::gathered::{self, Gathered};
use super::keeper::{Keeper, View};
use super::plan;
use crate::alive::while_alive;
use crate::connect::Server;
use crate::error::{SNAPSHOT_GONE, classify, code};
use crate::value::{self, ID, Id};

/// One collection to read.
#[derive(Debug)]
pub(super) struct Reading {
    /// Its table.
    pub(super) task: TableTask,
    /// The document to begin after.
    pub(super) after: Option<Id>,
    /// The last document of the chunk; `None` if it is the last chunk, or the whole collection.
    pub(super) until: Option<Id>,
    /// The bytes of a document on average.
    pub(super) document_bytes: Option<u64>,
}

/// The collections of a snapshot, read `parallel_tables` at a time.
#[derive(Debug)]
pub(super) struct MongoSnapshot {
    server: Server,
    tables: Vec<Reading>,
    options: ReadOptions,
}

impl MongoSnapshot {
    pub(super) fn new(server: Server, tables: Vec<Reading>, options: ReadOptions) -> Self {
        MongoSnapshot { server, tables, options }
    }
}

#[async_trait]
impl Extractor for MongoSnapshot {
    async fn extract(self: Box<Self>, outlet: Outlet) -> Result<()> {
        let keeper = Arc::new(Keeper::new(self.server.clone()));
        let reader = || Reader {
            server: self.server.clone(),
            options: self.options.clone(),
            outlet: outlet.clone(),
            keeper: keeper.clone(),
            backoff: Backoff::new(self.options.retry),
            clock: Instant::now(),
        };
        readers::read_all(self.tables, self.options.parallel_tables, &outlet, reader).await
    }

    fn acknowledger(&self) -> Option<Box<dyn Acknowledger>> {
        None
    }
}

/// Who works through collections, one at a time.
struct Reader {
    server: Server,
    options: ReadOptions,
    outlet: Outlet,
    keeper: Arc<Keeper>,
    backoff: Backoff,
    clock: Instant,
}

/// How far a collection has been read.
struct Progress {
    /// Documents sent.
    rows: u64,
    /// The last of them.
    last: Option<Id>,
}

/// A cursor, in a session of its own or not.
enum Cursor {
    Moment(SessionRawBatchCursor, Box<ClientSession>),
    Current(RawBatchCursor),
}

impl Cursor {
    async fn next(&mut self) -> Option<std::result::Result<RawBatch, DriverFailure>> {
        match self {
            Cursor::Moment(cursor, session) => cursor.stream(session).next().await,
            Cursor::Current(cursor) => cursor.next().await,
        }
    }
}

#[async_trait]
impl readers::Reader<Reading> for Reader {
    async fn read(&mut self, reading: &Reading) -> ReadResult<()> {
        self.table(reading).await
    }

    async fn finish(self) {}
}

impl Reader {
    async fn table(&mut self, reading: &Reading) -> ReadResult<()> {
        let task = &reading.task;
        self.outlet.signal(Event::LaneStarted { lane: task.lane, table: task.table.clone() })?;
        tracing::info!("{}", task.start_line());
        let count = self.documents(reading).await?;
        tracing::info!("{}", task.end_line(count));
        let finished = task.finished(DbType::Mongo, &self.options.lineage);
        self.outlet.signal(Event::LaneEnded { lane: task.lane, finished })?;
        Ok(())
    }

    /// Reads a collection to its end, over as many cursors as it takes. The documents it has sent.
    async fn documents(&mut self, reading: &Reading) -> ReadResult<u64> {
        let mut progress = Progress { rows: 0, last: reading.after.clone() };
        loop {
            let before = progress.rows;
            let read = self.attempt(reading, &mut progress).await;
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

    /// Reads what is left of a collection.
    async fn attempt(&mut self, reading: &Reading, progress: &mut Progress) -> ReadResult<()> {
        let collection = &reading.task.table.source.id.table;
        let rows = plan::answer_rows(self.options.page_rows, reading.document_bytes);
        let (from, until) = (progress.last.clone(), reading.until.as_ref());
        // The last one there can be: nothing comes after it, and the server refuses a bound that is empty.
        let last = until.map_or(plan::MAX_KEY, Id::value);
        let is_last = |id: &Option<Id>| id.as_ref().is_some_and(|id| id.value() == last);
        if is_last(&from) {
            return Ok(());
        }
        let find = |level: Option<&str>| plan::find(collection, from.as_ref(), until, rows, level);
        self.cursor(reading, find, rows, progress).await?;
        // A read that begins somewhere does not come to the greatest key by itself, nor one that ends somewhere to that.
        if (from.is_some() || until.is_some()) && !is_last(&progress.last) {
            self.cursor(reading, |level| plan::find_one(collection, last, level), 1, progress).await?;
        }
        Ok(())
    }

    /// Sends the documents of one cursor, but for the one that was sent last.
    async fn cursor(
        &mut self,
        reading: &Reading,
        find: impl Fn(Option<&str>) -> Vec<u8>,
        rows: u32,
        progress: &mut Progress,
    ) -> ReadResult<()> {
        let server = self.server.clone();
        let view = while_alive(&server, self.keeper.view(&reading.task.table.source.id)).await??;
        let generation = match &view {
            View::Moment { generation, .. } => Some(*generation),
            View::Current(_) => None,
        };
        let opening = self.open(reading, view, find, rows);
        let mut cursor = match while_alive(&server, opening).await? {
            Ok(cursor) => cursor,
            Err(error) => return Err(self.failed(reading, generation, &error).await),
        };
        let mut block = Gathered::new(self.options.block_bytes);
        // The bound is inclusive.
        let mut passed = progress.last.clone();
        while let Some(answer) = while_alive(&server, cursor.next()).await? {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return Err(self.failed(reading, generation, &error).await),
            };
            let mut last: Option<&[u8]> = None;
            for document in gathered::documents(answer.as_raw_document().as_bytes())? {
                let document = document?;
                if let Some(passed) = passed.take()
                    && gathered::id(document)? == passed
                {
                    continue;
                }
                block.push(document);
                last = Some(document);
                if block.is_full() || block.rows() >= self.options.page_rows {
                    self.send(reading, &mut block, gathered::id(document)?, progress).await?;
                    last = None;
                }
            }
            // What is left of an answer is sent with it: nothing waits here for the server.
            if let Some(last) = last {
                self.send(reading, &mut block, gathered::id(last)?, progress).await?;
            }
        }
        Ok(())
    }

    async fn open(
        &self,
        reading: &Reading,
        view: View,
        find: impl Fn(Option<&str>) -> Vec<u8>,
        rows: u32,
    ) -> std::result::Result<Cursor, DriverFailure> {
        let database = self.server.client().database(&reading.task.table.source.id.schema);
        let members = self.server.reads_from();
        match view {
            View::Moment { mut session, .. } => {
                let command = RawDocumentBuf::from_bytes(find(None))?;
                let asking = database.run_raw_cursor_command(command).batch_size(rows).session(&mut *session);
                let asking = match members {
                    Some(members) => asking.selection_criteria(members),
                    None => asking,
                };
                let cursor = asking.batch().await?;
                Ok(Cursor::Moment(cursor, session))
            }
            View::Current(level) => {
                let command = RawDocumentBuf::from_bytes(find(level))?;
                let asking = database.run_raw_cursor_command(command).batch_size(rows);
                let asking = match members {
                    Some(members) => asking.selection_criteria(members),
                    None => asking,
                };
                Ok(Cursor::Current(asking.batch().await?))
            }
        }
    }

    /// What the failure of a read means; a moment that is gone is given up.
    async fn failed(&self, reading: &Reading, generation: Option<u32>, error: &DriverFailure) -> Interrupted {
        if let Some(generation) = generation
            && code(error).is_some_and(|code| SNAPSHOT_GONE.contains(&code))
        {
            self.keeper.lost(generation).await;
        }
        classify(format!("reading {}", reading.task.table.source.id), error).into()
    }

    /// Sends the block's documents. They count as sent only once they are: what is given up on the way is read again.
    async fn send(&self, reading: &Reading, block: &mut Gathered, last: Id, progress: &mut Progress) -> ReadResult<()> {
        let (data, rows) = block.take();
        let key = OrderKey::single(ID, value::to_key(last.value()));
        let position = reading.task.progress(DbType::Mongo, key, &self.options.lineage);
        let sending = Block {
            lane: reading.task.lane,
            contents: BlockContents::Rows(reading.task.table.clone()),
            format: RowFormat::Bson,
            data,
            rows,
            progress: Some(position),
            checkpoint: None,
            behind: 0,
            spread: dt_connector::Spread::default(),
        };
        self.outlet.rows(sending).await?;
        progress.rows += rows;
        progress.last = Some(last);
        Ok(())
    }

    /// Waits before the next try, or gives up.
    async fn pause(&mut self, error: Error) -> ReadResult<()> {
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
