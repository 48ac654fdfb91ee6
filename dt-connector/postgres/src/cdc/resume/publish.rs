//! The publication that is made where there is none.

use dt_common::config::Events;
use dt_common::{Error, Result, TableId};

use super::facts::ServerFacts;
use super::followable::listed;
use crate::sql;

/// What a publication is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Creation {
    /// The statement.
    pub statement: String,
    /// What the log says about it.
    pub remark: String,
}

/// The publication for all tables where the account may make it and it hurts nobody; else for the tables that pass.
///
/// # Errors
/// The account may make neither; with the statement that someone else can execute.
pub fn creation(facts: &ServerFacts, name: &str, events: Events) -> Result<Creation> {
    let quoted = sql::name(name);
    let options = options(facts, events);
    let needs_identities = events.update || events.delete;
    // Under the root's name, as a publication for all tables sends them, a partition's changes would not pass.
    let follows_partitions = facts.tables.iter().any(|table| table.is_partition);
    let hurts = facts.tables_without_identity > 0 && needs_identities;
    if facts.role.is_superuser && !hurts && !follows_partitions {
        return Ok(Creation {
            statement: format!("CREATE PUBLICATION {quoted} FOR ALL TABLES{options}"),
            remark: format!("publication {quoted} is made for all tables of the database"),
        });
    }
    let tables: Vec<&TableId> = facts.tables.iter().filter(|table| !table.is_unlogged).map(|table| &table.id).collect();
    if tables.is_empty() {
        return Err(Error::user("there is no publication, and no table passes the filter that one could be made for")
            .with("publication", &quoted)
            .hint("check [filter] do_dbs and do_tbs; or make the publication yourself and name it in pub_name"));
    }
    let list: Vec<String> = tables.iter().map(|table| sql::table(table)).collect();
    let statement = format!("CREATE PUBLICATION {quoted} FOR TABLE {}{options}", list.join(", "));
    let foreign: Vec<&TableId> =
        facts.tables.iter().filter(|table| !table.is_owned && !table.is_unlogged).map(|table| &table.id).collect();
    if !facts.role.is_superuser && (!foreign.is_empty() || !facts.role.may_create) {
        let why = match facts.role.may_create {
            true => format!("does not own {}", listed(&foreign)),
            false => "may not create in the database".to_owned(),
        };
        return Err(Error::user(format!("there is no publication, and the account cannot make one: it {why}"))
            .with("publication", &quoted)
            .with("account", &facts.role.name)
            .hint(format!("let the owner of the tables or a superuser execute: {statement}")));
    }
    Ok(Creation {
        statement,
        remark: format!(
            "publication {quoted} is made for the {} tables that pass the filter now; a table that is created later must be added to it: ALTER PUBLICATION {quoted} ADD TABLE …",
            tables.len()
        ),
    })
}

/// TRUNCATE goes with the deletes. Versions before 11 do not know it, those before 13 not the roots of partitions.
fn options(facts: &ServerFacts, events: Events) -> String {
    let truncate = events.delete && facts.version_number >= 110_000;
    let kinds =
        [(events.insert, "insert"), (events.update, "update"), (events.delete, "delete"), (truncate, "truncate")];
    let kinds: Vec<&str> = kinds.iter().filter(|(wanted, _)| *wanted).map(|(_, kind)| *kind).collect();
    let root = if facts.version_number >= 130_000 { ", publish_via_partition_root = true" } else { "" };
    format!(" WITH (publish = {}{root})", sql::string(&kinds.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::super::facts::samples::*;
    use super::*;

    const ALL: Events = Events { insert: true, update: true, delete: true };

    #[test]
    fn a_superuser_publishes_all_tables_unless_that_would_break_one() {
        let mut facts = server();
        facts.role.is_superuser = true;
        assert_eq!(
            creation(&facts, "p", ALL).expect("may").statement,
            "CREATE PUBLICATION \"p\" FOR ALL TABLES WITH (publish = 'insert, update, delete, truncate', publish_via_partition_root = true)"
        );
        facts.tables_without_identity = 1;
        let made = creation(&facts, "p", ALL).expect("may");
        assert!(
            made.statement.starts_with("CREATE PUBLICATION \"p\" FOR TABLE \"public\".\"a\", \"public\".\"b\" WITH")
        );
        assert!(made.remark.contains("must be added"), "{}", made.remark);
    }

    #[test]
    fn an_owner_publishes_the_tables_that_pass_and_only_what_is_followed() {
        let inserts = Events { insert: true, update: false, delete: false };
        let made = creation(&server(), "P", inserts).expect("may").statement;
        assert_eq!(
            made,
            "CREATE PUBLICATION \"P\" FOR TABLE \"public\".\"a\", \"public\".\"b\" WITH (publish = 'insert', publish_via_partition_root = true)"
        );
    }

    #[test]
    fn who_may_not_is_told_what_someone_else_can_execute() {
        let mut facts = server();
        facts.tables[1].is_owned = false;
        let error = creation(&facts, "p", ALL).expect_err("may not").to_string();
        assert!(
            error.contains("does not own `public`.`b`") && error.contains("execute: CREATE PUBLICATION"),
            "{error}"
        );
        let mut facts = server();
        facts.role.may_create = false;
        assert!(creation(&facts, "p", ALL).expect_err("may not").to_string().contains("may not create"));
        let mut facts = server();
        facts.tables.clear();
        assert!(creation(&facts, "p", ALL).is_err());
    }
}
