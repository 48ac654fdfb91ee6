//! Does the target have what the rows need? Everything that does not fit is found before the first row, in one list.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use dt_common::schema::{Column, RoutedTable};
use dt_common::{Error, Result, TableId};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use crate::catalog::{self, CatalogColumn};
use crate::connect::Flavor;
use crate::error::classify;
use crate::value::{self, Kind};

/// The target's tables.
#[derive(Debug, Default)]
pub struct Found {
    columns: HashMap<TableId, Vec<CatalogColumn>>,
    views: HashSet<TableId>,
    keys: HashMap<TableId, Vec<catalog::UniqueColumns>>,
    // The engines of tables that have no transactions.
    engines: HashMap<TableId, String>,
}

impl Found {
    /// Reads the tables of the schemas in `within` (an SQL condition on `table_schema`).
    pub async fn read(conn: &mut Conn, flavor: Flavor, within: &str) -> Result<Self> {
        let columns = catalog::columns(conn, within).await?;
        let keys = catalog::unique_columns(conn, flavor, within).await?;
        let views: Vec<(String, String)> = conn
            .query(format!(
                "SELECT table_schema, table_name FROM information_schema.tables \
                 WHERE {within} AND table_type NOT IN ('BASE TABLE', 'SYSTEM VERSIONED')"
            ))
            .await
            .map_err(|error| classify("reading the target's catalog", error))?;
        let engines: Vec<(String, String, String)> = conn
            .query(format!(
                "SELECT table_schema, table_name, tables.engine FROM information_schema.tables \
                 JOIN information_schema.engines ON engines.engine = tables.engine \
                 WHERE {within} AND table_type = 'BASE TABLE' AND engines.transactions = 'NO'"
            ))
            .await
            .map_err(|error| classify("reading the target's catalog", error))?;
        Ok(Found {
            columns,
            keys,
            engines: engines.into_iter().map(|(schema, table, engine)| (TableId::new(schema, table), engine)).collect(),
            views: views.into_iter().map(|(schema, table)| TableId::new(schema, table)).collect(),
        })
    }

    /// A table's columns; none if it is not there.
    pub fn columns(&self, table: &TableId) -> &[CatalogColumn] {
        self.columns.get(table).map_or(&[], Vec::as_slice)
    }

    /// Whether a row of this table that is written again meets itself: some unique key on the target lies within the
    /// source's key. Never true for a table without a key.
    pub fn meets_itself(&self, table: &RoutedTable) -> bool {
        self.keys(table).any(|key| is_within(key, &key_on_target(table)))
    }

    /// Whether the target has a unique key that does not lie within the source's key.
    pub fn is_unique_elsewhere(&self, table: &RoutedTable) -> bool {
        self.keys(table).any(|key| !is_within(key, &key_on_target(table)))
    }

    /// The target's unique keys, each by its columns.
    fn keys(&self, table: &RoutedTable) -> impl Iterator<Item = &catalog::UniqueColumns> {
        self.keys.get(&table.target).into_iter().flatten().filter(|key| !key.is_empty())
    }
}

/// The names that the columns of the source's key have on the target.
fn key_on_target(table: &RoutedTable) -> Vec<&str> {
    let places = table.source.key.iter().flat_map(|key| &key.columns);
    places.map(|&at| table.target_columns[at].as_str()).collect()
}

fn is_within(key: &catalog::UniqueColumns, columns: &[&str]) -> bool {
    key.iter().all(|name| columns.iter().any(|column| column.eq_ignore_ascii_case(name)))
}

/// The most misfits that one message lists; the rest is counted.
const LISTED_MAX: usize = 50;

/// Compares; the error lists every misfit.
pub fn compare(tables: &[Arc<RoutedTable>], found: &Found) -> Result<()> {
    let mut misfits: Vec<String> = Vec::new();
    for table in tables {
        table_misfits(table, found, &mut misfits);
    }
    if misfits.is_empty() {
        return Ok(());
    }
    let more = misfits.len().saturating_sub(LISTED_MAX);
    let mut lines: Vec<String> = misfits.iter().take(LISTED_MAX).map(|misfit| format!("\n    - {misfit}")).collect();
    if more > 0 {
        lines.push(format!("\n    - and {more} more"));
    }
    Err(Error::user(format!("the target does not have what the rows need ({} misfits):{}", misfits.len(), lines.concat()))
        .hint("create or change the tables on the target, or leave tables and columns out with [filter] ignore_tbs and ignore_cols, or rename them with [router]"))
}

