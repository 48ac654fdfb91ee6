//! What is looked at now and then while a stream runs: how much of the log the slot keeps, and whether tables have been
//! made since that pass the filter and are not published.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use dt_common::{Result, TableId};

use super::ask::{self, Question};
use super::lsn::Lsn;
use super::resume::Slot;
use crate::connect::{Conn, Server};
use crate::sql;

/// How often it is looked at.
pub const INTERVAL: Duration = Duration::from_secs(15);

/// How often the slot's state is told.
const SLOT_INTERVAL: Duration = Duration::from_secs(60);

/// When it was looked at, and what was said.
#[derive(Debug)]
pub struct Watch {
    looked_at: Instant,
    told_at: Instant,
    // Tables that were named.
    named: HashSet<TableId>,
}

impl Watch {
    /// Begins now: what there was at the start has been looked at then.
    pub fn from_now() -> Self {
        let now = Instant::now();
        Watch { looked_at: now, told_at: now, named: HashSet::new() }
    }

    /// Whether it is time to look.
    pub fn is_due(&self) -> bool {
        self.looked_at.elapsed() >= INTERVAL
    }

    /// Looks, and tells what there is to tell in the log. All before `checkpoint` has been read.
    ///
    /// # Errors
    /// Those of the connection.
    pub async fn look(&mut self, conn: &Conn, server: &Server, question: Question<'_>, checkpoint: Lsn) -> Result<()> {
        self.looked_at = Instant::now();
        for table in ask::unpublished(conn, server, question).await? {
            if !self.named.contains(&table) {
                tracing::warn!("{}", unpublished(&table, question.publication));
                self.named.insert(table);
            }
        }
        if self.told_at.elapsed() >= SLOT_INTERVAL {
            self.told_at = Instant::now();
            let slot = ask::slot(conn, server, question.slot).await?;
            let (_, wal_end) = ask::clock(conn).await?;
            if let Some(slot) = slot {
                let line = told(&slot, question.slot, wal_end, checkpoint);
                match slot.wal_status.as_str() {
                    "unreserved" => tracing::warn!("the source is about to give up the slot: {line}"),
                    _ => tracing::info!("{line}"),
                }
            }
        }
        Ok(())
    }
}

/// What is said of a table that nothing is sent of.
fn unpublished(table: &TableId, publication: &str) -> String {
    let publication = sql::name(publication);
    format!(
        "{table} passes the filter and is not in the publication {publication}: its changes are not sent, and the next start refuses to go on without it. ALTER PUBLICATION {publication} ADD TABLE {}, then copy it with a snapshot, for its changes up to then are never sent; or leave it out with [filter] ignore_tbs",
        sql::table(table)
    )
}

/// How much the slot keeps.
fn told(slot: &Slot, name: &str, wal_end: Lsn, checkpoint: Lsn) -> String {
    let retained = slot.restart.map_or(0, |restart| wal_end.bytes_since(restart));
    let unread = wal_end.bytes_since(checkpoint);
    let room = slot.safe_wal_size.map_or_else(String::new, |bytes| {
        format!(", {bytes} bytes more may be written before it can be lost (max_slot_wal_keep_size)")
    });
    format!("slot {name} keeps {retained} bytes of the source's log, {unread} bytes to read{room}")
}

#[cfg(test)]
mod tests {
    use super::super::resume::facts::samples::server;
    use super::*;

    #[test]
    fn a_table_that_is_not_sent_is_named_with_the_statement_that_sends_it() {
        let said = unpublished(&TableId::new("public", "New One"), "My Pub");
        assert!(said.contains("ALTER PUBLICATION \"My Pub\" ADD TABLE \"public\".\"New One\""), "{said}");
    }

    #[test]
    fn a_slot_is_told_by_what_it_keeps_and_how_much_room_there_is() {
        let mut slot = server().slot.expect("is there");
        let said = told(&slot, "dt_1", Lsn(0x2000), Lsn(0x1800));
        assert_eq!(said, "slot dt_1 keeps 4352 bytes of the source's log, 2048 bytes to read");
        slot.safe_wal_size = Some(7);
        assert!(
            told(&slot, "dt_1", Lsn(0x2000), Lsn(0x1800))
                .ends_with("7 bytes more may be written before it can be lost (max_slot_wal_keep_size)")
        );
    }
}
