//! The batcher: collects blocks of rows into batches worth a transaction.
//!
//! Every lane collects for itself, so a batch never holds rows of two lanes, nor rows of two tables;
//! changes of any tables go together. A batch is cut when it is full (by rows or bytes), when it is old and could go at
//! once, and when its lane ends. While the source has more at hand, a batch is not old so soon. Age matters for more
//! than latency: rows that wait for company hold memory of the pipeline's budget, and a reader that waits for that
//! budget would otherwise wait for ever. A block is never split: one that is larger than a batch should be goes alone.

use std::collections::BTreeMap;
use std::time::Duration;

use dt_common::LaneId;
use dt_connector::{Block, Spread};
use tokio::sync::OwnedSemaphorePermit;

use crate::ledger::{Contents, Reached};

/// When a batch is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    /// At this many rows; at least 1.
    pub rows: u64,
    /// At this many bytes; at least 1.
    pub bytes: u64,
    /// When its first block has waited this long.
    pub age: Duration,
    /// The same for a batch without rows, which only says how far the source has come; at least `age`. More where that costs
    /// a transaction.
    pub empty_age: Duration,
    /// While the source's transaction has not ended, at so many bytes, and not before it is [`CATCHING_UP`] times as old: so
    /// that it is one transaction of the target as well. 0 if it need not be.
    pub whole_bytes: u64,
    /// A block of so many bytes says that the source has more at hand, so that the waiting begins anew: up to
    /// [`CATCHING_UP`] times the age in all.
    pub full_block_bytes: u64,
}

/// How many times its age a batch is collected for, while the source has more at hand.
pub const CATCHING_UP: u32 = 10;

/// Blocks of one lane that go together, cut off to be applied together.
#[derive(Debug)]
pub struct Cut {
    /// The lane.
    pub lane: LaneId,
    /// One or more blocks, in the order they were read.
    pub blocks: Vec<Block>,
    /// What they hold of the memory budget.
    pub memory: Vec<OwnedSemaphorePermit>,
    /// What the ledger is to remember of them.
    pub contents: Contents,
}

/// The batches that are being collected, at most one a lane.
#[derive(Debug)]
pub struct Batcher {
    limits: BatchLimits,
    open: BTreeMap<LaneId, Open>,
}

#[derive(Debug)]
struct Open {
    since: Duration,
    // When it is old.
    due: Duration,
    cut: Cut,
}

impl Batcher {
    /// Nothing collected yet.
    pub fn new(limits: BatchLimits) -> Self {
        Batcher { limits, open: BTreeMap::new() }
    }

    /// Takes a block in at `now`, and hands out what is full: in order, none to two cuts of the block's lane.
    pub fn push(&mut self, block: Block, memory: Option<OwnedSemaphorePermit>, now: Duration) -> Vec<Cut> {
        let lane = block.lane;
        let mut full = Vec::new();
        if self.open.get(&lane).is_some_and(|open| !open.takes(&block, self.limits)) {
            full.extend(self.cut(lane));
        }
        let open = self.open.entry(lane).or_insert_with(|| Open::new(lane, now, self.limits));
        if open.cut.contents.rows == 0 && block.rows > 0 {
            open.due = open.due.min(now + self.limits.age);
        }
        if block.bytes() >= self.limits.full_block_bytes {
            open.due = (now + self.limits.age).min(open.since + CATCHING_UP * self.limits.age);
        }
        open.push(block, memory);
        open.wait_for_its_end(self.limits, now);
        if open.is_full(self.limits) {
            full.extend(self.cut(lane));
        }
        full
    }

    /// Hands out what a lane has collected.
    pub fn cut(&mut self, lane: LaneId) -> Option<Cut> {
        self.open.remove(&lane).map(|open| open.cut)
    }

