//! The SQL of the two families of servers, as text that holds its values: no statement has parameters, so that any
//! connection can execute it. Pure.

use dt_common::{DbType, Error, Result, TableId};

use crate::held::rows::{CHUNK, DOING, FENCE, FINISHED};

/// The SQL that a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// MySQL and MariaDB.
    Mysql,
    /// PostgreSQL.
    Postgres,
}

/// The key of the fence's row.
const FENCE_KEY: &str = "fence";

impl Dialect {
    /// The one of a kind of server.
    ///
    /// # Errors
    /// There is no position table in that kind of server.
    pub fn of(db_type: DbType) -> Result<Dialect> {
        match db_type {
            DbType::Mysql => Ok(Dialect::Mysql),
            DbType::Pg => Ok(Dialect::Postgres),
            DbType::Mongo | DbType::Redis => {
                Err(Error::config(format!("positions cannot be kept in a {db_type} server"))
                    .hint("mysql (MySQL and MariaDB) and pg can keep them"))
            }
        }
    }

    /// A name in quotes; any name is legal between them.
    pub(crate) fn name(self, name: &str) -> String {
        match self {
            Dialect::Mysql => format!("`{}`", name.replace('`', "``")),
            Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        }
    }

    /// A table's full name in quotes.
    pub(crate) fn table(self, table: &TableId) -> String {
        format!("{}.{}", self.name(&table.schema), self.name(&table.table))
    }

    /// A string literal that means the same in every session: whatever `sql_mode` (NO_BACKSLASH_ESCAPES) and the
    /// connection's character set are on MySQL, and `standard_conforming_strings` on PostgreSQL.
    pub(crate) fn string(self, text: &str) -> String {
        let quoted = || format!("'{}'", text.replace('\'', "''"));
        match self {
            Dialect::Mysql if text.is_ascii() && !text.contains('\\') => quoted(),
            // The manual's 10.3.8 "Character Set Introducers": an introducer takes a hexadecimal literal.
            Dialect::Mysql => {
                let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("_utf8mb4 x'{hex}'")
            }
            Dialect::Postgres if text.contains('\\') => {
                format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
            }
            Dialect::Postgres => quoted(),
        }
    }

    /// The longest name that the server keeps: MySQL counts characters, PostgreSQL bytes, and cuts off the rest.
    pub(crate) fn is_too_long(self, name: &str) -> bool {
        match self {
            Dialect::Mysql => name.chars().count() > 64,
            Dialect::Postgres => name.len() > 63,
        }
    }

