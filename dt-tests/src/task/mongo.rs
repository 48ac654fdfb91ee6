//! Task files from MongoDB to MongoDB.

use anyhow::Result;

use super::Task;
use crate::servers::mongo::{MongoPair, MongoServer};
use crate::servers::{PASSWORD, USER};

impl Task {
    /// A snapshot from one server to the other, of nothing yet: [`Task::databases`] or `[filter]` keys say what. It
    /// resumes from its log_dir, and records its position each second.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn mongo(source: &MongoServer, target: &MongoServer) -> Result<Self> {
        let task = Task::empty()?
            .set("extractor", "db_type", "mongo")
            .set("extractor", "extract_type", "snapshot")
            .set("sinker", "db_type", "mongo")
            .set("sinker", "sink_type", "write")
            .set("pipeline", "checkpoint_interval_secs", "1")
            .set("resumer", "resume_type", "from_log");
        Ok(task.mongo_address("extractor", source).mongo_address("sinker", target))
    }

    /// [`Task::mongo`] of some databases of a pair.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn of_mongo_pair(pair: &MongoPair, databases: &[&str]) -> Result<Self> {
        Ok(Task::mongo(&pair.source, &pair.target)?.databases(databases))
    }

    /// Makes it follow the source's changes, by `change_stream` or by `op_log`.
    #[must_use]
    pub fn follows_mongo(self, source: &str) -> Self {
        self.set("extractor", "extract_type", "cdc").set("extractor", "source", source)
    }

    /// Where the server of `[extractor]` or `[sinker]` is, with dt-main's user and password if it wants a login.
    #[must_use]
    pub fn mongo_address(self, section: &str, server: &MongoServer) -> Self {
        let task = self.set(section, "url", server.url());
        match server.wants_login() {
            true => task.set(section, "username", USER).set(section, "password", PASSWORD),
            false => task,
        }
    }
}
