//! `[global]` and `[runtime]`: the task's name, and what it writes on this machine.

use std::path::PathBuf;

use super::keys::{Key, Section, keys};
use super::reader::{Choice, Reader};

keys! { GLOBAL_KEYS:
    TASK_ID = Key::derived("task_id", "from source, target, [filter] and [router]", "The task's name in a position \
        table.");
}

pub(super) const GLOBAL: Section = Section { name: "global", groups: &[GLOBAL_KEYS] };

/// What concerns the task as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GlobalConfig {
    /// The task's name, if the user chose one; see [`super::TaskConfig::task_id`].
    pub task_id: Option<String>,
}

/// The position table's column holds this many characters.
const TASK_ID_CHARS_MAX: usize = 255;

impl GlobalConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let task_id = reader.text(&TASK_ID).map(str::to_owned);
        if task_id.as_ref().is_some_and(|id| id.chars().count() > TASK_ID_CHARS_MAX) {
            reader.problem_of(&TASK_ID, &format!("is longer than {TASK_ID_CHARS_MAX} characters"));
        }
        GlobalConfig { task_id }
    }
}

keys! { KEYS:
    LOG_LEVEL = Key::value("log_level", "info", "`off`, `error`, `warn`, `info`, `debug` or `trace`. Positions are \
        recorded whatever the level.");
    LOG_DIR = Key::value("log_dir", "./logs", "The folder of default.log, position.log and finished.log. Each task \
        needs its own.");
    LOG4RS_FILE = Key::unset("log4rs_file", "").idle("the log is set up by `log_level` and `log_dir` alone");
    TB_PARALLEL_SIZE = Key::old("tb_parallel_size", "extractor", "parallel_size");
}

pub(super) const SECTION: Section = Section { name: "runtime", groups: &[KEYS] };

/// What is written on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeConfig {
    /// What is logged.
    pub log_level: LogLevel,
    /// The folder of logs and positions; relative to the working directory.
    pub log_dir: PathBuf,
}

/// What is logged: this and everything graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What stopped the task.
    Error,
    /// What the user should look at.
    Warn,
    /// What happens.
    Info,
    /// How it happens.
    Debug,
    /// Everything.
    Trace,
}

impl RuntimeConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let log_level = reader.choice(
            &LOG_LEVEL,
            &[
                ("off", Choice::Is(LogLevel::Off)),
                ("error", Choice::Is(LogLevel::Error)),
                ("warn", Choice::Is(LogLevel::Warn)),
                ("info", Choice::Is(LogLevel::Info)),
                ("debug", Choice::Is(LogLevel::Debug)),
                ("trace", Choice::Is(LogLevel::Trace)),
            ],
        );
        RuntimeConfig {
            log_level: log_level.expect("config: log_level has a default"),
            log_dir: PathBuf::from(reader.text(&LOG_DIR).expect("config: log_dir has a default")),
        }
    }
}
