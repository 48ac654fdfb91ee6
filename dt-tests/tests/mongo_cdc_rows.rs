//! What a stream of MongoDB brings: documents of every type by insert, update and replacement, large ones, in their order;
//! whole transactions; what the filter chooses, under the names that the router gives; onto a target that has it already.

mod mongo_documents;
mod mongo_streams;

use anyhow::{Context, Result, ensure};
use dt_tests::mongo::bytes;
use dt_tests::servers::mongo::{self, MongoPair, Setup};
use dt_tests::task::Task;
use mongo_documents::{awkward_documents, by_id, delete, every_id, every_value, spoil};
use mongo_streams::{BOTH, caught_up, equal, follow, followed, position, set_up, stop, store, stream, update, write};
use mongodb::bson::{Document, doc};

/// Updates of all documents, one for each.
fn update_all(collection: &str, change: Vec<Document>) -> Document {
    doc! {"update": collection, "updates": [{"q": {}, "u": change, "multi": true}]}
}

#[test]
fn every_value_and_every_key_arrive_by_insert_update_and_replacement() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let database = "m_values";
        let (source, target, task) = set_up(pair, database, by)?;
        let mut running = follow(&task)?;
        source.insert(database, "values", &every_value()?)?;
        source.insert(database, "ids", &every_id()?)?;
        source.insert(database, "awkward", &awkward_documents())?;
        mongo_documents::zero_timestamps(&source, database, "awkward")?;
        caught_up(&mut running, &source, &target, database)?;
        equal(&source, &target, database).context("inserted")?;
        // Each type as a new value, in place of another one, in a document and in a list.
        let copied = doc! {"$set": {"copy": "$v", "nested": {"deep": {"v": "$v"}}, "list": [0, "$v", {"v": "$v"}]}};
        write(&source, database, update_all("values", vec![copied]))?;
        caught_up(&mut running, &source, &target, database)?;
        write(&source, database, update_all("values", vec![doc! {"$set": {"v": 1, "list": ["$copy"]}}]))?;
        for document in &source.documents(database, "ids")? {
            source.raw_command(database, spoil("ids", by_id(document)?)?)?;
        }
        caught_up(&mut running, &source, &target, database)?;
        equal(&source, &target, database).context("updated")?;
        let replaced = vec![doc! {"$replaceWith": {"_id": "$_id", "before": "$$ROOT"}}];
        for collection in ["values", "ids"] {
            write(&source, database, update_all(collection, replaced.clone()))?;
        }
        caught_up(&mut running, &source, &target, database)?;
        equal(&source, &target, database).context("replaced")?;
        for document in source.documents(database, "ids")?.iter().step_by(2) {
            source.raw_command(database, delete("ids", by_id(document)?)?)?;
        }
        caught_up(&mut running, &source, &target, database)?;
        stop(running)?;
        ensure!(equal(&source, &target, database).context("deleted")? > 70, "{by}");
    }
    Ok(())
}

#[test]
fn large_documents_arrive_and_an_event_that_is_too_large_is_had_by_the_oplog() -> Result<()> {
    let pair = mongo::pair()?;
    let database = "m_large";
    for by in BOTH {
        let (source, target, task) = set_up(pair, database, by)?;
        followed(&task, &source, &target, database, || {
            let large = |letter: &str, room: usize| doc! {"_id": 1, "text": letter.repeat(16 * 1024 * 1024 - room)};
            source.insert(database, "t", &[bytes(&large("x", 64))?])?;
            write(&source, database, update("t", 1, doc! {"$set": {"small": 1}}))?;
            write(&source, database, update("t", 1, large("y", 1024)))?;
            write(&source, database, update("t", 1, doc! {"$unset": {"text": 1}}))?;
            // All of a list but one element.
            let list: Vec<i32> = (0..200_000).collect();
            write(&source, database, doc! {"insert": "t", "documents": [{"_id": 2, "list": list}]})?;
            write(&source, database, update("t", 2, doc! {"$pull": {"list": {"$ne": 77_777}}})).map(drop)
        })?;
    }
    // With its `_id`, which is said more often than in the oplog, an event does not fit 16 MiB.
    let (source, target, task) = set_up(pair, database, "change_stream")?;
    let mut running = follow(&task)?;
    write(&source, database, doc! {"insert": "t", "documents": [{"_id": 1}]})?;
    caught_up(&mut running, &source, &target, database)?;
    let id = "i".repeat(1_200_000);
    source.insert(database, "t", &[bytes(&doc! {"_id": &id, "text": "x".repeat(13_500_000)})?])?;
    let ended = running.wait()?.expect_code(3)?;
    ensure!(ended.stderr.contains("set source=op_log"), "{}", ended.said());
    let task = task.set("extractor", "source", "op_log");
    followed(&task, &source, &target, database, || Ok(())).map(drop)
}

