//! Following a source's changes over the network: read, send, and again after a lost connection.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use dt_common::config::{MongoCdcOptions, MongoCdcStart, MongoStreamSource};
use dt_common::position::MongoCdc;
use dt_common::{Error, Result};
use dt_connector::retry::{Backoff, chance};
use dt_connector::{Acknowledger, Extractor, Outlet, Stopped, StreamOptions};

use super::change_event::{ChangeEvent, What};
use super::ddl::{Plan, Planned};
use super::gather::Gatherer;
use super::oplog::{self, Entry, Part};
use super::overlap::Overlap;
use super::place::{Place, Time, time_of_token};
use super::resume::{self, Start};
use super::row::Ddl;
use super::split::Pieces;
use super::tail::Tail;
use super::watch::{Broken, Watch};
use super::{ask, heartbeat};
use crate::catalog;
use crate::connect::Server;
use crate::raw::{self, RawValue};
use crate::snapshot::gathered;

/// How often the distance to the oplog's end is looked at.
const HEAD_ROOM_INTERVAL: Duration = Duration::from_secs(60);

/// A stream of changes, from a place on.
#[derive(Debug)]
pub struct MongoStream {
    server: Server,
    options: MongoCdcOptions,
    stream: StreamOptions,
    // Where a new connection goes on: after the last whole event that was sent.
    start: Start,
    // Of a stream that begins in the past and has no stored position.
    overlap: Option<Overlap>,
}

/// What is asked of [`MongoStream::open`].
#[derive(Debug)]
pub struct Opening {
    /// The source.
    pub server: Server,
    /// `[extractor]`'s options of a stream.
    pub options: MongoCdcOptions,
    /// How to send.
    pub stream: StreamOptions,
    /// The stored resume point.
    pub stored: Option<MongoCdc>,
}

/// Why the stream ends.
enum Ended {
    /// The pipeline takes no more.
    Stopped,
    /// `end_time_utc` has passed.
    Complete,
    /// An error; its class says whether it is tried again.
    Failed(Error),
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

type Followed = std::result::Result<std::convert::Infallible, Ended>;

impl MongoStream {
    /// Makes sure that the source can be followed from there, and says where the stream will begin.
    ///
    /// # Errors
    /// The source keeps no log, may not be read, or has lost what is to be read next; each with its way out.
    pub async fn open(opening: Opening) -> Result<Self> {
        let Opening { server, options, stream, stored } = opening;
        let facts = ask::facts(&server).await?;
        resume::check_followable(&facts, options.source)?;
        if options.source == MongoStreamSource::ChangeStream
            && !server.raw_updates()
            && !stream.filter.ddls().is_empty()
        {
            return Err(Error::user("the change stream of a server before MongoDB 6.0 does not say all of the DDL that [filter] do_ddls asks for")
                .hint("set [extractor] source=op_log, or do_ddls=none"));
        }
        catalog::check_followed(&server, &stream.filter).await?;
        let start = resume::start(&facts, options.source, &options.start, stored.as_ref(), stream.allow_other_server)?;
        let overlap = match (&stored, &options.start) {
            (Some(_), _) | (None, MongoCdcStart::Now) => None,
            (None, MongoCdcStart::Time(_) | MongoCdcStart::AfterToken(_)) => Some(Overlap::new(facts.now)),
        };
        let mut this = MongoStream { server, options, stream, start, overlap };
        // What stands against it is to be seen now, and not after the first change.
        match this.options.source {
            MongoStreamSource::ChangeStream => drop(this.watch().await?),
            MongoStreamSource::OpLog => drop(Tail::open(&this.server, &this.start).await?),
        }
        this.announce();
        Ok(this)
    }

    fn announce(&self) {
        let place = self.start.place().position(&self.stream.lineage);
        let source = match self.options.source {
            MongoStreamSource::ChangeStream => "change_stream",
            MongoStreamSource::OpLog => "op_log",
        };
        let heartbeat = self.options.heartbeat.as_ref();
        tracing::info!(
            "MongoCdcExtractor starts, resume_token: {}, start_timestamp: {}, source: {source}, heartbeat_interval_secs: {}, heartbeat_tb: {}",
            place.resume_token,
            place.operation_time,
            heartbeat.map_or(0, |beat| beat.interval.as_secs()),
            heartbeat.map(|beat| format!("{}.{}", beat.table.schema, beat.table.table)).unwrap_or_default()
        );
    }

