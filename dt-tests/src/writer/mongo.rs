//! A seeded writer for MongoDB: everything that an oplog has a form for.
//!
//! Documents come, are amended in every way (fields, paths, arrays by place, by push and by slice), replaced and deleted, one
//! by one and many at a time, in transactions of one and of several collections; some are aborted, some larger than one
//! entry of the oplog. What was written is told by the source itself.

use std::time::Duration;

use anyhow::Result;
use mongodb::bson::{Bson, DateTime, Document, doc};

use super::Writer;
use crate::dice::Dice;
use crate::mongo::Mongo;
use crate::servers::mongo::MongoServer;

/// The collections that it writes to; each document carries the name of its own.
pub static COLLECTIONS: [&str; 6] = ["counted", "keyed", "large", "lists", "texts", "uniques"];

/// Keys of each collection.
const KEYS: u64 = 400;
/// Documents of `uniques`, whose `n` is a permutation under a unique index.
const UNIQUES: i32 = 100;
/// Documents of a large transaction, each of some kilobytes: more than an entry of the oplog holds.
const LARGE_DOCUMENTS: i32 = 300;
const LARGE_BYTES: usize = 64 * 1024;

/// Makes the collections, and puts the first documents in: the same on every server.
///
/// # Errors
/// What the server says.
pub fn create(server: &Mongo, database: &str) -> Result<()> {
    for collection in COLLECTIONS {
        server.command(database, doc! {"create": collection})?;
    }
    let index = doc! {"key": {"n": 1}, "name": "n_1", "unique": true};
    server.command(database, doc! {"createIndexes": "uniques", "indexes": [index]})?;
    let numbered: Vec<Document> = (0..UNIQUES).map(|at| doc! {"_id": at, "of": "uniques", "n": at}).collect();
    server.command(database, doc! {"insert": "uniques", "documents": numbered})?;
    for collection in ["counted", "keyed", "lists", "texts"] {
        let first: Vec<Document> = (0..KEYS).step_by(3).map(|key| fresh(collection, key, 0)).collect();
        server.command(database, doc! {"insert": collection, "documents": first})?;
    }
    Ok(())
}

/// Starts a writer in a database that [`create`] has been called for.
///
/// # Errors
/// The server does not answer.
pub fn start(server: &MongoServer, database: &str, seed: u64) -> Result<Writer> {
    let mut load = Load { server: server.client()?, database: database.to_owned(), dice: Dice::of(seed), number: 0 };
    Ok(Writer::of(move |count| load.transaction(count)))
}

