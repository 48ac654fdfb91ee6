//! What is said when the position table is behind the copies in the log_dir: its database was restored from an older copy.
//!
//! With `from_target` the rows that were lost were lost together with their positions, so that going on from the table
//! brings them back, as long as the source's log still has them. It is never done without a word.

use dt_common::config::{ExtractType, ResumeKind, TaskConfig};
use dt_common::{Error, Result};
use dt_connector::Source;
use dt_resumer::Loaded;
use dt_resumer::restored::{Lost, of_snapshot, of_stream};

use super::options::log_options;

/// How many tables are named.
const NAMED: usize = 5;

/// What a user should hear of before the task goes on.
///
/// # Errors
/// Nothing is left of a stream that the copies know: a start would leave out what has been changed since.
pub async fn notice(config: &TaskConfig, loaded: Option<&Loaded>, source: &dyn Source) -> Result<Option<String>> {
    let (ResumeKind::FromTarget(_) | ResumeKind::FromDb(_), Some(table)) = (&config.resumer.kind, loaded) else {
        return Ok(None);
    };
    // Copies that cannot be read say nothing: nothing depends on them.
    let Ok(copies) = dt_resumer::log::peek(log_options(config)).await else { return Ok(None) };
    let db_type = config.extractor.endpoint.db_type;
    let lost = match &config.extractor.extract_type {
        // A table that knows nothing of the task has a warning of its own.
        ExtractType::Snapshot if table.is_empty() => None,
        ExtractType::Snapshot => of_snapshot(&copies, table),
        ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) | ExtractType::MongoCdc(_) => {
            // Of another kind of source: somebody else's, and no copy.
            of_stream(&copies, table, db_type, |one, other| source.order(one, other)).unwrap_or(None)
        }
    };
    let log_dir = config.runtime.log_dir.display();
    let again = match &config.resumer.kind {
        ResumeKind::FromTarget(_) => "what the target has lost since is written again",
        ResumeKind::FromDb(_) | ResumeKind::FromLog | ResumeKind::Dummy => "what came since is applied again",
    };
    match lost {
        None => Ok(None),
        Some(Lost::Finished(tables)) => {
            let named: Vec<String> = tables.iter().take(NAMED).map(ToString::to_string).collect();
            let more = if tables.len() > NAMED { " and others" } else { "" };
            Ok(Some(format!(
                "the position table does not know that {} tables were finished ({}{more}), and {log_dir} does: its database was restored from an older copy, or rows of it were deleted. The task goes on from the position table; {again}",
                tables.len(),
                named.join(", ")
            )))
        }
        Some(Lost::Checkpoint { copy, table }) => Ok(Some(format!(
            "the position table is behind {log_dir}: its database was restored from an older copy, or its rows were changed. The task goes on from the position table ({}, there it was {}); {again}",
            dt_resumer::cdc::resume_from(&table.entry.position),
            dt_resumer::cdc::resume_from(&copy.entry.position)
        ))),
        Some(Lost::Stream { copy }) => {
            let error = Error::user("the position table knows nothing of this stream, and the log_dir does: a start would leave out what was changed since")
                .with("log_dir", log_dir);
            let error = match &copy.origin {
                Some(origin) => error.with("at", origin),
                None => error,
            };
            Err(error.hint("if the table's database was restored from an older copy, restore one that has the table; to go on from the files although the database may lack what they say is there: dt-main position import, then start; to begin anew, move position.log out of the log_dir"))
        }
    }
}
