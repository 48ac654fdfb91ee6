//! How long a resume takes to decide about tables that are all finished.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use dt_tests::servers::{Kind, Options, Pair};
use dt_tests::task::Task;

use crate::say;

const DATABASE: &str = "many";

pub(crate) fn bench(tables: u64) -> Result<()> {
    say(format!("Starting two MySQL servers and making {tables} tables on each …"))?;
    let extra = vec!["--innodb-doublewrite=0".to_owned(), "--innodb-flush-log-at-trx-commit=0".to_owned()];
    let pair = Pair::start(Kind::Mysql, &Options { binlog: false, extra, ..Options::default() })?;
    let (source, target) = pair.database(DATABASE)?;
    for at in 0..tables {
        for db in [&source, &target] {
            db.exec(format!("CREATE TABLE t{at} (id int PRIMARY KEY, v varchar(20))"))?;
        }
    }
    let task = Task::of_pair(&pair, &[DATABASE])?;
    let first = timed(&task)?;
    say(format!("the snapshot of {tables} empty tables: {first:.2} s"))?;

    let before = task.log("default.log")?.len();
    let second = timed(&task)?;
    let log = task.log("default.log")?;
    let decisions: Vec<&str> = log[before..].lines().filter(|line| line.contains("check finished")).collect();
    say(format!("resumed with every table finished: {second:.2} s in all, the catalogs of both servers included"))?;
    match (decisions.first(), decisions.last()) {
        (Some(first), Some(last)) => {
            let seconds = stamp(last)? - stamp(first)?;
            say(format!("of which deciding, from the first table's log line to the last one's: {seconds:.3} s"))
        }
        _ => bail!("default.log has no `check finished` line for the resumed run"),
    }
}

fn timed(task: &Task) -> Result<f64> {
    let start = Instant::now();
    task.run()?.expect_code(0)?;
    Ok(start.elapsed().as_secs_f64())
}

/// Seconds of the day, of `2024-02-28 10:07:35.531681 - INFO - …`.
fn stamp(line: &str) -> Result<f64> {
    let time = line.split_whitespace().nth(1).context("a log line without a time")?;
    let parts: Vec<f64> = time.split(':').filter_map(|part| part.parse().ok()).collect();
    match parts[..] {
        [hours, minutes, seconds] => Ok(hours * 3600.0 + minutes * 60.0 + seconds),
        _ => bail!("`{time}` is no time of the day"),
    }
}
