//! What is decided before a binlog is followed: whether the source can be followed at all ([`followable`]), where the
//! stream begins ([`start()`]), and while it runs how far the server is from purging what is still to be read
//! ([`binlogs::head_room`]).
//!
//! Pure functions of what was asked elsewhere ([`facts`]). A position that cannot be kept is refused with what is
//! missing and the ways out (invariant 5): nothing here ever chooses another beginning instead.

pub mod binlogs;
pub mod facts;
pub mod followable;
pub mod start;

pub use binlogs::{HeadRoom, head_room};
pub use facts::{BinlogFile, Gtids, Place, ServerFacts};
pub use followable::{advice, check_followable, check_logged, check_server_id};
pub use start::{Accept, Start, start};
