//! `position explain`: what a start would do now and why, and how much room the source's log still gives.

use std::collections::HashMap;

use chrono::{NaiveDateTime, Utc};
use dt_common::config::TaskConfig;
use dt_common::{Error, Position, Result, TableId};
use dt_connector::{Fact, HeadRoom};
use dt_resumer::loaded::Stored;
use dt_resumer::summary;
use serde_json::{Value, json};

use super::told::{self, object};
use crate::exit::Exit;
use crate::task::outlook::{self, Outlook, WouldStart};
use crate::task::store;

/// What is told, by people's lines and by scripts' fields at once.
#[derive(Default)]
pub struct Told {
    /// For people.
    pub lines: Vec<String>,
    /// For scripts.
    pub fields: Vec<(&'static str, Value)>,
}

/// Explains it.
pub async fn explain(config: &TaskConfig, as_json: bool) -> Result<Exit> {
    let kept = store::kept(config)?;
    let mut outlook = Outlook::connect(config).await?;
    let now = Utc::now().naive_utc();
    let mut told = Told::default();
    told.lines.push(format!("task:   {}", config.task_id()));
    told.lines.extend(outlook.ends());
    told.lines.push(format!("store:  {kept}"));
    let warnings = outlook.warnings(config);
    told.lines.extend(warnings.iter().map(|warning| format!("warning: {warning}")));
    told.fields = vec![
        ("task", json!(config.task_id())),
        ("source", json!(outlook.source.describe())),
        ("target", json!(outlook.target.describe())),
        ("store", kept.json()),
        ("warnings", json!(warnings)),
    ];
    let exit = match outlook.start(config).await {
        Ok(WouldStart::Snapshot(plan)) => {
            let loaded = outlook.found.loaded.as_ref();
            let stored = loaded.map(summary::tables).unwrap_or_default();
            let stored: HashMap<&TableId, &Stored> =
                stored.iter().map(|summary| (summary.table, summary.newest)).collect();
            told.snapshot(&plan.decisions, |id| outlook::rows_estimate(&plan, id), &stored, now);
            Exit::Done
        }
        Ok(WouldStart::Stream(None)) => {
            told.stream_without_position();
            Exit::Done
        }
        Ok(WouldStart::Stream(Some(position))) => {
            let room = outlook.source.head_room(&position).await;
            told.stream(&position, room, now);
            Exit::Done
        }
        Err(error) => {
            told.refusal(&error);
            Exit::of(error.class())
        }
    };
    super::print(as_json, &object(told.fields), &told.lines)?;
    Ok(exit)
}

impl Told {
    /// A snapshot, table by table.
    fn snapshot(
        &mut self,
        decisions: &[(TableId, dt_resumer::Decision)],
        rows: impl Fn(&TableId) -> Option<u64>,
        stored: &HashMap<&TableId, &Stored>,
        now: NaiveDateTime,
    ) {
        use dt_resumer::Decision;
        self.lines.push("a start would read:".to_owned());
        let mut tables = Vec::new();
        for (id, decision) in decisions {
            let (rows, stored) = (rows(id), stored.get(id));
            let text = outlook::told(decision, rows);
            let written = stored.map_or("nothing is stored of it".to_owned(), |stored| told::written(stored, now));
            self.lines.push(format!("  {id}: {text}; {written}"));
            let why = match decision {
                Decision::Beginning { why } => why.clone(),
                _ => None,
            };
            let mut fields = vec![
                ("schema", json!(id.schema)),
                ("tb", json!(id.table)),
                ("reads", json!(outlook::word(decision))),
                ("why", json!(why)),
                ("rows_estimate", json!(rows)),
            ];
            if let Decision::InChunks { of, remaining, .. } = decision {
                fields.push(("chunks", json!({"of": of, "remaining": remaining.len()})));
            }
            if let Some(stored) = stored {
                fields.extend(told::written_json(stored, now));
            }
            tables.push(object(fields));
        }
        let finished = decisions.iter().filter(|(_, decision)| *decision == Decision::Skip).count();
        self.lines.push(format!("{} tables to copy, {finished} finished before", decisions.len() - finished));
        self.fields.extend([("would", json!("copy")), ("tables", json!(tables))]);
    }

    fn stream_without_position(&mut self) {
        let line = "no position is stored: the stream begins where [extractor] says, or now";
        self.lines.push(line.to_owned());
        self.fields.extend([("would", json!("follow")), ("resume_from", Value::Null)]);
    }

