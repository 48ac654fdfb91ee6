//! The source, asked what a stream has to know of it.

use bson::{Bson, Document, RawDocumentBuf, doc};
use dt_common::{Error, Result};
use futures_util::StreamExt;
use mongodb::error::Error as DriverFailure;

use super::place::Time;
use super::resume::{Facts, Oplog};
use crate::alive::while_alive;
use crate::connect::{Kind, Server};
use crate::error::{classify, code};
use crate::snapshot::gathered;

/// MongoDB documentation, Error Codes: `Unauthorized`.
const UNAUTHORIZED: i32 = 13;

/// What a source says of itself.
pub async fn facts(server: &Server) -> Result<Facts> {
    let kind = server.kind().clone();
    let (now, oplog) = match &kind {
        Kind::Standalone => (Time::default(), None),
        Kind::Sharded => (now(server).await?, None),
        Kind::ReplicaSet(_) => (now(server).await?, oplog(server).await?),
    };
    Ok(Facts { identity: server.identity().to_owned(), kind, now, oplog })
}

/// The last operation that a majority of the members has (MongoDB documentation, `hello`: `lastWrite.majorityOpTime`), or of
/// a cluster the time of its last operation (`operationTime`).
async fn now(server: &Server) -> Result<Time> {
    let doing = || format!("asking {} for its last operation", server.address().place());
    let hello = server.client().database("admin").run_command(doc! {"hello": 1}).await;
    let hello = hello.map_err(|error| classify(doing(), &error))?;
    let majority = hello.get_document("lastWrite").and_then(|last| last.get_document("majorityOpTime"));
    let time = majority.ok().and_then(|time| time.get("ts")).or_else(|| hello.get("operationTime"));
    match time {
        Some(Bson::Timestamp(time)) => Ok(Time { seconds: time.time, increment: time.increment }),
        Some(_) | None => Err(Error::fatal(format!("{}: the server does not say", doing()))),
    }
}

/// The oplog's beginning; `None` if the account may not read it.
async fn oplog(server: &Server) -> Result<Option<Oplog>> {
    let entries = server.client().database("local").collection::<Document>("oplog.rs");
    let first = entries.find_one(doc! {}).sort(doc! {"$natural": 1}).projection(doc! {"ts": 1, "op": 1, "o.msg": 1});
    let first = match first.await {
        Ok(first) => first,
        Err(error) if code(&error) == Some(UNAUTHORIZED) => return Ok(None),
        Err(error) => {
            return Err(classify(format!("reading the oplog of {}", server.address().place()), &error));
        }
    };
    let Some(first) = first else { return Ok(None) };
    let Some(Bson::Timestamp(time)) = first.get("ts") else {
        return Err(Error::fatal("the first entry of the source's oplog is not understood"));
    };
    // MongoDB server, `src/mongo/db/repl/`: what a set writes when it is made.
    let is_whole = first.get_document("o").and_then(|o| o.get_str("msg")).is_ok_and(|msg| msg == "initiating set");
    Ok(Some(Oplog { first: Time { seconds: time.time, increment: time.increment }, is_whole }))
}

/// The entry of the oplog of exactly that time, as it is.
///
/// # Errors
/// It is not there any more.
pub async fn entry_at(server: &Server, time: Time) -> Result<RawDocumentBuf> {
    let doing = || format!("reading the oplog of {}", server.address().place());
    let entries = server.client().database("local").collection::<RawDocumentBuf>("oplog.rs");
    let asking = entries.find(doc! {"ts": time.bson()}).limit(1).batch();
    let failed = |error: DriverFailure| classify(doing(), &error);
    let mut cursor = while_alive(server, asking.into_future()).await?.map_err(failed)?;
    while let Some(answer) = while_alive(server, cursor.next()).await? {
        let answer = answer.map_err(failed)?;
        if let Some(entry) = gathered::documents(answer.as_raw_document().as_bytes())?.next() {
            return RawDocumentBuf::from_bytes(entry?.to_vec()).map_err(|error| failed(error.into()));
        }
    }
    Err(Error::user("the beginning of a transaction is no longer in the source's oplog")
        .with("at", format!("{}:{}", time.seconds, time.increment))
        .hint("copy the collections again with a snapshot, and follow the changes from there; a larger oplog (replSetResizeOplog) leaves more time"))
}
