//! A disk that fails or loses power at any step. Data that was not synced survives as a prefix, names that were not
//! synced may be the old ones.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::log::disk::Disk;

/// Clones share the disk, as processes do.
#[derive(Clone, Default)]
pub(super) struct PowerDisk(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    files: Vec<File>,
    /// The names after each change since the directory was last synced; the first are the durable ones.
    names: Vec<BTreeMap<PathBuf, usize>>,
    steps: u64,
    /// What each step did, and to which file.
    done: Vec<(Does, PathBuf)>,
    trouble: Option<Trouble>,
}

#[derive(Clone, Default)]
struct File {
    durable: Vec<u8>,
    pending: Vec<Op>,
}

#[derive(Clone)]
enum Op {
    Append(Vec<u8>),
    Cut(usize),
}

/// What goes wrong, and at which step.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    /// From this step on nothing happens any more.
    Crash(u64),
    /// This one step fails; an append leaves half of its bytes behind.
    Fail(u64),
    /// This step, an append, gets only so many bytes onto the disk.
    Short(u64, usize),
    /// There is no room from the one step up to the other: all fails that may need some. An append leaves a part of its bytes
    /// behind; to cut a file and to remove one can still be done.
    Full(u64, u64),
    /// From the one step up to the other nothing can be written at all, as on a disk that was set read-only.
    Stuck(u64, u64),
}

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// Adds so many bytes.
    Append(usize),
    /// Takes room, or may do so.
    Takes,
    /// Gives room back.
    Frees,
}

/// What survives a crash.
#[derive(Clone, Copy, Debug)]
pub(super) enum Loss {
    /// The process was killed: the machine keeps everything, though not all of it is durable.
    Process,
    /// Power: nothing that was not synced.
    Everything,
    /// Power: new names survive, unsynced data does not.
    Data,
    /// Power: data survives, new names do not.
    Names,
    /// Power: new names, and half of the data.
    HalfOfTheData,
}

pub(super) const LOSSES: [Loss; 5] = [Loss::Process, Loss::Everything, Loss::Data, Loss::Names, Loss::HalfOfTheData];

impl File {
    fn bytes(&self, ops: usize, bytes_of_next: usize) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for op in &self.pending[..ops] {
            match op {
                Op::Append(more) => bytes.extend_from_slice(more),
                Op::Cut(len) => bytes.truncate(*len),
            }
        }
        if let Some(Op::Append(more)) = self.pending.get(ops) {
            bytes.extend_from_slice(&more[..bytes_of_next.min(more.len())]);
        }
        bytes
    }

    fn cached(&self) -> Vec<u8> {
        self.bytes(self.pending.len(), 0)
    }
}

