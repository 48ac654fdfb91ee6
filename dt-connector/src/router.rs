//! What things are called on the target (`[router]`).
//!
//! A table's own entry in `tb_map` beats its schema's in `db_map`; what is in neither keeps its name, and so does a
//! column that is not in `col_map`. Names are exact. Several tables may be routed into one (shards that are merged);
//! two columns of one table may not. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use dt_common::config::RouterConfig;
use dt_common::schema::{RoutedTable, TableSchema};
use dt_common::{Error, Result, TableId};

/// The router of a task.
#[derive(Debug, Default)]
pub struct Router {
    schemas: HashMap<String, String>,
    tables: HashMap<TableId, TableId>,
    columns: HashMap<TableId, HashMap<String, String>>,
}

impl Router {
    /// Takes the maps. A source that is mapped twice, or two columns that are mapped to one, is a configuration error.
    pub fn new(config: &RouterConfig) -> Result<Self> {
        let mut router = Router::default();
        for (from, to) in &config.db_map {
            if router.schemas.insert(from.clone(), to.clone()).is_some() {
                return Err(Error::config(format!("`db_map` of [router] maps `{from}` twice")));
            }
        }
        for (from, to) in &config.tb_map {
            if router.tables.insert(from.clone(), to.clone()).is_some() {
                return Err(Error::config(format!("`tb_map` of [router] maps {from} twice")));
            }
        }
        for map in &config.col_map {
            let columns: HashMap<String, String> = map.columns.iter().cloned().collect();
            let targets: HashSet<&String> = columns.values().collect();
            if columns.len() != map.columns.len() || targets.len() != columns.len() {
                return Err(Error::config(format!("`col_map` of [router] names a column of {} twice", map.table)));
            }
            if router.columns.insert(map.table.clone(), columns).is_some() {
                return Err(Error::config(format!("`col_map` of [router] has {} twice", map.table)));
            }
        }
        Ok(router)
    }

    /// The table's name on the target.
    pub fn target_of(&self, table: &TableId) -> TableId {
        match (self.tables.get(table), self.schemas.get(&table.schema)) {
            (Some(target), _) => target.clone(),
            (None, Some(schema)) => TableId::new(schema, &table.table),
            (None, None) => table.clone(),
        }
    }

    /// Another table that has the same name on the target and is copied as `passes` says; by the maps alone, whether it
    /// exists or not.
    pub fn meets(&self, table: &TableId, passes: impl Fn(&TableId) -> bool) -> Option<TableId> {
        let target = self.target_of(table);
        let by_schema = self.schemas.iter().filter(|(_, to)| **to == target.schema);
        let by_schema = by_schema.map(|(from, _)| TableId::new(from, &target.table));
        let by_table = self.tables.iter().filter(|(_, to)| **to == target).map(|(from, _)| from.clone());
        let mut others: Vec<TableId> = by_schema.chain(by_table).chain([target.clone()]).collect();
        others.sort();
        others.into_iter().find(|other| other != table && self.target_of(other) == target && passes(other))
    }

    /// The target's schema that all tables of this one are routed to, if none of another schema is that is copied as
    /// `passes` says; by the maps alone.
    pub fn whole_schema(&self, schema: &str, passes: impl Fn(&str) -> bool) -> Option<String> {
        let target = self.schemas.get(schema).map_or(schema, String::as_str);
        let is_split = self.tables.keys().any(|from| from.schema == schema);
        let from_others = self.tables.values().any(|to| to.schema == target);
        let routed_too = self.schemas.iter().any(|(from, to)| from != schema && to == target && passes(from));
        let named_so = target != schema && !self.schemas.contains_key(target) && passes(target);
        (!is_split && !from_others && !routed_too && !named_so).then(|| target.to_owned())
    }

