//! Position collections on a real server: the suite that every store passes, and what is particular to MongoDB.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use async_trait::async_trait;
use dt_common::config::Endpoint;
use dt_common::ladder::{Entry, Recordable, Rung};
use dt_common::position::{KeyText, Lineage, OrderKey, RdbSnapshot};
use dt_common::{DbType, ErrorClass, Position, Secret, TableId};
use dt_resumer::PositionStore;
use dt_resumer::held::HeldStore;
use dt_resumer::mongo::{self, MongoOptions, MongoStore};
use dt_resumer::testkit::{Bench, conforms};
use dt_tests::proxy::{Fate, Proxy};
use dt_tests::servers::mongo::{MongoServer, Setup, pair};
use dt_tests::servers::{PASSWORD, USER};
use mongodb::bson::{Document, doc};
use tokio::runtime::{Builder, Runtime};

const TASK: &str = "it's $session \\ a Task ü";

/// A database of the shared target, reached through a wire that can be cut.
struct Place {
    server: &'static MongoServer,
    proxy: Proxy,
    database: String,
}

impl Place {
    fn new(name: &str) -> Result<Place> {
        let server = &pair()?.target;
        let database = format!("positions_{name}");
        server.client()?.command(&database, doc! {"dropDatabase": 1})?;
        Ok(Place { server, proxy: Proxy::start(server.port())?, database })
    }

    fn endpoint(&self, port: u16) -> Endpoint {
        let url = format!("mongodb://127.0.0.1:{port}/?directConnection=true&serverSelectionTimeoutMS=5000");
        let mut endpoint = Endpoint::new(DbType::Mongo, Secret::new(url)).expect("a url of ours");
        endpoint.username = Some(USER.to_owned());
        endpoint.password = Some(Secret::new(PASSWORD));
        endpoint
    }

    fn options(&self, task_id: &str) -> MongoOptions {
        let mut options = MongoOptions::new(self.endpoint(self.proxy.port()), task_id);
        options.table = TableId::new(&self.database, "pos");
        options
    }

    /// The same process as the next one: it proves that it is the only one.
    fn proven(&self, task_id: &str) -> MongoOptions {
        let mut options = self.options(task_id);
        options.holder.proof = Some("the same lock".to_owned());
        options
    }

    /// Past the wire, from whoever has it.
    fn taking_over(&self, task_id: &str) -> MongoOptions {
        MongoOptions { take_over: true, endpoint: self.endpoint(self.server.port()), ..self.options(task_id) }
    }

    /// The same, as somebody who may do this much and no more.
    fn plain(&self, mut options: MongoOptions, roles: Vec<Document>) -> Result<MongoOptions> {
        let (client, user) = (self.server.client()?, format!("plain_{}", self.database));
        // There is none before the first run.
        let _ = client.command("admin", doc! {"dropUser": &user});
        client.command("admin", doc! {"createUser": &user, "pwd": PASSWORD, "roles": roles})?;
        options.endpoint.username = Some(user);
        Ok(options)
    }

    fn positions(&self) -> Result<i32> {
        let counted = doc! {"count": "pos", "query": {"n": {"$exists": true}}};
        Ok(self.server.client()?.command(&self.database, counted)?.get_i32("n")?)
    }
}

#[async_trait]
impl Bench for Place {
    async fn open(&self) -> dt_common::Result<Box<dyn PositionStore>> {
        Ok(Box::new(MongoStore::open(self.proven(TASK)).await?))
    }

    async fn open_elsewhere(&self) -> Option<dt_common::Result<Box<dyn PositionStore>>> {
        let opened = MongoStore::open(self.options(TASK)).await;
        Some(opened.map(|store| Box::new(store) as Box<dyn PositionStore>))
    }

    async fn take_over(&self) -> Option<dt_common::Result<Box<dyn PositionStore>>> {
        let opened = MongoStore::open(MongoOptions { take_over: true, ..self.options(TASK) }).await;
        Some(opened.map(|store| Box::new(store) as Box<dyn PositionStore>))
    }

