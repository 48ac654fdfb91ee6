//! The log store on a real disk, with the files of the documents.

use std::fs;
use std::path::Path;

use dt_common::ladder::{Entry, Recordable, Rung};
use dt_common::position::{KeyText, Lineage, OrderKey, RdbSnapshot, RdbSnapshotFinished};
use dt_common::schema::{Column, Key, TableSchema};
use dt_common::{DbType, ErrorClass, Position, TableId};
use dt_resumer::cdc::{resume_from, resume_point};
use dt_resumer::log;
use dt_resumer::{Decision, LogOptions, LogStore, MemoryStore, Plan, PositionStore};

fn keyed(schema: &str, table: &str, key: &str) -> TableSchema {
    let column = Column {
        name: key.to_owned(),
        data_type: "int".to_owned(),
        nullable: false,
        charset: None,
        collation: None,
        binary_form: None,
    };
    let key = Key { name: "PRIMARY".to_owned(), columns: vec![0], nullable: false };
    TableSchema { id: TableId::new(schema, table), columns: vec![column], key: Some(key), rows_estimate: 0 }
}

fn progress(table: &TableSchema, value: &str) -> Entry {
    let position = Position::RdbSnapshot(RdbSnapshot {
        db_type: DbType::Mysql,
        table: table.id.clone(),
        chunk: None,
        key: OrderKey::single(table.key_columns()[0], KeyText::Text(value.to_owned())),
        null_keys_done: false,
        lineage: Lineage::default(),
    });
    Entry { rung: Rung::Current, position }
}

fn finished(table: TableId) -> Entry {
    let position = Position::RdbSnapshotFinished(RdbSnapshotFinished {
        db_type: DbType::Mysql,
        table,
        chunk: None,
        lineage: Lineage::default(),
    });
    Entry { rung: Rung::Finished, position }
}

async fn plan(store: &mut impl PositionStore) -> Plan {
    Plan::for_snapshot(&store.load().await.expect("readable positions"), DbType::Mysql)
        .expect("the example can be written and planned")
}

/// The example of the documents: all three files, and the lines of default.log.
fn write_example(dir: &Path) {
    let old = dir.join("resume_logs");
    fs::create_dir(&old).expect("the example can be written and planned");
    fs::write(
        dir.join("resume.config"),
        r#"{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"test_db_@","tb":"finished_table_*$1"}
{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"test_db_@","tb":"finished_table_*$2"}
{"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_1","tb":"one_pk_no_uk","order_col":"f_0","value":"5"}
{"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_1","tb":"one_pk_multi_uk","order_col":"f_0","value":"5"}
{"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_@","tb":"resume_table_*$4","order_col":"p.k","value":"1"}
"#,
    )
    .expect("the example can be written and planned");
    fs::write(
        old.join("finished.log"),
        r#"2024-04-01 07:08:05.459594 | {"type":"RdbSnapshotFinished","db_type":"mysql","schema":"test_db_@","tb":"in_finished_log_table_*$1"}
2024-04-01 07:08:06.537135 | {"type":"RdbSnapshotFinished","db_type":"mysql","schema":"test_db_@","tb":"in_finished_log_table_*$2"}
"#,
    )
    .expect("the example can be written and planned");
    fs::write(
        old.join("position.log"),
        r#"2024-03-29 07:02:24.463776 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_@","tb":"in_position_log_table_*$1","order_col":"p.k","value":"0"}
2024-03-29 07:02:24.463777 | current_position | {"type":"RdbSnapshot","db_type":"mysql","schema":"test_db_@","tb":"in_position_log_table_*$1","order_col":"p.k","value":"1"}
"#,
    )
    .expect("the example can be written and planned");
}

const EXAMPLE_DEFAULT_LOG: [&str; 8] = [
    r#"resumer, get resume value, schema: test_db_1, tb: one_pk_multi_uk, col: f_0, result: Some("5")"#,
    r#"resumer, get resume value, schema: test_db_1, tb: one_pk_no_uk, col: f_0, result: Some("5")"#,
    r#"resumer, check finished: schema: test_db_@, tb: finished_table_*$1, result: true"#,
    r#"resumer, check finished: schema: test_db_@, tb: finished_table_*$2, result: true"#,
    r#"resumer, check finished: schema: test_db_@, tb: in_finished_log_table_*$1, result: true"#,
    r#"resumer, check finished: schema: test_db_@, tb: in_finished_log_table_*$2, result: true"#,
    r#"resumer, get resume value, schema: test_db_@, tb: in_position_log_table_*$1, col: p.k, result: Some("1")"#,
    r#"resumer, get resume value, schema: test_db_@, tb: resume_table_*$4, col: p.k, result: Some("1")"#,
];

