//! The `applied_…` fields of a stream's positions: what the target has behind the place, and of whose changes.
//!
//! | fields | said by |
//! |---|---|
//! | `applied_changes`, `applied_filter` | one lane alone, in the midst of a transaction |
//! | and `applied_before` | all lanes ([`Share::All`]) |
//! | and `applied_lane`, `applied_lanes` | one lane of several |
//! | and `applied_schema`, `applied_tb`, `applied_by` | how a table is spread (`applied_by` absent: not at all) |

use serde::Serialize;

use super::{Fields, WireError};
use crate::ids::TableId;
use crate::position::{Behind, Counted, Share};

/// The form that is written.
#[derive(Default, Serialize)]
pub(super) struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_changes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_filter: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_lane: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_lanes: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_schema: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_tb: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    applied_by: Option<&'a [usize]>,
}

impl<'a> From<&'a Option<Behind>> for Written<'a> {
    fn from(behind: &'a Option<Behind>) -> Self {
        let Some(Behind { changes, filter, counted }) = behind else { return Written::default() };
        let written = Written { applied_changes: Some(*changes), applied_filter: Some(filter), ..Written::default() };
        let Some(counted) = counted else { return written };
        let Counted { before, share } = counted.as_ref();
        let written = Written { applied_before: Some(*before), ..written };
        match share {
            Share::All => written,
            Share::Lane { no, of } => Written { applied_lane: Some(*no), applied_lanes: Some(*of), ..written },
            Share::Table { table, by } => Written {
                applied_schema: Some(&table.schema),
                applied_tb: Some(&table.table),
                applied_by: by.as_deref(),
                ..written
            },
        }
    }
}

/// Reads them: all fields of a row of the table above are there, or none.
pub(super) fn read(fields: &Fields<'_>) -> Result<Option<Behind>, WireError> {
    if !fields.fields.contains_key("applied_changes") {
        return Ok(None);
    }
    let (changes, filter) = (fields.unsigned("applied_changes")?, fields.text("applied_filter")?);
    let counted = match fields.optional_unsigned("applied_before")? {
        Some(before) => Some(Box::new(Counted { before, share: share(fields)? })),
        None => None,
    };
    if counted.as_ref().is_some_and(|counted| counted.before.checked_add(changes).is_none()) {
        return Err(fields.wrong("applied_before", "a number that leaves room for applied_changes"));
    }
    Ok((changes > 0 || counted.is_some()).then_some(Behind { changes, filter, counted }))
}

fn share(fields: &Fields<'_>) -> Result<Share, WireError> {
    let has = |field: &str| fields.fields.contains_key(field);
    if has("applied_lane") || has("applied_lanes") {
        let number = |field: &'static str| {
            let number = u32::try_from(fields.unsigned(field)?);
            number.map_err(|_| fields.wrong(field, "a whole number of 32 bits without a sign"))
        };
        let (no, of) = (number("applied_lane")?, number("applied_lanes")?);
        if no >= of {
            return Err(fields.wrong("applied_lane", "a number below applied_lanes"));
        }
        return Ok(Share::Lane { no, of });
    }
    if has("applied_schema") || has("applied_tb") {
        let table = TableId::new(fields.text("applied_schema")?, fields.text("applied_tb")?);
        return Ok(Share::Table { table, by: by(fields)? });
    }
    Ok(Share::All)
}

fn by(fields: &Fields<'_>) -> Result<Option<Vec<usize>>, WireError> {
    let Some(by) = fields.fields.get("applied_by") else { return Ok(None) };
    let place = |place: &serde_json::Value| place.as_u64().and_then(|place| usize::try_from(place).ok());
    let by: Option<Vec<usize>> = by.as_array().and_then(|places| places.iter().map(place).collect());
    by.map(Some).ok_or_else(|| fields.wrong("applied_by", "a list of whole numbers"))
}
