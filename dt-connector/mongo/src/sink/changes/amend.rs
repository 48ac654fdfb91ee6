//! An update of the oplog's form, applied to a document. Pure.
//!
//! MongoDB server, `src/mongo/db/repl/oplog_entry.h` and `src/mongo/db/update/update_oplog_entry_serialization.h`: `o` of an
//! update is a whole document, or `{$v: 2, diff: {…}}`, or, from servers before 5.0, `{$v: 1, $set: {…}, $unset: {…}}`.

use dt_common::{Error, Result, TableId};

use super::{diff, modify};
use crate::raw::{self, RawValue};

/// The document with these amendments, one after the other.
///
/// # Errors
/// One of them is not understood; `target` is named.
pub fn amended(document: &[u8], amendments: &[&[u8]], target: &TableId) -> Result<Vec<u8>> {
    let mut amendments = amendments.iter();
    let first = match amendments.next() {
        Some(amendment) => one(document, amendment, target)?,
        None => document.to_vec(),
    };
    amendments.try_fold(first, |document, amendment| one(&document, amendment, target))
}

fn one(document: &[u8], amendment: &[u8], target: &TableId) -> Result<Vec<u8>> {
    let version = raw::field(amendment, "$v").and_then(RawValue::integer);
    let bad = |what: String| {
        Error::fatal("an update in the source's log is not understood")
            .with("collection", target)
            .caused_by(what)
            .hint("copy the collection again with a snapshot, and follow the changes from there; and tell us the source's version")
    };
    match version {
        Some(2) => {
            let diff = raw::field(amendment, "diff").and_then(RawValue::document);
            let diff = diff.ok_or_else(|| bad("it has no diff".to_owned()))?;
            diff::apply(document, diff).map_err(|error| bad(error.to_string()))
        }
        None | Some(1) => modify::apply(document, amendment).map_err(|error| bad(error.to_string())),
        Some(other) => Err(bad(format!("it is of version {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    #[test]
    fn both_forms_are_applied_one_after_the_other_and_others_are_refused() {
        let bytes = |document: Document| document.to_vec().expect("bytes");
        let target = TableId::new("d", "t");
        let before = bytes(doc! {"_id": 1, "a": 1});
        let amendments =
            [bytes(doc! {"$v": 2, "diff": {"u": {"a": 2}, "i": {"b": 1}}}), bytes(doc! {"$v": 1, "$set": {"b": 3}})];
        let amendments: Vec<&[u8]> = amendments.iter().map(Vec::as_slice).collect();
        let after = amended(&before, &amendments, &target).expect("amended");
        assert_eq!(after, bytes(doc! {"_id": 1, "a": 2, "b": 3}));
        assert_eq!(amended(&before, &[], &target).expect("the same"), before);
        for bad in [doc! {"$v": 3}, doc! {"$v": 2}, doc! {"$v": 2, "diff": {"q": {}}}, doc! {"$inc": {"a": 1}}] {
            let error = amended(&before, &[&bytes(bad)], &target).expect_err("refused").to_string();
            assert!(error.contains("`d`.`t`") || error.contains("d.t"), "{error}");
        }
    }
}
