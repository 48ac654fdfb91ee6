//! Position tables on real servers: the suite that every store passes, and what is particular to a table.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use dt_common::config::{Endpoint, SslMode};
use dt_common::ladder::{Entry, Recordable, Rung};
use dt_common::position::{KeyText, Lineage, OrderKey, RdbSnapshot, RdbSnapshotSplit};
use dt_common::{DbType, ErrorClass, Position, Secret, TableId};
use dt_resumer::PositionStore;
use dt_resumer::sql::{self, SqlOptions, SqlStore};
use dt_resumer::testkit::{Bench, conforms};
use dt_tests::db::{Db, Dialect};
use dt_tests::proxy::{Fate, Proxy};
use dt_tests::servers::{self, Kind, PASSWORD, Server, USER};
use tokio::runtime::{Builder, Runtime};

/// A schema of a shared server, reached through a wire that can be cut.
struct Place {
    server: &'static Server,
    proxy: Proxy,
    schema: String,
}

impl Place {
    fn new(kind: Kind, schema: &str) -> Result<Place> {
        let server = &servers::pair(kind)?.target;
        let schema = format!("positions_{schema}");
        let db = server.db()?;
        match kind.dialect() {
            Dialect::Mysql => db.exec(format!("DROP DATABASE IF EXISTS {schema}"))?,
            Dialect::Postgres => db.exec(format!("DROP SCHEMA IF EXISTS {schema} CASCADE"))?,
        }
        Ok(Place { server, proxy: Proxy::start(server.port())?, schema })
    }

    fn endpoint(&self, user: &str, password: &str) -> Endpoint {
        self.endpoint_at(self.proxy.port(), user, password)
    }

    /// Past the wire.
    fn direct(&self) -> Endpoint {
        self.endpoint_at(self.server.port(), USER, PASSWORD)
    }

    fn endpoint_at(&self, port: u16, user: &str, password: &str) -> Endpoint {
        let (db_type, url) = match self.server.kind().dialect() {
            Dialect::Mysql => (DbType::Mysql, format!("mysql://127.0.0.1:{port}")),
            Dialect::Postgres => (DbType::Pg, format!("postgres://127.0.0.1:{port}/postgres")),
        };
        let mut endpoint = Endpoint::new(db_type, Secret::new(url)).expect("a url of ours");
        endpoint.username = Some(user.to_owned());
        endpoint.password = Some(Secret::new(password));
        endpoint
    }

    fn options(&self, task_id: &str) -> SqlOptions {
        let mut options = SqlOptions::new(self.endpoint(USER, PASSWORD), task_id);
        options.table = TableId::new(&self.schema, "pos");
        options
    }

    /// The same process as the next one: it proves that it is the only one.
    fn proven(&self, task_id: &str) -> SqlOptions {
        let mut options = self.options(task_id);
        options.holder.proof = Some("the same lock".to_owned());
        options
    }

    fn table(&self) -> String {
        let dialect = self.server.kind().dialect();
        format!("{}.{}", dialect.quoted(&self.schema), dialect.quoted("pos"))
    }

    fn db(&self) -> Result<Db> {
        self.server.db()
    }
}

#[async_trait]
impl Bench for Place {
    async fn open(&self) -> dt_common::Result<Box<dyn PositionStore>> {
        Ok(Box::new(SqlStore::open(self.proven("it's \\ a Task ü")).await?))
    }

    async fn open_elsewhere(&self) -> Option<dt_common::Result<Box<dyn PositionStore>>> {
        let opened = SqlStore::open(self.options("it's \\ a Task ü")).await;
        Some(opened.map(|store| Box::new(store) as Box<dyn PositionStore>))
    }

    async fn take_over(&self) -> Option<dt_common::Result<Box<dyn PositionStore>>> {
        let opened = SqlStore::open(SqlOptions { take_over: true, ..self.options("it's \\ a Task ü") }).await;
        Some(opened.map(|store| Box::new(store) as Box<dyn PositionStore>))
    }

    async fn reset(&self) {
        let options = SqlOptions { take_over: true, ..self.proven("it's \\ a Task ü") };
        let mut store = SqlStore::open(options).await.expect("the store opens");
        store.reset().await.expect("the store forgets");
        store.close().await;
    }

