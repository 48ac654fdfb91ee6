//! What a person sees while a task runs: a bar per running table on a terminal, a line now and then otherwise.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use dt_common::ladder::Entry;
use dt_common::schema::RoutedTable;
use dt_common::{Error, LaneId, TableId};
use dt_connector::TableTask;
use dt_pipeline::{Observer, Retried};
use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

/// Watches the pipeline and shows how far it has come.
pub struct Progress {
    state: Mutex<State>,
    bars: Option<MultiProgress>,
}

struct State {
    // By the table: its chunks are shown together.
    running: HashMap<TableId, Running>,
    table_of: HashMap<LaneId, TableId>,
    // Lanes of each table that have not finished.
    unfinished: HashMap<TableId, usize>,
    tables_total: usize,
    tables_done: usize,
    rows: u64,
    since_line: Since,
}

struct Running {
    rows: u64,
    rows_estimate: u64,
    bar: Option<ProgressBar>,
}

struct Since {
    at: Instant,
    rows: u64,
}

/// Between two lines of a task without a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

impl Progress {
    /// Watches what is to be copied, which are so many tables; `bars` if there is a terminal.
    pub fn new(tasks: &[TableTask], tables_total: usize, bars: Option<MultiProgress>) -> Self {
        let mut state = State {
            running: HashMap::new(),
            table_of: HashMap::new(),
            unfinished: HashMap::new(),
            tables_total,
            tables_done: 0,
            rows: 0,
            since_line: Since { at: Instant::now(), rows: 0 },
        };
        for task in tasks {
            let table = &task.table.source.id;
            state.table_of.insert(task.lane, table.clone());
            *state.unfinished.entry(table.clone()).or_default() += 1;
        }
        // Tables of which only the finished mark was missing.
        state.tables_done = tables_total - state.unfinished.len();
        Progress { state: Mutex::new(state), bars }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("progress: a reporter panicked")
    }
}

impl Observer for Progress {
    fn lane_started(&self, _lane: LaneId, table: &RoutedTable) {
        let (id, rows_estimate) = (&table.source.id, table.source.rows_estimate);
        self.state().running.entry(id.clone()).or_insert_with(|| {
            let bar = self.bars.as_ref().map(|bars| {
                let bar = bars.add(ProgressBar::new(rows_estimate));
                bar.set_style(style());
                bar.set_message(id.to_string());
                bar
            });
            Running { rows: 0, rows_estimate, bar }
        });
    }

    fn rows_applied(&self, lane: LaneId, rows: u64, _bytes: u64) {
        let mut guard = self.state();
        let state = &mut *guard;
        state.rows += rows;
        if let Some(running) = state.table_of.get(&lane).and_then(|table| state.running.get_mut(table)) {
            running.rows += rows;
            if let Some(bar) = &running.bar {
                // The server's estimate may be too low: a bar never stands at its end while rows still come.
                if running.rows > bar.length().unwrap_or(0) {
                    bar.set_length(running.rows);
                }
                bar.set_position(running.rows);
            }
        }
        if self.bars.is_none() && state.since_line.at.elapsed() >= LINE_INTERVAL {
            let line = state.line();
            state.since_line = Since { at: Instant::now(), rows: state.rows };
            tracing::info!("{line}");
        }
    }

    fn lane_finished(&self, lane: LaneId, _rows: u64) {
        let mut guard = self.state();
        let state = &mut *guard;
        let Some(table) = state.table_of.remove(&lane) else { return };
        let Some(unfinished) = state.unfinished.get_mut(&table) else { return };
        *unfinished -= 1;
        if *unfinished > 0 {
            return;
        }
        state.tables_done += 1;
        if let Some(bar) = state.running.remove(&table).and_then(|running| running.bar) {
            bar.finish_and_clear();
        }
    }

    fn retrying(&self, what: Retried, error: &Error, attempt: u32, pause: Duration) {
        tracing::warn!("{what} failed and is tried again in {:.1} s (attempt {attempt}): {error}", pause.as_secs_f64());
    }

    fn saved(&self, entries: &[Entry]) {
        tracing::debug!("{} positions recorded", entries.len());
    }
}

/// Watches a stream, which has no end that a bar could run to: a line now and then.
pub struct StreamProgress {
    state: Mutex<Streamed>,
}

struct Streamed {
    changes: u64,
    since_line: Since,
}

impl StreamProgress {
    /// Nothing seen yet.
    pub fn new() -> Self {
        let since_line = Since { at: Instant::now(), rows: 0 };
        StreamProgress { state: Mutex::new(Streamed { changes: 0, since_line }) }
    }
}

impl Observer for StreamProgress {
    fn lane_started(&self, _lane: LaneId, _table: &RoutedTable) {}

    fn rows_applied(&self, _lane: LaneId, rows: u64, _bytes: u64) {
        let mut state = self.state.lock().expect("progress: a reporter panicked");
        state.changes += rows;
        let elapsed = state.since_line.at.elapsed();
        if elapsed >= LINE_INTERVAL {
            let rate = (state.changes - state.since_line.rows) as f64 / elapsed.as_secs_f64();
            let changes = state.changes;
            state.since_line = Since { at: Instant::now(), rows: changes };
            tracing::info!("{changes} changes, {rate:.0} changes/s");
        }
    }

    fn lane_finished(&self, _lane: LaneId, _rows: u64) {}

    fn retrying(&self, what: Retried, error: &Error, attempt: u32, pause: Duration) {
        tracing::warn!("{what} failed and is tried again in {:.1} s (attempt {attempt}): {error}", pause.as_secs_f64());
    }

    fn saved(&self, entries: &[Entry]) {
        tracing::debug!("{} positions recorded", entries.len());
    }
}

impl State {
    fn line(&self) -> String {
        let seconds = self.since_line.at.elapsed().as_secs_f64().max(0.001);
        let rate = (self.rows - self.since_line.rows) as f64 / seconds;
        let mut running: Vec<String> = self
            .running
            .iter()
            .map(|(table, running)| match running.rows_estimate {
                0 => format!("{table} {} rows", running.rows),
                estimate => {
                    let percent = (running.rows as f64 / estimate as f64 * 100.0).min(99.0);
                    format!("{table} {} of about {estimate} rows ({percent:.0} %)", running.rows)
                }
            })
            .collect();
        running.sort();
        format!(
            "{} of {} tables, {} rows, {rate:.0} rows/s; running: {}",
            self.tables_done,
            self.tables_total,
            self.rows,
            running.join(", ")
        )
    }
}

fn style() -> ProgressStyle {
    ProgressStyle::with_template("{msg:28!} {bar:20} {percent:>3} % {pos:>11} rows {rate:>10} eta {eta}")
        .expect("progress: the template is a constant")
        .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
            // The bar is redrawn soon; a piece that is missing harms nothing.
            let _ = write!(out, "{:.0}/s", state.per_sec());
        })
}
