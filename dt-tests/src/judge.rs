//! Whether two tables hold the same rows, by SQL that the servers compute; dt's own account is never asked.
//!
//! Each row becomes a 60-bit hash of all its columns (null is not '', a column's type does not matter, its text does,
//! character sets are converted), and a table the count, sum and exclusive-or of its rows' hashes. Only where these
//! differ are the hashes fetched, to count what is missing and what is too much.

use std::collections::HashMap;
use std::fmt;

use anyhow::{Result, bail};

use crate::db::{Db, literal, quoted};

/// Compares tables of a source with tables of a target.
#[derive(Debug)]
pub struct Judge<'a> {
    source: &'a Db,
    target: &'a Db,
    expressions: HashMap<(String, String), String>,
}

/// What became of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Rows of the source.
    pub rows: u64,
    /// Rows of the target.
    pub target_rows: u64,
    /// Rows of the source that the target lacks, or has fewer times.
    pub missing: u64,
    /// Rows that the target has more often than the source, which has them.
    pub repeated: u64,
    /// Rows of the target that the source does not have.
    pub foreign: u64,
}

impl Verdict {
    /// The same rows, each as many times.
    pub fn is_equal(&self) -> bool {
        self.missing == 0 && self.repeated == 0 && self.foreign == 0
    }

    /// Every row of the source is there, at least as many times, and nothing that the source does not have: what is
    /// promised for a table without a key.
    pub fn nothing_lost(&self) -> bool {
        self.missing == 0 && self.foreign == 0
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_equal() {
            return write!(f, "equal, {} rows", self.rows);
        }
        let Verdict { rows, target_rows, missing, repeated, foreign } = self;
        write!(f, "{rows} rows became {target_rows}: {missing} missing, {repeated} repeated, {foreign} foreign")
    }
}

impl<'a> Judge<'a> {
    /// A judge between two servers.
    pub fn new(source: &'a Db, target: &'a Db) -> Self {
        Judge { source, target, expressions: HashMap::new() }
    }

    /// Compares this column by an expression of it (`{}` stands for the column), where the servers write the same
    /// value differently: JSON between MySQL and MariaDB.
    #[must_use]
    pub fn column(mut self, table: &str, column: &str, expression: &str) -> Self {
        self.expressions.insert((table.to_owned(), column.to_owned()), expression.to_owned());
        self
    }

    /// Compares a table with the one of the same name in the same database.
    ///
    /// # Errors
    /// A server does not answer, or the table is missing on one of them.
    pub fn table(&self, database: &str, table: &str) -> Result<Verdict> {
        self.tables((database, table), (database, table))
    }

    /// Compares a table of the source with a table of the target that has the same column names.
    ///
    /// # Errors
    /// A server does not answer, or a table is missing.
    pub fn tables(&self, source: (&str, &str), target: (&str, &str)) -> Result<Verdict> {
        let columns = self.columns(source)?;
        let on_source = Side { db: self.source, table: source, hash: self.row_hash(source, &columns)? };
        let on_target = Side { db: self.target, table: target, hash: self.row_hash(source, &columns)? };
        let (digest, target_digest) = (on_source.digest()?, on_target.digest()?);
        if digest == target_digest {
            return Ok(Verdict { rows: digest.rows, target_rows: digest.rows, missing: 0, repeated: 0, foreign: 0 });
        }
        let (had, has) = (on_source.hashes()?, on_target.hashes()?);
        let count = |counts: &HashMap<String, u64>, hash: &String| counts.get(hash).copied().unwrap_or(0);
        let missing = had.iter().map(|(hash, &times)| times.saturating_sub(count(&has, hash))).sum();
        let beyond = |of_source: bool| {
            let rows = has.iter().filter(|(hash, _)| had.contains_key(*hash) == of_source);
            rows.map(|(hash, &times)| times.saturating_sub(count(&had, hash))).sum()
        };
        let (repeated, foreign) = (beyond(true), beyond(false));
        Ok(Verdict { rows: digest.rows, target_rows: target_digest.rows, missing, repeated, foreign })
    }

    /// Compares every base table of a database; the names are in order.
    ///
    /// # Errors
    /// A server does not answer, or there is no table.
    pub fn database(&self, database: &str) -> Result<Vec<(String, Verdict)>> {
        let tables = self.source.rows(format!(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = {} AND table_type = 'BASE TABLE' \
             ORDER BY CAST(table_name AS BINARY)",
            literal(database)
        ))?;
        if tables.is_empty() {
            bail!("the source has no table in `{database}`");
        }
        let names = tables.into_iter().filter_map(|row| row.into_iter().next().flatten());
        names.map(|table| self.table(database, &table).map(|verdict| (table, verdict))).collect()
    }

