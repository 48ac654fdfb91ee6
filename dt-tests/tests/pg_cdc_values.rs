//! Every type and every awkward value as a change: what the source holds, the target holds, just as a snapshot has it.

mod pg_streams;
mod pg_types;

use anyhow::{Context, Result, ensure};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::Kind::{self, Postgres15, Postgres18};
use dt_tests::servers::{self, Server};
use dt_tests::task::Task;
use pg_streams::{caught_up, drop_slot, equal, follow, followed, set_up, stop};
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

/// Money of another country if the machine has one, else another name of the same.
fn foreign_money(db: &Db) -> &'static str {
    let known = |locale: &&str| db.exec(format!("SELECT set_config('lc_monetary', '{locale}', true)")).is_ok();
    ["de_DE.UTF-8", "C.UTF-8"].into_iter().find(known).unwrap_or("POSIX")
}

#[test]
fn money_is_the_same_amount_whatever_lc_monetary_the_databases_have() -> Result<()> {
    for kind in [Postgres15, Postgres18] {
        let pair = servers::pair(kind)?;
        let (source, target, task) = set_up(
            pair,
            "cdc_money",
            &["CREATE TABLE t (id int PRIMARY KEY, m money)", "ALTER TABLE t REPLICA IDENTITY FULL"],
        )?;
        source.exec(format!("ALTER DATABASE cdc_money SET lc_monetary = '{}'", foreign_money(&source)))?;
        target.exec_all([
            "ALTER DATABASE cdc_money SET lc_monetary = 'POSIX'",
            "CREATE SCHEMA own; CREATE TABLE own.seen (setting text PRIMARY KEY)",
            "CREATE FUNCTION own.see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             INSERT INTO own.seen VALUES (current_setting('lc_monetary')) ON CONFLICT DO NOTHING; RETURN NEW; END $$",
            "CREATE TRIGGER see BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION own.see()",
            "ALTER TABLE t ENABLE ALWAYS TRIGGER see",
        ])?;
        let changes = [
            "INSERT INTO t VALUES (1, 1234567.89::money), (2, (-0.01)::money), (3, 12.5::money), (4, NULL)",
            "INSERT INTO t SELECT i, (i * 1000.01)::money FROM generate_series(10, 100) i",
            "UPDATE t SET m = m * 2; DELETE FROM t WHERE id = 3",
        ];
        followed(&task, &source, &target, &changes)?;
        equal(&source, &target)?;
        let seen =
            target.value("SELECT string_agg(setting, ' ') FROM own.seen")?.context("the trigger did not fire")?;
        ensure!(seen == "C", "lc_monetary was {seen}");
        drop_slot(pair, "cdc_money")?;
    }
    Ok(())
}
