//! Batches of one lane that are written at the same time and committed one after the other.

use std::time::Duration;

use dt_common::{Error, ErrorClass, Result};
use tokio::sync::watch;

/// How long a transaction is kept open for the batches before its own. They are being written meanwhile; if one of them
/// waits for a lock of this very transaction, no one but this bound ends it.
const PATIENCE: Duration = Duration::from_secs(20);

/// When a batch may be committed: once all batches of its lane before it have been, so that the position which its
/// transaction writes is never ahead of the rows.
#[derive(Debug)]
pub struct Turn {
    applied: watch::Receiver<u64>,
    seq: u64,
}

/// The turns of one lane. Dropped, no turn comes any more.
#[derive(Debug)]
pub struct Turns(watch::Sender<u64>);

impl Default for Turns {
    fn default() -> Self {
        Turns(watch::Sender::new(0))
    }
}

impl Turns {
    /// The turn of the batch with this number in its lane.
    pub fn of(&self, seq: u64) -> Turn {
        Turn { applied: self.0.subscribe(), seq }
    }

    /// All batches below `next` are applied.
    pub fn pass_to(&self, next: u64) {
        self.0.send_replace(next);
    }
}

impl Turn {
    /// Whether it has come.
    pub fn has_come(&self) -> bool {
        *self.applied.borrow() >= self.seq
    }

    /// Whether it will never come.
    pub fn is_lost(&self) -> bool {
        !self.has_come() && self.applied.has_changed().is_err()
    }

    /// Waits for it, within a bound.
    ///
    /// # Errors
    /// Of class retry if the bound has passed; else an earlier batch will never be applied, so that neither may this one.
    pub async fn come(&self) -> Result<()> {
        let mut applied = self.applied.clone();
        let coming = applied.wait_for(|&applied| applied >= self.seq);
        match tokio::time::timeout(PATIENCE, coming).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => {
                Err(Error::fatal("rows were written and taken back: earlier ones of the same table were not applied"))
            }
            Err(_) => {
                let message = format!("earlier rows of the table were not applied within {} s", PATIENCE.as_secs());
                Err(Error::new(ErrorClass::Retry, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_turn_comes_when_all_before_it_are_applied_and_not_for_ever_after() {
        let turns = Turns::default();
        let (first, third) = (turns.of(0), turns.of(2));
        assert!(first.has_come() && !third.has_come());
        first.come().await.expect("nothing is before it");
        turns.pass_to(1);
        assert_eq!(third.come().await.expect_err("one is missing").class(), ErrorClass::Retry);
        turns.pass_to(2);
        third.come().await.expect("all before it are applied");
        let fourth = turns.of(3);
        assert!(!fourth.is_lost());
        drop(turns);
        assert!(fourth.is_lost() && !third.is_lost());
        assert_eq!(fourth.come().await.expect_err("nobody is left to pass it on").class(), ErrorClass::Fatal);
    }
}
