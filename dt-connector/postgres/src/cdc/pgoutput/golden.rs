//! Messages byte by byte, as the documentation lays them out.

use super::*;

/// A message put together from fields.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(kind: u8) -> Self {
        Bytes(vec![kind])
    }

    fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    fn i16(mut self, number: i16) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i32(mut self, number: i32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn i64(mut self, number: i64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    fn string(mut self, text: &str) -> Self {
        self.0.extend(text.as_bytes());
        self.0.push(0);
        self
    }

    fn text(self, text: &[u8]) -> Self {
        let mut with = self.byte(b't').i32(text.len() as i32);
        with.0.extend(text);
        with
    }
}

fn read(bytes: &Bytes) -> Message<'_> {
    parse(&bytes.0, Within::Committed).expect("is a message")
}

#[test]
fn a_transaction_begins_and_ends() {
    let begin = Bytes::of(b'B').i64(0x0159_4048).i64(720_000_000_000_000).i32(742);
    assert_eq!(
        read(&begin),
        Message::Begin { final_lsn: Lsn(0x0159_4048), committed: Moment(720_000_000_000_000), xid: 742 }
    );
    let commit = Bytes::of(b'C').byte(0).i64(0x0159_4048).i64(0x0159_4078).i64(-1);
    assert_eq!(
        read(&commit),
        Message::Commit { lsn: Lsn(0x0159_4048), end_lsn: Lsn(0x0159_4078), committed: Moment(-1) }
    );
    let origin = Bytes::of(b'O').i64(7).string("node_1");
    assert_eq!(read(&origin), Message::Origin);
}

#[test]
fn a_relation_has_names_identity_and_columns() {
    let bytes = Bytes::of(b'R')
        .i32(16_394)
        .string("public")
        .string("Odd \"name\"")
        .byte(b'd')
        .i16(2)
        .byte(1)
        .string("id")
        .i32(23)
        .i32(-1)
        .byte(0)
        .string("größe")
        .i32(1043)
        .i32(24);
    let column = |in_key, name: &str, type_oid, type_modifier| RelationColumn {
        in_key,
        name: name.to_owned(),
        type_oid,
        type_modifier,
    };
    assert_eq!(
        read(&bytes),
        Message::Relation(Relation {
            oid: 16_394,
            schema: "public".to_owned(),
            table: "Odd \"name\"".to_owned(),
            identity: Identity::Default,
            columns: vec![column(true, "id", 23, -1), column(false, "größe", 1043, 24)],
        })
    );
    let own = Bytes::of(b'R').i32(1).string("").string("t").byte(b'f').i16(0);
    let Message::Relation(relation) = read(&own) else { panic!("is a relation") };
    assert_eq!((relation.schema.as_str(), relation.identity), ("pg_catalog", Identity::Full));
    let named = Bytes::of(b'Y').i32(16_400).string("public").string("mood");
    assert_eq!(read(&named), Message::Type { oid: 16_400, schema: "public", name: "mood" });
}

#[test]
fn an_insert_has_the_new_row() {
    let bytes = Bytes::of(b'I').i32(16_394).byte(b'N').i16(4).text(b"7").byte(b'n').text(b"").byte(b'u');
    let Message::Insert { relation, new } = read(&bytes) else { panic!("is an insert") };
    assert_eq!((relation, new.columns()), (16_394, 4));
    assert_eq!(
        new.fields().collect::<Vec<_>>(),
        [Field::Text(b"7"), Field::Null, Field::Text(b""), Field::Unchanged],
        "null, an empty text and what did not change are three things"
    );
}

#[test]
fn an_update_may_say_what_the_row_was() {
    let plain = Bytes::of(b'U').i32(1).byte(b'N').i16(1).text(b"7");
    let Message::Update { old: None, new, .. } = read(&plain) else { panic!("is an update without an old row") };
    assert_eq!(new.fields().collect::<Vec<_>>(), [Field::Text(b"7")]);
    for (marker, key_only) in [(b'K', true), (b'O', false)] {
        let bytes = Bytes::of(b'U').i32(1).byte(marker).i16(1).text(b"6").byte(b'N').i16(1).text(b"7");
        let Message::Update { old: Some(old), new, .. } = read(&bytes) else { panic!("is an update with an old row") };
        assert_eq!(old.key_only, key_only);
        assert_eq!(old.tuple.fields().collect::<Vec<_>>(), [Field::Text(b"6")]);
        assert_eq!(new.fields().collect::<Vec<_>>(), [Field::Text(b"7")]);
        let bytes = Bytes::of(b'D').i32(1).byte(marker).i16(1).text(b"6");
        let Message::Delete { old, .. } = read(&bytes) else { panic!("is a delete") };
        assert_eq!(old.key_only, key_only);
    }
}

