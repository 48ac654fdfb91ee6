//! The `$v: 1` form of an update: `$set` and `$unset` with paths, as servers before 5.0 log it. Pure.
//!
//! MongoDB server, `src/mongo/db/update/`: a path's parts are names of a document or places of an array, by what is there;
//! what is missing on the way is made as documents, at the end; a part of a number or a text cannot be, which happens to a
//! document that is ahead of the change only, and then nothing is done, for a later change writes it again. The values are
//! those that the source came to, so that they can be written twice.

use crate::raw::{self, AMENDED_BYTES_MAX, DEPTH_MAX, Malformed, RawValue, Writer, kind};

/// An update that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUpdate {
    /// It, or the document, is no BSON.
    #[error("it is damaged")]
    Malformed,
    /// It has a modifier that is none of those above.
    #[error("it has the modifier `{0}`")]
    Modifier(String),
    /// A path is deeper than a server takes, or the document becomes far larger.
    #[error("what it makes of the document is larger or nested deeper than a server takes")]
    TooLarge,
}

impl From<Malformed> for BadUpdate {
    fn from(_: Malformed) -> Self {
        BadUpdate::Malformed
    }
}

/// Elements that an array is filled up to.
const ELEMENTS_MAX: usize = 1_500_000;

/// The document as it is after the update.
pub fn apply(document: &[u8], update: &[u8]) -> Result<Vec<u8>, BadUpdate> {
    let mut after = document.to_vec();
    for modifier in raw::fields(update) {
        let modifier = modifier?;
        let paths = modifier.value.document();
        match (modifier.name, paths) {
            (b"$v", None) => {}
            (b"$set" | b"$unset", Some(paths)) => {
                for path in raw::fields(paths) {
                    let path = path?;
                    let parts: Vec<&[u8]> = path.name.split(|&byte| byte == b'.').take(DEPTH_MAX + 1).collect();
                    if parts.len() > DEPTH_MAX {
                        return Err(BadUpdate::TooLarge);
                    }
                    let value = (modifier.name == b"$set").then_some(path.value);
                    after = in_document(&after, &parts, value)?;
                    if after.len() > AMENDED_BYTES_MAX {
                        return Err(BadUpdate::TooLarge);
                    }
                }
            }
            (name, _) => return Err(BadUpdate::Modifier(String::from_utf8_lossy(name).into_owned())),
        }
    }
    Ok(after)
}

/// Sets what is at a path, or takes it away.
fn in_document(before: &[u8], path: &[&[u8]], value: Option<RawValue<'_>>) -> Result<Vec<u8>, BadUpdate> {
    let (name, rest) = path.split_first().ok_or(BadUpdate::Malformed)?;
    let mut after = Writer::with_capacity(before.len() + value.map_or(0, |value| value.bytes.len()));
    let mut found = false;
    for field in raw::fields(before) {
        let field = field?;
        if field.name != *name || found {
            after.put(field.name, field.value);
            continue;
        }
        found = true;
        put(&mut after, field.name, Some(field.value), rest, value)?;
    }
    if !found && value.is_some() {
        put(&mut after, name, None, rest, value)?;
    }
    Ok(after.finish())
}

fn in_array(before: &[u8], path: &[&[u8]], value: Option<RawValue<'_>>) -> Result<Vec<u8>, BadUpdate> {
    let (place, rest) = path.split_first().ok_or(BadUpdate::Malformed)?;
    let place = std::str::from_utf8(place).ok().and_then(|place| place.parse::<usize>().ok());
    // An array has no other parts: it is ahead of the change.
    let Some(place) = place.filter(|&place| place < ELEMENTS_MAX) else { return Ok(before.to_vec()) };
    let mut after = Writer::with_capacity(before.len());
    let mut count = 0;
    for element in raw::fields(before) {
        let element = element?;
        if count != place {
            after.put(element.name, element.value);
        } else if rest.is_empty() && value.is_none() {
            // An element that is taken away leaves its place.
            after.put(element.name, NULL);
        } else {
            put(&mut after, element.name, Some(element.value), rest, value)?;
        }
        count += 1;
    }
    if value.is_some() && count <= place {
        for gap in count..place {
            after.put(gap.to_string().as_bytes(), NULL);
        }
        put(&mut after, place.to_string().as_bytes(), None, rest, value)?;
    }
    Ok(after.finish())
}

/// Null (bsonspec.org: kind 0x0a, without bytes).
const NULL: RawValue<'static> = RawValue { kind: 0x0a, bytes: &[] };

/// Puts a field with what the rest of the path makes of it.
fn put(
    after: &mut Writer,
    name: &[u8],
    before: Option<RawValue<'_>>,
    rest: &[&[u8]],
    value: Option<RawValue<'_>>,
) -> Result<(), BadUpdate> {
    match (rest, before) {
        ([], _) => {
            if let Some(value) = value {
                after.put(name, value);
            }
        }
        (rest, Some(RawValue { kind: kind::DOCUMENT, bytes })) => {
            after.put(name, RawValue { kind: kind::DOCUMENT, bytes: &in_document(bytes, rest, value)? });
        }
        (rest, Some(RawValue { kind: kind::ARRAY, bytes })) => {
            after.put(name, RawValue { kind: kind::ARRAY, bytes: &in_array(bytes, rest, value)? });
        }
        (_, Some(other)) => drop(after.put(name, other)),
        (rest, None) => {
            let empty = Writer::new().finish();
            after.put(name, RawValue { kind: kind::DOCUMENT, bytes: &in_document(&empty, rest, value)? });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    #[track_caller]
    fn check(before: Document, update: Document, wanted: Document) {
        let bytes = |document: &Document| document.to_vec().expect("bytes");
        let after = apply(&bytes(&before), &bytes(&update)).unwrap_or_else(|bad| panic!("{bad}"));
        assert_eq!(Document::from_reader(&after[..]).expect("a document").to_string(), wanted.to_string());
        assert_eq!(apply(&after, &bytes(&update)), Ok(after), "twice is once");
    }

    #[test]
    fn paths_lead_through_documents_and_arrays() {
        check(
            doc! {"_id": 1, "a": {"b": 1, "c": 2}, "l": [1, {"x": 1}]},
            doc! {"$v": 1, "$set": {"a.b": 5, "l.1.x": 7, "l.3": 9, "n.m.o": 1}, "$unset": {"a.c": true, "q.r": true}},
            doc! {"_id": 1, "a": {"b": 5}, "l": [1, {"x": 7}, null, 9], "n": {"m": {"o": 1}}},
        );
        check(doc! {"l": [1, 2]}, doc! {"$unset": {"l.0": true}}, doc! {"l": [null, 2]});
    }

    #[test]
    fn what_is_ahead_stays_as_it_is() {
        check(doc! {"a": 5, "l": [1]}, doc! {"$set": {"a.b": 1, "l.x": 1}}, doc! {"a": 5, "l": [1]});
    }

    #[test]
    fn another_modifier_is_an_error() {
        let bytes = |document: Document| document.to_vec().expect("bytes");
        let update = bytes(doc! {"$inc": {"a": 1}});
        assert_eq!(apply(&bytes(doc! {}), &update), Err(BadUpdate::Modifier("$inc".into())));
    }
}