    /// The server's time as the column holds it: MySQL's `timestamp` is kept in UTC by itself.
    fn now(self) -> &'static str {
        match self {
            Dialect::Mysql => "CURRENT_TIMESTAMP",
            Dialect::Postgres => "pg_catalog.timezone('UTC', pg_catalog.clock_timestamp())",
        }
    }

    /// Makes the schema.
    pub(crate) fn create_schema(self, schema: &str) -> String {
        match self {
            Dialect::Mysql => format!("CREATE DATABASE IF NOT EXISTS {}", self.name(schema)),
            Dialect::Postgres => format!("CREATE SCHEMA IF NOT EXISTS {}", self.name(schema)),
        }
    }

    /// Makes the table, with the columns that ape-dts gives it; only MySQL's `text` is a `mediumtext` here.
    pub(crate) fn create_table(self, table: &TableId) -> String {
        let table = self.table(table);
        match self {
            Dialect::Mysql => format!(
                "CREATE TABLE IF NOT EXISTS {table} (id bigint NOT NULL AUTO_INCREMENT PRIMARY KEY, \
                 task_id varchar(255) NOT NULL, resumer_type varchar(255) NOT NULL, position_key varchar(255) NOT NULL, \
                 position_data mediumtext, created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, \
                 updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, \
                 UNIQUE KEY uk_task_id_task_type_position_key (task_id, resumer_type, position_key)) \
                 ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
            ),
            Dialect::Postgres => format!(
                "CREATE TABLE IF NOT EXISTS {table} (id bigserial PRIMARY KEY, task_id varchar(255) NOT NULL, \
                 resumer_type varchar(100) NOT NULL, position_key varchar(255) NOT NULL, position_data text, \
                 created_at timestamp NOT NULL DEFAULT {now}, updated_at timestamp NOT NULL DEFAULT {now}, \
                 CONSTRAINT uk_task_id_task_type_position_key UNIQUE (task_id, resumer_type, position_key))",
                now = self.now()
            ),
        }
    }

    /// Asks for the account as the server knows it.
    pub(crate) fn current_user(self) -> &'static str {
        match self {
            Dialect::Mysql => "SELECT CURRENT_USER()",
            Dialect::Postgres => "SELECT CURRENT_USER",
        }
    }

    /// What the account needs once the table is there, as the administrator grants it.
    pub(crate) fn grant(self, table: &TableId, user: &str) -> String {
        let name = self.table(table);
        match self {
            Dialect::Mysql => {
                let account = match user.rsplit_once('@') {
                    Some((user, host)) => format!("{}@{}", self.string(user), self.string(host)),
                    None => self.string(user),
                };
                format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {account}")
            }
            Dialect::Postgres => {
                let schema = self.name(&table.schema);
                let sequence = format!("{}_id_seq", table.table);
                // The server shortens the sequence's name if it must.
                let sequence = if self.is_too_long(&sequence) {
                    format!("ALL SEQUENCES IN SCHEMA {schema}")
                } else {
                    format!("SEQUENCE {schema}.{}", self.name(&sequence))
                };
                let user = self.name(user);
                format!(
                    "GRANT USAGE ON SCHEMA {schema} TO {user}; GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {user}; \
                     GRANT USAGE ON {sequence} TO {user}"
                )
            }
        }
    }

    /// Rows of a table in a list of `(…)`, replaced where they are.
    pub(crate) fn upsert(self, table: &str, rows: &str) -> String {
        let insert = format!(
            "INSERT INTO {table} (task_id, resumer_type, position_key, position_data, updated_at) VALUES {rows}"
        );
        match self {
            Dialect::Mysql => format!(
                "{insert} ON DUPLICATE KEY UPDATE position_data = VALUES(position_data), updated_at = VALUES(updated_at)"
            ),
            Dialect::Postgres => format!(
                "{insert} ON CONFLICT (task_id, resumer_type, position_key) DO UPDATE SET position_data = \
                 EXCLUDED.position_data, updated_at = EXCLUDED.updated_at"
            ),
        }
    }

    /// One row of [`Dialect::upsert`]; `task_id` and `data` are literals.
    pub(crate) fn row(self, task_id: &str, resumer_type: &str, key: &str, data: &str) -> String {
        format!("({task_id}, '{resumer_type}', '{key}', {data}, {})", self.now())
    }

    /// Deletes the chunks of tables, whose keys come as a list of literals.
    pub(crate) fn delete_chunks(self, table: &str, task_id: &str, keys: &str) -> String {
        let of_table = match self {
            Dialect::Mysql => "SUBSTRING_INDEX(position_key, '#', 1)",
            Dialect::Postgres => "pg_catalog.split_part(position_key, '#', 1)",
        };
        format!("DELETE FROM {table} WHERE task_id = {task_id} AND resumer_type = '{CHUNK}' AND {of_table} IN ({keys})")
    }

    /// All rows of a task, the oldest first: id, task_id, resumer_type, position_key, position_data, and when each was
    /// written, in UTC (MySQL's sessions are in UTC).
    pub(crate) fn select(self, table: &str, task_id: &str) -> String {
        let written = match self {
            Dialect::Mysql => "CAST(updated_at AS CHAR)",
            Dialect::Postgres => "pg_catalog.to_char(updated_at, 'YYYY-MM-DD HH24:MI:SS.US')",
        };
        format!(
            "SELECT id, task_id, resumer_type, position_key, position_data, {written} FROM {table} WHERE task_id = {task_id} \
             ORDER BY updated_at, id"
        )
    }

    /// Deletes what is known of tables but for their chunks; the keys come as a list of literals.
    pub(crate) fn delete_tables(self, table: &str, task_id: &str, keys: &str) -> String {
        format!(
            "DELETE FROM {table} WHERE task_id = {task_id} AND resumer_type IN ('{DOING}', '{FINISHED}') AND position_key IN \
             ({keys})"
        )
    }

    fn is_fence(self, task_id: &str) -> String {
        format!("task_id = {task_id} AND resumer_type = '{FENCE}' AND position_key = '{FENCE_KEY}'")
    }

    /// The fence as it is, and the seconds since it was renewed. `held` until the transaction's end.
    pub(crate) fn select_fence(self, table: &str, task_id: &str, held: bool) -> String {
        let age = match self {
            Dialect::Mysql => "TIMESTAMPDIFF(SECOND, updated_at, CURRENT_TIMESTAMP)".to_owned(),
            Dialect::Postgres => format!("pg_catalog.floor(EXTRACT(EPOCH FROM {} - updated_at))::bigint", self.now()),
        };
        let held = if held { " FOR UPDATE" } else { "" };
        format!("SELECT position_data, {age} FROM {table} WHERE {}{held}", self.is_fence(task_id))
    }

    /// Puts up the first fence of a task.
    pub(crate) fn insert_fence(self, table: &str, task_id: &str, fence: &str) -> String {
        let row = self.row(task_id, FENCE, FENCE_KEY, &self.string(fence));
        format!("INSERT INTO {table} (task_id, resumer_type, position_key, position_data, updated_at) VALUES {row}")
    }

    /// Replaces the fence, or renews it.
    pub(crate) fn update_fence(self, table: &str, task_id: &str, fence: &str) -> String {
        let (now, data) = (self.now(), self.string(fence));
        format!("UPDATE {table} SET position_data = {data}, updated_at = {now} WHERE {}", self.is_fence(task_id))
    }

    /// Gives one row as long as the fence is as `fence` says, and holds it so until the transaction's end; several
    /// transactions of one holder may do so at a time.
    pub(crate) fn guard(self, table: &str, task_id: &str, fence: &str) -> String {
        let share = match self {
            // Both families know this form.
            Dialect::Mysql => "LOCK IN SHARE MODE",
            Dialect::Postgres => "FOR SHARE",
        };
        let fence = self.string(fence);
        format!("SELECT id FROM {table} WHERE {} AND position_data = {fence} {share}", self.is_fence(task_id))
    }

    /// Gives one row as long as the fence is as `fence` says, once no transaction is left that has passed
    /// [`Dialect::guard`].
    pub(crate) fn wait(self, table: &str, task_id: &str, fence: &str) -> String {
        let fence = self.string(fence);
        format!("SELECT id FROM {table} WHERE {} AND position_data = {fence} FOR UPDATE", self.is_fence(task_id))
    }

    /// Gives a row if the position of this place is this one; `task_id` and `data` are literals.
    pub(crate) fn is_written(self, table: &str, task_id: &str, resumer_type: &str, key: &str, data: &str) -> String {
        // Byte by byte, whatever collation an older table has: keys that differ in case are different keys.
        let position = match self {
            Dialect::Mysql => "CONVERT(position_data USING utf8mb4) COLLATE utf8mb4_bin",
            Dialect::Postgres => "position_data",
        };
        format!(
            "SELECT id FROM {table} WHERE task_id = {task_id} AND resumer_type = '{resumer_type}' AND position_key = '{key}' \
             AND {position} = {data}"
        )
    }

    /// Deletes a task's positions and leaves its fence.
    pub(crate) fn delete_positions(self, table: &str, task_id: &str) -> String {
        format!("DELETE FROM {table} WHERE task_id = {task_id} AND resumer_type <> '{FENCE}'")
    }
}
