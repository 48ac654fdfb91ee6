//! Two databases go from one MySQL server to another: one is copied, one is followed while a writer changes it. Both are
//! killed with SIGKILL, resumed, and proved equal by the servers.

mod snapshot;
mod stream;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use dt_tests::servers::{Kind, Options, Pair};

struct Plan {
    /// Rows of the database that is copied.
    rows: u64,
    /// Kills of each part.
    kills: u32,
}

fn main() -> ExitCode {
    match arguments().and_then(|plan| show(&plan)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to tell if standard error is gone.
            let _ = writeln!(std::io::stderr(), "quickstart: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<Plan> {
    let mut plan = Plan { rows: 400_000, kills: 2 };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || words.next().and_then(|text| text.parse().ok()).context(format!("{word} needs a number"));
        match word.as_str() {
            "--rows" => plan.rows = number()?,
            "--kills" => plan.kills = u32::try_from(number()?)?,
            other => bail!("unknown argument `{other}` (there are --rows N and --kills N)"),
        }
    }
    if plan.rows < 1000 {
        bail!("--rows must be 1000 or more");
    }
    Ok(plan)
}

fn say(line: impl AsRef<str>) -> Result<()> {
    writeln!(std::io::stdout(), "{}", line.as_ref()).context("write to standard output")
}

fn show(plan: &Plan) -> Result<bool> {
    say("Starting two MySQL servers on 127.0.0.1 …")?;
    let extra = vec!["--binlog-row-metadata=FULL".to_owned()];
    let pair = Pair::start(Kind::Mysql, &Options { extra, ..Options::default() })?;
    say("\n1. A snapshot")?;
    let copied = snapshot::show(&pair, plan)?;
    say("\n2. Change data capture")?;
    let followed = stream::show(&pair, plan)?;
    Ok(copied && followed)
}

/// 1234567 as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&[u8]> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b","[..])).into_owned()
}