    /// The table with its names on the target. A configuration error if `col_map` names a column that is not copied,
    /// or gives a column the name that another one has.
    pub fn route(&self, source: TableSchema) -> Result<RoutedTable> {
        let map = self.columns.get(&source.id);
        let mut unknown: Vec<&str> = map
            .iter()
            .flat_map(|map| map.keys().map(String::as_str))
            .filter(|column| source.column(column).is_none())
            .collect();
        if !unknown.is_empty() {
            unknown.sort_unstable();
            return Err(Error::config(format!(
                "`col_map` of [router] names columns of {} that are not copied",
                source.id
            ))
            .with("columns", unknown.join(", "))
            .hint("they do not exist, or are generated, or are in `ignore_cols`"));
        }
        let target_columns: Vec<String> = source
            .columns
            .iter()
            .map(|column| map.and_then(|map| map.get(&column.name)).unwrap_or(&column.name).clone())
            .collect();
        let mut seen = HashSet::new();
        if let Some(twice) = target_columns.iter().find(|name| !seen.insert(name.as_str())) {
            return Err(Error::config(format!(
                "`col_map` of [router] routes two columns of {} to `{twice}`",
                source.id
            )));
        }
        Ok(RoutedTable { target: self.target_of(&source.id), target_columns, source })
    }

    /// Entries of the maps that no table of `passing`, the tables that are copied, answers to. One line each, in the
    /// order of keys and names.
    pub fn unmatched(&self, passing: &[TableId]) -> Vec<String> {
        let schemas: HashSet<&str> = passing.iter().map(|table| table.schema.as_str()).collect();
        let tables: HashSet<&TableId> = passing.iter().collect();
        let mut lines: Vec<(u8, String)> = Vec::new();
        for schema in self.schemas.keys().filter(|schema| !schemas.contains(schema.as_str())) {
            lines.push((0, format!("`db_map` of [router]: `{schema}` has no table that is copied")));
        }
        for table in self.tables.keys().filter(|table| !tables.contains(table)) {
            lines.push((1, format!("`tb_map` of [router]: {table} is no table that is copied")));
        }
        for table in self.columns.keys().filter(|table| !tables.contains(table)) {
            lines.push((2, format!("`col_map` of [router]: {table} is no table that is copied")));
        }
        lines.sort();
        lines.into_iter().map(|(_, line)| line).collect()
    }
}

/// Target tables that several source tables are routed into, each with its sources: for a word in the log, for rows
/// of different sources that have the same key meet there.
pub fn merged<'a>(tables: impl Iterator<Item = &'a RoutedTable>) -> Vec<(TableId, Vec<TableId>)> {
    let mut sources: BTreeMap<&TableId, Vec<TableId>> = BTreeMap::new();
    for table in tables {
        sources.entry(&table.target).or_default().push(table.source.id.clone());
    }
    let merged = sources.into_iter().filter(|(_, sources)| sources.len() > 1);
    merged.map(|(target, sources)| (target.clone(), sources)).collect()
}

#[cfg(test)]
mod tests {
    use dt_common::config::ColumnMap;
    use dt_common::schema::Column;

    use super::*;

    fn id(schema: &str, table: &str) -> TableId {
        TableId::new(schema, table)
    }

