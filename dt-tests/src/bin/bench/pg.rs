//! A snapshot from PostgreSQL to PostgreSQL: one table of all rows, and four tables of a quarter each.

use std::path::Path;

use anyhow::{Context, Result, bail};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::servers::{Kind, Options, Pair, Server};
use dt_tests::task::Task;
use dt_tests::usage::Usage;
use tempfile::TempDir;

use crate::plan::Plan;
use crate::report::{self, Measured};
use crate::{dt_main, exactly_once, run_shell, say};

/// The machine's own client programs; those on the PATH are wrappers.
const BIN: &str = "/usr/lib/postgresql/15/bin";

#[derive(Clone, Copy)]
enum Tool {
    /// One `psql` reads what another one writes, so many of them at a time.
    Pipes(u64),
    DtMain {
        parallel: u32,
    },
    /// Two chunks of tables at a time.
    DtChunks,
    /// As with parallel_size 2, positions in the target.
    DtExactly,
    PgDump,
    Pgcopydb,
    /// Files in COPY's binary format, so many at a time: what the target can take at most.
    CopyIn(u64),
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Pipes(1) => "psql COPY | psql COPY",
            Tool::Pipes(_) => "the same, two at a time",
            Tool::DtMain { parallel: 1 } => "dt-main, parallel_size 1",
            Tool::DtMain { .. } => "dt-main, parallel_size 2",
            Tool::DtChunks => "dt-main, 2 chunks at a time",
            Tool::DtExactly => "dt-main, 2, from_target",
            Tool::PgDump => "pg_dump -j2, then pg_restore -j2",
            Tool::Pgcopydb => "pgcopydb, 2 jobs",
            Tool::CopyIn(1) => "limit: COPY in, 1 connection",
            Tool::CopyIn(_) => "limit: COPY in, 2 connections",
        }
    }

    /// Whether it has something to do at a time: a single table is one pipe.
    fn fits(self, tables: u64) -> bool {
        match self {
            Tool::Pipes(at_a_time) | Tool::CopyIn(at_a_time) => at_a_time <= tables,
            Tool::DtMain { .. } | Tool::DtChunks | Tool::DtExactly | Tool::PgDump | Tool::Pgcopydb => true,
        }
    }
}

/// The tables of one measurement, on both servers.
struct Data<'a> {
    pair: &'a Pair,
    database: &'static str,
    tables: u64,
    rows: u64,
}

pub(crate) fn bench(plan: &Plan) -> Result<()> {
    say("Starting two PostgreSQL servers with their default durability …")?;
    let pair = Pair::start(Kind::Postgres15, &Options { durable: true, ..Options::default() })?;
    say(pair.source.db()?.value("SELECT version()")?.unwrap_or_default())?;
    for (database, tables) in [("sb1", 1), ("sb4", 4)] {
        let data = Data { pair: &pair, database, tables, rows: plan.rows / tables * tables };
        // The first is what the others are compared with.
        let mut tools = vec![Tool::Pipes(tables.min(2)), Tool::DtMain { parallel: 1 }, Tool::DtMain { parallel: 2 }];
        tools.extend([Tool::DtChunks, Tool::DtExactly]);
        tools.extend((tables > 1).then_some(Tool::Pipes(1)));
        tools.extend([Tool::PgDump, Tool::Pgcopydb]);
        if plan.all || !plan.only.is_empty() {
            tools.extend([Tool::CopyIn(1), Tool::CopyIn(2)]);
        }
        tools.retain(|tool| tool.fits(tables) && plan.has(tool.name()));
        say(format!("Generating {database}: {tables} x {} rows …", data.rows / tables))?;
        data.generate()?;
        // Once for nothing: the log's files are made then, and used again from there on.
        data.copy(Tool::Pipes(1))?;
        let mut measured: Vec<Measured> =
            tools.iter().map(|tool| Measured { tool: tool.name(), runs: Vec::new() }).collect();
        for run in 1..=plan.runs {
            for (tool, measured) in tools.iter().zip(&mut measured) {
                data.empty_target()?;
                let usage = data.copy(*tool).with_context(|| tool.name())?;
                data.must_be_equal().with_context(|| tool.name())?;
                say(format!("  run {run}: {:<32} {:.2} s", tool.name(), usage.wall.as_secs_f64()))?;
                measured.runs.push(usage);
            }
        }
        let title = format!("{database}: {tables} x {} rows, medians of {}", data.rows / tables, plan.runs);
        report::table(&title, "rows", data.rows, &measured).into_iter().try_for_each(say)?;
        data.drop()?;
    }
    say(
        "\nThe target was equal to the source after every run. CPU is the tool's own processes', memory of a pipe only the \
         shell's.",
    )
}

