use dt_common::ladder::{Entry, Rung};
use dt_common::position::{Chunk, KeyPart, PgCdc, RdbSnapshotFinished};
use dt_common::schema::{Column, Key};

use super::*;
use crate::decision::ChunkDecision;

/// A table `d`.`t` with these columns, and the key over the ones at these places.
fn table(columns: &[&str], key: &[usize], nullable: bool) -> TableSchema {
    let column = |name: &&str| Column {
        name: (*name).to_owned(),
        data_type: "int".to_owned(),
        nullable,
        charset: None,
        collation: None,
        binary_form: None,
    };
    let key = (!key.is_empty()).then(|| Key { name: "k".to_owned(), columns: key.to_vec(), nullable });
    TableSchema { id: TableId::new("d", "t"), columns: columns.iter().map(column).collect(), key, rows_estimate: 0 }
}

fn key(parts: &[(&str, Option<&str>)]) -> OrderKey {
    let part = |(column, value): &(&str, Option<&str>)| KeyPart {
        column: (*column).to_owned(),
        value: value.map_or(KeyText::Null, |value| KeyText::Text(value.to_owned())),
    };
    OrderKey::new(parts.iter().map(part).collect()).unwrap()
}

fn at(parts: &[(&str, Option<&str>)], lineage: Lineage) -> Entry {
    let position = Position::RdbSnapshot(RdbSnapshot {
        db_type: DbType::Mysql,
        table: TableId::new("d", "t"),
        chunk: None,
        key: key(parts),
        null_keys_done: true,
        lineage,
    });
    Entry { rung: Rung::Current, position }
}

fn plan(entry: Entry) -> Plan {
    Plan::for_snapshot(&Loaded::of_entries([entry]), DbType::Mysql).unwrap()
}

fn decide(stored: &[(&str, Option<&str>)], table: &TableSchema) -> Decision {
    plan(at(stored, Lineage::default())).decide(table)
}

fn warned(decision: &Decision) -> bool {
    matches!(decision, Decision::Beginning { why: Some(_) })
}

const BEGINNING: Decision = Decision::Beginning { why: None };

#[test]
fn a_table_goes_on_after_its_whole_key() {
    let stored = [("a", Some("1")), ("b", Some("30"))];
    let decision = decide(&stored, &table(&["b", "a", "c"], &[1, 0], false));
    assert_eq!(decision, Decision::After { key: key(&stored), null_keys_done: true });
    assert_eq!(
        decision.log_line(&TableId::new("d", "t")).unwrap(),
        r#"resumer, get resume value, schema: d, tb: t, col: a,b, result: Some("1,30")"#
    );
}

#[test]
fn a_single_column_that_begins_a_longer_key_is_honoured() {
    let stored = [("a", Some("1"))];
    assert_eq!(decide(&stored, &table(&["a", "b"], &[0, 1], false)), Decision::AtPrefix { key: key(&stored) });
    assert!(warned(&decide(&stored, &table(&["b", "a"], &[0, 1], false))));
}

#[test]
fn a_keyless_table_goes_on_after_its_first_column() {
    let stored = [("a", Some("1"))];
    assert_eq!(decide(&stored, &table(&["a", "b"], &[], true)), Decision::AfterFirstColumn { key: key(&stored) });
    assert!(warned(&decide(&stored, &table(&["b", "a"], &[], true))));
    assert!(warned(&decide(&[("a", Some("1")), ("b", Some("2"))], &table(&["a", "b"], &[], true))));
    assert!(warned(&decide(&stored, &table(&[], &[], true))));
}

#[test]
fn a_key_that_has_changed_starts_over_and_says_what_differs_but_no_value() {
    let decision = decide(&[("a", Some("secret")), ("b", Some("30"))], &table(&["b", "a"], &[0, 1], false));
    assert_eq!(
        decision,
        Decision::Beginning {
            why: Some(
                "table `d`.`t` starts from the beginning: its position was stored by the column(s) (a, b), and now its \
                 key is (b, a)"
                    .to_owned()
            )
        }
    );
    assert!(warned(&decide(&[("a", Some("1")), ("b", Some("2"))], &table(&["a", "b", "c"], &[0, 1, 2], false))));
    assert!(warned(&decide(&[("x", Some("1"))], &table(&["a"], &[0], false))));
    assert!(warned(&decide(&[("A", Some("1"))], &table(&["a"], &[0], false))));
}

