//! The statements by which changes are applied. Pure.
//!
//! A key is compared as `column = literal`: the literal takes the column's own character set and collation, for it is
//! the more coercible of the two, so that the key's index is used. A row without a key is compared value by value with
//! `<=>`, and text by its bytes: `'a'` is not to take the place of `'A '`.

use dt_common::schema::{Column, RoutedTable};

use super::super::check;
use super::super::statement::{Duplicates, Literal, WritePlan};
use super::fold::KeyPlaces;
use super::steps::By;
use crate::catalog::CatalogColumn;
use crate::rows;
use crate::sql;
use crate::value::{self, Kind, Typed};

/// The most keys of one DELETE: an optimizer gives up an index where the list takes too much of its memory (about 230
/// bytes a value of 8 MiB), and a longer list saves nothing.
const DELETE_KEYS_MAX: usize = 1000;

/// How changes of one table, as it was at one moment, are applied.
#[derive(Clone, Debug)]
pub struct ChangePlan {
    write: WritePlan,
    into: String,
    columns: Vec<ColumnPlan>,
    key: Option<KeyPlaces>,
}

/// One column.
#[derive(Clone, Debug)]
struct ColumnPlan {
    name: String,
    literal: Literal,
    equal: Equal,
    // Equality of texts by their bytes uses no index; where there may be one, equality by collation goes before it.
    indexable: bool,
}

/// How a value of the source is found equal to one of the target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Equal {
    /// As the literal that is written.
    Literal,
    /// A double: the target's FLOAT is widened, its text would have lost digits.
    Double,
    /// A DOUBLE(m,d): the server does not keep the number nearest to the d digits that it shows.
    Rounded { digits: u64 },
    /// BIT(n), as a number.
    Number,
    /// Text by its bytes in this character set.
    Bytes { charset: String },
    /// A JSON value.
    Json,
    /// Spatial types and vectors, by their bytes.
    Hex,
}

impl ChangePlan {
    /// Plans a table; `target` are the target's columns.
    pub fn new(table: &RoutedTable, target: &[CatalogColumn], duplicates: Duplicates) -> Self {
        let columns = table.source.columns.iter().zip(&table.target_columns).map(|(source, name)| {
            let there = target.iter().find(|column| column.column.name.eq_ignore_ascii_case(name));
            let (equal, indexable) = equality(source, there.map(|column| &column.column));
            ColumnPlan { name: sql::name(name), literal: Literal::of(source), equal, indexable }
        });
        ChangePlan {
            write: WritePlan::new(table, target, duplicates),
            into: sql::table(&table.target),
            columns: columns.collect(),
            key: table.source.key.as_ref().map(|key| KeyPlaces::new(key.columns.clone())),
        }
    }

    /// The key, if the source's table has one.
    pub fn key(&self) -> Option<&KeyPlaces> {
        self.key.as_ref()
    }

    /// How rows are written.
    pub fn write(&self) -> &WritePlan {
        &self.write
    }

    /// One DELETE of the first of `rows` (at least one) by their keys, of about `bytes_max` bytes at most. Returns how
    /// many it takes.
    pub fn delete_keys(&self, rows: &[&[u8]], bytes_max: usize) -> (Vec<u8>, usize) {
        let places = self.key_places();
        let compared: Vec<String> = places.iter().map(|&at| self.columns[at].key()).collect();
        let (left, open, close) = match compared.as_slice() {
            [one] => (one.clone(), "", ""),
            several => (format!("({})", several.join(",")), "(", ")"),
        };
        let mut out = format!("DELETE FROM {} WHERE {left} IN (", self.into).into_bytes();
        let mut count = 0;
        for row in rows {
            let mut text = if count > 0 { vec![b','] } else { Vec::new() };
            text.extend_from_slice(open.as_bytes());
            for (nth, (at, value)) in self.key_values(row).into_iter().enumerate() {
                if nth > 0 {
                    text.push(b',');
                }
                self.columns[at].push_key(&mut text, &value);
            }
            text.extend_from_slice(close.as_bytes());
            if count > 0 && (count == DELETE_KEYS_MAX || out.len() + text.len() > bytes_max) {
                break;
            }
            out.extend_from_slice(&text);
            count += 1;
        }
        out.push(b')');
        (out, count)
    }

