//! A stream's blocks, split into one for each lane. Pure.
//!
//! Every lane gets a part of every block, if only an empty one, with the block's positions: so each lane is a whole stream
//! by itself, and what it has applied says how far it is. A change that belongs to no lane alone cuts the block: what is
//! before it goes first, without positions; it goes by itself, as a barrier; then the rest. Changes are counted, and the
//! count goes on from run to run: `index` is how many the stream has until a part's end, and `index - behind` how many
//! there are before the place at which it can be resumed.
//!
//! Where lanes keep positions of their own, a resume reads changes again that some lanes have and others have not. Such
//! a change is left out if the lane that it was in has it. Which lane that was depends on how its table was spread, so that
//! is kept as well: it is durable before the first change is spread by it ([`Ruled`]), behind a barrier, so that all before
//! are in the target. If a table is spread in another way by now, its changes stay in their old lanes, one by one, until all
//! are past what any lane has; so a key that was added or dropped meanwhile loses nothing and repeats nothing.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use dt_common::position::{Behind, Position, Share};
use dt_common::schema::{RoutedTable, TableSchema};
use dt_common::{Error, LaneId, Result, TableId};
use dt_connector::spread::{Slots, slots};
use dt_connector::{Block, BlockContents, Change, Op, RowFormat, Rule, Ruled, Spread};
use tokio::sync::OwnedSemaphorePermit;

/// Over how many lanes a stream is spread, and what they have already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lanes {
    /// How many; at least 1.
    pub count: u32,
    /// How many changes come before the first one that is read.
    pub begin: u64,
    /// How many changes each lane has come past, in that count, and with it all of its own; nothing for one that is not
    /// ahead of `begin`.
    pub reached: Vec<u64>,
    /// How tables were spread, by their names on the target.
    pub rules: HashMap<TableId, Told>,
    /// Whether lanes have positions of their own, in that count: then rules are made durable, too.
    pub counts: bool,
}

/// A rule that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The rule.
    pub rule: Rule,
    /// The first change that it is for. All before are in the target.
    pub since: u64,
}

impl Lanes {
    /// The lanes of a stream that goes on at a position that says `stream`, by the `rows` that lanes and tables have left. As
    /// many as `wanted`, or as before while some are ahead of where the stream goes on.
    ///
    /// Without a count in `stream` the rows are of another stream, and the count begins behind all of them, so that none is
    /// taken for one of this.
    pub fn resumed<'a>(stream: Option<&Behind>, rows: impl IntoIterator<Item = &'a Behind>, wanted: u32) -> Self {
        let mut lanes: Vec<(u32, u32, u64)> = Vec::new();
        let mut rules = HashMap::new();
        for row in rows {
            let Some((reached, counted)) = row.reached().zip(row.counted.as_ref()) else { continue };
            match &counted.share {
                Share::All => {}
                Share::Lane { no, of } => lanes.push((*no, *of, reached)),
                Share::Table { table, by } => {
                    let rule = by.clone().map_or(Rule::Whole, Rule::ByKey);
                    rules.insert(table.clone(), Told { rule, since: reached + 1 });
                }
            }
        }
        let highest = lanes.iter().map(|(_, _, reached)| *reached).max().unwrap_or(0);
        let Some(begin) = stream.and_then(Behind::reached) else {
            let begin = highest + stream.map_or(0, |stream| stream.changes);
            // What tables were is told again.
            return Lanes { count: wanted, begin, reached: Vec::new(), rules: HashMap::new(), counts: true };
        };
        lanes.retain(|(_, _, reached)| *reached > begin);
        let count = lanes.iter().map(|(_, of, _)| *of).max().unwrap_or(wanted);
        let mut reached = if lanes.is_empty() { Vec::new() } else { vec![0; count as usize] };
        for (no, of, at) in lanes {
            // Of one number of lanes, as no run begins with another while any of them is ahead.
            if of == count {
                reached[no as usize] = at;
            }
        }
        Lanes { count, begin, reached, rules, counts: true }
    }

    /// Whether some lane has come past where the stream goes on.
    pub fn are_ahead(&self) -> bool {
        !self.reached.is_empty()
    }
}

