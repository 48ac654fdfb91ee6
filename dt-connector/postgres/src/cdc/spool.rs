//! Messages of transactions that are not committed, kept in temporary files until they are, or are rolled back.
//!
//! A large transaction is streamed while it runs (protocol version 2). Whether its rows count is known at its end only;
//! until then they wait here, however many there are, and cost no memory to speak of. The files have no name: whatever
//! ends the process ends them too. A resume begins in front of the transaction, so that nothing of it is needed later.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use dt_common::{Error, Result};

use super::pgoutput::{self, BadMessage};

/// The transactions that are being streamed.
#[derive(Debug, Default)]
pub struct Spools {
    open: HashMap<u32, Spool>,
    // The one whose messages are coming.
    current: Option<u32>,
}

/// One of them.
#[derive(Debug)]
struct Spool {
    file: BufWriter<File>,
    bytes: u64,
    aborted: HashSet<u32>,
}

impl Spools {
    /// Messages of this transaction follow.
    ///
    /// # Errors
    /// A file cannot be made; or the stream is not what the protocol says.
    pub fn start(&mut self, xid: u32, first: bool) -> Result<()> {
        if self.current.is_some() {
            return Err(bad("a part of an open transaction begins within another"));
        }
        match (self.open.contains_key(&xid), first) {
            (false, true) => {
                self.open.insert(xid, Spool { file: BufWriter::new(file()?), bytes: 0, aborted: HashSet::new() });
            }
            (true, false) => {}
            (true, true) => return Err(bad("an open transaction begins twice")),
            (false, false) => return Err(bad("an open transaction goes on whose beginning was not seen")),
        }
        self.current = Some(xid);
        Ok(())
    }

    /// No more of them for now.
    ///
    /// # Errors
    /// There were none.
    pub fn stop(&mut self) -> Result<()> {
        self.current.take().map(drop).ok_or_else(|| bad("a part of an open transaction ends that has not begun"))
    }

    /// Whether the messages that come are an open transaction's.
    pub fn is_streaming(&self) -> bool {
        self.current.is_some()
    }

    /// Keeps a message of the current transaction.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep(&mut self, message: &[u8]) -> Result<()> {
        let spool = self.current.and_then(|xid| self.open.get_mut(&xid));
        let spool = spool.ok_or_else(|| bad("a message of no open transaction"))?;
        let length = u32::try_from(message.len()).map_err(|_| bad("a message that is too long"))?;
        let written =
            spool.file.write_all(&length.to_ne_bytes()).and_then(|()| spool.file.write_all(message)).map_err(full);
        spool.bytes += 4 + u64::from(length);
        written
    }

    /// Gives up what a subtransaction has done, or all that the transaction has.
    ///
    /// # Errors
    /// The transaction is not open.
    pub fn abort(&mut self, xid: u32, subxid: u32) -> Result<()> {
        if xid == subxid {
            return self
                .open
                .remove(&xid)
                .map(drop)
                .ok_or_else(|| bad("a transaction is rolled back that is not open"));
        }
        let spool = self.open.get_mut(&xid);
        let spool = spool.ok_or_else(|| bad("a part of a transaction is rolled back that is not open"))?;
        spool.aborted.insert(subxid);
        Ok(())
    }

    /// The transaction is committed: its messages, from the first on.
    ///
    /// # Errors
    /// It is not open, or its file cannot be read.
    pub fn commit(&mut self, xid: u32) -> Result<Replay> {
        if self.current.is_some() {
            return Err(bad("a transaction is committed while a part of one is coming"));
        }
        let spool = self.open.remove(&xid).ok_or_else(|| bad("a transaction is committed that is not open"))?;
        let mut file = spool.file.into_inner().map_err(|error| full(error.into_error()))?;
        file.seek(SeekFrom::Start(0)).map_err(full)?;
        Ok(Replay { file: BufReader::with_capacity(READ_BYTES, file), left: spool.bytes, aborted: spool.aborted })
    }
}

const READ_BYTES: usize = 64 * 1024;

/// The messages of a transaction that is committed now, less those of subtransactions that were rolled back.
#[derive(Debug)]
pub struct Replay {
    file: BufReader<File>,
    left: u64,
    aborted: HashSet<u32>,
}

