//! Following a source's slot over the network: connect, read messages, send changes; again after a lost connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dt_common::config::PgCdcOptions;
use dt_common::position::{Behind, PgCdc};
use dt_common::{Error, ErrorClass, Position, Result};
use dt_connector::retry::{Backoff, chance};
use dt_connector::{Acknowledger, Extractor, Followed, Outlet, Stopped, StreamOptions};
use futures_util::FutureExt;

use super::acknowledger::SlotAcknowledger;
use super::assemble::{Assembler, Moved, Next, Provenance};
use super::lsn::{Lsn, Moment};
use super::moved::Lookups;
use super::pgoutput::{self, Message, Relation, Within};
use super::resume::{self, Accept, Begin, ServerFacts, Start, followable, publish};
use super::spool::Spools;
use super::tables::Tables;
use super::watch::{self, Watch};
use super::{ask, heartbeat};
use crate::alive::{PATIENCE, is_alive, while_alive};
use crate::config::Address;
use crate::connect::{self, Conn, Server, Session};
use crate::sql;
use crate::wire::{Acknowledged, Frame, Incoming, Purpose, Wire};

/// How often a stream that has read everything asks whether `end_time_utc` has passed.
const END_TIME_INTERVAL: Duration = Duration::from_secs(1);

/// How long a slot that someone reads is waited for: the connection of a run that was killed goes by itself.
const IN_USE_MAX: Duration = Duration::from_secs(15);
const IN_USE_PAUSE: Duration = Duration::from_millis(250);

/// A stream of changes, from a place on.
#[derive(Debug)]
pub struct PgStream {
    address: Address,
    server: Server,
    options: PgCdcOptions,
    stream: StreamOptions,
    tables: Tables,
    acknowledged: Arc<Acknowledged>,
    followed: Followed,
    // Transactions that were committed earlier are left out; nothing is where a position was stored.
    start_time: Option<Moment>,
    // The last checkpoint that was sent, or the stored one: where a new connection goes on.
    stored: Option<PgCdc>,
}

/// What is asked of [`PgStream::open`].
#[derive(Debug)]
pub struct Opening {
    /// The source's address.
    pub address: Address,
    /// What answers there.
    pub server: Server,
    /// `[extractor]`'s options of a stream.
    pub options: PgCdcOptions,
    /// How to send.
    pub stream: StreamOptions,
    /// The stored resume point.
    pub stored: Option<PgCdc>,
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

/// Two connections to the source, and what it says of itself.
struct Connected {
    conn: Conn,
    wire: Wire,
    facts: ServerFacts,
}

/// A stream that is being read.
struct Following {
    assembler: Assembler,
    spools: Spools,
    conn: Conn,
    // The end of the log once `end_time_utc` had passed.
    last: Option<Lsn>,
    // What the stream has last said of each table.
    relations: HashMap<u32, Relation>,
    // The transaction that is open.
    xid: u32,
    lookups: Lookups,
    watch: Watch,
}

impl PgStream {
    /// Makes sure that the source can be followed. Nothing is made there yet.
    ///
    /// # Errors
    /// The source's settings, privileges, slot or publication do not allow it; each with its way out.
    pub async fn open(opening: Opening) -> Result<Self> {
        let Opening { address, server, options, stream, stored } = opening;
        let tables = Tables::new(stream.filter.clone(), stream.router.clone());
        let acknowledged = Arc::default();
        // Behind a stored position nothing may be left out.
        let start_time = options.start_time.filter(|_| stored.is_none()).map(Moment::of_unix);
        let followed = Followed::default();
        let mut this =
            PgStream { address, server, options, stream, tables, acknowledged, followed, start_time, stored };
        let clock = Instant::now();
        let facts = loop {
            let Connected { facts, .. } = this.connect().await?;
            let is_in_use = facts.slot.as_ref().is_some_and(|slot| slot.active_pid.is_some());
            if !is_in_use || clock.elapsed() >= IN_USE_MAX {
                break facts;
            }
            tokio::time::sleep(IN_USE_PAUSE).await;
        };
        let (start, _) = this.check(&facts)?;
        let events = this.stream.filter.events();
        let doubt = match &start {
            Start::At { why: Begin::Stored, .. } | Start::NewSlot { .. } => None,
            Start::At { lsn, why: Begin::Slot | Begin::Configured } => {
                resume::time::advice(&facts, &this.options, *lsn)
            }
        };
        for advice in followable::advice(&facts, events).into_iter().chain(doubt) {
            tracing::warn!("{advice}");
        }
        if this.stored.is_some() && this.options.start_time.is_some() {
            tracing::info!("start_time_utc has no effect: the stream goes on from the stored position");
        }
        this.followed = followable::followed(&facts, events);
        Ok(this)
    }

