//! The events of a change stream (MongoDB documentation, Change Events), read from their bytes. Pure.
//!
//! Updates are asked for with `showRawUpdateDescription` (from MongoDB 6.0), so that `rawUpdateDescription` is what the
//! oplog says, `{$v: 2, diff: {…}}`; of an older server with `fullDocument: updateLookup`.

use dt_common::{Error, Result};

use super::place::Time;
use super::row::{Action, Ddl, Row, RowOp, text, timestamp};
use crate::raw::{self, RawValue, kind};

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangeEvent<'a> {
    /// The token to resume after it; a document.
    pub token: &'a [u8],
    /// When it was; `None` if the server does not say.
    pub time: Option<Time>,
    /// What it says.
    pub what: What<'a>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A document has changed.
    Row(Row<'a>),
    /// A document was updated that the look-up did not find any more: its deletion follows.
    UpdatedAndGone,
    /// Something was done to a collection or a database.
    Ddl(Ddl<'a>),
    /// The stream ends here, and can be begun anew after it.
    Invalidate,
}

/// What is done to collections and databases (MongoDB documentation, Change Events).
const DDL: [&str; 10] = [
    "create",
    "createIndexes",
    "drop",
    "dropDatabase",
    "dropIndexes",
    "modify",
    "refineCollectionShardKey",
    "rename",
    "reshardCollection",
    "shardCollection",
];

/// What belongs to an index that is being built, and is told again when it is there.
const PROGRESS: [&str; 3] = ["startIndexBuild", "commitIndexBuild", "abortIndexBuild"];

impl<'a> ChangeEvent<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// It is of a type that is not known, or not whole.
    pub fn parse(event: &'a [u8]) -> Result<Self> {
        let mut fields = Fields::default();
        for field in raw::fields(event) {
            let field = field.map_err(|raw::Malformed| Error::fatal("an event of the change stream is damaged"))?;
            let value = field.value;
            match field.name {
                b"_id" => fields.token = value.document(),
                b"operationType" => fields.operation = text(value),
                b"clusterTime" => fields.time = timestamp(value),
                b"ns" => fields.ns = value.document(),
                b"documentKey" => fields.key = value.document(),
                b"fullDocument" => fields.document = Some(value),
                b"to" => fields.to = value.document(),
                b"rawUpdateDescription" => fields.update = value.document(),
                b"operationDescription" => fields.description = value.document(),
                b"collectionUUID" => fields.is_collection = true,
                _ => {}
            }
        }
        let operation = fields.operation.ok_or_else(|| missing("operationType", "?"))?;
        let token = fields.token.ok_or_else(|| missing("_id", operation))?;
        Ok(ChangeEvent { token, time: fields.time, what: fields.what(operation)? })
    }
}

#[derive(Default)]
struct Fields<'a> {
    token: Option<&'a [u8]>,
    operation: Option<&'a str>,
    time: Option<Time>,
    ns: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    document: Option<RawValue<'a>>,
    update: Option<&'a [u8]>,
    to: Option<&'a [u8]>,
    description: Option<&'a [u8]>,
    // Said with expanded events only, and of no view.
    is_collection: bool,
}

