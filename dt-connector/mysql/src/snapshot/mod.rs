//! Reading a snapshot.

pub mod plan;
mod read;

use async_trait::async_trait;
use dt_common::config::Endpoint;
use dt_common::schema::TableSchema;
use dt_common::{Error, Result};
use dt_connector::filter::Filter;
use dt_connector::{Extractor, ReadOptions, RowFormat, Source, Start, TableTask};

use crate::config::Address;
use crate::connect::{self, Server, Session};
use crate::{catalog, snapshot};

/// A MySQL or MariaDB server to read from.
#[derive(Debug)]
pub struct MysqlSource {
    address: Address,
    server: Server,
}

impl MysqlSource {
    /// Connects for the first time; an address that does not answer is an error at once.
    pub async fn connect(endpoint: &Endpoint) -> Result<Self> {
        let address = Address::new(endpoint, "extractor")?;
        let (server, _) = connect::discover(&address).await?;
        Ok(MysqlSource { address, server })
    }
}

#[async_trait]
impl Source for MysqlSource {
    fn identity(&self) -> &str {
        &self.server.identity
    }

    fn describe(&self) -> String {
        self.server.to_string()
    }

    fn formats(&self) -> &[RowFormat] {
        &[RowFormat::MysqlText]
    }

    async fn tables(&mut self, filter: &Filter) -> Result<Vec<TableSchema>> {
        let mut conn = connect::connect(&self.address, self.server.flavor, &Session::Read).await?;
        let tables = catalog::tables(&mut conn, self.server.flavor, filter).await?;
        // The server closes its end; a failure to say good-bye changes nothing.
        let _ = conn.disconnect().await;
        Ok(tables)
    }

    fn check_start(&self, table: &TableSchema, start: &Start) -> Result<()> {
        plan::TablePlan::new(table, None)?.start_ranges(start).map(drop)
    }

    async fn snapshot(&mut self, tables: Vec<TableTask>, options: ReadOptions) -> Result<Box<dyn Extractor>> {
        match options.format {
            RowFormat::MysqlText => {}
        }
        if options.page_rows == 0 {
            return Err(Error::config("a page needs at least one row"));
        }
        Ok(Box::new(snapshot::read::MysqlSnapshot::new(self.address.clone(), self.server.flavor, tables, options)))
    }
}