    fn disturb(&self) {
        let proxy = self.proxy.cutter();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(rand_millis()));
            proxy();
        });
    }
}

/// Somewhere within a save of this suite.
fn rand_millis() -> u64 {
    dt_tests::dice::Dice::new().pick(0..40)
}

fn runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// What the suite found, for whoever reads the test's output.
fn conforms_on(kind: Kind) -> Result<String> {
    let place = Place::new(kind, "suite")?;
    let conformed = runtime()?.block_on(conforms(&place));
    ensure!(conformed.disturbed_saves > 0, "no cut came within a save");
    Ok(format!("{kind}: {conformed:?}"))
}

#[test]
fn a_table_of_mysql_keeps_positions_as_promised() -> Result<()> {
    println!("{}", conforms_on(Kind::Mysql)?);
    Ok(())
}

#[test]
fn a_table_of_mariadb_keeps_positions_as_promised() -> Result<()> {
    println!("{}", conforms_on(Kind::Mariadb)?);
    Ok(())
}

#[test]
fn a_table_of_postgresql_15_keeps_positions_as_promised() -> Result<()> {
    println!("{}", conforms_on(Kind::Postgres15)?);
    Ok(())
}

#[test]
fn a_table_of_postgresql_18_keeps_positions_as_promised() -> Result<()> {
    println!("{}", conforms_on(Kind::Postgres18)?);
    Ok(())
}

fn at(table: &str, value: &str) -> Entry {
    let position = Position::RdbSnapshot(RdbSnapshot {
        db_type: DbType::Mysql,
        table: TableId::new("a", table),
        chunk: None,
        key: OrderKey::single("id", KeyText::Text(value.to_owned())),
        null_keys_done: false,
        lineage: Lineage::default(),
    });
    Entry { rung: Rung::Current, position }
}

fn of_applied(entries: Vec<Entry>) -> Recordable {
    Recordable::of_applied(entries)
}

/// A table as ape-dts makes it, where the server's default collation ignores case and pads spaces.
fn older_table(place: &Place) -> Result<Db> {
    let db = place.db()?;
    let table = place.table();
    match place.server.kind().dialect() {
        Dialect::Mysql => {
            db.exec(format!("CREATE DATABASE {} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci", place.schema))?;
            db.exec(format!(
                "CREATE TABLE {table} (id bigint AUTO_INCREMENT PRIMARY KEY, task_id varchar(255) NOT NULL, \
                 resumer_type varchar(255) NOT NULL, position_key varchar(255) NOT NULL, position_data text, \
                 created_at timestamp DEFAULT CURRENT_TIMESTAMP, \
                 updated_at timestamp DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP, \
                 UNIQUE KEY uk_task_id_task_type_position_key (task_id, resumer_type, position_key))"
            ))?;
        }
        Dialect::Postgres => {
            db.exec(format!("CREATE SCHEMA {}", place.schema))?;
            db.exec(format!(
                "CREATE TABLE {table} (id bigserial PRIMARY KEY, task_id varchar(255) NOT NULL, \
                 resumer_type varchar(100) NOT NULL, position_key varchar(255) NOT NULL, position_data text, \
                 created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP, \
                 CONSTRAINT uk_task_id_task_type_position_key UNIQUE (task_id, resumer_type, position_key))"
            ))?;
        }
    }
    Ok(db)
}

fn insert(db: &Db, place: &Place, resumer_type: &str, key: &str, data: &str) -> Result<()> {
    let dialect = db.dialect();
    let values = ["old", resumer_type, key, data].map(|text| dialect.literal(text)).join(", ");
    let table = place.table();
    db.exec(format!("INSERT INTO {table} (task_id, resumer_type, position_key, position_data) VALUES ({values})"))
}

const ON_EACH: [Kind; 2] = [Kind::Mysql, Kind::Postgres15];

