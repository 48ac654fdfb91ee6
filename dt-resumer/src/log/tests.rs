mod chunks;
mod damage;
mod full;
mod power;
mod rewound;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use dt_common::ladder::{Entry, Rung};
use dt_common::position::{KeyText, Lineage, MysqlCdc, OrderKey, RdbSnapshot, RdbSnapshotFinished};
use dt_common::{DbType, ErrorClass, Position, TableId};

use self::power::{LOSSES, Loss, PowerDisk, Trouble};
use super::journal::Journal;
use super::*;

const FINISHED: u32 = u32::MAX;

/// What is known of each table: how far it is, or [`FINISHED`].
type Known = BTreeMap<String, u32>;

fn progress(table: &str, at: u32) -> Entry {
    let (db_type, lineage) = (DbType::Mysql, Lineage::default());
    let table = TableId::new("d", table);
    if at == FINISHED {
        let position = Position::RdbSnapshotFinished(RdbSnapshotFinished { db_type, table, chunk: None, lineage });
        return Entry { rung: Rung::Finished, position };
    }
    let key = OrderKey::single("id", KeyText::Text(at.to_string()));
    let position =
        Position::RdbSnapshot(RdbSnapshot { db_type, table, chunk: None, key, null_keys_done: false, lineage });
    Entry { rung: Rung::Current, position }
}

fn nothing() -> Entry {
    Entry { rung: Rung::Checkpoint, position: Position::None }
}

fn known(loaded: &Loaded) -> Known {
    let of = |stored: &crate::loaded::Stored| match &stored.entry.position {
        Position::RdbSnapshot(snapshot) => match &snapshot.key.parts()[0].value {
            KeyText::Text(at) => (snapshot.table.table.clone(), at.parse().unwrap()),
            other => panic!("{other:?}"),
        },
        Position::RdbSnapshotFinished(finished) => (finished.table.table.clone(), FINISHED),
        other => panic!("{other:?}"),
    };
    loaded.positions().map(of).collect()
}

fn noon() -> NaiveDateTime {
    NaiveDateTime::parse_from_str("2026-11-21 12:00:00.5", "%Y-%m-%d %H:%M:%S%.f").unwrap()
}

fn options() -> LogOptions {
    LogOptions { rotate_bytes: 700, ..LogOptions::new("/logs") }
}

fn journal_of(disk: &PowerDisk, options: LogOptions) -> Journal {
    Journal::new(Box::new(disk.clone()), Box::new(noon), options)
}

fn journal(disk: &PowerDisk) -> Journal {
    journal_of(disk, options())
}

fn own(name: &str) -> PathBuf {
    Path::new("/logs").join(name)
}

/// Saves that take three tables to their ends, and one of them never; enough for several rotations.
fn saves() -> Vec<Vec<Entry>> {
    let mut saves = Vec::new();
    for at in 1..=8 {
        saves.push(vec![progress("a", at), progress("stays", at), nothing()]);
        saves.push(vec![progress(&format!("t{at}"), 1), progress("b", at)]);
        saves.push(vec![progress(&format!("t{at}"), FINISHED)]);
    }
    saves.push(vec![progress("a", FINISHED), progress("b", FINISHED)]);
    // Saved twice: harmless.
    saves.push(vec![progress("a", FINISHED), progress("b", FINISHED)]);
    saves
}

fn note(known: &mut Known, entries: &[Entry]) {
    for entry in entries {
        let one = super::tests::known(&Loaded::of_entries([entry.clone()]));
        for (table, at) in one {
            let before = known.entry(table).or_insert(at);
            *before = (*before).max(at);
        }
    }
}

/// Every table is as far as it was when it was last saved, or as far as it would be by the save in flight.
fn assert_between(found: &Known, saved: &Known, in_flight: &Known, what: &str) {
    for (table, at) in found {
        let least = saved.get(table);
        assert!(least.is_some_and(|least| at == least) || in_flight.get(table) == Some(at), "{what}: {table} at {at}");
    }
    for table in saved.keys() {
        assert!(found.contains_key(table), "{what}: {table} is lost");
    }
}

