//! What is PostgreSQL's own: the servers, the sample, the writer, places in its log, and how a database that is in use
//! is moved.

use anyhow::{Context, Result};
use dt_tests::db::Dialect;
use dt_tests::sample::postgres as sample;
use dt_tests::servers::{Kind, Options, Pair, Server};
use dt_tests::task::{RecordedKey, Task};
use dt_tests::writer::postgres as writer;
use serde_json::Value;

use crate::say;
use crate::snapshot::Sample;
use crate::stream::{Live, LiveTable, MARKS, Place};

const SHOP: &str = "shop";
const LIVE: &str = "live";
/// What is copied of each database.
const SCHEMA: &str = "public";
/// The slot of the stream.
const SLOT: &str = "dt_live";

pub(crate) fn servers() -> Result<Pair> {
    say("Starting PostgreSQL 15 and PostgreSQL 18 on 127.0.0.1 …")?;
    // Large transactions are streamed before they are committed.
    let extra = vec!["--logical_decoding_work_mem=64kB".to_owned()];
    let source = Server::start(Kind::Postgres15, &Options { extra, ..Options::default() })?;
    Ok(Pair { source, target: Server::start(Kind::Postgres18, &Options::default())? })
}

/// The database that is copied.
pub(crate) fn sample(pair: &Pair) -> Result<Sample> {
    let (source, target) = pair.database(SHOP)?;
    let task = Task::of_postgres_pair(pair, SHOP)?;
    Ok(Sample {
        source,
        target,
        task,
        schema: SCHEMA,
        tables: &sample::TABLES,
        create_and_fill: sample::create_and_fill,
        create_tables: sample::create_tables,
        rows_after,
    })
}

/// An SQL condition for the rows after a recorded key, which holds no null.
fn rows_after(key: &RecordedKey) -> String {
    let columns: Vec<String> = key.0.iter().map(|(column, _)| Dialect::Postgres.quoted(column)).collect();
    let values: Vec<String> =
        key.0.iter().map(|(_, value)| Dialect::Postgres.literal(value.as_deref().unwrap_or_default())).collect();
    format!("({}) > ({})", columns.join(", "), values.join(", "))
}

/// The database that is followed. It is in use while it is moved: a slot is made, then it is copied, then followed.
pub(crate) fn live(pair: &Pair) -> Result<Live> {
    let (source, target) = pair.database(LIVE)?;
    for db in [&source, &target] {
        writer::create(db)?;
        db.exec(MARKS)?;
    }
    writer::fill(&source)?;
    say(
        "A writer begins: inserts, updates, deletes, changes of keys, rollbacks, TOAST, TRUNCATE, large transactions …",
    )?;
    let writing = writer::start(&pair.source, LIVE, 7)?;

    say("dt-main makes a replication slot, and is stopped; then it copies the database while it is written to …")?;
    let task = Task::of_postgres_pair(pair, LIVE)?.follows(SLOT);
    let mut running = task.spawn()?;
    running.until_log_holds("default.log", "PgCdcExtractor starts")?;
    running.sigterm()?;
    running.wait()?.expect_code(128 + 15)?;
    Task::of_postgres_pair(pair, LIVE)?.run()?.expect_code(0).context("the copy of the live database")?;

    let tables = writer::TABLES.iter().map(|table| LiveTable { name: table.name, unidentified: table.unidentified });
    Ok(Live {
        tables: tables.collect(),
        schema: SCHEMA,
        writer: Some(writing),
        // The log holds more than the changes: indexes, and what was rolled back.
        bytes_a_run: 12_000_000,
        task,
        place,
        source,
        target,
    })
}

/// A checkpoint's LSN.
fn place(checkpoint: &Value) -> Option<Place> {
    let text = checkpoint["lsn"].as_str()?;
    let (upper, lower) = text.split_once('/')?;
    let half = |digits| u64::from_str_radix(digits, 16).ok();
    Some(Place { text: text.to_owned(), file: String::new(), offset: half(upper)? << 32 | half(lower)? })
}
