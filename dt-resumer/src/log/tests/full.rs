//! A disk without room, for a moment or for long, and writes that get there in part: saves fail with a clear error, nothing
//! that was saved is lost, and once there is room they succeed again.

use super::power::Does;
use super::*;

/// Runs the saves, each tried again until it succeeds, and looks after each failure at what every loss would leave.
fn run(disk: &PowerDisk, saves: Vec<Vec<Entry>>, losses: &[Loss], what: &str) -> (Known, usize) {
    let mut writer = journal(disk);
    let (mut saved, mut failures) = (Known::new(), 0);
    for entries in saves {
        let mut in_flight = saved.clone();
        note(&mut in_flight, &entries);
        let mut tries = 0;
        while let Err(error) = writer.record(&entries) {
            assert_eq!(error.class(), ErrorClass::Retry, "{what}");
            assert!(error.to_string().contains("positions cannot be written"), "{error}");
            assert!(error.hint_text().is_some_and(|hint| hint.contains("room")), "{error}");
            for loss in losses {
                let loaded =
                    journal(&disk.after(*loss)).load().unwrap_or_else(|error| panic!("{what}, {loss:?}: {error}"));
                assert_between(&known(&loaded), &saved, &in_flight, what);
            }
            failures += 1;
            tries += 1;
            assert!(tries < 100, "{what}: no end");
        }
        saved = in_flight;
    }
    (saved, failures)
}

fn undisturbed() -> (PowerDisk, Known) {
    let disk = PowerDisk::new();
    let (all, failures) = run(&disk, saves(), &[], "undisturbed");
    assert_eq!(failures, 0);
    (disk, all)
}

fn assert_all_is_there(disk: &PowerDisk, all: &Known, what: &str) {
    for loss in [Loss::Process, Loss::Everything] {
        let loaded = journal(&disk.after(loss)).load().unwrap();
        assert_eq!(&known(&loaded), all, "{what}, {loss:?}");
        assert_eq!(loaded.warnings(), [""; 0], "{what}: no rests of lines are left behind");
    }
}

#[test]
fn while_the_disk_is_full_saves_fail_and_with_room_they_go_on_where_they_were() {
    let (whole, all) = undisturbed();
    let mut failed = 0;
    for from in 0..whole.steps() {
        for long in [2, 40] {
            let what = format!("full at {from} for {long} steps");
            let disk = PowerDisk::new();
            disk.trouble_at(Trouble::Full(from, from + long));
            let (_, failures) = run(&disk, saves(), &[Loss::Process, Loss::Everything, Loss::HalfOfTheData], &what);
            failed += usize::from(failures > 0);
            assert_all_is_there(&disk, &all, &what);
        }
    }
    assert!(failed > 80, "only {failed} runs met a full disk while they saved");
}

#[test]
fn while_nothing_can_be_written_saves_fail_and_then_they_go_on() {
    let (whole, all) = undisturbed();
    for from in 0..whole.steps() {
        let what = format!("stuck at {from}");
        let disk = PowerDisk::new();
        disk.trouble_at(Trouble::Stuck(from, from + 9));
        run(&disk, saves(), &[Loss::Process, Loss::Everything], &what);
        assert_all_is_there(&disk, &all, &what);
    }
}

#[test]
fn a_write_that_gets_there_in_part_of_any_length_is_undone() {
    let few = || saves().into_iter().take(9).collect::<Vec<_>>();
    let whole = PowerDisk::new();
    let (all, _) = run(&whole, few(), &[], "undisturbed");
    // The first lines of each file, and the first time that each is rewritten.
    let mut seen: Vec<PathBuf> = Vec::new();
    for (step, (does, path)) in (0..).zip(whole.done()) {
        let Does::Append(bytes) = does else { continue };
        if seen.contains(&path) {
            continue;
        }
        seen.push(path.clone());
        for left in 0..=bytes {
            let what = format!("{left} of {bytes} bytes of {}", path.display());
            let disk = PowerDisk::new();
            disk.trouble_at(Trouble::Short(step, left));
            run(&disk, few(), &[Loss::HalfOfTheData], &what);
            assert_all_is_there(&disk, &all, &what);
        }
    }
    let seen: Vec<String> = seen.iter().map(|path| path.display().to_string()).collect();
    for name in ["/logs/position.log", "/logs/finished.log", "/logs/position.log.new"] {
        assert!(seen.iter().any(|seen| seen == name), "{seen:?}");
    }
}

#[test]
fn completing_the_files_and_setting_them_aside_can_fail_at_every_step_and_be_tried_again() {
    let (whole, expected) = three_places();
    journal_of(&whole, from_elsewhere()).load().unwrap();
    for step in 0..whole.steps() {
        let (disk, _) = three_places();
        disk.trouble_at(Trouble::Full(step, step + 1));
        let mut run = journal_of(&disk, from_elsewhere());
        let first = run.load();
        assert!(first.is_err() || known(&first.unwrap()) == expected, "step {step}");
        assert_eq!(known(&run.load().unwrap()), expected, "step {step}");
        assert_eq!(known(&journal(&disk.after(Loss::Everything)).load().unwrap()), expected, "step {step}");
    }
    let (whole, _) = three_places();
    journal(&whole).set_aside().unwrap();
    for step in 0..whole.steps() {
        let (disk, _) = three_places();
        disk.trouble_at(Trouble::Full(step, step + 1));
        let mut run = journal(&disk);
        if let Err(error) = run.set_aside() {
            assert_eq!(error.class(), ErrorClass::Retry);
            run.set_aside().unwrap();
        }
        assert!(!run.holds_positions().unwrap() && run.load().unwrap().is_empty(), "step {step}");
    }
}

#[test]
fn what_a_start_has_read_is_durable_though_the_run_before_was_killed_at_any_step() {
    let (whole, _) = undisturbed();
    for step in 0..whole.steps() {
        let disk = PowerDisk::new();
        disk.trouble_at(Trouble::Crash(step));
        let mut crashing = journal(&disk);
        for entries in saves() {
            if crashing.record(&entries).is_err() {
                break;
            }
        }
        let killed = disk.after(Loss::Process);
        let read = known(&journal(&killed).load().unwrap());
        for loss in LOSSES {
            assert_eq!(known(&journal(&killed.after(loss)).load().unwrap()), read, "step {step}, {loss:?}");
        }
    }
}
