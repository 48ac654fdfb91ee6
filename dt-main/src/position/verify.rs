//! `position verify`: what is stored, compared with source and target.

use std::collections::BTreeMap;

use dt_common::config::{ExtractType, SinkTarget, TaskConfig};
use dt_common::position::Lineage;
use dt_common::schema::TableSchema;
use dt_common::{Error, Result, TableId};
use dt_connector::Held;
use dt_connector::filter::Filter;
use dt_connector::router::Router;
use dt_resumer::summary::{self, TableState};
use dt_resumer::{Decision, Loaded, Plan};
use serde_json::{Value, json};

use super::told::object;
use crate::exit::Exit;
use crate::task::outlook::Outlook;
use crate::task::{plan, store, stream};

/// Something that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    what: String,
    way_out: String,
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    /// What holds, in words.
    holds: Vec<String>,
    /// What does not.
    findings: Vec<Finding>,
    /// What the user should know beside.
    notes: Vec<String>,
}

/// Verifies: [`Exit::Done`] if all holds, [`Exit::User`] if not.
pub async fn verify(config: &TaskConfig, as_json: bool) -> Result<Exit> {
    let kept = store::kept(config)?;
    let mut outlook = Outlook::connect(config).await?;
    let loaded = outlook.found.loaded.take().unwrap_or_default();
    let mut found = Findings { notes: outlook.warnings(config), ..Findings::default() };
    found.notes.extend(loaded.warnings().iter().cloned());
    if let Err(error) = std::mem::replace(&mut outlook.restored, Ok(None)) {
        found.refused(error)?;
    }
    if loaded.is_empty() {
        found.notes.push("no position is stored".to_owned());
    } else {
        match &config.extractor.extract_type {
            ExtractType::Snapshot => tables(config, &mut outlook, &loaded, &mut found).await?,
            ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) | ExtractType::MongoCdc(_) => {
                follows(config, &mut outlook, &loaded, &mut found).await?;
            }
        }
    }
    let mut lines = vec![format!("task:   {}", config.task_id())];
    lines.extend(outlook.ends());
    lines.push(format!("store:  {kept}"));
    lines.extend(found.lines());
    super::print(as_json, &found.json(config, &kept), &lines)?;
    Ok(if found.findings.is_empty() { Exit::Done } else { Exit::User })
}

impl Findings {
    fn add(&mut self, what: impl Into<String>, way_out: impl Into<String>) {
        self.findings.push(Finding { what: what.into(), way_out: way_out.into() });
    }

    /// A refusal is a finding; a server that cannot be asked is none.
    fn refused(&mut self, error: Error) -> Result<()> {
        if error.class().is_transient() {
            return Err(error);
        }
        let way_out = error.hint_text().unwrap_or_default().to_owned();
        let text = error.to_string();
        self.add(text.split("\n  what to do: ").next().unwrap_or_default(), way_out);
        Ok(())
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.notes.iter().map(|note| format!("note: {note}")).collect();
        lines.extend(self.holds.iter().map(|holds| format!("holds: {holds}")));
        for Finding { what, way_out } in &self.findings {
            lines.push(format!("does not hold: {what}"));
            if !way_out.is_empty() {
                lines.push(format!("  what to do: {way_out}"));
            }
        }
        lines.push(match self.findings.len() {
            0 => "all that is stored holds".to_owned(),
            count => format!("{count} findings"),
        });
        lines
    }

    fn json(&self, config: &TaskConfig, kept: &store::Kept) -> Value {
        let finding = |finding: &Finding| json!({"what": finding.what, "way_out": finding.way_out});
        object(vec![
            ("task", json!(config.task_id())),
            ("store", kept.json()),
            ("holds", json!(self.findings.is_empty())),
            ("findings", json!(self.findings.iter().map(finding).collect::<Vec<_>>())),
            ("verified", json!(self.holds)),
            ("notes", json!(self.notes)),
        ])
    }
}

/// A stream: its log is there, of the same servers, and nothing stands against going on.
async fn follows(config: &TaskConfig, outlook: &mut Outlook, loaded: &Loaded, found: &mut Findings) -> Result<()> {
    if !summary::tables(loaded).is_empty() {
        found.notes.push("positions of tables are stored as well: they are a snapshot's, and not looked at".to_owned());
    }
    let resume = match stream::resume_point(config, outlook.target.as_ref(), Some(loaded)) {
        Ok(Some(resume)) => resume,
        Ok(None) => {
            found.notes.push("no checkpoint is stored: a start begins where [extractor] says, or now".to_owned());
            return Ok(());
        }
        Err(error) => return found.refused(error),
    };
    match stream::open(config, outlook.source.as_mut(), outlook.target.as_mut(), Some(resume.clone()), false).await {
        Ok(stream) => {
            drop(stream);
            found.holds.push(format!("the source's log goes on from {}", super::told::place(&resume)));
        }
        Err(error) => found.refused(error)?,
    }
    Ok(())
}