#[tokio::test]
async fn the_example_of_the_documents_is_decided_as_its_default_log_says_also_after_a_second_restart() {
    let dir = tempfile::tempdir().unwrap();
    write_example(dir.path());
    let tables = [
        keyed("test_db_1", "one_pk_multi_uk", "f_0"),
        keyed("test_db_1", "one_pk_no_uk", "f_0"),
        keyed("test_db_@", "finished_table_*$1", "p.k"),
        keyed("test_db_@", "finished_table_*$2", "p.k"),
        keyed("test_db_@", "in_finished_log_table_*$1", "p.k"),
        keyed("test_db_@", "in_finished_log_table_*$2", "p.k"),
        keyed("test_db_@", "in_position_log_table_*$1", "p.k"),
        keyed("test_db_@", "resume_table_*$4", "p.k"),
    ];
    let mut options = LogOptions::new(dir.path().join("logs"));
    let alone = options.clone();
    options.resume_log_dir = Some(dir.path().join("resume_logs"));
    options.resume_config = Some(dir.path().join("resume.config"));
    // The last run reads what the others have written into their own log_dir.
    for options in [options.clone(), options, alone] {
        let mut store = LogStore::open(options).await.unwrap();
        let plan = plan(&mut store).await;
        let lines: Vec<String> = tables.iter().map(|table| plan.decide(table).log_line(&table.id).unwrap()).collect();
        assert_eq!(lines, EXAMPLE_DEFAULT_LOG);
        assert_eq!(plan.counts(), (4, 4));
    }
}

#[tokio::test]
async fn a_stream_goes_on_from_the_checkpoint_of_the_documents() {
    let json = r#"{"type":"MysqlCdc","server_id":"","binlog_filename":"mysql-bin.000004","next_event_position":73685,"gtid_set":"","timestamp":"2024-10-18 05:21:44.000"}"#;
    let dir = tempfile::tempdir().unwrap();
    let log = format!(
        "2024-10-18 05:21:45.207788 | checkpoint_position | {json}\n\
         2024-10-18 05:21:46.207788 | current_position | {}\n\
         2024-10-18 05:21:47.207788 | checkpoint_position | {{\"type\":\"None\"}}\n",
        json.replace("73685", "99999")
    );
    fs::write(dir.path().join("position.log"), log).unwrap();
    let mut store = LogStore::open(LogOptions::new(dir.path())).await.unwrap();
    let loaded = store.load().await.unwrap();
    let point = resume_point(&loaded, DbType::Mysql).unwrap().unwrap();
    assert_eq!(resume_from(&point.entry.position), format!("resume from: {json}"));
}

#[tokio::test]
async fn two_tasks_cannot_share_a_log_dir() {
    let dir = tempfile::tempdir().unwrap();
    let first = LogStore::open(LogOptions::new(dir.path())).await.unwrap();
    let refused = LogStore::open(LogOptions::new(dir.path())).await.unwrap_err();
    assert_eq!(refused.class(), ErrorClass::User);
    assert!(refused.to_string().contains("another task is running with this log directory"), "{refused}");
    drop(first);
    LogStore::open(LogOptions::new(dir.path())).await.unwrap();
}

#[tokio::test]
async fn what_was_saved_is_read_by_the_next_store() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (keyed("d", "a", "id"), keyed("d", "b", "id"));
    let mut store = LogStore::open(LogOptions::new(dir.path().join("new/logs"))).await.unwrap();
    let entries = vec![progress(&a, "5"), finished(b.id.clone())];
    let saved = store.save(Recordable::of_applied(entries.clone())).await.unwrap();
    assert_eq!(saved.entries(), entries);
    drop(store);
    let mut store = LogStore::open(LogOptions::new(dir.path().join("new/logs"))).await.unwrap();
    let plan = plan(&mut store).await;
    assert_eq!(plan.decide(&b), Decision::Skip);
    let key = OrderKey::single("id", KeyText::Text("5".to_owned()));
    assert_eq!(plan.decide(&a), Decision::After { key, null_keys_done: false });
}

#[tokio::test]
async fn a_save_that_fails_gives_back_what_was_to_be_saved() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = LogStore::open(LogOptions::new(dir.path())).await.unwrap();
    // A directory in the file's place: it can neither be read nor written.
    fs::create_dir(dir.path().join("finished.log")).unwrap();
    let entries = vec![finished(TableId::new("d", "a"))];
    let failed = store.save(Recordable::of_applied(entries.clone())).await.unwrap_err();
    assert_eq!(failed.recordable.entries(), entries);
    assert!(failed.error.hint_text().is_some());
    fs::remove_dir(dir.path().join("finished.log")).unwrap();
    let saved = store.save(failed.recordable).await.unwrap();
    assert_eq!(saved.entries(), entries);
}

