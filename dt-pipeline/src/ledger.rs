//! The ledger: which batches of which lane are applied, and up to where a lane may be recorded.
//!
//! It issues a [`Ticket`] with every batch and keeps the batch's positions until the target has it. Batches of a lane
//! may be applied in any order; a position becomes recordable only when its batch **and all earlier ones of its
//! lane** are applied (invariant 2). It never looks inside a position, never orders by anything but its own count, and
//! never says anything about a batch that was read but not applied.
//!
//! Lanes may form a group (the chunks of a table): once all of them have finished, so has the group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dt_common::LaneId;
use dt_common::ladder::{Applied, Ticket};
use dt_common::position::Position;
use dt_connector::Ruled;

/// What the ledger remembers of a batch until the target has it.
#[derive(Debug, Default)]
pub struct Contents {
    /// Where the source stands after the batch's last row, if there is a position that says so.
    pub progress: Option<Position>,
    /// The last place within the batch at which the source can be resumed, if there is one.
    pub checkpoint: Option<Position>,
    /// How many changes there are behind the lane's last such place.
    pub behind: u64,
    /// Where it ends in a stream that several lanes apply.
    pub reached: Reached,
    /// What it makes known of how tables are spread.
    pub ruled: Vec<Ruled>,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
}

/// How far a lane is in a stream that several lanes apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The number of the source's last block of which the lane has all.
    pub serial: u64,
    /// How many changes the stream has until the end of that block.
    pub whole: u64,
    /// How many changes of the stream, of which the lane has all of its own.
    pub index: u64,
    /// How many of them are before the last place at which the stream can be resumed.
    pub before: u64,
}

/// What has become recordable in a lane by a batch being applied or by the lane ending.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "what may be recorded should be"]
pub struct Advance {
    /// The lane.
    pub lane: LaneId,
    /// The last applied row; `None` if it has not moved.
    pub progress: Option<Position>,
    /// The last applied boundary; `None` if it has not moved.
    pub checkpoint: Option<Position>,
    /// How far that is in a stream that several lanes apply.
    pub reached: Reached,
    /// Whether a first position is wanted soon: of a table, or of the first of a group, which may hold rows that cannot be
    /// found again. Any other part of a group knows where it begins without one.
    pub first_soon: bool,
    /// Set once, when all batches of an ended lane are applied.
    pub finished: Option<Finished>,
}

/// A lane of which everything is applied.
#[derive(Debug, PartialEq, Eq)]
pub struct Finished {
    /// What is recorded.
    pub position: Position,
    /// The lane's rows since the pipeline was started.
    pub rows: u64,
    /// What else has finished with it.
    pub group: GroupFinished,
}

/// What a lane's end is for its group.
#[derive(Debug, PartialEq, Eq)]
pub enum GroupFinished {
    /// It has none: a table in one piece.
    Alone,
    /// Other lanes of it have not finished.
    NotYet,
    /// It was the last one: what is recorded of the group.
    Finished(Position),
}

/// Lanes that are one thing in the target: the chunks of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneGroup {
    /// The lanes in order; at least one, each in one group only.
    pub lanes: Vec<LaneId>,
    /// What is recorded once everything of all of them is applied.
    pub finished: Position,
}

/// A batch that has been applied.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed {
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// What has become recordable; `None` while an earlier batch of the lane is not applied.
    pub advance: Option<Advance>,
}

/// All lanes that are being copied. A lane is forgotten as soon as it has finished.
#[derive(Debug, Default)]
pub struct Ledger {
    lanes: BTreeMap<LaneId, Lane>,
    groups: Vec<Group>,
    group_of: BTreeMap<LaneId, usize>,
    // The lanes of groups but the first of each.
    later_parts: BTreeSet<LaneId>,
}

#[derive(Debug)]
struct Group {
    unfinished: usize,
    finished: Position,
}

#[derive(Debug, Default)]
struct Lane {
    // The batch at the front has this number; all below are applied.
    lowest_open: u64,
    open: VecDeque<Entry>,
    rows_applied: u64,
    finished: Option<Position>,
}

#[derive(Debug)]
struct Entry {
    contents: Contents,
    applied: bool,
}

impl Ledger {
    /// A ledger of lanes some of which form groups.
    pub fn of_groups(groups: Vec<LaneGroup>) -> Self {
        let mut ledger = Ledger::default();
        for (at, LaneGroup { lanes, finished }) in groups.into_iter().enumerate() {
            ledger.groups.push(Group { unfinished: lanes.len(), finished });
            ledger.later_parts.extend(lanes.iter().skip(1));
            ledger.group_of.extend(lanes.into_iter().map(|lane| (lane, at)));
        }
        ledger
    }

