//! Which events end a transaction, and where the stream can be resumed after each.

use super::*;
use crate::cdc::binlog::{EventType, Header, MariadbXa, Rotate, XaPrepare};
use crate::cdc::gtid::GtidSet;
use crate::connect::Flavor;

fn event(body: Body, log_pos: u32) -> Event {
    let header = Header { timestamp: 7, event_type: EventType::QUERY, server_id: 1, event_size: 0, log_pos, flags: 0 };
    Event { header, body }
}

fn query(sql: &str) -> Body {
    Body::Query(Query {
        schema: String::new(),
        sql: Bytes::copy_from_slice(sql.as_bytes()),
        error_code: 0,
        sql_mode: None,
        client_collation: None,
        connection_collation: None,
        server_collation: None,
        schema_collation: None,
        ddl_xid: None,
    })
}

fn gtid(sequence: u64, xa: Option<MariadbXa>) -> Body {
    let gtid = binlog::MariadbGtid { domain: 0, server: 1, sequence };
    let standalone = matches!(xa, Some(MariadbXa::Completed(_)));
    Body::MariadbGtid(MariadbGtidEvent { gtid, standalone, transactional: true, ddl: false, xa, alter: None })
}

fn xid(name: &str) -> Xid {
    Xid { format: 1, global: name.as_bytes().to_vec(), branch: Vec::new() }
}

fn assembler() -> Assembler {
    let gtids = GtidSet::parse(Flavor::Mariadb, "0-1-5").expect("a set");
    let place = Place { file: "b.000001".to_owned(), offset: 100, gtids: Some(gtids) };
    Assembler::new(place, Events::ALL, Lineage::default(), 0)
}

fn take_in(assembler: &mut Assembler, events: impl IntoIterator<Item = (Body, u32)>) {
    for (body, log_pos) in events {
        assembler.on(event(body, log_pos)).expect("understood");
    }
}

fn resumes_at(assembler: &Assembler) -> (u64, String) {
    let place = assembler.checkpoint().place;
    (place.offset, place.gtids.map(|gtids| gtids.to_string()).unwrap_or_default())
}

#[test]
fn only_the_end_of_a_transaction_is_a_checkpoint() {
    let mut assembler = assembler();
    take_in(&mut assembler, [(gtid(6, None), 140), (query("SAVEPOINT a"), 180)]);
    assert!(assembler.in_transaction());
    assert_eq!(resumes_at(&assembler), (100, "0-1-5".to_owned()));
    take_in(&mut assembler, [(Body::Xid(3), 200)]);
    assert_eq!(resumes_at(&assembler), (200, "0-1-6".to_owned()));
}

#[test]
fn a_prepared_transaction_holds_the_checkpoint_until_it_is_committed_or_rolled_back() {
    for end in ["XA COMMIT X'61',X'',1", "XA ROLLBACK X'61',X'',1"] {
        let mut assembler = assembler();
        let prepared = XaPrepare { xid: xid("a"), one_phase: false };
        let events = [
            (gtid(6, Some(MariadbXa::Prepared(xid("a")))), 140),
            (query("XA END X'61',X'',1"), 180),
            (Body::XaPrepare(prepared), 200),
            (gtid(7, None), 240),
            (Body::Xid(3), 260),
        ];
        take_in(&mut assembler, events);
        assert!(!assembler.in_transaction());
        assert_eq!(resumes_at(&assembler), (100, "0-1-5".to_owned()), "before what is prepared");
        take_in(&mut assembler, [(gtid(8, Some(MariadbXa::Completed(xid("a")))), 300), (query(end), 340)]);
        assert_eq!(resumes_at(&assembler), (340, "0-1-8".to_owned()), "{end}");
    }
}

#[test]
fn a_commit_of_what_was_prepared_before_the_stream_began_is_refused() {
    let mut assembler = assembler();
    take_in(&mut assembler, [(gtid(6, Some(MariadbXa::Completed(xid("a")))), 140)]);
    let error = assembler.on(event(query("XA COMMIT X'61',X'',1"), 180)).expect_err("nothing is known of it");
    assert!(error.to_string().contains("prepared before the stream began"), "{error}");
}

#[test]
fn the_next_file_is_a_checkpoint_between_transactions() {
    let mut assembler = assembler();
    take_in(&mut assembler, [(Body::Rotate(Rotate { position: 4, file: "b.000002".to_owned() }), 150)]);
    assert_eq!(resumes_at(&assembler).0, 4);
    assert_eq!(assembler.checkpoint().place.file, "b.000002");
}
