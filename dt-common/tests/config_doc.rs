//! Holds `docs/config.md` to the keys of the code: each section's table stands between two marks and is made from the
//! definitions. `DT_BLESS=1 cargo test -p dt-common config_doc` rewrites the tables.

use std::fmt::Write as _;
use std::path::PathBuf;

use dt_common::config::keys::Section;
use dt_common::config::{LATER_SECTIONS, SECTIONS};

fn doc_path() -> PathBuf {
    // Said when the test is started: checkouts may share what is compiled.
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo says where the package is"))
        .join("../docs/config.md")
}

fn begin(section: &Section) -> String {
    format!("<!-- keys of [{}] -->\n", section.name)
}

const END: &str = "<!-- end of keys -->";

fn table(section: &Section) -> String {
    let mut text = String::from("| key | default | what it does |\n|---|---|---|\n");
    for key in section.keys() {
        let explanation = key.explanation();
        assert!(!explanation.is_empty() && !explanation.contains('|'), "[{}] {} fits no table", section.name, key.name);
        writeln!(text, "| `{}` | {} | {explanation} |", key.name, key.default_text()).expect("writing to a string");
    }
    text
}

/// The document with each table as the code has it.
fn with_tables(doc: &str) -> String {
    let mut doc = doc.to_owned();
    for section in SECTIONS {
        let mark = begin(section);
        assert_eq!(doc.matches(&mark).count(), 1, "docs/config.md must hold {mark:?} once");
        let from = doc.find(&mark).expect("counted above") + mark.len();
        let length = doc[from..].find(END).unwrap_or_else(|| panic!("{mark:?} has no {END:?} behind it"));
        doc.replace_range(from..from + length, &table(section));
    }
    doc
}

#[test]
fn config_doc_has_every_key_with_its_default_and_no_other() {
    let path = doc_path();
    let doc = std::fs::read_to_string(&path).expect("docs/config.md can be read");
    let wanted = with_tables(&doc);
    assert_eq!(doc.matches("<!-- keys of [").count(), SECTIONS.len(), "docs/config.md has a table of no section");
    if doc != wanted && std::env::var_os("DT_BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("docs/config.md can be written");
        return;
    }
    for (line, (is, should)) in doc.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(is, should, "line {} of docs/config.md; DT_BLESS=1 cargo test -p dt-common config_doc", line + 1);
    }
    assert_eq!(doc, wanted, "docs/config.md; DT_BLESS=1 cargo test -p dt-common config_doc");
}

#[test]
fn config_doc_names_every_section_that_is_refused() {
    let doc = std::fs::read_to_string(doc_path()).expect("docs/config.md can be read");
    for section in LATER_SECTIONS {
        assert!(doc.contains(&format!("`[{section}]`")), "docs/config.md does not name [{section}]");
    }
}

#[test]
fn config_doc_examples_are_task_files_that_work() {
    let doc = std::fs::read_to_string(doc_path()).expect("docs/config.md can be read");
    let examples: Vec<&str> =
        doc.split("```ini\n").skip(1).map(|rest| rest.split("```").next().unwrap_or(rest)).collect();
    assert!(examples.len() >= 2, "docs/config.md has lost its examples");
    for example in examples {
        if let Err(errors) = dt_common::config::parse(example) {
            panic!("an example of docs/config.md is refused:\n{errors}\n---\n{example}");
        }
    }
}

#[test]
fn every_key_has_a_name_of_its_own_in_its_section() {
    for section in SECTIONS {
        let mut names: Vec<&str> = section.keys().map(|key| key.name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "[{}] has a key twice", section.name);
    }
}
