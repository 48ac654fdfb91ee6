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
//! Only changes that were made before this process began can have been applied before it. So it is asked lane by lane: one may be
//! past that time while another is not. Whoever is still left out when
//! later ones come was not ahead: another document, or an index that the source does not have, stands in its way.

use std::collections::HashMap;

use dt_common::{Error, LaneId, TableId};

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
    reached: HashMap<LaneId, u64>,
    held: HashMap<Which, (LaneId, Error)>,
}

impl Ahead {
    /// Nothing was left out by a process that begins at `now`, in seconds since 1970.
    pub fn new(now: u64) -> Self {
        Ahead { since: now.saturating_add(CLOCKS_DIFFER_SECS), reached: HashMap::new(), held: HashMap::new() }
    }

    /// The lane comes to changes of this time, in seconds since 1970; `None` within a transaction of which the end is
    /// not known. Whether they may have been applied before.
    pub fn comes_to(&mut self, lane: LaneId, time: Option<u64>) -> bool {
        let reached = self.reached.entry(lane).or_default();
        *reached = (*reached).max(time.unwrap_or(0));
        *reached <= self.since
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

    /// A document is left out by its lane; the error is for the case that it stays so.
    pub fn leave_out(&mut self, lane: LaneId, collection: &TableId, id: RawValue<'_>, error: Error) {
        self.held.insert((collection.clone(), id.kind, id.bytes.to_vec()), (lane, error));
    }

    /// The error of a document that the lane still leaves out, if it has come to changes that are all new.
    pub fn take_error(&mut self, lane: LaneId) -> Option<Error> {
        if self.reached.get(&lane).is_none_or(|reached| *reached <= self.since) {
            return None;
        }
        let (_, error) = self.held.extract_if(|_, (of, _)| *of == lane).last()?.1;
        Some(error.hint("another document of the target holds the same key in this unique index, which the source's collection may not have: drop the index, or remove the document that stands in the way; then copy the collection again with a snapshot, for a change of it was left out"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INT: u8 = 0x10;
    const LANE: LaneId = LaneId(0);

    fn id(bytes: &[u8]) -> RawValue<'_> {
        RawValue { kind: INT, bytes }
    }

    #[test]
    fn what_is_changed_again_was_ahead_and_what_is_not_is_an_error() {
        let collection = TableId::new("d", "t");
        let mut ahead = Ahead::new(100);
        assert!(ahead.comes_to(LANE, None) && ahead.comes_to(LANE, Some(90)));
        ahead.leave_out(LANE, &collection, id(&[1]), Error::user("one"));
        ahead.leave_out(LANE, &collection, id(&[2]), Error::user("two"));
        assert!(ahead.take_error(LANE).is_none(), "a later change may come");
        ahead.is_changed(&collection, id(&[1]));
        assert!(!ahead.comes_to(LANE, Some(103)) && !ahead.comes_to(LANE, None));
        let error = ahead.take_error(LANE).expect("one is left");
        assert!(error.to_string().contains("two"), "{error}");
        assert!(ahead.take_error(LANE).is_none());
    }

    #[test]
    fn a_lane_that_is_past_the_beginning_does_not_judge_what_another_leaves_out() {
        let (collection, fast, slow) = (TableId::new("d", "t"), LaneId(1), LaneId(2));
        let mut ahead = Ahead::new(100);
        assert!(ahead.comes_to(slow, Some(90)) && !ahead.comes_to(fast, Some(103)));
        ahead.leave_out(slow, &collection, id(&[1]), Error::user("one"));
        assert!(ahead.take_error(fast).is_none() && ahead.take_error(slow).is_none());
        assert!(ahead.comes_to(slow, Some(91)));
        assert!(!ahead.comes_to(slow, Some(104)));
        assert!(ahead.take_error(fast).is_none() && ahead.take_error(slow).is_some());
    }
}
