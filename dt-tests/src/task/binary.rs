//! The dt-main that belongs to this build.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};

/// The path of dt-main: `$DT_MAIN`, else the one beside the running program. Under `cargo test` and `cargo run` it is
/// built first, once per process, so that it is never older than the sources.
///
/// # Errors
/// It cannot be built, or is not there.
pub fn dt_main() -> Result<PathBuf> {
    static PATH: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PATH.get_or_init(|| locate().map_err(|error| format!("{error:#}"))).clone().map_err(|error| anyhow!(error))
}

fn locate() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("DT_MAIN") {
        return Ok(PathBuf::from(path));
    }
    let program = std::env::current_exe().context("find the running program")?;
    // A test lies in target/PROFILE/deps, a program in target/PROFILE.
    let mut folder = program.parent().context("the running program has no folder")?;
    if folder.ends_with("deps") {
        folder = folder.parent().context("deps has no parent")?;
    }
    if let Some(cargo) = std::env::var_os("CARGO") {
        build(&cargo, folder)?;
    }
    let path = folder.join("dt-main");
    if !path.is_file() {
        bail!("{} is not there: run `cargo build -p dt-main`, or name one in DT_MAIN", path.display());
    }
    Ok(path)
}

fn build(cargo: &std::ffi::OsStr, folder: &Path) -> Result<()> {
    let release = folder.file_name().is_some_and(|profile| profile == "release");
    let workspace = crate::workspace::folder();
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "-p", "dt-main"]).args(release.then_some("--release")).current_dir(workspace);
    command.env("CARGO_TARGET_DIR", folder.parent().context("the profile's folder has no parent")?);
    // What cargo tells a program of its own package would make the build scripts of others run again, each time.
    let own =
        |name: &str| ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"].iter().any(|prefix| name.starts_with(prefix));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(own)) {
        command.env_remove(name);
    }
    let output = command.output().context("run cargo")?;
    if !output.status.success() {
        bail!("dt-main does not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
