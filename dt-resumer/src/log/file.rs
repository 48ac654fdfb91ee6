//! One file of lines that grows: appending without ever gluing a line onto the rest of another, and replacing the
//! file by a shorter one that says the same.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dt_common::failpoint::{Failpoint, is_armed, reach};

use super::disk::Disk;
use super::scan::Scan;

/// position.log or finished.log, as far as it is known to be good.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: Arc<Path>,
    exists: bool,
    /// Bytes that are known to be good; beyond them is nothing, or rests of a failed write if `has_rest`.
    len: u64,
    is_terminated: bool,
    has_rest: bool,
    /// The length at which it is worth rewriting.
    compact_at: u64,
}

/// What an operation did to the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a new name is durable only after its directory was synced"]
pub(crate) enum Names {
    /// No name is new.
    Kept,
    /// The directory has to be synced.
    Changed,
}

impl LogFile {
    /// The file as a scan of it found it; `None` if there was none.
    pub(crate) fn new(path: Arc<Path>, scan: Option<&Scan>, rotate_bytes: u64) -> LogFile {
        LogFile {
            path,
            exists: scan.is_some(),
            len: scan.map_or(0, |scan| scan.good_len),
            is_terminated: scan.is_none_or(|scan| scan.is_terminated),
            has_rest: scan.is_some_and(|scan| scan.torn.is_some()),
            compact_at: rotate_bytes,
        }
    }

    /// The file's path.
    pub(crate) fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Makes `lines` durable at the file's end. After a failure nothing of them counts, and the next append begins
    /// where this one did.
    pub(crate) fn append(&mut self, disk: &mut dyn Disk, lines: &str) -> io::Result<Names> {
        self.cut_rest(disk)?;
        let bytes = if self.is_terminated { lines.to_owned() } else { format!("\n{lines}") };
        self.has_rest = true;
        reach(Failpoint::LogAppend);
        if is_armed(Failpoint::LogHalf) {
            disk.append(&self.path, &bytes.as_bytes()[..bytes.len() / 2])?;
            reach(Failpoint::LogHalf);
            disk.cut(&self.path, self.len)?;
        }
        let written = disk.append(&self.path, bytes.as_bytes()).and_then(|()| {
            reach(Failpoint::LogAppended);
            disk.sync(&self.path)
        });
        if let Err(error) = written {
            // Cut now if it can be done, so that a reader in between meets no torn line; else before the next append.
            // A sync that failed has lost what was written, so that it is written anew then.
            let _ = self.cut_rest(disk);
            return Err(error);
        }
        reach(Failpoint::LogSynced);
        self.has_rest = false;
        self.len += bytes.len() as u64;
        self.is_terminated = true;
        let names = if self.exists { Names::Kept } else { Names::Changed };
        self.exists = true;
        Ok(names)
    }

    fn cut_rest(&mut self, disk: &mut dyn Disk) -> io::Result<()> {
        if self.has_rest {
            // Synced, so that nothing new is written over what may come back after a loss of power.
            match disk.cut(&self.path, self.len).and_then(|()| disk.sync(&self.path)) {
                Ok(()) => {}
                // The write that failed had not even made the file.
                Err(error) if error.kind() == io::ErrorKind::NotFound && self.len == 0 => {}
                Err(error) => return Err(error),
            }
            self.has_rest = false;
        }
        Ok(())
    }

    /// Whether the file has grown so much that rewriting it pays.
    pub(crate) fn wants_compaction(&self) -> bool {
        self.len > self.compact_at
    }

    /// Puts `lines` in the file's place: they are durable under another name before they take its name, so that there
    /// is no moment without them.
    pub(crate) fn replace(&mut self, disk: &mut dyn Disk, lines: &str, rotate_bytes: u64) -> io::Result<Names> {
        let new = self.new_path();
        reach(Failpoint::LogRotate);
        let done = disk.write(&new, lines.as_bytes()).and_then(|()| disk.sync(&new)).and_then(|()| {
            reach(Failpoint::LogRotateWritten);
            disk.rename(&new, &self.path)
        });
        if let Err(error) = done {
            // The room may be what is missing. What cannot be removed is overwritten by the next try.
            let _ = disk.remove(&new);
            self.compact_at = self.len.saturating_add(rotate_bytes);
            return Err(error);
        }
        reach(Failpoint::LogRotated);
        self.exists = true;
        self.len = lines.len() as u64;
        self.is_terminated = true;
        self.has_rest = false;
        // Where most of it is live, rewriting it soon again would not make it shorter.
        self.compact_at = rotate_bytes.max(self.len.saturating_mul(2));
        Ok(Names::Changed)
    }

    /// The name under which a compacted file is written.
    pub(crate) fn new_path(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        PathBuf::from(name)
    }
}
