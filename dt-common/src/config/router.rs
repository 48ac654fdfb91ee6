//! `[router]`: what things are called on the target, as data. Routing is the connectors' (`dt_connector::router`).

use super::filter::{json, list};
use super::json::{Object, refuse_repetition};
use super::keys::{Key, Section, keys};
use super::reader::Reader;
use super::tokens::{schema_map, table_map};
use crate::ids::TableId;

keys! { KEYS:
    DB_MAP = Key::unset("db_map", "Schemas with another name on the target: `source:target,…`.");
    TB_MAP = Key::unset("tb_map", "Tables with another name on the target: `schema.table:schema.table,…`; beats \
        `db_map`.");
    COL_MAP = Key::unset("col_map", "Columns with another name on the target: \
        `json:[{\"db\":\"d\",\"tb\":\"t\",\"col_map\":{\"a\":\"b\"}}]`; `db` and `tb` are the source's names.");
}

pub(super) const SECTION: Section = Section { name: "router", groups: &[KEYS] };

/// What things are called on the target; what is not named keeps its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouterConfig {
    /// Schemas, source and target; each source once.
    pub db_map: Vec<(String, String)>,
    /// Tables, source and target; each source once. Beats `db_map`.
    pub tb_map: Vec<(TableId, TableId)>,
    /// Columns; each table once.
    pub col_map: Vec<ColumnMap>,
}

/// Columns of a table with other names on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnMap {
    /// The table on the source, exactly.
    pub table: TableId,
    /// Columns, source and target; at least one, no source and no target twice.
    pub columns: Vec<(String, String)>,
}

impl RouterConfig {
    /// `quotes` are those of the source and of the target.
    pub(super) fn read(reader: &mut Reader<'_>, quotes: &[char]) -> Self {
        let db_map = list(reader, &DB_MAP, |text| schema_map(text, quotes));
        let sources: Vec<String> = db_map.iter().map(|(from, _)| format!("`{from}`")).collect();
        refuse_twice(reader, &DB_MAP, &sources);
        let tb_map = list(reader, &TB_MAP, |text| table_map(text, quotes));
        let sources: Vec<String> = tb_map.iter().map(|(from, _)| from.to_string()).collect();
        refuse_twice(reader, &TB_MAP, &sources);
        let col_map = json(reader, &COL_MAP, column_map, |entry| &entry.table);
        RouterConfig { db_map, tb_map, col_map }
    }
}

fn refuse_twice(reader: &mut Reader<'_>, key: &Key, sources: &[String]) {
    if let Err(source) = refuse_repetition(sources.iter().map(String::as_str)) {
        reader.problem_of(key, &format!("maps {source} twice"));
    }
}

fn column_map(object: &mut Object, table: TableId) -> Result<ColumnMap, String> {
    let columns = object.pairs("col_map")?;
    refuse_repetition(columns.iter().map(|(_, to)| to.as_str()))
        .map_err(|to| format!("maps two columns of {table} to `{to}`"))?;
    Ok(ColumnMap { table, columns })
}
