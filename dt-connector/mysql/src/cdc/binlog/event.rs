//! One event of a binlog.

use bytes::Bytes;

use super::checksum::Checksum;
use super::error::{BadEvent, Problem};
use super::format_description::{Format, FormatDescription};
use super::gtid_event::{self, GtidEvent, GtidIntervals};
use super::header::{EventType, HEADER_BYTES, Header};
use super::heartbeat::Heartbeat;
use super::input::Input;
use super::mariadb::{self, MariadbGtid, MariadbGtidEvent};
use super::payload::Payload;
use super::query::Query;
use super::rotate::Rotate;
use super::rows_event::{Form, RowsEvent, RowsKind};
use super::table_map::TableMap;
use super::xid::XaPrepare;

/// An event: where and when, and what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What the server says in front of each event.
    pub header: Header,
    /// What happened.
    pub body: Body,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Begins a file: what the events after it look like. Its checksum algorithm is in force from here on.
    FormatDescription(FormatDescription),
    /// The next file.
    Rotate(Rotate),
    /// The server was stopped in good order; the next file begins a new run.
    Stop,
    /// A statement.
    Query(Query),
    /// A transaction was committed, under this number of the server's own.
    Xid(u64),
    /// Begins a transaction of MySQL.
    Gtid(GtidEvent),
    /// What was executed before the file, as MySQL says it.
    PreviousGtids(Vec<GtidIntervals>),
    /// What the rows events after it are about.
    TableMap(TableMap),
    /// Rows that changed.
    Rows(RowsEvent),
    /// A whole transaction, compressed.
    TransactionPayload(Payload),
    /// The end of an XA transaction's rows.
    XaPrepare(XaPrepare),
    /// The server knows that it lost changes: the binlog does not hold everything.
    Incident {
        /// 1 for lost events.
        number: u16,
        /// In the server's words.
        message: String,
    },
    /// The server has nothing to say.
    Heartbeat(Heartbeat),
    /// Begins a transaction of MariaDB.
    MariadbGtid(MariadbGtidEvent),
    /// The last transactions before the file, as MariaDB says it.
    MariadbGtidList(Vec<MariadbGtid>),
    /// Up to which file MariaDB would have to recover.
    MariadbBinlogCheckpoint {
        /// The file's name.
        file: String,
    },
    /// What follows in the file is encrypted. A server decrypts what it sends, so that this says nothing there.
    MariadbStartEncryption,
    /// Changes nothing: the text of the statement behind the rows (ROWS_QUERY, ANNOTATE_ROWS), notes of group
    /// replication, and what the server itself says may be passed over. The header names it; its text is not kept,
    /// for it may hold a row's values.
    Note,
}

impl Event {
    /// Reads one whole event, header and checksum included; `format` is what the last format description said.
    /// What is kept of rows and statements shares `event`'s memory.
    ///
    /// # Errors
    /// The event is damaged, is of a type that nobody here knows and that may not be passed over, or changes data by
    /// a statement (`binlog_format=STATEMENT`, as far as the event's type shows it; see also
    /// [`StatementKind::Dml`](super::StatementKind::Dml)).
    pub fn parse(event: Bytes, format: Format) -> Result<Event, BadEvent> {
        let header = Header::parse(&event)?;
        if header.event_size as usize != event.len() {
            let problem = Problem::Size { announced: header.event_size, actual: event.len() };
            return Err(BadEvent { event: header.event_type, offset: 9, problem });
        }
        let body = if header.event_type == EventType::FORMAT_DESCRIPTION {
            // It says itself how it is protected, and has a checksum even where those after it have none.
            let checksum = FormatDescription::checksum_of(&event)?;
            let own = if checksum == Checksum::None { Checksum::Unannounced } else { checksum };
            own.verified(&header, &event)?;
            let mut input = Input::over(&event, header.event_type);
            input.take(HEADER_BYTES)?;
            Body::FormatDescription(FormatDescription::parse(input, checksum)?)
        } else {
            let length = format.checksum.verified(&header, &event)?;
            body_of(&header, &event.slice(..length), format)?
        };
        Ok(Event { header, body })
    }
}