    /// What the stream may bring.
    pub fn followed(&self) -> &Followed {
        &self.followed
    }

    async fn connect(&self) -> Result<Connected> {
        let conn = connect::connect(&self.address, &self.server, &Session::Read).await?;
        let mut wire = Wire::connect(&self.address, &self.server, Purpose::Replication).await?;
        let asking = ask::facts(&conn, &mut wire, &self.server, self.question());
        let facts = while_alive(&self.address, &self.server, conn.pid, asking).await?;
        Ok(Connected { conn, wire, facts })
    }

    fn question(&self) -> ask::Question<'_> {
        ask::Question {
            slot: &self.options.slot_name,
            publication: &self.options.pub_name,
            filter: &self.stream.filter,
        }
    }

    /// Where the stream begins, if nothing stands against it; and the publication that must be made before.
    fn check(&self, facts: &ServerFacts) -> Result<(Start, Option<publish::Creation>)> {
        let events = self.stream.filter.events();
        let accept = if self.stream.allow_other_server { Accept::AnyServer } else { Accept::ThisServer };
        followable::check_server(facts)?;
        let start = resume::start::start(facts, &self.options, self.stored.as_ref(), accept)?;
        followable::check_identities(facts, events)?;
        let name = &self.options.pub_name;
        let creation = match (&facts.publication, &start) {
            (Some(publication), _) => {
                followable::check_publication(facts, name, publication, events)?;
                None
            }
            (None, Start::NewSlot { .. }) => Some(publish::creation(facts, name, events)?),
            // The changes that the slot holds are looked at as the database was then: without the publication.
            (None, Start::At { .. }) => {
                return Err(Error::user("the slot is there and its publication is not: what was changed before a publication is made cannot be read through it")
                    .with("slot", &self.options.slot_name)
                    .with("publication", sql::name(name))
                    .hint("name the publication that the slot was made for in pub_name; or, where nothing has to be kept, begin anew with a new slot: resume_type=dummy and recreate_slot_if_exists=true, after a snapshot"));
            }
        };
        Ok((start, creation))
    }

    async fn follow(&mut self, outlet: &Outlet, backoff: &mut Backoff, again: bool) -> std::result::Result<(), Ended> {
        if again {
            self.server = connect::discover_again(&self.address).await?;
            self.stream.lineage.source = Some(self.server.identity.clone());
        }
        let Connected { conn, mut wire, facts } = self.connect().await?;
        let (start, creation) = self.check(&facts).map_err(|error| self.still_in_use(&facts, again, error))?;
        if let Some(creation) = creation {
            tracing::info!("{}", creation.remark);
            let session = Session::Write { disable_foreign_key_checks: false, transaction_isolation: None };
            let making = async |conn: &Conn| conn.exec(&creation.statement, "making the publication").await;
            connect::asking(None, &self.address, &self.server, &session, making).await?;
        }
        let provenance = Provenance {
            slot: self.options.slot_name.clone(),
            timeline: facts.timeline,
            lineage: self.stream.lineage.clone(),
        };
        let lsn = match start {
            Start::At { lsn, why } => {
                match why {
                    Begin::Stored | Begin::Configured => {}
                    Begin::Slot => tracing::info!(
                        "slot {} is there: the stream begins where it stands, at {lsn}",
                        self.options.slot_name
                    ),
                }
                lsn
            }
            Start::NewSlot { replaces } => self.new_slot(&conn, &mut wire, replaces).await?,
        };
        // A stream that begins here begins here, whatever happens before the first change.
        if let Position::PgCdc(begun) = provenance.position(lsn, None) {
            self.stored.get_or_insert(begun);
        }
        let command = self.command(lsn);
        tracing::info!(
            "PgCdcExtractor starts, slot_name: {}, start_lsn: {lsn}, recreate_slot_if_exists: {}, keepalive_interval_secs: {}, heartbeat_interval_secs: {}, heartbeat_tb: {}",
            self.options.slot_name,
            self.options.recreate_slot_if_exists,
            self.options.keepalive_interval.as_secs(),
            self.options.heartbeat.as_ref().map_or(0, |heartbeat| heartbeat.interval.as_secs()),
            self.options
                .heartbeat
                .as_ref()
                .map_or_else(String::new, |heartbeat| heartbeat.table.to_string().replace('`', "")),
        );
        let pid = wire.pid();
        let started = wire.start(&command).await;
        let (mut incoming, outgoing) = started.map_err(|error| match error.to_string().contains("ERROR 55006") {
            // Between the question and the start someone else has begun to read.
            true => error.with_class(ErrorClass::Reconnect),
            false => error,
        })?;
        self.acknowledged.tell(outgoing, self.telling_interval(&facts));
        let applied = self.stored.as_ref().and_then(|stored| stored.behind.as_ref()).map_or(0, |behind| behind.changes);
        let mut assembler = Assembler::new(lsn, self.stream.filter.events(), self.start_time, provenance, applied);
        if self.stream.counts_changes {
            self.send(&mut assembler, outlet).await?;
        }
        let mut following = Following {
            assembler,
            spools: Spools::default(),
            conn,
            last: None,
            relations: HashMap::new(),
            xid: 0,
            lookups: Lookups::default(),
            watch: Watch::from_now(),
        };
        self.read(&mut incoming, &mut following, pid, outlet, backoff).await
    }

