//! Ends in documents: MongoDB.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use mongodb::bson::{Bson, Document, doc};

use super::cell::{Phase, Setting, Store};
use super::ends::{End, Ends, with_setting};
use super::ledger::{Change, Counted, Transaction};
use super::shape::Shape;
use crate::deadline;
use crate::judge::mongo::MongoJudge;
use crate::mongo::Mongo;
use crate::positions::Positions;
use crate::servers::Kind;
use crate::servers::mongo::{self, MongoPair, MongoServer};
use crate::task::Task;

/// Two replica sets.
pub(super) struct MongoEnds {
    setting: Setting,
    name: String,
    pair: &'static MongoPair,
    source: Mongo,
    target: Mongo,
    start: Option<String>,
    // MongoDB keeps positions only as a target.
    positions: Option<Positions>,
}

impl MongoEnds {
    pub(super) fn open(setting: Setting, name: String) -> Result<Self> {
        let pair = mongo::pair()?;
        let (source, target) = pair.without(&[&name, &format!("{name}_positions")])?;
        for server in [&source, &target] {
            for table in Shape::OF_MONGO.map(Shape::table).into_iter().chain(["marks"]) {
                server.command(&name, doc! {"create": table})?;
            }
            let index = doc! {"key": {"k": 1}, "name": "k", "unique": true};
            server.command(&name, doc! {"createIndexes": Shape::SecondUnique.table(), "indexes": [index]})?;
        }
        let start = match setting.phase {
            Phase::Snapshot => None,
            Phase::Cdc => {
                // A beginning is said in seconds: what has been done until now lies in an earlier one.
                let now = || anyhow::Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
                let done = now()?;
                let begin = deadline::until("the second is over", Duration::from_secs(10), || {
                    Ok(Some(now()?).filter(|&now| now > done))
                })?;
                let time =
                    mongodb::bson::DateTime::from_millis(i64::try_from(begin * 1000)?).try_to_rfc3339_string()?;
                Some(time.replace('T', " ").chars().take(19).collect())
            }
        };
        let positions = match setting.store {
            Store::Db => Some(Positions::on(Kind::Postgres15, &name)?),
            Store::Log | Store::Target => None,
        };
        Ok(MongoEnds { setting, name, pair, source, target, start, positions })
    }

    fn server(&self, end: End) -> &'static MongoServer {
        match end {
            End::Source => &self.pair.source,
            End::Target => &self.pair.target,
        }
    }

    fn insertion(shape: Shape, n: u64, v: u64) -> Result<Document> {
        let number = |number: u64| i64::try_from(number).map(Bson::Int64);
        let mut document = doc! {"_id": shape.id(n), "n": number(n)?, "v": number(v)?};
        if shape == Shape::SecondUnique {
            document.insert("k", number(n + 1)?);
        }
        Ok(doc! {"insert": shape.table(), "documents": [document]})
    }

    fn commands(shape: Shape, change: Change) -> Result<Vec<Document>> {
        let table = shape.table();
        let deletion = |n: u64| doc! {"delete": table, "deletes": [{"q": {"_id": shape.id(n)}, "limit": 1}]};
        Ok(match change {
            Change::Insert { n, v } => vec![Self::insertion(shape, n, v)?],
            Change::Update { n, v } => {
                let set = doc! {"$set": {"v": i64::try_from(v)?}};
                vec![doc! {"update": table, "updates": [{"q": {"_id": shape.id(n)}, "u": set}]}]
            }
            // An `_id` is for good.
            Change::Move { n, to, v } => vec![deletion(n), Self::insertion(shape, to, v)?],
            Change::Delete { n } => vec![deletion(n)],
        })
    }
}

