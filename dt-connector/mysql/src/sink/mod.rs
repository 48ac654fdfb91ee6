//! Writing: the rows of a snapshot (`write`, by `load` or by `statement`) and the changes of a stream ([`changes`]).

pub mod changes;
pub mod check;
mod failure;
mod inscription;
mod load;
mod spread;
pub mod statement;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dt_common::config::{Endpoint, Events};
use dt_common::position::PositionWrite;
use dt_common::schema::RoutedTable;
use dt_common::{Result, TableId};
use dt_connector::{Held, RowFormat, SinkOptions, Sinker, Spreader, Target};
use mysql_async::Conn;

use crate::catalog;
use crate::config::Address;
use crate::connect::{self, Server, Session};
use spread::MysqlSpreader;
use statement::{Duplicates, WritePlan};

/// A MySQL or MariaDB server to write to.
#[derive(Debug)]
pub struct MysqlTarget {
    address: Address,
    server: Server,
    options: SinkOptions,
    plans: Arc<HashMap<TableId, WritePlan>>,
}

impl MysqlTarget {
    /// Connects for the first time; an address that does not answer is an error at once.
    pub async fn connect(endpoint: &Endpoint, options: SinkOptions) -> Result<Self> {
        let address = Address::new(endpoint, "sinker")?;
        let (server, _) = connect::discover(&address).await?;
        Ok(MysqlTarget { address, server, options, plans: Arc::default() })
    }

    fn session(&self) -> Session {
        Session::Write {
            disable_foreign_key_checks: self.options.disable_foreign_key_checks,
            transaction_isolation: self.options.transaction_isolation,
        }
    }

    async fn asking<T>(&self, questions: impl AsyncFnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        connect::asking(&self.address, self.server.flavor, &self.session(), questions).await
    }
}

#[async_trait]
impl Target for MysqlTarget {
    fn identity(&self) -> &str {
        &self.server.identity
    }

    fn describe(&self) -> String {
        self.server.to_string()
    }

    fn formats(&self) -> &[RowFormat] {
        &[RowFormat::MysqlText]
    }

    async fn prepare(&mut self, tables: &[Arc<RoutedTable>], offered: &[RowFormat]) -> Result<Vec<RowFormat>> {
        let mut schemas: Vec<&str> = tables.iter().map(|table| table.target.schema.as_str()).collect();
        schemas.sort_unstable();
        schemas.dedup();
        let found = if schemas.is_empty() {
            check::Found::default()
        } else {
            let (flavor, schemas) = (self.server.flavor, catalog::schema_list(schemas.into_iter()));
            self.asking(async |conn| check::Found::read(conn, flavor, &schemas).await).await?
        };
        check::compare(tables, &found)?;
        if !self.server.local_infile {
            tracing::info!(
                "{} does not accept LOAD DATA LOCAL (local_infile is off): rows are written as multi-row statements, which cost it about twice as much",
                self.server
            );
        }
        let plans = tables.iter().map(|table| {
            let columns = found.columns(&table.target);
            (table.source.id.clone(), WritePlan::new(table, columns, Duplicates::of(&self.options)))
        });
        self.plans = Arc::new(plans.collect());
        Ok(vec![offered[0]; tables.len()])
    }

    async fn take_back(&mut self, table: &RoutedTable, rows: u64, position: &PositionWrite) -> Result<()> {
        self.asking(async |conn| inscription::take_back(conn, table, rows, position).await).await
    }

    async fn check_changes(&mut self, _tables: &[TableId], _events: Events, _truncates: bool) -> Result<()> {
        // A stream of MySQL meets its tables as it goes, and its target's privileges with them.
        Ok(())
    }

    async fn spreader(&mut self) -> Result<Option<Box<dyn Spreader>>> {
        if !self.options.disable_foreign_key_checks {
            return Ok(None);
        }
        Ok(Some(Box::new(MysqlSpreader::new(self.address.clone(), self.server.clone(), self.session()))))
    }

    async fn holds_rows(&mut self, tables: &[TableId]) -> Result<Vec<Held>> {
        let tables: Vec<_> = tables.iter().map(|table| (table.clone(), None)).collect();
        self.asking(async |conn| catalog::holds_rows(conn, &tables).await).await
    }

    fn sinker(&self) -> Box<dyn Sinker> {
        Box::new(write::MysqlSinker::new(
            self.address.clone(),
            self.server.clone(),
            self.session(),
            &self.options,
            self.plans.clone(),
        ))
    }
}