    /// Name and data type of each column of the source's table.
    fn columns(&self, (database, table): (&str, &str)) -> Result<Vec<(String, String)>> {
        let rows = self.source.rows(format!(
            "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = {} AND table_name = {} \
             ORDER BY ordinal_position",
            literal(database),
            literal(table)
        ))?;
        if rows.is_empty() {
            bail!("the source has no table `{database}`.`{table}`");
        }
        let text = |cell: Option<Option<String>>| cell.flatten().unwrap_or_default();
        let pairs = rows.into_iter().map(|row| row.into_iter());
        Ok(pairs.map(|mut row| (text(row.next()), text(row.next()).to_lowercase())).collect())
    }

    fn row_hash(&self, (_, table): (&str, &str), columns: &[(String, String)]) -> Result<String> {
        let mut parts = Vec::with_capacity(columns.len());
        for (column, data_type) in columns {
            let name = quoted(column);
            let expression = match self.expressions.get(&(table.to_owned(), column.clone())) {
                Some(expression) => format!("SHA2({}, 256)", expression.replace("{}", &name)),
                None => comparable(&name, data_type)?,
            };
            // 'N' is nothing that any of the expressions yields.
            parts.push(format!("IFNULL({expression}, 'N')"));
        }
        Ok(format!("CAST(CONV(LEFT(SHA2(CONCAT_WS('|', {}), 256), 15), 16, 10) AS UNSIGNED)", parts.join(", ")))
    }
}

/// A column's value as a text that says all of it, is short (a longer result than `max_allowed_packet` would turn
/// to null), and is the same on every server.
fn comparable(column: &str, data_type: &str) -> Result<String> {
    Ok(match data_type {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "double" | "date" | "time"
        | "datetime" | "timestamp" | "year" => format!("CAST({column} AS CHAR)"),
        // A FLOAT's own text form drops digits.
        "float" => format!("CAST({column} + 0e0 AS CHAR)"),
        "bit" => format!("CAST({column} + 0 AS CHAR)"),
        // By text and by index: the index 0 is an invalid value, and not a member ''.
        "enum" | "set" => format!("CONCAT({column} + 0, ':', HEX(CONVERT({column} USING utf8mb4)))"),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "json" | "uuid" | "inet4" | "inet6" => {
            format!("SHA2(CONVERT({column} USING utf8mb4), 256)")
        }
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => {
            format!("SHA2({column}, 256)")
        }
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => {
            format!("CONCAT(ST_SRID({column}), ':', SHA2(ST_AsBinary({column}), 256))")
        }
        other => bail!("the judge does not know how to compare a column of type `{other}`; give it an expression"),
    })
}

struct Side<'a> {
    db: &'a Db,
    table: (&'a str, &'a str),
    hash: String,
}

#[derive(PartialEq, Eq)]
struct Digest {
    rows: u64,
    sum: Option<String>,
    xor: Option<String>,
}

impl Side<'_> {
    fn name(&self) -> String {
        format!("{}.{}", quoted(self.table.0), quoted(self.table.1))
    }

    fn digest(&self) -> Result<Digest> {
        let Side { hash, .. } = self;
        let sql = format!(
            "SELECT COUNT(*), SUM(h), BIT_XOR(h), COUNT(*) - COUNT(h) FROM (SELECT {hash} AS h FROM {}) AS hashes",
            self.name()
        );
        let row = self.db.rows(sql)?.into_iter().next().unwrap_or_default();
        let [rows, sum, xor, unhashed] = <[Option<String>; 4]>::try_from(row).unwrap_or_default();
        if unhashed.as_deref() != Some("0") {
            bail!("{} rows of {} could not be hashed", unhashed.unwrap_or_default(), self.name());
        }
        Ok(Digest { rows: rows.unwrap_or_default().parse()?, sum, xor })
    }

    /// How many rows there are of each hash.
    fn hashes(&self) -> Result<HashMap<String, u64>> {
        let sql = format!("SELECT {} AS h, COUNT(*) FROM {} GROUP BY h", self.hash, self.name());
        let rows = self.db.rows(sql)?.into_iter().map(|row| <[Option<String>; 2]>::try_from(row).unwrap_or_default());
        rows.map(|[hash, count]| Ok((hash.unwrap_or_default(), count.unwrap_or_default().parse()?))).collect()
    }
}
