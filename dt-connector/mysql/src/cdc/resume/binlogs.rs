//! A server's binlog files: whether a place is still there, which file holds a moment, and how far the purge is away.

use std::fmt;

use dt_common::{Error, Result};

use super::facts::{BinlogFile, Place};

/// The place of a file's first event.
pub const FIRST_POSITION: u64 = 4;

/// Checks that a place is still in the server's files.
///
/// # Errors
/// The file is purged, with the files that are missing; it was never there, or the place is behind its end: another
/// history of the log.
pub fn check_place(files: &[BinlogFile], place: &Place) -> Result<()> {
    let Some(file) = files.iter().find(|file| file.name == place.file) else { return Err(missing(files, place)) };
    if place.position < FIRST_POSITION {
        return Err(Error::user(format!("{} is a place before the file's first event", place.file))
            .with("position", place.position)
            .hint("the first event is at 4"));
    }
    if place.position > file.size {
        return Err(Error::user("the place to go on from is behind the end of the source's binlog file")
            .with("place", place)
            .with("size", file.size)
            .hint(
                "the log was made anew, lost its end in a crash (sync_binlog=1 prevents that), or is another server's; \
                 copy the tables anew (extract_type=snapshot) and start with an empty log_dir",
            ));
    }
    Ok(())
}

fn missing(files: &[BinlogFile], place: &Place) -> Error {
    let (Some(oldest), Some(newest)) = (files.first(), files.last()) else {
        return Error::user("the source has no binlog files").with("place", place);
    };
    let numbers = numbered(&place.file).zip(numbered(&oldest.name)).filter(|(wanted, oldest)| wanted.0 == oldest.0);
    match numbers {
        Some(((_, wanted), (_, first))) if wanted < first => Error::user(
            "the binlog file to go on from is purged from the source: the changes in it cannot be read any more",
        )
        .with("place", place)
        .with("missing", format!("{} to the one before {}", place.file, oldest.name))
        .hint(
            "copy the tables anew (extract_type=snapshot) and start with an empty log_dir; with GTIDs another \
                     server that still has the changes will do; keep files for longer next time \
                     (binlog_expire_logs_seconds)",
        ),
        Some(_) | None => Error::user("the binlog file to go on from is not the source's")
            .with("place", place)
            .with("the source has", format!("{} to {}", oldest.name, newest.name))
            .hint(
                "it is another server's, or the log was made anew (RESET BINARY LOGS AND GTIDS, RESET MASTER) or \
                 renamed: check url; to go on without what may be missing, give the place with binlog_filename and \
                 binlog_position and an empty log_dir",
            ),
    }
}

/// `mysql-bin.000054` as its base and number.
pub(crate) fn numbered(name: &str) -> Option<(&str, u64)> {
    let (base, number) = name.rsplit_once('.')?;
    Some((base, number.parse().ok()?))
}

/// A binlog file and when it was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileBegun {
    /// The file.
    pub file: String,
    /// The time of its first event, in seconds since 1970.
    pub began: u64,
}

/// The file to read from for everything that was committed at a time or later: the last one begun before it. `files`
/// is in the server's order, oldest first.
///
/// # Errors
/// The oldest file was begun later: what was committed before it is purged.
pub fn file_at(files: &[FileBegun], time: u64) -> Result<Place> {
    // What is committed within the second in which a file begins may be in the one before it.
    let before = files.iter().take_while(|file| file.began < time).last();
    match (before, files.first()) {
        (Some(file), _) => Ok(Place { file: file.file.clone(), position: FIRST_POSITION }),
        (None, Some(oldest)) => Err(Error::user("the source's binlog does not reach back to start_time_utc")
            .with("oldest file", &oldest.file)
            .with("seconds missing", oldest.began.saturating_sub(time))
            .hint("choose a later start_time_utc, or begin with that file: binlog_filename")),
        (None, None) => Err(Error::user("the source has no binlog files")),
    }
}

/// How far the server is from purging what is still to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadRoom {
    /// Files older than the one that is read: the server purges these first.
    pub files: u64,
    /// Their bytes, and those of the file that is read up to the place.
    pub bytes: u64,
    /// Bytes from the place to the end of the log: still to be read.
    pub bytes_to_read: u64,
    /// After how many seconds a file may be purged; `None` where files are not purged by age.
    pub expire_secs: Option<u64>,
}

impl HeadRoom {
    /// Whether the next file that is purged is the one that is read, though there are newer ones to read.
    pub fn is_last(&self) -> bool {
        self.files == 0
    }
}

