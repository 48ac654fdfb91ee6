//! MongoDB: the keys of the task file that say what is copied, whereto, and how the servers are spoken to.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use dt_tests::judge::mongo::MongoJudge;
use dt_tests::mongo::{Mongo, bytes};
use dt_tests::servers::mongo::{self, MongoServer, Setup};
use dt_tests::task::Task;
use mongodb::bson::doc;

/// A collection of documents that carry its name.
fn fill(source: &Mongo, database: &str, collection: &str, rows: i32) -> Result<()> {
    let documents = (0..rows).map(|at| bytes(&doc! {"_id": at, "of": format!("{database}.{collection}")}));
    source.insert(database, collection, &documents.collect::<Result<Vec<_>>>()?)
}

#[test]
fn documents_of_many_small_collections_stay_in_theirs() -> Result<()> {
    let pair = mongo::pair()?;
    for parallel in ["1", "4"] {
        let (source, target) = pair.without(&["many"])?;
        for at in 0..120 {
            fill(&source, "many", &format!("c-{at}"), at % 40)?;
        }
        // MongoDB makes a collection with its first document: one without need not come.
        source.command("many", doc! {"create": "empty"})?;
        let task = Task::of_mongo_pair(pair, &["many"])?.set("extractor", "parallel_size", parallel).set(
            "parallelizer",
            "parallel_size",
            parallel,
        );
        let copied = task.run()?.expect_code(0)?;
        for (collection, verdict) in MongoJudge::new(&source, &target).database("many")? {
            ensure!(verdict.is_equal(), "`{collection}`, parallel {parallel}: {verdict}");
        }
        ensure!(copied.summary("tables") == Some(118), "{}", copied.said());
    }
    Ok(())
}

#[test]
fn the_filter_chooses_and_the_router_renames() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["chosen_1", "chosen_2", "left", "routed", "elsewhere"])?;
    for (database, collection) in
        [("chosen_1", "a.b"), ("chosen_1", "no"), ("chosen_2", "c"), ("chosen_2", "d"), ("left", "x"), ("left", "y")]
    {
        fill(&source, database, collection, 5)?;
    }
    let task = Task::mongo(&pair.source, &pair.target)?
        .set("filter", "do_dbs", "chosen_?")
        .set("filter", "do_tbs", "left.y")
        .set("filter", "ignore_tbs", "chosen_1.no")
        .set("router", "db_map", "chosen_2:routed,left:elsewhere")
        .set("router", "tb_map", "chosen_2.d:routed.other name");
    task.run()?.expect_code(0)?;
    let judge = MongoJudge::new(&source, &target);
    for (from, to) in [
        (("chosen_1", "a.b"), ("chosen_1", "a.b")),
        (("chosen_2", "c"), ("routed", "c")),
        (("chosen_2", "d"), ("routed", "other name")),
        (("left", "y"), ("elsewhere", "y")),
    ] {
        let verdict = judge.collections(from, to)?;
        ensure!(verdict.is_equal() && verdict.rows == 5, "{from:?}: {verdict}");
    }
    for (database, wanted) in [
        ("chosen_1", vec!["a.b"]),
        ("chosen_2", vec![]),
        ("left", vec![]),
        ("routed", vec!["c", "other name"]),
        ("elsewhere", vec!["y"]),
    ] {
        ensure!(target.collections(database)? == wanted, "{database}: {:?}", target.collections(database)?);
    }
    Ok(())
}

#[test]
fn a_dummy_target_takes_every_document_and_keeps_none() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, target) = pair.without(&["dummy"])?;
    fill(&source, "dummy", "t", 1_000)?;
    let copied = Task::of_mongo_pair(pair, &["dummy"])?.set("sinker", "sink_type", "dummy").run()?.expect_code(0)?;
    ensure!(copied.summary("rows") == Some(1_000), "{}", copied.said());
    ensure!(target.collections("dummy")?.is_empty());
    Ok(())
}

