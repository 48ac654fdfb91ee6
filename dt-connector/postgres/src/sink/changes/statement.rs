//! The statements by which changes are applied. Pure.
//!
//! A key is compared with the operator of the target's index on it, so that the index is used. A row without a key is
//! found by all of its values, each compared by its text as well: `1.0` is not to take the place of `1.00`.

use dt_common::schema::RoutedTable;

use super::super::check::Found;
use super::super::statement::{Duplicates, WritePlan};
use super::key::{KeyPlaces, fields};
use super::literal;
use crate::catalog::CatalogColumn;
use crate::cdc::image::UNSAID;
use crate::sql;
use dt_connector::RowFormat;

/// How changes of one table, as it was at one moment, are applied.
#[derive(Clone, Debug)]
pub struct ChangePlan {
    /// How many rows are written at once.
    pub write: WritePlan,
    into: String,
    // With ONLY, unless the table is partitioned.
    from: String,
    columns: Vec<ColumnPlan>,
    key: Option<KeyPlaces>,
    // Behind the VALUES of an INSERT.
    on_conflict: String,
}

/// One column.
#[derive(Clone, Debug)]
struct ColumnPlan {
    name: String,
    // What a literal is cast to, where nothing else says its type.
    cast: String,
    // The operator of the target's index, for a column of a key.
    equal: String,
    image: Image,
    // GENERATED ALWAYS AS IDENTITY: the server takes no UPDATE of it.
    is_fixed: bool,
}

/// How a value is found among rows without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Image {
    /// Equal values have equal texts.
    Value,
    /// By its text, and before that by its value, for which there may be an index.
    ValueAndText,
    /// By its text alone: the type knows no equality.
    Text,
}

impl ChangePlan {
    /// Plans a table; `number` tells its temporary table from others'.
    pub fn new(table: &RoutedTable, found: &Found, duplicates: Duplicates, number: usize) -> Self {
        let there = found.columns(&table.target);
        let is_partitioned = found.relation(&table.target).is_some_and(|relation| relation.kind == 'p');
        let into = sql::table(&table.target);
        let columns = table.source.columns.iter().zip(&table.target_columns).map(|(source, name)| {
            let column = there.iter().find(|column| column.column.name == *name);
            ColumnPlan {
                name: sql::name(name),
                cast: column.map_or_else(|| source.data_type.clone(), |column| column.cast.clone()),
                equal: equal(found, table, name),
                image: column.map_or(Image::Text, image),
                is_fixed: column.is_some_and(|column| column.identity_always),
            }
        });
        ChangePlan {
            write: WritePlan::new(table, found, RowFormat::PgText, duplicates, number),
            from: if is_partitioned { into.clone() } else { format!("ONLY {into}") },
            columns: columns.collect(),
            key: table.source.key.as_ref().map(|key| KeyPlaces::new(key.columns.clone())),
            on_conflict: on_conflict(table, found, duplicates),
            into,
        }
    }

    /// The key, if the source's table has one.
    pub fn key(&self) -> Option<&KeyPlaces> {
        self.key.as_ref()
    }

    fn places(&self) -> &[usize] {
        self.key.as_ref().map_or(&[], KeyPlaces::places)
    }

    /// One DELETE of the first of `rows` (at least one) by their keys, of about `bytes_max` bytes at most. Returns how
    /// many it takes.
    pub fn delete_keys(&self, rows: &[&[u8]], bytes_max: usize) -> (Vec<u8>, usize) {
        let count = fitting(rows.iter().map(|row| row.len().min(256)), bytes_max);
        let rows = &rows[..count];
        let mut out = Vec::new();
        match self.places() {
            // An array's elements cannot be arrays.
            [at] if !self.columns[*at].cast.ends_with("[]") => {
                let column = &self.columns[*at];
                out.extend_from_slice(
                    format!("DELETE FROM {} WHERE {} {} ANY (", self.from, column.name, column.equal).as_bytes(),
                );
                literal::push_array(&mut out, rows.iter().filter_map(|row| fields(row).nth(*at)));
                out.extend_from_slice(format!("::{}[])", column.cast).as_bytes());
            }
            places => {
                out.extend_from_slice(format!("DELETE FROM {} AS t USING (VALUES ", self.from).as_bytes());
                self.push_values(&mut out, rows.iter().copied(), places);
                out.extend_from_slice(b") AS k(");
                push_names(&mut out, places.len());
                out.extend_from_slice(b") WHERE ");
                self.push_join(&mut out, places);
            }
        }
        (out, count)
    }

