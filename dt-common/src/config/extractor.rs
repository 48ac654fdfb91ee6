//! `[extractor]`: what is read, from where, and how.

use super::endpoint::{self, Endpoint};
use super::keys::{Key, NOT_ON_A_SNAPSHOT, Section, keys};
use super::pipeline::PipelineConfig;
use super::reader::{Choice, Reader};
use crate::ids::DbType;

keys! { KEYS:
    EXTRACT_TYPE = Key::required("extract_type", "`snapshot` copies what is there. Known and not available yet: \
        `cdc`, `struct`, `check_log`, `snapshot_and_cdc`.");
    BATCH_SIZE = Key::derived("batch_size", "`[pipeline] buffer_size` / `parallel_size`", "Rows of a page.");
    PARALLEL_SIZE = Key::value("parallel_size", "1", "Tables that are read at the same time.");
    PARALLEL_TYPE = Key::value("parallel_type", "table", "What is read in parallel: `table`. Known and not available \
        yet: `chunk`.");
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

keys! { CDC_KEYS:
    HEARTBEAT_INTERVAL_SECS = Key::unset("heartbeat_interval_secs", "How often a heartbeat row is \
        written.").idle(NOT_ON_A_SNAPSHOT);
    HEARTBEAT_TB = Key::unset("heartbeat_tb", "The table of the heartbeat row.").idle(NOT_ON_A_SNAPSHOT);
    KEEPALIVE_INTERVAL_SECS = Key::unset("keepalive_interval_secs", "How often the source is told that we are \
        alive.").idle(NOT_ON_A_SNAPSHOT);
    START_TIME_UTC = Key::unset("start_time_utc", "Where in time a change stream begins.").idle(NOT_ON_A_SNAPSHOT);
    END_TIME_UTC = Key::unset("end_time_utc", "Where in time a change stream ends.").idle(NOT_ON_A_SNAPSHOT);
    BINLOG_FILENAME = Key::unset("binlog_filename", "MySQL: the binlog file a change stream begins \
        in.").idle(NOT_ON_A_SNAPSHOT);
    BINLOG_POSITION = Key::unset("binlog_position", "MySQL: the place in that file.").idle(NOT_ON_A_SNAPSHOT);
    SERVER_ID = Key::unset("server_id", "MySQL: the id that a change stream replicates under.").idle(NOT_ON_A_SNAPSHOT);
    GTID_ENABLED = Key::unset("gtid_enabled", "MySQL: whether a change stream follows GTIDs.").idle(NOT_ON_A_SNAPSHOT);
    GTID_SET = Key::unset("gtid_set", "MySQL: the GTIDs that are done.").idle(NOT_ON_A_SNAPSHOT);
    BINLOG_HEARTBEAT_INTERVAL_SECS = Key::unset("binlog_heartbeat_interval_secs", "MySQL: how often an idle server \
        sends a sign of life.").idle(NOT_ON_A_SNAPSHOT);
    BINLOG_TIMEOUT_SECS = Key::unset("binlog_timeout_secs", "MySQL: how long a silent connection is believed \
        alive.").idle(NOT_ON_A_SNAPSHOT);
    SLOT_NAME = Key::unset("slot_name", "PostgreSQL: the replication slot.").idle(NOT_ON_A_SNAPSHOT);
    PUB_NAME = Key::unset("pub_name", "PostgreSQL: the publication.").idle(NOT_ON_A_SNAPSHOT);
    START_LSN = Key::unset("start_lsn", "PostgreSQL: where a change stream begins.").idle(NOT_ON_A_SNAPSHOT);
    RECREATE_SLOT_IF_EXISTS = Key::unset("recreate_slot_if_exists", "PostgreSQL: whether the slot is made \
        anew.").idle(NOT_ON_A_SNAPSHOT);
    DDL_META_TB = Key::unset("ddl_meta_tb", "PostgreSQL: the table that DDL is captured in.").idle(NOT_ON_A_SNAPSHOT);
    SOURCE = Key::unset("source", "MongoDB: `change_stream` or `op_log`.").idle(NOT_ON_A_SNAPSHOT);
    RESUME_TOKEN = Key::unset("resume_token", "MongoDB: where a change stream begins.").idle(NOT_ON_A_SNAPSHOT);
    START_TIMESTAMP = Key::unset("start_timestamp", "MongoDB: where in the oplog a change stream \
        begins.").idle(NOT_ON_A_SNAPSHOT);
    REPL_PORT = Key::unset("repl_port", "Redis: the port that is announced to the source.").idle(NOT_ON_A_SNAPSHOT);
    REPL_ID = Key::unset("repl_id", "Redis: the replication to follow.").idle(NOT_ON_A_SNAPSHOT);
    REPL_OFFSET = Key::unset("repl_offset", "Redis: the place in it.").idle(NOT_ON_A_SNAPSHOT);
    NOW_DB_ID = Key::unset("now_db_id", "Redis: the database at that place.").idle(NOT_ON_A_SNAPSHOT);
    HEARTBEAT_KEY = Key::unset("heartbeat_key", "Redis: the key of the heartbeat.").idle(NOT_ON_A_SNAPSHOT);
}

pub(super) const SECTION: Section =
    Section { name: "extractor", groups: &[endpoint::KEYS, KEYS, MONGO_KEYS, REDIS_KEYS, CDC_KEYS] };

/// What is read, from where, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtractorConfig {
    /// The source.
    pub endpoint: Endpoint,
    /// What is read.
    pub extract_type: ExtractType,
    /// Rows of a page, if the user chose; see [`ExtractorConfig::page_rows`].
    pub batch_size: Option<u64>,
    /// Tables read at the same time; at least 1.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtractType {
    /// What is there.
    Snapshot,
}

/// What is read in parallel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtractParallelType {
    /// Whole tables.
    Table,
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

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let endpoint = Endpoint::read(reader);
        let extract_type = reader.choice(
            &EXTRACT_TYPE,
            &[
                ("snapshot", Choice::Is(ExtractType::Snapshot)),
                ("cdc", Choice::NotYet),
                ("struct", Choice::NotYet),
                ("check_log", Choice::NotYet),
                ("snapshot_and_cdc", Choice::NotYet),
            ],
        );
        let batch_size = reader.number(&BATCH_SIZE, 1..=u64::MAX);
        let parallel_size = reader.count(&PARALLEL_SIZE, 1..=10_000);
        let parallel_type = reader
            .choice(&PARALLEL_TYPE, &[("table", Choice::Is(ExtractParallelType::Table)), ("chunk", Choice::NotYet)])
            .expect("config: parallel_type has a default");
        let max_rps = reader.limit(&MAX_RPS);
        let max_mbps = reader.limit(&MAX_MBPS);
        let endpoint = endpoint?;
        reader.refuse_keys_of_others(endpoint.db_type);
        let mongo = match endpoint.db_type {
            DbType::Mongo => Some(MongoOptions {
                app_name: reader.text(&APP_NAME).expect("config: app_name has a default").to_owned(),
                is_direct_connection: reader.flag(&IS_DIRECT_CONNECTION),
            }),
            DbType::Mysql | DbType::Pg | DbType::Redis => None,
        };
        let extract_type = extract_type?;
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
