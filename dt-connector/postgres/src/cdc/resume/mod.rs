//! Whether a source can be followed, and from where. Pure: what the server says of itself and what is stored go in, a
//! plan or a refusal comes out. Whatever would leave a gap is refused.
//!
//! | room | what is in it |
//! |---|---|
//! | [`facts`] | what the server says |
//! | [`followable`] | whether it writes down and publishes all that is to be followed |
//! | [`publish`] | the publication that is made if there is none |
//! | [`start`] | the slot, and the place to begin at |
//! | [`time`] | whether what was committed since `start_time_utc` can be had |

pub mod facts;
pub mod followable;
pub mod publish;
pub mod start;
pub mod time;

pub use facts::{Publication, Role, ServerFacts, Slot, TableFacts};
pub use start::{Accept, Begin, Start};
