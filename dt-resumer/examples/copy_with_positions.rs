//! A tool that has nothing of dt but this crate: it appends the lines of one file to another, slowly, and keeps in a
//! position table how far it is. Kill it at any moment, and start it again with the same arguments: each line is copied
//! once.
//!
//! ```text
//! cargo run -p dt-resumer --features mysql,postgres --example copy_with_positions -- \
//!     mysql://user:password@127.0.0.1:3306 from.txt to.txt
//! ```
//!
//! The first argument may be `postgres://…/database` as well.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::time::Duration;

use dt_common::config::Endpoint;
use dt_common::ladder::{Entry, Recordable, Rung};
use dt_common::position::{KeyText, Lineage, OrderKey, RdbSnapshot, RdbSnapshotFinished};
use dt_common::schema::{Column, Key, TableSchema};
use dt_common::{DbType, Position, Secret, TableId};
use dt_resumer::log::proof_of;
use dt_resumer::sql::{Holder, SqlOptions, SqlStore};
use dt_resumer::{Decision, Plan, PositionStore};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, from, to] = arguments.as_slice() else { return Err("three arguments: URL FROM TO".into()) };
    let db_type = if url.starts_with("mysql:") { DbType::Mysql } else { DbType::Pg };
    let endpoint = Endpoint::new(db_type, Secret::new(url.as_str()))?;

    // One process at a time: another one with the same task_id is refused. If this one is killed, the next need not wait
    // for its lease: it can show that it holds the lock that goes with its process.
    let mut target = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(to)?;
    target.try_lock()?;
    let holder = Holder::here(proof_of(&target));
    let options = SqlOptions::new(endpoint, format!("copy of {from} to {to}"));
    let mut store = SqlStore::open(SqlOptions { holder, ..options }).await?;
    let copied = copy(&mut store, from, &mut target).await;
    // Whatever came of it, the next one need not wait for our lease to end.
    store.close().await;
    writeln!(std::io::stdout(), "{} lines were copied", copied?)?;
    Ok(())
}

/// The file as a table whose key is the number of the line.
fn table(name: &str) -> TableSchema {
    let line = Column {
        name: "line".into(),
        data_type: "bigint".into(),
        nullable: false,
        charset: None,
        collation: None,
        binary_form: None,
    };
    let key = Key { name: "PRIMARY".into(), columns: vec![0], nullable: false };
    TableSchema { id: TableId::new("files", name), columns: vec![line], key: Some(key), rows_estimate: 0 }
}

async fn copy(store: &mut SqlStore, from: &str, target: &mut File) -> Result<usize, Box<dyn Error>> {
    let table = table(from);
    let plan = Plan::for_snapshot(&store.load().await?, DbType::Mysql)?;
    let done: usize = match plan.decide(&table) {
        Decision::Skip => return Ok(0),
        Decision::After { key, .. } => match &key.parts()[0].value {
            KeyText::Text(line) => line.parse()?,
            KeyText::Null | KeyText::Bytes(_) => return Err("the recorded line is no number".into()),
        },
        _ => 0,
    };
    // What was written and not recorded comes again: the file is cut back to what is recorded.
    let mut kept = String::new();
    target.read_to_string(&mut kept)?;
    let kept: u64 = kept.split_inclusive('\n').take(done).map(|line| line.len() as u64).sum();
    target.set_len(kept)?;
    target.seek(SeekFrom::End(0))?;

    let text = std::fs::read_to_string(from)?;
    let mut copied = 0;
    for (at, line) in text.lines().enumerate().skip(done) {
        writeln!(target, "{line}")?;
        // Durable first, recorded then: never the other way round.
        target.sync_all()?;
        let key = OrderKey::single("line", KeyText::Text((at + 1).to_string()));
        let position = RdbSnapshot {
            db_type: DbType::Mysql,
            table: table.id.clone(),
            chunk: None,
            key,
            null_keys_done: true,
            lineage: Lineage::default(),
        };
        record(store, Rung::Current, Position::RdbSnapshot(position)).await?;
        copied += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (db_type, table, lineage) = (DbType::Mysql, table.id, Lineage::default());
    let finished = RdbSnapshotFinished { db_type, table, chunk: None, lineage };
    record(store, Rung::Finished, Position::RdbSnapshotFinished(finished)).await?;
    Ok(copied)
}

/// A real tool tries again what `failed.error.class()` calls transient.
async fn record(store: &mut SqlStore, rung: Rung, position: Position) -> Result<(), Box<dyn Error>> {
    let saved = store.save(Recordable::of_applied(vec![Entry { rung, position }])).await;
    saved.map(drop).map_err(|failed| failed.error.into())
}
