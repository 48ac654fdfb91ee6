//! The commands by which a collection is read. Pure.
//!
//! The documents come in the order of the `_id` index, from where the reading begins. A comparison in a filter is bracketed
//! by type (MongoDB documentation, Comparison/Sort Order: `$gt` of a number finds numbers only), so the beginning is
//! given to the index itself as a bound, with `min` and a hint: it is inclusive, and holds across types. Without a `max`
//! such a bound leaves out the key MaxKey, of which there is one at most: it is asked for by itself at the end. So is the
//! last document of a chunk, for `max` is exclusive.

use bson::{Document, doc};
use dt_common::schema::TableSchema;
use dt_common::{Error, Result};
use dt_connector::{Start, TableTask};

use crate::raw::{RawValue, Writer, kind};
use crate::value::{self, ID, Id};

/// The bytes that one answer of the server's should have: enough that the round trip counts for little.
const ANSWER_BYTES: u64 = 2 * 1024 * 1024;

/// The document that the reading begins after; `None` to begin with the first.
///
/// # Errors
/// The stored position holds no value of `_id`.
pub fn after(table: &TableSchema, start: &Start) -> Result<Option<Id>> {
    let key = match start {
        Start::Beginning => return Ok(None),
        Start::After { key, null_keys_done: _ } | Start::AtPrefix { key } | Start::AfterFirstColumn { key } => key,
    };
    let [part] = key.parts() else { return Err(does_not_fit(table, "has more than one column")) };
    value::from_key(&part.value)
        .map(Some)
        .ok_or_else(|| does_not_fit(table, "holds no value of `_id` that is understood"))
}

fn does_not_fit(table: &TableSchema, why: &str) -> Error {
    Error::user(format!("the stored position {why}"))
        .with("table", &table.id)
        .hint("to copy the table again from the beginning, take its lines out of position.log and resume.config; to start over, set [resumer] resume_type=dummy")
}

/// Documents of one answer, with documents of this size and pages of that many rows.
pub fn answer_rows(page_rows: u64, document_bytes: Option<u64>) -> u32 {
    let fitting = document_bytes.map_or(u64::MAX, |bytes| ANSWER_BYTES / bytes.max(1)).max(1);
    u32::try_from(page_rows.min(fitting).max(1)).unwrap_or(u32::MAX).min(i32::MAX as u32)
}

/// The last document of a task's chunk; `None` if there is none, or the chunk is the last one.
///
/// # Errors
/// The stored bound holds no value of `_id`.
pub fn until(task: &TableTask) -> Result<Option<Id>> {
    let Some(key) = task.until() else { return Ok(None) };
    let start = Start::After { key: key.clone(), null_keys_done: true };
    after(&task.table.source, &start)
}

/// Begins a read: all documents in the order of `_id`, from `from` on, that document included, up to `until`, that one
/// left out.
pub fn find(collection: &str, from: Option<&Id>, until: Option<&Id>, answer_rows: u32, level: Option<&str>) -> Vec<u8> {
    let mut command = Writer::new();
    command.text("find", collection);
    command.open("hint").int(ID, 1).close();
    command.open("sort").int(ID, 1).close();
    if let Some(from) = from {
        command.open("min").put(ID.as_bytes(), from.value()).close();
    }
    if let Some(until) = until {
        command.open("max").put(ID.as_bytes(), until.value()).close();
    }
    batch_size(&mut command, answer_rows);
    read_concern(&mut command, level);
    command.finish()
}

/// Reads the document of this key alone.
pub fn find_one(collection: &str, id: RawValue<'_>, level: Option<&str>) -> Vec<u8> {
    let mut command = Writer::new();
    command.text("find", collection);
    command.open("filter").open(ID).put(b"$eq", id).close().close();
    read_concern(&mut command, level);
    command.finish()
}

/// The greatest key there is.
pub const MAX_KEY: RawValue<'static> = RawValue { kind: kind::MAX_KEY, bytes: &[] };

/// The keys of some documents, chosen at random, in order (MongoDB documentation, `$sample`: by a random cursor, if they
/// are few against all).
pub fn sample(collection: &str, documents: u64) -> Document {
    let documents = i64::try_from(documents).unwrap_or(i64::MAX);
    doc! {
        "aggregate": collection,
        "pipeline": [{"$sample": {"size": documents}}, {"$project": {ID: 1}}, {"$sort": {ID: 1}}],
        "allowDiskUse": true,
        "cursor": {},
    }
}

/// Whether a table can be cut after this key: `$eq` finds it and nothing else.
pub fn can_bound(id: &Id) -> bool {
    !matches!(id.value().kind, kind::NULL | kind::UNDEFINED | kind::MIN_KEY | kind::MAX_KEY)
}

/// One key in `every` of a sample in order, but not the last: the bounds of chunks. Keys that came twice are one.
pub fn bounds(mut sample: Vec<Id>, chunks: u64) -> Vec<Id> {
    sample.dedup();
    let (count, chunks) = (sample.len() as u64, chunks.max(1));
    let ends = (1..chunks).map(|chunk| chunk * count / chunks);
    let mut at: Vec<u64> = ends.filter(|&end| end > 0).map(|end| end - 1).collect();
    at.dedup();
    let mut bounds: Vec<Id> = at.into_iter().map(|at| sample[at as usize].clone()).collect();
    bounds.retain(can_bound);
    bounds
}

