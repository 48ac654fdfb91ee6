//! The lease on a task: renewed while it is held, given back at the end.

use std::sync::{Arc, Weak};
use std::time::Duration;

use dt_common::{Error, Result, TableId};
use tokio::sync::{Mutex, watch};

use super::dialect::Dialect;
use super::fence::{self, Fence, Found, Holder};
use super::link::{Failure, TextRow};
use super::session::{Session, taken_over};
use super::table;

/// How long a holder counts as alive after it was last heard of.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often a holder lets itself be heard.
pub const RENEWED_EVERY: Duration = Duration::from_secs(10);
/// The end of a task does not wait longer than this to give its lease back.
const RELEASED_WITHIN: Duration = Duration::from_secs(5);

/// What a store and its lease have in common.
pub(crate) struct Held {
    pub(crate) session: Session,
    pub(crate) dialect: Dialect,
    pub(crate) table: TableId,
    pub(crate) task_id: String,
    pub(crate) fence: Fence,
    /// Given back, or lost: there is nothing to renew any more.
    pub(crate) is_over: bool,
}

/// The right to write a task's positions, apart from the store that writes them: given back when all writing is over.
#[derive(Clone)]
pub struct Lease {
    held: Arc<Mutex<Held>>,
    lost: watch::Receiver<bool>,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").finish_non_exhaustive()
    }
}

impl Lease {
    pub(crate) fn new(held: Arc<Mutex<Held>>, lost: watch::Receiver<bool>) -> Lease {
        Lease { held, lost }
    }

    /// Comes back when another process has taken the task over, which is noticed at the next renewal: then whoever writes
    /// for this task should be stopped at once. Never, once the lease is given back.
    pub async fn lost(&self) -> Error {
        let mut lost = self.lost.clone();
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending::<()>().await;
        }
        self.held.lock().await.lost().await
    }

    /// Gives the task back, so that the next process need not wait. Whoever still has the store cannot write any more. A
    /// server that does not answer is left alone: the lease ends by itself.
    pub async fn release(&self) {
        let releasing = async {
            let mut held = self.held.lock().await;
            held.release().await
        };
        match tokio::time::timeout(RELEASED_WITHIN, releasing).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the lease on the task ends in {} s by itself: {error}", LEASE.as_secs()),
            Err(_) => tracing::warn!("the lease on the task ends in {} s by itself", LEASE.as_secs()),
        }
    }
}

/// Takes hold of the task.
pub(crate) async fn acquire(
    session: &mut Session,
    dialect: Dialect,
    id: &TableId,
    task_id: &str,
    me: &Holder,
    take_over: bool,
) -> Result<Fence> {
    let (name, task) = (dialect.table(id), dialect.string(task_id));
    let select = dialect.select_fence(&name, &task, true);
    let decide = |rows: Vec<TextRow>| {
        let found = found(&rows, &name)?;
        let mine = fence::next(found.as_ref(), me, LEASE, take_over)?;
        let statement = match &found {
            None => dialect.insert_fence(&name, &task, &mine.to_json()),
            Some(_) => dialect.update_fence(&name, &task, &mine.to_json()),
        };
        Ok((Some(statement), (mine, found)))
    };
    let (mine, found) = match session.read_and_write(&select, decide).await {
        Ok(acquired) => acquired,
        Err(failure) => return Err(table::denied(failure, session, dialect, id).await),
    };
    if let Some((holder, _)) = found.as_ref().and_then(|found| found.held(LEASE)) {
        tracing::warn!("the task is taken over from {holder}; epoch {}", mine.epoch);
    }
    Ok(mine)
}

/// What the fence's row says.
pub(crate) fn found(rows: &[TextRow], table: &str) -> Result<Option<Found>> {
    let Some(row) = rows.first() else { return Ok(None) };
    let cell = |at: usize| row.get(at).cloned().flatten().unwrap_or_default();
    let fence = Fence::from_json(&cell(0)).ok_or_else(|| {
        Error::user("the row that says who holds the task cannot be read")
            .with("table", table)
            .with("resumer_type", "Fence")
            .hint("make sure that no process runs this task, and delete that row of the task")
    })?;
    // A clock that was set back makes a row of the future: it was renewed just now.
    let age = Duration::from_secs(cell(1).parse::<i64>().unwrap_or(0).max(0).unsigned_abs());
    Ok(Some(Found { fence, age }))
}

/// What became of replacing the fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Replaced {
    Done,
    NotOurs,
}

impl Held {
    fn names(&self) -> (String, String) {
        (self.dialect.table(&self.table), self.dialect.string(&self.task_id))
    }

    /// Writes `next` in place of our fence, if it is still there.
    async fn replace(&mut self, next: &Fence) -> Result<Replaced> {
        let (name, task) = self.names();
        let (dialect, mine, text) = (self.dialect, self.fence.clone(), next.to_json());
        let select = dialect.select_fence(&name, &task, true);
        let decide = |rows: Vec<TextRow>| match found(&rows, &name)? {
            Some(found) if found.fence == mine => Ok((Some(dialect.update_fence(&name, &task, &text)), Replaced::Done)),
            Some(_) | None => Ok((None, Replaced::NotOurs)),
        };
        match self.session.read_and_write(&select, decide).await {
            Ok(replaced) => Ok(replaced),
            Err(failure) => Err(self.denied(failure).await),
        }
    }

    async fn renew(&mut self) -> Result<Replaced> {
        let fence = self.fence.clone();
        match self.replace(&fence).await {
            // The server has ended the session of a process that slept: what it missed is to be known now.
            Err(error) if error.class().is_transient() => self.replace(&fence).await,
            ended => ended,
        }
    }

    pub(crate) async fn release(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let next = Fence { released: true, ..self.fence.clone() };
        // One that is not ours is for its holder to give back.
        self.replace(&next).await.map(drop)
    }

    /// What a failure means, with the statement that grants what is missing.
    pub(crate) async fn denied(&mut self, failure: Failure) -> Error {
        table::denied(failure, &mut self.session, self.dialect, &self.table).await
    }

    /// The error of a writer whose epoch is gone.
    pub(crate) async fn lost(&mut self) -> Error {
        self.is_over = true;
        let (name, task) = self.names();
        let rows = self.session.rows(&self.dialect.select_fence(&name, &task, false)).await.unwrap_or_default();
        match found(&rows, &name) {
            Ok(found) => taken_over(found.map(|found| found.fence.holder).as_ref()),
            Err(error) => error,
        }
    }
}

/// Renews the lease for as long as somebody has it, and says so when another process has taken the task over. That the
/// server is away is no loss: the epoch may still be ours.
pub(crate) async fn renew(held: Weak<Mutex<Held>>, lost: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(RENEWED_EVERY).await;
        let Some(held) = held.upgrade() else { return };
        let mut held = held.lock().await;
        if held.is_over {
            return;
        }
        match held.renew().await {
            Ok(Replaced::Done) => {}
            Ok(Replaced::NotOurs) => {
                held.is_over = true;
                lost.send_replace(true);
                return;
            }
            Err(error) => tracing::warn!("the lease on the task was not renewed: {error}"),
        }
    }
}
