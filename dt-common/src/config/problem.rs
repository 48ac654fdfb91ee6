//! What is wrong with a task file: all of it at once, each problem with its line.
//!
//! A message never holds the value of a key that may be a secret, nor a piece of text that looks like an address
//! with credentials ([`shown`]).

use std::fmt;

use crate::error::Error;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line it is on, counted from 1; `None` if something is missing.
    pub line: Option<usize>,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    /// A problem on a line.
    pub(super) fn at(line: usize, message: impl Into<String>) -> Self {
        Problem { line: Some(line), message: message.into() }
    }

    /// A problem of the file as a whole.
    pub(super) fn of_file(message: impl Into<String>) -> Self {
        Problem { line: None, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// All problems of a file, in the order of its lines, then those that have no line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

impl ConfigErrors {
    pub(super) fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
        ConfigErrors(problems)
    }

    /// The problems, in order.
    pub fn problems(&self) -> &[Problem] {
        &self.0
    }
}

/// One problem per line: `line 12: …`.
impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigErrors> for Error {
    fn from(errors: ConfigErrors) -> Self {
        let count = match errors.0.len() {
            1 => "there is a problem".to_owned(),
            many => format!("there are {many} problems"),
        };
        let lines: Vec<String> = errors.0.iter().map(|problem| format!("  {problem}")).collect();
        Error::config(format!("{count} in the configuration:\n{}", lines.join("\n")))
    }
}

/// What the reading of a file finds on its way.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// What stops the task.
    pub problems: Vec<Problem>,
    /// What the user should know although the task can run.
    pub notes: Vec<(usize, String)>,
}

impl Findings {
    pub(super) fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(Problem::at(line, message));
    }

    pub(super) fn missing(&mut self, message: impl Into<String>) {
        self.problems.push(Problem::of_file(message));
    }

    pub(super) fn note(&mut self, line: usize, message: impl Into<String>) {
        self.notes.push((line, message.into()));
    }

    /// The notes as lines of text, in the order of the file.
    pub(super) fn into_notes(self) -> Vec<String> {
        let mut notes = self.notes;
        notes.sort_by_key(|(line, _)| *line);
        notes.into_iter().map(|(line, text)| format!("line {line}: {text}")).collect()
    }
}

/// A word of the file as it may stand in a message: quoted if it is short and plain, otherwise left out, for it may
/// be an address with a password that was written into the wrong place.
pub(super) fn shown(word: &str) -> Option<String> {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '+' | '*');
    (word.chars().count() <= 40 && word.chars().all(plain)).then(|| format!("`{word}`"))
}

/// A piece of a list of names as it may stand in a message.
pub(super) fn shown_item(item: &str) -> String {
    if item.contains("://") { "an entry".to_owned() } else { format!("`{item}`") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorClass;

    #[test]
    fn problems_come_in_the_order_of_lines_and_those_without_a_line_last() {
        let errors =
            ConfigErrors::new(vec![Problem::of_file("[sinker] is missing"), Problem::at(12, "b"), Problem::at(2, "a")]);
        assert_eq!(errors.to_string(), "line 2: a\nline 12: b\n[sinker] is missing");
        let error = Error::from(errors);
        assert_eq!(error.class(), ErrorClass::Config);
        assert_eq!(
            error.message(),
            "there are 3 problems in the configuration:\n  line 2: a\n  line 12: b\n  [sinker] is missing"
        );
    }

    #[test]
    fn what_looks_like_an_address_is_not_shown() {
        assert_eq!(shown("from_logs"), Some("`from_logs`".to_owned()));
        assert_eq!(shown("mysql://root:hunter2@db"), None);
        assert_eq!(shown_item("mysql://root:hunter2@db"), "an entry");
    }
}
