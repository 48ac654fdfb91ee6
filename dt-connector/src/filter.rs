//! Which tables, columns and rows of the source are copied (`[filter]`).
//!
//! A table passes when its schema is in `do_dbs` or it is in `do_tbs`, and neither is ignored; ignore beats do; with
//! both do-lists empty nothing passes; system schemas never pass. Pure: names in, answers out. Names are compared
//! byte by byte; a list of thousands of exact names costs a lookup, not a walk.

use std::collections::{HashMap, HashSet};

use dt_common::config::{Ddls, Events, FilterConfig, TablePattern, Token};
use dt_common::{DbType, Error, Result, TableId};
use regex::Regex;

/// The filter of a task, ready to match.
#[derive(Debug)]
pub struct Filter {
    db_type: DbType,
    do_schemas: Names,
    ignore_schemas: Names,
    do_tables: Tables,
    ignore_tables: Tables,
    ignored_columns: HashMap<TableId, Vec<String>>,
    conditions: HashMap<TableId, String>,
    events: Events,
    ddls: Ddls,
    /// What names something exactly, in the order of the file, for [`Filter::unmatched`].
    exact: Vec<ExactEntry>,
}

#[derive(Debug)]
struct ExactEntry {
    key: &'static str,
    name: ExactName,
}

#[derive(Debug)]
enum ExactName {
    Schema(String),
    Table(TableId),
}

impl Filter {
    /// Compiles the lists. An expression that is none, or a system schema that is asked for by name, is a
    /// configuration error that names it.
    pub fn new(config: &FilterConfig) -> Result<Self> {
        let filter = Filter {
            db_type: config.db_type,
            do_schemas: Names::new("do_dbs", &config.do_dbs)?,
            ignore_schemas: Names::new("ignore_dbs", &config.ignore_dbs)?,
            do_tables: Tables::new("do_tbs", &config.do_tbs)?,
            ignore_tables: Tables::new("ignore_tbs", &config.ignore_tbs)?,
            ignored_columns: config.ignore_cols.iter().map(|e| (e.table.clone(), e.columns.clone())).collect(),
            conditions: config.where_conditions.iter().map(|e| (e.table.clone(), e.condition.clone())).collect(),
            events: config.do_events,
            ddls: config.do_ddls,
            exact: exact_entries(config),
        };
        match filter.exact.iter().find(|entry| is_system_schema(filter.db_type, entry.name.schema())) {
            Some(entry) => {
                let system = entry.name.schema();
                Err(Error::config(format!("`{}` of [filter] names the system schema `{system}`", entry.key))
                    .hint("system schemas are never copied: take it out"))
            }
            None => Ok(filter),
        }
    }

    /// Whether the table is copied.
    pub fn passes(&self, table: &TableId) -> bool {
        !is_system_schema(self.db_type, &table.schema)
            && !self.ignore_schemas.hold(&table.schema)
            && !self.ignore_tables.hold(table)
            && (self.do_schemas.hold(&table.schema) || self.do_tables.hold(table))
    }

    /// Whether a table of the schema could pass: if not, the schema need not be looked into.
    pub fn may_pass_schema(&self, schema: &str) -> bool {
        !is_system_schema(self.db_type, schema)
            && !self.ignore_schemas.hold(schema)
            && (self.do_schemas.hold(schema) || self.do_tables.may_hold_schema(schema))
    }

    /// Whether every table of the schema passes, whatever its name is.
    pub fn passes_whole_schema(&self, schema: &str) -> bool {
        !is_system_schema(self.db_type, schema)
            && !self.ignore_schemas.hold(schema)
            && !self.ignore_tables.may_hold_schema(schema)
            && self.do_schemas.hold(schema)
    }

    /// Which kinds of DDL are applied.
    pub fn ddls(&self) -> Ddls {
        self.ddls
    }

    /// Which kinds of changes are copied.
    pub fn events(&self) -> Events {
        self.events
    }

    /// The columns of the table that are not copied, as the user wrote them.
    pub fn ignored_columns(&self, table: &TableId) -> &[String] {
        self.ignored_columns.get(table).map_or(&[], Vec::as_slice)
    }

