//! What a part of a collection's changes comes to, sorted by how it is written. Pure.

use std::borrow::Cow;
use std::collections::HashMap;

use dt_common::{Result, TableId};

use super::amend::amended;
use super::apply::id_of;
use super::fold::{Last, Net};
use crate::raw::RawValue;

/// Documents that are to be there.
#[derive(Debug)]
pub struct Part<'n> {
    /// Those that the source did not have before the batch.
    pub new: Vec<Cow<'n, [u8]>>,
    /// Those that it had, whole.
    pub whole: Vec<Cow<'n, [u8]>>,
    /// Those that only the target knows whole; each by a document with its `_id`.
    pub keyed: Vec<&'n [u8]>,
    amendments: HashMap<(u8, &'n [u8]), &'n [&'n [u8]]>,
    found: usize,
}

impl<'n> Part<'n> {
    /// Sorts them.
    ///
    /// # Errors
    /// An amendment is not understood; `target` is named.
    pub fn of(nets: &[&'n Net<'n>], target: &TableId) -> Result<Self> {
        let mut part =
            Part { new: Vec::new(), whole: Vec::new(), keyed: Vec::new(), amendments: HashMap::new(), found: 0 };
        for net in nets {
            match &net.last {
                Last::Whole { document, amendments, new } => {
                    let document = match amendments.as_slice() {
                        [] => Cow::Borrowed(*document),
                        amendments => Cow::Owned(amended(document, amendments, target)?),
                    };
                    if *new { part.new.push(document) } else { part.whole.push(document) }
                }
                Last::Amended(amendments) => {
                    part.amendments.insert(key(id_of(net.keyed)?), amendments);
                    part.keyed.push(net.keyed);
                }
                Last::Gone => {}
            }
        }
        Ok(part)
    }

    /// What the target has under one of the `_id`s, amended; `None` if it is another document, which the target's collation
    /// takes for the same.
    ///
    /// # Errors
    /// As [`Part::of`].
    pub fn amended(&mut self, document: &[u8], target: &TableId) -> Result<Option<Vec<u8>>> {
        let Some(amendments) = self.amendments.get(&key(id_of(document)?)) else { return Ok(None) };
        self.found += 1;
        amended(document, amendments, target).map(Some)
    }

    /// How many documents that only the target could know have not been amended yet.
    pub fn missing(&self) -> usize {
        self.amendments.len() - self.found
    }
}

fn key(id: RawValue<'_>) -> (u8, &[u8]) {
    (id.kind, id.bytes)
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn documents_are_sorted_by_how_they_are_written_and_amended_by_their_own_ids() -> Result<()> {
        let bytes = |document: bson::Document| document.to_vec().expect("bytes");
        let (id, new, whole) = (bytes(doc! {"_id": 1}), bytes(doc! {"_id": 2}), bytes(doc! {"_id": 3, "a": 1}));
        let amendment = bytes(doc! {"$v": 2, "diff": {"u": {"a": 2}}});
        let of = |document, amendments, new| Last::Whole { document, amendments, new };
        let nets = [
            Net { keyed: &id, last: Last::Amended(vec![&amendment]) },
            Net { keyed: &new, last: of(&new, vec![], true) },
            Net { keyed: &whole, last: of(&whole, vec![&amendment], false) },
            Net { keyed: &id, last: Last::Gone },
        ];
        let target = TableId::new("d", "t");
        let mut part = Part::of(&nets.iter().collect::<Vec<_>>(), &target)?;
        assert_eq!(part.new, [Cow::Borrowed(&new[..])]);
        assert_eq!(part.whole, [Cow::<[u8]>::Owned(bytes(doc! {"_id": 3, "a": 2}))]);
        assert_eq!((&part.keyed[..], part.missing()), (&[&id[..]][..], 1));
        assert_eq!(part.amended(&bytes(doc! {"_id": 1_i64, "a": 1}), &target)?, None, "the same to the server alone");
        let there = bytes(doc! {"_id": 1, "a": 1});
        assert_eq!(part.amended(&there, &target)?, Some(bytes(doc! {"_id": 1, "a": 2})));
        assert_eq!(part.missing(), 0);
        Ok(())
    }
}
