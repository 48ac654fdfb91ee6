//! What of a file is known: unknown sections and keys are problems that name the nearest known name, old names
//! become new ones, and what does not work yet is refused by name.
//!
//! An unknown key stops the task: a typo in `ignore_tbs` would copy what was to be left out.

use super::ini::{Entry, Ini};
use super::keys::{Key, Section, Standing};
use super::problem::{Findings, shown};
use super::{LATER_SECTIONS, SECTIONS};

/// Reports what is unknown or not available, and takes it out of the file.
pub(super) fn recognise(ini: &mut Ini, findings: &mut Findings) {
    for (name, line) in &ini.sections {
        if LATER_SECTIONS.contains(&name.as_str()) {
            findings.problem(*line, format!("[{name}] is not available yet: take the section out"));
        } else if section(name).is_none() {
            findings.problem(*line, unknown_section(name));
        }
    }
    ini.entries.retain(|entry| {
        let Some(section) = section(&entry.section) else { return false };
        match section.keys().find(|key| key.name == entry.key) {
            Some(key) => is_available(entry, key, findings),
            None => {
                findings.problem(entry.line, unknown_key(section, &entry.key));
                false
            }
        }
    });
    rename_old_keys(ini, findings);
}

fn section(name: &str) -> Option<&'static Section> {
    SECTIONS.iter().find(|section| section.name == name)
}

fn is_available(entry: &Entry, key: &Key, findings: &mut Findings) -> bool {
    match key.standing {
        Standing::Works | Standing::Only(_) | Standing::OnStreams(_) | Standing::OnSnapshots | Standing::Old { .. } => {
            true
        }
        Standing::Idle(why) => {
            if !entry.value.is_empty() {
                findings.note(entry.line, format!("`{}` of [{}] has no effect: {why}", entry.key, entry.section));
            }
            false
        }
        Standing::NotYet => {
            if !entry.value.is_empty() {
                findings.problem(
                    entry.line,
                    format!("`{}` of [{}] is not available yet: take it out", entry.key, entry.section),
                );
            }
            false
        }
    }
}

/// Moves what is given under an old name to the new one. Both given is a problem unless they agree.
fn rename_old_keys(ini: &mut Ini, findings: &mut Findings) {
    for old_section in SECTIONS {
        for old_key in old_section.keys() {
            let Standing::Old { section: new_section, key: new_key } = old_key.standing else { continue };
            let Some(at) = ini.entries.iter().position(|e| e.section == old_section.name && e.key == old_key.name)
            else {
                continue;
            };
            let old = ini.entries.remove(at);
            if old.value.is_empty() {
                continue;
            }
            let new_name = format!("`{new_key}` of [{new_section}]");
            findings.note(old.line, format!("`{}` is the old name of {new_name}", old_key.name));
            match ini.entries.iter().position(|e| e.section == new_section && e.key == new_key) {
                Some(at) if !ini.entries[at].value.is_empty() => {
                    if ini.entries[at].value != old.value {
                        findings.problem(
                            old.line,
                            format!(
                                "`{}` is the old name of {new_name}, which line {} sets to something else: keep one",
                                old_key.name, ini.entries[at].line
                            ),
                        );
                    }
                    continue;
                }
                Some(empty) => drop(ini.entries.remove(empty)),
                None => {}
            }
            ini.entries.push(Entry { section: new_section.to_owned(), key: new_key.to_owned(), ..old });
        }
    }
}

fn unknown_section(name: &str) -> String {
    let named = shown(name).map_or_else(|| "this".to_owned(), |_| format!("[{name}]"));
    let known = SECTIONS.iter().map(|section| section.name);
    match nearest(name, known.chain(LATER_SECTIONS.iter().copied())) {
        Some(near) => format!("{named} is not a known section; did you mean [{near}]?"),
        None => {
            let all: Vec<String> = SECTIONS.iter().map(|section| format!("[{}]", section.name)).collect();
            format!("{named} is not a known section; there are {}", all.join(", "))
        }
    }
}

fn unknown_key(section: &Section, key: &str) -> String {
    let named = shown(key).unwrap_or_else(|| "this".to_owned());
    let here = section.name;
    let homes: Vec<String> = SECTIONS
        .iter()
        .filter(|other| other.keys().any(|known| known.name == key))
        .map(|other| format!("[{}]", other.name))
        .collect();
    if !homes.is_empty() {
        return format!("{named} is not a key of [{here}]; it belongs in {}", homes.join(" or "));
    }
    if let Some(near) = nearest(key, section.keys().map(|known| known.name)) {
        return format!("{named} is not a key of [{here}]; did you mean `{near}`?");
    }
    for other in SECTIONS {
        if let Some(near) = nearest(key, other.keys().map(|known| known.name)) {
            return format!("{named} is not a key of [{here}]; did you mean `{near}` of [{}]?", other.name);
        }
    }
    format!("{named} is not a known key")
}

/// The known name that is fewest edits away, if that is near enough to be what was meant.
fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    known
        .map(|name| (edits(word, name), name))
        .filter(|(count, _)| *count <= limit)
        .min_by_key(|(count, _)| *count)
        .map(|(_, name)| name)
}

/// How many insertions, deletions, replacements and swaps of neighbours lead from `a` to `b`.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0_usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    for (j, cell) in rows[0].iter_mut().enumerate() {
        *cell = j;
    }
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_insertions_deletions_replacements_and_swaps() {
        let counts = ["ignore_tbs", "ingore_tbs", "ignore_tb", "ignore_dbs", "ignore_tabs", ""];
        assert_eq!(counts.map(|word| edits(word, "ignore_tbs")), [0, 1, 1, 1, 1, 10]);
    }

    #[test]
    fn a_name_that_is_far_from_all_is_not_guessed() {
        assert_eq!(nearest("colour", ["url", "batch_size"].into_iter()), None);
        assert_eq!(nearest("bacth_size", ["url", "batch_size"].into_iter()), Some("batch_size"));
    }
}