    /// The columns that the user wants left out of a table that has only `columns`: misspelt, so that what was meant
    /// would be copied. A caller refuses them before the first row.
    pub fn unknown_ignored_columns(&self, table: &TableId, columns: &[&str]) -> Vec<&str> {
        let ignored = self.ignored_columns(table).iter().map(String::as_str);
        ignored.filter(|column| !columns.contains(column)).collect()
    }

    /// The condition on the table's rows, as the user wrote it: SQL, to be put in parentheses. Not for logs.
    pub fn condition(&self, table: &TableId) -> Option<&str> {
        self.conditions.get(table).map(String::as_str)
    }

    /// What the lists name exactly although no table of `passing`, the tables that pass, answers to it: misspelt, or
    /// ignored as well. One line each, in the order of the file's keys.
    pub fn unmatched(&self, passing: &[TableId]) -> Vec<String> {
        let schemas: HashSet<&str> = passing.iter().map(|table| table.schema.as_str()).collect();
        let tables: HashSet<&TableId> = passing.iter().collect();
        let lines = self.exact.iter().filter_map(|ExactEntry { key, name }| match name {
            ExactName::Schema(schema) if schemas.contains(schema.as_str()) => None,
            ExactName::Schema(schema) => Some(format!("`{key}` of [filter]: `{schema}` has no table that passes")),
            ExactName::Table(table) if tables.contains(table) => None,
            ExactName::Table(table) => Some(format!("`{key}` of [filter]: {table} is no table that passes")),
        });
        lines.collect()
    }
}

impl ExactName {
    fn schema(&self) -> &str {
        match self {
            ExactName::Schema(schema) => schema,
            ExactName::Table(table) => &table.schema,
        }
    }
}

/// What asks for something by an exact name; what ignores needs nothing to be there.
fn exact_entries(config: &FilterConfig) -> Vec<ExactEntry> {
    let schemas = config.do_dbs.iter().filter_map(|token| match token {
        Token::Exact(name) => Some(ExactEntry { key: "do_dbs", name: ExactName::Schema(name.clone()) }),
        Token::Wildcard(_) | Token::Regex(_) => None,
    });
    let tables = config.do_tbs.iter().filter_map(|pattern| match (&pattern.schema, &pattern.table) {
        (Token::Exact(schema), Token::Exact(table)) => {
            Some(ExactEntry { key: "do_tbs", name: ExactName::Table(TableId::new(schema, table)) })
        }
        (Token::Exact(schema), Token::Wildcard(_) | Token::Regex(_)) => {
            Some(ExactEntry { key: "do_tbs", name: ExactName::Schema(schema.clone()) })
        }
        (Token::Wildcard(_) | Token::Regex(_), _) => None,
    });
    let ignored = config.ignore_cols.iter().map(|entry| ("ignore_cols", &entry.table));
    let conditions = config.where_conditions.iter().map(|entry| ("where_conditions", &entry.table));
    let by_table = ignored.chain(conditions);
    let by_table = by_table.map(|(key, table)| ExactEntry { key, name: ExactName::Table(table.clone()) });
    schemas.chain(tables).chain(by_table).collect()
}

/// Whether the schema is the server's own.
fn is_system_schema(db_type: DbType, schema: &str) -> bool {
    match db_type {
        DbType::Mysql => {
            // The virtual schemas answer to any case; `MYSQL` and `Sys` can be a user's.
            matches!(schema, "mysql" | "sys")
                || schema.eq_ignore_ascii_case("information_schema")
                || schema.eq_ignore_ascii_case("performance_schema")
        }
        // PostgreSQL reserves every name that begins with `pg_`.
        DbType::Pg => schema.starts_with("pg_") || schema == "information_schema",
        DbType::Mongo => matches!(schema, "admin" | "config" | "local"),
        DbType::Redis => false,
    }
}

/// A list of names.
#[derive(Debug, Default)]
struct Names {
    exact: HashSet<String>,
    patterns: Vec<Regex>,
}

