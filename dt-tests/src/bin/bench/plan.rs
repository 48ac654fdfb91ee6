//! How much is measured, and of which tools.

/// What the command line says.
pub(crate) struct Plan {
    /// Rows in all; of a stream of changes those that are there before.
    pub(crate) rows: u64,
    /// Row changes in all.
    pub(crate) changes: u64,
    /// Runs of each tool; medians are printed.
    pub(crate) runs: u64,
    /// Also the tools and limits that are only of interest now and then.
    pub(crate) all: bool,
    /// Only the tools whose names hold one of these; empty for all.
    pub(crate) only: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Plan { rows: 1_000_000, changes: 300_000, runs: 3, all: false, only: Vec::new() }
    }
}

impl Plan {
    /// Whether a tool of that name is measured.
    pub(crate) fn has(&self, tool: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|part| tool.contains(part.as_str()))
    }
}
