//! `--check`: everything a start does short of its first change, told on the terminal.

use std::io::Write;

use dt_common::config::{ExtractType, TaskConfig};
use dt_common::{Error, Result, TableId};
use dt_resumer::Decision;

use super::plan::SnapshotPlan;
use super::store::Found;
use crate::connectors;
use crate::exit::Exit;

/// Tables that are listed one by one; more are counted.
const LISTED_MAX: usize = 40;

/// Says what a start would do now.
pub async fn check(config: &TaskConfig, notes: &[String]) -> Result<Exit> {
    let mut lines: Vec<String> = notes.iter().map(|note| format!("note: {note}")).collect();
    let mut source = connectors::source(&config.extractor).await?;
    let mut target = connectors::target(&config.sinker, super::options::sink_options(config)).await?;
    lines.push(format!("task:   {}", config.task_id()));
    lines.push(format!("source: {}", source.describe()));
    lines.push(format!("target: {}", target.describe()));
    let Found { loaded, would_set_aside, holder } = super::store::look(config).await?;
    match &config.extractor.extract_type {
        ExtractType::Snapshot => {
            let plan = SnapshotPlan::make(config, source.as_mut(), target.as_mut(), loaded.as_ref()).await?;
            lines.extend(snapshot_lines(&plan));
        }
        ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) | ExtractType::MongoCdc(_) => {
            let resume = super::stream::resume_point(config, target.as_ref(), loaded.as_ref())?;
            lines.push(match &resume {
                Some(position) => dt_resumer::cdc::resume_from(position),
                None => "no position is stored: the stream begins where [extractor] says, or now".to_owned(),
            });
            // Opening asks the source whether it can be followed from there, and reads nothing yet.
            drop(super::stream::open(config, source.as_mut(), target.as_mut(), resume).await?);
        }
    }
    if let Some(holder) = holder {
        lines.push(format!(
            "warning: {holder} runs this task now, or has been killed within the last {} s",
            dt_resumer::held::LEASE.as_secs()
        ));
    }
    if would_set_aside {
        lines.push(format!(
            "warning: {} holds positions of an earlier run, and this start would set them aside; to go on from them: [resumer] resume_type=from_log",
            config.runtime.log_dir.display()
        ));
    }
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

fn rows_estimate(plan: &SnapshotPlan, id: &TableId) -> Option<u64> {
    plan.tasks.iter().find(|task| &task.table.source.id == id).map(|task| task.table.source.rows_estimate)
}

fn told(decision: &Decision, rows_estimate: Option<u64>) -> String {
    let rows = rows_estimate.map_or(String::new(), |rows| format!(", about {rows} rows in all"));
    match decision {
        Decision::Skip => "finished, skipped".to_owned(),
        Decision::InChunks { of, remaining, .. } => {
            format!("{} of {of} chunks, the others are finished{rows}", remaining.len())
        }
        Decision::Beginning { why: None } => format!("from the beginning{rows}"),
        Decision::Beginning { why: Some(why) } => format!("from the beginning{rows} ({why})"),
        Decision::Again { rows: counted } => {
            format!("from the beginning{rows}, once {counted} rows without a key are taken back")
        }
        Decision::After { key, .. } => format!("after the row last recorded, by its key ({}){rows}", columns(key)),
        Decision::AtPrefix { key } => format!("at the value last recorded of {}{rows}", columns(key)),
        Decision::AfterFirstColumn { key } => {
            format!("after the value last recorded of {}, and where it is null{rows}", columns(key))
        }
    }
}

fn columns(key: &dt_common::position::OrderKey) -> String {
    key.columns().collect::<Vec<_>>().join(", ")
}
