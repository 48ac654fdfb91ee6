//! Tasks with `resume_type=from_db` and `from_target`: a position table on a shared server, and what stands in it.

use anyhow::{Context, Result};

use crate::binlog::{self, Place};
use crate::db::{Db, Dialect};
use crate::servers::{self, Kind, PASSWORD, Server, USER};
use crate::task::{Running, Task};

/// A position table on a server's own place for it; gone with the next test of that name.
pub struct Positions {
    server: &'static Server,
    database: Option<String>,
    schema: String,
}

impl Positions {
    /// On a shared source. Nothing is made but for what the task makes.
    pub fn on(kind: Kind, name: &str) -> Result<Positions> {
        Positions::within(&servers::pair(kind)?.source, None, name)
    }

    /// In a target, where PostgreSQL wants to know the database.
    pub fn in_target(server: &'static Server, database: &str) -> Result<Positions> {
        let within = (server.kind().dialect() == Dialect::Postgres).then_some(database);
        Positions::within(server, within, database)
    }

    fn within(server: &'static Server, database: Option<&str>, name: &str) -> Result<Positions> {
        let positions = Positions { server, database: database.map(str::to_owned), schema: format!("pos_{name}") };
        positions.drop_all()?;
        Ok(positions)
    }

    /// Deletes the table and all that is in it.
    pub fn drop_all(&self) -> Result<()> {
        let schema = &self.schema;
        self.db()?.exec(match self.server.kind().dialect() {
            Dialect::Mysql => format!("DROP DATABASE IF EXISTS {schema}"),
            Dialect::Postgres => format!("DROP SCHEMA IF EXISTS {schema} CASCADE"),
        })
    }

    /// The task with its positions in its target, here.
    pub fn of_target(&self, task: Task) -> Task {
        task.set("resumer", "resume_type", "from_target").set("resumer", "table_full_name", self.table())
    }

    /// What another task of the same test has made there.
    pub fn of_same(kind: Kind, name: &str) -> Result<Positions> {
        Ok(Positions { server: &servers::pair(kind)?.source, database: None, schema: format!("pos_{name}") })
    }

    /// The task with its positions here.
    pub fn of(&self, task: Task) -> Task {
        self.at(task, self.server.port()).set("resumer", "username", USER).set("resumer", "password", PASSWORD)
    }

    /// The same, by way of another port, and as nobody yet.
    pub fn at(&self, task: Task, port: u16) -> Task {
        let (db_type, url) = match self.server.kind().dialect() {
            Dialect::Mysql => ("mysql", format!("mysql://127.0.0.1:{port}")),
            Dialect::Postgres => ("pg", format!("postgres://127.0.0.1:{port}/postgres")),
        };
        task.set("resumer", "resume_type", "from_db").set("resumer", "db_type", db_type).set("resumer", "url", url).set(
            "resumer",
            "table_full_name",
            format!("{}.pos", self.schema),
        )
    }

    /// The server that has the table.
    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// A new connection to where the table is.
    pub fn db(&self) -> Result<Db> {
        match &self.database {
            Some(database) => self.server.database(database),
            None => self.server.db(),
        }
    }

    /// The table's name in SQL.
    pub fn table(&self) -> String {
        format!("{}.pos", self.schema)
    }

    /// The table's schema.
    pub fn schema(&self) -> &str {
        &self.schema
    }

    /// How many rows of a type there are; none without a table.
    pub fn count(&self, resumer_type: &str) -> Result<u64> {
        let counted = format!("SELECT COUNT(*) FROM {} WHERE resumer_type = '{resumer_type}'", self.table());
        Ok(self.db()?.number(counted).unwrap_or(0))
    }

    /// What the fence says.
    pub fn fence(&self) -> Result<serde_json::Value> {
        let text =
            self.db()?.value(format!("SELECT position_data FROM {} WHERE resumer_type = 'Fence'", self.table()))?;
        Ok(serde_json::from_str(&text.context("an empty fence")?)?)
    }
}

/// Takes the copies of the positions out of the log_dir: what counts is in the table.
pub fn without_files(task: &Task) -> Result<()> {
    for name in ["position.log", "finished.log"] {
        match std::fs::remove_file(task.log_dir().join(name)) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A task that follows a database, and the schema of its tables: from now on, however often it is killed before it has recorded anything.
pub fn followed(kind: Kind, source: &Db, database: &str) -> Result<(Task, String)> {
    let pair = servers::pair(kind)?;
    match kind {
        Kind::Mysql | Kind::Mariadb => {
            let Place { file, position, .. } = binlog::beginning(source)?;
            let task = Task::of_pair(pair, &[database])?.set("extractor", "extract_type", "cdc");
            let task = task.set("extractor", "binlog_filename", file).set("extractor", "binlog_position", position);
            Ok((task, database.to_owned()))
        }
        Kind::Postgres15 | Kind::Postgres18 => {
            source.exec(format!("CREATE PUBLICATION {database}_publication_for_all_tables FOR ALL TABLES WITH (publish_via_partition_root = true)"))?;
            source.exec(format!("SELECT pg_create_logical_replication_slot('{database}', 'pgoutput')"))?;
            Ok((Task::of_postgres_pair(pair, database)?.follows(database), "public".to_owned()))
        }
    }
}

/// SIGTERM; gives back default.log.
pub fn stopped(mut running: Running) -> Result<String> {
    running.sigterm()?;
    Ok(running.wait()?.expect_code(128 + 15)?.log)
}
