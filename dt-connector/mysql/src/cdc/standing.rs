//! Where a stored position stands in the source's binlog: how far from the purge, and before or behind another one.

use std::cmp::Ordering;

use dt_common::Result;
use dt_common::position::MysqlCdc;
use dt_connector::HeadRoom;
use mysql_async::Conn;

use super::ask;
use super::gtid::GtidSet;
use super::resume::binlogs::{self, numbered};
use super::resume::{Place, ServerFacts};
use crate::config::Address;
use crate::connect::{self, Flavor, Server, Session};

/// How far the purge is from a stored position.
///
/// # Errors
/// The source cannot be asked; the purge has passed the position.
pub async fn head_room(address: &Address, server: &Server, by_gtid: bool, stored: &MysqlCdc) -> Result<HeadRoom> {
    let asking = async |conn: &mut Conn| ask::facts(conn, server).await;
    let facts = connect::asking(address, server.flavor, &Session::Read, asking).await?;
    told(&facts, by_gtid, stored)
}

fn told(facts: &ServerFacts, by_gtid: bool, stored: &MysqlCdc) -> Result<HeadRoom> {
    let place = Place { file: stored.binlog_filename.clone(), position: stored.next_event_position };
    let ends = || {
        HeadRoom::default()
            .with_some("oldest_file", facts.files.first().map(|file| file.name.as_str()))
            .with_some("newest_file", facts.files.last().map(|file| file.name.as_str()))
    };
    // By GTID another server's files will do; that nothing is missing is found when the stream is opened.
    if by_gtid && !stored.gtid_set.is_empty() && !facts.files.iter().any(|file| file.name == place.file) {
        let purged = facts.gtids.purged.to_string();
        return Ok(ends().with("purged_gtids", purged).with_some("kept_for_secs", facts.binlog_expire_secs));
    }
    let room = binlogs::head_room(&facts.files, &place, facts.binlog_expire_secs)?;
    let warning = room.is_last() && facts.files.len() > 1;
    let warning = warning.then(|| "the binlog file of the position is the next one that is purged".to_owned());
    let told = ends()
        .with("older_files", room.files)
        .with("bytes_before", room.bytes)
        .with("bytes_to_read", room.bytes_to_read)
        .with_some("kept_for_secs", room.expire_secs);
    Ok(HeadRoom { warning, ..told })
}

/// Which of two places of a source's binlog comes first: by what is done there where both say it, else by file and place
/// of the same server. `None` where it cannot be told.
pub fn order(flavor: Flavor, one: &MysqlCdc, other: &MysqlCdc) -> Option<Ordering> {
    if !one.gtid_set.is_empty() && !other.gtid_set.is_empty() {
        let (left, right) =
            (GtidSet::parse(flavor, &one.gtid_set).ok()?, GtidSet::parse(flavor, &other.gtid_set).ok()?);
        return match (left.contains_set(&right).ok()?, right.contains_set(&left).ok()?) {
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (true, true) => by_place(one, other).or(Some(Ordering::Equal)),
            (false, false) => None,
        };
    }
    by_place(one, other)
}

fn by_place(one: &MysqlCdc, other: &MysqlCdc) -> Option<Ordering> {
    let is_elsewhere =
        one.lineage.source.as_ref().zip(other.lineage.source.as_ref()).is_some_and(|(one, other)| one != other);
    let ((base, file), (other_base, other_file)) = (numbered(&one.binlog_filename)?, numbered(&other.binlog_filename)?);
    (!is_elsewhere && base == other_base)
        .then(|| (file, one.next_event_position).cmp(&(other_file, other.next_event_position)))
}

#[cfg(test)]
mod tests {
    use dt_common::position::Lineage;

    use super::*;

    fn at(file: &str, offset: u64, gtids: &str) -> MysqlCdc {
        MysqlCdc {
            server_id: String::new(),
            binlog_filename: file.into(),
            next_event_position: offset,
            gtid_set: gtids.into(),
            timestamp: String::new(),
            lineage: Lineage::default(),
            behind: None,
        }
    }

    fn order_of(one: &MysqlCdc, other: &MysqlCdc) -> Option<Ordering> {
        let found = order(Flavor::Mysql, one, other);
        assert_eq!(order(Flavor::Mysql, other, one), found.map(Ordering::reverse));
        found
    }

    #[test]
    fn places_of_one_binlog_are_ordered_by_the_numbers_of_their_files() {
        assert_eq!(order_of(&at("b.000009", 900, ""), &at("b.000010", 4, "")), Some(Ordering::Less));
        assert_eq!(order_of(&at("b.999999", 900, ""), &at("b.1000000", 4, "")), Some(Ordering::Less));
        assert_eq!(order_of(&at("b.000010", 4, ""), &at("b.000010", 4, "")), Some(Ordering::Equal));
        assert_eq!(order_of(&at("a.000010", 4, ""), &at("b.000010", 4, "")), None);
        let mut elsewhere = at("b.000010", 4, "");
        elsewhere.lineage.source = Some("s2".into());
        let mut here = elsewhere.clone();
        here.lineage.source = Some("s1".into());
        assert_eq!(order_of(&here, &elsewhere), None);
    }

    #[test]
    fn where_gtids_are_known_they_decide() {
        let set = |range: &str| format!("3e11fa47-71ca-11e1-9e33-c80aa9429562:{range}");
        let (few, many) = (at("b.2", 4, &set("1-5")), at("b.1", 4, &set("1-9")));
        assert_eq!(order_of(&few, &many), Some(Ordering::Less));
        assert_eq!(order_of(&at("b.1", 4, &set("1-5")), &at("b.1", 4, &set("7-9"))), None);
    }
}
