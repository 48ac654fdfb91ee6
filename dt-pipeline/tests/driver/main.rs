//! The driver on a paused clock, between an extractor, sinkers and stores that do as they are told.

mod fakes;
mod spread;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dt_common::ladder::{Rung, Saved};
use dt_common::{Error, ErrorClass, Position, Result};
use dt_connector::{Acknowledger, Extractor, Outlet};
use dt_pipeline::{End, Order, RateLimit, Retried};
use fakes::{BadStore, LaneSender, Run, SEC, Script, Stop, Verdict, at, end_of, lanes};
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn what_is_read_is_applied_and_recorded() {
    let mut run = Run::new(|_| Verdict::Commit);
    let outcome = run.finish(lanes(3, 7)).await.unwrap();
    assert_eq!((outcome.rows, outcome.bytes, outcome.tables_finished), (210, 21 * 1024, 3));
    assert_eq!((outcome.end, outcome.replaced_rows), (End::Complete, run.target.attempts.load(Ordering::SeqCst)));
    assert_eq!(run.rows(), 210);
    let finished = run.recorded(Rung::Finished);
    assert_eq!(finished.len(), 3);
    assert!((0..3).all(|lane| finished.contains(&end_of(lane))));
    assert_eq!(run.store.entries().last().unwrap().position, Position::None);
    assert_eq!(run.watcher.rows.load(Ordering::SeqCst), 210);
    assert_eq!(run.watcher.finished.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn nothing_to_read_is_a_complete_run() {
    let mut run = Run::new(|_| Verdict::Commit);
    let outcome = run.finish(lanes(0, 0)).await.unwrap();
    assert_eq!((outcome.rows, outcome.end), (0, End::Complete));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_retried_with_the_same_batch() {
    let mut run = Run::new(|attempt| match attempt {
        1..=4 => Verdict::Fail(ErrorClass::Reconnect, "connection reset"),
        _ => Verdict::Commit,
    });
    run.sinkers = 1;
    let outcome = run.finish(lanes(1, 2)).await.unwrap();
    assert_eq!(outcome.rows, 20);
    let seen = run.target.seen.lock().unwrap();
    assert_eq!(seen.len(), 5);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 1, "another batch was tried");
    assert_eq!(run.watcher.retries.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stays_away_is_final_after_the_budget() {
    let begun = Instant::now();
    let mut run = Run::new(|_| Verdict::Fail(ErrorClass::Reconnect, "connection refused"));
    let error = run.finish(lanes(1, 5)).await.unwrap_err();
    assert_eq!((error.message(), error.class()), ("connection refused", ErrorClass::Reconnect));
    assert!(begun.elapsed() >= 300 * SEC && begun.elapsed() < 330 * SEC, "{:?}", begun.elapsed());
    assert_eq!(run.recorded(Rung::Current), []);
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_ends_the_run_and_what_is_applied_is_recorded() {
    let mut run = Run::new(|attempt| match attempt {
        4 => Verdict::Fail(ErrorClass::User, "the column is too short"),
        _ => Verdict::Commit,
    });
    run.sinkers = 1;
    let error = run.finish(lanes(1, 1000)).await.unwrap_err();
    assert_eq!(error.message(), "the column is too short");
    assert_eq!(run.target.attempts.load(Ordering::SeqCst), 4, "more was applied after the refusal");
    assert_eq!(run.recorded(Rung::Current).last(), Some(&at(0, 60)));
    assert_eq!(run.recorded(Rung::Finished), []);
}

#[tokio::test(start_paused = true)]
async fn the_first_error_is_the_one_that_comes_out() {
    let mut run = Run::new(|attempt| match attempt {
        1 => Verdict::CommitAfter(SEC),
        _ => Verdict::Fail(ErrorClass::Fatal, "second"),
    });
    run.sinkers = 1;
    let extractor = Script(|outlet: Outlet| async move {
        let mut lane = LaneSender::start(0, &outlet)?;
        for _ in 0..4 {
            lane.rows(20, 100).await?;
        }
        Err(Stop::Failed(Error::user("first")))
    });
    let error = run.finish(Box::new(extractor)).await.unwrap_err();
    assert_eq!(error.message(), "first");
    assert_eq!(run.recorded(Rung::Current), [at(0, 20)]);
}

#[tokio::test(start_paused = true)]
async fn a_failed_reader_does_not_keep_what_was_read_from_the_target() {
    let mut run = Run::new(|_| Verdict::CommitAfter(SEC));
    let extractor = Script(|outlet: Outlet| async move {
        let mut lane = LaneSender::start(0, &outlet)?;
        for _ in 0..5 {
            lane.rows(10, 100).await?;
        }
        Err(Stop::Failed(Error::user("the binlog is purged")))
    });
    let error = run.finish(Box::new(extractor)).await.unwrap_err();
    assert_eq!((error.message(), run.rows()), ("the binlog is purged", 50));
    assert_eq!(run.recorded(Rung::Current).last(), Some(&at(0, 50)));
}

/// Sends blocks for ever, and counts what it could send.
fn endless(sent: Arc<AtomicU64>) -> Box<dyn Extractor> {
    Box::new(Script(move |outlet: Outlet| async move {
        let mut lane = LaneSender::start(0, &outlet)?;
        loop {
            lane.rows(10, 1024).await?;
            sent.fetch_add(10, Ordering::SeqCst);
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn a_stop_drains_and_records_all_that_was_read() {
    let sent = Arc::new(AtomicU64::new(0));
    let mut run = Run::new(|_| Verdict::CommitAfter(SEC));
    let running = run.spawn(endless(sent.clone()));
    run.until(|watcher| watcher.rows.load(Ordering::SeqCst) >= 100).await;
    run.stop.send_replace(true);
    let outcome = running.await.unwrap().unwrap();
    let sent = sent.load(Ordering::SeqCst);
    assert_eq!((outcome.end, outcome.rows, run.rows()), (End::Stopped, sent, sent));
    assert_eq!(run.recorded(Rung::Current).last(), Some(&at(0, sent)));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_stop_sender_does_not_stop_the_run() {
    let mut run = Run::new(|_| Verdict::CommitAfter(SEC));
    let running = run.spawn(lanes(1, 10));
    run.stop = tokio::sync::watch::Sender::new(false);
    assert_eq!(running.await.unwrap().unwrap().end, End::Complete);
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_target_does_not_hold_up_a_stop() {
    for verdict in [Verdict::Fail(ErrorClass::Reconnect, "connection refused"), Verdict::Hang] {
        let mut run = Run::new(move |attempt| if attempt < 6 { Verdict::Commit } else { verdict });
        run.sinkers = 1;
        let running = run.spawn(endless(Arc::default()));
        run.until(|watcher| watcher.rows.load(Ordering::SeqCst) >= 100).await;
        tokio::time::advance(60 * SEC).await;
        run.stop.send_replace(true);
        let asked = Instant::now();
        let error = running.await.unwrap().unwrap_err();
        assert!(asked.elapsed() < 12 * SEC, "{verdict:?}: took {:?}", asked.elapsed());
        assert!(error.class().is_transient() && error.hint_text().is_some(), "{error}");
        assert_eq!(run.recorded(Rung::Current).last(), Some(&at(0, 100)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_does_not_listen_is_cut_off() {
    let mut run = Run::new(|_| Verdict::Commit);
    let extractor = Script(|outlet: Outlet| async move {
        let mut lane = LaneSender::start(0, &outlet)?;
        lane.rows(10, 100).await?;
        std::future::pending().await
    });
    let running = run.spawn(Box::new(extractor));
    run.until(|watcher| watcher.rows.load(Ordering::SeqCst) >= 10).await;
    run.stop.send_replace(true);
    let outcome = running.await.unwrap().unwrap();
    assert_eq!((outcome.end, outcome.rows), (End::Stopped, 10));
    assert_eq!(run.recorded(Rung::Current).last(), Some(&at(0, 10)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_does_not_hold_up_a_stop_for_ever() {
    let mut run = Run::new(|_| Verdict::Commit);
    run.bad_store = Some(BadStore::Hangs);
    let running = run.spawn(endless(Arc::default()));
    run.until(|watcher| watcher.rows.load(Ordering::SeqCst) >= 100).await;
    run.stop.send_replace(true);
    let error = running.await.unwrap().unwrap_err();
    assert!(error.message().contains("could not end"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn the_memory_budget_bounds_what_is_read_and_not_applied() {
    let mut run = Run::new(|attempt| Verdict::CommitAfter(Duration::from_millis(attempt % 7)));
    run.options.memory_bytes = 16 * 1024;
    let (target, most) = (run.target.clone(), Arc::new(AtomicU64::new(0)));
    let (seen, highest) = (target.clone(), most.clone());
    let extractor = Script(move |outlet: Outlet| async move {
        let mut lane = LaneSender::start(0, &outlet)?;
        for block in 1..=500 {
            lane.rows(1, 1024).await?;
            let held = block * 1024 - seen.bytes.load(Ordering::SeqCst);
            highest.fetch_max(held, Ordering::SeqCst);
        }
        lane.end()?;
        Ok(())
    });
    assert_eq!(run.finish(Box::new(extractor)).await.unwrap().rows, 500);
    let most = most.load(Ordering::SeqCst);
    assert!((8 * 1024..=16 * 1024).contains(&most), "{most} bytes were held");
}

#[tokio::test(start_paused = true)]
async fn many_tables_at_once_and_hardly_any_memory_do_not_lock_up() {
    let mut run = Run::new(|_| Verdict::CommitAfter(Duration::from_millis(3)));
    run.options.memory_bytes = 4 * 1024;
    // No batch is ever full: only age can cut them.
    run.options.batch.rows = 1_000_000;
    run.options.batch.bytes = 1_000_000;
    let extractor = Script(|outlet: Outlet| async move {
        let mut readers = tokio::task::JoinSet::new();
        for lane in 0..64 {
            let outlet = outlet.clone();
            readers.spawn(async move {
                let mut lane = LaneSender::start(lane, &outlet)?;
                for block in 0..20 {
                    lane.rows(1, 512 * (1 + block % 12)).await?;
                }
                lane.end()
            });
        }
        for done in readers.join_all().await {
            done?;
        }
        Ok(())
    });
    let outcome = run.finish(Box::new(extractor)).await.unwrap();
    assert_eq!((outcome.rows, outcome.tables_finished), (64 * 20, 64));
}

#[tokio::test(start_paused = true)]
async fn a_panic_anywhere_is_an_error_of_the_run() {
    let mut run = Run::new(|attempt| if attempt == 3 { Verdict::Panic } else { Verdict::Commit });
    run.sinkers = 1;
    let error = run.finish(lanes(1, 100)).await.unwrap_err();
    assert_eq!((error.message(), error.class()), ("a sinker panicked", ErrorClass::Fatal));
    assert_eq!(run.recorded(Rung::Current).last(), Some(&at(0, 40)));

    let extractor = Script(|_: Outlet| async { panic!("the extractor was told to panic") });
    let error = Run::new(|_| Verdict::Commit).finish(Box::new(extractor)).await.unwrap_err();
    assert_eq!(error.message(), "the extractor panicked");

    let mut run = Run::new(|_| Verdict::Commit);
    run.bad_store = Some(BadStore::Panics);
    let error = run.finish(lanes(2, 10)).await.unwrap_err();
    assert_eq!(error.message(), "the position store panicked");
}

#[tokio::test(start_paused = true)]
async fn a_failed_save_is_retried() {
    let mut run = Run::new(|_| Verdict::Commit);
    run.store.fail_next_saves(5);
    assert_eq!(run.finish(lanes(1, 4)).await.unwrap().tables_finished, 1);
    assert_eq!(*run.watcher.retries.lock().unwrap(), [Retried::Save; 5]);
    assert_eq!(run.recorded(Rung::Finished), [end_of(0)]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_stays_away_stops_the_run() {
    let begun = Instant::now();
    let mut run = Run::new(|_| Verdict::CommitAfter(Duration::from_millis(10)));
    run.store.fail_next_saves(u32::MAX);
    let error = run.finish(endless(Arc::default())).await.unwrap_err();
    assert_eq!(error.message(), "the position store failed as it was told to");
    assert!(begun.elapsed() >= 60 * SEC && begun.elapsed() < 90 * SEC, "{:?}", begun.elapsed());
    assert_eq!(run.store.entries(), []);
}

#[tokio::test(start_paused = true)]
async fn rate_limits_hold_on_either_side() {
    let limit = RateLimit { rows_per_sec: Some(1000), bytes_per_sec: None };
    for (read_limit, apply_limit) in [(limit, RateLimit::default()), (RateLimit::default(), limit)] {
        let begun = Instant::now();
        let mut run = Run::new(|_| Verdict::Commit);
        (run.options.read_limit, run.options.apply_limit) = (read_limit, apply_limit);
        assert_eq!(run.finish(lanes(1, 1000)).await.unwrap().rows, 10_000);
        let took = begun.elapsed();
        assert!(took >= Duration::from_millis(9_800) && took < Duration::from_millis(11_000), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_does_not_hold_up_a_stop() {
    let mut run = Run::new(|_| Verdict::Commit);
    run.options.apply_limit = RateLimit { rows_per_sec: Some(1), bytes_per_sec: None };
    let running = run.spawn(endless(Arc::default()));
    run.until(|watcher| watcher.rows.load(Ordering::SeqCst) >= 20).await;
    run.stop.send_replace(true);
    let asked = Instant::now();
    assert_eq!(running.await.unwrap().unwrap().end, End::Stopped);
    assert!(asked.elapsed() < SEC, "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_given_up_half_way_is_not_a_complete_run() {
    let mut run = Run::new(|_| Verdict::Commit);
    let extractor = Script(|outlet: Outlet| async move {
        let mut lane = LaneSender::start(3, &outlet)?;
        lane.rows(10, 100).await?;
        Ok(())
    });
    let error = run.finish(Box::new(extractor)).await.unwrap_err();
    assert!(error.to_string().contains("before the end of a table (lane: 3)"), "{error}");
    assert_eq!(run.recorded(Rung::Finished), []);
}

/// A stream of one lane whose source wants to be told.
struct Stream {
    told: Arc<Mutex<Vec<Position>>>,
}

#[async_trait]
impl Extractor for Stream {
    async fn extract(self: Box<Self>, outlet: Outlet) -> Result<()> {
        let stream = Script(|outlet: Outlet| async move {
            let mut lane = LaneSender::start(0, &outlet)?;
            for _ in 0..50 {
                lane.rows(20, 100).await?;
                tokio::time::sleep(SEC).await;
            }
            Ok(())
        });
        Box::new(stream).extract(outlet).await
    }

    fn acknowledger(&self) -> Option<Box<dyn Acknowledger>> {
        Some(Box::new(Ear(self.told.clone())))
    }
}

struct Ear(Arc<Mutex<Vec<Position>>>);

#[async_trait]
impl Acknowledger for Ear {
    async fn acknowledge(&mut self, saved: Saved) -> Result<()> {
        let checkpoints = saved.entries().iter().filter(|entry| entry.rung == Rung::Checkpoint);
        self.0.lock().expect("no panic under the lock").extend(checkpoints.map(|entry| entry.position.clone()));
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_told_what_has_been_recorded_each_interval_and_at_the_end() {
    let told = Arc::default();
    let mut run = Run::new(|_| Verdict::Commit);
    run.options.order = Order::PerLane;
    let outcome = run.finish(Box::new(Stream { told: Arc::clone(&told) })).await.unwrap();
    assert_eq!((outcome.rows, outcome.end), (1000, End::Complete));
    let told = told.lock().unwrap();
    assert_eq!(*told, run.recorded(Rung::Checkpoint));
    assert!((5..=6).contains(&told.len()), "told {} times in 50 s", told.len());
    assert_eq!(told.last(), Some(&at(0, 1000)));
}
