//! Applying changes: what a stream's batch does to the target, in one transaction.
//!
//! | room | what is in it |
//! |---|---|
//! | [`key`] | the key of a row, and values that a row does not say (pure) |
//! | [`fold`] | the changes of a table, folded per key to the last one (pure) |
//! | [`steps`] | the steps of a batch in the order in which they are executed (pure) |
//! | [`statement`], [`literal`] | the SQL of a step (pure) |
//! | [`plans`] | the tables as they were met, each compared with the target when it is first seen |
//! | [`script`] | statements on their way, many in one flight |
//! | [`apply`] | the steps of a batch, executed and committed |
//!
//! Nothing here decides whether two keys are equal: that is left to the target's server and its collations. A row is
//! told from another by the bytes of its key only to fold its changes, and folding never needs more than that.

pub mod apply;
pub mod fold;
pub mod key;
pub mod literal;
pub mod plans;
pub mod script;
pub mod statement;
pub mod steps;