    /// Hands out what has waited long enough at `now`, of the lanes whose next batch may go at once: what would have to
    /// wait anyway goes on collecting.
    pub fn cut_aged(&mut self, now: Duration, may_go: impl Fn(LaneId) -> bool) -> Vec<Cut> {
        self.open.extract_if(.., |&lane, open| open.due <= now && may_go(lane)).map(|(_, open)| open.cut).collect()
    }

    /// Hands out everything.
    pub fn cut_all(&mut self) -> Vec<Cut> {
        std::mem::take(&mut self.open).into_values().map(|open| open.cut).collect()
    }

    /// When [`Batcher::cut_aged`] will next have something.
    pub fn deadline(&self, may_go: impl Fn(LaneId) -> bool) -> Option<Duration> {
        let may_go = self.open.iter().filter(|&(&lane, _)| may_go(lane));
        may_go.map(|(_, open)| open.due).min()
    }
}

impl Open {
    fn new(lane: LaneId, since: Duration, limits: BatchLimits) -> Self {
        let cut = Cut { lane, blocks: Vec::new(), memory: Vec::new(), contents: Contents::default() };
        Open { since, due: since + limits.empty_age, cut }
    }

    fn takes(&self, block: &Block, limits: BatchLimits) -> bool {
        let contents = &self.cut.contents;
        self.cut.blocks.last().is_none_or(|last| {
            last.goes_with(block)
                && contents.bytes + block.bytes() <= self.most_bytes(limits)
                && contents.rows + block.rows <= limits.rows
        })
    }

    fn push(&mut self, mut block: Block, memory: Option<OwnedSemaphorePermit>) {
        let contents = &mut self.cut.contents;
        contents.rows += block.rows;
        contents.bytes += block.bytes();
        // The sinker may want to know as well how far the source has come.
        contents.progress = block.progress.clone().or(contents.progress.take());
        contents.checkpoint = block.checkpoint.take().or(contents.checkpoint.take());
        contents.behind = block.behind;
        let Spread { serial, whole, index, ref mut ruled, .. } = block.spread;
        contents.reached = Reached { serial, whole, index, before: index.saturating_sub(block.behind) };
        contents.ruled.extend(ruled.take());
        self.cut.memory.extend(memory);
        self.cut.blocks.push(block);
    }

    fn is_full(&self, limits: BatchLimits) -> bool {
        self.cut.contents.rows >= limits.rows || self.cut.contents.bytes >= self.most_bytes(limits)
    }

    fn most_bytes(&self, limits: BatchLimits) -> u64 {
        if self.is_within(limits) { limits.bytes.max(limits.whole_bytes) } else { limits.bytes }
    }

    // Whether it ends within a transaction that is to be whole. So it seems as well while another one is prepared (XA), and
    // then it waits in vain, but not for long.
    fn is_within(&self, limits: BatchLimits) -> bool {
        limits.whole_bytes > 0 && self.cut.contents.behind > 0
    }