    /// A stream that goes on.
    fn stream(&mut self, position: &Position, room: Result<HeadRoom>, now: NaiveDateTime) {
        let age = match position {
            Position::MysqlCdc(cdc) => told::age(&cdc.timestamp, now),
            Position::PgCdc(cdc) => told::age(&cdc.timestamp, now),
            Position::MongoCdc(cdc) => told::age(&cdc.timestamp, now),
            _ => None,
        };
        let behind = age.map(|secs| format!(", {} by the source's time", told::ago(secs))).unwrap_or_default();
        self.lines.push(format!("a start would follow from {}{behind}", told::place(position)));
        self.lines.push(format!("  {}", dt_resumer::cdc::resume_from(position)));
        self.fields.extend([
            ("would", json!("follow")),
            ("resume_from", told::json(position)),
            ("position_age_secs", json!(age)),
        ]);
        match room {
            Ok(room) => {
                self.lines.push("the source's log:".to_owned());
                self.lines.extend(room.facts.iter().map(|(name, fact)| room_line(name, fact)));
                self.lines.extend(room.warning.iter().map(|warning| format!("warning: {warning}")));
                let facts = room.facts.iter().map(|(name, fact)| (*name, fact_json(fact))).collect();
                self.fields.extend([("head_room", object(facts)), ("head_room_warning", json!(room.warning))]);
            }
            Err(error) => {
                self.lines.push(format!("how much room the source's log gives is not known: {error}"));
                self.fields.push(("head_room", Value::Null));
            }
        }
    }

    fn refusal(&mut self, error: &Error) {
        self.lines.push(format!("a start would stop at once: {error}"));
        self.fields.extend([("would", json!("stop")), ("error", json!(error.to_string()))]);
    }
}

/// `  bytes to read: 12`, and a length of time in its best unit as well.
fn room_line(name: &str, fact: &Fact) -> String {
    let label = name.replace('_', " ");
    match fact {
        Fact::Number(secs) if name.ends_with("_secs") => format!("  {label}: {secs} ({})", told::length(*secs)),
        Fact::Number(_) | Fact::Text(_) => format!("  {label}: {fact}"),
    }
}

fn fact_json(fact: &Fact) -> Value {
    match fact {
        Fact::Number(number) => json!(number),
        Fact::Text(text) => json!(text),
    }
}

#[cfg(test)]
mod tests {
    use dt_common::position::{Lineage, PgCdc};
    use dt_resumer::Decision;

    use super::*;

    fn now() -> NaiveDateTime {
        NaiveDateTime::parse_from_str("2026-11-21 12:00:00", "%Y-%m-%d %H:%M:%S").expect("a time")
    }

    #[test]
    fn a_stream_is_told_with_its_age_and_the_room_of_its_source() {
        let position = Position::PgCdc(PgCdc {
            lsn: "0/1800".into(),
            timestamp: "2026-11-21 11:30:00.000".into(),
            origin: None,
            lineage: Lineage::default(),
            behind: None,
        });
        let room = HeadRoom::default().with("slot", "s1").with("bytes_to_read", 7).with("oplog_secs", 7200);
        let mut told = Told::default();
        told.stream(&position, Ok(HeadRoom { warning: Some("little is left".into()), ..room }), now());
        assert_eq!(
            told.lines,
            [
                "a start would follow from 0/1800, of 2026-11-21 11:30:00.000, 30 min ago by the source's time",
                "  resume from: {\"type\":\"PgCdc\",\"lsn\":\"0/1800\",\"timestamp\":\"2026-11-21 11:30:00.000\"}",
                "the source's log:",
                "  slot: s1",
                "  bytes to read: 7",
                "  oplog secs: 7200 (2 h)",
                "warning: little is left",
            ]
        );
        assert_eq!(
            object(told.fields).to_string(),
            concat!(
                r#"{"would":"follow","resume_from":{"type":"PgCdc","lsn":"0/1800","timestamp":"2026-11-21 11:30:00.000"},"#,
                r#""position_age_secs":1800,"head_room":{"slot":"s1","bytes_to_read":7,"oplog_secs":7200},"#,
                r#""head_room_warning":"little is left"}"#
            )
        );
    }

    #[test]
    fn a_snapshot_is_told_table_by_table() {
        let mut told = Told::default();
        let why = Some("table `d`.`b` starts from the beginning: its key has changed".to_owned());
        let decisions =
            [(TableId::new("d", "a"), Decision::Skip), (TableId::new("d", "b"), Decision::Beginning { why })];
        told.snapshot(&decisions, |_| Some(9), &HashMap::new(), now());
        assert_eq!(told.lines[1], "  `d`.`a`: finished, skipped; nothing is stored of it");
        assert!(told.lines[2].contains("about 9 rows in all (table `d`.`b` starts"), "{:?}", told.lines);
        assert_eq!(told.lines[3], "1 tables to copy, 1 finished before");
    }

    #[test]
    fn a_start_that_would_stop_is_told_with_its_way_out() {
        let mut told = Told::default();
        told.refusal(&Error::user("the slot is gone").hint("make it anew"));
        assert!(
            told.lines[0].contains("the slot is gone") && told.lines[0].contains("make it anew"),
            "{:?}",
            told.lines
        );
    }
}
