//! `resume_type=from_target`: what a lost reply, a large transaction, a taken-over process and a restarted target leave.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::db::{Db, Dialect};
use dt_tests::deadline;
use dt_tests::dice::Dice;
use dt_tests::judge::Judge;
use dt_tests::positions::{Positions, followed, stopped, without_files};
use dt_tests::proxy::{Fate, Proxy};
use dt_tests::servers::{self, Kind, Options, Pair};
use dt_tests::task::{Running, Task};

const EACH: [Kind; 3] = [Kind::Mysql, Kind::Mariadb, Kind::Postgres15];

/// A database with a table without a key, whose rows come three times each, and a task that copies it into the target
/// exactly once.
fn keyless(kind: Kind, database: &str, rows: u64) -> Result<(Db, Db, Task, Positions)> {
    let pair = servers::pair(kind)?;
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (n int NOT NULL, v varchar(200))")?;
        db.exec("CREATE TABLE marks (id int PRIMARY KEY)")?;
    }
    if rows > 0 {
        fill(&source, rows)?;
    }
    let positions = Positions::in_target(&pair.target, database)?;
    let task = positions.of_target(task(kind, database)?).set("sinker", "replace", "false");
    Ok((source, target, task, positions))
}

fn fill(source: &Db, rows: u64) -> Result<()> {
    match source.dialect() {
        Dialect::Mysql => {
            source.exec("SET SESSION cte_max_recursion_depth = 1000000").or_else(|_| {
                // MariaDB's name for it.
                source.exec("SET SESSION max_recursive_iterations = 1000000")
            })?;
            source.exec(format!(
                "INSERT INTO t WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1) \
                 SELECT i DIV 3, repeat('x', 100) FROM n"
            ))
        }
        Dialect::Postgres => {
            source.exec(format!("INSERT INTO t SELECT i / 3, repeat('x', 100) FROM generate_series(0, {rows} - 1) i"))
        }
    }
}

fn task(kind: Kind, database: &str) -> Result<Task> {
    let pair = servers::pair(kind)?;
    match kind.dialect() {
        Dialect::Mysql => Task::of_pair(pair, &[database]),
        Dialect::Postgres => Task::of_postgres_pair(pair, database),
    }
}

/// The task follows what is written from now on, also to tables without a key.
fn following(kind: Kind, source: &Db, database: &str) -> Result<Task> {
    if kind.dialect() == Dialect::Postgres {
        source.exec("ALTER TABLE t REPLICA IDENTITY FULL")?;
    }
    Ok(followed(kind, source, database)?.0)
}

fn schema(kind: Kind, database: &str) -> &str {
    match kind.dialect() {
        Dialect::Mysql => database,
        Dialect::Postgres => "public",
    }
}

/// By way of another port, the target alone.
fn by_way_of(task: Task, kind: Kind, proxy: &Proxy, database: &str) -> Task {
    match kind.dialect() {
        Dialect::Mysql => task.address("sinker", proxy.port()),
        Dialect::Postgres => task.postgres_address("sinker", proxy.port(), database),
    }
}

fn is_equal(kind: Kind, source: &Db, target: &Db, database: &str) -> Result<()> {
    let verdict = Judge::new(source, target).table(schema(kind, database), "t")?;
    ensure!(verdict.is_equal(), "`t`: {verdict}");
    Ok(())
}

fn signal(running: &Running, name: &str) -> Result<()> {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", running.pid())]).status()?;
    ensure!(sent.success(), "SIG{name} did not reach dt-main");
    Ok(())
}

