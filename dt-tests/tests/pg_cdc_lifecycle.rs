//! What a running stream of PostgreSQL does when it is told to stop, when connections break, when servers go away and
//! come back, when nothing happens, and when its time has passed.

mod pg_streams;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::deadline;
use dt_tests::proxy::Proxy;
use dt_tests::servers::{self, Kind, Options, Pair};
use dt_tests::task::Running;
use pg_streams::{BOTH, caught_up, checkpoint, drop_slot, equal, follow, lsn, set_up, starts, stop};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";
/// What is applied twice is there twice.
const LOGS: &str = "CREATE TABLE logs (id int, v text); ALTER TABLE logs REPLICA IDENTITY FULL";

fn add(source: &Db, table: &str, ids: std::ops::RangeInclusive<u64>) -> Result<()> {
    ids.into_iter().try_for_each(|id| source.exec(format!("INSERT INTO {table} VALUES ({id}, 'v{id}')")))
}

#[test]
fn sigterm_drains_records_and_acknowledges_and_the_resume_redoes_nothing() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target, task) = set_up(pair, "pg_sigterm", &[LOGS])?;
        let task = task.set("pipeline", "checkpoint_interval_secs", "3600");
        for round in 0..3 {
            let mut running = follow(&task)?;
            add(&source, "logs", round * 100 + 1..=round * 100 + 100)?;
            running.until("some rows are there", || Ok(target.number("SELECT count(*) FROM logs")? > round * 100))?;
            stop(running)?;
            let recorded = lsn(&checkpoint(&task)?.context("no checkpoint")?)?;
            let told =
                source.value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'pg_sigterm'")?;
            ensure!(told.as_deref() == Some(recorded.as_str()), "recorded {recorded}, acknowledged {told:?}");
        }
        let mut running = follow(&task)?;
        caught_up(&mut running, &source, &target)?;
        stop(running)?;
        equal(&source, &target)?;
        drop_slot(pair, "pg_sigterm")?;
    }
    Ok(())
}

#[test]
fn an_idle_stream_lets_go_of_the_log_of_others() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, _, task) = set_up(pair, "pg_idle", &[T])?;
    let task = task.set("extractor", "keepalive_interval_secs", "1");
    let mut running = follow(&task)?;
    let other = pair.source.db()?;
    // The end of the log that is written is behind the rows then, and behind the place at which the slot begins.
    other.exec("SET synchronous_commit = on")?;
    other.exec("DROP TABLE IF EXISTS of_others; CREATE TABLE of_others AS SELECT generate_series(1, 20000)")?;
    let end = other.value("SELECT pg_current_wal_lsn()")?.context("no LSN")?;
    running.until("the slot has passed the log of the other database", || {
        let told =
            format!("SELECT confirmed_flush_lsn >= '{end}' FROM pg_replication_slots WHERE slot_name = 'pg_idle'");
        let is_past = source.value(told)?.as_deref() == Some("t");
        if is_past {
            // Invariant 1: never before it is recorded.
            let recorded = lsn(&checkpoint(&task)?.context("no checkpoint")?)?;
            let ahead = format!(
                "SELECT confirmed_flush_lsn > '{recorded}' FROM pg_replication_slots WHERE slot_name = 'pg_idle'"
            );
            ensure!(source.value(ahead)?.as_deref() == Some("f"), "acknowledged beyond {recorded}");
        }
        Ok(is_past)
    })?;
    stop(running)?;
    drop_slot(pair, "pg_idle")
}

/// Adds rows, and in between does something to the connections.
fn survives(running: &mut Running, source: &Db, target: &Db, mut blow: impl FnMut() -> Result<()>) -> Result<()> {
    for round in 0..4 {
        add(source, "t", round * 50 + 1..=round * 50 + 25)?;
        blow()?;
        add(source, "t", round * 50 + 26..=round * 50 + 50)?;
        caught_up(running, source, target)?;
    }
    Ok(())
}

