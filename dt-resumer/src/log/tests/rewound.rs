//! Stepping back: all of it or nothing, at every step and every loss.

use super::*;
use crate::rewind::Rewind;

/// A table in progress, two that are finished, one of which was begun again since.
fn before() -> Vec<Vec<Entry>> {
    vec![
        vec![progress("a", 3), progress("b", 4), progress("stays", 5)],
        vec![progress("b", FINISHED), progress("c", FINISHED)],
    ]
}

fn rewind() -> Rewind {
    let table = |name: &str| TableId::new("d", name);
    Rewind { put: vec![progress("c", 1), progress("d", FINISHED)], ..Rewind::of_tables(vec![table("a"), table("b")]) }
}

fn written(disk: &PowerDisk) -> Journal {
    let mut journal = journal(disk);
    for entries in before() {
        journal.record(&entries).unwrap();
    }
    journal
}

fn known_of(pairs: &[(&str, u32)]) -> Known {
    pairs.iter().map(|(table, at)| ((*table).to_owned(), *at)).collect()
}

#[test]
fn a_step_back_is_whole_after_a_crash_at_every_step_and_every_loss() {
    let was = known_of(&[("a", 3), ("b", FINISHED), ("c", FINISHED), ("stays", 5)]);
    let wanted = known_of(&[("c", 1), ("d", FINISHED), ("stays", 5)]);
    let whole = PowerDisk::new();
    let mut undisturbed = written(&whole);
    let begins = whole.steps();
    undisturbed.rewind(&rewind()).unwrap();
    let ends = whole.steps();
    let names = [POSITION_LOG, FINISHED_LOG].map(|name| whole.text(&own(name)).unwrap());
    assert!(!names.concat().contains("\"a\"") && names[1].lines().count() == 1, "{names:?}");
    assert_eq!(known(&journal(&whole).load().unwrap()), wanted);

    let mut seen = [0, 0];
    for step in begins..ends {
        for trouble in [Trouble::Crash(step), Trouble::Fail(step)] {
            let disk = PowerDisk::new();
            let mut crashing = written(&disk);
            disk.trouble_at(trouble);
            let ended = crashing.rewind(&rewind());
            assert!(ended.is_err(), "{trouble:?}");
            for loss in LOSSES {
                let what = format!("{trouble:?}, {loss:?}");
                let after = disk.after(loss);
                // A look from outside says the same as the next start.
                let peeked = known(&journal(&after).peek().unwrap());
                let mut next = journal(&after);
                let found = known(&next.load().unwrap_or_else(|error| panic!("{what}: {error}")));
                assert_eq!(found, peeked, "{what}");
                assert!(found == was || found == wanted, "{what}: {found:?}");
                seen[usize::from(found == wanted)] += 1;
                next.rewind(&rewind()).unwrap_or_else(|error| panic!("{what}: {error}"));
                next.record(&[progress("a", 1)]).unwrap();
                let mut found = known(&journal(&after.after(Loss::Everything)).load().unwrap());
                assert_eq!(found.remove("a"), Some(1), "{what}");
                assert_eq!(found, wanted, "{what}: tried again");
            }
        }
    }
    assert!(seen.iter().all(|times| *times > 0), "{seen:?}");
}

#[test]
fn what_a_file_that_is_only_read_says_cannot_be_forgotten_in_silence() {
    let disk = PowerDisk::new();
    drop(written(&disk));
    let line = progress("b", 2);
    let line = dt_common::position::wire::to_json(&line.position);
    disk.put(Path::new("/old.config"), format!("{line}\n").as_bytes());
    let options = LogOptions { resume_config: Some("/old.config".into()), ..options() };
    let mut journal = journal_of(&disk, options);
    let error = journal.rewind(&rewind()).unwrap_err();
    assert_eq!(error.class(), ErrorClass::User);
    assert!(error.to_string().contains("/old.config, line 1"), "{error}");
    assert_eq!(known(&journal.load().unwrap()).len(), 4, "nothing was forgotten");
    // Of what is put, the newer position counts.
    journal.rewind(&Rewind::to(vec![progress("b", 9)])).unwrap();
    assert_eq!(known(&journal.load().unwrap())["b"], 9);
}