    /// One INSERT of the first of `rows` (at least one), of about `bytes_max` bytes at most. Returns how many it takes.
    pub fn insert(&self, rows: &[impl AsRef<[u8]>], bytes_max: usize) -> (Vec<u8>, usize) {
        let count = fitting(rows.iter().map(|row| row.as_ref().len()), bytes_max);
        let mut out = format!("INSERT INTO {} (", self.into).into_bytes();
        for (at, column) in self.columns.iter().enumerate() {
            push_comma(&mut out, at);
            out.extend_from_slice(column.name.as_bytes());
        }
        out.extend_from_slice(b") OVERRIDING SYSTEM VALUE VALUES ");
        for (nth, row) in rows[..count].iter().enumerate() {
            push_comma(&mut out, nth);
            out.push(b'(');
            for (at, field) in fields(row.as_ref()).enumerate() {
                push_comma(&mut out, at);
                literal::push(&mut out, field);
            }
            out.push(b')');
        }
        out.extend_from_slice(self.on_conflict.as_bytes());
        (out, count)
    }

    /// One UPDATE of the first of `rows` (at least one) by their keys, of all columns but the key's and those that are
    /// kept. Returns how many it takes; `None` if no column is left.
    pub fn patch(&self, rows: &[impl AsRef<[u8]>], kept: &[usize], bytes_max: usize) -> (Option<Vec<u8>>, usize) {
        let count = fitting(rows.iter().map(|row| row.as_ref().len()), bytes_max);
        let key = self.places();
        let is_set = |at: &usize| !kept.contains(at) && !key.contains(at) && !self.columns[*at].is_fixed;
        let set: Vec<usize> = (0..self.columns.len()).filter(is_set).collect();
        if set.is_empty() {
            return (None, count);
        }
        let mut out = format!("UPDATE {} AS t SET ", self.from).into_bytes();
        for (nth, &at) in set.iter().enumerate() {
            push_comma(&mut out, nth);
            out.extend_from_slice(format!("{} = k.c{}", self.columns[at].name, key.len() + nth).as_bytes());
        }
        out.extend_from_slice(b" FROM (VALUES ");
        let places: Vec<usize> = key.iter().chain(&set).copied().collect();
        self.push_values(&mut out, rows[..count].iter().map(AsRef::as_ref), &places);
        out.extend_from_slice(b") AS k(");
        push_names(&mut out, places.len());
        out.extend_from_slice(b") WHERE ");
        self.push_join(&mut out, key);
        (Some(out), count)
    }

    /// The statement that gives a row another key, and the new values as far as they are said. Where a row has that key
    /// already, the target is ahead and the row has moved: then that one gets the values, and none is left behind.
    pub fn move_row(&self, before: &[u8], after: &[u8]) -> Vec<u8> {
        let mut there = Vec::new();
        self.push_key(&mut there, after);
        let mut gone = Vec::new();
        self.push_key(&mut gone, before);
        let mut set = Vec::new();
        self.push_set(&mut set, after);
        [
            format!("WITH there AS (UPDATE {} AS t SET ", self.from).as_bytes(),
            &set,
            b" WHERE ",
            &there,
            format!(" RETURNING 1), gone AS (DELETE FROM {} AS t WHERE ", self.from).as_bytes(),
            &gone,
            format!(" AND EXISTS (SELECT FROM there)) UPDATE {} AS t SET ", self.from).as_bytes(),
            &set,
            b" WHERE ",
            &gone,
            b" AND NOT EXISTS (SELECT FROM there)",
        ]
        .concat()
    }