#[test]
fn cut_connections_at_either_end_are_made_again() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    for end in ["extractor", "sinker"] {
        let (source, target, task) = set_up(pair, "pg_cut", &[T])?;
        let proxy = Proxy::start(if end == "extractor" { pair.source.port() } else { pair.target.port() })?;
        let task = task.postgres_address(end, proxy.port(), "pg_cut");
        let mut running = follow(&task)?;
        survives(&mut running, &source, &target, || {
            proxy.cut();
            Ok(())
        })?;
        stop(running)?;
        equal(&source, &target)?;
    }
    drop_slot(pair, "pg_cut")
}

#[test]
fn a_terminated_sender_is_started_again() -> Result<()> {
    let pair = servers::pair(Kind::Postgres18)?;
    let (source, target, task) = set_up(pair, "pg_terminated", &[T])?;
    let mut running = follow(&task)?;
    survives(&mut running, &source, &target, || {
        source
            .exec("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'pg_terminated'")
    })?;
    stop(running)?;
    ensure!(starts(&task)? > 1, "no sender was terminated");
    equal(&source, &target)?;
    drop_slot(pair, "pg_terminated")
}

#[test]
fn a_slow_target_does_not_make_the_source_give_up_the_connection() -> Result<()> {
    let options = Options { extra: vec!["--wal_sender_timeout=2s".to_owned()], ..Options::default() };
    let pair = Pair::start(Kind::Postgres15, &options)?;
    let (source, target, task) = set_up(&pair, "pg_slow", &[T])?;
    let mut running = follow(&task)?;
    // The sink waits for a lock, and far more is written than can wait in between.
    let locker = pair.target.database("pg_slow")?;
    locker.exec("BEGIN; LOCK TABLE t")?;
    source.exec("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 60000) i")?;
    let asked = std::time::Instant::now();
    deadline::until("the source has had time to lose patience", Duration::from_secs(60), || {
        Ok((asked.elapsed() > Duration::from_secs(7)).then_some(()))
    })?;
    locker.exec("COMMIT")?;
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    ensure!(starts(&task)? == 1, "the connection was lost");
    equal(&source, &target)
}

fn survives_restarts(kind: Kind) -> Result<()> {
    let pair = Pair::start(kind, &Options { durable: true, ..Options::default() })?;
    let (_, _, task) = set_up(&pair, "pg_restarts", &[T])?;
    let mut running = follow(&task)?;
    for (round, (of_source, kill)) in [(true, false), (false, false), (true, true), (false, true)].iter().enumerate() {
        let first = round as u64 * 100;
        add(&pair.source.database("pg_restarts")?, "t", first + 1..=first + 50)?;
        let server = if *of_source { &pair.source } else { &pair.target };
        match kill {
            true => server.kill9().and_then(|()| server.up())?,
            false => server.restart()?,
        }
        let (source, target) = (pair.source.database("pg_restarts")?, pair.target.database("pg_restarts")?);
        add(&source, "t", first + 51..=first + 100)?;
        caught_up(&mut running, &source, &target)?;
    }
    stop(running)?;
    equal(&pair.source.database("pg_restarts")?, &pair.target.database("pg_restarts")?)
}

#[test]
fn postgresql_15_servers_may_restart_and_be_killed_in_mid_stream() -> Result<()> {
    survives_restarts(Kind::Postgres15)
}

#[test]
fn postgresql_18_servers_may_restart_and_be_killed_in_mid_stream() -> Result<()> {
    survives_restarts(Kind::Postgres18)
}