#[test]
fn whichever_reply_of_the_target_is_lost_no_row_of_a_snapshot_is_there_twice() -> Result<()> {
    let mut dice = Dice::new();
    for kind in EACH {
        let case = format!("{kind}, DT_SEED={}", dice.seed());
        let (source, target, task, positions) = keyless(kind, "from_target_reply", 30_000)?;
        let proxy = Proxy::start(servers::pair(kind)?.target.port())?;
        let task = by_way_of(task, kind, &proxy, "from_target_reply").set("pipeline", "buffer_size", "1000");
        let task = task.set("extractor", "batch_size", "500").set("extractor", "max_rps", "15000");
        let mut running = task.spawn()?;
        running.until("a position is there", || Ok(positions.count("SnapshotDoing")? == 1))?;
        let place = || {
            let select =
                format!("SELECT position_data FROM {} WHERE resumer_type = 'SnapshotDoing'", positions.table());
            positions.db()?.value(select)
        };
        let mut lost = 0;
        while !running.has_ended()? && lost < 20 {
            let before = place()?;
            proxy.after_replies(dice.pick(0..16), Fate::Lost);
            lost += 1;
            // A batch comes through in between.
            deadline::until("the copy goes on", Duration::from_secs(60), || {
                Ok((running.has_ended()? || place()? != before).then_some(()))
            })?;
        }
        let ended = running.wait()?.expect_code(0).context(case.clone())?;
        println!("{case}: {lost} replies were lost");
        ensure!(lost > 3, "{case}: it was over too soon");
        is_equal(kind, &source, &target, "from_target_reply").with_context(|| format!("{case}: {}", ended.said()))?;
    }
    Ok(())
}

#[test]
fn whichever_reply_of_the_target_is_lost_no_change_is_there_twice() -> Result<()> {
    let mut dice = Dice::new();
    for kind in EACH {
        let case = format!("{kind}, DT_SEED={}", dice.seed());
        let database = "from_target_reply_cdc";
        let (source, target, task, positions) = keyless(kind, database, 0)?;
        drop(task);
        let proxy = Proxy::start(servers::pair(kind)?.target.port())?;
        let task = by_way_of(positions.of_target(following(kind, &source, database)?), kind, &proxy, database);
        let mut running = task.spawn()?;
        running.until("a position is there", || Ok(positions.count("CdcDoing")? == 1))?;
        for round in 0..20 {
            let before = target.number("SELECT COUNT(*) FROM t")?;
            proxy.after_replies(dice.pick(0..12), Fate::Lost);
            for _ in 0..3 {
                source.exec(format!("INSERT INTO t VALUES ({round}, 'x'), ({round}, 'x')"))?;
                source.exec(format!("INSERT INTO t VALUES ({round}, 'y')"))?;
            }
            // Something comes through in between.
            running.until("rows arrive", || Ok(target.number("SELECT COUNT(*) FROM t")? > before))?;
        }
        source.exec("INSERT INTO marks VALUES (1)")?;
        let arrived = || Ok(target.number("SELECT COUNT(*) FROM marks")? == 1);
        running.until("the last row arrives", arrived).context(case.clone())?;
        stopped(running)?;
        ensure!(proxy.connections() > 10, "{case}: {} connections only", proxy.connections());
        is_equal(kind, &source, &target, database).context(case)?;
        over(kind, &source, database)?;
    }
    Ok(())
}

/// Lets the source forget the stream.
fn over(kind: Kind, source: &Db, database: &str) -> Result<()> {
    match kind.dialect() {
        Dialect::Mysql => Ok(()),
        Dialect::Postgres => source.exec(format!("SELECT pg_drop_replication_slot('{database}')")),
    }
}