#[tokio::test]
async fn a_dry_run_sees_what_a_start_would_load_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_example(dir.path());
    let mut options = LogOptions::new(dir.path().join("logs"));
    options.resume_log_dir = Some(dir.path().join("resume_logs"));
    options.resume_config = Some(dir.path().join("resume.config"));
    let peeked = log::peek(options.clone()).await.unwrap();
    assert!(!log::peek_holds_positions(options.clone()).await.unwrap());
    assert!(!dir.path().join("logs").exists());
    let mut store = LogStore::open(options.clone()).await.unwrap();
    assert_eq!(store.load().await.unwrap(), peeked);
    // Also beside the running task.
    assert!(log::peek_holds_positions(options.clone()).await.unwrap());
    assert_eq!(log::peek(options).await.unwrap().positions().count(), 8);
}

#[tokio::test]
async fn a_directory_to_resume_from_that_is_not_there_is_an_error_and_an_empty_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = LogOptions::new(dir.path().join("logs"));
    options.resume_log_dir = Some(dir.path().join("old"));
    let mut store = LogStore::open(options.clone()).await.unwrap();
    let missing = store.load().await.unwrap_err();
    assert_eq!(missing.class(), ErrorClass::User);
    assert!(missing.to_string().contains("[resumer] log_dir"), "{missing}");
    fs::create_dir(dir.path().join("old")).unwrap();
    assert!(store.load().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_own_directory_under_another_name_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = LogOptions::new(dir.path());
    options.resume_log_dir = Some(dir.path().join("."));
    let table = keyed("d", "a", "id");
    let mut store = LogStore::open(options).await.unwrap();
    let _ = store.save(Recordable::of_applied(vec![progress(&table, "5")])).await.unwrap();
    assert_eq!(store.load().await.unwrap().positions().count(), 1);
    let lines = fs::read_to_string(dir.path().join("position.log")).unwrap();
    assert_eq!(lines.lines().count(), 1);
}

#[tokio::test]
async fn ten_thousand_finished_tables_are_skipped_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let tables: Vec<TableSchema> = (0..10_001).map(|n| keyed("d", &format!("t{n}"), "id")).collect();
    let mut store = LogStore::open(LogOptions::new(dir.path())).await.unwrap();
    let (last, done) = tables.split_last().unwrap();
    let entries = done.iter().map(|table| finished(table.id.clone())).chain([progress(last, "7")]);
    let _ = store.save(Recordable::of_applied(entries.collect())).await.unwrap();
    let begun = std::time::Instant::now();
    let plan = plan(&mut store).await;
    let decisions: Vec<Decision> = tables.iter().map(|table| plan.decide(table)).collect();
    println!("loaded and decided in {:?}", begun.elapsed());
    assert_eq!(decisions.iter().filter(|decision| **decision == Decision::Skip).count(), 10_000);
    assert!(matches!(decisions.last(), Some(Decision::After { .. })));
}

#[tokio::test]
async fn a_fresh_start_sets_the_old_files_aside() {
    let dir = tempfile::tempdir().unwrap();
    let table = keyed("d", "a", "id");
    let mut store = LogStore::open(LogOptions::new(dir.path())).await.unwrap();
    assert!(!store.holds_positions().await.unwrap());
    let entries = vec![progress(&table, "5"), finished(TableId::new("d", "b"))];
    let _ = store.save(Recordable::of_applied(entries)).await.unwrap();
    assert!(store.holds_positions().await.unwrap());
    let renamed = store.set_aside().await.unwrap();
    assert!(renamed.len() == 2 && renamed.iter().all(|file| file.is_file()), "{renamed:?}");
    assert!(!store.holds_positions().await.unwrap());
    let _ = store.save(Recordable::of_applied(vec![progress(&table, "1")])).await.unwrap();
    assert_eq!(plan(&mut store).await.counts(), (0, 1));
}

#[tokio::test]
async fn the_memory_store_shares_what_it_keeps_and_fails_when_told() {
    let table = keyed("d", "a", "id");
    let mut store = MemoryStore::new();
    store.fail_next_saves(1);
    let failed = store.save(Recordable::of_applied(vec![progress(&table, "5")])).await.unwrap_err();
    assert!(failed.error.class().is_transient());
    assert!(store.load().await.unwrap().is_empty());
    let _ = store.save(failed.recordable).await.unwrap();
    assert_eq!(plan(&mut store.clone()).await.counts(), (0, 1));
    assert_eq!(store.entries(), [progress(&table, "5")]);
}
