//! `--check`: everything a start does short of its first change, told on the terminal.

use std::io::Write;

use dt_common::config::TaskConfig;
use dt_common::{Error, Result};

use super::outlook::{Outlook, WouldStart, rows_estimate, told};
use super::plan::SnapshotPlan;
use crate::exit::Exit;

/// Tables that are listed one by one; more are counted.
const LISTED_MAX: usize = 40;

/// Says what a start would do now.
pub async fn check(config: &TaskConfig, notes: &[String]) -> Result<Exit> {
    let mut lines: Vec<String> = notes.iter().map(|note| format!("note: {note}")).collect();
    let mut outlook = Outlook::connect(config).await?;
    lines.push(format!("task:   {}", config.task_id()));
    lines.extend(outlook.ends());
    match outlook.start(config).await? {
        WouldStart::Snapshot(plan) => lines.extend(snapshot_lines(&plan)),
        WouldStart::Stream(resume) => lines.push(match &resume {
            Some(position) => dt_resumer::cdc::resume_from(position),
            None => "no position is stored: the stream begins where [extractor] says, or now".to_owned(),
        }),
    }
    lines.extend(outlook.warnings(config).iter().map(|warning| format!("warning: {warning}")));
    lines.push("nothing was changed".to_owned());
    let mut out = std::io::stdout().lock();
    lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}"))
        .map_err(|error| Error::fatal("the findings cannot be printed").caused_by(error))?;
    Ok(Exit::Done)
}

fn snapshot_lines(plan: &SnapshotPlan) -> Vec<String> {
    let mut lines = Vec::new();
    for (id, decision) in plan.decisions.iter().take(LISTED_MAX) {
        lines.push(format!("  {id}: {}", told(decision, rows_estimate(plan, id))));
    }
    if plan.decisions.len() > LISTED_MAX {
        lines.push(format!("  and {} more tables", plan.decisions.len() - LISTED_MAX));
    }
    lines.push(format!("{} tables to copy, {} finished before", plan.tables, plan.skipped));
    lines
}
