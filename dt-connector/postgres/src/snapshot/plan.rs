//! The statements by which a table is read. Pure.
//!
//! A table with a key is one `COPY (SELECT … WHERE key > … ORDER BY key)`, streamed in the key's order from where it
//! begins; a row's key says where to go on. Comparison and order are the server's, by the index's own operators and the
//! column's own collation. Rows that have a null in the key come first, as a range of their own. A table without a key
//! is read in the order in which it lies on the disk, in pieces, each of which is found again by its pages while the
//! snapshot is held.

use dt_common::position::{KeyPart, OrderKey};
use dt_common::{Error, Result};
use dt_connector::{RowFormat, Start, TableTask};

use crate::catalog::{Definition, Operators};
use crate::rows::{BinaryFields, text_fields, unescaped};
use crate::sql;
use crate::value::{self, Direct};

/// How one table is read.
#[derive(Debug)]
pub struct TablePlan<'a> {
    table: &'a Definition,
    condition: Option<&'a str>,
    format: RowFormat,
    until: Option<&'a OrderKey>,
    key: Vec<KeyCell>,
    select: String,
    extras: usize,
}

/// Where a column of the key is found in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyCell {
    /// Its place in the schema's columns, which is its field.
    column: usize,
    source: CellSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CellSource {
    /// A field of a text line.
    Text,
    /// A field of a binary tuple that is read here.
    Direct(Direct),
    /// A text that the server adds behind the row's fields, the so many-th.
    Extra(usize),
}

/// A part of a table that is read with one statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// Rows without nulls in the key, in the key's order.
    Keyed(From),
    /// Rows in the order in which they lie on the disk.
    Unordered {
        /// Which of them.
        rows: Rows,
        /// Which pages they lie on; `None` for a table that is not cut.
        piece: Option<Piece>,
    },
}

/// Where a keyed range begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first row.
    First,
    /// After the row of this key.
    After(OrderKey),
    /// At this value of the first column.
    At(OrderKey),
}

/// Which rows an unordered range has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rows {
    /// All: a table without a key.
    All,
    /// Those that have a null in the key.
    NullKeys,
    /// A table without a key: those whose first column is greater than this value or null.
    AfterFirstColumn(OrderKey),
}

/// Pages of a table: the first, and the one behind the last; the last piece has no end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The first page.
    pub from: u64,
    /// The page behind the last.
    pub to: Option<u64>,
}

/// Pages of a piece: 64 MiB of a server with the usual page size, a second's reading.
pub const PIECE_PAGES: u64 = 8192;

impl Piece {
    /// The pieces of a table that has this many pages, in order.
    pub fn all(pages: u64) -> Vec<Piece> {
        let count = pages.div_ceil(PIECE_PAGES).max(1);
        let piece = |at: u64| Piece { from: at * PIECE_PAGES, to: (at + 1 < count).then_some((at + 1) * PIECE_PAGES) };
        (0..count).map(piece).collect()
    }
}

impl<'a> TablePlan<'a> {
    /// Plans a table with its `where_conditions`.
    ///
    /// # Errors
    /// The format is not one of this connector's.
    pub fn new(table: &'a Definition, condition: Option<&'a str>, format: RowFormat) -> Result<Self> {
        let columns = &table.schema.columns;
        let mut selected: Vec<String> = columns.iter().map(|column| sql::name(&column.name)).collect();
        let mut key = Vec::new();
        let mut extras = 0;
        for &column in table.schema.key.iter().flat_map(|key| &key.columns) {
            let source = match format {
                RowFormat::PgText => CellSource::Text,
                RowFormat::PgBinary => match columns[column].binary_form.as_deref().and_then(value::direct) {
                    Some(direct) => CellSource::Direct(direct),
                    None => {
                        // The type's own output, and not a cast to text, which may say less.
                        let name = sql::name(&columns[column].name);
                        let alias = unused_name(columns.iter().map(|column| column.name.as_str()), extras);
                        selected.push(format!("pg_catalog.format('%s', {name}) AS {}", sql::name(&alias)));
                        extras += 1;
                        CellSource::Extra(extras - 1)
                    }
                },
                RowFormat::MysqlText | RowFormat::Bson => {
                    return Err(Error::fatal("rows of a PostgreSQL source were asked for in another database's form"));
                }
            };
            key.push(KeyCell { column, source });
        }
        Ok(TablePlan { table, condition, format, until: None, key, select: selected.join(", "), extras })
    }

