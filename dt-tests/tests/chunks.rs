//! Tables in chunks: cut once, and resumed so that exactly what is not finished is read.

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::{self, Kind};
use dt_tests::task::Task;

const ROWS: u64 = 30_000;

/// A chunk of the table as position.log has it: the bounds of its key, and how far it is.
#[derive(Debug)]
struct Chunk {
    after: Option<u64>,
    until: Option<u64>,
    state: State,
}

#[derive(Debug, PartialEq)]
enum State {
    Unknown,
    At(u64),
    Finished,
}

/// `t` with a key of whole numbers, and the same empty table on the target; the schema that it is known by.
fn table(kind: Kind, database: &str) -> Result<(Db, Db, Task)> {
    let pair = servers::pair(kind)?;
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(200))")?;
    }
    let task = match kind {
        Kind::Mysql | Kind::Mariadb => {
            source.exec("CREATE TABLE digits (d int PRIMARY KEY)")?;
            source.exec("INSERT INTO digits VALUES (0),(1),(2),(3),(4),(5),(6),(7),(8),(9)")?;
            source.exec(format!(
                "INSERT INTO t SELECT a.d + 10*b.d + 100*c.d + 1000*d.d + 10000*e.d + 1, repeat('x', 150) \
                 FROM digits a, digits b, digits c, digits d, digits e WHERE e.d < {}",
                ROWS / 10_000
            ))?;
            source.exec("DROP TABLE digits")?;
            Task::of_pair(pair, &[database])?
        }
        Kind::Postgres15 | Kind::Postgres18 => {
            source.exec(format!("INSERT INTO t SELECT i, repeat('x', 150) FROM generate_series(1, {ROWS}) i"))?;
            Task::of_postgres_pair(pair, database)?
        }
    };
    let task = task
        .set("extractor", "parallel_type", "chunk")
        .set("extractor", "parallel_size", "3")
        .set("extractor", "batch_size", "1000")
        // What is read waits for what is written, so that a kill meets chunks at every stage.
        .set("pipeline", "buffer_memory_mb", "1");
    Ok((source, target, task))
}

fn value(line: &str, field: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{field}\":"))?;
    let end = rest.find([',', '}'])?;
    Some(rest[..end].trim_matches('"').to_owned())
}

/// What position.log says of the chunks.
fn chunks(task: &Task) -> Result<Vec<Chunk>> {
    let log = task.log("position.log")?;
    let splits: Vec<&str> = log.lines().filter(|line| line.contains("\"RdbSnapshotSplit\"")).collect();
    ensure!(splits.len() == 1, "the table was cut {} times: {log}", splits.len());
    let (_, bounds) = splits[0].split_once("\"bounds\":[").context("no bounds")?;
    let (bounds, _) = bounds.split_once("]],").context("no end of the bounds")?;
    let bounds = bounds.split(',').map(|bound| bound.trim_matches(['[', ']', '"']).parse::<u64>());
    let bounds = bounds.collect::<std::result::Result<Vec<u64>, _>>()?;
    let mut chunks: Vec<Chunk> = (0..=bounds.len())
        .map(|no| Chunk {
            after: no.checked_sub(1).map(|at| bounds[at]),
            until: bounds.get(no).copied(),
            state: State::Unknown,
        })
        .collect();
    for line in log.lines().filter(|line| line.contains("\"RdbSnapshotChunk")) {
        let no: usize = value(line, "chunk").context("a chunk without a number")?.parse()?;
        chunks[no].state = match line.contains("\"RdbSnapshotChunkFinished\"") {
            true => State::Finished,
            false => State::At(value(line, "value").context("a chunk without a key")?.parse()?),
        };
    }
    Ok(chunks)
}

fn rows(db: &Db, after: Option<u64>, until: Option<u64>) -> Result<u64> {
    let (after, until) = (after.unwrap_or(0), until.unwrap_or(u64::from(u32::MAX / 2)));
    db.number(format!("SELECT count(*) FROM t WHERE id > {after} AND id <= {until}"))
}