#[test]
fn the_files_hold_the_bytes_of_the_documents() {
    let disk = PowerDisk::new();
    let mut journal = journal(&disk);
    journal.record(&[progress("b", 6), nothing()]).unwrap();
    journal.record(&[progress("b", FINISHED)]).unwrap();
    assert_eq!(
        disk.text(&own(POSITION_LOG)).unwrap(),
        "2026-11-21 12:00:00.500000 | current_position | \
         {\"type\":\"RdbSnapshot\",\"db_type\":\"mysql\",\"schema\":\"d\",\"tb\":\"b\",\"order_col\":\"id\",\"value\":\"6\"}\n\
         2026-11-21 12:00:00.500000 | checkpoint_position | {\"type\":\"None\"}\n"
    );
    assert_eq!(
        disk.text(&own(FINISHED_LOG)).unwrap(),
        "2026-11-21 12:00:00.500001 | {\"type\":\"RdbSnapshotFinished\",\"db_type\":\"mysql\",\"schema\":\"d\",\"tb\":\"b\"}\n"
    );
}

#[test]
fn what_was_saved_is_there_after_a_crash_at_every_step_and_every_loss() {
    let whole = PowerDisk::new();
    let mut undisturbed = journal(&whole);
    let mut all = Known::new();
    for entries in saves() {
        undisturbed.record(&entries).unwrap();
        note(&mut all, &entries);
    }
    assert_eq!(known(&journal(&whole).load().unwrap()), all);
    let rewritten = whole.text(&own(POSITION_LOG)).unwrap();
    assert!(rewritten.lines().count() < 20, "position.log was rewritten shorter");
    assert!(rewritten.contains("\"stays\""));

    for step in 0..whole.steps() {
        let disk = PowerDisk::new();
        disk.trouble_at(Trouble::Crash(step));
        let mut crashing = journal(&disk);
        let (mut saved, mut in_flight) = (Known::new(), Known::new());
        for entries in saves() {
            in_flight = saved.clone();
            note(&mut in_flight, &entries);
            if crashing.record(&entries).is_err() {
                break;
            }
            saved.clone_from(&in_flight);
        }
        for loss in LOSSES {
            let what = format!("step {step}, {loss:?}");
            let after = disk.after(loss);
            let mut next = journal(&after);
            let found = known(&next.load().unwrap_or_else(|error| panic!("{what}: {error}")));
            assert_between(&found, &saved, &in_flight, &what);
            // The next run goes on in the same files.
            for entries in saves() {
                next.record(&entries).unwrap_or_else(|error| panic!("{what}: {error}"));
            }
            let found = known(&journal(&after.after(Loss::Everything)).load().unwrap());
            assert_eq!(found, all, "{what}, second run");
        }
    }
}

#[test]
fn a_failed_save_is_undone_and_can_be_tried_again() {
    let whole = PowerDisk::new();
    let mut undisturbed = journal(&whole);
    let mut all = Known::new();
    for entries in saves() {
        undisturbed.record(&entries).unwrap();
        note(&mut all, &entries);
    }
    for step in 0..whole.steps() {
        let disk = PowerDisk::new();
        disk.trouble_at(Trouble::Fail(step));
        let mut journal_here = journal(&disk);
        let mut saved = Known::new();
        for entries in saves() {
            if let Err(error) = journal_here.record(&entries) {
                assert_eq!(error.class(), ErrorClass::Retry);
                let loaded = journal(&disk.after(Loss::Process)).load().unwrap();
                assert_eq!(loaded.warnings(), [""; 0], "step {step}: no torn line is left behind");
                let found = known(&loaded);
                let mut in_flight = saved.clone();
                note(&mut in_flight, &entries);
                assert_between(&found, &saved, &in_flight, &format!("step {step}"));
                journal_here.record(&entries).unwrap();
            }
            note(&mut saved, &entries);
            let found = known(&journal(&disk.after(Loss::Everything)).load().unwrap());
            assert_eq!(found, saved, "step {step}: what was saved is durable");
        }
        assert_eq!(saved, all);
        let position_log = disk.text(&own(POSITION_LOG)).unwrap();
        assert!(position_log.lines().all(|line| line.starts_with("2026-")), "step {step}: {position_log}");
    }
}

