//! `[extractor]` with `extract_type=cdc`: where a change stream begins and ends, and how it is followed.
//!
//! What a server must confirm (whether a file is there, whether a GTID set is one of its own) is not decided here.

use std::time::Duration;

use super::endpoint::Endpoint;
use super::keys::{Key, keys};
use super::moment;
use super::reader::Reader;
use super::tokens::{TablePattern, Token, quote_of, tables};
use crate::ids::{DbType, TableId};

keys! { KEYS:
    HEARTBEAT_INTERVAL_SECS = Key::value("heartbeat_interval_secs", "10", "How often the row of `heartbeat_tb` is \
        written.").on_streams();
    HEARTBEAT_TB = Key::unset("heartbeat_tb", "A table on the source, `schema.table`, that is created and whose row \
        is written now and then, so that the position of an idle source moves.").on_streams();
    START_TIME_UTC = Key::unset("start_time_utc", "`YYYY-MM-DD HH:MM:SS`: a change stream begins with what was \
        committed at that time.").on_streams();
    END_TIME_UTC = Key::unset("end_time_utc", "`YYYY-MM-DD HH:MM:SS`: a change stream ends by itself when it passes \
        that time.").on_streams();
    KEEPALIVE_INTERVAL_SECS = Key::value("keepalive_interval_secs", "10", "How often a PostgreSQL source is told that \
        we are alive; other connections are kept alive by themselves.").on_streams();
}

keys! { MYSQL_KEYS:
    BINLOG_FILENAME = Key::unset("binlog_filename", "The binlog file a change stream begins in; without it, and \
        without another beginning, it begins now.").on_streams_of(DbType::Mysql);
    BINLOG_POSITION = Key::value("binlog_position", "0", "The place in that file; 0 is its \
        beginning.").on_streams_of(DbType::Mysql);
    SERVER_ID = Key::unset("server_id", "The id that a change stream replicates under; no other replica of the source \
        may have it. Unset: one that is made from the task's name.").on_streams_of(DbType::Mysql);
    GTID_ENABLED = Key::value("gtid_enabled", "false", "Whether a change stream begins and goes on by GTIDs; otherwise \
        by file and place.").on_streams_of(DbType::Mysql);
    GTID_SET = Key::unset("gtid_set", "With `gtid_enabled=true`: the transactions that are done, all of them \
        (`uuid:1-5,…`; MariaDB: `0-1-5,…`). Unset: the stream begins now.").on_streams_of(DbType::Mysql);
    BINLOG_HEARTBEAT_INTERVAL_SECS = Key::value("binlog_heartbeat_interval_secs", "10", "How often an idle server \
        sends a sign of life.").on_streams_of(DbType::Mysql);
    BINLOG_TIMEOUT_SECS = Key::value("binlog_timeout_secs", "60", "How long a silent connection is believed alive; \
        longer than `binlog_heartbeat_interval_secs`.").on_streams_of(DbType::Mysql);
}

keys! { REDIS_KEYS:
    REPL_PORT = Key::unset("repl_port", "The port that is announced to the source.").on_streams_of(DbType::Redis);
    REPL_ID = Key::unset("repl_id", "The replication to follow.").on_streams_of(DbType::Redis);
    REPL_OFFSET = Key::unset("repl_offset", "The place in it.").on_streams_of(DbType::Redis);
    NOW_DB_ID = Key::unset("now_db_id", "The database at that place.").on_streams_of(DbType::Redis);
    HEARTBEAT_KEY = Key::unset("heartbeat_key", "The key of the heartbeat.").on_streams_of(DbType::Redis);
}

/// How the binlog of a MySQL or MariaDB source is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MysqlCdcOptions {
    /// Where the stream begins if no position is stored.
    pub start: CdcStart,
    /// Whether it begins and goes on by GTIDs; otherwise by file and place.
    pub gtid_enabled: bool,
    /// Where it ends, in seconds since 1970; `None` never.
    pub end_time: Option<u64>,
    /// The id to replicate under; at least 1. `None` leaves it to the task.
    pub server_id: Option<u32>,
    /// How often an idle server sends a sign of life; at least a second.
    pub binlog_heartbeat_interval: Duration,
    /// How long a silent connection is believed alive; longer than the heartbeat's interval.
    pub binlog_timeout: Duration,
    /// The heartbeat row; `None` writes none.
    pub heartbeat: Option<Heartbeat>,
    /// Further addresses of the source to fail over to, in order; none unless GTIDs are followed.
    pub fail_over: Vec<Endpoint>,
}

/// A row of the source that is written now and then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The table, exactly.
    pub table: TableId,
    /// How often; at least a second.
    pub interval: Duration,
}

/// Where a change stream begins that has no stored position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CdcStart {
    /// With the next change.
    Now,
    /// At a place of a binlog file; the first is 4.
    Place {
        /// The file.
        binlog_filename: String,
        /// The offset of the first event.
        binlog_position: u64,
    },
    /// After these transactions, as the user wrote them; not empty. Only with `gtid_enabled`.
    AfterGtids(String),
    /// With what was committed at this time, in seconds since 1970, or later.
    Time(u64),
}

