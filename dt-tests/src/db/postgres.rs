//! A connection to PostgreSQL: the simple query protocol, in which every value is text.

use anyhow::{Context, Result};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

use super::TextRow;

/// What makes a value's text say all of it, and the same on every server.
const SETTINGS: &str = "-c DateStyle=ISO -c IntervalStyle=postgres -c TimeZone=UTC -c extra_float_digits=3 \
                        -c bytea_output=hex -c client_encoding=UTF8 -c xmloption=content -c lc_monetary=C \
                        -c client_min_messages=warning -c statement_timeout=0 -c lock_timeout=0";

pub(super) fn connect(
    runtime: &Runtime,
    port: u16,
    database: &str,
    user: &str,
    password: Option<&str>,
) -> Result<Client> {
    let mut config = Config::new();
    config.host("127.0.0.1").port(port).user(user).dbname(database).options(SETTINGS).application_name("dt-tests");
    if let Some(password) = password {
        config.password(password);
    }
    let (client, connection) = runtime
        .block_on(config.connect(NoTls))
        .with_context(|| format!("connect to `{database}` at 127.0.0.1:{port}"))?;
    // It works while a query is waited for; how it ends, each query says.
    runtime.spawn(connection);
    Ok(client)
}

pub(super) async fn rows(client: &Client, sql: &str) -> Result<Vec<TextRow>> {
    let messages = client.simple_query(sql).await?;
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()),
        // The number of rows, and the names of columns.
        _ => None,
    });
    Ok(rows.collect())
}