#[test]
fn a_transaction_larger_than_a_batch_goes_on_in_its_midst() -> Result<()> {
    const ROWS: u64 = 60_000;
    for kind in EACH {
        let database = "from_target_large";
        let (source, target, task, positions) = keyless(kind, database, 0)?;
        drop(task);
        let task = positions.of_target(following(kind, &source, database)?).set("pipeline", "buffer_memory_mb", "1");
        let task = task.set("sinker", "max_rps", "8000");
        fill(&source, ROWS)?;
        source.exec("DELETE FROM t WHERE n < 60")?;
        source.exec("INSERT INTO marks VALUES (1)")?;
        let applied = || target.number("SELECT COUNT(*) FROM t");
        let mut within = 0;
        for _ in 0..6 {
            let before = applied()?;
            let mut running = task.spawn()?;
            running.until("more is applied", || Ok(applied()? != before || applied()? > ROWS / 2))?;
            running.kill9()?;
            without_files(&task)?;
            let select = format!("SELECT position_data FROM {} WHERE resumer_type = 'CdcDoing'", positions.table());
            let position = positions.db()?.value(select)?.context("no position")?;
            within += u32::from(position.contains("applied_changes"));
        }
        ensure!(within > 2, "{kind}: only {within} kills were in mid-transaction");
        let task = task.unset("sinker", "max_rps");
        let mut running = task.spawn()?;
        running.until("the last row arrives", || Ok(target.number("SELECT COUNT(*) FROM marks")? == 1))?;
        stopped(running)?;
        is_equal(kind, &source, &target, database).with_context(|| kind.to_string())?;
        over(kind, &source, database)?;
    }
    Ok(())
}

#[test]
fn a_connection_of_the_source_that_is_lost_in_mid_transaction_repeats_nothing() -> Result<()> {
    for kind in EACH {
        let database = "from_target_source";
        let (source, target, task, positions) = keyless(kind, database, 0)?;
        drop(task);
        let proxy = Proxy::start(servers::pair(kind)?.source.port())?;
        let task = positions.of_target(following(kind, &source, database)?).set("pipeline", "buffer_memory_mb", "1");
        let task = match kind.dialect() {
            Dialect::Mysql => task.address("extractor", proxy.port()),
            Dialect::Postgres => task.postgres_address("extractor", proxy.port(), database),
        };
        let task = task.set("sinker", "max_rps", "20000");
        fill(&source, 60_000)?;
        source.exec("INSERT INTO marks VALUES (1)")?;
        let mut running = task.spawn()?;
        let mut last = 0;
        for _ in 0..3 {
            let applied = || target.number("SELECT COUNT(*) FROM t");
            running.until("more is applied", || Ok(applied()? > last || applied()? >= 60_000))?;
            last = applied()?;
            proxy.cut();
        }
        running.until("the last row arrives", || Ok(target.number("SELECT COUNT(*) FROM marks")? == 1))?;
        stopped(running)?;
        is_equal(kind, &source, &target, database).with_context(|| kind.to_string())?;
        over(kind, &source, database)?;
    }
    Ok(())
}

#[test]
fn a_process_that_was_taken_over_writes_no_row_any_more() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Postgres15] {
        let database = "from_target_two";
        let (source, target, first_task, positions) = keyless(kind, database, 12_000)?;
        let first_task = first_task.set("extractor", "max_rps", "2000").set("extractor", "batch_size", "100");
        let mut first = first_task.spawn()?;
        first.until("a position is there", || Ok(positions.count("SnapshotDoing")? == 1))?;
        signal(&first, "STOP")?;
        // The same task with another log_dir.
        let second = positions.of_target(task(kind, database)?).set("sinker", "replace", "false");
        second.spawn_with(&["--take-over"])?.wait()?.expect_code(0)?;
        signal(&first, "CONT")?;
        let fenced = first.wait()?.expect_code(3)?;
        ensure!(fenced.stderr.contains("taken this task over"), "{kind}: {}", fenced.said());
        is_equal(kind, &source, &target, database).with_context(|| kind.to_string())?;
    }
    Ok(())
}

