//! What of a server's binlog is still needed, where several streams share it: what is not, goes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use crate::db::Db;
use crate::servers::Kind;

/// The first file that each stream may want to read, of all streams of this process.
static NEEDED: Mutex<Vec<Needed>> = Mutex::new(Vec::new());

struct Needed {
    kind: Kind,
    stream: String,
    file: String,
}

/// A stream's part of the log; given back when it is dropped.
pub(super) struct Kept {
    kind: Kind,
    stream: String,
}

impl Kept {
    /// Begins a stream: what its beginning is in, stays. Nobody deletes anything while `begin` looks for it.
    ///
    /// # Errors
    /// `begin` failed.
    pub(super) fn from<T>(kind: Kind, stream: &str, begin: impl FnOnce() -> Result<(T, String)>) -> Result<(T, Kept)> {
        let mut all = all();
        let (begun, file) = begin()?;
        all.push(Needed { kind, stream: stream.to_owned(), file });
        Ok((begun, Kept { kind, stream: stream.to_owned() }))
    }

    /// The stream needs nothing before this file any more: deletes the files that no stream of this server needs.
    ///
    /// # Errors
    /// What the server says.
    pub(super) fn forget(&self, before: &str, source: &Db) -> Result<()> {
        let mut all = all();
        let mut of_server: Vec<&mut Needed> = all.iter_mut().filter(|needed| needed.kind == self.kind).collect();
        if let Some(own) = of_server.iter_mut().find(|needed| needed.stream == self.stream) {
            before.clone_into(&mut own.file);
        }
        // Their numbers have six digits, and more only after a million of them.
        let oldest = of_server.iter().map(|needed| needed.file.as_str()).min().context("no stream is known")?;
        source.exec(format!("PURGE BINARY LOGS TO '{oldest}'"))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        all().retain(|needed| (needed.kind, &needed.stream) != (self.kind, &self.stream));
    }
}

fn all() -> MutexGuard<'static, Vec<Needed>> {
    NEEDED.lock().unwrap_or_else(PoisonError::into_inner)
}