impl<'a> Fields<'a> {
    fn what(&self, operation: &'a str) -> Result<What<'a>> {
        let name = |name: &str| self.ns.and_then(|ns| raw::field(ns, name)).and_then(text);
        let row = |op| {
            let database = name("db").ok_or_else(|| missing("ns.db", operation))?;
            let collection = name("coll").ok_or_else(|| missing("ns.coll", operation))?;
            Ok(What::Row(Row { database, collection, op }))
        };
        let key = || self.key.ok_or_else(|| missing("documentKey", operation));
        let document = || {
            let document = self.document.filter(|document| document.kind == kind::DOCUMENT);
            document.map(|document| document.bytes).ok_or_else(|| missing("fullDocument", operation))
        };
        match operation {
            "insert" => row(RowOp::Insert(document()?)),
            "replace" => row(RowOp::Update { key: key()?, after: document()? }),
            "update" => match (self.update, self.document) {
                (Some(after), _) => row(RowOp::Update { key: key()?, after }),
                (None, Some(RawValue { kind: kind::DOCUMENT, bytes })) => {
                    row(RowOp::Update { key: key()?, after: bytes })
                }
                (None, Some(_)) => Ok(What::UpdatedAndGone),
                (None, None) => Err(missing("rawUpdateDescription", operation)),
            },
            "delete" => row(RowOp::Delete { key: key()? }),
            "invalidate" => Ok(What::Invalidate),
            what if DDL.contains(&what) || PROGRESS.contains(&what) => {
                let database = name("db").unwrap_or_default();
                let part = |name: &str| self.to.and_then(|to| raw::field(to, name)).and_then(text);
                let to = part("db").zip(part("coll"));
                Ok(What::Ddl(Ddl { what, database, collection: name("coll"), to, action: self.action(what)? }))
            }
            other => Err(Error::fatal(format!("the change stream has an event of type `{other}`, which is not known"))
                .hint("tell us the source's version; source=op_log may go on")),
        }
    }

    /// What was done, as far as the event says it (MongoDB documentation, Change Events: `operationDescription`).
    fn action(&self, what: &str) -> Result<Action<'a>> {
        let description = || self.description.ok_or_else(|| missing("operationDescription", what));
        let indexes = || {
            let list = raw::field(description()?, "indexes").and_then(RawValue::document);
            let list = list.ok_or_else(|| missing("operationDescription.indexes", what))?;
            let indexes = raw::fields(list).map(|index| index.ok().and_then(|index| index.value.document()));
            indexes.collect::<Option<Vec<&[u8]>>>().ok_or_else(|| missing("operationDescription.indexes", what))
        };
        Ok(match what {
            "create" | "modify" if raw::field(description()?, "viewOn").is_some() => Action::Other,
            "create" => Action::Create(description()?),
            "modify" => Action::Modify(description()?),
            "drop" if self.is_collection => Action::Drop,
            "dropDatabase" => Action::DropDatabase,
            "rename" => {
                let replaced = self.description.and_then(|description| raw::field(description, "dropTarget"));
                Action::Rename { drop_target: replaced.is_some_and(is_said) }
            }
            "createIndexes" => Action::CreateIndexes(indexes()?),
            "dropIndexes" => {
                let names = indexes()?.into_iter().map(|index| raw::field(index, "name").and_then(text));
                let names = names.collect::<Option<Vec<&str>>>();
                Action::DropIndexes(names.ok_or_else(|| missing("operationDescription.indexes.name", what))?)
            }
            _ if PROGRESS.contains(&what) => Action::Progress,
            _ => Action::Other,
        })
    }
}

/// The id of what is dropped, or, of an older server, whether something is.
pub(super) fn is_said(value: RawValue<'_>) -> bool {
    value.kind != kind::NULL && !(value.kind == kind::BOOLEAN && value.bytes == [0])
}