#[test]
fn a_target_that_is_killed_in_mid_transaction_has_every_row_once() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Postgres15] {
        let database = "from_target_restart";
        let pair = Pair::start(kind, &Options::default())?;
        let (source, target) = pair.database(database)?;
        for db in [&source, &target] {
            db.exec("CREATE TABLE t (n int NOT NULL, v varchar(200))")?;
        }
        fill(&source, 40_000)?;
        let task = match kind.dialect() {
            Dialect::Mysql => Task::of_pair(&pair, &[database])?,
            Dialect::Postgres => Task::of_postgres_pair(&pair, database)?,
        };
        let task = task.set("resumer", "resume_type", "from_target").set("extractor", "max_rps", "10000");
        let mut running = task.spawn()?;
        let mut seen = 0;
        for _ in 0..2 {
            let db = reconnected(&pair, database)?;
            running.until("more rows are there", || Ok(db.number("SELECT COUNT(*) FROM t")? > seen))?;
            seen = db.number("SELECT COUNT(*) FROM t")?;
            pair.target.kill9()?;
            pair.target.up()?;
        }
        running.wait()?.expect_code(0)?;
        is_equal(kind, &source, &reconnected(&pair, database)?, database).with_context(|| kind.to_string())?;
    }
    Ok(())
}

fn reconnected(pair: &Pair, database: &str) -> Result<Db> {
    match pair.target.kind().dialect() {
        Dialect::Mysql => {
            let db = pair.target.db()?;
            db.exec(format!("USE {database}"))?;
            Ok(db)
        }
        Dialect::Postgres => pair.target.database(database),
    }
}

#[test]
fn what_cannot_be_exact_is_said() -> Result<()> {
    let (_, target, task, _) = keyless(Kind::Mysql, "from_target_engine", 10)?;
    target.exec("ALTER TABLE t ENGINE=MyISAM")?;
    let ended = task.run()?.expect_code(0)?;
    for part in ["`from_target_engine`.`t`", "MyISAM, has no transactions"] {
        ensure!(ended.log.contains(part), "{}", ended.said());
    }
    ensure!(!ended.log.contains("`marks`: its engine"), "{}", ended.said());
    Ok(())
}

#[test]
fn rows_that_are_not_those_that_were_recorded_are_left_alone() -> Result<()> {
    for kind in EACH {
        let database = "from_target_other";
        let (source, target, task, positions) = keyless(kind, database, 6000)?;
        let task = task.set("extractor", "max_rps", "3000").set("extractor", "batch_size", "100");
        let mut running = task.spawn()?;
        running.until("a position is there", || Ok(positions.count("SnapshotDoing")? == 1))?;
        running.kill9()?;
        target.exec("INSERT INTO t VALUES (-1, 'of someone else')")?;
        let there = target.number("SELECT COUNT(*) FROM t")?;
        let refused = task.run()?.expect_code(3)?;
        for part in ["other rows than those that were recorded", &there.to_string()] {
            ensure!(refused.stderr.contains(part), "{kind}: {}", refused.said());
        }
        ensure!(target.number("SELECT COUNT(*) FROM t")? == there, "{kind}: something was deleted");
        target.exec("DELETE FROM t WHERE n = -1")?;
        task.run()?.expect_code(0)?;
        is_equal(kind, &source, &target, database).with_context(|| kind.to_string())?;
    }
    Ok(())
}

#[test]
fn another_filter_in_the_midst_of_a_transaction_is_refused() -> Result<()> {
    let database = "from_target_filter";
    let (source, target, task, positions) = keyless(Kind::Mysql, database, 0)?;
    drop(task);
    let task = positions.of_target(following(Kind::Mysql, &source, database)?).set("global", "task_id", "filtered");
    let mut running = task.spawn()?;
    source.exec("INSERT INTO marks VALUES (1)")?;
    running.until("a row arrives", || Ok(target.number("SELECT COUNT(*) FROM marks")? == 1))?;
    stopped(running)?;
    let table = positions.table();
    positions.db()?.exec(format!(
        "UPDATE {table} SET position_data = JSON_SET(position_data, '$.applied_changes', 5, '$.applied_filter', 'other') \
         WHERE resumer_type = 'CdcDoing'"
    ))?;
    let refused = task.run()?.expect_code(3)?;
    ensure!(refused.stderr.contains("[filter] was changed in the midst"), "{}", refused.said());
    Ok(())
}