#[test]
fn a_file_cut_short_anywhere_says_what_its_complete_lines_say() {
    let disk = PowerDisk::new();
    let mut writer = journal_of(&disk, LogOptions::new("/logs"));
    for entries in saves().into_iter().take(9) {
        writer.record(&entries).unwrap();
    }
    for name in [POSITION_LOG, FINISHED_LOG] {
        let whole = disk.text(&own(name)).unwrap();
        for len in 0..=whole.len() {
            let cut = disk.after(Loss::Process);
            cut.put(&own(name), &whole.as_bytes()[..len]);
            let mut next = journal(&cut);
            let loaded = next.load().unwrap();
            let found = known(&loaded);
            // A line that lacks its line end alone is complete.
            let complete = whole[..len].matches('\n').count() + usize::from(whole[len..].starts_with('\n'));
            let torn = len > 0 && !whole[..len].ends_with('\n') && !whole[len..].starts_with('\n');
            assert_eq!(loaded.warnings().len(), usize::from(torn), "{name} cut after {len} bytes");

            let expected = disk.after(Loss::Process);
            let lines: String = whole.split_inclusive('\n').take(complete).collect();
            expected.put(&own(name), lines.as_bytes());
            assert_eq!(found, known(&journal(&expected).load().unwrap()), "{name} cut after {len} bytes");

            // What is appended now is not glued onto the rest.
            next.record(&[progress("later", 7), progress("latest", FINISHED)]).unwrap();
            let again = known(&journal(&cut).load().unwrap());
            assert_eq!((again["later"], again["latest"]), (7, FINISHED), "{name} cut after {len} bytes");
            assert_eq!(again.len(), found.len() + 2);
        }
    }
}

#[test]
fn a_changed_byte_in_the_middle_is_an_error_that_names_file_and_line() {
    let disk = PowerDisk::new();
    let mut writer = journal_of(&disk, LogOptions::new("/logs"));
    for entries in saves().into_iter().take(9) {
        writer.record(&entries).unwrap();
    }
    for name in [POSITION_LOG, FINISHED_LOG] {
        let whole = disk.text(&own(name)).unwrap();
        let last_line = whole.trim_end().rfind('\n').unwrap();
        for at in 0..last_line {
            for byte in [0, 0xff, b'\n', b'}'] {
                let mut bytes = whole.clone().into_bytes();
                if bytes[at] == byte || (byte == b'}' && in_a_value(&whole, at)) {
                    continue;
                }
                bytes[at] = byte;
                let broken = disk.after(Loss::Process);
                broken.put(&own(name), &bytes);
                let error = journal(&broken).load().expect_err(&format!("{name} byte {at} became {byte}"));
                let line = whole[..at].matches('\n').count() + 1;
                let (shown, file) = (error.to_string(), format!("file: /logs/{name}"));
                assert!(shown.contains(&file), "{shown}");
                let lines = [format!("line: {line})"), format!("line: {})", line + 1)];
                assert!(lines.iter().any(|line| shown.contains(line)), "{at} {byte}: {shown}");
                assert_eq!(error.class(), ErrorClass::User);
                // Starting over does not need what cannot be read.
                let mut over = journal(&broken);
                assert!(over.holds_positions().unwrap());
                assert_eq!(over.set_aside().unwrap().len(), 2);
                assert!(over.load().unwrap().is_empty());
            }
        }
    }
}

