//! Positions as JSON: the forms that older tools wrote, all readable for ever, and the one form that is written.
//!
//! | generation | example |
//! |---|---|
//! | nested | `{"RdbSnapshot":{"db_type":"mysql","schema":"a","tb":"b","order_col":"id","value":"6"}}` |
//! | tagged, one column | `{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b","order_col":"id","value":"6"}` |
//! | tagged, order key | `{"type":"RdbSnapshot",…,"order_key":{"composite":[["a","1"],["b","30"]]}}` |
//!
//! Written is the tagged form: `order_col` and `value` for a key of one column, `order_key.composite` for a longer
//! one. Fields of ours come last, and only where there is something to say: `hex`, `null_keys_done`, `slot`,
//! `timeline`, `applied_…` (see `behind`), `source`, `target`. Fields that are not known are ignored, unless they are one byte
//! away from such a field (there is no checksum, and without that field it is another position); a type that is not
//! known, a missing field or one of another type is a [`WireError`], never "no position" (invariant 5). Errors name fields, never the values in
//! them (invariant 11).
//!
//! A table in chunks has types of its own, so that an older tool stops at them instead of taking a chunk for the table:
//! `RdbSnapshotSplit` (`cols` and `bounds`, a list of keys, each a list of values: text, or `{"hex":…}` for bytes),
//! `RdbSnapshotChunk` and `RdbSnapshotChunkFinished` (`split`, `chunk`, and else as without chunks).
//! `RdbSnapshotRows` and `RdbSnapshotChunkRows` say a number of `rows` where no key tells a row from others.

mod behind;
mod bounds;
mod written;

use serde_json::{Map, Value};

use super::{
    Chunk, KeyPart, KeyText, Lineage, MongoCdc, MysqlCdc, OrderKey, PgCdc, PgOrigin, Position, RdbSnapshot,
    RdbSnapshotFinished, RdbSnapshotRows, RdbSnapshotSplit, Redis, SplitId,
};
use crate::ids::{DbType, TableId, UnknownDbType};

