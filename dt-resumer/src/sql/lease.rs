//! The fence's row: put up, renewed, given back.

use std::time::Duration;

use async_trait::async_trait;
use dt_common::{Error, Result, TableId};

use super::dialect::Dialect;
use super::link::{Failure, TextRow};
use super::session::Session;
use super::table;
use crate::held::fence::{self, Fence, Found, Holder};
use crate::held::lease::{self, LEASE, Replaced, taken_over};

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

    /// What a failure means, with the statement that grants what is missing.
    pub(crate) async fn denied(&mut self, failure: Failure) -> Error {
        table::denied(failure, &mut self.session, self.dialect, &self.table).await
    }
}

#[async_trait]
impl lease::Held for Held {
    async fn renew(&mut self) -> Result<Replaced> {
        let fence = self.fence.clone();
        match self.replace(&fence).await {
            // The server has ended the session of a process that slept: what it missed is to be known now.
            Err(error) if error.class().is_transient() => self.replace(&fence).await,
            ended => ended,
        }
    }

    async fn release(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let next = Fence { released: true, ..self.fence.clone() };
        // One that is not ours is for its holder to give back.
        self.replace(&next).await.map(drop)
    }

    async fn lost(&mut self) -> Error {
        self.is_over = true;
        let (name, task) = self.names();
        let rows = self.session.rows(&self.dialect.select_fence(&name, &task, false)).await.unwrap_or_default();
        match found(&rows, &name) {
            Ok(found) => taken_over(found.map(|found| found.fence.holder).as_ref()),
            Err(error) => error,
        }
    }

    fn is_over(&mut self) -> &mut bool {
        &mut self.is_over
    }
}
