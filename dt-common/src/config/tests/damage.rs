//! Files that are damaged, and any text at all: a task, or a list of what is wrong.

use proptest::prelude::*;

use super::*;
use crate::damage::damaged;

/// Files of the documents, and one with every kind of value.
fn files() -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/ini");
    let files = std::fs::read_dir(folder).expect("fuzz/corpus/ini");
    let files: Vec<String> =
        files.map(|file| std::fs::read_to_string(file.expect("a file").path()).expect("text")).collect();
    assert!(files.len() > 5 && files.iter().any(|file| parse(file).is_ok()), "{}", files.len());
    files
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let lines = text.lines().count();
    match parse(text) {
        Ok(parsed) => prop_assert!(!parsed.config.task_id().is_empty()),
        Err(errors) => {
            prop_assert!(!errors.problems().is_empty(), "refused without a reason");
            // A file of N lines cannot have problems without end.
            prop_assert!(errors.problems().len() <= 2 * lines + 60, "{}", errors);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn a_damaged_file_is_a_task_or_a_list_of_problems(
        file in any::<prop::sample::Index>(),
        damages in prop::collection::vec(any::<(u8, u16, u8, u8)>(), 1..6),
    ) {
        thread_local!(static FILES: Vec<String> = files());
        let bytes = FILES.with(|files| damaged(file.get(files).as_bytes(), &damages));
        check(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn any_values_of_known_keys_are_a_task_or_a_list_of_problems(
        values in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[\\PC]{0,40}|-?[0-9]{1,25}|[a-z]+://[\\PC]{0,30}"),
            0..8,
        ),
    ) {
        let mut text = MINIMAL.to_owned();
        for (section, key, value) in values {
            let section = section.get(SECTIONS);
            let keys: Vec<_> = section.keys().collect();
            let key = key.get(&keys);
            text.push_str(&format!("[{}]\n{}={value}\n", section.name, key.name));
        }
        check(&text)?;
    }

    #[test]
    fn any_text_is_a_task_or_a_list_of_problems(text in any::<String>(), lists in "[\\[\\]{}()=,.:;*?`\"'#r a-z\n]{0,300}") {
        check(&text)?;
        check(&lists)?;
        check(&format!("{MINIMAL}do_tbs={lists}"))?;
    }
}

#[test]
fn a_very_long_file_is_answered_in_a_moment() {
    type Piece = fn(usize) -> String;
    let shapes: [(&str, Piece); 6] = [
        ("unknown keys", |at| format!("[filter]\nkey{at}=1\n")),
        ("unknown sections", |at| format!("[section{at}]\na=1\n")),
        ("lines that are nothing", |_| "x\n".to_owned()),
        ("the same key", |_| "[filter]\ndo_dbs=a\n".to_owned()),
        ("names", |at| format!("{}db{at}.tb{at}", if at == 0 { "[filter]\ndo_tbs=" } else { "," })),
        ("pairs", |at| format!("{}db{at}.a:db{at}.b", if at == 0 { "[router]\ntb_map=" } else { "," })),
    ];
    for (what, piece) in shapes {
        let text = MINIMAL.to_owned() + &(0..2_000).map(piece).collect::<String>();
        let begun = std::time::Instant::now();
        let _ = parse(&text);
        println!("{what}: {} bytes in {:?}", text.len(), begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", begun.elapsed());
    }
}
