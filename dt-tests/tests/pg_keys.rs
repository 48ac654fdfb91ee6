//! Every kind of key of PostgreSQL, read whole and again after a SIGKILL in the middle: each row arrives, and what a
//! key identifies arrives once. The tables are in `pg_key_tables/`.

mod pg_key_tables;

use anyhow::{Context, Result, ensure};
use dt_tests::db::{Db, Dialect};
use dt_tests::judge::{Judge, Verdict};
use dt_tests::servers::{self, Kind, Pair};
use dt_tests::task::{RecordedKey, Task};
use pg_key_tables::{Identity, Keyed, TABLES};

/// How long the source takes for each row of the run that is killed: a rate limit would not do, for it holds rows back
/// after they were read, all of one table before the first of another.
const SECONDS_PER_ROW: &str = "0.05";
/// At the pace of the killed run, fewer may be copied before the first position is saved.
const LASTING_ROWS: u32 = 200;

#[test]
fn postgresql_15_keys_are_read_whole() -> Result<()> {
    read_whole(Kind::Postgres15)
}

#[test]
fn postgresql_18_keys_are_read_whole() -> Result<()> {
    read_whole(Kind::Postgres18)
}

#[test]
fn postgresql_15_keys_resume_after_a_kill() -> Result<()> {
    resumed_after_a_kill(Kind::Postgres15, "", "keys_killed")
}

#[test]
fn postgresql_15_keys_resume_after_a_kill_as_text() -> Result<()> {
    // A type that is not read in binary, in each of the target's tables.
    resumed_after_a_kill(Kind::Postgres15, "ADD of_text_only aclitem", "keys_killed_text")
}

#[test]
fn postgresql_18_keys_resume_after_a_kill() -> Result<()> {
    resumed_after_a_kill(Kind::Postgres18, "", "keys_killed")
}

#[test]
fn rows_that_are_there_already_are_replaced_by_every_kind_of_key() -> Result<()> {
    for kind in [Kind::Postgres15, Kind::Postgres18] {
        let pair = servers::pair(kind)?;
        let tables: Vec<_> = known(kind).into_iter().filter(|table| table.identity == Identity::Key).collect();
        let (source, target) = prepare(pair, &tables, "keys_replaced")?;
        Task::of_postgres_pair(pair, "keys_replaced")?.run()?.expect_code(0)?;
        target.exec_all(tables.iter().map(|table| format!("UPDATE {} SET wide = 'old'", quoted(table.name))))?;
        // Another task, which knows nothing of the first one.
        let task = Task::of_postgres_pair(pair, "keys_replaced")?.set("pipeline", "max_retry_secs", "5");
        task.run()?.expect_code(0)?;
        let mut wrong = Vec::new();
        for table in tables {
            let verdict = Judge::new(&source, &target).table("public", table.name)?;
            if !verdict.is_equal() {
                wrong.push(format!("{}: {verdict}", table.name));
            }
        }
        ensure!(wrong.is_empty(), "{kind}:\n{}", wrong.join("\n"));
    }
    Ok(())
}

fn known(kind: Kind) -> Vec<&'static Keyed> {
    let version = if kind == Kind::Postgres18 { 18 } else { 15 };
    TABLES.iter().filter(|table| table.since <= version).collect()
}

fn quoted(name: &str) -> String {
    Dialect::Postgres.quoted(name)
}

/// Makes the tables on both sides and fills the source's.
fn prepare(pair: &Pair, tables: &[&Keyed], database: &str) -> Result<(Db, Db)> {
    let (source, target) = pair.database(database)?;
    for table in tables {
        source
            .exec_all([table.create(), table.insert(), format!("ANALYZE {}", quoted(table.name))])
            .context(table.name)?;
        target.exec(table.create()).context(table.name)?;
    }
    // Sessions that are not told otherwise read their literals in another way.
    source.exec(format!(
        "ALTER DATABASE {database} SET standard_conforming_strings = off; ALTER DATABASE {database} SET array_nulls = off; \
         ALTER DATABASE {database} SET \"DateStyle\" = 'SQL, DMY'; ALTER DATABASE {database} SET \"TimeZone\" = 'Asia/Kathmandu'"
    ))?;
    Ok((source, target))
}

fn read_whole(kind: Kind) -> Result<()> {
    let pair = servers::pair(kind)?;
    let tables = known(kind);
    let (source, target) = prepare(pair, &tables, "keys_whole")?;
    let finished = Task::of_postgres_pair(pair, "keys_whole")?.run()?.expect_code(0)?;
    let judge = Judge::new(&source, &target);
    let mut wrong = Vec::new();
    let mut rows = 0;
    for table in tables {
        let verdict = judge.table("public", table.name)?;
        rows += verdict.rows;
        if !verdict.is_equal() || verdict.rows == 0 {
            wrong.push(format!("{}: {verdict}", table.name));
        }
        let how = if table.identity == Identity::None { "in one stream" } else { "by slices" };
        let line = format!("start extracting data from `public`.`{}` {how}", table.name);
        if !finished.log.contains(&line) {
            wrong.push(format!("{}: should be read {how}", table.name));
        }
    }
    ensure!(wrong.is_empty(), "{kind}:\n{}", wrong.join("\n"));
    ensure!(finished.summary("rows") == Some(rows), "{rows} rows: {}", finished.said());
    Ok(())
}

