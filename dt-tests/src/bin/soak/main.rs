//! Runs a stream of each database for as long as it is told, whatever happens. See `./scripts/soak`.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use dt_tests::dice::Dice;
use dt_tests::matrix::cell::Database;
use dt_tests::matrix::soak::{self, Lived};
use dt_tests::servers;
use dt_tests::task::dt_main;

struct Arguments {
    minutes: u64,
    database: Option<Database>,
    seed: u64,
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments { minutes: 10, database: None, seed: Dice::new().seed() };
    let mut given = std::env::args().skip(1);
    while let Some(argument) = given.next() {
        match argument.as_str() {
            "--seed" => found.seed = given.next().context("--seed needs a value")?.parse().context("--seed")?,
            option if option.starts_with('-') => bail!("unknown option {option}"),
            text => match (text.parse(), Database::ALL.iter().find(|database| database.to_string() == text)) {
                (Ok(minutes), _) => found.minutes = minutes,
                (Err(_), Some(database)) => found.database = Some(*database),
                (Err(_), None) => bail!("`{text}` is neither minutes nor mysql, mariadb, pg or mongo"),
            },
        }
    }
    Ok(found)
}

fn main() -> Result<ExitCode> {
    let Arguments { minutes, database, seed } = arguments()?;
    let time = Duration::from_secs(60 * minutes);
    dt_main()?;
    // Servers are killed, and must keep what they have said to have.
    servers::make_durable();
    let began = Instant::now();
    let tell = |line: &str| {
        // Nobody may be reading; the exit code still tells.
        let _ = writeln!(std::io::stderr(), "{:>6.0} s  {line}", began.elapsed().as_secs_f64());
    };
    let databases: Vec<Database> =
        Database::ALL.into_iter().filter(|it| database.is_none_or(|one| one == *it)).collect();
    let results: Vec<(Database, Result<Lived>)> = std::thread::scope(|scope| {
        let start = |database| (database, scope.spawn(move || soak::run(database, time, seed, tell)));
        let running: Vec<_> = databases.into_iter().map(start).collect();
        let joined = |thread: std::thread::ScopedJoinHandle<'_, Result<Lived>>| {
            thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("its thread panicked")))
        };
        running.into_iter().map(|(database, thread)| (database, joined(thread))).collect()
    });
    let mut failed = false;
    for (database, result) in results {
        let line = match result {
            Ok(lived) => told(&lived),
            Err(error) => {
                failed = true;
                format!("FAILED: {error:#}\n  again: ./scripts/soak {minutes} {database} --seed {seed}")
            }
        };
        writeln!(std::io::stdout(), "{database}: {line}")?;
    }
    writeln!(std::io::stdout(), "seed {seed}")?;
    Ok(ExitCode::from(u8::from(failed)))
}

fn told(lived: &Lived) -> String {
    let Lived { blows, kills, changes, judged, held } = lived;
    let held = held.map_or(String::new(), |(first, last)| format!("; at first {first}, at last {last}"));
    format!("{changes} changes, {blows} blows, {kills} kills, {judged} times equal{held}")
}