/// Splits a stream's blocks.
#[derive(Debug)]
pub struct Splitter {
    lanes: Lanes,
    // Beyond this no lane has anything.
    until: u64,
    serial: u64,
    index: u64,
    // How many changes there are before the last place at which the stream can be resumed.
    before: Option<u64>,
    // By their names on the target, as their changes were spread last.
    last: HashMap<TableId, (Arc<RoutedTable>, Rule)>,
    // By their names on the source, in the shapes that were met.
    known: HashMap<TableId, Vec<(Arc<RoutedTable>, Rule)>>,
}

/// Shapes of one table that are remembered: one for what is read, others for what may come between two ALTERs.
const SHAPES_MAX: usize = 4;

/// Where a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Lane(u32),
    /// Alone, in this lane.
    Barrier(u32),
    /// The target has it.
    There,
}

impl Splitter {
    /// Nothing read yet.
    pub fn new(lanes: Lanes) -> Self {
        let until = lanes.reached.iter().copied().max().unwrap_or(0);
        Splitter {
            until,
            serial: 0,
            index: lanes.begin,
            before: None,
            last: HashMap::new(),
            known: HashMap::new(),
            lanes,
        }
    }

    /// The tables of the block whose rules are not known, each once.
    pub fn unknown(&self, block: &Block) -> Vec<Arc<RoutedTable>> {
        let mut unknown: Vec<Arc<RoutedTable>> = Vec::new();
        let mut last: Option<&Arc<RoutedTable>> = None;
        for change in changes(block) {
            if last.is_some_and(|last| Arc::ptr_eq(last, &change.table)) {
                continue;
            }
            last = Some(&change.table);
            let is_asked = unknown.iter().any(|table| same(table, &change.table));
            if has_rows(change) && !is_asked && self.rule(&change.table).is_none() {
                unknown.push(change.table.clone());
            }
        }
        unknown
    }

    /// Says how a table is spread.
    pub fn learn(&mut self, table: Arc<RoutedTable>, rule: Rule) {
        let shapes = self.known.entry(table.source.id.clone()).or_default();
        shapes.truncate(SHAPES_MAX - 1);
        shapes.insert(0, (table, rule));
    }

    fn rule(&self, table: &Arc<RoutedTable>) -> Option<&Rule> {
        let shapes = self.known.get(&table.source.id)?;
        shapes.iter().find(|(known, _)| same(known, table)).map(|(_, rule)| rule)
    }

