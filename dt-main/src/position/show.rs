//! `position show`: what is stored of the stream and of each table.

use chrono::{NaiveDateTime, Utc};
use dt_common::Result;
use dt_common::config::TaskConfig;
use dt_resumer::Loaded;
use dt_resumer::loaded::Stored;
use dt_resumer::summary::{self, StreamSummary, TableState, TableSummary};
use serde_json::{Value, json};

use super::told::{self, object};
use crate::task::store::{self, Found, Kept};

/// What is shown.
pub struct Shown<'a> {
    /// The task's name.
    pub task: String,
    /// Where its positions are.
    pub kept: &'a Kept,
    /// Who runs it now.
    pub held_by: Option<String>,
    /// What is stored.
    pub loaded: &'a Loaded,
    /// The time, in UTC.
    pub now: NaiveDateTime,
}

/// Shows it.
pub async fn show(config: &TaskConfig, as_json: bool) -> Result<()> {
    let kept = store::kept(config)?;
    let Found { loaded, holder, .. } = store::look(config).await?;
    let loaded = loaded.unwrap_or_default();
    let held_by = holder.map(|holder| holder.to_string());
    let shown = Shown { task: config.task_id(), kept: &kept, held_by, loaded: &loaded, now: Utc::now().naive_utc() };
    super::print(as_json, &shown.json(), &shown.lines())
}

impl Shown<'_> {
    /// For people. Keys are shown with their values: they were asked for.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("task:   {}", self.task), format!("store:  {}", self.kept)];
        lines.extend(self.held_by.iter().map(|holder| format!("held:   by {holder}, now or within the last 30 s")));
        lines.extend(self.loaded.warnings().iter().map(|warning| format!("warning: {warning}")));
        if self.loaded.is_empty() {
            lines.push("no position is stored".to_owned());
            return lines;
        }
        for stream in summary::streams(self.loaded) {
            lines.push(format!("stream: of a {} source", stream.db_type));
            let of = [("checkpoint", stream.checkpoint), ("current", stream.current)];
            lines.extend(of.into_iter().filter_map(|(name, stored)| {
                let stored = stored?;
                let place = told::place(&stored.entry.position);
                Some(format!("  {name}: {place}; {}", told::written(stored, self.now)))
            }));
            lines.extend(stream.lanes.iter().map(|(no, stored)| {
                let place = told::place(&stored.entry.position);
                format!("  lane {no}: {place}; {}", told::written(stored, self.now))
            }));
        }
        let tables = summary::tables(self.loaded);
        if !tables.is_empty() {
            let finished = tables.iter().filter(|table| table.state == TableState::Finished).count();
            lines.push(format!("tables: {finished} finished, {} in progress", tables.len() - finished));
        }
        lines.extend(tables.iter().map(|table| {
            format!("  {}: {}; {}", table.table, state(&table.state), told::written(table.newest, self.now))
        }));
        lines
    }

    /// For scripts.
    pub fn json(&self) -> Value {
        let streams: Vec<Value> = summary::streams(self.loaded).iter().map(|stream| self.stream(stream)).collect();
        let tables: Vec<Value> = summary::tables(self.loaded).iter().map(|table| self.table(table)).collect();
        object(vec![
            ("task", json!(self.task)),
            ("store", self.kept.json()),
            ("held_by", json!(self.held_by)),
            ("warnings", json!(self.loaded.warnings())),
            ("streams", json!(streams)),
            ("tables", json!(tables)),
        ])
    }

    fn stream(&self, stream: &StreamSummary<'_>) -> Value {
        let fields = |stored: &Stored| {
            let mut fields = vec![("position", told::json(&stored.entry.position))];
            fields.extend(told::written_json(stored, self.now));
            fields
        };
        let stored = |stored: Option<&Stored>| stored.map_or(Value::Null, |stored| object(fields(stored)));
        let lane = |(no, stored): (&u32, &&Stored)| {
            let mut all = vec![("lane", json!(no))];
            all.extend(fields(stored));
            object(all)
        };
        object(vec![
            ("db_type", json!(stream.db_type.as_str())),
            ("checkpoint", stored(stream.checkpoint)),
            ("current", stored(stream.current)),
            ("lanes", stream.lanes.iter().map(lane).collect()),
        ])
    }

    fn table(&self, table: &TableSummary<'_>) -> Value {
        let mut fields = vec![
            ("db_type", json!(table.db_type.as_str())),
            ("schema", json!(table.table.schema)),
            ("tb", json!(table.table.table)),
        ];
        match table.state {
            TableState::Finished => fields.push(("state", json!("finished"))),
            TableState::InProgress { .. } | TableState::Counted { .. } => {
                fields
                    .extend([("state", json!("in_progress")), ("position", told::json(&table.newest.entry.position))]);
            }
            TableState::InChunks { of, finished, begun } => {
                let chunks = json!({"of": of, "finished": finished, "begun": begun});
                fields.extend([("state", json!("in_chunks")), ("chunks", chunks)]);
            }
        }
        fields.extend(told::written_json(table.newest, self.now));
        object(fields)
    }
}

/// How far a table is, in words.
pub fn state(state: &TableState<'_>) -> String {
    match state {
        TableState::Finished => "finished".to_owned(),
        TableState::InProgress { key } => format!("in progress, after {}", told::key(key)),
        TableState::Counted { rows } => format!("in progress, {rows} rows without a key"),
        TableState::InChunks { of, finished, begun } => {
            format!("in progress, {finished} of {of} chunks finished, {begun} begun")
        }
    }
}

