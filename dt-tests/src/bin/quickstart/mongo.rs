//! What is MongoDB's own: the servers, the sample, the writer, places in its history, and how a database that is in use is
//! moved.

use anyhow::{Context, Result};
use dt_tests::judge::Verdict;
use dt_tests::judge::mongo::MongoJudge;
use dt_tests::mongo::Mongo;
use dt_tests::sample::mongo as collections;
use dt_tests::servers::mongo::{MongoPair, Setup};
use dt_tests::task::{Progress, Task};
use dt_tests::writer::Writer;
use dt_tests::writer::mongo as writer;
use mongodb::bson::doc;
use serde_json::Value;

use crate::say;
use crate::snapshot::{Copied, Shown};
use crate::stream::{Followed, Place};

const SHOP: &str = "shop";
const LIVE: &str = "live";
/// Seconds of the source's history between a start and the kill.
const SECONDS_A_RUN: u64 = 6;

pub(crate) fn servers() -> Result<MongoPair> {
    say("Starting two MongoDB replica sets on 127.0.0.1 …")?;
    let extra = vec!["--oplogSize=1000".to_owned()];
    MongoPair::start(&Setup { extra, ..Setup::default() })
}

/// The database that is copied.
pub(crate) struct Sample {
    source: Mongo,
    target: Mongo,
    task: Task,
}

pub(crate) fn sample(pair: &MongoPair) -> Result<Sample> {
    let (source, target) = pair.without(&[SHOP])?;
    Ok(Sample { source, target, task: Task::of_mongo_pair(pair, &[SHOP])? })
}

impl Copied for Sample {
    fn task(&self) -> &Task {
        &self.task
    }

    fn tables(&self) -> Vec<Shown> {
        collections::COLLECTIONS.iter().map(|collection| Shown { name: collection.name, key: collection.key }).collect()
    }

    fn fill(&self, rows: u64) -> Result<()> {
        collections::fill(&self.source, SHOP, rows)
    }

    fn rows_on_target(&self) -> Result<u64> {
        collections::names().map(|name| self.target.count(SHOP, name)).sum()
    }

    fn redone(&self, table: &str, progress: &Progress) -> Result<u64> {
        if progress.is_finished(SHOP, table) {
            return Ok(0);
        }
        let collection = collections::COLLECTIONS.iter().find(|collection| collection.name == table);
        let recorded = progress.of(SHOP, table).and_then(|key| key.0.into_iter().next()?.1);
        match (recorded, collection) {
            (Some(recorded), Some(collection)) => collection.rows_after(&self.target, SHOP, &recorded),
            (None, _) | (_, None) => self.target.count(SHOP, table),
        }
    }

    fn verdict(&self, table: &str) -> Result<(Verdict, bool)> {
        judged(&self.source, &self.target, SHOP, table)
    }
}

fn judged(source: &Mongo, target: &Mongo, database: &str, collection: &str) -> Result<(Verdict, bool)> {
    let verdicts = MongoJudge::new(source, target).database(database)?;
    let found = verdicts.into_iter().find(|(name, _)| name == collection);
    let verdict = found.map(|(_, verdict)| verdict).context("the source has no such collection")?;
    Ok((verdict, verdict.is_equal()))
}

/// The database that is followed. It is in use while it is moved: the source's time is noted, then it is copied, then
/// followed from that time on.
pub(crate) struct Live {
    source: Mongo,
    target: Mongo,
    task: Task,
    writer: Option<Writer>,
}

pub(crate) fn live(pair: &MongoPair) -> Result<Live> {
    let (source, target) = pair.without(&[LIVE])?;
    writer::create(&source, LIVE)?;
    // Its unique index is to be there: changes must not depend on it.
    let index = doc! {"key": {"n": 1}, "name": "n_1", "unique": true};
    target.command(LIVE, doc! {"createIndexes": "uniques", "indexes": [index]})?;
    let hello = source.command("admin", doc! {"hello": 1})?;
    let noted = hello.get_document("lastWrite")?.get_document("opTime")?.get_timestamp("ts")?.time;
    say("A writer begins: inserts, updates of every kind, deletes, transactions, some aborted, some large …")?;
    let writer = writer::start(&pair.source, LIVE, 7)?;
    say("dt-main copies the database while it is written to; then it follows, from before the copy on …")?;
    Task::of_mongo_pair(pair, &[LIVE])?.run()?.expect_code(0).context("the copy of the live database")?;
    let task = Task::of_mongo_pair(pair, &[LIVE])?.set("extractor", "extract_type", "cdc").set(
        "extractor",
        "start_timestamp",
        noted.to_string(),
    );
    Ok(Live { source, target, task, writer: Some(writer) })
}

impl Followed for Live {
    fn task(&self) -> &Task {
        &self.task
    }

    fn history_a_run(&self) -> (u64, String) {
        (SECONDS_A_RUN, format!("{SECONDS_A_RUN} seconds of the source's history"))
    }

    fn place(&self, checkpoint: &Value) -> Option<Place> {
        let seconds = checkpoint["operation_time"].as_u64()?;
        let text = format!("{} ({seconds}:{})", checkpoint["timestamp"].as_str()?, checkpoint["operation_increment"]);
        Some(Place { text, file: String::new(), offset: seconds })
    }

    fn end(&mut self) -> Result<u64> {
        let transactions = self.writer.take().context("the writer has ended before")?.stop()?;
        self.source.command(LIVE, doc! {"insert": "marks", "documents": [{"_id": 1}]})?;
        Ok(transactions)
    }

    fn has_the_end(&self) -> Result<bool> {
        Ok(self.target.count(LIVE, "marks")? == 1)
    }

    fn verdicts(&self) -> Result<Vec<(&'static str, Verdict, bool)>> {
        let verdict = |name: &'static str| {
            let (verdict, promised) = judged(&self.source, &self.target, LIVE, name)?;
            Ok((name, verdict, promised))
        };
        writer::COLLECTIONS.into_iter().map(verdict).collect()
    }
}
