//! A target that is restored from an older copy of its files. With positions in the target it is noticed, told, and what was
//! lost is written again; or, where the source no longer has it, the start is refused.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use dt_tests::db::{Db, Dialect};
use dt_tests::judge::Judge;
use dt_tests::servers::mongo::{MongoPair, Setup};
use dt_tests::servers::{Kind, Options, Pair};
use dt_tests::task::{Finished, Task};
use mongodb::bson::doc;

const NAME: &str = "restored";

/// A task that follows with its positions in the target, on servers of its own.
struct Stream {
    pair: Pair,
    source: Db,
    task: Task,
    rows: u64,
}

impl Stream {
    fn start(kind: Kind) -> Result<Self> {
        let options = Options { durable: true, ..Options::default() };
        let pair = Pair::start(kind, &options)?;
        let (source, target) = pair.database(NAME)?;
        for db in [&source, &target] {
            db.exec("CREATE TABLE keyed (id int PRIMARY KEY, v int)")?;
            db.exec("CREATE TABLE keyless (v int)")?;
        }
        let task = match kind.dialect() {
            Dialect::Mysql => Task::of_pair(&pair, &[NAME])?.set("extractor", "extract_type", "cdc"),
            Dialect::Postgres => {
                source.exec("ALTER TABLE keyless REPLICA IDENTITY FULL")?;
                Task::of_postgres_pair(&pair, NAME)?.follows(NAME)
            }
        };
        let task = task.set("resumer", "resume_type", "from_target").set("resumer", "table_full_name", "positions.pos");
        Ok(Stream { pair, source, task, rows: 0 })
    }

    fn target(&self) -> Result<Db> {
        self.pair.target.connection(NAME)
    }

    /// Follows while ten rows are written, and stops.
    fn follow(&mut self) -> Result<Finished> {
        let mut running = self.task.spawn()?;
        running.until("it follows", || Ok(self.task.log("position.log")?.contains("checkpoint_position")))?;
        for _ in 0..10 {
            self.rows += 1;
            self.source.exec(format!("INSERT INTO keyed VALUES ({0}, {0})", self.rows))?;
            self.source.exec("INSERT INTO keyless VALUES (7)")?;
        }
        let (target, rows) = (self.target()?, self.rows);
        running.until("the rows arrive", || Ok(target.number("SELECT COUNT(*) FROM keyless")? >= rows))?;
        running.sigterm()?;
        running.wait()?.expect_code(128 + 15)
    }

    /// A copy of the target's files.
    fn copy(&self) -> Result<PathBuf> {
        let target = &self.pair.target;
        target.stop()?;
        let (data, copy) = (target.folder().join("data"), target.folder().join("copy"));
        copy_files(&data, &copy)?;
        target.up()?;
        Ok(copy)
    }

    fn restore(&self, copy: &Path) -> Result<()> {
        let target = &self.pair.target;
        target.stop()?;
        let data = target.folder().join("data");
        std::fs::remove_dir_all(&data)?;
        std::fs::rename(copy, &data)?;
        target.up()
    }

    fn is_equal(&self) -> Result<()> {
        let target = self.target()?;
        let schema = if self.source.dialect() == Dialect::Mysql { NAME } else { "public" };
        for (table, verdict) in Judge::new(&self.source, &target).database(schema)? {
            ensure!(verdict.is_equal() && verdict.rows == self.rows, "`{table}`: {verdict}");
        }
        Ok(())
    }
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    // Owners and modes included: a server refuses files that are not its own.
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "the files were not copied");
    Ok(())
}

#[test]
fn mysql_is_told_and_gets_what_it_has_lost() -> Result<()> {
    told_and_made_good(Kind::Mysql)
}

#[test]
fn mariadb_is_told_and_gets_what_it_has_lost() -> Result<()> {
    told_and_made_good(Kind::Mariadb)
}

fn told_and_made_good(kind: Kind) -> Result<()> {
    let mut stream = Stream::start(kind)?;
    stream.follow()?;
    let copy = stream.copy()?;
    stream.follow()?;
    stream.restore(&copy)?;
    ensure!(stream.target()?.number("SELECT COUNT(*) FROM keyed")? == 10, "the copy has other rows");
    for command in ["explain", "verify"] {
        let said = stream.task.position(&[command])?.stdout;
        ensure!(said.contains("its database was restored from an older copy"), "{command}: {said}");
    }
    let told = stream.follow()?;
    ensure!(told.log.contains("the position table is behind"), "{}", told.said());
    stream.is_equal()?;
    let again = stream.follow()?;
    ensure!(again.log.matches("the position table is behind").count() == 1, "it is told again: {}", again.said());
    stream.is_equal()
}

