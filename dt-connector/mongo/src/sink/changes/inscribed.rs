//! A batch of changes and its position, in one transaction.
//!
//! All collections are written in it, each in the way that is likely to do; where a document is refused, the transaction has
//! ended, and a new one writes that collection in the next way. What the target is ahead of is left out as without a position
//! (see [`ahead`](super::ahead)).

use std::sync::atomic::Ordering;

use dt_common::position::PositionWrite;
use dt_common::{Error, Result, TableId};
use dt_connector::Batch;

use super::super::inscription::Inscriptions;
use super::super::place::{self, Place};
use super::super::write::Shared;
use super::apply::{Writer, id_of, prepare};
use super::exact::{How, Together, Way};
use super::fold::{Folded, Last};

/// Batches that replace whatever may be there, after one has met documents which it held for new.
const WARY: u32 = 16;

/// Applies a batch of changes that is too large for a transaction: before its position, which follows in one of its own. It may
/// be applied again, which changes nothing in the end.
pub(in crate::sink) async fn apply_before(
    shared: &Shared,
    batch: &Batch,
    position: &PositionWrite,
    inscriptions: &mut Inscriptions,
) -> Result<()> {
    super::apply(shared, batch).await?;
    let transaction = inscriptions.begin(shared, position).await?;
    inscriptions.commit(transaction, batch).await
}

/// Applies a batch of changes together with its position.
pub(in crate::sink) async fn apply(
    shared: &Shared,
    batch: &Batch,
    position: &PositionWrite,
    inscriptions: &mut Inscriptions,
) -> Result<()> {
    let (folded, may_repeat) = prepare(shared, batch)?;
    let writer = Writer { shared, lane: batch.lane(), may_repeat };
    let is_wary = shared.wary.load(Ordering::Relaxed) > 0;
    let first = if is_wary { Way::InPlace } else { Way::Insert };
    let mut ways: Vec<(&Folded<'_>, Option<Way>)> = Vec::new();
    let mut beside = Vec::new();
    for collection in &folded {
        match place_of(shared, collection).await? {
            Place::Capped => beside.push(collection),
            Place::There | Place::Missing => ways.push((collection, Some(first))),
        }
    }
    // No transaction takes these: they come first, and are applied again if the position is not reached.
    writer.plainly(beside).await?;
    loop {
        let mut transaction = inscriptions.begin(shared, position).await?;
        let mut taken = None;
        for (at, (collection, way)) in ways.iter().enumerate() {
            let Some(way) = way else { continue };
            let session = Some(transaction.session());
            let mut together = Together { writer, target: collection.target, way: *way, session };
            if let Some(how) = together.collection(collection).await? {
                taken = Some((at, how));
                break;
            }
        }
        let Some((at, how)) = taken else {
            inscriptions.commit(transaction, batch).await?;
            let _ = shared.wary.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            return shared.ahead().take_error(batch.lane()).map_or(Ok(()), Err);
        };
        inscriptions.abort(transaction).await?;
        let (collection, way) = &mut ways[at];
        *way = next_way(writer, collection.target, *way, how)?;
    }
}

/// What is tried when a way has met a document that it cannot write.
fn next_way(writer: Writer<'_>, target: &TableId, way: Option<Way>, how: How) -> Result<Option<Way>> {
    let Writer { shared, lane, may_repeat } = writer;
    match (way, how) {
        (Some(Way::Insert), _) => {
            shared.wary.store(WARY, Ordering::Relaxed);
            Ok(Some(Way::InPlace))
        }
        (Some(Way::InPlace), _) => Ok(Some(Way::Anew)),
        (Some(Way::Anew), How::Taken(document, error)) if may_repeat => {
            tracing::warn!(
                "{target}: changes are left out, for the target has them already and is ahead of them; later changes must come"
            );
            shared.ahead().leave_out(lane, target, id_of(&document)?, error);
            Ok(None)
        }
        (Some(Way::Anew), How::Taken(_, error)) => Err(error),
        (Some(Way::Anew) | None, _) => Err(Error::fatal("a transaction was refused that nothing was refused of")),
    }
}

/// The collection as it is; made, if documents come into it.
async fn place_of(shared: &Shared, collection: &Folded<'_>) -> Result<Place> {
    let is_written = collection.kept().any(|net| matches!(net.last, Last::Whole { .. }));
    match is_written {
        true => place::made(shared, collection.target).await,
        false => place::of(shared, collection.target).await,
    }
}
