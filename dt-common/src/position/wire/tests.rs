use super::*;
use proptest::prelude::*;

use crate::position::{Behind, Counted, Share};

fn error(json: &str) -> WireError {
    from_json(json).expect_err(json)
}

#[test]
fn what_is_not_a_position_is_an_error_that_names_what() {
    assert!(matches!(error("{"), WireError::NotJson(_)));
    assert!(matches!(error(r#"{"type":"None"} x"#), WireError::NotJson(_)));
    for no_type in ["{}", "[]", "7", "null", r#""Nothing""#, r#"{"type":1}"#, r#"{"a":{},"b":{}}"#, r#"{"PgCdc":1}"#] {
        assert_eq!(error(no_type), WireError::NoType, "{no_type}");
    }
    assert_eq!(error(r#"{"type":"Kafka","topic":"t"}"#), WireError::UnknownType("Kafka".to_owned()));
    assert_eq!(error(r#"{"Kafka":{}}"#), WireError::UnknownType("Kafka".to_owned()));
    assert_eq!(
        error(r#"{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b"}"#),
        WireError::Missing { kind: "RdbSnapshot", field: "order_col" }
    );
    assert_eq!(
        error(r#"{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b","order_col":"id"}"#),
        WireError::Missing { kind: "RdbSnapshot", field: "value" }
    );
    assert_eq!(
        error(r#"{"type":"RdbSnapshotFinished","db_type":"oracle","schema":"a","tb":"b"}"#).to_string(),
        "`oracle` is not a known database type (mysql, pg, mongo, redis)"
    );
    assert_eq!(
        error(r#"{"type":"MysqlCdc","server_id":"","binlog_filename":"f","next_event_position":-1,"timestamp":""}"#)
            .to_string(),
        "the field `next_event_position` of MysqlCdc is not a whole number of 64 bits without a sign"
    );
    assert_eq!(error(r#"{"type":"PgCdc","lsn":"0/1"}"#).to_string(), "PgCdc lacks the field `timestamp`");
    assert_eq!(
        error(r#"{"type":"PgCdc","lsn":"0/1","timestamp":"","slot":"s"}"#).to_string(),
        "PgCdc lacks the field `timeline`"
    );
}

#[test]
fn a_place_in_a_write_ahead_log_is_read_with_and_without_whose_it_is() {
    let older = r#"{"type":"PgCdc","lsn":"0/406E2C30","timestamp":"2024-03-29 07:02:24.463776 UTC"}"#;
    let nested = r#"{"PgCdc":{"lsn":"0/406E2C30","timestamp":"2024-03-29 07:02:24.463776 UTC"}}"#;
    let position = from_json(older).expect("is a position");
    assert_eq!(from_json(nested), Ok(position.clone()));
    assert_eq!(to_json(&position), older);
    let ours = r#"{"type":"PgCdc","lsn":"0/406E2C30","timestamp":"","slot":"dt_1","timeline":1,"source":"7/shop","target":"8/shop"}"#;
    let Ok(Position::PgCdc(read)) = from_json(ours) else { panic!("is a position") };
    assert_eq!(read.origin, Some(PgOrigin { slot: "dt_1".to_owned(), timeline: 1 }));
    assert_eq!(read.lineage.source.as_deref(), Some("7/shop"));
    assert_eq!(to_json(&Position::PgCdc(read)), ours);
}

#[test]
fn bounds_that_are_none_are_an_error() {
    let with = |rest: &str| format!(r#"{{"type":"RdbSnapshotSplit","db_type":"mysql","schema":"a","tb":"b",{rest}}}"#);
    for bad in [
        r#""bounds":[["1"]]"#,
        r#""cols":["id"]"#,
        r#""cols":["id"],"bounds":["1"]"#,
        r#""cols":["id"],"bounds":[["1","2"]]"#,
        r#""cols":["id"],"bounds":[[null]]"#,
        r#""cols":["id"],"bounds":[[7]]"#,
        r#""cols":["id"],"bounds":[[{"hex":"f"}]]"#,
        r#""cols":[],"bounds":[[]]"#,
    ] {
        let json = with(bad);
        assert!(matches!(error(&json), WireError::Missing { .. } | WireError::WrongType { .. }), "{json}");
    }
    let chunk = r#"{"type":"RdbSnapshotChunkFinished","db_type":"mysql","schema":"a","tb":"b","split":"1","chunk":0}"#;
    assert_eq!(error(chunk).to_string(), "the field `split` of RdbSnapshotChunkFinished is not 16 hexadecimal digits");
}

#[test]
fn a_key_that_is_not_one_is_an_error() {
    let with = |rest: &str| format!(r#"{{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b",{rest}}}"#);
    for bad in [
        r#""order_col":"id","value":6"#,
        r#""order_col":7,"value":"6""#,
        r#""order_key":[]"#,
        r#""order_key":{}"#,
        r#""order_key":{"single":["id"]}"#,
        r#""order_key":{"single":["id",6]}"#,
        r#""order_key":{"single":["id","6"],"composite":[]}"#,
        r#""order_key":{"composite":[]}"#,
        r#""order_key":{"composite":[["a","1"],["a","2"]]}"#,
        r#""order_key":{"composite":[["a","1","2"]]}"#,
        r#""order_col":"id","value":"0g","hex":["id"]"#,
        r#""order_col":"id","value":"abc","hex":["id"]"#,
        r#""order_col":"id","value":"+a","hex":["id"]"#,
        r#""order_col":"id","value":"ab","hex":["other"]"#,
        r#""order_col":"id","value":"ab","hex":"id""#,
        r#""order_col":"id","value":"6","null_keys_done":"yes""#,
        r#""order_col":"id","value":"6","source":null"#,
    ] {
        assert!(matches!(error(&with(bad)), WireError::WrongType { .. }), "{bad}");
    }
}

#[test]
fn an_error_never_shows_a_value() {
    let secret = "s3cr3t";
    for json in [
        format!(
            r#"{{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b","order_col":"id","value":["{secret}"]}}"#
        ),
        format!(
            r#"{{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b","order_col":"id","value":"{secret}","hex":["id"]}}"#
        ),
        format!(r#"{{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b","order_col":"id","value":"{secret}"#),
        format!(
            r#"{{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b","order_col":"id","value":{secret}}}"#
        ),
        format!(r#"{{"type":"PgCdc","lsn":["{secret}"],"timestamp":""}}"#),
    ] {
        let shown = error(&json).to_string();
        assert!(!shown.contains(secret), "{shown}");
    }
}

fn key_text() -> impl Strategy<Value = KeyText> {
    prop_oneof![
        Just(KeyText::Null),
        any::<String>().prop_map(KeyText::Text),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(KeyText::Bytes),
    ]
}

fn order_key() -> impl Strategy<Value = OrderKey> {
    proptest::collection::btree_map(any::<String>(), key_text(), 1..4).prop_map(|parts| {
        let parts = parts.into_iter().map(|(column, value)| KeyPart { column, value }).collect();
        OrderKey::new(parts).expect("at least one part")
    })
}

fn db_type() -> impl Strategy<Value = DbType> {
    prop_oneof![Just(DbType::Mysql), Just(DbType::Pg), Just(DbType::Mongo), Just(DbType::Redis)]
}

fn table() -> impl Strategy<Value = TableId> {
    (any::<String>(), any::<String>()).prop_map(|(schema, table)| TableId { schema, table })
}

fn behind() -> impl Strategy<Value = Option<Behind>> {
    let plain = (1..u64::MAX, any::<String>());
    let plain = plain.prop_map(|(changes, filter)| Behind { changes, filter, counted: None });
    let counted = (0..u64::MAX / 2, any::<String>(), 0..u64::MAX / 2, share());
    let counted = counted.prop_map(|(changes, filter, before, share)| Behind {
        changes,
        filter,
        counted: Some(Box::new(Counted { before, share })),
    });
    proptest::option::of(prop_oneof![plain, counted])
}

fn share() -> impl Strategy<Value = Share> {
    let lane = (0..1000_u32, 1..1000_u32).prop_map(|(no, more)| Share::Lane { no, of: no + more });
    let by = proptest::option::of(proptest::collection::vec(0..1000_usize, 0..4));
    let table = (any::<String>(), any::<String>(), by)
        .prop_map(|(schema, table, by)| Share::Table { table: TableId::new(schema, table), by });
    prop_oneof![Just(Share::All), lane, table]
}

fn lineage() -> impl Strategy<Value = Lineage> {
    (any::<Option<String>>(), any::<Option<String>>()).prop_map(|(source, target)| Lineage { source, target })
}

fn chunk() -> impl Strategy<Value = Option<Chunk>> {
    any::<Option<(u64, u32)>>().prop_map(|chunk| {
        chunk.map(|(split, no)| Chunk { split: SplitId::parse(&format!("{split:016x}")).expect("16 digits"), no })
    })
}

fn bounds() -> impl Strategy<Value = Vec<OrderKey>> {
    let value = prop_oneof![
        any::<String>().prop_map(KeyText::Text),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(KeyText::Bytes),
    ];
    let columns = proptest::collection::btree_set(any::<String>(), 1..4);
    (columns, proptest::collection::vec(proptest::collection::vec(value, 3), 0..4)).prop_map(|(columns, bounds)| {
        let key = |values: Vec<KeyText>| {
            let parts = columns.iter().zip(values).map(|(column, value)| KeyPart { column: column.clone(), value });
            OrderKey::new(parts.collect()).expect("at least one part")
        };
        bounds.into_iter().map(key).collect()
    })
}

fn position() -> impl Strategy<Value = Position> {
    let text = any::<String>;
    prop_oneof![
        Just(Position::None),
        (db_type(), table(), chunk(), order_key(), any::<bool>(), lineage()).prop_map(
            |(db_type, table, chunk, key, null_keys_done, lineage)| Position::RdbSnapshot(RdbSnapshot {
                db_type,
                table,
                chunk,
                key,
                null_keys_done,
                lineage
            })
        ),
        (db_type(), table(), chunk(), any::<u64>(), lineage()).prop_map(|(db_type, table, chunk, rows, lineage)| {
            Position::RdbSnapshotRows(RdbSnapshotRows { db_type, table, chunk, rows, lineage })
        }),
        (db_type(), table(), chunk(), lineage()).prop_map(|(db_type, table, chunk, lineage)| {
            Position::RdbSnapshotFinished(RdbSnapshotFinished { db_type, table, chunk, lineage })
        }),
        (db_type(), table(), bounds(), lineage()).prop_map(|(db_type, table, bounds, lineage)| {
            Position::RdbSnapshotSplit(RdbSnapshotSplit { db_type, table, bounds, lineage })
        }),
        (text(), text(), any::<u64>(), text(), text(), behind(), lineage()).prop_map(
            |(server_id, binlog_filename, next_event_position, gtid_set, timestamp, behind, lineage)| {
                Position::MysqlCdc(MysqlCdc {
                    behind,
                    server_id,
                    binlog_filename,
                    next_event_position,
                    gtid_set,
                    timestamp,
                    lineage,
                })
            }
        ),
        (text(), text(), any::<Option<(String, u32)>>(), behind(), lineage()).prop_map(
            |(lsn, timestamp, origin, behind, lineage)| {
                let origin = origin.map(|(slot, timeline)| PgOrigin { slot, timeline });
                Position::PgCdc(PgCdc { behind, lsn, timestamp, origin, lineage })
            }
        ),
        (text(), any::<u64>(), any::<Option<u32>>(), text(), lineage()).prop_map(
            |(resume_token, operation_time, increment, timestamp, lineage)| Position::MongoCdc(MongoCdc {
                resume_token,
                operation_time,
                increment,
                timestamp,
                lineage
            })
        ),
        (text(), any::<u64>(), any::<u64>(), any::<i64>(), text()).prop_map(
            |(repl_id, repl_port, repl_offset, now_db_id, timestamp)| Position::Redis(Redis {
                repl_id,
                repl_port,
                repl_offset,
                now_db_id,
                timestamp
            })
        ),
    ]
}

proptest! {
    #[test]
    fn every_position_comes_back_as_it_was_written_and_takes_one_line(position in position()) {
        let json = to_json(&position);
        prop_assert!(!json.contains(['\n', '\r']));
        prop_assert_eq!(from_json(&json), Ok(position));
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".{0,200}") {
        let _ = from_json(&text);
    }
}
