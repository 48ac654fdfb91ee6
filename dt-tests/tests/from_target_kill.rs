//! Positions in the target: SIGKILL at a random moment, several times over, then to the end: every row exactly once, with
//! a key or without. The files in the log_dir are taken away after each kill. `DT_SEED=… cargo test …` plays it again.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_common::Failpoint;
use dt_tests::copies::{Copies, Parts, Promise, is_done};
use dt_tests::db::Db;
use dt_tests::dice::Dice;
use dt_tests::judge::Judge;
use dt_tests::positions::{Positions, followed, stopped, without_files};
use dt_tests::servers::{self, Kind};
use dt_tests::task::Task;
use dt_tests::writer::{self, Writer};

const KILLS: u32 = 10;
/// Of a stream, if that many were not enough.
const KILLS_MAX: u32 = 40;
const ROWS: u64 = 60_000;
/// No kill of a stream comes later after its start than this.
const LATEST: Duration = Duration::from_millis(2500);

#[test]
fn a_mysql_snapshot_is_exact_after_kills() -> Result<()> {
    println!("{}", snapshot_is_exact(Kind::Mysql, Parts::Tables)?);
    Ok(())
}

#[test]
fn a_mariadb_snapshot_in_chunks_is_exact_after_kills() -> Result<()> {
    println!("{}", snapshot_is_exact(Kind::Mariadb, Parts::Chunks)?);
    Ok(())
}

#[test]
fn a_postgresql_snapshot_is_exact_after_kills() -> Result<()> {
    println!("{}", snapshot_is_exact(Kind::Postgres15, Parts::Tables)?);
    Ok(())
}

#[test]
fn a_postgresql_snapshot_in_chunks_is_exact_after_kills() -> Result<()> {
    println!("{}", snapshot_is_exact(Kind::Postgres18, Parts::Chunks)?);
    Ok(())
}

#[test]
fn a_mysql_stream_is_exact_after_kills() -> Result<()> {
    println!("{}", stream_is_exact(Kind::Mysql, Lanes::One)?);
    Ok(())
}

#[test]
fn a_mariadb_stream_is_exact_after_kills() -> Result<()> {
    println!("{}", stream_is_exact(Kind::Mariadb, Lanes::One)?);
    Ok(())
}

#[test]
fn a_postgresql_stream_is_exact_after_kills() -> Result<()> {
    println!("{}", stream_is_exact(Kind::Postgres15, Lanes::One)?);
    Ok(())
}

#[test]
fn a_mysql_stream_in_lanes_is_exact_after_kills() -> Result<()> {
    println!("{}", stream_is_exact(Kind::Mysql, Lanes::Four)?);
    Ok(())
}

#[test]
fn a_mariadb_stream_in_lanes_is_exact_though_their_number_changes() -> Result<()> {
    println!("{}", stream_is_exact(Kind::Mariadb, Lanes::Changing)?);
    Ok(())
}

#[test]
fn a_postgresql_stream_in_lanes_is_exact_after_kills() -> Result<()> {
    println!("{}", stream_is_exact(Kind::Postgres15, Lanes::Four)?);
    Ok(())
}