    /// Often enough for the server, whatever its patience is.
    fn telling_interval(&self, facts: &ServerFacts) -> Duration {
        match facts.wal_sender_timeout_ms {
            0 => self.options.keepalive_interval,
            timeout => self.options.keepalive_interval.min(Duration::from_millis((timeout / 3).max(100))),
        }
    }

    /// Our own connection of a moment ago may still have the slot.
    fn still_in_use(&self, facts: &ServerFacts, again: bool, error: Error) -> Error {
        let is_in_use = facts.slot.as_ref().is_some_and(|slot| slot.active_pid.is_some());
        if again && is_in_use { error.with_class(ErrorClass::Reconnect) } else { error }
    }

    async fn new_slot(&self, conn: &Conn, wire: &mut Wire, replaces: bool) -> Result<Lsn> {
        let name = sql::name(&self.options.slot_name);
        if replaces {
            tracing::warn!("slot {name} is made anew (recreate_slot_if_exists=true): what it held is given up");
            wire.command(&format!("DROP_REPLICATION_SLOT {name}"), "dropping the replication slot").await?;
        }
        tracing::info!("making slot {name}; it is ready once the transactions have ended that are open on the source");
        let command = format!("CREATE_REPLICATION_SLOT {name} LOGICAL pgoutput NOEXPORT_SNAPSHOT");
        let pid = wire.pid();
        let making = wire.command(&command, "making the replication slot");
        let made = while_alive(&self.address, &self.server, pid, making).await?;
        let lsn = made.first().and_then(|row| row.get(1)?.as_ref()?.parse().ok());
        if let Some(start_time) = self.options.start_time {
            // The wait for open transactions may have outlasted the time.
            let (clock, _) = ask::clock(conn).await?;
            if let Err(passed) = resume::time::check_new_slot(&self.options.slot_name, start_time, clock) {
                wire.command(&format!("DROP_REPLICATION_SLOT {name}"), "dropping the replication slot").await?;
                return Err(passed);
            }
        }
        lsn.ok_or_else(|| Error::fatal("the server does not say where the new slot stands"))
    }

    fn command(&self, lsn: Lsn) -> String {
        let name = sql::name(&self.options.slot_name);
        let publication = sql::name(&self.options.pub_name).replace('\'', "''");
        // Open transactions are streamed since version 14 only.
        let protocol = match self.server.version_number >= 140_000 {
            true => "\"proto_version\" '2', \"streaming\" 'on'",
            false => "\"proto_version\" '1'",
        };
        format!("START_REPLICATION SLOT {name} LOGICAL {lsn} ({protocol}, \"publication_names\" '{publication}')")
    }

