//! Rows by `LOAD DATA LOCAL INFILE`, from memory, within the open transaction.
//!
//! The server turns what is wrong with a row into a warning, and goes on. So its counts are looked at, and where they
//! leave a doubt the caller rolls back and writes the rows as statements: in strict mode the server either takes these or
//! says what is wrong.

use std::io;

use bytes::Bytes;
use dt_common::{Result, TableId};
use futures_util::StreamExt;
use futures_util::stream;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

use super::statement::{Duplicates, WritePlan};
use crate::error::{classify, code};

/// Pieces of a LOAD DATA stream: well below every server's packet limit.
const PIECE_BYTES: usize = 256 * 1024;

/// How rows went into the open transaction.
#[derive(Debug, PartialEq, Eq)]
pub enum Loaded {
    /// All of them, by the conflict rule; so many replaced others.
    Whole {
        /// How many rows of the target went.
        replaced: u64,
    },
    /// The server had something to say that LOAD DATA turns into warnings. The transaction is to be rolled back.
    Doubtful,
    /// The server was told since to take no such loads. Nothing was written.
    Refused,
}

/// Loads `rows` rows, whose text (lines with their newlines) is in `chunks`.
///
/// # Errors
/// Those of the server, and of the connection.
pub async fn load(
    conn: &mut Conn,
    plan: &WritePlan,
    target: &TableId,
    duplicates: Duplicates,
    chunks: Vec<Bytes>,
    rows: u64,
) -> Result<Loaded> {
    let pieces: Vec<io::Result<Bytes>> = chunks
        .into_iter()
        .flat_map(|chunk| {
            (0..chunk.len().div_ceil(PIECE_BYTES))
                .map(move |piece| Ok(chunk.slice(piece * PIECE_BYTES..((piece + 1) * PIECE_BYTES).min(chunk.len()))))
        })
        .collect();
    conn.set_infile_handler(async move { Ok(stream::iter(pieces).boxed()) });
    match conn.query_drop(plan.load_data()).await {
        Ok(()) => {}
        // 1148 not allowed, 3948 disabled, 4166 likewise (MariaDB).
        Err(error) if matches!(code(&error), Some(1148 | 3948 | 4166)) => return Ok(Loaded::Refused),
        Err(error) => return Err(classify(format!("loading into {target}"), error)),
    }
    Ok(match Counts::of(&conn.info()) {
        Some(counts) if counts.records == rows => {
            let clean = match duplicates {
                Duplicates::Replace | Duplicates::Update | Duplicates::Refuse => {
                    counts.skipped == 0 && counts.warnings == 0
                }
                // Each row that was left out is a warning; any further one is something else.
                Duplicates::Leave => counts.warnings == counts.skipped,
            };
            if clean { Loaded::Whole { replaced: counts.deleted } } else { Loaded::Doubtful }
        }
        Some(_) | None => Loaded::Doubtful,
    })
}

/// What the server says after a LOAD DATA: `Records: 3  Deleted: 0  Skipped: 0  Warnings: 0`.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    records: u64,
    deleted: u64,
    skipped: u64,
    warnings: u64,
}

impl Counts {
    fn of(info: &str) -> Option<Self> {
        let mut numbers = ["Records:", "Deleted:", "Skipped:", "Warnings:"].iter().map(|label| {
            let rest = info.split_once(label)?.1.trim_start();
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        });
        Some(Counts {
            records: numbers.next()??,
            deleted: numbers.next()??,
            skipped: numbers.next()??,
            warnings: numbers.next()??,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_counts_are_read() {
        assert_eq!(
            Counts::of("Records: 16000  Deleted: 1  Skipped: 2  Warnings: 3"),
            Some(Counts { records: 16000, deleted: 1, skipped: 2, warnings: 3 })
        );
        assert_eq!(Counts::of(""), None);
    }
}
