//! From extractor to sinker: the pipeline moves rows, and knows at every instant what may be recorded.
//!
//! ```text
//!   extractor ─blocks─► batcher ─batches─► queue ─► sinkers ─► target
//!                          │ ticket                   │ applied
//!                          └───────► ledger ◄─────────┘
//!                                      │ recordable
//!                                   recorder ─► store ─► acknowledger ─► source
//! ```
//!
//! The parts are pure: [`ledger`] (what is applied without a gap), [`batcher`] (what goes into one transaction),
//! a queue (what may go next), [`recorder`] (what is saved when), [`rate`] (how fast), and [`state`], which is
//! made of them: an input and the time go in, actions come out. [`driver`] is the thin part around it that performs
//! the actions on tokio: it owns the tasks, channels and timers, and decides nothing. Because no decision needs a
//! runtime, the simulation in `tests/` can play a run in any order, crash it after every action, and start it again.
//!
//! The ladder (`dt_common::ladder`) makes the order hold: a ticket is issued by the ledger only, spent by a sinker after
//! the target's commit, and only what the ledger has let through reaches the recorder (invariant 2); only what a store
//! has saved is acknowledged to the source (invariant 1).
//!
//! Two kinds of task hang on it, told apart by [`Order`]: a snapshot's lanes are tables, whose batches may be with
//! several sinkers at once; the lanes of CDC are streams, whose batches are applied one after the other and whose
//! checkpoints are recorded and acknowledged.
//!
//! A stream may be applied by several lanes ([`Lanes`]): then a stage between the reader and the state splits each block
//! ([`split`]), and what is recorded is how far all of them are ([`lowest`]).
//!
//! Memory is bounded by one budget: a block holds its share from the moment it is sent until its batch is applied
//! or given up. Partial batches are cut by age, so that none can hold memory that a reader waits for. Nothing here
//! knows a database, looks inside a position, or polls.

pub mod batcher;
pub mod driver;
mod grace;
pub mod inscription;
pub mod ledger;
pub mod lowest;
pub mod options;
pub mod outcome;
mod queue;
pub mod rate;
pub mod recorder;
pub mod split;
pub mod stage;
pub mod state;
mod worker;

pub use batcher::BatchLimits;
pub use driver::run;
pub use ledger::LaneGroup;
pub use options::PipelineOptions;
pub use outcome::{End, Observer, Outcome, Retried};
pub use rate::RateLimit;
pub use recorder::Order;
pub use split::Lanes;
pub use stage::Spreading;
pub use state::Outset;
