//! Whether a source's log holds all that a stream needs, and its publication lets it out.

use dt_common::config::Events;
use dt_common::{Error, Result, TableId};
use dt_connector::Followed;

use super::facts::{Publication, ServerFacts, TableFacts};
use crate::sql;

/// Refuses a source that cannot be followed at all.
pub fn check_server(facts: &ServerFacts) -> Result<()> {
    if facts.wal_level != "logical" {
        return Err(Error::user(format!("the source's log cannot be followed: wal_level is {}", facts.wal_level))
            .hint("set wal_level=logical on the source (ALTER SYSTEM SET wal_level = logical) and restart it"));
    }
    if facts.is_in_recovery && facts.version_number < 160_000 {
        return Err(Error::user("the source is a standby, and its version does not let a standby be followed")
            .hint("follow the primary server, or use PostgreSQL 16 or newer"));
    }
    if !facts.role.may_replicate && !facts.role.is_superuser {
        return Err(Error::user("the account may not replicate").with("account", &facts.role.name).hint(format!(
            "ALTER ROLE {} REPLICATION; on managed servers, grant the role that they name for it (as rds_replication)",
            sql::name(&facts.role.name)
        )));
    }
    Ok(())
}

/// Refuses tables whose updated and deleted rows have nothing to be identified by: once they are published, the source
/// itself would refuse its users' UPDATE and DELETE.
pub fn check_identities(facts: &ServerFacts, events: Events) -> Result<()> {
    if !events.update && !events.delete {
        return Ok(());
    }
    let without: Vec<&TableId> = facts.tables.iter().flat_map(|table| &table.without_identity).collect();
    if without.is_empty() {
        return Ok(());
    }
    Err(Error::user(format!(
        "tables without a replica identity: once they are published, the source refuses to update and delete their rows: {}",
        listed(&without)
    ))
    .hint("give each of them a primary key; or ALTER TABLE … REPLICA IDENTITY USING INDEX a unique index on columns that are NOT NULL; or ALTER TABLE … REPLICA IDENTITY FULL; or leave it out with [filter] ignore_tbs; with [filter] do_events=insert only new rows are followed, and no identity is needed"))
}

/// Refuses a publication that holds back something that is to be followed.
pub fn check_publication(facts: &ServerFacts, name: &str, publication: &Publication, events: Events) -> Result<()> {
    let quoted = sql::name(name);
    let wanted = [
        (events.insert, publication.insert, "insert"),
        (events.update, publication.update, "update"),
        (events.delete, publication.delete, "delete"),
        (events.delete, publication.truncate, "truncate"),
    ];
    let missing: Vec<&str> =
        wanted.iter().filter(|(wanted, there, _)| *wanted && !*there).map(|(_, _, what)| *what).collect();
    // Who publishes everything but TRUNCATE has chosen so; `advice` says what that means.
    if !missing.is_empty() && missing != ["truncate"] {
        return Err(Error::user("the publication does not publish all kinds of changes that are to be followed")
            .with("publication", &quoted)
            .with("missing", missing.join(", "))
            .hint(format!("ALTER PUBLICATION {quoted} SET (publish = 'insert, update, delete, truncate'); or follow fewer with [filter] do_events")));
    }
    let partitioned: Vec<&TableId> =
        facts.tables.iter().filter(|table| table.is_partitioned).map(|table| &table.id).collect();
    if !publication.via_root && !partitioned.is_empty() {
        return Err(Error::user(format!(
            "the publication sends the changes of partitions under the partitions' names: {}",
            listed(&partitioned)
        ))
        .with("publication", &quoted)
        .hint(format!("ALTER PUBLICATION {quoted} SET (publish_via_partition_root = true)")));
    }
    check_tables(facts, &quoted)
}

