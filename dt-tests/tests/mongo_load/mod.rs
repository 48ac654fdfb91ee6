//! A seeded writer: the load that a MongoDB source is under while its changes are followed.
//!
//! It does everything that an oplog has a form for: inserts one by one and many at a time, updates by every operator, of
//! nested paths and of arrays, by pipelines and of many documents, replaces, deletes, upserts; transactions of several
//! collections, committed and ended without, and such as take more than one entry of the oplog; `_id`s of several types,
//! some of them equal to the server though their types differ; a unique index whose keys are passed from one document to
//! another. What was written is told by the source itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow};
use dt_tests::dice::Dice;
use dt_tests::mongo::Mongo;
use dt_tests::servers::mongo::MongoServer;
use mongodb::bson::{Bson, Document, doc};

/// Collections of any documents.
const COLLECTIONS: [&str; 3] = ["plain", "with.dots", "ünïcode and spaces"];
/// The collection with a unique index.
const UNIQUE: &str = "unique";
/// Steps from one transaction of more than 16 MiB to the next.
const LARGE_EVERY: u64 = 4_000;
/// Documents of such a transaction, and the bytes of each.
const LARGE: (i32, usize) = (40, 512 * 1024);

/// A running writer.
pub struct Load {
    stop: Arc<AtomicBool>,
    steps: Arc<AtomicU64>,
    thread: JoinHandle<Result<Told>>,
}

/// What it has done.
#[derive(Clone, Copy, Debug, Default)]
pub struct Told {
    /// Everything.
    pub steps: u64,
    /// Transactions that were committed.
    pub committed: u64,
    /// Transactions that were not.
    pub aborted: u64,
    /// Committed transactions of more than 16 MiB.
    pub large: u64,
}

/// The unique index, on either side.
pub fn create(server: &Mongo, database: &str) -> Result<()> {
    let index = doc! {"key": {"u": 1}, "name": "u_once", "unique": true};
    server.command(database, doc! {"createIndexes": UNIQUE, "indexes": [index]}).map(drop)
}

/// Starts to write.
pub fn start(server: &MongoServer, database: &str, seed: u64) -> Result<Load> {
    let (stop, steps) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut writer =
        Writer { client: server.client()?, database: database.to_owned(), dice: Dice::of(seed), told: Told::default() };
    let (stopped, counted) = (stop.clone(), steps.clone());
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            writer.step()?;
            counted.store(writer.told.steps, Ordering::Relaxed);
        }
        Ok(writer.told)
    });
    Ok(Load { stop, steps, thread })
}

impl Load {
    /// What it has done so far.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Stops it.
    pub fn stop(self) -> Result<Told> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the writer panicked"))?.context("the writer failed")
    }
}

struct Writer {
    client: Mongo,
    database: String,
    dice: Dice,
    told: Told,
}

impl Writer {
    fn pick(&mut self, end: u64) -> u64 {
        self.dice.pick(0..end)
    }

    fn number(&mut self, end: u64) -> i32 {
        i32::try_from(self.pick(end)).expect("load: a small number")
    }

    fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::try_from(self.pick(choices.len() as u64)).expect("load: a small number")]
    }

    fn step(&mut self) -> Result<()> {
        self.told.steps += 1;
        if self.told.steps % LARGE_EVERY == LARGE_EVERY / 4 {
            return self.large();
        }
        match self.pick(100) {
            0..3 => self.transaction(),
            3 => self.many(),
            4..9 => self.pass_on(),
            _ => {
                let command = self.operation();
                // What does not fit the document that is there is refused, and changes nothing.
                self.run(command).map(drop)
            }
        }
    }

    /// Runs a write without waiting for the disk.
    fn run(&self, mut command: Document) -> Result<Document> {
        if !command.contains_key("find") {
            command.insert("writeConcern", doc! {"w": 1, "j": false});
        }
        self.client.command(&self.database, command)
    }

    fn transaction(&mut self) -> Result<()> {
        let count = self.pick(20) + 1;
        let commands: Vec<Document> = (0..count).map(|_| self.operation()).collect();
        let commands: Vec<(&str, Document)> =
            commands.into_iter().map(|command| (self.database.as_str(), command)).collect();
        let commit = self.dice.pick(0..5) > 0;
        match self.client.transaction(&commands, commit)? {
            true => self.told.committed += 1,
            false => self.told.aborted += 1,
        }
        Ok(())
    }

    /// A transaction that takes several entries of the oplog.
    fn large(&mut self) -> Result<()> {
        let (documents, bytes) = LARGE;
        let step = i64::try_from(self.told.steps)?;
        let text = "x".repeat(bytes);
        let mut commands = Vec::new();
        for at in 0..documents {
            let replaced =
                doc! {"q": {"_id": format!("large {at}")}, "u": {"step": step, "text": &text}, "upsert": true};
            commands.push((self.database.as_str(), doc! {"update": "large", "updates": [replaced]}));
        }
        commands.push((self.database.as_str(), doc! {"insert": "plain", "documents": [{"step": step}]}));
        if self.client.transaction(&commands, true)? {
            self.told.large += 1;
        }
        Ok(())
    }

    fn many(&mut self) -> Result<()> {
        let collection = self.one_of(&COLLECTIONS);
        let documents: Vec<Document> = (0..300).map(|at| doc! {"of": "many", "at": at}).collect();
        self.run(doc! {"insert": collection, "documents": documents})?;
        let gone = doc! {"q": {"of": "many", "at": {"$gte": self.number(300)}}, "limit": 0};
        self.run(doc! {"delete": collection, "deletes": [gone]}).map(drop)
    }

    /// A document of the unique index gets another key, maybe one that another document has just given up.
    fn pass_on(&mut self) -> Result<()> {
        let (one, other, key) = (self.number(12), self.number(12), self.number(16));
        let database = self.database.clone();
        let to = |id: i32, key: Bson| {
            let change = doc! {"q": {"_id": id}, "u": {"$set": {"u": key, "n": id}}, "upsert": true};
            doc! {"update": UNIQUE, "updates": [change]}
        };
        match self.pick(4) {
            0 => {
                let gone = doc! {"q": {"_id": one}, "limit": 1};
                self.run(doc! {"delete": UNIQUE, "deletes": [gone]})?;
                self.run(to(other, key.into())).map(drop)
            }
            // Two change their keys with each other, by way of a third that nobody has.
            1 => {
                let found = self.run(doc! {"find": UNIQUE, "filter": {"_id": {"$in": [one, other]}}})?;
                let keys = found.get_document("cursor")?.get_array("firstBatch")?.clone();
                let field = |at: usize, name: &str| {
                    keys.get(at).and_then(Bson::as_document).and_then(|found| found.get(name)).cloned()
                };
                let (Some(first), Some(second)) = (field(0, "u"), field(1, "u")) else { return Ok(()) };
                let (Some(Bson::Int32(one)), Some(Bson::Int32(other))) = (field(0, "_id"), field(1, "_id")) else {
                    return Ok(());
                };
                let moves = [to(one, "nobody's".into()), to(other, first), to(one, second)];
                match self.dice.pick(0..2) {
                    0 => moves.into_iter().try_for_each(|step| self.run(step).map(drop)),
                    _ => {
                        let moves = moves.map(|step| (database.as_str(), step));
                        self.client.transaction(&moves, true).map(drop)
                    }
                }
            }
            _ => self.run(to(one, key.into())).map(drop),
        }
    }

    fn id(&mut self) -> Bson {
        match self.pick(6) {
            0..2 => self.number(40).into(),
            // Equal to the numbers above, and of another type.
            2 => i64::from(self.number(40)).into(),
            3 => f64::from(self.number(40)).into(),
            4 => format!("$key {}", self.pick(20)).into(),
            _ => doc! {"k": self.number(10), "l": {"m": "é"}}.into(),
        }
    }

    fn value(&mut self, depth: u32) -> Bson {
        match self.pick(if depth < 3 { 9 } else { 6 }) {
            0 => self.number(100).into(),
            1 => i64::from(self.number(100)).into(),
            2 => "s".repeat(usize::try_from(self.pick(30)).unwrap_or(1)).into(),
            3 => Bson::Null,
            4 => Bson::Double(f64::from(self.number(100)) / 8.0),
            5 => Bson::DateTime(mongodb::bson::DateTime::from_millis(i64::from(self.number(100_000)))),
            6..8 => {
                let count = self.pick(4);
                let fields =
                    (0..count).map(|_| (self.one_of(&["p", "q", "r", "0", "1"]).to_owned(), self.value(depth + 1)));
                Bson::Document(fields.collect::<Vec<_>>().into_iter().collect())
            }
            _ => {
                let count = self.pick(5);
                Bson::Array((0..count).map(|_| self.value(depth + 1)).collect())
            }
        }
    }

    fn operation(&mut self) -> Document {
        let (collection, id) = (self.one_of(&COLLECTIONS), self.id());
        let by_id = doc! {"_id": {"$eq": id}};
        if self.pick(9) == 0 {
            return doc! {"delete": collection, "deletes": [{"q": by_id, "limit": 1}]};
        }
        let many = self.pick(40) == 0;
        let (change, upsert): (Bson, bool) = match self.pick(4) {
            0 => {
                let fields: Vec<(String, Bson)> =
                    (0..4).map(|_| (self.one_of(&["a", "b", "c", "d", "l"]).to_owned(), self.value(0))).collect();
                (Bson::Document(fields.into_iter().collect()), true)
            }
            1 => {
                let (list, nested) = (self.value(1), self.number(9));
                let appended = doc! {"$concatArrays": [{"$cond": [{"$isArray": "$l"}, "$l", []]}, [nested]]};
                let stages = vec![
                    Bson::Document(doc! {"$set": {"l": appended, "a": {"b": {"c": {"$literal": list}}}}}),
                    Bson::Document(doc! {"$unset": self.one_of(&["b", "d", "a.p", "none"])}),
                ];
                (Bson::Array(stages), true)
            }
            _ => (Bson::Document(self.operators()), self.pick(3) == 0),
        };
        let is_replacement =
            matches!(&change, Bson::Document(change) if !change.keys().any(|key| key.starts_with('$')));
        let mut statement = doc! {"q": by_id, "u": change, "upsert": upsert};
        if many && !is_replacement {
            statement.extend(doc! {"q": {"of": {"$ne": "many"}}, "upsert": false, "multi": true});
        }
        doc! {"update": collection, "updates": [statement]}
    }

    /// Modifiers; some fit no document that is there.
    fn operators(&mut self) -> Document {
        let (number, value) = (self.number(20), self.value(1));
        let field = self.one_of(&["a", "b", "c", "d"]);
        let path = self.one_of(&["a.p", "a.b.c", "b.q.r", "l.0", "l.2", "l.1.p", "l.7.0", "c.1", "d.0.q"]);
        let list = self.one_of(&["l", "a.p", "c"]);
        match self.pick(16) {
            0..3 => doc! {"$set": {path: value}},
            3 => doc! {"$set": {field: value, "e": number}, "$unset": {"f": 1}},
            4 => doc! {"$unset": {path: 1}},
            5 => doc! {"$set": {"f": value}, "$unset": {field: 1}, "$inc": {"n": number}},
            6 => doc! {"$mul": {"n": 2}, "$max": {"max": number}, "$min": {"min": value}},
            7 => doc! {"$rename": {field: "renamed"}},
            8 => doc! {"$push": {list: {"$each": [value, number], "$slice": -5}}},
            9 => doc! {"$push": {list: {"$each": [number, value], "$position": 1}}},
            10 => doc! {"$push": {list: {"$each": [number], "$sort": -1}}},
            11 => doc! {"$pop": {list: if number % 2 == 0 { 1 } else { -1 }}},
            12 => doc! {"$pull": {list: {"$lt": number}}},
            13 => doc! {"$addToSet": {list: value}},
            14 => doc! {"$bit": {"bits": {"xor": number}}, "$currentDate": {"at": true, "ts": {"$type": "timestamp"}}},
            _ => doc! {"$set": {"l.$[]": value}},
        }
    }
}
