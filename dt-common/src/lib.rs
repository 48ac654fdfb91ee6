//! What every part of dt speaks of: [`ids`], schemas ([`schema`]), positions ([`position`]) and their wire forms,
//! the ladder ([`ladder`]) that a row climbs, errors ([`mod@error`]) and the task's configuration ([`config`]). For tests,
//! the instants at which a run can be killed ([`failpoint`]).
//!
//! Pure: no driver, no runtime, no clock and no IO. Time, bytes and text come in as arguments.

pub mod config;
#[doc(hidden)]
pub mod damage;
pub mod error;
pub mod failpoint;
pub mod ids;
pub mod ladder;
pub mod position;
pub mod schema;
pub mod secret;

pub use error::{Error, ErrorClass, Result};
pub use failpoint::Failpoint;
pub use ids::{DbType, LaneId, TableId};
pub use position::Position;
pub use secret::Secret;
