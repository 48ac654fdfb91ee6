//! MongoDB: a copy that was interrupted goes on where its position says, in the forms that older tools wrote as well; and
//! over lost connections.

use std::collections::HashSet;
use std::fs;

use anyhow::{Context, Result, ensure};
use dt_tests::judge::mongo::MongoJudge;
use dt_tests::mongo::{Mongo, bytes};
use dt_tests::servers::mongo::{self, MongoPair, Setup};
use dt_tests::task::Task;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, doc};

/// Fills collections with as many documents as they are told.
fn fill(source: &Mongo, database: &str, collections: &[(&str, u32)]) -> Result<()> {
    for (collection, rows) in collections {
        let documents =
            (0..*rows).map(|at| bytes(&doc! {"_id": i64::from(at), "of": *collection, "text": "x".repeat(150)}));
        source.insert(database, collection, &documents.collect::<Result<Vec<_>>>()?)?;
    }
    Ok(())
}

fn is_equal(source: &Mongo, target: &Mongo, database: &str) -> Result<()> {
    for (collection, verdict) in MongoJudge::new(source, target).database(database)? {
        ensure!(verdict.is_equal(), "`{collection}`: {verdict}");
    }
    Ok(())
}

#[test]
fn what_is_recorded_is_not_read_again() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["recorded"])?;
    fill(&source, "recorded", &[("a", 3_000), ("b", 60_000)])?;
    let task = Task::of_mongo_pair(pair, &["recorded"])?.set("extractor", "max_rps", "10000");
    let mut running = task.spawn()?;
    running.until("`b` is under way", || Ok(task.progress()?.of("recorded", "b").is_some()))?;
    running.kill9()?;
    let key = task.progress()?.of("recorded", "b").context("no position")?;
    let (column, value) = key.0.first().context("a key without columns")?;
    let stored = value.clone().context("a null")?;
    ensure!(column == "_id" && stored.starts_with("{\"Int64\":"), "{key:?}");
    let last: i64 = stored.trim_matches(|c: char| !c.is_ascii_digit()).trim_start_matches("64\":").parse()?;
    // The target loses everything: only what comes after the position may come again.
    target.command("recorded", doc! {"dropDatabase": 1})?;
    let resumed = task.set("extractor", "max_rps", "0").run()?.expect_code(0)?;
    ensure!(!resumed.stderr.contains("panicked"), "{}", resumed.said());
    ensure!(target.collections("recorded")? == ["b"], "a finished collection was copied again");
    let copied = target.documents("recorded", "b")?;
    let wanted = source.documents("recorded", "b")?.split_off(usize::try_from(last)? + 1);
    ensure!(copied == wanted, "{} documents instead of {}: {}", copied.len(), wanted.len(), resumed.said());
    ensure!(
        resumed.log.contains("resumer, check finished: schema: recorded, tb: a, result: true"),
        "{}",
        resumed.said()
    );
    Ok(())
}

#[test]
fn positions_of_older_tools_are_gone_on_from() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["older"])?;
    let oid = |at: u8| ObjectId::from_bytes([0x65, 0xdf, 0xdc, 0x51, 0x2e, 0x7b, 0x06, 0xb6, 0xe2, 0xb3, 0xa3, at]);
    let date = |at: u8| Bson::DateTime(mongodb::bson::DateTime::from_millis(1_704_153_600_000 + i64::from(at)));
    for at in 0..10_u8 {
        for (collection, id) in [
            ("bare", Bson::ObjectId(oid(at))),
            ("tagged", Bson::ObjectId(oid(at))),
            ("texts", Bson::String(format!("{at}"))),
            ("dates", date(at)),
            ("finished", Bson::Int32(at.into())),
        ] {
            source.insert("older", collection, &[bytes(&doc! {"_id": id})?])?;
        }
    }
    let task = Task::of_mongo_pair(pair, &["older"])?;
    let config = task.log_dir().parent().context("a log_dir without a parent")?.join("resume.config");
    let hex = oid(4).to_hex();
    let lines = [
        format!(r#"{{"RdbSnapshot":{{"db_type":"mongo","schema":"older","tb":"bare","order_col":"_id","value":"{hex}"}}}}"#),
        format!(
            r#"{{"type":"RdbSnapshot","db_type":"mongo","schema":"older","tb":"tagged","order_key":{{"single":["_id","{{\"ObjectId\":\"{hex}\"}}"]}}}}"#
        ),
        r#"{"type":"RdbSnapshot","db_type":"mongo","schema":"older","tb":"texts","order_col":"_id","value":"{\"String\":\"4\"}"}"#.to_owned(),
        r#"{"type":"RdbSnapshot","db_type":"mongo","schema":"older","tb":"dates","order_key":{"single":["_id","{\"CanonicalExtJson\":{\"$date\":{\"$numberLong\":\"1704153600004\"}}}"]}}"#.to_owned(),
        r#"{"type":"RdbSnapshotFinished","db_type":"mongo","schema":"older","tb":"finished"}"#.to_owned(),
    ];
    fs::write(&config, lines.join("\n"))?;
    task.set("resumer", "config_file", config.display().to_string()).run()?.expect_code(0)?;
    for collection in ["bare", "tagged", "texts", "dates"] {
        let (all, came) = (source.documents("older", collection)?, target.documents("older", collection)?);
        ensure!(came == all[5..], "`{collection}`: {} of 5 came", came.len());
    }
    ensure!(target.documents("older", "finished")?.is_empty(), "a finished collection was copied");
    Ok(())
}

