//! Every type and every awkward value as a change: what the source holds, the target holds, just as a snapshot has it.

mod pg_streams;
mod pg_types;

use anyhow::{Result, ensure};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::Kind::{self, Postgres15, Postgres18};
use dt_tests::servers::{self, Server};
use dt_tests::task::Task;
use pg_streams::{caught_up, follow, stop};
use pg_types::{SCHEMAS, known_to};

#[test]
fn postgresql_15_values_survive_as_changes() -> Result<()> {
    values_survive(Postgres15, Postgres15, "cdc_values_15")
}

#[test]
fn postgresql_18_values_survive_as_changes() -> Result<()> {
    values_survive(Postgres18, Postgres18, "cdc_values_18")
}

#[test]
fn values_survive_an_upgrade_as_changes() -> Result<()> {
    values_survive(Postgres15, Postgres18, "cdc_values_up")
}

/// Tables that nothing identifies the rows of, and those that a whole-row comparison is to find them in.
const IDENTITIES: &str = "DO $$ DECLARE t regclass; BEGIN \
    FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') \
    AND c.relpersistence = 'p' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary) \
    LOOP EXECUTE format('ALTER TABLE %s REPLICA IDENTITY FULL', t); END LOOP; END $$";

/// Every row once more with the values that it has, and every other one gone.
const TOUCHED: &str = "DO $$ DECLARE t regclass; a name; BEGIN \
    FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') \
    AND NOT c.relispartition AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' AND c.relname <> 'marks' \
    LOOP SELECT attname INTO a FROM pg_attribute WHERE attrelid = t AND attnum > 0 AND NOT attisdropped \
    AND attgenerated = '' AND attidentity <> 'a' ORDER BY attnum DESC LIMIT 1; \
    IF a IS NULL THEN CONTINUE; END IF; \
    EXECUTE format('UPDATE %1$s SET %2$I = %2$I', t, a); \
    EXECUTE format('DELETE FROM %s WHERE ctid IN (SELECT ctid FROM (SELECT ctid, row_number() OVER (ORDER BY tableoid, ctid) n FROM %1$s) x WHERE n %% 2 = 0)', t); \
    END LOOP; END $$";

fn pair_of(from: Kind, to: Kind) -> Result<(&'static Server, &'static Server)> {
    Ok((&servers::pair(from)?.source, &servers::pair(to)?.target))
}

fn values_survive(from: Kind, to: Kind, database: &str) -> Result<()> {
    let (source_server, target_server) = pair_of(from, to)?;
    for server in [source_server, target_server] {
        let db = server.db()?;
        db.exec_all([
            format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{database}'"
            ),
            format!("DROP DATABASE IF EXISTS {database}"),
            format!("CREATE DATABASE {database}"),
        ])?;
    }
    let (source, target) = (source_server.database(database)?, target_server.database(database)?);
    let samples = known_to(from, to);
    pg_types::create(&samples, &source, &target)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE marks (id int PRIMARY KEY)")?;
    }
    source.exec(IDENTITIES)?;
    let task = Task::postgres(source_server, target_server, database)?.schemas(&SCHEMAS).follows(database);
    let mut running = follow(&task)?;
    pg_types::fill(&samples, &source)?;
    caught_up(&mut running, &source, &target)?;
    holds(&source, &target, "inserted")?;
    // Rows that others refer to go too.
    source.exec_all(["SET session_replication_role = replica", TOUCHED, "RESET session_replication_role"])?;
    caught_up(&mut running, &source, &target)?;
    stop(running)?;
    holds(&source, &target, "updated and deleted")?;
    source.exec(format!("SELECT pg_drop_replication_slot('{database}')"))
}

fn holds(source: &Db, target: &Db, what: &str) -> Result<()> {
    let judge = Judge::new(source, target).column("other_types", "d", "({})::timestamp").column(
        "other_types",
        "j",
        "({})::jsonb",
    );
    let mut wrong = Vec::new();
    for schema in SCHEMAS {
        for (table, verdict) in judge.database(schema)? {
            let unlogged =
                format!("SELECT relpersistence = 'u' FROM pg_class WHERE relname = '{}'", table.replace('\'', "''"));
            if source.value(unlogged)?.as_deref() == Some("t") {
                // Its changes are in no log, and the task has said so.
                continue;
            }
            if !verdict.is_equal() {
                wrong.push(format!("{table}: {verdict}"));
                wrong.extend(judge.differences(schema, &table, 4)?.iter().map(|line| line.chars().take(400).collect()));
            }
        }
    }
    ensure!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
    Ok(())
}
