//! Where a stored position stands in the source's log: how much room its slot has, and before or behind another one.

use std::cmp::Ordering;

use dt_common::position::PgCdc;
use dt_common::{Error, Result};
use dt_connector::HeadRoom;

use super::ask;
use super::lsn::Lsn;
use super::resume::Slot;
use crate::config::Address;
use crate::connect::{self, Conn, Server, Session};

/// How much of the log the slot keeps, and how much more it may (PostgreSQL documentation, 54.20 pg_replication_slots).
///
/// # Errors
/// The source cannot be asked; there is no such slot.
pub async fn head_room(address: &Address, server: &Server, slot: &str, stored: &PgCdc) -> Result<HeadRoom> {
    let questions = async |conn: &Conn| Ok((ask::slot(conn, server, slot).await?, ask::clock(conn).await?));
    let ((found, (_, wal_end)), _) = connect::asking(None, address, server, &Session::Read, questions).await?;
    let found = found.ok_or_else(|| {
        Error::user("the replication slot is gone, and with it what was committed since the stored position")
            .with("slot", slot)
            .hint("copy the tables anew (extract_type=snapshot) and start the stream with resume_type=dummy")
    })?;
    Ok(told(slot, &found, wal_end, stored))
}

fn told(name: &str, slot: &Slot, wal_end: Lsn, stored: &PgCdc) -> HeadRoom {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let safe = slot.safe_wal_size.and_then(|bytes| u64::try_from(bytes).ok());
    let warning = match slot.wal_status.as_str() {
        "lost" => Some("the slot is lost: the source has given up what it was to keep".to_owned()),
        "unreserved" => Some("the slot is about to be lost: max_slot_wal_keep_size is exceeded".to_owned()),
        _ => None,
    };
    let room = HeadRoom::default()
        .with("slot", name)
        .with_some("wal_status", known(&slot.wal_status))
        .with_some("invalidation_reason", known(&slot.invalidation_reason))
        .with_some("confirmed_flush_lsn", slot.confirmed_flush.map(|lsn| lsn.to_string()))
        .with_some("retained_bytes", slot.restart.map(|restart| wal_end.bytes_since(restart)))
        .with_some("bytes_to_read", stored.lsn.parse().ok().map(|lsn: Lsn| wal_end.bytes_since(lsn)))
        .with_some("safe_wal_size_bytes", safe);
    HeadRoom { warning, ..room }
}

/// Which of two places of a source's log comes first; `None` if they are of two servers or timelines.
pub fn order(one: &PgCdc, other: &PgCdc) -> Option<Ordering> {
    let is_elsewhere =
        one.lineage.source.as_ref().zip(other.lineage.source.as_ref()).is_some_and(|(one, other)| one != other);
    let timelines = one.origin.as_ref().zip(other.origin.as_ref());
    let is_another_line = timelines.is_some_and(|(one, other)| one.timeline != other.timeline);
    let (left, right): (Lsn, Lsn) = (one.lsn.parse().ok()?, other.lsn.parse().ok()?);
    (!is_elsewhere && !is_another_line).then(|| left.cmp(&right))
}

#[cfg(test)]
mod tests {
    use dt_common::position::{Lineage, PgOrigin};
    use dt_connector::Fact;

    use super::super::resume::facts::samples::server;
    use super::*;

    fn at(lsn: &str, timeline: u32) -> PgCdc {
        let origin = Some(PgOrigin { slot: "s".into(), timeline });
        PgCdc { lsn: lsn.into(), timestamp: String::new(), origin, lineage: Lineage::default(), behind: None }
    }

    #[test]
    fn places_are_ordered_as_numbers_within_a_timeline() {
        assert_eq!(order(&at("0/FFFFFFFF", 1), &at("1/0", 1)), Some(Ordering::Less));
        assert_eq!(order(&at("1/0", 1), &at("1/0", 1)), Some(Ordering::Equal));
        assert_eq!(order(&at("1/0", 1), &at("1/0", 2)), None);
        assert_eq!(order(&at("x", 1), &at("1/0", 1)), None);
    }

    #[test]
    fn a_slot_says_what_it_keeps_and_warns_when_it_is_about_to_be_lost() {
        let mut slot = server().slot.expect("is there");
        let room = told("dt_1", &slot, Lsn(0x2000), &at("0/1800", 1));
        assert_eq!(room.warning, None);
        assert!(room.facts.contains(&("retained_bytes", Fact::Number(4352))), "{room:?}");
        assert!(room.facts.contains(&("bytes_to_read", Fact::Number(2048))), "{room:?}");
        slot.wal_status = "unreserved".into();
        assert!(told("dt_1", &slot, Lsn(0x2000), &at("0/1800", 1)).warning.is_some());
    }
}
