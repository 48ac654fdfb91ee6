//! What the target says of the documents of an unordered command (MongoDB documentation, `insert`, `update`: Output). Pure.
//!
//! Of an error the code, the name and the index are taken, never the text with the values in it (invariant 11).

use dt_common::{Error, Result, TableId};

use crate::error::{DUPLICATE_KEY, server_error};
use crate::raw::{self, RawValue};
use crate::value::ID;

/// The error of an update that would change the `_id`: the server takes the two for one, but their types differ.
const IMMUTABLE_FIELD: i32 = 66;
/// A document that replaces another has a name that is not allowed there: one that begins with a dollar.
const DOLLAR_PREFIXED: i32 = 52;

/// A document that was not written, and can be in another way.
#[derive(Debug)]
pub struct Left {
    /// Its place in the command.
    pub at: usize,
    /// Why.
    pub why: Why,
}

/// Why a document was not written.
#[derive(Debug)]
pub enum Why {
    /// There is one with its `_id`.
    IsThere,
    /// Another document holds its key in another unique index: what the user is to be told if that stays so.
    KeyIsTaken(Error),
    /// The one that it is to replace must be deleted first.
    InTheWay,
}

/// The documents that a command did not write.
///
/// # Errors
/// A document was refused for another reason; or the writes are not yet durable.
pub fn left(reply: &[u8], target: &TableId) -> Result<Vec<Left>> {
    let mut left = Vec::new();
    let not_understood = || Error::fatal("the target's answer to a write is not understood").with("collection", target);
    let errors = raw::field(reply, "writeErrors").and_then(RawValue::document);
    for error in errors.into_iter().flat_map(raw::fields) {
        let error = error.ok().and_then(|field| field.value.document()).ok_or_else(not_understood)?;
        let integer = |name: &str| raw::field(error, name).and_then(RawValue::integer);
        let code = integer("code").and_then(|code| i32::try_from(code).ok()).ok_or_else(not_understood)?;
        let at = integer("index").and_then(|at| usize::try_from(at).ok()).ok_or_else(not_understood)?;
        let text = |name: &str| raw::field(error, name).and_then(RawValue::text).unwrap_or_default();
        let refused = || {
            let doing = format!("the target refuses a document of {target}");
            server_error(doing, code, &text("codeName"), &text("errmsg"))
        };
        let why = match code {
            DUPLICATE_KEY if is_of_id(error) => Why::IsThere,
            DUPLICATE_KEY => Why::KeyIsTaken(refused().with_class(dt_common::ErrorClass::User).hint(
                "another document of the target holds the same key in this unique index, which the source's collection may not have: drop the index, or remove the document that stands in the way",
            )),
            IMMUTABLE_FIELD | DOLLAR_PREFIXED => Why::InTheWay,
            _ => return Err(refused()),
        };
        left.push(Left { at, why });
    }
    if let Some(concern) = raw::field(reply, "writeConcernError").and_then(RawValue::document) {
        let code = raw::field(concern, "code").and_then(RawValue::integer).and_then(|code| i32::try_from(code).ok());
        let text = |name: &str| raw::field(concern, name).and_then(RawValue::text).unwrap_or_default();
        let doing = format!("writing to {target}: not confirmed by as many members as the write concern asks for");
        return Err(server_error(doing, code.unwrap_or(64), &text("codeName"), &text("errmsg")));
    }
    Ok(left)
}

fn is_of_id(error: &[u8]) -> bool {
    match raw::field(error, "keyPattern").and_then(RawValue::document) {
        Some(pattern) => {
            let names: Vec<&[u8]> = raw::fields(pattern).filter_map(|field| Some(field.ok()?.name)).collect();
            names == [ID.as_bytes()]
        }
        None => raw::field(error, "errmsg").and_then(RawValue::text).is_some_and(|text| text.contains(" index: _id_ ")),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn of(reply: Document) -> Result<Vec<Left>> {
        left(&reply.to_vec().expect("bytes"), &TableId::new("d", "t"))
    }

    #[test]
    fn what_can_be_written_in_another_way_is_told_from_what_cannot() {
        let errors = [
            doc! {"index": 0, "code": 11000, "keyPattern": {"_id": 1}},
            doc! {"index": 3, "code": 11000, "keyPattern": {"name": 1}, "errmsg": "E11000 index: name_1 dup key: { name: \"s3cret\" }"},
            doc! {"index": 5, "code": 66},
        ];
        let left = of(doc! {"n": 3, "writeErrors": errors.to_vec(), "ok": 1}).expect("left");
        let shown: Vec<(usize, &str)> = left
            .iter()
            .map(|left| match &left.why {
                Why::IsThere => (left.at, "there"),
                Why::KeyIsTaken(error) => {
                    let text = error.to_string();
                    assert!(text.contains("name_1") && !text.contains("s3cret"), "{text}");
                    (left.at, "taken")
                }
                Why::InTheWay => (left.at, "in the way"),
            })
            .collect();
        assert_eq!(shown, [(0, "there"), (3, "taken"), (5, "in the way")]);
        assert!(of(doc! {"n": 3, "ok": 1}).expect("none").is_empty());
        assert!(of(doc! {"writeErrors": [{"index": 0, "code": 121}]}).is_err());
        assert!(of(doc! {"writeConcernError": {"code": 64}}).is_err());
    }
}
