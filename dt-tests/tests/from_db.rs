//! `resume_type=from_db` from the command line: one process at a time, what is written where, and what is refused.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dt_tests::db::{Db, Dialect};
use dt_tests::deadline;
use dt_tests::judge::Judge;
use dt_tests::positions::{Positions, without_files};
use dt_tests::proxy::Proxy;
use dt_tests::servers::{self, Kind};
use dt_tests::task::{Running, Task};

/// What stands in `[resumer]` is the same whatever the source is: MySQL's tables are quickest to make.
fn table(database: &str, rows: u64) -> Result<(Db, Db, Task)> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = pair.database(database)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(200))")?;
    }
    let numbers = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 10000) SELECT i FROM n";
    source.exec("SET SESSION cte_max_recursion_depth = 100000")?;
    source.exec(format!("INSERT INTO t SELECT i, repeat('x', 150) FROM ({numbers}) a WHERE i <= {rows}"))?;
    Ok((source, target, Task::of_pair(pair, &[database])?))
}

/// The same task as it would be started on another machine: all but its log_dir is the same.
fn elsewhere(database: &str, positions: &Positions) -> Result<Task> {
    Ok(positions.of(Task::of_pair(servers::pair(Kind::Mysql)?, &[database])?))
}

fn slowly(task: Task) -> Task {
    task.set("extractor", "max_rps", "400").set("extractor", "batch_size", "100")
}

fn signal(running: &Running, name: &str) -> Result<()> {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {}", running.pid())]).status()?;
    ensure!(sent.success(), "SIG{name} did not reach dt-main");
    Ok(())
}

fn is_equal(source: &Db, target: &Db, database: &str) -> Result<()> {
    let verdict = Judge::new(source, target).table(database, "t")?;
    ensure!(verdict.is_equal(), "`t`: {verdict}");
    Ok(())
}

const EACH: [Kind; 4] = [Kind::Mysql, Kind::Mariadb, Kind::Postgres15, Kind::Postgres18];

#[test]
fn positions_are_in_the_table_and_copied_to_the_files() -> Result<()> {
    let (source, target, task) = table("from_db_mirror", 1000)?;
    for kind in EACH {
        target.exec("TRUNCATE TABLE t")?;
        let positions = Positions::on(kind, "mirror")?;
        let task = positions.of(elsewhere("from_db_mirror", &positions)?);
        let checked = task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
        ensure!(checked.stdout.contains("from the beginning"), "{kind}: {}", checked.said());
        ensure!(
            positions.db()?.rows(format!("SELECT 1 FROM {}", positions.table())).is_err(),
            "{kind}: --check made it"
        );
        task.run()?.expect_code(0)?;
        is_equal(&source, &target, "from_db_mirror")?;
        ensure!(positions.count("SnapshotFinished")? == 1, "{kind}");
        let finished = task.log("finished.log")?;
        let row = positions.db()?.value(format!(
            "SELECT position_data FROM {} WHERE resumer_type = 'SnapshotFinished'",
            positions.table()
        ))?;
        ensure!(finished.contains(&row.context("no data")?), "{kind}: {finished}");
        // The table is the truth, wherever the task is started.
        let again = elsewhere("from_db_mirror", &positions)?;
        let checked = again.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
        ensure!(checked.stdout.contains("finished, skipped"), "{kind}: {}", checked.said());
        let done = again.run()?.expect_code(0)?;
        ensure!(done.summary("rows").unwrap_or(0) == 0, "{kind}: {}", done.said());
    }
    drop(task);
    Ok(())
}

#[test]
fn a_second_process_is_refused_while_the_first_runs_and_takes_over_only_when_it_is_told_to() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Postgres15] {
        let (source, target, task) = table("from_db_two", 8000)?;
        let positions = Positions::on(kind, "two")?;
        let task = slowly(positions.of(task));
        let mut first = task.spawn()?;
        first.until("a position is recorded", || Ok(positions.count("SnapshotDoing")? == 1))?;
        let second = elsewhere("from_db_two", &positions)?;
        let refused = second.run()?.expect_code(3)?;
        let pid = first.pid().to_string();
        for part in ["another process is running this task", "its lease ends in", "--take-over", &pid] {
            ensure!(refused.stderr.contains(part), "{kind}: {}", refused.said());
        }
        let checked = second.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
        ensure!(checked.stdout.contains("runs this task now"), "{kind}: {}", checked.said());
        ensure!(!first.has_ended()?, "{kind}: the first one was disturbed");

        second.spawn_with(&["--take-over"])?.wait()?.expect_code(0)?;
        let fenced = first.wait()?.expect_code(3)?;
        ensure!(fenced.stderr.contains("another process has taken this task over"), "{kind}: {}", fenced.said());
        is_equal(&source, &target, "from_db_two")?;
        ensure!(positions.fence()?["epoch"] == 2, "{kind}: {}", positions.fence()?);
    }
    Ok(())
}