/// Reads one document, whichever: to learn of the moment that is seen.
pub fn find_any(collection: &str) -> Vec<u8> {
    let mut command = Writer::new();
    command.text("find", collection).int("limit", 1).flag("singleBatch", true);
    command.open("projection").int(ID, 1).close();
    command.finish()
}

fn batch_size(command: &mut Writer, rows: u32) {
    command.int("batchSize", i32::try_from(rows).unwrap_or(i32::MAX));
}

fn read_concern(command: &mut Writer, level: Option<&str>) {
    if let Some(level) = level {
        command.open("readConcern").text("level", level).close();
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};
    use dt_common::TableId;
    use dt_common::position::{KeyText, OrderKey};

    use super::*;
    use crate::raw::field;

    fn read(command: Vec<u8>) -> Document {
        Document::from_reader(&command[..]).expect("a command")
    }

    #[test]
    fn a_read_begins_at_a_bound_of_the_index_whatever_its_type() {
        let whole = doc! {"find": "t", "hint": {"_id": 1}, "sort": {"_id": 1}, "batchSize": 5};
        assert_eq!(read(find("t", None, None, 5, None)), whole);
        for value in [Bson::from("$a"), Bson::from(doc! {"$gt": 1}), Bson::MinKey, Bson::Int64(5)] {
            let document = doc! {"_id": value.clone()}.to_vec().expect("bytes");
            let id = Id::from(field(&document, "_id").expect("a value"));
            let from = doc! {
                "find": "t", "hint": {"_id": 1}, "sort": {"_id": 1}, "min": {"_id": value}, "batchSize": 5,
                "readConcern": {"level": "majority"},
            };
            assert_eq!(read(find("t", Some(&id), None, 5, Some("majority"))), from);
        }
        assert_eq!(read(find_one("t", MAX_KEY, None)), doc! {"find": "t", "filter": {"_id": {"$eq": Bson::MaxKey}}});
    }

    fn ids(values: &[Bson]) -> Vec<Id> {
        let id = |value: &Bson| {
            let document = doc! {"_id": value.clone()}.to_vec().expect("bytes");
            Id::from(field(&document, "_id").expect("a value"))
        };
        values.iter().map(id).collect()
    }

    #[test]
    fn a_chunk_ends_before_its_last_document_which_is_read_by_itself() {
        let [from, until] = &ids(&[Bson::Int32(1), Bson::from("x")])[..] else { panic!("two") };
        let part = doc! {
            "find": "t", "hint": {"_id": 1}, "sort": {"_id": 1}, "min": {"_id": 1}, "max": {"_id": "x"}, "batchSize": 5,
        };
        assert_eq!(read(find("t", Some(from), Some(until), 5, None)), part);
        assert_eq!(read(find_one("t", until.value(), None)), doc! {"find": "t", "filter": {"_id": {"$eq": "x"}}});
    }

    #[test]
    fn a_sample_is_cut_evenly_and_never_at_a_key_that_eq_does_not_find_alone() {
        let numbers: Vec<Bson> = (1..=8).map(Bson::Int32).collect();
        let at = |numbers: &[i32]| ids(&numbers.iter().copied().map(Bson::Int32).collect::<Vec<_>>());
        assert_eq!(bounds(ids(&numbers), 4), at(&[2, 4, 6]));
        assert_eq!(bounds(ids(&[numbers.clone(), numbers.clone()].concat()[..8]), 1), []);
        assert_eq!(bounds(at(&[1, 1, 1, 2, 2, 3]), 3), at(&[1, 2]));
        assert_eq!(bounds(at(&[1]), 10), []);
        assert_eq!(bounds(Vec::new(), 10), []);
        let odd = ids(&[Bson::MinKey, Bson::Null, Bson::Undefined, Bson::Int32(1), Bson::MaxKey]);
        assert_eq!(bounds(odd, 5), at(&[1]));
    }

    #[test]
    fn answers_are_of_some_megabytes_and_never_empty() {
        assert_eq!(answer_rows(16_000, None), 16_000);
        assert_eq!(answer_rows(16_000, Some(200)), 10_485);
        assert_eq!(answer_rows(16_000, Some(16 << 20)), 1);
        assert_eq!(answer_rows(u64::MAX, Some(0)), ANSWER_BYTES as u32);
        assert_eq!(answer_rows(u64::MAX, None), i32::MAX as u32);
    }

    #[test]
    fn a_stored_position_that_is_no_id_is_refused_without_showing_it() {
        let table = crate::catalog::schema(TableId::new("d", "t"), None, 0);
        let start = |text: &str| Start::After {
            key: OrderKey::single("_id", KeyText::Text(text.into())),
            null_keys_done: false,
        };
        assert!(after(&table, &start("65dfdc512e7b06b6e2b3a3a1")).expect("an id").is_some());
        let refused = after(&table, &start("s3cret")).expect_err("no id").to_string();
        assert!(refused.contains("`d`.`t`") && !refused.contains("s3cret"), "{refused}");
    }
}
