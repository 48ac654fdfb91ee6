//! Finding a place in a binlog file by reading the file from its head: the first transaction of a time, or what is
//! done at an offset. Pure: events go in, the place comes out. Rows are never looked at.

use dt_common::{Error, Result};

use super::binlog::{self, Body, Event, GtidIntervals};
use super::gtid::{Gtid, GtidSet, MariadbGtid, MysqlGtid, Origin, Uuid};
use super::place::Place;
use crate::connect::Flavor;

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// The first transaction that was committed then or later, in seconds since 1970; or else the file's end.
    Time(u64),
    /// The transaction that begins there.
    Offset(u64),
}

/// A file on its way to the goal.
#[derive(Debug)]
pub struct Seek {
    goal: Goal,
    // The end of the last event, and what is done there.
    at: Place,
    // Where the source's log ended when it was asked: nothing is waited for beyond.
    end: (String, u64),
    // Where the transaction began that was read last.
    began: Option<u64>,
}

impl Seek {
    /// From the head of `file`; `end` is file and offset of the log's end.
    pub fn new(goal: Goal, file: String, end: (String, u64)) -> Self {
        Seek { goal, at: Place { file, offset: 4, gtids: None }, end, began: None }
    }

    /// The file that is read.
    pub fn file(&self) -> &str {
        &self.at.file
    }

    /// Takes in an event as the server sends it, none from inside a compressed transaction. The place, once it is
    /// found; its GTIDs are `None` where the file does not tell them.
    ///
    /// # Errors
    /// An offset that is looked for lies within a transaction: nothing can begin there.
    pub fn on(&mut self, event: &Event) -> Result<Option<Place>> {
        if let Body::Rotate(rotate) = &event.body {
            let is_next = rotate.file != self.at.file;
            return Ok(is_next.then(|| Place {
                file: rotate.file.clone(),
                offset: rotate.position,
                gtids: self.at.gtids.clone(),
            }));
        }
        let begins_at = self.at.offset;
        match &event.body {
            Body::PreviousGtids(sets) => self.at.gtids = Some(previous(sets)?),
            // Of each domain the last transaction of every server, the newest one last (MariaDB documentation,
            // GTID_LIST_EVENT).
            Body::MariadbGtidList(list) => {
                self.at.gtids = Some(GtidSet::empty(Flavor::Mariadb));
                list.iter().try_for_each(|gtid| self.add(&mariadb(gtid)))?;
            }
            Body::Gtid(gtid) => {
                // The time of the commit, where the server is new enough to say it.
                let committed = match gtid.committed_micros / 1_000_000 {
                    0 => u64::from(event.header.timestamp),
                    seconds => seconds,
                };
                if self.is_found(begins_at, committed)? {
                    return Ok(Some(self.at.clone()));
                }
                self.began = Some(begins_at);
                if let Some(named) = gtid.gtid.clone() {
                    let bad = |_| Error::fatal("a GTID of the source's binlog is not understood");
                    let tag = named.tag.map(|tag| tag.parse()).transpose().map_err(bad)?;
                    let origin = Origin { uuid: Uuid(named.uuid), tag };
                    self.add(&MysqlGtid::new(origin, named.number).map(Gtid::Mysql).map_err(bad)?)?;
                }
            }
            Body::MariadbGtid(event_of) => {
                if self.is_found(begins_at, u64::from(event.header.timestamp))? {
                    return Ok(Some(self.at.clone()));
                }
                self.began = Some(begins_at);
                self.add(&mariadb(&event_of.gtid))?;
            }
            _ => {}
        }
        if !event.header.is_artificial() {
            self.at.advance(event.header.log_pos);
        }
        if is_of_a_transaction(&event.body) {
            self.check_not_within()?;
        }
        Ok(self.is_at_end().then(|| self.at.clone()))
    }

    fn is_found(&self, begins_at: u64, committed: u64) -> Result<bool> {
        match self.goal {
            Goal::Time(time) => Ok(committed >= time),
            Goal::Offset(offset) => Ok(begins_at >= offset),
        }
    }

    /// Refuses an offset behind the beginning of a transaction, of which an event has now been read that ends later still.
    /// Behind its last event may be others that are of none: a STOP, what MariaDB says of its log's recovery.
    fn check_not_within(&self) -> Result<()> {
        match (self.goal, self.began) {
            (Goal::Offset(offset), Some(began)) if began < offset && offset < self.at.offset => {
                Err(Error::user("the place to begin at lies within a transaction")
                    .with("place", format!("{}:{offset}", self.at.file))
                    .with("it begins at", began)
                    .with("and goes on at least to", self.at.offset)
                    .hint("begin where a transaction begins: SHOW BINLOG EVENTS IN 'file' lists the places"))
            }
            (Goal::Offset(_) | Goal::Time(_), _) => Ok(()),
        }
    }

    fn add(&mut self, gtid: &Gtid) -> Result<()> {
        let Some(set) = &mut self.at.gtids else { return Ok(()) };
        set.add(gtid).map_err(|error| Error::fatal(error.to_string()))
    }

    fn is_at_end(&self) -> bool {
        self.at.file == self.end.0 && self.at.offset >= self.end.1
    }
}

fn is_of_a_transaction(body: &Body) -> bool {
    match body {
        Body::Gtid(_)
        | Body::MariadbGtid(_)
        | Body::Query(_)
        | Body::Xid(_)
        | Body::TableMap(_)
        | Body::Rows(_)
        | Body::TransactionPayload(_)
        | Body::XaPrepare(_) => true,
        Body::FormatDescription(_)
        | Body::Rotate(_)
        | Body::Stop
        | Body::PreviousGtids(_)
        | Body::Incident { .. }
        | Body::Heartbeat(_)
        | Body::MariadbGtidList(_)
        | Body::MariadbBinlogCheckpoint { .. }
        | Body::MariadbStartEncryption
        // Never the last of a transaction: what it is about comes behind it.
        | Body::Note => false,
    }
}

fn mariadb(&binlog::MariadbGtid { domain, server, sequence }: &binlog::MariadbGtid) -> Gtid {
    Gtid::Mariadb(MariadbGtid { domain, server, seq: sequence })
}

fn previous(sets: &[GtidIntervals]) -> Result<GtidSet> {
    let texts = sets.iter().map(|set| {
        let tag = set.tag.iter().map(|tag| format!(":{tag}"));
        let ranges = set.intervals.iter().map(|(from, to)| format!(":{from}-{}", to - 1));
        format!("{}{}", Uuid(set.uuid), tag.chain(ranges).collect::<String>())
    });
    GtidSet::parse(Flavor::Mysql, &texts.collect::<Vec<_>>().join(","))
        .map_err(|error| Error::fatal("the GTIDs at the head of a binlog file are not understood").caused_by(error))
}

#[cfg(test)]
mod tests;