/// A snapshot: the same servers, the same keys, and rows where rows were written.
async fn tables(config: &TaskConfig, outlook: &mut Outlook, loaded: &Loaded, found: &mut Findings) -> Result<()> {
    let plan = match Plan::for_snapshot(loaded, config.extractor.endpoint.db_type) {
        Ok(plan) => plan,
        Err(error) => return found.refused(error),
    };
    let (source, target) = (&mut outlook.source, &mut outlook.target);
    let here = Lineage { source: Some(source.identity().to_owned()), target: Some(target.identity().to_owned()) };
    match plan.check_lineage(&here) {
        Ok(()) => found.holds.push("the positions are of these servers".to_owned()),
        Err(_) if config.resumer.allow_other_server => {
            found.notes.push("the positions are of other servers: allow_other_server=true accepts them".to_owned());
        }
        Err(error) => found.refused(error)?,
    }
    let (filter, router) = (Filter::new(&config.filter)?, Router::new(&config.router)?);
    let schemas = source.tables(&filter).await?;
    let schemas: BTreeMap<&TableId, &TableSchema> = schemas.iter().map(|schema| (&schema.id, schema)).collect();
    let mut looked_for = Vec::new();
    for stored in summary::tables(loaded) {
        let Some(schema) = schemas.get(stored.table) else {
            found.notes.push(format!("{} is no table of this task any more: its position is kept", stored.table));
            continue;
        };
        match plan.decide(schema) {
            Decision::Beginning { why: Some(why) } => found.add(
                why,
                "a start copies it anew; to go on, give the table the key that it had; to say that it is wanted, \
                 `position rewind --table`",
            ),
            // The start of chunks is checked by the first of them that goes on.
            Decision::Skip | Decision::InChunks { .. } | Decision::Again { .. } => {}
            whole => {
                if let Err(error) = source.check_start(schema, &plan::start(whole)).await {
                    found.refused(error.with("table", stored.table))?;
                }
            }
        }
        let wrote = match stored.state {
            TableState::Finished | TableState::InProgress { .. } => true,
            TableState::Counted { rows } => rows > 0,
            TableState::InChunks { finished, begun, .. } => finished + begun > 0,
        };
        if wrote {
            looked_for.push((stored.table.clone(), stored.state == TableState::Finished));
        }
    }
    found.holds.push(format!("{} tables are known, by their keys", summary::tables(loaded).len()));
    match &config.sinker.target {
        SinkTarget::Dummy => found.notes.push("sink_type=dummy: there is no target to look at".to_owned()),
        SinkTarget::Write(_) => rows(outlook, &filter, &router, &looked_for, found).await?,
    }
    Ok(())
}

/// Tables of which rows were written hold some, unless the source has none either.
async fn rows(
    outlook: &mut Outlook,
    filter: &Filter,
    router: &Router,
    tables: &[(TableId, bool)],
    found: &mut Findings,
) -> Result<()> {
    let targets: Vec<TableId> = tables.iter().map(|(id, _)| router.target_of(id)).collect();
    let held = outlook.target.holds_rows(&targets).await?;
    let without: Vec<(&(TableId, bool), &TableId, Held)> = tables
        .iter()
        .zip(&targets)
        .zip(held)
        .filter(|(_, held)| *held != Held::Rows)
        .map(|((table, target), held)| (table, target, held))
        .collect();
    let asked: Vec<(TableId, Option<String>)> =
        without.iter().map(|((id, _), ..)| (id.clone(), filter.condition(id).map(str::to_owned))).collect();
    let at_source = outlook.source.holds_rows(&asked).await?;
    let mut lost = 0;
    for (((id, finished), target, held), at_source) in without.iter().zip(at_source) {
        let state = if *finished { "finished" } else { "in progress" };
        let way_out = format!("to copy it again: position rewind --table '{}.{}'", id.schema, id.table);
        match (held, at_source) {
            (Held::Missing, _) => {
                found.add(format!("{id} is recorded as {state}, and {target} is not there in the target"), way_out);
            }
            (_, Held::Rows) => found.add(
                format!(
                    "{id} is recorded as {state} and holds rows in the source, and {target} holds none in the target"
                ),
                way_out,
            ),
            (_, Held::Nothing | Held::Missing) => continue,
        }
        lost += 1;
    }
    if !tables.is_empty() {
        found.holds.push(format!(
            "{} of {} tables hold rows in the target, or have none",
            tables.len() - lost,
            tables.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use dt_common::ErrorClass;

    use super::*;

    #[test]
    fn a_refusal_is_a_finding_with_its_way_out_and_a_server_that_is_gone_is_an_error() {
        let mut found = Findings::default();
        found.refused(Error::user("the slot is gone").with("slot", "s").hint("make it anew")).expect("a finding");
        assert_eq!(
            found.findings,
            [Finding { what: "the slot is gone (slot: s)".into(), way_out: "make it anew".into() }]
        );
        assert!(found.refused(Error::new(ErrorClass::Reconnect, "gone")).is_err());
        assert_eq!(
            found.lines(),
            ["does not hold: the slot is gone (slot: s)", "  what to do: make it anew", "1 findings"]
        );
        assert_eq!(Findings::default().lines(), ["all that is stored holds"]);
    }
}
