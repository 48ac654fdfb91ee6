//! What a running task does when it is told to stop, when connections break, and when servers go away and come back.
//!
//! Every task here reads slowly enough to be met in mid-table, and holds little in memory, so that what is redone or
//! drained can be told from what is not.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::proxy::Proxy;
use dt_tests::sample::numbers;
use dt_tests::servers::{self, Kind, Options, Pair, Server};
use dt_tests::task::{Running, Task};

const BOTH: [Kind; 2] = [Kind::Mysql, Kind::Mariadb];
/// Rows of half a kilobyte.
const ROWS: u64 = 4000;
const ROWS_PER_SECOND: u64 = 2000;
/// How long a stopping task tries to reach a target that is away, and some more for a slow machine.
const WITHIN_THE_GRACE: Duration = Duration::from_secs(40);

/// A database with tables `a` and `b`, full on the source.
fn two_tables(pair: &Pair, database: &str, rows: u64) -> Result<(Db, Db)> {
    let (source, target) = pair.database(database)?;
    for table in ["a", "b"] {
        for db in [&source, &target] {
            db.exec(format!("CREATE TABLE {table} (id int PRIMARY KEY, wide varchar(500))"))?;
        }
        source.exec(format!("INSERT INTO {table} SELECT i + 1, RPAD(i, 500, '{table}') FROM {}", numbers(rows)))?;
    }
    Ok((source, target))
}

fn slow(pair: &Pair, database: &str) -> Result<Task> {
    Ok(slowed(Task::of_pair(pair, &[database])?))
}

fn slowed(task: Task) -> Task {
    task.set("extractor", "batch_size", "50").set("extractor", "max_rps", ROWS_PER_SECOND.to_string()).set(
        "pipeline",
        "buffer_memory_mb",
        "1",
    )
}

fn rows(db: &Db, table: &str) -> Result<u64> {
    db.number(format!("SELECT COUNT(*) FROM {table}"))
}

fn equal(database: &str, source: &Db, target: &Db) -> Result<()> {
    for (table, verdict) in Judge::new(source, target).database(database)? {
        ensure!(verdict.is_equal(), "`{database}`.`{table}`: {verdict}");
    }
    Ok(())
}

/// Waits until the table has more than `beyond` rows on the target.
fn until_beyond(running: &mut Running, target: &Db, table: &str, beyond: u64) -> Result<u64> {
    let mut there = 0;
    running.until(&format!("{table} has more than {beyond} rows"), || {
        there = rows(target, table)?;
        Ok(there > beyond)
    })?;
    Ok(there)
}

fn recorded(task: &Task, database: &str, table: &str) -> Result<u64> {
    let key = task.progress()?.of(database, table).context("no recorded position")?;
    key.0[0].1.as_deref().unwrap_or_default().parse().context("a key that is no number")
}

fn signalled(kind: Kind, database: &str, send: fn(&mut Running) -> Result<()>, code: i32) -> Result<()> {
    let pair = servers::pair(kind)?;
    let (source, target) = two_tables(pair, database, ROWS)?;
    // Seldom by the clock, so that what is recorded is the stop's doing.
    let task = slow(pair, database)?.set("pipeline", "checkpoint_interval_secs", "3600");
    let mut running = task.spawn()?;
    until_beyond(&mut running, &target, "a", 500)?;
    send(&mut running)?;
    let stopped = running.wait()?.expect_code(code)?;
    ensure!(stopped.log.contains("snapshot stopped:"), "{}", stopped.said());
    let there = rows(&target, "a")?;
    ensure!(there < ROWS, "it was not stopped in mid-table");
    assert_eq!(recorded(&task, database, "a")?, there, "all that is written is recorded, in the order of the key");

    let task = task.unset("extractor", "max_rps");
    let resumed = task.run()?.expect_code(0)?;
    assert_eq!(resumed.summary("rows"), Some(2 * ROWS - there), "nothing is redone: {}", resumed.said());
    equal(database, &source, &target)
}

#[test]
fn sigterm_in_mid_table_drains_and_records_and_the_resume_redoes_nothing() -> Result<()> {
    BOTH.into_iter().try_for_each(|kind| signalled(kind, "sigterm", Running::sigterm, 128 + 15))
}

#[test]
fn sigint_in_mid_table_drains_and_records_and_the_resume_redoes_nothing() -> Result<()> {
    BOTH.into_iter().try_for_each(|kind| signalled(kind, "sigint", Running::sigint, 128 + 2))
}

