//! Documents of every type, and such as no driver would write, for the tests of MongoDB's values.

// Each test binary uses some of it.
#![allow(dead_code)]

use anyhow::{Context, Result};
use dt_tests::mongo::{Mongo, bytes, document, field, text};
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    Binary, Bson, DateTime, Decimal128, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, doc,
};
use mongodb::bson::{DbPointer, Document};

fn decimal(text: &str) -> Result<Bson> {
    Ok(Bson::Decimal128(text.parse::<Decimal128>().with_context(|| text.to_owned())?))
}

fn binary(subtype: BinarySubtype, bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype, bytes: bytes.to_vec() })
}

/// Values that can be an `_id` and a field.
fn values() -> Result<Vec<Bson>> {
    let scoped = JavaScriptCodeWithScope { code: "f()".into(), scope: doc! {"a": 1} };
    Ok(vec![
        Bson::MinKey,
        Bson::Null,
        Bson::Double(f64::NEG_INFINITY),
        Bson::Double(-2.5),
        Bson::Double(f64::MIN_POSITIVE),
        Bson::Double(f64::NAN),
        Bson::Double(1e300),
        Bson::Double(f64::INFINITY),
        Bson::Int32(i32::MIN),
        Bson::Int32(0),
        Bson::Int32(7),
        Bson::Int64(i64::MIN),
        Bson::Int64(9_007_199_254_740_993),
        Bson::Int64(i64::MAX),
        decimal("0.1")?,
        decimal("-9.999999999999999999999999999999999E+6144")?,
        decimal("1E-6176")?,
        "".into(),
        "a".into(),
        "$b".into(),
        "B".into(),
        "é".into(),
        "zero\0within".into(),
        Bson::Symbol("symbol".into()),
        doc! {}.into(),
        doc! {"a": 1}.into(),
        doc! {"a": 1_i64, "b": 2}.into(),
        doc! {"b": 2, "a": {"c": [1, {"d": "x"}]}}.into(),
        doc! {"oid": "648195af9aa9cadd41a9dcb2"}.into(),
        binary(BinarySubtype::Generic, b""),
        binary(BinarySubtype::Generic, &[0, 255]),
        binary(BinarySubtype::Uuid, &[7; 16]),
        binary(BinarySubtype::UserDefined(0x80), b"x"),
        Bson::ObjectId(ObjectId::from_bytes([0; 12])),
        Bson::ObjectId(ObjectId::new()),
        Bson::Boolean(false),
        Bson::Boolean(true),
        Bson::DateTime(DateTime::from_millis(i64::MIN)),
        Bson::DateTime(DateTime::from_millis(-1)),
        Bson::DateTime(DateTime::from_millis(1_704_153_600_123)),
        Bson::Timestamp(Timestamp { time: 0, increment: 1 }),
        Bson::Timestamp(Timestamp { time: u32::MAX, increment: u32::MAX }),
        Bson::JavaScriptCode("f()".into()),
        Bson::JavaScriptCodeWithScope(scoped),
        Bson::MaxKey,
    ])
}

/// One document for each type of value, and one with all of them.
pub fn every_value() -> Result<Vec<Vec<u8>>> {
    let mut values = values()?;
    values.extend([
        Bson::Undefined,
        Bson::Array(vec![1.into(), "x".into(), Bson::Array(Vec::new())]),
        Bson::RegularExpression(Regex {
            pattern: dt_tests::mongo::name("^a.*\\/$")?,
            options: dt_tests::mongo::name("ix")?,
        }),
    ]);
    let mut all = Document::new();
    let mut documents = Vec::new();
    for (at, value) in values.into_iter().enumerate() {
        all.insert(format!("f{at}"), value.clone());
        let at = i32::try_from(at)?;
        documents.push(bytes(&doc! {"_id": at, "v": value.clone(), "nested": [{"v": value}]})?);
    }
    documents.push(bytes(&doc! {"_id": "all", "all": all})?);
    Ok(documents)
}

/// Documents whose `_id` is of each type that it can be, those included that are no UTF-8 or hold a name twice.
pub fn every_id() -> Result<Vec<Vec<u8>>> {
    let mut documents: Vec<Vec<u8>> = Vec::new();
    for value in values()? {
        documents.push(bytes(&doc! {"_id": value, "a": 1})?);
    }
    let twice = document(&[field(0x10, b"k", &[1, 0, 0, 0]), field(0x10, b"k", &[2, 0, 0, 0])]);
    let pointer = [text(b"d.c"), vec![9; 12]].concat();
    documents.extend([
        document(&[field(0x02, b"_id", &text(b"\xff\xfe"))]),
        document(&[field(0x03, b"_id", &twice)]),
        document(&[field(0x11, b"_id", &[0; 8])]),
        document(&[field(0x0c, b"_id", &pointer)]),
    ]);
    // Driver types that are known by name only.
    let _: Option<DbPointer> = None;
    Ok(documents)
}