    async fn read(
        &mut self,
        incoming: &mut Incoming,
        following: &mut Following,
        pid: i32,
        outlet: &Outlet,
        backoff: &mut Backoff,
    ) -> std::result::Result<(), Ended> {
        let mut asked_at: Option<Instant> = None;
        let mut heard_at = Instant::now();
        loop {
            while let Some(frame) = incoming.take()? {
                backoff.succeeded();
                match frame {
                    Frame::Data { start, message } => {
                        self.acknowledged.receive(start);
                        self.message(following, message, outlet).await?;
                        if following.assembler.is_full(self.stream.block_bytes) {
                            self.send(&mut following.assembler, outlet).await?;
                        }
                    }
                    Frame::Keepalive { wal_end, clock, reply } => {
                        self.acknowledged.receive(wal_end);
                        following.assembler.idle(wal_end, clock);
                        if reply {
                            self.acknowledged.answer();
                        }
                    }
                }
            }
            if following.watch.is_due() {
                self.look(following).await;
            }
            if let Some(filled) = incoming.fill().now_or_never() {
                filled?;
                heard_at = Instant::now();
                continue;
            }
            // The server is asked for an answer each interval ([`Acknowledged::tell`]), so that it is never silent for long.
            if heard_at.elapsed() >= PATIENCE.max(self.options.keepalive_interval * 3) {
                is_alive(&self.address, &self.server, pid).await?;
                heard_at = Instant::now();
            }
            // The server has nothing more for now: what there is goes on at once.
            self.send(&mut following.assembler, outlet).await?;
            let patience = match self.options.end_time {
                Some(end) if !following.assembler.in_transaction() => {
                    if asked_at.is_none_or(|at| at.elapsed() >= END_TIME_INTERVAL) {
                        asked_at = Some(Instant::now());
                        if self.is_over(following, end).await? {
                            return Err(Ended::Complete);
                        }
                    }
                    END_TIME_INTERVAL
                }
                Some(_) | None => watch::INTERVAL,
            };
            if let Ok(filled) = tokio::time::timeout(patience, incoming.fill()).await {
                filled?;
                heard_at = Instant::now();
            }
        }
    }

