use std::time::Duration;

use bson::{Bson, Document, Timestamp, doc};

use super::*;

fn read(command: Vec<u8>) -> Document {
    Document::from_reader(&command[..]).expect("a command")
}

fn bytes(documents: &[Document]) -> Vec<Vec<u8>> {
    documents.iter().map(|document| document.to_vec().expect("bytes")).collect()
}

fn slices(documents: &[Vec<u8>]) -> Vec<&[u8]> {
    documents.iter().map(Vec::as_slice).collect()
}

#[test]
fn documents_are_named_by_their_place() {
    let documents: Vec<Document> = (0..120).map(|at| doc! {"_id": at}).collect();
    let raw = bytes(&documents);
    let durability = Durability::of(None).expect("a concern");
    let command = read(insert("t", &slices(&raw), Some(&durability)));
    let wanted = doc! {"insert": "t", "ordered": false, "documents": documents, "writeConcern": {"w": "majority"}};
    assert_eq!(command, wanted);
}

#[test]
fn a_document_is_found_by_an_id_of_any_form() {
    let document = doc! {"_id": {"$gt": 5}, "a": 1};
    let raw = bytes(std::slice::from_ref(&document));
    let query = doc! {"_id": {"$eq": {"$gt": 5}}};
    assert_eq!(
        read(replace("t", &slices(&raw), None)),
        doc! {"update": "t", "ordered": false, "updates": [{"q": query.clone(), "u": document, "upsert": true}]}
    );
    assert_eq!(
        read(delete("t", &slices(&raw), None)),
        doc! {"delete": "t", "ordered": false, "deletes": [{"q": query, "limit": 1}]}
    );
    assert_eq!(read(find("t", &slices(&raw))), doc! {"find": "t", "filter": {"_id": {"$in": [{"$gt": 5}]}}});
}

#[test]
fn only_timestamps_of_zero_in_the_document_itself_are_set_again() {
    let zero = Bson::Timestamp(Timestamp { time: 0, increment: 0 });
    let one = Bson::Timestamp(Timestamp { time: 0, increment: 1 });
    let without = bytes(&[doc! {"_id": zero.clone(), "a": one.clone(), "b": {"c": zero.clone()}}]);
    assert_eq!(restore_zero_timestamps("t", &slices(&without), None), None);
    let with = bytes(&[doc! {"_id": 1}, doc! {"_id": 2, "a": zero.clone(), "b": one}]);
    let command = read(restore_zero_timestamps("t", &slices(&with), None).expect("a command"));
    assert_eq!(
        command.get_array("updates").expect("updates")[..],
        [doc! {"q": {"_id": {"$eq": 2}}, "u": {"$set": {"a": zero}}}.into()]
    );
}

#[test]
fn a_name_with_a_dollar_cannot_stand_in_a_replacement() {
    let raw = bytes(&[doc! {"_id": 1, "$a": 1}, doc! {"_id": 1, "a": {"$b": 1}}, doc! {"_id": 1, "a$": 1}]);
    assert_eq!(raw.iter().map(|document| may_replace(document)).collect::<Vec<_>>(), [false, true, true]);
}

#[test]
fn a_command_is_no_larger_than_the_server_takes() {
    let large = doc! {"_id": 1, "a": "x".repeat(6 << 20)}.to_vec().expect("bytes");
    let chunk = large.repeat(5);
    let sizes: Vec<usize> =
        groups([&chunk[..], &chunk[..large.len()]].into_iter()).expect("groups").iter().map(Vec::len).collect();
    assert_eq!(sizes, [2, 2, 2]);
    // A statement about each document is larger than the document.
    let one = doc! {"_id": 1}.to_vec().expect("bytes");
    let many: Vec<&[u8]> = std::iter::repeat_n(&one[..], 200_000).collect();
    let in_parts = parts(&many);
    assert!(in_parts.len() > 1 && in_parts.iter().map(|part| part.len()).sum::<usize>() == many.len());
    assert!(in_parts.iter().all(|part| replace("t", part, None).len() <= 16 << 20));
    assert_eq!(parts(&[&large, &large, &large]).iter().map(|part| part.len()).collect::<Vec<_>>(), [2, 1]);
    let small = doc! {"_id": 1}.to_vec().expect("bytes").repeat(100_001);
    let sizes: Vec<usize> = groups([&small[..]].into_iter()).expect("groups").iter().map(Vec::len).collect();
    assert_eq!(sizes, [100_000, 1]);
    assert!(groups([&small[..small.len() - 1]].into_iter()).is_err());
}

#[test]
fn a_write_is_durable_before_it_counts() {
    let durability = |concern: WriteConcern| Durability::of(Some(&concern));
    let nodes = |nodes| WriteConcern::builder().w(Acknowledgment::Nodes(nodes)).build();
    assert!(durability(nodes(0)).is_err());
    assert!(durability(WriteConcern::builder().journal(false).build()).is_err());
    let one = durability(nodes(1)).expect("a concern");
    assert_eq!(read(delete("t", &[], Some(&one))).get_document("writeConcern").ok(), Some(&doc! {"w": 1, "j": true}));
    let timed = WriteConcern::builder().w_timeout(Duration::from_secs(2)).build();
    let timed = durability(timed).expect("a concern");
    let wanted = doc! {"w": "majority", "wtimeout": 2000};
    assert_eq!(read(delete("t", &[], Some(&timed))).get_document("writeConcern").ok(), Some(&wanted));
}