#[test]
fn rows_of_the_older_tool_are_gone_on_from_and_replaced() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Mariadb, Kind::Postgres15] {
        let place = Place::new(kind, "older")?;
        let db = older_table(&place)?;
        let data = r#"{"type":"RdbSnapshot","db_type":"mysql","schema":"a","tb":"b-c","order_col":"id","value":"6"}"#;
        insert(&db, &place, "SnapshotDoing", "a-b-c", data)?;
        let done = r#"{"type":"RdbSnapshotFinished","db_type":"mysql","schema":"a","tb":"d"}"#;
        insert(&db, &place, "SnapshotFinished", "a-d", done)?;
        runtime()?.block_on(async {
            let mut store = SqlStore::open(place.proven("old")).await?;
            let loaded = store.load().await?;
            ensure!(loaded.positions().count() == 2, "{kind}: {loaded:?}");
            // Names that the older table's collation takes for the same.
            store.save(of_applied(vec![at("b-c", "7"), at("B-C", "8"), at("b-c ", "9")])).await?;
            ensure!(store.load().await?.positions().count() == 4, "{kind}");
            store.close().await;
            anyhow::Ok(())
        })?;
        let old = format!("SELECT COUNT(*) FROM {} WHERE position_key = 'a-b-c'", place.table());
        ensure!(db.number(old)? == 0, "{kind}: the older row is still there");
        ensure!(db.number(format!("SELECT COUNT(*) FROM {} WHERE task_id = 'old'", place.table()))? == 5, "{kind}");
    }
    Ok(())
}

