//! The recorder: when which positions are saved.
//!
//! Finished tables (not parts of them) and a table's first position are saved at once (what comes before that position may be rows that
//! cannot be found again), positions in progress every interval, and all of them at the end. One save is in
//! flight at a time; what becomes recordable meanwhile goes together into the next one (group commit), so a slow
//! store is never more than one save behind and never sees a position move backwards (invariant 3). A save that fails
//! is tried again within a budget, then it is final (invariant 6). The recorder sees only what the ledger has let
//! through: it cannot record what is not applied (invariant 2).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dt_common::LaneId;
use dt_common::ladder::{Entry, Recordable, Rung};
use dt_common::position::Position;
use dt_common::{Error, Result};
use dt_connector::retry::{Backoff, RetryBudget};

use crate::ledger::{Advance, GroupFinished};

/// In which order batches of one lane may be applied, and with it what a checkpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A snapshot: rows of a lane are inserts of different keys, so several sinkers may hold batches of one lane. The
    /// source has no place of its own to resume at; the checkpoint that is recorded is [`Position::None`].
    Any,
    /// CDC: a batch of a lane is handed out only when the one before it is applied. What is recorded as checkpoint is
    /// each lane's own, and nothing before there is one (invariant 4).
    PerLane,
}

/// How the recorder goes about it.
#[derive(Clone, Copy, Debug)]
pub struct RecordOptions {
    /// Whether there are checkpoints.
    pub order: Order,
    /// The time between two saves of positions in progress.
    pub interval: Duration,
    /// How long failing saves are tried again.
    pub retry: RetryBudget,
}

/// What is recordable and not yet saved.
#[derive(Debug)]
pub struct Recorder {
    options: RecordOptions,
    first: Vec<Entry>,
    // Whether that is durable.
    is_prepared: bool,
    current: BTreeMap<LaneId, Position>,
    checkpoint: BTreeMap<LaneId, Position>,
    finished: Vec<Position>,
    finished_parts: Vec<Position>,
    // Lanes in progress of which a position has been taken in.
    placed: BTreeSet<LaneId>,
    due: Duration,
    closing: Closing,
    saving: Saving,
    backoff: Backoff,
    give_up_at: Option<Duration>,
}

#[derive(Debug)]
enum Saving {
    Idle,
    InFlight,
    Again { recordable: Recordable, at: Duration },
}

// The last save, and whether it has been handed out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    Asked,
    Built,
}

impl Recorder {
    /// Nothing recordable yet but `first`, what has to be recorded before anything is applied; the first interval
    /// begins at time zero.
    pub fn new(options: RecordOptions, first: Vec<Entry>) -> Self {
        Recorder {
            options,
            is_prepared: first.is_empty(),
            first,
            current: BTreeMap::new(),
            checkpoint: BTreeMap::new(),
            finished: Vec::new(),
            finished_parts: Vec::new(),
            placed: BTreeSet::new(),
            due: options.interval,
            closing: Closing::No,
            saving: Saving::Idle,
            backoff: Backoff::new(options.retry),
            give_up_at: None,
        }
    }

    /// Takes in what has to be recorded before anything is applied.
    pub fn begin(&mut self, first: Entry) {
        self.first.push(first);
        self.is_prepared = false;
    }

    /// Takes in what has become recordable.
    pub fn advance(&mut self, advance: Advance) {
        let lane = advance.lane;
        let is_first = advance.progress.is_some() && advance.finished.is_none() && self.placed.insert(lane);
        if is_first && advance.first_soon {
            self.due = Duration::ZERO;
        }
        self.current.extend(advance.progress.map(|position| (lane, position)));
        self.checkpoint.extend(advance.checkpoint.map(|position| (lane, position)));
        if let Some(finished) = advance.finished {
            // A finished table's progress says nothing that the finished line does not.
            self.current.remove(&lane);
            self.placed.remove(&lane);
            match finished.group {
                GroupFinished::Alone => self.finished.push(finished.position),
                // A part is progress of the whole.
                GroupFinished::NotYet => self.finished_parts.push(finished.position),
                GroupFinished::Finished(group) => self.finished.extend([finished.position, group]),
            }
        }
    }