/// Documents that no driver would write, and the server keeps.
pub fn awkward_documents() -> Vec<Vec<u8>> {
    let id = |id: i32| field(0x10, b"_id", &id.to_le_bytes());
    let int = |name: &[u8], number: i32| field(0x10, name, &number.to_le_bytes());
    vec![
        document(&[id(1)]),
        document(&[id(2), int(b"a", 1), int(b"a", 2), int(b"a", 1)]),
        document(&[id(3), field(0x02, b"text", &text(b"\xff\xfe\x80")), int(b"name \xff", 1)]),
        document(&[id(4), int(b"$set", 1), int(b"a.b", 2), int(b"", 3)]),
        document(&[id(5), int(b"z", 1), int(b"a", 2), int(b"m", 3)]),
        document(&[
            id(6),
            field(0x01, b"nan", &[1, 0, 0, 0, 0, 0, 0xf8, 0x7f]),
            field(0x01, b"minus", &(-0.0_f64).to_le_bytes()),
        ]),
        document(&[id(7), int(b"$db", 1), int(b"$dup", 1), int(b"$dup", 2), field(0x02, b"t", &text(b"\xc3"))]),
        document(&[
            id(8),
            field(0x12, b"long", &1_i64.to_le_bytes()),
            field(0x01, b"double", &1.0_f64.to_le_bytes()),
            int(b"int", 1),
        ]),
    ]
}

/// Documents with timestamps of zero: a server puts the present time in their place when they are inserted.
pub fn zero_timestamps(source: &Mongo, database: &str, collection: &str) -> Result<()> {
    let zero = Bson::Timestamp(Timestamp { time: 0, increment: 0 });
    source.command(database, doc! {"insert": collection, "documents": [{"_id": "zero", "a": 1}, {"_id": "$zero"}]})?;
    let update = |id: &str, set: Document| doc! {"q": {"_id": id}, "u": {"$set": set}};
    let updates = [
        update("zero", doc! {"first": zero.clone(), "b": 2, "second": zero.clone(), "within": {"third": zero.clone()}}),
        update("$zero", doc! {"ts": zero}),
    ];
    source.command(database, doc! {"update": collection, "updates": updates.to_vec()}).map(drop)
}

/// The `_id` of a document as a query, whatever its type.
pub fn by_id(raw: &[u8]) -> Result<Vec<u8>> {
    let (kind, value) = id_of(raw)?;
    Ok(document(&[field(0x03, b"_id", &document(&[field(kind, b"$eq", value)]))]))
}

/// A command that makes another document of one.
pub fn spoil(collection: &str, query: Vec<u8>) -> Result<RawDocumentBuf> {
    let set = bytes(&doc! {"$set": {"spoilt": true}})?;
    let statement = document(&[field(0x03, b"q", &query), field(0x03, b"u", &set)]);
    command("update", collection, "updates", statement)
}

/// A command that deletes one document.
pub fn delete(collection: &str, query: Vec<u8>) -> Result<RawDocumentBuf> {
    let statement = document(&[field(0x03, b"q", &query), field(0x10, b"limit", &[1, 0, 0, 0])]);
    command("delete", collection, "deletes", statement)
}

fn command(name: &str, collection: &str, statements: &str, statement: Vec<u8>) -> Result<RawDocumentBuf> {
    let array = document(&[field(0x03, b"0", &statement)]);
    let command = document(&[
        field(0x02, name.as_bytes(), &text(collection.as_bytes())),
        field(0x04, statements.as_bytes(), &array),
    ]);
    Ok(RawDocumentBuf::from_bytes(command)?)
}

/// A line of position.log that says that this document is the last one copied, by the bytes of its `_id`.
pub fn position(database: &str, collection: &str, raw: &[u8]) -> Result<String> {
    let (kind, value) = id_of(raw)?;
    let hex: String = [&[kind], value].concat().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!(
        "2024-10-10 04:04:08.152044 | current_position | {{\"type\":\"RdbSnapshot\",\"db_type\":\"mongo\",\"schema\":\"{database}\",\
         \"tb\":\"{collection}\",\"order_col\":\"_id\",\"value\":\"{hex}\",\"hex\":[\"_id\"]}}\n"
    ))
}

/// Kind and value of a document's `_id`, which stands first.
fn id_of(raw: &[u8]) -> Result<(u8, &[u8])> {
    let raw_document = mongodb::bson::RawDocument::from_bytes(raw)?;
    let first = raw_document.iter_elements().next().context("a document without fields")??;
    let kind = raw[4];
    let start = 4 + 1 + first.key().as_str().len() + 1;
    Ok((kind, &raw[start..start + first.size()]))
}