#[test]
fn a_collection_with_an_order_of_its_own_is_gone_on_with_in_that_order() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["orders"])?;
    // One order ignores upper and lower case; the other has no index of `_id` beside its documents.
    let folding = doc! {"create": "folding", "collation": {"locale": "en", "strength": 2}};
    let clustered = doc! {"create": "clustered", "clusteredIndex": {"key": {"_id": 1}, "unique": true}};
    for create in [&folding, &clustered] {
        source.command("orders", create.clone())?;
    }
    target.command("orders", folding)?;
    for collection in ["folding", "clustered"] {
        let ids = ["b", "A", "D", "c", "E", "f"].map(Bson::from).into_iter().chain([Bson::Int32(5), Bson::MaxKey]);
        let documents = ids.map(|id| bytes(&doc! {"_id": id, "of": collection}));
        source.insert("orders", collection, &documents.collect::<Result<Vec<_>>>()?)?;
    }
    let task = Task::of_mongo_pair(pair, &["orders"])?;
    let config = task.log_dir().parent().context("a log_dir without a parent")?.join("resume.config");
    // In the order of bytes, `A D E b c f`; without case, `A b c D E f`. The number comes first, MaxKey last.
    let line = |collection: &str, text: &str| {
        format!(
            r#"{{"type":"RdbSnapshot","db_type":"mongo","schema":"orders","tb":"{collection}","order_col":"_id","value":"{{\"String\":\"{text}\"}}"}}"#
        )
    };
    fs::write(&config, [line("folding", "c"), line("clustered", "E")].join("\n"))?;
    task.set("resumer", "config_file", config.display().to_string()).run()?.expect_code(0)?;
    for (collection, wanted) in [("folding", 4), ("clustered", 4)] {
        let (all, came) = (source.documents("orders", collection)?, target.documents("orders", collection)?);
        ensure!(came == all[all.len() - wanted..], "`{collection}`: {} of {wanted} came", came.len());
    }
    Ok(())
}

#[test]
fn a_position_that_is_no_key_stops_before_the_first_document() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["no_key"])?;
    fill(&source, "no_key", &[("t", 3)])?;
    let task = Task::of_mongo_pair(pair, &["no_key"])?;
    fs::create_dir_all(task.log_dir())?;
    let line = r#"2024-10-10 04:04:08.152044 | current_position | {"type":"RdbSnapshot","db_type":"mongo","schema":"no_key","tb":"t","order_col":"_id","value":"s3cret"}"#;
    fs::write(task.log_dir().join("position.log"), format!("{line}\n"))?;
    let refused = task.run()?.expect_code(3)?;
    ensure!(
        refused.stderr.contains("`no_key`.`t`") && refused.stderr.contains("take its lines out"),
        "{}",
        refused.said()
    );
    ensure!(target.documents("no_key", "t")?.is_empty());
    Ok(())
}

#[test]
fn servers_that_restart_are_waited_for() -> Result<()> {
    let pair = MongoPair::start(&Setup::default())?;
    let source = pair.source.client()?;
    fill(&source, "restarts", &[("a", 40_000), ("b", 40_000)])?;
    let task = Task::of_mongo_pair(&pair, &["restarts"])?.set("pipeline", "buffer_memory_mb", "1").set(
        "extractor",
        "max_rps",
        "10000",
    );
    let mut running = task.spawn()?;
    running.until("`a` is under way", || Ok(task.progress()?.of("restarts", "a").is_some()))?;
    pair.source.kill9()?;
    pair.source.up()?;
    running.until("`b` is under way", || Ok(task.progress()?.of("restarts", "b").is_some()))?;
    pair.target.kill9()?;
    pair.target.up()?;
    let ended = running.wait()?.expect_code(0)?;
    is_equal(&pair.source.client()?, &pair.target.client()?, "restarts")?;
    ensure!(
        ended.log.contains("trying again") || ended.log.contains("tried again"),
        "nothing was lost: {}",
        ended.said()
    );
    Ok(())
}

