//! What a logical replication stream says: the messages of the plugin `pgoutput`, protocol versions 1 and 2. Pure.
//!
//! The layouts are those of the PostgreSQL documentation, 55.9 "Logical Replication Message Formats" (the chapter's
//! number moves with the version). Parsing borrows from the message and allocates for relations only. It is strict: a
//! message of an unknown kind, one that is too short or one that has bytes left is an error, for what is not
//! understood must not be skipped (invariant 8).

mod input;
mod relation;
mod tuple;

#[cfg(test)]
mod damage;
#[cfg(test)]
mod golden;

pub use relation::{Identity, Relation, RelationColumn};
pub use tuple::{Field, Fields, Tuple};

use super::lsn::{Lsn, Moment};
use input::Input;

/// Why a message is not understood. It says nothing of a row's values (invariant 11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMessage {
    /// No byte at all.
    #[error("an empty message")]
    Empty,
    /// The kind is not one of the protocol that was asked for.
    #[error("a message of the unknown kind {}", shown(*.0))]
    Unknown(u8),
    /// The message ends before its last field.
    #[error("a message of kind {} that ends too early", shown(*kind))]
    Short {
        /// The message's kind.
        kind: u8,
    },
    /// There is something behind the message's last field.
    #[error("a message of kind {} with {bytes} bytes too many", shown(*kind))]
    Long {
        /// The message's kind.
        kind: u8,
        /// How many bytes are left.
        bytes: usize,
    },
    /// A field holds what it cannot.
    #[error("a message of kind {} with {what}", shown(*kind))]
    Wrong {
        /// The message's kind.
        kind: u8,
        /// What it holds.
        what: &'static str,
    },
}

fn shown(kind: u8) -> String {
    format!("'{}' ({kind:#04x})", kind.escape_ascii())
}

/// A message. Those that belong to a streamed transaction say by `xid` to which of its subtransactions; in a
/// transaction that is sent after its commit there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A committed transaction begins.
    Begin {
        /// Where its commit is in the log.
        final_lsn: Lsn,
        /// When it was committed.
        committed: Moment,
        /// Its id.
        xid: u32,
    },
    /// It ends.
    Commit {
        /// Where its commit is in the log.
        lsn: Lsn,
        /// The end of that commit: everything up to here has been sent.
        end_lsn: Lsn,
        /// When it was committed.
        committed: Moment,
    },
    /// The transaction came to the source from another server.
    Origin,
    /// What a table is like from here on.
    Relation(Relation),
    /// What a type is called.
    Type {
        /// Its OID.
        oid: u32,
        /// Its schema; empty for `pg_catalog`.
        schema: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A new row.
    Insert {
        /// The table's OID.
        relation: u32,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row's new values.
    Update {
        /// The table's OID.
        relation: u32,
        /// What the row was, if that had to be said.
        old: Option<Old<'a>>,
        /// The row.
        new: Tuple<'a>,
    },
    /// A row that is no more.
    Delete {
        /// The table's OID.
        relation: u32,
        /// What it was.
        old: Old<'a>,
    },
    /// Tables that were emptied by one statement.
    Truncate {
        /// `RESTART IDENTITY`. That it was `CASCADE` does not matter: all tables that it took are listed.
        restart_identity: bool,
        /// The tables' OIDs.
        relations: Vec<u32>,
    },
    /// `pg_logical_emit_message`.
    Logical {
        /// Whether it belongs to a transaction.
        transactional: bool,
        /// Whose it is.
        prefix: &'a str,
    },
    /// Messages of a transaction that is not committed follow.
    StreamStart {
        /// The transaction.
        xid: u32,
        /// Whether they are the transaction's first.
        first: bool,
    },
    /// No more of them for now.
    StreamStop,
    /// A streamed transaction is committed.
    StreamCommit {
        /// The transaction.
        xid: u32,
        /// Where its commit is in the log.
        lsn: Lsn,
        /// The end of that commit.
        end_lsn: Lsn,
        /// When it was committed.
        committed: Moment,
    },
    /// A streamed transaction, or a part of it, is rolled back.
    StreamAbort {
        /// The transaction.
        xid: u32,
        /// The subtransaction; `xid` itself if it is the whole transaction.
        subxid: u32,
    },
}

/// What a row was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Old<'a> {
    /// Only the columns of the replica identity are given; the others look like nulls.
    pub key_only: bool,
    /// The values.
    pub tuple: Tuple<'a>,
}

/// Whether the message belongs to a transaction that is streamed: it is between StreamStart and StreamStop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Within {
    /// It does not: protocol version 1, or a transaction that is sent after its commit.
    Committed,
    /// It does: the message has the subtransaction's id.
    Streamed,
}