    /// Plans a task: a table, or a chunk of one.
    ///
    /// # Errors
    /// As [`TablePlan::new`].
    pub fn of_task(table: &'a Definition, task: &'a TableTask) -> Result<Self> {
        let plan = TablePlan::new(table, task.condition.as_deref(), task.format)?;
        Ok(TablePlan { until: task.until(), ..plan })
    }

    /// How many fields a row has.
    pub fn fields(&self) -> usize {
        self.table.schema.columns.len()
    }

    /// How many fields the server adds behind them, which are not part of the row.
    pub fn extras(&self) -> usize {
        self.extras
    }

    /// Whether the table has a key.
    pub fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    /// The ranges that remain to be read, in order; unordered ones whole.
    ///
    /// # Errors
    /// The start does not fit the table, or holds a value that is of another form than its column.
    pub fn start_ranges(&self, start: &Start) -> Result<Vec<Range>> {
        let nullable = self.table.schema.key.as_ref().is_some_and(|key| key.nullable);
        let nulls = |wanted: bool| match nullable && wanted {
            true => vec![Range::Unordered { rows: Rows::NullKeys, piece: None }],
            false => Vec::new(),
        };
        let keyed = |wanted: bool, from: From| {
            let mut ranges = nulls(wanted);
            ranges.push(Range::Keyed(from));
            ranges
        };
        let ranges = match start {
            Start::Beginning if self.is_keyed() => keyed(true, From::First),
            Start::Beginning => vec![Range::Unordered { rows: Rows::All, piece: None }],
            Start::After { key, null_keys_done } => keyed(!null_keys_done, From::After(key.clone())),
            Start::AtPrefix { key } => keyed(true, From::At(key.clone())),
            Start::AfterFirstColumn { key } => {
                vec![Range::Unordered { rows: Rows::AfterFirstColumn(key.clone()), piece: None }]
            }
        };
        for range in &ranges {
            self.query(range)?;
        }
        Ok(ranges)
    }

    /// The statement that reads the range.
    pub fn copy(&self, range: &Range) -> Result<String> {
        let form = match self.format {
            RowFormat::PgBinary => "binary",
            RowFormat::PgText | RowFormat::MysqlText | RowFormat::Bson => "text",
        };
        Ok(format!("COPY ({}) TO STDOUT (FORMAT {form})", self.query(range)?))
    }

    /// The range as a query.
    ///
    /// # Errors
    /// As [`TablePlan::start_ranges`].
    pub fn query(&self, range: &Range) -> Result<String> {
        // The user's own SQL stands in parentheses, on lines of its own, for it may end in a comment.
        let mut conditions: Vec<String> = self.condition.iter().map(|condition| format!("(\n{condition}\n)")).collect();
        let mut order = String::new();
        match range {
            Range::Keyed(from) => {
                conditions.extend(self.nullable_columns().map(|name| format!("{name} IS NOT NULL")));
                match from {
                    From::First => {}
                    From::After(key) => conditions.push(self.after(key)?),
                    From::At(key) => conditions.push(self.at(key)?),
                }
                if let Some(until) = self.until {
                    conditions.push(self.up_to(until)?);
                }
                let columns: Vec<String> = self.key.iter().map(|cell| self.name_of(cell.column)).collect();
                order = format!(" ORDER BY {}", columns.join(", "));
            }
            Range::Unordered { rows, piece } => {
                match rows {
                    Rows::All => {}
                    Rows::NullKeys => {
                        let nulls: Vec<String> =
                            self.nullable_columns().map(|name| format!("{name} IS NULL")).collect();
                        conditions.push(format!("({})", nulls.join(" OR ")));
                        if self.table.relation.kind != 'p' {
                            // They are few, and an index may find them in any order.
                            order = " ORDER BY ctid".to_owned();
                        }
                    }
                    Rows::AfterFirstColumn(key) => conditions.push(self.after_first_column(key)?),
                }
                if let Some(piece) = piece {
                    conditions.push(format!("ctid >= '({},0)'::tid", piece.from));
                    conditions.extend(piece.to.map(|to| format!("ctid < '({to},0)'::tid")));
                }
            }
        }
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        Ok(format!("SELECT {} FROM {}{filter}{order}", self.select, self.table.from_clause()))
    }