    /// The parts of the block, in order. All of its tables must be known.
    ///
    /// # Errors
    /// The source does not count its changes as it said.
    pub fn split(&mut self, block: Block) -> Result<Vec<Block>> {
        if let BlockContents::Rows(table) = &block.contents {
            let message = "rows of a table came where changes are spread over lanes";
            return Err(Error::fatal(message).with("table", &table.source.id).hint("this is a bug in dt"));
        }
        let before = self.place(&block)?;
        let mut parts =
            Parts { blocks: Vec::new(), open: Vec::new(), last: (self.serial, self.index), format: block.format };
        parts.open.resize_with(self.lanes.count as usize, Open::default);
        self.serial += 1;
        if block.is_ddl() {
            // Keys may be others from here on.
            self.known.clear();
            let is_there = self.is_barrier_there();
            self.index += block.rows;
            self.before = Some(before);
            return Ok(if is_there { parts.end(block, self.serial, self.index) } else { self.ddl(block) });
        }
        let mut current: Option<(Arc<RoutedTable>, Rule)> = None;
        for change in changes(&block) {
            if !has_rows(change) {
                if !self.is_barrier_there() {
                    parts.flush(self.index, self.before);
                    parts.truncate(change, self.index + 1, self.before);
                }
                self.index += 1;
                continue;
            }
            let rule = match &current {
                Some((table, rule)) if Arc::ptr_eq(table, &change.table) => rule,
                _ => {
                    let rule = self.rule(&change.table).expect("split: a table that was not asked about").clone();
                    if self.is_reshaped(&change.table, &rule) {
                        parts.flush(self.index, self.before);
                        parts.alone(LaneId(0), Open::default(), self.index, self.before, None);
                    }
                    &current.insert((change.table.clone(), rule)).1
                }
            };
            if self.is_news(&change.table, rule) {
                let ruled = Ruled { table: change.table.clone(), rule: rule.clone() };
                let told = Told { rule: rule.clone(), since: self.index + 1 };
                self.lanes.rules.insert(change.table.target.clone(), told);
                parts.flush(self.index, self.before);
                parts.alone(LaneId(0), Open::default(), self.index, self.before, Some(ruled));
            }
            let way = self.way(change, rule, block.format, &block.data);
            match way {
                Way::There => {}
                Way::Lane(lane) => parts.open[lane as usize].push(change, &block.data),
                Way::Barrier(lane) => {
                    parts.flush(self.index, self.before);
                    let mut only = Open::default();
                    only.push(change, &block.data);
                    parts.alone(LaneId(lane), only, self.index + 1, self.before, None);
                }
            }
            self.index += 1;
        }
        self.before = Some(before);
        Ok(parts.end(block, self.serial, self.index))
    }

    /// How many changes there are before the place at which the stream can be resumed after the block.
    fn place(&self, block: &Block) -> Result<u64> {
        let end = self.index + block.rows;
        let before = end.checked_sub(block.behind);
        let fits = |before: u64| match (self.before, &block.checkpoint) {
            // Nothing depends on it.
            _ if !self.lanes.counts => true,
            (None, _) => true,
            (Some(last), Some(_)) => last <= before,
            (Some(last), None) => last == before,
        };
        before.filter(|&before| fits(before)).ok_or_else(|| {
            Error::fatal("the source's changes were counted in two ways")
                .with("changes until now", end)
                .with("behind the checkpoint", block.behind)
                .hint("this is a bug in dt; nothing is lost, and parallel_size=1 does without the count")
        })
    }

    // Whether rows of the target's table may have been in other lanes until now: by another rule, or because the same key
    // was written down in another way.
    fn is_reshaped(&mut self, table: &Arc<RoutedTable>, rule: &Rule) -> bool {
        let fits = |(last, then): &(Arc<RoutedTable>, Rule)| {
            let alike = |one: &TableSchema, other: &TableSchema| one.columns == other.columns && one.key == other.key;
            then == rule && (Arc::ptr_eq(last, table) || alike(&last.source, &table.source))
        };
        match self.last.get(&table.target) {
            Some(last) if fits(last) => false,
            last => {
                let is_reshaped = last.is_some();
                self.last.insert(table.target.clone(), (table.clone(), rule.clone()));
                is_reshaped
            }
        }
    }

    // Whether the rule has to be made durable before the next change. Not where some lanes are ahead and the table was spread
    // in another way: its changes are told by that way until all are past it.
    fn is_news(&self, table: &RoutedTable, rule: &Rule) -> bool {
        let told = self.lanes.rules.get(&table.target);
        let is_new = told.is_none_or(|told| told.rule != *rule);
        self.lanes.counts && is_new && (told.is_none() || self.index >= self.until)
    }

    // In front of it every lane is done, so that the first lane's count says whether it has been.
    fn is_barrier_there(&self) -> bool {
        self.lanes.reached.first().is_some_and(|&reached| self.index < reached)
    }

