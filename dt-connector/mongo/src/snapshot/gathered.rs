//! The documents of a block, as they came. Pure.

use bytes::Bytes;
use dt_common::{Error, Result};

use crate::raw::{self, Malformed, kind};
use crate::value::{ID, Id};

/// Documents that wait to be sent together.
#[derive(Debug)]
pub struct Gathered {
    data: Vec<u8>,
    rows: u64,
    full_bytes: usize,
}

impl Gathered {
    /// None yet; it is full at so many bytes.
    pub fn new(full_bytes: usize) -> Self {
        Gathered { data: Vec::new(), rows: 0, full_bytes }
    }

    /// Adds a document.
    pub fn push(&mut self, document: &[u8]) {
        if self.data.capacity() == 0 {
            self.data.reserve(self.full_bytes.max(document.len()));
        }
        self.data.extend_from_slice(document);
        self.rows += 1;
    }

    /// Whether it should be sent before another document is added that is so long.
    pub fn is_full(&self) -> bool {
        self.data.len() >= self.full_bytes
    }

    /// How many documents there are.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The documents, and how many; it is empty then.
    pub fn take(&mut self) -> (Bytes, u64) {
        (Bytes::from(std::mem::take(&mut self.data)), std::mem::take(&mut self.rows))
    }
}

/// The documents of a cursor's answer (MongoDB documentation, `find` and `getMore`: `cursor.firstBatch`, `cursor.nextBatch`).
///
/// # Errors
/// The answer is none.
pub fn documents(answer: &[u8]) -> Result<impl Iterator<Item = Result<&[u8]>>> {
    let cursor = raw::field(answer, "cursor").and_then(raw::RawValue::document).ok_or_else(not_understood)?;
    let batch = raw::field(cursor, "firstBatch").or_else(|| raw::field(cursor, "nextBatch"));
    let batch = batch.and_then(raw::RawValue::document).ok_or_else(not_understood)?;
    Ok(raw::fields(batch).map(|field| match field {
        Ok(field) if field.value.kind == kind::DOCUMENT => Ok(field.value.bytes),
        Ok(_) | Err(Malformed) => Err(not_understood()),
    }))
}

/// The `_id` of a document.
///
/// # Errors
/// It has none.
pub fn id(document: &[u8]) -> Result<Id> {
    raw::field(document, ID).map(Id::from).ok_or_else(|| Error::fatal("the source sent a document without `_id`"))
}

fn not_understood() -> Error {
    Error::fatal("an answer of the source is not understood")
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn an_answer_gives_its_documents_as_they_are() {
        for batch in ["firstBatch", "nextBatch"] {
            let answer = doc! {"cursor": {"id": 5_i64, batch: [{"_id": 1, "a": "x"}, {"_id": 2}]}, "ok": 1.0};
            let answer = answer.to_vec().expect("bytes");
            let found: Vec<&[u8]> = documents(&answer).expect("a batch").collect::<Result<_>>().expect("documents");
            assert_eq!(found, [doc! {"_id": 1, "a": "x"}, doc! {"_id": 2}].map(|doc| doc.to_vec().expect("bytes")));
            assert_eq!(id(found[1]).expect("an id").bytes, [2, 0, 0, 0]);
        }
        assert!(documents(&doc! {"ok": 1}.to_vec().expect("bytes")).is_err());
        assert!(id(&doc! {"a": 1}.to_vec().expect("bytes")).is_err());
    }
}
