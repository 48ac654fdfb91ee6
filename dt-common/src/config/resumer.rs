//! `[resumer]`: whether and from where an interrupted task goes on.
//!
//! Files written for older tools say it in two ways: `resume_from_log=true`, or a `resume_config_file` (or
//! `resume_log_dir`) alone. Both resume here. What is contradictory is refused: the choice between going on and
//! starting over is never guessed.

use std::path::PathBuf;

use super::endpoint::Endpoint;
use super::keys::{Key, Section, keys};
use super::reader::{Choice, Reader};
use super::sinker::{SinkTarget, SinkerConfig};
use crate::ids::{DbType, TableId};

keys! { KEYS:
    RESUME_TYPE = Key::derived("resume_type", "`dummy`, or `from_log` if `config_file` or `log_dir` is given", "`dummy` starts from the beginning; `from_log` goes on from position.log and finished.log; `from_target` goes on from a position table in the target, which is written in the transactions of the rows themselves: exactly once; `from_db` goes on from a position table in the database that `url` names.");
    LOG_DIR = Key::derived("log_dir", "`[runtime] log_dir`", "With `from_log`: the folder of the position.log and \
        finished.log to go on from.");
    CONFIG_FILE = Key::unset("config_file", "With `from_log`: a file with positions written by hand; position.log wins \
        over it.");
    ALLOW_OTHER_SERVER = Key::value("allow_other_server", "false", "Whether positions are accepted that were recorded \
        between other servers than these, for example after a fail-over or a restore.");
    DB_TYPE = Key::unset("db_type", "With `from_db`, and required there: `mysql` (MariaDB too) or `pg`.");
    URL = Key::unset("url", "With `from_db`, and required there: where the position table is, \
        `mysql://user:password@host:port` or `postgres://…/database`.");
    USERNAME = Key::unset("username", "With `from_db`: the user name, taken literally; wins over the one in `url`.");
    PASSWORD = Key::unset("password", "With `from_db`: the password, taken literally; wins over the one in `url`.");
    SSL_MODE = Key::unset("ssl_mode", "With `from_db`: `disable`, `require`, `verify_ca` or `verify_full`; unset: what \
        `url` says.");
    SSL_CA_PATH = Key::unset("ssl_ca_path", "With `from_db`: a PEM file with the certificate authorities that are \
        trusted.");
    TABLE_FULL_NAME = Key::value("table_full_name", "apecloud_metadata.apedts_task_position", "With `from_target` and \
        `from_db`: the position table, `database.table` (MySQL), `schema.table` (PostgreSQL) or `database.collection` (MongoDB). Made if it is missing.");
    MAX_CONNECTIONS = Key::value("max_connections", "5", "With a position table: connections at the same time, at most; one is \
        enough, and one is used.");
    RESUME_FROM_LOG = Key::unset("resume_from_log", "`true` is the old form of `resume_type=from_log`; works, with a \
        note.");
    RESUME_LOG_DIR = Key::old("resume_log_dir", "resumer", "log_dir");
    RESUME_CONFIG_FILE = Key::old("resume_config_file", "resumer", "config_file");
}

/// Keys of no use but with `from_db`.
const OF_A_SERVER: [&Key; 6] = [&DB_TYPE, &URL, &USERNAME, &PASSWORD, &SSL_MODE, &SSL_CA_PATH];

/// Keys of no use but with a position table.
const OF_A_TABLE: [&Key; 2] = [&TABLE_FULL_NAME, &MAX_CONNECTIONS];

pub(super) const SECTION: Section = Section { name: "resumer", groups: &[KEYS] };

/// Whether and from where an interrupted task goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResumerConfig {
    /// Whether it goes on.
    pub kind: ResumeKind,
    /// The folder of the position files to go on from; `None` for `[runtime] log_dir` alone.
    pub log_dir: Option<PathBuf>,
    /// A file with positions written by hand, if there is one.
    pub config_file: Option<PathBuf>,
    /// Whether positions recorded between other servers are accepted.
    pub allow_other_server: bool,
}

/// Whether an interrupted task goes on, and from what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ResumeKind {
    /// It starts from the beginning.
    #[default]
    Dummy,
    /// It goes on from position.log, finished.log and the file written by hand.
    FromLog,
    /// It goes on from a position table in the target, written in the transactions of the rows.
    FromTarget(Box<PositionTable>),
    /// It goes on from a position table of any server.
    FromDb(Box<PositionTable>),
}

impl ResumeKind {
    /// The position table, if positions are in one.
    pub fn table(&self) -> Option<&PositionTable> {
        match self {
            ResumeKind::Dummy | ResumeKind::FromLog => None,
            ResumeKind::FromTarget(table) | ResumeKind::FromDb(table) => Some(table),
        }
    }
}

/// A position table, and the server that has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionTable {
    /// The server: MySQL, MariaDB, PostgreSQL, or MongoDB if it is the target.
    pub endpoint: Endpoint,
    /// The table; with MySQL and MongoDB its schema is the database.
    pub table: TableId,
}

/// The word in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Dummy,
    FromLog,
    FromTarget,
    FromDb,
}

