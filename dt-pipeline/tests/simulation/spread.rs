//! One stream that several lanes apply: what its changes are, what survives of it, and the checks.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use dt_common::ladder::{Entry, Rung};
use dt_common::position::{Behind, Share};
use dt_common::schema::{RoutedTable, TableSchema};
use dt_common::{LaneId, TableId};
use dt_connector::outlet::Delivery;
use dt_connector::{Batch, Block, BlockContents, Change, Event, Op, RowFormat, Rule, Spread};
use dt_pipeline::split::{Lanes, Splitter, Told, share};
use tokio::sync::OwnedSemaphorePermit;

use crate::durable::{Checked, ensure};
use crate::life::{Circumstances, Sabotage};
use crate::source::{Source, at, row_of};

/// Few keys, so that order within a key matters.
const KEYS: u64 = 5;

/// What the change with this number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An upsert of a key.
    Keyed(u64),
    /// The row of one key takes another.
    Moved(u64, u64),
    /// A row of a table without a key.
    Keyless,
    Ddl,
}

fn kind_of(source: &Source, row: u64) -> Kind {
    let key = row * 7 % KEYS;
    match () {
        () if source.lane(0).ddls.contains(&row) => Kind::Ddl,
        () if row % 11 == 3 => Kind::Moved(key, (key + 1) % KEYS),
        () if row % 4 == 2 => Kind::Keyless,
        () => Kind::Keyed(key),
    }
}

fn table(name: &str) -> Arc<RoutedTable> {
    let id = TableId::new("db", name);
    let source = TableSchema { id: id.clone(), columns: vec![], key: None, rows_estimate: 0 };
    Arc::new(RoutedTable { source, target: id, target_columns: vec![] })
}

/// A block of changes without positions.
pub fn changes(source: &Source, first: u64, last: u64) -> (BlockContents, Bytes) {
    let (keyed, keyless) = (table("keyed"), table("keyless"));
    let (mut data, mut changes) = (Vec::new(), Vec::new());
    for number in first..=last {
        let mut row = |key: u64| {
            let start = data.len();
            data.extend_from_slice(format!("{key}\t{number}\n").as_bytes());
            start..data.len()
        };
        let (table, op) = match kind_of(source, number) {
            Kind::Keyed(key) => (&keyed, Op::Insert { after: row(key) }),
            Kind::Moved(before, after) => (&keyed, Op::Update { before: row(before), after: row(after) }),
            Kind::Keyless => (&keyless, Op::Insert { after: row(0) }),
            Kind::Ddl => (&keyed, Op::Ddl { command: row(0) }),
        };
        changes.push(Change { table: table.clone(), op });
    }
    (BlockContents::Changes(changes), Bytes::from(data))
}

