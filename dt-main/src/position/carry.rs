//! `position export` and `position import`: positions carried between stores and machines.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use dt_common::config::TaskConfig;
use dt_common::{Error, Result};
use dt_resumer::carry::{self, Conflict};
use dt_resumer::{Loaded, log, summary};
use serde_json::json;

use super::args::{Export, Import};
use super::change::Change;
use super::told::object;
use crate::exit::Exit;
use crate::task::store;

/// Writes all that is stored as lines.
pub async fn export(config: &TaskConfig, args: &Export) -> Result<()> {
    let kept = store::kept(config)?;
    let loaded = store::look(config).await?.loaded.unwrap_or_default();
    for warning in loaded.warnings() {
        tracing::warn!("{warning}");
    }
    let lines = carry::lines(&loaded);
    let counted = counted(&loaded);
    let Some(file) = &args.to else {
        let json = object(vec![("lines", json!(lines))]);
        return super::print(args.task.json, &json, &lines);
    };
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    write(file, &text)?;
    let json = object(vec![("file", json!(file.display().to_string())), ("lines", json!(lines.len()))]);
    super::print(args.task.json, &json, &[format!("{}: {counted}, from {kept}", file.display())])
}

/// A file that is there is left alone: it may be the only copy of other positions.
fn write(path: &Path, text: &str) -> Result<()> {
    let written = OpenOptions::new().write(true).create_new(true).open(path).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| {
        Error::user("the positions cannot be written to the file")
            .with("file", path.display())
            .caused_by(error)
            .hint("name a file that is not there yet, in a directory that this user may write")
    })
}

fn counted(loaded: &Loaded) -> String {
    let streams = summary::streams(loaded).len();
    format!("{} tables, {streams} streams", summary::tables(loaded).len())
}

/// Reads positions elsewhere and puts them into the task's store.
pub async fn import(config: &TaskConfig, args: &Import) -> Result<Exit> {
    let kept = store::kept(config)?;
    super::ask::can_ask(args.yes)?;
    let wanted = log::read(&args.from).await?;
    for warning in wanted.warnings() {
        tracing::warn!("{warning}");
    }
    if wanted.is_empty() {
        return Err(Error::user("there is no position to import").with("from", args.from.display()));
    }
    let mut change = Change::begin(config).await?;
    let ended = import_into(config, &mut change, &wanted, args, &kept.to_string()).await;
    change.end().await;
    ended
}

async fn import_into(
    config: &TaskConfig,
    change: &mut Change,
    wanted: &Loaded,
    args: &Import,
    kept: &str,
) -> Result<Exit> {
    let conflicts = carry::conflicts(change.loaded(), wanted);
    if !conflicts.is_empty() && !args.replace {
        return Err(refused(&conflicts, args));
    }
    let mut question = vec![format!("import {} from {} into {kept}", counted(wanted), args.from.display())];
    let replaced = counted(change.loaded());
    if args.replace && !change.loaded().is_empty() {
        question.push(format!("all that is stored there now is forgotten: {replaced}"));
    }
    question.push("what is imported as finished is not copied, and a stream goes on from where it says".to_owned());
    if !super::ask::confirmed(args.yes, &question).await? {
        return super::declined();
    }
    change.rewind(config, &carry::import(wanted, args.replace)).await?;
    let json = object(vec![
        ("imported", json!(wanted.positions().count())),
        ("tables", json!(summary::tables(wanted).len())),
        ("streams", json!(summary::streams(wanted).len())),
    ]);
    super::print(args.task.json, &json, &[format!("imported: {}, into {kept}", counted(wanted))])?;
    Ok(Exit::Done)
}

/// Conflicts that are named one by one; more are counted.
const NAMED_MAX: usize = 20;

fn refused(conflicts: &[Conflict], args: &Import) -> Error {
    let named = conflicts.iter().take(NAMED_MAX).map(|conflict| match conflict {
        Conflict::Unfinished(table) => format!("{table} is finished here, and not there"),
        Conflict::Table(table) => format!("{table} is at another place here"),
        Conflict::Stream => "the stream is at another place here".to_owned(),
    });
    let mut named: Vec<String> = named.collect();
    if conflicts.len() > NAMED_MAX {
        named.push(format!("and {} more", conflicts.len() - NAMED_MAX));
    }
    Error::user(format!("positions are stored already, and might move backwards: {}", named.join("; ")))
        .with("from", args.from.display())
        .hint("to put what is imported in the place of all that is stored, give --replace; `position export` keeps a copy")
}
