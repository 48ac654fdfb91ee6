//! The few things that the log store asks of a file system, as a seam: the tests put a disk in its place that loses
//! power between any two of them. Never decides anything.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Operations on files. None of them but the two syncs promises that anything is durable.
pub(crate) trait Disk: Send {
    /// The file's bytes; `None` if there is no such file.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// Whether there is such a directory.
    fn is_dir(&self, path: &Path) -> bool;
    /// Adds to the file's end, making the file if it is not there. A failure may leave a part of the bytes behind.
    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Replaces the file's bytes, making the file if it is not there.
    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file off after that many bytes.
    fn cut(&mut self, path: &Path, len: u64) -> io::Result<()>;
    /// Makes the file's bytes durable.
    fn sync(&mut self, path: &Path) -> io::Result<()>;
    /// Renames a file, replacing what has the new name.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Makes the directory's names durable.
    fn sync_dir(&mut self, dir: &Path) -> io::Result<()>;
}

/// The file system of the machine.
#[derive(Debug, Default)]
pub(crate) struct RealDisk {
    /// The file that was written last and is not synced yet. It stays open until it is: an error of the disk that comes
    /// after the write is told to who has the file open, and may be forgotten when nobody has (fsync(2), NOTES).
    written: Option<(PathBuf, File)>,
}

impl RealDisk {
    fn write_to(&mut self, path: &Path, mut file: File, bytes: &[u8]) -> io::Result<()> {
        let written = file.write_all(bytes);
        self.written = Some((path.to_owned(), file));
        written
    }
}

impl Disk for RealDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        self.write_to(path, file, bytes)
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let file = File::create(path)?;
        self.write_to(path, file, bytes)
    }

    fn cut(&mut self, path: &Path, len: u64) -> io::Result<()> {
        OpenOptions::new().write(true).open(path)?.set_len(len)
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        match self.written.take_if(|(written, _)| written == path) {
            Some((_, file)) => file.sync_data(),
            // Any descriptor of the file flushes what was written through another one.
            None => OpenOptions::new().append(true).open(path)?.sync_data(),
        }
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        // A file that is open keeps its room.
        drop(self.written.take_if(|(written, _)| written == path));
        fs::remove_file(path)
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}
