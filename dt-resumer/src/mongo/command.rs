//! Documents of a position collection, and the commands that read and write them. Pure.
//!
//! | `_id` (behind the task) | what the document is |
//! |---|---|
//! | `Fence` | who holds the task, under which epoch, and since when it was heard of |
//! | `Guard:` session | the right of one session to write under an epoch |
//! | type `:` key `:` slot | a position |
//!
//! A transaction of MongoDB sees the collection as it was at its beginning, and fails if a document that it writes has been
//! written by another since then (MongoDB documentation, In-progress Transactions and Write Conflicts). It is no use to it
//! to read the fence, for that conflicts with nothing. So each session has a guard of its own, which its transactions count
//! up: whoever takes over deletes all guards, which waits for the transactions that have passed them and fails the others.
//! And batches of one table that are written at the same time write their positions into different slots, of which the
//! newest counts: the greatest epoch, then the greatest number.

use bson::{Bson, Document, doc};
use dt_common::position::{PositionWrite, Settle};
use dt_common::{Error, Result, TableId};

use crate::held::key;
use crate::held::rows::{DOING, FINISHED};

/// The place in a text that the name of a session goes to. An encoded task has no `$`.
pub(crate) const SESSION: &str = "$session";
/// Where a command says on which database it is executed.
const DATABASE: &str = "$db";
/// The slot of what the store writes by itself.
pub(crate) const STORE_SLOT: &str = "store";
/// Documents of one command.
const COMMAND_DOCUMENTS: usize = 1000;
/// Bytes of positions after which a command takes no more: far below what one may have (16 MiB).
const COMMAND_BYTES: usize = 4 * 1024 * 1024;

/// A task's documents by their names.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) table: TableId,
    pub(crate) task_id: String,
    task: String,
}

impl Names {
    pub(crate) fn new(table: &TableId, task_id: &str) -> Names {
        Names { table: table.clone(), task_id: task_id.to_owned(), task: key::encoded(task_id) }
    }

    /// `database.collection`, for messages.
    pub(crate) fn collection(&self) -> String {
        format!("{}.{}", self.table.schema, self.table.table)
    }

    fn id(&self, of: &str) -> String {
        format!("{}:{of}", self.task)
    }

    pub(crate) fn fence(&self) -> String {
        self.id("Fence")
    }

    pub(crate) fn position(&self, resumer_type: &str, key: &str, slot: &str) -> String {
        self.id(&format!("{resumer_type}:{key}:{slot}"))
    }

    /// The documents whose names begin so. `;` comes after `:`, and `$` after `#`.
    fn beginning(&self, with: &str, end: char) -> Document {
        let from = self.id(with);
        let to = format!("{}{end}", &from[..from.len() - 1]);
        doc! {"_id": {"$gte": from, "$lt": to}}
    }

    /// All documents of the task.
    pub(crate) fn all(&self) -> Document {
        self.beginning("", ';')
    }

    /// The guards of the task.
    pub(crate) fn guards(&self) -> Document {
        self.beginning("Guard:", ';')
    }

    /// Those of epochs before this one.
    pub(crate) fn guards_before(&self, epoch: i64) -> Document {
        let mut guards = self.guards();
        guards.insert("epoch", doc! {"$lt": epoch});
        guards
    }

    fn command(&self, name: &str, rest: Document) -> Document {
        let mut command = doc! {DATABASE: &self.table.schema, name: &self.table.table};
        command.extend(rest);
        command
    }

    fn update(&self, q: Document, u: Document, upsert: bool) -> Document {
        self.command("update", doc! {"updates": [{"q": q, "u": u, "upsert": upsert}]})
    }

    /// Updates one document, which is counted in the answer if it is there.
    pub(crate) fn update_one(&self, q: Document, u: Document) -> Document {
        self.update(q, u, false)
    }

    /// Inserts one document.
    pub(crate) fn insert(&self, document: Document) -> Document {
        self.command("insert", doc! {"documents": [document]})
    }

