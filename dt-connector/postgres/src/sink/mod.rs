//! Writing: the rows of a snapshot and the changes of a stream ([`changes`]).
//!
//! | room | what is in it |
//! |---|---|
//! | [`check`] | the comparison with the target, before the first row |
//! | [`fit`] | which types go together, and in which form (pure) |
//! | [`privileges`] | what a stream's changes ask for, before the first of them |
//! | `spread` | how tables are spread over lanes |
//! | [`statement`] | the statements (pure) |
//! | `write` | the rows |

pub mod changes;
pub mod check;
pub mod fit;
mod inscription;
pub mod privileges;
mod spread;
pub mod statement;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dt_common::config::{Endpoint, Events};
use dt_common::position::PositionWrite;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};
use dt_connector::{Held, RowFormat, SinkOptions, Sinker, Spreader, Target};

use crate::catalog;
use crate::config::Address;
use crate::connect::{self, Conn, Server, Session, text};
use check::Found;
use privileges::Needed;
use spread::PgSpreader;
use statement::{Duplicates, WritePlan};
use write::{PgSinker, Shared};

/// A PostgreSQL database to write to.
#[derive(Debug)]
pub struct PgTarget {
    address: Address,
    server: Server,
    options: SinkOptions,
    // The first connection, for what is asked first.
    conn: Option<Conn>,
    shared: Arc<Shared>,
}

impl PgTarget {
    /// Connects for the first time; an address that does not answer is an error at once, and so is a standby.
    pub async fn connect(endpoint: &Endpoint, options: SinkOptions) -> Result<Self> {
        let address = Address::new(endpoint, "sinker")?;
        let (server, conn) = connect::discover(&address, &session(&options)).await?;
        if server.is_in_recovery {
            return Err(Error::user(format!("{server} is a standby, and cannot be written to"))
                .hint("give [sinker] url the primary's address"));
        }
        let shared = Arc::new(Shared {
            address: address.clone(),
            server: server.clone(),
            session: session(&options),
            plans: HashMap::new(),
            options: options.clone(),
        });
        Ok(PgTarget { address, server, options, conn: Some(conn), shared })
    }
}

fn session(options: &SinkOptions) -> Session {
    Session::Write {
        disable_foreign_key_checks: options.disable_foreign_key_checks,
        transaction_isolation: options.transaction_isolation,
    }
}

/// Whether the target's sessions check foreign keys and fire triggers, though they were asked not to.
async fn checks_foreign_keys(conn: &Conn) -> Result<bool> {
    let statement = "SELECT pg_catalog.current_setting('session_replication_role')";
    let answer = conn.rows(statement, "asking for the session's role").await?;
    Ok(answer.first().is_none_or(|row| text(row, 0) != "replica"))
}

impl PgTarget {
    async fn asking<T>(&self, questions: impl AsyncFnOnce(&Conn) -> Result<T>) -> Result<T> {
        let session = session(&self.options);
        let asked = connect::asking(None, &self.address, &self.server, &session, questions).await?;
        let (answers, _) = asked;
        Ok(answers)
    }
}

#[async_trait]
impl Target for PgTarget {
    fn identity(&self) -> &str {
        &self.server.identity
    }

    fn describe(&self) -> String {
        self.server.to_string()
    }

    fn formats(&self) -> &[RowFormat] {
        &[RowFormat::PgBinary, RowFormat::PgText]
    }

    async fn prepare(&mut self, tables: &[Arc<RoutedTable>], offered: &[RowFormat]) -> Result<Vec<RowFormat>> {
        let (kept, session) = (self.conn.take(), session(&self.options));
        let mut schemas: Vec<&str> = tables.iter().map(|table| table.target.schema.as_str()).collect();
        schemas.sort_unstable();
        schemas.dedup();
        let server = &self.server;
        let questions = async |conn: &Conn| {
            let found = match schemas.is_empty() {
                true => Found::default(),
                false => Found::read(conn, server, schemas.into_iter()).await?,
            };
            Ok((found, checks_foreign_keys(conn).await?))
        };
        let ((found, checked), _) = connect::asking(kept, &self.address, server, &session, questions).await?;
        check::compare(tables, &found)?;
        if checked && self.options.disable_foreign_key_checks {
            tracing::warn!(
                "the account \"{}\" may not set session_replication_role at {}: foreign keys are checked and triggers fire there while rows are written; to avoid that: GRANT SET ON PARAMETER session_replication_role (PostgreSQL 15 and newer), or a superuser",
                self.address.user(),
                self.server
            );
        }
        let duplicates = Duplicates::of(self.options.conflict, checked);
        let formats: Vec<RowFormat> =
            tables.iter().map(|table| fit::format(found.pairs(table), found.columns(&table.target), offered)).collect();
        let plans = tables.iter().zip(&formats).enumerate().map(|(at, (table, format))| {
            (table.source.id.clone(), WritePlan::new(table, &found, *format, duplicates, at))
        });
        self.shared = Arc::new(Shared {
            address: self.address.clone(),
            server: self.server.clone(),
            session,
            plans: plans.collect(),
            options: self.options.clone(),
        });
        Ok(formats)
    }

    async fn take_back(&mut self, table: &RoutedTable, rows: u64, position: &PositionWrite) -> Result<()> {
        self.asking(async |conn| inscription::take_back(conn, table, rows, position).await).await
    }

    async fn check_changes(&mut self, tables: &[TableId], events: Events, truncates: bool) -> Result<()> {
        let granted = self.asking(async |conn| privileges::granted(conn, tables).await).await?;
        let needed = Needed::of(events, truncates, self.options.conflict);
        privileges::check(&granted, &needed)
    }

    async fn spreader(&mut self) -> Result<Option<Box<dyn Spreader>>> {
        let session = session(&self.options);
        let kept = self.conn.take();
        let asked = connect::asking(kept, &self.address, &self.server, &session, checks_foreign_keys).await?;
        let (checked, conn) = asked;
        if checked {
            return Ok(None);
        }
        Ok(Some(Box::new(PgSpreader::new(self.address.clone(), self.server.clone(), session, conn))))
    }

    async fn holds_rows(&mut self, tables: &[TableId]) -> Result<Vec<Held>> {
        let tables: Vec<_> = tables.iter().map(|table| (table.clone(), None)).collect();
        self.asking(async |conn| catalog::holds_rows(conn, &tables).await).await
    }

    fn sinker(&self) -> Box<dyn Sinker> {
        Box::new(PgSinker::new(self.shared.clone()))
    }
}