impl PowerDisk {
    pub(super) fn new() -> Self {
        let disk = PowerDisk::default();
        disk.state().names.push(BTreeMap::new());
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn steps(&self) -> u64 {
        self.state().steps
    }

    pub(super) fn trouble_at(&self, trouble: Trouble) {
        self.state().trouble = Some(trouble);
    }

    /// The disk as the next process finds it.
    pub(super) fn after(&self, loss: Loss) -> PowerDisk {
        let state = self.state();
        let names = match loss {
            Loss::Process => {
                let (files, names) = (state.files.clone(), state.names.clone());
                return PowerDisk(Arc::new(Mutex::new(State { files, names, ..State::default() })));
            }
            Loss::Everything | Loss::Names => state.names.first(),
            Loss::Data | Loss::HalfOfTheData => state.names.last(),
        };
        let files = state.files.iter().map(|file| match loss {
            Loss::Process | Loss::Names => file.cached(),
            Loss::Everything | Loss::Data => file.bytes(0, 0),
            Loss::HalfOfTheData => {
                let half = file.pending.len() / 2;
                let of_next = match file.pending.get(half) {
                    Some(Op::Append(bytes)) => bytes.len() / 2,
                    Some(Op::Cut(_)) | None => 0,
                };
                file.bytes(half, of_next)
            }
        });
        let files = files.map(|durable| File { durable, pending: Vec::new() }).collect();
        let names = vec![names.unwrap().clone()];
        PowerDisk(Arc::new(Mutex::new(State { files, names, ..State::default() })))
    }

    pub(super) fn put(&self, path: &Path, bytes: &[u8]) {
        let mut disk = self.clone();
        disk.write(path, bytes).unwrap();
        disk.sync(path).unwrap();
        disk.sync_dir(path.parent().unwrap()).unwrap();
        let mut state = self.state();
        state.steps = 0;
        state.done.clear();
    }

    /// What each step did, and to which file.
    pub(super) fn done(&self) -> Vec<(Does, PathBuf)> {
        self.state().done.clone()
    }

    pub(super) fn text(&self, path: &Path) -> Option<String> {
        self.read(path).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
    }
}

impl State {
    /// Counts a step; the error if it goes wrong, and how many bytes of an append still get there.
    fn step(&mut self, does: Does, path: &Path) -> Result<(), (io::Error, usize)> {
        let now = self.steps;
        self.steps += 1;
        self.done.push((does, path.to_owned()));
        let bytes = match does {
            Does::Append(bytes) => bytes,
            Does::Takes | Does::Frees => 0,
        };
        let fails = |left| Err((io::Error::from(io::ErrorKind::StorageFull), left));
        match self.trouble {
            Some(Trouble::Crash(at)) if now == at => fails(bytes / 2),
            Some(Trouble::Crash(at)) if now > at => fails(0),
            Some(Trouble::Fail(at)) if now == at => fails(bytes / 2),
            Some(Trouble::Short(at, left)) if now == at => fails(left.min(bytes)),
            Some(Trouble::Full(from, to)) if does != Does::Frees && (from..to).contains(&now) => {
                fails(bytes * (now as usize % 4) / 4)
            }
            Some(Trouble::Stuck(from, to)) if (from..to).contains(&now) => fails(0),
            Some(_) | None => Ok(()),
        }
    }

    fn change_names(&mut self, change: impl FnOnce(&mut BTreeMap<PathBuf, usize>)) {
        let mut names = self.names.last().unwrap().clone();
        change(&mut names);
        self.names.push(names);
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.names.last().unwrap().get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn find_or_make(&mut self, path: &Path) -> usize {
        self.find(path).unwrap_or_else(|_| {
            self.files.push(File::default());
            let made = self.files.len() - 1;
            self.change_names(|names| {
                names.insert(path.to_owned(), made);
            });
            made
        })
    }
}

impl Disk for PowerDisk {
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        Ok(state.find(path).ok().map(|at| state.files[at].cached()))
    }

    fn is_dir(&self, _path: &Path) -> bool {
        true
    }

    fn append(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let (bytes, result) = match state.step(Does::Append(bytes.len()), path) {
            Ok(()) => (bytes, Ok(())),
            Err((error, 0)) => return Err(error),
            Err((error, left)) => (&bytes[..left], Err(error)),
        };
        let at = state.find_or_make(path);
        state.files[at].pending.push(Op::Append(bytes.to_vec()));
        result
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let known = self.state().find(path);
        if let Ok(at) = known {
            self.state().files[at].pending.push(Op::Cut(0));
        }
        self.append(path, bytes)
    }

    fn cut(&mut self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.step(Does::Frees, path).map_err(|(error, _)| error)?;
        let at = state.find(path)?;
        state.files[at].pending.push(Op::Cut(usize::try_from(len).unwrap()));
        Ok(())
    }

    fn sync(&mut self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        let at = state.find(path)?;
        if let Err((error, _)) = state.step(Does::Takes, path) {
            // As Linux does: what could not be written is forgotten, and a later sync does not bring it back.
            if !matches!(state.trouble, Some(Trouble::Crash(_))) {
                state.files[at].pending.clear();
            }
            return Err(error);
        }
        let file = &mut state.files[at];
        file.durable = file.cached();
        file.pending.clear();
        Ok(())
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step(Does::Takes, from).map_err(|(error, _)| error)?;
        let at = state.find(from)?;
        state.change_names(|names| {
            names.remove(from);
            names.insert(to.to_owned(), at);
        });
        Ok(())
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step(Does::Frees, path).map_err(|(error, _)| error)?;
        state.find(path)?;
        state.change_names(|names| {
            names.remove(path);
        });
        Ok(())
    }

    fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.step(Does::Takes, dir).map_err(|(error, _)| error)?;
        let last = state.names.len() - 1;
        state.names.drain(..last);
        Ok(())
    }
}