    /// Deletes documents.
    pub(crate) fn delete(&self, q: Document) -> Document {
        self.command("delete", doc! {"deletes": [{"q": q, "limit": 0}]})
    }

    /// Finds documents.
    pub(crate) fn find(&self, filter: Document) -> Document {
        self.command("find", doc! {"filter": filter})
    }

    /// The fence, with the milliseconds since it was renewed, by the server's clock.
    pub(crate) fn find_fence(&self) -> Document {
        let fields = doc! {"position_data": 1, "updated_at": 1, "age": {"$subtract": ["$$NOW", "$updated_at"]}};
        let pipeline = vec![doc! {"$match": {"_id": self.fence()}}, doc! {"$project": fields}];
        self.command("aggregate", doc! {"pipeline": pipeline, "cursor": {}})
    }

    /// What a session is made known by before its first transaction: it gets a guard, and then the epoch must still be its
    /// own. Whoever takes over replaces the fence first and deletes guards then: so it either meets this guard, or the session
    /// meets the new epoch. No transaction is needed, and so none is left open by a process that is killed before its session
    /// is known. Each must match one document.
    fn enrol(&self, epoch: i64) -> [Document; 2] {
        let counted = self.update_one(doc! {"_id": self.fence(), "epoch": epoch}, doc! {"$inc": {"sessions": 1_i64}});
        let guard = doc! {"resumer_type": "Guard", "position_key": SESSION, "epoch": epoch, "writes": 0_i64};
        [self.update(doc! {"_id": self.guard_of_session()}, guard, true), counted]
    }

    fn guard_of_session(&self) -> String {
        self.id(&format!("Guard:{SESSION}"))
    }

    /// Puts statements behind the guard of an epoch.
    pub(crate) fn guarded(&self, epoch: i64, statements: Vec<Document>, written: Option<Document>) -> PositionWrite {
        let by = doc! {"_id": self.guard_of_session(), "epoch": epoch};
        let guard = self.update_one(by, doc! {"$inc": {"writes": 1_i64}});
        PositionWrite {
            guard: text(guard.into()),
            statements: statements.into_iter().map(|statement| text(statement.into())).collect(),
            settle: Settle {
                wait: text(Bson::Array(self.enrol(epoch).map(Bson::from).into())),
                written: written.map(|written| text(written.into())),
            },
        }
    }

    /// Deletes all positions of tables.
    pub(crate) fn delete_tables(&self, tables: &[String]) -> Vec<Document> {
        let of_table = |key: &String| {
            [DOING, FINISHED].map(|of| doc! {"q": self.beginning(&format!("{of}:{key}:"), ';'), "limit": 0})
        };
        [self.deletes(tables.iter().flat_map(of_table)), self.delete_chunks(tables.iter())].concat()
    }

    /// Deletes the chunks of tables that are complete.
    pub(crate) fn delete_chunks<'k>(&self, tables: impl Iterator<Item = &'k String>) -> Vec<Document> {
        self.deletes(tables.map(|key| doc! {"q": self.beginning(&format!("SnapshotChunk:{key}#"), '$'), "limit": 0}))
    }

    fn deletes(&self, deletes: impl Iterator<Item = Document>) -> Vec<Document> {
        let deletes: Vec<Document> = deletes.collect();
        deletes.chunks(COMMAND_DOCUMENTS).map(|part| self.command("delete", doc! {"deletes": part.to_vec()})).collect()
    }

    /// Writes positions, each with the bytes that it takes.
    pub(crate) fn upsert(&self, documents: Vec<(usize, Document)>) -> Vec<Document> {
        let mut parts: Vec<Vec<Document>> = Vec::new();
        let mut size = 0;
        for (bytes, mut document) in documents {
            let id = document.remove("_id").expect("command: a position without a name");
            let change = doc! {"$set": document, "$currentDate": {"updated_at": true}};
            let update = doc! {"q": {"_id": id}, "u": change, "upsert": true};
            match parts.last_mut() {
                Some(part) if part.len() < COMMAND_DOCUMENTS && size + bytes <= COMMAND_BYTES => {
                    size += bytes;
                    part.push(update);
                }
                Some(_) | None => {
                    size = bytes;
                    parts.push(vec![update]);
                }
            }
        }
        parts.into_iter().map(|part| self.command("update", doc! {"updates": part})).collect()
    }
}