#[cfg(test)]
mod tests {
    use dt_common::ladder::{Entry, Rung};
    use dt_common::position::{
        Behind, Counted, KeyText, Lineage, MysqlCdc, OrderKey, RdbSnapshot, RdbSnapshotFinished, Share,
    };
    use dt_common::{DbType, Position, TableId};

    use super::*;

    fn loaded() -> Loaded {
        let (db_type, lineage) = (DbType::Mysql, Lineage::default);
        let progress = RdbSnapshot {
            db_type,
            table: TableId::new("shop", "orders"),
            chunk: None,
            key: OrderKey::single("id", KeyText::Text("5".into())),
            null_keys_done: false,
            lineage: lineage(),
        };
        let table = TableId::new("shop", "customers");
        let finished = RdbSnapshotFinished { db_type, table, chunk: None, lineage: lineage() };
        let cdc = MysqlCdc {
            server_id: String::new(),
            binlog_filename: "bin.000002".into(),
            next_event_position: 773,
            gtid_set: String::new(),
            timestamp: "2026-11-21 11:00:00.000".into(),
            lineage: lineage(),
            behind: None,
        };
        Loaded::of_entries([
            Entry { rung: Rung::Current, position: Position::RdbSnapshot(progress) },
            Entry { rung: Rung::Finished, position: Position::RdbSnapshotFinished(finished) },
            Entry { rung: Rung::Checkpoint, position: Position::MysqlCdc(cdc) },
        ])
    }

    fn shown<'a>(kept: &'a Kept, loaded: &'a Loaded) -> Shown<'a> {
        let now = NaiveDateTime::parse_from_str("2026-11-21 12:00:00", "%Y-%m-%d %H:%M:%S").expect("a time");
        Shown { task: "t1".into(), kept, held_by: None, loaded, now }
    }

    #[test]
    fn what_is_stored_is_listed_for_people() {
        let (kept, loaded) = (Kept { by: "from_log", place: "/logs".into() }, loaded());
        assert_eq!(
            shown(&kept, &loaded).lines(),
            [
                "task:   t1",
                "store:  from_log, /logs",
                "stream: of a mysql source",
                "  checkpoint: bin.000002:773, of 2026-11-21 11:00:00.000; written at a time that is not known",
                "tables: 1 finished, 1 in progress",
                "  `shop`.`customers`: finished; written at a time that is not known",
                "  `shop`.`orders`: in progress, after id=5; written at a time that is not known",
            ]
        );
        let nothing = Loaded::default();
        assert_eq!(shown(&kept, &nothing).lines()[2..], ["no position is stored"]);
    }

    #[test]
    fn lanes_that_are_ahead_of_the_checkpoint_are_told_one_by_one() {
        let at = |next_event_position, share| {
            let counted = Some(Box::new(Counted { before: 7, share }));
            let cdc = MysqlCdc {
                server_id: String::new(),
                binlog_filename: "bin.000002".into(),
                next_event_position,
                gtid_set: String::new(),
                timestamp: String::new(),
                lineage: Lineage::default(),
                behind: Some(Behind { changes: 1, filter: "f".into(), counted }),
            };
            Entry { rung: Rung::Checkpoint, position: Position::MysqlCdc(cdc) }
        };
        let lane = |no| Share::Lane { no, of: 2 };
        let loaded = Loaded::of_entries([at(4, Share::All), at(900, lane(1)), at(800, lane(0))]);
        let kept = Kept { by: "from_target", place: "here".into() };
        let lines = shown(&kept, &loaded).lines();
        let lines: Vec<&str> = lines[2..].iter().map(|line| line.split(';').next().unwrap_or_default()).collect();
        assert_eq!(
            lines,
            [
                "stream: of a mysql source",
                "  checkpoint: bin.000002:4",
                "  lane 0: bin.000002:800",
                "  lane 1: bin.000002:900"
            ]
        );
        let json = shown(&kept, &loaded).json();
        assert_eq!(json["streams"][0]["lanes"][1]["lane"], 1);
        assert_eq!(json["streams"][0]["lanes"][1]["position"]["next_event_position"], 900);
    }

    #[test]
    fn what_is_stored_is_json_for_scripts() {
        let (kept, loaded) = (Kept { by: "from_log", place: "/logs".into() }, loaded());
        assert_eq!(
            shown(&kept, &loaded).json().to_string(),
            concat!(
                r#"{"task":"t1","store":{"resume_type":"from_log","place":"/logs"},"held_by":null,"warnings":[],"#,
                r#""streams":[{"db_type":"mysql","checkpoint":{"position":{"type":"MysqlCdc","server_id":"","#,
                r#""binlog_filename":"bin.000002","next_event_position":773,"gtid_set":"","#,
                r#""timestamp":"2026-11-21 11:00:00.000"},"written_at":null,"age_secs":null,"at":null},"current":null,"lanes":[]}],"#,
                r#""tables":[{"db_type":"mysql","schema":"shop","tb":"customers","state":"finished","written_at":null,"#,
                r#""age_secs":null,"at":null},{"db_type":"mysql","schema":"shop","tb":"orders","state":"in_progress","#,
                r#""position":{"type":"RdbSnapshot","db_type":"mysql","schema":"shop","tb":"orders","order_col":"id","#,
                r#""value":"5"},"written_at":null,"age_secs":null,"at":null}]}"#
            )
        );
    }
}
