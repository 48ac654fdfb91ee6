//! Ends in SQL: MySQL, MariaDB and PostgreSQL.

use anyhow::{Context, Result};

use super::cell::{Database, Phase, Setting, Store};
use super::ends::{End, Ends, with_setting};
use super::kept::Kept;
use super::ledger::{Change, Counted, Transaction};
use super::shape::Shape;
use crate::binlog;
use crate::db::{Db, Dialect};
use crate::judge::Judge;
use crate::positions::{Positions, followed};
use crate::servers::{self, Kind, Pair, Server};
use crate::task::Task;

/// Two servers with SQL.
pub(super) struct SqlEnds {
    setting: Setting,
    name: String,
    kind: Kind,
    pair: &'static Pair,
    source: Db,
    target: Db,
    positions: Option<Positions>,
    stream: Option<Stream>,
}

/// Where a stream begins that has recorded nothing.
struct Stream {
    start: Vec<(&'static str, String)>,
    // MySQL and MariaDB; PostgreSQL keeps its log by the slot.
    binlog: Option<Kept>,
}

impl SqlEnds {
    pub(super) fn open(setting: Setting, name: String) -> Result<Self> {
        let kind = match setting.database {
            Database::Mysql => Kind::Mysql,
            Database::Mariadb => Kind::Mariadb,
            Database::Postgres | Database::Mongo => Kind::Postgres15,
        };
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database(&name)?;
        for db in [&source, &target] {
            for shape in Shape::OF_SQL {
                db.exec_all(shape.create(db.dialect()))?;
            }
            db.exec("CREATE TABLE marks (id bigint NOT NULL PRIMARY KEY)")?;
        }
        let positions = match setting.store {
            Store::Log => None,
            Store::Target => Some(Positions::in_target(&pair.target, &name)?),
            Store::Db => Some(Positions::on(kind, &name)?),
        };
        let stream = match setting.phase {
            Phase::Snapshot => None,
            Phase::Cdc => {
                let keys = ["extract_type", "binlog_filename", "binlog_position", "slot_name"];
                let begin = || {
                    let (task, _) = followed(kind, &source, &name)?;
                    let start = keys.into_iter().filter_map(|key| Some((key, task.get("extractor", key)?.to_owned())));
                    let file = task.get("extractor", "binlog_filename").unwrap_or_default().to_owned();
                    Ok((start.collect(), file))
                };
                Some(match kind.dialect() {
                    Dialect::Mysql => {
                        let (start, binlog) = Kept::from(kind, &name, begin)?;
                        Stream { start, binlog: Some(binlog) }
                    }
                    Dialect::Postgres => Stream { start: begin()?.0, binlog: None },
                })
            }
        };
        Ok(SqlEnds { setting, name, kind, pair, source, target, positions, stream })
    }

    fn server(&self, end: End) -> &'static Server {
        match end {
            End::Source => &self.pair.source,
            End::Target => &self.pair.target,
        }
    }

    fn statement(&self, shape: Shape, change: Change) -> String {
        let (dialect, table) = (self.source.dialect(), shape.table());
        // One of those that are the same.
        let one = |n: u64| match dialect {
            Dialect::Mysql => format!("n = {n} LIMIT 1"),
            Dialect::Postgres => format!("ctid = (SELECT ctid FROM {table} WHERE n = {n} LIMIT 1)"),
        };
        match change {
            Change::Insert { n, v } => {
                let key = shape.key(dialect, n);
                let names: String = key.iter().map(|(name, _)| format!("{name}, ")).collect();
                let values: String = key.iter().map(|(_, value)| format!("{value}, ")).collect();
                format!("INSERT INTO {table} ({names}n, v) VALUES ({values}{n}, {v})")
            }
            Change::Update { n, v } => format!("UPDATE {table} SET v = {v} WHERE {}", one(n)),
            Change::Move { n, to, .. } => {
                let key = shape.key(dialect, to);
                let set: String = key.iter().map(|(name, value)| format!("{name} = {value}, ")).collect();
                format!("UPDATE {table} SET {set}n = {to} WHERE {}", one(n))
            }
            Change::Delete { n } => format!("DELETE FROM {table} WHERE {}", one(n)),
        }
    }
}

