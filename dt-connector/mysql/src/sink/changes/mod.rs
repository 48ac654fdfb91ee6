//! Applying changes: what a stream's batch does to the target, in one transaction.
//!
//! | room | what is in it |
//! |---|---|
//! | [`fold`] | the changes of a table, folded per key to the last one (pure) |
//! | [`steps`] | the steps of a batch in the order in which they are executed (pure) |
//! | [`statement`] | the SQL of a step (pure) |
//! | [`plans`] | the tables as they were met, each compared with the target when it is first seen |
//! | [`apply`] | the steps of a batch, executed and committed |
//!
//! Nothing here decides whether two keys are equal: that is left to the target's server and its collations. A row is
//! told from another by the bytes of its key only to fold its changes, and folding never needs more than that.

pub mod apply;
pub mod fold;
pub mod plans;
pub mod statement;
pub mod steps;
