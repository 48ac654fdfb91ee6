//! Where a task had got to, and where it goes on: position stores and the resume plan.
//!
//! A tool that copies tables needs nothing of dt but this crate and [`dt_common`] to survive a kill at any instant:
//!
//! ```
//! use dt_common::ladder::{Entry, Recordable, Rung};
//! use dt_common::position::{KeyText, Lineage, OrderKey, RdbSnapshot, RdbSnapshotFinished};
//! use dt_common::schema::{Column, Key, TableSchema};
//! use dt_common::{DbType, Position, TableId};
//! use dt_resumer::{Decision, LogOptions, LogStore, Plan, PositionStore};
//!
//! # fn orders() -> TableSchema {
//! #     let id = Column { name: "id".into(), data_type: "bigint".into(), nullable: false, charset: None, collation: None, binary_form: None };
//! #     let key = Key { name: "PRIMARY".into(), columns: vec![0], nullable: false };
//! #     TableSchema { id: TableId::new("shop", "orders"), columns: vec![id], key: Some(key), rows_estimate: 0 }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let log_dir = dir.path().join("logs");
//! let orders = orders(); // `shop`.`orders`, as the source's catalog has it, with the primary key `id`
//! let here = Lineage { source: Some("server-1".into()), target: Some("server-2".into()) };
//!
//! // The first run: nothing is stored yet.
//! let mut store = LogStore::open(LogOptions::new(&log_dir)).await?;
//! let plan = Plan::for_snapshot(&store.load().await?, DbType::Mysql)?;
//! assert_eq!(plan.decide(&orders), Decision::Beginning { why: None });
//!
//! // Rows up to id 5 have been committed in the target: record it, and only that.
//! let progress = Position::RdbSnapshot(RdbSnapshot {
//!     db_type: DbType::Mysql,
//!     table: orders.id.clone(),
//!     chunk: None,
//!     key: OrderKey::single("id", KeyText::Text("5".into())),
//!     null_keys_done: true,
//!     lineage: here.clone(),
//! });
//! let saved = store.save(Recordable::of_applied(vec![Entry { rung: Rung::Current, position: progress }])).await?;
//! assert_eq!(saved.entries().len(), 1); // durable: the source may be told
//! drop(store); // or a kill
//!
//! // The second run goes on after it.
//! let mut store = LogStore::open(LogOptions::new(&log_dir)).await?;
//! let plan = Plan::for_snapshot(&store.load().await?, DbType::Mysql)?;
//! plan.check_lineage(&here)?;
//! let key = OrderKey::single("id", KeyText::Text("5".into()));
//! assert_eq!(plan.decide(&orders), Decision::After { key, null_keys_done: true });
//!
//! // The table is complete: the third run skips it.
//! let finished = Position::RdbSnapshotFinished(RdbSnapshotFinished {
//!     db_type: DbType::Mysql,
//!     table: orders.id.clone(),
//!     chunk: None,
//!     lineage: here.clone(),
//! });
//! let _ = store.save(Recordable::of_applied(vec![Entry { rung: Rung::Finished, position: finished }])).await?;
//! let plan = Plan::for_snapshot(&store.load().await?, DbType::Mysql)?;
//! assert_eq!(plan.decide(&orders), Decision::Skip);
//! # Ok(())
//! # }
//! ```
//!
//! - [`PositionStore`] is what a store promises; [`LogStore`] keeps positions in files, [`MemoryStore`] in memory, and
//!   `sql::SqlStore` in a table of MySQL, MariaDB or PostgreSQL (features `mysql` and `postgres`), `mongo::MongoStore` in a
//!   collection of MongoDB (feature `mongodb`). [`Mirrored`] writes what another store has saved into files as well.
//! - [`Loaded`] is what a store holds; [`Plan`] makes a [`Decision`] of it for each table of a snapshot, and [`cdc`]
//!   finds the place at which a stream of changes goes on. [`summary`] tells what is stored.
//! - [`Rewind`] is an explicit step back, such as un-finishing a table. [`carry`] takes positions from one store to another,
//!   as lines that people can read.
//!
//! The crate knows no connector and no pipeline, and without those features no database. A program that uses it alone
//! against a real database is in `examples/copy_with_positions.rs`; the feature `testkit` has the suite that every store
//! passes. It never compares two positions by what they hold:
//! the newest that was recorded counts.

pub mod carry;
pub mod cdc;
pub mod chunks;
pub mod decision;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "mongodb"))]
pub mod held;
pub mod loaded;
pub mod log;
pub mod memory;
pub mod mirrored;
#[cfg(feature = "mongodb")]
pub mod mongo;
pub mod plan;
pub mod restored;
pub mod rewind;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub mod sql;
pub mod store;
pub mod summary;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use decision::{ChunkDecision, Decision};
pub use loaded::Loaded;
pub use log::{LogOptions, LogStore};
pub use memory::MemoryStore;
pub use mirrored::Mirrored;
pub use plan::Plan;
pub use rewind::{Forget, Rewind};
pub use store::{Inscriber, PositionStore, SaveFailed};