/// A command as it travels: canonical Extended JSON (MongoDB documentation, Extended JSON v2), in which every number keeps
/// its type.
fn text(command: Bson) -> String {
    command.into_canonical_extjson().to_string()
}

/// The commands of a guard, or of what makes a session known, for this session.
///
/// # Errors
/// The text is none.
pub(crate) fn commands_of(text: &str, session: &str) -> Result<Vec<(String, Document)>> {
    commands(&text.replace(SESSION, session))
}

/// Commands that have travelled: each with its database.
///
/// # Errors
/// The text is none.
pub(crate) fn commands(text: &str) -> Result<Vec<(String, Document)>> {
    let damaged = || Error::fatal("the command that writes a position is damaged");
    let json: serde_json::Value = serde_json::from_str(text).map_err(|_| damaged())?;
    let commands = match Bson::try_from(json).map_err(|_| damaged())? {
        Bson::Array(commands) => commands,
        command => vec![command],
    };
    commands.into_iter().map(|command| command.as_document().cloned().and_then(split).ok_or_else(damaged)).collect()
}

/// A command, and the database that it is for.
pub(crate) fn split(mut command: Document) -> Option<(String, Document)> {
    match command.remove(DATABASE)? {
        Bson::String(database) => Some((database, command)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::new(&TableId::new("meta", "pos"), "it's $session: a Task")
    }

    #[test]
    fn names_stay_within_their_task_and_kind() {
        let names = names();
        let within = |range: Document, id: &str| {
            let range = range.get_document("_id").expect("a range");
            range.get_str("$gte").expect("a bound") <= id && id < range.get_str("$lt").expect("a bound")
        };
        let chunk = names.position("SnapshotChunk", "a/b#12", "3");
        assert_eq!(chunk, "it%27s%20%24session%3a%20a%20%54ask:SnapshotChunk:a/b#12:3");
        assert!(within(names.all(), &chunk) && within(names.all(), &names.fence()));
        assert!(!within(names.guards(), &chunk) && within(names.guards(), &names.guard_of_session()));
        let chunks = names.delete_chunks(["a/b".to_owned()].iter()).remove(0);
        let range = chunks.get_array("deletes").expect("deletes")[0].as_document().expect("one");
        let range = range.get_document("q").expect("a range").clone();
        assert!(within(range.clone(), &chunk));
        assert!(!within(range, &names.position("SnapshotChunk", "a/b2#1", "0")));
        let other = Names::new(&names.table, "it's $session: a Task 2");
        assert!(!within(names.all(), &other.fence()));
    }

    #[test]
    fn a_command_travels_with_its_types_and_the_session_only_where_it_is_meant() {
        let names = names();
        let position =
            doc! {"_id": names.position("CdcDoing", "mongo", "0"), "position_data": "{\"a\":\"$sess\"}", "n": 7_i64};
        let write = names.guarded(3, names.upsert(vec![(10, position)]), None);
        let (database, guard) = commands_of(&write.guard, "0b6e").expect("a command").remove(0);
        assert_eq!(database, "meta");
        let q = guard.get_array("updates").expect("updates")[0].as_document().expect("one").get_document("q");
        assert_eq!(q.expect("q"), &doc! {"_id": "it%27s%20%24session%3a%20a%20%54ask:Guard:0b6e", "epoch": 3_i64});
        assert_eq!(commands_of(&write.settle.wait, "0b6e").expect("two").len(), 2);
        let (_, put) = commands(&write.statements[0]).expect("a command").remove(0);
        let set = put.get_array("updates").expect("updates")[0].as_document().expect("one").get_document("u");
        assert_eq!(set.expect("u").get_document("$set").expect("set").get_i64("n").ok(), Some(7));
    }
}
