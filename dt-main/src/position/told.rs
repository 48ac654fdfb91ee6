//! Positions in words and as JSON. Pure.

use chrono::NaiveDateTime;
use dt_common::Position;
use dt_common::position::line::Stamp;
use dt_common::position::{KeyText, OrderKey, wire};
use dt_resumer::loaded::Stored;
use serde_json::{Value, json};

/// `12 s ago`, `3 min ago`, `5 h ago`, `2 days ago`
pub fn ago(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s ago"),
        120..=7_199 => format!("{} min ago", seconds / 60),
        7_200..=172_799 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A length of time, `12 s`, `3 min`, …
pub fn length(seconds: u64) -> String {
    ago(seconds).trim_end_matches(" ago").to_owned()
}

/// How many seconds ago a time in UTC was; `None` if it is none, or lies ahead (older tools wrote local time).
pub fn age(text: &str, now: NaiveDateTime) -> Option<u64> {
    // `2024-02-28 09:21:51.000 UTC-0000` is one of the forms of a position's own time.
    let text = text.split(" UTC").next().unwrap_or_default();
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok()?;
    u64::try_from((now - time).num_seconds()).ok()
}

/// When and where a position was written, in words: `written 2026-… (12 s ago), logs/position.log, line 3`
pub fn written(stored: &Stored, now: NaiveDateTime) -> String {
    let time = match &stored.stamp {
        None => "written at a time that is not known".to_owned(),
        Some(stamp) => match age(stamp.as_str(), now) {
            Some(seconds) => format!("written {} ({})", whole_seconds(stamp), ago(seconds)),
            None => format!("written {}", whole_seconds(stamp)),
        },
    };
    match &stored.origin {
        Some(origin) => format!("{time}, {origin}"),
        None => time,
    }
}

fn whole_seconds(stamp: &Stamp) -> &str {
    stamp.as_str().split('.').next().unwrap_or_default()
}

/// The same as fields: `written_at`, `age_secs`, `at`.
pub fn written_json(stored: &Stored, now: NaiveDateTime) -> Vec<(&'static str, Value)> {
    let stamp = stored.stamp.as_ref();
    vec![
        ("written_at", json!(stamp.map(Stamp::as_str))),
        ("age_secs", json!(stamp.and_then(|stamp| age(stamp.as_str(), now)))),
        ("at", json!(stored.origin.as_ref().map(ToString::to_string))),
    ]
}

/// An object of these fields, in this order.
pub fn object(fields: Vec<(&'static str, Value)>) -> Value {
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A position as it is written everywhere.
pub fn json(position: &Position) -> Value {
    serde_json::from_str(&wire::to_json(position)).expect("told: a position's JSON is JSON")
}

/// A place of a stream, short.
pub fn place(position: &Position) -> String {
    let of_time = |timestamp: &str| match timestamp {
        "" => String::new(),
        time => format!(", of {time}"),
    };
    match position {
        Position::MysqlCdc(cdc) => {
            let gtids = match cdc.gtid_set.as_str() {
                "" => String::new(),
                set => format!(", GTIDs {set}"),
            };
            format!("{}:{}{gtids}{}", cdc.binlog_filename, cdc.next_event_position, of_time(&cdc.timestamp))
        }
        Position::PgCdc(cdc) => {
            let slot = cdc.origin.as_ref();
            let slot = slot.map(|origin| format!(", slot {}, timeline {}", origin.slot, origin.timeline));
            format!("{}{}{}", cdc.lsn, slot.unwrap_or_default(), of_time(&cdc.timestamp))
        }
        Position::MongoCdc(cdc) => {
            let by = if cdc.resume_token.is_empty() { "oplog time" } else { "resume token, oplog time" };
            let increment = cdc.increment.map(|increment| format!(":{increment}")).unwrap_or_default();
            format!("{by} {}{increment}{}", cdc.operation_time, of_time(&cdc.timestamp))
        }
        Position::Redis(redis) => format!("{} {}{}", redis.repl_id, redis.repl_offset, of_time(&redis.timestamp)),
        Position::None
        | Position::RdbSnapshot(_)
        | Position::RdbSnapshotRows(_)
        | Position::RdbSnapshotFinished(_)
        | Position::RdbSnapshotSplit(_) => "no place of a stream".to_owned(),
    }
}

/// A key with its values, `id=5, b=x`: for whoever asked to see positions, never for a log or an error.
pub fn key(key: &OrderKey) -> String {
    let part = |part: &dt_common::position::KeyPart| match &part.value {
        KeyText::Null => format!("{} is null", part.column),
        KeyText::Text(text) => format!("{}={text}", part.column),
        KeyText::Bytes(bytes) => format!("{}=0x{}", part.column, wire::to_hex(bytes)),
    };
    key.parts().iter().map(part).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> NaiveDateTime {
        NaiveDateTime::parse_from_str("2026-11-21 12:00:00", "%Y-%m-%d %H:%M:%S").expect("a time")
    }

    #[test]
    fn ages_are_told_in_the_unit_that_fits() {
        for (seconds, told) in
            [(0, "0 s ago"), (119, "119 s ago"), (120, "2 min ago"), (7200, "2 h ago"), (200_000, "2 days ago")]
        {
            assert_eq!(ago(seconds), told);
        }
        assert_eq!(length(7200), "2 h");
    }

    #[test]
    fn times_of_every_form_have_an_age_and_those_ahead_have_none() {
        for text in ["2026-11-21 11:59:00", "2026-11-21 11:59:00.000", "2026-11-21 11:59:00.000 UTC-0000"] {
            assert_eq!(age(text, now()), Some(60), "{text}");
        }
        assert_eq!(age("2026-11-21 14:00:00.5", now()), None);
        assert_eq!(age("", now()), None);
    }
}