#[test]
fn a_moment_that_the_server_gives_up_is_followed_by_a_newer_one() -> Result<()> {
    let extra = vec!["--setParameter".to_owned(), "minSnapshotHistoryWindowInSeconds=1".to_owned()];
    let pair = MongoPair::start(&Setup { extra, ..Setup::default() })?;
    let (source, target) = pair.without(&["window"])?;
    fill(&source, "window", &[("a", 60_000)])?;
    // Little memory: the reading goes on for as long as the writing.
    let task = Task::of_mongo_pair(&pair, &["window"])?.set("pipeline", "buffer_memory_mb", "1").set(
        "extractor",
        "max_rps",
        "6000",
    );
    let mut running = task.spawn()?;
    // The server gives up the past only as time goes on, which it does with each write.
    let mut writes = 0;
    while !running.has_ended()? {
        writes += 1;
        source.command(
            "elsewhere",
            doc! {"update": "t", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a": writes}}, "upsert": true}]},
        )?;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let ended = running.wait()?.expect_code(0)?;
    is_equal(&source, &target, "window")?;
    ensure!(ended.log.contains("those of a newer view of the source"), "{}", ended.said());
    Ok(())
}

#[test]
fn a_copy_is_that_of_one_moment() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["moment"])?;
    fill(&source, "moment", &[("a", 20_000), ("b", 20_000)])?;
    let before = (source.documents("moment", "a")?, source.documents("moment", "b")?);
    let task = Task::of_mongo_pair(pair, &["moment"])?.set("pipeline", "buffer_memory_mb", "1").set(
        "extractor",
        "max_rps",
        "10000",
    );
    let mut running = task.spawn()?;
    running.until("`a` is under way", || Ok(task.progress()?.of("moment", "a").is_some()))?;
    // Both collections change while the first is being read.
    for collection in ["a", "b"] {
        source.command(
            "moment",
            doc! {"update": collection, "updates": [{"q": {}, "u": {"$set": {"later": true}}, "multi": true}]},
        )?;
        source.insert("moment", collection, &[bytes(&doc! {"_id": 1_000_000_i64, "later": true})?])?;
    }
    running.wait()?.expect_code(0)?;
    let after = (target.documents("moment", "a")?, target.documents("moment", "b")?);
    ensure!(before == after, "documents of another moment came");
    Ok(())
}

#[test]
fn of_a_collection_in_chunks_exactly_what_is_not_finished_is_read() -> Result<()> {
    const ROWS: u32 = 40_000;
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["chunks"])?;
    fill(&source, "chunks", &[("c", ROWS)])?;
    let task = Task::of_mongo_pair(pair, &["chunks"])?
        .set("extractor", "parallel_type", "chunk")
        .set("extractor", "parallel_size", "3")
        .set("extractor", "batch_size", "2000")
        .set("extractor", "max_rps", "8000")
        .set("pipeline", "buffer_memory_mb", "1");
    let mut running = task.spawn()?;
    let finished = |task: &Task| task.log("position.log").unwrap_or_default().matches("ChunkFinished").count();
    running.until("three chunks are finished", || Ok(finished(&task) >= 3))?;
    running.kill9()?;
    // What is recorded as finished is there, whole; the target loses everything, so that what comes again is seen.
    let mut there: HashSet<Vec<u8>> = target.documents("chunks", "c")?.into_iter().collect();
    target.command("chunks", doc! {"dropDatabase": 1})?;
    let done = finished(&task);
    let task = task.set("extractor", "max_rps", "0").set("extractor", "parallel_type", "table");
    let resumed = task.run()?.expect_code(0)?;
    ensure!(resumed.log.contains(&format!("finished: {done}")), "{}", resumed.said());
    let again = target.documents("chunks", "c")?;
    let missing = ROWS as usize - again.len();
    // Each has about 2000 documents; as they are cut by a sample, some have more and some have fewer.
    ensure!(missing >= done * 500, "{missing} documents of {done} finished chunks were left out: {}", resumed.said());
    there.extend(again);
    ensure!(source.documents("chunks", "c")?.iter().all(|document| there.contains(document)), "documents are lost");
    Ok(())
}
