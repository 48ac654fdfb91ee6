//! Following a source's binlog over the network: connect, read events, send changes; again after a lost connection.
//!
//! The driver's stream is used to fetch events only: each is put together again as it was on the wire, and checked and
//! read by [`binlog`](super::binlog).

use std::time::{Duration, Instant};

use async_trait::async_trait;
use dt_common::config::{Events, MysqlCdcOptions};
use dt_common::position::{Behind, MysqlCdc};
use dt_common::{Error, Result};
use dt_connector::retry::{Backoff, chance};
use dt_connector::{Acknowledger, Extractor, Outlet, Stopped, StreamOptions};
use futures_util::{FutureExt, StreamExt};
use mysql_async::{BinlogStream, Conn};

use super::assemble::{Assembler, Next};
use super::binlog::{Body, Checksum, Event, Format};
use super::dump::{Replica, server_id_of};
use super::gtid::GtidSet;
use super::place::Place;
use super::resume::{self, Accept, ServerFacts, Start};
use super::seek::{Goal, Seek};
use super::tables::Tables;
use super::wire::{next_event, taken, whole};
use super::{ask, heartbeat};
use crate::catalog;
use crate::config::Address;
use crate::connect::{self, Flavor, Server, Session};

/// How often the distance to the purge is looked at.
const HEAD_ROOM_INTERVAL: Duration = Duration::from_secs(60);

/// Where a binlog file's first event is, behind its magic number.
const BINLOG_HEAD: u64 = 4;

/// How often a stream that has read everything asks whether `end_time_utc` has passed.
const END_TIME_INTERVAL: Duration = Duration::from_secs(1);

/// A stream of changes, from a place on.
#[derive(Debug)]
pub struct MysqlStream {
    addresses: Vec<Address>,
    server: Server,
    options: MysqlCdcOptions,
    stream: StreamOptions,
    events: Events,
    tables: Tables,
    server_id: u32,
    // The last checkpoint that was sent, or the stored one: where a new connection goes on.
    stored: Option<MysqlCdc>,
    // The server that it was opened on, and whether anything was sent yet.
    opened_on: String,
    has_sent: bool,
}

/// Why the stream ends.
enum Ended {
    /// The pipeline takes no more.
    Stopped,
    /// `end_time_utc` has passed.
    Complete,
    /// An error; its class says whether it is tried again.
    Failed(Error),
    /// The server at this address cannot give what is still to be read; another one may.
    Refused(Error),
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Self {
        Ended::Stopped
    }
}

impl From<Error> for Ended {
    fn from(error: Error) -> Self {
        Ended::Failed(error)
    }
}

/// What is asked of [`MysqlStream::open`].
#[derive(Debug)]
pub struct Opening {
    /// The source's addresses: the first, and those to fail over to.
    pub addresses: Vec<Address>,
    /// What answers at the first.
    pub server: Server,
    /// `[extractor]`'s options of a stream.
    pub options: MysqlCdcOptions,
    /// How to send.
    pub stream: StreamOptions,
    /// The stored resume point.
    pub stored: Option<MysqlCdc>,
}

impl MysqlStream {
    /// Makes sure that the source can be followed from there, and says where the stream will begin.
    ///
    /// # Errors
    /// The source's settings, privileges or binlog do not allow it; each with its way out.
    pub async fn open(opening: Opening) -> Result<Self> {
        let Opening { addresses, server, options, stream, stored } = opening;
        let server_id = options.server_id.unwrap_or_else(|| server_id_of(&stream.task_id));
        let tables = Tables::new(stream.filter.clone(), stream.router.clone());
        let events = stream.filter.events();
        let opened_on = server.identity.clone();
        let mut this = MysqlStream {
            addresses,
            server,
            options,
            stream,
            events,
            tables,
            server_id,
            stored,
            opened_on,
            has_sent: false,
        };
        let facts = this.facts().await?;
        resume::check_followable(&facts)?;
        resume::check_server_id(&facts, server_id)?;
        for advice in resume::advice(&facts) {
            tracing::warn!("{advice}");
        }
        this.look_at_tables(&facts).await?;
        // A stream that begins now begins here, and not when the first event is read.
        let start = this.start(&facts).await?;
        if this.stored.is_none() {
            let begun = start.position(0, &this.stream.lineage);
            if let dt_common::Position::MysqlCdc(begun) = begun {
                this.stored = Some(begun);
            }
        }
        Ok(this)
    }

    /// Where it begins.
    pub fn begins_at(&self) -> Option<&MysqlCdc> {
        self.stored.as_ref()
    }

