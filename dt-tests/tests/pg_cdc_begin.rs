//! `start_time_utc` of a stream of PostgreSQL: what it leaves out, what it cannot bring back and therefore refuses, and
//! that it never leaves out anything behind a stored position.

mod pg_streams;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::deadline;
use dt_tests::servers::{self, Kind, Options, Pair};
use dt_tests::task::dt_main;
use pg_streams::{BOTH, caught_up, drop_slot, equal, follow, followed, set_up, stop};

const T: &str = "CREATE TABLE t (id int PRIMARY KEY, v text)";

/// The server's clock, and some seconds, as the configuration has it.
fn time(db: &Db, seconds: i64) -> Result<String> {
    let time = format!(
        "SELECT to_char((clock_timestamp() + interval '{seconds} seconds') AT TIME ZONE 'utc', 'YYYY-MM-DD HH24:MI:SS')"
    );
    db.value(time)?.context("no time")
}

/// Waits until the server's clock shows a later second, and a little longer: a checkpoint takes its time from a clock that
/// goes in steps, and is behind by one of them at most.
fn until_passed(db: &Db, time: &str) -> Result<()> {
    let passed = format!("SELECT clock_timestamp() AT TIME ZONE 'utc' >= timestamp '{time}' + interval '1.1 seconds'");
    deadline::until("the time passes", Duration::from_secs(60), || {
        Ok((db.value(&passed)?.as_deref() == Some("t")).then_some(()))
    })
}

/// A slot and a publication that somebody else has made, at this moment.
fn make_slot(source: &Db, name: &str) -> Result<()> {
    source.exec_all([
        // The slot's place is behind all rows that there are.
        "SET synchronous_commit = on".to_owned(),
        format!("CREATE PUBLICATION {name}_publication_for_all_tables FOR ALL TABLES"),
        format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"),
    ])
}

fn values(target: &Db) -> Result<String> {
    Ok(target.value("SELECT string_agg(v, ' ' ORDER BY id) FROM t")?.unwrap_or_default())
}

#[test]
fn a_time_that_has_passed_is_refused_before_a_slot_is_made() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "begin_past", &[T])?;
    source.exec("INSERT INTO t VALUES (1, 'before')")?;
    let past = time(&source, -60)?;
    let task = task.set("extractor", "start_time_utc", &past);
    let finished = task.run()?.expect_code(3)?;
    let text = finished.said();
    for said in ["start_time_utc has passed", "slot: begin_past", &past, "the source's clock: ", "with a snapshot"] {
        ensure!(text.contains(said), "`{said}` is not said:\n{text}");
    }
    let made = "SELECT (SELECT count(*) FROM pg_publication) + (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'begin_past')";
    ensure!(source.number(made)? == 0, "something was made");
    // Without it, it begins now.
    followed(&task.unset("extractor", "start_time_utc"), &source, &target, &["DELETE FROM t"])?;
    drop_slot(pair, "begin_past")
}

#[test]
fn a_time_in_the_future_leaves_out_what_is_committed_before() -> Result<()> {
    // Built now, not while the time passes.
    dt_main()?;
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target, task) = set_up(pair, "begin_future", &[T])?;
        let future = time(&source, 8)?;
        let task = task.set("extractor", "start_time_utc", &future);
        let mut running = follow(&task)?;
        ensure!(time(&source, 0)? < future, "the start took too long to see anything");
        source.exec("INSERT INTO t VALUES (1, 'before')")?;
        until_passed(&source, &future)?;
        source.exec("INSERT INTO t VALUES (2, 'after')")?;
        caught_up(&mut running, &source, &target)?;
        stop(running)?;
        ensure!(values(&target)? == "after", "{}", values(&target)?);
        drop_slot(pair, "begin_future")?;
    }
    Ok(())
}

