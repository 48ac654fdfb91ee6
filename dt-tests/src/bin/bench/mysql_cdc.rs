//! Following a MySQL binlog: a file of changes, written while nothing follows, is caught up with.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dt_tests::binlog::{self, Place};
use dt_tests::db::Db;
use dt_tests::deadline;
use dt_tests::judge::Judge;
use dt_tests::sample::numbers;
use dt_tests::servers::{Kind, Options, Pair, Server, cache_dir};
use dt_tests::task::Task;
use dt_tests::usage::Usage;

use crate::changes;
use crate::mysql::{settle, shell};
use crate::plan::Plan;
use crate::report::{self, Measured};
use crate::{dt_main, exactly_once};
use crate::{run_shell, say};

const DATABASE: &str = "cdc";
/// The target's tables as they were before the changes.
const START: &str = "cdc_start";
const TABLES: usize = 4;

#[derive(Clone, Copy)]
enum Tool {
    Mysqlbinlog,
    DtMain {
        gtid: bool,
    },
    /// By place, positions in the target.
    DtExactly,
    Decoding,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Mysqlbinlog => "mysqlbinlog | mysql",
            Tool::DtMain { gtid: false } => "dt-main, by file and place",
            Tool::DtMain { gtid: true } => "dt-main, by GTID",
            Tool::DtExactly => "dt-main, from_target",
            Tool::Decoding => "dt-main, sink_type=dummy",
        }
    }

    /// One transaction of the source is one of the target there: it takes minutes, and hardly varies.
    fn runs_max(self) -> u64 {
        match self {
            Tool::Mysqlbinlog => 1,
            Tool::DtMain { .. } | Tool::DtExactly | Tool::Decoding => u64::MAX,
        }
    }

    fn writes(self) -> bool {
        match self {
            Tool::Mysqlbinlog | Tool::DtMain { .. } | Tool::DtExactly => true,
            Tool::Decoding => false,
        }
    }
}

/// The changes in the source's binlog.
struct Recorded {
    file: String,
    position: u64,
    /// What was executed before the first change.
    gtid_set: String,
    /// `YYYY-MM-DD HH:MM:SS`: a time after the last change and before the event behind it.
    end: String,
}

pub(crate) fn bench(plan: &Plan) -> Result<()> {
    let mut tools = vec![Tool::Mysqlbinlog, Tool::DtMain { gtid: false }, Tool::DtMain { gtid: true }];
    tools.extend([Tool::DtExactly, Tool::Decoding]);
    tools.retain(|tool| plan.has(tool.name()));
    say("Starting two MySQL servers with their default durability …")?;
    let extra = ["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--binlog-row-metadata=FULL"];
    let options = Options { durable: true, extra: extra.map(str::to_owned).to_vec(), ..Options::default() };
    let pair = Pair::start(Kind::Mysql, &options)?;
    let (source, target) = pair.database(DATABASE)?;
    say(source.value("SELECT CONCAT('MySQL ', VERSION())")?.unwrap_or_default())?;
    let rows = plan.rows / TABLES as u64;
    say(format!("Generating {TABLES} x {rows} rows, the same on both servers …"))?;
    target.exec(format!("CREATE DATABASE {START}"))?;
    generate(&source, DATABASE, rows)?;
    generate(&target, START, rows)?;
    say(format!("Writing {} changes while nothing follows …", plan.changes))?;
    let recorded = record(&source, rows, plan.changes)?;

    let mut measured: Vec<Measured> =
        tools.iter().map(|tool| Measured { tool: tool.name(), runs: Vec::new() }).collect();
    for run in 1..=plan.runs {
        for (tool, measured) in tools.iter().zip(&mut measured) {
            if run > tool.runs_max() {
                continue;
            }
            if tool.writes() {
                reset(&target)?;
            }
            let usage = follow(*tool, &pair, &recorded).with_context(|| tool.name())?;
            if tool.writes() {
                must_be_equal(&source, &target).with_context(|| tool.name())?;
            }
            say(format!("  run {run}: {:<32} {:.2} s", tool.name(), usage.wall.as_secs_f64()))?;
            measured.runs.push(usage);
        }
    }
    let title = format!("{} changes of {TABLES} x {rows} rows, medians of {}", plan.changes, plan.runs);
    report::table(&title, "changes", plan.changes, &measured).into_iter().try_for_each(say)?;
    say(
        "\nThe target was equal to the source after every run that wrote. CPU and memory are the tool's own processes'.",
    )
}

fn names() -> impl Iterator<Item = String> {
    (1..=TABLES).map(|at| format!("sbtest{at}"))
}

/// Rows that depend on their number only, and look like sysbench's.
fn generate(db: &Db, database: &str, rows: u64) -> Result<()> {
    let digits = |groups: u64| {
        let group = |at| format!("LPAD((i * 7919 + {at}) * 104729 % 100000000000, 11, '0')");
        (1..=groups).map(group).collect::<Vec<_>>().join(", ")
    };
    for table in names() {
        db.exec(format!(
            "CREATE TABLE {database}.{table} (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, k int NOT NULL DEFAULT 0, \
             c char(120) NOT NULL DEFAULT '', pad char(60) NOT NULL DEFAULT '') ENGINE=InnoDB"
        ))?;
        db.exec(format!(
            "INSERT INTO {database}.{table} SELECT i + 1, i * 31 % 1000000, CONCAT_WS('-', {}), CONCAT_WS('-', {}) FROM {}",
            digits(10),
            digits(5),
            numbers(rows)
        ))?;
    }
    Ok(())
}