    /// The query that finds where the table can be cut into so many chunks: keys of a sample of its pages, one from the
    /// end of each chunk but the last. Its cells are for [`TablePlan::bound_of`]. `percent`: of the pages.
    pub fn bounds_query(&self, chunks: u64, percent: f64) -> String {
        let names: Vec<String> = self.key.iter().map(|cell| self.name_of(cell.column)).collect();
        let aliases: Vec<String> = (0..names.len()).map(|at| format!("k{at}")).collect();
        // The type's own output, and not a cast to text, which may say less.
        let keys: Vec<String> = names
            .iter()
            .zip(&aliases)
            .map(|(name, alias)| format!("pg_catalog.format('%s', {name}) AS {alias}"))
            .collect();
        let nulls: Vec<String> = self.nullable_columns().map(|name| format!("{name} IS NOT NULL")).collect();
        let filter = if nulls.is_empty() { String::new() } else { format!(" WHERE {}", nulls.join(" AND ")) };
        format!(
            "SELECT {} FROM (SELECT {}, row_number() OVER (ORDER BY {}) AS n, count(*) OVER () AS c \
             FROM {} TABLESAMPLE SYSTEM ({percent}){filter}) AS sample \
             WHERE n < c AND n * {chunks} / c > (n - 1) * {chunks} / c ORDER BY n",
            aliases.join(", "),
            keys.join(", "),
            names.join(", "),
            self.table.from_clause(),
        )
    }

