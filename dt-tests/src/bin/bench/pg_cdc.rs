//! Following PostgreSQL's logical replication: a load of changes, written while nothing follows, is caught up with.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use dt_tests::db::Db;
use dt_tests::deadline;
use dt_tests::servers::{Kind, Options, Pair};
use dt_tests::task::Task;
use dt_tests::usage::Usage;

use crate::pg::{create, must_be_equal};
use crate::plan::Plan;
use crate::report::{self, Measured};
use crate::{changes, dt_main, exactly_once, say};

const DATABASE: &str = "cdc";
/// The schema of the target's tables as they were before the changes.
const START: &str = "start";
const TABLES: usize = 4;
/// The slot that was made before the changes; each run follows a copy of it.
const SLOT: &str = "bench";
/// All tables, and the marker behind the changes.
const ALL: &str = "bench_all";
/// The tables alone: the target of a subscription must have all that is published.
const ONLY: &str = "bench_tables";
/// How long a follower may take.
const PATIENCE: Duration = Duration::from_secs(600);

#[derive(Clone, Copy)]
enum Tool {
    Subscription,
    DtMain,
    /// Positions in the target.
    DtExactly,
    Decoding,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Subscription => "CREATE SUBSCRIPTION",
            Tool::DtMain => "dt-main",
            Tool::DtExactly => "dt-main, from_target",
            Tool::Decoding => "dt-main, sink_type=dummy",
        }
    }

    fn writes(self) -> bool {
        match self {
            Tool::Subscription | Tool::DtMain | Tool::DtExactly => true,
            Tool::Decoding => false,
        }
    }
}

/// Where the changes end.
struct Recorded {
    /// The place in the log.
    lsn: String,
    /// `YYYY-MM-DD HH:MM:SS`: a time after the last change and before the marker behind it.
    end: String,
}

pub(crate) fn bench(plan: &Plan) -> Result<()> {
    let mut tools = vec![Tool::Subscription, Tool::DtMain, Tool::DtExactly, Tool::Decoding];
    tools.retain(|tool| plan.has(tool.name()));
    say("Starting two PostgreSQL servers with their default durability …")?;
    let pair = Pair::start(Kind::Postgres15, &Options { durable: true, ..Options::default() })?;
    let (source, target) = pair.database(DATABASE)?;
    say(source.value("SELECT version()")?.unwrap_or_default())?;
    let rows = plan.rows / TABLES as u64;
    say(format!("Generating {TABLES} x {rows} rows, the same on both servers …"))?;
    target.exec(format!("CREATE SCHEMA {START}"))?;
    generate(&source, "public", rows)?;
    generate(&target, START, rows)?;
    target.exec_all(names().map(|table| create(&table)))?;
    say(format!("Writing {} changes while nothing follows …", plan.changes))?;
    let recorded = record(&source, rows, plan.changes)?;

    let mut measured: Vec<Measured> =
        tools.iter().map(|tool| Measured { tool: tool.name(), runs: Vec::new() }).collect();
    for run in 1..=plan.runs {
        for (tool, measured) in tools.iter().zip(&mut measured) {
            if tool.writes() {
                reset(&target)?;
            }
            let slot = format!("run_{run}_{}", measured.tool.len());
            source.exec(format!("SELECT pg_copy_logical_replication_slot('{SLOT}', '{slot}')"))?;
            let usage = follow(*tool, &pair, &slot, &recorded).with_context(|| tool.name())?;
            // The server may not have noticed yet that the follower is gone.
            deadline::until("the slot is free", Duration::from_secs(60), || {
                let drop = "SELECT count(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots";
                let dropped = source.number(format!("{drop} WHERE slot_name = '{slot}' AND NOT active"))?;
                Ok((dropped == 1).then_some(()))
            })?;
            if tool.writes() {
                must_be_equal(&source, &target).with_context(|| tool.name())?;
            }
            say(format!("  run {run}: {:<32} {:.2} s", tool.name(), usage.wall.as_secs_f64()))?;
            measured.runs.push(usage);
        }
    }
    let title = format!("{} changes of {TABLES} x {rows} rows, medians of {}", plan.changes, plan.runs);
    report::table(&title, "changes", plan.changes, &measured).into_iter().try_for_each(say)?;
    say("\nThe target was equal to the source after every run that wrote. CPU and memory are dt-main's own; a \
         subscription's are part of the target server and not shown.")
}

fn names() -> impl Iterator<Item = String> {
    (1..=TABLES).map(|at| format!("sbtest{at}"))
}