#[test]
fn keys_of_a_unique_index_that_are_passed_on_arrive_and_may_be_applied_again() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let database = "m_unique";
        let (source, target, task) = set_up(pair, database, by)?;
        for server in [&source, &target] {
            let index = doc! {"key": {"u": 1}, "name": "u_once", "unique": true};
            server.command(database, doc! {"createIndexes": "t", "indexes": [index]})?;
        }
        let mut running = follow(&task)?;
        caught_up(&mut running, &source, &target, database)?;
        stop(running)?;
        let begin = position(&task)?.context("no position")?.to_string();
        let set = |id: i32, key: &str| update("t", id, doc! {"$set": {"u": key}, "$push": {"had": key}});
        // So large that what comes before and what comes after are not in one batch.
        let apart = || write(&source, database, doc! {"insert": "apart", "documents": [{"text": "x".repeat(700_000)}]});
        followed(&task, &source, &target, database, || {
            let documents = [doc! {"_id": 1, "u": "a"}, doc! {"_id": 2, "u": "b"}, doc! {"_id": 3, "u": "c"}];
            write(&source, database, doc! {"insert": "t", "documents": documents.to_vec()})?;
            apart()?;
            // A key goes from a document to one that comes later.
            write(&source, database, doc! {"insert": "t", "documents": [{"_id": 4, "u": "x", "n": 1}]})?;
            apart()?;
            write(&source, database, set(4, "y"))?;
            apart()?;
            write(&source, database, doc! {"insert": "t", "documents": [{"_id": 5, "u": "x"}]})?;
            apart()?;
            // All at once: two change with each other, a third one goes round.
            let moves = [set(1, "?"), set(2, "a"), set(1, "b"), set(3, "!"), set(2, "c"), set(3, "a")];
            let moves = moves.map(|step| (database, step));
            ensure!(source.transaction(&moves, true)?, "the moves were refused");
            apart()?;
            write(&source, database, doc! {"delete": "t", "deletes": [{"q": {"_id": 2}, "limit": 1}]})?;
            apart()?;
            write(&source, database, set(1, "c"))?;
            apart()?;
            write(&source, database, doc! {"insert": "t", "documents": [{"_id": 2, "u": "b"}]}).map(drop)
        })?;
        // From the beginning once more, and each change by itself: the target is ahead of all of them.
        for memory_mb in ["1", "64"] {
            let again = stream(pair, database, by)?.set("pipeline", "buffer_memory_mb", memory_mb);
            store(&again, &begin)?;
            let finished = followed(&again, &source, &target, database, || Ok(()));
            let finished = finished.with_context(|| format!("{by}, again with {memory_mb} MiB"))?;
            ensure!(memory_mb != "1" || finished.log.contains("is ahead of them"), "{}", finished.said());
        }
    }
    Ok(())
}

#[test]
fn transactions_arrive_whole_or_not_at_all() -> Result<()> {
    let setup =
        Setup { login: false, extra: vec!["--setParameter=enableTestCommands=1".to_owned()], ..Setup::default() };
    let pair = MongoPair::start(&setup)?;
    for by in BOTH {
        let database = "m_transactions";
        let (source, target, task) = set_up(&pair, database, by)?;
        let insert = |collection: &str, id: i32, bytes: usize| {
            doc! {"insert": collection, "documents": [{"_id": id, "text": "x".repeat(bytes)}]}
        };
        followed(&task, &source, &target, database, || {
            let of = |range: std::ops::Range<i32>, bytes: usize| {
                let commands =
                    range.flat_map(|id| [(database, insert("a", id, bytes)), (database, insert("b", id, bytes))]);
                commands.collect::<Vec<_>>()
            };
            ensure!(source.transaction(&of(0..10, 10), true)?);
            ensure!(!source.transaction(&of(10..20, 10), false)?);
            // More than one entry of the oplog, each of at most 16 MiB.
            ensure!(source.transaction(&of(20..35, 700_000), true)?);
            ensure!(!source.transaction(&of(40..52, 700_000), false)?);
            // The commands of one document after the other, and an order that counts.
            let same = [
                (database, insert("a", 100, 1)),
                (database, update("a", 100, doc! {"$set": {"n": 1}})),
                (database, doc! {"delete": "a", "deletes": [{"q": {"_id": 100}, "limit": 1}]}),
                (database, insert("a", 100, 2)),
                (database, update("a", 100, doc! {"$inc": {"n": 5}})),
            ];
            ensure!(source.transaction(&same, true)?);
            // Prepared, as the shards of a cluster do, with others in between; committed, and given up.
            source.prepared(database, &[insert("a", 200, 1), insert("b", 200, 1)], true, || {
                write(&source, database, insert("a", 201, 1)).map(drop)
            })?;
            source.prepared(database, &[insert("a", 202, 1), insert("b", 202, 1)], false, || Ok(()))
        })?;
        ensure!(target.count(database, "a")? == 10 + 15 + 1 + 2, "{by}: {}", target.count(database, "a")?);
        ensure!(target.count(database, "b")? == 10 + 15 + 1, "{by}: {}", target.count(database, "b")?);
    }
    Ok(())
}

