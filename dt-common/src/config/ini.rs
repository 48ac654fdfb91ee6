//! The INI syntax of task files: lines in, entries with their line numbers out. Knows no key.
//!
//! * Names of sections and keys are case-insensitive; here they are lower case.
//! * A line whose first characters are `;`, `#` or `//` is a comment. There are no comments behind a value.
//! * A value is everything after the first `=`, trimmed; there are no quotes and no escapes, so that it may hold
//!   `;`, `#`, `=`, quotes and back-slashes.
//! * A section may be continued further down; a key may be given once.
//!
//! Nothing of a line that is not understood is repeated in a message: it may be the rest of a password.

use std::collections::HashMap;

use super::problem::{Findings, shown};

/// A `key=value` line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The section, in lower case.
    pub section: String,
    /// The key, in lower case.
    pub key: String,
    /// The value, trimmed; may be empty.
    pub value: String,
    /// Counted from 1.
    pub line: usize,
}

/// A file's entries and section headers, in order.
#[derive(Debug, Default)]
pub(super) struct Ini {
    /// The `key=value` lines.
    pub entries: Vec<Entry>,
    /// The name and line of the first header of each section.
    pub sections: Vec<(String, usize)>,
}

impl Ini {
    /// The entry of a key, whatever its value.
    pub(super) fn find(&self, section: &str, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.section == section && entry.key == key)
    }

    /// The line of a section's first header.
    pub(super) fn section_line(&self, section: &str) -> Option<usize> {
        self.sections.iter().find(|(name, _)| name == section).map(|(_, line)| *line)
    }
}

/// Reads a file. What is not understood goes to `findings`; the rest is read all the same.
pub(super) fn read(text: &str, findings: &mut Findings) -> Ini {
    let mut ini = Ini::default();
    let mut section: Option<String> = None;
    let mut first_lines: HashMap<(String, String), usize> = HashMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with([';', '#']) || line.starts_with("//") {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            match header.strip_suffix(']').map(str::trim) {
                Some(name) if !name.is_empty() => {
                    let name = name.to_lowercase();
                    if ini.section_line(&name).is_none() {
                        ini.sections.push((name.clone(), number));
                    }
                    section = Some(name);
                }
                Some(_) | None => findings.problem(
                    number,
                    "a section begins with a line that is `[name]` and nothing else (comments have lines of their own)",
                ),
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=') else {
            findings.problem(number, "neither a comment, nor a `[section]`, nor `key=value`");
            continue;
        };
        let key = key.trim().to_lowercase();
        if key.is_empty() {
            findings.problem(number, "there is no key in front of `=`");
            continue;
        }
        let Some(section) = section.clone() else {
            let named = shown(&key).unwrap_or_else(|| "this key".to_owned());
            findings.problem(number, format!("{named} is in no section: a `[section]` line must come first"));
            continue;
        };
        if let Some(first) = first_lines.get(&(section.clone(), key.clone())) {
            let named = shown(&key).unwrap_or_else(|| "this key".to_owned());
            findings.problem(number, format!("{named} is given twice in [{section}]; the first is on line {first}"));
            continue;
        }
        first_lines.insert((section.clone(), key.clone()), number);
        ini.entries.push(Entry { section, key, value: value.trim().to_owned(), line: number });
    }
    ini
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problems(text: &str) -> Vec<String> {
        let mut findings = Findings::default();
        read(text, &mut findings);
        findings.problems.iter().map(ToString::to_string).collect()
    }

    fn value(text: &str, section: &str, key: &str) -> String {
        let mut findings = Findings::default();
        let ini = read(text, &mut findings);
        assert_eq!(findings.problems, [], "{text}");
        ini.find(section, key).expect("the key is there").value.clone()
    }

    #[test]
    fn sections_and_keys_are_case_insensitive_and_values_are_not() {
        assert_eq!(value("[Extractor]\nDB_Type = MySQL \n", "extractor", "db_type"), "MySQL");
    }

    #[test]
    fn comments_begin_a_line_and_never_end_one() {
        let text = "; a\n# b\n// c\n  //[Optional]\n[s]\n  ; d\nk=v ; w # x // y\n";
        assert_eq!(value(text, "s", "k"), "v ; w # x // y");
    }

    #[test]
    fn a_value_holds_whatever_follows_the_first_equals_sign() {
        let text = "[s]\nk= ;#=\"'`\\n\\ [x] =\n";
        assert_eq!(value(text, "s", "k"), ";#=\"'`\\n\\ [x] =");
    }

    #[test]
    fn crlf_and_a_byte_order_mark_are_tolerated() {
        assert_eq!(value("\u{feff}[s]\r\nk=v\r\n", "s", "k"), "v");
    }

    #[test]
    fn a_section_may_be_continued() {
        assert_eq!(value("[s]\na=1\n[t]\n[s]\nb=2\n", "s", "b"), "2");
    }

    #[test]
    fn a_key_given_twice_names_both_lines() {
        assert_eq!(
            problems("[s]\na=1\n[t]\na=1\n[S]\nA=1\n"),
            ["line 6: `a` is given twice in [s]; the first is on line 2"]
        );
    }

    #[test]
    fn a_key_needs_a_section() {
        assert_eq!(problems("a=1"), ["line 1: `a` is in no section: a `[section]` line must come first"]);
    }

    #[test]
    fn a_line_that_is_nothing_is_a_problem_and_is_not_repeated() {
        let found = problems("[s]\nhunter2\n[half\n[]\n=x\n[s] ; c\n");
        assert_eq!(found.len(), 5, "{found:?}");
        assert!(found.iter().all(|problem| !problem.contains("hunter2")));
        assert_eq!(found[0], "line 2: neither a comment, nor a `[section]`, nor `key=value`");
    }

    #[test]
    fn a_key_that_looks_like_an_address_is_not_repeated() {
        let found = problems("mysql://u:hunter2@h?a=1\n[s]\nmysql://u:hunter2@h?a=1\nmysql://u:hunter2@h?a=1\n");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|problem| !problem.contains("hunter2")), "{found:?}");
    }

    proptest! {
        #[test]
        fn any_value_without_a_newline_comes_back_trimmed(text in "[^\n]*") {
            prop_assert_eq!(value(&format!("[s]\nother=1\nk={text}\nlast=2\n"), "s", "k"), text.trim());
        }

        #[test]
        fn any_text_at_all_is_read_without_a_panic(text in any::<String>()) {
            read(&text, &mut Findings::default());
        }
    }
}
