//! A stream that several lanes apply: the task between the reader and the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use dt_common::ladder::Rung;
use dt_common::schema::{RoutedTable, TableSchema};
use dt_common::{Error, ErrorClass, LaneId, Result, TableId};
use dt_connector::{Block, BlockContents, Change, Extractor, Op, Outlet, RowFormat, Rule, Spread, Spreader};
use dt_pipeline::{End, Lanes, Order, Spreading};

use crate::fakes::{Run, SEC, Script, Stop, Verdict, at};

/// Fails so many times, then spreads by key.
struct Asked {
    fails: u64,
    class: ErrorClass,
    times: Arc<AtomicU64>,
}

#[async_trait]
impl Spreader for Asked {
    async fn rule(&mut self, _table: &Arc<RoutedTable>) -> Result<Rule> {
        match self.times.fetch_add(1, Ordering::SeqCst) < self.fails {
            true => Err(Error::new(self.class, "the target does not say")),
            false => Ok(Rule::ByKey(vec![0])),
        }
    }
}

fn spread(run: &mut Run, fails: u64, class: ErrorClass) -> Arc<AtomicU64> {
    let times = Arc::new(AtomicU64::new(0));
    let rules = Box::new(Asked { fails, class, times: times.clone() });
    run.options.order = Order::PerLane;
    run.sinkers = 3;
    run.spread = Some(Spreading { lanes: Lanes { count: 3, ..Lanes::default() }, rules });
    times
}

/// What is done at once to a table: changes, then a statement of DDL, then changes.
fn with_ddl() -> Box<dyn Extractor> {
    Box::new(Script(move |outlet: Outlet| async move {
        let id = TableId::new("db", "t");
        let source = TableSchema { id: id.clone(), columns: vec![], key: None, rows_estimate: 0 };
        let table = Arc::new(RoutedTable { source, target: id, target_columns: vec![] });
        let data = Bytes::from_static(b"1\t1\n");
        for (number, op) in (1..).zip([
            Op::Insert { after: 0..data.len() },
            Op::Ddl { command: 0..data.len() },
            Op::Insert { after: 0..data.len() },
        ]) {
            let block = Block {
                lane: LaneId(0),
                rows: 1,
                contents: BlockContents::Changes(vec![Change { table: table.clone(), op }]),
                format: RowFormat::MysqlText,
                data: data.clone(),
                progress: Some(at(0, number)),
                checkpoint: Some(at(0, number)),
                behind: 0,
                spread: Spread::default(),
            };
            outlet.rows(block).await?;
        }
        Err(Stop::from(outlet.stopped().await))
    }))
}

#[tokio::test(start_paused = true)]
async fn a_table_is_asked_about_again_once_a_statement_of_ddl_has_been_executed() {
    let mut run = Run::new(|_| Verdict::CommitAfter(SEC));
    let asked = spread(&mut run, 0, ErrorClass::Fatal);
    let running = run.spawn(with_ddl());
    run.until(|watcher| watcher.rows.load(Ordering::SeqCst) == 1).await;
    assert_eq!(asked.load(Ordering::SeqCst), 1, "the statement has not been executed yet");
    run.until(|watcher| watcher.rows.load(Ordering::SeqCst) == 3).await;
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    run.stop.send_replace(true);
    assert_eq!(running.await.expect("the run panicked").unwrap().end, End::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_statement_of_ddl_that_fails_ends_the_run_at_once() {
    // The first batch has the changes before it.
    let mut run = Run::new(|attempt| match attempt {
        1 => Verdict::Commit,
        _ => Verdict::Fail(ErrorClass::User, "no such thing"),
    });
    spread(&mut run, 0, ErrorClass::Fatal);
    let begun = tokio::time::Instant::now();
    let error = run.finish(with_ddl()).await.unwrap_err();
    assert_eq!((error.message(), run.rows()), ("no such thing", 1));
    assert!(begun.elapsed() < 5 * SEC, "{:?}", begun.elapsed());
}

/// So many blocks of ten changes, each with a checkpoint; then it waits if it is to.
fn changes(blocks: u64, waits: bool) -> Box<dyn Extractor> {
    Box::new(Script(move |outlet: Outlet| async move {
        let id = TableId::new("db", "t");
        let source = TableSchema { id: id.clone(), columns: vec![], key: None, rows_estimate: 0 };
        let table = Arc::new(RoutedTable { source, target: id, target_columns: vec![] });
        for block in 1..=blocks {
            let (mut data, mut changes) = (Vec::new(), Vec::new());
            for key in 0..10 {
                let start = data.len();
                data.extend_from_slice(format!("{key}\t{block}\n").as_bytes());
                changes.push(Change { table: table.clone(), op: Op::Insert { after: start..data.len() } });
            }
            let block = Block {
                lane: LaneId(0),
                rows: 10,
                contents: BlockContents::Changes(changes),
                format: RowFormat::MysqlText,
                data: Bytes::from(data),
                progress: Some(at(0, block)),
                checkpoint: Some(at(0, block)),
                behind: 0,
                spread: Spread::default(),
            };
            outlet.rows(block).await?;
        }
        match waits {
            true => Err(Stop::from(outlet.stopped().await)),
            false => Ok(()),
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn what_lanes_apply_is_recorded_when_all_of_them_have() {
    let mut run = Run::new(|_| Verdict::Commit);
    let asked = spread(&mut run, 0, ErrorClass::Fatal);
    let outcome = run.finish(changes(50, false)).await.unwrap();
    assert_eq!((outcome.rows, outcome.end, run.rows()), (500, End::Complete, 500));
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a table is asked for once");
    assert_eq!(run.recorded(Rung::Checkpoint).last(), Some(&at(0, 50)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_applies_what_was_read() {
    let mut run = Run::new(|_| Verdict::Commit);
    spread(&mut run, 0, ErrorClass::Fatal);
    let running = run.spawn(changes(5, true));
    run.until(|watcher| watcher.rows.load(Ordering::SeqCst) == 50).await;
    run.stop.send_replace(true);
    let outcome = running.await.expect("the run panicked").unwrap();
    assert_eq!((outcome.rows, outcome.end), (50, End::Stopped));
    assert_eq!(run.recorded(Rung::Checkpoint).last(), Some(&at(0, 5)));
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_say_how_a_table_is_spread_is_asked_again() {
    let mut run = Run::new(|_| Verdict::Commit);
    let asked = spread(&mut run, 3, ErrorClass::Reconnect);
    assert_eq!(run.finish(changes(5, false)).await.unwrap().rows, 50);
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn a_table_that_cannot_be_spread_ends_the_run_though_the_source_has_more() {
    for waits in [true, false] {
        let mut run = Run::new(|_| Verdict::Commit);
        spread(&mut run, 1, ErrorClass::User);
        let error = run.finish(changes(5, waits)).await.unwrap_err();
        assert_eq!((error.message(), run.rows()), ("the target does not say", 0));
        assert!(run.recorded(Rung::Checkpoint).is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_target_that_is_away() {
    let mut run = Run::new(|_| Verdict::Commit);
    spread(&mut run, u64::MAX, ErrorClass::Reconnect);
    let running = run.spawn(changes(5, true));
    tokio::time::sleep(5 * SEC).await;
    let asked_at = tokio::time::Instant::now();
    run.stop.send_replace(true);
    let error = running.await.expect("the run panicked").unwrap_err();
    assert_eq!((error.class(), run.rows()), (ErrorClass::Reconnect, 0));
    assert!(asked_at.elapsed() < 25 * SEC, "{:?}", asked_at.elapsed());
}