impl Names {
    fn new(key: &str, tokens: &[Token]) -> Result<Self> {
        let mut names = Names::default();
        for token in tokens {
            match token {
                Token::Exact(name) => drop(names.exact.insert(name.clone())),
                Token::Wildcard(text) => names.patterns.push(wildcard(key, text)?),
                Token::Regex(text) => names.patterns.push(anchored(key, text)?),
            }
        }
        Ok(names)
    }

    fn hold(&self, name: &str) -> bool {
        self.exact.contains(name) || self.patterns.iter().any(|pattern| pattern.is_match(name))
    }
}

/// A list of tables: those of an exact schema by that schema, the rest one by one.
#[derive(Debug, Default)]
struct Tables {
    by_schema: HashMap<String, Names>,
    by_pattern: Vec<(Regex, Names)>,
}

impl Tables {
    fn new(key: &str, patterns: &[TablePattern]) -> Result<Self> {
        let mut of_schema: HashMap<&str, Vec<Token>> = HashMap::new();
        let mut by_pattern = Vec::new();
        for TablePattern { schema, table } in patterns {
            let schema = match schema {
                Token::Exact(name) => {
                    of_schema.entry(name).or_default().push(table.clone());
                    continue;
                }
                Token::Wildcard(text) => wildcard(key, text)?,
                Token::Regex(text) => anchored(key, text)?,
            };
            by_pattern.push((schema, Names::new(key, std::slice::from_ref(table))?));
        }
        let by_schema =
            of_schema.into_iter().map(|(schema, tokens)| Ok((schema.to_owned(), Names::new(key, &tokens)?)));
        Ok(Tables { by_schema: by_schema.collect::<Result<_>>()?, by_pattern })
    }

    fn hold(&self, table: &TableId) -> bool {
        self.by_schema.get(&table.schema).is_some_and(|names| names.hold(&table.table))
            || self.by_pattern.iter().any(|(schema, names)| schema.is_match(&table.schema) && names.hold(&table.table))
    }

    fn may_hold_schema(&self, schema: &str) -> bool {
        self.by_schema.contains_key(schema) || self.by_pattern.iter().any(|(pattern, _)| pattern.is_match(schema))
    }
}

/// `*` is any run of characters, `?` is one or none, everything else is itself; line breaks are characters too.
fn wildcard(key: &str, text: &str) -> Result<Regex> {
    let mut expression = String::from(r"(?s)\A");
    let mut buffer = [0; 4];
    for c in text.chars() {
        match c {
            '*' => expression.push_str(".*"),
            '?' => expression.push_str(".?"),
            c => expression.push_str(&regex::escape(c.encode_utf8(&mut buffer))),
        }
    }
    expression.push_str(r"\z");
    compile(key, text, &expression)
}

/// The user's expression for the whole name.
fn anchored(key: &str, text: &str) -> Result<Regex> {
    // By itself first: an unbalanced parenthesis must not close the group below.
    compile(key, text, text)?;
    compile(key, text, &format!(r"\A(?:{text})\z"))
}

fn compile(key: &str, text: &str, expression: &str) -> Result<Regex> {
    Regex::new(expression).map_err(|error| {
        let what = match error {
            regex::Error::CompiledTooBig(_) => "is too large a pattern",
            _ => "is not a regular expression",
        };
        Error::config(format!("`{key}` of [filter]: `{text}` {what}"))
            .hint("the syntax is that of docs.rs/regex; a name that is meant literally is put into quotes")
    })
}

#[cfg(test)]
mod tests {
    use dt_common::config::parse;

    use super::*;

    /// The filter of a task file with these lines in `[filter]`; a list of nothing is asked for by a quoted name.
    fn config(db_type: &str, lines: &str) -> FilterConfig {
        let scheme = match db_type {
            "pg" => "postgres",
            "mongo" => "mongodb",
            other => other,
        };
        let text = format!(
            "[extractor]\ndb_type={db_type}\nextract_type=snapshot\nurl={scheme}://h\n\
             [sinker]\nsink_type=dummy\n[filter]\n{lines}\n"
        );
        parse(&text).unwrap_or_else(|errors| panic!("{errors}\n{text}")).config.filter
    }

