//! The sample for MongoDB: collections with every shape of `_id`, and documents that no driver would write.
//!
//! What is in a document depends on its number and on nothing else.

use anyhow::{Context, Result, bail};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, doc};

use crate::mongo::{Mongo, bytes, document, field, text};

/// One collection of the sample.
#[derive(Clone, Copy, Debug)]
pub struct SampleCollection {
    /// Its name.
    pub name: &'static str,
    /// What kind of `_id` it has, for people.
    pub key: &'static str,
    /// How many of a hundred documents are in it.
    pub share: u64,
}

/// The collections in the order of their names.
pub static COLLECTIONS: [SampleCollection; 5] = [
    SampleCollection { name: "customers", key: "ObjectId", share: 40 },
    SampleCollection { name: "events", key: "eight types", share: 16 },
    SampleCollection { name: "order_lines", key: "sub-document", share: 32 },
    SampleCollection { name: "sessions", key: "UUID", share: 8 },
    SampleCollection { name: "words", key: "text, also with $", share: 4 },
];

/// Documents that are made and inserted at once.
const AT_ONCE: u64 = 10_000;

impl SampleCollection {
    /// How many documents it has in a sample of `rows`.
    pub fn rows_of(&self, rows: u64) -> u64 {
        rows * self.share / 100
    }

    /// How many documents a server has behind a recorded `_id`, in the server's own order of all types (MongoDB
    /// documentation, Comparison/Sort Order).
    ///
    /// # Errors
    /// The recorded value is none of those that the sample has; or what the server says.
    pub fn rows_after(&self, server: &Mongo, database: &str, recorded: &str) -> Result<u64> {
        let after = doc! {"$expr": {"$gt": ["$_id", {"$literal": value(recorded)?}]}};
        let reply = server.command(database, doc! {"count": self.name, "query": after})?;
        Ok(u64::try_from(reply.get_i32("n")?)?)
    }
}

/// Fills the collections of a database with `rows` documents in all.
///
/// # Errors
/// What the server says.
pub fn fill(server: &Mongo, database: &str, rows: u64) -> Result<()> {
    for collection in &COLLECTIONS {
        let count = collection.rows_of(rows);
        for first in (0..count).step_by(usize::try_from(AT_ONCE)?) {
            let made = (first..count.min(first + AT_ONCE)).map(|at| one(collection.name, at));
            server.insert(database, collection.name, &made.collect::<Result<Vec<_>>>()?)?;
        }
    }
    Ok(())
}

fn one(collection: &str, at: u64) -> Result<Vec<u8>> {
    let number = i64::try_from(at)?;
    let small = i32::try_from(at % 1_000_000)?;
    let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bytes(&match collection {
        "customers" => {
            let mut oid = [0; 12];
            oid[..4].copy_from_slice(&u32::try_from(1_600_000_000 + at * 61)?.to_be_bytes());
            oid[8..].copy_from_slice(&u32::try_from(at)?.to_be_bytes());
            let name = ["Ana", "Bjørn", "Chloë", "李", "🦀"][(at % 5) as usize];
            let balance: Decimal128 = format!("{}.{:04}", number * 7919 % 10_000, at % 10_000).parse()?;
            let tags: Vec<&str> = ["a", "b", "c"].into_iter().take((at % 4) as usize).collect();
            let (score, half) = (number as f64 / 7.0, number as f64 * 0.5);
            let born = DateTime::from_millis(number * 86_400_000 - 900_000_000_000);
            let settings =
                doc! {"n": small, "list": [small % 3, "x\ty", null_or(at, 3, "deep")], "deep": {"half": half}};
            doc! {
                "_id": ObjectId::from_bytes(oid), "name": format!("{name} {at:X}"), "balance": balance, "score": score,
                "active": at.is_multiple_of(2), "born": born, "tags": tags, "settings": settings,
            }
        }
        "order_lines" => {
            let placed = DateTime::from_millis(1_622_548_800_125 + number * 1000);
            let raw = mixed.to_be_bytes()[..(at % 9) as usize].to_vec();
            doc! {
                "_id": {"order": number / 12, "line": small % 12 - 5}, "sku": format!("é{:08}", at % 100_000),
                "quantity": small % 100 - 10, "price": f64::from(small % 100_000) / 100.0,
                "placed": null_or(at, 13, placed), "raw": Binary { subtype: BinarySubtype::Generic, bytes: raw },
            }
        }
        "events" => doc! {"_id": event_id(at)?, "of": collection, "at": number, "what": "x".repeat((at % 50) as usize)},
        "sessions" => {
            let uuid = [mixed.to_be_bytes(), at.to_be_bytes()].concat();
            doc! {"_id": Binary { subtype: BinarySubtype::Uuid, bytes: uuid }, "opened": DateTime::from_millis(number), "hops": [{"to": small}, {"to": small + 1}]}
        }
        "words" => return Ok(word(at, mixed)),
        other => bail!("the sample has no collection `{other}`"),
    })
}

