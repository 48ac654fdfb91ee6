//! Reading a snapshot.
//!
//! | room | what is in it |
//! |---|---|
//! | [`plan`] | the statements (pure) |
//! | [`gathered`] | the rows of a block (pure) |
//! | [`spare`] | the buffers of blocks, used again |
//! | [`keeper`] | the snapshot that all readers share |
//! | `read` | the rows, and lost connections made again |
//! | `split` | where a table is cut into chunks |

pub mod gathered;
pub mod keeper;
pub mod plan;
mod read;
pub mod spare;
mod split;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use dt_common::config::{ExtractType, ExtractorConfig, PgCdcOptions};
use dt_common::position::OrderKey;
use dt_common::schema::TableSchema;
use dt_common::{Error, Position, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::{
    Extractor, Followed, HeadRoom, Held, ReadOptions, RowFormat, Source, Start, StreamOptions, TableTask, Whence,
};

use crate::catalog::{self, Definition};
use crate::cdc::standing;
use crate::cdc::stream::{Opening, PgStream};
use crate::config::Address;
use crate::connect::{self, Conn, Server, Session};
use plan::TablePlan;

/// A PostgreSQL database to read from.
#[derive(Debug)]
pub struct PgSource {
    address: Address,
    server: Server,
    // For what is asked before the first row.
    conn: Option<Conn>,
    stream: Option<PgCdcOptions>,
    tables: HashMap<TableId, Arc<Definition>>,
    followed: Followed,
}

impl PgSource {
    /// Connects for the first time; an address that does not answer is an error at once.
    pub async fn connect(config: &ExtractorConfig) -> Result<Self> {
        let address = Address::new(&config.endpoint, "extractor")?;
        let stream = match &config.extract_type {
            ExtractType::Snapshot => None,
            ExtractType::PgCdc(options) => Some((**options).clone()),
            ExtractType::MysqlCdc(_) | ExtractType::MongoCdc(_) => {
                return Err(Error::fatal("a PostgreSQL source was opened with another database's options"));
            }
        };
        let (server, conn) = connect::discover(&address, &Session::Read).await?;
        Ok(PgSource {
            address,
            server,
            conn: Some(conn),
            stream,
            tables: HashMap::new(),
            followed: Followed::default(),
        })
    }

    /// Asks over the connection that there is, or another, which is kept if all goes well.
    async fn asking<T>(&mut self, questions: impl AsyncFnOnce(&Conn) -> Result<T>) -> Result<T> {
        let kept = self.conn.take();
        let asked = connect::asking(kept, &self.address, &self.server, &Session::Read, questions).await?;
        let (answers, conn) = asked;
        self.conn = Some(conn);
        Ok(answers)
    }

    fn definition(&self, table: &TableId) -> Result<&Arc<Definition>> {
        self.tables
            .get(table)
            .ok_or_else(|| Error::fatal("a table that the source was not asked about").with("table", table))
    }
}

fn refused_key(error: tokio_postgres::Error) -> Error {
    let refused = crate::error::state(&error).is_some_and(|state| matches!(&state[..2], "22" | "23" | "42"));
    let error = crate::error::classify("the source does not take the stored key", error);
    match refused {
        true => error.with_class(dt_common::ErrorClass::User).hint(
            "its value does not fit the key's type; to copy the table again from the beginning, take its lines out of position.log and resume.config",
        ),
        false => error,
    }
}

#[async_trait]
impl Source for PgSource {
    fn identity(&self) -> &str {
        &self.server.identity
    }

    fn describe(&self) -> String {
        self.server.to_string()
    }

    fn formats(&self) -> &[RowFormat] {
        match self.stream {
            Some(_) => &[RowFormat::PgText],
            None => &[RowFormat::PgBinary, RowFormat::PgText],
        }
    }

    async fn tables(&mut self, filter: &Filter) -> Result<Vec<TableSchema>> {
        let server = self.server.clone();
        let found = self.asking(async |conn| catalog::tables(conn, &server, filter).await).await?;
        let schemas = found.iter().map(|table| table.schema.clone()).collect();
        self.tables = found.into_iter().map(|table| (table.schema.id.clone(), Arc::new(table))).collect();
        Ok(schemas)
    }

    async fn check_start(&mut self, table: &TableSchema, start: &Start) -> Result<()> {
        let definition = self.definition(&table.id)?;
        let plan = TablePlan::new(definition, None, RowFormat::PgText)?;
        let ranges = plan.start_ranges(start)?;
        if *start == Start::Beginning {
            return Ok(());
        }
        let statements = ranges.iter().map(|range| Ok(format!("EXPLAIN {}", plan.query(range)?)));
        let statements = statements.collect::<Result<Vec<String>>>()?;
        // Whether a column can hold a value is the server's to say: it reads the literals when it plans the query.
        let asked = self.asking(async |conn| {
            for statement in &statements {
                conn.client.batch_execute(statement).await.map_err(refused_key)?;
            }
            Ok(())
        });
        asked.await.map_err(|error| error.with("table", &table.id))
    }

    async fn split(&mut self, table: &TableSchema, chunk_rows: u64) -> Result<Vec<OrderKey>> {
        let definition = self.definition(&table.id)?.clone();
        self.asking(async |conn| split::split(conn, &definition, chunk_rows).await).await
    }

    async fn stream(&mut self, resume: Option<Position>, options: StreamOptions) -> Result<Box<dyn Extractor>> {
        let Some(configured) = &self.stream else {
            return Err(Error::fatal("a stream of a source that was opened for a snapshot"));
        };
        match options.format {
            RowFormat::PgText => {}
            RowFormat::PgBinary | RowFormat::MysqlText | RowFormat::Bson => {
                return Err(Error::fatal(
                    "changes of a PostgreSQL source were asked for in a form that they do not have",
                ));
            }
        }
        let stored = match resume {
            None => None,
            Some(Position::PgCdc(stored)) => Some(stored),
            Some(_) => return Err(Error::user("the stored position is not one of a PostgreSQL log")),
        };
        let opening = Opening {
            address: self.address.clone(),
            server: self.server.clone(),
            options: configured.clone(),
            stream: options,
            stored,
        };
        self.conn = None;
        let stream = PgStream::open(opening).await?;
        self.followed = stream.followed().clone();
        Ok(Box::new(stream))
    }

    fn followed(&self) -> Followed {
        self.followed.clone()
    }

    async fn checkpoint(&mut self, whence: Whence, _options: StreamOptions) -> Result<Position> {
        // A transaction is sent whole if it was committed behind the place.
        if let Whence::Place(place) = whence {
            return Ok(place);
        }
        // The log's records are found by place; only the slot's own place is one that reading can begin at.
        Err(Error::user("a stream of PostgreSQL cannot be rewound to a time: its log is read by place, and not from before the slot's confirmed_flush_lsn")
            .hint("give a place with --to: an LSN that position.log held, not below the slot's confirmed_flush_lsn (`position explain` shows it); what is older is copied anew with a snapshot"))
    }

    fn order(&self, one: &Position, other: &Position) -> Option<Ordering> {
        match (one, other) {
            (Position::PgCdc(one), Position::PgCdc(other)) => standing::order(one, other),
            _ => None,
        }
    }

    async fn head_room(&mut self, checkpoint: &Position) -> Result<HeadRoom> {
        let Position::PgCdc(stored) = checkpoint else {
            return Err(Error::user("the stored position is not one of a PostgreSQL log"));
        };
        let Some(options) = &self.stream else {
            return Err(Error::fatal("a stream of a source that was opened for a snapshot"));
        };
        standing::head_room(&self.address, &self.server, &options.slot_name, stored).await
    }

    async fn holds_rows(&mut self, tables: &[(TableId, Option<String>)]) -> Result<Vec<Held>> {
        self.asking(async |conn| catalog::holds_rows(conn, tables).await).await
    }

    async fn snapshot(&mut self, tables: Vec<TableTask>, options: ReadOptions) -> Result<Box<dyn Extractor>> {
        let tables = tables
            .into_iter()
            .map(|task| {
                let definition = self.definition(&task.table.source.id)?.clone();
                TablePlan::new(&definition, task.condition.as_deref(), task.format)?;
                Ok((task, definition))
            })
            .collect::<Result<Vec<_>>>()?;
        self.conn = None;
        Ok(Box::new(read::PgSnapshot::new(self.address.clone(), self.server.clone(), tables, options)))
    }
}
