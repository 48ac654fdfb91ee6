//! Which tables, columns, rows and events of the source are copied (`[filter]`).

/// Placeholder until parsed.
#[derive(Debug)]
pub struct Filter;
