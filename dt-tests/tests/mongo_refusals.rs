//! What dt-main refuses of MongoDB, before the first document where it can be known: each time a message that names what
//! is wrong and a way out, the right exit code, and no secret and no value of a document anywhere.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use dt_tests::mongo::bytes;
use dt_tests::proxy::Proxy;
use dt_tests::servers::mongo::{self, MongoPair, MongoServer, Setup};
use dt_tests::servers::{PASSWORD, USER};
use dt_tests::task::{Finished, Task};
use mongodb::bson::doc;

/// A task of one collection of three documents.
fn three(pair: &MongoPair, database: &str) -> Result<Task> {
    let (source, _) = pair.without(&[database])?;
    let documents = (1..4).map(|id| bytes(&doc! {"_id": id, "v": "s3cret"})).collect::<Result<Vec<_>>>()?;
    source.insert(database, "t", &documents)?;
    Ok(Task::of_mongo_pair(pair, &[database])?.set("pipeline", "max_retry_secs", "5"))
}

/// Ends with this code, says all of the texts on standard error, and never says a password or a value of ours.
fn refused(task: &Task, code: i32, texts: &[&str]) -> Result<Finished> {
    let refused = task.run()?.expect_code(code)?;
    for text in texts {
        ensure!(refused.stderr.contains(text), "`{text}` is not said: {}", refused.said());
    }
    for output in [&refused.stdout, &refused.stderr, &refused.log] {
        for secret in [PASSWORD, "s3cret"] {
            ensure!(!output.contains(secret), "`{secret}` is shown:\n{output}");
        }
        ensure!(!output.contains("panicked"), "{output}");
    }
    Ok(refused)
}

#[test]
fn an_address_that_does_not_answer_is_refused_at_once() -> Result<()> {
    let pair = mongo::pair()?;
    let task = three(pair, "unreachable")?.set("extractor", "connection_timeout_secs", "2").set(
        "sinker",
        "connection_timeout_secs",
        "2",
    );
    let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
    for section in ["extractor", "sinker"] {
        for url in [format!("mongodb://127.0.0.1:{port}/"), format!("mongodb://127.0.0.1:{port}/?replicaSet=rs0")] {
            let task =
                three(pair, "unreachable")?.set(section, "url", url).set(section, "connection_timeout_secs", "2");
            let began = Instant::now();
            refused(&task, 3, &[&format!("127.0.0.1:{port}"), "refused", "check that the server runs"])?;
            ensure!(began.elapsed() < Duration::from_secs(15), "refused after {:?} only", began.elapsed());
        }
    }
    let proxy = Proxy::start(pair.source.port())?;
    proxy.black_hole(true);
    let silent = task.set("extractor", "url", format!("mongodb://127.0.0.1:{}/?directConnection=true", proxy.port()));
    refused(&silent, 3, &[&format!("127.0.0.1:{}", proxy.port()), "check that the server runs"])?;
    Ok(())
}

#[test]
fn the_name_of_another_replica_set_is_refused_with_the_right_one() -> Result<()> {
    let pair = mongo::pair()?;
    for (section, port) in [("extractor", pair.source.port()), ("sinker", pair.target.port())] {
        let task = three(pair, "wrong_set")?
            .set(section, "url", format!("mongodb://127.0.0.1:{port}/?replicaSet=other"))
            .set(section, "connection_timeout_secs", "2");
        refused(&task, 3, &["replica set `rs0`, not `other`", &format!("correct replicaSet in [{section}] url")])?;
    }
    Ok(())
}

#[test]
fn a_standalone_that_was_meant_to_be_a_member_is_refused() -> Result<()> {
    let pair = mongo::pair()?;
    let alone = MongoServer::start(&Setup { set: None, login: false, extra: Vec::new() })?;
    let task = three(pair, "standalone")?
        .set("extractor", "url", format!("mongodb://127.0.0.1:{}/?replicaSet=rs0", alone.port()))
        .unset("extractor", "username")
        .unset("extractor", "password")
        .set("extractor", "connection_timeout_secs", "2");
    refused(&task, 3, &["is a standalone server, and not a member of the replica set `rs0`", "take replicaSet out"])?;
    Ok(())
}

#[test]
fn a_wrong_login_is_refused_and_shown_nowhere() -> Result<()> {
    const WRONG: &str = "hunter2;#=%'\"";
    let pair = mongo::pair()?;
    for section in ["extractor", "sinker"] {
        let task = three(pair, "wrong_login")?.set(section, "password", WRONG);
        let wrong = refused(&task, 3, &["as `dt`", "does not accept the login", "authSource"])?;
        ensure!(!wrong.said().contains(WRONG), "{}", wrong.said());
        let url = format!("mongodb://{USER}:hunter2@127.0.0.1:{}/?replicaSet=rs0", pair.source.port());
        let task =
            three(pair, "wrong_login")?.unset(section, "password").unset(section, "username").set(section, "url", url);
        let wrong = refused(&task, 3, &["does not accept the login"])?;
        ensure!(!wrong.said().contains("hunter2"), "{}", wrong.said());
        let task = three(pair, "wrong_login")?.unset(section, "password").unset(section, "username");
        refused(&task, 3, &["authentication"])?;
    }
    Ok(())
}