#[test]
fn a_truncate_lists_its_tables() {
    let bytes = Bytes::of(b'T').i32(2).byte(3).i32(16_394).i32(16_397);
    assert_eq!(read(&bytes), Message::Truncate { restart_identity: true, relations: vec![16_394, 16_397] });
    let bytes = Bytes::of(b'T').i32(1).byte(1).i32(5);
    assert_eq!(read(&bytes), Message::Truncate { restart_identity: false, relations: vec![5] });
}

#[test]
fn a_logical_message_has_a_prefix() {
    let mut bytes = Bytes::of(b'M').byte(1).i64(99).string("dt").i32(2);
    bytes.0.extend([1, 2]);
    assert_eq!(read(&bytes), Message::Logical { transactional: true, prefix: "dt" });
}

#[test]
fn a_streamed_transaction_starts_stops_and_ends() {
    assert_eq!(read(&Bytes::of(b'S').i32(742).byte(1)), Message::StreamStart { xid: 742, first: true });
    assert_eq!(read(&Bytes::of(b'S').i32(742).byte(0)), Message::StreamStart { xid: 742, first: false });
    assert_eq!(read(&Bytes::of(b'E')), Message::StreamStop);
    let commit = Bytes::of(b'c').i32(742).byte(0).i64(10).i64(20).i64(30);
    assert_eq!(
        read(&commit),
        Message::StreamCommit { xid: 742, lsn: Lsn(10), end_lsn: Lsn(20), committed: Moment(30) }
    );
    assert_eq!(read(&Bytes::of(b'A').i32(742).i32(743)), Message::StreamAbort { xid: 742, subxid: 743 });
}

#[test]
fn what_is_streamed_names_its_subtransaction() {
    let bytes = Bytes::of(b'I').i32(743).i32(16_394).byte(b'N').i16(1).text(b"7");
    assert_eq!(subtransaction(&bytes.0), Ok(Some(743)));
    let message = parse(&bytes.0, Within::Streamed).expect("is a message");
    assert!(matches!(message, Message::Insert { relation: 16_394, .. }));
    assert!(parse(&bytes.0, Within::Committed).is_err(), "the two forms cannot be confused");
    assert_eq!(subtransaction(&Bytes::of(b'E').0), Ok(None));
}

#[test]
fn what_is_not_understood_is_refused_by_its_kind() {
    let error = |bytes: &Bytes| parse(&bytes.0, Within::Committed).expect_err("is no message");
    assert_eq!(parse(&[], Within::Committed), Err(BadMessage::Empty));
    assert_eq!(error(&Bytes::of(b'P').i32(1)).to_string(), "a message of the unknown kind 'P' (0x50)");
    assert_eq!(error(&Bytes::of(b'B').i64(1)).to_string(), "a message of kind 'B' (0x42) that ends too early");
    let long = Bytes::of(b'E').byte(0);
    assert_eq!(error(&long).to_string(), "a message of kind 'E' (0x45) with 1 bytes too many");
    let binary = Bytes::of(b'I').i32(1).byte(b'N').i16(1).byte(b'b').i32(0);
    assert!(error(&binary).to_string().contains("binary form"));
    for bad in [
        Bytes::of(b'C').byte(1).i64(1).i64(1).i64(1),
        Bytes::of(b'I').i32(1).byte(b'O').i16(0),
        Bytes::of(b'U').i32(1).byte(b'K').i16(0).byte(b'K').i16(0),
        Bytes::of(b'D').i32(1).byte(b'N').i16(0),
        Bytes::of(b'I').i32(1).byte(b'N').i16(-1),
        Bytes::of(b'I').i32(1).byte(b'N').i16(1).byte(b't').i32(-1),
        Bytes::of(b'I').i32(1).byte(b'N').i16(1).byte(b'x'),
        Bytes::of(b'T').i32(1).byte(4).i32(1),
        Bytes::of(b'T').i32(i32::MAX).byte(0).i32(1),
        Bytes::of(b'R').i32(1).string("s").string("t").byte(b'x').i16(0),
        Bytes::of(b'S').i32(1).byte(2),
    ] {
        error(&bad);
    }
}

#[test]
fn no_prefix_of_a_message_is_a_message() {
    let whole = [
        Bytes::of(b'B').i64(1).i64(2).i32(3),
        Bytes::of(b'U').i32(1).byte(b'K').i16(1).text(b"abc").byte(b'N').i16(2).text(b"7").byte(b'n'),
        Bytes::of(b'R').i32(1).string("s").string("t").byte(b'i').i16(1).byte(1).string("c").i32(23).i32(-1),
        Bytes::of(b'T').i32(2).byte(0).i32(1).i32(2),
    ];
    for bytes in whole {
        for end in 0..bytes.0.len() {
            assert!(parse(&bytes.0[..end], Within::Committed).is_err(), "{end}");
        }
    }
}
