//! Reading files of positions that are not the task's own: to carry them into its store.

use std::path::Path;
use std::sync::Arc;

use dt_common::{Error, Result};

use super::journal::{Place, cannot_understand};
use super::scan::{scan_config, scan_log};
use super::{FINISHED_LOG, LogOptions, POSITION_LOG, off_the_runtime, reader_of};
use crate::loaded::Loaded;

/// What a file of positions says, or the position.log and finished.log of a directory: lines of all three generations.
/// Nothing is written or locked.
///
/// In a file named as one that a task writes, a last line that a crash has cut short is left out with a warning; in any
/// other, which a person wrote, every line must be readable.
///
/// # Errors
/// There is no such file, or a directory holds neither; a line cannot be read, and is named.
pub async fn read(path: impl AsRef<Path>) -> Result<Loaded> {
    let path = path.as_ref().to_owned();
    off_the_runtime(move || read_now(&path)).await
}

fn read_now(path: &Path) -> Result<Loaded> {
    let cannot = |error: std::io::Error| {
        Error::user("the positions to read cannot be read")
            .with("file", path.display())
            .caused_by(error)
            .hint("name a file of positions, or a directory that holds position.log or finished.log")
    };
    if std::fs::metadata(path).map_err(cannot)?.is_dir() {
        if ![POSITION_LOG, FINISHED_LOG].iter().any(|name| path.join(name).is_file()) {
            return Err(Error::user("the directory holds neither position.log nor finished.log")
                .with("directory", path.display())
                .hint("name another directory, or a file of positions"));
        }
        return reader_of(LogOptions::new(path)).peek();
    }
    let bytes = std::fs::read(path).map_err(cannot)?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let is_log = [POSITION_LOG, FINISHED_LOG].iter().any(|log| name.starts_with(log));
    let (lines, torn) = match is_log {
        true => scan_log(&bytes).map(|scan| (scan.lines, scan.torn)),
        false => scan_config(&bytes).map(|lines| (lines, None)),
    }
    .map_err(|unreadable| cannot_understand(path, unreadable))?;
    let mut place = Place::default();
    place.take_in(&Arc::from(path), lines, |_, _| true);
    let torn = torn.map(|line| format!("{}, line {line}, was cut short by a crash and is left out", path.display()));
    Ok(place.into_loaded(torn))
}
