//! dt-main: a task file in, a database moved.
//!
//! Here are only the arguments, the configuration, the one list of connectors, the terminal and the exit codes; what
//! moves the data is in the crates below.

mod allocator;
mod args;
mod connectors;
mod exit;
mod logging;
mod position;
mod progress;
mod signals;
mod task;

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use dt_common::config::{self, Parsed};
use dt_common::{Error, Result, failpoint};
use dt_pipeline::End;
use indicatif::MultiProgress;

use crate::args::{Args, Command};
use crate::exit::Exit;
use crate::signals::Signals;

fn main() -> ExitCode {
    allocator::give_back_at_once();
    // Wrong arguments are a wrong configuration: clap's own exit code for them is 2 as well.
    let args = Args::parse();
    let ended = armed().and_then(|()| read(&args.path())).and_then(|parsed| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::fatal("the runtime cannot be started").caused_by(error))?;
        runtime.block_on(run(&args, parsed))
    });
    let exit = ended.unwrap_or_else(|error| {
        // Once the log is there it has the error as well; before that the terminal is all there is.
        tracing::error!("{error}");
        // Nobody may be reading any more; the exit code still tells.
        let _ = writeln!(std::io::stderr(), "dt-main: {error}");
        Exit::of(error.class())
    });
    ExitCode::from(exit.code())
}

/// Where a test wants this process to die.
fn armed() -> Result<()> {
    match std::env::var("DT_FAILPOINT") {
        Ok(text) => failpoint::arm(&text),
        Err(_) => Ok(()),
    }
}

fn read(path: &Path) -> Result<Parsed> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::config("the task file cannot be read").with("file", path.display()).caused_by(error))?;
    config::parse(&text).map_err(|errors| Error::from(errors).with("file", path.display()))
}

async fn run(args: &Args, parsed: Parsed) -> Result<Exit> {
    let Parsed { config, notes } = parsed;
    if let Some(Command::Position(position)) = &args.command {
        logging::warnings_on_the_terminal();
        for note in notes {
            tracing::warn!("{note}");
        }
        return position::run(&position.action, &config).await;
    }
    if args.check {
        return task::check(&config, &notes).await;
    }
    let bars = std::io::stdout().is_terminal().then(MultiProgress::new);
    logging::start(&config.runtime.log_dir, config.runtime.log_level, bars.clone())?;
    for note in notes {
        tracing::warn!("{note}");
    }
    let (signals, stop) =
        Signals::listen().map_err(|error| Error::fatal("signals cannot be listened to").caused_by(error))?;
    match (task::run(&config, args.take_over, bars, stop).await?, signals.seen()) {
        (End::Complete, _) | (End::Stopped, None) => Ok(Exit::Done),
        (End::Stopped, Some(number)) => Ok(Exit::Signal(number)),
    }
}
