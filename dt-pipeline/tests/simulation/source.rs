//! The model source: lanes of numbered rows, and where each of them can be resumed.

use std::sync::Arc;

use bytes::Bytes;
use dt_common::position::{self, Lineage, Position};
use dt_common::schema::{RoutedTable, TableSchema};
use dt_common::{DbType, LaneId, TableId};
use dt_connector::{Block, BlockContents, Change, Op, RowFormat};
use dt_pipeline::Order;

use crate::chance::Chance;
use crate::spread;

/// A row by its lane and its number in it, counted from 1.
pub type Row = (u32, u64);

/// What there is to be copied. Never changes, whatever crashes.
pub struct Source {
    pub order: Order,
    pub lanes: Vec<Lane>,
    /// Of a snapshot: so many lanes, the first ones, are the chunks of one table.
    pub grouped: u32,
    /// Positions are committed together with rows.
    pub inscribed: bool,
    /// One stream, spread over several lanes ([`crate::spread`]).
    pub spread: bool,
}

pub struct Lane {
    pub id: u32,
    pub rows: u64,
    /// A lane without a key has no progress to resume by: it begins from its first row.
    pub keyed: bool,
    /// Of CDC: a transaction ends after each of these rows, and after the last one.
    pub commits: Vec<u64>,
    /// Of CDC: these rows are DDL.
    pub ddls: Vec<u64>,
    pub table: Arc<RoutedTable>,
}

impl Source {
    pub fn random(order: Order, chance: &mut Chance) -> Self {
        let spread = order == Order::PerLane && chance.one_in(2);
        let count = if spread { 1 } else { chance.between(1, 4) as u32 };
        let lanes = (0..count).map(|id| {
            let rows = if chance.one_in(6) { 0 } else { chance.between(1, if spread { 50 } else { 40 }) };
            let keyed = order == Order::PerLane || !chance.one_in(4);
            let ddls: Vec<u64> = (1..=rows).filter(|_| order == Order::PerLane && chance.one_in(15)).collect();
            // DDL is a transaction by itself.
            let ends = |row: &u64| ddls.contains(row) || ddls.contains(&(row + 1));
            let commits = (1..=rows).filter(|row| *row == rows || ends(row) || chance.one_in(4)).collect();
            Lane { id, rows, keyed, commits, ddls, table: table(id) }
        });
        let lanes: Vec<Lane> = lanes.collect();
        let grouped = match order {
            Order::Any => chance.between(0, lanes.len() as u64) as u32,
            Order::PerLane => 0,
        };
        Source { order, lanes, grouped, inscribed: chance.one_in(2), spread }
    }

    /// What is recorded of the group when it begins.
    pub fn split(&self) -> Position {
        Position::RdbSnapshotSplit(position::RdbSnapshotSplit {
            db_type: DbType::Mysql,
            table: TableId::new("db", "group"),
            bounds: Vec::new(),
            lineage: Lineage::default(),
        })
    }

    /// What is recorded of the group when it is finished.
    pub fn group_finished(&self) -> Position {
        finished(TableId::new("db", "group"))
    }

    pub fn lane(&self, id: u32) -> &Lane {
        &self.lanes[id as usize]
    }
}

impl Lane {
    /// Rows `first..=last`, with the positions that a real extractor would send. `begins_after` is where the stream begins,
    /// which its first block says.
    pub fn block(&self, source: &Source, first: u64, last: u64, begins_after: Option<u64>) -> Block {
        let data: Vec<u8> =
            (first..=last).flat_map(|row| [u64::from(self.id), row].map(u64::to_be_bytes).concat()).collect();
        let commit = self.commit_at_or_before(last).unwrap_or(0);
        let (checkpoint, behind) = match source.order {
            Order::Any => (None, 0),
            Order::PerLane => (Some(commit).filter(|&commit| commit >= first).or(begins_after), last - commit),
        };
        let (contents, data) = match self.ddls.contains(&first) {
            _ if source.spread => spread::changes(source, first, last),
            true => {
                let op = Op::Ddl { command: 0..data.len() };
                (BlockContents::Changes(vec![Change { table: self.table.clone(), op }]), Bytes::from(data))
            }
            false => (BlockContents::Rows(self.table.clone()), Bytes::from(data)),
        };
        Block {
            lane: LaneId(self.id),
            contents,
            format: RowFormat::MysqlText,
            data,
            rows: last - first + 1,
            // Where positions are committed with rows, rows without a key are counted.
            progress: (self.keyed || source.inscribed).then(|| at(self.id, last)),
            checkpoint: checkpoint.map(|row| at(self.id, row)),
            behind,
            spread: dt_connector::Spread::default(),
        }
    }

    /// The last row that may go in one block with `first`, up to `last`: DDL goes alone.
    pub fn last_of_block(&self, first: u64, last: u64) -> u64 {
        let next_ddl = self.ddls.iter().copied().find(|&ddl| ddl > first);
        let before_ddl = next_ddl.map_or(last, |ddl| last.min(ddl - 1));
        if self.ddls.contains(&first) { first } else { before_ddl }
    }

    pub fn commit_at_or_before(&self, row: u64) -> Option<u64> {
        self.commits.iter().copied().filter(|&commit| commit <= row).max()
    }

    pub fn finished(&self) -> Position {
        finished(self.table.source.id.clone())
    }
}

fn finished(table: TableId) -> Position {
    Position::RdbSnapshotFinished(position::RdbSnapshotFinished {
        db_type: DbType::Mysql,
        table,
        chunk: None,
        lineage: Lineage::default(),
    })
}

fn table(lane: u32) -> Arc<RoutedTable> {
    let id = TableId::new("db", lane.to_string());
    let source = TableSchema { id: id.clone(), columns: vec![], key: None, rows_estimate: 0 };
    Arc::new(RoutedTable { source, target: id, target_columns: vec![] })
}

/// The position after a row; the pipeline never looks inside, so any variant serves that can say what is behind it.
pub fn at(lane: u32, row: u64) -> Position {
    Position::MysqlCdc(position::MysqlCdc {
        server_id: lane.to_string(),
        binlog_filename: String::new(),
        next_event_position: row,
        gtid_set: String::new(),
        timestamp: String::new(),
        behind: None,
        lineage: Lineage::default(),
    })
}

/// The row that a position of [`at`] stands after.
pub fn row_of(position: &Position) -> Option<Row> {
    match position {
        Position::MysqlCdc(at) => Some((at.server_id.parse().ok()?, at.next_event_position)),
        Position::None
        | Position::RdbSnapshot(_)
        | Position::RdbSnapshotRows(_)
        | Position::RdbSnapshotFinished(_)
        | Position::RdbSnapshotSplit(_)
        | Position::Redis(_)
        | Position::PgCdc(_)
        | Position::MongoCdc(_) => None,
    }
}

/// The rows written down by [`Lane::block`].
pub fn rows_of<'a>(chunks: impl Iterator<Item = &'a Bytes>) -> Vec<Row> {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    chunks.flat_map(|chunk| chunk.chunks_exact(16).map(|row| (number(&row[..8]) as u32, number(&row[8..])))).collect()
}