#[test]
fn a_standby_that_takes_over_in_mid_stream_is_not_taken_for_the_same_log() -> Result<()> {
    for kind in BOTH {
        let options = Options { durable: true, ..Options::default() };
        let pair = Pair::start(kind, &options)?;
        let (source, target, task) = set_up(&pair, "pg_taken_over", &[T])?;
        let proxy = Proxy::start(pair.source.port())?;
        let task = task.postgres_address("extractor", proxy.port(), "pg_taken_over");
        let mut running = follow(&task)?;
        let standby = pair.source.standby(&options)?;
        add(&source, "t", 1..=50)?;
        caught_up(&mut running, &source, &target)?;
        let before = target.number("SELECT count(*) FROM t")?;
        let end = source.value("SELECT pg_current_wal_lsn()")?.context("no LSN")?;
        deadline::until("the standby has it all", Duration::from_secs(60), || {
            let there = standby.db()?.value(format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"))?;
            Ok((there.as_deref() == Some("t")).then_some(()))
        })?;
        drop(source);
        proxy.refuse();
        pair.source.kill9()?;
        standby.promote()?;
        add(&standby.database("pg_taken_over")?, "t", 51..=60)?;
        proxy.redirect(standby.port());
        proxy.reopen()?;
        let stopped = running.wait()?.expect_code(3)?;
        ensure!(stopped.said().contains("another timeline"), "{}", stopped.said());
        ensure!(target.number("SELECT count(*) FROM t")? == before, "rows of the other timeline were written");
    }
    Ok(())
}

#[test]
fn a_stream_ends_by_itself_when_its_time_has_passed() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "pg_end", &[T])?;
    let end =
        source.value("SELECT to_char((now() + interval '6 seconds') AT TIME ZONE 'utc', 'YYYY-MM-DD HH24:MI:SS')")?;
    let task =
        task.set("extractor", "end_time_utc", end.context("no time")?).set("extractor", "keepalive_interval_secs", "1");
    let running = follow(&task)?;
    source.exec("INSERT INTO t VALUES (1, 'in time')")?;
    running.wait()?.expect_code(0)?;
    equal(&source, &target)?;
    // What is committed later is left out, also where it is there at once.
    source.exec("INSERT INTO t VALUES (2, 'late')")?;
    task.run()?.expect_code(0)?;
    ensure!(target.number("SELECT count(*) FROM t")? == 1, "a late row arrived");
    drop_slot(pair, "pg_end")
}

#[test]
fn a_heartbeat_row_is_written_and_moves_the_position() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, _, task) = set_up(pair, "pg_beat", &[T])?;
    let task = task.set("extractor", "heartbeat_tb", "beats.\"Row\"").set("extractor", "heartbeat_interval_secs", "1");
    let mut running = follow(&task)?;
    let first = lsn(&{
        running.until("something is recorded", || Ok(checkpoint(&task)?.is_some()))?;
        checkpoint(&task)?.context("no checkpoint")?
    })?;
    running.until("the position has moved on", || {
        Ok(checkpoint(&task)?.map(|at| lsn(&at)).transpose()?.is_some_and(|at| at != first))
    })?;
    stop(running)?;
    ensure!(source.number("SELECT count(*) FROM beats.\"Row\" WHERE slot_name = 'pg_beat'")? == 1, "no row");
    drop_slot(pair, "pg_beat")
}

#[test]
fn a_table_that_is_made_later_and_not_published_is_named_while_the_stream_runs() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "pg_later", &[T])?;
    source.exec("CREATE PUBLICATION pg_later_publication_for_all_tables FOR TABLE t, marks")?;
    let task = task.set("filter", "ignore_tbs", "public.ignored");
    let mut running = follow(&task)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE later (id int PRIMARY KEY, v text); CREATE TABLE ignored (id int)")?;
    }
    running.until_log_holds("default.log", "`public`.`later` passes the filter and is not in the publication")?;
    running.until_log_holds(
        "default.log",
        "ALTER PUBLICATION \"pg_later_publication_for_all_tables\" ADD TABLE \"public\".\"later\"",
    )?;
    source.exec("ALTER PUBLICATION pg_later_publication_for_all_tables ADD TABLE public.later")?;
    add(&source, "later", 1..=3)?;
    caught_up(&mut running, &source, &target)?;
    let stopped = stop(running)?;
    ensure!(!stopped.log.contains("`public`.`ignored`"), "{}", stopped.said());
    equal(&source, &target)?;
    drop_slot(pair, "pg_later")
}