#[test]
fn the_filter_chooses_and_the_router_renames() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let names = ["m_chosen_1", "m_chosen_2", "m_left", "m_routed", "m_elsewhere"];
        let (source, target) = pair.without(&names)?;
        let task = Task::mongo(&pair.source, &pair.target)?
            .follows_mongo(by)
            .set("filter", "do_dbs", "m_chosen_?")
            .set("filter", "do_tbs", "m_left.y")
            .set("filter", "ignore_tbs", "m_chosen_1.no")
            .set("filter", "do_events", "insert,update")
            .set("router", "db_map", "m_chosen_2:m_routed,m_left:m_elsewhere")
            .set("router", "tb_map", "m_chosen_2.d:m_routed.other name");
        let mut running = follow(&task)?;
        let places = [
            ("m_chosen_1", "a.b"),
            ("m_chosen_1", "no"),
            ("m_chosen_2", "c"),
            ("m_chosen_2", "d"),
            ("m_left", "x"),
            ("m_left", "y"),
        ];
        for (database, collection) in places {
            write(
                &source,
                database,
                doc! {"insert": collection, "documents": [{"_id": 1, "of": collection}, {"_id": 2}]},
            )?;
            write(&source, database, update(collection, 1, doc! {"$set": {"changed": true}}))?;
            write(&source, database, doc! {"delete": collection, "deletes": [{"q": {"_id": 2}, "limit": 1}]})?;
        }
        write(&source, "m_chosen_1", doc! {"insert": "last", "documents": [{"_id": 1}]})?;
        running.until("the last one arrives", || Ok(target.count("m_chosen_1", "last")? == 1))?;
        stop(running)?;
        let expected = [
            ("m_chosen_1", "a.b", "a.b"),
            ("m_routed", "c", "c"),
            ("m_routed", "other name", "d"),
            ("m_elsewhere", "y", "y"),
        ];
        for (database, collection, of) in expected {
            let came = target.documents(database, collection)?;
            let first = bytes(&doc! {"_id": 1, "of": of, "changed": true})?;
            // Deletions are not copied.
            ensure!(
                came == [first, bytes(&doc! {"_id": 2})?],
                "{by}: `{database}`.`{collection}`: {} came",
                came.len()
            );
        }
        ensure!(target.collections("m_chosen_1")? == ["a.b", "last"], "{:?}", target.collections("m_chosen_1")?);
        ensure!(target.collections("m_routed")? == ["c", "other name"], "{:?}", target.collections("m_routed")?);
    }
    Ok(())
}

#[test]
fn what_is_done_to_collections_is_named_and_stops_nothing() -> Result<()> {
    let pair = mongo::pair()?;
    for by in BOTH {
        let (source, target, task) = set_up(pair, "m_ddl", by)?;
        source.command("m_ddl_other", doc! {"dropDatabase": 1})?;
        let mut running = follow(&task)?;
        for name in ["dropped", "renamed", "kept"] {
            write(&source, "m_ddl", doc! {"insert": name, "documents": [{"_id": 1}]})?;
        }
        let index = doc! {"key": {"v": 1}, "name": "v_1"};
        source.command("m_ddl", doc! {"createIndexes": "kept", "indexes": [index]})?;
        source.command("m_ddl", doc! {"collMod": "kept", "index": {"name": "v_1", "hidden": true}})?;
        source.command("m_ddl", doc! {"dropIndexes": "kept", "index": "v_1"})?;
        source.command("m_ddl", doc! {"create": "made", "capped": true, "size": 4096})?;
        source.command("admin", doc! {"renameCollection": "m_ddl.renamed", "to": "m_ddl.name after"})?;
        source.command("m_ddl", doc! {"drop": "dropped"})?;
        write(&source, "m_ddl_other", doc! {"insert": "t", "documents": [{"_id": 1}]})?;
        source.command("m_ddl_other", doc! {"drop": "t"})?;
        write(&source, "m_ddl", doc! {"insert": "name after", "documents": [{"_id": 2}]})?;
        caught_up(&mut running, &source, &target, "m_ddl")?;
        source.command("m_ddl", doc! {"dropDatabase": 1})?;
        caught_up(&mut running, &source, &target, "m_ddl")?;
        let log = stop(running)?.log;
        for said in [
            "`m_ddl`.`dropped`",
            "`m_ddl`.`kept`",
            "`m_ddl`.`made`",
            "`m_ddl`.`renamed` to `m_ddl`.`name after`",
            "`dropDatabase` of `m_ddl`",
        ] {
            ensure!(log.contains(said), "{by}: `{said}` is not named:\n{log}");
        }
        ensure!(!log.contains("m_ddl_other"), "{log}");
        ensure!(target.collections("m_ddl")? == ["dropped", "kept", "marks", "name after", "renamed"], "{by}");
    }
    Ok(())
}
