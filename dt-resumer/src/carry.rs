//! Positions carried from one store to another: out as lines that every reader of such files understands, in by
//! [`Rewind`], and what stands against it. Pure; [`crate::log::read`] reads the lines.

use dt_common::TableId;
use dt_common::ladder::Entry;
use dt_common::position::line::Line;

use crate::loaded::{Loaded, Slot, Stored};
use crate::log::Home;
use crate::rewind::{Forget, Rewind};

/// All that counts of what is stored, one line each, in the form of `[resumer] config_file`: the lines of position.log
/// and finished.log, with their times where they are known.
pub fn lines(loaded: &Loaded) -> Vec<String> {
    let line = |stored: &Stored| {
        let rung = Home::of(&Slot::of(&stored.entry)).rung(stored.entry.rung);
        Line { stamp: stored.stamp.clone(), rung, position: stored.entry.position.clone() }.to_string()
    };
    loaded.positions().map(line).collect()
}

/// What is stored and would move backwards, or may do so: positions are never compared here, so that two different ones
/// of the same table or stream are two that differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The table is finished here and not there.
    Unfinished(TableId),
    /// Something else is stored of the table.
    Table(TableId),
    /// Another place is stored of the stream.
    Stream,
}

/// What stands against putting `wanted` beside what is `stored`. A table that is finished there is never behind; what is
/// the same on both sides is none either.
pub fn conflicts(stored: &Loaded, wanted: &Loaded) -> Vec<Conflict> {
    let mut found: Vec<Conflict> = Vec::new();
    for (slot, position) in wanted.slots().iter().filter(|(slot, _)| wanted.slots().is_live(slot)) {
        let conflict = match slot {
            Slot::Nothing | Slot::Finished(..) => None,
            Slot::Current(_) | Slot::Checkpoint(_) | Slot::Lane(..) | Slot::Spread(..) => {
                stored.slots().get(slot).filter(|here| !is_same(here, position)).map(|_| Conflict::Stream)
            }
            Slot::InProgress(db_type, table) | Slot::Chunk(db_type, table, _) => {
                let here = stored.slots().of_table(*db_type, table);
                let there = wanted.slots().of_table(*db_type, table);
                let equal =
                    here.len() == there.len() && here.iter().zip(&there).all(|(one, other)| is_same(one, other));
                match here.first() {
                    None => None,
                    Some(_) if equal => None,
                    Some(first) if matches!(Slot::of(&first.entry), Slot::Finished(..)) => {
                        Some(Conflict::Unfinished(table.clone()))
                    }
                    Some(_) => Some(Conflict::Table(table.clone())),
                }
            }
        };
        found.extend(conflict.filter(|conflict| !found.contains(conflict)));
    }
    found
}

fn is_same(one: &Stored, other: &Stored) -> bool {
    one.entry.position == other.entry.position
}

/// What brings `wanted` into a store: in the place of everything, or beside what is stored of other tables and streams.
pub fn import(wanted: &Loaded, replaces_everything: bool) -> Rewind {
    let put: Vec<Entry> = wanted.positions().map(|stored| stored.entry.clone()).collect();
    let forget = if replaces_everything { Forget::Everything } else { Forget::Tables(Vec::new()) };
    Rewind { forget, put }
}

#[cfg(test)]
mod tests {
    use dt_common::ladder::Rung;
    use dt_common::position::{KeyText, Lineage, OrderKey, PgCdc, RdbSnapshot, RdbSnapshotFinished};
    use dt_common::{DbType, Position};

    use super::*;

    fn at(name: &str, value: &str) -> Entry {
        let (db_type, table) = (DbType::Pg, TableId::new("d", name));
        let key = OrderKey::single("id", KeyText::Text(value.into()));
        let position =
            RdbSnapshot { db_type, table, chunk: None, key, null_keys_done: false, lineage: Lineage::default() };
        Entry { rung: Rung::Current, position: Position::RdbSnapshot(position) }
    }

    fn finished(name: &str) -> Entry {
        let (db_type, table) = (DbType::Pg, TableId::new("d", name));
        let position = RdbSnapshotFinished { db_type, table, chunk: None, lineage: Lineage::default() };
        Entry { rung: Rung::Finished, position: Position::RdbSnapshotFinished(position) }
    }

    fn stream(lsn: &str) -> Entry {
        let position = PgCdc {
            lsn: lsn.into(),
            timestamp: String::new(),
            origin: None,
            lineage: Lineage::default(),
            behind: None,
        };
        Entry { rung: Rung::Checkpoint, position: Position::PgCdc(position) }
    }

    fn against(stored: &[Entry], wanted: &[Entry]) -> Vec<Conflict> {
        conflicts(&Loaded::of_entries(stored.to_vec()), &Loaded::of_entries(wanted.to_vec()))
    }

    #[test]
    fn what_would_move_backwards_or_may_is_named() {
        let t = TableId::new("d", "t");
        assert_eq!(against(&[], &[at("t", "1"), stream("0/1")]), []);
        assert_eq!(against(&[at("t", "1")], &[finished("t")]), []);
        assert_eq!(against(&[at("t", "1"), stream("0/1")], &[at("t", "1"), stream("0/1")]), []);
        assert_eq!(against(&[at("u", "1")], &[at("t", "2")]), []);
        assert_eq!(against(&[finished("t")], &[at("t", "1")]), [Conflict::Unfinished(t.clone())]);
        assert_eq!(against(&[at("t", "1")], &[at("t", "2")]), [Conflict::Table(t)]);
        assert_eq!(against(&[stream("0/1")], &[stream("0/2")]), [Conflict::Stream]);
    }

    #[test]
    fn lines_say_what_counts_and_read_back() {
        let lines = lines(&Loaded::of_entries([at("t", "1"), finished("t"), at("u", "2"), stream("0/1")]));
        assert_eq!(
            lines,
            [
                r#"| current_position | {"type":"RdbSnapshot","db_type":"pg","schema":"d","tb":"u","order_col":"id","value":"2"}"#,
                r#"{"type":"RdbSnapshotFinished","db_type":"pg","schema":"d","tb":"t"}"#,
                r#"| checkpoint_position | {"type":"PgCdc","lsn":"0/1","timestamp":""}"#,
            ]
        );
        for line in lines {
            assert!(Line::parse(&line).expect("a line").is_some());
        }
    }
}