fn table_misfits(table: &RoutedTable, found: &Found, misfits: &mut Vec<String>) {
    let columns = found.columns(&table.target);
    if columns.is_empty() {
        misfits.push(format!("table {} is missing{}", table.target, renamed(table)));
        return;
    }
    if found.views.contains(&table.target) {
        misfits.push(format!("{} is a view, not a table{}", table.target, renamed(table)));
        return;
    }
    let by_name: HashMap<String, &CatalogColumn> =
        columns.iter().map(|column| (column.column.name.to_lowercase(), column)).collect();
    let key_columns = table.source.key_columns();
    for (source, name) in table.source.columns.iter().zip(&table.target_columns) {
        let place = format!("{}, column `{name}`", table.target);
        match by_name.get(&name.to_lowercase()) {
            None => misfits.push(format!("{place}, is missing")),
            Some(column) if column.generated => {
                misfits.push(format!("{place}, is generated there and cannot be written"));
            }
            Some(column) => {
                if let Some(why) = type_misfit(source, &column.column) {
                    misfits.push(format!("{place}: {why}"));
                } else if key_columns.contains(&source.name.as_str())
                    && let Some(why) = collation_misfit(source, &column.column)
                {
                    misfits.push(format!("{place}: {why}"));
                } else if key_columns.contains(&source.name.as_str())
                    && let Some(what) = weaker_collation(source, &column.column)
                {
                    tracing::warn!(
                        "{place}: the key tells {what} apart on the source ({}) and not on the target ({}): rows that differ in nothing else become one",
                        source.collation.as_deref().unwrap_or_default(),
                        column.column.collation.as_deref().unwrap_or_default()
                    );
                }
            }
        }
    }
    let written: HashSet<String> = table.target_columns.iter().map(|name| name.to_lowercase()).collect();
    for column in columns {
        if !column.generated && !column.optional && !written.contains(&column.column.name.to_lowercase()) {
            misfits.push(format!(
                "{}, column `{}`, is NOT NULL without a default and is not among the columns copied",
                table.target, column.column.name
            ));
        }
    }
    warn_of_missing_key(table, found);
    if let Some(engine) = found.engines.get(&table.target) {
        tracing::warn!(
            "{}: its engine on the target, {engine}, has no transactions: what is interrupted may be there in part, so that rows without a key may be there twice after a resume, whatever resume_type is (ALTER TABLE … ENGINE=InnoDB)",
            table.target
        );
    }
}

/// Not a misfit, but the promise is weaker: say so.
fn warn_of_missing_key(table: &RoutedTable, found: &Found) {
    if table.source.key.is_some() && !found.meets_itself(table) {
        tracing::warn!(
            "{} has no unique key on ({}) on the target: rows that are written again after an interruption will be there twice",
            table.target,
            key_on_target(table).join(", ")
        );
    }
}

fn renamed(table: &RoutedTable) -> String {
    if table.source.id == table.target { String::new() } else { format!(" (for {} of the source)", table.source.id) }
}

