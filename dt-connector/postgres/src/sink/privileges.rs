//! What the account may do to the tables that a stream changes: whatever it may not is found before the first change, in
//! one list, with the statements that grant it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use dt_common::config::Events;
use dt_common::{Error, Result, TableId};
use dt_connector::Conflict;

use crate::connect::{Conn, flag, text};
use crate::sql;

/// The privileges on tables, as GRANT and `has_table_privilege` call them (PostgreSQL documentation, 5.8 Privileges).
/// Those that can be granted on columns alone come first.
const PRIVILEGES: [&str; 5] = ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"];
const OF_COLUMNS: usize = 3;

/// The privileges that a stream asks for, one for one of `PRIVILEGES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needed([bool; PRIVILEGES.len()]);

impl Needed {
    /// For these kinds of changes. A changed row may be deleted and written again; so is a new one that meets another.
    pub fn of(events: Events, truncates: bool, conflict: Conflict) -> Self {
        let Events { insert, update, delete } = events;
        let replaces = insert && conflict == Conflict::Replace;
        let select = update || delete || (insert && conflict != Conflict::Interrupt);
        Needed([select, insert || update, update || replaces, delete || update || replaces, truncates])
    }
}

/// What the account has of a table that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The account.
    pub account: String,
    /// The table.
    pub table: TableId,
    /// USAGE on its schema.
    pub usage: bool,
    /// One for one of `PRIVILEGES`; on columns alone counts too.
    pub privileges: [bool; PRIVILEGES.len()],
}

/// Asks for those of `tables` that are there.
pub async fn granted(conn: &Conn, tables: &[TableId]) -> Result<Vec<Granted>> {
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    let has = |(at, privilege): (usize, &&str)| {
        let on_table = format!("has_table_privilege(c.oid, '{privilege}')");
        match at < OF_COLUMNS {
            true => format!("{on_table} OR has_any_column_privilege(c.oid, '{privilege}')"),
            false => on_table,
        }
    };
    let has: Vec<String> = PRIVILEGES.iter().enumerate().map(has).collect();
    let schemas: BTreeSet<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let statement = format!(
        "SELECT current_user, n.nspname, c.relname, has_schema_privilege(n.oid, 'USAGE'), {} \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND n.nspname IN ({}) ORDER BY 2, 3",
        has.join(", "),
        sql::strings(schemas)
    );
    let rows = conn.rows(&statement, "asking the target what the account may do").await?;
    let asked: HashSet<&TableId> = tables.iter().collect();
    let granted = rows.iter().map(|row| Granted {
        account: text(row, 0),
        table: TableId::new(text(row, 1), text(row, 2)),
        usage: flag(row, 3),
        privileges: std::array::from_fn(|at| flag(row, 4 + at)),
    });
    Ok(granted.filter(|granted| asked.contains(&granted.table)).collect())
}

/// The most tables that one message lists; the rest is counted.
const LISTED_MAX: usize = 50;

