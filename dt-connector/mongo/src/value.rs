//! The values of `_id`: out of a document as text that finds the document again, and back. Pure.
//!
//! The text is JSON that names the type: `{"ObjectId":"…"}`, `{"String":"b"}`, `{"Int32":2}`, `{"Int64":2}`,
//! `{"DateTime":…}`, `{"Timestamp":…}`, `{"Symbol":"…"}`, `{"JavaScriptCode":"…"}`, and `{"CanonicalExtJson":…}` for every
//! other type (MongoDB Extended JSON v2, canonical). 24 hexadecimal digits alone are an ObjectId: an older form. What
//! none of these says exactly (a text that is not UTF-8, a document with a name twice, or with names that Extended JSON
//! takes for its own) is kept as bytes: the type, then the value.
//!
//! Nothing is ordered or compared here: that is the server's.

use bson::{Bson, Document};
use dt_common::position::KeyText;
use serde_json::{Value, json};

use crate::raw::{self, RawValue, kind};

/// The field that every document has, and is read by.
pub const ID: &str = "_id";

/// An `_id`, by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id {
    /// The kind, one byte of the specification.
    pub kind: u8,
    /// The value's bytes.
    pub bytes: Vec<u8>,
}

impl Id {
    /// The value that it is.
    pub fn value(&self) -> RawValue<'_> {
        RawValue { kind: self.kind, bytes: &self.bytes }
    }

    /// Whether it is the greatest key of all.
    pub fn is_max_key(&self) -> bool {
        self.kind == kind::MAX_KEY
    }
}

impl From<RawValue<'_>> for Id {
    fn from(value: RawValue<'_>) -> Self {
        Id { kind: value.kind, bytes: value.bytes.to_vec() }
    }
}

/// The form in which a position holds the value.
pub fn to_key(value: RawValue<'_>) -> KeyText {
    let exact = as_bson(value).map(|value| KeyText::Text(to_json(&value).to_string()));
    // Read back it must be the same, byte by byte; most are.
    match exact {
        Some(key) if from_key(&key).is_some_and(|read| read.value() == value) => key,
        Some(_) | None => KeyText::Bytes([&[value.kind], value.bytes].concat()),
    }
}

/// The value that a position holds; `None` if it is none of the forms.
pub fn from_key(key: &KeyText) -> Option<Id> {
    match key {
        KeyText::Null => None,
        KeyText::Bytes(bytes) => {
            let (&kind, bytes) = bytes.split_first()?;
            // It must be a whole value, and nothing behind it.
            let mut document = raw::Writer::new();
            document.put(ID.as_bytes(), RawValue { kind, bytes });
            let document = document.finish();
            let mut fields = raw::fields(&document);
            let field = fields.next()?.ok()?;
            (fields.next().is_none() && field.value.bytes == bytes).then(|| field.value.into())
        }
        KeyText::Text(text) => {
            let value = match bson::oid::ObjectId::parse_str(text) {
                Ok(oid) if text.len() == 24 => Bson::ObjectId(oid),
                Ok(_) | Err(_) => from_json(&serde_json::from_str(text).ok()?)?,
            };
            let document = Document::from_iter([(ID.to_owned(), value)]).to_vec().ok()?;
            raw::field(&document, ID).map(Id::from)
        }
    }
}

fn as_bson(value: RawValue<'_>) -> Option<Bson> {
    let mut document = raw::Writer::new();
    document.put(ID.as_bytes(), value);
    let document = document.finish();
    // What is nested without end would be read by a call within a call without end.
    raw::is_shallow(&document).then(|| Document::from_reader(&document[..]).ok())??.remove(ID)
}

fn to_json(value: &Bson) -> Value {
    match value {
        Bson::ObjectId(oid) => json!({"ObjectId": oid.to_hex()}),
        Bson::String(text) => json!({"String": text}),
        Bson::Int32(number) => json!({"Int32": number}),
        Bson::Int64(number) => json!({"Int64": number}),
        Bson::Symbol(text) => json!({"Symbol": text}),
        Bson::JavaScriptCode(text) => json!({"JavaScriptCode": text}),
        Bson::DateTime(_) => json!({"DateTime": value.clone().into_canonical_extjson()}),
        Bson::Timestamp(_) => json!({"Timestamp": value.clone().into_canonical_extjson()}),
        other => json!({"CanonicalExtJson": other.clone().into_canonical_extjson()}),
    }
}

