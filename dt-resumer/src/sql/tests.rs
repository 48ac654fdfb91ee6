use dt_common::ladder::{Entry, Rung};
use dt_common::position::{KeyText, Lineage, OrderKey, RdbSnapshot, RdbSnapshotFinished, RdbSnapshotSplit};
use dt_common::{DbType, ErrorClass, Position};

use super::*;

fn table() -> TableId {
    TableId::new("meta", "pos")
}

fn fence() -> Fence {
    Fence { epoch: 3, holder: Holder { host: "db1".into(), pid: 7, proof: None }, released: false }
}

fn writer(dialect: Dialect) -> PositionWriter {
    PositionWriter::new(dialect, &table(), "it's", &fence(), Limits::none())
}

fn at(name: &str, value: &str) -> Entry {
    let position = Position::RdbSnapshot(RdbSnapshot {
        db_type: DbType::Mysql,
        table: TableId::new("a", name),
        chunk: None,
        key: OrderKey::single("id", KeyText::Text(value.to_owned())),
        null_keys_done: false,
        lineage: Lineage::default(),
    });
    Entry { rung: Rung::Current, position }
}

fn finished(name: &str) -> Entry {
    let position = Position::RdbSnapshotFinished(RdbSnapshotFinished {
        db_type: DbType::Mysql,
        table: TableId::new("a", name),
        chunk: None,
        lineage: Lineage::default(),
    });
    Entry { rung: Rung::Finished, position }
}

#[test]
fn mysql_statements_are_these() {
    let write = writer(Dialect::Mysql).statements(&[at("B", "1"), finished("c")]).unwrap();
    assert_eq!(
        write.guard,
        "SELECT id FROM `meta`.`pos` WHERE task_id = 'it''s' AND resumer_type = 'Fence' AND position_key = 'fence' AND \
         position_data = '{\"epoch\":3,\"host\":\"db1\",\"pid\":7,\"type\":\"Fence\"}' LOCK IN SHARE MODE"
    );
    assert_eq!(
        write.statements,
        [
            "DELETE FROM `meta`.`pos` WHERE task_id = 'it''s' AND resumer_type = 'SnapshotChunk' AND \
             SUBSTRING_INDEX(position_key, '#', 1) IN ('a/c')",
            "INSERT INTO `meta`.`pos` (task_id, resumer_type, position_key, position_data, updated_at) VALUES \
             ('it''s', 'SnapshotDoing', 'a/%42', \
             '{\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"a\",\"tb\":\"B\",\"order_col\":\"id\",\"value\":\"1\"}', \
             CURRENT_TIMESTAMP), \
             ('it''s', 'SnapshotFinished', 'a/c', \
             '{\"type\":\"RdbSnapshotFinished\",\"db_type\":\"mysql\",\"schema\":\"a\",\"tb\":\"c\"}', CURRENT_TIMESTAMP) \
             ON DUPLICATE KEY UPDATE position_data = VALUES(position_data), updated_at = VALUES(updated_at)",
        ]
    );
}

#[test]
fn postgresql_statements_are_these() {
    let write = writer(Dialect::Postgres).statements(&[at("b", "1")]).unwrap();
    assert!(write.guard.ends_with("\"type\":\"Fence\"}' FOR SHARE"), "{}", write.guard);
    assert_eq!(
        write.statements,
        ["INSERT INTO \"meta\".\"pos\" (task_id, resumer_type, position_key, position_data, updated_at) VALUES \
          ('it''s', 'SnapshotDoing', 'a/b', \
          '{\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"a\",\"tb\":\"b\",\"order_col\":\"id\",\"value\":\"1\"}', \
          pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())) \
          ON CONFLICT (task_id, resumer_type, position_key) DO UPDATE SET position_data = EXCLUDED.position_data, \
          updated_at = EXCLUDED.updated_at"]
    );
}