/// Null now and then.
fn null_or(at: u64, every: u64, value: impl Into<Bson>) -> Bson {
    if at.is_multiple_of(every) { Bson::Null } else { value.into() }
}

fn event_id(at: u64) -> Result<Bson> {
    let number = i64::try_from(at)?;
    Ok(match at % 8 {
        0 => Bson::Int32(i32::try_from(at)?),
        1 => Bson::Int64(number << 32),
        2 => Bson::Double(number as f64 + 0.5),
        3 => Bson::String(format!("event {at:x}")),
        4 => doc! {"a": number}.into(),
        5 => Bson::DateTime(DateTime::from_millis(number)),
        6 => Bson::Decimal128(format!("-{at}.25").parse()?),
        _ => Binary { subtype: BinarySubtype::Generic, bytes: at.to_be_bytes().to_vec() }.into(),
    })
}

/// A text that is no UTF-8, and a name that is there twice.
fn word(at: u64, mixed: u64) -> Vec<u8> {
    let start = ["$", "", "é"][(at % 3) as usize];
    document(&[
        field(0x02, b"_id", &text(format!("{start}{:05x}-{at}", mixed >> 44).as_bytes())),
        field(0x02, b"torn", &text(&[b'a', 0xff, 0xfe])),
        field(0x10, b"twice", &[1, 0, 0, 0]),
        field(0x10, b"twice", &[2, 0, 0, 0]),
    ])
}

/// A recorded `_id`, as docs/positions.md says it.
fn value(recorded: &str) -> Result<Bson> {
    if !recorded.starts_with('{') {
        return bytes_of(recorded);
    }
    let json: serde_json::Value = serde_json::from_str(recorded).context("a recorded `_id`")?;
    let (kind, said) = json.as_object().and_then(|fields| fields.iter().next()).context("a recorded `_id`")?;
    Ok(match (kind.as_str(), said) {
        ("ObjectId", said) => Bson::ObjectId(ObjectId::parse_str(said.as_str().context("no text")?)?),
        ("String", said) => said.as_str().context("no text")?.into(),
        ("Int32", said) => i32::try_from(said.as_i64().context("no number")?)?.into(),
        ("Int64", said) => said.as_i64().context("no number")?.into(),
        (_, said) => Bson::try_from(said.clone()).with_context(|| format!("a recorded `_id`: {said}"))?,
    })
}

/// What JSON does not say exactly is recorded in hex: the type, then the value's bytes.
fn bytes_of(hex: &str) -> Result<Bson> {
    let digits =
        (0..hex.len()).step_by(2).map(|at| Ok(u8::from_str_radix(hex.get(at..at + 2).context("no hex")?, 16)?));
    let bytes = digits.collect::<Result<Vec<u8>>>()?;
    let (kind, bytes) = bytes.split_first().context("no type")?;
    let found = mongodb::bson::Document::from_reader(&document(&[field(*kind, b"_id", bytes)])[..])?;
    found.get("_id").cloned().context("no value")
}

/// The names of the sample's collections.
pub fn names() -> impl Iterator<Item = &'static str> {
    COLLECTIONS.iter().map(|collection| collection.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_a_hundred_and_every_collection_has_documents() -> Result<()> {
        assert_eq!(COLLECTIONS.iter().map(|collection| collection.share).sum::<u64>(), 100);
        assert!(COLLECTIONS.is_sorted_by_key(|collection| collection.name));
        for name in names() {
            for at in 0..50 {
                assert_ne!(one(name, at)?, one(name, at + 1)?, "{name}");
            }
        }
        Ok(())
    }

    #[test]
    fn recorded_keys_are_the_values_that_were_written() -> Result<()> {
        assert_eq!(value(r#"{"String":"$a"}"#)?, "$a".into());
        assert_eq!(value(r#"{"Int64":5}"#)?, Bson::Int64(5));
        assert_eq!(value("1005000000")?, Bson::Int32(5));
        let document: mongodb::bson::Document = doc! {"order": 3_i64, "line": -5};
        let said = Bson::Document(document.clone()).into_canonical_extjson();
        assert_eq!(value(&serde_json::json!({"CanonicalExtJson": said}).to_string())?, document.into());
        Ok(())
    }
}
