//! What every store promises, as a suite that any of them can be put to: [`conforms`] panics at the first claim that does
//! not hold.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use dt_common::ladder::{Entry, Recordable, Rung};
use dt_common::position::{
    Behind, Chunk, Counted, KeyPart, KeyText, Lineage, MongoCdc, MysqlCdc, OrderKey, PgCdc, PgOrigin, RdbSnapshot,
    RdbSnapshotFinished, RdbSnapshotRows, RdbSnapshotSplit, Redis, Share,
};
use dt_common::{DbType, ErrorClass, Position, Result, TableId};

use crate::loaded::{Loaded, Slot};
use crate::rewind::{Forget, Rewind};
use crate::store::PositionStore;

/// A place where a store keeps positions, and what can be done to it.
#[async_trait]
pub trait Bench: Sync {
    /// Opens the store as the next run of the same task would. The one that was opened before has been dropped, as by a
    /// kill.
    async fn open(&self) -> Result<Box<dyn PositionStore>>;

    /// Opens it as another process would that knows nothing of the first; `None` if the store tells no processes apart.
    async fn open_elsewhere(&self) -> Option<Result<Box<dyn PositionStore>>>;

    /// Takes the store away from whoever has it; `None` if there is no such thing.
    async fn take_over(&self) -> Option<Result<Box<dyn PositionStore>>>;

    /// Forgets all positions; nobody has the store open.
    async fn reset(&self);

    /// Disturbs whoever writes now (a connection that is cut), or does nothing.
    fn disturb(&self);
}

/// What a caller may want to know of a store that has passed.
#[derive(Clone, Copy, Debug)]
pub struct Conformed {
    /// How many saves failed for being disturbed: none says that they were not.
    pub disturbed_saves: u32,
    /// How long it took to load the positions of 10,000 tables.
    pub ten_thousand_loaded_in: Duration,
}

/// Puts a store to all claims, one after another. It may hold positions: they are forgotten.
///
/// # Panics
/// A claim does not hold.
pub async fn conforms(bench: &dyn Bench) -> Conformed {
    every_position_comes_back_as_it_was(bench).await;
    the_newest_of_each_place_counts(bench).await;
    a_finished_table_forgets_its_chunks(bench).await;
    awkward_names_stay_apart(bench).await;
    a_reset_forgets_everything(bench).await;
    a_rewind_forgets_its_tables_and_no_other(bench).await;
    a_rewind_puts_what_counts_from_then_on(bench).await;
    let ten_thousand_loaded_in = ten_thousand_tables_are_kept(bench).await;
    let disturbed_saves = disturbed_saves_are_whole_or_not_there(bench).await;
    there_is_one_writer(bench).await;
    bench.reset().await;
    Conformed { disturbed_saves, ten_thousand_loaded_in }
}

async fn open(bench: &dyn Bench) -> Box<dyn PositionStore> {
    bench.open().await.expect("the store opens")
}

async fn save(store: &mut dyn PositionStore, entries: &[Entry]) {
    let saved = store.save(Recordable::of_applied(entries.to_vec())).await.expect("the store saves");
    assert_eq!(saved.entries(), entries, "what is saved is what was to be saved");
}

async fn load(store: &mut dyn PositionStore) -> Loaded {
    store.load().await.expect("the store loads")
}

/// Positions by what they are about: what a table's rung was, no store need keep.
fn by_place(loaded: &Loaded) -> BTreeMap<Slot, Position> {
    loaded.positions().map(|stored| (Slot::of(&stored.entry), stored.entry.position.clone())).collect()
}

fn places(entries: &[Entry]) -> BTreeMap<Slot, Position> {
    entries.iter().map(|entry| (Slot::of(entry), entry.position.clone())).collect()
}

fn lineage() -> Lineage {
    Lineage { source: Some("0b6e-source".to_owned()), target: Some("target/1".to_owned()) }
}

fn progress(table: &TableId, key: OrderKey) -> Entry {
    let (db_type, table) = (DbType::Mysql, table.clone());
    let position = RdbSnapshot { db_type, table, chunk: None, key, null_keys_done: true, lineage: lineage() };
    Entry { rung: Rung::Current, position: Position::RdbSnapshot(position) }
}

