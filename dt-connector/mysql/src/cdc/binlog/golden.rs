//! What is read from files that real servers wrote (MySQL 9.7, MariaDB 10.11), against what is known from the
//! statements they were made with; those are in `testdata/binlog/README.md`.

use bytes::Bytes;

use super::*;

/// A file, cut into events by what their headers say.
pub(super) fn events_of(file: &str) -> Vec<Bytes> {
    let path = format!("{}/testdata/binlog/{file}", env!("CARGO_MANIFEST_DIR"));
    let bytes = Bytes::from(std::fs::read(&path).expect("a file in testdata"));
    assert!(bytes.starts_with(b"\xfebin"), "{file} is no binlog");
    let (mut at, mut events) = (4, Vec::new());
    while at < bytes.len() {
        let end = at + Header::parse(&bytes[at..]).expect("a header").event_size as usize;
        events.push(bytes.slice(at..end));
        at = end;
    }
    events
}

/// All files.
pub(super) const FILES: [&str; 11] = [
    "mysql-full.binlog",
    "mysql-minimal-no-checksum.binlog",
    "mysql-compressed.binlog",
    "mysql-tagged.binlog",
    "mysql-tagged-previous.binlog",
    "mysql-partial-json.binlog",
    "mysql-xa.binlog",
    "mysql-statement.binlog",
    "mysql-anonymous.binlog",
    "mariadb-full.binlog",
    "mariadb-compressed.binlog",
];

fn parse_all(file: &str) -> Vec<Result<Event, BadEvent>> {
    let mut format = Format::UNANNOUNCED;
    let parse = |bytes| {
        let event = Event::parse(bytes, format);
        if let Ok(Event { body: Body::FormatDescription(description), .. }) = &event {
            format = description.format;
        }
        event
    };
    events_of(file).into_iter().map(parse).collect()
}

fn read(file: &str) -> Vec<Event> {
    parse_all(file).into_iter().collect::<Result<_, _>>().expect(file)
}

fn of<T>(events: &[Event], pick: impl FnMut(&Event) -> Option<T>) -> Vec<T> {
    events.iter().filter_map(pick).collect()
}

fn maps(events: &[Event]) -> Vec<TableMap> {
    of(events, |event| match &event.body {
        Body::TableMap(map) => Some(map.clone()),
        _ => None,
    })
}

fn rows(events: &[Event]) -> Vec<RowsEvent> {
    of(events, |event| match &event.body {
        Body::Rows(rows) => Some(rows.clone()),
        _ => None,
    })
}

fn queries(events: &[Event]) -> Vec<Query> {
    of(events, |event| match &event.body {
        Body::Query(query) => Some(query.clone()),
        _ => None,
    })
}

fn types(events: &[Event]) -> Vec<u8> {
    events.iter().map(|event| event.header.event_type.0).collect()
}

/// Table `d.a` of the README: its columns' names and what they are on MySQL's wire.
const A: [(&str, u8, u16); 23] = [
    ("id", kind::LONG, 0),
    ("t", kind::TINY, 0),
    ("y", kind::YEAR, 0),
    ("f", kind::FLOAT, 4),
    ("de", kind::NEWDECIMAL, 12 << 8 | 3),
    ("b", kind::BIT, 1 << 8 | 3),
    ("c", kind::STRING, 3),
    ("v", kind::VARCHAR, 1200),
    ("bl", kind::BLOB, 3),
    ("tx", kind::BLOB, 2),
    ("e", kind::ENUM, 1),
    ("s", kind::SET, 1),
    ("g", kind::GEOMETRY, 4),
    ("j", kind::JSON, 4),
    ("vb", kind::VARCHAR, 7),
    ("bn", kind::STRING, 4),
    ("dt", kind::DATETIME2, 6),
    ("ts", kind::TIMESTAMP2, 2),
    ("ti", kind::TIME2, 3),
    ("da", kind::DATE, 0),
    ("bg", kind::LONGLONG, 0),
    ("ve", kind::VECTOR, 4),
    ("inv", kind::LONG, 0),
];
const A_UNSIGNED: [&str; 5] = ["id", "y", "f", "de", "bg"];

fn names_where<T: Copy>(map: &TableMap, values: &[T], holds: impl Fn(T) -> bool) -> Vec<&'static str> {
    assert_eq!(values.len(), map.columns.len());
    let held = values.iter().zip(A).filter(|(value, _)| holds(**value));
    held.map(|(_, (name, _, _))| name).collect()
}

