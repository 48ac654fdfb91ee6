//! `[extractor]`: what is read, from where, and how.

use super::change_stream::{self, MongoCdcOptions};
use super::endpoint::{self, Endpoint};
use super::keys::{Key, Section, keys};
use super::pipeline::PipelineConfig;
use super::reader::{Choice, Reader, Task};
use super::replication::{self, PgCdcOptions};
use super::stream::{self, MysqlCdcOptions};
use crate::ids::DbType;

keys! { KEYS:
    EXTRACT_TYPE = Key::required("extract_type", "`snapshot` copies what is there, `cdc` follows what \
        changes (not yet for `db_type=redis`). Known and not available yet: `struct`, `check_log`, `snapshot_and_cdc`.");
    BATCH_SIZE = Key::derived("batch_size", "`[pipeline] buffer_size` / `parallel_size`", "Rows of a \
        page; if given, about those of a chunk as well, else 100000.").on_snapshots();
    PARALLEL_SIZE = Key::value("parallel_size", "1", "Tables, or chunks of tables, that are read at the same \
        time.").on_snapshots();
    PARALLEL_TYPE = Key::value("parallel_type", "table", "What is read in parallel: `table`, or `chunk`: a table of \
        more rows than a chunk is cut by its key, into 1000 chunks at most (see `batch_size`).").on_snapshots();
    PARTITION_COLS = Key::unset("partition_cols", "Columns by which tables are cut into chunks.").not_yet();
    MAX_RPS = Key::value("max_rps", "0", "Rows read per second, at most; 0 is no limit.");
    MAX_MBPS = Key::value("max_mbps", "0", "Megabytes read per second, at most; 0 is no limit.");
}

keys! { MONGO_KEYS:
    APP_NAME = Key::value("app_name", "APE_DTS", "The name under which the server lists the \
        connections.").only(DbType::Mongo);
    IS_DIRECT_CONNECTION = Key::unset("is_direct_connection", "`true` speaks to the named member only, `false` looks \
        for the whole set; unset: what `url` says.").only(DbType::Mongo);
}

keys! { REDIS_KEYS:
    IS_CLUSTER = Key::unset("is_cluster", "Whether the source is a cluster.").only(DbType::Redis);
    SCAN_COUNT = Key::unset("scan_count", "Keys asked for at once when keys are scanned.").only(DbType::Redis);
    FILE_PATH = Key::unset("file_path", "An RDB file to read.").only(DbType::Redis);
}

pub(super) const SECTION: Section = Section {
    name: "extractor",
    groups: &[
        endpoint::KEYS,
        KEYS,
        MONGO_KEYS,
        REDIS_KEYS,
        stream::KEYS,
        stream::MYSQL_KEYS,
        replication::PG_KEYS,
        change_stream::MONGO_KEYS,
        stream::REDIS_KEYS,
    ],
};

/// The rows of a chunk where `batch_size` is not given.
const CHUNK_ROWS: u64 = 100_000;

/// What is read, from where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtractorConfig {
    /// The source.
    pub endpoint: Endpoint,
    /// What is read.
    pub extract_type: ExtractType,
    /// Rows of a page, if the user chose; see [`ExtractorConfig::page_rows`].
    pub batch_size: Option<u64>,
    /// Tables, or chunks, read at the same time; at least 1.
    pub parallel_size: usize,
    /// What is read in parallel.
    pub parallel_type: ExtractParallelType,
    /// Rows per second, at most; `None` is no limit.
    pub max_rps: Option<u64>,
    /// Megabytes per second, at most; `None` is no limit.
    pub max_mbps: Option<u64>,
    /// What is for MongoDB only; `None` with another source.
    pub mongo: Option<MongoOptions>,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtractType {
    /// What is there.
    Snapshot,
    /// What changes in MySQL or MariaDB.
    MysqlCdc(Box<MysqlCdcOptions>),
    /// What changes in PostgreSQL.
    PgCdc(Box<PgCdcOptions>),
    /// What changes in MongoDB.
    MongoCdc(Box<MongoCdcOptions>),
}