/// The `_id` with that number: each collection has its own kind of them.
fn key(collection: &str, key: u64) -> Bson {
    let number = key as i64;
    match (collection, key % 3) {
        ("keyed", _) => doc! {"a": number / 20, "b": {"c": number % 20}}.into(),
        ("texts", _) => format!("$key {:x}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into(),
        ("lists", 0) => DateTime::from_millis(number).into(),
        ("lists", 1) => Bson::Double(number as f64 + 0.5),
        _ => Bson::Int64(number),
    }
}

fn fresh(collection: &str, number: u64, value: i64) -> Document {
    doc! {
        "_id": key(collection, number), "of": collection, "v": value, "text": "x".repeat((number % 90) as usize),
        "list": [1, {"a": value}, [2, 3]], "deep": {"b": {"c": value, "d": [value]}}, "at": DateTime::from_millis(value),
    }
}

struct Load {
    server: Mongo,
    database: String,
    dice: Dice,
    // For values that differ.
    number: i64,
}

impl Load {
    fn transaction(&mut self, count: u64) -> Result<()> {
        // Those that cost much come by the count, so that each run has some.
        match count % 500 {
            60 => return self.large(),
            120 => return self.many(),
            _ => {}
        }
        match self.dice.pick(0..10) {
            0..6 => {
                let change = self.change();
                self.run(vec![change])
            }
            6 | 7 => {
                let changes = (0..self.dice.pick(2..8)).map(|_| self.change()).collect();
                self.run(changes)
            }
            8 => self.aborted(),
            _ => self.swap(),
        }
    }

    /// Passes over what the source itself refuses: a key that is taken, a change that does not fit what is there.
    fn run(&self, commands: Vec<Document>) -> Result<()> {
        let mut commands: Vec<(&str, Document)> =
            commands.into_iter().map(|command| (self.database.as_str(), command)).collect();
        if commands.len() > 1 {
            return self.server.transaction(&commands, true).map(drop);
        }
        match commands.pop().map(|(database, command)| self.server.command(database, command)) {
            // Single documents that are refused are in the answer; only `findAndModify` fails as a whole.
            Some(Err(error)) if !format!("{error:#}").contains("findAndModify") => Err(error),
            Some(Ok(_) | Err(_)) | None => Ok(()),
        }
    }

    fn change(&mut self) -> Document {
        self.number += 1;
        let value = self.number;
        let collection = ["counted", "keyed", "lists", "texts"][self.dice.pick(0..4) as usize];
        let number = self.dice.pick(0..KEYS);
        let q = doc! {"_id": key(collection, number)};
        let update = |u: Document| doc! {"update": collection, "updates": [{"q": q.clone(), "u": u}]};
        match self.dice.pick(0..14) {
            0 | 1 => doc! {"insert": collection, "documents": [fresh(collection, number, value)]},
            2 | 3 => {
                doc! {"update": collection, "updates": [{"q": q, "u": fresh(collection, number, value), "upsert": true}]}
            }
            4 => doc! {"delete": collection, "deletes": [{"q": q, "limit": 1}]},
            5 => update(doc! {"$set": {"v": value, "deep.b.c": value, "list.1.a": value}}),
            6 => update(doc! {"$inc": {"v": 1_i64, "deep.count": 1}, "$currentDate": {"at": true}}),
            7 => update(doc! {"$push": {"deep.b.d": {"$each": [value, value + 1], "$slice": -5}}}),
            8 => update(doc! {"$unset": {"text": ""}, "$rename": {"v": "was"}}),
            9 => update(doc! {"$push": {"list": {"$each": [value], "$position": 0}}}),
            10 => update(doc! {"$set": {"list": [1, {"a": value}, [2, value]], format!("new{}", value % 5): value}}),
            11 => update(doc! {"$set": {"list.2": {"n": value}, "": value}}),
            12 => {
                doc! {"findAndModify": collection, "query": q, "update": [{"$set": {"v": value, "pair": ["$v", "$of"]}}]}
            }
            _ => {
                doc! {"update": collection, "updates": [{"q": {"v": {"$lt": value / 2}}, "u": {"$set": {"late": value}}, "multi": true}]}
            }
        }
    }

    /// A transaction that is given up: its last command is refused.
    fn aborted(&mut self) -> Result<()> {
        let mut commands: Vec<Document> = (0..3).map(|_| self.change()).collect();
        commands.push(doc! {"insert": "uniques", "documents": [{"_id": 0, "of": "uniques", "n": -1}]});
        self.run(commands)
    }

    /// Two documents swap what a unique index holds, over a third value.
    fn swap(&mut self) -> Result<()> {
        let mut pick = || self.dice.pick(0..UNIQUES as u64) as i32;
        let (one, other) = (pick(), pick());
        let held = |id: i32| -> Result<i32> {
            let find = doc! {"find": "uniques", "filter": {"_id": id}, "singleBatch": true};
            let reply = self.server.command(&self.database, find)?;
            Ok(reply.get_document("cursor")?.get_array("firstBatch")?[0]
                .as_document()
                .map_or(Ok(0), |found| found.get_i32("n"))?)
        };
        if one == other {
            return Ok(());
        }
        let (a, b) = (held(one)?, held(other)?);
        let set =
            |id: i32, n: i32| doc! {"update": "uniques", "updates": [{"q": {"_id": id}, "u": {"$set": {"n": n}}}]};
        self.run(vec![set(one, -1 - one), set(other, a), set(one, b)])
    }

    /// Documents by the hundred, with one command each way.
    fn many(&mut self) -> Result<()> {
        self.number += 1;
        let collection = ["counted", "texts"][self.dice.pick(0..2) as usize];
        let first = KEYS + self.dice.pick(0..10) * 1000;
        let documents: Vec<Document> = (first..first + 500).map(|at| fresh(collection, at, self.number)).collect();
        self.run(vec![doc! {"insert": collection, "documents": documents, "ordered": false}])?;
        let keys: Vec<Bson> = (first..first + 250).map(|at| key(collection, at)).collect();
        self.run(vec![doc! {"delete": collection, "deletes": [{"q": {"_id": {"$in": keys}}, "limit": 0}]}])
    }

    /// A transaction that takes several entries of the oplog.
    fn large(&mut self) -> Result<()> {
        self.number += 1;
        let value = self.number;
        let filler = "y".repeat(LARGE_BYTES);
        let put = |at: i32| {
            let document = doc! {"_id": at, "of": "large", "v": value, "filler": &filler};
            doc! {"update": "large", "updates": [{"q": {"_id": at}, "u": document, "upsert": true}]}
        };
        self.run((0..LARGE_DOCUMENTS).map(put).collect())?;
        // What is left of two processors is for those who follow.
        std::thread::sleep(Duration::from_millis(50));
        self.run(vec![doc! {"update": "large", "updates": [{"q": {}, "u": {"$set": {"seen": value}}, "multi": true}]}])
    }
}