fn assert_is_a(map: &TableMap) {
    assert_eq!((map.schema.as_str(), map.table.as_str()), ("d", "a"));
    let wire: Vec<(u8, u16)> = map.columns.iter().map(|column| (column.kind, column.meta)).collect();
    assert_eq!(wire, A.map(|(_, kind, meta)| (kind, meta)));
    let nullable: Vec<bool> = map.columns.iter().map(|column| column.nullable).collect();
    assert_eq!(names_where(map, &nullable, |nullable| !nullable), ["id", "t"]);
    let unsigned = map.unsigned.as_deref().expect("the server says which columns are unsigned");
    assert_eq!(names_where(map, unsigned, |unsigned| unsigned), A_UNSIGNED);
    assert_eq!(map.geometry_types[12], Some(1));
    assert_eq!(map.dimensions[21], Some(3));
}

#[test]
fn each_file_is_read_to_its_end_and_positions_follow_from_sizes() {
    for file in FILES {
        let mut at = 4;
        for (event, bytes) in parse_all(file).into_iter().zip(events_of(file)) {
            at += bytes.len();
            match event {
                Ok(event) => assert_eq!(event.header.log_pos as usize, at, "{file}"),
                Err(bad) => assert_eq!((file, bad.problem), ("mysql-statement.binlog", Problem::StatementFormat)),
            }
        }
        let last = parse_all(file).pop().expect("events").expect("a rotation");
        assert!(matches!(&last.body, Body::Rotate(next) if next.position == 4), "{file} ends with {last:?}");
    }
}

#[test]
fn full_metadata_names_columns_labels_keys_and_collations() {
    let events = read("mysql-full.binlog");
    let Body::FormatDescription(description) = &events[0].body else { panic!("{:?}", events[0]) };
    assert!(description.server_version.starts_with("9.7."));
    assert_eq!(description.format, Format { checksum: Checksum::Crc32, mariadb: false });
    assert!(events.iter().any(|event| event.header.event_type == EventType::ROWS_QUERY && event.body == Body::Note));
    let maps = maps(&events);
    let tables: Vec<&str> = maps.iter().map(|map| map.table.as_str()).collect();
    assert_eq!(tables, ["a", "a", "a", "p", "k", "m"]);
    let a = &maps[0];
    assert_is_a(a);
    assert_eq!(a.names.as_deref().expect("names"), A.map(|(name, _, _)| name));
    let labels = |column: usize| &a.enum_values.as_ref().expect("labels")[column];
    assert_eq!(labels(10), &[b"x".to_vec(), b"it's,\"\xfc\"".to_vec()]);
    assert!(labels(11).is_empty());
    assert_eq!(a.set_values.as_ref().expect("labels")[11], [b"p", b"q", b"r"]);
    let collations = [(6, 8), (7, 255), (8, 63), (9, 28), (10, 8), (11, 255), (14, 63), (15, 63)];
    let said: Vec<(usize, u64)> =
        a.collations.iter().enumerate().filter_map(|(at, collation)| Some((at, (*collation)?))).collect();
    assert_eq!(said, collations);
    assert_eq!(names_where(a, a.visible.as_deref().expect("visibility"), |visible| !visible), ["inv"]);
    assert_eq!(a.primary_key, Some(vec![KeyPart { column: 0, prefix: None }]));
    let part = |column, prefix| KeyPart { column, prefix };
    assert_eq!(maps[3].primary_key, Some(vec![part(1, None), part(0, Some(5))]));
    assert_eq!(maps[4].primary_key, Some(vec![part(1, None), part(0, None)]));
    assert_eq!(maps[5].primary_key, None);
}

#[test]
fn columns_of_many_character_sets_have_each_its_own_collation() {
    for (file, gbk) in [("mysql-full.binlog", 28), ("mariadb-full.binlog", 28)] {
        let map = maps(&read(file)).into_iter().find(|map| map.table == "m").expect("d.m");
        let collations = [Some(8), Some(gbk), Some(35), Some(8), Some(gbk), Some(35), None];
        assert_eq!(map.collations, collations, "{file}");
        assert_eq!(map.unsigned, Some(vec![false, false, false, false, false, false, true]), "{file}");
    }
}

