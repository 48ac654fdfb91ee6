//! The 19 bytes that each event begins with.

use std::fmt;

use super::error::{BadEvent, Problem};
use super::input::Input;

/// How long a header is, in bytes: the same since binlog version 4 (MySQL 5.0), and in MariaDB.
pub const HEADER_BYTES: usize = 19;

/// The type of an event, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventType(pub u8);

macro_rules! event_types {
    ($($name:ident = $number:literal,)*) => {
        impl EventType {
            $(
                #[doc = concat!("`", stringify!($name), "`, ", stringify!($number), ".")]
                pub const $name: EventType = EventType($number);
            )*

            /// Its name in the servers' documentation, without `_EVENT`; `None` for a number nobody here knows.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

event_types! {
    START_V3 = 1,
    QUERY = 2,
    STOP = 3,
    ROTATE = 4,
    INTVAR = 5,
    LOAD = 6,
    SLAVE = 7,
    CREATE_FILE = 8,
    APPEND_BLOCK = 9,
    EXEC_LOAD = 10,
    DELETE_FILE = 11,
    NEW_LOAD = 12,
    RAND = 13,
    USER_VAR = 14,
    FORMAT_DESCRIPTION = 15,
    XID = 16,
    BEGIN_LOAD_QUERY = 17,
    EXECUTE_LOAD_QUERY = 18,
    TABLE_MAP = 19,
    PRE_GA_WRITE_ROWS = 20,
    PRE_GA_UPDATE_ROWS = 21,
    PRE_GA_DELETE_ROWS = 22,
    WRITE_ROWS_V1 = 23,
    UPDATE_ROWS_V1 = 24,
    DELETE_ROWS_V1 = 25,
    INCIDENT = 26,
    HEARTBEAT = 27,
    IGNORABLE = 28,
    ROWS_QUERY = 29,
    WRITE_ROWS = 30,
    UPDATE_ROWS = 31,
    DELETE_ROWS = 32,
    GTID = 33,
    ANONYMOUS_GTID = 34,
    PREVIOUS_GTIDS = 35,
    TRANSACTION_CONTEXT = 36,
    VIEW_CHANGE = 37,
    XA_PREPARE = 38,
    PARTIAL_UPDATE_ROWS = 39,
    TRANSACTION_PAYLOAD = 40,
    HEARTBEAT_V2 = 41,
    GTID_TAGGED = 42,
    MARIADB_ANNOTATE_ROWS = 160,
    MARIADB_BINLOG_CHECKPOINT = 161,
    MARIADB_GTID = 162,
    MARIADB_GTID_LIST = 163,
    MARIADB_START_ENCRYPTION = 164,
    MARIADB_QUERY_COMPRESSED = 165,
    MARIADB_WRITE_ROWS_COMPRESSED_V1 = 166,
    MARIADB_UPDATE_ROWS_COMPRESSED_V1 = 167,
    MARIADB_DELETE_ROWS_COMPRESSED_V1 = 168,
    MARIADB_WRITE_ROWS_COMPRESSED = 169,
    MARIADB_UPDATE_ROWS_COMPRESSED = 170,
    MARIADB_DELETE_ROWS_COMPRESSED = 171,
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name().unwrap_or("of unknown type"), self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the server says about an event in front of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// When the statement began, in seconds since 1970 UTC; 0 in events that the server makes up for the reader.
    pub timestamp: u32,
    /// What the event is.
    pub event_type: EventType,
    /// The server on which it happened.
    pub server_id: u32,
    /// How many bytes it has, header and checksum included.
    pub event_size: u32,
    /// Where in its file the next event begins, modulo 2³², for the server writes only these bits of it. 0 in events
    /// that are in no file, and within a compressed transaction.
    pub log_pos: u32,
    /// As written; see the methods.
    pub flags: u16,
}

impl Header {
    const IN_USE: u16 = 0x1;
    const ARTIFICIAL: u16 = 0x20;
    const IGNORABLE: u16 = 0x80;

    /// Where the flags are in a header.
    pub(super) const FLAGS_AT: usize = 17;

    /// Reads a header: the first [`HEADER_BYTES`] of an event.
    ///
    /// # Errors
    /// There are fewer bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadEvent> {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            let event = EventType(bytes.get(4).copied().unwrap_or(0));
            let problem = Problem::Short { needed: HEADER_BYTES as u64, left: bytes.len() };
            return Err(BadEvent { event, offset: 0, problem });
        };
        let mut input = Input::over(header, EventType(header[4]));
        Ok(Header {
            timestamp: input.u32()?,
            event_type: EventType(input.u8()?),
            server_id: input.u32()?,
            event_size: input.u32()?,
            log_pos: input.u32()?,
            flags: input.u16()?,
        })
    }

    /// Whether the file was being written when its format description was read: the server sets this flag after it
    /// computed the checksum.
    pub fn is_in_use(&self) -> bool {
        self.flags & Self::IN_USE != 0
    }

    /// Whether the server made the event up for the reader: it is in no file, and its position is not to be kept.
    pub fn is_artificial(&self) -> bool {
        self.flags & Self::ARTIFICIAL != 0
    }

    /// Whether a reader that doesn't know the event's type may pass over it.
    pub fn is_ignorable(&self) -> bool {
        self.flags & Self::IGNORABLE != 0
    }
}
