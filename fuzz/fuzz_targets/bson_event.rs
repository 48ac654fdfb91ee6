//! Any bytes as BSON: events of a change stream, entries of the oplog, and a diff with the document that it amends.
//!
//! The documents of the input are read as they follow each other: each as an event, as an entry, as a document to amend by
//! the next one, and for its `_id`.
#![no_main]

use dt_common::position::Lineage;
use dt_connector_mongo::cdc::change_event::{self, ChangeEvent};
use dt_connector_mongo::cdc::oplog::{Entry, Part, What};
use dt_connector_mongo::cdc::place::{Place, time_of_token, token_of};
use dt_connector_mongo::cdc::row::{Row, RowOp};
use dt_connector_mongo::cdc::split::Pieces;
use dt_connector_mongo::raw;
use dt_connector_mongo::sink::changes::diff;
use dt_connector_mongo::value;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let documents: Vec<&[u8]> = raw::documents(data).map_while(Result::ok).collect();
    let mut pieces = Pieces::default();
    for document in &documents {
        copied(document);
        if let Ok(event) = ChangeEvent::parse(document) {
            token(event.token);
            if let change_event::What::Row(row) = event.what {
                self::row(&row);
            }
        }
        if let Ok(Entry { what: What::Changes { parts, .. }, .. }) = Entry::parse(document) {
            for part in parts {
                if let Part::Row(row) = part {
                    self::row(&row);
                }
            }
        }
        drop(Entry::parse_earlier(document));
        drop(pieces.take_in(document));
        id(document);
    }
    for pair in documents.windows(2) {
        if let Ok(after) = diff::apply(pair[0], pair[1]) {
            assert!(raw::fields(&after).all(|field| field.is_ok()), "a document is made of a document");
        }
    }
});

/// Field by field the same document is written.
fn copied(document: &[u8]) {
    let Ok(fields) = raw::fields(document).collect::<Result<Vec<_>, _>>() else { return };
    let mut copy = raw::Writer::new();
    for field in fields {
        copy.put(field.name, field.value);
        drop((field.value.integer(), field.value.text()));
    }
    assert_eq!(copy.finish(), document, "the same bytes");
}

fn row(row: &Row<'_>) {
    match row.op {
        RowOp::Insert(document) => id(document),
        RowOp::Update { key, after } => {
            id(key);
            let amendment = raw::field(after, "diff").and_then(raw::RawValue::document);
            if let Some(amendment) = amendment {
                drop(diff::apply(key, amendment));
            }
        }
        RowOp::Delete { key } => id(key),
    }
}

/// Any `_id` has a text that finds it again.
fn id(document: &[u8]) {
    if let Some(id) = raw::field(document, value::ID) {
        let back = value::from_key(&value::to_key(id));
        assert_eq!(back.as_ref().map(|back| back.value()), Some(id), "the same `_id`");
    }
}

fn token(token: &[u8]) {
    let time = time_of_token(token).unwrap_or_default();
    let position = Place { token: token.to_vec(), time: time.next() }.position(&Lineage::default());
    drop(token_of(&position.resume_token));
}