impl fmt::Display for HeadRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} older binlog files ({} bytes) before the purge reaches the stream", self.files, self.bytes)?;
        write!(f, ", {} bytes to read", self.bytes_to_read)?;
        match self.expire_secs {
            Some(secs) => write!(f, ", files kept for {secs} s"),
            None => Ok(()),
        }
    }
}

/// The head-room of a stream that has read up to `place`.
///
/// # Errors
/// Those of [`check_place`]: the purge has overtaken the stream.
pub fn head_room(files: &[BinlogFile], place: &Place, expire_secs: Option<u64>) -> Result<HeadRoom> {
    check_place(files, place)?;
    let at = files.iter().position(|file| file.name == place.file).expect("binlogs: a place was found twice");
    let bytes = |files: &[BinlogFile]| files.iter().map(|file| file.size).fold(0, u64::saturating_add);
    Ok(HeadRoom {
        files: at as u64,
        bytes: bytes(&files[..at]).saturating_add(place.position),
        bytes_to_read: bytes(&files[at..]).saturating_sub(place.position),
        expire_secs,
    })
}

#[cfg(test)]
mod tests {
    use dt_common::ErrorClass;

    use super::*;

    fn files() -> Vec<BinlogFile> {
        [(9, 500), (10, 700), (11, 300)]
            .map(|(number, size)| BinlogFile { name: format!("mysql-bin.{number:06}"), size })
            .to_vec()
    }

    fn place(file: &str, position: u64) -> Place {
        Place { file: file.into(), position }
    }

    #[test]
    fn a_place_within_a_file_or_at_its_end_is_there() {
        for position in [4, 154, 700] {
            check_place(&files(), &place("mysql-bin.000010", position)).expect("is there");
        }
    }

    #[test]
    fn a_purged_file_is_named_with_what_is_missing() {
        let error = check_place(&files(), &place("mysql-bin.000004", 154)).expect_err("is purged");
        assert_eq!(error.class(), ErrorClass::User);
        let text = error.to_string();
        assert!(text.contains("missing: mysql-bin.000004 to the one before mysql-bin.000009"), "{text}");
        assert!(text.contains("what to do: "), "{text}");
    }

    #[test]
    fn a_file_of_another_log_and_a_place_behind_the_end_are_another_history() {
        for file in ["mysql-bin.000012", "binlog.000004", "mysql-bin", "mysql-bin.0x"] {
            let error = check_place(&files(), &place(file, 154)).expect_err(file);
            assert!(error.to_string().contains("the source has: mysql-bin.000009 to mysql-bin.000011"), "{error}");
        }
        let error = check_place(&files(), &place("mysql-bin.000011", 301)).expect_err("is behind the end");
        assert!(error.message().contains("behind the end"), "{error}");
        assert!(check_place(&files(), &place("mysql-bin.000011", 3)).is_err());
        assert!(check_place(&[], &place("mysql-bin.000011", 4)).is_err());
    }

    #[test]
    fn numbers_are_compared_as_numbers() {
        let files = vec![BinlogFile { name: "b.1000000".into(), size: 9 }];
        let error = check_place(&files, &place("b.999999", 4)).expect_err("is purged");
        assert!(error.message().contains("purged"), "{error}");
    }

    #[test]
    fn head_room_counts_what_is_purged_before_and_what_is_still_to_be_read() {
        let room = head_room(&files(), &place("mysql-bin.000010", 200), Some(60)).expect("is there");
        assert_eq!(room, HeadRoom { files: 1, bytes: 700, bytes_to_read: 800, expire_secs: Some(60) });
        assert!(!room.is_last());
        assert_eq!(
            room.to_string(),
            "1 older binlog files (700 bytes) before the purge reaches the stream, 800 bytes to read, files kept for 60 s"
        );
        assert!(head_room(&files(), &place("mysql-bin.000009", 4), None).expect("is there").is_last());
        assert!(head_room(&files(), &place("mysql-bin.000008", 4), None).is_err());
    }

    #[test]
    fn a_moment_is_in_the_last_file_begun_before_it() {
        let begun = |name: &str, began| FileBegun { file: name.into(), began };
        let files = [begun("b.1", 100), begun("b.2", 200), begun("b.3", 200), begun("b.4", 300)];
        for (time, file) in [(101, "b.1"), (200, "b.1"), (201, "b.3"), (300, "b.3"), (9999, "b.4")] {
            assert_eq!(file_at(&files, time).expect("is there"), place(file, 4), "{time}");
        }
        for time in [0, 100] {
            let error = file_at(&files, time).expect_err("is purged");
            assert!(error.to_string().contains("oldest file: b.1"), "{error}");
        }
        assert!(file_at(&[], 1).is_err());
    }
}
