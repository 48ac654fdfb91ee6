//! A disk that is full under the log_dir: positions stay as they were, and nothing is copied that would not be recorded for
//! long.

use std::fs;

use anyhow::{Context, Result, ensure};
use dt_tests::copies::{Copies, Parts, Promise, is_done};
use dt_tests::servers::Kind;
use dt_tests::task::{Running, Task};

const ROWS: u64 = 60_000;
/// Less than any line of position.log.
const ROOM: u64 = 40;

#[test]
fn a_copy_goes_on_when_the_disk_has_room_again() -> Result<()> {
    let copies = Copies::of(Kind::Postgres15, "full_disk_room".to_owned(), ROWS)?;
    let (task, mut running) = without_room(&copies)?;
    let before = task.log("position.log")?;
    running.give_room()?;
    running.until("positions are recorded again", || Ok(task.log("position.log")?.len() > before.len()))?;
    ensure!(task.log("position.log")?.starts_with(&before), "what was recorded was changed");
    running.wait()?.expect_code(0)?;
    copies.judge(Promise::ByKey)?;
    is_done(&task)
}

#[test]
fn a_copy_that_dies_on_a_full_disk_goes_on_from_what_was_recorded_before() -> Result<()> {
    let copies = Copies::of(Kind::Mysql, "full_disk_kill".to_owned(), ROWS)?;
    let (task, running) = without_room(&copies)?;
    running.kill9()?;
    let task = task.unset("extractor", "max_rps");
    let last = task.run()?.expect_code(0)?;
    ensure!(last.summary("rows").context("no summary")? < ROWS, "it began anew: {}", last.said());
    copies.judge(Promise::ByKey)?;
    is_done(&task)
}

/// A task that has been told that its positions cannot be written, in mid-copy.
fn without_room(copies: &Copies) -> Result<(Task, Running)> {
    let task = copies.task(1, Parts::Tables)?.set("extractor", "max_rps", "6000");
    let mut running = task.spawn()?;
    running.until("a position is recorded", || Ok(!task.log("position.log")?.is_empty()))?;
    running.kill9()?;
    // What dt-main says of itself needs room, too.
    let file = task.log_dir().join("position.log");
    let mut text = fs::read_to_string(&file)?;
    let line = text.lines().last().context("no line")?.to_owned() + "\n";
    while text.len() < 200_000 {
        text.push_str(&line);
    }
    fs::write(&file, &text)?;
    let mut running = task.spawn_with_room(text.len() as u64 + ROOM)?;
    running.until_log_holds("default.log", "positions cannot be written")?;
    ensure!(!running.has_ended()?, "it has given up at once");
    ensure!(task.log("position.log")?.starts_with(&text), "what was recorded is damaged");
    Ok((task, running))
}