/// The numbers of a batch's changes.
pub fn numbers(batch: &Batch) -> Vec<u64> {
    let number = |(change, data): (&Change, &Bytes)| {
        let row = match &change.op {
            Op::Insert { after } | Op::Update { after, .. } => after,
            Op::Delete { before } => before,
            Op::Ddl { command } => command,
            Op::Truncate { .. } => return 0,
        };
        let text = std::str::from_utf8(&data[row.clone()]).expect("text");
        text.trim_end().rsplit('\t').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    batch.changes().map(number).collect()
}

/// The first block: where the stream begins.
pub fn start(begins_after: u64, behind: u64) -> Block {
    Block {
        lane: LaneId(0),
        contents: BlockContents::Changes(Vec::new()),
        format: RowFormat::MysqlText,
        data: Bytes::new(),
        rows: 0,
        progress: Some(at(0, begins_after + behind)),
        checkpoint: Some(at(0, begins_after)),
        behind,
        spread: Spread::default(),
    }
}

/// The parts of a block, as the stage would send them.
pub fn parts(
    splitter: &mut Splitter,
    block: Block,
    memory: Option<OwnedSemaphorePermit>,
    by_key: bool,
    gate_ignored: bool,
) -> VecDeque<Delivery> {
    for table in splitter.unknown(&block) {
        let is_spread = by_key && table.target.table == "keyed";
        splitter.learn(table, if is_spread { Rule::ByKey(vec![0]) } else { Rule::Whole });
    }
    let parts = splitter.split(block).expect("a source that counts right");
    let shares = share(memory, &parts);
    let delivery = |(mut part, memory): (Block, Option<OwnedSemaphorePermit>)| {
        part.spread.barrier &= !gate_ignored || part.is_ddl();
        Delivery { event: Event::Rows(Box::new(part)), memory }
    };
    parts.into_iter().zip(shares).map(delivery).collect()
}

/// What survives of the stream.
#[derive(Default)]
pub struct Kept {
    /// What the target has under each key.
    state: BTreeMap<u64, u64>,
    /// Where it can be resumed, and how many changes behind that are there.
    stream: Option<(u64, Behind)>,
    lanes: BTreeMap<u32, Behind>,
    rules: HashMap<TableId, Behind>,
}

/// Where a life begins.
pub struct Begin {
    /// Where it can be resumed.
    pub after: u64,
    /// So many changes behind that are not sent.
    pub there: u64,
    pub lanes: Lanes,
}

impl Kept {
    /// Makes a change durable.
    pub fn apply(&mut self, source: &Source, row: u64) {
        match kind_of(source, row) {
            Kind::Keyed(key) => drop(self.state.insert(key, row)),
            Kind::Moved(before, after) => {
                self.state.remove(&before);
                self.state.insert(after, row);
            }
            Kind::Keyless | Kind::Ddl => {}
        }
    }

    /// Makes what a transaction writes of its lane durable.
    pub fn inscribe(&mut self, entry: &Entry) {
        let behind = entry.position.behind().expect("a position of a lane").clone();
        match behind.counted.as_ref().map(|counted| counted.share.clone()) {
            Some(Share::Lane { no, .. }) => drop(self.lanes.insert(no, behind)),
            Some(Share::Table { table, .. }) => drop(self.rules.insert(table, behind)),
            Some(Share::All) | None => panic!("a lane's batch wrote {behind:?}"),
        }
    }

    /// Makes what the recorder says durable.
    pub fn save(&mut self, entry: &Entry, source: &Source) -> Checked {
        if entry.rung != Rung::Checkpoint {
            return Ok(());
        }
        let (row, behind) = row_of(&entry.position).zip(entry.position.behind()).ok_or("a stream without a count")?;
        let row = row.1;
        ensure(row == 0 || source.lane(0).commits.contains(&row), || {
            format!("checkpoint within a transaction: {row}")
        })?;
        if let Some((last, then)) = &self.stream {
            let forward = *last <= row && then.reached() <= behind.reached();
            ensure(forward, || format!("the stream went back from {last}, {then:?} to {row}, {behind:?}"))?;
        }
        self.stream = Some((row, behind.clone()));
        Ok(())
    }

    /// Where a start that wants so many lanes goes on.
    pub fn begin(&self, wanted: u32) -> Begin {
        let rows = self.lanes.values().chain(self.rules.values());
        let stream = self.stream.as_ref();
        let lanes = Lanes::resumed(stream.map(|(_, behind)| behind), rows, wanted);
        let (after, there) = stream.map_or((0, 0), |(row, behind)| (*row, behind.changes));
        Begin { after, there, lanes }
    }

    /// At the end of everything.
    pub fn check_complete(&self, source: &Source) -> Checked {
        let mut truth = Kept::default();
        for row in 1..=source.lane(0).rows {
            truth.apply(source, row);
        }
        ensure(self.state == truth.state, || format!("the target has {:?} and not {:?}", self.state, truth.state))
    }
}

/// The lanes of a life, less what is to be built in wrong.
pub fn lanes(lanes: Lanes, source: &Source, given: Circumstances) -> Lanes {
    let lanes = Lanes { counts: source.inscribed, ..lanes };
    match given.sabotage {
        Sabotage::LanesForgotten => Lanes { reached: Vec::new(), ..lanes },
        Sabotage::RulesForgotten => {
            let rule = if given.by_key { Rule::ByKey(vec![0]) } else { Rule::Whole };
            let told = |table: &str, rule| (TableId::new("db", table), Told { rule, since: 0 });
            let rules = HashMap::from([told("keyed", rule), told("keyless", Rule::Whole)]);
            Lanes { rules, counts: false, ..lanes }
        }
        _ => lanes,
    }
}

/// What was written in one life.
#[derive(Default)]
pub struct Written(BTreeSet<u64>);

impl Written {
    /// Checks, before a batch of a lane is committed, that it is its turn. `there`: what the target has.
    pub fn check(&mut self, source: &Source, rows: &[u64], there: impl Fn(u64) -> bool) -> Checked {
        for &row in rows {
            let later = self.0.range(row + 1..);
            let keys = |row: u64| match kind_of(source, row) {
                Kind::Keyed(key) => vec![key],
                Kind::Moved(before, after) => vec![before, after],
                Kind::Keyless => vec![KEYS],
                Kind::Ddl => (0..=KEYS).collect(),
            };
            let again = self.0.contains(&row);
            let overtaken = later.clone().find(|&&other| keys(other).iter().any(|key| keys(row).contains(key)));
            ensure(again || overtaken.is_none(), || format!("{row} was written after {overtaken:?}"))?;
            if matches!(kind_of(source, row), Kind::Ddl) {
                let early = later.clone().next();
                ensure(again || early.is_none(), || format!("{early:?} was written before the DDL {row}"))?;
                let missing = (1..row).find(|&before| !there(before) && !rows.contains(&before));
                ensure(missing.is_none(), || format!("DDL {row} was written before {missing:?}"))?;
            }
        }
        self.0.extend(rows);
        Ok(())
    }
}