#[test]
fn a_process_that_slept_through_its_lease_in_postgresql_cannot_write_any_more() -> Result<()> {
    slept(Kind::Postgres18, "from_db_asleep_pg")
}

#[test]
fn a_process_that_slept_through_its_lease_in_mysql_cannot_write_any_more() -> Result<()> {
    slept(Kind::Mysql, "from_db_asleep_mysql")
}

fn slept(kind: Kind, database: &str) -> Result<()> {
    let (source, target, task) = table(database, 8000)?;
    let positions = Positions::on(kind, "asleep")?;
    // No save comes in between: it is the lease that tells it.
    let task = slowly(positions.of(task)).set("pipeline", "checkpoint_interval_secs", "3600");
    let mut asleep = task.spawn()?;
    asleep.until("a position is recorded", || Ok(positions.count("SnapshotDoing")? == 1))?;
    signal(&asleep, "STOP")?;
    let second = elsewhere(database, &positions)?;
    let mut refusals = 0;
    let done = deadline::until("the lease has ended", Duration::from_secs(90), || {
        let ended = second.run()?;
        refusals += u32::from(ended.code == 3);
        Ok((ended.code != 3).then_some(ended))
    })?;
    done.expect_code(0)?;
    ensure!(refusals > 0, "the lease was not waited for");
    let newest = format!("SELECT MAX(id), COUNT(*) FROM {}", positions.table());
    let before = positions.db()?.rows(&newest)?;
    signal(&asleep, "CONT")?;
    let woken = Instant::now();
    let fenced = asleep.wait()?.expect_code(3)?;
    ensure!(woken.elapsed() < Duration::from_secs(10), "it noticed after {:?} only", woken.elapsed());
    ensure!(fenced.stderr.contains("another process has taken this task over"), "{}", fenced.said());
    ensure!(positions.db()?.rows(&newest)? == before, "it wrote after all");
    is_equal(&source, &target, database)
}

#[test]
fn a_task_that_was_killed_goes_on_at_once_in_its_log_dir_and_after_the_lease_elsewhere() -> Result<()> {
    let (source, target, task) = table("from_db_again", 6000)?;
    let positions = Positions::on(Kind::Mysql, "again")?;
    let task = slowly(positions.of(task));
    let mut running = task.spawn()?;
    running.until("a position is recorded", || Ok(positions.count("SnapshotDoing")? == 1))?;
    running.kill9()?;
    let refused = elsewhere("from_db_again", &positions)?.run()?.expect_code(3)?;
    ensure!(refused.stderr.contains("if it is dead, wait"), "{}", refused.said());
    let resumed = task.set("extractor", "max_rps", "0").run()?.expect_code(0)?;
    ensure!(resumed.log.contains("resumer, get resume value, schema: from_db_again"), "{}", resumed.said());
    is_equal(&source, &target, "from_db_again")
}

#[test]
fn a_position_database_that_goes_away_in_between_is_waited_for() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Postgres15] {
        let (source, target, task) = table("from_db_away", 4000)?;
        let positions = Positions::on(kind, "away")?;
        let proxy = Proxy::start(positions.server().port())?;
        let task = slowly(positions.at(positions.of(task), proxy.port()));
        let mut running = task.spawn()?;
        running.until("a position is recorded", || Ok(positions.count("SnapshotDoing")? == 1))?;
        proxy.refuse();
        running.until_log_holds("default.log", "position")?;
        running
            .until("a save is tried again", || Ok(task.log("default.log")?.contains("connecting to the position")))?;
        proxy.reopen()?;
        let ended = running.wait()?.expect_code(0)?;
        is_equal(&source, &target, "from_db_away")?;
        ensure!(positions.count("SnapshotFinished")? == 1, "{kind}: {}", ended.said());
    }
    Ok(())
}

