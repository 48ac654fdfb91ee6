//! Positions on their way into a transaction.

/// What writes positions within a transaction of the server that keeps them, made by a position store. Whoever writes the
/// rows that the positions stand for executes it in the rows' own transaction, last before the commit: then both are
/// durable, or neither.
///
/// What the texts are is between the store and the sinker of one kind of server: statements of SQL; commands of MongoDB as
/// canonical Extended JSON, each with its database as `$db`. There `$session` in [`PositionWrite::guard`] and [`Settle::wait`]
/// stands for the session (its UUID as text) that executes them, and that was made known by executing [`Settle::wait`], an array,
/// one command after the other and outside of a transaction. Each must match one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionWrite {
    /// Comes first. It must give exactly one row: none says that the task was taken over by another process, and then the
    /// transaction must not be committed. COMMIT is not sent before this and all that follows is answered, so that a
    /// transaction whose end is not known holds what [`Settle::wait`] waits for.
    pub guard: String,
    /// Follow in this order. Executed again, they change nothing.
    pub statements: Vec<String>,
    /// For one that is tried again: whether the try before was committed after all.
    pub settle: Settle,
}

/// Finds out what became of a transaction whose commit was not answered, in a transaction of its own that reads what others
/// have committed (READ COMMITTED where statements else see the state at the transaction's begin).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settle {
    /// Gives one row, as the guard does, once every transaction that has passed the guard has ended. With MongoDB the guard of
    /// the session before does that, executed outside of a transaction.
    pub wait: String,
    /// Gives a row if these very positions are there. `None` if there are none that would show it.
    pub written: Option<String>,
}

impl PositionWrite {
    /// The guard and the statements behind it as one text, for servers that take several statements at once. The guard is the
    /// only one that answers with rows.
    pub fn script(&self) -> String {
        let mut script = self.guard.clone();
        for statement in &self.statements {
            script.push(';');
            script.push_str(statement);
        }
        script
    }
}
