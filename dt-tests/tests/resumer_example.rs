//! dt-resumer's example, which uses the crate alone: killed and started again, it copies each line once.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dt_tests::deadline;
use dt_tests::servers::{self, Kind};
use dt_tests::task::dt_main;

const LINES: usize = 40;

fn example() -> Result<PathBuf> {
    // Beside dt-main, which is built when it is asked for.
    let folder = dt_main()?.parent().context("dt-main is in no folder")?.to_owned();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--quiet", "-p", "dt-resumer", "--features", "mysql,postgres"])
        .args(["--example", "copy_with_positions"])
        .current_dir(dt_tests::workspace::folder())
        .env("CARGO_TARGET_DIR", folder.parent().context("no target folder")?);
    let built = command.output().context("run cargo")?;
    ensure!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let debug = folder.with_file_name("debug");
    Ok(debug.join("examples/copy_with_positions"))
}

fn start(program: &Path, url: &str, folder: &Path) -> Result<Child> {
    let arguments =
        [url.to_owned(), folder.join("from").display().to_string(), folder.join("to").display().to_string()];
    Ok(Command::new(program).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?)
}

fn each_line_is_copied_once(kind: Kind, url: &str) -> Result<()> {
    let program = example()?;
    let folder = tempfile::tempdir()?;
    let lines: String = (0..LINES).map(|line| format!("line {line}\n")).collect();
    std::fs::write(folder.path().join("from"), &lines)?;
    let copied = || std::fs::read_to_string(folder.path().join("to")).unwrap_or_default().lines().count();
    for wanted in [5, 15] {
        let mut running = start(&program, url, folder.path())?;
        deadline::until("some lines are copied", Duration::from_secs(60), || {
            ensure!(running.try_wait()?.is_none(), "{kind}: it ended by itself");
            Ok((copied() >= wanted).then_some(()))
        })?;
        running.kill()?;
        running.wait()?;
    }
    let ended = start(&program, url, folder.path())?.wait_with_output()?;
    ensure!(ended.status.success(), "{kind}: {}", String::from_utf8_lossy(&ended.stderr));
    ensure!(std::fs::read_to_string(folder.path().join("to"))? == lines, "{kind}: the files differ");
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let rest: usize = said.split(' ').next().and_then(|number| number.parse().ok()).context("no number of lines")?;
    ensure!(rest < LINES - 10, "{kind}: it began anew: {said}");
    let again = start(&program, url, folder.path())?.wait_with_output()?;
    ensure!(again.stdout.starts_with(b"0 lines"), "{kind}: {}", String::from_utf8_lossy(&again.stdout));
    Ok(())
}

#[test]
fn the_example_copies_each_line_once_with_positions_in_mysql_and_in_postgresql() -> Result<()> {
    let mysql = &servers::pair(Kind::Mysql)?.source;
    each_line_is_copied_once(Kind::Mysql, &format!("mysql://root@127.0.0.1:{}", mysql.port()))?;
    let postgres = &servers::pair(Kind::Postgres15)?.source;
    each_line_is_copied_once(Kind::Postgres15, &format!("postgres://postgres@127.0.0.1:{}/postgres", postgres.port()))
}
