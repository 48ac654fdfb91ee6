//! Instants at which a run can be made to die, for tests of what a kill leaves behind.
//!
//! The list is [`Failpoint`]. A run dies by `abort`, which does what SIGKILL does: nothing is flushed, closed, answered or
//! given back. One point is armed for a process, with [`arm`]; dt-main does it from the variable `DT_FAILPOINT`.
//!
//! Failpoints are there in debug builds, and with the feature `failpoints` in others ([`AVAILABLE`]). Everywhere else the
//! functions are empty.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use crate::{Error, Result};

/// Whether this build has failpoints.
pub const AVAILABLE: bool = cfg!(any(debug_assertions, feature = "failpoints"));

macro_rules! failpoints {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal,)+) => {
        /// An instant that matters to what a kill leaves behind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Failpoint {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Failpoint {
            /// All of them, in the order of a run.
            pub const ALL: &[Failpoint] = &[$(Failpoint::$variant,)+];

            /// Its name in `DT_FAILPOINT` and in reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Failpoint::$variant => $name,)+
                }
            }
        }
    };
}

failpoints! {
    /// The lease in the position table is taken; nothing is loaded.
    LeaseTaken = "lease-taken",
    /// The source's tables are known; nothing is decided.
    CatalogRead = "catalog-read",
    /// The snapshot is planned and its tables are cut into chunks; nothing of it is recorded.
    Planned = "planned",
    /// The place where a stream begins is known; nothing of it is recorded.
    Anchored = "anchored",
    /// A batch is with the sinker; nothing was said to the target.
    TargetBegin = "target-begin",
    /// The target's transaction is open.
    TargetBegun = "target-begun",
    /// The rows are written; the position is not (where it is written with the rows).
    TargetRows = "target-rows",
    /// The position is written in the rows' transaction.
    TargetPosition = "target-position",
    /// COMMIT is sent and not answered.
    TargetCommit = "target-commit",
    /// COMMIT is answered; the ledger has not heard of it.
    TargetCommitted = "target-committed",
    /// Positions are with the store; it has done nothing yet.
    RecordBegin = "record-begin",
    /// The store's transaction has written the positions and is not committed.
    StoreRows = "store-rows",
    /// The store's COMMIT is sent and not answered.
    StoreCommit = "store-commit",
    /// Lines are to be appended to position.log or finished.log.
    LogAppend = "log-append",
    /// Half of the bytes are appended: a line is torn.
    LogHalf = "log-half",
    /// The lines are appended, and not synced.
    LogAppended = "log-appended",
    /// The lines are synced.
    LogSynced = "log-synced",
    /// A file has grown and is to be replaced by a shorter one.
    LogRotate = "log-rotate",
    /// The shorter file is durable under another name.
    LogRotateWritten = "log-rotate-written",
    /// The shorter file has the name; the directory is not synced.
    LogRotated = "log-rotated",
    /// Positions are recorded; nobody has heard of it.
    Recorded = "recorded",
    /// The end of a table or chunk is with the store.
    FinishBegin = "finish-begin",
    /// The end of a table or chunk is recorded; nobody has heard of it.
    Finished = "finished",
    /// The source is to be told what is recorded.
    AcknowledgeBegin = "acknowledge-begin",
    /// The source was told.
    Acknowledged = "acknowledged",
    /// A heartbeat is written into the source.
    Heartbeat = "heartbeat",
    /// The run is to end: reading is told to stop; what was read is neither applied nor recorded.
    StopAsked = "stop-asked",
    /// All that was read is applied, recorded and acknowledged; nothing is closed.
    RunEnded = "run-ended",
    /// The lease is given back; the process has not ended.
    LeaseReleased = "lease-released",
}

/// Arms one point: the process dies when it comes there for the `nth` time, counted from 1.
///
/// `text` is `NAME` or `NAME:NTH`.
///
/// # Errors
/// There is no such point; or this build has none.
pub fn arm(text: &str) -> Result<()> {
    let (point, nth) = parse(text)?;
    if !AVAILABLE {
        return Err(Error::config("this build has no failpoints")
            .with("DT_FAILPOINT", text)
            .hint("unset DT_FAILPOINT, or build dt-main with the feature failpoints"));
    }
    armed::set(point, nth);
    Ok(())
}

