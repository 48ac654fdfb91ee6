//! Two databases go from one server to another: one is copied, one is followed while a writer changes it. Both are
//! killed with SIGKILL, resumed, and proved equal by the servers.
//!
//! [`snapshot`] and [`stream`] are the two parts, whatever the servers are; [`mysql`], [`postgres`] and [`mongo`] say what differs.

mod mongo;
mod mysql;
mod plan;
mod postgres;
mod snapshot;
mod stream;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use plan::{Between, Plan};
use snapshot::Copied;
use stream::Followed;

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
    match plan.between {
        Between::Mysql => {
            let pair = mysql::servers()?;
            both(plan, || mysql::sample(&pair), || mysql::live(&pair))
        }
        Between::Postgres => {
            let pair = postgres::servers()?;
            both(plan, || postgres::sample(&pair), || postgres::live(&pair))
        }
        Between::Mongo => {
            let pair = mongo::servers()?;
            both(plan, || mongo::sample(&pair), || mongo::live(&pair))
        }
    }
}

fn both<C: Copied, F: Followed>(
    plan: &Plan,
    sample: impl FnOnce() -> Result<C>,
    live: impl FnOnce() -> Result<F>,
) -> Result<bool> {
    say("\n1. A snapshot")?;
    let copied = snapshot::show(&sample()?, plan)?;
    say("\n2. Change data capture")?;
    let followed = stream::show(&mut live()?, plan)?;
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