/// Writes the changes, in a binlog file of their own, and an event behind them by which the follower knows the end.
fn record(source: &Db, rows: u64, changes: u64) -> Result<Recorded> {
    source.exec("FLUSH BINARY LOGS")?;
    let Place { file, position, gtids } = binlog::end(source)?;
    // The load is written fast; what is in the binlog is the same.
    source.exec("SET GLOBAL sync_binlog = 0, GLOBAL innodb_flush_log_at_trx_commit = 0")?;
    changes::write(source, TABLES, rows, changes)?;
    source.exec("SET GLOBAL sync_binlog = DEFAULT, GLOBAL innodb_flush_log_at_trx_commit = DEFAULT")?;
    let end = source.value("SELECT DATE_FORMAT(UTC_TIMESTAMP(), '%Y-%m-%d %H:%i:%s')")?.unwrap_or_default();
    deadline::until("the second of the last change is over", Duration::from_secs(10), || {
        Ok((source.number(format!("SELECT UTC_TIMESTAMP() > '{end}'"))? == 1).then_some(()))
    })?;
    // Followers that are told an end see it when the next transaction is later.
    source.exec("CREATE DATABASE later")?;
    Ok(Recorded { file, position: position.parse()?, gtid_set: gtids, end })
}

/// Gives the target its rows of before the changes.
fn reset(target: &Db) -> Result<()> {
    target.exec("DROP DATABASE IF EXISTS later")?;
    target.exec("SET SESSION sql_log_bin = 0")?;
    for table in names() {
        target.exec_all([
            format!("DROP TABLE IF EXISTS {DATABASE}.{table}"),
            format!("CREATE TABLE {DATABASE}.{table} LIKE {START}.{table}"),
            format!("INSERT INTO {DATABASE}.{table} SELECT * FROM {START}.{table}"),
            // As a table has them that was not filled a moment ago; else the server scans it for each list of keys.
            format!("ANALYZE TABLE {DATABASE}.{table}"),
        ])?;
    }
    target.exec("SET SESSION sql_log_bin = 1")?;
    // What an earlier run has executed would be left out of the next one's.
    target.exec("RESET BINARY LOGS AND GTIDS")?;
    settle(target)
}

fn must_be_equal(source: &Db, target: &Db) -> Result<()> {
    for (table, verdict) in Judge::new(source, target).database(DATABASE)? {
        if !verdict.is_equal() {
            bail!("`{table}`: {verdict}");
        }
    }
    Ok(())
}

fn follow(tool: Tool, pair: &Pair, recorded: &Recorded) -> Result<Usage> {
    let task = Task::of_pair(pair, &[DATABASE])?
        .set("extractor", "extract_type", "cdc")
        .set("extractor", "end_time_utc", &recorded.end)
        .set("pipeline", "checkpoint_interval_secs", "10");
    let by_place = |task: Task| {
        task.set("extractor", "binlog_filename", &recorded.file).set(
            "extractor",
            "binlog_position",
            recorded.position.to_string(),
        )
    };
    match tool {
        Tool::Mysqlbinlog => mysqlbinlog(pair, recorded),
        Tool::DtMain { gtid: false } => dt_main(&by_place(task)),
        Tool::DtExactly => dt_main(&exactly_once(by_place(task))),
        Tool::DtMain { gtid: true } => {
            dt_main(&task.set("extractor", "gtid_enabled", "true").set("extractor", "gtid_set", &recorded.gtid_set))
        }
        Tool::Decoding => dt_main(
            &by_place(task)
                .set("sinker", "sink_type", "dummy")
                .unset("sinker", "url")
                .unset("sinker", "username")
                .unset("sinker", "password"),
        ),
    }
}

/// The servers' own way: row events as BINLOG statements, in a pipe.
fn mysqlbinlog(pair: &Pair, recorded: &Recorded) -> Result<Usage> {
    let Recorded { file, position, .. } = recorded;
    let program = |name| mysql_program(name).map(|words| words.join(" "));
    let dump = format!(
        "{} --no-defaults -h127.0.0.1 -uroot -P{} --read-from-remote-server --database={DATABASE} \
         --start-position={position} --to-last-log {file}",
        program("mysqlbinlog")?,
        pair.source.port()
    );
    run_shell(&format!("{dump} | {} {}", program("mysql")?, plain(&pair.target)))
}

fn plain(server: &Server) -> String {
    shell(server).replace("--skip-ssl", "--ssl-mode=DISABLED")
}

/// A program of the unpacked MySQL, by the loader and the libraries it came with.
fn mysql_program(name: &str) -> Result<Vec<String>> {
    let usr: PathBuf = cache_dir()?.join("mysql/usr");
    let existing = |names: [&str; 2]| names.into_iter().map(|name| usr.join(name)).find(|path| path.exists());
    let loader = existing(["lib64/ld-linux-x86-64.so.2", "lib/ld-linux-aarch64.so.1"])
        .context("MySQL's own loader is missing: run ./scripts/install-servers")?;
    let libraries = existing(["lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu"])
        .context("MySQL's own libraries are missing: run ./scripts/install-servers")?;
    Ok(vec![
        loader.display().to_string(),
        "--library-path".to_owned(),
        format!("{0}:{0}/private", libraries.display()),
        usr.join("bin").join(name).display().to_string(),
    ])
}