fn missing(field: &str, operation: &str) -> Error {
    Error::fatal(format!("an event of type `{operation}` of the change stream has no `{field}`"))
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};

    use super::*;

    fn event(operation: &str, more: Document) -> Vec<u8> {
        let mut event = doc! {
            "_id": {"_data": "82"}, "operationType": operation,
            "clusterTime": Bson::Timestamp(bson::Timestamp { time: 7, increment: 3 }),
            "ns": {"db": "d", "coll": "a.b"}, "documentKey": {"_id": 1},
        };
        event.extend(more);
        event.to_vec().expect("bytes")
    }

    fn op(operation: &str, more: Document) -> String {
        let event = event(operation, more);
        let read = |bytes: &[u8]| Document::from_reader(bytes).expect("a document").to_string();
        let parsed = ChangeEvent::parse(&event).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(parsed.time, Some(Time { seconds: 7, increment: 3 }));
        match parsed.what {
            What::Row(Row { database: "d", collection: "a.b", op }) => match op {
                RowOp::Insert(document) => format!("+{}", read(document)),
                RowOp::Update { key, after } => format!("{}={}", read(key), read(after)),
                RowOp::Delete { key } => format!("-{}", read(key)),
            },
            What::Ddl(Ddl { what, database, collection, to, action }) => {
                let to = to.map(|(database, collection)| format!(" {database}.{collection}")).unwrap_or_default();
                let action = match action {
                    Action::Create(said) => format!("create {}", read(said)),
                    Action::Modify(said) => format!("modify {}", read(said)),
                    Action::CreateIndexes(specs) => specs.iter().map(|spec| read(spec)).collect(),
                    other => format!("{other:?}"),
                };
                format!("{what} {database}.{}{to}: {action}", collection.unwrap_or("*"))
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn events_say_what_was_done_to_which_document() {
        assert_eq!(op("insert", doc! {"fullDocument": {"_id": 1, "a": 2}}), r#"+{ "_id": 1, "a": 2 }"#);
        assert_eq!(op("replace", doc! {"fullDocument": {"_id": 1}}), r#"{ "_id": 1 }={ "_id": 1 }"#);
        let diff = doc! {"rawUpdateDescription": {"$v": 2, "diff": {"u": {"a": 3}}}};
        assert_eq!(op("update", diff), r#"{ "_id": 1 }={ "$v": 2, "diff": { "u": { "a": 3 } } }"#);
        assert_eq!(op("update", doc! {"fullDocument": {"_id": 1, "b": 1}}), r#"{ "_id": 1 }={ "_id": 1, "b": 1 }"#);
        assert_eq!(op("update", doc! {"fullDocument": null}), "UpdatedAndGone");
        assert_eq!(op("delete", doc! {}), r#"-{ "_id": 1 }"#);
        assert_eq!(op("invalidate", doc! {}), "Invalidate");
    }

    #[test]
    fn events_say_what_was_done_to_which_collection() {
        let described = |description: Document| doc! {"operationDescription": description, "collectionUUID": "x"};
        let index = || doc! {"v": 2, "key": {"a": 1}, "name": "a_1"};
        for (operation, more, wanted) in [
            ("create", described(doc! {"capped": true}), r#"create d.a.b: create { "capped": true }"#),
            ("create", described(doc! {"viewOn": "c"}), "create d.a.b: Other"),
            ("drop", doc! {"collectionUUID": "x"}, "drop d.a.b: Drop"),
            ("drop", doc! {}, "drop d.a.b: Other"),
            ("rename", doc! {"to": {"db": "e", "coll": "c"}}, "rename d.a.b e.c: Rename { drop_target: false }"),
            (
                "rename",
                doc! {"to": {"db": "e", "coll": "c"}, "operationDescription": {"dropTarget": "x"}},
                "rename d.a.b e.c: Rename { drop_target: true }",
            ),
            ("dropDatabase", doc! {"ns": {"db": "d"}}, "dropDatabase d.*: DropDatabase"),
            (
                "createIndexes",
                described(doc! {"indexes": [index()]}),
                r#"createIndexes d.a.b: { "v": 2, "key": { "a": 1 }, "name": "a_1" }"#,
            ),
            ("dropIndexes", described(doc! {"indexes": [index()]}), r#"dropIndexes d.a.b: DropIndexes(["a_1"])"#),
            ("modify", described(doc! {"cappedMax": 3}), r#"modify d.a.b: modify { "cappedMax": 3 }"#),
            ("modify", described(doc! {"viewOn": "c"}), "modify d.a.b: Other"),
            ("startIndexBuild", doc! {}, "startIndexBuild d.a.b: Progress"),
            ("shardCollection", doc! {}, "shardCollection d.a.b: Other"),
        ] {
            assert_eq!(op(operation, more), wanted);
        }
    }

    #[test]
    fn what_is_not_known_or_not_whole_is_an_error_that_names_it() {
        let cases = [
            (event("becomes", doc! {}), "becomes"),
            (event("insert", doc! {}), "fullDocument"),
            (event("insert", doc! {"fullDocument": {"_id": 1}, "ns": {"db": "d"}}), "ns.coll"),
            (event("update", doc! {}), "rawUpdateDescription"),
            (event("create", doc! {}), "operationDescription"),
            (event("dropIndexes", doc! {"operationDescription": {"indexes": [{}]}}), "indexes.name"),
            (doc! {"_id": {}}.to_vec().expect("bytes"), "operationType"),
        ];
        for (event, named) in cases {
            let error = ChangeEvent::parse(&event).expect_err(named).to_string();
            assert!(error.contains(named), "{error}");
        }
        assert!(ChangeEvent::parse(&[5, 0, 0, 0]).is_err());
    }
}
