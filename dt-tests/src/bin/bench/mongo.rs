//! A snapshot from MongoDB to MongoDB: one collection of all documents, and four collections of a quarter each.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use dt_tests::judge::mongo::MongoJudge;
use dt_tests::mongo::Mongo;
use dt_tests::servers::cache_dir;
use dt_tests::servers::mongo::{MongoPair, MongoServer, Setup};
use dt_tests::task::Task;
use dt_tests::usage::Usage;
use mongodb::bson::doc;
use tempfile::TempDir;

use crate::documents::fill;
use crate::plan::Plan;
use crate::report::{self, Measured};
use crate::{dt_main, exactly_once, run_shell, say};

/// A copy by the public Python driver, which cuts answers into documents and decodes none.
const RAW_COPY: &str = include_str!("raw_copy.py");

#[derive(Clone, Copy)]
enum Tool {
    /// [`RAW_COPY`] with so many processes.
    Pymongo(u32),
    /// The same with two processes, each batch in a transaction: what positions in the target cost the server at least.
    PymongoTransactions,
    DtMain {
        parallel: u32,
    },
    /// Positions in the target, two collections at a time.
    DtExactly,
    /// MongoDB's own tools, where they are on the PATH.
    Dump,
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Tool::Pymongo(1) => "pymongo, raw, 1 process",
            Tool::Pymongo(_) => "pymongo, raw, 2 processes",
            Tool::PymongoTransactions => "pymongo, raw, 2, transactions",
            Tool::DtMain { parallel: 1 } => "dt-main, parallel_size 1",
            Tool::DtMain { parallel: 2 } => "dt-main, parallel_size 2",
            Tool::DtMain { .. } => "dt-main, parallel_size 4",
            Tool::DtExactly => "dt-main, 2, from_target",
            Tool::Dump => "mongodump | mongorestore",
        }
    }
}

/// The collections of one measurement, on both servers.
struct Data<'a> {
    pair: &'a MongoPair,
    source: Mongo,
    target: Mongo,
    database: &'static str,
    collections: u64,
}

pub(crate) fn bench(plan: &Plan) -> Result<()> {
    say("Starting two MongoDB servers with their default durability …")?;
    let pair = servers()?;
    for (database, collections) in [("sb1", 1), ("sb4", 4)] {
        let (source, target) = pair.without(&[database])?;
        let rows = plan.rows / collections * collections;
        let data = Data { pair: &pair, source, target, database, collections };
        // The first is what the others are compared with.
        let mut tools = vec![
            Tool::Pymongo(2),
            Tool::PymongoTransactions,
            Tool::DtMain { parallel: 1 },
            Tool::DtMain { parallel: 2 },
            Tool::DtExactly,
        ];
        if plan.all || !plan.only.is_empty() {
            tools.extend([Tool::DtMain { parallel: 4 }, Tool::Pymongo(1)]);
        }
        let has_dump = std::env::var_os("PATH")
            .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join("mongodump").is_file()));
        tools.extend(has_dump.then_some(Tool::Dump));
        tools.retain(|tool| plan.has(tool.name()));
        say(format!("Generating {database}: {collections} x {} documents …", rows / collections))?;
        for name in data.names() {
            fill(&data.source, database, &name, rows / collections)?;
        }
        // Once for nothing, so that the first is not the only one whose source has yet to fetch from the disk.
        data.empty_target()?;
        data.copy(Tool::Pymongo(2))?;
        let mut measured: Vec<Measured> =
            tools.iter().map(|tool| Measured { tool: tool.name(), runs: Vec::new() }).collect();
        for run in 1..=plan.runs {
            for (tool, measured) in tools.iter().zip(&mut measured) {
                data.empty_target()?;
                let usage = data.copy(*tool).with_context(|| tool.name())?;
                must_be_equal(&data.source, &data.target, database).with_context(|| tool.name())?;
                say(format!("  run {run}: {:<32} {:.2} s", tool.name(), usage.wall.as_secs_f64()))?;
                measured.runs.push(usage);
            }
        }
        let title = format!("{database}: {collections} x {} documents, medians of {}", rows / collections, plan.runs);
        report::table(&title, "docs", rows, &measured).into_iter().try_for_each(say)?;
        data.pair.without(&[database])?;
    }
    say("\nThe target's documents were the source's, byte by byte, after every run. CPU is the tool's own processes', \
         memory of several processes only the first one's.")
}

