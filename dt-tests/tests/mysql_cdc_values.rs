//! Every type and every awkward value as a change: inserted, updated and deleted, what the source holds is what the
//! target holds; with little and with all of the binlog's metadata, compressed, as differences of documents, in
//! transactions that fit into no memory, and while tables are altered. The tables are those of the snapshot's tests.

mod copies;
mod values;

use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use copies::{Route, Writing, nothing_wrong, run};
use dt_tests::db::{Db, quoted};
use dt_tests::judge::Judge;
use dt_tests::sample::numbers;
use dt_tests::servers::Kind;
use dt_tests::task::{Running, Task};
use values::TABLES;

/// Settings of a source count for all its databases: one test at a time.
static SETTINGS: Mutex<()> = Mutex::new(());

#[test]
fn mysql_values_arrive_as_changes() -> Result<()> {
    let minimal = ["SET GLOBAL binlog_row_metadata = MINIMAL"];
    let full = ["SET GLOBAL binlog_row_metadata = FULL"];
    let compressed = [
        full[0],
        "SET SESSION binlog_transaction_compression = ON",
        "SET SESSION binlog_row_value_options = PARTIAL_JSON",
    ];
    values_arrive(Kind::Mysql, Writing::LoadData, "cdc_values_minimal", &minimal)?;
    values_arrive(Kind::Mysql, Writing::Statements, "cdc_values_full", &full)?;
    values_arrive(Kind::Mysql, Writing::Statements, "cdc_values_compressed", &compressed)
}

#[test]
fn mariadb_values_arrive_as_changes() -> Result<()> {
    let minimal = ["SET GLOBAL log_bin_compress = OFF", "SET GLOBAL binlog_row_metadata = NO_LOG"];
    let full = ["SET GLOBAL log_bin_compress = OFF", "SET GLOBAL binlog_row_metadata = FULL"];
    let compressed = ["SET GLOBAL log_bin_compress = ON", "SET GLOBAL log_bin_compress_min_len = 10"];
    values_arrive(Kind::Mariadb, Writing::LoadData, "cdc_values_minimal", &minimal)?;
    values_arrive(Kind::Mariadb, Writing::Statements, "cdc_values_full", &full)?;
    values_arrive(Kind::Mariadb, Writing::Statements, "cdc_values_compressed", &compressed)
}

fn values_arrive(kind: Kind, writing: Writing, database: &str, settings: &[&str]) -> Result<()> {
    let _alone = SETTINGS.lock();
    let (mut stream, source, target) = Stream::start(kind, writing, database, settings)?;
    let tables: Vec<_> = TABLES.iter().filter(|table| table.known.by(kind) && table.target_columns.is_none()).collect();
    for table in &tables {
        // Labels in gbk are read with the source's help only, that is, with FULL metadata.
        let columns = table.columns.replace("enum('中','文') CHARACTER SET gbk", "enum('中','文')");
        let create = format!("CREATE TABLE {} ({columns})", quoted(table.name));
        run(&target, table.name, std::slice::from_ref(&create))?;
        run(&source, table.name, &[create, format!("INSERT INTO {} {}", table.name, table.rows)])?;
    }
    let judge = || {
        Judge::new(&source, &target)
            .column("enums", "s64", "CAST({} AS UNSIGNED)")
            .column("wide_blobs", "b", "{}")
            .column("wide_blobs", "c", "{}")
    };
    let mut wrong = Vec::new();
    let phases = [
        ("inserted", ""),
        ("updated", "UPDATE {} SET id = id + 100"),
        (
            "documents",
            "{json}UPDATE json SET j = JSON_SET(j, '$.a', 2, '$[1]', 'new') WHERE id IN (101, 102, 109, 111)",
        ),
        ("deleted", "DELETE FROM {} WHERE id % 2 = 0"),
    ];
    for (phase, statement) in phases {
        for table in tables.iter().filter(|_| !statement.is_empty()) {
            match statement.strip_prefix("{json}") {
                Some(statement) if table.name == "json" => run(&source, phase, &[statement.to_owned()])?,
                Some(_) => {}
                None => run(&source, table.name, &[statement.replace("{}", table.name)])?,
            }
        }
        stream.caught_up(&source, &target)?;
        for table in &tables {
            let verdict = judge().table(database, table.name)?;
            if verdict.rows == 0 || !verdict.is_equal() {
                wrong.push(format!("{} {phase}: {verdict}", table.name));
            }
        }
    }
    stream.stop()?;
    // What comes next is in a file without events of many megabytes.
    source.exec("FLUSH BINARY LOGS")?;
    nothing_wrong(database, &wrong)
}

