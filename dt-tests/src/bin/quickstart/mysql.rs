//! What is MySQL's own: the servers, the sample, the writer, and places in its binlog.

use anyhow::Result;
use dt_tests::binlog;
use dt_tests::sample;
use dt_tests::servers::{Kind, Options, Pair};
use dt_tests::task::{RecordedKey, Task};
use dt_tests::writer::{self, Writer};
use serde_json::Value;

use crate::say;
use crate::snapshot::Sample;
use crate::stream::{Live, LiveTable, MARKS, Place};

const SHOP: &str = "shop";
const LIVE: &str = "live";

pub(crate) fn servers() -> Result<Pair> {
    say("Starting two MySQL servers on 127.0.0.1 …")?;
    let extra = vec!["--binlog-row-metadata=FULL".to_owned()];
    Pair::start(Kind::Mysql, &Options { extra, ..Options::default() })
}

/// The database that is copied.
pub(crate) fn sample(pair: &Pair) -> Result<Sample> {
    let (source, target) = pair.database(SHOP)?;
    let task = Task::of_pair(pair, &[SHOP])?;
    Ok(Sample {
        source,
        target,
        task,
        schema: SHOP,
        tables: &sample::TABLES,
        create_and_fill: sample::create_and_fill,
        create_tables: sample::create_tables,
        rows_after: RecordedKey::rows_after,
    })
}

/// The database that is followed: it begins equal on both sides, and a writer changes it.
pub(crate) fn live(pair: &Pair) -> Result<Live> {
    let (source, target) = pair.database(LIVE)?;
    for db in [&source, &target] {
        writer::create(db)?;
        db.exec(MARKS)?;
    }
    let begin = binlog::beginning(&source)?;
    let task = Task::of_pair(pair, &[LIVE])?
        .set("extractor", "extract_type", "cdc")
        .set("extractor", "binlog_filename", begin.file)
        .set("extractor", "binlog_position", begin.position);
    say("A writer begins: inserts, updates, deletes, changes of keys, rollbacks, XA, large transactions …")?;
    let tables = writer::TABLES.iter().map(|table| LiveTable { name: table.name, unidentified: table.unidentified });
    Ok(Live {
        tables: tables.collect(),
        schema: LIVE,
        writer: Some(Writer::start(&pair.source, LIVE, 7)?),
        bytes_a_run: 2_000_000,
        task,
        place,
        source,
        target,
    })
}

/// A checkpoint's file and place.
fn place(checkpoint: &Value) -> Option<Place> {
    let file = checkpoint["binlog_filename"].as_str()?.to_owned();
    let offset = checkpoint["next_event_position"].as_u64()?;
    Some(Place { text: format!("{file}:{offset}"), file, offset })
}
