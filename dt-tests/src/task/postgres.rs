//! Task files from PostgreSQL to PostgreSQL. The database stands in the url; what is copied is named by schema.

use anyhow::Result;

use super::Task;
use crate::db::Dialect;
use crate::servers::{PASSWORD, Pair, Server, USER};

impl Task {
    /// A snapshot of a database of one server into the database of the same name of the other, of nothing yet:
    /// [`Task::schemas`] or `[filter]` keys say what. It resumes from its log_dir, and records its position each
    /// second.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn postgres(source: &Server, target: &Server, database: &str) -> Result<Self> {
        let task = Task::empty()?
            .set("extractor", "db_type", "pg")
            .set("extractor", "extract_type", "snapshot")
            .set("sinker", "db_type", "pg")
            .set("sinker", "sink_type", "write")
            .set("pipeline", "checkpoint_interval_secs", "1")
            .set("resumer", "resume_type", "from_log");
        let task = task.postgres_address("extractor", source.port(), database);
        Ok(task.postgres_address("sinker", target.port(), database))
    }

    /// [`Task::postgres`] of the schema `public` of a pair's database.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn of_postgres_pair(pair: &Pair, database: &str) -> Result<Self> {
        Ok(Task::postgres(&pair.source, &pair.target, database)?.schemas(&["public"]))
    }

    /// Makes it follow the source's changes through a slot.
    #[must_use]
    pub fn follows(self, slot: &str) -> Self {
        self.set("extractor", "extract_type", "cdc").set("extractor", "slot_name", slot)
    }

    /// Where the database of `[extractor]` or `[sinker]` is, with dt-main's user and password.
    #[must_use]
    pub fn postgres_address(self, section: &str, port: u16, database: &str) -> Self {
        self.set(section, "url", format!("postgres://127.0.0.1:{port}/{database}"))
            .set(section, "username", USER)
            .set(section, "password", PASSWORD)
    }

    /// The schemas that are copied, by their exact names.
    #[must_use]
    pub fn schemas(self, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|name| Dialect::Postgres.quoted(name)).collect();
        self.set("filter", "do_dbs", names.join(","))
    }
}
