use dt_common::ErrorClass;
use dt_common::position::{Lineage, PgOrigin};
use std::time::Duration;

use super::super::facts::samples::server;
use super::*;

fn options() -> PgCdcOptions {
    PgCdcOptions {
        slot_name: "dt_1".into(),
        pub_name: "p".into(),
        start_lsn: None,
        start_time: None,
        end_time: None,
        recreate_slot_if_exists: false,
        keepalive_interval: Duration::from_secs(10),
        heartbeat: None,
    }
}

fn stored(lsn: &str) -> PgCdc {
    PgCdc {
        behind: None,
        lsn: lsn.into(),
        timestamp: String::new(),
        origin: Some(PgOrigin { slot: "dt_1".into(), timeline: 1 }),
        lineage: Lineage { source: Some("7/shop".into()), target: None },
    }
}

fn refused(facts: &ServerFacts, options: &PgCdcOptions, stored: Option<&PgCdc>) -> String {
    let error = start(facts, options, stored, Accept::ThisServer).expect_err("is refused");
    assert_eq!(error.class(), ErrorClass::User, "{error}");
    assert!(error.hint_text().is_some(), "{error}");
    error.to_string()
}

fn with_slot(change: impl FnOnce(&mut Slot)) -> ServerFacts {
    let mut facts = server();
    change(facts.slot.as_mut().expect("is there"));
    facts
}

#[test]
fn a_stream_goes_on_from_what_is_stored_whether_or_not_it_is_acknowledged() {
    for lsn in ["0/1000", "0/1800", "0/2000"] {
        assert_eq!(
            start(&server(), &options(), Some(&stored(lsn)), Accept::ThisServer).expect("goes on"),
            Start::At { lsn: lsn.parse().expect("is one"), why: Begin::Stored }
        );
    }
    let older = PgCdc { origin: None, lineage: Lineage::default(), ..stored("0/1800") };
    assert!(start(&server(), &options(), Some(&older), Accept::ThisServer).is_ok(), "older tools store no lineage");
}

#[test]
fn a_gap_between_the_slot_and_what_is_stored_is_refused() {
    let error = refused(&server(), &options(), Some(&stored("0/FFF")));
    assert!(error.contains("is ahead of the stored position") && error.contains("bytes between: 1)"), "{error}");
    let error = refused(&ServerFacts { slot: None, ..server() }, &options(), Some(&stored("0/1800")));
    assert!(error.contains("the replication slot is gone"), "{error}");
    let error = refused(&server(), &options(), Some(&stored("0/2001")));
    assert!(error.contains("behind the end of the source's log"), "{error}");
}

#[test]
fn a_slot_that_is_made_anew_on_request_is_not_made_anew_under_a_stored_position() {
    let recreate = PgCdcOptions { recreate_slot_if_exists: true, ..options() };
    let goes_on = start(&server(), &recreate, Some(&stored("0/1800")), Accept::ThisServer).expect("goes on");
    assert!(matches!(goes_on, Start::At { why: Begin::Stored, .. }));
    assert_eq!(
        start(&server(), &recreate, None, Accept::ThisServer).expect("begins"),
        Start::NewSlot { replaces: true }
    );
}

#[test]
fn a_position_of_another_server_slot_or_timeline_is_refused() {
    let mut other = stored("0/1800");
    other.lineage.source = Some("8/shop".into());
    assert!(refused(&server(), &options(), Some(&other)).contains("another server's log"));
    let promoted = ServerFacts { timeline: 2, ..server() };
    assert!(refused(&promoted, &options(), Some(&stored("0/1800"))).contains("another timeline"));
    assert!(start(&promoted, &options(), Some(&stored("0/1800")), Accept::AnyServer).is_ok());
    let renamed = PgCdcOptions { slot_name: "dt_2".into(), ..options() };
    assert!(refused(&server(), &renamed, Some(&stored("0/1800"))).contains("set slot_name=dt_1"));
    assert!(refused(&server(), &options(), Some(&stored("7"))).contains("cannot be read"));
}

#[test]
fn a_slot_that_is_not_ours_to_read_is_refused_by_what_is_wrong() {
    type Change = fn(&mut Slot);
    let cases: [(Change, &str); 7] = [
        (|slot| slot.plugin = None, "physical"),
        (|slot| slot.plugin = Some("wal2json".into()), "plugin: wal2json"),
        (|slot| slot.database = Some("other".into()), "its database: other"),
        (|slot| slot.wal_status = "lost".into(), "wal_status is lost"),
        (|slot| slot.invalidation_reason = "idle_timeout".into(), "reason: idle_timeout"),
        (|slot| slot.active_pid = Some(77), "active_pid: 77"),
        (|slot| slot.confirmed_flush = None, "never made ready"),
    ];
    for (change, said) in cases {
        let facts = with_slot(change);
        for stored in [None, Some(stored("0/1800"))] {
            let error = refused(&facts, &options(), stored.as_ref());
            assert!(error.contains(said), "{error}");
        }
    }
}

#[test]
fn the_first_start_takes_the_slot_that_is_there_or_makes_one() {
    assert_eq!(
        start(&server(), &options(), None, Accept::ThisServer).expect("begins"),
        Start::At { lsn: Lsn(0x1000), why: Begin::Slot }
    );
    let none = ServerFacts { slot: None, ..server() };
    assert_eq!(start(&none, &options(), None, Accept::ThisServer).expect("begins"), Start::NewSlot { replaces: false });
    let full = ServerFacts { slots: 10, ..none };
    assert!(refused(&full, &options(), None).contains("max_replication_slots: 10"));
}

#[test]
fn a_start_lsn_must_lie_in_what_the_slot_holds() {
    let at = |lsn: &str| PgCdcOptions { start_lsn: Some(lsn.into()), ..options() };
    assert_eq!(
        start(&server(), &at("0/1900"), None, Accept::ThisServer).expect("begins"),
        Start::At { lsn: Lsn(0x1900), why: Begin::Configured }
    );
    assert!(refused(&server(), &at("0/800"), None).contains("does not hold any more"));
    assert!(refused(&server(), &at("0/3000"), None).contains("behind the end"));
    assert!(refused(&ServerFacts { slot: None, ..server() }, &at("0/1900"), None).contains("there is no slot"));
}

#[test]
fn a_stored_position_goes_on_whatever_start_time_utc_says() {
    let late = PgCdcOptions { start_time: Some(server().clock - 60), ..options() };
    assert_eq!(
        start(&server(), &late, Some(&stored("0/1800")), Accept::ThisServer).expect("goes on"),
        Start::At { lsn: Lsn(0x1800), why: Begin::Stored }
    );
    assert!(refused(&ServerFacts { slot: None, ..server() }, &late, None).contains("start_time_utc has passed"));
}
