//! `[sinker]`: where rows are written, and how.

use super::endpoint::{self, Endpoint};
use super::keys::{Key, Section, keys};
use super::reader::{Choice, Reader};

keys! { KEYS:
    SINK_TYPE = Key::value("sink_type", "write", "`write` writes rows; `dummy` reads and throws away, and needs no \
        target. Known and not available yet: `struct`, `check`, `sql`.");
    BATCH_SIZE = Key::value("batch_size", "200", "Rows of one statement, where rows are written by statements.");
    MAX_RPS = Key::value("max_rps", "0", "Rows written per second, at most; 0 is no limit.");
    MAX_MBPS = Key::value("max_mbps", "0", "Megabytes written per second, at most; 0 is no limit.");
    REPLACE = Key::value("replace", "true", "`true`: a row whose key is in the target already replaces what is there. \
        `false`: `conflict_policy` decides.");
    CONFLICT_POLICY = Key::value("conflict_policy", "interrupt", "With `replace=false`: `interrupt` stops the task at \
        a row whose key is in the target already, `ignore` leaves the row out.");
    DISABLE_FOREIGN_KEY_CHECKS = Key::value("disable_foreign_key_checks", "true", "Whether the target checks no \
        foreign keys while rows are written.");
    TRANSACTION_ISOLATION = Key::value("transaction_isolation", "default", "Of the target's transactions: `default` \
        (the server's), `read_uncommitted`, `read_committed`, `repeatable_read`, `serializable`.");
    REVERSE = Key::value("reverse", "false", "Writes the opposite of every change. Only `false` is available yet.");
}

pub(super) const SECTION: Section = Section { name: "sinker", groups: &[endpoint::KEYS, KEYS] };

/// Where rows are written, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkerConfig {
    /// Where to.
    pub target: SinkTarget,
    /// Rows of one statement, where rows are written by statements; at least 1.
    pub batch_size: usize,
    /// Rows per second, at most; `None` is no limit.
    pub max_rps: Option<u64>,
    /// Megabytes per second, at most; `None` is no limit.
    pub max_mbps: Option<u64>,
    /// Whether a row replaces one with the same key in the target.
    pub replace: bool,
    /// What happens on a conflict without `replace`.
    pub conflict_policy: ConflictPolicy,
    /// Whether the target's foreign keys go unchecked while rows are written.
    pub disable_foreign_key_checks: bool,
    /// The isolation level of the target's transactions.
    pub transaction_isolation: TransactionIsolation,
}

/// Where rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SinkTarget {
    /// `sink_type=write`: to a server.
    Write(Box<Endpoint>),
    /// `sink_type=dummy`: nowhere.
    Dummy,
}

/// What happens on a conflict without `replace`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// The task stops.
    Interrupt,
    /// The row is left out.
    Ignore,
}

/// An isolation level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionIsolation {
    /// The server's default.
    Default,
    /// READ UNCOMMITTED
    ReadUncommitted,
    /// READ COMMITTED
    ReadCommitted,
    /// REPEATABLE READ
    RepeatableRead,
    /// SERIALIZABLE
    Serializable,
}

impl TransactionIsolation {
    /// As SQL writes it (`READ COMMITTED`); `None` for the server's default.
    pub const fn as_sql(self) -> Option<&'static str> {
        match self {
            TransactionIsolation::Default => None,
            TransactionIsolation::ReadUncommitted => Some("READ UNCOMMITTED"),
            TransactionIsolation::ReadCommitted => Some("READ COMMITTED"),
            TransactionIsolation::RepeatableRead => Some("REPEATABLE READ"),
            TransactionIsolation::Serializable => Some("SERIALIZABLE"),
        }
    }
}

#[derive(Clone, Copy)]
enum SinkType {
    Write,
    Dummy,
}

impl SinkerConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let sink_type = reader
            .choice(
                &SINK_TYPE,
                &[
                    ("write", Choice::Is(SinkType::Write)),
                    ("dummy", Choice::Is(SinkType::Dummy)),
                    ("struct", Choice::NotYet),
                    ("check", Choice::NotYet),
                    ("sql", Choice::NotYet),
                ],
            )
            .expect("config: sink_type has a default");
        let target = match sink_type {
            SinkType::Write => Endpoint::read(reader).map(|endpoint| SinkTarget::Write(Box::new(endpoint))),
            SinkType::Dummy => Some(SinkTarget::Dummy),
        };
        let batch_size = reader.count(&BATCH_SIZE, 1..=1_000_000);
        let max_rps = reader.limit(&MAX_RPS);
        let max_mbps = reader.limit(&MAX_MBPS);
        let replace = reader.switch(&REPLACE);
        let conflict_policy = reader
            .choice(
                &CONFLICT_POLICY,
                &[("interrupt", Choice::Is(ConflictPolicy::Interrupt)), ("ignore", Choice::Is(ConflictPolicy::Ignore))],
            )
            .expect("config: conflict_policy has a default");
        if replace {
            reader.note(
                &CONFLICT_POLICY,
                "`conflict_policy` of [sinker] has no effect unless `replace=false`".to_owned(),
            );
        }
        let disable_foreign_key_checks = reader.switch(&DISABLE_FOREIGN_KEY_CHECKS);
        let transaction_isolation = reader
            .choice(
                &TRANSACTION_ISOLATION,
                &[
                    ("default", Choice::Is(TransactionIsolation::Default)),
                    ("read_uncommitted", Choice::Is(TransactionIsolation::ReadUncommitted)),
                    ("read_committed", Choice::Is(TransactionIsolation::ReadCommitted)),
                    ("repeatable_read", Choice::Is(TransactionIsolation::RepeatableRead)),
                    ("serializable", Choice::Is(TransactionIsolation::Serializable)),
                ],
            )
            .expect("config: transaction_isolation has a default");
        reader.choice(&REVERSE, &[("false", Choice::Is(())), ("true", Choice::NotYet)]);
        Some(SinkerConfig {
            target: target?,
            batch_size,
            max_rps,
            max_mbps,
            replace,
            conflict_policy,
            disable_foreign_key_checks,
            transaction_isolation,
        })
    }
}