/// Why a text is not a position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// It is not JSON at all, or not only.
    #[error("this is not a JSON object: {0}")]
    NotJson(String),
    /// It is JSON, but has no `type`.
    #[error("there is no position type in it")]
    NoType,
    /// A type that dt does not know.
    #[error("`{0}` is not a known type of position")]
    UnknownType(String),
    /// A field that the type must have is absent.
    #[error("{kind} lacks the field `{field}`")]
    Missing {
        /// The type.
        kind: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A field holds something else than it should.
    #[error("the field `{field}` of {kind} is not {expected}")]
    WrongType {
        /// The type.
        kind: &'static str,
        /// The field.
        field: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// A field that is not known, and is one byte away from one that may be absent: read as an unknown one, the position
    /// would be another.
    #[error("the field `{found}` is damaged: it was `{field}`")]
    Damaged {
        /// What stands there.
        found: String,
        /// What was written.
        field: &'static str,
    },
    /// `db_type` names no database.
    #[error(transparent)]
    UnknownDbType(#[from] UnknownDbType),
}

/// The JSON of a position on one line, in the form and field order of the documents.
pub fn to_json(position: &Position) -> String {
    serde_json::to_string(&written::Written::from(position)).expect("wire: a position is always writable as JSON")
}

/// The JSON of a split's bounds, which tells splits apart.
pub(super) fn bounds_to_json(bounds: &[OrderKey]) -> String {
    serde_json::to_string(&bounds::Written::from(bounds)).expect("wire: bounds are always writable as JSON")
}

/// Reads the JSON of a position, in any of the three forms.
pub fn from_json(json: &str) -> Result<Position, WireError> {
    let value: Value = serde_json::from_str(json).map_err(|error| WireError::NotJson(error.to_string()))?;
    match value {
        // A type without fields in the nested form.
        Value::String(kind) if kind == "None" => Ok(Position::None),
        Value::Object(fields) => match fields.get("type") {
            Some(Value::String(kind)) => read(kind, &fields),
            Some(_) => Err(WireError::NoType),
            None => read_nested(&fields),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Err(WireError::NoType),
    }
}

fn read_nested(outer: &Map<String, Value>) -> Result<Position, WireError> {
    let mut types = outer.iter();
    match (types.next(), types.next()) {
        (Some((kind, Value::Object(fields))), None) => read(kind, fields),
        _ => Err(WireError::NoType),
    }
}

fn read(kind: &str, fields: &Map<String, Value>) -> Result<Position, WireError> {
    refuse_damaged_names(fields)?;
    Ok(match kind {
        "None" => Position::None,
        "RdbSnapshot" => read_snapshot(&Fields { kind: "RdbSnapshot", fields }, None)?,
        "RdbSnapshotChunk" => {
            let fields = Fields { kind: "RdbSnapshotChunk", fields };
            read_snapshot(&fields, Some(fields.chunk()?))?
        }
        "RdbSnapshotRows" => read_rows(&Fields { kind: "RdbSnapshotRows", fields }, None)?,
        "RdbSnapshotChunkRows" => {
            let fields = Fields { kind: "RdbSnapshotChunkRows", fields };
            read_rows(&fields, Some(fields.chunk()?))?
        }
        "RdbSnapshotFinished" => read_finished(&Fields { kind: "RdbSnapshotFinished", fields }, None)?,
        "RdbSnapshotChunkFinished" => {
            let fields = Fields { kind: "RdbSnapshotChunkFinished", fields };
            read_finished(&fields, Some(fields.chunk()?))?
        }
        "RdbSnapshotSplit" => {
            let fields = Fields { kind: "RdbSnapshotSplit", fields };
            Position::RdbSnapshotSplit(RdbSnapshotSplit {
                db_type: fields.db_type()?,
                table: fields.table()?,
                bounds: bounds::read(&fields)?,
                lineage: fields.lineage()?,
            })
        }
        "MysqlCdc" => {
            let fields = Fields { kind: "MysqlCdc", fields };
            Position::MysqlCdc(MysqlCdc {
                server_id: fields.text("server_id")?,
                binlog_filename: fields.text("binlog_filename")?,
                next_event_position: fields.unsigned("next_event_position")?,
                // Absent in the nested form.
                gtid_set: fields.optional_text("gtid_set")?.unwrap_or_default(),
                timestamp: fields.text("timestamp")?,
                behind: behind::read(&fields)?,
                lineage: fields.lineage()?,
            })
        }
        "PgCdc" => {
            let fields = Fields { kind: "PgCdc", fields };
            Position::PgCdc(PgCdc {
                lsn: fields.text("lsn")?,
                timestamp: fields.text("timestamp")?,
                behind: behind::read(&fields)?,
                origin: fields.origin()?,
                lineage: fields.lineage()?,
            })
        }
        "MongoCdc" => {
            let fields = Fields { kind: "MongoCdc", fields };
            Position::MongoCdc(MongoCdc {
                resume_token: fields.text("resume_token")?,
                operation_time: fields.unsigned("operation_time")?,
                increment: fields.increment()?,
                timestamp: fields.text("timestamp")?,
                lineage: fields.lineage()?,
            })
        }
        "Redis" => {
            let fields = Fields { kind: "Redis", fields };
            Position::Redis(Redis {
                repl_id: fields.text("repl_id")?,
                // Absent in older lines.
                repl_port: fields.optional_unsigned("repl_port")?.unwrap_or_default(),
                repl_offset: fields.unsigned("repl_offset")?,
                now_db_id: fields.signed("now_db_id")?,
                timestamp: fields.text("timestamp")?,
            })
        }
        other => return Err(WireError::UnknownType(other.chars().take(64).collect())),
    })
}

/// Fields that may be absent. All others are missed where their names are damaged.
const OPTIONAL: [&str; 18] = [
    "applied_before",
    "applied_by",
    "applied_changes",
    "applied_filter",
    "applied_lane",
    "applied_lanes",
    "applied_schema",
    "applied_tb",
    "gtid_set",
    "hex",
    "null_keys_done",
    "operation_increment",
    "order_key",
    "repl_port",
    "slot",
    "source",
    "target",
    "timeline",
];

/// Fields that are not known are ignored, but for those that a changed byte has made of one that is.
fn refuse_damaged_names(fields: &Map<String, Value>) -> Result<(), WireError> {
    for found in fields.keys().filter(|found| !OPTIONAL.contains(&found.as_str())) {
        if let Some(field) = OPTIONAL.into_iter().find(|field| is_one_byte_away(found.as_bytes(), field.as_bytes())) {
            return Err(WireError::Damaged { found: found.clone(), field });
        }
    }
    Ok(())
}

/// Whether a changed byte of JSON text makes `found` of `field`: another character, or a back-slash, which makes one
/// character of two.
fn is_one_byte_away(found: &[u8], field: &[u8]) -> bool {
    let same = found.iter().zip(field).take_while(|(one, other)| one == other).count();
    match field.len().checked_sub(found.len()) {
        Some(0) => same < field.len() && found[same + 1..] == field[same + 1..],
        Some(1) => same < found.len() && found[same + 1..] == field[same + 2..],
        Some(_) | None => false,
    }
}

fn read_rows(fields: &Fields<'_>, chunk: Option<Chunk>) -> Result<Position, WireError> {
    Ok(Position::RdbSnapshotRows(RdbSnapshotRows {
        db_type: fields.db_type()?,
        table: fields.table()?,
        chunk,
        rows: fields.unsigned("rows")?,
        lineage: fields.lineage()?,
    }))
}

fn read_finished(fields: &Fields<'_>, chunk: Option<Chunk>) -> Result<Position, WireError> {
    Ok(Position::RdbSnapshotFinished(RdbSnapshotFinished {
        db_type: fields.db_type()?,
        table: fields.table()?,
        chunk,
        lineage: fields.lineage()?,
    }))
}

fn read_snapshot(fields: &Fields<'_>, chunk: Option<Chunk>) -> Result<Position, WireError> {
    let (db_type, table) = (fields.db_type()?, fields.table()?);
    let hex = fields.hex_columns()?;
    let Some(key) = read_key(fields, &hex)? else {
        // `"order_key":null` of an older tool: a table in progress that no place is known of.
        return Ok(Position::None);
    };
    if hex.iter().any(|column| key.columns().all(|known| known != column)) {
        return Err(fields.wrong("hex", "a list of columns of the key"));
    }
    Ok(Position::RdbSnapshot(RdbSnapshot {
        db_type,
        table,
        chunk,
        key,
        null_keys_done: fields.flag("null_keys_done")?,
        lineage: fields.lineage()?,
    }))
}

fn read_key(fields: &Fields<'_>, hex: &[String]) -> Result<Option<OrderKey>, WireError> {
    let Some(order_key) = fields.fields.get("order_key") else {
        let column = fields.text("order_col")?;
        let value = read_value(fields, "value", fields.get("value")?, hex.contains(&column))?;
        return Ok(Some(OrderKey::single(column, value)));
    };
    const PAIRS: &str = "`single` with one pair or `composite` with pairs of a column and a value";
    let wrong = || fields.wrong("order_key", PAIRS);
    let pairs: Vec<&Value> = match order_key {
        Value::Null => return Ok(None),
        Value::Object(forms) => match (forms.get("single"), forms.get("composite")) {
            (Some(pair), None) => vec![pair],
            (None, Some(Value::Array(pairs))) => pairs.iter().collect(),
            _ => return Err(wrong()),
        },
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => return Err(wrong()),
    };
    let mut parts: Vec<KeyPart> = Vec::with_capacity(pairs.len());
    for pair in pairs {
        let Some([Value::String(column), value]) = pair.as_array().map(Vec::as_slice) else { return Err(wrong()) };
        if parts.iter().any(|part| part.column == *column) {
            return Err(fields.wrong("order_key", "a list in which each column occurs once"));
        }
        let value = read_value(fields, "order_key", value, hex.contains(column))?;
        parts.push(KeyPart { column: column.clone(), value });
    }
    OrderKey::new(parts).map(Some).ok_or_else(wrong)
}

fn read_value(fields: &Fields<'_>, field: &'static str, value: &Value, is_hex: bool) -> Result<KeyText, WireError> {
    match value {
        Value::Null => Ok(KeyText::Null),
        Value::String(text) if is_hex => {
            from_hex(text).map(KeyText::Bytes).ok_or_else(|| fields.wrong(field, "hex, as `hex` says it is"))
        }
        Value::String(text) => Ok(KeyText::Text(text.clone())),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(fields.wrong(field, "a value in quotes or null"))
        }
    }
}

/// The fields of one position, read with errors that name the type and the field.
struct Fields<'a> {
    kind: &'static str,
    fields: &'a Map<String, Value>,
}

impl Fields<'_> {
    fn wrong(&self, field: &'static str, expected: &'static str) -> WireError {
        WireError::WrongType { kind: self.kind, field, expected }
    }

    fn get(&self, field: &'static str) -> Result<&Value, WireError> {
        self.fields.get(field).ok_or(WireError::Missing { kind: self.kind, field })
    }

    fn text(&self, field: &'static str) -> Result<String, WireError> {
        self.get(field)?.as_str().map(str::to_owned).ok_or_else(|| self.wrong(field, "text"))
    }

    fn optional_text(&self, field: &'static str) -> Result<Option<String>, WireError> {
        self.fields.contains_key(field).then(|| self.text(field)).transpose()
    }

    fn unsigned(&self, field: &'static str) -> Result<u64, WireError> {
        self.get(field)?.as_u64().ok_or_else(|| self.wrong(field, "a whole number of 64 bits without a sign"))
    }

    fn optional_unsigned(&self, field: &'static str) -> Result<Option<u64>, WireError> {
        self.fields.contains_key(field).then(|| self.unsigned(field)).transpose()
    }

    fn signed(&self, field: &'static str) -> Result<i64, WireError> {
        self.get(field)?.as_i64().ok_or_else(|| self.wrong(field, "a whole number of 64 bits"))
    }

    fn flag(&self, field: &'static str) -> Result<bool, WireError> {
        self.fields
            .get(field)
            .map_or(Ok(false), |value| value.as_bool().ok_or_else(|| self.wrong(field, "true or false")))
    }

    fn db_type(&self) -> Result<DbType, WireError> {
        Ok(self.text("db_type")?.parse()?)
    }

    fn table(&self) -> Result<TableId, WireError> {
        Ok(TableId::new(self.text("schema")?, self.text("tb")?))
    }

    fn lineage(&self) -> Result<Lineage, WireError> {
        Ok(Lineage { source: self.optional_text("source")?, target: self.optional_text("target")? })
    }

    fn chunk(&self) -> Result<Chunk, WireError> {
        let split = SplitId::parse(&self.text("split")?);
        let no = u32::try_from(self.unsigned("chunk")?);
        Ok(Chunk {
            split: split.ok_or_else(|| self.wrong("split", "16 hexadecimal digits"))?,
            no: no.map_err(|_| self.wrong("chunk", "a whole number of 32 bits without a sign"))?,
        })
    }

    fn increment(&self) -> Result<Option<u32>, WireError> {
        let number = self.optional_unsigned("operation_increment")?.map(u32::try_from).transpose();
        number.map_err(|_| self.wrong("operation_increment", "a whole number of 32 bits without a sign"))
    }

    /// Both fields are there, or neither.
    fn origin(&self) -> Result<Option<PgOrigin>, WireError> {
        if !self.fields.contains_key("slot") && !self.fields.contains_key("timeline") {
            return Ok(None);
        }
        let timeline = u32::try_from(self.unsigned("timeline")?);
        let timeline = timeline.map_err(|_| self.wrong("timeline", "a whole number of 32 bits without a sign"))?;
        Ok(Some(PgOrigin { slot: self.text("slot")?, timeline }))
    }

    fn hex_columns(&self) -> Result<Vec<String>, WireError> {
        let Some(list) = self.fields.get("hex") else { return Ok(Vec::new()) };
        let columns = list.as_array().map(|columns| columns.iter().map(|column| column.as_str().map(str::to_owned)));
        columns.and_then(Iterator::collect).ok_or_else(|| self.wrong("hex", "a list of columns of the key"))
    }
}

/// Lower-case hex, two digits a byte.
pub fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)] as char).collect()
}

/// Reads hex of either case; `None` if it is not hex, or half a byte is missing.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests;