    /// Takes in one message of the plugin.
    async fn message(
        &mut self,
        following: &mut Following,
        bytes: &[u8],
        outlet: &Outlet,
    ) -> std::result::Result<(), Ended> {
        if following.spools.is_streaming() {
            match bytes.first() {
                Some(b'E') => following.spools.stop()?,
                Some(b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M' | b'O') => following.spools.keep(bytes)?,
                Some(_) | None => {
                    return Err(not_understood(following, "a message of an unknown kind in an open transaction"));
                }
            }
            return Ok(());
        }
        let message = pgoutput::parse(bytes, Within::Committed).map_err(|bad| not_understood(following, bad))?;
        match message {
            Message::StreamStart { xid, first } => following.spools.start(xid, first)?,
            Message::StreamAbort { xid, subxid } => following.spools.abort(xid, subxid)?,
            Message::StreamCommit { xid, lsn, end_lsn, committed } => {
                self.check_end(following, committed, outlet).await?;
                let mut replay = following.spools.commit(xid)?;
                following.xid = xid;
                following.assembler.begin(lsn, committed)?;
                let mut bytes = Vec::new();
                while replay.next(&mut bytes)? {
                    let message =
                        pgoutput::parse(&bytes, Within::Streamed).map_err(|bad| not_understood(following, bad))?;
                    self.take_in(following, message).await?;
                    if following.assembler.is_full(self.stream.block_bytes) {
                        self.send(&mut following.assembler, outlet).await?;
                    }
                }
                following.assembler.commit(lsn, end_lsn, committed)?;
            }
            Message::Begin { committed, xid, .. } => {
                self.check_end(following, committed, outlet).await?;
                following.xid = xid;
                self.take_in(following, message).await?;
            }
            message => self.take_in(following, message).await?,
        }
        Ok(())
    }

    /// A transaction that was committed after `end_time_utc` ends the stream.
    async fn check_end(
        &mut self,
        following: &mut Following,
        committed: Moment,
        outlet: &Outlet,
    ) -> std::result::Result<(), Ended> {
        if self.options.end_time.is_some_and(|end| committed.unix() > end) {
            self.send(&mut following.assembler, outlet).await?;
            return Err(Ended::Complete);
        }
        Ok(())
    }

    async fn take_in(&mut self, following: &mut Following, message: Message<'_>) -> Result<()> {
        let relation = match following.assembler.on(message)? {
            Next::Nothing => return Ok(()),
            Next::Table(relation) => relation,
            Next::Row(moved) => return self.complete(following, &moved).await,
        };
        if !self.tables.passes(&relation) {
            following.assembler.learn(relation.oid, None);
            return Ok(());
        }
        if following.relations.get(&relation.oid).is_some_and(|known| *known != relation) {
            tracing::warn!(
                "`{}`.`{}` has been altered on the source: DDL is not replicated, and rows come with the columns that they have from here on",
                relation.schema,
                relation.table
            );
        }
        self.reconnect(following).await?;
        let conn = &following.conn;
        let finding = self.tables.find(conn, &self.server, &relation);
        let table = while_alive(&self.address, &self.server, conn.pid, finding).await?;
        following.assembler.learn(relation.oid, table);
        following.relations.insert(relation.oid, relation);
        Ok(())
    }

    /// Asks the source for what it has not sent of a row.
    async fn complete(&self, following: &mut Following, moved: &Moved) -> Result<()> {
        self.reconnect(following).await?;
        let at = (&self.address, &self.server);
        let row = following.lookups.find(&following.conn, at, following.xid, moved).await?;
        following.assembler.complete(row.as_deref());
        Ok(())
    }

    async fn reconnect(&self, following: &mut Following) -> Result<()> {
        if following.conn.is_closed() {
            following.conn = connect::connect(&self.address, &self.server, &Session::Read).await?;
        }
        Ok(())
    }

    async fn send(&mut self, assembler: &mut Assembler, outlet: &Outlet) -> std::result::Result<(), Ended> {
        let Some(block) = assembler.take_block()? else { return Ok(()) };
        let (checkpoint, behind) = (block.checkpoint.clone(), block.behind);
        outlet.rows(block).await?;
        // A new connection goes on from what was sent: it will be applied, or the whole task ends.
        if let Some(Position::PgCdc(checkpoint)) = checkpoint {
            self.stored = Some(checkpoint);
        }
        if let Some(stored) = &mut self.stored {
            stored.behind = (behind > 0).then(|| Behind { changes: behind, filter: String::new(), counted: None });
        }
        Ok(())
    }

    /// Whether `end_time_utc` has passed and all that was committed before is read: by the source's clock, asked before
    /// its log's end, so that nothing can be committed in time and not be read.
    async fn is_over(&self, following: &mut Following, end: u64) -> Result<bool> {
        self.reconnect(following).await?;
        if following.last.is_none() {
            let conn = &following.conn;
            let (now, wal_end) = while_alive(&self.address, &self.server, conn.pid, ask::clock(conn)).await?;
            following.last = (now > end).then_some(wal_end);
        }
        Ok(following.last.is_some_and(|last| following.assembler.checkpoint() >= last))
    }

    /// Looks at slot and publication. What cannot be asked now is asked later: the stream itself says what is wrong.
    async fn look(&self, following: &mut Following) {
        let asked = async {
            self.reconnect(following).await?;
            let Following { watch, conn, assembler, .. } = following;
            let looking = watch.look(conn, &self.server, self.question(), assembler.checkpoint());
            let looked = while_alive(&self.address, &self.server, conn.pid, looking).await;
            if looked.as_ref().is_err_and(|error| error.class() == ErrorClass::Reconnect) {
                conn.give_up();
            }
            looked
        };
        if let Err(error) = asked.await {
            tracing::debug!("the slot and the publication could not be looked at: {error}");
        }
    }

    /// Begins to write the heartbeat row, if there is to be one.
    fn beat(&self) -> Option<tokio::task::JoinHandle<()>> {
        self.options.heartbeat.clone().map(|beat| {
            let (address, server) = (self.address.clone(), self.server.clone());
            let slot = self.options.slot_name.clone();
            tokio::spawn(heartbeat::run(address, server, beat, slot, self.acknowledged.clone()))
        })
    }
}

fn not_understood(following: &Following, what: impl std::fmt::Display) -> Ended {
    Ended::Failed(
        Error::fatal(format!("the replication stream is not understood: {what}"))
            .with("after", following.assembler.checkpoint()),
    )
}

#[async_trait]
impl Extractor for PgStream {
    async fn extract(mut self: Box<Self>, outlet: Outlet) -> Result<()> {
        let clock = Instant::now();
        let mut backoff = Backoff::new(self.stream.retry);
        let mut again = false;
        let beating = self.beat();
        let ended = loop {
            let ended = tokio::select! {
                biased;
                stopped = outlet.stopped() => Err(stopped.into()),
                ended = self.follow(&outlet, &mut backoff, again) => ended,
            };
            again = true;
            match ended {
                Ok(()) => {}
                Err(Ended::Stopped | Ended::Complete) => break Ok(()),
                Err(Ended::Failed(error)) if error.class().is_transient() => {
                    self.acknowledged.hush();
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
                Err(Ended::Failed(error)) => break Err(error),
            }
        };
        if let Some(beating) = beating {
            beating.abort();
        }
        ended
    }

    fn acknowledger(&self) -> Option<Box<dyn Acknowledger>> {
        Some(Box::new(SlotAcknowledger::new(self.acknowledged.clone())))
    }
}
