//! The entries of the oplog, `local.oplog.rs`, read from their bytes. Pure.
//!
//! The form is not documented for users; it is that of the server's `src/mongo/db/repl/oplog_entry.idl`, MongoDB 4.4 to 8.0:
//! `op` is `i`, `u`, `d` (a document's change, in `o` and `o2`), `c` (a command), `n` (nothing). A transaction is a command
//! `applyOps` that holds its changes; a large one is several, all but the last with `partialTxn: true`, chained backwards by
//! `prevOpTime`; a prepared one has `prepare: true` in the last and counts with the `commitTransaction` that follows, whose
//! `prevOpTime` leads to it. So a transaction counts at its last entry, and the others are looked up from there.

use dt_common::{Error, Result};

use super::place::Time;
use super::row::{Action, Ddl, Row, RowOp, namespace, text, timestamp};
use crate::raw::{self, RawValue, kind};
use crate::value::ID;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Its time, which no other entry has.
    pub time: Time,
    /// What it says.
    pub what: What<'a>,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// Nothing for now: nothing at all, or a part of a transaction whose end is still to come.
    Nothing,
    /// Changes that belong together, or one; and what was done to collections.
    Changes {
        /// Entries of the same transaction in front of this one, the last of them; `None` if there are none.
        earlier: Option<Time>,
        /// What it holds by itself, in order.
        parts: Vec<Part<'a>>,
    },
}

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// To a document.
    Row(Row<'a>),
    /// To a collection or a database.
    Ddl(Ddl<'a>),
}

/// How deep `applyOps` may lie in each other: more than a server takes (MongoDB server, `apply_ops_cmd.cpp`,
/// `maxApplyOpsDepth`).
const NESTED_MAX: usize = 50;

/// Commands that change collections or databases, and no document besides.
const DDL: [&str; 16] = [
    "abortIndexBuild",
    "collMod",
    "commitIndexBuild",
    "convertToCapped",
    "create",
    "createIndexes",
    "createGlobalIndex",
    "deleteIndex",
    "deleteIndexes",
    "drop",
    "dropDatabase",
    "dropGlobalIndex",
    "dropIndex",
    "dropIndexes",
    "renameCollection",
    "startIndexBuild",
];

impl<'a> Entry<'a> {
    /// Reads an entry.
    ///
    /// # Errors
    /// It is not understood.
    pub fn parse(entry: &'a [u8]) -> Result<Self> {
        let fields = Fields::of(entry)?;
        let time = fields.time.ok_or_else(|| fields.bad("no `ts`"))?;
        let what = match fields.command()? {
            Some(("applyOps", _)) if fields.partial || fields.prepare => What::Nothing,
            // Counts, and says nothing by itself.
            Some(("commitTransaction", _)) => {
                What::Changes { earlier: Some(fields.earlier_or_bad()?), parts: Vec::new() }
            }
            Some(("abortTransaction", _)) => What::Nothing,
            Some(("applyOps", _)) => What::Changes { earlier: fields.earlier(), parts: fields.parts()? },
            Some(_) | None => match fields.parts()? {
                parts if parts.is_empty() => What::Nothing,
                parts => What::Changes { earlier: None, parts },
            },
        };
        Ok(Entry { time, what })
    }

    /// Reads an entry that another one's `earlier` leads to: what it holds, and what is in front of it.
    ///
    /// # Errors
    /// It is no part of a transaction.
    pub fn parse_earlier(entry: &'a [u8]) -> Result<(Option<Time>, Vec<Part<'a>>)> {
        let fields = Fields::of(entry)?;
        match fields.command()? {
            Some(("applyOps", _)) => Ok((fields.earlier(), fields.parts()?)),
            Some(_) | None => Err(fields.bad("it is no part of a transaction, though another entry says so")),
        }
    }
}

/// The fields of an entry, or of an operation within one.
#[derive(Default)]
struct Fields<'a> {
    time: Option<Time>,
    op: &'a str,
    ns: &'a str,
    o: Option<&'a [u8]>,
    o2: Option<&'a [u8]>,
    previous: Option<Time>,
    is_transaction: bool,
    partial: bool,
    prepare: bool,
    from_migrate: bool,
}

impl<'a> Fields<'a> {
    fn of(entry: &'a [u8]) -> Result<Self> {
        let mut fields = Fields::default();
        let mut has_number = false;
        let mut applied_apart = false;
        for field in raw::fields(entry) {
            let field = field.map_err(|raw::Malformed| Error::fatal("an entry of the source's oplog is damaged"))?;
            let value = field.value;
            match field.name {
                b"ts" => fields.time = timestamp(value),
                b"op" => fields.op = text(value).unwrap_or_default(),
                b"ns" => fields.ns = text(value).unwrap_or_default(),
                b"o" => fields.o = value.document(),
                b"o2" => fields.o2 = value.document(),
                b"prevOpTime" => {
                    let previous = value.document().and_then(|time| raw::field(time, "ts")).and_then(timestamp);
                    // Zero says that there is none.
                    fields.previous = previous.filter(|&time| time != Time::default());
                }
                b"txnNumber" => has_number = true,
                // Retryable writes gathered into one entry: what `prevOpTime` leads to is another statement.
                b"multiOpType" => applied_apart = value.integer() == Some(1),
                b"fromMigrate" => fields.from_migrate = is_true(value),
                _ => {}
            }
        }
        // The command's own flags lie within `o`.
        if let (Some(o), "c") = (fields.o, fields.op) {
            fields.partial = raw::field(o, "partialTxn").is_some_and(is_true);
            fields.prepare = raw::field(o, "prepare").is_some_and(is_true);
        }
        fields.is_transaction = has_number && !applied_apart;
        Ok(fields)
    }