/// Refuses what is missing (pure).
///
/// # Errors
/// Of class user: all tables, what is missing of each, and the statements that grant it.
pub fn check(granted: &[Granted], needed: &Needed) -> Result<()> {
    let mut lines = Vec::new();
    let mut schemas = BTreeSet::new();
    let mut by_privileges: BTreeMap<Vec<&str>, Vec<&TableId>> = BTreeMap::new();
    for table in granted {
        let missing = PRIVILEGES.iter().zip(needed.0).zip(table.privileges);
        let missing: Vec<&str> =
            missing.filter(|((_, needed), has)| *needed && !*has).map(|((name, _), _)| *name).collect();
        if table.usage && missing.is_empty() {
            continue;
        }
        let mut what = missing.clone();
        if !table.usage {
            what.push("USAGE on its schema");
            schemas.insert(table.table.schema.as_str());
        }
        lines.push(format!("\n    - {}: {}", table.table, what.join(", ")));
        if !missing.is_empty() {
            by_privileges.entry(missing).or_default().push(&table.table);
        }
    }
    let Some(account) = granted.first().map(|table| sql::name(&table.account)).filter(|_| !lines.is_empty()) else {
        return Ok(());
    };
    let mut grants: Vec<String> =
        schemas.iter().map(|schema| format!("GRANT USAGE ON SCHEMA {} TO {account}", sql::name(schema))).collect();
    grants.extend(by_privileges.iter().map(|(missing, tables)| {
        let on = match tables.len() <= LISTED_MAX {
            true => tables.iter().map(|table| sql::table(table)).collect::<Vec<_>>().join(", "),
            false => {
                let schemas: BTreeSet<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
                format!("ALL TABLES IN SCHEMA {}", sql::names(schemas))
            }
        };
        format!("GRANT {} ON {on} TO {account}", missing.join(", "))
    }));
    let count = lines.len();
    if count > LISTED_MAX {
        lines.truncate(LISTED_MAX);
        lines.push(format!("\n    - and {} more", count - LISTED_MAX));
    }
    Err(Error::user(format!("the account lacks privileges on {count} of the target's tables:{}", lines.concat()))
        .hint(format!("{}; or follow fewer kinds of changes with [filter] do_events", grants.join("; "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [bool; 5] = [true; 5];

    fn table(name: &str, privileges: [bool; 5]) -> Granted {
        Granted { account: "Writer".into(), table: TableId::new("public", name), usage: true, privileges }
    }

    #[test]
    fn a_stream_asks_for_what_its_changes_do() {
        let inserts = Events { insert: true, update: false, delete: false };
        assert_eq!(Needed::of(Events::ALL, true, Conflict::Replace), Needed(ALL));
        assert_eq!(Needed::of(Events::ALL, false, Conflict::Replace), Needed([true, true, true, true, false]));
        assert_eq!(Needed::of(inserts, false, Conflict::Interrupt), Needed([false, true, false, false, false]));
        assert_eq!(Needed::of(inserts, false, Conflict::Ignore), Needed([true, true, false, false, false]));
        assert_eq!(Needed::of(inserts, false, Conflict::Replace), Needed([true, true, true, true, false]));
        let deletes = Events { insert: false, update: false, delete: true };
        assert_eq!(Needed::of(deletes, true, Conflict::Replace), Needed([true, false, false, true, true]));
    }

    #[test]
    fn all_that_is_missing_is_listed_with_the_statements_that_grant_it() {
        check(&[table("a", ALL)], &Needed(ALL)).expect("nothing is missing");
        check(&[table("a", [true, true, true, true, false])], &Needed([true, true, true, true, false]))
            .expect("TRUNCATE is not asked for");
        let mut hidden = table("d", ALL);
        hidden.usage = false;
        let some = [
            table("a", [true, true, false, true, false]),
            table("b", ALL),
            table("c", [true, true, false, true, false]),
            hidden,
        ];
        let error = check(&some, &Needed(ALL)).expect_err("is refused");
        let text = error.to_string();
        assert!(text.contains("`public`.`a`: UPDATE, TRUNCATE") && text.contains("`public`.`d`: USAGE"), "{text}");
        assert!(text.contains("on 3 of the target's tables") && !text.contains("`public`.`b`"), "{text}");
        let hint = error.hint_text().expect("a way out");
        assert!(hint.contains("GRANT UPDATE, TRUNCATE ON \"public\".\"a\", \"public\".\"c\" TO \"Writer\""), "{hint}");
        assert!(hint.contains("GRANT USAGE ON SCHEMA \"public\" TO \"Writer\""), "{hint}");
    }

    #[test]
    fn many_tables_are_granted_by_their_schema() {
        let many: Vec<Granted> = (0..60).map(|nth| table(&format!("t{nth}"), [true; 5].map(|_| false))).collect();
        let error = check(&many, &Needed(ALL)).expect_err("is refused");
        assert!(error.to_string().contains("and 10 more"), "{error}");
        assert!(error.hint_text().expect("a way out").contains("ON ALL TABLES IN SCHEMA \"public\""), "{error}");
    }
}
