//! Every kind of key, read in pages of seven rows, whole and again after a SIGKILL in the middle: each row arrives,
//! and what a key identifies arrives once. The tables are in `keys/`.

mod copies;
mod keys;

use anyhow::{Context, Result, ensure};
use copies::{Route, Writing, nothing_wrong, run};
use dt_tests::db::{Db, literal, quoted};
use dt_tests::judge::{Judge, Verdict};
use dt_tests::servers::Kind::{self, Mariadb, Mysql};
use dt_tests::task::RecordedKey;
use keys::{Identity, Keyed, TABLES};

/// How long the source takes for each row of the run that is killed: a rate limit would not do, for it holds rows back
/// after they were read, all of one table before the first of another.
const SECONDS_PER_ROW: &str = "0.05";
/// The same where nulls come first: the server may look at all rows to find them.
const SECONDS_PER_NULLABLE_ROW: &str = "0.02";
/// At the pace of the killed run, fewer may be copied before the first position is saved.
const LASTING_ROWS: u32 = 200;

#[test]
fn mysql_keys_are_paged_whole() -> Result<()> {
    paged_whole(Route::new(Mysql, Mysql, Writing::LoadData)?, Mysql, "keys_load")
}

#[test]
fn mysql_keys_are_paged_whole_into_statements() -> Result<()> {
    paged_whole(Route::new(Mysql, Mysql, Writing::Statements)?, Mysql, "keys_statements")
}

#[test]
fn mariadb_keys_are_paged_whole() -> Result<()> {
    paged_whole(Route::new(Mariadb, Mariadb, Writing::LoadData)?, Mariadb, "keys_load")
}

#[test]
fn mariadb_keys_are_paged_whole_into_statements() -> Result<()> {
    paged_whole(Route::new(Mariadb, Mariadb, Writing::Statements)?, Mariadb, "keys_statements")
}

#[test]
fn mysql_keys_resume_after_a_kill() -> Result<()> {
    resumed_after_a_kill(Route::new(Mysql, Mysql, Writing::LoadData)?, Mysql, "keys_killed")
}

#[test]
fn mysql_keys_resume_after_a_kill_into_statements() -> Result<()> {
    resumed_after_a_kill(Route::new(Mysql, Mysql, Writing::Statements)?, Mysql, "keys_killed_statements")
}

#[test]
fn mariadb_keys_resume_after_a_kill() -> Result<()> {
    resumed_after_a_kill(Route::new(Mariadb, Mariadb, Writing::LoadData)?, Mariadb, "keys_killed")
}

#[test]
fn mariadb_keys_resume_after_a_kill_into_statements() -> Result<()> {
    resumed_after_a_kill(Route::new(Mariadb, Mariadb, Writing::Statements)?, Mariadb, "keys_killed_statements")
}

fn known(kind: Kind) -> Vec<&'static Keyed> {
    TABLES.iter().filter(|table| table.known.by(kind)).collect()
}

/// Makes the tables on both sides and fills the source's.
fn prepare(route: &Route, tables: &[&Keyed], database: &str) -> Result<(Db, Db)> {
    let (source, target) = route.databases(database)?;
    for table in tables {
        let create = format!("CREATE TABLE {} ({})", quoted(table.name), table.columns);
        run(&source, table.name, &[create.clone(), table.insert()])?;
        run(&target, table.name, &[create])?;
    }
    Ok((source, target))
}