    /// Reads the file up to the stored place, which nobody but its user knows to be one between transactions. A set of
    /// GTIDs always is.
    ///
    /// # Errors
    /// It lies within one.
    pub async fn check_begins_between_transactions(&self) -> Result<()> {
        let Some(stored) = &self.stored else { return Ok(()) };
        if self.options.gtid_enabled && !stored.gtid_set.is_empty() {
            return Ok(());
        }
        let facts = self.facts().await?;
        self.read_to(&facts, &stored.binlog_filename, Goal::Offset(stored.next_event_position)).await.map(drop)
    }

    /// Whether all that is to be followed is in the binlog. Rows that the source's foreign keys change by themselves are
    /// not (InnoDB does it below the log).
    async fn look_at_tables(&self, facts: &ServerFacts) -> Result<()> {
        let cascades = self
            .asking(async |conn| {
                let schemas = catalog::schemas(conn, &self.stream.filter).await?;
                resume::check_logged(facts, schemas.iter().map(String::as_str))?;
                catalog::cascades(conn, &self.stream.filter).await
            })
            .await?;
        if !cascades.is_empty() {
            tracing::warn!(
                "foreign keys with CASCADE or SET NULL: what they change on the source by themselves is not in its binlog. Have the same foreign keys on the target, and set [sinker] disable_foreign_key_checks=false, so that they do the same there: {}",
                cascades.join(", ")
            );
        }
        Ok(())
    }

    fn address(&self) -> &Address {
        &self.addresses[0]
    }

    async fn facts(&self) -> Result<ServerFacts> {
        self.asking(async |conn| ask::facts(conn, &self.server).await).await
    }

    async fn asking<T>(&self, questions: impl AsyncFnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        connect::asking(self.address(), self.server.flavor, &Session::Read, questions).await
    }

    /// The place to read from, checked against what the source has now.
    async fn start(&self, facts: &ServerFacts) -> Result<Place> {
        let accept = if self.stream.allow_other_server { Accept::AnyServer } else { Accept::ThisServer };
        Ok(match resume::start(facts, &self.options, self.stored.as_ref(), accept)? {
            Start::AfterGtids { done, moved_from } => {
                if let Some(from) = &moved_from {
                    tracing::warn!(
                        "the position was recorded on another server ({from}); this one ({}) has the same transactions, and the stream goes on here by GTID",
                        self.server.identity
                    );
                }
                // Where the server will really begin is told by its first event. Until then it is a place that nothing
                // to be read lies in front of, for whoever goes on by it: the stored one if it is this server's, the
                // log's end if all is done, else the head of the oldest file.
                let stored = self.stored.as_ref().filter(|stored| {
                    moved_from.is_none() && facts.files.iter().any(|file| file.name == stored.binlog_filename)
                });
                let end = facts.end.as_ref().filter(|_| done == facts.gtids.executed);
                let (file, offset) = match (stored, end, facts.files.first()) {
                    (Some(stored), _, _) => (stored.binlog_filename.clone(), stored.next_event_position),
                    (None, Some(end), _) => (end.file.clone(), end.position),
                    (None, None, Some(oldest)) => (oldest.name.clone(), BINLOG_HEAD),
                    (None, None, None) => return Err(Error::user("the source has no binlog")),
                };
                Place { file, offset, gtids: Some(done) }
            }
            Start::AtPlace { place, done: Some(done) } => {
                Place { file: place.file, offset: place.position, gtids: Some(done) }
            }
            Start::AtPlace { place, done: None } => {
                let goal = Goal::Offset(place.position);
                let known = self.seek(facts, &place.file, goal).await?;
                Place { file: place.file, offset: place.position, gtids: known.gtids }
            }
            Start::AtTime { time } => {
                let file = self.file_at(facts, time).await?.file;
                self.seek(facts, &file, Goal::Time(time)).await?
            }
        })
    }

    /// The file to read from for everything that was committed at `time` or later: each begins with its own time.
    async fn file_at(&self, facts: &ServerFacts, time: u64) -> Result<resume::Place> {
        let mut begun = Vec::with_capacity(facts.files.len());
        for file in &facts.files {
            let mut stream =
                self.dump(&Place { file: file.name.clone(), offset: BINLOG_HEAD, gtids: None }, false).await?;
            let began = loop {
                let event = next_event(&mut stream, self.options.binlog_timeout).await?;
                // The file's own description; the artificial rotation before it has no time.
                if event.header().timestamp() != 0 {
                    break u64::from(event.header().timestamp());
                }
            };
            begun.push(resume::binlogs::FileBegun { file: file.name.clone(), began });
            // The server is told no more than that nobody listens.
            drop(stream);
        }
        resume::binlogs::file_at(&begun, time)
    }

