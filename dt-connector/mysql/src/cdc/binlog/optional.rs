//! What a server says of a table's columns besides their types: fields of a type, a length and a value, all of which
//! may be missing (`binlog_row_metadata`).

use super::error::BadEvent;
use super::input::Input;
use super::kind::{self, ENUM, GEOMETRY, SET, VECTOR};
use super::table_map::{KeyPart, TableMap};

/// Adds the fields that follow to a table's map.
pub(super) fn parse(mut map: TableMap, mut input: Input<'_>, mariadb: bool) -> Result<TableMap, BadEvent> {
    // MariaDB counts among the columns of text all that have a character set inside the server, places too.
    let is_text: fn(u8) -> bool = if mariadb { |kind| kind::is_text(kind) || kind == GEOMETRY } else { kind::is_text };
    while !input.is_empty() {
        let field = input.u8()?;
        let length = input.lenenc()?;
        let mut value = input.part(length)?;
        let count = map.columns.len();
        match field {
            1 => {
                let mut unsigned = vec![false; count];
                bits(&mut value, &ordinals(&map, kind::has_sign), &mut unsigned)?;
                map.unsigned = Some(unsigned);
            }
            2 => default_collation(&mut map, &mut value, is_text)?,
            3 => collations(&mut map, &mut value, is_text)?,
            4 => {
                let mut names = Vec::with_capacity(count);
                while !value.is_empty() {
                    let length = value.lenenc()?;
                    names.push(value.text(length)?);
                }
                if names.len() != count {
                    return Err(value.malformed("another number of names than of columns"));
                }
                map.names = Some(names);
            }
            5 => map.set_values = Some(labels(&map, &mut value, SET)?),
            6 => map.enum_values = Some(labels(&map, &mut value, ENUM)?),
            7 => {
                for column in ordinals(&map, |kind| kind == GEOMETRY) {
                    map.geometry_types[column] = Some(value.lenenc()?);
                }
            }
            8 | 9 => map.primary_key = Some(primary_key(&mut value, count, field == 9)?),
            10 => default_collation(&mut map, &mut value, has_labels)?,
            11 => collations(&mut map, &mut value, has_labels)?,
            12 => {
                let mut visible = vec![false; count];
                bits(&mut value, &ordinals(&map, |_| true), &mut visible)?;
                map.visible = Some(visible);
            }
            13 => {
                for column in ordinals(&map, |kind| kind == VECTOR) {
                    map.dimensions[column] = Some(value.lenenc()?);
                }
            }
            // The fields are there to be passed over by readers that don't know them: they change nothing about how
            // rows are written.
            _ => drop(value.rest()),
        }
        value.end()?;
    }
    Ok(map)
}

fn has_labels(kind: u8) -> bool {
    matches!(kind, ENUM | SET)
}

/// The columns that a field is about, in order.
fn ordinals(map: &TableMap, about: impl Fn(u8) -> bool) -> Vec<usize> {
    map.columns.iter().enumerate().filter(|(_, column)| about(column.kind)).map(|(at, _)| at).collect()
}

/// A bit for each of `columns`, the first one in the highest bit of the first byte.
fn bits(value: &mut Input<'_>, columns: &[usize], into: &mut [bool]) -> Result<(), BadEvent> {
    let bits = value.take(columns.len().div_ceil(8))?;
    for (at, column) in columns.iter().enumerate() {
        into[*column] = bits[at / 8] << (at % 8) & 0x80 != 0;
    }
    Ok(())
}

/// The collation of most columns, and the others by their place among those that the field is about.
fn default_collation(map: &mut TableMap, value: &mut Input<'_>, about: fn(u8) -> bool) -> Result<(), BadEvent> {
    let columns = ordinals(map, about);
    let default = value.lenenc()?;
    for column in &columns {
        map.collations[*column] = Some(default);
    }
    while !value.is_empty() {
        let place = usize::try_from(value.lenenc()?).ok();
        let column = place.and_then(|place| columns.get(place));
        let column = column.ok_or_else(|| value.malformed("the collation of a column that is not there"))?;
        map.collations[*column] = Some(value.lenenc()?);
    }
    Ok(())
}

/// The collation of each column that the field is about.
fn collations(map: &mut TableMap, value: &mut Input<'_>, about: fn(u8) -> bool) -> Result<(), BadEvent> {
    for column in ordinals(map, about) {
        map.collations[column] = Some(value.lenenc()?);
    }
    Ok(())
}

fn labels(map: &TableMap, value: &mut Input<'_>, of: u8) -> Result<Vec<Vec<Vec<u8>>>, BadEvent> {
    let mut all = vec![Vec::new(); map.columns.len()];
    for column in ordinals(map, |kind| kind == of) {
        for _ in 0..value.count(1)? {
            let length = value.lenenc()?;
            all[column].push(value.take_u64(length)?.to_vec());
        }
    }
    Ok(all)
}

fn primary_key(value: &mut Input<'_>, columns: usize, with_prefixes: bool) -> Result<Vec<KeyPart>, BadEvent> {
    let mut parts = Vec::new();
    while !value.is_empty() {
        let column = usize::try_from(value.lenenc()?).ok().filter(|column| *column < columns);
        let column = column.ok_or_else(|| value.malformed("a key's column that is not there"))?;
        let prefix = if with_prefixes { Some(value.lenenc()?).filter(|length| *length > 0) } else { None };
        parts.push(KeyPart { column, prefix });
    }
    Ok(parts)
}
