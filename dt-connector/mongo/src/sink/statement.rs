//! The commands by which documents are written. Pure.
//!
//! Documents go as they are into the `insert` and `update` commands (MongoDB documentation, Database Commands). A command
//! is a document itself and may be as large as one (16 MiB), with 16 KiB more for what is around it; so a batch may take
//! several.

use dt_common::{Error, Result};
use mongodb::options::{Acknowledgment, WriteConcern};

use crate::raw::{self, Malformed, RawValue, Writer, kind};
use crate::value::ID;

/// Bytes of the documents of one command, what names their places included.
const COMMAND_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Documents of one command (MongoDB documentation, `hello`: `maxWriteBatchSize`).
const COMMAND_DOCUMENTS_MAX: usize = 100_000;
/// What the place of a document in an array takes: its kind, up to six digits, a zero.
const PLACE_BYTES: usize = 8;
/// What a statement about one document takes beside the document and its `_id`, at most.
const STATEMENT_BYTES: usize = 96;

/// When a write counts as done (MongoDB documentation, Write Concern).
#[derive(Clone, Debug, PartialEq)]
pub struct Durability(WriteConcern);

impl Durability {
    /// As the URL says, but never less than the journal of the primary; a majority of the members if it says nothing.
    ///
    /// # Errors
    /// The URL asks for writes that are not answered.
    pub fn of(url: Option<&WriteConcern>) -> Result<Self> {
        let mut concern = url.cloned().unwrap_or_default();
        // Invariant 2: what the server has confirmed is durable.
        if matches!(concern.w, Some(Acknowledgment::Nodes(0))) || concern.journal == Some(false) {
            return Err(Error::config("[sinker] url asks for writes that may be lost (w=0 or journal=false)")
                .hint("take w and journal out of the url: w=majority is what holds then"));
        }
        if concern.w.is_none() {
            concern.w = Some(Acknowledgment::Majority);
        }
        if matches!(concern.w, Some(Acknowledgment::Nodes(_))) {
            concern.journal = Some(true);
        }
        Ok(Durability(concern))
    }

    /// The driver's form, for transactions.
    pub fn concern(&self) -> WriteConcern {
        self.0.clone()
    }

    /// A command with the write concern behind it.
    ///
    /// # Errors
    /// The command is no document.
    pub fn with(&self, command: &[u8]) -> std::result::Result<Vec<u8>, Malformed> {
        let mut whole = Writer::with_capacity(command.len() + 64);
        for field in raw::fields(command) {
            let field = field?;
            whole.put(field.name, field.value);
        }
        self.put(&mut whole);
        Ok(whole.finish())
    }

    fn put(&self, command: &mut Writer) {
        let WriteConcern { w, w_timeout, journal, .. } = &self.0;
        command.open("writeConcern");
        match w {
            Some(Acknowledgment::Nodes(nodes)) => drop(command.int("w", i32::try_from(*nodes).unwrap_or(i32::MAX))),
            Some(Acknowledgment::Custom(tag)) => drop(command.text("w", tag)),
            Some(_) | None => drop(command.text("w", "majority")),
        }
        if let Some(journal) = journal {
            command.flag("j", *journal);
        }
        if let Some(timeout) = w_timeout {
            command.int("wtimeout", i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX));
        }
        command.close();
    }
}

/// The documents in `data`, in groups that each fit one command.
///
/// # Errors
/// The data are no documents.
pub fn groups<'a>(data: impl Iterator<Item = &'a [u8]>) -> Result<Vec<Vec<&'a [u8]>>> {
    let mut groups: Vec<Vec<&[u8]>> = Vec::new();
    let mut bytes = 0;
    for chunk in data {
        for document in raw::documents(chunk) {
            let document = document.map_err(|Malformed| Error::fatal("a block of documents is damaged"))?;
            let more = document.len() + PLACE_BYTES;
            match groups.last_mut() {
                Some(group) if bytes + more <= COMMAND_BYTES_MAX && group.len() < COMMAND_DOCUMENTS_MAX => {
                    bytes += more;
                    group.push(document);
                }
                Some(_) | None => {
                    bytes = more;
                    groups.push(vec![document]);
                }
            }
        }
    }
    Ok(groups)
}

/// Documents of one group, in parts that each fit a command which names each document's `_id` once more.
pub fn parts<'d, 'a>(documents: &'d [&'a [u8]]) -> Vec<&'d [&'a [u8]]> {
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, document) in documents.iter().enumerate() {
        let more = document.len() + id(document).bytes.len() + STATEMENT_BYTES;
        if at > start && bytes + more > COMMAND_BYTES_MAX {
            parts.push(&documents[start..at]);
            (start, bytes) = (at, 0);
        }
        bytes += more;
    }
    if start < documents.len() {
        parts.push(&documents[start..]);
    }
    parts
}

