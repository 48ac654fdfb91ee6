//! Names of things: databases, tables, lanes.

use std::fmt;
use std::str::FromStr;

/// A kind of database server. MariaDB servers are [`DbType::Mysql`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DbType {
    /// MySQL and MariaDB, `mysql` in files.
    Mysql,
    /// PostgreSQL, `pg` in files.
    Pg,
    /// MongoDB, `mongo` in files.
    Mongo,
    /// Redis, `redis` in files.
    Redis,
}

impl DbType {
    /// The name used in configuration files and in position lines.
    pub const fn as_str(self) -> &'static str {
        match self {
            DbType::Mysql => "mysql",
            DbType::Pg => "pg",
            DbType::Mongo => "mongo",
            DbType::Redis => "redis",
        }
    }
}

impl fmt::Display for DbType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A database kind that dt does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a known database type (mysql, pg, mongo, redis)")]
pub struct UnknownDbType(pub String);

impl FromStr for DbType {
    type Err = UnknownDbType;

    fn from_str(text: &str) -> Result<Self, UnknownDbType> {
        match text.to_ascii_lowercase().as_str() {
            "mysql" => Ok(DbType::Mysql),
            "pg" => Ok(DbType::Pg),
            "mongo" => Ok(DbType::Mongo),
            "redis" => Ok(DbType::Redis),
            _ => Err(UnknownDbType(text.to_owned())),
        }
    }
}

/// A table (or collection) by its exact name. Ordered by schema, then name, byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// The schema (PostgreSQL) or database (MySQL, MongoDB).
    pub schema: String,
    /// The table or collection.
    pub table: String,
}

impl TableId {
    /// Names a table exactly; nothing is trimmed, folded or unquoted.
    pub fn new(schema: impl Into<String>, table: impl Into<String>) -> Self {
        TableId { schema: schema.into(), table: table.into() }
    }
}

/// Written as `` `schema`.`table` ``, the form of the log lines in the documents.
impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`.`{}`", self.schema, self.table)
    }
}

/// A lane: rows of one lane are recorded in the order in which they were read, and lanes know nothing of each other.
/// In a snapshot every table is a lane of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId(pub u32);

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lane {}", self.0)
    }
}
