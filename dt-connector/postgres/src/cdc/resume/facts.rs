//! What a source says of its log, its slot and its publication, asked before the start.

use dt_common::TableId;

use crate::cdc::lsn::Lsn;

/// What a source says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// The server's own identity, as in a position's lineage.
    pub identity: String,
    /// 150018 for 15.18.
    pub version_number: u32,
    /// The database.
    pub database: String,
    /// Its timeline.
    pub timeline: u32,
    /// Whether it is a standby.
    pub is_in_recovery: bool,
    /// `wal_level`
    pub wal_level: String,
    /// `max_replication_slots`
    pub slots_max: u64,
    /// Slots that there are.
    pub slots: u64,
    /// The end of its log.
    pub wal_end: Lsn,
    /// Its clock, in whole seconds since 1970.
    pub clock: u64,
    /// Its last checkpoint; `None` if the account may not ask.
    pub checkpointed: Option<Checkpointed>,
    /// After how long a silent replica is given up, in milliseconds; 0 never.
    pub wal_sender_timeout_ms: u64,
    /// What the account may do.
    pub role: Role,
    /// The slot of the task, if it is there.
    pub slot: Option<Slot>,
    /// The publication of the task, if it is there.
    pub publication: Option<Publication>,
    /// The tables that pass the filter, by their names; partitions stand under their root.
    pub tables: Vec<TableFacts>,
    /// Tables of the whole database whose updates the server would refuse once they are published.
    pub tables_without_identity: u64,
}

/// A place in the log whose time is known (PostgreSQL documentation, 9.28.11 Control Data Functions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpointed {
    /// Where its redo begins.
    pub redo: Lsn,
    /// When it began, in whole seconds since 1970: what lies in front of `redo` was written earlier, or just then.
    pub at: u64,
}

/// What an account may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// Its name.
    pub name: String,
    /// May do everything.
    pub is_superuser: bool,
    /// Has the attribute REPLICATION, or is a member of a role that managed servers have for it.
    pub may_replicate: bool,
    /// May create in the database, as CREATE PUBLICATION asks for.
    pub may_create: bool,
}

/// A replication slot (PostgreSQL documentation, 54.19 `pg_replication_slots`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The plugin; `None` for a physical slot.
    pub plugin: Option<String>,
    /// The database; `None` for a physical slot.
    pub database: Option<String>,
    /// The process that reads it.
    pub active_pid: Option<i32>,
    /// Everything before this place is acknowledged, and will not be sent again.
    pub confirmed_flush: Option<Lsn>,
    /// From where on the log is kept for it.
    pub restart: Option<Lsn>,
    /// `reserved`, `extended`, `unreserved`, `lost`; empty where the server is too old to say.
    pub wal_status: String,
    /// Bytes that can be written before it may be lost; `None` if it cannot be.
    pub safe_wal_size: Option<i64>,
    /// Why it was given up; empty if it was not, or the server is too old to say.
    pub invalidation_reason: String,
}

/// A publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Publication {
    /// FOR ALL TABLES.
    pub all_tables: bool,
    /// Publishes new rows.
    pub insert: bool,
    /// Publishes new values of rows.
    pub update: bool,
    /// Publishes deleted rows.
    pub delete: bool,
    /// Publishes TRUNCATE.
    pub truncate: bool,
    /// Changes of partitions come under the name of their root.
    pub via_root: bool,
}

/// A table that passes the filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFacts {
    /// Its name.
    pub id: TableId,
    /// Whether it is partitioned.
    pub is_partitioned: bool,
    /// Whether it is a partition, whose root does not pass the filter.
    pub is_partition: bool,
    /// Whether its changes are not in the log at all: an unlogged table.
    pub is_unlogged: bool,
    /// Whether the account owns it, or is a member of the role that does.
    pub is_owned: bool,
    /// The tables that hold its rows, itself or its partitions, whose rows have nothing to be identified by.
    pub without_identity: Vec<TableId>,
    /// The columns that are copied.
    pub copied: Vec<String>,
    /// How it is in the publication; `None` if it is not.
    pub published: Option<Published>,
}

/// How a table is in a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The columns that are published; `None` where all are, or the server is too old to publish fewer.
    pub columns: Option<Vec<String>>,
    /// Whether only some of its rows are.
    pub has_row_filter: bool,
}

/// Servers as tests meet them.
#[cfg(test)]
pub(in crate::cdc) mod samples {
    use super::*;

    /// A server that can be followed: slot and publication are there.
    pub fn server() -> ServerFacts {
        ServerFacts {
            identity: "7/shop".into(),
            version_number: 150_018,
            database: "shop".into(),
            timeline: 1,
            is_in_recovery: false,
            wal_level: "logical".into(),
            slots_max: 10,
            slots: 1,
            wal_end: Lsn(0x2000),
            clock: 1_728_547_258,
            checkpointed: None,
            wal_sender_timeout_ms: 60_000,
            role: Role { name: "dt".into(), is_superuser: false, may_replicate: true, may_create: true },
            slot: Some(Slot {
                plugin: Some("pgoutput".into()),
                database: Some("shop".into()),
                active_pid: None,
                confirmed_flush: Some(Lsn(0x1000)),
                restart: Some(Lsn(0xF00)),
                wal_status: "reserved".into(),
                safe_wal_size: None,
                invalidation_reason: String::new(),
            }),
            publication: Some(Publication {
                all_tables: false,
                insert: true,
                update: true,
                delete: true,
                truncate: true,
                via_root: true,
            }),
            tables: vec![table("a"), table("b")],
            tables_without_identity: 0,
        }
    }

    /// A table that is published.
    pub fn table(name: &str) -> TableFacts {
        TableFacts {
            id: TableId::new("public", name),
            is_partitioned: false,
            is_partition: false,
            is_unlogged: false,
            is_owned: true,
            without_identity: Vec::new(),
            copied: vec!["id".into(), "v".into()],
            published: Some(Published { columns: None, has_row_filter: false }),
        }
    }
}
