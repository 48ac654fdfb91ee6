//! Two databases go from one server to another: one is copied, one is followed while a writer changes it. Both are
//! killed with SIGKILL, resumed, and proved equal by the servers.
//!
//! [`snapshot`] and [`stream`] are the two parts, whatever the servers are; [`mysql`] and [`postgres`] say what differs.

mod mysql;
mod plan;
mod postgres;
mod snapshot;
mod stream;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use plan::{Between, Plan};

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool> {
    match plan::read(std::env::args().skip(1))? {
        Some(plan) => show(&plan),
        None => say(plan::USAGE).map(|()| true),
    }
}

/// Whether all was as promised.
fn show(plan: &Plan) -> Result<bool> {
    let pair = match plan.between {
        Between::Mysql => mysql::servers()?,
        Between::Postgres => postgres::servers()?,
    };
    say("\n1. A snapshot")?;
    let copied = match plan.between {
        Between::Mysql => snapshot::show(&mysql::sample(&pair)?, plan)?,
        Between::Postgres => snapshot::show(&postgres::sample(&pair)?, plan)?,
    };
    say("\n2. Change data capture")?;
    let followed = match plan.between {
        Between::Mysql => stream::show(mysql::live(&pair)?, plan)?,
        Between::Postgres => stream::show(postgres::live(&pair)?, plan)?,
    };
    Ok(copied && followed)
}

fn say(line: impl AsRef<str>) -> Result<()> {
    writeln!(std::io::stdout(), "{}", line.as_ref()).context("write to standard output")
}

/// 1234567 as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b","[..])).into_owned()
}