fn exactly_what_is_not_finished_is_read(kind: Kind) -> Result<()> {
    let (source, target, task) = table(kind, "chunks_exact")?;
    let task = task.set("extractor", "max_rps", "5000");
    let mut running = task.spawn()?;
    running.until("three chunks are finished", || {
        let finished = task.log("position.log").unwrap_or_default().matches("\"RdbSnapshotChunkFinished\"").count();
        Ok(finished >= 3)
    })?;
    running.kill9()?;
    let before = chunks(&task)?;
    ensure!(before.len() > 10, "{} chunks of {ROWS} rows", before.len());
    ensure!(before.iter().any(|chunk| chunk.state == State::Unknown), "the copy was nearly over: {before:?}");

    // The target loses everything, so that what comes again is seen. Other settings do not cut the table anew.
    target.exec("DELETE FROM t")?;
    let task = task.set("extractor", "max_rps", "0").set("extractor", "parallel_type", "table").set(
        "extractor",
        "batch_size",
        "700",
    );
    let resumed = task.run()?.expect_code(0)?;
    for chunk in &before {
        let Chunk { after, until, state } = chunk;
        let there = rows(&target, *after, *until)?;
        let wanted = match state {
            State::Finished => 0,
            State::At(key) => rows(&source, Some(*key), *until)?,
            State::Unknown => rows(&source, *after, *until)?,
        };
        ensure!(there == wanted, "{there} rows instead of {wanted} came again of {chunk:?}: {}", resumed.said());
    }
    let finished = before.iter().filter(|chunk| chunk.state == State::Finished).count();
    ensure!(resumed.log.contains(&format!("chunks: {}, finished: {finished}", before.len())), "{}", resumed.said());
    ensure!(resumed.summary("tables") == Some(1), "{}", resumed.said());
    ensure!(task.progress()?.is_finished(&schema(kind, "chunks_exact"), "t"), "{}", resumed.said());
    Ok(())
}

fn schema(kind: Kind, database: &str) -> String {
    match kind {
        Kind::Mysql | Kind::Mariadb => database.to_owned(),
        Kind::Postgres15 | Kind::Postgres18 => "public".to_owned(),
    }
}

#[test]
fn mysql_reads_exactly_what_is_not_finished() -> Result<()> {
    exactly_what_is_not_finished_is_read(Kind::Mysql)
}

#[test]
fn mariadb_reads_exactly_what_is_not_finished() -> Result<()> {
    exactly_what_is_not_finished_is_read(Kind::Mariadb)
}

#[test]
fn postgresql_15_reads_exactly_what_is_not_finished() -> Result<()> {
    exactly_what_is_not_finished_is_read(Kind::Postgres15)
}

#[test]
fn postgresql_18_reads_exactly_what_is_not_finished() -> Result<()> {
    exactly_what_is_not_finished_is_read(Kind::Postgres18)
}

/// A table that was begun in one piece goes on in one, and a small one is never cut.
fn one_piece_stays_one(kind: Kind) -> Result<()> {
    let (source, target, task) = table(kind, "chunks_whole")?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE small (id int PRIMARY KEY)")?;
    }
    source.exec("INSERT INTO small VALUES (1), (2), (3)")?;
    let task = task.set("extractor", "parallel_type", "table").set("extractor", "max_rps", "10000");
    let mut running = task.spawn()?;
    running.until("`t` is under way", || Ok(task.log("position.log").unwrap_or_default().contains("\"tb\":\"t\"")))?;
    running.kill9()?;
    let task = task.set("extractor", "parallel_type", "chunk").set("extractor", "max_rps", "0");
    let resumed = task.run()?.expect_code(0)?;
    ensure!(!task.log("position.log")?.contains("RdbSnapshotSplit"), "{}", resumed.said());
    for (table, verdict) in Judge::new(&source, &target).database(&schema(kind, "chunks_whole"))? {
        ensure!(verdict.is_equal(), "`{table}`: {verdict}");
    }
    Ok(())
}

#[test]
fn what_was_begun_in_one_piece_goes_on_in_one_on_mysql() -> Result<()> {
    one_piece_stays_one(Kind::Mysql)
}

#[test]
fn what_was_begun_in_one_piece_goes_on_in_one_on_postgresql() -> Result<()> {
    one_piece_stays_one(Kind::Postgres15)
}
