//! MongoDB: documents of every type, as values and as `_id`, and documents that no driver would write, arrive byte by
//! byte; also where they replace others, and where the copy is taken up after any of them.

mod mongo_documents;

use anyhow::{Context, Result, ensure};
use dt_tests::judge::mongo::MongoJudge;
use dt_tests::mongo::{Mongo, bytes};
use dt_tests::servers::mongo::{self, MongoServer, Setup};
use dt_tests::task::Task;
use mongo_documents::{awkward_documents, every_id, every_value};
use mongodb::bson::doc;

fn equal(source: &Mongo, target: &Mongo, database: &str) -> Result<u64> {
    let mut rows = 0;
    for (collection, verdict) in MongoJudge::new(source, target).database(database)? {
        ensure!(verdict.is_equal() && verdict.rows > 0, "`{database}`.`{collection}`: {verdict}");
        rows += verdict.rows;
    }
    Ok(rows)
}

/// Fills a database: types as values, types as keys, awkward documents, and some large ones.
fn fill(source: &Mongo, database: &str) -> Result<()> {
    source.insert(database, "values", &every_value()?)?;
    source.insert(database, "ids", &every_id()?)?;
    source.insert(database, "awkward", &awkward_documents())?;
    mongo_documents::zero_timestamps(source, database, "awkward")?;
    let large = (0..3).map(|at| bytes(&doc! {"_id": at, "text": "x".repeat(16 * 1024 * 1024 - 64)}));
    source.insert(database, "large", &large.collect::<Result<Vec<_>>>()?)?;
    source.insert(database, "name with.dots and ünïcode", &[bytes(&doc! {"_id": 1})?])
}

#[test]
fn every_value_and_every_key_arrive_byte_by_byte() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["values_made"])?;
    fill(&source, "values_made")?;
    let copied = Task::of_mongo_pair(pair, &["values_made"])?.run()?.expect_code(0)?;
    let rows = equal(&source, &target, "values_made")?;
    ensure!(copied.summary("rows") == Some(rows), "{rows} documents: {}", copied.said());
    Ok(())
}

#[test]
fn documents_that_are_there_are_replaced_byte_by_byte_and_no_others() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["values_replaced"])?;
    fill(&source, "values_replaced")?;
    Task::of_mongo_pair(pair, &["values_replaced"])?.run()?.expect_code(0)?;
    // With batches of all documents and of a few: then most batches follow one that met documents, and replace at once.
    for (turn, batch_rows) in ["16000", "7", "7", "7"].into_iter().enumerate() {
        // Of three documents one is another one on the target now, and one is gone.
        for collection in target.collections("values_replaced")? {
            for (at, document) in target.documents("values_replaced", &collection)?.iter().enumerate() {
                let query = mongo_documents::by_id(document)?;
                match (at + turn) % 3 {
                    0 => target.raw_command("values_replaced", mongo_documents::spoil(&collection, query)?)?,
                    1 => target.raw_command("values_replaced", mongo_documents::delete(&collection, query)?)?,
                    _ => {}
                }
            }
        }
        let task = Task::of_mongo_pair(pair, &["values_replaced"])?.set("pipeline", "buffer_size", batch_rows);
        let again = task.run()?.expect_code(0)?;
        equal(&source, &target, "values_replaced").with_context(|| format!("turn {turn}"))?;
        ensure!(again.summary("replaced rows").is_some_and(|rows| rows > 0), "{}", again.said());
    }
    Ok(())
}

#[test]
fn a_copy_goes_on_after_a_key_of_any_type() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["values_resumed"])?;
    source.insert("values_resumed", "ids", &every_id()?)?;
    let ids = source.documents("values_resumed", "ids")?;
    // Each key in turn is the last that is recorded: what comes after it is copied, and nothing before.
    let task = Task::of_mongo_pair(pair, &["values_resumed"])?.set("pipeline", "buffer_size", "1");
    let task = task.set("extractor", "batch_size", "1").set("pipeline", "checkpoint_interval_secs", "1");
    task.run()?.expect_code(0)?;
    for (at, document) in ids.iter().enumerate() {
        target.command("values_resumed", doc! {"dropDatabase": 1})?;
        let task = Task::of_mongo_pair(pair, &["values_resumed"])?;
        let line = mongo_documents::position("values_resumed", "ids", document)?;
        std::fs::create_dir_all(task.log_dir())?;
        std::fs::write(task.log_dir().join("position.log"), line)?;
        task.run()?.expect_code(0).with_context(|| format!("document {at}"))?;
        let copied = target.documents("values_resumed", "ids")?;
        ensure!(copied == ids[at + 1..], "after document {at}: {} of {} came", copied.len(), ids.len() - at - 1);
    }
    Ok(())
}

#[test]
fn a_standalone_source_and_target_serve_for_a_copy_and_the_log_says_what_is_missing() -> Result<()> {
    let setup = Setup { set: None, login: false, extra: Vec::new() };
    let (from, to) = (MongoServer::start(&setup)?, MongoServer::start(&setup)?);
    let (source, target) = (from.client()?, to.client()?);
    source.insert("alone", "awkward", &awkward_documents())?;
    target.insert("alone", "awkward", &awkward_documents())?;
    mongo_documents::zero_timestamps(&source, "alone", "awkward")?;
    let copied = Task::mongo(&from, &to)?.databases(&["alone"]).run()?.expect_code(0)?;
    equal(&source, &target, "alone")?;
    ensure!(copied.log.contains("has no reads of one moment"), "{}", copied.said());
    Ok(())
}
