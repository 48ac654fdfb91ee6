//! Reading a snapshot.
//!
//! | room | what is in it |
//! |---|---|
//! | [`plan`] | the commands (pure) |
//! | [`gathered`] | the documents of a block (pure) |
//! | [`keeper`] | the moment that all readers see |
//! | `read` | the documents, and lost connections made again |
//! | `split` | where a collection is cut into chunks |

pub mod gathered;
pub mod keeper;
pub mod plan;
mod read;
mod split;

use std::cmp::Ordering;
use std::collections::HashMap;

use async_trait::async_trait;
use dt_common::config::{ExtractType, ExtractorConfig, MongoCdcOptions};
use dt_common::position::OrderKey;
use dt_common::schema::TableSchema;
use dt_common::{Error, Position, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::{
    Extractor, Followed, HeadRoom, Held, ReadOptions, RowFormat, Source, Start, StreamOptions, TableTask, Whence,
};

use crate::catalog::{self, Collection};
use crate::cdc::place::{Place, Time};
use crate::cdc::stream::{MongoStream, Opening};
use crate::cdc::{ask, resume, standing};
use crate::config::Address;
use crate::connect::Server;

/// A MongoDB server to read from.
#[derive(Debug)]
pub struct MongoSource {
    server: Server,
    collections: HashMap<TableId, Collection>,
    stream: Option<MongoCdcOptions>,
}

impl MongoSource {
    /// Connects for the first time; an address that does not answer is an error at once.
    pub async fn connect(config: &ExtractorConfig) -> Result<Self> {
        let stream = match &config.extract_type {
            ExtractType::Snapshot => None,
            ExtractType::MongoCdc(options) => Some((**options).clone()),
            ExtractType::MysqlCdc(_) | ExtractType::PgCdc(_) => {
                return Err(Error::fatal("a MongoDB source was opened with another database's options"));
            }
        };
        let address = Address::new(&config.endpoint, config.mongo.as_ref(), "extractor").await?;
        Ok(MongoSource { server: Server::discover(address).await?, collections: HashMap::new(), stream })
    }
}

#[async_trait]
impl Source for MongoSource {
    fn identity(&self) -> &str {
        self.server.identity()
    }

    fn describe(&self) -> String {
        self.server.to_string()
    }

    fn formats(&self) -> &[RowFormat] {
        &[RowFormat::Bson]
    }

    async fn tables(&mut self, filter: &Filter) -> Result<Vec<TableSchema>> {
        let found = catalog::collections(&self.server, filter).await?;
        let schemas = found.iter().map(|collection| collection.schema.clone()).collect();
        self.collections = found.into_iter().map(|found| (found.schema.id.clone(), found)).collect();
        Ok(schemas)
    }

    async fn check_start(&mut self, table: &TableSchema, start: &Start) -> Result<()> {
        plan::after(table, start).map(drop)
    }

    async fn split(&mut self, table: &TableSchema, chunk_rows: u64) -> Result<Vec<OrderKey>> {
        split::split(&self.server, table, chunk_rows).await
    }

    async fn stream(&mut self, resume: Option<Position>, options: StreamOptions) -> Result<Box<dyn Extractor>> {
        let Some(follow) = self.stream.clone() else {
            return Err(Error::fatal("a MongoDB source that was opened for a snapshot was asked for a stream"));
        };
        match options.format {
            RowFormat::Bson => {}
            RowFormat::MysqlText | RowFormat::PgBinary | RowFormat::PgText => {
                return Err(Error::fatal("changes of a MongoDB source were asked for in another database's form"));
            }
        }
        let stored = match resume {
            None => None,
            Some(Position::MongoCdc(stored)) => Some(stored),
            // Invariant 5.
            Some(_) => {
                return Err(Error::user("the stored position is not one of a MongoDB stream").hint(
                    "give each task a [runtime] log_dir of its own, or set [resumer] resume_type=dummy to start over",
                ));
            }
        };
        let opening = Opening { server: self.server.clone(), options: follow, stream: options, stored };
        Ok(Box::new(MongoStream::open(opening).await?))
    }

    fn followed(&self) -> Followed {
        // Collections are met as they come.
        Followed::default()
    }

    async fn checkpoint(&mut self, whence: Whence, options: StreamOptions) -> Result<Position> {
        let time = match whence {
            // After every event a stream can be resumed.
            Whence::Place(place) => return Ok(place),
            Whence::Time(time) => time,
        };
        let Some(follow) = &self.stream else {
            return Err(Error::fatal("a MongoDB source that was opened for a snapshot was asked for a stream"));
        };
        let facts = ask::facts(&self.server).await?;
        resume::check_followable(&facts, follow.source)?;
        let seconds = u32::try_from(time)
            .map_err(|_| Error::user("the time to begin at is beyond what the server's timestamps can say"))?;
        let time = Time { seconds, increment: 0 };
        resume::check_covered(&facts, time, true)?;
        Ok(Place { token: Vec::new(), time }.as_position(&options.lineage))
    }

    fn order(&self, one: &Position, other: &Position) -> Option<Ordering> {
        match (one, other) {
            (Position::MongoCdc(one), Position::MongoCdc(other)) => standing::order(one, other),
            _ => None,
        }
    }

    async fn head_room(&mut self, checkpoint: &Position) -> Result<HeadRoom> {
        let Position::MongoCdc(stored) = checkpoint else {
            return Err(Error::user("the stored position is not one of a MongoDB stream"));
        };
        standing::head_room(&self.server, stored).await
    }

    async fn holds_rows(&mut self, tables: &[(TableId, Option<String>)]) -> Result<Vec<Held>> {
        // `where_conditions` are for columns, and are refused for collections.
        let collections: Vec<TableId> = tables.iter().map(|(id, _)| id.clone()).collect();
        catalog::holds_documents(&self.server, &collections).await
    }

    async fn snapshot(&mut self, tables: Vec<TableTask>, options: ReadOptions) -> Result<Box<dyn Extractor>> {
        let tables = tables.into_iter().map(|task| {
            match task.format {
                RowFormat::Bson => {}
                RowFormat::MysqlText | RowFormat::PgBinary | RowFormat::PgText => {
                    return Err(Error::fatal(
                        "documents of a MongoDB source were asked for in another database's form",
                    ));
                }
            }
            let known = self.collections.get(&task.table.source.id);
            let found = known.ok_or_else(|| {
                Error::fatal("a collection that the source was not asked about")
                    .with("collection", &task.table.source.id)
            })?;
            let after = plan::after(&found.schema, &task.start)?;
            let until = plan::until(&task)?;
            Ok(read::Reading { document_bytes: found.document_bytes, after, until, task })
        });
        let tables = tables.collect::<Result<Vec<_>>>()?;
        Ok(Box::new(read::MongoSnapshot::new(self.server.clone(), tables, options)))
    }
}
