//! A table that is copied in chunks: ranges of its key, each with a position of its own.

use std::fmt;

use super::{Lineage, OrderKey, wire};
use crate::ids::{DbType, TableId};

/// Where a table is split. It is recorded once, before any row of a chunk is, so that every run knows the same chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdbSnapshotSplit {
    /// The source's kind.
    pub db_type: DbType,
    /// The table.
    pub table: TableId,
    /// The keys at which it is split, in the order of the source's server, all of the same columns and without nulls.
    /// Each is the last of a chunk (whether there is such a row or not); what comes after the last one is a chunk too.
    /// Rows with a null in the key belong to the first chunk.
    pub bounds: Vec<OrderKey>,
    /// Between which servers.
    pub lineage: Lineage,
}

impl RdbSnapshotSplit {
    /// How many chunks there are: one more than bounds.
    pub fn chunks(&self) -> u32 {
        u32::try_from(self.bounds.len() + 1).expect("split: more chunks than can be numbered")
    }

    /// The key after which a chunk begins; `None` for the first one.
    pub fn after(&self, chunk: u32) -> Option<&OrderKey> {
        (chunk as usize).checked_sub(1).and_then(|before| self.bounds.get(before))
    }

    /// The key with which a chunk ends; `None` for the last one.
    pub fn until(&self, chunk: u32) -> Option<&OrderKey> {
        self.bounds.get(chunk as usize)
    }

    /// What its chunks know it by.
    pub fn id(&self) -> SplitId {
        SplitId::of(&wire::bounds_to_json(&self.bounds))
    }
}

/// A chunk of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Chunk {
    /// Of which split: positions of chunks of an earlier one say nothing.
    pub split: SplitId,
    /// Which one, counted from 0.
    pub no: u32,
}

/// Tells a table's splits apart: a hash of the bounds (FNV-1a, 64 bits), so that the same bounds are the same split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SplitId(u64);

impl SplitId {
    fn of(bounds: &str) -> Self {
        let hash = bounds.bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        SplitId(hash)
    }

    /// Reads 16 hexadecimal digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = text.len() == 16 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| u64::from_str_radix(text, 16).ok()).flatten().map(SplitId)
    }
}

/// 16 hexadecimal digits.
impl fmt::Display for SplitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::KeyText;

    fn split(bounds: &[&str]) -> RdbSnapshotSplit {
        let bounds = bounds.iter().map(|bound| OrderKey::single("id", KeyText::Text((*bound).to_owned()))).collect();
        let table = TableId::new("a", "b");
        RdbSnapshotSplit { db_type: DbType::Mysql, table, bounds, lineage: Lineage::default() }
    }

    #[test]
    fn chunks_lie_between_the_bounds_and_beyond_them() {
        let split = split(&["10", "20"]);
        let ranges: Vec<_> = (0..split.chunks()).map(|no| (split.after(no), split.until(no))).collect();
        let [ten, twenty] = [&split.bounds[0], &split.bounds[1]];
        assert_eq!(ranges, [(None, Some(ten)), (Some(ten), Some(twenty)), (Some(twenty), None)]);
    }

    #[test]
    fn a_split_is_known_by_its_bounds_alone() {
        assert_eq!(split(&["10", "20"]).id(), split(&["10", "20"]).id());
        assert_ne!(split(&["10", "20"]).id(), split(&["10", "21"]).id());
        assert_ne!(split(&["10", "20"]).id(), split(&["1", "020"]).id());
        let id = split(&["10"]).id();
        assert_eq!(SplitId::parse(&id.to_string()), Some(id));
        for wrong in ["", "12", "+23456789abcdef0", "0123456789abcdefa", "0123456789abcdeg"] {
            assert_eq!(SplitId::parse(wrong), None, "{wrong}");
        }
    }
}