fn at(table: &TableId, value: &str) -> Entry {
    progress(table, OrderKey::single("id", KeyText::Text(value.to_owned())))
}

fn counted(table: &TableId, chunk: Option<Chunk>, rows: u64) -> Entry {
    let (db_type, table) = (DbType::Mysql, table.clone());
    current(Position::RdbSnapshotRows(RdbSnapshotRows { db_type, table, chunk, rows, lineage: lineage() }))
}

fn finished(table: &TableId) -> Entry {
    let (db_type, table) = (DbType::Mysql, table.clone());
    let position = RdbSnapshotFinished { db_type, table, chunk: None, lineage: lineage() };
    Entry { rung: Rung::Finished, position: Position::RdbSnapshotFinished(position) }
}

fn split(table: &TableId, bounds: &[&str]) -> RdbSnapshotSplit {
    let bound = |value: &&str| OrderKey::single("id", KeyText::Text((*value).to_owned()));
    let bounds = bounds.iter().map(bound).collect();
    RdbSnapshotSplit { db_type: DbType::Mysql, table: table.clone(), bounds, lineage: lineage() }
}

fn chunk(split: &RdbSnapshotSplit, no: u32, value: Option<&str>) -> Entry {
    let chunk = Some(Chunk { split: split.id(), no });
    let (db_type, table, lineage) = (split.db_type, split.table.clone(), lineage());
    let position = match value {
        Some(value) => {
            let key = OrderKey::single("id", KeyText::Text(value.to_owned()));
            Position::RdbSnapshot(RdbSnapshot { db_type, table, chunk, key, null_keys_done: true, lineage })
        }
        None => Position::RdbSnapshotFinished(RdbSnapshotFinished { db_type, table, chunk, lineage }),
    };
    Entry { rung: Rung::Current, position }
}

fn current(position: Position) -> Entry {
    Entry { rung: Rung::Current, position }
}

fn mysql_cdc(next_event_position: u64) -> Position {
    Position::MysqlCdc(MysqlCdc {
        behind: None,
        server_id: String::new(),
        binlog_filename: "mysql-bin.000036".to_owned(),
        next_event_position,
        gtid_set: "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".to_owned(),
        timestamp: "2024-10-10 08:00:58.000".to_owned(),
        lineage: lineage(),
    })
}

fn behind() -> Option<Behind> {
    Some(Behind { changes: 12, filter: "6df9c9f2b5d0a7e1".to_owned(), counted: None })
}

/// One position of each kind that there is.
fn every_kind() -> Vec<Entry> {
    let table = |name: &str| TableId::new("kinds", name);
    let composite = OrderKey::new(vec![
        KeyPart { column: "a".to_owned(), value: KeyText::Text("it's \"\\ \n\0 é 🙂".to_owned()) },
        KeyPart { column: "B ".to_owned(), value: KeyText::Bytes(vec![0xff, 0, 0x27]) },
    ]);
    let split = split(&table("chunks"), &["10", "20"]);
    let mut entries = vec![
        progress(&table("composite"), composite.expect("two parts")),
        progress(&table("null"), OrderKey::single("id", KeyText::Null)),
        counted(&table("counted"), None, 2500),
        finished(&table("finished")),
        current(Position::RdbSnapshotSplit(split.clone())),
        counted(&split.table, Some(Chunk { split: split.id(), no: 0 }), 3),
        chunk(&split, 1, None),
        chunk(&split, 2, Some("25")),
    ];
    let pg = |lsn: &str| {
        let origin = Some(PgOrigin { slot: "slot_1".to_owned(), timeline: 3 });
        let timestamp = "2024-10-10 08:12:31.421".to_owned();
        Position::PgCdc(PgCdc { behind: None, lsn: lsn.to_owned(), timestamp, origin, lineage: lineage() })
    };
    let mongo = |operation_time| {
        let resume_token = r#"{"_data":"8266"}"#.to_owned();
        Position::MongoCdc(MongoCdc {
            resume_token,
            operation_time,
            increment: Some(1),
            timestamp: String::new(),
            lineage: lineage(),
        })
    };
    let redis = |repl_offset| {
        let (repl_id, timestamp) = ("66f8".to_owned(), String::new());
        Position::Redis(Redis { repl_id, repl_port: 10_008, repl_offset, now_db_id: 1, timestamp })
    };
    for [is, resumes] in [
        [mysql_cdc(u64::MAX), mysql_cdc(773).with_behind(behind())],
        [pg("1/2"), pg("1/1").with_behind(behind())],
        [mongo(2), mongo(1)],
        [redis(2), redis(1)],
    ] {
        entries.push(current(is));
        entries.push(Entry { rung: Rung::Checkpoint, position: resumes });
    }
    let by = Some(vec![2, 0]);
    for share in [
        Share::Lane { no: 0, of: 2 },
        Share::Lane { no: 1, of: 2 },
        Share::Table { table: table("composite"), by },
        Share::Table { table: table("null"), by: None },
    ] {
        let counted = Some(Box::new(Counted { before: 7, share }));
        let behind = Behind { changes: 0, filter: "f".to_owned(), counted };
        entries.push(Entry { rung: Rung::Checkpoint, position: mysql_cdc(773).with_behind(Some(behind)) });
    }
    entries
}