/// Rows that depend on their number only, and look like sysbench's.
fn generate(db: &Db, schema: &str, rows: u64) -> Result<()> {
    let digits = |groups: u64| {
        let group = |at| format!("lpad(((i * 7919 + {at}) * 104729 % 100000000000)::text, 11, '0')");
        (1..=groups).map(group).collect::<Vec<_>>().join(", ")
    };
    for table in names().map(|table| format!("{schema}.{table}")) {
        db.exec(create(&table))?;
        db.exec(format!(
            "INSERT INTO {table} SELECT i, i * 31 % 1000000, concat_ws('-', {}), concat_ws('-', {}) \
             FROM generate_series(1, {rows}::bigint) AS i",
            digits(10),
            digits(5)
        ))?;
        db.exec(format!("VACUUM ANALYZE {table}"))?;
    }
    Ok(())
}

/// Writes the changes behind a new slot, and a marker by which the follower knows the end.
fn record(source: &Db, rows: u64, changes: u64) -> Result<Recorded> {
    source.exec_all([
        "CREATE SCHEMA later; CREATE TABLE later.marker (id int PRIMARY KEY)".to_owned(),
        format!("CREATE PUBLICATION {ALL} FOR ALL TABLES"),
        format!("CREATE PUBLICATION {ONLY} FOR TABLES IN SCHEMA public"),
        format!("SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')"),
        // The load is written fast; what is in the log is the same.
        "SET synchronous_commit = off".to_owned(),
    ])?;
    changes::write(source, TABLES, rows, changes)?;
    source.exec("SET synchronous_commit = on")?;
    let lsn = source.value("SELECT pg_current_wal_insert_lsn()")?.context("no place in the log")?;
    let now = "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')";
    let end = source.value(format!("SELECT {now}"))?.unwrap_or_default();
    deadline::until("the second of the last change is over", Duration::from_secs(10), || {
        Ok((source.value(format!("SELECT {now} > '{end}'"))?.as_deref() == Some("t")).then_some(()))
    })?;
    // Followers that are told an end see it when the next transaction is later.
    source.exec("INSERT INTO later.marker VALUES (1)")?;
    Ok(Recorded { lsn, end })
}

/// Gives the target its rows of before the changes.
fn reset(target: &Db) -> Result<()> {
    for table in names() {
        target.exec(format!("TRUNCATE {table}; INSERT INTO {table} SELECT * FROM {START}.{table} ORDER BY id"))?;
        target.exec(format!("VACUUM ANALYZE {table}"))?;
    }
    target.exec("CHECKPOINT")
}

fn follow(tool: Tool, pair: &Pair, slot: &str, recorded: &Recorded) -> Result<Usage> {
    let task = || -> Result<Task> {
        let task = Task::of_postgres_pair(pair, DATABASE)?.follows(slot).set("extractor", "pub_name", ALL);
        Ok(task.set("extractor", "end_time_utc", &recorded.end).set("pipeline", "checkpoint_interval_secs", "10"))
    };
    match tool {
        Tool::Subscription => subscription(pair, slot, &recorded.lsn),
        Tool::DtMain => dt_main(&task()?),
        Tool::DtExactly => dt_main(&exactly_once(task()?)),
        Tool::Decoding => dt_main(
            &task()?
                .set("sinker", "sink_type", "dummy")
                .unset("sinker", "url")
                .unset("sinker", "username")
                .unset("sinker", "password"),
        ),
    }
}

/// The servers' own way: a worker of the target applies each transaction in its own.
fn subscription(pair: &Pair, slot: &str, lsn: &str) -> Result<Usage> {
    let (source, target) = (pair.source.database(DATABASE)?, pair.target.database(DATABASE)?);
    let start = Instant::now();
    target.exec(format!(
        "CREATE SUBSCRIPTION bench CONNECTION 'host=127.0.0.1 port={} user=postgres dbname={DATABASE}' \
         PUBLICATION {ONLY} WITH (create_slot = false, slot_name = '{slot}', copy_data = false)",
        pair.source.port()
    ))?;
    let applied = format!("SELECT confirmed_flush_lsn >= '{lsn}' FROM pg_replication_slots WHERE slot_name = '{slot}'");
    deadline::until("the subscription has caught up", PATIENCE, || {
        Ok((source.value(&applied)?.as_deref() == Some("t")).then_some(()))
    })?;
    let wall = start.elapsed();
    target.exec("ALTER SUBSCRIPTION bench DISABLE")?;
    target.exec("ALTER SUBSCRIPTION bench SET (slot_name = NONE)")?;
    target.exec("DROP SUBSCRIPTION bench")?;
    let free = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{slot}' AND NOT active");
    deadline::until("the subscription's worker is gone", Duration::from_secs(30), || {
        Ok((source.number(&free)? == 1).then_some(()))
    })?;
    Ok(Usage { wall, ..Usage::default() })
}