fn check_tables(facts: &ServerFacts, quoted: &str) -> Result<()> {
    let logged = || facts.tables.iter().filter(|table| !table.is_unlogged);
    let absent: Vec<&TableId> = logged().filter(|table| table.published.is_none()).map(|table| &table.id).collect();
    if let Some(first) = absent.first() {
        return Err(Error::user(format!("the publication lacks tables that pass the filter: {}", listed(&absent)))
            .with("publication", quoted)
            .hint(format!(
                "ALTER PUBLICATION {quoted} ADD TABLE {} and so on, and copy these tables with a snapshot, for their changes up to then are not sent; or leave them out with [filter] ignore_tbs",
                sql::table(first)
            )));
    }
    let filtered: Vec<&TableId> = logged()
        .filter(|table| table.published.as_ref().is_some_and(|published| published.has_row_filter))
        .map(|table| &table.id)
        .collect();
    if !filtered.is_empty() {
        return Err(Error::user(format!("the publication holds back rows of tables: {}", listed(&filtered)))
            .with("publication", quoted)
            .hint("take the WHERE out of the publication, or use another one with pub_name"));
    }
    let narrowed: Vec<String> = logged().filter_map(held_back).collect();
    if !narrowed.is_empty() {
        return Err(Error::user(format!("the publication holds back columns of tables: {}", narrowed.join(", ")))
            .with("publication", quoted)
            .hint("publish all columns of these tables, or leave those out with [filter] ignore_cols"));
    }
    Ok(())
}

/// The copied columns that are not published.
fn held_back(table: &TableFacts) -> Option<String> {
    let columns = table.published.as_ref()?.columns.as_ref()?;
    let missing: Vec<&str> = table.copied.iter().filter(|name| !columns.contains(name)).map(String::as_str).collect();
    (!missing.is_empty()).then(|| format!("{} ({})", table.id, missing.join(", ")))
}

/// What the user should know although the source can be followed, one line each.
pub fn advice(facts: &ServerFacts, events: Events) -> Vec<String> {
    let unlogged: Vec<&TableId> =
        facts.tables.iter().filter(|table| table.is_unlogged).map(|table| &table.id).collect();
    let mut lines = Vec::new();
    if !unlogged.is_empty() {
        lines.push(format!(
            "changes of unlogged tables are not in the source's log and are not followed: {}",
            listed(&unlogged)
        ));
    }
    if events.delete && facts.publication.as_ref().is_some_and(|publication| !publication.truncate) {
        lines.push("the publication does not publish TRUNCATE: the target keeps the rows of a table that is truncated on the source".to_owned());
    }
    if facts.slot.as_ref().is_some_and(|slot| slot.wal_status == "unreserved") {
        lines.push("the slot is about to be lost: max_slot_wal_keep_size of the source is exceeded".to_owned());
    }
    lines
}

/// What a stream of this source may bring. The publication that is yet to be made publishes TRUNCATE with the deletes.
pub fn followed(facts: &ServerFacts, events: Events) -> Followed {
    let tables = facts.tables.iter().filter(|table| !table.is_unlogged).map(|table| table.id.clone());
    let truncates = facts.publication.as_ref().is_none_or(|publication| publication.truncate);
    Followed { tables: tables.collect(), truncates: events.delete && truncates }
}

/// The most names that one message lists; the rest is counted.
const LISTED_MAX: usize = 50;