    /// The DELETE of one row.
    pub fn delete_row(&self, before: &[u8], by: By) -> Vec<u8> {
        let mut out = format!("DELETE FROM {} WHERE ", self.into).into_bytes();
        self.push_condition(&mut out, before, by);
        out
    }

    /// The UPDATE of one row.
    pub fn update_row(&self, before: &[u8], after: &[u8], by: By) -> Vec<u8> {
        let mut out = format!("UPDATE {} SET ", self.into).into_bytes();
        for (at, (column, value)) in self.columns.iter().zip(rows::values(after)).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(column.name.as_bytes());
            out.push(b'=');
            column.literal.push(&mut out, value.as_deref());
        }
        out.extend_from_slice(b" WHERE ");
        self.push_condition(&mut out, before, by);
        out
    }

    fn push_condition(&self, out: &mut Vec<u8>, row: &[u8], by: By) {
        match by {
            By::Key => {
                for (nth, (at, value)) in self.key_values(row).into_iter().enumerate() {
                    if nth > 0 {
                        out.extend_from_slice(b" AND ");
                    }
                    out.extend_from_slice(self.columns[at].key().as_bytes());
                    out.push(b'=');
                    self.columns[at].push_key(out, &value);
                }
            }
            By::Image => {
                for (at, (column, value)) in self.columns.iter().zip(rows::values(row)).enumerate() {
                    if at > 0 {
                        out.extend_from_slice(b" AND ");
                    }
                    column.push_equal(out, value.as_deref());
                }
                out.extend_from_slice(b" LIMIT 1");
            }
        }
    }

    fn key_places(&self) -> &[usize] {
        self.key.as_ref().expect("changes: a row of a table without a key, by its key").places()
    }

    /// The key's columns, each with the row's value.
    fn key_values(&self, row: &[u8]) -> Vec<(usize, Vec<u8>)> {
        let places = self.key_places();
        let last = places.iter().max().map_or(0, |last| last + 1);
        let values: Vec<_> = rows::values(row).take(last).collect();
        let value = |&at: &usize| {
            let value = values.get(at).and_then(Option::as_deref).expect("changes: a null in a key that folds");
            (at, value.to_vec())
        };
        places.iter().map(value).collect()
    }
}

impl ColumnPlan {
    /// The expression that is compared as a part of a key: the column itself, by whose index the row is found.
    fn key(&self) -> String {
        match &self.equal {
            Equal::Rounded { digits } => format!("ROUND({},{digits})", self.name),
            Equal::Literal | Equal::Double | Equal::Number | Equal::Bytes { .. } | Equal::Json | Equal::Hex => {
                self.name.clone()
            }
        }
    }

    /// Appends the literal that the column is compared with as a part of a key.
    fn push_key(&self, out: &mut Vec<u8>, value: &[u8]) {
        match &self.equal {
            Equal::Double => push_double(out, value),
            Equal::Rounded { digits } => push_rounded(out, value, *digits),
            Equal::Number => push_number(out, value),
            Equal::Literal | Equal::Bytes { .. } | Equal::Json | Equal::Hex => self.literal.push(out, Some(value)),
        }
    }

