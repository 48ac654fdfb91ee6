//! The position table itself: looked at, made if it is missing, widened if it is ape-dts's.

use dt_common::{Error, Result, TableId};

use super::dialect::Dialect;
use super::link::{Failure, FailureKind, TextRow};
use super::session::Session;

/// What a `text` column of MySQL holds.
const TEXT_BYTES: usize = 65_535;
/// What a `mediumtext` holds.
const MEDIUMTEXT_BYTES: usize = 16 * 1024 * 1024 - 1;

const COLUMNS: [&str; 7] =
    ["id", "task_id", "resumer_type", "position_key", "position_data", "created_at", "updated_at"];

/// What was found of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The bytes that `position_data` holds; `None` for any number.
    pub(crate) data_bytes: Option<usize>,
}

/// The table, made if it is missing. `position_data` holds as much as is known to fit.
///
/// # Errors
/// It cannot be made, or what has its name is no position table. A privilege that is missing comes with the statement
/// that the administrator can run.
pub(crate) async fn ensure(session: &mut Session, dialect: Dialect, table: &TableId) -> Result<Found> {
    check_names(dialect, table)?;
    for _ in 0..3 {
        if let Some(found) = look(session, dialect, table).await? {
            return widen(session, dialect, table, found).await;
        }
        make(session, dialect, table).await?;
    }
    let grant = grant(session, dialect, table).await;
    Err(Error::user("the position table was made and is not to be seen")
        .with("table", dialect.table(table))
        .hint(format!("as an administrator: {grant}")))
}

/// The table as it is; `None` if it is not there.
pub(crate) async fn look(session: &mut Session, dialect: Dialect, table: &TableId) -> Result<Option<Found>> {
    let (schema, name) = (dialect.string(&table.schema), dialect.string(&table.table));
    let columns = session.rows(&columns_of(dialect, &schema, &name)).await?;
    if columns.is_empty() {
        return Ok(None);
    }
    let text = |row: &TextRow, at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let names: Vec<String> = columns.iter().map(|row| text(row, 0).to_lowercase()).collect();
    if let Some(missing) = COLUMNS.iter().find(|column| !names.iter().any(|name| name == *column)) {
        return Err(Error::user("a table of this name is there, and it is no position table")
            .with("table", dialect.table(table))
            .with("without the column", missing)
            .hint("choose another [resumer] table_full_name; the table is made by the task"));
    }
    let keys = session.rows(&unique_keys_of(dialect, &schema, &name)).await?;
    let is_unique = keys.iter().any(|row| text(row, 0).to_lowercase() == "position_key,resumer_type,task_id");
    if !is_unique {
        let key = "ADD CONSTRAINT uk_task_id_task_type_position_key UNIQUE (task_id, resumer_type, position_key)";
        return Err(Error::user("the position table has no unique key over task_id, resumer_type and position_key")
            .with("table", dialect.table(table))
            .hint(format!("ALTER TABLE {} {key}", dialect.table(table))));
    }
    match dialect {
        Dialect::Postgres => Ok(Some(Found { data_bytes: None })),
        Dialect::Mysql => {
            let engine = columns.first().map(|row| text(row, 2)).unwrap_or_default();
            if !engine.eq_ignore_ascii_case("InnoDB") {
                return Err(Error::user("the position table has no transactions")
                    .with("table", dialect.table(table))
                    .with("engine", engine)
                    .hint(format!("ALTER TABLE {} ENGINE=InnoDB", dialect.table(table))));
            }
            let data = columns.iter().find(|row| text(row, 0).eq_ignore_ascii_case("position_data"));
            let bytes = data.and_then(|row| text(row, 1).parse().ok()).unwrap_or(TEXT_BYTES);
            Ok(Some(Found { data_bytes: Some(bytes) }))
        }
    }
}

/// Names, and with MySQL the bytes that each holds and the table's engine.
fn columns_of(dialect: Dialect, schema: &str, name: &str) -> String {
    match dialect {
        Dialect::Mysql => format!(
            "SELECT c.column_name, c.character_octet_length, t.engine FROM information_schema.columns c JOIN \
             information_schema.tables t ON t.table_schema = c.table_schema AND t.table_name = c.table_name WHERE \
             c.table_schema = {schema} AND c.table_name = {name}"
        ),
        Dialect::Postgres => format!(
            "SELECT a.attname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN \
             pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = {schema} AND c.relname = {name} AND \
             a.attnum > 0 AND NOT a.attisdropped"
        ),
    }
}

