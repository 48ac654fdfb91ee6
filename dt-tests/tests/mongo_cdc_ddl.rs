//! DDL of MongoDB, replicated where `[filter] do_ddls` asks for it: each kind by either source, what is only told, names and
//! filters, what stops with a way out, and kills around it.

mod mongo_ddl;
mod mongo_streams;

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::deadline;
use dt_tests::dice::Dice;
use dt_tests::mongo::Mongo;
use dt_tests::servers::mongo;
use dt_tests::task::Task;
use mongo_ddl::{Load, alike, index, shape};
use mongo_streams::{BOTH, caught_up, equal, follow, followed, in_lanes, position, set_up, stop, update, write};
use mongodb::bson::{Document, doc};

fn insert(server: &Mongo, database: &str, collection: &str, ids: std::ops::Range<i32>) -> Result<()> {
    let documents: Vec<Document> = ids.map(|id| doc! {"_id": id, "v": id, "text": "word"}).collect();
    write(server, database, doc! {"insert": collection, "documents": documents}).map(drop)
}

fn rename(server: &Mongo, database: &str, from: &str, to: &str, replaces: bool) -> Result<()> {
    let full = |name: &str| format!("{database}.{name}");
    let command = doc! {"renameCollection": full(from), "to": full(to), "dropTarget": replaces};
    server.command("admin", command).map(drop)
}

fn out(server: &Mongo, database: &str, from: &str, to: &str) -> Result<()> {
    let stages = vec![doc! {"$match": {"v": {"$gte": 0}}}, doc! {"$out": to}];
    server.command(database, doc! {"aggregate": from, "pipeline": stages, "cursor": {}}).map(drop)
}

/// Every kind, some of them with writes in between.
fn every_kind(source: &Mongo, database: &str) -> Result<()> {
    let run = |command: Document| source.command(database, command);
    run(doc! {"create": "capped", "capped": true, "size": 1_048_576, "max": 500})?;
    run(
        doc! {"create": "folding", "collation": {"locale": "en", "strength": 2}, "validator": {"v": {"$type": "int"}},
        "validationLevel": "moderate", "validationAction": "warn"},
    )?;
    let clustered = doc! {"key": {"_id": 1}, "unique": true, "name": "by_id"};
    run(doc! {"create": "clustered", "clusteredIndex": clustered, "expireAfterSeconds": 100_000})?;
    run(doc! {"create": "images", "changeStreamPreAndPostImages": {"enabled": true}})?;
    run(doc! {"create": "view", "viewOn": "capped", "pipeline": []})?;
    run(doc! {"createIndexes": "capped", "indexes": [index(doc! {"v": 1}, "v", doc! {"unique": true})]})?;
    insert(source, database, "capped", 0..20)?;
    write(source, database, update("capped", 3, doc! {"$set": {"text": "more"}}))?;
    insert(source, database, "folding", 0..20)?;
    run(doc! {"createIndexes": "folding", "indexes": [
        index(doc! {"v": 1}, "unique", doc! {"unique": true}),
        index(doc! {"text": 1, "v": -1}, "bytes", doc! {"collation": {"locale": "simple"}, "sparse": true}),
        index(doc! {"text": 1}, "folding", doc! {"partialFilterExpression": {"v": {"$gt": 3}}}),
        index(doc! {"text": "text", "x": "text"}, "words", doc! {"weights": {"x": 3}, "collation": {"locale": "simple"}}),
        index(doc! {"$**": 1}, "all", doc! {}),
        index(doc! {"at": 1}, "ttl", doc! {"expireAfterSeconds": 3600, "hidden": true}),
        index(doc! {"place": "2dsphere"}, "place", doc! {"collation": {"locale": "simple"}}),
        index(doc! {"v": "hashed"}, "hash", doc! {"collation": {"locale": "simple"}}),
    ]})?;
    // Swaps what the unique index holds.
    for (id, v) in [(3, -1), (4, 3), (3, 4)] {
        write(source, database, update("folding", id, doc! {"$set": {"v": v}}))?;
    }
    run(doc! {"createIndexes": "by_index", "indexes": [index(doc! {"v": 1}, "v", doc! {"unique": true})]})?;
    // A build that fails leaves nothing.
    insert(source, database, "doubled", 0..3)?;
    let failing =
        doc! {"createIndexes": "doubled", "indexes": [index(doc! {"text": 1}, "once", doc! {"unique": true})]};
    ensure!(run(failing).is_err(), "texts are there once");
    run(doc! {"dropIndexes": "folding", "index": "place"})?;
    run(doc! {"dropIndexes": "folding", "index": ["hash", "all"]})?;
    run(doc! {"collMod": "folding", "validator": {"v": {"$exists": true}}, "validationAction": "error"})?;
    run(doc! {"collMod": "folding", "index": {"name": "ttl", "expireAfterSeconds": 7200, "hidden": false}})?;
    run(doc! {"collMod": "clustered", "expireAfterSeconds": "off"})?;
    run(doc! {"collMod": "images", "changeStreamPreAndPostImages": {"enabled": false}})?;
    // Renamed, written to under the new name, and the old name taken again.
    insert(source, database, "a", 0..30)?;
    rename(source, database, "a", "b", false)?;
    insert(source, database, "b", 30..40)?;
    insert(source, database, "a", 50..60)?;
    rename(source, database, "a", "b", true)?;
    write(source, database, update("b", 55, doc! {"$set": {"v": -55}}))?;
    insert(source, database, "dropped", 0..10)?;
    run(doc! {"drop": "dropped"})?;
    insert(source, database, "again", 0..10)?;
    run(doc! {"drop": "again"})?;
    insert(source, database, "again", 5..8)?;
    // A temporary collection takes the place of one, with its indexes; then one without documents.
    out(source, database, "b", "copied")?;
    run(doc! {"createIndexes": "copied", "indexes": [index(doc! {"v": 1}, "v", doc! {})]})?;
    insert(source, database, "copied", 100..110)?;
    out(source, database, "b", "copied")?;
    insert(source, database, "emptied", 0..10)?;
    out(source, database, "capped", "emptied")?;
    run(doc! {"aggregate": "by_index", "pipeline": [{"$out": "emptied"}], "cursor": {}})?;
    // Made in a transaction, before and after documents of others.
    let committed = source.transaction(
        &[
            (database, doc! {"insert": "b", "documents": [{"_id": 1000}]}),
            (database, doc! {"create": "in_transaction"}),
            (
                database,
                doc! {"createIndexes": "in_transaction", "indexes": [index(doc! {"u": 1}, "u", doc! {"unique": true})]},
            ),
            (database, doc! {"insert": "in_transaction", "documents": [{"_id": 1, "u": 1}]}),
            (database, doc! {"insert": "implied", "documents": [{"_id": 1}]}),
        ],
        true,
    )?;
    ensure!(committed, "the transaction was refused");
    run(doc! {"drop": "view"}).map(drop)
}