impl Data<'_> {
    fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.tables).map(|at| format!("sbtest{at}"))
    }

    fn generate(&self) -> Result<()> {
        let (source, target) = self.pair.database(self.database)?;
        let digits = |groups| vec!["lpad(floor(random() * 1e11)::bigint::text, 11, '0')"; groups].join(", ");
        for table in self.names() {
            for db in [&source, &target] {
                db.exec(create(&table))?;
            }
            source.exec(format!(
                "INSERT INTO {table} SELECT i, floor(1 + random() * {}), concat_ws('-', {}), concat_ws('-', {}) \
                 FROM generate_series(1, {}) AS i",
                self.rows,
                digits(10),
                digits(5),
                self.rows / self.tables
            ))?;
            source.exec(format!("VACUUM ANALYZE {table}"))?;
        }
        source.exec("CHECKPOINT")
    }

    fn drop(&self) -> Result<()> {
        let drop = |server: &Server| server.db()?.exec(format!("DROP DATABASE {}", self.database));
        drop(&self.pair.source)?;
        drop(&self.pair.target)
    }

    fn empty_target(&self) -> Result<()> {
        let target = self.pair.target.database(self.database)?;
        target.exec_all(self.names().map(|table| format!("TRUNCATE {table}")))?;
        // No tool pays for the one before it.
        target.exec("CHECKPOINT")
    }

    fn must_be_equal(&self) -> Result<()> {
        let database = |server: &Server| server.database(self.database);
        must_be_equal(&database(&self.pair.source)?, &database(&self.pair.target)?)
    }

    fn copy(&self, tool: Tool) -> Result<Usage> {
        let folder = TempDir::with_prefix("dt-bench-")?;
        match tool {
            Tool::Pipes(at_a_time) => {
                let pipe = |table: &String| {
                    format!(
                        "{} -c 'COPY {table} TO STDOUT (FORMAT binary)' | {} -c 'COPY {table} FROM STDIN (FORMAT binary)'",
                        self.psql(&self.pair.source),
                        self.psql(&self.pair.target)
                    )
                };
                run_shell(&spread(self.names().map(|table| pipe(&table)), at_a_time))
            }
            Tool::DtMain { parallel } => dt_main(&self.task(parallel)?),
            Tool::DtExactly => dt_main(&exactly_once(self.task(2)?)),
            Tool::DtChunks => dt_main(&self.task(2)?.set("extractor", "parallel_type", "chunk")),
            Tool::PgDump => self.pg_dump(&folder.path().join("dump")),
            Tool::Pgcopydb => {
                let uri =
                    |server: &Server| format!("postgres://postgres@127.0.0.1:{}/{}", server.port(), self.database);
                run_shell(&format!(
                    "pgcopydb copy table-data --dir {} --source {} --target {} --table-jobs 2 --index-jobs 1 >{log} 2>&1 || {{ cat {log}; exit 1; }}",
                    folder.path().join("work").display(),
                    uri(&self.pair.source),
                    uri(&self.pair.target),
                    log = folder.path().join("log").display()
                ))
            }
            Tool::CopyIn(connections) => self.copy_in(folder.path(), connections),
        }
    }

    fn task(&self, parallel: u32) -> Result<Task> {
        let parallel = parallel.to_string();
        Ok(Task::of_postgres_pair(self.pair, self.database)?
            .set("extractor", "parallel_size", &parallel)
            .set("parallelizer", "parallel_size", &parallel)
            .set("pipeline", "checkpoint_interval_secs", "10"))
    }

    fn psql(&self, server: &Server) -> String {
        format!("{BIN}/psql -Xq {} -d {}", shell(server), self.database)
    }

    fn pg_dump(&self, folder: &Path) -> Result<Usage> {
        let (database, folder) = (self.database, folder.display());
        run_shell(&format!(
            "{BIN}/pg_dump {} -Fd -j2 -Z0 -a -f {folder} {database} && {BIN}/pg_restore {} -j2 -a -d {database} {folder}",
            shell(&self.pair.source),
            shell(&self.pair.target)
        ))
    }

    fn copy_in(&self, folder: &Path, connections: u64) -> Result<Usage> {
        let file = |table: &str| folder.join(table).display().to_string();
        for table in self.names() {
            let source = self.psql(&self.pair.source);
            run_shell(&format!("{source} -c 'COPY {table} TO STDOUT (FORMAT binary)' >{}", file(&table)))?;
        }
        let target = self.psql(&self.pair.target);
        let load = self
            .names()
            .map(|table| format!("{target} -c 'COPY {table} FROM STDIN (FORMAT binary)' <{}", file(&table)));
        run_shell(&spread(load, connections))
    }
}

/// A script that runs commands in so many lines at a time.
fn spread(commands: impl Iterator<Item = String>, at_a_time: u64) -> String {
    let mut lines = vec![String::new(); usize::try_from(at_a_time).unwrap_or(1)];
    let count = lines.len();
    for (at, command) in commands.enumerate() {
        lines[at % count] += &format!("{command}\n");
    }
    lines.iter().map(|line| format!("( {line} ) &\n")).collect::<String>() + "wait"
}

pub(crate) fn create(table: &str) -> String {
    format!(
        "CREATE TABLE {table} (id int NOT NULL PRIMARY KEY, k int NOT NULL DEFAULT 0, c char(120) NOT NULL DEFAULT '', \
         pad char(60) NOT NULL DEFAULT '')"
    )
}

pub(crate) fn must_be_equal(source: &Db, target: &Db) -> Result<()> {
    for (table, verdict) in Judge::new(source, target).database("public")? {
        if !verdict.is_equal() {
            bail!("`{table}`: {verdict}");
        }
    }
    Ok(())
}

/// Where a server is, for PostgreSQL's own programs.
fn shell(server: &Server) -> String {
    format!("-h 127.0.0.1 -U postgres -p {}", server.port())
}
