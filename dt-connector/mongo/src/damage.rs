//! BSON that is damaged, and any bytes: events, entries, diffs and `_id`s are values or errors, never a panic, and never
//! more memory or time than the bytes account for.

use dt_common::damage::damaged;
use proptest::prelude::*;

use crate::cdc::change_event::{self, ChangeEvent};
use crate::cdc::oplog::{Entry, Part, What};
use crate::cdc::place::{Place, time_of_token, token_of};
use crate::cdc::row::{Row, RowOp};
use crate::cdc::split::Pieces;
use crate::raw::{self, Malformed, RawValue, Writer, kind};
use crate::sink::changes::{diff, modify};
use crate::value;

/// What servers send, and documents with values of every kind: the seeds of the fuzzer, document by document.
fn documents() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/bson_event");
    let mut documents = Vec::new();
    for file in std::fs::read_dir(folder).expect("fuzz/corpus/bson_event") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("readable");
        let read: Result<Vec<&[u8]>, Malformed> = raw::documents(&bytes).collect();
        documents.extend(read.expect("documents").into_iter().map(<[u8]>::to_vec));
    }
    assert!(documents.len() > 30, "{}", documents.len());
    documents
}

/// Reads a document as everything that it may be.
fn read_through(document: &[u8]) {
    if let Ok(fields) = raw::fields(document).collect::<Result<Vec<_>, _>>() {
        let mut copy = Writer::new();
        for field in &fields {
            copy.put(field.name, field.value);
        }
        assert_eq!(copy.finish(), document, "field by field the same document");
        fields.iter().for_each(|field| drop((field.value.integer(), field.value.text())));
    }
    if let Ok(event) = ChangeEvent::parse(document) {
        let time = time_of_token(event.token).unwrap_or_default().next();
        let place = Place { token: event.token.to_vec(), time };
        drop(token_of(&place.position(&dt_common::position::Lineage::default()).resume_token));
        if let change_event::What::Row(row) = event.what {
            read_row(&row);
        }
    }
    if let Ok(Entry { what: What::Changes { parts, .. }, .. }) = Entry::parse(document) {
        for part in parts {
            if let Part::Row(row) = part {
                read_row(&row);
            }
        }
    }
    drop(Entry::parse_earlier(document));
    drop(Pieces::default().take_in(document));
    read_id(document);
}

fn read_row(row: &Row<'_>) {
    match row.op {
        RowOp::Insert(key) | RowOp::Delete { key } => read_id(key),
        RowOp::Update { key, after } => {
            read_id(key);
            if let Some(amendment) = raw::field(after, "diff").and_then(RawValue::document) {
                amend(key, amendment);
            }
        }
    }
}

fn read_id(document: &[u8]) {
    if let Some(id) = raw::field(document, value::ID) {
        let back = value::from_key(&value::to_key(id));
        assert_eq!(back.as_ref().map(value::Id::value), Some(id), "an `_id` is found again");
    }
}

fn amend(document: &[u8], amendment: &[u8]) {
    for after in [diff::apply(document, amendment).ok(), modify::apply(document, amendment).ok()].into_iter().flatten()
    {
        assert!(raw::fields(&after).all(|field| field.is_ok()), "a document becomes a document");
    }
}

/// A document that holds a document of that name, and so on.
fn nested(name: &str, depth: usize) -> Vec<u8> {
    let mut document = Writer::new();
    for _ in 0..depth {
        document.open(name);
    }
    for _ in 0..depth {
        document.close();
    }
    document.finish()
}

#[test]
fn every_seed_is_understood_and_every_cut_of_it_is_not() {
    for document in documents() {
        read_through(&document);
        for end in 0..document.len() {
            let cut = &document[..end];
            assert!(raw::documents(cut).all(|document| document.is_err()));
            assert!(ChangeEvent::parse(cut).is_err() && Entry::parse(cut).is_err() && raw::field(cut, "_id").is_none());
            // With a length that fits, and a zero at the end.
            if let Some(body) = cut.get(4..) {
                let length = i32::try_from(body.len() + 5).expect("short").to_le_bytes();
                read_through(&[&length, body, &[0]].concat());
            }
        }
    }
}

