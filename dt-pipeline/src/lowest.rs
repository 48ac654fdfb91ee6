//! How far a stream is that several lanes apply: as far as the lane that is least far. Pure.
//!
//! Every lane gets a part of every block of the source, with the block's positions, so a lane's last block says how far it
//! is. Only what all lanes have come past is recorded, and it only moves forward (invariants 2 and 3).

use dt_common::LaneId;
use dt_common::position::Position;

use crate::ledger::{Advance, Reached};

/// The lanes of one stream.
#[derive(Debug)]
pub struct Lowest {
    lanes: Vec<Lane>,
    said: u64,
}

#[derive(Debug, Default)]
struct Lane {
    reached: Reached,
    progress: Option<Position>,
    checkpoint: Option<Position>,
}

/// What all lanes have.
#[derive(Debug, PartialEq, Eq)]
pub struct Low {
    /// The last place.
    pub progress: Option<Position>,
    /// The last place at which the stream can be resumed.
    pub checkpoint: Option<Position>,
    /// How many changes of the stream there are before that.
    pub before: u64,
    /// How many changes of the stream all lanes have, up to the end of a block of the source: so that no place to resume at
    /// lies in between.
    pub index: u64,
}

impl Lowest {
    /// So many lanes, numbered from 0, that have nothing.
    pub fn new(lanes: u32) -> Self {
        Lowest { lanes: (0..lanes).map(|_| Lane::default()).collect(), said: 0 }
    }

    /// Takes in what a lane has applied. What comes out is farther than what came out before.
    ///
    /// # Panics
    /// If there is no such lane.
    pub fn advance(&mut self, advance: &Advance) -> Option<Low> {
        let LaneId(no) = advance.lane;
        let lane = self.lanes.get_mut(no as usize).expect("lowest: a lane that the stream does not have");
        lane.reached = advance.reached;
        for (last, new) in [(&mut lane.progress, &advance.progress), (&mut lane.checkpoint, &advance.checkpoint)] {
            if new.is_some() {
                last.clone_from(new);
            }
        }
        let lowest = self.lanes.iter().min_by_key(|lane| lane.reached.serial)?;
        if lowest.reached.serial <= self.said {
            return None;
        }
        self.said = lowest.reached.serial;
        let Lane { progress, checkpoint, reached } = lowest;
        Some(Low {
            progress: progress.clone(),
            checkpoint: checkpoint.clone(),
            before: reached.before,
            index: reached.whole,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Option<Position> {
        Some(Position::Redis(dt_common::position::Redis {
            repl_id: String::new(),
            repl_port: 0,
            repl_offset: offset,
            now_db_id: 0,
            timestamp: String::new(),
        }))
    }

    fn advance(lane: u32, serial: u64, index: u64, checkpoint: Option<(u64, u64)>) -> Advance {
        let before = checkpoint.map_or(0, |(before, _)| before);
        Advance {
            lane: LaneId(lane),
            progress: at(index),
            checkpoint: checkpoint.and_then(|(_, place)| at(place)),
            reached: Reached { serial, whole: index, index, before },
            first_soon: true,
            finished: None,
        }
    }

    #[test]
    fn the_stream_is_as_far_as_its_slowest_lane() {
        let mut lowest = Lowest::new(2);
        assert_eq!(lowest.advance(&advance(0, 1, 5, Some((3, 30)))), None, "the other lane has nothing");
        assert_eq!(lowest.advance(&advance(0, 2, 9, Some((9, 90)))), None);
        let low = Low { progress: at(5), checkpoint: at(30), before: 3, index: 5 };
        assert_eq!(lowest.advance(&advance(1, 1, 5, Some((3, 30)))), Some(low));
        let low = Low { progress: at(9), checkpoint: at(90), before: 9, index: 9 };
        assert_eq!(lowest.advance(&advance(1, 3, 12, Some((12, 120)))), Some(low));
    }

    #[test]
    fn a_part_of_a_block_is_no_farther_than_the_block_before() {
        let mut lowest = Lowest::new(1);
        assert!(lowest.advance(&advance(0, 1, 5, Some((5, 50)))).is_some());
        let reached = Reached { serial: 1, whole: 5, index: 7, before: 5 };
        let within = Advance { progress: None, checkpoint: None, reached, ..advance(0, 1, 7, None) };
        assert_eq!(lowest.advance(&within), None);
        let low = Low { progress: at(8), checkpoint: at(50), before: 5, index: 8 };
        let end = Advance {
            checkpoint: None,
            reached: Reached { serial: 2, whole: 8, index: 8, before: 5 },
            ..advance(0, 2, 8, None)
        };
        assert_eq!(lowest.advance(&end), Some(low));
    }

    #[test]
    fn a_source_without_changes_of_ours_moves_on_all_the_same() {
        let mut lowest = Lowest::new(2);
        for serial in 1..4 {
            assert_eq!(lowest.advance(&advance(0, serial, 7, Some((7, serial)))), None);
            let low = lowest.advance(&advance(1, serial, 7, Some((7, serial)))).expect("both are there");
            assert_eq!((low.checkpoint, low.before, low.index), (at(serial), 7, 7));
        }
    }
}