#[test]
fn an_account_without_the_privileges_is_told_which() -> Result<()> {
    let pair = mongo::pair()?;
    three(pair, "privileges")?;
    for client in [pair.source.client()?, pair.target.client()?] {
        let roles = vec![doc! {"role": "read", "db": "privileges"}];
        // It may be there from a run before, if the servers were.
        client.command("admin", doc! {"createUser": "reader", "pwd": "pw", "roles": roles})?;
    }
    let as_reader = |task: Task, section: &str| task.set(section, "username", "reader").set(section, "password", "pw");
    as_reader(three(pair, "privileges")?, "extractor").run()?.expect_code(0)?;
    refused(&as_reader(three(pair, "privileges")?, "sinker"), 3, &["not authorized", "readWrite"])?;
    Ok(())
}

#[test]
fn time_series_are_refused_and_views_are_left_out() -> Result<()> {
    let pair = mongo::pair()?;
    let task = three(pair, "kinds")?;
    let source = pair.source.client()?;
    source.command("kinds", doc! {"create": "v", "viewOn": "t", "pipeline": []})?;
    source.command("kinds", doc! {"create": "series", "timeseries": {"timeField": "at"}})?;
    refused(&task, 3, &["`kinds`.`series`", "time-series", "ignore_tbs"])?;
    let copied = task.set("filter", "ignore_tbs", "kinds.series").run()?.expect_code(0)?;
    ensure!(copied.log.contains("`kinds`.`v` passes the filter but is a view"), "{}", copied.said());
    let target = pair.target.client()?;
    ensure!(target.collections("kinds")? == ["t"], "{:?}", target.collections("kinds")?);
    // What is a view on the target cannot be written to.
    target.command("kinds", doc! {"drop": "t"})?;
    target.command("kinds", doc! {"create": "t", "viewOn": "x", "pipeline": []})?;
    let again = Task::of_mongo_pair(pair, &["kinds"])?.set("filter", "ignore_tbs", "kinds.series");
    refused(&again, 3, &["`kinds`.`t` is a view"])?;
    Ok(())
}

#[test]
fn keys_that_are_for_columns_are_refused() -> Result<()> {
    let pair = mongo::pair()?;
    let column = r#"json:[{"db":"columns","tb":"t","ignore_cols":["v"]}]"#;
    refused(&three(pair, "columns")?.set("filter", "ignore_cols", column), 2, &["ignore_cols", "copied whole"])?;
    let condition = r#"json:[{"db":"columns","tb":"t","condition":"v > 1"}]"#;
    refused(
        &three(pair, "columns")?.set("filter", "where_conditions", condition),
        2,
        &["where_conditions", "`columns`.`t`"],
    )?;
    Ok(())
}

#[test]
fn a_document_that_the_target_does_not_take_stops_the_task_and_is_not_shown() -> Result<()> {
    let pair = mongo::pair()?;
    let target = pair.target.client()?;
    // Another unique index: the three documents have the same value.
    let task = three(pair, "not_taken")?;
    let index = doc! {"key": {"v": 1}, "name": "v_once", "unique": true};
    target.command("not_taken", doc! {"createIndexes": "t", "indexes": [index]})?;
    refused(&task, 3, &["`not_taken`.`t`", "v_once", "another unique index"])?;
    let task = three(pair, "not_taken")?;
    target.command("not_taken", doc! {"create": "t", "validator": {"w": {"$exists": true}}})?;
    refused(&task, 3, &["`not_taken`.`t`", "validator"])?;
    Ok(())
}

#[test]
fn documents_that_are_others_on_the_target_are_treated_as_the_user_says() -> Result<()> {
    let pair = mongo::pair()?;
    let target = pair.target.client()?;
    let with_another = |task: Task| -> Result<Task> {
        target.command("conflict", doc! {"dropDatabase": 1})?;
        target.insert(
            "conflict",
            "t",
            &[bytes(&doc! {"_id": 2, "v": "mine"})?, bytes(&doc! {"_id": 9, "v": "mine"})?],
        )?;
        Ok(task)
    };
    let values = || -> Result<Vec<String>> {
        let documents = target.documents("conflict", "t")?;
        let texts = documents
            .iter()
            .map(|document| Ok(mongodb::bson::Document::from_reader(&document[..])?.get_str("v")?.to_owned()));
        texts.collect()
    };
    let stopped = with_another(three(pair, "conflict")?.set("sinker", "replace", "false"))?;
    refused(&stopped, 3, &["`conflict`.`t`", "in the target already", "replace=true"])?;
    let ignored = three(pair, "conflict")?.set("sinker", "replace", "false").set("sinker", "conflict_policy", "ignore");
    with_another(ignored)?.run()?.expect_code(0)?;
    ensure!(values()? == ["s3cret", "mine", "s3cret", "mine"], "{:?}", values()?);
    with_another(three(pair, "conflict")?)?.run()?.expect_code(0)?;
    ensure!(values()? == ["s3cret", "s3cret", "s3cret", "mine"], "{:?}", values()?);
    // The very same documents are no conflict: an earlier try may have written them.
    let same = three(pair, "conflict")?.set("sinker", "replace", "false");
    let source = pair.source.client()?;
    target.insert("conflict", "t", &source.documents("conflict", "t")?[..2])?;
    same.run()?.expect_code(0)?;
    ensure!(values()? == ["s3cret", "s3cret", "s3cret"], "{:?}", values()?);
    Ok(())
}

#[test]
fn a_check_tells_what_a_start_would_do_and_changes_nothing() -> Result<()> {
    let pair = mongo::pair()?;
    let task = three(pair, "checked")?;
    let checked = task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
    for text in
        ["MongoDB 6.0", "(replica set rs0)", "`checked`.`t`: from the beginning, about 3 rows", "nothing was changed"]
    {
        ensure!(checked.stdout.contains(text), "`{text}` is not said: {}", checked.said());
    }
    ensure!(pair.target.client()?.collections("checked")?.is_empty());
    Ok(())
}