    /// Opens the change stream; by the time of a token that the server refuses, if the oplog still covers it.
    async fn watch(&mut self) -> Result<Watch> {
        let refused = match Watch::open(&self.server, &self.start).await {
            Ok(watch) => return Ok(watch),
            Err(Broken::Failed(error)) => return Err(error),
            Err(Broken::TokenRefused(error)) => error,
        };
        self.leave_token(refused).await?;
        Watch::open(&self.server, &self.start).await.map_err(Broken::error)
    }

    /// Goes on by time where it was to go on by a token.
    async fn leave_token(&mut self, refused: Error) -> Result<()> {
        let time = match &self.start {
            Start::AfterToken { token, time } => time.or_else(|| time_of_token(token)),
            Start::At(_) | Start::After(_) => return Err(Broken::TokenRefused(refused).error()),
        };
        let facts = ask::facts(&self.server).await?;
        self.start = resume::start_without_token(&facts, time).map_err(|error| error.caused_by(refused.to_string()))?;
        tracing::warn!("{refused}; the oplog still covers the time of that event, and the stream goes on from there");
        Ok(())
    }

    fn gatherer(&self) -> Gatherer {
        let StreamOptions { filter, router, lineage, .. } = &self.stream;
        Gatherer::new(filter.clone(), router.clone(), lineage.clone(), self.start.place())
    }

    async fn follow(&mut self, outlet: &Outlet, backoff: &mut Backoff) -> Followed {
        match self.options.source {
            MongoStreamSource::ChangeStream => self.follow_events(outlet, backoff).await,
            MongoStreamSource::OpLog => self.follow_entries(outlet, backoff).await,
        }
    }

    async fn follow_events(&mut self, outlet: &Outlet, backoff: &mut Backoff) -> Followed {
        let mut watch = self.watch().await?;
        let mut gatherer = self.gatherer();
        let mut pieces = Pieces::default();
        let mut looked_at = Instant::now();
        loop {
            let batch = match watch.next().await {
                Ok(batch) => batch,
                Err(Broken::Failed(error)) => return Err(error.into()),
                Err(Broken::TokenRefused(error)) => {
                    // Some servers find out only when the first event is asked for.
                    self.leave_token(error).await?;
                    watch = self.watch().await?;
                    gatherer = self.gatherer();
                    pieces = Pieces::default();
                    continue;
                }
            };
            backoff.succeeded();
            let answer = batch.as_raw_document().as_bytes();
            for sent in gathered::documents(answer)? {
                let Some(event) = pieces.take_in(sent?)? else { continue };
                let event = ChangeEvent::parse(&event)?;
                if self.is_over(event.time) {
                    self.send(&mut gatherer, outlet).await?;
                    return Err(Ended::Complete);
                }
                match &event.what {
                    What::Row(row) => gatherer.row(row)?,
                    What::UpdatedAndGone => {}
                    What::Ddl(ddl) => match gatherer.plan(ddl)? {
                        Plan::Nothing => {}
                        Plan::Tell => tell(&gatherer, ddl),
                        Plan::Apply(planned) => {
                            self.send(&mut gatherer, outlet).await?;
                            self.comes_to(ddl, event.time)?;
                            gatherer.reached(event.token, event.time.or_else(|| time_of_token(event.token)));
                            self.send_ddl(planned, &mut gatherer, outlet).await?;
                        }
                    },
                    What::Invalidate => {
                        return Err(Error::fatal("the change stream of a whole server was invalidated").into());
                    }
                }
                gatherer.reached(event.token, event.time.or_else(|| time_of_token(event.token)));
                if gatherer.is_full(self.stream.block_bytes) {
                    self.send(&mut gatherer, outlet).await?;
                }
            }
            let token = raw::field(answer, "cursor").and_then(RawValue::document);
            let token =
                token.and_then(|cursor| raw::field(cursor, "postBatchResumeToken")).and_then(RawValue::document);
            // Within an event that is in pieces the last piece's token is the next place.
            if let (Some(token), false) = (token, pieces.is_open()) {
                let time = time_of_token(token);
                gatherer.reached(token, time);
                if self.is_over(time) {
                    self.send(&mut gatherer, outlet).await?;
                    return Err(Ended::Complete);
                }
            }
            self.send(&mut gatherer, outlet).await?;
            self.report_head_room(&mut looked_at, gatherer.place()).await;
        }
    }

