//! Reads the values of one section by the definitions of its keys. What is wrong goes to the findings and the
//! default takes its place, so that one run finds everything.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::ini::{Entry, Ini};
use super::keys::{Absent, Key, Section, Standing};
use super::problem::{Findings, shown};
use crate::ids::DbType;

/// What a word of a closed list stands for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice<T> {
    /// It works and means this.
    Is(T),
    /// It is known, and refused by name until it works.
    NotYet,
}

/// What a task does, as far as it decides which keys it uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Task {
    /// It copies what is there.
    Snapshot,
    /// It follows changes.
    Stream,
}

impl Task {
    /// As the file says, in a word that need not be a known one: every task but a stream is taken for a snapshot.
    pub(super) fn of(ini: &Ini) -> Self {
        match ini.find("extractor", "extract_type") {
            Some(entry) if entry.value.eq_ignore_ascii_case("cdc") => Task::Stream,
            Some(_) | None => Task::Snapshot,
        }
    }
}

/// A time that a number of seconds may name: up to a year, far from any overflow of a clock.
const SECS_MAX: u64 = 366 * 24 * 3600;

/// Reads one section.
pub(super) struct Reader<'a> {
    section: &'static Section,
    ini: &'a Ini,
    findings: &'a mut Findings,
}

impl<'a> Reader<'a> {
    /// What the task does.
    pub(super) fn task(&self) -> Task {
        Task::of(self.ini)
    }

    pub(super) fn new(section: &'static Section, ini: &'a Ini, findings: &'a mut Findings) -> Self {
        Reader { section, ini, findings }
    }