/// Inserts documents, each whatever becomes of the others. `durability` is left out within a transaction.
pub fn insert(collection: &str, documents: &[&[u8]], durability: Option<&Durability>) -> Vec<u8> {
    let bytes: usize = documents.iter().map(|document| document.len() + PLACE_BYTES).sum();
    let mut command = Writer::with_capacity(bytes + 256);
    command.text("insert", collection).flag("ordered", false);
    array(&mut command, "documents", documents, |command, document| command.extend(document));
    finish(command, durability)
}

/// Replaces documents by their `_id`, each whatever becomes of the others.
pub fn replace(collection: &str, documents: &[&[u8]], durability: Option<&Durability>) -> Vec<u8> {
    let mut command = Writer::new();
    command.text("update", collection).flag("ordered", false);
    array(&mut command, "updates", documents, |command, document| {
        command.begin_document();
        by_id(command, "q", document);
        command.document("u", document).flag("upsert", true).close();
    });
    finish(command, durability)
}

/// Deletes documents by their `_id`.
pub fn delete(collection: &str, documents: &[&[u8]], durability: Option<&Durability>) -> Vec<u8> {
    let mut command = Writer::new();
    command.text("delete", collection).flag("ordered", false);
    array(&mut command, "deletes", documents, |command, document| {
        command.begin_document();
        by_id(command, "q", document);
        command.int("limit", 1).close();
    });
    finish(command, durability)
}

/// Reads documents by their `_id`.
pub fn find(collection: &str, documents: &[&[u8]]) -> Vec<u8> {
    let mut command = Writer::new();
    command.text("find", collection).open("filter").open(ID).open_array("$in");
    for (at, document) in documents.iter().enumerate() {
        command.put(at.to_string().as_bytes(), id(document));
    }
    command.close().close().close();
    command.finish()
}

/// Sets timestamps of zero once more: the server puts the present time in their place when a document comes new (MongoDB
/// documentation, BSON Types, Timestamps). `None` if no document has one.
pub fn restore_zero_timestamps(
    collection: &str,
    documents: &[&[u8]],
    durability: Option<&Durability>,
) -> Option<Vec<u8>> {
    let having: Vec<&[u8]> =
        documents.iter().copied().filter(|document| zero_timestamps(document).next().is_some()).collect();
    if having.is_empty() {
        return None;
    }
    let mut command = Writer::new();
    command.text("update", collection).flag("ordered", false);
    array(&mut command, "updates", &having, |command, document| {
        command.begin_document();
        by_id(command, "q", document);
        let zero = RawValue { kind: kind::TIMESTAMP, bytes: &[0; 8] };
        command.open("u").open("$set");
        for name in zero_timestamps(document) {
            command.put(name, zero);
        }
        command.close().close().close();
    });
    Some(finish(command, durability))
}

/// Names of timestamps of zero that stand in the document itself, `_id` aside.
fn zero_timestamps(document: &[u8]) -> impl Iterator<Item = &[u8]> {
    let fields = raw::fields(document).filter_map(Result::ok);
    let zero = fields.filter(|field| field.value.kind == kind::TIMESTAMP && field.value.bytes == [0; 8]);
    zero.map(|field| field.name).filter(|name| *name != ID.as_bytes())
}

/// Whether the document may replace another: a name in it that begins with a dollar would be an operator.
pub fn may_replace(document: &[u8]) -> bool {
    raw::fields(document).all(|field| field.is_ok_and(|field| !field.name.starts_with(b"$")))
}

fn id(document: &[u8]) -> RawValue<'_> {
    raw::field(document, ID).expect("statement: a document without `_id`, which the source has read by it")
}

/// `$eq`, for an `_id` may be a document.
fn by_id(command: &mut Writer, name: &str, document: &[u8]) {
    command.open(name).open(ID).put(b"$eq", id(document)).close().close();
}

fn array(command: &mut Writer, name: &str, documents: &[&[u8]], put: impl Fn(&mut Writer, &[u8])) {
    command.open_array(name);
    let mut digits = [0; 20];
    for (at, document) in documents.iter().enumerate() {
        command.head_of_document(decimal(at, &mut digits));
        put(command, document);
    }
    command.close();
}

/// A number's digits, without a text being made of each.
fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + u8::try_from(number % 10).expect("statement: a digit");
        number /= 10;
        if number == 0 {
            return &digits[start..];
        }
    }
}

fn finish(mut command: Writer, durability: Option<&Durability>) -> Vec<u8> {
    if let Some(durability) = durability {
        durability.put(&mut command);
    }
    command.finish()
}

#[cfg(test)]
mod tests;