#[test]
fn without_full_metadata_types_and_signs_are_known() {
    let events = read("mysql-minimal-no-checksum.binlog");
    let Body::FormatDescription(description) = &events[0].body else { panic!("{:?}", events[0]) };
    assert_eq!(description.format.checksum, Checksum::None);
    let maps = maps(&events);
    assert_eq!(maps.len(), 3);
    for map in maps {
        assert_is_a(&map);
        assert_eq!((map.names, map.enum_values, map.set_values), (None, None, None));
        assert_eq!((map.primary_key, map.visible), (None, None));
        assert_eq!((map.collations[6], map.collations[10]), (Some(8), None));
    }
}

#[test]
fn rows_come_with_their_images_and_the_columns_in_them() {
    for file in ["mysql-full.binlog", "mysql-minimal-no-checksum.binlog"] {
        let events = read(file);
        let (table_id, rows) = (maps(&events)[0].table_id, rows(&events));
        let [insert, update, delete] = &rows[..3] else { panic!("{rows:?}") };
        assert!(rows[..3].iter().all(|rows| rows.table_id == table_id && rows.ends_statement()));
        assert_eq!((insert.kind, update.kind, delete.kind), (RowsKind::Insert, RowsKind::Update, RowsKind::Delete));
        let full = |bitmap: &Option<Bitmap>| {
            bitmap.as_ref().map(|bitmap| (bitmap.columns(), bitmap.count(), bitmap.is_full()))
        };
        assert_eq!((full(&insert.present_before), full(&insert.present_after)), (None, Some((23, 23, true))));
        assert_eq!((full(&delete.present_before), full(&delete.present_after)), (Some((23, 23, true)), None));
        assert!(full(&update.present_before) == full(&update.present_after) && update.present_after.is_some());
        // Nulls, then id, t, v, e and s.
        let row = b"|\xf3\x7f\x01\0\0\0\xff\x04\0eins\x02\x05";
        assert!(insert.rows.starts_with(row));
        assert_eq!(update.rows, [&row[..], b"|\xf3\x7f\x01\0\0\0\xff\x04\0zwei\x02\x05"].concat());
        assert_eq!(delete.rows, &b"\xfc\xf3\x7f\x02\0\0\0\x02\x01\0"[..]);
    }
}

#[test]
fn a_compressed_transaction_holds_its_events() {
    let events = read("mysql-compressed.binlog");
    let payloads = of(&events, |event| match &event.body {
        Body::TransactionPayload(payload) => Some(payload.clone()),
        _ => None,
    });
    let [payload] = &payloads[..] else { panic!("{payloads:?}") };
    let inner: Vec<Event> = payload.events().expect("a decompressor").collect::<Result<_, _>>().expect("events");
    assert_eq!(types(&inner), [2, 19, 30, 19, 31, 19, 32, 16]);
    assert!(inner.iter().all(|event| event.header.log_pos == 0));
    let bytes: u64 = inner.iter().map(|event| u64::from(event.header.event_size)).sum();
    assert_eq!(payload.plain_bytes(), Some(bytes));
    assert_eq!(queries(&inner)[0].kind(), StatementKind::Begin);
    let inserted = [b"\0\x01\0\0\0d\0", &[b'x'; 100][..], b"\0\x02\0\0\0d\0", &[b'y'; 100]].concat();
    assert_eq!(rows(&inner)[0].rows, inserted);
}

fn gtids(events: &[Event]) -> Vec<(Option<String>, u64)> {
    of(events, |event| match &event.body {
        Body::Gtid(GtidEvent { gtid: Some(gtid), .. }) => Some((gtid.tag.clone(), gtid.number)),
        _ => None,
    })
}

#[test]
fn gtids_have_tags_numbers_and_lengths() {
    let events = read("mysql-tagged.binlog");
    let tag = || Some("etl_1".to_owned());
    assert_eq!(gtids(&events), [(None, 1), (None, 2), (tag(), 1), (tag(), 2), (None, 3)]);
    let of_servers = of(&events, |event| match &event.body {
        Body::Gtid(GtidEvent { gtid: Some(gtid), .. }) => Some(gtid.uuid),
        _ => None,
    });
    assert!(of_servers.iter().all(|uuid| *uuid == of_servers[0] && uuid[15] == 1));
    // A transaction is as long as its events are together.
    let mut left = 0;
    for event in &events[2..events.len() - 1] {
        if let Body::Gtid(gtid) = &event.body {
            assert_eq!(left, 0);
            left = gtid.transaction_bytes;
            assert_eq!(gtid.committed_micros / 1_000_000, u64::from(event.header.timestamp));
            assert_eq!(gtid.committed_micros, gtid.originally_committed_micros);
            assert!(gtid.last_committed < gtid.sequence_number);
        }
        left -= u64::from(event.header.event_size);
    }
    assert_eq!(left, 0);
}