    /// The key's entry if it is given with a value.
    pub(super) fn given(&self, key: &Key) -> Option<&'a Entry> {
        self.ini.find(self.section.name, key.name).filter(|entry| !entry.value.is_empty())
    }

    /// The value as it stands in the file. A required key that is missing is reported once, here.
    pub(super) fn text(&mut self, key: &Key) -> Option<&'a str> {
        if let Some(entry) = self.given(key) {
            return Some(&entry.value);
        }
        match key.default {
            Absent::Refused => {
                let message = format!("`{}` is missing in [{}]", key.name, self.section.name);
                match self.ini.find(self.section.name, key.name) {
                    Some(empty) => self.findings.problem(empty.line, message),
                    None => self.findings.missing(message),
                }
                None
            }
            Absent::Unset | Absent::Derived(_) => None,
            Absent::Value(text) => Some(text),
        }
    }

    /// A whole number within the range; `None` if the key is not given and has no default.
    pub(super) fn number(&mut self, key: &Key, range: RangeInclusive<u64>) -> Option<u64> {
        let parsed = self.text(key)?.parse::<u64>().ok().filter(|number| range.contains(number));
        if parsed.is_none() {
            let wanted = match *range.end() {
                u64::MAX => format!("a whole number of at least {}", range.start()),
                end => format!("a whole number from {} to {end}", range.start()),
            };
            self.refuse(key, &wanted);
            return default_of(key).and_then(|text| text.parse().ok());
        }
        parsed
    }

    /// A number that is a count of things in memory, with a default.
    pub(super) fn count(&mut self, key: &Key, range: RangeInclusive<u64>) -> usize {
        let number = self.number(key, range).expect("config: a count has a default");
        usize::try_from(number).unwrap_or(usize::MAX)
    }

    /// A limit that 0 switches off.
    pub(super) fn limit(&mut self, key: &Key) -> Option<u64> {
        self.number(key, 0..=u64::MAX).filter(|limit| *limit > 0)
    }

    /// A number of seconds with a default.
    pub(super) fn seconds(&mut self, key: &Key, least: u64) -> Duration {
        let seconds = self.number(key, least..=SECS_MAX).expect("config: a time has a default");
        Duration::from_secs(seconds)
    }

    /// `true` or `false`; `None` if the key is not given and has no default.
    pub(super) fn flag(&mut self, key: &Key) -> Option<bool> {
        self.choice(key, &[("true", Choice::Is(true)), ("false", Choice::Is(false))])
    }

    /// `true` or `false`, with a default.
    pub(super) fn switch(&mut self, key: &Key) -> bool {
        self.flag(key).expect("config: a switch has a default")
    }

    /// A word of a closed list, in any case; `None` if the key is not given and has no default.
    pub(super) fn choice<T: Copy>(&mut self, key: &Key, words: &[(&str, Choice<T>)]) -> Option<T> {
        let find = |text: &str| words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        let text = self.text(key)?;
        match find(text) {
            Some((_, Choice::Is(value))) => return Some(*value),
            Some((word, Choice::NotYet)) => {
                let section = self.section.name;
                self.problem(key, format!("`{}={word}` of [{section}] is not available yet", key.name));
            }
            None => {
                let known: Vec<String> = words
                    .iter()
                    .filter(|(_, choice)| matches!(choice, Choice::Is(_)))
                    .map(|(word, _)| format!("`{word}`"))
                    .collect();
                let wanted = match known.as_slice() {
                    [only] => only.clone(),
                    many => format!("one of {}", many.join(", ")),
                };
                self.refuse(key, &wanted);
            }
        }
        match find(default_of(key)?)? {
            (_, Choice::Is(value)) => Some(*value),
            (_, Choice::NotYet) => None,
        }
    }

    /// Reports keys of other kinds of source, and notes those that a task of this kind does not use.
    pub(super) fn sort_out_keys_of_others(&mut self, db_type: DbType, task: Task) {
        for key in self.section.keys() {
            if self.given(key).is_none() {
                continue;
            }
            match (key.standing, task) {
                (Standing::Only(only) | Standing::OnStreams(Some(only)), Task::Stream)
                | (Standing::Only(only), Task::Snapshot)
                    if only != db_type =>
                {
                    self.problem_of(key, &format!("is for `db_type={only}` only"));
                }
                (Standing::OnStreams(_), Task::Snapshot) => {
                    self.without_effect(key, "a snapshot does not use it");
                }
                (Standing::OnSnapshots, Task::Stream) => {
                    self.without_effect(key, "a change stream does not use it");
                }
                (Standing::Only(_) | Standing::Works | Standing::Old { .. }, Task::Snapshot | Task::Stream)
                | (Standing::Idle(_) | Standing::NotYet, Task::Snapshot | Task::Stream)
                | (Standing::OnStreams(_), Task::Stream)
                | (Standing::OnSnapshots, Task::Snapshot) => {}
            }
        }
    }

    fn without_effect(&mut self, key: &Key, why: &str) {
        let section = self.section.name;
        self.note(key, format!("`{}` of [{section}] has no effect: {why}", key.name));
    }

    /// Reports that a value is not what the key takes.
    pub(super) fn refuse(&mut self, key: &Key, wanted: &str) {
        let not =
            self.given(key).and_then(|entry| shown(&entry.value)).map_or(String::new(), |word| format!(", not {word}"));
        let section = self.section.name;
        self.problem(key, format!("`{}` of [{section}] must be {wanted}{not}", key.name));
    }

    /// Reports what is wrong with a key's value, without showing it.
    pub(super) fn problem_of(&mut self, key: &Key, what: &str) {
        let section = self.section.name;
        self.problem(key, format!("`{}` of [{section}] {what}", key.name));
    }

    /// Reports a problem on the key's line, or of the file if the key is not given.
    pub(super) fn problem(&mut self, key: &Key, message: String) {
        match self.given(key) {
            Some(entry) => self.findings.problem(entry.line, message),
            None => self.findings.missing(message),
        }
    }

    /// Notes something on the line of a key that is given.
    pub(super) fn note(&mut self, key: &Key, message: String) {
        if let Some(entry) = self.given(key) {
            self.findings.note(entry.line, message);
        }
    }
}

fn default_of(key: &Key) -> Option<&'static str> {
    match key.default {
        Absent::Value(text) => Some(text),
        Absent::Refused | Absent::Unset | Absent::Derived(_) => None,
    }
}