    /// Begins a lane. `false` if it is open already.
    pub fn open(&mut self, lane: LaneId) -> bool {
        let mut opened = false;
        self.lanes.entry(lane).or_insert_with(|| {
            opened = true;
            Lane::default()
        });
        opened
    }

    /// Whether rows of the lane may come: it has begun and has not ended.
    pub fn takes_rows(&self, lane: LaneId) -> bool {
        self.lanes.get(&lane).is_some_and(|lane| lane.finished.is_none())
    }

    /// The lowest lane that has begun and has not ended.
    pub fn unended(&self) -> Option<LaneId> {
        self.lanes.iter().find(|(_, lane)| lane.finished.is_none()).map(|(&id, _)| id)
    }

    /// The number of the lane's first batch that is not applied; `None` if the lane is not open any more.
    pub fn lowest_open(&self, lane: LaneId) -> Option<u64> {
        self.lanes.get(&lane).map(|lane| lane.lowest_open)
    }

    /// Notes a batch that was read.
    ///
    /// # Panics
    /// If the lane has not begun or has ended.
    pub fn issue(&mut self, id: LaneId, contents: Contents) -> Ticket {
        let lane = self.lanes.get_mut(&id).expect("ledger: a batch of a lane that is not open");
        assert!(lane.finished.is_none(), "ledger: a batch of a lane that has ended");
        let seq = lane.lowest_open + lane.open.len() as u64;
        lane.open.push_back(Entry { contents, applied: false });
        Ticket::issue(id, seq)
    }

    /// Notes that the target has a batch.
    ///
    /// # Panics
    /// If the ledger has not issued the batch's ticket, or it was closed before.
    pub fn close(&mut self, applied: Applied) -> Closed {
        let (id, seq) = (applied.lane(), applied.seq());
        let lane = self.lanes.get_mut(&id).expect("ledger: an applied batch of an unknown lane");
        let place = seq.checked_sub(lane.lowest_open).expect("ledger: a ticket closed twice");
        let entry = usize::try_from(place).ok().and_then(|place| lane.open.get_mut(place));
        let entry = entry.expect("ledger: a ticket that was never issued");
        assert!(!entry.applied, "ledger: a ticket closed twice");
        entry.applied = true;
        let (rows, bytes) = (entry.contents.rows, entry.contents.bytes);
        lane.rows_applied += rows;
        let advance = (place == 0).then(|| self.advance(id));
        Closed { rows, bytes, advance }
    }

    /// Ends a lane: once all its batches are applied, now or later, `finished` becomes recordable.
    ///
    /// # Panics
    /// If the lane has not begun or has ended before.
    pub fn end(&mut self, id: LaneId, finished: Position) -> Option<Advance> {
        let lane = self.lanes.get_mut(&id).expect("ledger: the end of a lane that is not open");
        assert!(lane.finished.is_none(), "ledger: a lane that has ended twice");
        lane.finished = Some(finished);
        lane.open.is_empty().then(|| self.advance(id))
    }

    // Moves the low watermark over everything that is applied without a gap (invariant 2).
    fn advance(&mut self, id: LaneId) -> Advance {
        let lane = self.lanes.get_mut(&id).expect("ledger: a lane that was looked at before");
        let first_soon = !self.later_parts.contains(&id);
        let mut advance = Advance {
            lane: id,
            progress: None,
            checkpoint: None,
            reached: Reached::default(),
            first_soon,
            finished: None,
        };
        while let Some(entry) = lane.open.pop_front_if(|entry| entry.applied) {
            lane.lowest_open += 1;
            advance.progress = entry.contents.progress.or(advance.progress);
            advance.checkpoint = entry.contents.checkpoint.or(advance.checkpoint);
            advance.reached = entry.contents.reached;
        }
        if lane.open.is_empty()
            && let Some(position) = lane.finished.take()
        {
            let rows = lane.rows_applied;
            self.lanes.remove(&id);
            advance.finished = Some(Finished { position, rows, group: self.finished_in_group(id) });
        }
        advance
    }