    /// What to save now. The answer is in flight until [`Recorder::saved`] or [`Recorder::failed`].
    pub fn poll(&mut self, now: Duration) -> Option<Recordable> {
        let recordable = match std::mem::replace(&mut self.saving, Saving::Idle) {
            Saving::InFlight => None,
            Saving::Again { recordable, at } if at <= now => Some(recordable),
            Saving::Again { recordable, at } => {
                self.saving = Saving::Again { recordable, at };
                return None;
            }
            Saving::Idle => match self.gather(now) {
                Some(recordable) => Some(recordable),
                None => return None,
            },
        };
        self.saving = Saving::InFlight;
        recordable
    }

    fn gather(&mut self, now: Duration) -> Option<Recordable> {
        if !self.first.is_empty() {
            return Some(Recordable::of_applied(std::mem::take(&mut self.first)));
        }
        let last = self.closing == Closing::Asked;
        let mut entries = entries(Rung::Finished, std::mem::take(&mut self.finished));
        let in_progress = last || (self.has_moved() && self.due <= now);
        if in_progress || !entries.is_empty() {
            // Parts never come after their whole.
            entries.splice(0..0, self::entries(Rung::Finished, std::mem::take(&mut self.finished_parts)));
        }
        if in_progress {
            self.due = now + self.options.interval;
            entries.extend(self.in_progress());
        }
        if last {
            self.closing = Closing::Built;
        }
        (!entries.is_empty()).then(|| Recordable::of_applied(entries))
    }

    fn in_progress(&mut self) -> Vec<Entry> {
        let mut in_progress = entries(Rung::Current, std::mem::take(&mut self.current).into_values());
        in_progress.extend(match self.options.order {
            Order::Any => entries(Rung::Checkpoint, [Position::None]),
            Order::PerLane => entries(Rung::Checkpoint, std::mem::take(&mut self.checkpoint).into_values()),
        });
        in_progress
    }

    fn has_moved(&self) -> bool {
        !self.current.is_empty() || !self.checkpoint.is_empty() || !self.finished_parts.is_empty()
    }

    /// The save in flight is durable.
    pub fn saved(&mut self) {
        self.saving = Saving::Idle;
        self.is_prepared = true;
        self.backoff.succeeded();
    }

    /// The save in flight has failed at `now`. It is tried again after the pause that comes out.
    ///
    /// # Errors
    /// The same error, if trying again cannot help or has lasted too long (invariant 6).
    pub fn failed(&mut self, recordable: Recordable, error: Error, now: Duration) -> Result<(Error, Duration)> {
        let hopeless = !error.class().is_transient() || self.give_up_at.is_some_and(|at| at <= now);
        // One writer only, so there is no crowd whose pauses chance would have to spread.
        let pause = if hopeless { None } else { self.backoff.failed(now, 1.0) };
        let Some(pause) = pause else {
            self.saving = Saving::Idle;
            return Err(error.with("failed saves in a row", self.backoff.attempts().max(1)));
        };
        let at = self.give_up_at.map_or(now + pause, |give_up| give_up.min(now + pause));
        self.saving = Saving::Again { recordable, at };
        Ok((error, at - now))
    }

    /// Makes what is recordable due at once.
    pub fn flush(&mut self, now: Duration) {
        self.due = self.due.min(now);
    }

    /// Bounds the retries: a save that fails at or after `at` is final.
    pub fn give_up_at(&mut self, at: Duration) {
        self.give_up_at = Some(at);
        if let Saving::Again { at: again, .. } = &mut self.saving {
            *again = at.min(*again);
        }
    }

    /// Nothing more will become recordable: asks for the last save.
    pub fn close(&mut self) {
        if self.closing == Closing::No {
            self.closing = Closing::Asked;
        }
    }

    /// The attempts that have failed since the last save that worked.
    pub fn attempts(&self) -> u32 {
        self.backoff.attempts()
    }

    /// Whether what has to be recorded before anything is applied is durable.
    pub fn is_prepared(&self) -> bool {
        self.is_prepared
    }

    /// Whether all that has become recordable is durable.
    pub fn is_settled(&self) -> bool {
        !self.has_moved() && self.finished.is_empty() && matches!(self.saving, Saving::Idle)
    }

    /// Whether a save is in flight.
    pub fn is_saving(&self) -> bool {
        matches!(self.saving, Saving::InFlight)
    }

