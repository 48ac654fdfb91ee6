//! The keys at which a table is split: `"cols":["a","b"],"bounds":[["1","x"],["2",{"hex":"ff"}]]`.

use serde::Serialize;
use serde_json::Value;

use super::{Fields, WireError, from_hex, to_hex};
use crate::position::{KeyPart, KeyText, OrderKey};

/// The written form. The columns' names are said once.
#[derive(Serialize)]
pub(super) struct Written<'a> {
    cols: Vec<&'a str>,
    bounds: Vec<Vec<WrittenValue<'a>>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum WrittenValue<'a> {
    Null,
    Text(&'a str),
    Bytes { hex: String },
}

impl<'a> From<&'a [OrderKey]> for Written<'a> {
    fn from(bounds: &'a [OrderKey]) -> Self {
        Written {
            cols: bounds.first().map(|bound| bound.columns().collect()).unwrap_or_default(),
            bounds: bounds
                .iter()
                .map(|bound| bound.parts().iter().map(|part| written(&part.value)).collect())
                .collect(),
        }
    }
}

fn written(value: &KeyText) -> WrittenValue<'_> {
    match value {
        KeyText::Null => WrittenValue::Null,
        KeyText::Text(text) => WrittenValue::Text(text),
        KeyText::Bytes(bytes) => WrittenValue::Bytes { hex: to_hex(bytes) },
    }
}

pub(super) fn read(fields: &Fields<'_>) -> Result<Vec<OrderKey>, WireError> {
    let cols = fields.get("cols")?.as_array().map(|cols| cols.iter().map(Value::as_str).collect::<Option<Vec<_>>>());
    let cols = cols.flatten().ok_or_else(|| fields.wrong("cols", "a list of columns"))?;
    let wrong = || fields.wrong("bounds", "a list of keys, each a list with a value for each of `cols`");
    let bounds = fields.get("bounds")?.as_array().ok_or_else(wrong)?;
    let key = |bound: &Value| {
        let values = bound.as_array().filter(|values| values.len() == cols.len())?;
        let parts = cols
            .iter()
            .zip(values)
            .map(|(column, value)| Some(KeyPart { column: (*column).to_owned(), value: read_value(value)? }));
        OrderKey::new(parts.collect::<Option<Vec<_>>>()?)
    };
    bounds.iter().map(|bound| key(bound).ok_or_else(wrong)).collect()
}

// A null is no place that a table could be split at.
fn read_value(value: &Value) -> Option<KeyText> {
    match value {
        Value::String(text) => Some(KeyText::Text(text.clone())),
        Value::Object(fields) => from_hex(fields.get("hex")?.as_str()?).map(KeyText::Bytes),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}
