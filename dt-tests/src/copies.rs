//! A sample that is copied, killed at random moments and resumed, whatever the database.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::db::Db;
use crate::dice::Dice;
use crate::judge::Judge;
use crate::sample::{self, SampleTable};
use crate::servers::{self, Kind, Pair};
use crate::task::Task;

/// How often a copy is killed.
const KILLS: u32 = 10;
/// Copies that are killed read no faster, so that there is time to die at every stage, also between two saved positions.
pub const ROWS_PER_SECOND: u64 = 20_000;

/// What is read at the same time.
#[derive(Clone, Copy, Debug)]
pub enum Parts {
    /// Tables.
    Tables,
    /// Parts of tables.
    Chunks,
}

impl Parts {
    /// The task, reading and writing so many at a time.
    pub fn at_a_time(self, parallel: u32, task: Task) -> Task {
        let parallel = parallel.to_string();
        let task = task.set("extractor", "parallel_size", &parallel).set("parallelizer", "parallel_size", &parallel);
        match self {
            Parts::Tables => task,
            Parts::Chunks => task.set("extractor", "parallel_type", "chunk").set("extractor", "batch_size", "1500"),
        }
    }
}

/// What a copy is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Every row is there once.
    Exactly,
    /// Every row that a key tells apart is there once, and of the others none is missing.
    ByKey,
}

/// A sample on a source, and its tables on a target.
pub struct Copies {
    /// Both servers.
    pub pair: &'static Pair,
    source: Db,
    target: Db,
    name: String,
    rows: u64,
}

impl Copies {
    /// Of so many rows, in a database of this name.
    ///
    /// # Errors
    /// A server cannot be started, or refuses something.
    pub fn of(kind: Kind, name: String, rows: u64) -> Result<Self> {
        let pair = servers::pair(kind)?;
        let (source, target) = pair.database(&name)?;
        match kind {
            Kind::Mysql | Kind::Mariadb => {
                sample::create_and_fill(&source, rows)?;
                sample::create_tables(&target)?;
            }
            Kind::Postgres15 | Kind::Postgres18 => {
                sample::postgres::create_and_fill(&source, rows)?;
                sample::postgres::create_tables(&target)?;
            }
        }
        Ok(Copies { pair, source, target, name, rows })
    }

    /// The database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The tables.
    pub fn tables(&self) -> &'static [SampleTable] {
        match self.pair.source.kind() {
            Kind::Mysql | Kind::Mariadb => &sample::TABLES,
            Kind::Postgres15 | Kind::Postgres18 => &sample::postgres::TABLES,
        }
    }

    /// A task that copies all of it, so many tables or chunks at a time.
    ///
    /// # Errors
    /// No temporary folder can be made.
    pub fn task(&self, parallel: u32, parts: Parts) -> Result<Task> {
        let task = match self.pair.source.kind() {
            Kind::Mysql | Kind::Mariadb => Task::of_pair(self.pair, &[&self.name])?,
            Kind::Postgres15 | Kind::Postgres18 => Task::of_postgres_pair(self.pair, &self.name)?,
        };
        Ok(parts.at_a_time(parallel, task))
    }

    /// Empties the target.
    ///
    /// # Errors
    /// What the server says.
    pub fn empty(&self) -> Result<()> {
        self.target.exec_all(self.tables().iter().map(|table| format!("TRUNCATE TABLE {}", table.name)))
    }

    /// [`kill`]s a task that copies all of it.
    ///
    /// # Errors
    /// As there.
    pub fn kill(
        &self,
        task: Task,
        dice: &mut Dice,
        after_each: impl Fn(&Task) -> Result<()>,
    ) -> Result<(Task, String)> {
        kill(task, self.rows, ROWS_PER_SECOND, dice, after_each)
    }

    /// Compares both servers, in words.
    ///
    /// # Errors
    /// A table is not as promised.
    pub fn judge(&self, promise: Promise) -> Result<String> {
        let schema = match self.pair.source.kind() {
            Kind::Mysql | Kind::Mariadb => self.name(),
            Kind::Postgres15 | Kind::Postgres18 => "public",
        };
        let mut story = String::new();
        for (name, verdict) in Judge::new(&self.source, &self.target).database(schema)? {
            let table = self.tables().iter().find(|table| table.name == name);
            let is_kept = match (promise, table) {
                (Promise::ByKey, Some(table)) => table.is_as_promised(&verdict, &self.source, &self.target)?,
                (Promise::Exactly, _) | (_, None) => verdict.is_equal(),
            };
            ensure!(is_kept, "`{name}`: {verdict}");
            story += &format!("; `{name}` is {verdict}");
        }
        Ok(story)
    }
}

/// Starts and kills a task that copies so many rows, no more of them each second, again and again; `after_each` is done when it
/// is dead. Gives the task, as slow as that, and what happened.
///
/// # Errors
/// It fails by itself, or no kill came before its end.
pub fn kill(
    task: Task,
    rows: u64,
    rows_per_second: u64,
    dice: &mut Dice,
    after_each: impl Fn(&Task) -> Result<()>,
) -> Result<(Task, String)> {
    let task = task.set("extractor", "max_rps", rows_per_second.to_string());
    // Each kill takes a tenth of the way on average, and one in ten comes before the first row.
    let latest = Duration::from_secs(2 * rows / rows_per_second) / KILLS;
    let mut in_flight = 0;
    for _ in 0..KILLS {
        let running = task.spawn()?;
        sleep(dice.moment(latest));
        let killed = running.kill9()?;
        // 0: it had nothing left to do and was faster than the kill.
        ensure!([0, 128 + 9].contains(&killed.code), "resumed, it failed by itself: {}", killed.said());
        in_flight += u32::from(killed.code != 0);
        after_each(&task)?;
    }
    ensure!(in_flight > 0, "no kill came before the end: the sample is too small for this machine");
    Ok((task, format!("{in_flight} of {KILLS} kills were in mid-copy")))
}

/// Starts a task that is finished.
///
/// # Errors
/// It copies rows again.
pub fn is_done(task: &Task) -> Result<()> {
    let done = task.run()?.expect_code(0)?;
    ensure!(done.summary("rows").unwrap_or(0) == 0, "a finished task copied rows again: {}", done.said());
    Ok(())
}