#[test]
fn a_position_within_the_null_rows_reads_them_again() {
    assert_eq!(decide(&[("a", None)], &table(&["a"], &[0], true)), BEGINNING);
    assert_eq!(decide(&[("a", Some("1")), ("b", None)], &table(&["a", "b"], &[0, 1], true)), BEGINNING);
    assert_eq!(decide(&[("a", None)], &table(&["a", "b"], &[0, 1], true)), BEGINNING);
    assert_eq!(decide(&[("a", None)], &table(&["a"], &[], true)), BEGINNING);
    assert!(warned(&decide(&[("a", None)], &table(&["a"], &[0], false))));
}

#[test]
fn a_table_that_nothing_is_known_of_begins() {
    let plan = Plan::for_snapshot(&Loaded::default(), DbType::Mysql).unwrap();
    assert!(plan.is_empty());
    assert_eq!(plan.decide(&table(&["a"], &[0], false)), BEGINNING);
    assert_eq!(BEGINNING.log_line(&TableId::new("d", "t")), None);
}

fn lineage(source: &str, target: &str) -> Lineage {
    let id = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Lineage { source: id(source), target: id(target) }
}

#[test]
fn positions_of_other_servers_are_refused_with_both_identities_and_the_ways_out() {
    let stored = plan(at(&[("a", Some("1"))], lineage("s1", "t1")));
    for (here, side, then, now) in
        [(lineage("s2", "t1"), "source", "s1", "s2"), (lineage("s1", "t2"), "target", "t1", "t2")]
    {
        let shown = stored.check_lineage(&here).unwrap_err().to_string();
        assert!(shown.starts_with(&format!("the stored position is of another {side} server")), "{shown}");
        for part in
            [&format!("stored: {then}, actual: {now}"), "`d`.`t`", "allow_other_server=true", "resume_type=dummy"]
        {
            assert!(shown.contains(part), "{shown}");
        }
    }
}

#[test]
fn the_same_servers_and_servers_that_are_not_known_are_accepted() {
    let stored = plan(at(&[("a", Some("1"))], lineage("s1", "t1")));
    for here in [lineage("s1", "t1"), lineage("", "t1"), lineage("s1", ""), lineage("", "")] {
        stored.check_lineage(&here).unwrap();
    }
    plan(at(&[("a", Some("1"))], Lineage::default())).check_lineage(&lineage("s1", "t1")).unwrap();
}

#[test]
fn a_finished_table_of_another_server_is_refused_as_well() {
    let position = Position::RdbSnapshotFinished(RdbSnapshotFinished {
        db_type: DbType::Mysql,
        table: TableId::new("d", "t"),
        chunk: None,
        lineage: lineage("s1", ""),
    });
    let stored = plan(Entry { rung: Rung::Finished, position });
    assert_eq!(stored.counts(), (1, 0));
    assert!(stored.check_lineage(&lineage("s2", "t")).is_err());
}

#[test]
fn positions_of_another_task_are_refused() {
    let position = Position::PgCdc(PgCdc {
        behind: None,
        lsn: "0/1".to_owned(),
        timestamp: String::new(),
        origin: None,
        lineage: Lineage::default(),
    });
    let stream = Loaded::of_entries([Entry { rung: Rung::Checkpoint, position }]);
    let shown = Plan::for_snapshot(&stream, DbType::Pg).unwrap_err().to_string();
    assert!(shown.contains("another kind of task") && shown.contains("log_dir"), "{shown}");
    let shown = crate::cdc::resume_point(&stream, DbType::Mysql).unwrap_err().to_string();
    assert!(shown.contains("of a pg source, this one is mysql"), "{shown}");

    let snapshot = Loaded::of_entries([at(&[("a", Some("1"))], Lineage::default())]);
    let shown = Plan::for_snapshot(&snapshot, DbType::Pg).unwrap_err().to_string();
    assert!(shown.contains("of a mysql source, this one is pg"), "{shown}");
    assert_eq!(crate::cdc::resume_point(&snapshot, DbType::Mysql).unwrap(), None);
}

fn split(bounds: &[&str], lineage: Lineage) -> RdbSnapshotSplit {
    let bounds = bounds.iter().map(|bound| key(&[("a", Some(bound))])).collect();
    RdbSnapshotSplit { db_type: DbType::Mysql, table: TableId::new("d", "t"), bounds, lineage }
}

fn split_entry(split: &RdbSnapshotSplit) -> Entry {
    Entry { rung: Rung::Current, position: Position::RdbSnapshotSplit(split.clone()) }
}

