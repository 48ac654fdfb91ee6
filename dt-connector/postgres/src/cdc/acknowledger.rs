//! The fourth rung: what is recorded is told to the slot.

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::ladder::{Rung, Saved};
use dt_common::{Position, Result};
use dt_connector::Acknowledger;

use super::lsn::Lsn;
use super::wire::Acknowledged;

/// Tells the slot what is recorded, so that the source may forget it.
#[derive(Debug)]
pub struct SlotAcknowledger {
    acknowledged: Arc<Acknowledged>,
}

impl SlotAcknowledger {
    /// Of the slot that is told through `acknowledged`.
    pub fn new(acknowledged: Arc<Acknowledged>) -> Self {
        SlotAcknowledger { acknowledged }
    }
}

impl Drop for SlotAcknowledger {
    fn drop(&mut self) {
        self.acknowledged.hush();
    }
}

#[async_trait]
impl Acknowledger for SlotAcknowledger {
    async fn acknowledge(&mut self, saved: Saved) -> Result<()> {
        let checkpoints = saved.entries().iter().filter(|entry| entry.rung == Rung::Checkpoint);
        let mut lsns = checkpoints.filter_map(|entry| match &entry.position {
            Position::PgCdc(cdc) => cdc.lsn.parse::<Lsn>().ok(),
            Position::None
            | Position::RdbSnapshot(_)
            | Position::RdbSnapshotFinished(_)
            | Position::RdbSnapshotRows(_)
            | Position::RdbSnapshotSplit(_)
            | Position::MysqlCdc(_)
            | Position::MongoCdc(_)
            | Position::Redis(_) => None,
        });
        if let Some(lsn) = lsns.next_back() {
            // Invariant 1: it is recorded.
            self.acknowledged.acknowledge(lsn);
            self.acknowledged.told(lsn).await;
        }
        Ok(())
    }
}
