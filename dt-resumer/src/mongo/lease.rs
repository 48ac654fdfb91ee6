//! The fence: put up, renewed, given back.
//!
//! Taking over: (1) the fence is replaced, by comparing it with what was read; from then on no session can make itself known
//! under an older epoch. (2) The sessions that are known are ended, and with them their open transactions. (3) Their guards
//! are deleted, which waits for every transaction that has passed one. After that no transaction of an older epoch can be
//! committed, and the positions are read.

use std::time::Duration;

use async_trait::async_trait;
use bson::{Bson, Document, doc};
use dt_common::{Error, ErrorClass, Result};

use super::collection::denied;
use super::command::Names;
use super::error::{DUPLICATE_KEY, is};
use super::session::Session;
use crate::held::fence::{self, Fence, Found, Holder};
use crate::held::lease::{self, LEASE, Replaced, taken_over};

/// How often the fence is read again that another process has replaced meanwhile.
const TRIES: u32 = 10;
/// How long transactions of the process before are waited for that could not be ended: somewhat more than the server lets one
/// live (MongoDB documentation, `transactionLifetimeLimitSeconds`: 60, looked at every 30).
const ENDED_WITHIN: Duration = Duration::from_secs(120);

/// What a store and its lease have in common.
pub(crate) struct Held {
    pub(crate) session: Session,
    pub(crate) names: Names,
    pub(crate) fence: Fence,
    pub(crate) is_over: bool,
}

/// The epoch as it is stored.
pub(crate) fn epoch_of(fence: &Fence) -> i64 {
    i64::try_from(fence.epoch).unwrap_or(i64::MAX)
}

/// Takes hold of the task.
pub(crate) async fn acquire(session: &mut Session, names: &Names, me: &Holder, take_over: bool) -> Result<Fence> {
    for _ in 0..TRIES {
        let document = fence_document(session, names).await?;
        let found = document.as_ref().map(|document| found(document, names)).transpose()?;
        let mine = fence::next(found.as_ref(), me, LEASE, take_over)?;
        if !put_up(session, names, document.as_ref(), &mine).await? {
            continue;
        }
        if let Some((holder, _)) = found.as_ref().and_then(|found| found.held(LEASE)) {
            tracing::warn!("the task is taken over from {holder}; epoch {}", mine.epoch);
        }
        end_others(session, names, epoch_of(&mine)).await?;
        return Ok(mine);
    }
    Err(Error::new(ErrorClass::Retry, "others take hold of the task all the time")
        .with("collection", names.collection()))
}

async fn fence_document(session: &Session, names: &Names) -> Result<Option<Document>> {
    Ok(session.documents(names.find_fence()).await.map_err(|error| denied(error, &names.table))?.pop())
}

/// What the task's fence says, if there is one.
pub(crate) async fn look(session: &Session, names: &Names) -> Result<Option<Found>> {
    fence_document(session, names).await?.map(|document| found(&document, names)).transpose()
}

fn found(document: &Document, names: &Names) -> Result<Found> {
    let fence = document.get_str("position_data").ok().and_then(Fence::from_json).ok_or_else(|| {
        Error::user("the document that says who holds the task cannot be read")
            .with("collection", names.collection())
            .with("_id", names.fence())
            .hint("make sure that no process runs this task, and delete that document")
    })?;
    // A clock that was set back makes a document of the future: it was renewed just now.
    let age = match document.get("age") {
        Some(Bson::Int64(age)) => Duration::from_millis((*age).max(0).unsigned_abs()),
        Some(_) | None => Duration::ZERO,
    };
    Ok(Found { fence, age })
}

/// Puts the fence in the place of the one that was read. Whether that was still there.
async fn put_up(session: &Session, names: &Names, read: Option<&Document>, mine: &Fence) -> Result<bool> {
    let mut fence = doc! {
        "task_id": &names.task_id,
        "resumer_type": "Fence",
        "position_key": "fence",
        "position_data": mine.to_json(),
        "epoch": epoch_of(mine),
        "sessions": 0_i64,
    };
    let command = match read {
        Some(read) => {
            let by = doc! {"_id": names.fence(), "position_data": read.get("position_data"), "updated_at": read.get("updated_at")};
            names.update_one(by, doc! {"$set": fence, "$currentDate": {"updated_at": true}})
        }
        None => {
            fence.insert("_id", names.fence());
            // Long ago: it is renewed at once, by the server's clock.
            fence.insert("updated_at", bson::DateTime::from_millis(0));
            names.insert(fence)
        }
    };
    match session.write_alone(command).await {
        Ok(count) if read.is_none() => Ok(count == 1 && heard(session, names, mine).await? == Replaced::Done),
        Ok(count) => Ok(count == 1),
        Err(error) if is(&error, DUPLICATE_KEY) => Ok(false),
        Err(error) => Err(denied(error, &names.table)),
    }
}

/// Ends whoever may still write under an epoch before this one.
async fn end_others(session: &Session, names: &Names, epoch: i64) -> Result<()> {
    let others = names.guards_before(epoch);
    let guards = session.documents(names.find(others.clone())).await?;
    let known = guards.iter().filter_map(|guard| bson::Uuid::parse_str(guard.get_str("position_key").ok()?).ok());
    session.kill(&known.collect::<Vec<_>>()).await;
    let began = tokio::time::Instant::now();
    loop {
        match session.write_alone(names.delete(others.clone())).await {
            Ok(_) => return Ok(()),
            Err(error) if error.class().is_transient() && began.elapsed() < ENDED_WITHIN => {
                tracing::debug!("transactions of the process before are waited for: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => return Err(denied(error, &names.table)),
        }
    }
}

/// Lets the holder be heard.
async fn heard(session: &Session, names: &Names, mine: &Fence) -> Result<Replaced> {
    replace(session, names, mine, mine).await
}

/// Writes `next` in place of our fence, if it is still there.
async fn replace(session: &Session, names: &Names, mine: &Fence, next: &Fence) -> Result<Replaced> {
    let by = doc! {"_id": names.fence(), "position_data": mine.to_json()};
    let change = doc! {"$set": {"position_data": next.to_json()}, "$currentDate": {"updated_at": true}};
    match session.write_alone(names.update_one(by, change)).await {
        Ok(1) => Ok(Replaced::Done),
        Ok(_) => Ok(Replaced::NotOurs),
        Err(error) => Err(denied(error, &names.table)),
    }
}

#[async_trait]
impl lease::Held for Held {
    async fn renew(&mut self) -> Result<Replaced> {
        match heard(&self.session, &self.names, &self.fence).await {
            // The server has closed the connection of a process that slept: what it missed is to be known now.
            Err(error) if error.class().is_transient() => heard(&self.session, &self.names, &self.fence).await,
            ended => ended,
        }
    }

    async fn release(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        let next = Fence { released: true, ..self.fence.clone() };
        // One that is not ours is for its holder to give back.
        if replace(&self.session, &self.names, &self.fence, &next).await? == Replaced::Done {
            let ours = self.names.guards_before(epoch_of(&self.fence).saturating_add(1));
            self.session.write_alone(self.names.delete(ours)).await?;
        }
        Ok(())
    }

    async fn lost(&mut self) -> Error {
        self.is_over = true;
        match look(&self.session, &self.names).await {
            Ok(found) => taken_over(found.map(|found| found.fence.holder).as_ref()),
            Err(_) => taken_over(None),
        }
    }

    fn is_over(&mut self) -> &mut bool {
        &mut self.is_over
    }
}
