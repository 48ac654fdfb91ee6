//! The contract between a database and the pipeline, and what is the same for all databases: [`filter`],
//! [`router`], [`retry`].
//!
//! A database is a crate that offers a [`Source`] and a [`Target`]. The pipeline moves [`Batch`]es from the one to
//! the other and knows neither. What a connector cannot do it refuses by name before the first row; there are no
//! default bodies here that could skip a row in silence.

pub mod batch;
pub mod dummy;
pub mod filter;
pub mod outlet;
pub mod readers;
pub mod retry;
pub mod router;
pub mod sent;
pub mod sink;
pub mod source;
pub mod spread;
pub mod standing;
pub mod turn;

pub use batch::{Batch, Block, BlockContents, Change, Event, Op, RowFormat};
pub use outlet::{Outlet, Stopped};
pub use sink::{Applying, Conflict, Failed, SinkOptions, Sinker, Target, other_rows};
pub use source::{
    Acknowledger, CHUNKS_MAX, ChunkTask, Extractor, Followed, ReadOptions, Source, Start, StreamOptions, TableTask,
    Whence, counted_rows_lost,
};
pub use spread::{Rule, Ruled, Spread, Spreader};
pub use standing::{Fact, HeadRoom, Held};
pub use turn::{Turn, Turns};