/// Each unique key's columns by name, joined by commas.
fn unique_keys_of(dialect: Dialect, schema: &str, name: &str) -> String {
    match dialect {
        Dialect::Mysql => format!(
            "SELECT GROUP_CONCAT(LOWER(column_name) ORDER BY LOWER(column_name)) FROM information_schema.statistics WHERE \
             table_schema = {schema} AND table_name = {name} AND non_unique = 0 AND sub_part IS NULL GROUP BY index_name"
        ),
        Dialect::Postgres => format!(
            "SELECT (SELECT pg_catalog.string_agg(a.attname::text, ',' ORDER BY a.attname::text COLLATE pg_catalog.\"C\") \
             FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)) FROM \
             pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid JOIN pg_catalog.pg_namespace n ON \
             n.oid = c.relnamespace WHERE n.nspname = {schema} AND c.relname = {name} AND i.indisunique AND i.indisvalid \
             AND i.indpred IS NULL"
        ),
    }
}

async fn make(session: &mut Session, dialect: Dialect, table: &TableId) -> Result<()> {
    let schema = dialect.string(&table.schema);
    let is_there = match dialect {
        Dialect::Mysql => format!("SELECT 1 FROM information_schema.schemata WHERE schema_name = {schema}"),
        Dialect::Postgres => format!("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = {schema}"),
    };
    if session.rows(&is_there).await?.is_empty() {
        let statement = dialect.create_schema(&table.schema);
        made(session.exec(&statement).await, session, dialect, table, "the schema", &statement).await?;
    }
    let statement = dialect.create_table(table);
    made(session.exec(&statement).await, session, dialect, table, "the table", &statement).await
}

/// The statements that grant what the account needs, by the name that the server has for it.
async fn grant(session: &mut Session, dialect: Dialect, table: &TableId) -> String {
    let named = session.rows(dialect.current_user()).await.unwrap_or_default();
    let named = named.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
    dialect.grant(table, &named.unwrap_or_else(|| session.address().user.clone()))
}

async fn made(
    ended: Result<(), Failure>,
    session: &mut Session,
    dialect: Dialect,
    table: &TableId,
    what: &str,
    statement: &str,
) -> Result<()> {
    match ended {
        Ok(()) => Ok(()),
        // Somebody else makes it at the same moment.
        Err(Failure { kind: FailureKind::Duplicate, .. }) => Ok(()),
        Err(Failure { kind: FailureKind::Denied, error }) => {
            let then = match what {
                "the schema" => format!("; {}", dialect.create_table(table)),
                _ => String::new(),
            };
            let grant = grant(session, dialect, table).await;
            Err(Error::user(format!("{what} of the position table is missing, and the account may not make it"))
                .with("table", dialect.table(table))
                .with("privilege", "CREATE")
                .caused_by(error)
                .hint(format!("as an administrator: {statement}{then}; {grant}")))
        }
        Err(failure) => Err(failure.error.with("making", what)),
    }
}

/// A `text` column is too small for a fragmented GTID set, or for where a large table is cut.
async fn widen(session: &mut Session, dialect: Dialect, table: &TableId, found: Found) -> Result<Found> {
    let Some(bytes) = found.data_bytes.filter(|bytes| *bytes < MEDIUMTEXT_BYTES) else { return Ok(found) };
    let statement = format!("ALTER TABLE {} MODIFY position_data mediumtext", dialect.table(table));
    match session.exec(&statement).await {
        Ok(()) => {
            tracing::info!("{}: position_data is a mediumtext now", dialect.table(table));
            Ok(Found { data_bytes: Some(MEDIUMTEXT_BYTES) })
        }
        // Nothing stands against it until a position is larger; that position is refused by name then.
        Err(failure) => {
            tracing::warn!(
                "{}: a position of more than {bytes} bytes cannot be recorded there. As an administrator: {statement} ({})",
                dialect.table(table),
                failure.error
            );
            Ok(found)
        }
    }
}

fn check_names(dialect: Dialect, table: &TableId) -> Result<()> {
    let too_long = [&table.schema, &table.table].into_iter().find(|name| dialect.is_too_long(name));
    match too_long {
        None => Ok(()),
        Some(name) => Err(Error::config("a name of the position table is longer than the server keeps")
            .with("name", name)
            .hint("choose a shorter [resumer] table_full_name")),
    }
}

/// A statement that reads or writes the table failed for want of a privilege: which, and how it is granted.
pub(crate) async fn denied(failure: Failure, session: &mut Session, dialect: Dialect, table: &TableId) -> Error {
    match failure.kind {
        FailureKind::Denied => {
            let grant = grant(session, dialect, table).await;
            Error::user("the account may not use the position table")
                .with("table", dialect.table(table))
                .with("privileges", "SELECT, INSERT, UPDATE, DELETE")
                .caused_by(failure.error)
                .hint(format!("as an administrator: {grant}"))
        }
        FailureKind::Duplicate | FailureKind::Other => failure.error,
    }
}