#[test]
fn an_unreadable_row_is_an_error_that_names_it() -> Result<()> {
    for kind in ON_EACH {
        let place = Place::new(kind, "unreadable")?;
        let db = older_table(&place)?;
        insert(&db, &place, "SnapshotDoing", "a-b", r#"{"type":"RdbSnap"#)?;
        let id = db.number(format!("SELECT id FROM {}", place.table()))?;
        runtime()?.block_on(async {
            let mut store = SqlStore::open(place.proven("old")).await?;
            let error = store.load().await.map(drop).expect_err("an unreadable row").to_string();
            ensure!(error.contains(&format!("id: {id}")), "{kind}: {error}");
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

fn large() -> Entry {
    let bounds = (0..20_000).map(|no| OrderKey::single("id", KeyText::Text(no.to_string()))).collect();
    let (db_type, table, lineage) = (DbType::Mysql, TableId::new("a", "large"), Lineage::default());
    let split = RdbSnapshotSplit { db_type, table, bounds, lineage };
    Entry { rung: Rung::Current, position: Position::RdbSnapshotSplit(split) }
}

#[test]
fn an_older_text_column_is_widened_and_where_it_may_not_be_large_positions_are_refused_by_name() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let place = Place::new(kind, "narrow")?;
        let db = older_table(&place)?;
        let user = format!("narrow_{kind}").to_lowercase();
        db.exec(format!("DROP USER IF EXISTS {user}@'%'"))?;
        db.exec(format!("CREATE USER {user}@'%' IDENTIFIED BY 'x'"))?;
        db.exec(format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {user}@'%'", place.table()))?;
        runtime()?.block_on(async {
            let mut may_not = place.proven("t");
            may_not.endpoint = place.endpoint(&user, "x");
            let mut store = SqlStore::open(may_not).await?;
            let failed = store.save(of_applied(vec![at("small", "1"), large()])).await.expect_err("too large").error;
            ensure!(
                failed.class() == ErrorClass::User && failed.to_string().contains("`a`.`large`"),
                "{kind}: {failed}"
            );
            ensure!(store.load().await?.is_empty(), "{kind}: a part of it was saved");
            store.close().await;
            let mut store = SqlStore::open(place.proven("t")).await?;
            store.save(of_applied(vec![at("small", "1"), large()])).await?;
            ensure!(store.load().await?.positions().count() == 2, "{kind}");
            store.close().await;
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_missing_privilege_is_named_with_the_statements_that_help() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Mariadb, Kind::Postgres15, Kind::Postgres18] {
        let place = Place::new(kind, "denied")?;
        let db = place.db()?;
        match db.dialect() {
            Dialect::Mysql => {
                db.exec("DROP USER IF EXISTS nobody@'%'")?;
                db.exec("CREATE USER nobody@'%' IDENTIFIED BY 'x'")?;
            }
            Dialect::Postgres => db.exec(
                "DO $$ BEGIN CREATE ROLE nobody LOGIN PASSWORD 'x'; EXCEPTION WHEN duplicate_object THEN NULL; END $$",
            )?,
        }
        let mut options = place.proven("t");
        options.endpoint = place.endpoint("nobody", "x");
        let runtime = runtime()?;
        let error = runtime.block_on(SqlStore::open(options.clone())).map(drop).expect_err("it may not");
        ensure!(error.class() == ErrorClass::User, "{kind}: {error}");
        let text = error.to_string();
        for part in ["CREATE", "as an administrator: CREATE", "CREATE TABLE", "GRANT"] {
            ensure!(text.contains(part), "{kind}: {text}");
        }
        // What the message says is enough.
        let statements = error.hint_text().and_then(|hint| hint.strip_prefix("as an administrator: "));
        for statement in statements.context("no statements")?.split("; ") {
            db.exec(statement)?;
        }
        runtime.block_on(async {
            let mut store = SqlStore::open(options).await?;
            store.save(of_applied(vec![at("t", "1")])).await?;
            store.close().await;
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_table_that_is_no_position_table_is_refused() -> Result<()> {
    for kind in ON_EACH {
        let place = Place::new(kind, "other")?;
        let db = older_table(&place)?;
        let table = place.table();
        match db.dialect() {
            Dialect::Mysql => db.exec(format!("ALTER TABLE {table} DROP KEY uk_task_id_task_type_position_key"))?,
            Dialect::Postgres => {
                db.exec(format!("ALTER TABLE {table} DROP CONSTRAINT uk_task_id_task_type_position_key"))?;
            }
        }
        let runtime = runtime()?;
        let error = runtime.block_on(SqlStore::open(place.proven("t"))).map(drop).expect_err("no key").to_string();
        ensure!(error.contains("no unique key") && error.contains("ALTER TABLE"), "{kind}: {error}");
        db.exec(format!("ALTER TABLE {table} DROP COLUMN position_data"))?;
        let error = runtime.block_on(SqlStore::open(place.proven("t"))).map(drop).expect_err("no column").to_string();
        ensure!(error.contains("position_data"), "{kind}: {error}");
    }
    Ok(())
}

#[test]
fn a_released_task_is_free_at_once_and_a_look_at_it_changes_nothing() -> Result<()> {
    for kind in ON_EACH {
        let place = Place::new(kind, "released")?;
        runtime()?.block_on(async {
            let peeked = sql::peek(&place.options("t")).await?;
            ensure!(peeked.loaded.is_empty() && peeked.holder.is_none(), "{kind}: {peeked:?}");
            let mut first = SqlStore::open(place.options("t")).await?;
            first.save(of_applied(vec![at("t", "1")])).await?;
            let peeked = sql::peek(&place.options("t")).await?;
            ensure!(peeked.loaded.positions().count() == 1 && peeked.holder.is_some(), "{kind}: {peeked:?}");
            // Another task in the same table is nobody's business.
            let other = SqlStore::open(place.options("u")).await?;
            first.close().await;
            ensure!(sql::peek(&place.options("t")).await?.holder.is_none(), "{kind}");
            let mut second = SqlStore::open(place.options("t")).await?;
            ensure!(second.load().await?.positions().count() == 1, "{kind}");
            second.close().await;
            other.close().await;
            anyhow::Ok(())
        })?;
        ensure!(place.db()?.number(format!("SELECT COUNT(*) FROM {}", place.table()))? == 3, "{kind}");
    }
    Ok(())
}

#[test]
fn two_tasks_that_begin_at_the_same_moment_make_one_table_and_two_starts_of_a_task_one_holder() -> Result<()> {
    // PostgreSQL has an error of its own for each moment at which they may meet.
    let pg = [Kind::Postgres15; 5];
    for kind in [Kind::Mysql, Kind::Mariadb].into_iter().chain(pg) {
        let place = Place::new(kind, "at_once")?;
        runtime()?.block_on(async {
            let opening = ["a", "b", "c", "c", "c"].map(|task| tokio::spawn(SqlStore::open(place.options(task))));
            let (mut opened, mut refused) = (Vec::new(), 0);
            for opening in opening {
                match opening.await? {
                    Ok(store) => opened.push(store),
                    Err(error) if error.to_string().contains("another process is running this task") => refused += 1,
                    Err(error) => return Err(error.into()),
                }
            }
            ensure!((opened.len(), refused) == (3, 2), "{kind}: {} opened, {refused} refused", opened.len());
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

/// BEGIN, the guard and one statement are answered, and the answer to COMMIT is not.
const BEFORE_COMMIT: u64 = 3;

#[test]
fn a_save_whose_answer_was_lost_is_repeated_and_nothing_comes_of_it() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Mariadb, Kind::Postgres15, Kind::Postgres18] {
        let place = Place::new(kind, "lost_answer")?;
        let runtime = runtime()?;
        let mut store = runtime.block_on(SqlStore::open(place.proven("t")))?;
        place.proxy.after_replies(BEFORE_COMMIT, Fate::Lost);
        let failed = runtime.block_on(store.save(of_applied(vec![at("t", "1")]))).expect_err("the answer is lost");
        ensure!(failed.error.class() == ErrorClass::Reconnect, "{kind}: {}", failed.error);
        let rows = format!("SELECT COUNT(*) FROM {} WHERE resumer_type <> 'Fence'", place.table());
        ensure!(place.db()?.number(&rows)? == 1, "{kind}: the commit was not reached");
        runtime.block_on(store.save(failed.recordable))?;
        ensure!(place.db()?.number(&rows)? == 1, "{kind}: there are two");
        ensure!(runtime.block_on(store.load())?.positions().count() == 1, "{kind}");
        runtime.block_on(store.close());
    }
    Ok(())
}

#[test]
fn a_holder_that_hangs_within_a_write_is_taken_over_and_its_write_comes_to_nothing() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Mariadb, Kind::Postgres15] {
        let place = Place::new(kind, "hangs")?;
        runtime()?.block_on(async {
            let mut hangs = SqlStore::open(place.proven("t")).await?;
            hangs.save(of_applied(vec![at("t", "1")])).await?;
            // The guard's row is held when the link stands still.
            place.proxy.after_replies(2, Fate::HeldUp);
            let hanging = tokio::spawn(async move {
                let failed = hangs.save(of_applied(vec![at("t", "2")])).await;
                (hangs, failed)
            });
            tokio::time::sleep(Duration::from_millis(500)).await;
            let mut direct = SqlOptions { take_over: true, ..place.options("t") };
            direct.endpoint = place.direct();
            let mut second = SqlStore::open(direct).await?;
            ensure!(second.load().await?.positions().count() == 1, "{kind}");
            second.save(of_applied(vec![at("t", "3")])).await?;
            place.proxy.reopen()?;
            let (mut hung, failed) = hanging.await?;
            let failed = failed.expect_err("it was taken over");
            let again = hung.save(failed.recordable).await.expect_err("it was taken over").error;
            ensure!(again.to_string().contains("taken this task over"), "{kind}: {again}");
            let loaded = format!("{:?}", second.load().await?);
            ensure!(loaded.contains("Text(\"3\")"), "{kind}: {loaded}");
            second.close().await;
            anyhow::Ok(())
        })?;
    }
    Ok(())
}

#[test]
fn a_connection_is_encrypted_where_it_is_asked_for() -> Result<()> {
    // Both make themselves a certificate when they are first started.
    let place = Place::new(Kind::Mysql, "tls")?;
    let db = place.db()?;
    db.exec("DROP USER IF EXISTS secretive@'%'")?;
    db.exec("CREATE USER secretive@'%' IDENTIFIED BY 'x' REQUIRE SSL")?;
    db.exec("GRANT ALL ON *.* TO secretive@'%'")?;
    let mut options = place.options("t");
    options.endpoint = place.endpoint("secretive", "x");
    let runtime = runtime()?;
    let refused = runtime.block_on(SqlStore::open(options.clone())).map(drop).expect_err("it is in the clear");
    ensure!(refused.class() == ErrorClass::User, "{refused}");
    options.endpoint.ssl_mode = Some(SslMode::Require);
    runtime.block_on(async {
        SqlStore::open(options.clone()).await?.close().await;
        anyhow::Ok(())
    })?;
    options.endpoint.ssl_mode = Some(SslMode::VerifyFull);
    let refused = runtime.block_on(SqlStore::open(options)).map(drop).expect_err("nobody vouches for it");
    ensure!(!refused.to_string().contains("another process"), "{refused}");
    Ok(())
}