fn from_json(json: &Value) -> Option<Bson> {
    let mut fields = json.as_object()?.iter();
    let (Some((name, value)), None) = (fields.next(), fields.next()) else { return None };
    // Of these, older files hold the plain value or its Extended JSON.
    let extended = || Bson::try_from(value.clone()).ok();
    match name.as_str() {
        "ObjectId" => match value.as_str() {
            Some(digits) => bson::oid::ObjectId::parse_str(digits).ok().map(Bson::ObjectId),
            None => extended().filter(|value| matches!(value, Bson::ObjectId(_))),
        },
        "String" => value.as_str().map(|text| Bson::String(text.to_owned())),
        "Int32" => value.as_i64().and_then(|number| i32::try_from(number).ok()).map(Bson::Int32),
        "Int64" => value.as_i64().map(Bson::Int64),
        "Symbol" => match value.as_str() {
            Some(text) => Some(Bson::Symbol(text.to_owned())),
            None => extended().filter(|value| matches!(value, Bson::Symbol(_))),
        },
        "JavaScriptCode" => match value.as_str() {
            Some(text) => Some(Bson::JavaScriptCode(text.to_owned())),
            None => extended().filter(|value| matches!(value, Bson::JavaScriptCode(_))),
        },
        "DateTime" => match value.as_i64() {
            Some(millis) => Some(Bson::DateTime(bson::DateTime::from_millis(millis))),
            None => extended().filter(|value| matches!(value, Bson::DateTime(_))),
        },
        "Timestamp" => extended().filter(|value| matches!(value, Bson::Timestamp(_))),
        "CanonicalExtJson" => extended(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;
    use proptest::prelude::*;

    use super::*;

    fn value_of(value: impl Into<Bson>) -> Id {
        let document = doc! {"_id": value}.to_vec().expect("bytes");
        raw::field(&document, ID).expect("a field").into()
    }

    fn text(key: KeyText) -> String {
        match key {
            KeyText::Text(text) => text,
            KeyText::Bytes(_) | KeyText::Null => panic!("no text"),
        }
    }

    #[test]
    fn each_type_has_its_form_for_ever() {
        let oid = bson::oid::ObjectId::parse_str("648195af9aa9cadd41a9dcb2").expect("an id");
        let cases: Vec<(Bson, &str)> = vec![
            (oid.into(), r#"{"ObjectId":"648195af9aa9cadd41a9dcb2"}"#),
            ("b".into(), r#"{"String":"b"}"#),
            ("$b\"".into(), r#"{"String":"$b\""}"#),
            (2_i32.into(), r#"{"Int32":2}"#),
            (i64::MIN.into(), r#"{"Int64":-9223372036854775808}"#),
            (
                bson::DateTime::from_millis(1_704_153_600_000).into(),
                r#"{"DateTime":{"$date":{"$numberLong":"1704153600000"}}}"#,
            ),
            (
                Bson::Timestamp(bson::Timestamp { time: 1, increment: 2 }),
                r#"{"Timestamp":{"$timestamp":{"t":1,"i":2}}}"#,
            ),
            (Bson::Symbol("s".into()), r#"{"Symbol":"s"}"#),
            (Bson::JavaScriptCode("f".into()), r#"{"JavaScriptCode":"f"}"#),
            (2.5.into(), r#"{"CanonicalExtJson":{"$numberDouble":"2.5"}}"#),
            (Bson::MinKey, r#"{"CanonicalExtJson":{"$minKey":1}}"#),
            (true.into(), r#"{"CanonicalExtJson":true}"#),
            (Bson::Null, r#"{"CanonicalExtJson":null}"#),
            (doc! {"k": 2}.into(), r#"{"CanonicalExtJson":{"k":{"$numberInt":"2"}}}"#),
            (
                doc! {"order": 3_i64, "line": -5}.into(),
                r#"{"CanonicalExtJson":{"order":{"$numberLong":"3"},"line":{"$numberInt":"-5"}}}"#,
            ),
            (
                Bson::Decimal128("-5.25".parse().expect("a decimal")),
                r#"{"CanonicalExtJson":{"$numberDecimal":"-5.25"}}"#,
            ),
            (
                bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![0; 16] }.into(),
                r#"{"CanonicalExtJson":{"$binary":{"base64":"AAAAAAAAAAAAAAAAAAAAAA==","subType":"04"}}}"#,
            ),
        ];
        for (value, json) in cases {
            let id = value_of(value);
            let key = to_key(id.value());
            let same: Value = serde_json::from_str(json).expect(json);
            assert_eq!(serde_json::from_str::<Value>(&text(key.clone())).expect("json"), same);
            assert_eq!(from_key(&key), Some(id), "{json}");
        }
    }

    #[test]
    fn forms_of_older_files_are_read() {
        let oid = value_of(bson::oid::ObjectId::parse_str("65dfdc512e7b06b6e2b3a3a1").expect("an id"));
        let date = value_of(bson::DateTime::from_millis(1_704_153_600_000));
        let cases = [
            ("65dfdc512e7b06b6e2b3a3a1", &oid),
            (r#"{"ObjectId":{"$oid":"65dfdc512e7b06b6e2b3a3a1"}}"#, &oid),
            (r#"{"CanonicalExtJson":{"$date":{"$numberLong":"1704153600000"}}}"#, &date),
            (r#"{"DateTime":1704153600000}"#, &date),
        ];
        for (json, id) in cases {
            assert_eq!(from_key(&KeyText::Text(json.into())).as_ref(), Some(id), "{json}");
        }
    }

    #[test]
    fn what_is_no_form_is_no_value() {
        for text in [
            "",
            "5",
            "\"a\"",
            "{}",
            r#"{"Int32":"2"}"#,
            r#"{"Int32":4294967296}"#,
            r#"{"Uuid":1}"#,
            r#"{"ObjectId":"65"}"#,
        ] {
            assert_eq!(from_key(&KeyText::Text(text.into())), None, "{text}");
        }
        for bytes in [&[][..], &[0x10, 1], &[0x10, 1, 2, 3, 4, 5], &[0x02, 1, 0, 0, 0]] {
            assert_eq!(from_key(&KeyText::Bytes(bytes.to_vec())), None, "{bytes:?}");
        }
        assert_eq!(from_key(&KeyText::Null), None);
    }

    #[test]
    fn what_json_cannot_say_is_kept_as_bytes() {
        let mut twice = raw::Writer::new();
        twice.int("k", 1).int("k", 2);
        let cases = [
            Id { kind: kind::STRING, bytes: vec![3, 0, 0, 0, 0xff, 0xfe, 0] },
            Id { kind: kind::DOCUMENT, bytes: twice.finish() },
            value_of(doc! {"$oid": "65dfdc512e7b06b6e2b3a3a1"}),
            Id { kind: kind::DOUBLE, bytes: vec![1, 0, 0, 0, 0, 0, 0xf8, 0x7f] },
        ];
        for id in cases {
            let key = to_key(id.value());
            assert!(matches!(key, KeyText::Bytes(_)), "{id:?}");
            assert_eq!(from_key(&key), Some(id));
        }
    }

    proptest! {
        #[test]
        fn every_key_comes_back(kind in prop::sample::select(vec![1_u8, 2, 5, 7, 9, 14, 16, 17, 18, 19]), bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let sized = |length: usize| bytes.iter().copied().chain([0; 40]).take(length).collect::<Vec<u8>>();
            let bytes = match kind {
                2 | 14 => [&i32::try_from(bytes.len() + 1).expect("a length").to_le_bytes()[..], &bytes, &[0]].concat(),
                5 => [&i32::try_from(bytes.len()).expect("a length").to_le_bytes()[..], &[0x80], &bytes].concat(),
                7 => sized(12),
                16 => sized(4),
                19 => sized(16),
                _ => sized(8),
            };
            let id = Id { kind, bytes };
            prop_assert_eq!(from_key(&to_key(id.value())), Some(id));
        }
    }
}
