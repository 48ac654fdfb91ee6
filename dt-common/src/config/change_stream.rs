//! `[extractor]` with `extract_type=cdc` and `db_type=mongo`: whether the change stream or the oplog is read, and from
//! where.
//!
//! What a server must confirm (whether a place is still in its oplog) is not decided here.

use super::keys::{Key, keys};
use super::reader::{Choice, Reader};
use super::stream::{END_TIME_UTC, Heartbeat, KEEPALIVE_INTERVAL_SECS, START_TIME_UTC, heartbeat, moment};
use crate::ids::DbType;

keys! { MONGO_KEYS:
    SOURCE = Key::value("source", "change_stream", "`change_stream` asks the server for changes; `op_log` reads its \
        oplog, for which the account must be allowed to read the database `local`.").on_streams_of(DbType::Mongo);
    RESUME_TOKEN = Key::unset("resume_token", "With `source=change_stream`: the event after which a stream begins that \
        has no stored position (`{\"_data\":\"82…\"}`).").on_streams_of(DbType::Mongo);
    START_TIMESTAMP = Key::unset("start_timestamp", "Where a stream begins that has no stored position: with the \
        operations of this second, counted from 1970.").on_streams_of(DbType::Mongo);
}

/// How the changes of a MongoDB source are followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongoCdcOptions {
    /// What is read.
    pub source: MongoStreamSource,
    /// Where the stream begins if no position is stored.
    pub start: MongoCdcStart,
    /// Where it ends, in seconds since 1970; `None` never.
    pub end_time: Option<u64>,
    /// The heartbeat document; `None` writes none.
    pub heartbeat: Option<Heartbeat>,
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MongoStreamSource {
    /// The change stream.
    ChangeStream,
    /// The oplog.
    OpLog,
}

/// Where a stream of a MongoDB source begins that has no stored position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MongoCdcStart {
    /// With what is changed from now on.
    Now,
    /// With the operations of this second, counted from 1970.
    Time(u64),
    /// After the event with this token, as the user wrote it.
    AfterToken(String),
}

impl MongoCdcOptions {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let source = reader.choice(
            &SOURCE,
            &[
                ("change_stream", Choice::Is(MongoStreamSource::ChangeStream)),
                ("op_log", Choice::Is(MongoStreamSource::OpLog)),
            ],
        );
        let source = source.unwrap_or(MongoStreamSource::ChangeStream);
        let what = "`keepalive_interval_secs` of [extractor] has no effect: dt keeps its connections alive by itself";
        reader.note(&KEEPALIVE_INTERVAL_SECS, what.to_owned());
        let start_time = moment(reader, &START_TIME_UTC);
        let end_time = moment(reader, &END_TIME_UTC);
        if end_time.zip(start_time).is_some_and(|(end, start)| end <= start) {
            reader.problem_of(&END_TIME_UTC, "must be later than `start_time_utc`");
        }
        let start = start(reader, source, start_time);
        MongoCdcOptions { source, start, end_time, heartbeat: heartbeat(reader, DbType::Mongo) }
    }
}

/// A beginning is said once: two of them would leave one without effect.
fn start(reader: &mut Reader<'_>, source: MongoStreamSource, start_time: Option<u64>) -> MongoCdcStart {
    let keys = [&RESUME_TOKEN, &START_TIMESTAMP, &START_TIME_UTC];
    let said: Vec<&Key> = keys.into_iter().filter(|key| reader.given(key).is_some()).collect();
    if let [first, second, ..] = said.as_slice() {
        let what = format!("and `{}` both say where the stream begins: keep one", first.name);
        reader.problem_of(second, &what);
        return MongoCdcStart::Now;
    }
    if let Some(token) = reader.text(&RESUME_TOKEN).map(str::to_owned) {
        match source {
            MongoStreamSource::ChangeStream => {}
            MongoStreamSource::OpLog => {
                let what = "means nothing to `source=op_log`: set `start_timestamp` instead";
                reader.problem_of(&RESUME_TOKEN, what);
            }
        }
        return MongoCdcStart::AfterToken(token);
    }
    // The server's timestamps have 32 bits for the seconds; 0 is what other tools write for none.
    let timestamp = reader.number(&START_TIMESTAMP, 0..=u64::from(u32::MAX)).filter(|&seconds| seconds > 0);
    timestamp.or(start_time).map_or(MongoCdcStart::Now, MongoCdcStart::Time)
}
