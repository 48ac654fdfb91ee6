use std::time::Duration;

use dt_common::ErrorClass;
use dt_common::position::Lineage;

use super::super::facts::samples::{UUID, mariadb, mysql};
use super::*;

const OTHER: &str = "4f22ab58-71ca-11e1-9e33-c80aa9429562";

fn options(start: CdcStart, gtid_enabled: bool) -> MysqlCdcOptions {
    MysqlCdcOptions {
        start,
        gtid_enabled,
        end_time: None,
        server_id: None,
        binlog_heartbeat_interval: Duration::from_secs(10),
        binlog_timeout: Duration::from_secs(60),
        heartbeat: None,
        fail_over: Vec::new(),
    }
}

fn set(facts: &ServerFacts, text: &str) -> GtidSet {
    GtidSet::parse(facts.flavor, text).expect("is a set")
}

fn stored(file: &str, position: u64, gtid_set: &str, source: Option<&str>) -> MysqlCdc {
    MysqlCdc {
        behind: None,
        server_id: String::new(),
        binlog_filename: file.into(),
        next_event_position: position,
        gtid_set: gtid_set.into(),
        timestamp: String::new(),
        lineage: Lineage { source: source.map(str::to_owned), target: None },
    }
}

fn place(file: &str, position: u64) -> Place {
    Place { file: file.into(), position }
}

fn begun(facts: &ServerFacts, from: CdcStart, gtid_enabled: bool) -> Result<Start> {
    start(facts, &options(from, gtid_enabled), None, Accept::ThisServer)
}

fn resumed(facts: &ServerFacts, gtid_enabled: bool, stored: &MysqlCdc) -> Result<Start> {
    // What the configuration says does not matter once a position is stored.
    let options = options(CdcStart::AfterGtids("nonsense".into()), gtid_enabled);
    start(facts, &options, Some(stored), Accept::ThisServer)
}

fn refused(result: Result<Start>, named: &[&str]) {
    let error = result.expect_err("must be refused");
    assert_eq!(error.class(), ErrorClass::User, "{error}");
    let text = error.to_string();
    assert!(error.hint_text().is_some(), "{text}");
    for named in named {
        assert!(text.contains(named), "{named}: {text}");
    }
}

#[test]
fn now_is_the_end_of_the_log_with_the_servers_whole_set() {
    let facts = mysql();
    let done = facts.gtids.executed.clone();
    let by_place = begun(&facts, CdcStart::Now, false).expect("can begin");
    assert_eq!(by_place, Start::AtPlace { place: place("b.000010", 5_000_000_000), done: Some(done.clone()) });
    let by_gtid = begun(&facts, CdcStart::Now, true).expect("can begin");
    assert_eq!(by_gtid, Start::AfterGtids { done, moved_from: None });
}

#[test]
fn without_gtids_on_the_source_no_set_is_kept_and_none_can_be_followed() {
    for mode in ["OFF", "OFF_PERMISSIVE"] {
        let mut facts = mysql();
        facts.gtids.mode = mode.into();
        let begins = begun(&facts, CdcStart::Now, false).expect("can begin");
        assert_eq!(begins, Start::AtPlace { place: place("b.000010", 5_000_000_000), done: None });
        refused(begun(&facts, CdcStart::Now, true), &["gtid_mode", mode, "gtid_enabled=false"]);
        refused(begun(&facts, CdcStart::Time(77), true), &["gtid_mode"]);
        refused(resumed(&facts, true, &stored("b.000010", 4, &format!("{UUID}:1-20"), None)), &["gtid_mode"]);
    }
}

#[test]
fn a_place_in_the_log_has_no_set_unless_it_is_known() {
    let facts = mysql();
    let from = |position| CdcStart::Place { binlog_filename: "b.000010".into(), binlog_position: position };
    let begins = begun(&facts, from(154), false).expect("can begin");
    assert_eq!(begins, Start::AtPlace { place: place("b.000010", 154), done: None });
    let mut unused = mysql();
    unused.gtids.executed = set(&unused, "");
    let begins = begun(&unused, from(154), false).expect("can begin");
    assert_eq!(begins, Start::AtPlace { place: place("b.000010", 154), done: Some(set(&unused, "")) });
    let purged = CdcStart::Place { binlog_filename: "b.000004".into(), binlog_position: 154 };
    refused(begun(&facts, purged, false), &["missing: b.000004 to the one before b.000009"]);
}

#[test]
fn a_configured_set_must_cover_what_is_purged_and_be_one_of_the_servers() {
    let facts = mysql();
    let from = |text: &str| CdcStart::AfterGtids(text.into());
    let begins = begun(&facts, from(&format!("{UUID}:1-20")), true).expect("can begin");
    assert_eq!(begins, Start::AfterGtids { done: set(&facts, &format!("{UUID}:1-20")), moved_from: None });
    refused(
        begun(&facts, from(&format!("{UUID}:1-5:8-20")), true),
        &[&format!("missing: {UUID}:6-7, transactions: 2"), "by hand"],
    );
    refused(begun(&facts, from(&format!("{UUID}:1-20,{OTHER}:1-3")), true), &[&format!("unknown to it: {OTHER}:1-3")]);
    let error = begun(&facts, from("0-1-5"), true).expect_err("is of MariaDB");
    assert_eq!(error.class(), ErrorClass::Config);
    assert!(error.to_string().contains("the source is MySQL"), "{error}");
}