    fn wait_for_its_end(&mut self, limits: BatchLimits, now: Duration) {
        if limits.whole_bytes == 0 {
            return;
        }
        self.due = match self.is_within(limits) {
            true => self.since + CATCHING_UP * limits.age,
            // It has ended: as if it had never been waited for.
            false if self.cut.contents.rows > 0 => self.due.min(now + limits.age),
            false => self.due,
        };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dt_connector::BlockContents;

    use super::*;
    use bytes::Bytes;
    use dt_common::TableId;
    use dt_common::position::Position;
    use dt_common::schema::{RoutedTable, TableSchema};
    use dt_connector::RowFormat;

    const AGE: Duration = Duration::from_millis(100);
    const LIMITS: BatchLimits = BatchLimits {
        rows: 100,
        bytes: 1000,
        age: AGE,
        empty_age: Duration::from_millis(700),
        whole_bytes: 0,
        full_block_bytes: 50,
    };
    const START: Duration = Duration::ZERO;

    fn table(name: &str) -> Arc<RoutedTable> {
        let id = TableId::new("db", name);
        let source = TableSchema { id: id.clone(), columns: vec![], key: None, rows_estimate: 0 };
        Arc::new(RoutedTable { source, target: id, target_columns: vec![] })
    }

    fn block(lane: u32, table: &Arc<RoutedTable>, rows: u64, bytes: usize) -> Block {
        Block {
            lane: LaneId(lane),
            contents: BlockContents::Rows(table.clone()),
            format: RowFormat::MysqlText,
            data: Bytes::from(vec![b'x'; bytes]),
            rows,
            progress: None,
            checkpoint: None,
            behind: 0,
            spread: dt_connector::Spread::default(),
        }
    }

    fn sizes(cuts: &[Cut]) -> Vec<(u32, u64, u64)> {
        cuts.iter().map(|cut| (cut.lane.0, cut.contents.rows, cut.contents.bytes)).collect()
    }

    #[test]
    fn a_batch_is_cut_at_its_rows_and_at_its_bytes() {
        let (mut batcher, table) = (Batcher::new(LIMITS), table("t"));
        assert!(batcher.push(block(1, &table, 60, 10), None, START).is_empty());
        assert_eq!(sizes(&batcher.push(block(1, &table, 40, 10), None, START)), [(1, 100, 20)]);
        assert_eq!(sizes(&batcher.push(block(1, &table, 1, 1000), None, START)), [(1, 1, 1000)]);
    }

    #[test]
    fn a_block_that_would_overfill_a_batch_begins_the_next_one() {
        let (mut batcher, table) = (Batcher::new(LIMITS), table("t"));
        assert!(batcher.push(block(1, &table, 1, 600), None, START).is_empty());
        assert_eq!(sizes(&batcher.push(block(1, &table, 1, 600), None, START)), [(1, 1, 600)]);
        assert_eq!(sizes(&batcher.push(block(1, &table, 1, 5000), None, START)), [(1, 1, 600), (1, 1, 5000)]);
    }

    #[test]
    fn a_batch_never_spans_two_lanes_or_two_tables() {
        let (mut batcher, first, second) = (Batcher::new(LIMITS), table("t"), table("u"));
        assert!(batcher.push(block(1, &first, 1, 1), None, START).is_empty());
        assert!(batcher.push(block(2, &second, 1, 1), None, START).is_empty());
        let cuts = batcher.push(block(1, &second, 1, 1), None, START);
        assert_eq!(sizes(&cuts), [(1, 1, 1)]);
        assert!(matches!(&cuts[0].blocks[0].contents, BlockContents::Rows(table) if table.target.table == "t"));
        assert_eq!(sizes(&batcher.cut_all()), [(1, 1, 1), (2, 1, 1)]);
    }

    fn any(_: LaneId) -> bool {
        true
    }

    #[test]
    fn an_old_batch_that_would_have_to_wait_goes_on_collecting() {
        let (mut batcher, table) = (Batcher::new(LIMITS), table("t"));
        let (old, busy) = (Duration::from_millis(200), |lane| lane != LaneId(1));
        batcher.push(block(1, &table, 1, 1), None, START);
        assert_eq!(batcher.deadline(busy), None);
        assert!(batcher.cut_aged(old, busy).is_empty());
        batcher.push(block(1, &table, 1, 1), None, old);
        assert_eq!(sizes(&batcher.cut_aged(old, any)), [(1, 2, 2)]);
    }

    #[test]
    fn a_partial_batch_is_cut_when_it_is_old_and_not_before() {
        let (mut batcher, table) = (Batcher::new(LIMITS), table("t"));
        assert_eq!(batcher.deadline(any), None);
        batcher.push(block(1, &table, 1, 1), None, Duration::from_millis(10));
        batcher.push(block(1, &table, 1, 1), None, Duration::from_millis(90));
        batcher.push(block(2, &table, 1, 1), None, Duration::from_millis(90));
        assert_eq!(batcher.deadline(any), Some(Duration::from_millis(110)));
        assert!(batcher.cut_aged(Duration::from_millis(109), any).is_empty());
        assert_eq!(sizes(&batcher.cut_aged(Duration::from_millis(110), any)), [(1, 2, 2)]);
        assert_eq!(batcher.deadline(any), Some(Duration::from_millis(190)));
    }

    #[test]
    fn what_only_says_how_far_the_source_has_come_waits_longer_but_not_once_a_row_has_come() {
        let (mut batcher, table) = (Batcher::new(LIMITS), table("t"));
        let at = Duration::from_millis;
        batcher.push(block(1, &table, 0, 0), None, START);
        batcher.push(block(1, &table, 0, 0), None, at(200));
        assert_eq!(batcher.deadline(any), Some(at(700)));
        batcher.push(block(1, &table, 1, 1), None, at(300));
        assert_eq!(batcher.deadline(any), Some(at(400)));
        batcher.push(block(1, &table, 0, 0), None, at(350));
        assert_eq!(sizes(&batcher.cut_aged(at(400), any)), [(1, 1, 1)]);
        batcher.push(block(1, &table, 0, 0), None, at(500));
        batcher.push(block(1, &table, 1, 1), None, at(1190));
        assert_eq!(batcher.deadline(any), Some(at(1200)), "it has waited long enough by then");
    }

    #[test]
    fn a_batch_is_not_old_while_the_source_has_more_at_hand_but_not_for_ever() {
        let (mut batcher, table) = (Batcher::new(LIMITS), table("t"));
        let at = Duration::from_millis;
        batcher.push(block(1, &table, 1, 50), None, START);
        batcher.push(block(1, &table, 1, 50), None, at(90));
        assert_eq!(batcher.deadline(any), Some(at(190)));
        batcher.push(block(1, &table, 1, 49), None, at(180));
        assert_eq!(batcher.deadline(any), Some(at(190)), "the source had no more");
        batcher.push(block(1, &table, 1, 50), None, at(970));
        assert_eq!(batcher.deadline(any), Some(at(1000)));
        assert_eq!(sizes(&batcher.cut_aged(at(1000), any)), [(1, 4, 199)]);
    }

    #[test]
    fn a_transaction_of_the_source_stays_whole_unless_it_is_too_large_or_too_slow() {
        let limits = BatchLimits { whole_bytes: 2000, ..LIMITS };
        let (mut batcher, table, at) = (Batcher::new(limits), table("t"), Duration::from_millis);
        let part = |bytes, behind| Block { behind, ..block(1, &table, 1, bytes) };
        assert!(batcher.push(part(900, 1), None, START).is_empty());
        assert!(batcher.push(part(900, 2), None, START).is_empty(), "it has not ended");
        assert_eq!(sizes(&batcher.push(part(10, 0), None, START)), [(1, 3, 1810)]);
        batcher.push(part(900, 1), None, START);
        batcher.push(part(900, 2), None, START);
        assert_eq!(sizes(&batcher.push(part(900, 3), None, START)), [(1, 2, 1800)], "it is too large");
        assert_eq!(batcher.deadline(any), Some(at(1000)), "what is left of it may take longer");
        batcher.push(part(1, 0), None, at(500));
        assert_eq!(batcher.deadline(any), Some(at(600)));
    }

    #[test]
    fn the_last_positions_of_the_blocks_are_the_batchs() {
        let (mut batcher, table) = (Batcher::new(LIMITS), table("t"));
        let with = |checkpoint| Block { checkpoint, progress: Some(Position::None), ..block(1, &table, 1, 1) };
        batcher.push(with(Some(Position::None)), None, START);
        batcher.push(with(None), None, START);
        let cut = batcher.cut(LaneId(1)).expect("two blocks wait");
        assert_eq!(cut.contents.progress, Some(Position::None));
        assert_eq!(cut.contents.checkpoint, Some(Position::None));
        assert_eq!(cut.blocks.len(), 2);
    }
}
