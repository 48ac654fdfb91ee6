//! MySQL's JSON: documents as they lie in a row (`jsonb`), as the server prints them (`text`), and lists of
//! differences between two of them (`diff`, `path`).
//!
//! Documents are never turned into anyone else's JSON and back: numbers, dates and opaque values keep what they are.

mod diff;
mod jsonb;
mod path;
mod text;

use super::flaw::Flaw;

pub(super) use diff::packed;

/// Appends a document's text, escaped as a value of a row.
pub(super) fn push_document(out: &mut Vec<u8>, document: &[u8]) -> Result<(), Flaw> {
    text::push_value(out, &jsonb::Value::of_document(document)?, 1, &mut text::Left(document.len() + 1))
}

/// Appends the text of the document that the differences make of the one before.
pub(super) fn push_changed(out: &mut Vec<u8>, before: &[u8], differences: &[u8]) -> Result<(), Flaw> {
    diff::push_changed(out, before, differences)
}