    fn schema(id: TableId, columns: &[&str]) -> TableSchema {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            data_type: "int".into(),
            nullable: false,
            charset: None,
            collation: None,
            binary_form: None,
        };
        TableSchema { id, columns: columns.iter().map(column).collect(), key: None, rows_estimate: 0 }
    }

    fn router(columns: &[(&str, &str)]) -> Router {
        let columns = columns.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        let config = RouterConfig {
            db_map: vec![("a".into(), "x".into()), ("shard_2".into(), "all".into())],
            tb_map: vec![(id("a", "t"), id("y", "u")), (id("shard_1", "t"), id("all", "t"))],
            col_map: vec![ColumnMap { table: id("a", "t"), columns }],
        };
        Router::new(&config).unwrap()
    }

    #[test]
    fn a_table_s_own_entry_beats_its_schema_s() {
        let router = router(&[("p", "q")]);
        assert_eq!(router.target_of(&id("a", "t")), id("y", "u"));
        assert_eq!(router.target_of(&id("a", "T")), id("x", "T"));
        assert_eq!(router.target_of(&id("b", "t")), id("b", "t"));
    }

    #[test]
    fn columns_are_renamed_by_name_and_keep_their_order() {
        let routed = router(&[("p", "q"), ("r", "p")]).route(schema(id("a", "t"), &["r", "s", "p"])).unwrap();
        assert_eq!(routed.target, id("y", "u"));
        assert_eq!(routed.target_columns, ["p", "s", "q"]);
        assert_eq!(routed.source.id, id("a", "t"));
        let other = router(&[("p", "q")]).route(schema(id("a", "other"), &["p"])).unwrap();
        assert_eq!(other.target_columns, ["p"]);
    }

    #[test]
    fn a_column_that_is_not_copied_cannot_be_renamed() {
        let error =
            router(&[("p", "q"), ("typo", "z"), ("gone", "w")]).route(schema(id("a", "t"), &["p"])).unwrap_err();
        assert_eq!(error.class(), dt_common::ErrorClass::Config);
        assert!(error.to_string().contains("columns of `a`.`t` that are not copied (columns: gone, typo)"), "{error}");
    }

    #[test]
    fn two_columns_cannot_become_one() {
        let error = router(&[("p", "s")]).route(schema(id("a", "t"), &["p", "s"])).unwrap_err();
        assert_eq!(error.message(), "`col_map` of [router] routes two columns of `a`.`t` to `s`");
        let map = ColumnMap { table: id("a", "t"), columns: vec![("p".into(), "z".into()), ("q".into(), "z".into())] };
        assert!(Router::new(&RouterConfig { col_map: vec![map], ..RouterConfig::default() }).is_err());
    }

    #[test]
    fn a_source_cannot_be_mapped_twice() {
        let tb_map = vec![(id("a", "t"), id("b", "t")), (id("a", "t"), id("c", "t"))];
        assert!(Router::new(&RouterConfig { tb_map, ..RouterConfig::default() }).is_err());
        let db_map = vec![("a".into(), "b".into()), ("a".into(), "c".into())];
        assert!(Router::new(&RouterConfig { db_map, ..RouterConfig::default() }).is_err());
    }

    #[test]
    fn shards_may_be_merged_and_it_is_said() {
        let router = router(&[("p", "q")]);
        let tables = [id("shard_1", "t"), id("shard_2", "t"), id("b", "t")];
        let routed: Vec<RoutedTable> =
            tables.iter().map(|id| router.route(schema(id.clone(), &["p"])).unwrap()).collect();
        assert_eq!(merged(routed.iter()), [(id("all", "t"), vec![id("shard_1", "t"), id("shard_2", "t")])]);
    }

    #[test]
    fn tables_that_meet_on_the_target_are_told_by_name() {
        let router = router(&[("p", "q")]);
        let any = |_: &TableId| true;
        assert_eq!(router.meets(&id("shard_1", "t"), any), Some(id("all", "t")));
        assert_eq!(router.meets(&id("shard_1", "t"), |other| other.schema != "all"), Some(id("shard_2", "t")));
        assert_eq!(
            router.meets(&id("shard_1", "t"), |other| !other.schema.ends_with("2") && other.schema != "all"),
            None
        );
        assert_eq!(router.meets(&id("a", "other"), any), Some(id("x", "other")));
        assert_eq!(router.meets(&id("b", "t"), any), None);
    }

    #[test]
    fn a_schema_is_routed_whole_if_no_other_is_routed_there() {
        let router = router(&[("p", "q")]);
        let any = |_: &str| true;
        assert_eq!(router.whole_schema("b", any), Some("b".to_owned()));
        assert_eq!(router.whole_schema("a", any), None, "one of its tables goes elsewhere");
        assert_eq!(router.whole_schema("shard_2", any), None, "a table of another is routed there");
        assert_eq!(router.whole_schema("x", any), None, "another schema is routed there");
        assert_eq!(router.whole_schema("x", |schema| schema == "x"), Some("x".to_owned()));
    }

    #[test]
    fn what_names_nothing_is_reported() {
        let router = router(&[("p", "q")]);
        assert_eq!(
            router.unmatched(&[id("a", "other"), id("shard_1", "t")]),
            [
                "`db_map` of [router]: `shard_2` has no table that is copied",
                "`tb_map` of [router]: `a`.`t` is no table that is copied",
                "`col_map` of [router]: `a`.`t` is no table that is copied",
            ]
        );
    }
}
