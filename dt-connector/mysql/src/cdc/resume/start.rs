//! Where a stream begins: from what is stored, or else from what the configuration says, and only if the source can
//! give everything from there on.

use dt_common::config::{CdcStart, MysqlCdcOptions};
use dt_common::position::MysqlCdc;
use dt_common::{Error, Result};

use super::binlogs::check_place;
use super::facts::{Place, ServerFacts};
use crate::cdc::gtid::{Beyond, GtidSet, OtherFlavor};
use crate::connect::Flavor;

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// With the first transaction that is not in the set.
    AfterGtids {
        /// What is done. The stream adds to it what it reads, so that what is stored is always the whole set.
        done: GtidSet,
        /// The server that the position was taken from, if it was another: a fail-over.
        moved_from: Option<String>,
    },
    /// At a place of the binlog.
    AtPlace {
        /// The place.
        place: Place,
        /// What is done there, to be added to as above. `None` if it is not known (GTIDs are off, or an older tool
        /// stored the place without a set): then no set may be stored, for it would hold only what was seen since.
        done: Option<GtidSet>,
    },
    /// With the first transaction that was committed at that time or later. The file to read from is
    /// [`super::binlogs::file_at`]'s, and what is done is not known.
    AtTime {
        /// In seconds since 1970.
        time: u64,
    },
}

/// What the user accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Positions of this server only, unless GTIDs show that another one has the same history.
    ThisServer,
    /// Positions of any server, as the user says that its log is the same (`allow_other_server`).
    AnyServer,
}

/// Decides where the stream begins: `stored` is the position of an earlier run, which beats the configuration's.
///
/// # Errors
/// The source cannot give everything from there on, or cannot be shown to be of the same history. Each error names what
/// is missing or unknown, and the ways out.
pub fn start(
    facts: &ServerFacts,
    options: &MysqlCdcOptions,
    stored: Option<&MysqlCdc>,
    accept: Accept,
) -> Result<Start> {
    match stored {
        Some(stored) => go_on(facts, options, stored, accept),
        None => begin(facts, options),
    }
}

fn begin(facts: &ServerFacts, options: &MysqlCdcOptions) -> Result<Start> {
    match &options.start {
        CdcStart::Now if options.gtid_enabled => {
            check_gtids_are_kept(facts)?;
            Ok(Start::AfterGtids { done: facts.gtids.executed.clone(), moved_from: None })
        }
        CdcStart::Now => {
            let place = facts.end.clone().ok_or_else(|| Error::user("the source has no binlog: log_bin is OFF"))?;
            check_offset(facts, &place)?;
            let done = done_at(facts, &place);
            Ok(Start::AtPlace { place, done })
        }
        CdcStart::Place { binlog_filename, binlog_position } => {
            let place = Place { file: binlog_filename.clone(), position: *binlog_position };
            check_place(&facts.files, &place)?;
            check_offset(facts, &place)?;
            let done = done_at(facts, &place);
            Ok(Start::AtPlace { place, done })
        }
        CdcStart::AfterGtids(text) => {
            let done = GtidSet::parse(facts.flavor, text).map_err(|error| {
                Error::config("gtid_set of [extractor] cannot be read").caused_by(error).hint(form_of(facts.flavor))
            })?;
            after_gtids(facts, done, None)
        }
        CdcStart::Time(time) => {
            if options.gtid_enabled {
                check_gtids_are_kept(facts)?;
            }
            Ok(Start::AtTime { time: *time })
        }
    }
}

