//! `[extractor]` with `extract_type=cdc` and `db_type=pg`: which slot and publication are read, and from where.
//!
//! What a server must confirm (whether a slot is there, whether a place is still in its log) is not decided here.

use std::time::Duration;

use super::keys::{Key, keys};
use super::reader::Reader;
use super::stream::{END_TIME_UTC, Heartbeat, KEEPALIVE_INTERVAL_SECS, START_TIME_UTC, heartbeat, moment};
use crate::ids::DbType;

keys! { PG_KEYS:
    SLOT_NAME = Key::unset("slot_name", "Required: the replication slot. It is made when a stream begins that has no \
        stored position, and it keeps the source's log from then on: drop it when the stream is no longer \
        needed.").on_streams_of(DbType::Pg);
    PUB_NAME = Key::derived("pub_name", "`slot_name` + `_publication_for_all_tables`", "The publication; it is made if \
        it is not there.").on_streams_of(DbType::Pg);
    START_LSN = Key::unset("start_lsn", "Where a change stream begins that has no stored position, in a slot that is \
        there already (`0/406E2C30`). Unset: where the slot stands.").on_streams_of(DbType::Pg);
    RECREATE_SLOT_IF_EXISTS = Key::value("recreate_slot_if_exists", "false", "Whether a slot that is there already is \
        made anew when a stream begins that has no stored position: what it held is given \
        up.").on_streams_of(DbType::Pg);
    DDL_META_TB = Key::unset("ddl_meta_tb", "The table that DDL is captured in.").idle("DDL is not replicated");
}

/// How the write-ahead log of a PostgreSQL source is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PgCdcOptions {
    /// The slot; a legal name for one.
    pub slot_name: String,
    /// The publication, exactly.
    pub pub_name: String,
    /// Where the stream begins if no position is stored, as the user wrote it; `None` for where the slot stands.
    pub start_lsn: Option<String>,
    /// Transactions that were committed earlier are left out, in seconds since 1970; `None` leaves out none.
    pub start_time: Option<u64>,
    /// Where it ends, in seconds since 1970; `None` never.
    pub end_time: Option<u64>,
    /// Whether a slot that is there is made anew when a stream begins that has no stored position.
    pub recreate_slot_if_exists: bool,
    /// How often the source is told that we are alive; at least a second.
    pub keepalive_interval: Duration,
    /// The heartbeat row; `None` writes none.
    pub heartbeat: Option<Heartbeat>,
}

/// Bytes of a name, at most (`NAMEDATALEN` less one).
const NAME_BYTES_MAX: usize = 63;

impl PgCdcOptions {
    /// `None` if there is no slot to read, which is reported.
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let start_time = moment(reader, &START_TIME_UTC);
        let end_time = moment(reader, &END_TIME_UTC);
        if end_time.zip(start_time).is_some_and(|(end, start)| end <= start) {
            reader.problem_of(&END_TIME_UTC, "must be later than `start_time_utc`");
        }
        let keepalive_interval = reader.seconds(&KEEPALIVE_INTERVAL_SECS, 1);
        let heartbeat = heartbeat(reader, DbType::Pg);
        let recreate_slot_if_exists = reader.switch(&RECREATE_SLOT_IF_EXISTS);
        let start_lsn = reader.text(&START_LSN).map(str::to_owned);
        if start_lsn.as_deref().is_some_and(|lsn| !is_lsn(lsn)) {
            reader.refuse(&START_LSN, "a place like `0/406E2C30`");
        }
        if start_lsn.is_some() && recreate_slot_if_exists {
            reader.problem_of(&START_LSN, "contradicts `recreate_slot_if_exists=true`: a new slot begins now");
        }
        let Some(slot_name) = reader.text(&SLOT_NAME).map(str::to_owned) else {
            reader
                .problem_of(&SLOT_NAME, "is missing: the replication slot, a name of your choice for this task alone");
            return None;
        };
        if !is_slot_name(&slot_name) {
            reader.refuse(&SLOT_NAME, "1 to 63 lower-case letters, digits and underscores");
            return None;
        }
        let pub_name = match reader.text(&PUB_NAME) {
            Some(name) => name.to_owned(),
            None => default_publication(&slot_name),
        };
        if pub_name.len() > NAME_BYTES_MAX {
            reader.refuse(&PUB_NAME, "a name of 63 bytes at most");
        }
        Some(PgCdcOptions {
            slot_name,
            pub_name,
            start_lsn,
            start_time,
            end_time,
            recreate_slot_if_exists,
            keepalive_interval,
            heartbeat,
        })
    }
}

/// What the publication of a slot is called, cut as the server would cut it.
fn default_publication(slot: &str) -> String {
    let mut name = format!("{slot}_publication_for_all_tables");
    // A slot's name is ASCII.
    name.truncate(NAME_BYTES_MAX);
    name
}

/// PostgreSQL documentation, 26.2.6 Replication Slots: "lower-case letters, numbers, and the underscore character".
fn is_slot_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_lsn(text: &str) -> bool {
    let is_half = |half: &str| (1..=8).contains(&half.len()) && half.bytes().all(|digit| digit.is_ascii_hexdigit());
    text.split_once('/').is_some_and(|(upper, lower)| is_half(upper) && is_half(lower))
}