    /// The command's name and its value.
    fn command(&self) -> Result<Option<(&'a str, RawValue<'a>)>> {
        if self.op != "c" {
            return Ok(None);
        }
        let first =
            raw::fields(self.o()?).next().and_then(Result::ok).ok_or_else(|| self.bad("a command without a name"))?;
        let name = std::str::from_utf8(first.name).map_err(|_| self.bad("a command without a name"))?;
        Ok(Some((name, first.value)))
    }

    fn o(&self) -> Result<&'a [u8]> {
        self.o.ok_or_else(|| self.bad("no `o`"))
    }

    fn earlier(&self) -> Option<Time> {
        self.previous.filter(|_| self.is_transaction)
    }

    fn earlier_or_bad(&self) -> Result<Time> {
        self.previous.ok_or_else(|| self.bad("the end of a transaction that does not say where it began"))
    }

    fn parts(&self) -> Result<Vec<Part<'a>>> {
        let mut parts = Vec::new();
        self.add_to(&mut parts, 0)?;
        Ok(parts)
    }

    fn add_to(&self, parts: &mut Vec<Part<'a>>, depth: usize) -> Result<()> {
        // What moves between the shards of a cluster is no change.
        if self.from_migrate {
            return Ok(());
        }
        let row = |op| {
            let (database, collection) = namespace(self.ns)?;
            Ok::<_, Error>(Part::Row(Row { database, collection, op }))
        };
        match self.op {
            "n" => {}
            "i" => parts.push(row(RowOp::Insert(self.with_id(self.o()?)?))?),
            "u" => {
                let key = self.o2.ok_or_else(|| self.bad("an update without `o2`"))?;
                parts.push(row(RowOp::Update { key: self.with_id(key)?, after: self.o()? })?);
            }
            "d" => parts.push(row(RowOp::Delete { key: self.with_id(self.o()?)? })?),
            "c" => self.command_to(parts, depth)?,
            other => return Err(self.bad(&format!("the operation `{other}`"))),
        }
        Ok(())
    }

    fn with_id(&self, document: &'a [u8]) -> Result<&'a [u8]> {
        raw::field(document, ID).map(|_| document).ok_or_else(|| self.bad("a document without `_id`"))
    }

    fn command_to(&self, parts: &mut Vec<Part<'a>>, depth: usize) -> Result<()> {
        let Some((name, value)) = self.command()? else { return Ok(()) };
        match name {
            "applyOps" if depth >= NESTED_MAX => Err(self.bad("`applyOps` in each other without end")),
            "applyOps" => {
                let operations = value.document().ok_or_else(|| self.bad("`applyOps` without operations"))?;
                for operation in raw::fields(operations) {
                    let operation = operation.ok().and_then(|operation| operation.value.document());
                    let operation = operation.ok_or_else(|| self.bad("`applyOps` without operations"))?;
                    Fields::of(operation)?.add_to(parts, depth + 1)?;
                }
                Ok(())
            }
            what if DDL.contains(&what) => {
                let (database, of) = namespace(self.ns)?;
                // Named by the command's value: a name, or all of a name with its database.
                let collection = match (what, text(value)) {
                    ("dropDatabase", _) => None,
                    (_, Some(named)) => {
                        Some(named.strip_prefix(database).and_then(|rest| rest.strip_prefix('.')).unwrap_or(named))
                    }
                    (_, None) => Some(of),
                };
                let to = raw::field(self.o()?, "to").and_then(text).map(namespace).transpose()?;
                parts.push(Part::Ddl(Ddl { what, database, collection, to, action: self.action(what)? }));
                Ok(())
            }
            // It empties a capped collection, and is no deletion of documents.
            other => Err(self.bad(&format!("the command `{other}`"))),
        }
    }

    /// What the command did.
    fn action(&self, what: &str) -> Result<Action<'a>> {
        let o = self.o()?;
        Ok(match what {
            "create" => Action::Create(o),
            "drop" => Action::Drop,
            "renameCollection" => {
                Action::Rename { drop_target: raw::field(o, "dropTarget").is_some_and(super::change_event::is_said) }
            }
            "dropDatabase" => Action::DropDatabase,
            // The specification itself, with the collection in front.
            "createIndexes" => Action::CreateIndexes(vec![o]),
            "commitIndexBuild" => {
                let list = raw::field(o, "indexes").and_then(RawValue::document);
                let list = list.ok_or_else(|| self.bad("indexes that are not said"))?;
                let specs = raw::fields(list).map(|spec| spec.ok().and_then(|spec| spec.value.document()));
                let specs = specs.collect::<Option<Vec<&[u8]>>>();
                Action::CreateIndexes(specs.ok_or_else(|| self.bad("indexes that are not said"))?)
            }
            "dropIndexes" | "deleteIndexes" | "dropIndex" | "deleteIndex" => {
                let name = raw::field(o, "index").and_then(text);
                Action::DropIndexes(vec![name.ok_or_else(|| self.bad("an index without a name"))?])
            }
            "collMod" => Action::Modify(o),
            "startIndexBuild" | "abortIndexBuild" => Action::Progress,
            _ => Action::Other,
        })
    }

    fn bad(&self, what: &str) -> Error {
        let error = Error::fatal(format!("an entry of the source's oplog is not understood: {what}"));
        let error = error.with("collection", self.ns);
        let error = match self.time {
            Some(time) => error.with("at", format!("{}:{}", time.seconds, time.increment)),
            None => error,
        };
        error.hint("source=change_stream may go on from the same place")
    }
}

fn is_true(value: RawValue<'_>) -> bool {
    value.kind == kind::BOOLEAN && value.bytes == [1]
}

#[cfg(test)]
mod tests;