    /// The DELETE of one of the rows with these values.
    pub fn delete_row(&self, before: &[u8]) -> Vec<u8> {
        let mut out = format!("DELETE FROM {} AS t USING ", self.from).into_bytes();
        self.push_one(&mut out, before);
        out
    }

    /// The UPDATE of one of the rows with these values.
    pub fn update_row(&self, before: &[u8], after: &[u8]) -> Vec<u8> {
        let mut out = format!("UPDATE {} AS t SET ", self.from).into_bytes();
        self.push_set(&mut out, after);
        out.extend_from_slice(b" FROM ");
        self.push_one(&mut out, before);
        out
    }

    /// The table's name in a TRUNCATE.
    pub fn truncated(&self) -> &str {
        &self.from
    }

    fn push_set(&self, out: &mut Vec<u8>, after: &[u8]) {
        let said =
            self.columns.iter().zip(fields(after)).filter(|(column, field)| *field != UNSAID && !column.is_fixed);
        for (nth, (column, field)) in said.enumerate() {
            push_comma(out, nth);
            out.extend_from_slice(column.name.as_bytes());
            out.extend_from_slice(b" = ");
            literal::push(out, field);
        }
    }

    /// `(SELECT … LIMIT 1) AS s WHERE …`: one row of those that have all these values.
    fn push_one(&self, out: &mut Vec<u8>, row: &[u8]) {
        out.extend_from_slice(
            format!("(SELECT t.tableoid AS o, t.ctid AS c FROM {} AS t WHERE ", self.from).as_bytes(),
        );
        let said = self.columns.iter().zip(fields(row)).filter(|(_, field)| *field != UNSAID);
        for (nth, (column, field)) in said.enumerate() {
            if nth > 0 {
                out.extend_from_slice(b" AND ");
            }
            column.push_image(out, field);
        }
        out.extend_from_slice(b" LIMIT 1) AS s WHERE t.tableoid = s.o AND t.ctid = s.c");
    }

    fn push_key(&self, out: &mut Vec<u8>, row: &[u8]) {
        for (nth, &at) in self.places().iter().enumerate() {
            if nth > 0 {
                out.extend_from_slice(b" AND ");
            }
            let column = &self.columns[at];
            out.extend_from_slice(format!("t.{} {} ", column.name, column.equal).as_bytes());
            literal::push(out, fields(row).nth(at).unwrap_or(b"\\N"));
            out.extend_from_slice(format!("::{}", column.cast).as_bytes());
        }
    }

    fn push_join(&self, out: &mut Vec<u8>, places: &[usize]) {
        for (nth, &at) in places.iter().enumerate() {
            if nth > 0 {
                out.extend_from_slice(b" AND ");
            }
            let column = &self.columns[at];
            out.extend_from_slice(format!("t.{} {} k.c{nth}", column.name, column.equal).as_bytes());
        }
    }

    /// The rows of a VALUES list; the first says the types.
    fn push_values<'r>(&self, out: &mut Vec<u8>, rows: impl Iterator<Item = &'r [u8]>, places: &[usize]) {
        for (nth, row) in rows.enumerate() {
            push_comma(out, nth);
            out.push(b'(');
            let values: Vec<&[u8]> = fields(row).collect();
            for (at, &place) in places.iter().enumerate() {
                push_comma(out, at);
                literal::push(out, values[place]);
                if nth == 0 {
                    out.extend_from_slice(format!("::{}", self.columns[place].cast).as_bytes());
                }
            }
            out.push(b')');
        }
    }
}

