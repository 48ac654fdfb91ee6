//! The log store without its runtime: reads the places that hold positions, writes the task's own two files, and
//! keeps them short. Blocking; every effect goes through [`Disk`].

mod rewound;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dt_common::ladder::Entry;
use dt_common::position::line::{Line, Stamp};
use dt_common::{Error, ErrorClass, Result};

use super::clock::{Clock, file_suffix, stamp_after};
use super::disk::Disk;
use super::file::{LogFile, Names};
use super::merge::{Home, merge};
use super::scan::{Scan, Unreadable, says_anything, scan_config, scan_log};
use super::{FINISHED_LOG, LogOptions, POSITION_LOG, REWOUND, SET_ASIDE};
use crate::loaded::{Loaded, Origin, Slot, Slots, Stored};

/// The positions of one task in its log_dir.
pub(crate) struct Journal {
    disk: Box<dyn Disk>,
    clock: Clock,
    options: LogOptions,
    /// What is known of the own files, once they were read.
    own: Option<Own>,
}

/// The own files: what they hold is known, so that they can be rewritten without being read.
struct Own {
    position: LogFile,
    finished: LogFile,
    live: Slots,
    last_stamp: Option<Stamp>,
    names: Names,
}

/// What was read in one place.
#[derive(Default)]
pub(super) struct Place {
    slots: Slots,
    last_stamp: Option<Stamp>,
    warnings: Vec<String>,
}

impl Journal {
    pub(crate) fn new(disk: Box<dyn Disk>, clock: Clock, options: LogOptions) -> Journal {
        Journal { disk, clock, options, own: None }
    }

    /// Reads every place, and writes into the own files what was found elsewhere only, so that they are complete.
    pub(crate) fn load(&mut self) -> Result<Loaded> {
        self.finish_what_was_begun()?;
        let (mut own, own_place) = self.read_own()?;
        let other = self.read_other_dir()?;
        let config = self.read_config()?;
        let merged = merge(&own_place.slots, &other.slots, &config.slots);
        own.live = own_place.slots;
        own.last_stamp = [own_place.last_stamp, other.last_stamp, config.last_stamp].into_iter().flatten().max();
        let warnings = [own_place.warnings, other.warnings, config.warnings].concat();
        self.complete(&mut own, &merged).map_err(|error| self.cannot_write(error))?;
        self.own = Some(own);
        Ok(Loaded::new(merged, warnings))
    }

    /// What [`Journal::load`] would give, without changing anything.
    pub(crate) fn peek(&self) -> Result<Loaded> {
        let dir = &self.options.log_dir;
        let own = if self.read(&dir.join(SET_ASIDE))?.is_some() { being_set_aside(dir) } else { self.read_dir(dir)?.0 };
        let (other, config) = (self.read_other_dir()?, self.read_config()?);
        let merged = merge(&own.slots, &other.slots, &config.slots);
        Ok(Loaded::new(merged, [own.warnings, other.warnings, config.warnings].concat()))
    }

    /// Makes the positions durable.
    pub(crate) fn record(&mut self, entries: &[Entry]) -> Result<()> {
        if self.own.is_none() {
            self.finish_what_was_begun()?;
            let (mut own, place) = self.read_own()?;
            own.live = place.slots;
            own.last_stamp = place.last_stamp;
            self.own = Some(own);
        }
        let mut own = self.own.take().expect("log store: the own files were just read");
        let recorded = self.write(&mut own, entries);
        if recorded.is_ok() {
            self.compact_if_grown(&mut own);
        }
        self.own = Some(own);
        recorded.map_err(|error| self.cannot_write(error))
    }

    /// Whether the own files hold positions, or lines that cannot be read and may be some.
    pub(crate) fn holds_positions(&mut self) -> Result<bool> {
        self.finish_what_was_begun()?;
        self.peek_holds_positions()
    }

