//! `[filter]`: what is copied, as data. Matching is the connectors' (`dt_connector::filter`).

use super::ddls::Ddls;
use super::json::{Object, objects, refuse_repetition};
use super::keys::{Key, Section, keys};
use super::reader::{Reader, Task};
use super::tokens::{ListError, TablePattern, Token, quote_of, schemas, tables};
use crate::ids::{DbType, TableId};

keys! { KEYS:
    DO_DBS = Key::unset("do_dbs", "Schemas whose tables are copied.");
    DO_TBS = Key::unset("do_tbs", "Tables that are copied: `schema.table,…`. At least one of `do_dbs` and `do_tbs` is \
        needed.");
    IGNORE_DBS = Key::unset("ignore_dbs", "Schemas that are not copied, whatever else is said.");
    IGNORE_TBS = Key::unset("ignore_tbs", "Tables that are not copied, whatever else is said.");
    IGNORE_COLS = Key::unset("ignore_cols", "Columns that are not copied: \
        `json:[{\"db\":\"a\",\"tb\":\"b\",\"ignore_cols\":[\"c\"]}]`, exact names.");
    WHERE_CONDITIONS = Key::unset("where_conditions", "Conditions on the rows that are copied, in the source's SQL: \
        `json:[{\"db\":\"a\",\"tb\":\"b\",\"condition\":\"f_0 > 1\"}]`, exact names. Put in parentheses. A change \
        stream refuses them.");
    DO_EVENTS = Key::value("do_events", "*", "Kinds of changes: `insert`, `update`, `delete`, separated by `,`; `*` \
        is all. A snapshot needs `insert`.");
    DO_DDLS = Key::unset("do_ddls", "Kinds of DDL that a change stream of MongoDB applies: `*`, `none` (which is meant if it is \
        left out), or a list of `create_collection`, `drop_collection`, `rename_collection`, `drop_database`, \
        `create_index`, `drop_index`, `modify_collection`. Other databases: anything but `none` is refused.").on_streams();
    DO_DCLS = Key::unset("do_dcls", "Kinds of DCL that a change stream applies. None are applied yet: anything but \
        `none` is refused.").on_streams();
    DO_STRUCTURES = Key::unset("do_structures", "Kinds of objects that a structure task creates.").idle("rows are \
        copied, not structures");
}

pub(super) const SECTION: Section = Section { name: "filter", groups: &[KEYS] };

/// What is copied. A table passes when its schema is in `do_dbs` or it is in `do_tbs`, and neither is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterConfig {
    /// The source's kind: decides which schemas are the system's own.
    pub db_type: DbType,
    /// Schemas whose tables are copied.
    pub do_dbs: Vec<Token>,
    /// Schemas that are not copied; beats every `do_`.
    pub ignore_dbs: Vec<Token>,
    /// Tables that are copied.
    pub do_tbs: Vec<TablePattern>,
    /// Tables that are not copied; beats every `do_`.
    pub ignore_tbs: Vec<TablePattern>,
    /// Columns that are not copied; each table once.
    pub ignore_cols: Vec<IgnoredColumns>,
    /// Conditions on rows; each table once.
    pub where_conditions: Vec<Condition>,
    /// Kinds of changes.
    pub do_events: Events,
    /// Kinds of DDL that a change stream applies.
    pub do_ddls: Ddls,
}

/// Columns of a table that are not copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredColumns {
    /// The table, exactly.
    pub table: TableId,
    /// The columns, exactly; at least one, none twice.
    pub columns: Vec<String>,
}

/// A condition on the rows of a table.
#[derive(Clone, PartialEq, Eq)]
pub struct Condition {
    /// The table, exactly.
    pub table: TableId,
    /// SQL of the source's dialect, as the user wrote it, without parentheses around it. May hold data: not for logs.
    pub condition: String,
}

/// Without the condition's text, which may hold data (invariant 11).
impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition").field("table", &self.table).finish_non_exhaustive()
    }
}

/// Kinds of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Events {
    /// New rows; all rows of a snapshot.
    pub insert: bool,
    /// Changed rows.
    pub update: bool,
    /// Deleted rows.
    pub delete: bool,
}

impl Events {
    /// Every kind.
    pub const ALL: Events = Events { insert: true, update: true, delete: true };
}