#[derive(Clone, Copy)]
enum ExtractWord {
    Snapshot,
    Cdc,
}

/// What is read in parallel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtractParallelType {
    /// Whole tables.
    Table,
    /// Chunks of tables, cut by the table's key.
    Chunk,
}

/// What is for MongoDB only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MongoOptions {
    /// The name under which the server lists the connections.
    pub app_name: String,
    /// Whether the named member only is spoken to; `None` leaves it to the URL.
    pub is_direct_connection: Option<bool>,
}

impl ExtractorConfig {
    /// Rows of a page: `batch_size`, or an equal share of the pipeline's buffer for each table that is read at the
    /// same time; at least 1.
    pub fn page_rows(&self, pipeline: &PipelineConfig) -> u64 {
        self.batch_size.unwrap_or_else(|| (pipeline.buffer_size / self.parallel_size.max(1) as u64).max(1))
    }

    /// About how many rows a chunk has, unless that would be too many chunks: `batch_size`, or as many as make the time it
    /// takes to begin a chunk count for little.
    pub fn chunk_rows(&self) -> u64 {
        self.batch_size.unwrap_or(CHUNK_ROWS)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let endpoints = match reader.task() {
            Task::Snapshot => Endpoint::read(reader).map(|endpoint| (endpoint, Vec::new())),
            Task::Stream => Endpoint::read_all(reader),
        };
        let word = reader.choice(
            &EXTRACT_TYPE,
            &[
                ("snapshot", Choice::Is(ExtractWord::Snapshot)),
                ("cdc", Choice::Is(ExtractWord::Cdc)),
                ("struct", Choice::NotYet),
                ("check_log", Choice::NotYet),
                ("snapshot_and_cdc", Choice::NotYet),
            ],
        );
        let batch_size = reader.number(&BATCH_SIZE, 1..=u64::MAX);
        let parallel_size = reader.count(&PARALLEL_SIZE, 1..=10_000);
        let parallel_type = reader
            .choice(
                &PARALLEL_TYPE,
                &[("table", Choice::Is(ExtractParallelType::Table)), ("chunk", Choice::Is(ExtractParallelType::Chunk))],
            )
            .expect("config: parallel_type has a default");
        let max_rps = reader.limit(&MAX_RPS);
        let max_mbps = reader.limit(&MAX_MBPS);
        let (endpoint, others) = endpoints?;
        let db_type = endpoint.db_type;
        let extract_type = match word? {
            ExtractWord::Snapshot => {
                reader.sort_out_keys_of_others(db_type, Task::Snapshot);
                ExtractType::Snapshot
            }
            ExtractWord::Cdc => match db_type {
                DbType::Mysql => {
                    reader.sort_out_keys_of_others(db_type, Task::Stream);
                    ExtractType::MysqlCdc(Box::new(MysqlCdcOptions::read(reader, others)))
                }
                DbType::Pg => {
                    reader.sort_out_keys_of_others(db_type, Task::Stream);
                    ExtractType::PgCdc(Box::new(PgCdcOptions::read(reader)?))
                }
                DbType::Mongo => {
                    reader.sort_out_keys_of_others(db_type, Task::Stream);
                    ExtractType::MongoCdc(Box::new(MongoCdcOptions::read(reader)))
                }
                DbType::Redis => {
                    let what =
                        format!("`extract_type=cdc` of [extractor] is not available yet for `db_type={db_type}`");
                    reader.problem(&EXTRACT_TYPE, what);
                    return None;
                }
            },
        };
        let mongo = match db_type {
            DbType::Mongo => Some(MongoOptions {
                app_name: reader.text(&APP_NAME).expect("config: app_name has a default").to_owned(),
                is_direct_connection: reader.flag(&IS_DIRECT_CONNECTION),
            }),
            DbType::Mysql | DbType::Pg | DbType::Redis => None,
        };
        Some(ExtractorConfig {
            endpoint,
            extract_type,
            batch_size,
            parallel_size,
            parallel_type,
            max_rps,
            max_mbps,
            mongo,
        })
    }
}