#[test]
fn a_second_signal_ends_a_drain_that_hangs_at_once() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = two_tables(pair, "second_signal", ROWS)?;
    let proxy = Proxy::start(pair.target.port())?;
    let task = slow(pair, "second_signal")?.address("sinker", proxy.port());
    let mut running = task.spawn()?;
    until_beyond(&mut running, &target, "a", 500)?;
    proxy.black_hole(true);
    running.sigterm()?;
    running.until_log_holds("default.log", "a second signal stops at once")?;
    let second = Instant::now();
    running.sigint()?;
    let stopped = running.wait()?.expect_code(128 + 2)?;
    // The first signal's grace is ten seconds.
    ensure!(second.elapsed() < Duration::from_secs(8), "{:?}: {}", second.elapsed(), stopped.said());
    proxy.reopen()?;
    task.unset("extractor", "max_rps").run()?.expect_code(0)?;
    equal("second_signal", &source, &target)
}

#[test]
fn a_stop_while_the_target_is_away_ends_within_the_grace_and_loses_nothing() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = two_tables(pair, "stop_while_away", ROWS)?;
    let proxy = Proxy::start(pair.target.port())?;
    let task = slow(pair, "stop_while_away")?.address("sinker", proxy.port());
    let mut running = task.spawn()?;
    until_beyond(&mut running, &target, "a", 500)?;
    proxy.refuse();
    running.until_log_holds("default.log", "tried again")?;
    let asked = Instant::now();
    running.sigterm()?;
    let stopped = running.wait()?.expect_code(1)?;
    ensure!(asked.elapsed() < WITHIN_THE_GRACE, "{:?}: {}", asked.elapsed(), stopped.said());
    for said in ["`stop_while_away`.`a`", "nothing is lost"] {
        ensure!(stopped.stderr.contains(said), "{said}: {}", stopped.said());
    }
    proxy.reopen()?;
    task.unset("extractor", "max_rps").run()?.expect_code(0)?;
    equal("stop_while_away", &source, &target)
}

#[test]
fn a_stop_while_the_source_is_away_drains_and_records_at_once() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = two_tables(pair, "stop_source_away", ROWS)?;
    let proxy = Proxy::start(pair.source.port())?;
    let task = slow(pair, "stop_source_away")?.address("extractor", proxy.port());
    let mut running = task.spawn()?;
    until_beyond(&mut running, &target, "a", 500)?;
    proxy.refuse();
    running.until_log_holds("default.log", "trying again")?;
    running.sigterm()?;
    running.wait()?.expect_code(128 + 15)?;
    assert_eq!(recorded(&task, "stop_source_away", "a")?, rows(&target, "a")?);
    proxy.reopen()?;
    task.unset("extractor", "max_rps").run()?.expect_code(0)?;
    equal("stop_source_away", &source, &target)
}

/// Cuts all connections five times in mid-copy, each time after rows have come since the last.
fn survives_cuts(kind: Kind, database: &str, of_source: bool, of_target: bool) -> Result<()> {
    let pair = servers::pair(kind)?;
    let (source, target) = two_tables(pair, database, ROWS)?;
    let (to_source, to_target) = (Proxy::start(pair.source.port())?, Proxy::start(pair.target.port())?);
    let task = slow(pair, database)?.address("extractor", to_source.port()).address("sinker", to_target.port()).set(
        "extractor",
        "parallel_size",
        "2",
    );
    let mut running = task.spawn()?;
    let mut there = 0;
    for _ in 0..5 {
        there = until_beyond(&mut running, &target, "a", there + 200)?;
        if of_source {
            to_source.cut();
        }
        if of_target {
            to_target.cut();
        }
    }
    let done = running.wait()?.expect_code(0)?;
    for (cut, retried) in [(of_source, "trying again in"), (of_target, "is tried again in")] {
        ensure!(done.log.contains(retried) == cut, "`{retried}`: {}", done.said());
    }
    equal(database, &source, &target)
}

#[test]
fn cut_connections_to_the_source_are_made_again() -> Result<()> {
    BOTH.into_iter().try_for_each(|kind| survives_cuts(kind, "cut_source", true, false))
}

#[test]
fn cut_connections_to_the_target_are_made_again() -> Result<()> {
    BOTH.into_iter().try_for_each(|kind| survives_cuts(kind, "cut_target", false, true))
}

#[test]
fn cut_connections_to_both_ends_are_made_again() -> Result<()> {
    survives_cuts(Kind::Mysql, "cut_both", true, true)
}

fn leaves_a_dead_link(end: &str, database: &str) -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = two_tables(pair, database, ROWS)?;
    let proxy = Proxy::start(if end == "extractor" { pair.source.port() } else { pair.target.port() })?;
    let task = slow(pair, database)?.address(end, proxy.port()).set(end, "connection_timeout_secs", "1");
    let mut running = task.spawn()?;
    until_beyond(&mut running, &target, "a", 500)?;
    proxy.black_hole(true);
    running.until_log_holds("default.log", "no answer from")?;
    // What was on its way is lost with the link.
    proxy.cut();
    proxy.reopen()?;
    running.wait()?.expect_code(0)?;
    equal(database, &source, &target)
}