fn all(task: Task) -> Task {
    task.set("filter", "do_ddls", "*")
}

#[test]
fn every_kind_is_done_on_the_target() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_ddl", by)?;
        let task = in_lanes(all(task), if by == "op_log" { 4 } else { 1 });
        let finished = followed(&task, &source, &target, "m_ddl", || every_kind(&source, "m_ddl"))?;
        alike((&source, "m_ddl"), (&target, "m_ddl")).with_context(|| format!("{by}\n{}", finished.log))?;
        ensure!(shape(&target, "m_ddl")?.len() > 12, "{:?}", shape(&target, "m_ddl")?);
    }
    Ok(())
}

#[test]
fn without_being_asked_for_it_is_told_and_the_target_stays() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_told", by)?;
        let mut running = follow(&task)?;
        insert(&source, "m_told", "kept", 0..10)?;
        insert(&source, "m_told", "from", 0..10)?;
        source.command("m_told", doc! {"createIndexes": "kept", "indexes": [index(doc! {"v": 1}, "v", doc! {})]})?;
        source.command("m_told", doc! {"collMod": "kept", "validator": {}})?;
        source.command("m_told", doc! {"dropIndexes": "kept", "index": "v"})?;
        source.command("m_told", doc! {"drop": "kept"})?;
        rename(&source, "m_told", "from", "to", false)?;
        caught_up(&mut running, &source, &target, "m_told")?;
        let log = stop(running)?.log;
        for collection in ["kept", "from"] {
            ensure!(target.count("m_told", collection)? == 10, "{by}: `{collection}` has changed");
        }
        for said in ["`drop` of `m_told`.`kept`", "`m_told`.`from` to `m_told`.`to`", "is not replicated"] {
            ensure!(log.contains(said), "{by}: `{said}` is not said:\n{log}");
        }
        ensure!(!log.contains("was done on the target"), "{log}");
    }
    Ok(())
}