#[test]
fn a_file_begins_with_what_was_executed_before_it() {
    let previous = |file| {
        let events = read(file);
        let Body::PreviousGtids(previous) = events[1].body.clone() else { panic!("{:?}", events[1]) };
        previous.into_iter().map(|set| (set.tag, set.intervals)).collect::<Vec<_>>()
    };
    assert_eq!(previous("mysql-tagged.binlog"), []);
    let tagged = (Some("etl_1".to_owned()), vec![(1, 3)]);
    assert_eq!(previous("mysql-tagged-previous.binlog"), [(None, vec![(1, 4)]), tagged]);
}

#[test]
fn anonymous_transactions_have_no_gtid() {
    let gtids = of(&read("mysql-anonymous.binlog"), |event| match &event.body {
        Body::Gtid(gtid) => Some((gtid.gtid.clone(), gtid.sequence_number)),
        _ => None,
    });
    assert_eq!(gtids, [(None, 1), (None, 2), (None, 3)]);
}

#[test]
fn a_partial_update_is_not_taken_for_a_whole_one() {
    let rows = rows(&read("mysql-partial-json.binlog"));
    let kinds: Vec<RowsKind> = rows.iter().map(|rows| rows.kind).collect();
    assert_eq!(kinds, [RowsKind::Insert, RowsKind::PartialUpdate]);
    assert!(rows[1].rows.windows(3).any(|path| path == b"$.a"));
}

#[test]
fn xa_transactions_are_named_the_same_in_all_their_events() {
    let name = Xid { format: 7, global: b"gt".to_vec(), branch: b"bq".to_vec() };
    let one = Xid { format: 1, global: b"one".to_vec(), branch: Vec::new() };
    let events = read("mysql-xa.binlog");
    let kinds: Vec<StatementKind> = queries(&events).iter().map(Query::kind).collect();
    use StatementKind as K;
    assert_eq!(
        kinds,
        [
            K::Ddl,
            K::Ddl,
            K::XaStart(name.clone()),
            K::XaEnd(name.clone()),
            K::XaCommit { xid: name.clone(), one_phase: false },
            K::XaStart(one.clone()),
            K::XaEnd(one.clone()),
            K::Begin,
            K::Savepoint,
            K::Administration,
            K::Administration,
        ]
    );
    let prepared = of(&events, |event| match &event.body {
        Body::XaPrepare(prepare) => Some((prepare.xid.clone(), prepare.one_phase)),
        _ => None,
    });
    assert_eq!(prepared, [(name, false), (one, true)]);
}

#[test]
fn statements_that_change_rows_are_errors_or_are_seen_by_their_kind() {
    let events = parse_all("mysql-statement.binlog");
    let bad: Vec<EventType> = events.iter().filter_map(|event| event.as_ref().err()).map(|bad| bad.event).collect();
    assert_eq!(bad, [EventType::INTVAR, EventType::USER_VAR]);
    let good: Vec<Event> = events.into_iter().filter_map(Result::ok).collect();
    let dml: Vec<Query> = queries(&good).into_iter().filter(|query| query.kind() == StatementKind::Dml).collect();
    assert_eq!(dml.len(), 1);
    assert_eq!(dml[0].sql, "insert into d.c (v) values (@x)");
}

#[test]
fn ddl_comes_with_its_schema_and_character_set() {
    for file in ["mysql-full.binlog", "mariadb-full.binlog"] {
        let queries = queries(&read(file));
        let database = &queries[0];
        assert_eq!((database.kind(), database.schema.as_str()), (StatementKind::Ddl, "d"));
        assert_eq!(database.sql, "create database d");
        let table = &queries[1];
        assert!(table.sql.starts_with(b"create table d.a (") && table.sql.ends_with(b")"));
        // utf8mb4, the client's.
        assert!(matches!(table.client_collation, Some(45 | 255)), "{:?}", table.client_collation);
        assert!(table.sql_mode.is_some() && table.error_code == 0);
        assert_eq!(table.ddl_xid.is_some(), file.starts_with("mysql"));
    }
}

fn mariadb_gtids(events: &[Event]) -> Vec<MariadbGtidEvent> {
    of(events, |event| match &event.body {
        Body::MariadbGtid(gtid) => Some(gtid.clone()),
        _ => None,
    })
}