async fn every_position_comes_back_as_it_was(bench: &dyn Bench) {
    bench.reset().await;
    let mut store = open(bench).await;
    assert!(load(store.as_mut()).await.is_empty(), "a store that nothing was saved in is empty");
    let entries = every_kind();
    save(store.as_mut(), &entries).await;
    assert_eq!(by_place(&load(store.as_mut()).await), places(&entries), "loaded by the same store");
    drop(store);
    assert_eq!(by_place(&load(open(bench).await.as_mut()).await), places(&entries), "loaded by the next run");
}

async fn the_newest_of_each_place_counts(bench: &dyn Bench) {
    bench.reset().await;
    let (table, other) = (TableId::new("d", "t"), TableId::new("d", "u"));
    let mut store = open(bench).await;
    save(store.as_mut(), &[at(&table, "1"), at(&other, "1"), at(&table, "2")]).await;
    // Not greater, later.
    save(store.as_mut(), &[at(&table, "10"), at(&table, "9")]).await;
    save(store.as_mut(), &[Entry { rung: Rung::Checkpoint, position: Position::None }]).await;
    save(store.as_mut(), &[]).await;
    drop(store);
    let kept = by_place(&load(open(bench).await.as_mut()).await);
    assert_eq!(kept, places(&[at(&table, "9"), at(&other, "1")]), "the newest of each, and `None` is none");
}

async fn a_finished_table_forgets_its_chunks(bench: &dyn Bench) {
    bench.reset().await;
    let (table, other) = (TableId::new("d", "t"), TableId::new("d", "t2"));
    let (split, beside) = (split(&table, &["10"]), split(&other, &["10"]));
    let mut store = open(bench).await;
    let begun = [&split, &beside].map(|split| current(Position::RdbSnapshotSplit(split.clone())));
    save(store.as_mut(), &begun).await;
    save(store.as_mut(), &[chunk(&split, 0, Some("5")), chunk(&beside, 0, Some("5"))]).await;
    save(store.as_mut(), &[chunk(&split, 0, None), chunk(&split, 1, None), finished(&table)]).await;
    drop(store);
    let kept = by_place(&load(open(bench).await.as_mut()).await);
    assert_eq!(kept, places(&[finished(&table), begun[1].clone(), chunk(&beside, 0, Some("5"))]));
}