#[test]
fn another_kind_of_target_is_refused() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, _) = pair.without(&["other_kind"])?;
    fill(&source, "other_kind", "t", 1)?;
    let task = Task::of_mongo_pair(pair, &["other_kind"])?.set("sinker", "db_type", "mysql").set(
        "sinker",
        "url",
        "mysql://127.0.0.1:1",
    );
    let refused = task.run()?;
    ensure!([2, 3].contains(&refused.code), "{}", refused.said());
    Ok(())
}

#[test]
fn the_server_lists_the_connections_by_app_name() -> Result<()> {
    let pair = mongo::pair()?;
    let (source, _) = pair.without(&["named"])?;
    fill(&source, "named", "t", 30_000)?;
    for (section, key, named) in [("extractor", "app_name", "copier"), ("extractor", "is_direct_connection", "true")] {
        let task = Task::of_mongo_pair(pair, &["named"])?
            .set(section, key, named)
            .set("extractor", "max_rps", "10000")
            .set("pipeline", "buffer_memory_mb", "1");
        let wanted = if key == "app_name" { named } else { "APE_DTS" };
        let mut running = task.spawn()?;
        running.until("the server lists the task", || {
            let listed = source.command("admin", doc! {"currentOp": 1, "$all": true})?;
            let names: BTreeSet<&str> = listed
                .get_array("inprog")?
                .iter()
                .filter_map(|operation| operation.as_document()?.get_str("appName").ok())
                .collect();
            Ok(names.contains(wanted))
        })?;
        running.wait()?.expect_code(0)?;
    }
    Ok(())
}

/// Makes a certificate authority and a key for 127.0.0.1, as the file that a server wants.
fn certificates(folder: &Path) -> Result<()> {
    let script = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem && \
                  openssl req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr && \
                  printf 'subjectAltName=IP:127.0.0.1\\n' > names && \
                  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt && \
                  cat server.crt server.key > server.pem";
    let made =
        Command::new("sh").args(["-c", script]).current_dir(folder).stdin(Stdio::null()).output().context("run sh")?;
    ensure!(made.status.success(), "no certificates: {}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

#[test]
fn a_connection_is_encrypted_and_verified_as_ssl_mode_says() -> Result<()> {
    let folder = tempfile::TempDir::with_prefix("dt-tls-")?;
    certificates(folder.path())?;
    let path = |name: &str| folder.path().join(name).display().to_string();
    // Both kinds of connections, for the test's own client speaks in the clear.
    let extra = [
        "--tlsMode",
        "preferTLS",
        "--tlsCertificateKeyFile",
        &path("server.pem"),
        "--tlsCAFile",
        &path("ca.pem"),
        "--tlsAllowConnectionsWithoutCertificates",
    ];
    let tls = MongoServer::start(&Setup { extra: extra.map(str::to_owned).into(), ..Setup::default() })?;
    let source = tls.client()?;
    fill(&source, "tls", "t", 10)?;
    let pair = mongo::pair()?;
    let task = || -> Result<Task> {
        pair.without(&["tls"])?;
        let task =
            Task::mongo(&tls, &pair.target)?.databases(&["tls"]).set("extractor", "connection_timeout_secs", "3");
        Ok(task.set("pipeline", "max_retry_secs", "3"))
    };
    let encrypted = || -> Result<i64> {
        let status = source.command("admin", doc! {"serverStatus": 1})?;
        let versions = status.get_document("transportSecurity")?;
        Ok(versions.iter().filter_map(|(_, count)| count.as_i64()).sum())
    };
    let before = encrypted()?;
    task()?.run()?.expect_code(0)?;
    ensure!(encrypted()? == before, "encrypted though nothing asked for it");
    task()?.set("extractor", "ssl_mode", "require").run()?.expect_code(0)?;
    ensure!(encrypted()? > before, "not encrypted");
    let verified = |task: Task| task.set("extractor", "ssl_mode", "verify_full");
    verified(task()?).set("extractor", "ssl_ca_path", path("ca.pem")).run()?.expect_code(0)?;
    // No public authority has signed it.
    verified(task()?).run()?.expect_code(3)?;
    verified(task()?).set("extractor", "ssl_ca_path", path("nowhere.pem")).run()?.expect_code(2)?;
    task()?.set("extractor", "ssl_mode", "verify_ca").run()?.expect_code(2)?;
    Ok(())
}