/// Reads one message.
///
/// # Errors
/// It is not exactly one message of the protocol.
pub fn parse(message: &[u8], within: Within) -> Result<Message<'_>, BadMessage> {
    let (&kind, rest) = message.split_first().ok_or(BadMessage::Empty)?;
    let mut input = Input::new(kind, rest);
    if within == Within::Streamed && is_of_a_row(kind) {
        input.number()?;
    }
    let message = body(kind, &mut input)?;
    input.end()?;
    Ok(message)
}

/// The subtransaction of a message between StreamStart and StreamStop; `None` for those that do not name one.
///
/// # Errors
/// The message is too short to name it.
pub fn subtransaction(message: &[u8]) -> Result<Option<u32>, BadMessage> {
    let (&kind, rest) = message.split_first().ok_or(BadMessage::Empty)?;
    if !is_of_a_row(kind) {
        return Ok(None);
    }
    Input::new(kind, rest).number().map(Some)
}

/// The messages that name their subtransaction when they are streamed.
fn is_of_a_row(kind: u8) -> bool {
    matches!(kind, b'R' | b'Y' | b'I' | b'U' | b'D' | b'T' | b'M')
}

fn body<'a>(kind: u8, input: &mut Input<'a>) -> Result<Message<'a>, BadMessage> {
    Ok(match kind {
        b'B' => Message::Begin { final_lsn: input.lsn()?, committed: input.moment()?, xid: input.number()? },
        b'C' => {
            no_flags(input)?;
            Message::Commit { lsn: input.lsn()?, end_lsn: input.lsn()?, committed: input.moment()? }
        }
        b'O' => {
            input.lsn()?;
            input.string()?;
            Message::Origin
        }
        b'R' => Message::Relation(Relation::parse(input)?),
        b'Y' => Message::Type { oid: input.number()?, schema: input.string()?, name: input.string()? },
        b'I' => {
            let relation = input.number()?;
            match input.byte()? {
                b'N' => Message::Insert { relation, new: Tuple::parse(input)? },
                _ => return Err(input.bad("no new row")),
            }
        }
        b'U' => {
            let relation = input.number()?;
            let (old, marker) = match input.byte()? {
                marker @ (b'K' | b'O') => (Some(old(marker, input)?), input.byte()?),
                marker => (None, marker),
            };
            match marker {
                b'N' => Message::Update { relation, old, new: Tuple::parse(input)? },
                _ => return Err(input.bad("no new row")),
            }
        }
        b'D' => {
            let relation = input.number()?;
            match input.byte()? {
                marker @ (b'K' | b'O') => Message::Delete { relation, old: old(marker, input)? },
                _ => return Err(input.bad("no old row")),
            }
        }
        b'T' => truncate(input)?,
        b'M' => {
            let transactional = match input.byte()? {
                0 => false,
                1 => true,
                _ => return Err(input.bad("unknown flags")),
            };
            input.lsn()?;
            let prefix = input.string()?;
            input.sized()?;
            Message::Logical { transactional, prefix }
        }
        b'S' => {
            let xid = input.number()?;
            match input.byte()? {
                first @ (0 | 1) => Message::StreamStart { xid, first: first == 1 },
                _ => return Err(input.bad("unknown flags")),
            }
        }
        b'E' => Message::StreamStop,
        b'c' => {
            let xid = input.number()?;
            no_flags(input)?;
            Message::StreamCommit { xid, lsn: input.lsn()?, end_lsn: input.lsn()?, committed: input.moment()? }
        }
        b'A' => Message::StreamAbort { xid: input.number()?, subxid: input.number()? },
        unknown => return Err(BadMessage::Unknown(unknown)),
    })
}

fn old<'a>(marker: u8, input: &mut Input<'a>) -> Result<Old<'a>, BadMessage> {
    Ok(Old { key_only: marker == b'K', tuple: Tuple::parse(input)? })
}

fn no_flags(input: &mut Input<'_>) -> Result<(), BadMessage> {
    match input.byte()? {
        0 => Ok(()),
        _ => Err(input.bad("unknown flags")),
    }
}

fn truncate<'a>(input: &mut Input<'a>) -> Result<Message<'a>, BadMessage> {
    let count = usize::try_from(input.signed()?).map_err(|_| input.bad("a negative number of tables"))?;
    // 1 for CASCADE, 2 for RESTART IDENTITY.
    let flags = input.byte()?;
    if flags & !3 != 0 {
        return Err(input.bad("unknown flags"));
    }
    // What is announced is not believed before it is there.
    let mut relations = Vec::with_capacity(count.min(input.rest().len() / 4));
    for _ in 0..count {
        relations.push(input.number()?);
    }
    Ok(Message::Truncate { restart_identity: flags & 2 != 0, relations })
}