#[test]
fn a_list_does_its_kinds_and_no_others() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_list", by)?;
        let task = task.set("filter", "do_ddls", "create_index, drop_database");
        let mut running = follow(&task)?;
        insert(&source, "m_list", "kept", 0..10)?;
        source.command("m_list", doc! {"createIndexes": "kept", "indexes": [index(doc! {"v": 1}, "v", doc! {})]})?;
        source.command("m_list", doc! {"dropIndexes": "kept", "index": "v"})?;
        source.command("m_list", doc! {"drop": "kept"})?;
        caught_up(&mut running, &source, &target, "m_list")?;
        ensure!(target.count("m_list", "kept")? == 10, "{by}: it was dropped");
        let found = shape(&target, "m_list")?;
        ensure!(found["kept"].1.contains_key("v"), "{by}: {found:?}");
        source.command("m_list", doc! {"dropDatabase": 1})?;
        running.until("the database is dropped", || Ok(target.collections("m_list")?.is_empty()))?;
        insert(&source, "m_list", "after", 0..10)?;
        caught_up(&mut running, &source, &target, "m_list")?;
        stop(running)?;
        equal(&source, &target, "m_list")?;
    }
    Ok(())
}

#[test]
fn names_are_those_of_the_target_and_what_is_not_followed_stays() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_names", by)?;
        target.command("m_named", doc! {"dropDatabase": 1})?;
        let task =
            all(task).set("router", "db_map", "m_names:m_named").set("router", "tb_map", "m_names.one:m_named.two");
        let task = task.set("filter", "ignore_tbs", "m_names.left*,m_names.two");
        for name in ["left", "never"] {
            insert(&target, "m_named", name, 0..3)?;
        }
        let mut running = follow(&task)?;
        insert(&source, "m_names", "left", 0..10)?;
        insert(&source, "m_names", "one", 0..10)?;
        source.command("m_names", doc! {"createIndexes": "one", "indexes": [index(doc! {"v": 1}, "v", doc! {})]})?;
        source.command("m_names", doc! {"drop": "left"})?;
        insert(&source, "m_names", "left_too", 0..1)?;
        rename(&source, "m_names", "left_too", "left_as_well", false)?;
        rename(&source, "m_names", "one", "three", false)?;
        insert(&source, "m_names", "gone", 0..10)?;
        running.until("the rename arrives", || Ok(target.collections("m_named")?.contains(&"gone".to_owned())))?;
        let found = shape(&target, "m_named")?;
        ensure!(found["three"].1.contains_key("v") && !found.contains_key("two"), "{by}: {found:?}");
        source.command("m_names", doc! {"dropDatabase": 1})?;
        insert(&source, "m_names", "last", 0..1)?;
        running.until("the last one arrives", || Ok(target.collections("m_named")?.contains(&"last".to_owned())))?;
        stop(running)?;
        ensure!(target.collections("m_named")? == ["last", "left", "never"], "{:?}", target.collections("m_named")?);
        target.command("m_named", doc! {"dropDatabase": 1})?;
    }
    Ok(())
}

#[test]
fn what_changes_alone_do_not_say_stops_until_it_is_not_asked_for() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_stops", by)?;
        let task = all(task).set("filter", "ignore_tbs", "m_stops.left*");
        insert(&source, "m_stops", "left", 0..10)?;
        let running = follow(&task)?;
        insert(&source, "m_stops", "t", 0..10)?;
        rename(&source, "m_stops", "left", "come", false)?;
        let finished = running.wait()?;
        for said in ["only one of them passes the filter", "what to do: ", "`rename_collection`"] {
            ensure!(finished.said().contains(said), "`{said}` is not said:\n{}", finished.said());
        }
        // What the source has is done on the target, and the task goes on.
        insert(&target, "m_stops", "come", 0..10)?;
        let past = task.set("filter", "do_ddls", "create_collection,drop_collection");
        let mut running = follow(&past)?;
        caught_up(&mut running, &source, &target, "m_stops")?;
        stop(running)?;
        equal(&source, &target, "m_stops")?;

        // A copy whose documents the source does not say.
        let task = past.set("filter", "do_ddls", "*");
        let running = follow(&task)?;
        source.command("m_stops", doc! {"convertToCapped": "t", "size": 1_048_576})?;
        let text = running.wait()?.said();
        ensure!(text.contains("convertToCapped") && target.count("m_stops", "t")? == 10, "{text}");
    }
    Ok(())
}