    /// Appends the condition that the column has exactly this value.
    fn push_equal(&self, out: &mut Vec<u8>, value: Option<&[u8]>) {
        let name = self.name.as_bytes();
        let Some(value) = value else {
            out.extend_from_slice(name);
            out.extend_from_slice(b" IS NULL");
            return;
        };
        match &self.equal {
            Equal::Literal => {
                out.extend_from_slice(name);
                out.extend_from_slice(b"<=>");
                self.literal.push(out, Some(value));
            }
            Equal::Double => {
                out.extend_from_slice(name);
                out.extend_from_slice(b"+0e0<=>");
                push_double(out, value);
            }
            Equal::Rounded { digits } => {
                out.extend_from_slice(self.key().as_bytes());
                out.extend_from_slice(b"<=>");
                push_rounded(out, value, *digits);
            }
            Equal::Number => {
                out.extend_from_slice(name);
                out.extend_from_slice(b"<=>");
                push_number(out, value);
            }
            Equal::Bytes { charset } => {
                if self.indexable {
                    out.extend_from_slice(name);
                    out.extend_from_slice(b"<=>");
                    self.literal.push(out, Some(value));
                    out.extend_from_slice(b" AND ");
                }
                out.extend_from_slice(b"CAST(CONVERT(");
                out.extend_from_slice(name);
                out.extend_from_slice(b" USING ");
                out.extend_from_slice(charset.as_bytes());
                out.extend_from_slice(b") AS BINARY)<=>");
                sql::push_hex(out, value);
            }
            Equal::Json => {
                out.extend_from_slice(name);
                out.extend_from_slice(b"<=>CAST(");
                self.literal.push(out, Some(value));
                out.extend_from_slice(b" AS JSON)");
            }
            Equal::Hex => {
                out.extend_from_slice(b"HEX(");
                out.extend_from_slice(name);
                out.extend_from_slice(b")<=>");
                sql::push_string(out, sql::hex(value).to_ascii_uppercase().as_bytes());
            }
        }
    }
}

/// A double's text as a double, not as a decimal number.
fn push_double(out: &mut Vec<u8>, value: &[u8]) {
    out.extend_from_slice(value);
    if !value.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        out.extend_from_slice(b"e0");
    }
}

fn push_rounded(out: &mut Vec<u8>, value: &[u8], digits: u64) {
    out.extend_from_slice(b"ROUND(");
    push_double(out, value);
    out.extend_from_slice(format!(",{digits})").as_bytes());
}

/// The number that a BIT's big-endian bytes, at most eight, are.
fn push_number(out: &mut Vec<u8>, value: &[u8]) {
    let number = value.iter().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    out.extend_from_slice(number.to_string().as_bytes());
}

/// How the source's values are compared with the target's column, and whether text may be found by an index.
fn equality(source: &Column, target: Option<&Column>) -> (Equal, bool) {
    let Some(typed) = Typed::new(source) else { return (Equal::Literal, false) };
    let there = target.unwrap_or(source);
    // The target decides: MySQL's JSON may go to MariaDB's, which is text, and an ENUM to a VARCHAR.
    let kind = value::kind(&there.data_type).unwrap_or(typed.kind);
    match kind {
        Kind::Double if there.data_type.contains(',') => {
            (Equal::Rounded { digits: check::scale(&there.data_type) }, false)
        }
        Kind::Float | Kind::Double => (Equal::Double, false),
        Kind::Bit => (Equal::Number, false),
        Kind::Json => (Equal::Json, false),
        Kind::Geometry | Kind::Vector => (Equal::Hex, false),
        Kind::Text => {
            let charset = match typed.kind {
                Kind::Text | Kind::Enum | Kind::Set => source.charset.clone(),
                Kind::Integer
                | Kind::Decimal
                | Kind::Float
                | Kind::Double
                | Kind::Bit
                | Kind::Year
                | Kind::Temporal
                | Kind::Binary
                | Kind::Json
                | Kind::Geometry
                | Kind::Vector
                | Kind::Special => None,
            };
            let indexable = there.data_type.starts_with("char") || there.data_type.starts_with("varchar");
            (Equal::Bytes { charset: charset.unwrap_or_else(|| "utf8mb4".to_owned()) }, indexable)
        }
        Kind::Integer
        | Kind::Decimal
        | Kind::Year
        | Kind::Temporal
        | Kind::Binary
        | Kind::Enum
        | Kind::Set
        | Kind::Special => (Equal::Literal, false),
    }
}

#[cfg(test)]
mod tests;
