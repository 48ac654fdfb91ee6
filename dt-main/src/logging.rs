//! default.log and the terminal: one line each, in the form of the documents,
//! `2024-02-28 10:07:35.531681 - INFO - [14778588] - message`.
//!
//! Positions never pass through here: they have files of their own, whatever the log level.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use chrono::Local;
use dt_common::config::LogLevel;
use dt_common::{Error, Result};
use indicatif::MultiProgress;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging to `<log_dir>/default.log` and to the terminal (standard output), above the bars if there are any.
pub fn start(log_dir: &Path, level: LogLevel, bars: Option<MultiProgress>) -> Result<()> {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let file = Rolling::open(log_dir.join("default.log")).map_err(|error| {
        Error::user("the log directory cannot be written")
            .with("log_dir", log_dir.display())
            .caused_by(error)
            .hint("make it writable, or set [runtime] log_dir")
    })?;
    let lines = Lines { file: Mutex::new(file), bars };
    tracing_subscriber::registry().with(lines.with_filter(level)).init();
    Ok(())
}

/// Shows warnings on standard error and keeps no log: for commands whose answer is on standard output. Errors are shown
/// by whoever ends the process.
pub fn warnings_on_the_terminal() {
    let warnings = tracing_subscriber::filter::filter_fn(|metadata| *metadata.level() == Level::WARN);
    tracing_subscriber::registry().with(Warnings.with_filter(warnings)).init();
}

/// Writes each event to standard error.
struct Warnings;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Warnings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(String::new());
        event.record(&mut message);
        // Nobody may be reading any more.
        let _ = writeln!(std::io::stderr().lock(), "warning: {}", message.0);
    }
}

/// Writes each event as a line.
struct Lines {
    file: Mutex<Rolling>,
    bars: Option<MultiProgress>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        // Of the libraries below us, only warnings: they do not know what must not be shown.
        if !event.metadata().target().starts_with("dt_") && *event.metadata().level() > Level::WARN {
            return;
        }
        let mut message = Message(String::new());
        event.record(&mut message);
        let stamp = Local::now().format("%Y-%m-%d %H:%M:%S%.6f");
        let line = format!("{stamp} - {} - [{}] - {}\n", event.metadata().level(), std::process::id(), message.0);
        // A log that cannot be written must not stop the data; the positions have their own files and checks.
        if let Ok(mut file) = self.file.lock() {
            let _ = file.write(line.as_bytes());
        }
        match &self.bars {
            Some(bars) => bars.suspend(|| terminal(&line)),
            None => terminal(&line),
        }
    }
}

fn terminal(line: &str) {
    // A closed terminal or pipe is no reason to stop.
    let _ = std::io::stdout().lock().write_all(line.as_bytes());
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        use fmt::Write as _;
        let separator = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{separator}{value:?}"),
            name => write!(self.0, "{separator}{name}={value:?}"),
        };
    }
}

/// A file that is set aside as `default.log.1` when it has grown to its bound; one older file is kept.
struct Rolling {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// Two files of this size hold weeks of a quiet task, and days of a busy one.
const LOG_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Rolling {
    fn open(path: PathBuf) -> std::io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Rolling { path, file, bytes })
    }

    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        if self.bytes > LOG_BYTES_MAX {
            let mut older = self.path.clone().into_os_string();
            older.push(".1");
            fs::rename(&self.path, older)?;
            *self = Rolling::open(self.path.clone())?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }
}