    /// The place in a file, and what is done there if the source keeps GTIDs: so that the set that is stored is the
    /// whole one from the first checkpoint on.
    async fn seek(&self, facts: &ServerFacts, file: &str, goal: Goal) -> Result<Place> {
        let unknown = |offset| Place { file: file.to_owned(), offset, gtids: None };
        if let (Goal::Offset(offset), false) = (goal, facts.gtids_are_kept()) {
            return Ok(unknown(offset));
        }
        if let (Goal::Offset(offset), Flavor::Mariadb) = (goal, self.server.flavor) {
            // The server is asked before its file is read.
            let at = resume::Place { file: file.to_owned(), position: offset };
            let text = self.asking(async |conn| ask::mariadb_gtids_at(conn, &at).await).await?;
            if let Some(text) = text {
                let gtids = GtidSet::parse(Flavor::Mariadb, &text)
                    .map_err(|error| Error::fatal("the source's GTID position is not understood").caused_by(error))?;
                return Ok(Place { gtids: Some(gtids), ..unknown(offset) });
            }
        }
        let found = self.read_to(facts, file, goal).await?;
        Ok(if facts.gtids_are_kept() { found } else { Place { gtids: None, ..found } })
    }

    /// Reads a file from its head to the goal.
    async fn read_to(&self, facts: &ServerFacts, file: &str, goal: Goal) -> Result<Place> {
        let end = facts.end.as_ref().ok_or_else(|| Error::user("the source has no binlog"))?;
        let mut seek = Seek::new(goal, file.to_owned(), (end.file.clone(), end.position));
        let mut stream = self.dump(&Place { file: file.to_owned(), offset: BINLOG_HEAD, gtids: None }, false).await?;
        let mut format = Format::UNANNOUNCED;
        let mut inner_left: u64 = 0;
        loop {
            let event = next_event(&mut stream, self.options.binlog_timeout).await?;
            if inner_left > 0 {
                inner_left = inner_left.saturating_sub(u64::from(event.header().event_size()));
                continue;
            }
            let at = Place { file: seek.file().to_owned(), offset: u64::from(event.header().log_pos()), gtids: None };
            let event = Event::parse(whole(&event, false), format).map_err(|bad| damaged(&bad, &at))?;
            match &event.body {
                Body::FormatDescription(description) => format = description.format,
                Body::TransactionPayload(payload) => inner_left = payload.plain_bytes().unwrap_or(0),
                _ => {}
            }
            if let Some(place) = seek.on(&event)? {
                return Ok(place);
            }
        }
    }

    async fn dump(&self, place: &Place, by_gtid: bool) -> Result<BinlogStream> {
        let interval = self.options.binlog_heartbeat_interval;
        let replica = Replica { server_id: self.server_id, flavor: self.server.flavor, heartbeat_interval: interval };
        replica.dump(self.address(), place, by_gtid).await
    }

    /// Whether `end_time_utc` has passed for a stream that has read everything: by the source's clock, asked before
    /// its log's end, so that nothing can be committed in time and not be read.
    async fn is_over(&self, place: &Place) -> Result<bool> {
        let Some(end_time) = self.options.end_time else { return Ok(false) };
        let facts = self
            .asking(async |conn| match ask::clock(conn).await? <= end_time {
                true => Ok(None),
                false => ask::facts(conn, &self.server).await.map(Some),
            })
            .await?;
        let Some(facts) = facts else { return Ok(false) };
        let is_read = match (&facts.end, &place.gtids) {
            (_, Some(done)) if self.options.gtid_enabled => {
                done.contains_set(&facts.gtids.executed).map_err(|error| Error::fatal(error.to_string()))?
            }
            (Some(end), _) => end.file == place.file && place.offset >= end.position,
            (None, _) => false,
        };
        Ok(is_read)
    }

    /// Where the server that now answers at the address is followed from.
    async fn begin(&mut self) -> Result<Place> {
        let (server, _) = connect::discover_again(self.address()).await?;
        self.stream.lineage.source = Some(server.identity.clone());
        self.server = server;
        let facts = self.facts().await?;
        resume::check_followable(&facts)?;
        self.start(&facts).await
    }

