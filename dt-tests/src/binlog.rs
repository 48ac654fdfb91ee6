//! The end of a server's binlog, as the server tells it.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::db::Db;
use crate::deadline;

/// How long others may hold XA transactions open, or the lock.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a stream may begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The newest file.
    pub file: String,
    /// Its end, in bytes.
    pub position: String,
    /// Everything that has been executed, in one line.
    pub gtids: String,
}

/// The end of the binlog as it is now.
///
/// # Errors
/// The server has no binlog, or does not say.
pub fn end(source: &Db) -> Result<Place> {
    let status = source.rows("SHOW BINARY LOG STATUS").or_else(|_| source.rows("SHOW MASTER STATUS"))?;
    let mut row = status.into_iter().next().context("the server has no binlog")?.into_iter().flatten();
    let (file, position) = row.next().zip(row.next()).context("the server does not say where its binlog ends")?;
    // MySQL's has the set in the same row; MariaDB has a variable of its own.
    let gtids =
        source.value("SELECT @@GLOBAL.gtid_executed").or_else(|_| source.value("SELECT @@GLOBAL.gtid_binlog_pos"));
    let gtids = gtids?.unwrap_or_default().replace('\n', "");
    Ok(Place { file, position, gtids })
}

/// The end of the binlog, while no XA transaction is prepared: a stream that begins there will not meet the commit of
/// one whose rows are before it, whatever others write to the server.
///
/// # Errors
/// As [`end`]; or one is always open.
pub fn beginning(source: &Db) -> Result<Place> {
    deadline::until("no XA transaction is prepared", PATIENCE, || {
        // Nothing is prepared or committed meanwhile.
        source.exec("FLUSH TABLES WITH READ LOCK")?;
        let is_open = !source.rows("XA RECOVER")?.is_empty();
        let place = end(source)?;
        source.exec("UNLOCK TABLES")?;
        Ok((!is_open).then_some(place))
    })
}
