//! One error type for everything between the databases and the position store.
//!
//! An error says what happened, where, what the operator can do ([`Error::hint`]), and, as data, what the task
//! does about it ([`ErrorClass`]). Row values and secrets are never part of it (invariant 11).

use std::error::Error as StdError;
use std::fmt;

/// What is to be done about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// The same thing may succeed if it is tried again on the same connection (deadlock, lock wait timeout).
    Retry,
    /// The connection is gone or useless: connect again, then try again (server restart, reset, fail-over).
    Reconnect,
    /// Source, target or stored position need the user; trying again cannot help. Exit code 3.
    User,
    /// The configuration is wrong. Exit code 2.
    Config,
    /// The data or the server did something that is not understood, or we have a bug. Exit code 1.
    Fatal,
}

impl ErrorClass {
    /// Whether trying again, within the budget, is right.
    pub const fn is_transient(self) -> bool {
        match self {
            ErrorClass::Retry | ErrorClass::Reconnect => true,
            ErrorClass::User | ErrorClass::Config | ErrorClass::Fatal => false,
        }
    }
}

/// What went wrong, with its context and a way out.
pub struct Error(Box<Inner>);

struct Inner {
    class: ErrorClass,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// `std::result::Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `class`; the message names what happened, without a row's values.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Error(Box::new(Inner { class, message: message.into(), context: Vec::new(), hint: None, source: None }))
    }

    /// Source, target or position need the user: exit code 3.
    pub fn user(message: impl Into<String>) -> Self {
        Error::new(ErrorClass::User, message)
    }

    /// The configuration is wrong: exit code 2.
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(ErrorClass::Config, message)
    }

    /// Not understood, or our bug: exit code 1.
    pub fn fatal(message: impl Into<String>) -> Self {
        Error::new(ErrorClass::Fatal, message)
    }

    /// Another process has taken the task over (invariant 10): whoever meets this must not commit.
    pub fn taken_over() -> Self {
        Error::user("another process has taken this task over: nothing more is written here").hint(
            "what was recorded is whole, and the other process goes on from it; let only one of the two run, or give each \
             task a [global] task_id of its own",
        )
    }

    /// Adds a fact: `("table", "`a`.`b`")`, `("file", "position.log")`.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Says what the operator can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Attaches the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error in another class, for a place that knows better what it means.
    #[must_use]
    pub fn with_class(mut self, class: ErrorClass) -> Self {
        self.0.class = class;
        self
    }

    /// What is to be done about it.
    pub fn class(&self) -> ErrorClass {
        self.0.class
    }

    /// The message alone.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The way out, if there is one.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

/// The message, its context, the chain of causes and the hint, each on what a terminal shows as its own piece:
/// `cannot read table (table: `a`.`b`): connection reset; try: …`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        if !self.0.context.is_empty() {
            let facts: Vec<String> = self.0.context.iter().map(|(key, value)| format!("{key}: {value}")).collect();
            write!(f, " ({})", facts.join(", "))?;
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\n  what to do: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.0.class)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_message_context_cause_and_way_out_in_that_order() {
        let error = Error::user("the stored position is of another server")
            .with("file", "position.log")
            .caused_by("uuid differs")
            .hint("start with resume_type=dummy");
        assert_eq!(
            error.to_string(),
            "the stored position is of another server (file: position.log): uuid differs\n  what to do: start with resume_type=dummy"
        );
        assert_eq!(error.class(), ErrorClass::User);
    }
}