    async fn follow(&mut self, outlet: &Outlet, backoff: &mut Backoff) -> std::result::Result<(), Ended> {
        let place = self.begin().await.map_err(|error| match error.class().is_transient() {
            true => Ended::Failed(error),
            false => Ended::Refused(error),
        })?;
        let by_gtid = self.options.gtid_enabled && place.gtids.is_some();
        tracing::info!(
            "MysqlCdcExtractor starts, binlog_filename: {}, binlog_position: {}, gtid_enabled: {}, gtid_set: {}, heartbeat_interval_secs: {}, heartbeat_tb: {}",
            place.file,
            place.offset,
            self.options.gtid_enabled,
            place.gtids.as_ref().map_or_else(String::new, GtidSet::to_string),
            self.options.heartbeat.as_ref().map_or(0, |heartbeat| heartbeat.interval.as_secs()),
            self.options
                .heartbeat
                .as_ref()
                .map_or_else(String::new, |heartbeat| heartbeat.table.to_string().replace('`', "")),
        );
        let mut stream = self.dump(&place, by_gtid).await?;
        let applied = self.applied()?;
        let mut assembler = Assembler::new(place, self.events, self.stream.lineage.clone(), applied);
        if self.stream.counts_changes {
            self.send(&mut assembler, outlet).await?;
        }
        let mut format = Format::UNANNOUNCED;
        let mut inner_left: u64 = 0;
        let mut looked_at = Instant::now();
        let mut asked_at: Option<Instant> = None;
        loop {
            let ready = stream.next().now_or_never();
            let event = match ready {
                Some(event) => taken(event)?,
                None => {
                    // The server has nothing more for now: what there is goes on at once.
                    self.send(&mut assembler, outlet).await?;
                    if self.options.end_time.is_some()
                        && !assembler.in_transaction()
                        && asked_at.is_none_or(|at| at.elapsed() >= END_TIME_INTERVAL)
                    {
                        asked_at = Some(Instant::now());
                        if self.is_over(assembler.place()).await? {
                            return Err(Ended::Complete);
                        }
                    }
                    next_event(&mut stream, self.options.binlog_timeout).await?
                }
            };
            let inner = inner_left > 0;
            let raw = whole(&event, inner);
            let log_pos = event.header().log_pos();
            drop(event);
            let form = if inner { Format { checksum: Checksum::None, ..format } } else { format };
            let event = Event::parse(raw, form).map_err(|bad| damaged(&bad, assembler.place()))?;
            if let (Some(end), false) = (self.options.end_time, assembler.in_transaction())
                && u64::from(event.header.timestamp) > end
            {
                self.send(&mut assembler, outlet).await?;
                return Err(Ended::Complete);
            }
            match &event.body {
                Body::FormatDescription(description) => format = description.format,
                // What every stream begins with shows nothing yet.
                Body::Rotate(_) | Body::PreviousGtids(_) | Body::MariadbGtidList(_) => {}
                _ => backoff.succeeded(),
            }
            let next = if inner {
                if log_pos != 0 {
                    return Err(Error::fatal("a compressed transaction could not be decompressed whole")
                        .with("at", format!("{}:{}", assembler.place().file, assembler.place().offset))
                        .into());
                }
                inner_left = inner_left.saturating_sub(u64::from(event.header.event_size));
                assembler.on_inner(event)?
            } else {
                assembler.on(event)?
            };
            match next {
                Next::Nothing => {}
                Next::Table(map) => {
                    let table = self.tables.find(&self.addresses[0], self.server.flavor, &map).await?;
                    assembler.learn(map.table_id, table);
                }
                Next::Payload(payload) => {
                    // The driver hands out the payload's events after it, decompressed: so many bytes of them.
                    inner_left = payload
                        .plain_bytes()
                        .ok_or_else(|| Error::fatal("a compressed transaction does not say how long it is"))?;
                }
                Next::Forget { schema } => {
                    tracing::warn!(
                        "a DDL statement in schema `{schema}` is not replicated ({}:{})",
                        assembler.place().file,
                        assembler.place().offset
                    );
                    self.tables.forget();
                    assembler.forget();
                }
            }
            if assembler.is_full(self.stream.block_bytes) {
                self.send(&mut assembler, outlet).await?;
            }
            if looked_at.elapsed() >= HEAD_ROOM_INTERVAL {
                looked_at = Instant::now();
                self.report_head_room(assembler.place()).await;
            }
        }
    }