#[test]
fn every_byte_of_a_document_can_be_any_of_many() {
    for document in documents() {
        for at in 0..document.len() {
            for byte in [0, 1, 2, 3, 4, 5, 0x0f, 0x10, 0x7f, 0x80, 0xff, b'0', b's', document[at] ^ 1] {
                let mut damaged = document.clone();
                damaged[at] = byte;
                read_through(&damaged);
            }
        }
    }
}

#[test]
fn nesting_without_end_is_an_error_or_bytes_and_no_deep_call() {
    let deep = nested("a", 100_000);
    assert!(!raw::is_shallow(&deep) && raw::is_shallow(&nested("a", 200)));
    read_through(&deep);
    let mut with_id = Writer::new();
    with_id.document("_id", &deep).text("operationType", "invalidate");
    read_through(&with_id.finish());
    // A diff within a diff, of a document within a document.
    assert_eq!(diff::apply(&deep, &nested("sa", 100_000)), Err(diff::BadDiff::TooLarge));
    assert!(diff::apply(&nested("a", 200), &nested("sa", 200)).is_ok());
    // A path of very many parts.
    let mut update = Writer::new();
    update.open("$set").int(&"a.".repeat(100_000), 1).close();
    assert_eq!(modify::apply(&deep, &update.finish()), Err(modify::BadUpdate::TooLarge));
    // Operations within operations.
    let mut entry = Writer::new();
    entry.put(b"ts", RawValue { kind: kind::TIMESTAMP, bytes: &[1; 8] }).text("op", "c").text("ns", "admin.$cmd");
    for _ in 0..10_000 {
        entry.open("o").open_array("applyOps").open("0").text("op", "c").text("ns", "admin.$cmd");
    }
    for _ in 0..30_000 {
        entry.close();
    }
    assert!(Entry::parse(&entry.finish()).is_err());
}

#[test]
fn a_small_diff_cannot_fill_the_memory() {
    // Each asks for an array of millions of nulls.
    let (mut document, mut amendment) = (Writer::new(), Writer::new());
    for at in 0..100 {
        document.open_array(&at.to_string()).close();
        amendment.open(&format!("s{at}")).flag("a", true).int("l", 5_000_000).close();
    }
    assert_eq!(diff::apply(&document.finish(), &amendment.finish()), Err(diff::BadDiff::TooLarge));
}

#[test]
fn a_diff_of_very_many_fields_is_applied_in_a_moment() {
    let (mut document, mut amendment) = (Writer::new(), Writer::new());
    amendment.open("u");
    for at in 0..200_000 {
        document.int(&at.to_string(), 1);
        amendment.int(&at.to_string(), 2);
    }
    amendment.close();
    let begun = std::time::Instant::now();
    let after = diff::apply(&document.finish(), &amendment.finish()).expect("a document");
    assert!(raw::fields(&after).count() == 200_000 && begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_damaged_document_is_a_value_or_an_error(
        of in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        damages in prop::collection::vec(any::<(u8, u16, u8, u8)>(), 1..6),
    ) {
        thread_local!(static ALL: Vec<Vec<u8>> = documents());
        ALL.with(|all| {
            let (of, other): (&Vec<u8>, &Vec<u8>) = (of.get(all), other.get(all));
            let document = damaged(of, &damages);
            read_through(&document);
            // As it is, and with a length that fits again.
            amend(other, &document);
            amend(&document, other);
            if let (Ok(length), Some(body)) = (i32::try_from(document.len()), document.get(4..)) {
                let fitting = [&length.to_le_bytes(), body].concat();
                read_through(&fitting);
                amend(other, &fitting);
            }
        });
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(body in prop::collection::vec(prop_oneof![any::<u8>(), 0..20_u8], 0..200)) {
        let length = i32::try_from(body.len() + 5).expect("short").to_le_bytes();
        let document = [&length, &body[..], &[0]].concat();
        read_through(&body);
        read_through(&document);
        amend(&document, &document);
    }
}