impl ResumerConfig {
    /// `sinker` is what the task writes to, where that could be read.
    pub(super) fn read(reader: &mut Reader<'_>, sinker: Option<&SinkerConfig>) -> Self {
        let chosen = reader.choice(
            &RESUME_TYPE,
            &[
                ("dummy", Choice::Is(Word::Dummy)),
                ("from_log", Choice::Is(Word::FromLog)),
                ("from_db", Choice::Is(Word::FromDb)),
                ("from_target", Choice::Is(Word::FromTarget)),
            ],
        );
        let old = reader.flag(&RESUME_FROM_LOG).map(|on| if on { Word::FromLog } else { Word::Dummy });
        reader.note(&RESUME_FROM_LOG, "`resume_from_log=true` is the old form of `resume_type=from_log`".to_owned());
        let config = ResumerConfig {
            kind: ResumeKind::Dummy,
            log_dir: reader.text(&LOG_DIR).map(PathBuf::from),
            config_file: reader.text(&CONFIG_FILE).map(PathBuf::from),
            allow_other_server: reader.switch(&ALLOW_OTHER_SERVER),
        };
        let kind = match word(reader, chosen, old) {
            Word::Dummy => {
                without_effect(reader, &OF_A_SERVER, "resume_type=dummy");
                without_effect(reader, &OF_A_TABLE, "resume_type=dummy");
                ResumeKind::Dummy
            }
            Word::FromLog => {
                without_effect(reader, &OF_A_SERVER, "resume_type=from_log");
                without_effect(reader, &OF_A_TABLE, "resume_type=from_log");
                ResumeKind::FromLog
            }
            Word::FromTarget => {
                without_effect(reader, &[&LOG_DIR, &CONFIG_FILE], "resume_type=from_target");
                without_effect(reader, &OF_A_SERVER, "resume_type=from_target");
                let table = sinker.and_then(|sinker| PositionTable::in_target(reader, sinker));
                table.map_or(ResumeKind::Dummy, |table| ResumeKind::FromTarget(Box::new(table)))
            }
            Word::FromDb => {
                without_effect(reader, &[&LOG_DIR, &CONFIG_FILE], "resume_type=from_db");
                // What is missing has been reported: the file is refused, whatever comes out here.
                PositionTable::read(reader).map_or(ResumeKind::Dummy, |table| ResumeKind::FromDb(Box::new(table)))
            }
        };
        ResumerConfig { kind, ..config }
    }
}

impl PositionTable {
    fn in_target(reader: &mut Reader<'_>, sinker: &SinkerConfig) -> Option<Self> {
        let table = table(reader);
        let endpoint = match &sinker.target {
            SinkTarget::Write(endpoint) => (**endpoint).clone(),
            SinkTarget::Dummy => {
                reader.problem_of(&RESUME_TYPE, "keeps positions in the target, and `sink_type=dummy` has none");
                return None;
            }
        };
        match endpoint.db_type {
            DbType::Mysql | DbType::Pg | DbType::Mongo => {}
            DbType::Redis => {
                reader.problem_of(
                    &RESUME_TYPE,
                    "is not available yet for this kind of target: `from_log` and `from_db` are",
                );
                return None;
            }
        }
        Some(PositionTable { endpoint, table: table? })
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let table = table(reader);
        let endpoint = Endpoint::read(reader)?;
        match endpoint.db_type {
            DbType::Mysql | DbType::Pg => {}
            DbType::Mongo | DbType::Redis => {
                reader.problem_of(
                    &DB_TYPE,
                    "must be `mysql` or `pg`: MongoDB keeps positions only as the target (`resume_type=from_target`)",
                );
                return None;
            }
        }
        let max_connections = reader.count(&MAX_CONNECTIONS, 1..=100_000);
        Some(PositionTable { endpoint: Endpoint { max_connections, ..endpoint }, table: table? })
    }
}

fn table(reader: &mut Reader<'_>) -> Option<TableId> {
    let text = reader.text(&TABLE_FULL_NAME)?;
    let parts: Vec<&str> = text.split('.').map(unquoted).collect();
    match parts.as_slice() {
        [schema, table] if !schema.is_empty() && !table.is_empty() => Some(TableId::new(*schema, *table)),
        _ => {
            reader.problem_of(&TABLE_FULL_NAME, "must be the names of a schema and a table with a `.` between them");
            None
        }
    }
}

/// A name without the quotes of its server around it.
fn unquoted(name: &str) -> &str {
    let name = name.trim();
    let stripped = |quote: char| name.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    stripped('`').or_else(|| stripped('"')).unwrap_or(name)
}

fn without_effect(reader: &mut Reader<'_>, keys: &[&Key], with: &str) {
    for key in keys {
        reader.note(key, format!("`{}` of [resumer] has no effect with `{with}`", key.name));
    }
}

fn word(reader: &mut Reader<'_>, chosen: Option<Word>, old: Option<Word>) -> Word {
    let place = [&CONFIG_FILE, &LOG_DIR].into_iter().find(|key| reader.given(key).is_some());
    match (chosen, old, place) {
        (Some(chosen), Some(old), _) if chosen != old => {
            reader.problem_of(&RESUME_FROM_LOG, "contradicts `resume_type`: keep `resume_type` alone");
            chosen
        }
        (Some(Word::Dummy), _, Some(place)) => {
            reader.note(place, format!("`{}` of [resumer] has no effect with `resume_type=dummy`", place.name));
            Word::Dummy
        }
        (None, Some(Word::Dummy), Some(place)) => {
            let message =
                format!("contradicts `{}`: keep one, or say `resume_type=from_log` or `resume_type=dummy`", place.name);
            reader.problem_of(&RESUME_FROM_LOG, &message);
            Word::Dummy
        }
        (None, None, Some(place)) => {
            // An unknown or unavailable resume_type has been reported; only its absence means "as the files say".
            reader.note(
                place,
                format!("`{}` of [resumer] is given: the task resumes, as with `resume_type=from_log`", place.name),
            );
            Word::FromLog
        }
        (Some(kind), _, _) | (None, Some(kind), _) => kind,
        (None, None, None) => Word::Dummy,
    }
}