impl Replay {
    /// The next message, into `message`; false if there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next(&mut self, message: &mut Vec<u8>) -> Result<bool> {
        while self.left > 0 {
            let mut length = [0; 4];
            self.file.read_exact(&mut length).map_err(full)?;
            let length = u32::from_ne_bytes(length);
            message.clear();
            message.resize(length as usize, 0);
            self.file.read_exact(message).map_err(full)?;
            self.left = self.left.saturating_sub(4 + u64::from(length));
            if self.counts(message).map_err(|error| bad(&error.to_string()))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn counts(&self, message: &[u8]) -> Result<bool, BadMessage> {
        // A description of a table is sent once for the whole transaction, in whichever part needs it first.
        let describes = matches!(message.first(), Some(b'R' | b'Y'));
        Ok(describes || !pgoutput::subtransaction(message)?.is_some_and(|xid| self.aborted.contains(&xid)))
    }
}

/// A file without a name.
fn file() -> Result<File> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let path: PathBuf = std::env::temp_dir().join(format!("dt-transaction-{}-{count}", std::process::id()));
    let cannot = |error: std::io::Error| full(error).with("file", path.display());
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(&path).map_err(cannot)?;
    std::fs::remove_file(&path).map_err(cannot)?;
    Ok(file)
}

fn full(error: std::io::Error) -> Error {
    Error::user("a transaction that is not committed cannot be kept in a temporary file")
        .caused_by(error)
        .hint("make room in the directory for temporary files, or name another one in TMPDIR")
}

fn bad(what: &str) -> Error {
    Error::fatal(format!("the replication stream is not understood: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of a subtransaction, as far as the spool looks at it.
    fn message(xid: u32, text: &str) -> Vec<u8> {
        [b"I", &xid.to_be_bytes()[..], text.as_bytes()].concat()
    }

    fn replayed(mut replay: Replay) -> Vec<Vec<u8>> {
        let (mut all, mut message) = (Vec::new(), Vec::new());
        while replay.next(&mut message).expect("can be read") {
            all.push(message.clone());
        }
        all
    }

    #[test]
    fn transactions_that_run_at_the_same_time_are_kept_apart() {
        let mut spools = Spools::default();
        for (xid, first, text) in [(7, true, "a"), (8, true, "x"), (7, false, "b"), (8, false, "y")] {
            spools.start(xid, first).expect("begins");
            assert!(spools.is_streaming());
            spools.keep(&message(xid, text)).expect("is kept");
            spools.stop().expect("ends");
        }
        assert_eq!(replayed(spools.commit(8).expect("is open")), [message(8, "x"), message(8, "y")]);
        assert_eq!(replayed(spools.commit(7).expect("is open")), [message(7, "a"), message(7, "b")]);
        assert!(spools.commit(7).is_err());
    }

    #[test]
    fn what_a_subtransaction_did_that_is_rolled_back_does_not_count() {
        let mut spools = Spools::default();
        spools.start(7, true).expect("begins");
        for (xid, text) in [(7, "a"), (9, "gone"), (10, "b"), (9, "gone too")] {
            spools.keep(&message(xid, text)).expect("is kept");
        }
        let described = [b"R", &9u32.to_be_bytes()[..]].concat();
        spools.keep(&described).expect("is kept");
        spools.stop().expect("ends");
        spools.abort(7, 9).expect("is open");
        let left = [message(7, "a"), message(10, "b"), described];
        assert_eq!(replayed(spools.commit(7).expect("is open")), left, "but what it said of a table holds for others");
    }

    #[test]
    fn a_transaction_that_is_rolled_back_is_gone() {
        let mut spools = Spools::default();
        spools.start(7, true).expect("begins");
        spools.stop().expect("ends");
        spools.abort(7, 7).expect("is open");
        assert!(spools.commit(7).is_err());
        assert!(spools.start(7, false).is_err(), "what goes on must have begun");
    }

    #[test]
    fn a_stream_out_of_order_is_refused() {
        let mut spools = Spools::default();
        assert!(spools.stop().is_err() && spools.keep(b"I").is_err() && spools.abort(1, 2).is_err());
        spools.start(7, true).expect("begins");
        assert!(spools.start(8, true).is_err() && spools.commit(7).is_err());
    }
}
