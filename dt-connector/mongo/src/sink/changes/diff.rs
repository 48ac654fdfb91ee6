//! A `$v: 2` diff, applied to a document. Pure.
//!
//! This is what the source's oplog says of an update (MongoDB server, `src/mongo/db/update/document_diff_serialization.h`
//! and `document_diff_applier.cpp`). A diff of a document has the sections, each of them optional:
//!
//! | section | what it holds |
//! |---|---|
//! | `d` | fields that go: `{name: false}` |
//! | `u` | fields that get another value, at their place |
//! | `i` | fields that are new, at the end, in this order |
//! | `sNAME` | the diff of the document or array in that field |
//!
//! and a diff of an array: `a: true`; `l`, its new length; `uINDEX`, an element's value; `sINDEX`, an element's diff.
//!
//! **Applied again it gives the same.** The server itself applies diffs to documents that are ahead of them (initial sync),
//! so the form is made for it: a field of `i` goes to the end also where it is there already, and what a diff does not find
//! as it expects is filled with null, for then a later diff or replacement of the same document writes it again. So a
//! document that any number of a stream's changes were applied to, and that then gets all of them from an earlier one on,
//! comes out byte for byte the same, the order of its fields included.

use std::collections::{HashMap, HashSet};

use crate::raw::{self, AMENDED_BYTES_MAX, DEPTH_MAX, Field, Malformed, RawValue, Writer, kind};

/// A diff that is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadDiff {
    /// It, or the document, is no BSON.
    #[error("it is damaged")]
    Malformed,
    /// It has a section that is none of those above.
    #[error("it has a section `{0}` that is not known")]
    Section(String),
    /// It, or the document, is nested deeper than a server takes, or the document becomes far larger.
    #[error("what it makes of the document is larger or nested deeper than a server takes")]
    TooLarge,
    /// A section holds something else than it should.
    #[error("its section `{0}` is not as it should be")]
    Contents(String),
}

impl From<Malformed> for BadDiff {
    fn from(_: Malformed) -> Self {
        BadDiff::Malformed
    }
}

/// Elements that an array may have, so that a damaged index does not fill the memory: each takes three bytes at least, and
/// a document 16 MiB at most.
const ELEMENTS_MAX: usize = 6_000_000;

/// The document as it is after the diff.
pub fn apply(document: &[u8], diff: &[u8]) -> Result<Vec<u8>, BadDiff> {
    let mut after = Writer::with_capacity(document.len() + diff.len());
    fields_after(document, diff, &mut after, 0)?;
    Ok(after.finish())
}

