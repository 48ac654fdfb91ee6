//! Positions in a database: SIGKILL at a random moment, several times over, then to the end. The files in the log_dir are
//! taken away after each kill, so that what is gone on from is the table. `DT_SEED=… cargo test …` plays it again.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::copies::{Copies, Parts, Promise, is_done};
use dt_tests::dice::Dice;
use dt_tests::judge::Judge;
use dt_tests::positions::{Positions, followed, stopped, without_files};
use dt_tests::servers::{self, Kind};
use dt_tests::writer::Writer;

const KILLS: u32 = 10;
const ROWS: u64 = 60_000;
/// No kill of a stream comes later after its start than this.
const LATEST: Duration = Duration::from_millis(2500);

#[test]
fn a_mysql_snapshot_of_four_tables_at_a_time_survives_kills_with_positions_in_postgresql() -> Result<()> {
    println!("{}", snapshot_survives(Kind::Mysql, Parts::Tables, Kind::Postgres15)?);
    Ok(())
}

#[test]
fn a_mysql_snapshot_in_chunks_survives_kills_with_positions_in_mysql() -> Result<()> {
    println!("{}", snapshot_survives(Kind::Mysql, Parts::Chunks, Kind::Mysql)?);
    Ok(())
}

#[test]
fn a_postgresql_snapshot_survives_kills_with_positions_in_mariadb() -> Result<()> {
    println!("{}", snapshot_survives(Kind::Postgres15, Parts::Tables, Kind::Mariadb)?);
    Ok(())
}

#[test]
fn a_mysql_stream_survives_kills_with_positions_in_postgresql() -> Result<()> {
    println!("{}", stream_survives(Kind::Mysql, Kind::Postgres15)?);
    Ok(())
}

#[test]
fn a_postgresql_stream_survives_kills_with_positions_in_mysql() -> Result<()> {
    println!("{}", stream_survives(Kind::Postgres15, Kind::Mysql)?);
    Ok(())
}

fn snapshot_survives(kind: Kind, parts: Parts, positions: Kind) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{kind}, {parts:?}, positions in {positions}, DT_SEED={}", dice.seed());
    let story = snapshot(kind, parts, positions, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {story}"))
}

fn snapshot(kind: Kind, parts: Parts, positions: Kind, dice: &mut Dice) -> Result<String> {
    let copies = Copies::of(kind, format!("from_db_{parts:?}").to_lowercase(), ROWS)?;
    let name = format!("kill_{}_{}", copies.name(), kind.to_string().replace(' ', "_")).to_lowercase();
    let positions = Positions::on(positions, &name)?;
    let (task, kills) = copies.kill(positions.of(copies.task(4, parts)?), dice, without_files)?;
    let finished = positions.count("SnapshotFinished")?;
    task.run()?.expect_code(0)?;
    let story = copies.judge(Promise::ByKey)?;
    without_files(&task)?;
    is_done(&task)?;
    let tables = u64::try_from(copies.tables().len())?;
    ensure!(positions.count("SnapshotFinished")? == tables, "not every table is finished");
    ensure!(positions.count("SnapshotChunk")? == 0, "chunks of finished tables are left");
    ensure!(positions.fence()?["released"] == true, "a clean end gives the task back: {}", positions.fence()?);
    Ok(format!("{kills}, {finished} tables were finished by then{story}"))
}

fn stream_survives(kind: Kind, positions: Kind) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{kind}, positions in {positions}, DT_SEED={}", dice.seed());
    let story = stream(kind, positions, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {story}"))
}

const NAME: &str = "from_db_stream";

fn stream(kind: Kind, positions: Kind, dice: &mut Dice) -> Result<String> {
    let pair = servers::pair(kind)?;
    let (source, target) = pair.database(NAME)?;
    for db in [&source, &target] {
        db.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(200))")?;
        db.exec("CREATE TABLE marks (id int PRIMARY KEY)")?;
    }
    let (task, schema) = followed(kind, &source, NAME)?;
    let positions = Positions::on(positions, &format!("stream_{}", kind.to_string().replace(' ', "_")).to_lowercase())?;
    let task = positions.of(task);
    // It may have to be built, and the writer would write all the while.
    dt_tests::task::dt_main()?;
    let at_source = match kind {
        Kind::Mysql | Kind::Mariadb => {
            let db = pair.source.db()?;
            db.exec(format!("USE {NAME}"))?;
            db
        }
        Kind::Postgres15 | Kind::Postgres18 => pair.source.database(NAME)?,
    };
    let mut load = Dice::of(dice.roll());
    let writer = Writer::of(move |number| {
        let (some, other) = (load.pick(0..500), load.pick(0..500));
        at_source.exec_all([
            "BEGIN".to_owned(),
            format!("DELETE FROM t WHERE id = {some}"),
            format!("INSERT INTO t VALUES ({some}, 'written by {number}')"),
            format!("UPDATE t SET v = 'changed by {number}' WHERE id = {other}"),
            "COMMIT".to_owned(),
        ])
    });
    for _ in 0..KILLS {
        let running = task.spawn()?;
        sleep(dice.moment(LATEST));
        let killed = running.kill9()?;
        ensure!(killed.code == 128 + 9, "resumed, it failed by itself: {}", killed.said());
        without_files(&task)?;
    }
    let mut running = task.spawn()?;
    let transactions = writer.stop()?;
    source.exec("INSERT INTO marks VALUES (1)")?;
    running.until("the last row arrives", || Ok(target.number("SELECT COUNT(*) FROM marks")? == 1))?;
    let log = stopped(running)?;
    let resumed = log.matches("resume from: ").count();
    ensure!(resumed > 0, "no start went on from a position:\n{log}");
    for table in ["t", "marks"] {
        let verdict = Judge::new(&source, &target).table(&schema, table)?;
        ensure!(verdict.is_equal(), "`{table}`: {verdict}");
    }
    // The next start goes on from the very position that the table holds.
    without_files(&task)?;
    let newest = positions
        .db()?
        .value(format!("SELECT position_data FROM {} WHERE resumer_type = 'CdcDoing'", positions.table()))?;
    let mut running = task.spawn()?;
    source.exec("INSERT INTO marks VALUES (2)")?;
    running.until("another row arrives", || Ok(target.number("SELECT COUNT(*) FROM marks")? == 2))?;
    let log = stopped(running)?;
    let from = log.lines().rev().find_map(|line| line.split_once("resume from: ")).context("no `resume from`")?.1;
    ensure!(Some(from) == newest.as_deref(), "resumed from {from} instead of {newest:?}");
    if kind == Kind::Postgres15 {
        source.exec(format!("SELECT pg_drop_replication_slot('{NAME}')"))?;
    }
    Ok(format!("{KILLS} kills, {resumed} resumes, {transactions} transactions"))
}
