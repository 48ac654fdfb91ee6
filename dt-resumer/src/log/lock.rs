//! One task at a time in a log_dir (invariant 10). The lock is the kernel's, so a killed process never leaves it.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use dt_common::{Error, Result};

/// The lock on a log_dir, held until dropped.
#[derive(Debug)]
pub(crate) struct DirLock {
    file: File,
}

impl DirLock {
    /// What only its holder can present.
    pub(crate) fn proof(&self) -> Option<String> {
        proof_of(&self.file)
    }

    /// Takes the lock, or says who is in the way.
    pub(crate) fn take(dir: &Path) -> Result<DirLock> {
        let path = dir.join(".lock");
        let cannot = |error: std::io::Error| {
            Error::user("the log directory cannot be locked")
                .with("file", path.display())
                .caused_by(error)
                .hint("choose a [runtime] log_dir that this user may write, on a file system that has locks")
        };
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => Ok(DirLock { file }),
            Err(TryLockError::WouldBlock) => Err(Error::user("another task is running with this log directory")
                .with("[runtime] log_dir", dir.display())
                .hint("stop the other one, or give each task a [runtime] log_dir of its own")),
            Err(TryLockError::Error(error)) => Err(cannot(error)),
        }
    }
}

/// What only the holder of an exclusive lock on a file can present: which boot of which kernel, and which file. The file is
/// open as long as its holder lives, so that no other one can have its device and number. `None` where the system does not
/// tell.
pub fn proof_of(locked: &File) -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let lock = locked.metadata().ok()?;
    Some(format!("{}-{:x}-{:x}", boot.trim(), lock.dev(), lock.ino()))
}
