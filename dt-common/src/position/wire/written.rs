//! The form that is written.

use serde::Serialize;

use super::{behind, bounds, to_hex};
use crate::position::{
    Chunk, KeyPart, KeyText, Lineage, MongoCdc, OrderKey, PgCdc, Position, RdbSnapshot, RdbSnapshotFinished,
    RdbSnapshotRows, RdbSnapshotSplit, Redis,
};

/// A position. serde keeps the order of the fields.
#[derive(Serialize)]
#[serde(tag = "type")]
pub(super) enum Written<'a> {
    None,
    RdbSnapshot {
        db_type: &'static str,
        schema: &'a str,
        tb: &'a str,
        #[serde(flatten)]
        key: WrittenKey<'a>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        hex: Vec<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        null_keys_done: bool,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    RdbSnapshotChunk {
        db_type: &'static str,
        schema: &'a str,
        tb: &'a str,
        split: String,
        chunk: u32,
        #[serde(flatten)]
        key: WrittenKey<'a>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        hex: Vec<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        null_keys_done: bool,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    RdbSnapshotRows {
        db_type: &'static str,
        schema: &'a str,
        tb: &'a str,
        rows: u64,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    RdbSnapshotChunkRows {
        db_type: &'static str,
        schema: &'a str,
        tb: &'a str,
        split: String,
        chunk: u32,
        rows: u64,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    RdbSnapshotFinished {
        db_type: &'static str,
        schema: &'a str,
        tb: &'a str,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    RdbSnapshotChunkFinished {
        db_type: &'static str,
        schema: &'a str,
        tb: &'a str,
        split: String,
        chunk: u32,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    RdbSnapshotSplit {
        db_type: &'static str,
        schema: &'a str,
        tb: &'a str,
        #[serde(flatten)]
        bounds: bounds::Written<'a>,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    MysqlCdc {
        server_id: &'a str,
        binlog_filename: &'a str,
        next_event_position: u64,
        gtid_set: &'a str,
        timestamp: &'a str,
        #[serde(flatten)]
        behind: behind::Written<'a>,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    PgCdc {
        lsn: &'a str,
        timestamp: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        slot: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        timeline: Option<u32>,
        #[serde(flatten)]
        behind: behind::Written<'a>,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    MongoCdc {
        resume_token: &'a str,
        operation_time: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        operation_increment: Option<u32>,
        timestamp: &'a str,
        #[serde(flatten)]
        lineage: WrittenLineage<'a>,
    },
    Redis {
        repl_id: &'a str,
        repl_port: u64,
        repl_offset: u64,
        now_db_id: i64,
        timestamp: &'a str,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum WrittenKey<'a> {
    Single { order_col: &'a str, value: Option<String> },
    Composite { order_key: WrittenComposite<'a> },
}

#[derive(Serialize)]
pub(super) struct WrittenComposite<'a> {
    composite: Vec<(&'a str, Option<String>)>,
}

#[derive(Serialize)]
pub(super) struct WrittenLineage<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

impl<'a> From<&'a Position> for Written<'a> {
    fn from(position: &'a Position) -> Self {
        match position {
            Position::None => Written::None,
            Position::RdbSnapshot(RdbSnapshot { db_type, table, chunk, key, null_keys_done, lineage }) => {
                let (db_type, schema, tb) = (db_type.as_str(), table.schema.as_str(), table.table.as_str());
                let (hex, key) = (hex_columns(key), WrittenKey::from(key));
                let (null_keys_done, lineage) = (*null_keys_done, WrittenLineage::from(lineage));
                match chunk {
                    None => Written::RdbSnapshot { db_type, schema, tb, key, hex, null_keys_done, lineage },
                    Some(Chunk { split, no }) => {
                        let (split, chunk) = (split.to_string(), *no);
                        Written::RdbSnapshotChunk {
                            db_type,
                            schema,
                            tb,
                            split,
                            chunk,
                            key,
                            hex,
                            null_keys_done,
                            lineage,
                        }
                    }
                }
            }
            Position::RdbSnapshotRows(RdbSnapshotRows { db_type, table, chunk, rows, lineage }) => {
                let (db_type, schema, tb) = (db_type.as_str(), table.schema.as_str(), table.table.as_str());
                let (rows, lineage) = (*rows, WrittenLineage::from(lineage));
                match chunk {
                    None => Written::RdbSnapshotRows { db_type, schema, tb, rows, lineage },
                    Some(Chunk { split, no }) => {
                        let (split, chunk) = (split.to_string(), *no);
                        Written::RdbSnapshotChunkRows { db_type, schema, tb, split, chunk, rows, lineage }
                    }
                }
            }
            Position::RdbSnapshotFinished(RdbSnapshotFinished { db_type, table, chunk, lineage }) => {
                let (db_type, schema, tb) = (db_type.as_str(), table.schema.as_str(), table.table.as_str());
                let lineage = WrittenLineage::from(lineage);
                match chunk {
                    None => Written::RdbSnapshotFinished { db_type, schema, tb, lineage },
                    Some(Chunk { split, no }) => {
                        let (split, chunk) = (split.to_string(), *no);
                        Written::RdbSnapshotChunkFinished { db_type, schema, tb, split, chunk, lineage }
                    }
                }
            }
            Position::RdbSnapshotSplit(RdbSnapshotSplit { db_type, table, bounds, lineage }) => {
                Written::RdbSnapshotSplit {
                    db_type: db_type.as_str(),
                    schema: &table.schema,
                    tb: &table.table,
                    bounds: bounds::Written::from(bounds.as_slice()),
                    lineage: WrittenLineage::from(lineage),
                }
            }
            Position::MysqlCdc(cdc) => Written::MysqlCdc {
                server_id: &cdc.server_id,
                binlog_filename: &cdc.binlog_filename,
                next_event_position: cdc.next_event_position,
                gtid_set: &cdc.gtid_set,
                timestamp: &cdc.timestamp,
                behind: behind::Written::from(&cdc.behind),
                lineage: WrittenLineage::from(&cdc.lineage),
            },
            Position::PgCdc(PgCdc { lsn, timestamp, behind, origin, lineage }) => Written::PgCdc {
                lsn,
                timestamp,
                slot: origin.as_ref().map(|origin| origin.slot.as_str()),
                timeline: origin.as_ref().map(|origin| origin.timeline),
                behind: behind::Written::from(behind),
                lineage: WrittenLineage::from(lineage),
            },
            Position::MongoCdc(MongoCdc { resume_token, operation_time, increment, timestamp, lineage }) => {
                Written::MongoCdc {
                    resume_token,
                    operation_time: *operation_time,
                    operation_increment: *increment,
                    timestamp,
                    lineage: WrittenLineage::from(lineage),
                }
            }
            Position::Redis(Redis { repl_id, repl_port, repl_offset, now_db_id, timestamp }) => Written::Redis {
                repl_id,
                repl_port: *repl_port,
                repl_offset: *repl_offset,
                now_db_id: *now_db_id,
                timestamp,
            },
        }
    }
}

impl<'a> From<&'a OrderKey> for WrittenKey<'a> {
    fn from(key: &'a OrderKey) -> Self {
        match key.parts() {
            [part] => WrittenKey::Single { order_col: &part.column, value: written_value(&part.value) },
            parts => {
                let pair = |part: &'a KeyPart| (part.column.as_str(), written_value(&part.value));
                WrittenKey::Composite { order_key: WrittenComposite { composite: parts.iter().map(pair).collect() } }
            }
        }
    }
}

impl<'a> From<&'a Lineage> for WrittenLineage<'a> {
    fn from(lineage: &'a Lineage) -> Self {
        WrittenLineage { source: lineage.source.as_deref(), target: lineage.target.as_deref() }
    }
}

fn written_value(value: &KeyText) -> Option<String> {
    match value {
        KeyText::Null => None,
        KeyText::Text(text) => Some(text.clone()),
        KeyText::Bytes(bytes) => Some(to_hex(bytes)),
    }
}

fn hex_columns(key: &OrderKey) -> Vec<&str> {
    let bytes = key.parts().iter().filter(|part| matches!(part.value, KeyText::Bytes(_)));
    bytes.map(|part| part.column.as_str()).collect()
}
