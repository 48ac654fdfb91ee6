//! `[resumer]`: whether and from where an interrupted task goes on.
//!
//! Files written for older tools say it in two ways: `resume_from_log=true`, or a `resume_config_file` (or
//! `resume_log_dir`) alone. Both resume here. What is contradictory is refused: the choice between going on and
//! starting over is never guessed.

use std::path::PathBuf;

use super::keys::{Key, Section, keys};
use super::reader::{Choice, Reader};

const NO_POSITION_TABLE: &str = "a position table is not available yet";

keys! { KEYS:
    RESUME_TYPE = Key::derived("resume_type", "`dummy`, or `from_log` if `config_file` or `log_dir` is given", "`dummy` starts from the beginning; `from_log` goes on from position.log and finished.log. Known and not available yet: `from_target`, `from_db`.");
    LOG_DIR = Key::derived("log_dir", "`[runtime] log_dir`", "The folder of the position.log and finished.log to go \
        on from.");
    CONFIG_FILE = Key::unset("config_file", "A file with positions written by hand; position.log wins over it.");
    ALLOW_OTHER_SERVER = Key::value("allow_other_server", "false", "Whether positions are accepted that were recorded \
        between other servers than these, for example after a fail-over or a restore.");
    RESUME_FROM_LOG = Key::unset("resume_from_log", "`true` is the old form of `resume_type=from_log`; works, with a \
        note.");
    RESUME_LOG_DIR = Key::old("resume_log_dir", "resumer", "log_dir");
    RESUME_CONFIG_FILE = Key::old("resume_config_file", "resumer", "config_file");
    TABLE_FULL_NAME = Key::unset("table_full_name", "The position table.").idle(NO_POSITION_TABLE);
    DB_TYPE = Key::unset("db_type", "The position table's server: its kind.").idle(NO_POSITION_TABLE);
    URL = Key::unset("url", "… and where it is.").idle(NO_POSITION_TABLE);
    USERNAME = Key::unset("username", "").idle(NO_POSITION_TABLE);
    PASSWORD = Key::unset("password", "").idle(NO_POSITION_TABLE);
    SSL_MODE = Key::unset("ssl_mode", "").idle(NO_POSITION_TABLE);
    SSL_CA_PATH = Key::unset("ssl_ca_path", "").idle(NO_POSITION_TABLE);
    MAX_CONNECTIONS = Key::unset("max_connections", "").idle(NO_POSITION_TABLE);
}

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

/// Whether an interrupted task goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResumeKind {
    /// It starts from the beginning.
    #[default]
    Dummy,
    /// It goes on from position.log, finished.log and the file written by hand.
    FromLog,
}

impl ResumerConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let chosen = reader.choice(
            &RESUME_TYPE,
            &[
                ("dummy", Choice::Is(ResumeKind::Dummy)),
                ("from_log", Choice::Is(ResumeKind::FromLog)),
                ("from_target", Choice::NotYet),
                ("from_db", Choice::NotYet),
            ],
        );
        let old = reader.flag(&RESUME_FROM_LOG).map(|on| if on { ResumeKind::FromLog } else { ResumeKind::Dummy });
        reader.note(&RESUME_FROM_LOG, "`resume_from_log=true` is the old form of `resume_type=from_log`".to_owned());
        let config = ResumerConfig {
            kind: ResumeKind::Dummy,
            log_dir: reader.text(&LOG_DIR).map(PathBuf::from),
            config_file: reader.text(&CONFIG_FILE).map(PathBuf::from),
            allow_other_server: reader.switch(&ALLOW_OTHER_SERVER),
        };
        ResumerConfig { kind: kind(reader, chosen, old), ..config }
    }
}

fn kind(reader: &mut Reader<'_>, chosen: Option<ResumeKind>, old: Option<ResumeKind>) -> ResumeKind {
    let place = [&CONFIG_FILE, &LOG_DIR].into_iter().find(|key| reader.given(key).is_some());
    match (chosen, old, place) {
        (Some(chosen), Some(old), _) if chosen != old => {
            reader.problem_of(&RESUME_FROM_LOG, "contradicts `resume_type`: keep `resume_type` alone");
            chosen
        }
        (Some(ResumeKind::Dummy), _, Some(place)) => {
            reader.note(place, format!("`{}` of [resumer] has no effect with `resume_type=dummy`", place.name));
            ResumeKind::Dummy
        }
        (None, Some(ResumeKind::Dummy), Some(place)) => {
            let message =
                format!("contradicts `{}`: keep one, or say `resume_type=from_log` or `resume_type=dummy`", place.name);
            reader.problem_of(&RESUME_FROM_LOG, &message);
            ResumeKind::Dummy
        }
        (None, None, Some(place)) => {
            // An unknown or unavailable resume_type has been reported; only its absence means "as the files say".
            reader.note(
                place,
                format!("`{}` of [resumer] is given: the task resumes, as with `resume_type=from_log`", place.name),
            );
            ResumeKind::FromLog
        }
        (Some(kind), _, _) | (None, Some(kind), _) => kind,
        (None, None, None) => ResumeKind::Dummy,
    }
}
