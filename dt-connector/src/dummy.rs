//! `sink_type=dummy`: a target that takes every row and keeps none, to see how fast a source can be read.

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::config::Events;
use dt_common::position::PositionWrite;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result, TableId};

use crate::batch::{Batch, RowFormat};
use crate::sink::{Applying, Sinker, Target};
use crate::spread::Spreader;
use crate::standing::Held;

/// Takes everything, keeps nothing.
#[derive(Debug, Default)]
pub struct DummyTarget;

#[async_trait]
impl Target for DummyTarget {
    fn identity(&self) -> &str {
        "dummy"
    }

    fn describe(&self) -> String {
        "nothing (sink_type=dummy: rows are read and thrown away)".to_owned()
    }

    fn formats(&self) -> &[RowFormat] {
        &[RowFormat::MysqlText, RowFormat::PgBinary, RowFormat::PgText, RowFormat::Bson]
    }

    async fn take_back(&mut self, _table: &RoutedTable, _rows: u64, _position: &PositionWrite) -> Result<()> {
        Err(Error::fatal("rows were to be taken back from a target that keeps none"))
    }

    async fn prepare(&mut self, tables: &[Arc<RoutedTable>], offered: &[RowFormat]) -> Result<Vec<RowFormat>> {
        // The last serves any table; a better one may need the binary form of every column.
        let best =
            |table: &Arc<RoutedTable>| match table.source.columns.iter().all(|column| column.binary_form.is_some()) {
                true => offered[0],
                false => offered[offered.len() - 1],
            };
        Ok(tables.iter().map(best).collect())
    }

    async fn check_changes(&mut self, _tables: &[TableId], _events: Events, _truncates: bool) -> Result<()> {
        Ok(())
    }

    async fn spreader(&mut self) -> Result<Option<Box<dyn Spreader>>> {
        Ok(None)
    }

    async fn holds_rows(&mut self, tables: &[TableId]) -> Result<Vec<Held>> {
        Ok(vec![Held::Nothing; tables.len()])
    }

    fn sinker(&self) -> Box<dyn Sinker> {
        Box::new(DummySinker)
    }
}

#[derive(Debug)]
struct DummySinker;

#[async_trait]
impl Sinker for DummySinker {
    async fn apply(&mut self, batch: Batch) -> Applying {
        Ok(batch.committed())
    }

    fn take_replaced_rows(&mut self) -> u64 {
        0
    }
}