/// A binlog file begins with four bytes that are no event.
const FIRST_PLACE: u64 = 4;

impl MysqlCdcOptions {
    pub(super) fn read(reader: &mut Reader<'_>, fail_over: Vec<Endpoint>) -> Self {
        let gtid_enabled = reader.switch(&GTID_ENABLED);
        let start_time = moment(reader, &START_TIME_UTC);
        let end_time = moment(reader, &END_TIME_UTC);
        if end_time.zip(start_time).is_some_and(|(end, start)| end <= start) {
            reader.problem_of(&END_TIME_UTC, "must be later than `start_time_utc`");
        }
        let start = start(reader, gtid_enabled, start_time);
        let server_id = reader.number(&SERVER_ID, 1..=u64::from(u32::MAX));
        let binlog_heartbeat_interval = reader.seconds(&BINLOG_HEARTBEAT_INTERVAL_SECS, 1);
        let binlog_timeout = reader.seconds(&BINLOG_TIMEOUT_SECS, 2);
        let what = "`keepalive_interval_secs` of [extractor] has no effect: dt keeps its connections alive by itself";
        reader.note(&KEEPALIVE_INTERVAL_SECS, what.to_owned());
        if binlog_timeout <= binlog_heartbeat_interval {
            let what =
                "must be longer than `binlog_heartbeat_interval_secs`, or an idle server would be taken for dead";
            let key = if reader.given(&BINLOG_TIMEOUT_SECS).is_some() {
                &BINLOG_TIMEOUT_SECS
            } else {
                &BINLOG_HEARTBEAT_INTERVAL_SECS
            };
            reader.problem(key, format!("`binlog_timeout_secs` of [extractor] {what}"));
        }
        if !fail_over.is_empty() && !gtid_enabled {
            reader.problem(
                &GTID_ENABLED,
                "`url` of [extractor] names several servers: set `gtid_enabled=true`, for a file and place of one \
                 server's binlog mean nothing to another"
                    .to_owned(),
            );
        }
        MysqlCdcOptions {
            start,
            gtid_enabled,
            end_time,
            server_id: server_id.and_then(|id| u32::try_from(id).ok()),
            binlog_heartbeat_interval,
            binlog_timeout,
            heartbeat: heartbeat(reader, DbType::Mysql),
            fail_over,
        }
    }
}

/// A beginning is said once: two of them would leave one without effect.
fn start(reader: &mut Reader<'_>, gtid_enabled: bool, start_time: Option<u64>) -> CdcStart {
    let said: Vec<&Key> =
        [&BINLOG_FILENAME, &GTID_SET, &START_TIME_UTC].into_iter().filter(|key| reader.given(key).is_some()).collect();
    if let [first, second, ..] = said.as_slice() {
        let what = format!("and `{}` both say where the stream begins: keep one", first.name);
        reader.problem_of(second, &what);
        return CdcStart::Now;
    }
    let place = reader.number(&BINLOG_POSITION, 0..=u64::MAX).expect("config: binlog_position has a default");
    if place > 0 && reader.given(&BINLOG_FILENAME).is_none() {
        reader.problem_of(&BINLOG_POSITION, "is a place in no file: set `binlog_filename`");
    }
    if let Some(file) = reader.text(&BINLOG_FILENAME).map(str::to_owned) {
        if gtid_enabled {
            let what = "contradicts `gtid_enabled=true`: set `gtid_set` instead, or take `gtid_enabled` out";
            reader.problem_of(&BINLOG_FILENAME, what);
        }
        return CdcStart::Place { binlog_filename: file, binlog_position: place.max(FIRST_PLACE) };
    }
    if let Some(set) = reader.text(&GTID_SET).map(str::to_owned) {
        if !gtid_enabled {
            reader.problem_of(&GTID_SET, "contradicts `gtid_enabled=false`: set `gtid_enabled=true`, or take it out");
        }
        return CdcStart::AfterGtids(set);
    }
    start_time.map_or(CdcStart::Now, CdcStart::Time)
}

pub(super) fn moment(reader: &mut Reader<'_>, key: &Key) -> Option<u64> {
    let seconds = moment::seconds_since_1970(reader.text(key)?);
    if seconds.is_none() {
        reader.refuse(key, moment::WANTED);
    }
    seconds
}

pub(super) fn heartbeat(reader: &mut Reader<'_>, db_type: DbType) -> Option<Heartbeat> {
    let interval = reader.seconds(&HEARTBEAT_INTERVAL_SECS, 1);
    let Some(text) = reader.text(&HEARTBEAT_TB) else {
        let what = "`heartbeat_interval_secs` of [extractor] has no effect without `heartbeat_tb`";
        reader.note(&HEARTBEAT_INTERVAL_SECS, what.to_owned());
        return None;
    };
    let named = tables(text, &[quote_of(db_type)]);
    match named.as_deref() {
        Ok([TablePattern { schema: Token::Exact(schema), table: Token::Exact(table) }]) => {
            Some(Heartbeat { table: TableId::new(schema, table), interval })
        }
        Ok(_) | Err(_) => {
            reader.refuse(&HEARTBEAT_TB, "one table, `schema.table`, without wildcards");
            None
        }
    }
}