#[test]
fn a_time_that_passes_while_the_slot_is_made_is_refused_and_the_slot_dropped() -> Result<()> {
    dt_main()?;
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, _, task) = set_up(pair, "begin_waits", &[T])?;
    let open = pair.source.database("begin_waits")?;
    // The slot is ready once this transaction has ended.
    open.exec_all(["BEGIN", "INSERT INTO t VALUES (1, 'open')"])?;
    let future = time(&source, 8)?;
    let task = task.set("extractor", "start_time_utc", &future);
    let mut running = task.spawn()?;
    running.until_log_holds("default.log", "making slot")?;
    until_passed(&source, &future)?;
    open.exec("COMMIT")?;
    let finished = running.wait()?.expect_code(3)?;
    ensure!(finished.said().contains("start_time_utc has passed"), "{}", finished.said());
    let left = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'begin_waits'";
    ensure!(source.number(left)? == 0, "the slot was left");
    Ok(())
}

#[test]
fn a_time_behind_the_place_of_a_slot_leaves_out_what_is_earlier_and_says_what_is_not_known() -> Result<()> {
    let pair = servers::pair(Kind::Postgres15)?;
    let (source, target, task) = set_up(pair, "begin_held", &[T])?;
    make_slot(&source, "begin_held")?;
    source.exec("INSERT INTO t VALUES (1, 'before')")?;
    let before = time(&source, 0)?;
    until_passed(&source, &before)?;
    let start = time(&source, 0)?;
    source.exec("INSERT INTO t VALUES (2, 'after')")?;
    let task = task.set("extractor", "start_time_utc", &start);
    let mut running = follow(&task)?;
    caught_up(&mut running, &source, &target)?;
    let finished = stop(running)?;
    ensure!(values(&target)? == "after", "{}", values(&target)?);
    let said = finished.said();
    ensure!(said.contains("does not say when it was made") && said.contains(&start), "{said}");
    drop_slot(pair, "begin_held")
}

#[test]
fn a_time_in_front_of_the_place_of_a_slot_is_refused_where_that_is_known() -> Result<()> {
    for kind in BOTH {
        // A checkpoint is the whole server's.
        let pair = Pair::start(kind, &Options::default())?;
        let (source, _, task) = set_up(&pair, "begin_known", &[T])?;
        let start = time(&source, 0)?;
        source.exec("INSERT INTO t VALUES (1, 'lost')")?;
        until_passed(&source, &start)?;
        source.exec("CHECKPOINT")?;
        make_slot(&source, "begin_known")?;
        let finished = task.set("extractor", "start_time_utc", &start).run()?.expect_code(3)?;
        let text = finished.said();
        for said in ["start_time_utc lies before the slot's place", "slot: begin_known", &start, "what to do: "] {
            ensure!(text.contains(said), "`{said}` is not said:\n{text}");
        }
    }
    Ok(())
}

#[test]
fn nothing_is_left_out_behind_a_stored_position() -> Result<()> {
    for kind in BOTH {
        let pair = servers::pair(kind)?;
        let (source, target, mut task) = set_up(pair, "begin_stored", &[T])?;
        followed(&task, &source, &target, &["INSERT INTO t VALUES (1, 'first')"])?;
        source.exec("INSERT INTO t VALUES (2, 'meanwhile')")?;
        // In the past and in the future: what the slot holds was committed before either.
        for (id, seconds) in [(3, 0), (4, 3600)] {
            task = task.set("extractor", "start_time_utc", time(&source, seconds)?);
            source.exec(format!("INSERT INTO t VALUES ({id}, 'v{id}')"))?;
            let mut running = follow(&task)?;
            caught_up(&mut running, &source, &target)?;
            let finished = stop(running)?;
            equal(&source, &target)?;
            ensure!(finished.log.contains("start_time_utc has no effect"), "{}", finished.said());
        }
        ensure!(values(&target)? == "first meanwhile v3 v4", "{}", values(&target)?);
        drop_slot(pair, "begin_stored")?;
    }
    Ok(())
}