/// Within a quoted text, where a brace is a letter like any other.
fn in_a_value(file: &str, at: usize) -> bool {
    let line_start = file[..at].rfind('\n').map_or(0, |end| end + 1);
    file[line_start..at].matches('"').count() % 2 == 1 && !file[at..].starts_with('"')
}

#[test]
fn set_aside_is_all_or_nothing_at_every_step_and_every_loss() {
    let disk = PowerDisk::new();
    let mut writer = journal(&disk);
    for entries in saves() {
        writer.record(&entries).unwrap();
    }
    let before = known(&journal(&disk).load().unwrap());
    let whole = disk.after(Loss::Everything);
    assert_eq!(
        journal(&whole).set_aside().unwrap(),
        [own("finished.log.20261121T120000.500000"), own("position.log.20261121T120000.500000")]
    );
    for step in 0..whole.steps() {
        let crashing = disk.after(Loss::Everything);
        crashing.trouble_at(Trouble::Crash(step));
        journal(&crashing).set_aside().unwrap_err();
        for loss in LOSSES {
            let after = crashing.after(loss);
            let found = known(&journal(&after).load().unwrap());
            assert!(found == before || found.is_empty(), "step {step}, {loss:?}: half is left");
            assert_eq!(journal(&after).holds_positions().unwrap(), !found.is_empty());
        }
    }
}

