//! Entries as servers write them.

use bson::{Bson, Document, doc};

use super::*;

fn ts(seconds: u32, increment: u32) -> Bson {
    Bson::Timestamp(bson::Timestamp { time: seconds, increment })
}

fn entry(op: &str, ns: &str, o: Document, more: Document) -> Vec<u8> {
    let mut entry = doc! {"op": op, "ns": ns, "o": o, "ts": ts(7, 1), "t": 1_i64, "v": 2_i64};
    entry.extend(more);
    entry.to_vec().expect("bytes")
}

fn read(bytes: &[u8]) -> String {
    Document::from_reader(bytes).expect("a document").to_string()
}

fn shown(parts: &[Part<'_>]) -> Vec<String> {
    let shown = parts.iter().map(|part| match part {
        Part::Row(Row { database, collection, op }) => {
            let op = match op {
                RowOp::Insert(document) => format!("+{}", read(document)),
                RowOp::Update { key, after } => format!("{}={}", read(key), read(after)),
                RowOp::Delete { key } => format!("-{}", read(key)),
            };
            format!("{database}.{collection} {op}")
        }
        Part::Ddl(Ddl { what, database, collection, to, action }) => {
            let to = to.map(|(database, collection)| format!(" {database}.{collection}")).unwrap_or_default();
            let action = match action {
                Action::Create(said) | Action::Modify(said) => read(said),
                Action::CreateIndexes(specs) => specs.iter().map(|spec| read(spec)).collect(),
                other => format!("{other:?}"),
            };
            format!("{what} {database}.{}{to}: {action}", collection.unwrap_or("*"))
        }
    });
    shown.collect()
}

#[track_caller]
fn check(entry: &[u8], earlier: Option<(u32, u32)>, wanted: &[&str]) {
    let parsed = Entry::parse(entry).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(parsed.time, Time { seconds: 7, increment: 1 });
    let What::Changes { earlier: found, parts } = parsed.what else { panic!("nothing") };
    assert_eq!(found.map(|time| (time.seconds, time.increment)), earlier);
    assert_eq!(shown(&parts), wanted);
}

#[track_caller]
fn check_nothing(entry: &[u8]) {
    assert_eq!(Entry::parse(entry).unwrap_or_else(|error| panic!("{error}")).what, What::Nothing);
}

#[test]
fn documents_change() {
    let session =
        || doc! {"lsid": {"id": 1}, "txnNumber": 3_i64, "stmtId": 0, "prevOpTime": {"ts": ts(6, 1), "t": 1_i64}};
    check(&entry("i", "d.a.b", doc! {"_id": 1, "x": 1}, session()), None, &[r#"d.a.b +{ "_id": 1, "x": 1 }"#]);
    let diff = doc! {"$v": 2, "diff": {"u": {"x": 2}}};
    check(
        &entry("u", "d.a", diff, doc! {"o2": {"_id": 1}}),
        None,
        &[r#"d.a { "_id": 1 }={ "$v": 2, "diff": { "u": { "x": 2 } } }"#],
    );
    check(&entry("u", "d.a", doc! {"_id": 1}, doc! {"o2": {"_id": 1}}), None, &[r#"d.a { "_id": 1 }={ "_id": 1 }"#]);
    check(&entry("d", "d.a", doc! {"_id": 1}, doc! {}), None, &[r#"d.a -{ "_id": 1 }"#]);
    check_nothing(&entry("n", "", doc! {"msg": "periodic noop"}, doc! {}));
    check_nothing(&entry("i", "d.a", doc! {"_id": 1}, doc! {"fromMigrate": true}));
}

fn operations() -> Vec<Document> {
    vec![
        doc! {"op": "i", "ns": "d.a", "o": {"_id": 2}, "o2": {"_id": 2}},
        doc! {"op": "c", "ns": "d.$cmd", "o": {"create": "new"}},
        doc! {"op": "c", "ns": "admin.$cmd", "o": {"applyOps": [{"op": "d", "ns": "e.b", "o": {"_id": 1}}]}},
    ]
}

const OPERATIONS: [&str; 3] = [r#"d.a +{ "_id": 2 }"#, r#"create d.new: { "create": "new" }"#, r#"e.b -{ "_id": 1 }"#];

#[test]
fn a_transaction_is_whole_at_its_last_entry() {
    let transaction =
        |previous: Bson| doc! {"lsid": {}, "txnNumber": 6_i64, "prevOpTime": {"ts": previous, "t": 1_i64}};
    let apply = |more: Document| {
        let mut o = doc! {"applyOps": operations()};
        o.extend(more);
        o
    };
    check(&entry("c", "admin.$cmd", apply(doc! {}), transaction(ts(0, 0))), None, &OPERATIONS);
    let last = entry("c", "admin.$cmd", apply(doc! {"count": 9_i64}), transaction(ts(6, 4)));
    check(&last, Some((6, 4)), &OPERATIONS);
    let partial = entry("c", "admin.$cmd", apply(doc! {"partialTxn": true}), transaction(ts(6, 3)));
    check_nothing(&partial);
    let (earlier, parts) = Entry::parse_earlier(&partial).expect("a part");
    assert_eq!((earlier, shown(&parts).len()), (Some(Time { seconds: 6, increment: 3 }), 3));
    check_nothing(&entry("c", "admin.$cmd", apply(doc! {"prepare": true}), transaction(ts(0, 0))));
    let commit = doc! {"commitTransaction": 1, "commitTimestamp": ts(6, 9)};
    check(&entry("c", "admin.$cmd", commit.clone(), transaction(ts(6, 8))), Some((6, 8)), &[]);
    assert!(Entry::parse(&entry("c", "admin.$cmd", commit, transaction(ts(0, 0)))).is_err());
    check_nothing(&entry("c", "admin.$cmd", doc! {"abortTransaction": 1}, transaction(ts(6, 8))));
}

#[test]
fn operations_that_are_no_transaction_have_nothing_in_front() {
    check(&entry("c", "admin.$cmd", doc! {"applyOps": operations()}, doc! {}), None, &OPERATIONS);
    // Retryable inserts that share an entry: `prevOpTime` is the statement before.
    let more = doc! {"lsid": {}, "txnNumber": 6_i64, "multiOpType": 1, "prevOpTime": {"ts": ts(6, 4), "t": 1_i64}};
    check(&entry("c", "admin.$cmd", doc! {"applyOps": operations()}, more), None, &OPERATIONS);
}

#[test]
fn what_is_done_to_collections_is_told() {
    let spec = || doc! {"v": 2, "key": {"x": 1}, "name": "x_1"};
    let mut one = doc! {"createIndexes": "a"};
    one.extend(spec());
    for (o, wanted) in [
        (doc! {"create": "a", "capped": true}, r#"create d.a: { "create": "a", "capped": true }"#),
        (doc! {"drop": "a.b"}, "drop d.a.b: Drop"),
        (doc! {"dropDatabase": 1}, "dropDatabase d.*: DropDatabase"),
        (
            doc! {"renameCollection": "d.a", "to": "d.b", "stayTemp": false},
            "renameCollection d.a d.b: Rename { drop_target: false }",
        ),
        (
            doc! {"renameCollection": "d.a", "to": "d.b", "dropTarget": "id"},
            "renameCollection d.a d.b: Rename { drop_target: true }",
        ),
        (one, r#"createIndexes d.a: { "createIndexes": "a", "v": 2, "key": { "x": 1 }, "name": "x_1" }"#),
        (doc! {"startIndexBuild": "a", "indexes": [spec()]}, "startIndexBuild d.a: Progress"),
        (doc! {"abortIndexBuild": "a", "indexes": [spec()]}, "abortIndexBuild d.a: Progress"),
        (
            doc! {"commitIndexBuild": "a", "indexes": [spec()]},
            r#"commitIndexBuild d.a: { "v": 2, "key": { "x": 1 }, "name": "x_1" }"#,
        ),
        (doc! {"dropIndexes": "a", "index": "x_1"}, r#"dropIndexes d.a: DropIndexes(["x_1"])"#),
        (doc! {"collMod": "a", "cappedMax": 3}, r#"collMod d.a: { "collMod": "a", "cappedMax": 3 }"#),
        (doc! {"convertToCapped": "a", "size": 4096}, "convertToCapped d.a: Other"),
    ] {
        check(&entry("c", "d.$cmd", o, doc! {}), None, &[wanted]);
    }
}

#[test]
fn what_is_not_known_is_an_error_that_names_it() {
    for (bad, named) in [
        (entry("x", "d.a", doc! {}, doc! {}), "`x`"),
        (entry("c", "d.$cmd", doc! {"turnAround": 1}, doc! {}), "`turnAround`"),
        (entry("u", "d.a", doc! {"_id": 1}, doc! {}), "`o2`"),
        (entry("i", "d.a", doc! {"a": 1}, doc! {}), "`_id`"),
        (entry("i", "nowhere", doc! {"_id": 1}, doc! {}), "name"),
        (doc! {"op": "n"}.to_vec().expect("bytes"), "`ts`"),
    ] {
        let error = Entry::parse(&bad).expect_err(named).to_string();
        assert!(error.contains(named), "{error}");
    }
    assert!(Entry::parse_earlier(&entry("i", "d.a", doc! {"_id": 1}, doc! {})).is_err());
}