    /// Whether the last save is durable.
    pub fn is_closed(&self) -> bool {
        self.closing == Closing::Built && matches!(self.saving, Saving::Idle)
    }

    /// When [`Recorder::poll`] will next have something; `None` while a save is in flight.
    pub fn deadline(&self) -> Option<Duration> {
        match &self.saving {
            Saving::InFlight => None,
            Saving::Again { at, .. } => Some(*at),
            Saving::Idle => self.has_moved().then_some(self.due),
        }
    }
}

fn entries(rung: Rung, positions: impl IntoIterator<Item = Position>) -> Vec<Entry> {
    positions.into_iter().map(|position| Entry { rung, position }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Finished, Reached};
    use dt_common::ErrorClass;

    const SEC: Duration = Duration::from_secs(1);

    fn at(offset: u64) -> Position {
        Position::Redis(dt_common::position::Redis {
            repl_id: String::new(),
            repl_port: 0,
            repl_offset: offset,
            now_db_id: 0,
            timestamp: String::new(),
        })
    }

    fn recorder(order: Order) -> Recorder {
        Recorder::new(RecordOptions { order, interval: 10 * SEC, retry: RetryBudget { total: 60 * SEC } }, Vec::new())
    }

    fn moved(lane: u32, progress: u64, checkpoint: Option<u64>) -> Advance {
        Advance {
            lane: LaneId(lane),
            progress: Some(at(progress)),
            checkpoint: checkpoint.map(at),
            reached: Reached::default(),
            first_soon: true,
            finished: None,
        }
    }

    fn finished(lane: u32, position: u64) -> Advance {
        let finished = Some(Finished { position: at(position), rows: 1, group: GroupFinished::Alone });
        let reached = Reached::default();
        Advance { lane: LaneId(lane), progress: None, checkpoint: None, reached, first_soon: true, finished }
    }

    fn saved(recordable: Option<Recordable>) -> Vec<(Rung, Position)> {
        let recordable = recordable.expect("something was due");
        recordable.entries().iter().map(|entry| (entry.rung, entry.position.clone())).collect()
    }

    fn lost() -> Error {
        Error::new(ErrorClass::Reconnect, "the store is gone")
    }

    #[test]
    fn a_tables_first_position_is_saved_at_once_and_later_ones_wait_for_the_interval() {
        let mut recorder = recorder(Order::Any);
        recorder.advance(moved(1, 4, None));
        assert_eq!(saved(recorder.poll(SEC)), [(Rung::Current, at(4)), (Rung::Checkpoint, Position::None)]);
        recorder.saved();
        recorder.advance(moved(1, 5, None));
        recorder.advance(moved(1, 6, None));
        assert_eq!(recorder.poll(10 * SEC), None);
        assert_eq!(recorder.deadline(), Some(11 * SEC));
        assert_eq!(saved(recorder.poll(11 * SEC)), [(Rung::Current, at(6)), (Rung::Checkpoint, Position::None)]);
        recorder.saved();
        assert_eq!(recorder.poll(100 * SEC), None, "nothing has moved");
    }

    #[test]
    fn a_finished_table_is_saved_at_once_and_its_progress_no_more() {
        let mut recorder = recorder(Order::Any);
        recorder.advance(moved(1, 5, None));
        let _ = recorder.poll(SEC);
        recorder.saved();
        recorder.advance(moved(1, 6, None));
        recorder.advance(finished(1, 99));
        assert_eq!(saved(recorder.poll(SEC)), [(Rung::Finished, at(99))]);
        recorder.saved();
        assert_eq!(recorder.poll(100 * SEC), None);
    }

    #[test]
    fn a_finished_part_waits_for_the_interval_or_for_its_whole() {
        let part = |lane, position, group| Advance {
            finished: Some(Finished { position: at(position), rows: 1, group }),
            first_soon: false,
            ..finished(lane, position)
        };
        let mut recorder = recorder(Order::Any);
        recorder.advance(Advance { first_soon: false, ..moved(1, 5, None) });
        recorder.advance(part(2, 20, GroupFinished::NotYet));
        assert_eq!((recorder.poll(SEC), recorder.deadline()), (None, Some(10 * SEC)));
        let due = [(Rung::Finished, at(20)), (Rung::Current, at(5)), (Rung::Checkpoint, Position::None)];
        assert_eq!(saved(recorder.poll(10 * SEC)), due);
        recorder.saved();
        recorder.advance(part(3, 30, GroupFinished::NotYet));
        recorder.advance(part(1, 10, GroupFinished::Finished(at(100))));
        assert_eq!(saved(recorder.poll(11 * SEC)), [30, 10, 100].map(|position| (Rung::Finished, at(position))));
        recorder.saved();
        assert_eq!(recorder.poll(100 * SEC), None);
    }

    #[test]
    fn one_save_is_in_flight_and_the_rest_goes_together_into_the_next() {
        let mut recorder = recorder(Order::Any);
        recorder.advance(finished(1, 1));
        let first = recorder.poll(SEC);
        recorder.advance(finished(2, 2));
        recorder.advance(finished(3, 3));
        assert_eq!((recorder.poll(50 * SEC), recorder.deadline()), (None, None));
        assert_eq!(saved(first), [(Rung::Finished, at(1))]);
        recorder.saved();
        assert_eq!(saved(recorder.poll(50 * SEC)), [(Rung::Finished, at(2)), (Rung::Finished, at(3))]);
    }

    #[test]
    fn cdc_records_no_checkpoint_before_there_is_one() {
        let mut recorder = recorder(Order::PerLane);
        recorder.advance(moved(1, 5, None));
        assert_eq!(saved(recorder.poll(10 * SEC)), [(Rung::Current, at(5))]);
        recorder.saved();
        recorder.advance(moved(1, 9, Some(8)));
        assert_eq!(saved(recorder.poll(20 * SEC)), [(Rung::Current, at(9)), (Rung::Checkpoint, at(8))]);
    }

    #[test]
    fn a_failed_save_is_tried_again_whole_before_anything_newer() {
        let mut recorder = recorder(Order::Any);
        recorder.advance(finished(1, 1));
        let first = recorder.poll(SEC).expect("a finished table is due");
        recorder.advance(finished(2, 2));
        let (_, pause) = recorder.failed(first, lost(), SEC).expect("within the budget");
        assert_eq!(recorder.poll(SEC), None);
        assert_eq!(recorder.deadline(), Some(SEC + pause));
        assert_eq!(saved(recorder.poll(SEC + pause)), [(Rung::Finished, at(1))]);
        recorder.saved();
        assert_eq!(saved(recorder.poll(2 * SEC)), [(Rung::Finished, at(2))]);
    }

    #[test]
    fn a_save_that_fails_for_too_long_or_for_good_is_final() {
        let mut recorder = recorder(Order::Any);
        recorder.advance(finished(1, 1));
        let mut save = recorder.poll(SEC).expect("due");
        let mut now = SEC;
        let error = loop {
            match recorder.failed(save, lost(), now) {
                Ok((_, pause)) => now += pause,
                Err(error) => break error,
            }
            save = recorder.poll(now).expect("the pause is over");
        };
        assert!(now >= 61 * SEC && error.message() == "the store is gone");

        recorder.advance(finished(2, 2));
        let save = recorder.poll(now).expect("due");
        assert!(recorder.failed(save, Error::user("another process holds this task"), now).is_err());
    }

    #[test]
    fn once_in_a_hurry_retries_end_at_the_given_time() {
        let mut recorder = recorder(Order::Any);
        recorder.advance(finished(1, 1));
        let save = recorder.poll(SEC).expect("due");
        recorder.give_up_at(SEC + SEC / 10);
        let (_, pause) = recorder.failed(save, lost(), SEC).expect("not yet");
        assert_eq!(pause, SEC / 10);
        let save = recorder.poll(SEC + pause).expect("the pause is over");
        assert!(recorder.failed(save, lost(), SEC + pause).is_err());
    }

    #[test]
    fn the_last_save_does_not_wait_for_the_interval_and_says_the_checkpoint() {
        let mut recorder = recorder(Order::Any);
        recorder.advance(moved(1, 5, None));
        recorder.close();
        assert!(!recorder.is_closed());
        assert_eq!(saved(recorder.poll(SEC)), [(Rung::Current, at(5)), (Rung::Checkpoint, Position::None)]);
        assert!(!recorder.is_closed());
        recorder.saved();
        assert!(recorder.is_closed());
        assert_eq!(recorder.poll(SEC), None);
    }
}