impl ColumnPlan {
    /// Appends the condition that the column has exactly this value.
    fn push_image(&self, out: &mut Vec<u8>, field: &[u8]) {
        let (name, cast) = (&self.name, &self.cast);
        if field == b"\\N" {
            out.extend_from_slice(format!("t.{name} IS NULL").as_bytes());
            return;
        }
        let mut value = Vec::new();
        literal::push(&mut value, field);
        let by_value = [format!("t.{name} = ").as_bytes(), &value, format!("::{cast}").as_bytes()].concat();
        let by_text =
            [format!("t.{name}::text COLLATE \"C\" = (").as_bytes(), &value, format!("::{cast})::text").as_bytes()]
                .concat();
        match self.image {
            Image::Value => out.extend_from_slice(&by_value),
            Image::ValueAndText => out.extend_from_slice(&[&by_value, &b" AND "[..], &by_text].concat()),
            Image::Text => out.extend_from_slice(&by_text),
        }
    }
}

fn push_comma(out: &mut Vec<u8>, nth: usize) {
    if nth > 0 {
        out.push(b',');
    }
}

/// `c0,c1`
fn push_names(out: &mut Vec<u8>, count: usize) {
    for at in 0..count {
        push_comma(out, at);
        out.extend_from_slice(format!("c{at}").as_bytes());
    }
}

/// How many of the first rows fit, at least one.
fn fitting(sizes: impl Iterator<Item = usize>, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let count = sizes.take_while(|size| {
        bytes += size + 16;
        bytes <= bytes_max
    });
    count.count().max(1)
}

/// The operator of an index of the target on the column; the type's own `=` where it has none.
fn equal(found: &Found, table: &RoutedTable, name: &str) -> String {
    let columns = found.indexes(&table.target).iter().flat_map(|index| &index.columns);
    let operator = columns
        .filter(|column| column.name.as_deref() == Some(name))
        .map(|column| column.operators.equal.as_str())
        .find(|operator| !operator.is_empty());
    match operator.map(|operator| operator.strip_prefix("pg_catalog.").ok_or(operator)) {
        Some(Ok(plain)) => plain.to_owned(),
        Some(Err(qualified)) => format!("OPERATOR({qualified})"),
        None => "=".to_owned(),
    }
}

fn image(column: &CatalogColumn) -> Image {
    match column.type_name.as_str() {
        "int2" | "int4" | "int8" | "oid" | "bool" | "uuid" | "date" | "timestamp" | "timestamptz" | "time"
        | "bytea" | "name" | "macaddr" | "macaddr8" | "pg_lsn" | "money" => Image::Value,
        "text" | "varchar" | "bpchar" | "numeric" | "float4" | "float8" | "interval" | "timetz" | "inet" | "cidr"
        | "jsonb" | "bit" | "varbit" => Image::ValueAndText,
        _ => Image::Text,
    }
}

/// What an INSERT does about a row whose key is there.
fn on_conflict(table: &RoutedTable, found: &Found, duplicates: Duplicates) -> String {
    match duplicates {
        Duplicates::Refuse => return String::new(),
        Duplicates::Leave => return " ON CONFLICT DO NOTHING".to_owned(),
        Duplicates::Replace | Duplicates::Update => {}
    }
    let key = super::super::check::key_on_target(table);
    let within = found.indexes(&table.target).iter().filter(|index| {
        index.usable
            && index.columns.iter().all(|column| column.name.as_deref().is_some_and(|name| key.contains(&name)))
    });
    let Some(index) = within.min_by_key(|index| (!index.primary, index.columns.len())) else { return String::new() };
    let arbiter: Vec<&str> = index.columns.iter().filter_map(|column| column.name.as_deref()).collect();
    let columns = found.columns(&table.target);
    let is_fixed = |name: &str| columns.iter().any(|column| column.column.name == name && column.identity_always);
    let set: Vec<String> = table
        .target_columns
        .iter()
        .filter(|name| !arbiter.contains(&name.as_str()) && !is_fixed(name))
        .map(|name| format!("{0} = EXCLUDED.{0}", sql::name(name)))
        .collect();
    let arbiter = sql::names(arbiter);
    match set.is_empty() {
        true => format!(" ON CONFLICT ({arbiter}) DO NOTHING"),
        false => format!(" ON CONFLICT ({arbiter}) DO UPDATE SET {}", set.join(", ")),
    }
}

#[cfg(test)]
mod tests;
