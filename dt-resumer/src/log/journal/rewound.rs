//! Replacing both files at once. Their new lines are made durable in a file of their own, [`REWOUND`], first: from the
//! moment it has its name it is what counts, and whoever comes next puts its lines into the two files. So a crash leaves
//! either all that was stored before or all that was wanted, though two files cannot take their names in one step.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dt_common::{Error, Result};

use super::super::clock::stamp_after;
use super::super::merge::Home;
use super::super::scan::scan_config;
use super::super::{FINISHED_LOG, POSITION_LOG, REWOUND};
use super::{Journal, Place, cannot_understand};
use crate::loaded::{Slot, Stored};
use crate::rewind::Rewind;

impl Journal {
    /// Steps back.
    pub(crate) fn rewind(&mut self, rewind: &Rewind) -> Result<()> {
        // From here on the own files hold all that is known.
        self.load()?;
        self.refuse_what_is_said_elsewhere(rewind)?;
        let mut own = self.own.take().expect("log store: the own files were just read");
        let keeps = rewind.keeps();
        own.live.retain(|slot| keeps(slot));
        let stamp = stamp_after(own.last_stamp.as_ref(), (self.clock)());
        own.last_stamp = Some(stamp.clone());
        for entry in &rewind.put {
            own.live.put(Stored::new(entry.clone(), Some(stamp.clone()), None));
        }
        let lines = [Home::Position, Home::Finished].map(|home| self.live_lines(&own, home)).concat();
        self.commit(&lines).map_err(|error| self.cannot_write(error))?;
        self.finish_rewind()
    }

    /// A position in a place that is read and not written would be back with the next load.
    fn refuse_what_is_said_elsewhere(&self, rewind: &Rewind) -> Result<()> {
        let keeps = rewind.keeps();
        let put: Vec<Slot> = rewind.put.iter().map(Slot::of).collect();
        let (other, config) = (self.read_other_dir()?, self.read_config()?);
        let is_put = |slot: &Slot| match slot.table() {
            Some(table) => put.iter().any(|put| put.table() == Some(table)),
            None => put.contains(slot),
        };
        let back = other.slots.iter().chain(config.slots.iter());
        let back = back.filter(|(slot, _)| **slot != Slot::Nothing).find(|(slot, _)| !keeps(slot) && !is_put(slot));
        let Some((slot, stored)) = back else { return Ok(()) };
        let error = Error::user("what is to be forgotten is also said in a place that is only read");
        let error = match slot.table() {
            Some(table) => error.with("table", table),
            None => error,
        };
        let error = match &stored.origin {
            Some(origin) => error.with("at", origin),
            None => error,
        };
        Err(error.hint(
            "take log_dir and config_file out of [resumer]: what they held is in the files of [runtime] log_dir by now; \
             or remove the line",
        ))
    }

    fn commit(&mut self, lines: &str) -> io::Result<()> {
        let (new, name) = (self.beside(".rewound.new"), self.beside(REWOUND));
        self.disk.write(&new, lines.as_bytes())?;
        self.disk.sync(&new)?;
        self.disk.rename(&new, &name)?;
        self.disk.sync_dir(&self.options.log_dir)
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.options.log_dir.join(name)
    }

    /// Puts the lines of [`REWOUND`] into the two files, if it is there.
    pub(super) fn finish_rewind(&mut self) -> Result<()> {
        let path = self.beside(REWOUND);
        let Some(bytes) = self.read(&path)? else { return Ok(()) };
        self.own = None;
        self.make_durable(&[REWOUND]).map_err(|error| self.cannot_write(error))?;
        let read = scan_config(&bytes).map_err(|unreadable| cannot_understand(&path, unreadable))?;
        let mut lines = [(Home::Position, String::new()), (Home::Finished, String::new())];
        for (number, line) in read {
            let home = Home::of(&Slot::of(&Stored::of_line(line.clone(), &Arc::from(path.as_path()), number).entry));
            let text = lines.iter_mut().find(|(of, _)| *of == home).map(|(_, text)| text);
            let text = text.expect("log store: there are two files");
            writeln!(text, "{line}").expect("log store: text can be written into a string");
        }
        self.apply(&lines).map_err(|error| self.cannot_write(error))
    }

    fn apply(&mut self, lines: &[(Home, String); 2]) -> io::Result<()> {
        for (home, text) in lines {
            let name = match home {
                Home::Position => POSITION_LOG,
                Home::Finished => FINISHED_LOG,
            };
            let path = self.beside(name);
            if text.is_empty() && self.disk.read(&path)?.is_none() {
                continue;
            }
            let new = self.beside(&format!("{name}.new"));
            self.disk.write(&new, text.as_bytes())?;
            self.disk.sync(&new)?;
            self.disk.rename(&new, &path)?;
        }
        // Durable in their own files, before what they were taken from goes.
        self.disk.sync_dir(&self.options.log_dir)?;
        self.disk.remove(&self.beside(REWOUND))?;
        self.disk.sync_dir(&self.options.log_dir)
    }

    /// What a directory says whose task was stopped while its files were being replaced; `None` if it was not.
    pub(super) fn read_rewound(&self, dir: &Path) -> Result<Option<Place>> {
        let path: Arc<Path> = Arc::from(dir.join(REWOUND));
        let Some(bytes) = self.read(&path)? else { return Ok(None) };
        let lines = scan_config(&bytes).map_err(|unreadable| cannot_understand(&path, unreadable))?;
        let mut place = Place::default();
        place.take_in(&path, lines, |_, _| true);
        Ok(Some(place))
    }
}