/// Why values of the source's column would not survive in the target's: differences that a server would accept in
/// silence. What it would refuse or warn of (a text too long, a number out of range) is left for it to say.
fn type_misfit(source: &Column, target: &Column) -> Option<String> {
    let differ = |what: &str| {
        Some(format!("{what}: `{}` on the source, `{}` on the target", source.data_type, target.data_type))
    };
    let Some(from) = value::kind(&source.data_type) else { return differ("unknown type") };
    let Some(to) = value::kind(&target.data_type) else { return differ("unknown type") };
    let fits = match (from, to) {
        (Kind::Float, Kind::Float | Kind::Double) | (Kind::Double, Kind::Double) => true,
        (Kind::Integer, Kind::Integer | Kind::Decimal) => true,
        (Kind::Decimal, Kind::Decimal) => scale(&target.data_type) >= scale(&source.data_type),
        (Kind::Temporal, Kind::Temporal) => {
            let word = |data_type: &str| data_type.split('(').next().unwrap_or_default().to_owned();
            let same = match (word(&source.data_type).as_str(), word(&target.data_type).as_str()) {
                (a, b) if a == b => true,
                ("timestamp" | "date", "datetime") => true,
                _ => false,
            };
            same && first_number(&target.data_type) >= first_number(&source.data_type)
        }
        (Kind::Binary, Kind::Binary) => {
            let fixed = |data_type: &str| data_type.starts_with("binary");
            // A BINARY(n) of another length pads, or is padded, in silence.
            (!fixed(&source.data_type) && !fixed(&target.data_type))
                || (fixed(&source.data_type) && !fixed(&target.data_type))
                || source.data_type == target.data_type
        }
        // A CHAR strips the trailing spaces that a VARCHAR or TEXT keeps.
        (Kind::Text, Kind::Text) => !target.data_type.starts_with("char(") || source.data_type.starts_with("char("),
        // MariaDB's JSON is a LONGTEXT with a check; MySQL's JSON text goes there, and back if it is valid.
        (Kind::Json, Kind::Json | Kind::Text) | (Kind::Text, Kind::Json) => true,
        (Kind::Enum | Kind::Set, Kind::Text) => true,
        (Kind::Year, Kind::Integer) => true,
        (Kind::Special, Kind::Text) => true,
        (a, b) => a == b,
    };
    if fits { None } else { differ("another type") }
}

/// A key that tells 'a' from 'A' on the source must do so on the target, or two rows become one.
fn collation_misfit(source: &Column, target: &Column) -> Option<String> {
    let tells_case = |collation: &str| {
        let collation = collation.to_ascii_lowercase();
        collation == "binary" || collation.ends_with("_bin") || collation.contains("_cs")
    };
    let (from, to) = (source.collation.as_deref()?, target.collation.as_deref()?);
    (tells_case(from) && !tells_case(to)).then(|| {
        format!(
            "its key is case-sensitive on the source ({from}) and not on the target ({to}): two rows would become one"
        )
    })
}

/// What the source's collation tells apart in a key and the target's does not, where the values alone decide whether
/// any two rows meet: not refused, for servers of the two families have few collations in common, but said.
fn weaker_collation(source: &Column, target: &Column) -> Option<&'static str> {
    let (from, to) = (source.collation.as_deref()?, target.collation.as_deref()?);
    let tells_accents = |collation: &str| collation.ends_with("_bin") || collation.contains("_as_");
    let keeps_spaces =
        |collation: &str| collation.contains("_0900_") || collation.contains("nopad") || collation == "binary";
    if tells_accents(from) && !tells_accents(to) {
        Some("letters with and without accents")
    } else if keeps_spaces(from) && !keeps_spaces(to) {
        Some("texts with and without trailing spaces")
    } else {
        None
    }
}

fn first_number(data_type: &str) -> u64 {
    let digits = data_type.split_once('(').map_or("", |(_, rest)| rest);
    digits.split([',', ')']).next().and_then(|digits| digits.trim().parse().ok()).unwrap_or(0)
}