fn go_on(facts: &ServerFacts, options: &MysqlCdcOptions, stored: &MysqlCdc, accept: Accept) -> Result<Start> {
    let done = GtidSet::parse(facts.flavor, &stored.gtid_set).map_err(|error| {
        Error::user("the gtid_set of the stored position cannot be read").caused_by(error).hint(form_of(facts.flavor))
    })?;
    let other_server = stored.lineage.source.as_ref().filter(|then| **then != facts.identity);
    if options.gtid_enabled && !done.is_empty() {
        return after_gtids(facts, done, other_server.cloned());
    }
    if stored.binlog_filename.is_empty() {
        let error = Error::user("the stored position names no binlog file");
        return Err(match done.is_empty() {
            true => error.hint("set [resumer] resume_type=dummy to start over"),
            false => error.hint("it has a GTID set: set [extractor] gtid_enabled=true to go on after it"),
        });
    }
    let place = Place { file: stored.binlog_filename.clone(), position: stored.next_event_position };
    if let (Some(then), Accept::ThisServer) = (other_server, accept) {
        let error =
            Error::user("the stored position is a file and place in another server's binlog, and means nothing here")
                .with("place", &place)
                .with("stored", then)
                .with("actual", &facts.identity);
        return Err(match done.is_empty() {
            false => error.hint(
                "set [extractor] gtid_enabled=true: the position has a GTID set, which holds on every server with the \
                 same history; or let url name the server that the position is of",
            ),
            true => error.hint(
                "let url name the server that the position is of; if this one is a copy with the very same binlog \
                 files, set [resumer] allow_other_server=true; to start over, set [resumer] resume_type=dummy",
            ),
        });
    }
    check_place(&facts.files, &place)?;
    check_offset(facts, &place)?;
    if done.is_empty() {
        let done = done_at(facts, &place);
        return Ok(Start::AtPlace { place, done });
    }
    // The file may have the same name and another history: a server set back to an older backup.
    check_executed(facts, &done)?;
    Ok(Start::AtPlace { place, done: facts.gtids_are_kept().then_some(done) })
}

fn after_gtids(facts: &ServerFacts, done: GtidSet, moved_from: Option<String>) -> Result<Start> {
    check_gtids_are_kept(facts)?;
    check_executed(facts, &done)?;
    if let Some(missing) = beyond(&facts.gtids.purged, &done)? {
        return Err(Error::user("transactions that are still to be read are purged from the source's binlog")
            .with("missing", &missing)
            .with("transactions", missing.count())
            .hint(
                "let url name a server that still has them, or copy the tables anew (extract_type=snapshot) and start \
                 with an empty log_dir; keep files for longer next time (binlog_expire_logs_seconds). A gtid_set \
                 written by hand must hold everything that is done, from the first transaction on",
            ));
    }
    Ok(Start::AfterGtids { done, moved_from })
}

/// Refuses a set with transactions that the source does not have: it would never send what took their place.
fn check_executed(facts: &ServerFacts, done: &GtidSet) -> Result<()> {
    let Some(unknown) = beyond(done, &facts.gtids.executed)? else { return Ok(()) };
    Err(Error::user("the position holds transactions that the source does not have")
        .with("unknown to it", &unknown)
        .with("transactions", unknown.count())
        .hint(
            "the source lags behind (wait for it), was set back to an older backup, lost its end in a crash, or is of \
             another history: let url name the server that has them, or copy the tables anew (extract_type=snapshot) \
             and start with an empty log_dir",
        ))
}

fn check_gtids_are_kept(facts: &ServerFacts) -> Result<()> {
    if facts.gtids_are_kept() {
        return Ok(());
    }
    Err(Error::user(format!("gtid_enabled=true, and gtid_mode of the source is {}", facts.gtids.mode)).hint(
        "set gtid_mode=ON on the source (by way of OFF_PERMISSIVE and ON_PERMISSIVE), or follow it by file and place: \
         gtid_enabled=false",
    ))
}

/// MariaDB is told a place in 32 bits.
fn check_offset(facts: &ServerFacts, place: &Place) -> Result<()> {
    match facts.flavor {
        Flavor::Mariadb if place.position > u64::from(u32::MAX) => {
            Err(Error::user("MariaDB cannot begin at a place beyond 4 GiB of a binlog file")
                .with("place", place)
                .hint("set [extractor] gtid_enabled=true, or begin in the next file"))
        }
        Flavor::Mysql | Flavor::Mariadb => Ok(()),
    }
}

/// What is done at a place, where that can be told: the server's own word for its end, or nothing at all.
fn done_at(facts: &ServerFacts, place: &Place) -> Option<GtidSet> {
    let is_known = facts.end.as_ref() == Some(place) || facts.gtids.executed.is_empty();
    (facts.gtids_are_kept() && is_known).then(|| facts.gtids.executed.clone())
}

fn beyond(one: &GtidSet, other: &GtidSet) -> Result<Option<Beyond>> {
    one.beyond(other).map_err(|OtherFlavor| Error::fatal("GTID sets of two families of servers").caused_by(OtherFlavor))
}

fn form_of(flavor: Flavor) -> &'static str {
    match flavor {
        Flavor::Mysql => "the source is MySQL, whose sets are like 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5",
        Flavor::Mariadb => "the source is MariaDB, whose positions are like 0-1-5,1-2-7",
    }
}

#[cfg(test)]
mod tests;