    fn finished_in_group(&mut self, id: LaneId) -> GroupFinished {
        let Some(at) = self.group_of.remove(&id) else { return GroupFinished::Alone };
        let group = &mut self.groups[at];
        group.unfinished -= 1;
        match group.unfinished {
            0 => GroupFinished::Finished(group.finished.clone()),
            _ => GroupFinished::NotYet,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: LaneId = LaneId(7);

    fn at(offset: u64) -> Position {
        Position::Redis(dt_common::position::Redis {
            repl_id: String::new(),
            repl_port: 0,
            repl_offset: offset,
            now_db_id: 0,
            timestamp: String::new(),
        })
    }

    fn batch(progress: u64, checkpoint: Option<u64>) -> Contents {
        let (progress, checkpoint) = (Some(at(progress)), checkpoint.map(at));
        Contents { progress, checkpoint, rows: 10, bytes: 100, ..Contents::default() }
    }

    fn open_lane() -> Ledger {
        let mut ledger = Ledger::default();
        assert!(ledger.open(LANE));
        ledger
    }

    fn close(ledger: &mut Ledger, ticket: Ticket) -> Option<Advance> {
        ledger.close(Applied::after_commit(ticket)).advance
    }

    #[test]
    fn a_later_batch_is_not_recordable_before_the_earlier_one() {
        let mut ledger = open_lane();
        let tickets = [1, 2, 3].map(|n| ledger.issue(LANE, batch(n, None)));
        let [first, second, third] = tickets;
        assert_eq!(close(&mut ledger, second), None);
        let advance = close(&mut ledger, first).expect("the front was closed");
        assert_eq!(advance.progress, Some(at(2)));
        assert_eq!(close(&mut ledger, third).expect("the front was closed").progress, Some(at(3)));
    }

    #[test]
    fn the_checkpoint_is_the_last_one_applied_and_not_the_last_row() {
        let mut ledger = open_lane();
        let first = ledger.issue(LANE, batch(5, Some(3)));
        let second = ledger.issue(LANE, batch(9, None));
        let _ = close(&mut ledger, second);
        let advance = close(&mut ledger, first).expect("the front was closed");
        assert_eq!((advance.progress, advance.checkpoint), (Some(at(9)), Some(at(3))));
    }

    #[test]
    fn a_lane_finishes_only_when_all_its_batches_are_applied() {
        let mut ledger = open_lane();
        let first = ledger.issue(LANE, batch(1, None));
        let second = ledger.issue(LANE, batch(2, None));
        assert_eq!(ledger.end(LANE, at(99)), None);
        assert_eq!(close(&mut ledger, second), None);
        let advance = close(&mut ledger, first).expect("the front was closed");
        assert_eq!(advance.finished, Some(Finished { position: at(99), rows: 20, group: GroupFinished::Alone }));
        assert_eq!(ledger.unended(), None);
    }

    #[test]
    fn an_empty_lane_finishes_at_once_and_is_forgotten() {
        let mut ledger = open_lane();
        let advance = ledger.end(LANE, at(99)).expect("nothing to wait for");
        assert_eq!(advance.finished.map(|finished| finished.rows), Some(0));
        assert!(ledger.lanes.is_empty());
    }

    #[test]
    fn lanes_know_nothing_of_each_other() {
        let mut ledger = open_lane();
        let _slow = ledger.issue(LANE, batch(1, None));
        ledger.open(LaneId(8));
        let other = ledger.issue(LaneId(8), batch(50, None));
        assert_eq!(close(&mut ledger, other).expect("its own front").progress, Some(at(50)));
    }

    #[test]
    #[should_panic(expected = "ledger: a ticket closed twice")]
    fn a_ticket_closed_twice_is_a_broken_invariant() {
        let mut ledger = open_lane();
        let first = ledger.issue(LANE, batch(1, None));
        let _second = ledger.issue(LANE, batch(2, None));
        let forged = Ticket::issue(LANE, first.seq());
        let _ = close(&mut ledger, first);
        let _ = close(&mut ledger, forged);
    }

    #[test]
    fn what_is_applied_is_forgotten_even_when_the_lane_goes_on() {
        let mut ledger = open_lane();
        for n in 0..1000 {
            let ticket = ledger.issue(LANE, batch(n, None));
            let _ = close(&mut ledger, ticket);
        }
        assert!(ledger.lanes[&LANE].open.is_empty());
    }

    #[test]
    fn a_group_finishes_with_the_last_of_its_lanes() {
        let lanes = [LaneId(1), LaneId(2)];
        let mut ledger = Ledger::of_groups(vec![LaneGroup { lanes: lanes.to_vec(), finished: at(1000) }]);
        for lane in lanes {
            assert!(ledger.open(lane));
        }
        assert!(ledger.open(LANE));
        let waiting = ledger.issue(lanes[0], batch(1, None));
        assert_eq!(ledger.end(lanes[0], at(1)), None);
        let group_of = |advance: Option<Advance>| advance.and_then(|advance| advance.finished).map(|lane| lane.group);
        assert_eq!(group_of(ledger.end(LANE, at(7))), Some(GroupFinished::Alone));
        assert_eq!(group_of(ledger.end(lanes[1], at(2))), Some(GroupFinished::NotYet));
        assert_eq!(group_of(close(&mut ledger, waiting)), Some(GroupFinished::Finished(at(1000))));
    }
}
