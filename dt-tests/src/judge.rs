//! Whether two tables hold the same rows, by SQL that the servers compute; dt's own account is never asked.
//!
//! Each row becomes a 60-bit hash of all its columns (null is not '', a column's type does not matter, its text does,
//! character sets are converted), and a table the count, sum and exclusive-or of its rows' hashes. Only where these
//! differ are the hashes fetched, to count what is missing and what is too much.
//!
//! What is called a database here is a schema with PostgreSQL.

pub mod mongo;
mod mysql;
mod postgres;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use anyhow::{Result, bail};

use crate::db::{Db, Dialect};

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
        let side = |db, table| -> Result<_> {
            Ok(Side { from: relation(db, table)?, hash: self.row_hash(db, source, &columns)?, db })
        };
        let (on_source, on_target) = (side(self.source, source)?, side(self.target, target)?);
        let (digest, target_digest) = (on_source.digest()?, on_target.digest()?);
        if digest == target_digest {
            return Ok(Verdict { rows: digest.rows, target_rows: digest.rows, missing: 0, repeated: 0, foreign: 0 });
        }
        let (had, has) = (on_source.hashes()?, on_target.hashes()?);
        let count = |counts: &BTreeMap<String, u64>, hash: &String| counts.get(hash).copied().unwrap_or(0);
        let missing = had.iter().map(|(hash, &times)| times.saturating_sub(count(&has, hash))).sum();
        let beyond = |of_source: bool| {
            let rows = has.iter().filter(|(hash, _)| had.contains_key(*hash) == of_source);
            rows.map(|(hash, &times)| times.saturating_sub(count(&had, hash))).sum()
        };
        let (repeated, foreign) = (beyond(true), beyond(false));
        Ok(Verdict { rows: digest.rows, target_rows: target_digest.rows, missing, repeated, foreign })
    }

    /// Rows that one side has more often than the other, each as a line, at most `limit` of them: what a failure has to
    /// say. All rows are fetched.
    ///
    /// # Errors
    /// As [`Judge::table`].
    pub fn differences(&self, database: &str, table: &str, limit: usize) -> Result<Vec<String>> {
        let columns = self.columns((database, table))?;
        let counts = |db: &Db| -> Result<BTreeMap<String, u64>> {
            let row = match db.dialect() {
                Dialect::Mysql => mysql::row_text(&columns),
                Dialect::Postgres => postgres::row_text(&columns),
            };
            counted(db, &format!("SELECT {row} AS r, COUNT(*) FROM {} GROUP BY 1", relation(db, (database, table))?))
        };
        let (had, has) = (counts(self.source)?, counts(self.target)?);
        let all: BTreeSet<&String> = had.keys().chain(has.keys()).collect();
        let line = |row: &String| {
            let count = |counts: &BTreeMap<String, u64>| counts.get(row).copied().unwrap_or(0);
            let (was, is) = (count(&had), count(&has));
            (was != is).then(|| format!("{was} x became {is} x: {row}"))
        };
        Ok(all.into_iter().filter_map(line).take(limit).collect())
    }

    /// Compares every base table of a database; the names are in order. Of a partitioned table the root is compared.
    ///
    /// # Errors
    /// A server does not answer, or there is no table.
    pub fn database(&self, database: &str) -> Result<Vec<(String, Verdict)>> {
        let tables = self.source.rows(match self.source.dialect() {
            Dialect::Mysql => mysql::tables(database),
            Dialect::Postgres => postgres::tables(database),
        })?;
        if tables.is_empty() {
            bail!("the source has no table in `{database}`");
        }
        let names = tables.into_iter().filter_map(|row| row.into_iter().next().flatten());
        names.map(|table| self.table(database, &table).map(|verdict| (table, verdict))).collect()
    }

    /// Name and data type of each column of the source's table.
    fn columns(&self, (database, table): (&str, &str)) -> Result<Vec<(String, String)>> {
        let rows = self.source.rows(match self.source.dialect() {
            Dialect::Mysql => mysql::columns(database, table),
            Dialect::Postgres => postgres::columns(database, table),
        })?;
        if rows.is_empty() {
            bail!("the source has no table `{database}`.`{table}`");
        }
        let text = |cell: Option<Option<String>>| cell.flatten().unwrap_or_default();
        let pairs = rows.into_iter().map(|row| row.into_iter());
        Ok(pairs.map(|mut row| (text(row.next()), text(row.next()).to_lowercase())).collect())
    }

    fn row_hash(&self, db: &Db, (_, table): (&str, &str), columns: &[(String, String)]) -> Result<String> {
        let expression = |column: &str| self.expressions.get(&(table.to_owned(), column.to_owned()));
        match db.dialect() {
            Dialect::Mysql => mysql::row_hash(columns, expression),
            Dialect::Postgres => Ok(postgres::row_hash(columns, expression)),
        }
    }
}

/// A table as it stands behind FROM.
fn relation(db: &Db, (database, table): (&str, &str)) -> Result<String> {
    match db.dialect() {
        Dialect::Mysql => Ok(mysql::relation(database, table)),
        Dialect::Postgres => postgres::relation(db, database, table),
    }
}

struct Side<'a> {
    db: &'a Db,
    from: String,
    hash: String,
}

#[derive(PartialEq, Eq)]
struct Digest {
    rows: u64,
    sum: Option<String>,
    xor: Option<String>,
}

impl Side<'_> {
    fn digest(&self) -> Result<Digest> {
        let Side { hash, from, .. } = self;
        let sql = format!(
            "SELECT COUNT(*), SUM(h), BIT_XOR(h), COUNT(*) - COUNT(h) FROM (SELECT {hash} AS h FROM {from}) AS hashes"
        );
        let row = self.db.rows(sql)?.into_iter().next().unwrap_or_default();
        let [rows, sum, xor, unhashed] = <[Option<String>; 4]>::try_from(row).unwrap_or_default();
        if unhashed.as_deref() != Some("0") {
            bail!("{} rows of {from} could not be hashed", unhashed.unwrap_or_default());
        }
        Ok(Digest { rows: rows.unwrap_or_default().parse()?, sum, xor })
    }

    /// How many rows there are of each hash.
    fn hashes(&self) -> Result<BTreeMap<String, u64>> {
        counted(self.db, &format!("SELECT {} AS h, COUNT(*) FROM {} GROUP BY 1", self.hash, self.from))
    }
}

/// The rows of a query for a text and a number.
fn counted(db: &Db, sql: &str) -> Result<BTreeMap<String, u64>> {
    let rows = db.rows(sql)?.into_iter().map(|row| <[Option<String>; 2]>::try_from(row).unwrap_or_default());
    rows.map(|[text, count]| Ok((text.unwrap_or_default(), count.unwrap_or_default().parse()?))).collect()
}