#[test]
fn postgresql_whose_slot_has_gone_on_refuses_to_leave_out_what_was_lost() -> Result<()> {
    let mut stream = Stream::start(Kind::Postgres15)?;
    stream.follow()?;
    let copy = stream.copy()?;
    stream.follow()?;
    stream.restore(&copy)?;
    let refused = stream.task.run()?.expect_code(3)?;
    for part in ["its database was restored from an older copy", "slot"] {
        ensure!(refused.log.contains(part), "not said: {part}: {}", refused.said());
    }
    ensure!(stream.target()?.number("SELECT COUNT(*) FROM keyed")? == 10, "rows were written");
    Ok(())
}

#[test]
fn a_copy_from_before_the_task_is_refused_and_never_taken_for_a_new_stream() -> Result<()> {
    let mut stream = Stream::start(Kind::Mysql)?;
    let copy = stream.copy()?;
    stream.follow()?;
    stream.restore(&copy)?;
    let refused = stream.task.run()?.expect_code(3)?;
    ensure!(refused.stderr.contains("the position table knows nothing of this stream"), "{}", refused.said());
    ensure!(stream.target()?.number("SELECT COUNT(*) FROM keyed")? == 0, "rows were written");
    Ok(())
}

#[test]
fn a_snapshot_is_told_and_copies_again_what_was_lost() -> Result<()> {
    let mut stream = Stream::start(Kind::Mysql)?;
    stream.source.exec("INSERT INTO keyed VALUES (1, 1), (2, 2)")?;
    stream.source.exec("INSERT INTO keyless VALUES (7), (7)")?;
    stream.rows = 2;
    let task = stream.task;
    let task = task.set("extractor", "extract_type", "snapshot").set("global", "task_id", "copy");
    stream.task = task.unset("filter", "do_dbs").set("filter", "do_tbs", format!("{NAME}.keyed"));
    stream.task.run()?.expect_code(0)?;
    let copy = stream.copy()?;
    stream.task = stream.task.set("filter", "do_tbs", format!("{NAME}.keyed,{NAME}.keyless"));
    stream.task.run()?.expect_code(0)?;
    stream.is_equal()?;
    stream.restore(&copy)?;
    let told = stream.task.run()?.expect_code(0)?;
    ensure!(told.log.contains("does not know that 1 tables were finished"), "{}", told.said());
    ensure!(told.summary("rows") == Some(2), "{}", told.said());
    stream.is_equal()
}

#[test]
fn mongodb_is_told_and_gets_what_it_has_lost() -> Result<()> {
    let pair = MongoPair::start(&Setup::default())?;
    let (source, target) = (pair.source.client()?, pair.target.client()?);
    let task = Task::of_mongo_pair(&pair, &[NAME])?.follows_mongo("change_stream");
    let task = task.set("resumer", "resume_type", "from_target").set("resumer", "table_full_name", "positions.pos");
    let mut next = 0;
    let mut follow = || {
        let mut running = task.spawn()?;
        running.until("it follows", || Ok(task.log("position.log")?.contains("current_position")))?;
        for _ in 0..10 {
            next += 1;
            source.command(NAME, doc! {"insert": "t", "documents": [{"_id": next, "v": next}]})?;
        }
        running.until("the documents arrive", || Ok(target.hashes(NAME)? == source.hashes(NAME)?))?;
        running.sigterm()?;
        running.wait()?.expect_code(128 + 15)
    };
    follow()?;
    pair.target.stop()?;
    let (data, copy) = (pair.target.folder().join("data"), pair.target.folder().join("copy"));
    copy_files(&data, &copy)?;
    pair.target.up()?;
    follow()?;
    pair.target.stop()?;
    std::fs::remove_dir_all(&data)?;
    std::fs::rename(&copy, &data)?;
    pair.target.up()?;
    ensure!(target.count(NAME, "t")? == 10, "the copy has other documents");
    let told = follow()?;
    ensure!(told.log.contains("the position table is behind"), "{}", told.said());
    Ok(())
}
