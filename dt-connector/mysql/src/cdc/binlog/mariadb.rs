//! What only MariaDB writes: its GTIDs, and its way of compressing an event.

use std::io::Read;

use bytes::Bytes;

use super::error::{BadEvent, Problem};
use super::header::Header;
use super::input::Input;
use super::xid::Xid;

/// A transaction's name: `domain-server-sequence`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MariadbGtid {
    /// The stream of transactions that it belongs to.
    pub domain: u32,
    /// The server on which it happened.
    pub server: u32,
    /// Its number in the domain, ascending.
    pub sequence: u64,
}

/// What stands in front of each of MariaDB's transactions, and begins it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MariadbGtidEvent {
    /// The transaction's name.
    pub gtid: MariadbGtid,
    /// Whether it is one statement that ends by itself, without COMMIT or XID: DDL, or a table without transactions.
    pub standalone: bool,
    /// Whether it can be rolled back as a whole.
    pub transactional: bool,
    /// Whether it is DDL.
    pub ddl: bool,
    /// What it is to an XA transaction.
    pub xa: Option<MariadbXa>,
    /// What it is to an ALTER TABLE that is logged in two parts (`binlog_alter_two_phase`).
    pub alter: Option<TwoPartAlter>,
}

/// What a transaction in the binlog is to an XA transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MariadbXa {
    /// Its rows, up to XA PREPARE.
    Prepared(Xid),
    /// Its XA COMMIT or XA ROLLBACK.
    Completed(Xid),
}

/// A part of an ALTER TABLE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TwoPartAlter {
    /// It was begun; the table has its old form still.
    Start,
    /// The one that was begun with this sequence number came into force.
    Commit(u64),
    /// The one that was begun with this sequence number did not.
    Rollback(u64),
}

mod flag {
    pub(super) const STANDALONE: u8 = 1;
    pub(super) const GROUP_COMMIT_ID: u8 = 2;
    pub(super) const TRANSACTIONAL: u8 = 4;
    pub(super) const DDL: u8 = 32;
    pub(super) const PREPARED_XA: u8 = 64;
    pub(super) const COMPLETED_XA: u8 = 128;
    pub(super) const EXTRA_MULTI_ENGINE: u8 = 1;
    pub(super) const EXTRA_START_ALTER: u8 = 2;
    pub(super) const EXTRA_COMMIT_ALTER: u8 = 4;
    pub(super) const EXTRA_ROLLBACK_ALTER: u8 = 8;
}

impl MariadbGtidEvent {
    pub(super) fn parse(mut input: Input<'_>, header: &Header) -> Result<Self, BadEvent> {
        let sequence = input.u64()?;
        let domain = input.u32()?;
        let flags = input.u8()?;
        if flags & flag::GROUP_COMMIT_ID != 0 {
            input.u64()?;
        }
        let mut xa = None;
        if flags & (flag::PREPARED_XA | flag::COMPLETED_XA) != 0 {
            let format = input.u32()?;
            let (global, branch) = (u32::from(input.u8()?), u32::from(input.u8()?));
            let xid = Xid::parse(&mut input, format, global, branch)?;
            xa = Some(match flags & flag::PREPARED_XA != 0 {
                true => MariadbXa::Prepared(xid),
                false => MariadbXa::Completed(xid),
            });
        }
        // What is left is padding, or more flags (since 10.8) and what they stand for.
        let extra = if input.is_empty() { 0 } else { input.u8()? };
        if extra & flag::EXTRA_MULTI_ENGINE != 0 {
            input.u8()?;
        }
        let alter = if extra & flag::EXTRA_START_ALTER != 0 {
            Some(TwoPartAlter::Start)
        } else if extra & flag::EXTRA_COMMIT_ALTER != 0 {
            Some(TwoPartAlter::Commit(input.u64()?))
        } else if extra & flag::EXTRA_ROLLBACK_ALTER != 0 {
            Some(TwoPartAlter::Rollback(input.u64()?))
        } else {
            None
        };
        Ok(MariadbGtidEvent {
            gtid: MariadbGtid { domain, server: header.server_id, sequence },
            standalone: flags & flag::STANDALONE != 0,
            transactional: flags & flag::TRANSACTIONAL != 0,
            ddl: flags & flag::DDL != 0,
            xa,
            alter,
        })
    }
}

/// The last GTID of each domain and server before a file, the newest of a domain last.
pub(super) fn parse_gtid_list(mut input: Input<'_>) -> Result<Vec<MariadbGtid>, BadEvent> {
    // The upper four bits are flags for replicas.
    let count = input.u32()? & 0x0fff_ffff;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(MariadbGtid { domain: input.u32()?, server: input.u32()?, sequence: input.u64()? });
    }
    // Newer versions put padding behind an empty list.
    Ok(list)
}

/// The file up to which a crashed server need not recover.
pub(super) fn parse_binlog_checkpoint(mut input: Input<'_>) -> Result<String, BadEvent> {
    let length = input.u32()?;
    input.text(u64::from(length))
}

/// No event is larger than this: the largest packet of the protocol, in bytes.
pub(super) const EVENT_BYTES_MAX: u64 = 1 << 30;

/// What a compressed event holds: a byte that says so and how long the length is, the length, highest byte first,
/// and a zlib stream.
pub(super) fn inflate(mut input: Input<'_>) -> Result<Bytes, BadEvent> {
    let head = input.u8()?;
    if head & 0xe0 != 0x80 {
        return Err(input.bad(Problem::NotUnderstood("the compression algorithm")));
    }
    let length_bytes = usize::from(head & 7);
    if !(1..=4).contains(&length_bytes) {
        return Err(input.malformed("a length of other than one to four bytes"));
    }
    let length = input.take(length_bytes)?.iter().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
    if length > EVENT_BYTES_MAX {
        return Err(input.malformed("an event of more than a gibibyte"));
    }
    let at = input.clone();
    let broken = |why: String| at.bad(Problem::Compression(why));
    let mut plain = Vec::new();
    // One byte more than announced, so that what is too long is seen without being read to its end.
    let mut stream = flate2::read::ZlibDecoder::new(input.rest()).take(length + 1);
    stream.read_to_end(&mut plain).map_err(|error| broken(error.to_string()))?;
    if plain.len() as u64 != length {
        return Err(broken("another length than announced".to_owned()));
    }
    Ok(plain.into())
}