    fn filter(lines: &str) -> Filter {
        Filter::new(&config("mysql", lines)).unwrap()
    }

    fn table(text: &str) -> TableId {
        let (schema, table) = text.split_once('|').expect("schema|table");
        TableId::new(schema, table)
    }

    #[track_caller]
    fn check(lines: &str, pass: &[&str], stay: &[&str]) {
        let filter = filter(lines);
        for text in pass {
            assert!(filter.passes(&table(text)), "{text} must pass {lines}");
            assert!(filter.may_pass_schema(&table(text).schema), "the schema of {text} must pass {lines}");
        }
        for text in stay {
            assert!(!filter.passes(&table(text)), "{text} must not pass {lines}");
        }
    }

    #[test]
    fn a_table_passes_by_its_schema_or_by_itself() {
        check("do_dbs=a\ndo_tbs=b.x", &["a|x", "a|y", "b|x"], &["b|y", "c|x", "A|x", "b|X"]);
    }

    #[test]
    fn ignore_beats_do() {
        check("do_dbs=a,b\ndo_tbs=c.x,b.x\nignore_dbs=b\nignore_tbs=a.x,c.x", &["a|y"], &["a|x", "b|x", "b|y", "c|x"]);
    }

    #[test]
    fn a_schema_passes_whole_if_nothing_of_it_is_left_out() {
        let filter = filter("do_dbs=a,b\ndo_tbs=c.*\nignore_tbs=b.x");
        assert!(filter.passes_whole_schema("a"));
        for schema in ["b", "c", "d", "mysql"] {
            assert!(!filter.passes_whole_schema(schema), "{schema}");
        }
    }

    #[test]
    fn with_both_do_lists_empty_nothing_passes() {
        let filter = Filter::new(&FilterConfig::new(DbType::Mysql)).unwrap();
        assert!(!filter.passes(&table("a|x")));
        assert!(!filter.may_pass_schema("a"));
    }

    #[test]
    fn system_schemas_never_pass() {
        let cases: [(&str, &[&str], &[&str]); 3] = [
            (
                "mysql",
                &["mysql", "sys", "information_schema", "INFORMATION_SCHEMA", "performance_schema"],
                &["pg_a", "admin", "sys2"],
            ),
            ("pg", &["pg_catalog", "pg_toast", "pg_temp_3", "information_schema"], &["public", "mysql", "pgx"]),
            ("mongo", &["admin", "config", "local"], &["mysql", "test"]),
        ];
        for (db_type, system, users) in cases {
            let filter = Filter::new(&config(db_type, "do_dbs=*\ndo_tbs=*.*")).unwrap();
            for schema in system {
                assert!(!filter.passes(&TableId::new(*schema, "t")) && !filter.may_pass_schema(schema), "{schema}");
            }
            for schema in users {
                assert!(filter.passes(&TableId::new(*schema, "t")) && filter.may_pass_schema(schema), "{schema}");
            }
        }
    }

    #[test]
    fn a_system_schema_that_is_asked_for_by_name_is_refused() {
        for lines in ["do_dbs=a,mysql", "do_tbs=mysql.user", "do_tbs=sys.*"] {
            let error = Filter::new(&config("mysql", lines)).unwrap_err();
            assert_eq!(error.class(), dt_common::ErrorClass::Config);
            assert!(error.to_string().contains("names the system schema"), "{error}");
        }
        filter("do_dbs=*\nignore_dbs=mysql");
    }

    #[test]
    fn wildcards_stand_for_any_run_and_for_one_or_none() {
        check(
            "do_dbs=test_*,a?b",
            &["test_|t", "test_db_@|t", "test_名|t", "ab|t", "a.b|t", "a名b|t"],
            &["test|t", "axxb|t"],
        );
        check("do_tbs=*.t_*_?", &["a|t__", "a|t_x_y", "b|t_x_"], &["a|t_x_yy", "a|t"]);
        check("do_tbs=a.*\nignore_tbs=*.tmp?", &["a|x", "a|tmp12"], &["a|tmp", "a|tmp1", "b|x"]);
    }

