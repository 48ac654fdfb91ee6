//! `dt-main position …`: what is stored of a task, looked at and moved.
//!
//! | room | what is in it |
//! |---|---|
//! | [`args`] | the command line |
//! | [`told`] | positions in words and as JSON (pure) |
//! | [`show`], [`explain`], [`verify`], [`carry`], [`rewind`] | the commands |
//! | [`place`] | the place that a stream is rewound to |
//! | [`change`], [`ask`] | a store held for a change, and the question before it |

pub mod args;
mod ask;
mod carry;
mod change;
mod explain;
mod place;
mod rewind;
mod show;
mod told;
mod verify;

use std::io::Write;

use dt_common::config::TaskConfig;
use dt_common::{Error, Result};
use serde_json::Value;

use self::args::Action;
use crate::exit::Exit;

/// Runs one of the commands.
pub async fn run(action: &Action, config: &TaskConfig) -> Result<Exit> {
    match action {
        Action::Show(task) => show::show(config, task.json).await.map(|()| Exit::Done),
        Action::Explain(task) => explain::explain(config, task.json).await,
        Action::Verify(task) => verify::verify(config, task.json).await,
        Action::Rewind(args) => rewind::rewind(config, args).await,
        Action::Export(args) => carry::export(config, args).await.map(|()| Exit::Done),
        Action::Import(args) => carry::import(config, args).await,
    }
}

/// The user said no.
fn declined() -> Result<Exit> {
    // Nobody may be reading any more.
    let _ = writeln!(std::io::stderr(), "nothing was changed");
    Ok(Exit::Failed)
}

fn print(as_json: bool, json: &Value, lines: &[String]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let printed = match as_json {
        true => writeln!(out, "{json}"),
        false => lines.iter().try_for_each(|line| writeln!(out, "{line}")),
    };
    match printed {
        // Whoever reads has seen enough, as `head` does.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed.map_err(|error| Error::fatal("the answer cannot be printed").caused_by(error)),
    }
}