fn resumed_after_a_kill(kind: Kind, on_target: &str, database: &str) -> Result<()> {
    let pair = servers::pair(kind)?;
    // A table without a key has no position, and no more is promised of it than that no row is lost.
    let tables: Vec<_> = known(kind).into_iter().filter(|table| table.identity != Identity::None).collect();
    let (source, target) = prepare(pair, &tables, database)?;
    if !on_target.is_empty() {
        target.exec_all(tables.iter().map(|table| format!("ALTER TABLE {} {on_target}", quoted(table.name))))?;
    }
    // A sort would read all rows before the first one is sent.
    source.exec(format!("ALTER DATABASE {database} SET enable_sort = off"))?;
    let paged: Vec<_> = tables.iter().filter(|table| table.rows >= LASTING_ROWS).collect();
    // All tables at a time, so that one kill meets all of them in the middle.
    let task = Task::of_postgres_pair(pair, database)?
        .set("extractor", "batch_size", "3")
        .set("extractor", "parallel_size", tables.len().to_string())
        .set("extractor", "max_connections", (tables.len() + 5).to_string())
        .set("sinker", "max_connections", "4");
    let conditions: Vec<String> = tables
        .iter()
        .map(|table| {
            let name = table.name.replace('"', "\\\"");
            format!(r#"{{"db":"public","tb":"{name}","condition":"pg_sleep({SECONDS_PER_ROW}) IS NOT NULL"}}"#)
        })
        .collect();
    let slow = task.set("filter", "where_conditions", format!("json:[{}]", conditions.join(",")));
    let mut running = slow.spawn()?;
    running.until("each table has a position", || {
        let progress = slow.progress()?;
        Ok(paged.iter().all(|table| progress.of("public", table.name).is_some()))
    })?;
    ensure!(running.kill9()?.code == 128 + 9, "it was done before the kill");

    let progress = slow.progress()?;
    let mut wrong = Vec::new();
    let mut finished = Vec::new();
    for table in &paged {
        let RecordedKey(parts) = progress.of("public", table.name).context("the position is gone")?;
        if progress.is_finished("public", table.name) {
            finished.push(table.name);
        }
        wrong.extend(not_as_documented(&source, table, &parts)?);
    }
    // The slowest table's first position decides when the kill comes, and the fastest may be done by then; few are.
    ensure!(finished.len() * 5 <= paged.len(), "finished before the kill: {finished:?} of {} tables", paged.len());
    let resumed = slow.unset("filter", "where_conditions").run()?.expect_code(0)?;
    let judge = Judge::new(&source, &target);
    let mut rows = 0;
    for table in &tables {
        let verdict = judge.table("public", table.name)?;
        rows += verdict.rows;
        if !as_promised(table, &verdict, &source, &target)? {
            wrong.push(format!("{}: {verdict}", table.name));
        }
    }
    for table in paged.iter().filter(|table| !finished.contains(&table.name)) {
        let line = format!("resumer, get resume value, schema: public, tb: {}, col: ", table.name);
        if !resumed.log.contains(&line) {
            wrong.push(format!("{}: not resumed", table.name));
        }
    }
    ensure!(wrong.is_empty(), "{kind}:\n{}", wrong.join("\n"));
    let again = resumed.summary("rows").unwrap_or(u64::MAX);
    ensure!(again < rows, "all {rows} rows were read again: {}", resumed.said());
    Ok(())
}

/// The key that is recorded is the text that the documents say: it is looked for in the source.
fn not_as_documented(source: &Db, table: &Keyed, parts: &[(String, Option<String>)]) -> Result<Option<String>> {
    let columns: Vec<&str> = parts.iter().map(|(column, _)| column.as_str()).collect();
    let expected: Vec<&str> = table.recorded.iter().map(|(column, _)| *column).collect();
    if columns != expected {
        return Ok(Some(format!("{}: recorded are {columns:?}, not {expected:?}", table.name)));
    }
    let mut tests = Vec::new();
    for ((_, value), (_, text)) in parts.iter().zip(table.recorded) {
        let Some(value) = value else { return Ok(Some(format!("{}: a null is recorded", table.name))) };
        tests.push(format!("({text}) = {} COLLATE \"C\"", Dialect::Postgres.literal(value)));
    }
    let count = source.number(format!("SELECT count(*) FROM {} WHERE {}", quoted(table.name), tests.join(" AND ")))?;
    Ok((count != 1).then(|| format!("{}: {count} rows have the recorded key {parts:?}", table.name)))
}

fn as_promised(table: &Keyed, verdict: &Verdict, source: &Db, target: &Db) -> Result<bool> {
    Ok(match table.identity {
        Identity::Key => verdict.is_equal(),
        Identity::None => verdict.nothing_lost(),
        Identity::NotNull(condition) => {
            let sql = format!("SELECT count(*) FROM {} WHERE {condition}", quoted(table.name));
            verdict.nothing_lost() && source.number(&sql)? == target.number(&sql)?
        }
    })
}
