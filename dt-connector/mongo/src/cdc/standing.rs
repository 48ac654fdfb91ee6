//! Where a stored position stands in the source's oplog: how far from its beginning, and before or behind another one.

use std::cmp::Ordering;

use dt_common::Result;
use dt_common::position::MongoCdc;
use dt_connector::HeadRoom;

use super::ask;
use super::place::{Time, utc};
use super::resume::Facts;
use crate::connect::Server;

/// How far the oplog's first entry is from a stored position: when it passes it, what is to be read next is gone.
///
/// # Errors
/// The source cannot be asked.
pub async fn head_room(server: &Server, stored: &MongoCdc) -> Result<HeadRoom> {
    Ok(told(&ask::facts(server).await?, stored))
}

fn told(facts: &Facts, stored: &MongoCdc) -> HeadRoom {
    let seconds = |time: Time| u64::from(time.seconds);
    let room = HeadRoom::default()
        .with("last_operation", utc(facts.now.seconds))
        .with("secs_to_read", seconds(facts.now).saturating_sub(stored.operation_time));
    let Some(oplog) = facts.oplog else {
        let warning = "the account may not read the oplog (local.oplog.rs): how far back it reaches is not known";
        return HeadRoom { warning: Some(warning.to_owned()), ..room };
    };
    // What a set has written since it was made is all there: nothing has been given up yet.
    let room = room
        .with("oplog_begins", utc(oplog.first.seconds))
        .with("oplog_secs", seconds(facts.now).saturating_sub(seconds(oplog.first)))
        .with("head_room_secs", stored.operation_time.saturating_sub(seconds(oplog.first)));
    let is_gone = stored.operation_time < seconds(oplog.first);
    let warning = is_gone.then(|| "the oplog begins behind the position".to_owned());
    HeadRoom { warning, ..room }
}

/// Which of two places of a source's oplog comes first; `None` if they are of two servers, or say no time.
pub fn order(one: &MongoCdc, other: &MongoCdc) -> Option<Ordering> {
    let is_elsewhere =
        one.lineage.source.as_ref().zip(other.lineage.source.as_ref()).is_some_and(|(one, other)| one != other);
    let time = |cdc: &MongoCdc| (cdc.operation_time > 0).then(|| (cdc.operation_time, cdc.increment.unwrap_or(0)));
    let (left, right) = (time(one)?, time(other)?);
    (!is_elsewhere).then(|| left.cmp(&right))
}

#[cfg(test)]
mod tests {
    use dt_common::position::Lineage;
    use dt_connector::Fact;

    use super::super::resume::Oplog;
    use super::*;
    use crate::connect::Kind;

    fn at(operation_time: u64, increment: Option<u32>) -> MongoCdc {
        let (resume_token, timestamp) = (String::new(), String::new());
        MongoCdc { resume_token, operation_time, increment, timestamp, lineage: Lineage::default() }
    }

    #[test]
    fn places_are_ordered_by_time_and_place_within_the_second() {
        assert_eq!(order(&at(5, Some(9)), &at(6, Some(1))), Some(Ordering::Less));
        assert_eq!(order(&at(5, Some(9)), &at(5, Some(1))), Some(Ordering::Greater));
        assert_eq!(order(&at(5, None), &at(5, Some(1))), Some(Ordering::Less));
        assert_eq!(order(&at(0, None), &at(5, Some(1))), None);
    }

    #[test]
    fn head_room_is_from_the_first_entry_to_the_position() {
        let time = |seconds| Time { seconds, increment: 1 };
        let oplog = Some(Oplog { first: time(1000), is_whole: false });
        let facts = Facts { identity: "rs0".into(), kind: Kind::ReplicaSet("rs0".into()), now: time(9000), oplog };
        let room = told(&facts, &at(4600, Some(1)));
        assert!(room.facts.contains(&("head_room_secs", Fact::Number(3600))), "{room:?}");
        assert!(room.facts.contains(&("secs_to_read", Fact::Number(4400))) && room.warning.is_none(), "{room:?}");
        assert!(told(&facts, &at(900, Some(1))).warning.is_some());
        assert!(told(&Facts { oplog: None, ..facts }, &at(900, Some(1))).warning.is_some());
    }
}