#[test]
fn a_link_that_carries_nothing_any_more_is_noticed_and_left() -> Result<()> {
    // Both at the same time: what they do is wait.
    std::thread::scope(|scope| {
        let other = scope.spawn(|| leaves_a_dead_link("sinker", "dead_link_target"));
        leaves_a_dead_link("extractor", "dead_link_source")?;
        other.join().expect("the other link's thread panicked")
    })
}

/// Restarts and kills each end in turn, while one task runs.
fn survives_restarts(kind: Kind) -> Result<()> {
    let durable = Options { durable: true, ..Options::default() };
    let pair = Pair::start(kind, &durable)?;
    let (source, target) = two_tables(&pair, "restarts", 3 * ROWS)?;
    drop((source, target));
    let task = slow(&pair, "restarts")?;
    let mut running = task.spawn()?;
    type Blow = fn(&Server) -> Result<()>;
    let kill: Blow = |server| server.kill9().and_then(|()| server.up());
    let mut there = 0;
    for (of_source, blow) in [(true, Server::restart as Blow), (true, kill), (false, Server::restart), (false, kill)] {
        let target = pair.target.db()?;
        let count = || target.number("SELECT (SELECT COUNT(*) FROM restarts.a) + (SELECT COUNT(*) FROM restarts.b)");
        running.until(&format!("more than {} rows are there", there + 1000), || Ok(count()? > there + 1000))?;
        there = count()?;
        ensure!(there < 6 * ROWS, "the copy was over before the last blow");
        drop(target);
        blow(if of_source { &pair.source } else { &pair.target })?;
        let promised = match task.progress()?.of("restarts", "a") {
            None => 0,
            Some(_) => recorded(&task, "restarts", "a")?,
        };
        let kept = rows(&pair.target.db()?, "restarts.a")?;
        ensure!(kept >= promised, "a recorded row is gone: {kept} rows, {promised} recorded");
    }
    let done = running.wait()?.expect_code(0)?;
    ensure!(done.log.contains("trying again in") && done.log.contains("is tried again in"), "{}", done.said());
    equal("restarts", &pair.source.db()?, &pair.target.db()?)
}

#[test]
fn mysql_servers_may_restart_and_be_killed_in_mid_copy() -> Result<()> {
    survives_restarts(Kind::Mysql)
}

#[test]
fn mariadb_servers_may_restart_and_be_killed_in_mid_copy() -> Result<()> {
    survives_restarts(Kind::Mariadb)
}

#[test]
fn an_end_that_stays_away_longer_than_max_retry_secs_fails_the_task_and_a_later_start_completes_it() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    for end in ["extractor", "sinker"] {
        let (source, target) = two_tables(pair, "away", ROWS)?;
        let proxy = Proxy::start(if end == "extractor" { pair.source.port() } else { pair.target.port() })?;
        let task = slow(pair, "away")?.address(end, proxy.port()).set("pipeline", "max_retry_secs", "2");
        let mut running = task.spawn()?;
        until_beyond(&mut running, &target, "a", 500)?;
        running.until("a position is recorded", || Ok(task.progress()?.of("away", "a").is_some()))?;
        proxy.refuse();
        let failed = running.wait()?.expect_code(1)?;
        ensure!(failed.stderr.contains(&format!("127.0.0.1:{}", proxy.port())), "{}", failed.said());
        ensure!(failed.stderr.contains("what to do"), "no way out: {}", failed.said());
        let there = rows(&target, "a")?;
        assert_eq!(recorded(&task, "away", "a")?, there, "what was written is recorded though the task failed");
        proxy.reopen()?;
        let resumed = task.unset("extractor", "max_rps").run()?.expect_code(0)?;
        assert_eq!(resumed.summary("rows"), Some(2 * ROWS - there), "{end}: {}", resumed.said());
        equal("away", &source, &target)?;
    }
    Ok(())
}

#[test]
fn a_closed_standard_output_does_not_stop_a_task() -> Result<()> {
    let pair = servers::pair(Kind::Mysql)?;
    let (source, target) = two_tables(pair, "closed_output", 500)?;
    let task = Task::of_pair(pair, &["closed_output"])?;
    let mut command = task.command()?;
    let mut child = command.spawn()?;
    drop((child.stdout.take(), child.stderr.take()));
    let status = child.wait()?;
    ensure!(status.success(), "{status}");
    equal("closed_output", &source, &target)
}
