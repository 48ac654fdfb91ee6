//! Documents that had to be left as they are for a while, because the target is ahead of the changes. Pure.
//!
//! After an interruption, or after a snapshot, the first changes are such as the target has already. In between its unique
//! indexes may hold a key for another document already: `A` had it, gave it up, and `B` took it; then the change by which
//! `A` came to it does not fit any more. It must not: a later change takes the key from `A` again.
//!
//! A collection with such an index is written in one transaction for each batch, so that all of its documents are at one
//! place of the stream. A document besides the batch that stands in the way is as it came to be after the batch, and so the
//! target is behind the whole of it. Leaving it out is exact, for the target has had it, and applying the later changes again
//! gives the same (see [`diff`](super::diff)).
//!
//! Only changes that were made before this process began can have been applied before it. Whoever is still left out when
//! later ones come was not ahead: another document, or an index that the source does not have, stands in its way.

use std::collections::HashMap;

use dt_common::{Error, TableId};

use crate::raw::RawValue;

/// Seconds by which the clocks of the source and of this machine may differ.
const CLOCKS_DIFFER_SECS: u64 = 2;

/// A document by its collection and the bytes of its `_id`.
type Which = (TableId, u8, Vec<u8>);

/// What was left out so far.
#[derive(Debug)]
pub struct Ahead {
    // Seconds since 1970; changes that are not later may have been applied before.
    since: u64,
    reached: u64,
    held: HashMap<Which, Error>,
}

impl Ahead {
    /// Nothing was left out by a process that begins at `now`, in seconds since 1970.
    pub fn new(now: u64) -> Self {
        Ahead { since: now.saturating_add(CLOCKS_DIFFER_SECS), reached: 0, held: HashMap::new() }
    }

    /// The stream comes to changes of this time, in seconds since 1970; `None` within a transaction of which the end is
    /// not known. Whether they may have been applied before.
    pub fn comes_to(&mut self, time: Option<u64>) -> bool {
        self.reached = self.reached.max(time.unwrap_or(0));
        self.reached <= self.since
    }

    /// A document is changed again.
    pub fn is_changed(&mut self, collection: &TableId, id: RawValue<'_>) {
        if !self.held.is_empty() {
            self.held.remove(&(collection.clone(), id.kind, id.bytes.to_vec()));
        }
    }

    /// Collections are no longer what they were: what was left out of them says nothing any more.
    pub fn forget(&mut self, mut is_meant: impl FnMut(&TableId) -> bool) {
        self.held.retain(|(collection, ..), _| !is_meant(collection));
    }

    /// A document is left out; the error is for the case that it stays so.
    pub fn leave_out(&mut self, collection: &TableId, id: RawValue<'_>, error: Error) {
        self.held.insert((collection.clone(), id.kind, id.bytes.to_vec()), error);
    }

    /// The error of a document that is still left out, if the stream has come to changes that are all new.
    pub fn take_error(&mut self) -> Option<Error> {
        if self.reached <= self.since {
            return None;
        }
        let errors = std::mem::take(&mut self.held);
        let error = errors.into_values().next()?;
        Some(error.hint("another document of the target holds the same key in this unique index, which the source's collection may not have: drop the index, or remove the document that stands in the way; then copy the collection again with a snapshot, for a change of it was left out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT: u8 = 0x10;

    fn id(bytes: &[u8]) -> RawValue<'_> {
        RawValue { kind: INT, bytes }
    }

    #[test]
    fn what_is_changed_again_was_ahead_and_what_is_not_is_an_error() {
        let collection = TableId::new("d", "t");
        let mut ahead = Ahead::new(100);
        assert!(ahead.comes_to(None) && ahead.comes_to(Some(90)));
        ahead.leave_out(&collection, id(&[1]), Error::user("one"));
        ahead.leave_out(&collection, id(&[2]), Error::user("two"));
        assert!(ahead.take_error().is_none(), "a later change may come");
        ahead.is_changed(&collection, id(&[1]));
        assert!(!ahead.comes_to(Some(103)) && !ahead.comes_to(None));
        let error = ahead.take_error().expect("one is left");
        assert!(error.to_string().contains("two"), "{error}");
        assert!(ahead.take_error().is_none());
    }
}
