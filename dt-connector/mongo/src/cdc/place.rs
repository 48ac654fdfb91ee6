//! A place in the history of a source, and its form as a position. Pure.

use bson::{Bson, Document};
use dt_common::Position;
use dt_common::position::{Lineage, MongoCdc};

use crate::raw;

/// The server's timestamp (MongoDB documentation, BSON Types, Timestamps): the operations of a replica set are in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    /// Seconds since 1970.
    pub seconds: u32,
    /// The place among the operations of that second; counted from 1.
    pub increment: u32,
}

impl Time {
    /// The driver's form.
    pub fn bson(self) -> bson::Timestamp {
        bson::Timestamp { time: self.seconds, increment: self.increment }
    }

    /// The first that is later; the last one is its own.
    pub fn next(self) -> Time {
        match (self.increment.checked_add(1), self.seconds.checked_add(1)) {
            (Some(increment), _) => Time { increment, ..self },
            (None, Some(seconds)) => Time { seconds, increment: 0 },
            (None, None) => self,
        }
    }
}

/// Where in the history of a source something is: after an event.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Place {
    /// The change stream's token, a document; empty for the oplog.
    pub token: Vec<u8>,
    /// The time of the event. All that is earlier lies before the place; of the same time, with a token, perhaps not all.
    pub time: Time,
}

impl Place {
    /// The position at this place.
    pub fn position(&self, lineage: &Lineage) -> MongoCdc {
        MongoCdc {
            resume_token: token_text(&self.token),
            operation_time: self.time.seconds.into(),
            increment: Some(self.time.increment),
            timestamp: if self.time.seconds == 0 { String::new() } else { utc(self.time.seconds) },
            lineage: lineage.clone(),
        }
    }

    /// The same for the pipeline.
    pub fn as_position(&self, lineage: &Lineage) -> Position {
        Position::MongoCdc(self.position(lineage))
    }
}

/// The token as JSON (MongoDB Extended JSON v2), empty if there is none.
fn token_text(token: &[u8]) -> String {
    if token.is_empty() {
        return String::new();
    }
    match raw::is_shallow(token).then(|| Document::from_reader(token)) {
        Some(Ok(token)) => Bson::Document(token).into_canonical_extjson().to_string(),
        Some(Err(_)) | None => String::new(),
    }
}

/// The token that a text says; `None` if it is none: a JSON document with `_data`.
pub fn token_of(text: &str) -> Option<Vec<u8>> {
    let json: serde_json::Value = serde_json::from_str(text).ok()?;
    match Bson::try_from(json).ok()? {
        Bson::Document(token) if token.contains_key("_data") => token.to_vec().ok(),
        _ => None,
    }
}

/// The time that a token says, for showing and as a second way to resume. A token is the server's own business and may
/// change its form: `None` if it does not look as those of MongoDB 4.4 to 8.0 do, whose `_data` begin with a timestamp in
/// KeyString's form (MongoDB server, `src/mongo/db/pipeline/README.md`, Resume Tokens: "the cluster time of an event").
pub fn time_of_token(token: &[u8]) -> Option<Time> {
    let data = raw::field(token, "_data").and_then(super::row::text)?;
    let digits = data.strip_prefix("82")?;
    let half = |from: usize| u32::from_str_radix(digits.get(from..from + 8)?, 16).ok();
    Some(Time { seconds: half(0)?, increment: half(8)? })
}

/// `2024-10-10 08:00:58.000`, in UTC.
pub fn utc(seconds: u32) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // The civil calendar from a count of days, after Howard Hinnant's "chrono-compatible low-level date algorithms".
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_shifted + 2) / 5 + 1;
    let month = if month_shifted < 10 { month_shifted + 3 } else { month_shifted - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second % 3600 / 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.000")
}

#[cfg(test)]
mod tests {
    use bson::doc;

    use super::*;

    #[test]
    fn a_place_becomes_the_documents_form() {
        let data = "8267079350000000012B022C0100296E5A1004B4A9FD2BFD9C44609366CD4CD6A3D98E46645F696400646707935067D762990668C8CE0004";
        let token = doc! {"_data": data}.to_vec().expect("bytes");
        let time = time_of_token(&token).expect("a time");
        assert_eq!(time, Time { seconds: 1_728_549_712, increment: 1 });
        let position = Place { token: token.clone(), time }.position(&Lineage::default());
        assert_eq!(position.resume_token, format!("{{\"_data\":\"{data}\"}}"));
        assert_eq!(position.timestamp, "2024-10-10 08:41:52.000");
        assert_eq!(token_of(&position.resume_token), Some(token));
        assert_eq!(Place::default().position(&Lineage::default()).resume_token, "");
    }

    #[test]
    fn a_token_may_hold_more_than_text() {
        let bits = bson::Binary { subtype: bson::spec::BinarySubtype::Generic, bytes: vec![130, 0] };
        let token = doc! {"_data": "82", "_typeBits": bits}.to_vec().expect("bytes");
        assert_eq!(token_of(&token_text(&token)), Some(token.clone()));
        assert_eq!(time_of_token(&token), None);
        for bad in ["", "{}", "5", "{\"_data\":", "x"] {
            assert_eq!(token_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn times_are_ordered_and_have_a_next() {
        let time = |seconds, increment| Time { seconds, increment };
        assert!(time(1, 9) < time(2, 0) && time(2, 0) < time(2, 1));
        assert_eq!(time(2, 1).next(), time(2, 2));
        assert_eq!(time(2, u32::MAX).next(), time(3, 0));
        assert_eq!(time(u32::MAX, u32::MAX).next(), time(u32::MAX, u32::MAX));
    }
}