#[test]
fn set_aside_never_overwrites_an_earlier_one() {
    let disk = PowerDisk::new();
    for at in 1..=2 {
        journal(&disk).record(&[progress("a", at)]).unwrap();
        assert_eq!(journal(&disk).set_aside().unwrap().len(), 1);
    }
    assert!(disk.text(&own("position.log.20261121T120000.500000")).unwrap().contains("\"1\""));
    assert!(disk.text(&own("position.log.20261121T120000.500000-2")).unwrap().contains("\"2\""));
    assert_eq!(journal(&disk).set_aside().unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn a_directory_that_says_nothing_holds_no_positions() {
    let disk = PowerDisk::new();
    assert!(!journal(&disk).holds_positions().unwrap());
    journal(&disk).record(&[nothing()]).unwrap();
    assert!(!journal(&disk).holds_positions().unwrap());
    journal(&disk).record(&[progress("a", 1)]).unwrap();
    assert!(journal(&disk).holds_positions().unwrap());
}

fn line(stamp: &str, entry: &Entry) -> String {
    use dt_common::position::line::{Line, Stamp};
    let stamp = (!stamp.is_empty()).then(|| Stamp::parse(stamp).unwrap());
    format!("{}\n", Line { stamp, rung: entry.rung, position: entry.position.clone() })
}

fn from_elsewhere() -> LogOptions {
    LogOptions { resume_log_dir: Some("/old".into()), resume_config: Some("/resume.config".into()), ..options() }
}

/// Three places that disagree, and what counts.
fn three_places() -> (PowerDisk, Known) {
    let disk = PowerDisk::new();
    let (early, late) = ("2026-01-01 00:00:00.1", "2026-01-01 00:00:00.2");
    let own_positions = [
        line(late, &progress("newer_here", 2)),
        line(early, &progress("older_here", 1)),
        line(early, &progress("finished_there", 1)),
        line(late, &progress("again_here", 5)),
        line(early, &progress("same", 1)),
        line(early, &progress("beats_undated", 1)),
        line(early, &progress("beats_config", 1)),
    ];
    let own_finished = [line(early, &progress("again_there", FINISHED)), line(late, &progress("done", FINISHED))];
    let old_positions = [
        line(early, &progress("newer_here", 1)),
        line(late, &progress("older_here", 2)),
        line(late, &progress("again_there", 3)),
        line(early, &progress("done", 3)),
        line(early, &progress("same", 2)),
        line("", &progress("beats_undated", 2)),
        line("", &progress("undated", 9)),
    ];
    let old_finished =
        [line(early, &progress("again_here", FINISHED)), line(late, &progress("finished_there", FINISHED))];
    let config = [line(late, &progress("beats_config", 7)), line("", &progress("config_only", FINISHED))];
    disk.put(&own(POSITION_LOG), own_positions.concat().as_bytes());
    disk.put(&own(FINISHED_LOG), own_finished.concat().as_bytes());
    disk.put(Path::new("/old/position.log"), old_positions.concat().as_bytes());
    disk.put(Path::new("/old/finished.log"), old_finished.concat().as_bytes());
    disk.put(Path::new("/resume.config"), config.concat().as_bytes());
    let expected = [
        ("newer_here", 2),
        ("older_here", 2),
        ("finished_there", FINISHED),
        ("again_here", 5),
        ("again_there", 3),
        ("done", FINISHED),
        ("same", 1),
        ("beats_undated", 1),
        ("undated", 9),
        ("beats_config", 1),
        ("config_only", FINISHED),
    ];
    (disk, expected.into_iter().map(|(table, at)| (table.to_owned(), at)).collect())
}

#[test]
fn of_several_places_the_newest_counts_and_the_own_files_are_completed() {
    let (disk, expected) = three_places();
    assert_eq!(known(&journal_of(&disk, from_elsewhere()).load().unwrap()), expected);
    // On its own the directory now says the same, and with the others it still does.
    assert_eq!(known(&journal(&disk.after(Loss::Everything)).load().unwrap()), expected);
    let written = (disk.text(&own(POSITION_LOG)), disk.text(&own(FINISHED_LOG)));
    assert_eq!(known(&journal_of(&disk, from_elsewhere()).load().unwrap()), expected);
    assert_eq!((disk.text(&own(POSITION_LOG)), disk.text(&own(FINISHED_LOG))), written, "nothing is copied twice");
}

#[test]
fn completing_the_own_files_can_crash_at_every_step() {
    let (whole, expected) = three_places();
    journal_of(&whole, from_elsewhere()).load().unwrap();
    for step in 0..whole.steps() {
        let (disk, _) = three_places();
        disk.trouble_at(Trouble::Crash(step));
        // A crash while the disk tidies up after the last write may go unseen.
        let _ = journal_of(&disk, from_elsewhere()).load();
        for loss in LOSSES {
            let after = disk.after(loss);
            let found = known(&journal_of(&after, from_elsewhere()).load().unwrap());
            assert_eq!(found, expected, "step {step}, {loss:?}");
            assert_eq!(known(&journal(&after).load().unwrap()), expected, "step {step}, {loss:?}");
        }
    }
}

#[test]
fn after_two_restarts_the_newest_position_counts_and_not_for_ever_the_old_one() {
    let (disk, _) = three_places();
    // Written eight hours ahead by a tool in another time zone.
    disk.put(Path::new("/old/position.log"), line("2026-11-21 20:00:00.000000", &progress("a", 10)).as_bytes());
    for at in [11, 12, 13] {
        let mut run = journal_of(&disk, from_elsewhere());
        assert_eq!(known(&run.load().unwrap())["a"], at - 1);
        run.record(&[progress("a", at)]).unwrap();
    }
    let mut run = journal_of(&disk, from_elsewhere());
    run.load().unwrap();
    run.record(&[progress("a", FINISHED)]).unwrap();
    assert_eq!(known(&journal_of(&disk, from_elsewhere()).load().unwrap())["a"], FINISHED);
}

#[test]
fn finished_wins_within_one_directory_whatever_the_times_are() {
    let disk = PowerDisk::new();
    disk.put(&own(POSITION_LOG), line("2026-01-02 00:00:00", &progress("a", 1)).as_bytes());
    disk.put(&own(FINISHED_LOG), line("2026-01-01 00:00:00", &progress("a", FINISHED)).as_bytes());
    assert_eq!(known(&journal(&disk).load().unwrap())["a"], FINISHED);
}

#[test]
fn a_line_in_the_wrong_file_counts_and_survives_rewriting() {
    let disk = PowerDisk::new();
    disk.put(
        &own(POSITION_LOG),
        format!("{}{}", line("", &progress("a", FINISHED)), line("", &progress("b", 5))).as_bytes(),
    );
    disk.put(&own(FINISHED_LOG), format!("{}{}", line("", &progress("b", 3)), line("", &progress("c", 4))).as_bytes());
    for _ in 0..3 {
        let mut run = journal(&disk);
        let found = known(&run.load().unwrap());
        assert_eq!((found["a"], found["b"], found["c"]), (FINISHED, 5, 4));
        for entries in saves().into_iter().skip(1).step_by(3) {
            run.record(&entries.into_iter().filter(|entry| *entry == progress("x", 1)).collect::<Vec<_>>()).unwrap();
        }
        for at in 1..20 {
            run.record(&[progress("other", at)]).unwrap();
        }
    }
}

#[test]
fn positions_of_a_stream_and_of_tables_outside_the_task_survive_rewriting() {
    let disk = PowerDisk::new();
    let cdc = |at| MysqlCdc {
        behind: None,
        server_id: String::new(),
        binlog_filename: "bin.1".to_owned(),
        next_event_position: at,
        gtid_set: String::new(),
        timestamp: String::new(),
        lineage: Lineage::default(),
    };
    let mut run = journal(&disk);
    run.record(&[progress("gone", 1)]).unwrap();
    for at in 0..40 {
        let rungs = [Rung::Current, Rung::Checkpoint];
        run.record(&rungs.map(|rung| Entry { rung, position: Position::MysqlCdc(cdc(at)) })).unwrap();
    }
    assert!(disk.text(&own(POSITION_LOG)).unwrap().lines().count() < 20);
    let loaded = journal(&disk).load().unwrap();
    assert_eq!(loaded.positions().count(), 3);
    let newest = crate::cdc::resume_point(&loaded, DbType::Mysql).unwrap().unwrap();
    assert_eq!(newest.entry, Entry { rung: Rung::Checkpoint, position: Position::MysqlCdc(cdc(39)) });
}

#[test]
fn a_finished_log_full_of_repetitions_is_rewritten() {
    let disk = PowerDisk::new();
    let mut run = journal(&disk);
    for _ in 0..50 {
        run.record(&[progress("a", FINISHED), progress("b", FINISHED)]).unwrap();
    }
    assert!(disk.text(&own(FINISHED_LOG)).unwrap().lines().count() < 12);
    assert_eq!(known(&journal(&disk).load().unwrap()).len(), 2);
}

#[test]
fn what_the_user_named_must_be_there_and_readable() {
    let disk = PowerDisk::new();
    let options = LogOptions { resume_config: Some("/resume.config".into()), ..options() };
    let missing = journal_of(&disk, options.clone()).load().unwrap_err();
    assert!(missing.to_string().contains("[resumer] config_file: /resume.config"), "{missing}");
    // A person's file was never cut short by a crash: its last line must be readable as well.
    disk.put(Path::new("/resume.config"), b"// by hand\n\n{\"type\":\"None\"}\n{\"type\":");
    let broken = journal_of(&disk, options).load().unwrap_err();
    assert!(broken.to_string().contains("file: /resume.config, line: 4"), "{broken}");
}

#[test]
fn a_log_dir_that_is_being_set_aside_by_its_task_is_not_resumed_from() {
    let (disk, _) = three_places();
    disk.put(Path::new("/old/.set-aside"), b"");
    let options = LogOptions { resume_log_dir: Some("/old".into()), ..options() };
    let loaded = journal_of(&disk, options).load().unwrap();
    assert!(!known(&loaded).contains_key("undated"));
    assert_eq!(loaded.warnings().len(), 1);
}