#[test]
fn a_transaction_that_fits_into_no_buffer_needs_no_memory() -> Result<()> {
    let _alone = SETTINGS.lock();
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let (mut stream, source, target) = Stream::start(kind, Writing::LoadData, "cdc_huge", &[])?;
        let create = "CREATE TABLE huge (id int PRIMARY KEY, v bigint, t varchar(40))";
        target.exec(create)?;
        source.exec(create)?;
        source.exec(format!("INSERT INTO huge SELECT i, i * 7, CONCAT('row ', i) FROM {}", numbers(1_000_000)))?;
        stream.caught_up(&source, &target)?;
        let status = std::fs::read_to_string(format!("/proc/{}/status", stream.running.pid()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
        let kib: u64 = peak.trim().trim_end_matches(" kB").parse()?;
        println!("{kind}: {} MiB", kib / 1024);
        ensure!(kib <= 130 * 1024, "{kind}: dt-main took {} MiB", kib / 1024);
        let verdict = Judge::new(&source, &target).table("cdc_huge", "huge")?;
        ensure!(verdict.is_equal() && verdict.rows == 1_000_000, "{kind}: {verdict}");
        stream.stop()?;
    }
    Ok(())
}

#[test]
fn a_table_may_be_altered_in_mid_stream() -> Result<()> {
    let _alone = SETTINGS.lock();
    for kind in [Kind::Mysql, Kind::Mariadb] {
        for (metadata, database) in [("FULL", "cdc_alter_full"), ("MINIMAL", "cdc_alter_minimal")] {
            let settings = format!("SET GLOBAL binlog_row_metadata = {metadata}");
            let (mut stream, source, target) = Stream::start(kind, Writing::LoadData, database, &[&settings])?;
            let create = "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b int, c varchar(20))";
            target.exec(create)?;
            source.exec(create)?;
            source.exec("INSERT INTO t VALUES (1, 'a', 1, 'c'), (2, 'aa', 2, 'cc')")?;
            stream.caught_up(&source, &target)?;
            for (number, (alter, row)) in [
                ("ADD COLUMN d varchar(9) FIRST", "('d', {}, 'a', 3, 'c')"),
                ("MODIFY COLUMN c varchar(20) AFTER id", "('d', {}, 'c', 'a', 4)"),
                ("DROP COLUMN b", "('d', {}, 'c', 'a')"),
                ("CHANGE COLUMN a renamed varchar(30)", "('d', {}, 'c', 'a')"),
            ]
            .iter()
            .enumerate()
            {
                for db in [&target, &source] {
                    db.exec(format!("ALTER TABLE t {alter}"))?;
                }
                source.exec(format!("INSERT INTO t VALUES {}", row.replace("{}", &(number + 10).to_string())))?;
                source.exec("UPDATE t SET c = CONCAT(c, '+') WHERE id < 10")?;
                stream.caught_up(&source, &target)?;
                let verdict = Judge::new(&source, &target).table(database, "t")?;
                ensure!(verdict.is_equal(), "{kind}, {metadata}, {alter}: {verdict}");
            }
            stream.stop()?;
        }
    }
    Ok(())
}

#[test]
fn rows_older_than_an_alter_are_read_as_they_were_or_stop_the_task() -> Result<()> {
    let _alone = SETTINGS.lock();
    for kind in [Kind::Mysql, Kind::Mariadb] {
        for (metadata, database) in [("FULL", "cdc_late_full"), ("MINIMAL", "cdc_late_minimal")] {
            let settings = format!("SET GLOBAL binlog_row_metadata = {metadata}");
            let (mut stream, source, target) = Stream::start(kind, Writing::LoadData, database, &[&settings])?;
            let create = "CREATE TABLE t (id int PRIMARY KEY, a varchar(20), b varchar(20))";
            target.exec(create)?;
            source.exec(create)?;
            stream.caught_up(&source, &target)?;
            let task = stream.stop()?;
            source.exec("INSERT INTO t VALUES (1, 'a', 'b')")?;
            for db in [&source, &target] {
                db.exec("ALTER TABLE t ADD COLUMN d int FIRST, MODIFY COLUMN b varchar(20) AFTER id")?;
            }
            source.exec("INSERT INTO t VALUES (2, 2, 'b', 'a')")?;
            if metadata == "FULL" {
                let mut stream = Stream { running: task.spawn()?, task };
                stream.caught_up(&source, &target)?;
                let verdict = Judge::new(&source, &target).table(database, "t")?;
                ensure!(verdict.is_equal() && verdict.rows == 2, "{kind}: {verdict}");
                stream.stop()?;
            } else {
                let finished = task.run()?.expect_code(3)?;
                ensure!(
                    finished.said().contains(&format!("{database}.t")) || finished.said().contains("`t`"),
                    "{}",
                    finished.said()
                );
                ensure!(target.number("SELECT COUNT(*) FROM t")? == 0, "{kind}: a row that cannot be read was written");
            }
        }
    }
    Ok(())
}

/// A task that follows a database, at work.
struct Stream {
    task: Task,
    running: Running,
}

impl Stream {
    /// Starts it on an empty database of both servers, with a table of marks.
    fn start(kind: Kind, writing: Writing, database: &str, settings: &[&str]) -> Result<(Self, Db, Db)> {
        let route = Route::new(kind, kind, writing)?;
        let (source, target) = route.databases(database)?;
        let mariadb =
            |setting: &&str| setting.replace("= MINIMAL", if kind == Kind::Mariadb { "= NO_LOG" } else { "= MINIMAL" });
        source.exec_all(settings.iter().map(mariadb))?;
        for db in [&source, &target] {
            db.exec("CREATE TABLE marks (id int AUTO_INCREMENT PRIMARY KEY)")?;
        }
        let task = route.task(database)?.set("extractor", "extract_type", "cdc");
        let mut running = task.spawn()?;
        running.until_log_holds("default.log", "MysqlCdcExtractor starts")?;
        Ok((Stream { task, running }, source, target))
    }

    /// Writes a row last of all, and waits until it arrives.
    fn caught_up(&mut self, source: &Db, target: &Db) -> Result<()> {
        source.exec("INSERT INTO marks VALUES ()")?;
        let mark = source.number("SELECT MAX(id) FROM marks")?;
        self.running.until("the last row arrives", || {
            Ok(target.number(format!("SELECT COUNT(*) FROM marks WHERE id = {mark}"))? == 1)
        })
    }

    fn stop(mut self) -> Result<Task> {
        self.running.sigterm()?;
        self.running.wait()?.expect_code(128 + 15)?;
        Ok(self.task)
    }
}
