//! Where a file's reading stops, and what is done there.

use super::*;
use crate::cdc::binlog::{EventType, GtidEvent, Header, MariadbGtidEvent, Rotate};

const SERVER: [u8; 16] = [0x11; 16];
const UUID: &str = "11111111-1111-1111-1111-111111111111";

fn event(body: Body, timestamp: u32, log_pos: u32) -> Event {
    let header = Header { timestamp, event_type: EventType::QUERY, server_id: 1, event_size: 0, log_pos, flags: 0 };
    Event { header, body }
}

fn mysql(number: u64, committed: u64) -> Body {
    Body::Gtid(GtidEvent {
        gtid: Some(binlog::MysqlGtid { uuid: SERVER, tag: None, number }),
        may_have_statements: false,
        last_committed: 0,
        sequence_number: 0,
        committed_micros: committed * 1_000_000,
        originally_committed_micros: 0,
        transaction_bytes: 0,
    })
}

fn mariadb_event(domain: u32, server: u32, sequence: u64) -> Body {
    let gtid = binlog::MariadbGtid { domain, server, sequence };
    Body::MariadbGtid(MariadbGtidEvent {
        gtid,
        standalone: false,
        transactional: true,
        ddl: false,
        xa: None,
        alter: None,
    })
}

/// A file of two transactions of MySQL, committed at 10 and 20 s, and its end at 400.
fn mysql_file() -> Vec<Event> {
    let before = GtidIntervals { uuid: SERVER, tag: None, intervals: vec![(1, 6)] };
    vec![
        event(Body::PreviousGtids(vec![before]), 1, 100),
        event(mysql(6, 10), 9, 150),
        event(Body::Xid(1), 10, 200),
        event(mysql(7, 20), 19, 250),
        event(Body::Xid(2), 20, 400),
    ]
}

fn mariadb_file() -> Vec<Event> {
    let gtid = |domain, server, sequence| binlog::MariadbGtid { domain, server, sequence };
    vec![
        event(Body::MariadbGtidList(vec![gtid(0, 2, 9), gtid(0, 1, 5), gtid(3, 1, 1)]), 1, 100),
        event(mariadb_event(0, 1, 6), 10, 150),
        event(Body::Xid(1), 10, 200),
        event(mariadb_event(3, 1, 2), 20, 250),
        event(Body::Xid(2), 20, 400),
    ]
}

/// Offset and GTIDs of the place that is found, by the first of these events that tells it.
fn find(goal: Goal, events: &[Event]) -> Result<Option<(u64, String)>> {
    let mut seek = Seek::new(goal, "b.000001".to_owned(), ("b.000001".to_owned(), 400));
    for event in events {
        if let Some(place) = seek.on(event)? {
            assert_eq!(place.file, "b.000001");
            return Ok(Some((place.offset, place.gtids.map(|set| set.to_string()).unwrap_or_default())));
        }
    }
    Ok(None)
}

#[track_caller]
fn found(goal: Goal, events: &[Event], offset: u64, gtids: &str) {
    assert_eq!(find(goal, events).expect("no error"), Some((offset, gtids.to_owned())), "{goal:?}");
}

#[test]
fn an_offset_is_found_with_what_is_done_there() {
    found(Goal::Offset(100), &mysql_file(), 100, &format!("{UUID}:1-5"));
    found(Goal::Offset(200), &mysql_file(), 200, &format!("{UUID}:1-6"));
    found(Goal::Offset(400), &mysql_file(), 400, &format!("{UUID}:1-7"));
    found(Goal::Offset(200), &mariadb_file(), 200, "0-1-6,3-1-1");
    found(Goal::Offset(400), &mariadb_file(), 400, "0-1-6,3-1-2");
}

#[test]
fn of_several_servers_of_one_domain_the_last_in_the_list_is_its_position() {
    found(Goal::Offset(100), &mariadb_file(), 100, "0-1-5,3-1-1");
}

#[test]
fn a_time_is_found_at_the_first_transaction_that_was_committed_then_or_later() {
    found(Goal::Time(10), &mysql_file(), 100, &format!("{UUID}:1-5"));
    found(Goal::Time(11), &mysql_file(), 200, &format!("{UUID}:1-6"));
    found(Goal::Time(11), &mariadb_file(), 200, "0-1-6,3-1-1");
    // Nothing is as late: the end, behind which nothing is waited for.
    found(Goal::Time(21), &mysql_file(), 400, &format!("{UUID}:1-7"));
}

#[test]
fn the_next_file_ends_the_search_with_its_head() {
    let mut seek = Seek::new(Goal::Time(99), "b.000001".to_owned(), ("b.000002".to_owned(), 4000));
    for event in mysql_file() {
        assert_eq!(seek.on(&event).expect("no error"), None);
    }
    let here = Rotate { file: "b.000001".to_owned(), position: 4 };
    assert_eq!(
        seek.on(&event(Body::Rotate(here), 0, 0)).expect("no error"),
        None,
        "the rotation that a stream begins with"
    );
    let next = Rotate { file: "b.000002".to_owned(), position: 4 };
    let place = seek.on(&event(Body::Rotate(next), 20, 440)).expect("no error").expect("found");
    assert_eq!((place.file.as_str(), place.offset), ("b.000002", 4));
    assert_eq!(place.gtids.map(|set| set.to_string()), Some(format!("{UUID}:1-7")));
}

#[test]
fn an_offset_within_a_transaction_is_refused_and_its_extent_is_named() {
    for file in [mysql_file(), mariadb_file()] {
        let error = find(Goal::Offset(170), &file).expect_err("within the first transaction").to_string();
        assert!(error.contains("b.000001:170") && error.contains("200"), "{error}");
        // Of the last one as well, and within its first event.
        for offset in [220, 250, 399] {
            let error = find(Goal::Offset(offset), &file).expect_err("within the last transaction").to_string();
            assert!(error.contains("it begins at: 200"), "{error}");
        }
    }
}

#[test]
fn events_between_transactions_do_not_make_their_places_ones_within() {
    let stop = event(Body::Stop, 20, 423);
    let next = event(Body::Rotate(Rotate { file: "b.000002".to_owned(), position: 4 }), 0, 0);
    let mut seek = Seek::new(Goal::Offset(400), "b.000001".to_owned(), ("b.000002".to_owned(), 4000));
    for event in mysql_file().iter().chain([&stop]) {
        assert_eq!(seek.on(event).expect("no error"), None);
    }
    assert_eq!(seek.on(&next).expect("no error").map(|place| place.file), Some("b.000002".to_owned()));
    // The server was stopped behind the last transaction: the next one is in the next file.
    let checkpoint = event(Body::MariadbBinlogCheckpoint { file: "b.000001".to_owned() }, 15, 230);
    let mut file = mariadb_file();
    file.insert(3, checkpoint);
    file[4] = event(mariadb_event(3, 1, 2), 20, 280);
    found(Goal::Offset(200), &file, 230, "0-1-6,3-1-1");
}
