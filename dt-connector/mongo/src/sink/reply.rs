//! What the answer to a write says of single documents (MongoDB documentation, `insert`, Output). Pure.
//!
//! Of a document's error the code, the name and the index are taken, never the text with the values in it.

use dt_common::{Error, Result, TableId};

use crate::error::{DUPLICATE_KEY, server_error};
use crate::raw::{self, RawValue};
use crate::value::ID;

/// What became of the documents of one command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Places of the documents whose `_id` is there already.
    pub duplicates: Vec<usize>,
    /// How many were written.
    pub written: u64,
    /// How many of those were not there before, though the command was to replace them.
    pub upserted: u64,
}

/// Reads the answer to a command that wrote `documents` documents to `target`.
///
/// # Errors
/// A document was refused for another reason than its `_id`; or the writes are not yet durable.
pub fn outcome(reply: &[u8], target: &TableId) -> Result<Outcome> {
    let mut outcome = Outcome {
        duplicates: Vec::new(),
        upserted: raw::field(reply, "upserted")
            .and_then(RawValue::document)
            .map_or(0, |new| raw::fields(new).count() as u64),
        written: raw::field(reply, "n").and_then(RawValue::integer).and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
    };
    let errors = raw::field(reply, "writeErrors").and_then(RawValue::document);
    for error in errors.into_iter().flat_map(raw::fields) {
        let error = error.ok().and_then(|field| field.value.document()).ok_or_else(|| not_understood(target))?;
        let integer = |name: &str| raw::field(error, name).and_then(RawValue::integer);
        let code = integer("code").and_then(|code| i32::try_from(code).ok()).ok_or_else(|| not_understood(target))?;
        if code == DUPLICATE_KEY && is_of_id(error) {
            let at = integer("index").and_then(|at| usize::try_from(at).ok()).ok_or_else(|| not_understood(target))?;
            outcome.duplicates.push(at);
            continue;
        }
        return Err(refused(error, code, target));
    }
    if let Some(concern) = raw::field(reply, "writeConcernError").and_then(RawValue::document) {
        let code = raw::field(concern, "code").and_then(RawValue::integer).and_then(|code| i32::try_from(code).ok());
        let text = |name: &str| raw::field(concern, name).and_then(RawValue::text).unwrap_or_default();
        let doing = format!("writing to {target}: not confirmed by as many members as the write concern asks for");
        return Err(server_error(doing, code.unwrap_or(64), &text("codeName"), &text("errmsg")));
    }
    Ok(outcome)
}

/// Whether it is the index of `_id` that holds the key already.
fn is_of_id(error: &[u8]) -> bool {
    match raw::field(error, "keyPattern").and_then(RawValue::document) {
        Some(pattern) => {
            let names: Vec<&[u8]> = raw::fields(pattern).filter_map(|field| Some(field.ok()?.name)).collect();
            names == [ID.as_bytes()]
        }
        None => raw::field(error, "errmsg").and_then(RawValue::text).is_some_and(|text| text.contains(" index: _id_ ")),
    }
}

fn refused(error: &[u8], code: i32, target: &TableId) -> Error {
    let text = |name: &str| raw::field(error, name).and_then(RawValue::text).unwrap_or_default();
    let refused =
        server_error(format!("the target refuses a document of {target}"), code, &text("codeName"), &text("errmsg"));
    match code {
        DUPLICATE_KEY => refused.hint("another unique index of the target's collection holds the same key: drop the index while the collection is copied, or remove the document that stands in the way"),
        _ => refused,
    }
}

fn not_understood(target: &TableId) -> Error {
    Error::fatal("the target's answer to a write is not understood").with("collection", target)
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};
    use dt_common::ErrorClass;

    use super::*;

    fn of(reply: Document) -> Result<Outcome> {
        outcome(&reply.to_vec().expect("bytes"), &TableId::new("d", "t"))
    }

    #[test]
    fn keys_that_are_there_are_told_by_their_place() {
        let duplicate = |at: i32| doc! {"index": at, "code": 11000, "keyPattern": {"_id": 1}, "keyValue": {"_id": "x"}};
        let found = of(doc! {"n": 3, "writeErrors": [duplicate(1), duplicate(4)], "ok": 1.0}).expect("an outcome");
        assert_eq!(found, Outcome { duplicates: vec![1, 4], written: 3, upserted: 0 });
        assert_eq!(of(doc! {"n": 5, "ok": 1.0}).expect("an outcome").written, 5);
        let replaced =
            doc! {"n": 3, "nModified": 1, "upserted": [{"index": 0, "_id": 1}, {"index": 2, "_id": 3}], "ok": 1.0};
        assert_eq!(of(replaced).expect("an outcome").upserted, 2);
    }

    #[test]
    fn what_else_stands_against_a_document_stops_and_shows_no_value() {
        let text = "E11000 duplicate key error collection: d.t index: name_1 dup key: { name: \"s3cret\" }";
        let error =
            doc! {"index": 0, "code": 11000, "keyPattern": {"name": 1}, "keyValue": {"name": "s3cret"}, "errmsg": text};
        let refused = of(doc! {"n": 0, "writeErrors": [error], "ok": 1.0}).expect_err("refused");
        assert_eq!(refused.class(), ErrorClass::User);
        let refused = refused.to_string();
        assert!(
            refused.contains("name_1") && refused.contains("unique index") && !refused.contains("s3cret"),
            "{refused}"
        );
        let invalid =
            doc! {"index": 0, "code": 121, "errInfo": {"a": "s3cret"}, "errmsg": "Document failed validation"};
        let refused = of(doc! {"n": 0, "writeErrors": [invalid], "ok": 1.0}).expect_err("refused").to_string();
        assert!(refused.contains("validator") && !refused.contains("s3cret"), "{refused}");
    }

    #[test]
    fn a_write_that_too_few_members_have_is_tried_again() {
        let concern =
            doc! {"code": 64, "codeName": "WriteConcernFailed", "errmsg": "waiting for replication timed out"};
        let error = of(doc! {"n": 1, "ok": 1.0, "writeConcernError": concern}).expect_err("not durable");
        assert_eq!(error.class(), ErrorClass::Reconnect);
    }
}
