//! SQL to a server, as its administrator: one connection, text in and text out.

mod postgres;

use std::cell::RefCell;

use anyhow::{Context, Result, anyhow};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::Client;

/// A row: each column's text form, `None` for null. Bytes that are no UTF-8 are replaced.
pub type TextRow = Vec<Option<String>>;

/// The SQL that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL's and MariaDB's.
    Mysql,
    /// PostgreSQL's.
    Postgres,
}

impl Dialect {
    /// Quotes an identifier.
    pub fn quoted(self, identifier: &str) -> String {
        match self {
            Dialect::Mysql => quoted(identifier),
            Dialect::Postgres => format!("\"{}\"", identifier.replace('"', "\"\"")),
        }
    }

    /// Quotes a string literal, for the servers' default settings.
    pub fn literal(self, text: &str) -> String {
        match self {
            Dialect::Mysql => literal(text),
            Dialect::Postgres => format!("'{}'", text.replace('\'', "''")),
        }
    }
}

/// One connection, with the time zone at UTC and texts in UTF-8.
#[derive(Debug)]
pub struct Db {
    runtime: Runtime,
    link: Link,
}

#[derive(Debug)]
enum Link {
    Mysql(Box<RefCell<Conn>>),
    Postgres(Client),
}

impl Db {
    /// Connects to a MySQL or MariaDB server on 127.0.0.1 as `user`.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub fn connect(port: u16, user: &str, password: Option<&str>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let options = OptsBuilder::default()
            .ip_or_hostname("127.0.0.1")
            .tcp_port(port)
            .user(Some(user))
            .pass(password)
            .prefer_socket(false)
            .setup(vec!["SET NAMES utf8mb4, time_zone = '+00:00', SESSION group_concat_max_len = 1048576"]);
        let conn = runtime.block_on(Conn::new(options)).with_context(|| format!("connect to 127.0.0.1:{port}"))?;
        Ok(Db { runtime, link: Link::Mysql(Box::new(RefCell::new(conn))) })
    }

    /// Connects to a database of a PostgreSQL server on 127.0.0.1 as `user`. The session's settings make the text of
    /// a value say all of it.
    ///
    /// # Errors
    /// The server does not answer, or refuses.
    pub fn connect_postgres(port: u16, database: &str, user: &str, password: Option<&str>) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let client = postgres::connect(&runtime, port, database, user, password)?;
        Ok(Db { runtime, link: Link::Postgres(client) })
    }

    /// The SQL that it takes.
    pub fn dialect(&self) -> Dialect {
        match self.link {
            Link::Mysql(_) => Dialect::Mysql,
            Link::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement and throws its result away.
    ///
    /// # Errors
    /// What the server says, with the statement's beginning.
    pub fn exec(&self, sql: impl AsRef<str>) -> Result<()> {
        self.rows(sql).map(drop)
    }

    /// Runs statements one after another.
    ///
    /// # Errors
    /// The first one that fails ends it.
    pub fn exec_all<S: AsRef<str>>(&self, statements: impl IntoIterator<Item = S>) -> Result<()> {
        statements.into_iter().try_for_each(|sql| self.exec(sql))
    }

    /// The rows of a query. PostgreSQL takes several statements in one text, and runs them in one transaction.
    ///
    /// # Errors
    /// What the server says, with the statement's beginning.
    pub fn rows(&self, sql: impl AsRef<str>) -> Result<Vec<TextRow>> {
        let sql = sql.as_ref();
        let rows = match &self.link {
            Link::Mysql(conn) => mysql_rows(&self.runtime, conn, sql),
            Link::Postgres(client) => self.runtime.block_on(postgres::rows(client, sql)),
        };
        rows.with_context(|| beginning(sql))
    }

    /// The first column of the first row; null as `None`.
    ///
    /// # Errors
    /// What the server says, or that there is no row.
    pub fn value(&self, sql: impl AsRef<str>) -> Result<Option<String>> {
        let sql = sql.as_ref();
        let first = self.rows(sql)?.into_iter().next().and_then(|row| row.into_iter().next());
        first.ok_or_else(|| anyhow!("no row: {}", beginning(sql)))
    }

    /// The number in the first column of the first row.
    ///
    /// # Errors
    /// What the server says, or that there is no such number.
    pub fn number(&self, sql: impl AsRef<str>) -> Result<u64> {
        let sql = sql.as_ref();
        let value = self.value(sql)?.ok_or_else(|| anyhow!("null instead of a number: {}", beginning(sql)))?;
        value.parse().with_context(|| format!("`{value}` instead of a number: {}", beginning(sql)))
    }
}

fn mysql_rows(runtime: &Runtime, conn: &RefCell<Conn>, sql: &str) -> Result<Vec<TextRow>> {
    let mut conn = conn.try_borrow_mut().context("the connection is in use")?;
    let rows: Vec<Row> = runtime.block_on(conn.query(sql))?;
    Ok(rows.iter().map(|row| (0..row.len()).map(|at| row.as_ref(at).and_then(text)).collect()).collect())
}

/// Statements of many megabytes are of no use in a message.
fn beginning(sql: &str) -> String {
    let mut short: String = sql.chars().take(400).collect();
    if short.len() < sql.len() {
        short.push('…');
    }
    short
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        // The text protocol sends bytes only; the driver's other variants print as SQL literals.
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

/// Quotes an identifier of MySQL: `` a`b `` becomes `` `a``b` ``.
pub fn quoted(identifier: &str) -> String {
    format!("`{}`", identifier.replace('`', "``"))
}

/// Quotes a string literal of MySQL, for the default sql_mode.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_and_literals_survive_their_own_quotes() {
        assert_eq!(quoted("a`b"), "`a``b`");
        assert_eq!(literal(r"it's \o/"), r"'it''s \\o/'");
        assert_eq!(Dialect::Postgres.quoted("a\"b"), "\"a\"\"b\"");
        assert_eq!(Dialect::Postgres.literal(r"it's \o/"), r"'it''s \o/'");
    }
}