    async fn follow_entries(&mut self, outlet: &Outlet, backoff: &mut Backoff) -> Followed {
        let mut tail = Tail::open(&self.server, &self.start).await?;
        let mut gatherer = self.gatherer();
        let mut looked_at = Instant::now();
        loop {
            let batch = tail.next().await?;
            for entry in gathered::documents(batch.as_raw_document().as_bytes())? {
                let entry = Entry::parse(entry?)?;
                if tail.is_seen(entry.time)? {
                    continue;
                }
                if self.is_over(Some(entry.time)) {
                    self.send(&mut gatherer, outlet).await?;
                    return Err(Ended::Complete);
                }
                match entry.what {
                    oplog::What::Nothing => {}
                    oplog::What::Changes { earlier, parts } => match (earlier, parts.as_slice()) {
                        (None, [Part::Ddl(ddl)]) => match gatherer.plan(ddl)? {
                            Plan::Nothing => {}
                            Plan::Tell => tell(&gatherer, ddl),
                            Plan::Apply(planned) => {
                                self.send(&mut gatherer, outlet).await?;
                                self.comes_to(ddl, Some(entry.time))?;
                                gatherer.reached(&[], Some(entry.time));
                                self.send_ddl(planned, &mut gatherer, outlet).await?;
                            }
                        },
                        (earlier, parts) => self.transaction(earlier, parts, &mut gatherer, outlet).await?,
                    },
                }
                gatherer.reached(&[], Some(entry.time));
                if gatherer.is_full(self.stream.block_bytes) {
                    self.send(&mut gatherer, outlet).await?;
                }
            }
            backoff.succeeded();
            self.send(&mut gatherer, outlet).await?;
            self.report_head_room(&mut looked_at, gatherer.place()).await;
        }
    }