/// The chunk's position: after this key, or finished.
fn of_chunk(split: &RdbSnapshotSplit, no: u32, at: Option<&str>) -> Entry {
    let chunk = Some(Chunk { split: split.id(), no });
    let (db_type, table, lineage) = (split.db_type, split.table.clone(), split.lineage.clone());
    let position = match at {
        Some(at) => {
            let key = key(&[("a", Some(at))]);
            Position::RdbSnapshot(RdbSnapshot { db_type, table, chunk, key, null_keys_done: false, lineage })
        }
        None => Position::RdbSnapshotFinished(RdbSnapshotFinished { db_type, table, chunk, lineage }),
    };
    Entry { rung: Rung::Current, position }
}

fn decide_all(entries: impl IntoIterator<Item = Entry>, table: &TableSchema) -> Decision {
    Plan::for_snapshot(&Loaded::of_entries(entries), DbType::Mysql).unwrap().decide(table)
}

fn after(at: &str, null_keys_done: bool) -> Decision {
    Decision::After { key: key(&[("a", Some(at))]), null_keys_done }
}

#[test]
fn of_a_table_in_chunks_exactly_the_finished_ones_are_skipped() {
    let split = split(&["10", "20", "30"], Lineage::default());
    let stored = [of_chunk(&split, 2, None), of_chunk(&split, 1, Some("15")), of_chunk(&split, 0, Some("3"))];
    let table = table(&["a"], &[0], false);
    let decision = decide_all([split_entry(&split)].into_iter().chain(stored), &table);
    let until = |at: &str| Some(key(&[("a", Some(at))]));
    let remaining = vec![
        ChunkDecision { no: 0, begins: after("3", false), until: until("10") },
        ChunkDecision { no: 1, begins: after("15", true), until: until("20") },
        ChunkDecision { no: 3, begins: after("30", true), until: None },
    ];
    assert_eq!(decision, Decision::InChunks { split: split.id(), of: 4, remaining });
    let line = decision.log_line(&table.id).unwrap();
    assert_eq!(line, "resumer, check chunks: schema: d, tb: t, chunks: 4, finished: 1");
}

#[test]
fn a_table_whose_chunks_are_all_finished_has_none_left() {
    let split = split(&["10"], Lineage::default());
    let stored = [split_entry(&split), of_chunk(&split, 0, None), of_chunk(&split, 1, None)];
    let none_left = Decision::InChunks { split: split.id(), of: 2, remaining: Vec::new() };
    assert_eq!(decide_all(stored.clone(), &table(&["a"], &[0], false)), none_left);
    let mut finished = at(&[("a", Some("1"))], Lineage::default());
    finished.position = Position::RdbSnapshotFinished(RdbSnapshotFinished {
        db_type: DbType::Mysql,
        table: TableId::new("d", "t"),
        chunk: None,
        lineage: Lineage::default(),
    });
    assert_eq!(decide_all(stored.into_iter().chain([finished]), &table(&["a"], &[0], false)), Decision::Skip);
}

#[test]
fn chunks_of_another_split_say_nothing() {
    let (earlier, split) = (split(&["10"], Lineage::default()), split(&["10", "20"], Lineage::default()));
    let stored = [split_entry(&earlier), of_chunk(&earlier, 0, None), split_entry(&split), of_chunk(&split, 1, None)];
    let table = table(&["a"], &[0], false);
    let Decision::InChunks { remaining, of: 3, .. } = decide_all(stored, &table) else { panic!("in chunks") };
    assert_eq!(remaining.iter().map(|chunk| chunk.no).collect::<Vec<_>>(), [0, 2]);
    // Nor do they without any, or beside a position of the whole table that is newer.
    assert_eq!(decide_all([of_chunk(&split, 0, None)], &table), BEGINNING);
    let whole = [split_entry(&split), of_chunk(&split, 0, None), at(&[("a", Some("7"))], Lineage::default())];
    assert_eq!(decide_all(whole, &table), after("7", true));
}

#[test]
fn a_split_by_another_key_starts_over() {
    let split = split(&["10"], Lineage::default());
    let stored = || [split_entry(&split), of_chunk(&split, 0, None)];
    for key in [&[1][..], &[0, 1], &[]] {
        assert!(warned(&decide_all(stored(), &table(&["a", "b"], key, false))), "{key:?}");
    }
}

#[test]
fn a_chunk_of_another_server_is_refused() {
    let split = split(&["10"], lineage("s1", "t1"));
    let moved = RdbSnapshotSplit { lineage: lineage("s2", "t1"), ..split.clone() };
    let plan = Plan::for_snapshot(&Loaded::of_entries([split_entry(&split), of_chunk(&moved, 0, None)]), DbType::Mysql);
    let plan = plan.unwrap();
    assert!(plan.check_lineage(&lineage("s1", "t1")).is_err());
    assert_eq!(plan.counts(), (0, 1));
}
