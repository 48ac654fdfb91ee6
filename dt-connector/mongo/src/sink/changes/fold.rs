//! What the changes of a batch come to, document by document. Pure.
//!
//! All changes of an `_id` fold into one: the document that it has in the end, or none, or what was done to a document that
//! only the target knows. What the target held before does not count, save for the last; so a part of the stream may be
//! applied twice.
//!
//! Two `_id`s are the same here if their bytes are. The server compares otherwise (1 and 1.0, or by a collation): where it
//! takes two of them for one, at most one of them is there in the end, for the source takes them for one as well; all others
//! were deleted. So deletions go first ([`Folded::gone`]), and nothing depends on who compares how.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};
use dt_connector::{Change, Op};

use crate::raw;
use crate::value::ID;

/// The net change of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Net<'a> {
    /// A document with the `_id`: the document itself, or one that holds nothing else.
    pub keyed: &'a [u8],
    /// What it is in the end.
    pub last: Last<'a>,
}

/// What a document is in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Last<'a> {
    /// This; `new` if the source did not have it before.
    Whole {
        /// The document that the amendments are still to be applied to.
        document: &'a [u8],
        /// What was done to it afterwards, in order: the oplog's form of an update.
        amendments: Vec<&'a [u8]>,
        /// Whether the source inserted it within the batch.
        new: bool,
    },
    /// What the target has, amended: the oplog's form of updates, in order.
    Amended(Vec<&'a [u8]>),
    /// Nothing.
    Gone,
}

/// The net changes of one collection, in the order in which their documents were changed first.
#[derive(Debug)]
pub struct Folded<'a> {
    /// The collection on the target.
    pub target: &'a TableId,
    nets: Vec<Net<'a>>,
    places: HashMap<(u8, &'a [u8]), usize>,
}

impl<'a> Folded<'a> {
    /// Documents that are no more; each by a document with its `_id`.
    pub fn gone(&self) -> impl Iterator<Item = &'a [u8]> {
        self.nets.iter().filter(|net| net.last == Last::Gone).map(|net| net.keyed)
    }

    /// Documents that are, with what they are.
    pub fn kept(&self) -> impl Iterator<Item = &Net<'a>> {
        self.nets.iter().filter(|net| net.last != Last::Gone)
    }

    /// All of them.
    pub fn nets(&self) -> &[Net<'a>] {
        &self.nets
    }

    fn net(&mut self, keyed: &'a [u8]) -> Result<&mut Net<'a>> {
        let id = raw::field(keyed, ID).ok_or_else(damaged)?;
        let nets = &mut self.nets;
        let at = *self.places.entry((id.kind, id.bytes)).or_insert_with(|| {
            nets.push(Net { keyed, last: Last::Amended(Vec::new()) });
            nets.len() - 1
        });
        Ok(&mut nets[at])
    }

    fn push(&mut self, op: &Op, data: &'a Bytes) -> Result<()> {
        let part = |range: &Range<usize>| data.get(range.clone()).ok_or_else(damaged);
        match op {
            Op::Insert { after } => {
                let document = part(after)?;
                self.net(document)?.last = Last::Whole { document, amendments: Vec::new(), new: true };
            }
            Op::Update { before, after } => {
                let (keyed, after) = (part(before)?, part(after)?);
                let net = self.net(keyed)?;
                if is_amendment(after) {
                    match &mut net.last {
                        Last::Whole { amendments, .. } | Last::Amended(amendments) => amendments.push(after),
                        // Its insert was left out by `do_events`.
                        Last::Gone => {}
                    }
                } else {
                    let new = matches!(net.last, Last::Whole { new: true, .. });
                    net.last = Last::Whole { document: after, amendments: Vec::new(), new };
                }
            }
            Op::Delete { before } => self.net(part(before)?)?.last = Last::Gone,
            Op::Truncate { .. } | Op::Ddl { .. } => {
                return Err(Error::fatal("a change came to MongoDB that it does not have"));
            }
        }
        Ok(())
    }
}

/// Whether an update is an amendment, and not a whole document: the oplog's own rule, for a document that replaces another
/// begins with its `_id`.
fn is_amendment(update: &[u8]) -> bool {
    raw::fields(update).next().is_some_and(|first| first.is_ok_and(|first| first.name.starts_with(b"$")))
}

