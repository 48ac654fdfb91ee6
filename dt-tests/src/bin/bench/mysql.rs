//! A snapshot from MySQL to MySQL: one table of all rows, and four tables of a quarter each.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use dt_tests::db::Db;
use dt_tests::judge::Judge;
use dt_tests::sample::numbers;
use dt_tests::servers::{Kind, Options, Pair, Server};
use dt_tests::task::Task;
use dt_tests::usage::{self, Usage};
use tempfile::TempDir;

use crate::plan::Plan;
use crate::report::{self, Measured};
use crate::{dt_main, exactly_once};
use crate::{run_shell, say};

#[derive(Clone, Copy)]
enum Tool {
    Mydumper {
        binlog: bool,
    },
    DtMain {
        parallel: u32,
    },
    /// Two chunks of tables at a time.
    DtChunks,
    /// As with parallel_size 2, positions in the target.
    DtExactly,
    MariadbDump,
    LoadData {
        connections: u64,
    },
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            // myloader keeps what it loads out of the target's binlog unless it is told otherwise.
            Tool::Mydumper { binlog: false } => "mydumper -t2, then myloader -t2",
            Tool::Mydumper { binlog: true } => "the same, myloader with binlog",
            Tool::DtMain { parallel: 1 } => "dt-main, parallel_size 1",
            Tool::DtMain { .. } => "dt-main, parallel_size 2",
            Tool::DtChunks => "dt-main, 2 chunks at a time",
            Tool::DtExactly => "dt-main, 2, from_target",
            Tool::MariadbDump => "mariadb-dump | mariadb",
            Tool::LoadData { connections: 1 } => "limit: LOAD DATA, 1 connection",
            Tool::LoadData { .. } => "limit: LOAD DATA, 2 connections",
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
    let mut tools = vec![Tool::Mydumper { binlog: false }, Tool::DtMain { parallel: 1 }, Tool::DtMain { parallel: 2 }];
    tools.extend([Tool::DtChunks, Tool::DtExactly]);
    if plan.all || !plan.only.is_empty() {
        tools.extend([
            Tool::Mydumper { binlog: true },
            Tool::MariadbDump,
            Tool::LoadData { connections: 1 },
            Tool::LoadData { connections: 2 },
        ]);
    }
    tools.retain(|tool| plan.has(tool.name()));
    say("Starting two MySQL servers with their default durability …")?;
    let pair = Pair::start(Kind::Mysql, &Options { durable: true, ..Options::default() })?;
    say(pair.source.db()?.value("SELECT CONCAT('MySQL ', VERSION())")?.unwrap_or_default())?;
    for (database, tables) in [("sb1", 1), ("sb4", 4)] {
        let data = Data { pair: &pair, database, tables, rows: plan.rows / tables * tables };
        say(format!("Generating {database}: {tables} x {} rows …", data.rows / tables))?;
        data.generate()?;
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
        data.drop_source()?;
    }
    say("\nThe target was equal to the source after every run. CPU and memory are the tool's own processes'.")
}