    async fn reset(&self) {
        let options = MongoOptions { take_over: true, ..self.proven(TASK) };
        let mut store = MongoStore::open(options).await.expect("the store opens");
        store.reset().await.expect("the store forgets");
        store.close().await;
    }

    fn disturb(&self) {
        // A save of the suite takes five answers.
        self.proxy.after_replies(dt_tests::dice::Dice::new().pick(0..8), Fate::Lost);
    }
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

fn at(name: &str, value: &str) -> Entry {
    let position = Position::RdbSnapshot(RdbSnapshot {
        db_type: DbType::Mongo,
        table: TableId::new("a", name),
        chunk: None,
        key: OrderKey::single("_id", KeyText::Text(value.to_owned())),
        null_keys_done: true,
        lineage: Lineage::default(),
    });
    Entry { rung: Rung::Current, position }
}

fn of_applied(entry: Entry) -> Recordable {
    Recordable::of_applied(vec![entry])
}

#[test]
fn a_collection_keeps_positions_as_promised() -> Result<()> {
    let place = Place::new("suite")?;
    let conformed = runtime()?.block_on(conforms(&place));
    ensure!(conformed.disturbed_saves > 0, "no cut came within a save");
    println!("{conformed:?}");
    Ok(())
}

#[test]
fn a_released_task_is_free_at_once_and_a_look_at_it_changes_nothing() -> Result<()> {
    let place = Place::new("released")?;
    runtime()?.block_on(async {
        let peeked = mongo::peek(&place.options("t")).await?;
        ensure!(peeked.loaded.is_empty() && peeked.holder.is_none(), "{peeked:?}");
        let mut first = MongoStore::open(place.options("t")).await?;
        first.save(of_applied(at("t", "1"))).await?;
        let peeked = mongo::peek(&place.options("t")).await?;
        ensure!(peeked.loaded.positions().count() == 1 && peeked.holder.is_some(), "{peeked:?}");
        // Another task in the same collection is nobody's business.
        let other = MongoStore::open(place.options("t2")).await?;
        first.close().await;
        ensure!(mongo::peek(&place.options("t")).await?.holder.is_none());
        let mut second = MongoStore::open(place.options("t")).await?;
        ensure!(second.load().await?.positions().count() == 1);
        second.close().await;
        other.close().await;
        anyhow::Ok(())
    })?;
    ensure!(place.positions()? == 1);
    Ok(())
}

#[test]
fn of_starts_at_the_same_moment_one_holds_the_task() -> Result<()> {
    let place = Place::new("at_once")?;
    runtime()?.block_on(async {
        let opening = ["a", "b", "c", "c", "c"].map(|task| tokio::spawn(MongoStore::open(place.options(task))));
        let (mut opened, mut refused) = (Vec::new(), 0);
        for opening in opening {
            match opening.await? {
                Ok(store) => opened.push(store),
                Err(error) if error.to_string().contains("another process is running this task") => refused += 1,
                Err(error) => return Err(error.into()),
            }
        }
        ensure!((opened.len(), refused) == (3, 2), "{} opened, {refused} refused", opened.len());
        anyhow::Ok(())
    })
}

#[test]
fn a_save_whose_answer_was_lost_at_any_place_is_repeated_and_nothing_comes_of_it() -> Result<()> {
    let place = Place::new("lost_answer")?;
    let runtime = runtime()?;
    let mut store = runtime.block_on(MongoStore::open(place.proven("t")))?;
    let mut failures = 0;
    for replies in 0..8 {
        place.proxy.after_replies(replies % 4, Fate::Lost);
        let mut recordable = of_applied(at("t", &replies.to_string()));
        let began = Instant::now();
        loop {
            match runtime.block_on(store.save(recordable)) {
                Ok(_) => break,
                Err(failed) => {
                    ensure!(failed.error.class().is_transient(), "{}", failed.error);
                    failures += 1;
                    recordable = failed.recordable;
                }
            }
            ensure!(began.elapsed() < Duration::from_secs(30), "it does not recover");
        }
        ensure!(place.positions()? == 1, "after {replies} replies there are two");
        // A late one may be lost while it is read.
        let loaded = runtime.block_on(store.load()).or_else(|_| runtime.block_on(store.load()))?;
        let loaded = format!("{loaded:?}");
        ensure!(loaded.contains(&format!("Text(\"{replies}\")")), "{loaded}");
    }
    ensure!(failures > 0, "no answer was lost");
    runtime.block_on(store.close());
    Ok(())
}

#[test]
fn a_holder_that_hangs_within_a_transaction_is_taken_over_at_once_and_its_write_comes_to_nothing() -> Result<()> {
    let place = Place::new("hangs")?;
    // It may end its own sessions, without a role for that.
    let roles = vec![doc! {"role": "readWrite", "db": &place.database}];
    let (first, second) = (place.plain(place.proven("t"), roles.clone())?, place.plain(place.taking_over("t"), roles)?);
    runtime()?.block_on(async {
        let mut hangs = MongoStore::open(first).await?;
        hangs.save(of_applied(at("t", "1"))).await?;
        // The guard is written when the link stands still, and the transaction stays open on the server.
        place.proxy.after_replies(1, Fate::HeldUp);
        let hanging = tokio::spawn(async move {
            let failed = hangs.save(of_applied(at("t", "2"))).await;
            (hangs, failed)
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        let began = Instant::now();
        let mut second = MongoStore::open(second).await?;
        ensure!(began.elapsed() < Duration::from_secs(10), "the open transaction was waited for");
        ensure!(second.load().await?.positions().count() == 1);
        second.save(of_applied(at("t", "3"))).await?;
        place.proxy.reopen()?;
        let (mut hung, failed) = hanging.await?;
        let error = match failed {
            Ok(_) => anyhow::bail!("it was taken over, and has saved"),
            Err(failed) if failed.error.class().is_transient() => {
                hung.save(failed.recordable).await.expect_err("it was taken over").error
            }
            Err(failed) => failed.error,
        };
        ensure!(error.to_string().contains("taken this task over"), "{error}");
        let loaded = format!("{:?}", second.load().await?);
        ensure!(loaded.contains("Text(\"3\")"), "{loaded}");
        second.close().await;
        anyhow::Ok(())
    })
}

#[test]
fn what_is_inscribed_is_executed_with_the_rows_and_only_finished_tables_are_saved_beside() -> Result<()> {
    let place = Place::new("inscribed")?;
    runtime()?.block_on(async {
        let mut store = MongoStore::open(place.proven("t")).await?;
        let inscriber = store.inscribed(dt_resumer::held::Inscribed::Progress);
        let write = inscriber.inscribe(&[at("t", "1")])?;
        ensure!(write.guard.contains("$session") && write.statements.len() == 1, "{write:?}");
        store.save(of_applied(at("t", "1"))).await?;
        ensure!(store.load().await?.is_empty(), "it is for whoever writes the rows");
        store.close().await;
        anyhow::Ok(())
    })
}

#[test]
fn a_server_without_transactions_a_collection_of_another_kind_and_an_account_that_may_not_are_refused() -> Result<()> {
    let place = Place::new("refused")?;
    let client = place.server.client()?;
    client.command(&place.database, doc! {"create": "pos", "capped": true, "size": 4096})?;
    let runtime = runtime()?;
    let refused = runtime.block_on(MongoStore::open(place.options("t"))).map(drop).expect_err("it is capped");
    ensure!(refused.class() == ErrorClass::User && refused.to_string().contains("table_full_name"), "{refused}");

    let nobody = place.plain(place.options("t"), Vec::new())?;
    let denied = runtime.block_on(MongoStore::open(nobody)).map(drop).expect_err("it may nothing");
    let text = denied.to_string();
    ensure!(denied.class() == ErrorClass::User && text.contains("readWrite"), "{text}");

    let alone = MongoServer::start(&Setup { set: None, ..Setup::default() })?;
    let options = MongoOptions { endpoint: place.endpoint(alone.port()), ..place.options("t") };
    let refused = runtime.block_on(MongoStore::open(options)).map(drop).expect_err("it is a standalone");
    ensure!(refused.class() == ErrorClass::User && refused.to_string().contains("replica set"), "{refused}");
    Ok(())
}
