//! A statement in the binlog: the ends of transactions, DDL, and whatever else is not rows.

use std::fmt;

use bytes::Bytes;

use super::error::BadEvent;
use super::input::Input;
use super::statement::{self, StatementKind};

/// A statement, with what is needed to read its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Query {
    /// The schema it was run in, empty for none. Not always the schema of what it changes.
    pub schema: String,
    /// The statement's text, in the client's character set ([`Self::client_collation`]).
    pub sql: Bytes,
    /// The error with which it ended on the source, which a replica is to meet too; 0 for none.
    pub error_code: u16,
    /// The session's `sql_mode`, as bits: it decides how quotes are read. `None` where the server doesn't say.
    pub sql_mode: Option<u64>,
    /// A collation of the client's character set (`character_set_client`), by its number.
    pub client_collation: Option<u16>,
    /// The session's `collation_connection`, by its number.
    pub connection_collation: Option<u16>,
    /// The default collation of new schemas (`collation_server`), by its number.
    pub server_collation: Option<u16>,
    /// The default collation of the schema it was run in, by its number.
    pub schema_collation: Option<u16>,
    /// The transaction number under which DDL is logged (MySQL 8.0 and later).
    pub ddl_xid: Option<u64>,
}

/// Without the statement's text, which may hold a row's values or a password.
impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Query");
        shown.field("schema", &self.schema).field("kind", &self.kind()).field("bytes", &self.sql.len());
        shown.finish_non_exhaustive()
    }
}

impl Query {
    /// What kind of statement it is.
    pub fn kind(&self) -> StatementKind {
        statement::kind_of(&self.sql)
    }

    /// Reads all but the statement, which `sql` makes of the bytes that are left (MariaDB compresses it).
    pub(super) fn parse<'a>(
        mut input: Input<'a>,
        sql: impl FnOnce(Input<'a>) -> Result<Bytes, BadEvent>,
    ) -> Result<Self, BadEvent> {
        // The session's number, and how long the statement took.
        input.take(8)?;
        let schema_bytes = input.u8()?;
        let error_code = input.u16()?;
        let variables_bytes = input.u16()?;
        let variables = Variables::parse(input.part(u64::from(variables_bytes))?)?;
        let schema = input.text(u64::from(schema_bytes))?;
        input.nul()?;
        Ok(Query {
            schema,
            sql: sql(input)?,
            error_code,
            sql_mode: variables.sql_mode,
            client_collation: variables.collations.map(|[client, _, _]| client),
            connection_collation: variables.collations.map(|[_, connection, _]| connection),
            server_collation: variables.collations.map(|[_, _, server]| server),
            schema_collation: variables.schema_collation,
            ddl_xid: variables.ddl_xid,
        })
    }
}

/// The session's variables that come with a statement, as far as they matter here.
#[derive(Default)]
struct Variables {
    sql_mode: Option<u64>,
    collations: Option<[u16; 3]>,
    schema_collation: Option<u16>,
    ddl_xid: Option<u64>,
}

impl Variables {
    fn parse(mut input: Input<'_>) -> Result<Self, BadEvent> {
        let mut variables = Variables::default();
        while !input.is_empty() {
            match input.u8()? {
                // flags2
                0 => drop(input.take(4)?),
                1 => variables.sql_mode = Some(input.u64()?),
                // catalog, with a zero byte behind
                2 => {
                    let length = u64::from(input.u8()?) + 1;
                    input.take_u64(length)?;
                }
                // auto_increment_increment and auto_increment_offset
                3 => drop(input.take(4)?),
                4 => variables.collations = Some([input.u16()?, input.u16()?, input.u16()?]),
                // time zone; catalog
                5 | 6 => skip_text(&mut input)?,
                // lc_time_names
                7 => drop(input.take(2)?),
                8 => variables.schema_collation = Some(input.u16()?),
                // tables of a multi-table update
                9 => drop(input.take(8)?),
                // bytes written by the master
                10 => drop(input.take(4)?),
                // user and host
                11 => {
                    skip_text(&mut input)?;
                    skip_text(&mut input)?;
                }
                // schemas that are changed; 254 stands for too many to name
                12 => {
                    let schemas = input.u8()?;
                    if schemas != 254 {
                        for _ in 0..schemas {
                            while input.u8()? != 0 {}
                        }
                    }
                }
                // microseconds of the time stamp
                13 | 128 => drop(input.take(3)?),
                // explicit_defaults_for_timestamp
                16 => drop(input.take(1)?),
                17 => variables.ddl_xid = Some(input.u64()?),
                // default collation of utf8mb4
                18 => drop(input.take(2)?),
                // sql_require_primary_key; default_table_encryption
                19 | 20 => drop(input.take(1)?),
                // MariaDB's xid
                129 => drop(input.take(8)?),
                // Numbers only grow from version to version, and are written in such an order that what a reader
                // doesn't know comes last: the servers themselves stop here.
                _ => break,
            }
        }
        Ok(variables)
    }
}

fn skip_text(input: &mut Input<'_>) -> Result<(), BadEvent> {
    let length = input.u8()?;
    input.take(usize::from(length)).map(drop)
}