    /// A transaction: the last of its earlier entries, and what the last one holds. The times of earlier entries are looked
    /// up backwards, what they hold forwards, so that no more than one of them is in memory.
    ///
    /// What it makes (only collections and their first indexes can be made in one: MongoDB documentation, Transactions) is
    /// made first, at the place in front of it, for within it is none to resume at; made again it is the same.
    async fn transaction(
        &mut self,
        earlier: Option<Time>,
        parts: &[Part<'_>],
        gatherer: &mut Gatherer,
        outlet: &Outlet,
    ) -> std::result::Result<(), Ended> {
        let mut made = vec![made_first(gatherer, parts)?];
        let mut times = Vec::new();
        let mut next = earlier;
        while let Some(time) = next {
            times.push(time);
            let entry = ask::entry_at(&self.server, time).await?;
            let (before, parts) = Entry::parse_earlier(entry.as_bytes())?;
            made.push(made_first(gatherer, &parts)?);
            next = before;
        }
        for planned in made.into_iter().rev().flatten() {
            self.send(gatherer, outlet).await?;
            self.send_ddl(planned, gatherer, outlet).await?;
        }
        for time in times.into_iter().rev() {
            let entry = ask::entry_at(&self.server, time).await?;
            let (_, parts) = Entry::parse_earlier(entry.as_bytes())?;
            self.parts(&parts, gatherer, outlet).await?;
        }
        self.parts(parts, gatherer, outlet).await
    }

    async fn parts(
        &mut self,
        parts: &[Part<'_>],
        gatherer: &mut Gatherer,
        outlet: &Outlet,
    ) -> std::result::Result<(), Ended> {
        for part in parts {
            match part {
                Part::Row(row) => gatherer.row(row)?,
                Part::Ddl(ddl) => match gatherer.plan(ddl)? {
                    Plan::Tell => tell(gatherer, ddl),
                    Plan::Nothing | Plan::Apply(_) => {}
                },
            }
            if gatherer.is_full(self.stream.block_bytes) {
                self.send(gatherer, outlet).await?;
            }
        }
        Ok(())
    }

    fn is_over(&self, time: Option<Time>) -> bool {
        self.options.end_time.zip(time).is_some_and(|(end, time)| u64::from(time.seconds) > end)
    }

    async fn send(&mut self, gatherer: &mut Gatherer, outlet: &Outlet) -> std::result::Result<(), Ended> {
        let Some((block, place)) = gatherer.take_block() else { return Ok(()) };
        outlet.rows(block).await?;
        if let Some(place) = place {
            self.go_on_from(place);
        }
        Ok(())
    }

    fn comes_to(&mut self, ddl: &Ddl<'_>, time: Option<Time>) -> Result<()> {
        self.overlap.as_mut().map_or(Ok(()), |overlap| overlap.comes_to(ddl, time))
    }

    /// Sends a statement at the place that was reached last.
    async fn send_ddl(
        &mut self,
        planned: Planned,
        gatherer: &mut Gatherer,
        outlet: &Outlet,
    ) -> std::result::Result<(), Ended> {
        let (block, place) = gatherer.ddl_block(planned);
        outlet.rows(block).await?;
        self.go_on_from(place);
        Ok(())
    }

    /// A new connection goes on from what was sent: it will be applied, or the whole task ends.
    fn go_on_from(&mut self, Place { token, time }: Place) {
        self.start = match token.is_empty() {
            false => Start::AfterToken { token, time: Some(time) },
            true if time.increment == 0 => Start::At(time),
            true => Start::After(time),
        };
    }

    async fn report_head_room(&self, looked_at: &mut Instant, place: &Place) {
        if looked_at.elapsed() < HEAD_ROOM_INTERVAL {
            return;
        }
        *looked_at = Instant::now();
        match ask::facts(&self.server).await {
            Ok(facts) => {
                if let Some(oplog) = facts.oplog {
                    let room = place.time.seconds.saturating_sub(oplog.first.seconds);
                    let behind = facts.now.seconds.saturating_sub(place.time.seconds);
                    tracing::info!(
                        "the stream is {behind} s behind the source, whose oplog reaches back {room} s further"
                    );
                }
            }
            // The stream itself will say what is wrong with the connection.
            Err(error) => tracing::debug!("the distance to the oplog's end is not known: {error}"),
        }
    }
}

/// What the part of a transaction makes that is made first.
fn made_first(gatherer: &Gatherer, parts: &[Part<'_>]) -> Result<Vec<Planned>> {
    let mut made = Vec::new();
    for part in parts {
        let Part::Ddl(ddl) = part else { continue };
        match gatherer.plan(ddl)? {
            Plan::Nothing | Plan::Tell => {}
            Plan::Apply(planned) if planned.may_come_first => made.push(planned),
            Plan::Apply(_) => {
                return Err(Error::fatal(format!("`{}` within a transaction of the source's oplog", ddl.what))
                    .hint("source=change_stream may go on from the same place"));
            }
        }
    }
    Ok(made)
}

/// Says what is not replicated.
fn tell(gatherer: &Gatherer, ddl: &Ddl<'_>) {
    if !gatherer.concerns(ddl) {
        return;
    }
    let Ddl { what, database, collection, to, action: _ } = ddl;
    if let (Some(collection), Some((to_database, to_collection))) = (collection, to) {
        tracing::warn!(
            "`{what}` of `{database}`.`{collection}` to `{to_database}`.`{to_collection}` on the source is not replicated: the target keeps what it has under either name"
        );
        return;
    }
    match collection {
        // The first document makes the collection on the target.
        Some(collection) if *what == "create" => {
            tracing::info!("`{database}`.`{collection}` was made on the source; its options are not replicated");
        }
        Some(collection) => tracing::warn!("`{what}` of `{database}`.`{collection}` on the source is not replicated"),
        None => tracing::warn!("`{what}` of `{database}` on the source is not replicated"),
    }
}

#[async_trait]
impl Extractor for MongoStream {
    async fn extract(mut self: Box<Self>, outlet: Outlet) -> Result<()> {
        let clock = Instant::now();
        let mut backoff = Backoff::new(self.stream.retry);
        let beating = self
            .options
            .heartbeat
            .clone()
            .map(|beat| tokio::spawn(heartbeat::run(self.server.clone(), beat, self.stream.task_id.clone())));
        let ended = loop {
            let ended = tokio::select! {
                biased;
                stopped = outlet.stopped() => Err(stopped.into()),
                ended = self.follow(&outlet, &mut backoff) => ended,
            };
            match ended {
                Ok(never) => match never {},
                Err(Ended::Stopped | Ended::Complete) => break Ok(()),
                Err(Ended::Failed(error)) if !error.class().is_transient() => break Err(error),
                Err(Ended::Failed(error)) => {
                    let Some(pause) = backoff.failed(clock.elapsed(), chance()) else {
                        break Err(error.hint("the connection could not be made again within [pipeline] max_retry_secs; start the task again with resume_type=from_log"));
                    };
                    tracing::warn!(
                        "{error}; trying again in {:.1} s (attempt {})",
                        pause.as_secs_f64(),
                        backoff.attempts()
                    );
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
        // An oplog is kept by the server's own rules, whoever reads it.
        None
    }
}
