//! Where a stream begins: from what is stored, or else from what the configuration says, and only if the slot can give
//! everything from there on.

use dt_common::config::PgCdcOptions;
use dt_common::position::PgCdc;
use dt_common::{Error, Result};

use super::facts::{ServerFacts, Slot};
use super::time;
use crate::cdc::lsn::Lsn;

/// How a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// In a slot that is there, at this place.
    At {
        /// The place: the end of a transaction.
        lsn: Lsn,
        /// Why there.
        why: Begin,
    },
    /// In a slot that has yet to be made; the stream begins where it then stands.
    NewSlot {
        /// Whether one of that name is dropped first.
        replaces: bool,
    },
}

/// Why a stream begins where it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// It goes on from what is stored.
    Stored,
    /// The configuration says so.
    Configured,
    /// The slot was there and stands there.
    Slot,
}

/// What the user accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Positions of this server and timeline only.
    ThisServer,
    /// Positions of any, as the user says that its log is the same (`allow_other_server`).
    AnyServer,
}

/// Decides where the stream begins: `stored` is the position of an earlier run, which beats the configuration's.
///
/// # Errors
/// The slot cannot give everything from there on, or is not this stream's. Each error names the ways out.
pub fn start(facts: &ServerFacts, options: &PgCdcOptions, stored: Option<&PgCdc>, accept: Accept) -> Result<Start> {
    match stored {
        Some(stored) => go_on(facts, options, stored, accept),
        None => {
            let start = begin(facts, options)?;
            time::check(facts, options, &start)?;
            Ok(start)
        }
    }
}

const START_OVER: &str = "copy the tables anew (extract_type=snapshot) and start the stream with resume_type=dummy";

fn begin(facts: &ServerFacts, options: &PgCdcOptions) -> Result<Start> {
    let Some(slot) = &facts.slot else {
        if let Some(lsn) = &options.start_lsn {
            return Err(Error::user("start_lsn is given and there is no slot: what a slot has not kept cannot be read")
                .with("slot", &options.slot_name)
                .with("start_lsn", lsn)
                .hint("take start_lsn out to begin now with a new slot; a slot must be made before the changes that it is to hold"));
        }
        return new_slot(facts, false);
    };
    if options.recreate_slot_if_exists {
        check_idle(slot, options)?;
        return new_slot(facts, true);
    }
    let confirmed = usable(facts, slot, options)?;
    let Some(text) = &options.start_lsn else { return Ok(Start::At { lsn: confirmed, why: Begin::Slot }) };
    let lsn: Lsn =
        text.parse().map_err(|error| Error::config("start_lsn of [extractor] cannot be read").caused_by(error))?;
    if lsn < confirmed {
        return Err(gap("start_lsn is a place that the slot does not hold any more", options, lsn, confirmed)
            .hint("take start_lsn out to begin where the slot stands; what lies between is copied with a snapshot"));
    }
    check_end(facts, lsn)?;
    Ok(Start::At { lsn, why: Begin::Configured })
}

fn new_slot(facts: &ServerFacts, replaces: bool) -> Result<Start> {
    if facts.slots >= facts.slots_max && !replaces {
        return Err(Error::user("the source has no room for another replication slot")
            .with("max_replication_slots", facts.slots_max)
            .hint("drop slots that are no longer read (SELECT pg_drop_replication_slot(…)), or raise max_replication_slots on the source and restart it"));
    }
    Ok(Start::NewSlot { replaces })
}

