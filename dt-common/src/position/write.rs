//! Positions on their way into a transaction.

/// What writes positions within a transaction of the server that keeps them, made by a position store. Whoever writes the
/// rows that the positions stand for executes it in the rows' own transaction, last before the commit: then both are
/// durable, or neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionWrite {
    /// Comes first. It must give exactly one row: none says that the task was taken over by another process, and then the
    /// transaction must not be committed.
    pub guard: String,
    /// Follow in this order. Executed again, they change nothing.
    pub statements: Vec<String>,
}

impl PositionWrite {
    /// The statements behind the guard as one text; `None` if there are none.
    pub fn script(&self) -> Option<String> {
        (!self.statements.is_empty()).then(|| self.statements.join(";"))
    }
}