fn parse(text: &str) -> Result<(Failpoint, u32)> {
    let (name, nth) = text.split_once(':').unwrap_or((text, "1"));
    let point = Failpoint::ALL.iter().copied().find(|point| point.name() == name);
    match (point, nth.parse()) {
        (Some(point), Ok(nth)) if nth > 0 => Ok((point, nth)),
        (Some(_) | None, _) => {
            let names: Vec<&str> = Failpoint::ALL.iter().map(|point| point.name()).collect();
            Err(Error::config("there is no such failpoint")
                .with("DT_FAILPOINT", text)
                .hint(format!("NAME or NAME:NTH, with NAME one of {}", names.join(", "))))
        }
    }
}

/// The run is at this point. If it is the armed one, and the time has come, the process ends here.
#[inline]
pub fn reach(point: Failpoint) {
    if is_armed(point) && armed::is_time() {
        armed::die();
    }
}

/// Whether the process is to die at this point: what usually travels in one flight is then sent in parts, so that there is
/// an instant between them.
#[inline]
pub fn is_armed(point: Failpoint) -> bool {
    AVAILABLE && armed::is(point)
}

/// Awaits `future`. If this point is the armed one, and the time has come, the process dies when `future` has sent what it
/// has to send and waits for an answer.
pub async fn in_flight<F: Future>(point: Failpoint, future: F) -> F::Output {
    if !(is_armed(point) && armed::is_time()) {
        return future.await;
    }
    let mut future = pin!(future);
    let mut turns = 0;
    std::future::poll_fn(|context| {
        if future.as_mut().poll(context).is_ready() || turns == TURNS {
            armed::die();
        }
        // What was handed to another task is put on the wire by it.
        turns += 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Turns that other tasks are given before the process dies.
const TURNS: u32 = 64;

mod armed {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::Failpoint;

    /// The armed point's place in the list, plus 1.
    static POINT: AtomicU32 = AtomicU32::new(0);
    /// How many more times it is reached until the process dies.
    static LEFT: AtomicU32 = AtomicU32::new(0);

    fn number(point: Failpoint) -> u32 {
        point as u32 + 1
    }

    pub(super) fn set(point: Failpoint, nth: u32) {
        LEFT.store(nth, Ordering::SeqCst);
        POINT.store(number(point), Ordering::SeqCst);
    }

    #[inline]
    pub(super) fn is(point: Failpoint) -> bool {
        POINT.load(Ordering::Relaxed) == number(point)
    }

    /// Counts that the point is reached.
    pub(super) fn is_time() -> bool {
        LEFT.fetch_sub(1, Ordering::SeqCst) == 1
    }

    pub(super) fn die() -> ! {
        std::process::abort()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_the_time_that_counts() {
        assert_eq!(parse("target-commit").expect("a point"), (Failpoint::TargetCommit, 1));
        assert_eq!(parse("log-half:3").expect("a point"), (Failpoint::LogHalf, 3));
    }

    #[test]
    fn what_is_no_point_is_refused_with_the_list() {
        for text in ["", "target", "target-commit:0", "target-commit:x", "target-commit:1:1"] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains("target-committed"), "{error}");
        }
    }

    #[test]
    fn names_are_different() {
        let names: std::collections::BTreeSet<&str> = Failpoint::ALL.iter().map(|point| point.name()).collect();
        assert_eq!(names.len(), Failpoint::ALL.len());
    }

    #[test]
    fn a_point_that_is_not_armed_changes_nothing() {
        reach(Failpoint::Recorded);
        let mut future = pin!(in_flight(Failpoint::Recorded, std::future::ready(7)));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert_eq!(future.as_mut().poll(&mut context), Poll::Ready(7));
    }
}
