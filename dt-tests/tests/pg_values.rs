//! Every type, every awkward value and every shape of table, between PostgreSQL servers of one and of two versions: what
//! the source holds is what the target holds. The tables are in `pg_types/`.

mod pg_types;

use anyhow::{Result, ensure};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::Kind::{self, Postgres15, Postgres18};
use dt_tests::servers::{self, Server};
use dt_tests::task::Task;
use pg_types::{SCHEMAS, known_to};

#[test]
fn postgresql_15_values_survive() -> Result<()> {
    values_survive(Postgres15, Postgres15, Form::Best, "values_15")
}

#[test]
fn postgresql_15_values_survive_as_text() -> Result<()> {
    values_survive(Postgres15, Postgres15, Form::Text, "values_15_text")
}

#[test]
fn postgresql_18_values_survive() -> Result<()> {
    values_survive(Postgres18, Postgres18, Form::Best, "values_18")
}

#[test]
fn postgresql_18_values_survive_as_text() -> Result<()> {
    values_survive(Postgres18, Postgres18, Form::Text, "values_18_text")
}

#[test]
fn values_survive_an_upgrade() -> Result<()> {
    values_survive(Postgres15, Postgres18, Form::Best, "values_up")
}

#[test]
fn values_that_both_versions_know_survive_a_downgrade() -> Result<()> {
    values_survive(Postgres18, Postgres15, Form::Best, "values_down")
}

/// In which of COPY's formats the rows travel.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// In binary wherever that is possible.
    Best,
    /// Always as text: each of the target's tables has a column whose type is not read in binary.
    Text,
}

const WITHOUT_BINARY_INPUT: &str = "DO $$ DECLARE t regclass; BEGIN \
    FOR t IN SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') \
    AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema' \
    AND NOT EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = c.oid) \
    AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.atttypid = c.reltype) \
    LOOP EXECUTE format('ALTER TABLE %s ADD \"of text only\" aclitem', t); END LOOP; END $$";

/// Makes every session of the server write and read values as a stranger's might.
fn unhelpful(server: &Server, database: &str) -> Result<()> {
    let settings = [
        "DateStyle = 'SQL, DMY'",
        "IntervalStyle = 'sql_standard'",
        "TimeZone = 'Asia/Kathmandu'",
        "extra_float_digits = -15",
        "bytea_output = 'escape'",
        "xmloption = 'document'",
        "statement_timeout = '200ms'",
        "default_transaction_isolation = 'serializable'",
        "search_path = 'nowhere'",
        "standard_conforming_strings = off",
        "transform_null_equals = on",
        "array_nulls = off",
        "client_encoding = 'LATIN1'",
        "enable_seqscan = off",
        "synchronous_commit = off",
    ];
    server.db()?.exec_all(settings.map(|setting| format!("ALTER DATABASE {database} SET {setting}")))
}

fn values_survive(from: Kind, to: Kind, form: Form, database: &str) -> Result<()> {
    let (source_server, target_server) = (&servers::pair(from)?.source, &servers::pair(to)?.target);
    let (source, target) = (source_server.fresh(database)?, target_server.fresh(database)?);
    let samples = known_to(from, to);
    pg_types::create(&samples, &source, &target)?;
    pg_types::fill(&samples, &source)?;
    if form == Form::Text {
        target.exec(WITHOUT_BINARY_INPUT)?;
    }
    for server in [source_server, target_server] {
        unhelpful(server, database)?;
    }
    let task = Task::postgres(source_server, target_server, database)?.schemas(&SCHEMAS);
    let finished = task.set("pipeline", "max_retry_secs", "5").run()?.expect_code(0)?;
    let (rows, wrong) = compared(&source, &target)?;
    ensure!(wrong.is_empty(), "{from} to {to}:\n{}", wrong.join("\n"));
    ensure!(finished.summary("rows") == Some(rows), "{rows} rows: {}", finished.said());
    Ok(())
}

/// The number of rows, and each table that differs with the rows that do.
fn compared(source: &Db, target: &Db) -> Result<(u64, Vec<String>)> {
    let judge = Judge::new(source, target).column("other_types", "d", "({})::timestamp").column(
        "other_types",
        "j",
        "({})::jsonb",
    );
    let mut rows = 0;
    let mut wrong = Vec::new();
    for schema in SCHEMAS {
        for (table, verdict) in judge.database(schema)? {
            rows += verdict.rows;
            if verdict.rows == 0 || !verdict.is_equal() {
                wrong.push(format!("{table}: {verdict}"));
                wrong.extend(judge.differences(schema, &table, 4)?.iter().map(|line| line.chars().take(400).collect()));
            }
        }
    }
    Ok((rows, wrong))
}

#[test]
fn every_sample_has_rows_on_both_versions() -> Result<()> {
    for kind in [Postgres15, Postgres18] {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database("values_made")?;
        let samples = known_to(kind, kind);
        pg_types::create(&samples, &source, &target)?;
        pg_types::fill(&samples, &source)?;
        for schema in SCHEMAS {
            for (table, verdict) in Judge::new(&source, &target).database(schema)? {
                ensure!(verdict.rows > 0 && verdict.missing == verdict.rows, "{kind}: {table}: {verdict}");
            }
        }
    }
    Ok(())
}
