//! A freshly made data folder of MySQL takes seconds: it is made once for each version, kept in the cache folder, and copied.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::programs::{INIT_FILE, Program, cache_dir, init_sql};

/// Raised when what a template holds changes.
const GENERATION: u32 = 1;

/// The data folder to copy, made now if it is not there. Processes that need it at the same time wait for one.
pub(super) fn of(program: &Program) -> Result<PathBuf> {
    let templates = cache_dir()?.join("templates");
    fs::create_dir_all(&templates).with_context(|| format!("make {}", templates.display()))?;
    let mut hasher = DefaultHasher::new();
    (GENERATION, &program.version, init_sql()).hash(&mut hasher);
    let template = templates.join(format!("{}-{:016x}", program.name(), hasher.finish()));
    let lock = File::create(templates.join(".lock"))?;
    lock.lock().context("lock the templates")?;
    if !template.exists() {
        make(program, &template)?;
    }
    Ok(template)
}

fn make(program: &Program, template: &Path) -> Result<()> {
    let unfinished = template.with_extension("new");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let output = program.initialise(&unfinished)?.output().context("make an empty data folder")?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        bail!("{} cannot make a data folder:\n{}", program.name(), String::from_utf8_lossy(&said));
    }
    // MySQL's server_uuid: each copy must make its own.
    let identity = unfinished.join("auto.cnf");
    if identity.exists() {
        fs::remove_file(identity)?;
    }
    fs::write(unfinished.join(INIT_FILE), init_sql())?;
    fs::rename(&unfinished, template)?;
    Ok(())
}

/// Copies a template; sparse files and, where the file system can, blocks are shared.
pub(super) fn copy(template: &Path, data: &Path) -> Result<()> {
    let status =
        Command::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(data).status().context("run cp")?;
    if !status.success() {
        bail!("cp -a {} {} failed", template.display(), data.display());
    }
    Ok(())
}