#[test]
fn what_the_target_has_otherwise_stops_and_what_it_has_alike_does_not() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_alike", by)?;
        let task = all(task);
        let indexes = |also: Document| doc! {"createIndexes": "t", "indexes": [index(doc! {"v": 1}, "v", also)]};
        target.command("m_alike", doc! {"create": "same", "capped": true, "size": 4096})?;
        target.command("m_alike", doc! {"create": "t"})?;
        target.command("m_alike", indexes(doc! {}))?;
        let mut running = follow(&task)?;
        source.command("m_alike", doc! {"create": "same", "capped": true, "size": 4096})?;
        source.command("m_alike", doc! {"create": "not_there"})?;
        running.until("it arrives", || Ok(target.collections("m_alike")?.contains(&"not_there".to_owned())))?;
        target.command("m_alike", doc! {"drop": "not_there"})?;
        source.command("m_alike", doc! {"drop": "not_there"})?;
        source.command("m_alike", indexes(doc! {}))?;
        caught_up(&mut running, &source, &target, "m_alike")?;
        target.command("m_alike", doc! {"dropIndexes": "t", "index": "v"})?;
        target.command("m_alike", indexes(doc! {"sparse": true}))?;
        source.command("m_alike", doc! {"dropIndexes": "t", "index": "v"})?;
        caught_up(&mut running, &source, &target, "m_alike")?;
        target.command("m_alike", indexes(doc! {"sparse": true}))?;
        source.command("m_alike", indexes(doc! {"unique": true}))?;
        let text = running.wait()?.said();
        ensure!(text.contains("index") && text.contains("what to do: "), "{text}");
        // The way out: it goes on by itself.
        target.command("m_alike", doc! {"dropIndexes": "t", "index": "v"})?;
        let mut running = follow(&task)?;
        caught_up(&mut running, &source, &target, "m_alike")?;
        stop(running)?;
        alike((&source, "m_alike"), (&target, "m_alike"))?;
    }
    Ok(())
}

#[test]
fn a_rename_that_a_snapshot_may_have_seen_stops_once() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_overlap", by)?;
        insert(&source, "m_overlap", "from", 0..100)?;
        insert(&source, "m_overlap", "to", 0..10)?;
        // The stream is to begin in a second that none of this is in.
        let written = write(&source, "m_others", doc! {"insert": "t", "documents": [{"v": 1}]})?;
        let noted = written.get_timestamp("operationTime")?.time + 1;
        deadline::until("the second has begun", Duration::from_secs(10), || {
            let reply = write(&source, "m_others", doc! {"insert": "t", "documents": [{"v": 1}]})?;
            Ok((reply.get_timestamp("operationTime")?.time >= noted).then_some(()))
        })?;
        insert(&source, "m_overlap", "from", 100..101)?;
        rename(&source, "m_overlap", "from", "to", true)?;
        // As a snapshot copies it.
        insert(&target, "m_overlap", "to", 0..101)?;
        let task = all(task).set("extractor", "start_timestamp", noted.to_string());
        let finished = task.run()?.expect_code(3)?;
        for said in ["before this stream was first started", "take the snapshot again"] {
            ensure!(finished.said().contains(said), "`{said}` is not said:\n{}", finished.said());
        }
        ensure!(target.count("m_overlap", "to")? == 101, "{by}: documents are gone");
        // Started again, it is told that the target was copied before.
        let mut running = follow(&task)?;
        running.until("the rename is done", || Ok(target.collections("m_overlap")? == ["to"]))?;
        stop(running)?;
    }
    Ok(())
}

#[test]
fn ten_kills_around_ddl_leave_equal_documents_and_indexes() -> Result<()> {
    for by in BOTH {
        let mut dice = Dice::new();
        let case = format!("{by}, DT_SEED={}", dice.seed());
        let told = killed_and_resumed(by, &mut dice).with_context(|| case.clone())?;
        println!("{case}: {told:?}");
    }
    Ok(())
}

fn killed_and_resumed(by: &str, dice: &mut Dice) -> Result<BTreeMap<&'static str, u64>> {
    let pair = mongo::pair()?;
    let database = format!("m_ddl_killed_{by}");
    let (source, target, task) = set_up(pair, &database, by)?;
    let task = in_lanes(all(task), if by == "change_stream" { 4 } else { 1 });
    // The first start is clean, so that there is a place from which nothing is missed.
    let mut running = follow(&task)?;
    running.until("a position is recorded", || Ok(position(&task)?.is_some()))?;
    running.kill9()?;
    let load = Load::start(&pair.source, &database, dice.roll())?;
    for _ in 0..10 {
        let running = task.spawn()?;
        sleep(dice.moment(Duration::from_millis(2500)));
        let killed = running.kill9()?;
        ensure!(killed.code == 128 + 9, "resumed, it failed by itself: {}", killed.said());
    }
    let kinds = ["drop", "rename", "create", "createIndexes", "dropIndexes", "$out"];
    deadline::until("enough is written, and some of each kind", Duration::from_secs(120), || {
        let is_enough = load.done() > 1500 && kinds.iter().all(|kind| load.told().contains_key(kind));
        Ok((is_enough || !load.goes_on()).then_some(()))
    })?;
    let told = load.stop()?;
    let mut running = task.spawn()?;
    caught_up(&mut running, &source, &target, &database)?;
    let log = stop(running)?.log;
    equal(&source, &target, &database).context(log.clone())?;
    alike((&source, &database), (&target, &database)).context(log)?;
    Ok(told)
}