#[test]
fn a_postgresql_18_stream_in_lanes_is_exact_though_their_number_changes() -> Result<()> {
    println!("{}", stream_is_exact(Kind::Postgres18, Lanes::Changing)?);
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Lanes {
    One,
    Four,
    /// Another number at each start, none of them known before; one of them is one.
    Changing,
}

impl Lanes {
    /// The task as it is started next.
    fn of(self, task: Task, dice: &mut Dice) -> Task {
        let count = match self {
            Lanes::One => return task,
            Lanes::Four => 4,
            Lanes::Changing => 1 + dice.roll() % 5,
        };
        task.set("parallelizer", "parallel_type", "rdb_merge").set("parallelizer", "parallel_size", count.to_string())
    }
}

fn snapshot_is_exact(kind: Kind, parts: Parts) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{kind}, {parts:?}, DT_SEED={}", dice.seed());
    let story = snapshot(kind, parts, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {story}"))
}

fn snapshot(kind: Kind, parts: Parts, dice: &mut Dice) -> Result<String> {
    let copies = Copies::of(kind, format!("from_target_{parts:?}").to_lowercase(), ROWS)?;
    let positions = Positions::in_target(&copies.pair.target, copies.name())?;
    // Nothing is replaced: a row that came twice would stop the task.
    let task = positions.of_target(copies.task(4, parts)?).set("sinker", "replace", "false");
    let (task, kills) = copies.kill(task, dice, without_files)?;
    let finished = positions.count("SnapshotFinished")?;
    task.run()?.expect_code(0)?;
    let story = copies.judge(Promise::Exactly)?;
    without_files(&task)?;
    is_done(&task)?;
    let tables = u64::try_from(copies.tables().len())?;
    ensure!(positions.count("SnapshotFinished")? == tables, "not every table is finished");
    Ok(format!("{kills}, {finished} tables were finished by then{story}"))
}

fn stream_is_exact(kind: Kind, lanes: Lanes) -> Result<String> {
    let mut dice = Dice::new();
    let case = format!("{kind}, {lanes:?}, DT_SEED={}", dice.seed());
    let story = stream(kind, lanes, &mut dice).with_context(|| case.clone())?;
    Ok(format!("{case}: {story}"))
}

fn stream(kind: Kind, lanes: Lanes, dice: &mut Dice) -> Result<String> {
    let name = &format!("from_target_{lanes:?}").to_lowercase();
    let pair = servers::pair(kind)?;
    let (source, target) = pair.database(name)?;
    for db in [&source, &target] {
        match kind {
            Kind::Mysql | Kind::Mariadb => writer::create(db)?,
            Kind::Postgres15 | Kind::Postgres18 => {
                writer::postgres::create(db)?;
                writer::postgres::fill(db)?;
            }
        }
        db.exec("CREATE TABLE marks (id int PRIMARY KEY)")?;
    }
    let (task, schema) = followed(kind, &source, name)?;
    let positions = Positions::in_target(&pair.target, name)?;
    // Small batches, so that large transactions are applied in parts.
    let task = positions.of_target(task).set("pipeline", "buffer_memory_mb", "1");
    // It may have to be built, and the writer would write all the while.
    dt_tests::task::dt_main()?;
    let writer = match kind {
        Kind::Mysql | Kind::Mariadb => Writer::start(&pair.source, name, dice.roll())?,
        Kind::Postgres15 | Kind::Postgres18 => writer::postgres::start(&pair.source, name, dice.roll())?,
    };
    let (mut kills, mut within, mut apart, mut task) = (0, 0, 0, task);
    for kill in 0..KILLS_MAX {
        // How many kills it takes until one finds lanes apart is up to the machine.
        if kill >= KILLS && (apart > 0 || matches!(lanes, Lanes::One)) {
            break;
        }
        kills += 1;
        task = lanes.of(task, dice);
        if matches!(lanes, Lanes::Changing) {
            change_keys(kind, kill, &target)?;
        }
        // Every other time it dies when one of several lanes has committed.
        let of_one_lane = !matches!(lanes, Lanes::One) && kill % 2 == 1;
        let mut running = match of_one_lane {
            true => task.spawn_armed(Failpoint::TargetCommitted, 2 + u32::try_from(dice.pick(0..8))?)?,
            false => task.spawn()?,
        };
        match of_one_lane {
            // It dies by itself, if as many batches as that come.
            true => running.ends_within(LATEST)?,
            false => sleep(dice.moment(LATEST)),
        }
        let killed = if running.has_ended()? { running.wait()? } else { running.kill9()? };
        ensure!([128 + 6, 128 + 9].contains(&killed.code), "resumed, it failed by itself: {}", killed.said());
        without_files(&task)?;
        within += u64::from(position(&positions)?.is_some_and(|position| is_within(&position)));
        // Of two lanes, one may have nothing to record; a start with another number of lanes tells it.
        let told = killed.log.contains("for some are ahead of others");
        apart += u64::from(told || are_apart(&positions)?);
    }
    let mut running = task.spawn()?;
    let transactions = writer.stop()?;
    source.exec("INSERT INTO marks VALUES (1)")?;
    running.until("the last row arrives", || Ok(target.number("SELECT COUNT(*) FROM marks")? == 1))?;
    let log = stopped(running)?;
    let resumed = log.matches("resume from: ").count();
    ensure!(resumed > 0, "no start went on from a position:\n{log}");
    let judge = Judge::new(&source, &target);
    for (table, verdict) in judge.database(&schema)? {
        ensure!(verdict.is_equal(), "`{table}`: {verdict}\n{}", judge.differences(&schema, &table, 5)?.join("\n"));
    }
    if matches!(kind, Kind::Postgres15 | Kind::Postgres18) {
        source.exec(format!("SELECT pg_drop_replication_slot('{name}')"))?;
    }
    if !matches!(lanes, Lanes::One) {
        ensure!(apart > 0, "no kill left one lane ahead of another: nothing was shown");
        ensure!(log.contains("changes are spread over "), "there were no lanes:\n{log}");
    }
    Ok(format!(
        "{kills} kills, {within} in mid-transaction, {apart} with lanes apart, {resumed} resumes, {transactions} transactions"
    ))
}

/// While the task is down, a table of the target gets a further unique key, and later loses it: so its changes are spread
/// in another way than before.
fn change_keys(kind: Kind, kill: u32, target: &Db) -> Result<()> {
    let (table, on) = match kind {
        Kind::Mysql | Kind::Mariadb => ("ints", " ON ints"),
        Kind::Postgres15 | Kind::Postgres18 => ("accounts", ""),
    };
    match kill % 4 {
        1 => target.exec(format!("CREATE UNIQUE INDEX further ON {table} (id, v)")),
        3 => target.exec(format!("DROP INDEX further{on}")),
        _ => Ok(()),
    }
}

fn is_within(position: &str) -> bool {
    position.contains("applied_changes") && !position.contains("\"applied_changes\":0,")
}

/// Whether some lane is ahead of another one.
fn are_apart(positions: &Positions) -> Result<bool> {
    let select = format!("SELECT position_data FROM {} WHERE resumer_type = 'CdcLane'", positions.table());
    let reached = |row: Vec<Option<String>>| {
        let data = row.into_iter().next().flatten()?;
        let number = |field: &str| -> Option<u64> {
            let (_, rest) = data.split_once(&format!("\"{field}\":"))?;
            rest.split([',', '}']).next()?.parse().ok()
        };
        Some(number("applied_before")? + number("applied_changes")?)
    };
    let rows = positions.db()?.rows(select).unwrap_or_default();
    let reached: std::collections::BTreeSet<Option<u64>> = rows.into_iter().map(reached).collect();
    Ok(reached.len() > 1)
}

/// What the stream would go on from.
fn position(positions: &Positions) -> Result<Option<String>> {
    let select = format!("SELECT position_data FROM {} WHERE resumer_type = 'CdcDoing'", positions.table());
    Ok(positions.db()?.rows(select).unwrap_or_default().pop().and_then(|mut row| row.pop().flatten()))
}