/// Names in a message.
pub fn listed(names: &[&TableId]) -> String {
    let mut text: Vec<String> = names.iter().take(LISTED_MAX).map(ToString::to_string).collect();
    if names.len() > LISTED_MAX {
        text.push(format!("and {} more", names.len() - LISTED_MAX));
    }
    text.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::facts::{Published, samples::*};
    use super::*;

    const ALL: Events = Events { insert: true, update: true, delete: true };
    const INSERTS: Events = Events { insert: true, update: false, delete: false };

    fn publication_error(facts: &ServerFacts, events: Events) -> String {
        let publication = facts.publication.clone().expect("is there");
        check_publication(facts, "p", &publication, events).expect_err("is refused").to_string()
    }

    #[test]
    fn a_log_that_is_not_logical_and_an_account_that_may_not_replicate_are_refused() {
        check_server(&server()).expect("can be followed");
        let facts = ServerFacts { wal_level: "replica".into(), ..server() };
        assert!(check_server(&facts).expect_err("is refused").to_string().contains("wal_level is replica"));
        let mut facts = server();
        facts.role.may_replicate = false;
        assert!(check_server(&facts).expect_err("is refused").to_string().contains("ALTER ROLE \"dt\" REPLICATION"));
        facts.role.is_superuser = true;
        check_server(&facts).expect("a superuser may do everything");
        let standby = ServerFacts { is_in_recovery: true, ..server() };
        assert!(check_server(&standby).is_err());
        check_server(&ServerFacts { version_number: 160_000, ..standby }).expect("a newer standby can be followed");
    }

    #[test]
    fn tables_without_an_identity_are_listed_unless_only_new_rows_are_followed() {
        let mut facts = server();
        facts.tables[1].without_identity = vec![TableId::new("public", "b")];
        let error = check_identities(&facts, ALL).expect_err("is refused").to_string();
        assert!(error.contains("`public`.`b`") && error.contains("REPLICA IDENTITY FULL"), "{error}");
        check_identities(&facts, INSERTS).expect("new rows need none");
    }

    #[test]
    fn a_publication_must_let_out_all_that_is_followed() {
        let facts = server();
        let publication = facts.publication.clone().expect("is there");
        check_publication(&facts, "p", &publication, ALL).expect("publishes all");
        let mut facts = server();
        facts.publication = Some(Publication { delete: false, truncate: false, ..publication.clone() });
        assert!(publication_error(&facts, ALL).contains("missing: delete, truncate"));
        check_publication(&facts, "p", &facts.publication.clone().expect("is there"), INSERTS).expect("is enough");
        facts.publication = Some(Publication { truncate: false, ..publication.clone() });
        check_publication(&facts, "p", &facts.publication.clone().expect("is there"), ALL).expect("is a choice");
        assert!(advice(&facts, ALL)[0].contains("TRUNCATE"), "{:?}", advice(&facts, ALL));
        assert_eq!(advice(&facts, INSERTS), Vec::<String>::new());
        let mut facts = server();
        facts.tables[0].is_partitioned = true;
        facts.publication = Some(Publication { via_root: false, ..publication });
        assert!(publication_error(&facts, ALL).contains("publish_via_partition_root = true"));
    }

    #[test]
    fn tables_are_emptied_only_if_that_is_published_and_followed() {
        let mut facts = server();
        facts.tables[1].is_unlogged = true;
        let all = Followed { tables: vec![TableId::new("public", "a")], truncates: true };
        assert_eq!(followed(&facts, ALL), all);
        assert_eq!(followed(&facts, INSERTS), Followed { truncates: false, ..all.clone() });
        facts.publication.as_mut().expect("is there").truncate = false;
        assert_eq!(followed(&facts, ALL), Followed { truncates: false, ..all.clone() });
        facts.publication = None;
        assert_eq!(followed(&facts, ALL), all);
    }

    #[test]
    fn what_a_publication_holds_back_is_named() {
        let mut facts = server();
        facts.tables[1].published = None;
        assert!(publication_error(&facts, ALL).contains("ADD TABLE \"public\".\"b\""));
        facts.tables[1].is_unlogged = true;
        let publication = facts.publication.clone().expect("is there");
        check_publication(&facts, "p", &publication, ALL).expect("an unlogged table cannot be published");
        assert!(advice(&facts, ALL)[0].contains("`public`.`b`"));
        let mut facts = server();
        facts.tables[0].published = Some(Published { columns: None, has_row_filter: true });
        assert!(publication_error(&facts, ALL).contains("holds back rows of tables: `public`.`a`"));
        facts.tables[0].published = Some(Published { columns: Some(vec!["id".into()]), has_row_filter: false });
        assert!(publication_error(&facts, ALL).contains("`public`.`a` (v)"));
        facts.tables[0].copied = vec!["id".into()];
        check_publication(&facts, "p", &publication, ALL).expect("what is not copied need not be published");
    }
}