#[test]
fn rows_of_the_older_tool_are_gone_on_from() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Postgres15] {
        let (source, target, task) = table("from_db_older", 1000)?;
        for db in [&source, &target] {
            db.exec("CREATE TABLE `done` (id int PRIMARY KEY)")?;
        }
        source.exec("INSERT INTO `done` VALUES (1)")?;
        let positions = Positions::on(kind, "older")?;
        let task = positions.of(task).set("global", "task_id", "task1");
        // An empty run makes the table; the rows are the older tool's.
        let db = positions.db()?;
        let (schema, table) = (positions.schema(), positions.table());
        let (id, time) = match db.dialect() {
            Dialect::Mysql => {
                db.exec(format!("CREATE DATABASE {schema}"))?;
                ("bigint AUTO_INCREMENT PRIMARY KEY", "timestamp DEFAULT CURRENT_TIMESTAMP")
            }
            Dialect::Postgres => {
                db.exec(format!("CREATE SCHEMA {schema}"))?;
                ("bigserial PRIMARY KEY", "timestamp DEFAULT CURRENT_TIMESTAMP")
            }
        };
        db.exec(format!(
            "CREATE TABLE {table} (id {id}, task_id varchar(255) NOT NULL, resumer_type varchar(100) NOT NULL, \
             position_key varchar(255) NOT NULL, position_data text, created_at {time}, updated_at {time}, \
             UNIQUE (task_id, resumer_type, position_key))"
        ))?;
        for (resumer_type, key, data) in [
            (
                "SnapshotFinished",
                "from_db_older-done",
                r#"{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"from_db_older","tb":"done"}"#,
            ),
            (
                "SnapshotDoing",
                "from_db_older-t",
                r#"{"type":"RdbSnapshot","db_type":"mysql","schema":"from_db_older","tb":"t","order_col":"id","value":"400"}"#,
            ),
        ] {
            db.exec(format!(
                "INSERT INTO {table} (task_id, resumer_type, position_key, position_data) VALUES \
                 ('task1', '{resumer_type}', '{key}', '{data}')"
            ))?;
        }
        let done = task.run()?.expect_code(0)?;
        ensure!(done.log.contains("tb: done, result: true"), "{kind}: {}", done.said());
        ensure!(target.number("SELECT COUNT(*) FROM `done`")? == 0, "{kind}: a finished table was copied");
        ensure!(target.number("SELECT COUNT(*) FROM t")? == 600, "{kind}: {}", done.said());
        ensure!(target.number("SELECT MIN(id) FROM t")? == 401, "{kind}: {}", done.said());
    }
    Ok(())
}

#[test]
fn what_cannot_be_is_refused_before_the_first_row() -> Result<()> {
    for kind in EACH {
        let (_source, target, task) = table("from_db_refused", 10)?;
        let positions = Positions::on(kind, "refused")?;
        let db = positions.db()?;
        match db.dialect() {
            Dialect::Mysql => {
                db.exec("DROP USER IF EXISTS nobody@'%'")?;
                db.exec("CREATE USER nobody@'%' IDENTIFIED BY 'x'")?;
            }
            Dialect::Postgres => db.exec(
                "DO $$ BEGIN CREATE ROLE nobody LOGIN PASSWORD 'x'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            )?,
        }
        let task = positions.at(task, positions.server().port());
        let task = task.set("resumer", "username", "nobody").set("resumer", "password", "x");
        let refused = task.run()?.expect_code(3)?;
        for part in ["the account may not make it", "privilege: CREATE", "as an administrator: CREATE", "GRANT"] {
            ensure!(refused.stderr.contains(part), "{kind}: {}", refused.said());
        }
        let wrong = task.set("resumer", "password", "s3cret").run()?.expect_code(3)?;
        // PostgreSQL's tests trust whoever is local but the one user with a password.
        ensure!(!wrong.said().contains("s3cret"), "{kind}: a password is shown");

        let nowhere = Proxy::start(1)?;
        nowhere.refuse();
        let task = positions.at(positions.of(elsewhere("from_db_refused", &positions)?), nowhere.port());
        let away = task.run()?.expect_code(3)?;
        ensure!(away.stderr.contains("connecting to the position table's server"), "{kind}: {}", away.said());
        ensure!(target.number("SELECT COUNT(*) FROM t")? == 0, "{kind}: something was written");
    }
    Ok(())
}

#[test]
fn taking_over_is_for_position_tables() -> Result<()> {
    let (_source, _target, task) = table("from_db_take_over", 10)?;
    let refused = task.spawn_with(&["--take-over"])?.wait()?.expect_code(2)?;
    ensure!(refused.stderr.contains("resume_type=from_target and from_db"), "{}", refused.said());
    Ok(())
}

#[test]
fn a_task_that_its_table_knows_nothing_of_sets_older_files_aside_and_says_so() -> Result<()> {
    let (source, target, task) = table("from_db_moved", 500)?;
    task.run()?.expect_code(0)?;
    target.exec("TRUNCATE TABLE t")?;
    let positions = Positions::on(Kind::Mariadb, "moved")?;
    let task = positions.of(task);
    let checked = task.spawn_with(&["--check"])?.wait()?.expect_code(0)?;
    ensure!(checked.stdout.contains("this start would set them aside"), "{}", checked.said());
    let begun = task.run()?.expect_code(0)?;
    for part in ["the position table knows nothing of this task", "resume_type=from_log", "finished.log."] {
        ensure!(begun.log.contains(part), "{}", begun.said());
    }
    is_equal(&source, &target, "from_db_moved")?;
    without_files(&task)?;
    let done = task.run()?.expect_code(0)?;
    ensure!(done.summary("rows").unwrap_or(0) == 0, "{}", done.said());
    Ok(())
}