#[test]
fn literals_mean_the_same_in_every_session() {
    assert_eq!(Dialect::Mysql.string("it's"), "'it''s'");
    assert_eq!(Dialect::Mysql.string(r"a\é"), "_utf8mb4 x'615cc3a9'");
    assert_eq!(Dialect::Postgres.string("it's é"), "'it''s é'");
    assert_eq!(Dialect::Postgres.string(r"it's \"), r"E'it''s \\'");
}

#[test]
fn statements_are_cut_by_rows_and_by_bytes() {
    let entries: Vec<Entry> = (0..2_500).map(|no| at(&format!("t{no}"), "1")).collect();
    let of_rows = writer(Dialect::Mysql).statements(&entries).unwrap();
    assert_eq!(of_rows.statements.len(), 3);
    let limits = Limits::of_packet(64 * 1024, None);
    let small = PositionWriter::new(Dialect::Mysql, &table(), "t", &fence(), limits).statements(&entries).unwrap();
    assert!(small.statements.len() > 10);
    assert!(small.statements.iter().all(|statement| statement.len() < limits.statement_bytes + 1024));
}

#[test]
fn a_position_that_does_not_fit_is_refused_by_name() {
    let bound = |no: u32| OrderKey::single("id", KeyText::Text(no.to_string()));
    let split = RdbSnapshotSplit {
        db_type: DbType::Mysql,
        table: TableId::new("a", "large"),
        bounds: (0..20_000).map(bound).collect(),
        lineage: Lineage::default(),
    };
    let entry = Entry { rung: Rung::Current, position: Position::RdbSnapshotSplit(split) };
    let narrow = Limits { data_bytes: Some(65_535), ..Limits::none() };
    let small = Limits::of_packet(100_000, None);
    for (limits, way_out) in [(narrow, "mediumtext"), (small, "max_allowed_packet")] {
        let writer = PositionWriter::new(Dialect::Mysql, &table(), "t", &fence(), limits);
        let error = writer.statements(std::slice::from_ref(&entry)).unwrap_err();
        assert_eq!(error.class(), ErrorClass::User);
        assert!(error.to_string().contains("`a`.`large`") && error.to_string().contains(way_out), "{error}");
    }
}

fn row(id: u64, resumer_type: &str, key: &str, data: &str) -> Row {
    let (task_id, resumer_type, key) = ("t".to_owned(), resumer_type.to_owned(), key.to_owned());
    Row { id: id.to_string(), task_id, resumer_type, key, data: Some(data.to_owned()), stamp: None }
}

fn read(rows: Vec<Row>) -> Result<Read> {
    rows::read(rows, "t", &Arc::from("meta.pos"))
}

const OLD_B_C: &str =
    r#"{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b-c","order_col":"id","value":"6"}"#;

#[test]
fn rows_of_the_older_tool_are_read_by_their_data_and_go_when_ours_are_written() {
    let found = read(vec![
        row(5, "SnapshotDoing", "a-b-c", OLD_B_C),
        row(6, "SnapshotFinished", "a-d", r#"{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"a","tb":"d"}"#),
        row(7, "CdcDoing", "default_key", r#"{"type":"PgCdc","lsn":"0/1","timestamp":""}"#),
    ])
    .unwrap();
    let tables: Vec<String> = found.loaded.positions().map(|stored| format!("{:?}", stored.entry)).collect();
    assert_eq!(tables.len(), 3);
    assert!(tables.iter().any(|entry| entry.contains("Checkpoint") && entry.contains("0/1")), "{tables:?}");
    let mut writer = writer(Dialect::Mysql);
    writer.replaces(found.foreign);
    let write = writer.statements(&[at("b-c", "7")]).unwrap();
    assert_eq!(write.statements[0], "DELETE FROM `meta`.`pos` WHERE id IN (5)");
    assert!(write.statements[1].contains("'a/b-c'"), "{write:?}");
    assert_eq!(writer.statements(&[at("x", "7")]).unwrap().statements.len(), 1);
}

#[test]
fn a_row_that_cannot_be_understood_is_named_by_its_id() {
    let finished = r#"{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"a","tb":"d"}"#;
    for (resumer_type, data) in [
        ("SnapshotDoing", "{"),
        ("SnapshotDoing", finished),
        ("SnapshotFinished", OLD_B_C),
        ("CdcDoing", OLD_B_C),
        ("SnapshotChunk", OLD_B_C),
        ("SomethingElse", OLD_B_C),
        ("SnapshotDoing", r#"{"type":"PgCdc","lsn":"0/1","timestamp":""}"#),
    ] {
        let error = read(vec![row(1, "Fence", "fence", ""), row(17, resumer_type, "k", data)]).unwrap_err();
        assert_eq!(error.class(), ErrorClass::User);
        assert!(error.to_string().contains("id: 17"), "{error}");
    }
}

#[test]
fn a_task_that_the_servers_collation_takes_for_ours_is_refused() {
    let mut other = row(1, "SnapshotDoing", "a/b", OLD_B_C);
    other.task_id = "T".to_owned();
    assert!(read(vec![other]).unwrap_err().to_string().contains("the other one: T"));
}