/// What is done to a field.
enum Change<'a> {
    Goes,
    Becomes(RawValue<'a>),
    New,
    Within(&'a [u8]),
}

fn fields_after(before: &[u8], diff: &[u8], after: &mut Writer, depth: usize) -> Result<(), BadDiff> {
    let mut changes: HashMap<&[u8], Change<'_>> = HashMap::new();
    // In the order of the sections: what `u` does not find goes to the end as well.
    let mut added: Vec<Field<'_>> = Vec::new();
    let mut placed: HashSet<&[u8]> = HashSet::new();
    for section in raw::fields(diff) {
        let section = section?;
        let held = section.value.document().ok_or_else(|| contents(section.name))?;
        match section.name {
            b"d" => {
                for field in raw::fields(held) {
                    changes.insert(field?.name, Change::Goes);
                }
            }
            b"u" => {
                for field in raw::fields(held) {
                    let field = field?;
                    changes.insert(field.name, Change::Becomes(field.value));
                    added.push(field);
                }
            }
            b"i" => {
                for field in raw::fields(held) {
                    let field = field?;
                    changes.insert(field.name, Change::New);
                    added.push(field);
                }
            }
            [b's', name @ ..] => drop(changes.insert(name, Change::Within(held))),
            other => return Err(section_error(other)),
        }
    }
    for field in raw::fields(before) {
        let field = field?;
        match changes.get(field.name) {
            None => drop(after.put(field.name, field.value)),
            Some(Change::Goes | Change::New) => {}
            Some(Change::Becomes(value)) => {
                after.put(field.name, *value);
                placed.insert(field.name);
            }
            Some(Change::Within(diff)) => within(field.name, Some(field.value), diff, after, depth)?,
        }
        bounded(after)?;
    }
    for field in added.iter().filter(|field| !placed.contains(field.name)) {
        after.put(field.name, field.value);
        bounded(after)?;
    }
    Ok(())
}

/// A field's or an element's value after a diff of what is in it.
fn within(
    name: &[u8],
    before: Option<RawValue<'_>>,
    diff: &[u8],
    after: &mut Writer,
    depth: usize,
) -> Result<(), BadDiff> {
    if depth >= DEPTH_MAX {
        return Err(BadDiff::TooLarge);
    }
    match before {
        Some(RawValue { kind: kind::ARRAY, bytes }) if is_of_array(diff) => {
            after.open_value(kind::ARRAY, name);
            elements_after(bytes, diff, after, depth + 1)?;
            after.close();
        }
        Some(RawValue { kind: kind::DOCUMENT, bytes }) if !is_of_array(diff) => {
            after.open_value(kind::DOCUMENT, name);
            fields_after(bytes, diff, after, depth + 1)?;
            after.close();
        }
        // The document is ahead of the diff: what is here is written again by a later one.
        Some(_) | None => drop(after.put(name, NULL)),
    }
    Ok(())
}

/// A damaged diff must not fill the memory.
fn bounded(after: &Writer) -> Result<(), BadDiff> {
    if after.written() > AMENDED_BYTES_MAX { Err(BadDiff::TooLarge) } else { Ok(()) }
}

/// Null (bsonspec.org: kind 0x0a, without bytes).
const NULL: RawValue<'static> = RawValue { kind: kind::NULL, bytes: &[] };

fn is_of_array(diff: &[u8]) -> bool {
    raw::fields(diff).next().is_some_and(|first| first.is_ok_and(|first| first.name == b"a"))
}

fn elements_after(before: &[u8], diff: &[u8], after: &mut Writer, depth: usize) -> Result<(), BadDiff> {
    let mut length = None;
    let mut changes: HashMap<usize, Change<'_>> = HashMap::new();
    let mut end = 0;
    for section in raw::fields(diff) {
        let section = section?;
        let (place, change) = match section.name {
            b"a" => continue,
            b"l" => {
                let new = section.value.integer().and_then(|new| usize::try_from(new).ok());
                length = Some(new.filter(|&new| new <= ELEMENTS_MAX).ok_or_else(|| contents(section.name))?);
                continue;
            }
            [b'u', place @ ..] => (place, Change::Becomes(section.value)),
            [b's', place @ ..] => {
                (place, Change::Within(section.value.document().ok_or_else(|| contents(section.name))?))
            }
            other => return Err(section_error(other)),
        };
        let place = std::str::from_utf8(place).ok().and_then(|place| place.parse().ok());
        let place: usize = place.filter(|&place| place < ELEMENTS_MAX).ok_or_else(|| contents(section.name))?;
        end = end.max(place + 1);
        changes.insert(place, change);
    }
    let mut old = raw::fields(before);
    let mut at = 0;
    loop {
        let element = old.next().transpose()?;
        let is_over = match length {
            Some(length) => at >= length && at >= end,
            None => element.is_none() && at >= end,
        };
        if is_over {
            return Ok(());
        }
        // Beyond the new length only what the diff names is of account.
        let element = element.filter(|_| length.is_none_or(|length| at < length));
        let name = at.to_string();
        match (changes.get(&at), element) {
            (None, Some(element)) => drop(after.put(name.as_bytes(), element.value)),
            (None, None) => drop(after.put(name.as_bytes(), NULL)),
            (Some(Change::Becomes(value)), _) => drop(after.put(name.as_bytes(), *value)),
            (Some(Change::Within(diff)), element) => {
                within(name.as_bytes(), element.map(|element| element.value), diff, after, depth)?;
            }
            (Some(Change::Goes | Change::New), _) => return Err(contents(name.as_bytes())),
        }
        bounded(after)?;
        at += 1;
    }
}

// A section's name may hold the name of a field, which is no value of a document.
fn section_error(name: &[u8]) -> BadDiff {
    BadDiff::Section(String::from_utf8_lossy(name).into_owned())
}

fn contents(name: &[u8]) -> BadDiff {
    BadDiff::Contents(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;

    fn bytes(document: &Document) -> Vec<u8> {
        document.to_vec().expect("bytes")
    }

    fn after(before: Document, diff: Document) -> Document {
        let after = apply(&bytes(&before), &bytes(&diff)).unwrap_or_else(|bad| panic!("{bad}: {diff}"));
        Document::from_reader(&after[..]).expect("a document")
    }

    /// The order of fields counts, which `Document` does not compare.
    #[track_caller]
    fn check(before: Document, diff: Document, wanted: Document) {
        assert_eq!(after(before, diff).to_string(), wanted.to_string());
    }

    #[test]
    fn fields_go_change_at_their_place_and_come_at_the_end() {
        check(
            doc! {"_id": 1, "a": 1, "b": 2, "c": 3},
            doc! {"d": {"a": false}, "u": {"b": "x"}, "i": {"z": 1, "y": 2}},
            doc! {"_id": 1, "b": "x", "c": 3, "z": 1, "y": 2},
        );
    }

    #[test]
    fn documents_and_arrays_change_within() {
        check(
            doc! {"_id": 1, "a": {"b": 1}, "l": [1, 2, {"x": 1}], "sl": 5},
            doc! {"sa": {"i": {"c": 2}}, "sl": {"a": true, "s2": {"u": {"x": 7}}, "u4": "new"}},
            doc! {"_id": 1, "a": {"b": 1, "c": 2}, "l": [1, 2, {"x": 7}, null, "new"], "sl": 5},
        );
        check(doc! {"l": [1, 2, 3]}, doc! {"sl": {"a": true, "l": 1}}, doc! {"l": [1]});
        check(doc! {"l": [1]}, doc! {"sl": {"a": true, "l": 3, "u0": 9}}, doc! {"l": [9, null, null]});
        check(doc! {"l": [[1, 2], 3]}, doc! {"sl": {"a": true, "s0": {"a": true, "l": 1}}}, doc! {"l": [[1], 3]});
    }

    #[test]
    fn names_with_dots_and_dollars_are_names() {
        check(
            doc! {"a.b": 1, "$x": {"$y": 1}},
            doc! {"u": {"a.b": 2}, "s$x": {"u": {"$y": 3}}},
            doc! {"a.b": 2, "$x": {"$y": 3}},
        );
    }

    #[test]
    fn what_is_ahead_of_a_diff_takes_it_and_comes_out_the_same() {
        // `g` goes and comes again, `f` comes between: the order at the end is that of the last coming.
        let changes = [
            doc! {"d": {"g": false}},
            doc! {"i": {"g": {"h": [1]}}},
            doc! {"i": {"f": 1}},
            doc! {"sg": {"sh": {"a": true, "u1": 2}}},
            doc! {"u": {"g": 5}},
            doc! {"u": {"g": {"h": {"k": 1}}}},
            doc! {"sg": {"sh": {"d": {"k": false}, "i": {"m": [1, 2, 3]}}}},
            doc! {"sg": {"sh": {"sm": {"a": true, "l": 2}}}},
        ];
        let mut states = vec![doc! {"_id": 1, "g": 0, "x": 1}];
        for change in &changes {
            states.push(after(states[states.len() - 1].clone(), change.clone()));
        }
        let last = states[states.len() - 1].to_string();
        for (applied, state) in states.iter().enumerate() {
            for from in 0..=applied {
                let again = changes[from..].iter().fold(state.clone(), |state, change| after(state, change.clone()));
                assert_eq!(again.to_string(), last, "{applied} applied, and again from {from}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_becomes_null_for_a_later_change_to_write() {
        check(doc! {"a": 5}, doc! {"sa": {"u": {"b": 1}}}, doc! {"a": null});
        check(doc! {"a": [1]}, doc! {"sa": {"u": {"b": 1}}}, doc! {"a": null});
        check(doc! {"a": {"b": 1}}, doc! {"sa": {"a": true, "l": 0}}, doc! {"a": null});
        check(doc! {}, doc! {"u": {"b": 1}, "sa": {"u": {"b": 1}}}, doc! {"b": 1});
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let document = bytes(&doc! {"_id": 1, "a": [1]});
        for diff in [
            doc! {"x": {}},
            doc! {"b": {"data": 1}},
            doc! {"u": 5},
            doc! {"sa": {"a": true, "l": "x"}},
            doc! {"sa": {"a": true, "ux": 1}},
            doc! {"sa": {"a": true, "q1": 1}},
            doc! {"sa": {"a": true, "u99999999": 1}},
        ] {
            assert!(apply(&document, &bytes(&diff)).is_err(), "{diff}");
        }
        assert_eq!(apply(&document, &[1, 2, 3]), Err(BadDiff::Malformed));
    }
}