    /// The changes behind the stored place that are not to come again. On another server transactions may have another
    /// order: there they come again, and none is missed.
    ///
    /// # Errors
    /// Where they are counted, and the source has become another server while they were sent.
    fn applied(&self) -> Result<u64> {
        let Some(stored) = &self.stored else { return Ok(0) };
        let changes = stored.behind.as_ref().map_or(0, |behind| behind.changes);
        // What lanes have was counted on the server that it was opened on.
        let is_another = self.server.identity != self.opened_on;
        if self.stream.counts_changes && is_another && (changes > 0 || !self.has_sent) {
            return Err(Error::user("the source is another server now, and changes are counted from one place on")
                .with("changes of an open transaction in the target", changes)
                .hint("start the task again: what was applied in part comes again, and nothing is missed"));
        }
        if changes > 0 && stored.lineage.source.as_ref().is_some_and(|then| *then != self.server.identity) {
            tracing::warn!(
                "{changes} changes of a transaction that was applied in part come again, as the source is another server"
            );
            return Ok(0);
        }
        Ok(changes)
    }

    /// Begins to write the heartbeat row, if there is to be one.
    fn beat(&self) -> Option<tokio::task::JoinHandle<()>> {
        self.options.heartbeat.clone().map(|beat| {
            let beat = heartbeat::run(self.address().clone(), self.server.flavor, beat, self.server_id);
            tokio::spawn(beat)
        })
    }

    async fn send(&mut self, assembler: &mut Assembler, outlet: &Outlet) -> std::result::Result<(), Ended> {
        let Some(block) = assembler.take_block()? else { return Ok(()) };
        let (checkpoint, behind) = (block.checkpoint.clone(), block.behind);
        outlet.rows(block).await?;
        self.has_sent = true;
        // A new connection goes on from what was sent: it will be applied, or the whole task ends.
        if let Some(dt_common::Position::MysqlCdc(checkpoint)) = checkpoint {
            self.stored = Some(checkpoint);
        }
        if let Some(stored) = &mut self.stored {
            stored.behind = (behind > 0).then(|| Behind { changes: behind, filter: String::new(), counted: None });
        }
        Ok(())
    }

    async fn report_head_room(&self, place: &Place) {
        let at = resume::Place { file: place.file.clone(), position: place.offset };
        match self.facts().await.and_then(|facts| resume::head_room(&facts.files, &at, facts.binlog_expire_secs)) {
            Ok(room) if room.is_last() => tracing::warn!("the source's purge is close: {room}"),
            Ok(room) => tracing::info!("{room}"),
            // The stream itself will say what is wrong with the connection.
            Err(error) => tracing::debug!("the distance to the purge is not known: {error}"),
        }
    }
}

#[async_trait]
impl Extractor for MysqlStream {
    async fn extract(mut self: Box<Self>, outlet: Outlet) -> Result<()> {
        let clock = Instant::now();
        let mut backoff = Backoff::new(self.stream.retry);
        let mut beating = self.beat();
        let ended = loop {
            let ended = tokio::select! {
                biased;
                stopped = outlet.stopped() => Err(stopped.into()),
                ended = self.follow(&outlet, &mut backoff) => ended,
            };
            match ended {
                Ok(()) => {}
                Err(Ended::Stopped | Ended::Complete) => break Ok(()),
                Err(Ended::Refused(error)) if self.addresses.len() == 1 => break Err(error),
                Err(Ended::Failed(error)) if !error.class().is_transient() => break Err(error),
                // A replica may lag behind, or have purged what another one still has.
                Err(Ended::Failed(error) | Ended::Refused(error)) => {
                    let Some(pause) = backoff.failed(clock.elapsed(), chance()) else {
                        break Err(error.hint("the connection could not be made again within [pipeline] max_retry_secs; start the task again with resume_type=from_log"));
                    };
                    tracing::warn!(
                        "{error}; trying again in {:.1} s (attempt {})",
                        pause.as_secs_f64(),
                        backoff.attempts()
                    );
                    // The next address, if there are several: the first may be gone for good.
                    self.addresses.rotate_left(1);
                    self.tables.forget();
                    if self.addresses.len() > 1 {
                        // The row is written where the stream is read, and nowhere else: a server that is a source no
                        // more would keep it as a transaction of its own.
                        if let Some(beating) = beating.take() {
                            beating.abort();
                        }
                        beating = self.beat();
                    }
                    tokio::select! {
                        biased;
                        _ = outlet.stopped() => break Ok(()),
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        };
        if let Some(beating) = beating {
            beating.abort();
        }
        ended
    }

    fn acknowledger(&self) -> Option<Box<dyn Acknowledger>> {
        // A binlog is kept by the server's own rules, whoever reads it.
        None
    }
}

fn damaged(bad: &super::binlog::BadEvent, place: &Place) -> Error {
    Error::fatal("an event of the binlog cannot be read")
        .caused_by(bad.to_string())
        .with("at", format!("{}:{}", place.file, place.offset))
}
