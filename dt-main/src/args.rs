//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::position::args::PositionArgs;

const ABOUT: &str = "Moves data between databases, and goes on where it was interrupted.";

const LONG_ABOUT: &str = "\
Moves data between databases, and goes on where it was interrupted.

A task is an INI file. This one copies the tables of a database from one MySQL server to another:

  [extractor]
  db_type=mysql
  extract_type=snapshot
  url=mysql://user:password@10.0.0.1:3306
  [sinker]
  db_type=mysql
  sink_type=write
  url=mysql://user:password@10.0.0.2:3306
  [filter]
  do_dbs=shop
  [resumer]
  resume_type=from_log

The target's tables must be there. Kill it at any instant and start it again with the same file: it goes on after the
last rows that are known to be in the target. With resume_type=from_log a first start and a restart are the same
command. resume_type=from_target keeps the positions in the target, each committed together with its rows: every row is there
exactly once. resume_type=from_db keeps them in a table of any database (docs/resume.md).

For PostgreSQL: db_type=pg, url=postgres://user:password@10.0.0.1:5432/database, and do_dbs names schemas. To follow
what changes: extract_type=cdc (docs/cdc.md, docs/postgresql.md).";

const AFTER_HELP: &str = "\
Files, in [runtime] log_dir (./logs):
  default.log    what happened
  position.log   how far each table has come
  finished.log   the tables that are complete

Exit codes:
  0  done
  1  failed
  2  the configuration is wrong
  3  source, target or position need you: the message says what to do
  128+n  stopped by signal n, after what was read had been written and recorded

Positions are looked at and moved with `dt-main position` (docs/commands.md).
All keys: docs/config.md. Resuming: docs/resume.md. PostgreSQL: docs/postgresql.md.";

/// The arguments of dt-main.
#[derive(Debug, Parser)]
#[command(name = "dt-main", version, about = ABOUT, long_about = LONG_ABOUT, after_help = AFTER_HELP)]
// A task file may have any name: one that is called like a command is given with -c.
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true, disable_help_subcommand = true)]
pub struct Args {
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The task's INI file.
    #[arg(value_name = "TASK_CONFIG", required_unless_present = "config")]
    task_config: Option<PathBuf>,

    /// The task's INI file, as an option.
    #[arg(short, long, value_name = "TASK_CONFIG", conflicts_with = "task_config")]
    config: Option<PathBuf>,

    /// Read and validate the configuration, connect to both ends, say what a start would do; change nothing.
    #[arg(long)]
    pub check: bool,

    /// Take the task over from a process that holds it in the position table: it can write no more.
    #[arg(long, conflicts_with = "check")]
    pub take_over: bool,
}

/// What is done instead of running the task.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at the positions of a task, and move them: show, explain, verify, rewind, export, import.
    #[command(long_about = crate::position::args::LONG_ABOUT)]
    Position(PositionArgs),
}

impl Args {
    /// The task's INI file.
    pub fn path(&self) -> PathBuf {
        if let Some(Command::Position(position)) = &self.command {
            return position.action.task().path();
        }
        self.task_config.clone().or_else(|| self.config.clone()).expect("args: clap requires one of the two")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_given_with_or_without_an_option() {
        for line in [["dt-main", "a.ini"].as_slice(), &["dt-main", "-c", "a.ini"], &["dt-main", "--config", "a.ini"]] {
            assert_eq!(Args::try_parse_from(line).expect("valid").path(), PathBuf::from("a.ini"));
        }
        assert!(Args::try_parse_from(["dt-main"]).is_err());
        assert!(Args::try_parse_from(["dt-main", "a.ini", "-c", "b.ini"]).is_err());
    }

    #[test]
    fn a_file_that_is_called_like_a_command_is_given_as_an_option() {
        let args = Args::try_parse_from(["dt-main", "-c", "position"]).expect("valid");
        assert!(args.command.is_none() && args.path() == *"position");
        for line in
            [["dt-main", "position", "show", "a.ini"].as_slice(), &["dt-main", "position", "show", "-c", "a.ini"]]
        {
            let args = Args::try_parse_from(line).expect("valid");
            assert!(args.command.is_some() && args.path() == *"a.ini");
        }
        for line in [
            ["dt-main", "position", "show"].as_slice(),
            &["dt-main", "position", "a.ini"],
            &["dt-main", "a.ini", "position", "show", "a.ini"],
            &["dt-main", "position", "rewind", "a.ini"],
            &["dt-main", "position", "rewind", "a.ini", "--table", "a.b", "--all-tables"],
            &["dt-main", "position", "import", "a.ini"],
        ] {
            assert!(Args::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
