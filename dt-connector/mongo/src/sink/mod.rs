//! Writing the documents of a snapshot.
//!
//! | room | what is in it |
//! |---|---|
//! | [`changes`] | the documents of a stream of changes |
//! | `ddl` | what is done to collections and databases |
//! | [`check`] | the comparison with the target, before the first document |
//! | [`statement`] | the commands (pure) |
//! | [`reply`] | what the answer to a write says of single documents (pure) |
//! | `write` | the documents |
//! | `together` | the documents and their position, in one transaction |
//! | `inscription` | the position that a batch brings along |
//! | `spread` | how changes are spread over lanes |
//! | `left` | transactions that nobody will end |
//! | `place` | the collections that transactions write to |

pub mod changes;
pub mod check;
mod ddl;
mod inscription;
mod left;
mod place;
pub mod reply;
mod spread;
pub mod statement;
mod together;
mod write;

use std::sync::atomic::{AtomicBool, AtomicU32};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use dt_common::config::{Endpoint, Events};
use dt_common::position::PositionWrite;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};
use dt_connector::{Held, RowFormat, SinkOptions, Sinker, Spreader, Target};

use crate::catalog;
use crate::config::Address;
use crate::connect::Server;
use changes::ahead::Ahead;
use spread::MongoSpreader;
use statement::Durability;
use write::{MongoSinker, Shared};

/// A MongoDB server to write to.
#[derive(Debug)]
pub struct MongoTarget {
    shared: Arc<Shared>,
}

impl MongoTarget {
    /// Connects for the first time; an address that does not answer is an error at once, and so is a member that takes no
    /// writes.
    pub async fn connect(endpoint: &Endpoint, options: SinkOptions) -> Result<Self> {
        let address = Address::new(endpoint, None, "sinker").await?.of_task(&options.task_id);
        let server = Server::discover(address).await?;
        if !server.is_writable() {
            return Err(Error::user(format!("{server} is no primary, and cannot be written to"))
                .hint("give [sinker] url the primary's address, or the set's without directConnection"));
        }
        let durability = Durability::of(server.write_concern())?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let ahead = Mutex::new(Ahead::new(now));
        let shared = Shared {
            server,
            options,
            durability,
            ahead,
            unique: Mutex::default(),
            places: Mutex::default(),
            open: Mutex::default(),
            may_be_left: AtomicBool::new(true),
            wary: AtomicU32::new(0),
            told_too_large: AtomicBool::new(false),
            has_applied: AtomicBool::new(false),
            tries_ddl: AtomicBool::new(false),
        };
        Ok(MongoTarget { shared: Arc::new(shared) })
    }
}

#[async_trait]
impl Target for MongoTarget {
    fn identity(&self) -> &str {
        self.shared.server.identity()
    }

    fn describe(&self) -> String {
        self.shared.server.to_string()
    }

    fn formats(&self) -> &[RowFormat] {
        &[RowFormat::Bson]
    }

    async fn take_back(&mut self, _table: &RoutedTable, _rows: u64, _position: &PositionWrite) -> Result<()> {
        Err(Error::fatal("rows were to be taken back from a target whose documents all have a key"))
    }

    async fn prepare(&mut self, tables: &[Arc<RoutedTable>], _offered: &[RowFormat]) -> Result<Vec<RowFormat>> {
        check::compare(&self.shared.server, tables).await?;
        Ok(vec![RowFormat::Bson; tables.len()])
    }

    async fn check_changes(&mut self, _tables: &[TableId], _events: Events, _truncates: bool) -> Result<()> {
        // A stream of MongoDB meets its collections as it goes, and its target's privileges with them.
        Ok(())
    }

    async fn spreader(&mut self) -> Result<Option<Box<dyn Spreader>>> {
        Ok(Some(Box::new(MongoSpreader(self.shared.clone()))))
    }

    async fn holds_rows(&mut self, tables: &[TableId]) -> Result<Vec<Held>> {
        catalog::holds_documents(&self.shared.server, tables).await
    }

    fn sinker(&self) -> Box<dyn Sinker> {
        Box::new(MongoSinker::new(self.shared.clone()))
    }
}