fn go_on(facts: &ServerFacts, options: &PgCdcOptions, stored: &PgCdc, accept: Accept) -> Result<Start> {
    let lsn: Lsn = stored.lsn.parse().map_err(|error| {
        Error::user("the LSN of the stored position cannot be read")
            .caused_by(error)
            .hint("correct its line in position.log or resume.config, or set [resumer] resume_type=dummy to start over")
    })?;
    let other_server = stored.lineage.source.as_ref().filter(|then| **then != facts.identity);
    if let (Some(then), Accept::ThisServer) = (other_server, accept) {
        return Err(Error::user("the stored position is a place in another server's log, and means nothing here")
            .with("lsn", lsn)
            .with("stored", then)
            .with("actual", &facts.identity)
            .hint(format!("check url; if it is the same data on another server, {START_OVER}")));
    }
    if let Some(origin) = &stored.origin {
        if origin.slot != options.slot_name {
            return Err(Error::user("the stored position was read from another slot")
                .with("stored", &origin.slot)
                .with("slot_name", &options.slot_name)
                .hint(format!("set slot_name={} to go on, or {START_OVER}", origin.slot)));
        }
        if origin.timeline != facts.timeline && accept == Accept::ThisServer {
            return Err(Error::user("the source is on another timeline than the stored position: a standby was promoted, or the server was restored from a backup")
                .with("lsn", lsn)
                .with("stored", origin.timeline)
                .with("actual", facts.timeline)
                .hint(format!("what was committed before and after the switch may differ from what was read: {START_OVER}; if the slot was kept through the switch (a fail-over slot) and nothing was lost, set [resumer] allow_other_server=true")));
        }
    }
    let Some(slot) = &facts.slot else {
        return Err(Error::user(
            "the replication slot is gone, and with it what was committed since the stored position",
        )
        .with("slot", &options.slot_name)
        .with("lsn", lsn)
        .hint(format!("{START_OVER}: a new slot holds what is committed after it is made, and nothing before")));
    };
    let confirmed = usable(facts, slot, options)?;
    if confirmed > lsn {
        return Err(gap(
            "the replication slot is ahead of the stored position: it was made anew, or read by someone else",
            options,
            lsn,
            confirmed,
        )
        .hint(format!("what lies between is not sent again: {START_OVER}; and let nobody else read the slot")));
    }
    check_end(facts, lsn)?;
    Ok(Start::At { lsn, why: Begin::Stored })
}

fn gap(what: &str, options: &PgCdcOptions, lsn: Lsn, confirmed: Lsn) -> Error {
    Error::user(what)
        .with("slot", &options.slot_name)
        .with("wanted", lsn)
        .with("confirmed_flush_lsn", confirmed)
        .with("bytes between", confirmed.bytes_since(lsn))
}

/// The place must lie within the log: beyond its end is another history.
fn check_end(facts: &ServerFacts, lsn: Lsn) -> Result<()> {
    if lsn <= facts.wal_end {
        return Ok(());
    }
    Err(Error::user("the place to go on from is behind the end of the source's log: it is another log")
        .with("lsn", lsn)
        .with("end", facts.wal_end)
        .hint(format!("the server was restored from a backup, or is another one: check url; {START_OVER}")))
}

/// Whether the slot is of our kind and holds what it should; where it stands.
fn usable(facts: &ServerFacts, slot: &Slot, options: &PgCdcOptions) -> Result<Lsn> {
    let name = &options.slot_name;
    let Some(plugin) = &slot.plugin else {
        return Err(Error::user("the replication slot is a physical one")
            .with("slot", name)
            .hint("choose another slot_name: a logical slot is made"));
    };
    if plugin != "pgoutput" {
        return Err(Error::user("the replication slot is of another plugin")
            .with("slot", name)
            .with("plugin", plugin)
            .hint("choose another slot_name, or drop the slot if nobody needs it: one of pgoutput is made"));
    }
    if slot.database.as_deref() != Some(facts.database.as_str()) {
        return Err(Error::user("the replication slot is of another database")
            .with("slot", name)
            .with("its database", slot.database.as_deref().unwrap_or_default())
            .with("url's database", &facts.database)
            .hint("choose another slot_name: a slot reads one database; or check the database in url"));
    }
    let is_lost = slot.wal_status == "lost" || !slot.invalidation_reason.is_empty();
    if is_lost {
        let reason = if slot.invalidation_reason.is_empty() { "wal_status is lost" } else { &slot.invalidation_reason };
        return Err(Error::user("the source has given up the replication slot, and with it changes that were not read")
            .with("slot", name)
            .with("reason", reason)
            .hint(format!("drop the slot (SELECT pg_drop_replication_slot('{name}')), then {START_OVER}; raise max_slot_wal_keep_size on the source so that it is not lost again")));
    }
    check_idle(slot, options)?;
    slot.confirmed_flush.ok_or_else(|| {
        Error::user("the replication slot was never made ready: its making was interrupted")
            .with("slot", name)
            .hint(format!("drop it: SELECT pg_drop_replication_slot('{name}')"))
    })
}

fn check_idle(slot: &Slot, options: &PgCdcOptions) -> Result<()> {
    match slot.active_pid {
        None => Ok(()),
        Some(pid) => Err(in_use(&options.slot_name, pid)),
    }
}

/// The error for a slot that someone else reads.
pub fn in_use(slot: &str, pid: i32) -> Error {
    Error::user("the replication slot is in use by another process of the source")
        .with("slot", slot)
        .with("active_pid", pid)
        .hint(format!("stop the other reader: SELECT * FROM pg_stat_replication WHERE pid = {pid} says who it is; each task needs a slot of its own (slot_name)"))
}

#[cfg(test)]
mod tests;
