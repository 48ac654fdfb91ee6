//! What a start would do now: everything short of its first change. For `--check` and for `position`.

use dt_common::config::{ExtractType, TaskConfig};
use dt_common::position::OrderKey;
use dt_common::{Position, Result, TableId};
use dt_connector::{Source, Target};
use dt_resumer::Decision;

use super::plan::SnapshotPlan;
use super::store::{self, Found};
use super::{options, restored, stream};
use crate::connectors;

/// Both ends, and what is stored.
pub struct Outlook {
    pub source: Box<dyn Source>,
    pub target: Box<dyn Target>,
    pub found: Found,
    /// What is said of a position table that was restored, or why nothing can start.
    pub restored: Result<Option<String>>,
}

/// What a start would do.
pub enum WouldStart {
    /// Copy what is there.
    Snapshot(Box<SnapshotPlan>),
    /// Follow changes from this checkpoint; without one, from where `[extractor]` says, or from now on.
    Stream(Option<Position>),
}

impl Outlook {
    /// Connects and looks; nothing is made or held.
    pub async fn connect(config: &TaskConfig) -> Result<Outlook> {
        let source = connectors::source(&config.extractor).await?;
        let target = connectors::target(&config.sinker, options::sink_options(config)).await?;
        let found = store::look(config).await?;
        let restored = restored::notice(config, found.loaded.as_ref(), source.as_ref()).await;
        Ok(Outlook { source, target, found, restored })
    }

    /// Plans as a start would.
    ///
    /// # Errors
    /// What a start would end with.
    pub async fn start(&mut self, config: &TaskConfig) -> Result<WouldStart> {
        self.restored = Ok(std::mem::replace(&mut self.restored, Ok(None))?);
        let loaded = self.found.loaded.as_ref();
        let (source, target) = (self.source.as_mut(), self.target.as_mut());
        match &config.extractor.extract_type {
            ExtractType::Snapshot => {
                SnapshotPlan::make(config, source, target, loaded).await.map(Box::new).map(WouldStart::Snapshot)
            }
            ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) | ExtractType::MongoCdc(_) => {
                let resume = stream::resume_point(config, target, loaded)?;
                // Opening asks the source whether it can be followed from there, and reads nothing yet.
                drop(stream::open(config, source, target, resume.clone(), false).await?);
                Ok(WouldStart::Stream(resume))
            }
        }
    }

    /// Source and target, each in a line.
    pub fn ends(&self) -> [String; 2] {
        [format!("source: {}", self.source.describe()), format!("target: {}", self.target.describe())]
    }

    /// What stands in a start's way or should be known of it, beside the positions.
    pub fn warnings(&self, config: &TaskConfig) -> Vec<String> {
        let mut warnings: Vec<String> = self.restored.iter().flatten().cloned().collect();
        if let Some(holder) = &self.found.holder {
            warnings.push(format!(
                "{holder} runs this task now, or has been killed within the last {} s",
                dt_resumer::sql::LEASE.as_secs()
            ));
        }
        if self.found.would_set_aside {
            warnings.push(format!(
                "{} holds positions of an earlier run, and this start would set them aside; to go on from them: [resumer] resume_type=from_log",
                config.runtime.log_dir.display()
            ));
        }
        warnings
    }
}

/// The server's estimate of a table's rows, where the table is not finished.
pub fn rows_estimate(plan: &SnapshotPlan, id: &TableId) -> Option<u64> {
    plan.tasks.iter().find(|task| &task.table.source.id == id).map(|task| task.table.source.rows_estimate)
}

/// Where the reading of a table would begin, in words.
pub fn told(decision: &Decision, rows_estimate: Option<u64>) -> String {
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

/// The same in a word, for scripts.
pub fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Skip => "skip",
        Decision::InChunks { .. } => "in_chunks",
        Decision::Beginning { .. } => "beginning",
        Decision::Again { .. } => "again",
        Decision::After { .. } => "after",
        Decision::AtPrefix { .. } => "at_prefix",
        Decision::AfterFirstColumn { .. } => "after_first_column",
    }
}

fn columns(key: &OrderKey) -> String {
    key.columns().collect::<Vec<_>>().join(", ")
}