async fn awkward_names_stay_apart(bench: &dyn Bench) {
    bench.reset().await;
    let long = "x".repeat(300);
    let emoji = "🙂".repeat(64);
    let names = [
        ("a-b", "c"),
        ("a", "b-c"),
        ("a.b", "c"),
        ("a", "b.c"),
        ("a", "t"),
        ("a", "T"),
        ("a", "t "),
        ("a", " t"),
        ("a", "t#1"),
        ("a", "e"),
        ("a", "é"),
        ("a", "e\u{301}"),
        ("a", "it's"),
        ("a", "\"q\" `b` \\"),
        ("a", "%"),
        ("a", "_"),
        ("a", "ß"),
        ("a", "ss"),
        ("a", &emoji),
        (&long, "1"),
        (&long, "2"),
        ("a\nb", "\t"),
    ];
    let tables: Vec<TableId> = names.iter().map(|(schema, table)| TableId::new(*schema, *table)).collect();
    let entries: Vec<Entry> = tables.iter().enumerate().map(|(no, table)| at(table, &no.to_string())).collect();
    let mut store = open(bench).await;
    save(store.as_mut(), &entries).await;
    // Again, each by itself: none may replace another one.
    for entry in &entries {
        save(store.as_mut(), std::slice::from_ref(entry)).await;
    }
    assert_eq!(by_place(&load(store.as_mut()).await), places(&entries));
    let done: Vec<Entry> = tables.iter().map(finished).collect();
    save(store.as_mut(), &done).await;
    drop(store);
    assert_eq!(by_place(&load(open(bench).await.as_mut()).await), places(&done));
}

async fn a_reset_forgets_everything(bench: &dyn Bench) {
    let mut store = open(bench).await;
    save(store.as_mut(), &every_kind()).await;
    drop(store);
    bench.reset().await;
    assert!(load(open(bench).await.as_mut()).await.is_empty(), "nothing is left after a reset");
}

async fn a_rewind_forgets_its_tables_and_no_other(bench: &dyn Bench) {
    bench.reset().await;
    let table = |name: &str| TableId::new("d", name);
    let split = split(&table("chunks"), &["10"]);
    let stays = [at(&table("t2"), "5"), finished(&table("T")), current(mysql_cdc(9))];
    let goes = [at(&table("begun"), "1"), finished(&table("t")), current(Position::RdbSnapshotSplit(split.clone()))];
    let mut store = open(bench).await;
    save(store.as_mut(), &goes).await;
    save(store.as_mut(), &[at(&table("t"), "1"), chunk(&split, 0, None), chunk(&split, 1, Some("15"))]).await;
    save(store.as_mut(), &stays).await;
    let forgotten = ["begun", "t", "chunks", "never seen"].map(table).to_vec();
    let rewind = Rewind::of_tables(forgotten.clone());
    store.rewind(&rewind).await.expect("the store steps back");
    assert_eq!(by_place(&load(store.as_mut()).await), places(&stays), "by the same store");
    store.rewind(&rewind).await.expect("twice is harmless");
    // What comes later is as new as ever: a chunk of the split that was is none of the one that will be.
    save(store.as_mut(), &[at(&table("t"), "2")]).await;
    drop(store);
    let mut store = open(bench).await;
    let kept: Vec<Entry> = stays.iter().cloned().chain([at(&table("t"), "2")]).collect();
    assert_eq!(by_place(&load(store.as_mut()).await), places(&kept), "by the next run");
    store.rewind(&Rewind { forget: Forget::Everything, put: Vec::new() }).await.expect("the store forgets");
    assert!(load(store.as_mut()).await.is_empty(), "nothing is left");
}

async fn a_rewind_puts_what_counts_from_then_on(bench: &dyn Bench) {
    bench.reset().await;
    let (table, other) = (TableId::new("d", "t"), TableId::new("d", "u"));
    let checkpoint = |at| Entry { rung: Rung::Checkpoint, position: mysql_cdc(at) };
    let mut store = open(bench).await;
    save(store.as_mut(), &[finished(&table), at(&other, "7"), checkpoint(900), current(mysql_cdc(950))]).await;
    let put = vec![at(&table, "3"), checkpoint(100), current(mysql_cdc(100))];
    store.rewind(&Rewind::to(put.clone())).await.expect("the store steps back");
    let kept: Vec<Entry> = put.into_iter().chain([at(&other, "7")]).collect();
    assert_eq!(by_place(&load(store.as_mut()).await), places(&kept), "an earlier place, and a table begun again");
    save(store.as_mut(), &[checkpoint(101)]).await;
    drop(store);
    let kept = by_place(&load(open(bench).await.as_mut()).await);
    assert_eq!(kept.get(&Slot::Checkpoint(DbType::Mysql)), Some(&mysql_cdc(101)), "and it goes on from there");
    let mut store = open(bench).await;
    let put = every_kind();
    store.rewind(&Rewind { forget: Forget::Everything, put: put.clone() }).await.expect("the store is replaced");
    assert_eq!(by_place(&load(store.as_mut()).await), places(&put), "nothing but what was put");
}

