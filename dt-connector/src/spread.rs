//! Which lane a change belongs to, where several lanes apply a stream at the same time.
//!
//! Changes that must stay in order belong to one lane, or a barrier separates them. So a table is spread by a key only if
//! no two rows that any server takes for equal could go to two lanes: the target has that one unique key and no other, and
//! equal values of its columns are always written down alike. All other tables are in one lane each.

mod document;

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::Result;
use dt_common::schema::RoutedTable;

use crate::batch::{Change, Op, RowFormat};
use document::Id;

/// How a table's changes are spread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// By the values of these columns, as their places in [`TableSchema::columns`](dt_common::schema::TableSchema::columns),
    /// which are the source's key. Never none.
    ByKey(Vec<usize>),
    /// All in one lane.
    Whole,
}

/// Says how tables are spread.
#[async_trait]
pub trait Spreader: Send {
    /// The table's rule. Asked when a table is met, and when it has another shape than before.
    ///
    /// # Errors
    /// The target does not have the table, or it does not fit; those of the connection.
    async fn rule(&mut self, table: &Arc<RoutedTable>) -> Result<Rule>;
}

/// A rule that a change makes known with its block, and whose table it is of: it is durable before the first change that is
/// spread by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruled {
    /// The table.
    pub table: Arc<RoutedTable>,
    /// Its rule from here on.
    pub rule: Rule,
}

/// Where a block lies in a stream that several lanes apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// The number of the source's block that it is a part of, from 1; the number before where more of that block follows.
    pub serial: u64,
    /// How many changes the stream has until the end of that block.
    pub whole: u64,
    /// How many changes the stream has until this block's end, those of other lanes included.
    pub index: u64,
    /// What was read before it is applied first, in every lane, and what was read after it only then.
    pub barrier: bool,
    /// What the block makes known.
    pub ruled: Option<Ruled>,
}

/// What decides a change's lane. The same for ever: positions of lanes depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot(u64);

impl Slot {
    /// The lane among so many.
    pub fn lane(self, lanes: u32) -> u32 {
        // The lower bits of an FNV hash depend on the lower bits of the text alone.
        let folded = (self.0 >> 32) ^ (self.0 & 0xffff_ffff);
        u32::try_from(folded % u64::from(lanes.max(1))).expect("spread: a lane below a number of 32 bits")
    }
}

/// Which slots a change belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// One.
    One(Slot),
    /// What it was, and what it is.
    Two(Slot, Slot),
    /// All of them: it must stand alone.
    All,
}

/// The slots of a change by its table's rule. `data` is the block's.
pub fn slots(change: &Change, rule: &Rule, format: RowFormat, data: &[u8]) -> Slots {
    let of = |row: &std::ops::Range<usize>| slot(&change.table, rule, format, &data[row.clone()]);
    match &change.op {
        Op::Insert { after } => one(of(after)),
        Op::Delete { before } => one(of(before)),
        Op::Update { before, after } if before == after => one(of(after)),
        // No update changes an `_id`, and what the oplog says of one does not name it.
        Op::Update { before, .. } if format == RowFormat::Bson => one(of(before)),
        Op::Update { before, after } => match (of(before), of(after)) {
            (Some(before), Some(after)) if before == after => Slots::One(before),
            (Some(before), Some(after)) => Slots::Two(before, after),
            (None, _) | (_, None) => Slots::All,
        },
        Op::Ddl { .. } | Op::Truncate { .. } => Slots::All,
    }
}

fn one(slot: Option<Slot>) -> Slots {
    slot.map_or(Slots::All, Slots::One)
}

/// The slot of a row; `None` if its key is not said.
fn slot(table: &RoutedTable, rule: &Rule, format: RowFormat, row: &[u8]) -> Option<Slot> {
    let mut hash = Fnv::new();
    hash.take(table.target.schema.as_bytes());
    hash.take(table.target.table.as_bytes());
    let whole = hash.0;
    let places = match rule {
        Rule::ByKey(places) => places,
        Rule::Whole => return Some(Slot(whole)),
    };
    match format {
        RowFormat::MysqlText | RowFormat::PgText => {}
        RowFormat::Bson => {
            return match document::id(row, hash) {
                Id::Alone(hash) => Some(Slot(hash.0)),
                Id::Whole => Some(Slot(whole)),
                Id::Unknown => None,
            };
        }
        // Rows of this form are not split into fields here, and nobody says that they can be.
        RowFormat::PgBinary => return Some(Slot(whole)),
    }
    let row = row.strip_suffix(b"\n").unwrap_or(row);
    for &place in places {
        // A raw tab separates fields: within one it is escaped.
        match row.split(|&byte| byte == b'\t').nth(place) {
            // Nulls are not equal to each other: such rows are told apart by all that is in them.
            Some(b"\\N") => return Some(Slot(whole)),
            Some(b"\\T") if format == RowFormat::PgText => return None,
            Some(field) => hash.take(field),
            None => return None,
        }
    }
    Some(Slot(hash.0))
}

