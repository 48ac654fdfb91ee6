//! Applying changes.
//!
//! | room | what is in it |
//! |---|---|
//! | [`fold`] | what the changes of a batch come to, document by document (pure) |
//! | [`part`] | documents by how they are written (pure) |
//! | [`amend`] | an update of the oplog's form, applied to a document (pure) |
//! | [`diff`] | the `$v: 2` diff (pure) |
//! | [`modify`] | the `$v: 1` modifiers of servers before 5.0 (pure) |
//! | [`ahead`] | what the target is ahead of, and cannot take for now (pure) |
//! | [`answer`] | what the target says of single documents (pure) |
//! | `apply`, `exact` | the commands: many at once; in one transaction |
//! | `unique` | whether documents depend on each other by more than their `_id` |
//! | `inscribed` | all of a batch in one transaction, together with its position |
//!
//! **How an update is carried.** There were three ways, and each must give equal targets after any part of the stream is
//! applied twice (a kill between a batch and its record, a lost answer), and under changes that go on meanwhile:
//!
//! 1. The document as it is now (`fullDocument: updateLookup`), written whole. It may be later than the event; that is
//!    right in the end, for every later change follows. But the source looks each document up by itself, which costs it
//!    more than the stream does, and a renamed or dropped collection is looked up in vain.
//! 2. `updateDescription` as `$set` and `$unset` on the target. Which fields were new is not in it, so that applied twice the
//!    order of fields may differ; a path through what has become an array, or a number, fails or means something else; names
//!    with dots and dollars need operators of their own.
//! 3. The `$v: 2` diff that the oplog holds, which is made to be applied twice ([`diff`]).
//!
//! dt takes the third, for the oplog and (from MongoDB 6.0, by `showRawUpdateDescription`) for the change stream; the first
//! for the change stream of an older server. No public command takes such a diff, so the sinker reads the documents that a
//! batch amends, many at a time, applies the diffs to the bytes and writes the documents whole: exact for every value, name
//! and order, with one write per document and batch. A writer besides dt that changes the same document of the target
//! between the two is overwritten.
//!
//! **Transactions where they are needed.** The steps do not depend on each other but for their order (deletions, then the rest), and none on
//! what it had done before: a batch that failed on the way is applied again as a whole. A transaction serves only where
//! a unique index makes documents depend on each other, or one must be deleted to be written again: see `apply`.

pub mod ahead;
pub mod amend;
pub mod answer;
mod apply;
pub mod diff;
mod exact;
pub mod fold;
mod inscribed;
pub mod modify;
pub mod part;
mod unique;

pub(super) use apply::apply;
pub(super) use inscribed::{apply as apply_with, apply_before};
pub(super) use unique::has_unique_index;