async fn ten_thousand_tables_are_kept(bench: &dyn Bench) -> Duration {
    bench.reset().await;
    let tables: Vec<TableId> = (0..10_000).map(|no| TableId::new("many", format!("table_{no}"))).collect();
    let entries: Vec<Entry> = tables.iter().map(|table| at(table, "1")).collect();
    let mut store = open(bench).await;
    save(store.as_mut(), &entries).await;
    let done: Vec<Entry> = tables.iter().map(finished).collect();
    save(store.as_mut(), &done).await;
    drop(store);
    let mut store = open(bench).await;
    let started = Instant::now();
    let loaded = load(store.as_mut()).await;
    let took = started.elapsed();
    assert_eq!(loaded.positions().count(), 10_000);
    // Debug builds of tests share the machine with servers; the promise is one second.
    assert!(took.as_secs() < 5, "10,000 tables were loaded in {took:?}");
    took
}

async fn disturbed_saves_are_whole_or_not_there(bench: &dyn Bench) -> u32 {
    bench.reset().await;
    let mut disturbed = 0;
    let tables: Vec<TableId> = (0..2_500).map(|no| TableId::new("cut", format!("table_{no}"))).collect();
    let of_round = |round: u32| -> Vec<Entry> { tables.iter().map(|table| at(table, &round.to_string())).collect() };
    let mut store = open(bench).await;
    for round in 1..=8 {
        let mut recordable = Recordable::of_applied(of_round(round));
        bench.disturb();
        let mut attempts = 0;
        loop {
            let failed = match store.save(recordable).await {
                Ok(_) => break,
                Err(failed) => failed,
            };
            assert!(failed.error.class().is_transient(), "a lost connection may be tried again: {}", failed.error);
            assert_eq!(failed.recordable.entries().len(), tables.len(), "what failed comes back whole");
            attempts += 1;
            disturbed += 1;
            assert!(attempts < 100, "the store does not recover: {}", failed.error);
            // Whichever of the two it is, it is all of it.
            if let Ok(loaded) = store.load().await {
                let (before, after) = (places(&of_round(round - 1)), places(&of_round(round)));
                let kept = by_place(&loaded);
                let is_whole = kept == after || (round == 1 && kept.is_empty()) || (round > 1 && kept == before);
                assert!(is_whole, "half of round {round} was saved");
            }
            recordable = failed.recordable;
        }
        assert_eq!(by_place(&load_again(store.as_mut()).await), places(&of_round(round)));
    }
    disturbed
}

/// Loads though a late disturbance may still come.
async fn load_again(store: &mut dyn PositionStore) -> Loaded {
    for _ in 0..10 {
        if let Ok(loaded) = store.load().await {
            return loaded;
        }
    }
    load(store).await
}

async fn there_is_one_writer(bench: &dyn Bench) {
    bench.reset().await;
    let table = TableId::new("d", "t");
    let mut first = open(bench).await;
    save(first.as_mut(), &[at(&table, "1")]).await;
    if let Some(second) = bench.open_elsewhere().await {
        let error = second.map(drop).expect_err("a second process is refused while the first one lives");
        assert_eq!(error.class(), ErrorClass::User, "{error}");
        assert!(error.hint_text().is_some(), "{error}");
        save(first.as_mut(), &[at(&table, "2")]).await;
    }
    if let Some(second) = bench.take_over().await {
        let mut second = second.expect("it is taken over");
        let failed = first.save(Recordable::of_applied(vec![at(&table, "3")])).await;
        let failed = failed.expect_err("who was taken over cannot write");
        assert_eq!(failed.error.class(), ErrorClass::User, "{}", failed.error);
        assert_eq!(by_place(&load(second.as_mut()).await), places(&[at(&table, "2")]));
        save(second.as_mut(), &[at(&table, "4")]).await;
        assert!(first.save(Recordable::of_applied(vec![at(&table, "5")])).await.is_err(), "nor later");
        assert_eq!(by_place(&load(second.as_mut()).await), places(&[at(&table, "4")]));
    }
}