/// Two replica sets of one member, without logins, that keep what is measured in memory.
pub(crate) fn servers() -> Result<MongoPair> {
    let extra = vec!["--wiredTigerCacheSizeGB=8".to_owned(), "--oplogSize=4000".to_owned()];
    let pair = MongoPair::start(&Setup { login: false, extra, ..Setup::default() })?;
    let build = pair.source.client()?.command("admin", doc! {"buildInfo": 1})?;
    say(format!("MongoDB {}", build.get_str("version")?))?;
    Ok(pair)
}

/// A script of ours, for the Python that has the public driver.
pub(crate) fn python(folder: &TempDir, script: &str, arguments: &str) -> Result<String> {
    let driver: PathBuf = cache_dir()?.join("pymongo");
    if !driver.is_dir() {
        bail!("pymongo is not installed ({} is missing): run ./scripts/install-servers --bench", driver.display());
    }
    let file = folder.path().join("script.py");
    std::fs::write(&file, script)?;
    Ok(format!("PYTHONPATH={} python3 {} {arguments}", driver.display(), file.display()))
}

/// Where a server is, for other programs than ours.
pub(crate) fn url(server: &MongoServer) -> String {
    format!("'mongodb://127.0.0.1:{}/?directConnection=true'", server.port())
}

pub(crate) fn must_be_equal(source: &Mongo, target: &Mongo, database: &str) -> Result<()> {
    for (collection, verdict) in MongoJudge::new(source, target).database(database)? {
        if !verdict.is_equal() {
            bail!("`{collection}`: {verdict}");
        }
    }
    Ok(())
}

impl Data<'_> {
    fn names(&self) -> impl Iterator<Item = String> {
        (1..=self.collections).map(|at| format!("sbtest{at}"))
    }

    fn empty_target(&self) -> Result<()> {
        self.target.command(self.database, doc! {"dropDatabase": 1})?;
        for name in self.names() {
            self.target.command(self.database, doc! {"create": name})?;
        }
        // No tool pays for the one before it.
        self.target.command("admin", doc! {"fsync": 1}).map(drop)
    }

    fn task(&self, parallel: u32) -> Result<Task> {
        let parallel = parallel.to_string();
        Ok(Task::of_mongo_pair(self.pair, &[self.database])?
            .set("extractor", "parallel_size", &parallel)
            .set("parallelizer", "parallel_size", &parallel)
            .set("pipeline", "checkpoint_interval_secs", "10"))
    }

    fn copy(&self, tool: Tool) -> Result<Usage> {
        let folder = TempDir::with_prefix("dt-bench-")?;
        let (source, target, database) = (url(&self.pair.source), url(&self.pair.target), self.database);
        match tool {
            Tool::Pymongo(processes) => {
                run_shell(&python(&folder, RAW_COPY, &format!("{source} {target} {database} {processes}"))?)
            }
            Tool::PymongoTransactions => {
                run_shell(&python(&folder, RAW_COPY, &format!("{source} {target} {database} 2 transactions"))?)
            }
            Tool::DtMain { parallel } => dt_main(&self.task(parallel)?),
            Tool::DtExactly => dt_main(&exactly_once(self.task(2)?)),
            Tool::Dump => run_shell(&format!(
                "mongodump --quiet --archive --db={database} --uri={source} | \
                 mongorestore --quiet --archive --numInsertionWorkersPerCollection=2 --uri={target}"
            )),
        }
    }
}
