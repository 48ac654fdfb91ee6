//! What the tests of MongoDB's DDL share: which collections and indexes a server has, and a writer of DDL.

// Each test binary uses some of it.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use anyhow::{Context, Result, anyhow, ensure};
use dt_tests::dice::Dice;
use dt_tests::mongo::Mongo;
use dt_tests::servers::mongo::MongoServer;
use mongodb::bson::{Document, doc};

/// A collection's options, and its indexes by name.
pub type Shape = (Document, BTreeMap<String, Document>);

/// The specification of an index.
pub fn index(key: Document, name: &str, also: Document) -> Document {
    let mut index = doc! {"key": key, "name": name};
    index.extend(also);
    index
}

/// Every collection of a database, without views and the server's own.
pub fn shape(server: &Mongo, database: &str) -> Result<BTreeMap<String, Shape>> {
    let first = |reply: &Document| -> Result<Vec<Document>> {
        let batch = reply.get_document("cursor")?.get_array("firstBatch")?;
        batch.iter().map(|entry| entry.as_document().cloned().context("no document")).collect()
    };
    let listing = doc! {"listCollections": 1, "filter": {"type": "collection"}, "cursor": {"batchSize": 1000}};
    let mut shapes = BTreeMap::new();
    for mut entry in first(&server.command(database, listing)?)? {
        let name = entry.get_str("name")?.to_owned();
        if name.starts_with("system.") {
            continue;
        }
        let options = entry.remove("options").and_then(|options| options.as_document().cloned()).unwrap_or_default();
        let listing = doc! {"listIndexes": &name, "cursor": {"batchSize": 1000}};
        let indexes = first(&server.command(database, listing)?)?;
        let indexes = indexes.into_iter().map(|index| Ok((index.get_str("name")?.to_owned(), sorted(index))));
        shapes.insert(name, (sorted(options), indexes.collect::<Result<_>>()?));
    }
    Ok(shapes)
}

/// The order of options means nothing; that of an index's keys does.
fn sorted(document: Document) -> Document {
    let mut fields: Vec<_> = document.into_iter().collect();
    fields.sort_by(|(one, _), (other, _)| one.cmp(other));
    fields.into_iter().collect()
}

/// Fails unless both have the same collections, with the same options and the same indexes.
pub fn alike(source: (&Mongo, &str), target: (&Mongo, &str)) -> Result<()> {
    let (had, has) = (shape(source.0, source.1)?, shape(target.0, target.1)?);
    let names = |shapes: &BTreeMap<String, Shape>| shapes.keys().cloned().collect::<Vec<_>>();
    ensure!(names(&had) == names(&has), "the source has {:?}\nthe target {:?}", names(&had), names(&has));
    for (name, shape) in &had {
        ensure!(shape == &has[name], "`{name}` is on the source {shape:?}\non the target {:?}", has[name]);
    }
    Ok(())
}

/// How often each kind of command was done.
pub type Told = BTreeMap<&'static str, u64>;

/// A seeded writer of documents and of DDL in between, on a few collections. What the source refuses changes nothing.
pub struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    told: Arc<Mutex<Told>>,
    thread: JoinHandle<Result<()>>,
}

const COLLECTIONS: [&str; 4] = ["one", "two", "three.dots", "four"];

impl Load {
    /// Starts to write.
    pub fn start(server: &MongoServer, database: &str, seed: u64) -> Result<Self> {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let told = Arc::<Mutex<Told>>::default();
        let (client, database, mut dice) = (server.client()?, database.to_owned(), Dice::of(seed));
        let (stopped, counted, noted) = (stop.clone(), done.clone(), told.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let (kind, on, command) = step(&mut dice, &database);
                match client.command(on.unwrap_or(&database), command) {
                    Ok(_) => *noted.lock().expect("no panic under the lock").entry(kind).or_default() += 1,
                    // Refused: not there, there already, a key that is there twice. Else the server is gone.
                    Err(_) => drop(client.command("admin", doc! {"ping": 1})?),
                }
                counted.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        });
        Ok(Load { stop, done, told, thread })
    }

    /// Commands so far.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// What was done so far.
    pub fn told(&self) -> Told {
        self.told.lock().expect("no panic under the lock").clone()
    }

    /// Whether it goes on. It ends by itself only when it fails, which [`Load::stop`] tells.
    pub fn goes_on(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Stops it; what was done.
    pub fn stop(self) -> Result<Told> {
        self.stop.store(true, Ordering::Relaxed);
        let told = self.told();
        self.thread.join().map_err(|_| anyhow!("the writer panicked"))?.context("the writer failed")?;
        Ok(told)
    }
}

/// A command, its kind, and the database that it is for unless it is the load's own.
fn step(dice: &mut Dice, database: &str) -> (&'static str, Option<&'static str>, Document) {
    let mut number = |end: u64| i32::try_from(dice.pick(0..end)).expect("load: a small number");
    let collection = COLLECTIONS[usize::try_from(number(4)).expect("load: a small number")];
    let other = COLLECTIONS[usize::try_from(number(4)).expect("load: a small number")];
    let (id, v) = (number(60), number(1_000_000));
    match number(100) {
        0..4 => ("drop", None, doc! {"drop": collection}),
        4..8 => {
            let (from, to) = (format!("{database}.{collection}"), format!("{database}.{other}"));
            ("rename", Some("admin"), doc! {"renameCollection": from, "to": to, "dropTarget": number(2) == 0})
        }
        8..11 => ("create", None, doc! {"create": collection, "validator": {"v": {"$exists": true}}}),
        11..15 => {
            let index = index(doc! {"v": 1, "n": 1}, "by_v", doc! {"unique": number(2) == 0});
            ("createIndexes", None, doc! {"createIndexes": collection, "indexes": [index]})
        }
        15..17 => ("dropIndexes", None, doc! {"dropIndexes": collection, "index": "by_v"}),
        17..19 => ("collMod", None, doc! {"collMod": collection, "validationAction": "warn", "validator": {"v": v}}),
        19..22 => {
            let stages = vec![doc! {"$match": {"v": {"$lt": v}}}, doc! {"$out": other}];
            ("$out", None, doc! {"aggregate": collection, "pipeline": stages, "cursor": {}})
        }
        22..30 => ("delete", None, doc! {"delete": collection, "deletes": [{"q": {"_id": id}, "limit": 1}]}),
        30..60 => {
            let change = doc! {"$set": {"v": v}, "$inc": {"n": 1}};
            ("update", None, doc! {"update": collection, "updates": [{"q": {"_id": id}, "u": change, "upsert": true}]})
        }
        _ => ("insert", None, doc! {"insert": collection, "documents": [{"_id": id, "v": v, "n": 0}]}),
    }
}