fn paged_whole(route: Route, kind: Kind, database: &str) -> Result<()> {
    let tables = known(kind);
    let (source, target) = prepare(&route, &tables, database)?;
    let finished = route.task(database)?.set("extractor", "batch_size", "7").run()?.expect_code(0)?;
    let judge = Judge::new(&source, &target);
    let mut wrong = Vec::new();
    let mut rows = 0;
    for table in tables {
        let verdict = judge.table(database, table.name)?;
        rows += verdict.rows;
        if !verdict.is_equal() || verdict.rows == 0 {
            wrong.push(format!("{}: {verdict}", table.name));
        }
        let how = if table.identity == Identity::None { "in one stream" } else { "by slices" };
        let line = format!("start extracting data from `{database}`.`{}` {how}", table.name);
        if !finished.log.contains(&line) {
            wrong.push(format!("{}: should be read {how}", table.name));
        }
    }
    nothing_wrong(route, &wrong)?;
    // Nothing was read twice either: then a page would have begun before the last one ended.
    ensure!(finished.summary("rows") == Some(rows), "{rows} rows: {}", finished.said());
    Ok(())
}

fn resumed_after_a_kill(route: Route, kind: Kind, database: &str) -> Result<()> {
    // A table without a key has no position, and no more is promised of it than that no row is lost.
    let tables: Vec<_> = known(kind).into_iter().filter(|table| table.identity != Identity::None).collect();
    let (source, target) = prepare(&route, &tables, database)?;
    let paged: Vec<_> = tables.iter().filter(|table| table.rows >= LASTING_ROWS).collect();
    // All tables at a time, so that one kill meets all of them in the middle.
    let task = route
        .task(database)?
        .set("extractor", "batch_size", "3")
        .set("extractor", "parallel_size", tables.len().to_string())
        .set("extractor", "max_connections", tables.len().to_string())
        .set("sinker", "max_connections", "4");
    let slow: Vec<String> = tables
        .iter()
        .map(|table| {
            let condition = match table.identity {
                Identity::NotNull(condition) => format!("IF({condition}, SLEEP({SECONDS_PER_NULLABLE_ROW}), 0) = 0"),
                Identity::Key | Identity::None => format!("SLEEP({SECONDS_PER_ROW}) = 0"),
            };
            format!(r#"{{"db":"{database}","tb":"{}","condition":"{condition}"}}"#, table.name)
        })
        .collect();
    let slow = task.set("filter", "where_conditions", format!("json:[{}]", slow.join(",")));
    let mut running = slow.spawn()?;
    running.until("each table has a position", || {
        let progress = slow.progress()?;
        Ok(paged.iter().all(|table| progress.of(database, table.name).is_some()))
    })?;
    ensure!(running.kill9()?.code == 128 + 9, "it was done before the kill");

    let progress = slow.progress()?;
    let mut wrong = Vec::new();
    let mut finished = Vec::new();
    for table in &paged {
        let RecordedKey(parts) = progress.of(database, table.name).context("the position is gone")?;
        if progress.is_finished(database, table.name) {
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
        let verdict = judge.table(database, table.name)?;
        rows += verdict.rows;
        if !as_promised(table, &verdict, &source, &target)? {
            wrong.push(format!("{}: {verdict}", table.name));
        }
    }
    for table in paged.iter().filter(|table| !finished.contains(&table.name)) {
        let line = format!("resumer, get resume value, schema: {database}, tb: {}, col: ", table.name);
        if !resumed.log.contains(&line) {
            wrong.push(format!("{}: not resumed", table.name));
        }
    }
    nothing_wrong(route, &wrong)?;
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
        tests.push(format!("CAST({text} AS BINARY) = CAST({} AS BINARY)", literal(value)));
    }
    let count = source.number(format!("SELECT COUNT(*) FROM {} WHERE {}", quoted(table.name), tests.join(" AND ")))?;
    Ok((count != 1).then(|| format!("{}: {count} rows have the recorded key {parts:?}", table.name)))
}

fn as_promised(table: &Keyed, verdict: &Verdict, source: &Db, target: &Db) -> Result<bool> {
    Ok(match table.identity {
        Identity::Key => verdict.is_equal(),
        Identity::None => verdict.nothing_lost(),
        Identity::NotNull(condition) => {
            let sql = format!("SELECT COUNT(*) FROM {} WHERE {condition}", quoted(table.name));
            verdict.nothing_lost() && source.number(&sql)? == target.number(&sql)?
        }
    })
}