impl Ends for MongoEnds {
    fn shapes(&self) -> &'static [Shape] {
        &Shape::OF_MONGO
    }

    fn write(&self, transaction: &Transaction) -> Result<()> {
        let mut commands = Vec::new();
        for &(shape, change) in transaction {
            commands.extend(Self::commands(shape, change)?.into_iter().map(|command| (self.name.as_str(), command)));
        }
        ensure!(self.source.transaction(&commands, true)?, "a transaction of the load was refused");
        Ok(())
    }

    fn rotate(&self) -> Result<()> {
        // An oplog has no files.
        Ok(())
    }

    fn log_file(&self) -> Result<String> {
        Ok(String::new())
    }

    fn forget_log(&self, _before: &str) -> Result<()> {
        // It overwrites it by itself.
        Ok(())
    }

    fn port(&self, end: End) -> u16 {
        self.server(end).port()
    }

    fn kill_server(&self, end: End) -> Result<()> {
        self.server(end).kill9()?;
        self.server(end).up()
    }

    fn reconnect(&mut self) -> Result<()> {
        self.source = self.pair.source.client()?;
        self.target = self.pair.target.client()?;
        Ok(())
    }

    fn changes(&self, transaction: &Transaction) -> u64 {
        let of = |(_, change): &(Shape, Change)| if matches!(change, Change::Move { .. }) { 2 } else { 1 };
        transaction.iter().map(of).sum()
    }

    fn rows(&self, end: End, shape: Shape) -> Result<Counted> {
        let server = match end {
            End::Source => &self.source,
            End::Target => &self.target,
        };
        let mut counted = Counted::new();
        for document in server.documents(&self.name, shape.table())? {
            let document = Document::from_reader(&document[..])?;
            let number = |name: &str| document.get_i64(name).ok().and_then(|number| u64::try_from(number).ok());
            let row = number("n").zip(number("v")).context("a document without numbers")?;
            *counted.entry(row).or_default() += 1;
        }
        Ok(counted)
    }

    fn count(&self, shape: Shape) -> Result<u64> {
        // Not the `count` command: it takes in what an open transaction has written.
        Ok(self.target.documents(&self.name, shape.table())?.len() as u64)
    }

    fn unequal(&self) -> Result<Vec<(String, String)>> {
        let judged = MongoJudge::new(&self.source, &self.target).database(&self.name)?;
        let unequal = judged.into_iter().filter(|(_, verdict)| !verdict.is_equal());
        Ok(unequal.map(|(table, verdict)| (table, verdict.to_string())).collect())
    }

    fn begin_anew(&self) -> Result<()> {
        for table in Shape::OF_MONGO.map(Shape::table) {
            self.target.command(&self.name, doc! {"delete": table, "deletes": [{"q": {}, "limit": 0}]})?;
        }
        self.target.command(&format!("{}_positions", self.name), doc! {"dropDatabase": 1})?;
        match &self.positions {
            Some(positions) => positions.drop_all(),
            None => Ok(()),
        }
    }

    fn mark(&self, mark: u64) -> Result<()> {
        let documents = [doc! {"_id": i64::try_from(mark)?}];
        self.source.command(&self.name, doc! {"insert": "marks", "documents": documents.to_vec()}).map(drop)
    }

    fn marks(&self) -> u64 {
        // Documents of a batch arrive in any order; the next batch follows when all of them are there.
        2
    }

    fn is_marked(&self, mark: u64) -> Result<bool> {
        let count = doc! {"count": "marks", "query": {"_id": i64::try_from(mark)?}};
        Ok(self.target.command(&self.name, count)?.get_i32("n")? == 1)
    }

    fn task(&self) -> Result<Task> {
        let mut task = Task::of_mongo_pair(self.pair, &[&self.name])?;
        if let Some(start) = &self.start {
            task = task.follows_mongo("change_stream").set("extractor", "start_time_utc", start);
            task = task.set("extractor", "heartbeat_tb", format!("{}_beats.beats", self.name));
            task = task.set("extractor", "heartbeat_interval_secs", "1");
        }
        let table = format!("{}_positions.pos", self.name);
        let task = match (&self.positions, self.setting.store) {
            (Some(positions), _) => positions.of(task),
            (None, Store::Target) => {
                task.set("resumer", "resume_type", "from_target").set("resumer", "table_full_name", table)
            }
            (None, Store::Log | Store::Db) => task,
        };
        Ok(with_setting(task, self.setting))
    }

    fn schema(&self) -> &str {
        &self.name
    }
}