/// FNV-1a with 64 bits (draft-eastlake-fnv, 5 "The 64-bit FNV-1a"), over texts each of which ends with a byte that none holds, or bytes of
/// which the first say how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn take(&mut self, text: &[u8]) {
        self.take_all(text);
        self.take_all(b"\t");
    }

    fn take_all(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use dt_common::TableId;
    use dt_common::schema::TableSchema;

    use super::*;

    const BY_FIRST: fn() -> Rule = || Rule::ByKey(vec![0]);

    fn table(name: &str) -> Arc<RoutedTable> {
        let id = TableId::new("db", name);
        let source = TableSchema { id: id.clone(), columns: vec![], key: None, rows_estimate: 0 };
        Arc::new(RoutedTable { source, target: id, target_columns: vec![] })
    }

    fn inserted(name: &str, rule: &Rule, row: &str) -> Slots {
        let change = Change { table: table(name), op: Op::Insert { after: 0..row.len() } };
        slots(&change, rule, RowFormat::MysqlText, row.as_bytes())
    }

    fn updated(format: RowFormat, before: &str, after: &str) -> Slots {
        let data = format!("{before}{after}");
        let op = Op::Update { before: 0..before.len(), after: before.len()..data.len() };
        slots(&Change { table: table("t"), op }, &BY_FIRST(), format, data.as_bytes())
    }

    #[test]
    fn a_row_is_told_by_its_table_and_its_key_alone() {
        let slot = |name, row| inserted(name, &BY_FIRST(), row);
        assert_eq!(slot("t", "1\ta\n"), slot("t", "1\tb\n"));
        assert_ne!(slot("t", "1\ta\n"), slot("t", "2\ta\n"));
        assert_ne!(slot("t", "1\ta\n"), slot("u", "1\ta\n"));
        assert_eq!(inserted("t", &Rule::Whole, "1\ta\n"), inserted("t", &Rule::Whole, "2\tb\n"));
        let two = Rule::ByKey(vec![0, 1]);
        assert_ne!(inserted("t", &two, "1\t23\n"), inserted("t", &two, "12\t3\n"));
    }

    #[test]
    fn a_row_with_a_null_in_its_key_is_where_the_whole_table_would_be() {
        assert_eq!(inserted("t", &BY_FIRST(), "\\N\ta\n"), inserted("t", &Rule::Whole, "1\ta\n"));
    }

    #[test]
    fn an_update_that_moves_a_key_belongs_to_two_slots_and_one_that_does_not_say_it_to_all() {
        let mysql = |before, after| updated(RowFormat::MysqlText, before, after);
        assert_eq!(mysql("1\ta\n", "1\tb\n"), inserted("t", &BY_FIRST(), "1\n"));
        let (Slots::One(one), Slots::One(two)) = (mysql("1\t\n", "1\t\n"), mysql("2\t\n", "2\t\n")) else {
            panic!("a key that stays is in one slot")
        };
        assert_eq!(mysql("1\ta\n", "2\tb\n"), Slots::Two(one, two));
        assert_eq!(updated(RowFormat::PgText, "1\ta\n", "\\T\tb\n"), Slots::All);
        let truncate = Change { table: table("t"), op: Op::Truncate { restart_identity: false } };
        assert_eq!(slots(&truncate, &Rule::Whole, RowFormat::PgText, b""), Slots::All);
    }

    #[test]
    fn a_document_is_told_by_its_id_alone_and_one_whose_id_may_be_equal_to_any_belongs_to_all() {
        let bson = |op, data: &[u8]| slots(&Change { table: table("t"), op }, &BY_FIRST(), RowFormat::Bson, data);
        // {_id: 1}, and what the oplog says of an update.
        let (keyed, diff) = (b"\x0e\0\0\0\x10_id\0\x01\0\0\0\0", b"\x0d\0\0\0\x10$v\0\x02\0\0\0\0");
        let data = [&keyed[..], diff].concat();
        let one = bson(Op::Insert { after: 0..keyed.len() }, &data);
        assert!(matches!(one, Slots::One(_)));
        assert_eq!(bson(Op::Update { before: 0..keyed.len(), after: keyed.len()..data.len() }, &data), one);
        assert_eq!(bson(Op::Delete { before: 0..keyed.len() }, &data), one);
        let decimal = [&[0, 0, 0, 0, 0x13], &b"_id\0"[..], &[0; 17]].concat();
        assert_eq!(bson(Op::Delete { before: 0..decimal.len() }, &decimal), Slots::All);
    }

    #[test]
    fn slots_are_the_same_for_ever() {
        let lane = |row, of| match inserted("t", &BY_FIRST(), row) {
            Slots::One(slot) => (slot.0, slot.lane(of)),
            other => panic!("{other:?}"),
        };
        assert_eq!(lane("1\n", 4), (3873694198097496415, 2));
        assert_eq!(lane("2\n", 4), (3876579316609354404, 1));
    }

    #[test]
    fn keys_are_spread_evenly() {
        for of in [2, 3, 4, 7] {
            let mut counts = vec![0_u32; of as usize];
            for key in (0..4000).map(|n| (n * 4).to_string()) {
                let Slots::One(slot) = inserted("t", &BY_FIRST(), &format!("{key}\tx\n")) else { panic!("one slot") };
                counts[slot.lane(of) as usize] += 1;
            }
            let fair = 4000 / of;
            assert!(counts.iter().all(|count| (fair * 8 / 10..fair * 12 / 10).contains(count)), "{counts:?}");
        }
    }
}
