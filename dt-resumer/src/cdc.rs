//! Where a task that follows changes goes on. Pure but for [`announce`].

use dt_common::position::wire;
use dt_common::{DbType, Error, Position, Result};

use crate::loaded::{Loaded, Slot, Stored};

/// The place at which the stream of a `db_type` source is resumed: the newest checkpoint, which for MongoDB is the
/// newest current position, for every event of its stream is one (invariant 4). `None` if none was stored.
/// Positions of tables are left alone: a snapshot may have gone before.
///
/// # Errors
/// If there are places of another kind of source only, for the files then belong to another task.
pub fn resume_point(loaded: &Loaded, db_type: DbType) -> Result<Option<&Stored>> {
    let slots = loaded.slots();
    let found = match db_type {
        DbType::Mysql | DbType::Pg | DbType::Redis => slots.get(&Slot::Checkpoint(db_type)),
        DbType::Mongo => slots.get(&Slot::Current(db_type)),
    };
    if found.is_some() {
        return Ok(found);
    }
    let others = slots.iter().find_map(|(slot, stored)| match slot {
        Slot::Current(other) | Slot::Checkpoint(other) if *other != db_type => Some((*other, stored)),
        Slot::Current(_)
        | Slot::Checkpoint(_)
        | Slot::InProgress(..)
        | Slot::Chunk(..)
        | Slot::Finished(..)
        | Slot::Lane(..)
        | Slot::Spread(..)
        | Slot::Nothing => None,
    });
    let Some((other, stored)) = others else { return Ok(None) };
    let error = Error::user(format!("the stored positions are of a {other} source, this one is {db_type}"));
    let error = match &stored.origin {
        Some(origin) => error.with("at", origin),
        None => error,
    };
    Err(error.hint(
        "give each task a [runtime] log_dir of its own, and where its positions are in a database a [global] task_id; or \
         set [resumer] resume_type=dummy to start over",
    ))
}

/// What the lanes of a stream have left, and how its tables were spread over them; what it goes on from is
/// [`resume_point`] all the same.
pub fn lanes(loaded: &Loaded, db_type: DbType) -> impl Iterator<Item = &Stored> {
    let is_of_lanes = move |slot: &Slot| match slot {
        Slot::Lane(of, _) | Slot::Spread(of, _) => *of == db_type,
        Slot::InProgress(..)
        | Slot::Chunk(..)
        | Slot::Finished(..)
        | Slot::Current(_)
        | Slot::Checkpoint(_)
        | Slot::Nothing => false,
    };
    loaded.slots().iter().filter(move |(slot, _)| is_of_lanes(slot)).map(|(_, stored)| stored)
}

/// `resume from: {json}`, as the documents have it.
pub fn resume_from(position: &Position) -> String {
    format!("resume from: {}", wire::to_json(position))
}

/// Writes that line to the log.
pub fn announce(position: &Position) {
    tracing::info!("{}", resume_from(position));
}
