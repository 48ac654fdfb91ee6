//! What a process holds, from `/proc`.

use std::fmt;

use anyhow::{Context, Result};

/// Memory, descriptors and threads of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The resident set, in KiB.
    pub memory: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
}

impl Held {
    /// What it holds now.
    ///
    /// # Errors
    /// It has ended.
    pub(super) fn by(pid: u32) -> Result<Held> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let number = |name: &str| -> Result<u64> {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).with_context(|| format!("no {name}"))?;
            Ok(line.split_whitespace().next().context("no number")?.parse()?)
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64;
        Ok(Held { memory: number("VmRSS:")?, descriptors, threads: number("Threads:")? })
    }

    /// Whether it is no more than before, give or take what a batch or a connection under way needs.
    pub(super) fn is_about(self, before: Held) -> bool {
        self.memory <= before.memory * 3 / 2 + 24 * 1024
            && self.descriptors <= before.descriptors + 8
            && self.threads <= before.threads + 4
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Held { memory, descriptors, threads } = self;
        write!(f, "{} MiB, {descriptors} descriptors, {threads} threads", memory / 1024)
    }
}