    fn way(&self, change: &Change, rule: &Rule, format: RowFormat, data: &[u8]) -> Way {
        let number = self.index + 1;
        if number <= self.until
            && let Some(told) = self.lanes.rules.get(&change.table.target)
        {
            let then = self.spread(change, &told.rule, format, data);
            let (Way::Lane(lane) | Way::Barrier(lane)) = then else { return Way::There };
            let is_there = self.lanes.reached.get(lane as usize).is_some_and(|&reached| number <= reached);
            return match () {
                () if number < told.since || is_there => Way::There,
                () if told.rule != *rule => Way::Barrier(lane),
                () => then,
            };
        }
        self.spread(change, rule, format, data)
    }

    fn spread(&self, change: &Change, rule: &Rule, format: RowFormat, data: &[u8]) -> Way {
        let count = self.lanes.count;
        match slots(change, rule, format, data) {
            Slots::One(slot) => Way::Lane(slot.lane(count)),
            Slots::Two(before, after) if before.lane(count) == after.lane(count) => Way::Lane(after.lane(count)),
            Slots::Two(..) | Slots::All => Way::Barrier(0),
        }
    }

    // It goes alone and is recorded before anything behind it: so its own lane says last that it has been.
    fn ddl(&self, block: Block) -> Vec<Block> {
        let spread = Spread { serial: self.serial, whole: self.index, index: self.index, barrier: false, ruled: None };
        let mut parts: Vec<Block> = (1..self.lanes.count)
            .map(|lane| Block {
                lane: LaneId(lane),
                contents: BlockContents::Changes(Vec::new()),
                format: block.format,
                data: Bytes::new(),
                rows: 0,
                progress: block.progress.clone(),
                checkpoint: block.checkpoint.clone(),
                behind: block.behind,
                spread: spread.clone(),
            })
            .collect();
        parts.push(Block { lane: LaneId(0), spread: Spread { barrier: true, ..spread }, ..block });
        parts
    }
}

fn changes(block: &Block) -> &[Change] {
    match &block.contents {
        BlockContents::Rows(_) => &[],
        BlockContents::Changes(changes) => changes,
    }
}

/// Whether it is a change of a row, which goes by its table's rule.
fn has_rows(change: &Change) -> bool {
    match change.op {
        Op::Insert { .. } | Op::Update { .. } | Op::Delete { .. } => true,
        Op::Ddl { .. } | Op::Truncate { .. } => false,
    }
}

fn same(one: &Arc<RoutedTable>, other: &Arc<RoutedTable>) -> bool {
    Arc::ptr_eq(one, other) || one == other
}

/// The parts of a block while it is split.
struct Parts {
    blocks: Vec<Block>,
    // What is gathered for each lane.
    open: Vec<Open>,
    // The number of the block before, and how many changes there are until its end.
    last: (u64, u64),
    format: RowFormat,
}

#[derive(Default)]
struct Open {
    data: Vec<u8>,
    changes: Vec<Change>,
}

impl Open {
    fn push(&mut self, change: &Change, data: &[u8]) {
        let mut copy = |row: &Range<usize>| {
            let start = self.data.len();
            self.data.extend_from_slice(&data[row.clone()]);
            start..self.data.len()
        };
        let op = match &change.op {
            Op::Insert { after } => Op::Insert { after: copy(after) },
            // The same place says that the key is the same.
            Op::Update { before, after } if before == after => {
                let after = copy(after);
                Op::Update { before: after.clone(), after }
            }
            Op::Update { before, after } => Op::Update { before: copy(before), after: copy(after) },
            Op::Delete { before } => Op::Delete { before: copy(before) },
            Op::Ddl { command } => Op::Ddl { command: copy(command) },
            Op::Truncate { restart_identity } => Op::Truncate { restart_identity: *restart_identity },
        };
        self.changes.push(Change { table: change.table.clone(), op });
    }

