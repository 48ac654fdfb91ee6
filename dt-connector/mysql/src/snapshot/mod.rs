//! Reading a snapshot.

pub mod plan;
mod read;
mod split;

use std::cmp::Ordering;

use async_trait::async_trait;
use dt_common::config::{CdcStart, ExtractType, ExtractorConfig, MysqlCdcOptions};
use dt_common::position::{MysqlCdc, OrderKey};
use dt_common::schema::TableSchema;
use dt_common::{Error, Position, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::{
    Extractor, Followed, HeadRoom, Held, ReadOptions, RowFormat, Source, Start, StreamOptions, TableTask, Whence,
};
use mysql_async::Conn;

use crate::cdc::standing;
use crate::cdc::stream::{MysqlStream, Opening};
use crate::config::Address;
use crate::connect::{self, Server, Session};
use crate::{catalog, snapshot};

/// A MySQL or MariaDB server to read from.
#[derive(Debug)]
pub struct MysqlSource {
    address: Address,
    server: Server,
    stream: Option<Follow>,
}

/// What following changes needs beside the address.
#[derive(Debug)]
struct Follow {
    options: MysqlCdcOptions,
    fail_over: Vec<Address>,
}

impl MysqlSource {
    /// Connects for the first time; an address that does not answer is an error at once. Of several addresses, the
    /// first that answers is the source.
    pub async fn connect(config: &ExtractorConfig) -> Result<Self> {
        let address = Address::new(&config.endpoint, "extractor")?;
        let follow = match &config.extract_type {
            ExtractType::Snapshot => None,
            ExtractType::PgCdc(_) | ExtractType::MongoCdc(_) => {
                return Err(Error::fatal("a MySQL source was asked for another database's stream"));
            }
            ExtractType::MysqlCdc(options) => {
                let fail_over = options.fail_over.iter().map(|endpoint| Address::new(endpoint, "extractor"));
                Some(Follow { fail_over: fail_over.collect::<Result<_>>()?, options: (**options).clone() })
            }
        };
        let mut addresses = vec![address];
        addresses.extend(follow.iter().flat_map(|follow| follow.fail_over.iter().cloned()));
        let mut first_error = None;
        for (at, address) in addresses.iter().enumerate() {
            match connect::discover(address).await {
                Ok((server, _)) => {
                    let stream = follow.map(|follow| {
                        let mut others = addresses.clone();
                        others.rotate_left(at);
                        Follow { fail_over: others.split_off(1), ..follow }
                    });
                    return Ok(MysqlSource { address: address.clone(), server, stream });
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        Err(first_error.expect("source: there is at least one address"))
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
        let flavor = self.server.flavor;
        self.asking(async |conn| catalog::tables(conn, flavor, filter).await).await
    }

    async fn check_start(&mut self, table: &TableSchema, start: &Start) -> Result<()> {
        plan::TablePlan::new(table, None)?.start_ranges(start).map(drop)
    }

    async fn split(&mut self, table: &TableSchema, chunk_rows: u64) -> Result<Vec<OrderKey>> {
        let flavor = self.server.flavor;
        self.asking(async |conn| split::split(conn, flavor, table, chunk_rows).await).await
    }

    async fn stream(&mut self, resume: Option<Position>, options: StreamOptions) -> Result<Box<dyn Extractor>> {
        let Some(follow) = &self.stream else {
            return Err(Error::fatal("a stream of a source that was opened for a snapshot"));
        };
        refuse_other_formats(options.format)?;
        let stored = match resume {
            None => None,
            Some(Position::MysqlCdc(stored)) => Some(stored),
            Some(_) => return Err(Error::user("the stored position is not one of a MySQL binlog")),
        };
        let mut addresses = vec![self.address.clone()];
        addresses.extend(follow.fail_over.iter().cloned());
        let opening = Opening {
            addresses,
            server: self.server.clone(),
            options: follow.options.clone(),
            stream: options,
            stored,
        };
        Ok(Box::new(MysqlStream::open(opening).await?))
    }

    fn followed(&self) -> Followed {
        // A binlog's tables are met as they come; TRUNCATE is DDL.
        Followed::default()
    }

    async fn checkpoint(&mut self, whence: Whence, options: StreamOptions) -> Result<Position> {
        let Some(follow) = &self.stream else {
            return Err(Error::fatal("a stream of a source that was opened for a snapshot"));
        };
        let lineage = options.lineage.clone();
        let mut opening = Opening {
            addresses: vec![self.address.clone()],
            server: self.server.clone(),
            options: follow.options.clone(),
            stream: options,
            stored: None,
        };
        match whence {
            Whence::Time(time) => opening.options.start = CdcStart::Time(time),
            Whence::Place(Position::MysqlCdc(place)) => {
                opening.stored = Some(place.clone());
                MysqlStream::open(opening).await?.check_begins_between_transactions().await?;
                return Ok(Position::MysqlCdc(place));
            }
            Whence::Place(_) => return Err(Error::user("the position is not one of a MySQL binlog")),
        }
        let stream = MysqlStream::open(opening).await?;
        let begins = stream.begins_at().cloned().ok_or_else(|| Error::fatal("a stream that begins nowhere"))?;
        Ok(Position::MysqlCdc(MysqlCdc { lineage, ..begins }))
    }

    fn order(&self, one: &Position, other: &Position) -> Option<Ordering> {
        match (one, other) {
            (Position::MysqlCdc(one), Position::MysqlCdc(other)) => standing::order(self.server.flavor, one, other),
            _ => None,
        }
    }

    async fn head_room(&mut self, checkpoint: &Position) -> Result<HeadRoom> {
        let Position::MysqlCdc(stored) = checkpoint else {
            return Err(Error::user("the stored position is not one of a MySQL binlog"));
        };
        let by_gtid = self.stream.as_ref().is_some_and(|follow| follow.options.gtid_enabled);
        standing::head_room(&self.address, &self.server, by_gtid, stored).await
    }

    async fn holds_rows(&mut self, tables: &[(TableId, Option<String>)]) -> Result<Vec<Held>> {
        self.asking(async |conn| catalog::holds_rows(conn, tables).await).await
    }

    async fn snapshot(&mut self, tables: Vec<TableTask>, options: ReadOptions) -> Result<Box<dyn Extractor>> {
        tables.iter().try_for_each(|task| refuse_other_formats(task.format))?;
        if options.page_rows == 0 {
            return Err(Error::config("a page needs at least one row"));
        }
        Ok(Box::new(snapshot::read::MysqlSnapshot::new(self.address.clone(), self.server.flavor, tables, options)))
    }
}

impl MysqlSource {
    async fn asking<T>(&self, questions: impl AsyncFnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        connect::asking(&self.address, self.server.flavor, &Session::Read, questions).await
    }
}

fn refuse_other_formats(format: RowFormat) -> Result<()> {
    match format {
        RowFormat::MysqlText => Ok(()),
        RowFormat::PgBinary | RowFormat::PgText | RowFormat::Bson => {
            Err(Error::fatal("rows of a MySQL source were asked for in another database's form"))
        }
    }
}
