//! Questions whose answer never comes, because the link died without a word: they are asked again over another one.

use std::thread;

use crate::streams::{self, until_rows};
use anyhow::{Context, Result, ensure};
use dt_tests::binlog::{self, Place};
use dt_tests::copies::{Copies, Parts, Promise};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::positions::Positions;
use dt_tests::proxy::Proxy;
use dt_tests::servers::{self, Kind, Pair};
use dt_tests::task::Task;

const ROWS: u64 = 40;

/// Something is asked of one end, and not answered.
#[derive(Clone, Copy, Debug)]
struct Question {
    of: &'static str,
    text: &'static str,
}

/// What the source says of a table that is met in its binlog.
const TABLE: Question = Question { of: "extractor", text: "information_schema.statistics" };
/// By which key the target lets a table be spread.
const KEYS: Question = Question { of: "sinker", text: "information_schema.statistics" };
/// The same of PostgreSQL.
const PG_KEYS: Question = Question { of: "sinker", text: "indisexclusion" };

#[test]
fn what_is_asked_beside_the_stream_is_asked_again() -> Result<()> {
    // What they do is wait.
    thread::scope(|scope| {
        let all = [(Kind::Mysql, TABLE), (Kind::Mariadb, TABLE), (Kind::Mysql, KEYS), (Kind::Postgres15, PG_KEYS)];
        let running: Vec<_> = all.map(|case| (case, scope.spawn(move || follows(case.0, case.1)))).into();
        for ((kind, question), running) in running {
            running.join().expect("unanswered: a thread panicked").with_context(|| format!("{kind}, {question:?}"))?;
        }
        Ok(())
    })
}

fn follows(kind: Kind, question: Question) -> Result<()> {
    let pair = servers::pair(kind)?;
    let name = format!("unanswered_{}", question.of);
    let (source, target, task) = stream(pair, &name)?;
    let port = if question.of == "extractor" { pair.source.port() } else { pair.target.port() };
    let proxy = Proxy::start(port)?;
    let task = match kind {
        Kind::Mysql | Kind::Mariadb => task.address(question.of, proxy.port()),
        Kind::Postgres15 | Kind::Postgres18 => task.postgres_address(question.of, proxy.port(), &name),
    };
    let mut running = task.spawn()?;
    running.until("the stream has started", || Ok(task.log("default.log")?.contains("CdcExtractor starts, ")))?;
    proxy.silent_once_asked(question.text);
    for id in 0..ROWS {
        source.exec(format!("INSERT INTO met VALUES ({id}, {id})"))?;
    }
    until_rows(&mut running, &target, "met", ROWS)?;
    ensure!(!proxy.is_armed(), "it was never asked");
    let log = streams::stop(running)?.log;
    ensure!(log.contains("no answer from "), "the link was well: {log}");
    let schema = match kind {
        Kind::Mysql | Kind::Mariadb => name.as_str(),
        Kind::Postgres15 | Kind::Postgres18 => "public",
    };
    let verdicts = Judge::new(&source, &target).database(schema)?;
    ensure!(verdicts.iter().all(|(_, verdict)| verdict.is_equal()), "{verdicts:?}");
    Ok(())
}

/// A stream that four lanes apply, of a table that it has not met.
fn stream(pair: &Pair, name: &str) -> Result<(Db, Db, Task)> {
    let (source, target) = pair.database(name)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE met (id int NOT NULL PRIMARY KEY, v int)")?;
    }
    let task = match pair.source.kind() {
        Kind::Mysql | Kind::Mariadb => {
            let Place { file, position, .. } = binlog::beginning(&source)?;
            let task = Task::of_pair(pair, &[name])?.set("extractor", "extract_type", "cdc");
            task.set("extractor", "binlog_filename", file).set("extractor", "binlog_position", position)
        }
        Kind::Postgres15 | Kind::Postgres18 => Task::of_postgres_pair(pair, name)?.follows(name),
    };
    let task = task.set("parallelizer", "parallel_type", "rdb_merge").set("parallelizer", "parallel_size", "4");
    Ok((source, target, task))
}

#[test]
fn a_commit_that_is_not_answered_does_not_hold_up_those_who_wait_for_their_turn() -> Result<()> {
    thread::scope(|scope| {
        let all = [Kind::Mysql, Kind::Postgres15];
        let running: Vec<_> = all.map(|kind| (kind, scope.spawn(move || copies(kind)))).into();
        for (kind, running) in running {
            running.join().expect("unanswered: a thread panicked").with_context(|| kind.to_string())?;
        }
        Ok(())
    })
}

fn copies(kind: Kind) -> Result<()> {
    let copies = Copies::of(kind, "unanswered_commit".to_owned(), 20_000)?;
    let positions = Positions::in_target(&copies.pair.target, copies.name())?;
    let task = positions.of_target(copies.task(2, Parts::Tables)?).set("pipeline", "buffer_size", "500");
    let proxy = Proxy::start(copies.pair.target.port())?;
    let task = match kind {
        Kind::Mysql | Kind::Mariadb => task.address("sinker", proxy.port()),
        Kind::Postgres15 | Kind::Postgres18 => task.postgres_address("sinker", proxy.port(), copies.name()),
    };
    let mut running = task.spawn()?;
    running.until("it has begun to copy", || Ok(proxy.connections() > 2))?;
    proxy.silent_once_asked("COMMIT");
    let ended = running.wait()?.expect_code(0)?;
    ensure!(!proxy.is_armed(), "nothing was committed any more");
    ensure!(ended.log.contains("no answer from "), "the link was well: {}", ended.log);
    // Whoever has given up waiting for its turn leaves no locks behind for its next try.
    let is_held_up = ["Lock wait timeout", "lock timeout"].iter().any(|word| ended.log.contains(word));
    ensure!(!is_held_up, "{}", ended.log);
    copies.judge(Promise::Exactly).map(drop)
}