impl Data<'_> {
    fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.tables).map(|at| format!("sbtest{at}"))
    }

    fn generate(&self) -> Result<()> {
        let (source, target) = self.pair.database(self.database)?;
        let digits = |groups| vec!["LPAD(FLOOR(RAND() * 100000000000), 11, '0')"; groups].join(", ");
        let from = numbers(self.rows / self.tables);
        for table in self.names() {
            for db in [&source, &target] {
                db.exec(format!(
                    "CREATE TABLE {table} (id int NOT NULL AUTO_INCREMENT PRIMARY KEY, k int NOT NULL DEFAULT 0, \
                     c char(120) NOT NULL DEFAULT '', pad char(60) NOT NULL DEFAULT '') ENGINE=InnoDB"
                ))?;
            }
            source.exec(format!(
                "INSERT INTO {table} SELECT i + 1, FLOOR(1 + RAND() * {}), CONCAT_WS('-', {}), CONCAT_WS('-', {}) FROM {from}",
                self.rows,
                digits(10),
                digits(5)
            ))?;
            source.exec(format!("ANALYZE TABLE {table}"))?;
        }
        Ok(())
    }

    fn drop_source(&self) -> Result<()> {
        self.pair.source.db()?.exec(format!("DROP DATABASE {}", self.database))
    }

    fn empty_target(&self) -> Result<()> {
        let target = self.pair.target.db()?;
        target.exec_all(self.names().map(|table| format!("TRUNCATE TABLE {}.{table}", self.database)))?;
        // What earlier runs left behind: their binlogs and their dirty pages.
        let log = target.rows("SHOW BINARY LOG STATUS")?;
        if let Some(file) = log.first().and_then(|row| row.first().cloned().flatten()) {
            target.exec(format!("PURGE BINARY LOGS TO '{file}'"))?;
        }
        settle(&target)
    }

    fn must_be_equal(&self) -> Result<()> {
        let (source, target) = (self.pair.source.db()?, self.pair.target.db()?);
        for (table, verdict) in Judge::new(&source, &target).database(self.database)? {
            if !verdict.is_equal() {
                bail!("`{table}`: {verdict}");
            }
        }
        Ok(())
    }

    fn copy(&self, tool: Tool) -> Result<Usage> {
        let folder = TempDir::with_prefix("dt-bench-")?;
        match tool {
            Tool::Mydumper { binlog } => self.mydumper(folder.path(), binlog),
            Tool::DtMain { parallel } => dt_main(&self.task(parallel)?),
            Tool::DtExactly => dt_main(&exactly_once(self.task(2)?)),
            Tool::DtChunks => dt_main(&self.task(2)?.set("extractor", "parallel_type", "chunk")),
            Tool::MariadbDump => self.mariadb_dump(),
            Tool::LoadData { connections } => self.load_data(folder.path(), connections),
        }
    }

    fn task(&self, parallel: u32) -> Result<Task> {
        let parallel = parallel.to_string();
        Ok(Task::of_pair(self.pair, &[self.database])?
            .set("extractor", "parallel_size", &parallel)
            .set("parallelizer", "parallel_size", &parallel)
            .set("pipeline", "checkpoint_interval_secs", "10"))
    }

    fn mydumper(&self, folder: &Path, binlog: bool) -> Result<Usage> {
        let mut dump = client("mydumper", &self.pair.source);
        dump.args(["-t", "2", "-m", "-v", "0", "-B", self.database, "-o"]).arg(folder);
        let mut load = client("myloader", &self.pair.target);
        load.args(["-t", "2", "-v", "0", "-B", self.database, "-d"]).arg(folder);
        load.args(binlog.then_some("-e"));
        // mydumper reports success with an error for a server that has no SHOW MASTER STATUS; the judge decides.
        Ok(usage::of(&mut dump)?.1.then(usage::of(&mut load)?.1))
    }

    fn mariadb_dump(&self) -> Result<Usage> {
        let script = format!(
            "mariadb-dump {} --skip-add-drop-table --no-create-info {database} | mariadb {} {database}",
            shell(&self.pair.source),
            shell(&self.pair.target),
            database = self.database
        );
        run_shell(&script)
    }

    /// Files that the source wrote, sent over some connections: what the target can take at most.
    fn load_data(&self, folder: &Path, connections: u64) -> Result<Usage> {
        let source = self.pair.source.db()?;
        let mut scripts = vec![String::new(); usize::try_from(connections)?];
        for (at, table) in self.names().enumerate() {
            for part in 0..connections {
                let file = folder.join(format!("{table}.{part}"));
                let rows = self.rows / self.tables / connections;
                let ids = format!(
                    "id > {} AND id <= {}",
                    part * rows,
                    if part + 1 == connections { u64::MAX } else { (part + 1) * rows }
                );
                source.exec(format!(
                    "SELECT * FROM {}.{table} WHERE {ids} INTO OUTFILE '{}'",
                    self.database,
                    file.display()
                ))?;
                // Several tables: each connection has tables of its own, so that none waits for another.
                let connection = if self.tables > 1 { at as u64 % connections } else { part };
                scripts[usize::try_from(connection)?] +=
                    &format!("LOAD DATA LOCAL INFILE '{}' INTO TABLE {table};\n", file.display());
            }
        }
        let clients = scripts.iter().map(|sql| {
            let target = shell(&self.pair.target);
            format!("mariadb {target} --local-infile=1 {} <<'SQL' &\n{sql}SQL\n", self.database)
        });
        run_shell(&(clients.collect::<String>() + "wait"))
    }
}

/// Waits until the server has written its dirty pages, so that no tool pays for the one before it.
pub(crate) fn settle(target: &Db) -> Result<()> {
    target.exec("SET GLOBAL innodb_max_dirty_pages_pct = 0")?;
    let limit = std::time::Duration::from_secs(60);
    let settled = dt_tests::deadline::until("the target has written its dirty pages", limit, || {
        let dirty = target.rows("SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'")?;
        let pages =
            dirty.first().and_then(|row| row.get(1).cloned().flatten()).and_then(|text| text.parse::<u64>().ok());
        Ok((pages.unwrap_or(0) < 50).then_some(()))
    });
    target.exec("SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT")?;
    settled
}

fn client(program: &str, server: &Server) -> Command {
    let mut command = Command::new(program);
    command.args(["-h", "127.0.0.1", "-u", "root", "-P", &server.port().to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

pub(crate) fn shell(server: &Server) -> String {
    format!("--no-defaults -h127.0.0.1 -uroot -P{} --skip-ssl", server.port())
}
