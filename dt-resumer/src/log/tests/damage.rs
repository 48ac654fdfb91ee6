//! Bytes that became others on the disk. Lines have no checksum, so that a byte within a value can become another that
//! nobody notices; what is not within a value is never taken for another position. Which bytes of a line are so is told by
//! the tests of the line's form, in dt-common.

use super::*;

/// Both files, a few lines each.
fn written() -> PowerDisk {
    let disk = PowerDisk::new();
    let mut writer = journal_of(&disk, LogOptions::new("/logs"));
    for entries in saves().into_iter().take(4) {
        writer.record(&entries).unwrap();
    }
    writer.record(&[progress("b", FINISHED)]).unwrap();
    disk
}

/// Every pair of a table and a place that any line says.
fn pairs(disk: &PowerDisk) -> Vec<(String, u32)> {
    let mut pairs = vec![("b".to_owned(), FINISHED)];
    for entry in saves().into_iter().take(4).flatten().filter(|entry| entry.position != Position::None) {
        pairs.extend(known(&Loaded::of_entries([entry])));
    }
    let all = known(&journal(disk).load().unwrap());
    assert!(all.iter().all(|(table, at)| pairs.contains(&(table.clone(), *at))), "{all:?}");
    pairs
}

/// What a start finds; an error must name file and line, and a warning at most that the last line was cut short.
fn found(disk: &PowerDisk, name: &str, line: usize, what: &str) -> Option<Known> {
    match journal(disk).load() {
        Ok(loaded) => {
            assert!(loaded.warnings().len() <= 1, "{what}: {:?}", loaded.warnings());
            assert!(loaded.warnings().iter().all(|warning| warning.contains("was cut short")), "{what}");
            let all = loaded.positions().all(|stored| {
                matches!(&stored.entry.position, Position::RdbSnapshot(snapshot)
                    if matches!(&snapshot.key.parts()[0].value, KeyText::Text(at) if at.parse::<u32>().is_ok()))
                    || matches!(stored.entry.position, Position::RdbSnapshotFinished(_))
            });
            // A place that is no number any more: it was within a value.
            all.then(|| known(&loaded))
        }
        Err(error) => {
            assert_eq!(error.class(), ErrorClass::User, "{what}");
            let shown = error.to_string();
            assert!(shown.contains(&format!("file: /logs/{name}")), "{what}: {shown}");
            let lines = [format!("line: {line})"), format!("line: {})", line + 1)];
            assert!(lines.iter().any(|line| shown.contains(line)), "{what}: {shown}");
            None
        }
    }
}

#[test]
fn a_changed_byte_anywhere_is_an_error_a_warning_or_within_one_value_of_its_line() {
    let disk = written();
    let pairs = pairs(&disk);
    let mut ends = [0, 0];
    for name in [POSITION_LOG, FINISHED_LOG] {
        let whole = disk.text(&own(name)).unwrap();
        for at in 0..whole.len() {
            let line = whole[..at].matches('\n').count() + 1;
            let old = whole.as_bytes()[at];
            for byte in
                [0, b'\n', b' ', b'0', b'9', b'a', b'"', b'\\', b'/', b'{', b',', b'|', 0xff, old ^ 1, old ^ 0x20]
            {
                if byte == old {
                    continue;
                }
                let what = format!("{name}: byte {at} {:?} became {:?}", char::from(old), char::from(byte));
                let mut bytes = whole.clone().into_bytes();
                bytes[at] = byte;
                let broken = disk.after(Loss::Process);
                broken.put(&own(name), &bytes);
                let Some(found) = found(&broken, name, line, &what) else {
                    ends[0] += 1;
                    continue;
                };
                ends[1] += 1;
                let others: Vec<_> =
                    found.iter().filter(|(table, at)| !pairs.contains(&((*table).clone(), **at))).collect();
                let within_value = in_a_value(&whole, at) || old.is_ascii_digit();
                assert!(others.len() <= usize::from(within_value), "{what}: {others:?}");
            }
        }
    }
    assert!(ends.iter().all(|times| *times > 500), "{ends:?}");
}

#[test]
fn zeros_in_the_place_of_a_piece_are_an_error_and_at_the_end_the_lines_before_them_count() {
    let disk = written();
    let pairs = pairs(&disk);
    for name in [POSITION_LOG, FINISHED_LOG] {
        let whole = disk.text(&own(name)).unwrap().into_bytes();
        for at in 0..whole.len() {
            for long in [1, 16, 512] {
                let end = (at + long).min(whole.len());
                let mut zeroed = whole.clone();
                zeroed[at..end].fill(0);
                let broken = disk.after(Loss::Process);
                broken.put(&own(name), &zeroed);
                let what = format!("{name}: zeros from {at} to {end}");
                match journal(&broken).load() {
                    // A file system may have given the file its length before its bytes.
                    Ok(loaded) => {
                        assert!(end == whole.len() && loaded.warnings().len() == 1, "{what}");
                        assert!(known(&loaded).into_iter().all(|pair| pairs.contains(&pair)), "{what}");
                    }
                    Err(error) => {
                        assert!(end < whole.len() && error.class() == ErrorClass::User, "{what}: {error}");
                        assert!(error.to_string().contains(&format!("file: /logs/{name}")), "{what}: {error}");
                    }
                }
            }
        }
    }
}
