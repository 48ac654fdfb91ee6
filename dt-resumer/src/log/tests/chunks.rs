//! Tables in chunks, in files that are rewritten and merged.

use dt_common::position::{Chunk, RdbSnapshotSplit};

use super::*;

/// What a task records that copies two tables in chunks, one of them to its end.
fn chunk_saves() -> Vec<Vec<Entry>> {
    let split = |table: &str| RdbSnapshotSplit {
        db_type: DbType::Mysql,
        table: TableId::new("d", table),
        bounds: (1..8).map(|at| OrderKey::single("id", KeyText::Text((at * 100).to_string()))).collect(),
        lineage: Lineage::default(),
    };
    let of_chunk = |split: &RdbSnapshotSplit, no: u32, at: u32| {
        let mut entry = progress(&split.table.table, at);
        let chunk = Some(Chunk { split: split.id(), no });
        match &mut entry.position {
            Position::RdbSnapshot(snapshot) => snapshot.chunk = chunk,
            Position::RdbSnapshotFinished(finished) => finished.chunk = chunk,
            other => panic!("{other:?}"),
        }
        entry
    };
    let tables = [split("done"), split("half")];
    let mut saves = vec![tables.iter().map(|split| progress_of(Position::RdbSnapshotSplit(split.clone()))).collect()];
    for no in 0..8 {
        saves.push(vec![of_chunk(&tables[0], no, no * 100 + 50), of_chunk(&tables[1], no, no * 100 + 50)]);
        saves.push(vec![of_chunk(&tables[0], no, FINISHED)]);
        if no % 2 == 0 {
            saves.push(vec![of_chunk(&tables[1], no, FINISHED)]);
        }
    }
    saves.push(vec![progress("done", FINISHED)]);
    saves
}

fn progress_of(position: Position) -> Entry {
    Entry { rung: Rung::Current, position }
}

/// The table's chunks that are finished, if it is in chunks.
fn finished_chunks(loaded: &Loaded, table: &str) -> Option<Vec<u32>> {
    let id = dt_common::schema::TableSchema {
        id: TableId::new("d", table),
        columns: vec![dt_common::schema::Column {
            name: "id".to_owned(),
            data_type: "int".to_owned(),
            nullable: false,
            charset: None,
            collation: None,
            binary_form: None,
        }],
        key: Some(dt_common::schema::Key { name: "k".to_owned(), columns: vec![0], nullable: false }),
        rows_estimate: 0,
    };
    match crate::Plan::for_snapshot(loaded, DbType::Mysql).unwrap().decide(&id) {
        crate::Decision::InChunks { of, remaining, .. } => {
            Some((0..of).filter(|no| remaining.iter().all(|chunk| chunk.no != *no)).collect())
        }
        _ => None,
    }
}

#[test]
fn finished_chunks_survive_rewriting_and_go_with_their_table() {
    let disk = PowerDisk::new();
    let mut run = journal(&disk);
    for entries in chunk_saves() {
        run.record(&entries).unwrap();
    }
    // Fills the file until it is rewritten.
    for at in 0..40 {
        run.record(&[progress("other", at)]).unwrap();
    }
    let position_log = disk.text(&own(POSITION_LOG)).unwrap();
    assert!(!position_log.contains("\"tb\":\"done\""), "a finished table's chunks are dropped: {position_log}");
    assert!(!disk.text(&own(FINISHED_LOG)).unwrap().contains("RdbSnapshotChunkFinished"));
    let loaded = journal(&disk).load().unwrap();
    assert_eq!(finished_chunks(&loaded, "half"), Some(vec![0, 2, 4, 6]));
    assert_eq!(finished_chunks(&loaded, "done"), None);
}

#[test]
fn chunks_of_two_places_are_never_mixed() {
    let (own_disk, elsewhere) = (PowerDisk::new(), chunk_saves().concat());
    let (early, late) = ("2026-01-01 00:00:00.1", "2026-01-01 00:00:00.2");
    let of_half = |entry: &&Entry| format!("{entry:?}").contains("half");
    let all: Vec<&Entry> = elsewhere.iter().filter(of_half).collect();
    let text = |stamp: &str, entries: &[&Entry]| entries.iter().map(|entry| line(stamp, entry)).collect::<String>();
    // Here the split and its first two positions, there all of them and later.
    own_disk.put(&own(POSITION_LOG), text(early, &all[..3]).as_bytes());
    own_disk.put(Path::new("/old/position.log"), text(late, &all).as_bytes());
    let options = || LogOptions { resume_log_dir: Some("/old".into()), ..options() };
    for _ in 0..2 {
        let loaded = journal_of(&own_disk, options()).load().unwrap();
        assert_eq!(finished_chunks(&loaded, "half"), Some(vec![0, 2, 4, 6]));
    }
    // The own directory is complete now.
    assert_eq!(finished_chunks(&journal(&own_disk).load().unwrap(), "half"), Some(vec![0, 2, 4, 6]));
}