    #[test]
    fn everything_else_in_a_name_is_literal() {
        check("do_tbs=test_db_@.finished_table_$1", &["test_db_@|finished_table_$1"], &["test_db_@|finished_table_$"]);
        check(r"do_tbs=a+b.(x|y)[z]\^", &[r"a+b|(x|y)[z]\^"], &["aab|x"]);
        check("do_dbs=a-b,库", &["a-b|t", "库|表"], &["a|t"]);
    }

    #[test]
    fn a_quoted_name_is_exact_and_may_hold_separators_and_wildcards() {
        check(
            "do_tbs=`test_db_@`.`finished_table_*$1`,`a.b,c`.`d,e`",
            &["test_db_@|finished_table_*$1", "a.b,c|d,e"],
            &["test_db_@|finished_table_x$1", "a|b"],
        );
        let filter = Filter::new(&config("pg", "do_tbs=\"S.1\".\"T*\"")).unwrap();
        assert!(filter.passes(&TableId::new("S.1", "T*")));
        assert!(!filter.passes(&TableId::new("S.1", "Tx")));
    }

    #[test]
    fn a_regular_expression_must_match_the_whole_name() {
        check(
            r"do_tbs=r#a|b{2}#.r#t_\d{1,2}#",
            &["a|t_1", "bb|t_12"],
            &["ab|t_1", "xa|t_1", "a|t_123", "a|xt_1", "b|t_1"],
        );
        check("do_dbs=r#a,b.c#", &["a,bxc|t"], &["a|t"]);
    }

    #[test]
    fn what_is_no_regular_expression_is_refused_by_name() {
        for text in ["(", "a)|(b", "[z"] {
            let error = Filter::new(&config("mysql", &format!("ignore_tbs=a.r#{text}#\ndo_dbs=a"))).unwrap_err();
            let message = format!("`ignore_tbs` of [filter]: `{text}` is not a regular expression");
            assert!(error.to_string().starts_with(&message), "{error}");
        }
    }

    #[test]
    fn columns_and_conditions_belong_to_exact_tables() {
        let filter = filter(
            "do_dbs=*\nignore_cols=json:[{\"db\":\"a\",\"tb\":\"b.c\",\"ignore_cols\":[\"x\",\"y\"]}]\n\
             where_conditions=json:[{\"db\":\"a\",\"tb\":\"*\",\"condition\":\"f_0 > 1 and s = '#;'\"}]",
        );
        assert_eq!(filter.ignored_columns(&table("a|b.c")), ["x", "y"]);
        assert!(filter.ignored_columns(&table("a|b")).is_empty());
        assert_eq!(filter.unknown_ignored_columns(&table("a|b.c"), &["id", "x", "Y"]), ["y"]);
        assert_eq!(filter.condition(&table("a|*")), Some("f_0 > 1 and s = '#;'"));
        assert_eq!(filter.condition(&table("a|b")), None);
    }

    #[test]
    fn what_names_nothing_is_reported() {
        let filter = filter(
            "do_dbs=a,gone,x*\ndo_tbs=b.t,b.typo,c.x*,gone2.*\nignore_tbs=nothing.here\n\
             ignore_cols=json:[{\"db\":\"a\",\"tb\":\"typo\",\"ignore_cols\":[\"x\"]}]\n\
             where_conditions=json:[{\"db\":\"b\",\"tb\":\"t\",\"condition\":\"1\"},{\"db\":\"b\",\"tb\":\"u\",\"condition\":\"secret\"}]",
        );
        assert_eq!(
            filter.unmatched(&[table("a|t"), table("b|t"), table("c|x1")]),
            [
                "`do_dbs` of [filter]: `gone` has no table that passes",
                "`do_tbs` of [filter]: `b`.`typo` is no table that passes",
                "`do_tbs` of [filter]: `gone2` has no table that passes",
                "`ignore_cols` of [filter]: `a`.`typo` is no table that passes",
                "`where_conditions` of [filter]: `b`.`u` is no table that passes",
            ]
        );
    }
}
