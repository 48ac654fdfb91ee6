//! What a source and a target say of themselves when stored positions are looked at: how long the source's log still
//! holds what is to be read, and whether tables hold rows at all.

use std::fmt;

/// How far a source is from giving up what a stream at a position still has to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeadRoom {
    /// What it says, by names that tell the unit (`bytes_to_read`, `kept_for_secs`), in the order in which it is told.
    pub facts: Vec<(&'static str, Fact)>,
    /// A warning for the user, if little is left.
    pub warning: Option<String>,
}

/// One thing that a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A number, in the unit that its name tells.
    Number(u64),
    /// A name, a place or a time.
    Text(String),
}

impl HeadRoom {
    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, name: &'static str, fact: impl Into<Fact>) -> Self {
        self.facts.push((name, fact.into()));
        self
    }

    /// Adds a fact if there is one.
    #[must_use]
    pub fn with_some(self, name: &'static str, fact: Option<impl Into<Fact>>) -> Self {
        match fact {
            Some(fact) => self.with(name, fact),
            None => self,
        }
    }
}

impl From<u64> for Fact {
    fn from(number: u64) -> Self {
        Fact::Number(number)
    }
}

impl From<String> for Fact {
    fn from(text: String) -> Self {
        Fact::Text(text)
    }
}

impl From<&str> for Fact {
    fn from(text: &str) -> Self {
        Fact::Text(text.to_owned())
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fact::Number(number) => write!(f, "{number}"),
            Fact::Text(text) => f.write_str(text),
        }
    }
}

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// At least one row.
    Rows,
    /// It is there, and holds none.
    Nothing,
    /// It is not there.
    Missing,
}
