//! Real servers, the real binary, and a judge that is neither: what the end-to-end tests, the quickstart and the
//! benchmarks share.
//!
//! - [`servers`]: throw-away MySQL, MariaDB, PostgreSQL and MongoDB servers on 127.0.0.1, stopped whatever becomes of the test.
//! - [`db`]: SQL to a server, as an administrator; [`mongo`]: commands to a MongoDB server.
//! - [`binlog`]: where a server's binlog ends.
//! - [`judge`]: whether two tables hold the same rows, computed by the servers, or two collections the same bytes.
//! - [`task`]: a task file for dt-main, and dt-main itself: run, killed, run again.
//! - [`positions`]: position tables, as an outsider sees them.
//! - [`matrix`]: a kill at every instant that matters, whatever is copied and wherever its positions are.
//! - [`proxy`]: a wire between two programs that can be cut.
//! - [`copies`]: a sample that is copied, killed and resumed.
//! - [`sample`]: a database with every shape of key and the common types.
//! - [`writer`]: the load that a source is under while its changes are followed.
//! - [`usage`], [`deadline`], [`dice`], [`workspace`]: what a program costs, waiting for a fact, seeded chance, and where the
//!   sources are.
//!
//! All of it is synchronous, and nothing here is part of dt: it never reads dt's own account of what it copied to
//! decide whether the copy is right.

pub mod binlog;
pub mod copies;
pub mod db;
pub mod deadline;
pub mod dice;
pub mod judge;
pub mod matrix;
pub mod mongo;
pub mod positions;
pub mod proxy;
pub mod sample;
pub mod servers;
pub mod task;
pub mod usage;
pub mod workspace;
pub mod writer;