impl FilterConfig {
    /// A filter that lets nothing pass, to be filled.
    pub fn new(db_type: DbType) -> Self {
        FilterConfig {
            db_type,
            do_dbs: Vec::new(),
            ignore_dbs: Vec::new(),
            do_tbs: Vec::new(),
            ignore_tbs: Vec::new(),
            ignore_cols: Vec::new(),
            where_conditions: Vec::new(),
            do_events: Events::ALL,
            do_ddls: Ddls::NONE,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>, db_type: DbType) -> Self {
        let quotes = [quote_of(db_type)];
        let nothing = reader.given(&DO_DBS).is_none() && reader.given(&DO_TBS).is_none();
        if nothing {
            reader.problem(
                &DO_DBS,
                "[filter] lets nothing pass: set `do_dbs` or `do_tbs` (`do_dbs=*` copies everything)".to_owned(),
            );
        }
        let task = reader.task();
        reader.sort_out_keys_of_others(db_type, task);
        match task {
            Task::Snapshot => {}
            Task::Stream => refuse_what_streams_cannot(reader),
        }
        FilterConfig {
            db_type,
            do_dbs: list(reader, &DO_DBS, |text| schemas(text, &quotes)),
            ignore_dbs: list(reader, &IGNORE_DBS, |text| schemas(text, &quotes)),
            do_tbs: list(reader, &DO_TBS, |text| tables(text, &quotes)),
            ignore_tbs: list(reader, &IGNORE_TBS, |text| tables(text, &quotes)),
            ignore_cols: json(reader, &IGNORE_COLS, ignored_columns, |entry| &entry.table),
            where_conditions: json(reader, &WHERE_CONDITIONS, condition, |entry| &entry.table),
            do_events: events(reader),
            do_ddls: Ddls::read(reader, &DO_DDLS, db_type),
        }
    }
}

fn refuse_what_streams_cannot(reader: &mut Reader<'_>) {
    if reader.text(&DO_DCLS).is_some_and(|kinds| !kinds.eq_ignore_ascii_case("none")) {
        reader.problem_of(&DO_DCLS, "is not available yet: DCL is not replicated; take it out");
    }
    if reader.given(&WHERE_CONDITIONS).is_some() {
        reader.problem_of(
            &WHERE_CONDITIONS,
            "is for a snapshot only: a change stream has no server that could tell which changed rows meet it",
        );
    }
}

/// Reads a list of names; a malformed one is reported and empty.
pub(super) fn list<T>(reader: &mut Reader<'_>, key: &Key, parse: impl Fn(&str) -> Result<Vec<T>, ListError>) -> Vec<T> {
    match reader.text(key).map(parse) {
        Some(Ok(list)) => list,
        Some(Err(error)) => {
            reader.problem_of(key, &format!("is malformed: {error}"));
            Vec::new()
        }
        None => Vec::new(),
    }
}

/// Reads a `json:` array with one entry per table.
pub(super) fn json<T>(
    reader: &mut Reader<'_>,
    key: &Key,
    parse: impl Fn(&mut Object, TableId) -> Result<T, String>,
    table_of: impl Fn(&T) -> &TableId,
) -> Vec<T> {
    let Some(text) = reader.text(key) else { return Vec::new() };
    let read = || {
        let mut entries: Vec<T> = Vec::new();
        for mut object in objects(text)? {
            let table = TableId::new(object.text("db")?, object.text("tb")?);
            let entry = parse(&mut object, table)?;
            object.end()?;
            entries.push(entry);
        }
        let tables: Vec<String> = entries.iter().map(|entry| table_of(entry).to_string()).collect();
        refuse_repetition(tables.iter().map(String::as_str)).map_err(|table| format!("has {table} twice"))?;
        Ok(entries)
    };
    match read() {
        Ok(entries) => entries,
        Err(what) => {
            let what: String = what;
            reader.problem_of(key, &what);
            Vec::new()
        }
    }
}

fn ignored_columns(object: &mut Object, table: TableId) -> Result<IgnoredColumns, String> {
    Ok(IgnoredColumns { table, columns: object.texts("ignore_cols")? })
}

fn condition(object: &mut Object, table: TableId) -> Result<Condition, String> {
    Ok(Condition { table, condition: object.text("condition")? })
}

fn events(reader: &mut Reader<'_>) -> Events {
    let text = reader.text(&DO_EVENTS).expect("config: do_events has a default");
    if text == "*" {
        return Events::ALL;
    }
    let mut events = Events { insert: false, update: false, delete: false };
    for word in text.split(',').map(|word| word.trim().to_ascii_lowercase()) {
        match word.as_str() {
            "insert" => events.insert = true,
            "update" => events.update = true,
            "delete" => events.delete = true,
            _ => {
                reader.refuse(&DO_EVENTS, "a list of `insert`, `update`, `delete`");
                return Events::ALL;
            }
        }
    }
    if !events.insert && reader.task() == Task::Snapshot {
        reader.problem_of(&DO_EVENTS, "lacks `insert`: a snapshot would copy nothing");
    }
    events
}
