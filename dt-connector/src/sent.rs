//! Counting a stream's changes behind the place at which it can be resumed, and leaving out those that the target has.
//! Pure. A stream is the same each time it is read from one place on, so a count says which changes are meant.

use dt_common::{Error, Result};

/// The changes of a stream from one place on, in the order in which they are sent.
#[derive(Debug, Default)]
pub struct Sent {
    // Read since the stream began, those that were left out included.
    changes: u64,
    // The target has so many of the first.
    applied: u64,
}

/// How many changes had been read at a place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At(u64);

impl Sent {
    /// A stream that begins at a place behind which the target has `applied` changes.
    pub fn new(applied: u64) -> Self {
        Sent { changes: 0, applied }
    }

    /// Where the stream is when `gathered` changes are read and not taken yet.
    pub fn at(&self, gathered: usize) -> At {
        At(self.changes + gathered as u64)
    }

    /// Takes changes on their way; those that the target has are left out.
    pub fn take<T>(&mut self, changes: &mut Vec<T>) {
        let there = self.applied.saturating_sub(self.changes).min(changes.len() as u64);
        self.changes += changes.len() as u64;
        changes.drain(..usize::try_from(there).expect("sent: no more than there are"));
    }

    /// How many changes behind `checkpoint` the target will have once all that was taken is applied.
    ///
    /// # Errors
    /// The source can be resumed at a place in the midst of what it could not be resumed in before: it is not the same
    /// stream any more.
    pub fn behind(&self, checkpoint: At) -> Result<u64> {
        if 0 < checkpoint.0 && checkpoint.0 < self.applied {
            return Err(Error::user("the source's transaction is shorter than the part of it that the target has")
                .with("changes in the target", self.applied)
                .with("changes of the transaction", checkpoint.0)
                .hint("the source is not what it was when the position was recorded: copy the tables again with a snapshot, and follow the changes from there"));
        }
        Ok(self.changes.max(self.applied) - checkpoint.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_that_the_target_has_are_left_out_once_and_count_as_behind() {
        let mut sent = Sent::new(5);
        let start = sent.at(0);
        assert_eq!(sent.behind(start).expect("the same place"), 5);
        let mut first = vec![1, 2, 3];
        sent.take(&mut first);
        assert_eq!((first.len(), sent.behind(start).expect("the same place")), (0, 5));
        let mut second = vec![4, 5, 6, 7];
        let committed = sent.at(3);
        sent.take(&mut second);
        assert_eq!(second, [6, 7]);
        assert_eq!(sent.behind(start).expect("the same place"), 7);
        assert_eq!(sent.behind(committed).expect("behind all of it"), 1);
        let mut third = vec![8];
        sent.take(&mut third);
        assert_eq!(third, [8]);
    }

    #[test]
    fn a_transaction_that_has_become_shorter_is_refused() {
        let mut sent = Sent::new(5);
        sent.take(&mut vec![1, 2, 3, 4]);
        assert!(sent.behind(sent.at(0)).is_err());
        assert_eq!(sent.behind(At(0)).expect("still the first place"), 5);
    }
}
