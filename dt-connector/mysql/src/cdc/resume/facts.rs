//! What a source says of its binlog, asked before the start.

use std::fmt;

use crate::cdc::gtid::GtidSet;
use crate::connect::Flavor;

/// What a source says of itself and its binlog. Values of variables are the server's own text, in any case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// MySQL or MariaDB.
    pub flavor: Flavor,
    /// The server's own identity, as in a position's lineage.
    pub identity: String,
    /// `@@server_id`.
    pub server_id: u32,
    /// `@@log_bin`.
    pub log_bin: bool,
    /// `@@GLOBAL.binlog_format`.
    pub binlog_format: String,
    /// `@@GLOBAL.binlog_row_image`.
    pub binlog_row_image: String,
    /// `@@GLOBAL.binlog_row_metadata`; `None` where the server is too old to have it.
    pub binlog_row_metadata: Option<String>,
    /// `@@GLOBAL.binlog_checksum`.
    pub binlog_checksum: String,
    /// After how many seconds a file may be purged; `None` where files are not purged by age.
    pub binlog_expire_secs: Option<u64>,
    /// `Binlog_Do_DB` of the binlog's status: if not empty, only changes of these databases are logged.
    pub binlog_do_db: Vec<String>,
    /// `Binlog_Ignore_DB` of the binlog's status: changes of these databases are not logged.
    pub binlog_ignore_db: Vec<String>,
    /// `SHOW BINARY LOGS`, in its order: oldest first. Empty with `log_bin=OFF`.
    pub files: Vec<BinlogFile>,
    /// Where the next event will be written; `None` with `log_bin=OFF`.
    pub end: Option<Place>,
    /// What it says of GTIDs.
    pub gtids: Gtids,
}

impl ServerFacts {
    /// Whether every transaction has a GTID, so that a set can say what is done.
    pub fn gtids_are_kept(&self) -> bool {
        match self.flavor {
            Flavor::Mysql => ["ON", "ON_PERMISSIVE"].iter().any(|mode| mode.eq_ignore_ascii_case(&self.gtids.mode)),
            Flavor::Mariadb => true,
        }
    }
}

/// What a source says of GTIDs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gtids {
    /// MySQL: `@@GLOBAL.gtid_mode`. MariaDB always has GTIDs: empty.
    pub mode: String,
    /// What is in its binlog up to [`ServerFacts::end`], or was: MySQL `Executed_Gtid_Set` of the very answer that gave
    /// the end, MariaDB `BINLOG_GTID_POS(file, position)` of the end. Asked at another moment than the end it would
    /// claim transactions that the stream has yet to read.
    pub executed: GtidSet,
    /// What is not in its binlog any more: MySQL `@@GLOBAL.gtid_purged`, MariaDB the list at the head of its oldest
    /// file, `BINLOG_GTID_POS(file, 4)` (null if that file has been purged since it was listed: ask again).
    pub purged: GtidSet,
}

/// A binlog file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BinlogFile {
    /// `mysql-bin.000004`
    pub name: String,
    /// Bytes written.
    pub size: u64,
}

/// A place in a server's binlog, between two events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The offset of the next event.
    pub position: u64,
}

/// `mysql-bin.000004:154`
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.position)
    }
}

/// Servers as tests meet them.
#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// The server's own UUID, and the origin of its transactions.
    pub const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn server(flavor: Flavor, mode: &str, executed: &str, purged: &str) -> ServerFacts {
        let set = |text: &str| GtidSet::parse(flavor, text).expect("is a set");
        ServerFacts {
            flavor,
            identity: UUID.into(),
            server_id: 1,
            log_bin: true,
            binlog_format: "ROW".into(),
            binlog_row_image: "FULL".into(),
            binlog_row_metadata: Some("FULL".into()),
            binlog_checksum: "CRC32".into(),
            binlog_expire_secs: Some(2_592_000),
            binlog_do_db: Vec::new(),
            binlog_ignore_db: Vec::new(),
            files: [(9, 500), (10, 5_000_000_000)]
                .map(|(number, size)| BinlogFile { name: format!("b.{number:06}"), size })
                .to_vec(),
            end: Some(Place { file: "b.000010".into(), position: 5_000_000_000 }),
            gtids: Gtids { mode: mode.into(), executed: set(executed), purged: set(purged) },
        }
    }

    /// Transactions 1 to 10 are purged, 11 to 100 are there.
    pub fn mysql() -> ServerFacts {
        server(Flavor::Mysql, "ON", &format!("{UUID}:1-100"), &format!("{UUID}:1-10"))
    }

    /// The same in domain 0; domain 1 has its first 7 transactions.
    pub fn mariadb() -> ServerFacts {
        server(Flavor::Mariadb, "", "0-1-100,1-1-7", "0-1-10")
    }
}