/// Folds changes, collection by collection, in the order in which the collections were changed first.
///
/// # Errors
/// The block is damaged.
pub fn fold<'a>(changes: impl Iterator<Item = (&'a Change, &'a Bytes)>) -> Result<Vec<Folded<'a>>> {
    let mut folded: Vec<Folded<'a>> = Vec::new();
    let mut by_name: HashMap<&'a TableId, usize> = HashMap::new();
    let mut last: Option<(&'a Arc<RoutedTable>, usize)> = None;
    for (change, data) in changes {
        let at = match last {
            Some((table, at)) if Arc::ptr_eq(table, &change.table) => at,
            Some(_) | None => *by_name.entry(&change.table.target).or_insert_with(|| {
                let target = &change.table.target;
                folded.push(Folded { target, nets: Vec::new(), places: HashMap::new() });
                folded.len() - 1
            }),
        };
        last = Some((&change.table, at));
        folded[at].push(&change.op, data)?;
    }
    Ok(folded)
}

fn damaged() -> Error {
    Error::fatal("a block of changes is damaged")
}

#[cfg(test)]
mod tests {
    use bson::{Document, doc};

    use super::*;
    use crate::catalog;

    /// A change in a few words: `+` inserts, `=` replaces, `~` amends, `-` deletes.
    fn changes(said: &[(char, Document)]) -> (Vec<Change>, Bytes) {
        let table = Arc::new(RoutedTable {
            source: catalog::schema(TableId::new("d", "s"), None, 0),
            target: TableId::new("d", "t"),
            target_columns: vec!["_id".into()],
        });
        let mut data = Vec::new();
        let changes = said.iter().map(|(what, document)| {
            let mut put = |document: &Document| {
                let start = data.len();
                data.extend(document.to_vec().expect("bytes"));
                start..data.len()
            };
            let mut key = || put(&doc! {"_id": document.get("_id").expect("an id").clone()});
            let op = match what {
                '+' => Op::Insert { after: put(document) },
                '-' => Op::Delete { before: key() },
                '=' => Op::Update { before: key(), after: put(document) },
                '~' => {
                    let before = key();
                    Op::Update { before, after: put(&doc! {"$v": 2, "diff": {"u": document.clone()}}) }
                }
                _ => panic!("no such change"),
            };
            Change { table: table.clone(), op }
        });
        let changes: Vec<Change> = changes.collect();
        (changes, Bytes::from(data))
    }

    fn shown(said: &[(char, Document)]) -> Vec<String> {
        let (changes, data) = changes(said);
        let folded = fold(changes.iter().map(|change| (change, &data))).expect("folded");
        assert_eq!(folded.len(), 1);
        let read = |bytes: &[u8]| Document::from_reader(bytes).expect("a document");
        let id = |keyed: &[u8]| read(keyed).get("_id").expect("an id").to_string();
        let kept = folded[0].kept().map(|net| match &net.last {
            Last::Whole { document, amendments, new } => {
                assert_eq!(id(document), id(net.keyed));
                format!("{} {}~{}", if *new { '+' } else { '=' }, read(document), amendments.len())
            }
            Last::Amended(amendments) => format!("~ {}~{}", id(net.keyed), amendments.len()),
            Last::Gone => panic!("kept and gone"),
        });
        let gone = folded[0].gone().map(|keyed| format!("- {}", id(keyed)));
        gone.chain(kept).collect()
    }

    #[test]
    fn the_last_whole_document_counts_with_what_was_done_to_it() {
        let said = [
            ('+', doc! {"_id": 1, "a": 1}),
            ('~', doc! {"_id": 2, "a": 1}),
            ('=', doc! {"_id": 1, "a": 2}),
            ('~', doc! {"_id": 1, "a": 3}),
            ('~', doc! {"_id": 2, "a": 2}),
            ('=', doc! {"_id": 3, "b": 1}),
            ('~', doc! {"_id": 4, "b": 1}),
            ('=', doc! {"_id": 4, "b": 2}),
        ];
        let wanted =
            [r#"+ { "_id": 1, "a": 2 }~1"#, "~ 2~2", r#"= { "_id": 3, "b": 1 }~0"#, r#"= { "_id": 4, "b": 2 }~0"#];
        assert_eq!(shown(&said), wanted);
    }

    #[test]
    fn what_is_deleted_in_the_end_goes_and_what_comes_again_is_new() {
        let said = [
            ('+', doc! {"_id": 1}),
            ('-', doc! {"_id": 1}),
            ('-', doc! {"_id": "x"}),
            ('+', doc! {"_id": "x", "n": 1}),
        ];
        assert_eq!(shown(&said), ["- 1", r#"+ { "_id": "x", "n": 1 }~0"#]);
    }

    #[test]
    fn an_update_whose_insert_was_left_out_changes_nothing() {
        assert_eq!(shown(&[('-', doc! {"_id": 1}), ('~', doc! {"_id": 1})]), ["- 1"]);
    }

    #[test]
    fn keys_that_only_the_server_takes_for_one_are_two() {
        let said = [('-', doc! {"_id": 1}), ('+', doc! {"_id": 1_i64})];
        assert_eq!(shown(&said), ["- 1", r#"+ { "_id": 1 }~0"#]);
    }

    #[test]
    fn what_cannot_be_is_an_error() {
        for op in [Op::Truncate { restart_identity: false }, Op::Delete { before: 0..900 }, Op::Delete { before: 0..0 }]
        {
            let (mut changes, data) = changes(&[('-', doc! {"_id": 1})]);
            changes[0].op = op;
            assert!(fold(changes.iter().map(|change| (change, &data))).is_err());
        }
    }
}