    fn block(mut self, lane: LaneId, format: RowFormat) -> Block {
        // It may wait for long, and what is reserved and not used would wait with it.
        self.data.shrink_to_fit();
        self.changes.shrink_to_fit();
        Block {
            lane,
            rows: self.changes.len() as u64,
            contents: BlockContents::Changes(self.changes),
            format,
            data: Bytes::from(self.data),
            progress: None,
            checkpoint: None,
            behind: 0,
            spread: Spread::default(),
        }
    }
}

impl Parts {
    /// What is gathered goes before what comes now; it is not the end of the block, and has no positions.
    fn flush(&mut self, index: u64, before: Option<u64>) {
        for lane in 0..self.open.len() {
            if !self.open[lane].changes.is_empty() {
                let open = std::mem::take(&mut self.open[lane]);
                let lane = LaneId(u32::try_from(lane).expect("split: as many lanes as a number of 32 bits"));
                self.within(lane, open, index, before, false, None);
            }
        }
    }

    fn alone(&mut self, lane: LaneId, only: Open, index: u64, before: Option<u64>, ruled: Option<Ruled>) {
        self.within(lane, only, index, before, true, ruled);
    }

    /// What follows another one directly was the same statement, and stays with it.
    fn truncate(&mut self, change: &Change, index: u64, before: Option<u64>) {
        if let Some(last) = self.blocks.last_mut()
            && last.spread.barrier
            && let BlockContents::Changes(changes) = &mut last.contents
            && changes.last().is_some_and(|last| matches!(last.op, Op::Truncate { .. }))
        {
            changes.push(change.clone());
            last.rows += 1;
            last.spread.index = index;
            last.behind = index - before.unwrap_or(index);
            return;
        }
        let only = Open { data: Vec::new(), changes: vec![change.clone()] };
        self.alone(LaneId(0), only, index, before, None);
    }

    fn within(
        &mut self,
        lane: LaneId,
        open: Open,
        index: u64,
        before: Option<u64>,
        barrier: bool,
        ruled: Option<Ruled>,
    ) {
        let (serial, whole) = self.last;
        let spread = Spread { serial, whole, index, barrier, ruled };
        let behind = index - before.unwrap_or(index);
        self.blocks.push(Block { behind, spread, ..open.block(lane, self.format) });
    }

    /// The last parts, one for each lane, with the positions of the block.
    fn end(mut self, block: Block, serial: u64, index: u64) -> Vec<Block> {
        let spread = Spread { serial, whole: index, index, barrier: false, ruled: None };
        let place = |part: Block, progress: Option<Position>, checkpoint: Option<Position>| Block {
            progress,
            checkpoint,
            behind: block.behind,
            spread: spread.clone(),
            ..part
        };
        for (lane, open) in (0_u32..).zip(std::mem::take(&mut self.open)) {
            let part = open.block(LaneId(lane), self.format);
            self.blocks.push(place(part, block.progress.clone(), block.checkpoint.clone()));
        }
        self.blocks
    }
}

/// Shares what a block holds of the memory budget among its parts, by their bytes.
pub fn share(memory: Option<OwnedSemaphorePermit>, parts: &[Block]) -> Vec<Option<OwnedSemaphorePermit>> {
    let mut shares: Vec<Option<OwnedSemaphorePermit>> = parts.iter().map(|_| None).collect();
    let Some(mut memory) = memory else { return shares };
    let (units, bytes) = (memory.num_permits() as u64, parts.iter().map(Block::bytes).sum::<u64>().max(1));
    let Some((largest, _)) = parts.iter().enumerate().max_by_key(|(_, part)| part.bytes()) else { return shares };
    for (at, part) in parts.iter().enumerate().filter(|(at, _)| *at != largest) {
        let wanted = usize::try_from(units * part.bytes() / bytes).unwrap_or(0);
        shares[at] = if wanted > 0 { memory.split(wanted) } else { None };
    }
    shares[largest] = Some(memory);
    shares
}

#[cfg(test)]
mod tests;