fn body_of(header: &Header, event: &Bytes, format: Format) -> Result<Body, BadEvent> {
    let mut input = Input::over(event, header.event_type);
    input.take(HEADER_BYTES)?;
    // What is left of the event as bytes of its own, without copying.
    let plain = |input: Input<'_>| Ok(event.slice(input.offset()..));
    let rows = |kind, extra| Form { kind, extra };
    Ok(match header.event_type {
        EventType::ROTATE => Body::Rotate(Rotate::parse(input)?),
        EventType::STOP => Body::Stop,
        EventType::QUERY => Body::Query(Query::parse(input, plain)?),
        EventType::MARIADB_QUERY_COMPRESSED => Body::Query(Query::parse(input, mariadb::inflate)?),
        EventType::XID => Body::Xid(input.u64()?),
        EventType::GTID => Body::Gtid(GtidEvent::parse(input, false)?),
        EventType::ANONYMOUS_GTID => Body::Gtid(GtidEvent::parse(input, true)?),
        EventType::GTID_TAGGED => Body::Gtid(GtidEvent::parse_tagged(input)?),
        EventType::PREVIOUS_GTIDS => Body::PreviousGtids(gtid_event::parse_previous(input)?),
        EventType::TABLE_MAP => Body::TableMap(TableMap::parse(input, format.mariadb)?),
        EventType::WRITE_ROWS => Body::Rows(RowsEvent::parse(input, rows(RowsKind::Insert, true), plain)?),
        EventType::UPDATE_ROWS => Body::Rows(RowsEvent::parse(input, rows(RowsKind::Update, true), plain)?),
        EventType::DELETE_ROWS => Body::Rows(RowsEvent::parse(input, rows(RowsKind::Delete, true), plain)?),
        EventType::PARTIAL_UPDATE_ROWS => {
            Body::Rows(RowsEvent::parse(input, rows(RowsKind::PartialUpdate, true), plain)?)
        }
        EventType::WRITE_ROWS_V1 => Body::Rows(RowsEvent::parse(input, rows(RowsKind::Insert, false), plain)?),
        EventType::UPDATE_ROWS_V1 => Body::Rows(RowsEvent::parse(input, rows(RowsKind::Update, false), plain)?),
        EventType::DELETE_ROWS_V1 => Body::Rows(RowsEvent::parse(input, rows(RowsKind::Delete, false), plain)?),
        EventType::MARIADB_WRITE_ROWS_COMPRESSED_V1 => {
            Body::Rows(RowsEvent::parse(input, rows(RowsKind::Insert, false), mariadb::inflate)?)
        }
        EventType::MARIADB_UPDATE_ROWS_COMPRESSED_V1 => {
            Body::Rows(RowsEvent::parse(input, rows(RowsKind::Update, false), mariadb::inflate)?)
        }
        EventType::MARIADB_DELETE_ROWS_COMPRESSED_V1 => {
            Body::Rows(RowsEvent::parse(input, rows(RowsKind::Delete, false), mariadb::inflate)?)
        }
        EventType::MARIADB_WRITE_ROWS_COMPRESSED => {
            Body::Rows(RowsEvent::parse(input, rows(RowsKind::Insert, true), mariadb::inflate)?)
        }
        EventType::MARIADB_UPDATE_ROWS_COMPRESSED => {
            Body::Rows(RowsEvent::parse(input, rows(RowsKind::Update, true), mariadb::inflate)?)
        }
        EventType::MARIADB_DELETE_ROWS_COMPRESSED => {
            Body::Rows(RowsEvent::parse(input, rows(RowsKind::Delete, true), mariadb::inflate)?)
        }
        EventType::TRANSACTION_PAYLOAD => Body::TransactionPayload(Payload::parse(input, plain)?),
        EventType::XA_PREPARE => Body::XaPrepare(XaPrepare::parse(input)?),
        EventType::INCIDENT => {
            let number = input.u16()?;
            // Before MySQL 5.7 there may be no message.
            let length = if input.is_empty() { 0 } else { input.u8()? };
            let message = String::from_utf8_lossy(input.take(usize::from(length))?).into_owned();
            Body::Incident { number, message }
        }
        EventType::HEARTBEAT => Body::Heartbeat(Heartbeat::parse(input)?),
        EventType::HEARTBEAT_V2 => Body::Heartbeat(Heartbeat::parse_v2(input, header)?),
        EventType::MARIADB_GTID => Body::MariadbGtid(MariadbGtidEvent::parse(input, header)?),
        EventType::MARIADB_GTID_LIST => Body::MariadbGtidList(mariadb::parse_gtid_list(input)?),
        EventType::MARIADB_BINLOG_CHECKPOINT => {
            Body::MariadbBinlogCheckpoint { file: mariadb::parse_binlog_checkpoint(input)? }
        }
        EventType::MARIADB_START_ENCRYPTION => Body::MariadbStartEncryption,
        EventType::ROWS_QUERY
        | EventType::MARIADB_ANNOTATE_ROWS
        | EventType::IGNORABLE
        | EventType::TRANSACTION_CONTEXT
        | EventType::VIEW_CHANGE => Body::Note,
        // All of these go with a statement whose text changes rows, or are such a statement.
        EventType::INTVAR
        | EventType::RAND
        | EventType::USER_VAR
        | EventType::LOAD
        | EventType::NEW_LOAD
        | EventType::CREATE_FILE
        | EventType::APPEND_BLOCK
        | EventType::EXEC_LOAD
        | EventType::DELETE_FILE
        | EventType::BEGIN_LOAD_QUERY
        | EventType::EXECUTE_LOAD_QUERY => return Err(input.bad(Problem::StatementFormat)),
        _ if header.is_ignorable() => Body::Note,
        _ => return Err(input.bad(Problem::NotUnderstood("an event of this type"))),
    })
}