#[test]
fn mariadbs_transactions_say_what_they_are() {
    let events = read("mariadb-full.binlog");
    let Body::FormatDescription(description) = &events[0].body else { panic!("{:?}", events[0]) };
    assert_eq!(description.format, Format { checksum: Checksum::Crc32, mariadb: true });
    assert_eq!(events[1].body, Body::MariadbGtidList(Vec::new()));
    assert_eq!(events[2].body, Body::MariadbBinlogCheckpoint { file: "binlog.000001".to_owned() });
    let gtids = mariadb_gtids(&events);
    let names: Vec<MariadbGtid> = gtids.iter().map(|gtid| gtid.gtid).collect();
    let count = names.len() as u64;
    assert_eq!(names, (1..=count).map(|sequence| MariadbGtid { domain: 0, server: 8, sequence }).collect::<Vec<_>>());
    // DDL stands alone, a transaction does not; a table without transactions has a COMMIT of its own.
    assert!(gtids[0].ddl && gtids[0].standalone && !gtids[0].transactional);
    assert!(!gtids[2].ddl && !gtids[2].standalone && gtids[2].transactional);
    let xid = Xid { format: 7, global: b"gt".to_vec(), branch: b"bq".to_vec() };
    assert_eq!(gtids[7].xa, Some(MariadbXa::Prepared(xid.clone())));
    assert_eq!(gtids[8].xa, Some(MariadbXa::Completed(xid)));
    let alters: Vec<TwoPartAlter> = gtids.iter().filter_map(|gtid| gtid.alter).collect();
    let [TwoPartAlter::Start, TwoPartAlter::Commit(started)] = alters[..] else { panic!("{alters:?}") };
    assert_eq!(started, count - 1);
    assert!(events.iter().any(|event| event.header.event_type == EventType::MARIADB_ANNOTATE_ROWS));
    assert!(
        queries(&events)
            .iter()
            .any(|query| query.sql.starts_with(b"set statement") && { query.kind() == StatementKind::Ddl })
    );
}

#[test]
fn mariadb_counts_places_among_the_columns_of_text() {
    let events = read("mariadb-full.binlog");
    let maps = maps(&events);
    let a = &maps[0];
    let names = a.names.as_deref().expect("names");
    let collation = |name: &str| a.collations[names.iter().position(|own| own == name).expect("a column")];
    let said = ["c", "v", "bl", "tx", "g", "j", "vb", "bn", "u", "i6", "vc", "bc"].map(collation);
    assert_eq!(said, [8, 8, 63, 28, 63, 46, 63, 63, 63, 63, 8, 63].map(Some));
    let unsigned = names.iter().zip(a.unsigned.as_ref().expect("signs")).filter(|(_, unsigned)| **unsigned);
    assert_eq!(unsigned.map(|(name, _)| name).collect::<Vec<_>>(), A_UNSIGNED.to_vec());
    let kind = |name: &str| a.columns[names.iter().position(|own| own == name).expect("a column")].kind;
    assert_eq!(["u", "vc", "bc"].map(kind), [kind::STRING, kind::VARCHAR_COMPRESSED, kind::BLOB_COMPRESSED]);
    assert_eq!(a.enum_values.as_ref().expect("labels")[10][1], b"it's,\"\xfc\"");
    assert_eq!(maps[3].primary_key.as_deref().map(<[KeyPart]>::len), Some(2));
}

#[test]
fn mariadbs_compressed_events_are_as_the_plain_ones() {
    let events = read("mariadb-compressed.binlog");
    assert!([165, 166, 167, 168].iter().all(|number| types(&events).contains(number)));
    assert_eq!(queries(&events)[1].sql, "create table d.c (id int primary key, v varchar(200))");
    let rows = rows(&events);
    let kinds: Vec<RowsKind> = rows.iter().map(|rows| rows.kind).collect();
    assert_eq!(kinds, [RowsKind::Insert, RowsKind::Update, RowsKind::Delete]);
    let first = [b"\xfc\x01\0\0\0d", &[b'x'; 100][..]].concat();
    let second = [b"\xfc\x02\0\0\0\xc8", &[b'y'; 200][..]].concat();
    assert_eq!(rows[0].rows, [&first[..], &second].concat());
    assert_eq!(rows[2].rows, second);
    // binlog_row_metadata=NO_LOG: not even the signs.
    assert!(maps(&events).iter().all(|map| map.unsigned.is_none() && map.collations == [None, None]));
}
