//! The times in front of the lines: UTC, and never earlier than a line that was written or read before. Older tools
//! wrote local time, and clocks are set back; a new position must be newer than an old one all the same.

use chrono::{NaiveDateTime, TimeDelta, Utc};
use dt_common::position::line::Stamp;

const FORMAT: &str = "%Y-%m-%d %H:%M:%S%.6f";

/// Where the time comes from.
pub(crate) type Clock = Box<dyn Fn() -> NaiveDateTime + Send>;

/// The machine's clock, in UTC.
pub(crate) fn utc() -> Clock {
    Box::new(|| Utc::now().naive_utc())
}

/// The stamp of a line written at `now`: `now`, or one microsecond after `last`, whichever is later.
pub(crate) fn stamp_after(last: Option<&Stamp>, now: NaiveDateTime) -> Stamp {
    let last_time = last.and_then(|last| NaiveDateTime::parse_from_str(last.as_str(), "%Y-%m-%d %H:%M:%S%.f").ok());
    let next = last_time.and_then(|time| time.checked_add_signed(TimeDelta::microseconds(1)));
    let time = next.map_or(now, |next| next.max(now));
    let stamp = Stamp::parse(&time.format(FORMAT).to_string());
    // Only the last microsecond of the year 9999 has no successor.
    stamp.or_else(|| last.cloned()).expect("log store: the clock is within the years 0 to 9999")
}

/// `20241010T040408.152044`: the time as a part of a file's name.
pub(crate) fn file_suffix(now: NaiveDateTime) -> String {
    now.format("%Y%m%dT%H%M%S%.6f").to_string()
}
