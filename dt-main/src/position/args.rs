//! `dt-main position …`: the command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What `dt-main position --help` begins with.
pub const LONG_ABOUT: &str = "\
Looks at the positions of a task and moves them. Works on whichever store the task uses ([resumer] resume_type).

show, explain, verify and export change nothing. rewind and import ask first, or take --yes, and are refused while the
task runs.

  dt-main position show task.ini
  dt-main position explain -c task.ini --json
  dt-main position verify task.ini
  dt-main position rewind task.ini --table shop.orders
  dt-main position export task.ini --to positions.config
  dt-main position import new_task.ini --from positions.config

docs/commands.md has more.";

/// Looks at the positions of a task and moves them.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct PositionArgs {
    #[command(subcommand)]
    pub action: Action,
}

/// What is done.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// List what is stored of the stream and of each table. Needs neither source nor target.
    Show(Task),
    /// Say what a start would do now and why, table by table, and how much room the source's log still gives.
    Explain(Task),
    /// Compare what is stored with source and target. Exit code 3 if something does not hold.
    Verify(Task),
    /// Step back: copy tables again, or follow the stream from an earlier place.
    Rewind(Rewind),
    /// Write all that is stored as lines, as the key `config_file` takes them.
    Export(Export),
    /// Put positions from such lines, or from another log_dir, into the task's store.
    Import(Import),
}

impl Action {
    /// The task that it is about.
    pub fn task(&self) -> &Task {
        match self {
            Action::Show(task) | Action::Explain(task) | Action::Verify(task) => task,
            Action::Rewind(rewind) => &rewind.task,
            Action::Export(export) => &export.task,
            Action::Import(import) => &import.task,
        }
    }
}

/// The task, and how it is told.
#[derive(Debug, Args)]
pub struct Task {
    /// The task's INI file.
    #[arg(value_name = "TASK_CONFIG", required_unless_present = "config")]
    task_config: Option<PathBuf>,

    /// The task's INI file, as an option.
    #[arg(short, long, value_name = "TASK_CONFIG", conflicts_with = "task_config")]
    config: Option<PathBuf>,

    /// Say it as JSON, for scripts.
    #[arg(long)]
    pub json: bool,
}

impl Task {
    /// The task's INI file.
    pub fn path(&self) -> PathBuf {
        self.task_config.clone().or_else(|| self.config.clone()).expect("args: clap requires one of the two")
    }
}

const REWIND_HELP: &str = "\
Examples:
  dt-main position rewind task.ini --table shop.orders --table shop.lines
  dt-main position rewind task.ini --to '{\"type\":\"MysqlCdc\",\"server_id\":\"\",\"binlog_filename\":\"mysql-bin.000036\",\"next_event_position\":773,\"timestamp\":\"\"}'
  dt-main position rewind task.ini --time '2026-01-01 00:00:00'";

/// `rewind`
#[derive(Debug, Args)]
#[command(after_help = REWIND_HELP)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["table", "all_tables", "to", "time"]))]
pub struct Rewind {
    #[command(flatten)]
    pub task: Task,

    /// A table that is copied again from its beginning, `db.tb`; may be given several times.
    #[arg(long, value_name = "DB.TB", conflicts_with = "all_tables")]
    pub table: Vec<String>,

    /// Every table that something is stored of.
    #[arg(long)]
    pub all_tables: bool,

    /// The place from which the stream is followed: a position as JSON, as position.log has it.
    #[arg(long, value_name = "JSON", conflicts_with = "time")]
    pub to: Option<String>,

    /// The time from which the stream is followed, in UTC: `2026-01-01 00:00:00`.
    #[arg(long, value_name = "TIME")]
    pub time: Option<String>,

    /// Accept a place that is ahead of the stored one: the changes in between are never applied.
    #[arg(long)]
    pub allow_skip: bool,

    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// `export`
#[derive(Debug, Args)]
pub struct Export {
    #[command(flatten)]
    pub task: Task,

    /// The file to write; it must not be there. Without it, standard output.
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
}

/// `import`
#[derive(Debug, Args)]
pub struct Import {
    #[command(flatten)]
    pub task: Task,

    /// A file of positions (position.log, finished.log, resume.config, an export), or a directory with position.log and
    /// finished.log. Those of ape-dts are read too.
    #[arg(long, value_name = "FILE|DIR")]
    pub from: PathBuf,

    /// Put them in the place of all that is stored.
    #[arg(long)]
    pub replace: bool,

    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}