    /// A key that [`TablePlan::bounds_query`] has found, from its cells in order.
    pub fn bound_of<'c>(&self, cells: impl Iterator<Item = &'c [u8]>) -> Option<OrderKey> {
        let parts = self.key.iter().zip(cells).map(|(cell, text)| {
            let column = self.table.copied_column(cell.column);
            KeyPart { column: column.column.name.clone(), value: value::key_of_text(&column.type_name, text) }
        });
        OrderKey::new(parts.collect())
    }

    /// The key of a row; `extras` are the fields that the server has added behind it.
    ///
    /// # Errors
    /// The row is not one that was asked for.
    pub fn key_of(&self, row: &[u8], extras: &[u8]) -> Result<OrderKey> {
        let parts = self.key.iter().map(|cell| {
            let column = self.table.copied_column(cell.column);
            let value = match cell.source {
                CellSource::Text => text_fields(row.strip_suffix(b"\n").unwrap_or(row))
                    .nth(cell.column)
                    .flatten()
                    .map(|field| value::key_of_text(&column.type_name, &unescaped(field))),
                CellSource::Direct(direct) => {
                    nth(BinaryFields::new(row), cell.column).and_then(|field| direct.key(field))
                }
                CellSource::Extra(at) => {
                    nth(BinaryFields::of_fields(extras), at).map(|field| value::key_of_text(&column.type_name, field))
                }
            };
            let value = value.ok_or_else(|| {
                Error::fatal("a row's key cannot be read")
                    .with("table", &self.table.schema.id)
                    .with("column", &column.column.name)
            })?;
            Ok(KeyPart { column: column.column.name.clone(), value })
        });
        let parts = parts.collect::<Result<Vec<KeyPart>>>()?;
        Ok(OrderKey::new(parts).expect("plan: the key of a table without one"))
    }

    fn name_of(&self, column: usize) -> String {
        sql::name(&self.table.schema.columns[column].name)
    }

    fn nullable_columns(&self) -> impl Iterator<Item = String> {
        let columns = &self.table.schema.columns;
        self.key.iter().filter(|cell| columns[cell.column].nullable).map(|cell| self.name_of(cell.column))
    }

    /// The rows after this key.
    fn after(&self, key: &OrderKey) -> Result<String> {
        let (names, literals) = self.sides(key)?;
        let operators = &self.table.key_operators;
        if operators.iter().all(Operators::are_plain) {
            return Ok(rows_compare(&names, ">", &literals));
        }
        // Operators of an extension are named one by one: the bare sign would be that of another type.
        let alternatives: Vec<String> = (0..names.len())
            .map(|last| {
                let equal = (0..last).map(|at| compare(&names[at], &operators[at].equal, &literals[at]));
                let greater = compare(&names[last], &operators[last].greater, &literals[last]);
                let terms: Vec<String> = equal.chain([greater]).collect();
                if terms.len() == 1 { terms.concat() } else { format!("({})", terms.join(" AND ")) }
            })
            .collect();
        let from = compare(&names[0], &operators[0].at_least, &literals[0]);
        Ok(match alternatives.as_slice() {
            [greater] => greater.clone(),
            _ => format!("{from} AND ({})", alternatives.join(" OR ")),
        })
    }

    /// The rows that are not after this key.
    fn up_to(&self, key: &OrderKey) -> Result<String> {
        let (names, literals) = self.sides(key)?;
        let operators = &self.table.key_operators;
        if operators.iter().all(Operators::are_plain) {
            return Ok(rows_compare(&names, "<=", &literals));
        }
        // The index knows where the first one ends: the server turns it into the operator's negation.
        let first = compare(&names[0], &operators[0].greater, &literals[0]);
        Ok(format!("NOT ({first}) AND NOT ({})", self.after(key)?))
    }

    /// The key's columns, and the literals that they are compared with.
    fn sides(&self, key: &OrderKey) -> Result<(Vec<String>, Vec<String>)> {
        let parts = key.parts();
        if parts.len() != self.key.len() {
            return Err(self.does_not_fit("has another number of columns than the table's key"));
        }
        let names = self.key.iter().map(|cell| self.name_of(cell.column)).collect();
        let literals = self.key.iter().zip(parts).map(|(cell, part)| self.literal(cell.column, part));
        Ok((names, literals.collect::<Result<Vec<String>>>()?))
    }

    fn at(&self, key: &OrderKey) -> Result<String> {
        let (Some(first), [part]) = (self.key.first(), key.parts()) else {
            return Err(self.does_not_fit("is no prefix of the table's key"));
        };
        let literal = self.literal(first.column, part)?;
        Ok(compare(&self.name_of(first.column), &self.table.key_operators[0].at_least, &literal))
    }

    fn after_first_column(&self, key: &OrderKey) -> Result<String> {
        let [part] = key.parts() else { return Err(self.does_not_fit("has more than one column")) };
        let name = self.name_of(0);
        // Without an index there is nothing that says how another type is ordered.
        let builtin = self.table.schema.columns[0].binary_form.as_deref();
        if !builtin.is_some_and(|form| form.starts_with("pg_catalog.") || form.starts_with("enum ")) {
            return Err(self.does_not_fit("is of a type that cannot be gone on from"));
        }
        Ok(format!("({name} > {} OR {name} IS NULL)", self.literal(0, part)?))
    }

    fn literal(&self, column: usize, part: &KeyPart) -> Result<String> {
        let found = self.table.copied_column(column);
        value::literal(&found.type_name, &found.cast, &part.value)
            .ok_or_else(|| self.does_not_fit("holds a value that its column cannot hold").with("column", &part.column))
    }

    fn does_not_fit(&self, why: &str) -> Error {
        Error::user(format!("the stored position {why}"))
            .with("table", &self.table.schema.id)
            .hint("to copy the table again from the beginning, take its lines out of position.log and resume.config; to start over, set [resumer] resume_type=dummy")
    }
}

/// The server walks the index from there, or to there (PostgreSQL documentation, 9.25.5 Row Constructor Comparison).
fn rows_compare(names: &[String], sign: &str, literals: &[String]) -> String {
    match (names, literals) {
        ([name], [literal]) => format!("{name} {sign} {literal}"),
        _ => format!("({}) {sign} ({})", names.join(", "), literals.join(", ")),
    }
}

fn compare(name: &str, operator: &str, literal: &str) -> String {
    match operator.strip_prefix("pg_catalog.") {
        Some(plain) => format!("{name} {plain} {literal}"),
        None => format!("{name} OPERATOR({operator}) {literal}"),
    }
}

fn nth(mut fields: BinaryFields<'_>, at: usize) -> Option<&[u8]> {
    for _ in 0..at {
        fields.field()?;
    }
    fields.field().flatten()
}

/// A name that no column has.
fn unused_name<'n>(columns: impl Iterator<Item = &'n str> + Clone, number: usize) -> String {
    let mut name = format!("dt_key_{number}");
    while columns.clone().any(|column| column == name) {
        name.push('_');
    }
    name
}

#[cfg(test)]
mod tests;