#[test]
fn a_stored_place_goes_on_with_its_set() {
    let facts = mysql();
    let done = format!("{UUID}:1-20");
    for source in [None, Some(UUID)] {
        let begins = resumed(&facts, false, &stored("b.000010", 154, &done, source)).expect("goes on");
        assert_eq!(begins, Start::AtPlace { place: place("b.000010", 154), done: Some(set(&facts, &done)) });
        let begins = resumed(&facts, true, &stored("b.000010", 154, &done, source)).expect("goes on");
        assert_eq!(begins, Start::AfterGtids { done: set(&facts, &done), moved_from: None });
    }
}

#[test]
fn a_place_that_an_older_tool_stored_without_a_set_goes_on_by_place() {
    for gtid_enabled in [false, true] {
        let begins = resumed(&mysql(), gtid_enabled, &stored("b.000010", 154, "", None)).expect("goes on");
        assert_eq!(begins, Start::AtPlace { place: place("b.000010", 154), done: None });
    }
}

#[test]
fn a_stored_place_that_is_gone_is_never_replaced_by_another() {
    let facts = mysql();
    refused(resumed(&facts, false, &stored("b.000004", 154, "", None)), &["purged", "missing: b.000004"]);
    refused(resumed(&facts, false, &stored("b.000011", 154, "", None)), &["not the source's"]);
    refused(resumed(&facts, false, &stored("b.000009", 501, "", None)), &["behind the end"]);
    refused(resumed(&facts, false, &stored("", 0, "", None)), &["names no binlog file", "resume_type=dummy"]);
    let only_set = stored("", 0, &format!("{UUID}:1-20"), None);
    refused(resumed(&facts, false, &only_set), &["gtid_enabled=true"]);
    refused(resumed(&facts, false, &stored("b.000010", 154, "0-1-5", None)), &["cannot be read", "`0-1-5`"]);
}

#[test]
fn a_place_of_another_server_is_refused_unless_the_user_says_that_it_is_the_same_log() {
    let facts = mysql();
    let bare = stored("b.000010", 154, "", Some(OTHER));
    refused(resumed(&facts, false, &bare), &[OTHER, UUID, "allow_other_server=true"]);
    refused(resumed(&facts, true, &bare), &["allow_other_server=true"]);
    let with_set = stored("b.000010", 154, &format!("{UUID}:1-20"), Some(OTHER));
    refused(resumed(&facts, false, &with_set), &["gtid_enabled=true"]);
    let accepted = start(&facts, &options(CdcStart::Now, false), Some(&bare), Accept::AnyServer).expect("goes on");
    assert_eq!(accepted, Start::AtPlace { place: place("b.000010", 154), done: None });
}

#[test]
fn a_fail_over_by_gtid_is_accepted_when_the_sets_fit() {
    let facts = mysql();
    let text = format!("{UUID}:1-20");
    // The other server's file and place mean nothing here and are not looked at.
    let begins = resumed(&facts, true, &stored("x.000777", 1, &text, Some(OTHER))).expect("goes on");
    assert_eq!(begins, Start::AfterGtids { done: set(&facts, &text), moved_from: Some(OTHER.into()) });
    refused(resumed(&facts, true, &stored("x.1", 1, &format!("{UUID}:1-9"), Some(OTHER))), &["missing", ":10"]);
    refused(
        resumed(&facts, true, &stored("x.1", 1, &format!("{UUID}:1-101"), Some(OTHER))),
        &[&format!("unknown to it: {UUID}:101, transactions: 1"), "lags behind"],
    );
}

#[test]
fn a_server_set_back_to_a_backup_is_noticed_by_its_set_even_where_files_have_the_same_names() {
    let ahead = stored("b.000010", 154, &format!("{UUID}:1-120"), Some(UUID));
    refused(resumed(&mysql(), false, &ahead), &[&format!("unknown to it: {UUID}:101-120")]);
}

#[test]
fn mariadb_goes_on_by_domain() {
    let facts = mariadb();
    let begins = resumed(&facts, true, &stored("", 0, "0-1-20,1-1-3", Some(OTHER))).expect("goes on");
    let Start::AfterGtids { done, moved_from } = begins else { panic!("not by GTID") };
    assert_eq!((done.to_string().as_str(), moved_from.as_deref()), ("0-1-20,1-1-3", Some(OTHER)));
    // A domain without a position is read from its first transaction, which is still there.
    resumed(&facts, true, &stored("", 0, "0-1-20", None)).expect("goes on");
    refused(
        resumed(&facts, true, &stored("", 0, "1-1-3", None)),
        &["missing: domain 0 up to 0-1-10, transactions: 10"],
    );
    refused(resumed(&facts, true, &stored("", 0, "0-1-9", None)), &["missing: domain 0 after 0-1-9 up to 0-1-10"]);
    refused(resumed(&facts, true, &stored("", 0, "0-1-20,2-1-1", None)), &["unknown to it: domain 2 up to 2-1-1"]);
    refused(resumed(&facts, true, &stored("", 0, "0-2-100", None)), &["domain 0: 0-2-100 instead of 0-1-100"]);
}

#[test]
fn mariadb_is_not_asked_for_a_place_that_it_cannot_be_told() {
    let far = stored("b.000010", 1 << 32, "0-1-20", None);
    refused(resumed(&mariadb(), false, &far), &["4 GiB", "gtid_enabled=true"]);
    resumed(&mariadb(), true, &far).expect("goes on by GTID");
    refused(begun(&mariadb(), CdcStart::Now, false), &["4 GiB"]);
    resumed(&mysql(), false, &stored("b.000010", 1 << 32, "", None)).expect("MySQL can");
}

#[test]
fn a_time_is_left_to_the_files() {
    for gtid_enabled in [false, true] {
        let begins = begun(&mysql(), CdcStart::Time(77), gtid_enabled).expect("can begin");
        assert_eq!(begins, Start::AtTime { time: 77 });
    }
}