impl Ends for SqlEnds {
    fn shapes(&self) -> &'static [Shape] {
        &Shape::OF_SQL
    }

    fn write(&self, transaction: &Transaction) -> Result<()> {
        let changes = transaction.iter().map(|&(shape, change)| self.statement(shape, change));
        let begin = "START TRANSACTION".to_owned();
        self.source.exec_all([begin].into_iter().chain(changes).chain(["COMMIT".to_owned()]))
    }

    fn rotate(&self) -> Result<()> {
        self.source.exec(match self.source.dialect() {
            Dialect::Mysql => "FLUSH BINARY LOGS",
            Dialect::Postgres => "SELECT pg_switch_wal()",
        })
    }

    fn log_file(&self) -> Result<String> {
        match self.source.dialect() {
            Dialect::Mysql => Ok(binlog::end(&self.source)?.file),
            Dialect::Postgres => Ok(String::new()),
        }
    }

    fn forget_log(&self, before: &str) -> Result<()> {
        match &self.stream {
            Some(Stream { binlog: Some(binlog), .. }) => binlog.forget(before, &self.source),
            // What its slot does not hold goes with the next checkpoint.
            Some(Stream { binlog: None, .. }) => self.source.exec("CHECKPOINT"),
            None => Ok(()),
        }
    }

    fn port(&self, end: End) -> u16 {
        self.server(end).port()
    }

    fn kill_server(&self, end: End) -> Result<()> {
        self.server(end).kill9()?;
        self.server(end).up()
    }

    fn reconnect(&mut self) -> Result<()> {
        self.source = self.pair.source.connection(&self.name)?;
        self.target = self.pair.target.connection(&self.name)?;
        Ok(())
    }

    fn changes(&self, transaction: &Transaction) -> u64 {
        transaction.len() as u64
    }

    fn rows(&self, end: End, shape: Shape) -> Result<Counted> {
        let db = match end {
            End::Source => &self.source,
            End::Target => &self.target,
        };
        let rows = db.rows(format!("SELECT n, v, COUNT(*) FROM {} GROUP BY n, v", shape.table()))?;
        let number = |cell: &Option<String>| cell.as_deref()?.parse().ok();
        rows.iter()
            .map(|row| {
                let numbers: Option<Vec<u64>> = row.iter().map(number).collect();
                let numbers = numbers.filter(|numbers| numbers.len() == 3).context("not three numbers")?;
                Ok(((numbers[0], numbers[1]), numbers[2]))
            })
            .collect()
    }

    fn count(&self, shape: Shape) -> Result<u64> {
        self.target.number(format!("SELECT COUNT(*) FROM {}", shape.table()))
    }

    fn unequal(&self) -> Result<Vec<(String, String)>> {
        let judged = Judge::new(&self.source, &self.target).database(self.schema())?;
        let unequal = judged.into_iter().filter(|(_, verdict)| !verdict.is_equal());
        Ok(unequal.map(|(table, verdict)| (table, verdict.to_string())).collect())
    }

    fn begin_anew(&self) -> Result<()> {
        for table in Shape::OF_SQL.map(Shape::table) {
            self.target.exec(format!("TRUNCATE TABLE {table}"))?;
        }
        match &self.positions {
            Some(positions) => positions.drop_all(),
            None => Ok(()),
        }
    }

    fn mark(&self, mark: u64) -> Result<()> {
        self.source.exec(format!("INSERT INTO marks VALUES ({mark})"))
    }

    fn marks(&self) -> u64 {
        1
    }

    fn is_marked(&self, mark: u64) -> Result<bool> {
        Ok(self.target.number(format!("SELECT COUNT(*) FROM marks WHERE id = {mark}"))? == 1)
    }

    fn task(&self) -> Result<Task> {
        let mut task = match self.kind.dialect() {
            Dialect::Mysql => Task::of_pair(self.pair, &[&self.name])?,
            Dialect::Postgres => Task::of_postgres_pair(self.pair, &self.name)?,
        };
        if let Some(Stream { start, .. }) = &self.stream {
            for (key, value) in start {
                task = task.set("extractor", key, value);
            }
            let beats = match self.kind.dialect() {
                Dialect::Mysql => format!("{}_beats.beats", self.name),
                Dialect::Postgres => "beats.beats".to_owned(),
            };
            if self.kind.dialect() == Dialect::Postgres {
                self.source.exec("CREATE SCHEMA IF NOT EXISTS beats")?;
            }
            task = task.set("extractor", "heartbeat_tb", beats).set("extractor", "heartbeat_interval_secs", "1");
        }
        let task = match (&self.positions, self.setting.store) {
            (Some(positions), Store::Target) => positions.of_target(task),
            (Some(positions), _) => positions.of(task),
            (None, _) => task,
        };
        Ok(with_setting(task, self.setting))
    }

    fn schema(&self) -> &str {
        match self.kind.dialect() {
            Dialect::Mysql => &self.name,
            Dialect::Postgres => "public",
        }
    }
}

impl Drop for SqlEnds {
    fn drop(&mut self) {
        if self.kind.dialect() == Dialect::Postgres {
            // It would hold on to the source's log; with the server it goes in any case.
            let _ = self.source.exec(format!("SELECT pg_drop_replication_slot('{}')", self.name));
        }
    }
}