    /// The same, without finishing what a stopped task has begun.
    pub(crate) fn peek_holds_positions(&self) -> Result<bool> {
        if self.read(&self.options.log_dir.join(SET_ASIDE))?.is_some() {
            return Ok(false);
        }
        // While the files are being replaced, what is in their place counts.
        let is_rewound = self.read(&self.options.log_dir.join(REWOUND))?.is_some();
        let names: &[&str] = if is_rewound { &[REWOUND] } else { &[POSITION_LOG, FINISHED_LOG] };
        for name in names {
            let bytes = self.read(&self.options.log_dir.join(name))?;
            if bytes.is_some_and(|bytes| says_anything(&bytes)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Renames the own files, so that they are not read again. The new names; none if there were no files.
    pub(crate) fn set_aside(&mut self) -> Result<Vec<PathBuf>> {
        self.finish_what_was_begun()?;
        self.own = None;
        let marker = self.options.log_dir.join(SET_ASIDE);
        // Two renames are two steps, and half of an old run must never be taken for the new one. From here on the
        // files count as set aside, whoever comes to finish it.
        self.disk
            .write(&marker, b"position.log and finished.log are being set aside\n")
            .and_then(|()| self.disk.sync(&marker))
            .and_then(|()| self.disk.sync_dir(&self.options.log_dir))
            .map_err(|error| self.cannot_write(error))?;
        self.finish_set_aside()
    }

    /// What a stopped task has begun to do to both files, and that counts as done.
    fn finish_what_was_begun(&mut self) -> Result<()> {
        self.finish_set_aside()?;
        self.finish_rewind()
    }

    fn finish_set_aside(&mut self) -> Result<Vec<PathBuf>> {
        let marker = self.options.log_dir.join(SET_ASIDE);
        if self.read(&marker)?.is_none() {
            return Ok(Vec::new());
        }
        self.make_durable(&[SET_ASIDE]).map_err(|error| self.cannot_write(error))?;
        self.rename_aside(&marker).map_err(|error| self.cannot_write(error))
    }

    fn rename_aside(&mut self, marker: &Path) -> io::Result<Vec<PathBuf>> {
        let dir = self.options.log_dir.clone();
        let suffix = file_suffix((self.clock)());
        let mut renamed = Vec::new();
        for name in [FINISHED_LOG, POSITION_LOG] {
            let from = dir.join(name);
            if self.disk.read(&from)?.is_none() {
                continue;
            }
            let mut to = dir.join(format!("{name}.{suffix}"));
            let mut count = 1;
            while self.disk.read(&to)?.is_some() {
                count += 1;
                to = dir.join(format!("{name}.{suffix}-{count}"));
            }
            self.disk.rename(&from, &to)?;
            renamed.push(to);
        }
        self.disk.sync_dir(&dir)?;
        self.disk.remove(marker)?;
        self.disk.sync_dir(&dir)?;
        Ok(renamed)
    }

    fn read_own(&mut self) -> Result<(Own, Place)> {
        self.make_durable(&[POSITION_LOG, FINISHED_LOG]).map_err(|error| self.cannot_write(error))?;
        let dir = &self.options.log_dir;
        let (place, [position, finished]) = self.read_dir(dir)?;
        let file = |name, scan: Option<Scan>| {
            LogFile::new(Arc::from(dir.join(name)), scan.as_ref(), self.options.rotate_bytes)
        };
        let own = Own {
            position: file(POSITION_LOG, position),
            finished: file(FINISHED_LOG, finished),
            live: Slots::default(),
            last_stamp: None,
            names: Names::Kept,
        };
        Ok((own, place))
    }

    /// Makes durable what an earlier run has left, for it may have been killed before it could: what is read here is what
    /// the task goes on from, and must not be gone after a loss of power.
    fn make_durable(&mut self, names: &[&str]) -> io::Result<()> {
        let mut exist = false;
        for name in names {
            let path = self.options.log_dir.join(name);
            if self.disk.read(&path)?.is_some() {
                self.disk.sync(&path)?;
                exist = true;
            }
        }
        if exist { self.disk.sync_dir(&self.options.log_dir) } else { Ok(()) }
    }

    fn read_other_dir(&self) -> Result<Place> {
        let Some(dir) = &self.options.resume_log_dir else { return Ok(Place::default()) };
        if !self.disk.is_dir(dir) {
            return Err(Error::user("the directory to resume from does not exist")
                .with("[resumer] log_dir", dir.display())
                .hint("correct [resumer] log_dir, or leave it out to resume from [runtime] log_dir"));
        }
        if self.read(&dir.join(SET_ASIDE))?.is_some() {
            return Ok(being_set_aside(dir));
        }
        Ok(self.read_dir(dir)?.0)
    }

    fn read_dir(&self, dir: &Path) -> Result<(Place, [Option<Scan>; 2])> {
        if let Some(rewound) = self.read_rewound(dir)? {
            return Ok((rewound, [None, None]));
        }
        let mut place = Place::default();
        let mut scans = [None, None];
        for (name, scan) in [POSITION_LOG, FINISHED_LOG].into_iter().zip(&mut scans) {
            let path: Arc<Path> = Arc::from(dir.join(name));
            let Some(bytes) = self.read(&path)? else { continue };
            let mut read = scan_log(&bytes).map_err(|unreadable| cannot_understand(&path, unreadable))?;
            if let Some(line) = read.torn {
                place.warnings.push(format!(
                    "{}, line {line}, was cut short by a crash and is left out; the position before it counts",
                    path.display()
                ));
            }
            // What a person has put into the other file counts only if the right one says nothing.
            let lines = std::mem::take(&mut read.lines);
            place.take_in(&path, lines, |slot, known| {
                name == POSITION_LOG || Home::of(slot) == Home::Finished || !known
            });
            *scan = Some(read);
        }
        Ok((place, scans))
    }

    fn read_config(&self) -> Result<Place> {
        let mut place = Place::default();
        let Some(file) = &self.options.resume_config else { return Ok(place) };
        let path: Arc<Path> = Arc::from(file.as_path());
        let bytes = self.read(&path)?.ok_or_else(|| {
            Error::user("the file to resume from does not exist")
                .with("[resumer] config_file", path.display())
                .hint("correct [resumer] config_file, or leave it out")
        })?;
        let lines = scan_config(&bytes).map_err(|unreadable| cannot_understand(&path, unreadable))?;
        place.take_in(&path, lines, |_, _| true);
        Ok(place)
    }

    fn read(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        self.disk.read(path).map_err(|error| {
            Error::user("a file of positions cannot be read")
                .with("file", path.display())
                .caused_by(error)
                .hint("make it readable, or start over with [resumer] resume_type=dummy")
        })
    }

    /// Brings the own files to say what `merged` says.
    fn complete(&mut self, own: &mut Own, merged: &Slots) -> io::Result<()> {
        let missing: Vec<Entry> = merged
            .iter()
            .filter(|(slot, stored)| **slot != Slot::Nothing && !own.is_home(slot, stored))
            .map(|(_, stored)| stored.entry.clone())
            .collect();
        self.write(own, &missing)?;
        // A table that is in progress again by a newer line elsewhere: its finished line would win within this
        // directory. It goes only now that the newer line is in position.log.
        let is_outdated =
            own.live.iter().any(|(slot, _)| Home::of(slot) == Home::Finished && merged.get(slot).is_none());
        own.live.retain(|slot| merged.get(slot).is_some());
        if is_outdated {
            self.compact(own, Home::Finished)?;
            self.sync_names(own)?;
        }
        Ok(())
    }

    /// Appends the entries to their files. Everything is durable when it returns.
    fn write(&mut self, own: &mut Own, entries: &[Entry]) -> io::Result<()> {
        let stamp = stamp_after(own.last_stamp.as_ref(), (self.clock)());
        for home in [Home::Position, Home::Finished] {
            let mut lines = String::new();
            let mut written = Vec::new();
            for entry in entries.iter().filter(|entry| Home::of(&Slot::of(entry)) == home) {
                let line = line_of(entry, home, &stamp);
                writeln!(lines, "{line}").expect("log store: text can be written into a string");
                written.push(entry);
            }
            if written.is_empty() {
                continue;
            }
            own.last_stamp = Some(stamp.clone());
            let names = own.file(home).append(self.disk.as_mut(), &lines)?;
            own.note(names);
            for entry in written {
                own.live.put(Stored::new(entry.clone(), Some(stamp.clone()), None));
            }
        }
        self.sync_names(own)
    }

    fn sync_names(&mut self, own: &mut Own) -> io::Result<()> {
        if own.names == Names::Changed {
            self.disk.sync_dir(&self.options.log_dir)?;
            own.names = Names::Kept;
        }
        Ok(())
    }

    /// A file that could not be rewritten is still whole and only longer than it need be: a warning, and another try
    /// once it has grown again.
    fn compact_if_grown(&mut self, own: &mut Own) {
        for home in [Home::Position, Home::Finished] {
            if !own.file(home).wants_compaction() {
                continue;
            }
            if let Err(error) = self.compact(own, home).and_then(|()| self.sync_names(own)) {
                tracing::warn!("{} could not be rewritten shorter: {error}", own.file(home).path().display());
            }
        }
    }

    fn compact(&mut self, own: &mut Own, home: Home) -> io::Result<()> {
        let lines = self.live_lines(own, home);
        let names = own.file(home).replace(self.disk.as_mut(), &lines, self.options.rotate_bytes)?;
        own.note(names);
        Ok(())
    }

    /// All that counts of a file, as it is written.
    fn live_lines(&self, own: &Own, home: Home) -> String {
        let now = stamp_after(own.last_stamp.as_ref(), (self.clock)());
        let mut lines = String::new();
        for (slot, stored) in own.live.iter().filter(|(slot, _)| Home::of(slot) == home && own.live.is_live(slot)) {
            debug_assert_eq!(*slot, Slot::of(&stored.entry));
            let line = line_of(&stored.entry, home, stored.stamp.as_ref().unwrap_or(&now));
            writeln!(lines, "{line}").expect("log store: text can be written into a string");
        }
        lines
    }

    fn cannot_write(&self, error: io::Error) -> Error {
        let class = match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::NotFound => {
                ErrorClass::User
            }
            // A full disk may be given room while the save is tried again.
            _ => ErrorClass::Retry,
        };
        Error::new(class, "positions cannot be written")
            .with("[runtime] log_dir", self.options.log_dir.display())
            .caused_by(error)
            .hint("give the directory room and the right to write; nothing that was recorded before is lost")
    }
}

impl Own {
    fn file(&mut self, home: Home) -> &mut LogFile {
        match home {
            Home::Position => &mut self.position,
            Home::Finished => &mut self.finished,
        }
    }

    fn note(&mut self, names: Names) {
        if names == Names::Changed {
            self.names = Names::Changed;
        }
    }

    /// Whether the position was read in the very file that it belongs into.
    fn is_home(&self, slot: &Slot, stored: &Stored) -> bool {
        let home = match Home::of(slot) {
            Home::Position => self.position.path(),
            Home::Finished => self.finished.path(),
        };
        matches!(&stored.origin, Some(Origin::Line { file, .. }) if file == home)
    }
}

impl Place {
    /// What was read, if it was all there is to read; with one more thing that the user should hear of.
    pub(super) fn into_loaded(mut self, warning: Option<String>) -> Loaded {
        self.warnings.extend(warning);
        Loaded::new(self.slots, self.warnings)
    }

    pub(super) fn take_in(&mut self, file: &Arc<Path>, lines: Vec<(u64, Line)>, counts: impl Fn(&Slot, bool) -> bool) {
        let before: BTreeSet<Slot> = self.slots.iter().map(|(slot, _)| slot.clone()).collect();
        for (number, line) in lines {
            let stored = Stored::of_line(line, file, number);
            if self.last_stamp < stored.stamp {
                self.last_stamp.clone_from(&stored.stamp);
            }
            let slot = Slot::of(&stored.entry);
            if counts(&slot, before.contains(&slot)) {
                self.slots.put(stored);
            }
        }
    }
}

/// A place whose task has begun to set its files aside, and was stopped before it could finish.
fn being_set_aside(dir: &Path) -> Place {
    let warning = format!("the positions in {} are being set aside, and are not used", dir.display());
    Place { warnings: vec![warning], ..Place::default() }
}

fn line_of(entry: &Entry, home: Home, stamp: &Stamp) -> Line {
    Line { stamp: Some(stamp.clone()), rung: home.rung(entry.rung), position: entry.position.clone() }
}

pub(super) fn cannot_understand(path: &Path, unreadable: Unreadable) -> Error {
    Error::user("a line of a file of positions cannot be read")
        .with("file", path.display())
        .with("line", unreadable.line)
        .caused_by(unreadable.why)
        .hint(
            "correct the line; or remove it, and its table goes on from the line before it or begins anew; or start \
             over with [resumer] resume_type=dummy, which sets the files of [runtime] log_dir aside",
        )
}