/// The digits after the point: 3 of `decimal(10,3)`, 0 where the type names none.
pub fn scale(data_type: &str) -> u64 {
    let inside = data_type.split_once('(').map_or("", |(_, rest)| rest.split(')').next().unwrap_or(""));
    inside.split_once(',').and_then(|(_, scale)| scale.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use dt_common::schema::{Key, TableSchema};

    use super::*;

    fn column(name: &str, data_type: &str, collation: Option<&str>) -> Column {
        Column {
            name: name.into(),
            data_type: data_type.into(),
            nullable: false,
            charset: collation.map(|_| "utf8mb4".into()),
            collation: collation.map(Into::into),
            binary_form: None,
        }
    }

    fn routed(columns: Vec<Column>) -> Arc<RoutedTable> {
        let names = columns.iter().map(|column| column.name.clone()).collect();
        let key = Some(Key { name: "PRIMARY".into(), columns: vec![0], nullable: false });
        Arc::new(RoutedTable {
            source: TableSchema { id: TableId::new("s", "t"), columns, key, rows_estimate: 0 },
            target: TableId::new("d", "t"),
            target_columns: names,
        })
    }

    fn found(columns: Vec<(Column, bool, bool)>) -> Found {
        let columns = columns
            .into_iter()
            .map(|(column, generated, optional)| CatalogColumn { column, generated, optional })
            .collect();
        Found { columns: HashMap::from([(TableId::new("d", "t"), columns)]), ..Found::default() }
    }

    #[test]
    fn all_misfits_are_listed_at_once() {
        let tables = [routed(vec![
            column("id", "int", None),
            column("at", "datetime(6)", None),
            column("name", "varchar(9)", None),
            column("sum", "int", None),
        ])];
        let found = found(vec![
            (column("ID", "bigint", None), false, false),
            (column("at", "datetime", None), false, true),
            (column("sum", "int", None), true, true),
            (column("must", "int", None), false, false),
        ]);
        let text = compare(&tables, &found).expect_err("misfits").to_string();
        for expected in
            ["(4 misfits)", "column `at`", "column `name`, is missing", "`sum`, is generated", "`must`, is NOT NULL"]
        {
            assert!(text.contains(expected), "{expected} in {text}");
        }
    }

    #[test]
    fn a_missing_table_names_both_ends_when_it_is_routed() {
        let text =
            compare(&[routed(vec![column("id", "int", None)])], &Found::default()).expect_err("missing").to_string();
        assert!(text.contains("table `d`.`t` is missing (for `s`.`t` of the source)"), "{text}");
    }

    #[test]
    fn a_key_that_tells_case_needs_a_target_that_does() {
        let tables = [routed(vec![column("id", "varchar(9)", Some("utf8mb4_bin"))])];
        let ci = found(vec![(column("id", "varchar(9)", Some("utf8mb4_general_ci")), false, false)]);
        assert!(compare(&tables, &ci).expect_err("refused").to_string().contains("case-sensitive"));
        let bin = found(vec![(column("id", "varchar(9)", Some("utf8mb4_0900_as_cs")), false, false)]);
        assert!(compare(&tables, &bin).is_ok());
    }

    #[test]
    fn keys_that_only_some_values_would_bring_together_are_warned_of() {
        let weaker = |from: &str, to: &str| {
            weaker_collation(&column("k", "varchar(9)", Some(from)), &column("k", "varchar(9)", Some(to)))
        };
        assert!(weaker("utf8mb4_0900_ai_ci", "utf8mb4_general_ci").is_some_and(|what| what.contains("spaces")));
        assert!(weaker("utf8mb4_0900_as_ci", "utf8mb4_0900_ai_ci").is_some_and(|what| what.contains("accents")));
        assert_eq!(weaker("utf8mb4_general_ci", "utf8mb4_0900_ai_ci"), None);
        assert_eq!(weaker("utf8mb4_general_ci", "utf8mb4_general_ci"), None);
    }

    #[test]
    fn types_that_would_change_values_in_silence_are_misfits() {
        let cases = [
            ("int", "bigint", true),
            ("int unsigned", "varchar(10)", false),
            ("decimal(10,2)", "decimal(12,2)", true),
            ("decimal(10,2)", "decimal(12,1)", false),
            ("double", "float", false),
            ("float", "double", true),
            ("datetime(3)", "datetime(6)", true),
            ("datetime(6)", "datetime(3)", false),
            ("timestamp", "datetime", true),
            ("time(3)", "datetime(3)", false),
            ("binary(8)", "binary(16)", false),
            ("varbinary(8)", "blob", true),
            ("varchar(9)", "char(9)", false),
            ("char(9)", "varchar(9)", true),
            ("enum('a')", "enum('a','b')", true),
            ("enum('a')", "varchar(3)", true),
            ("json", "longtext", true),
            ("bit(3)", "bit(9)", true),
            ("geometry", "blob", false),
        ];
        for (from, to, fits) in cases {
            let misfit = type_misfit(&column("c", from, None), &column("c", to, None));
            assert_eq!(misfit.is_none(), fits, "{from} → {to}: {misfit:?}");
        }
    }
}
