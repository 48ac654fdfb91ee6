//! MySQL's name of the transaction that follows, and of all that came before a file.

use super::error::{BadEvent, Problem};
use super::input::Input;

/// What stands in front of each of MySQL's transactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GtidEvent {
    /// The transaction's name; `None` for an anonymous one (`gtid_mode=OFF`).
    pub gtid: Option<MysqlGtid>,
    /// Whether parts of the transaction may be logged as statements.
    pub may_have_statements: bool,
    /// The number, in its file, of the last transaction that this one had to wait for; 0 before MySQL 5.7.
    pub last_committed: u64,
    /// The transaction's own number in its file; 0 before MySQL 5.7.
    pub sequence_number: u64,
    /// When it was committed on the server that is read, in microseconds since 1970 UTC; 0 before MySQL 8.0.
    pub committed_micros: u64,
    /// When it was committed on the server where it happened, likewise.
    pub originally_committed_micros: u64,
    /// How many bytes the transaction has in its file, this event included; 0 before MySQL 8.0.
    pub transaction_bytes: u64,
}

/// A transaction's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MysqlGtid {
    /// The server's UUID.
    pub uuid: [u8; 16],
    /// The tag, in lower case; `None` without one.
    pub tag: Option<String>,
    /// The transaction's number, from 1.
    pub number: u64,
}

/// The longest tag, in characters.
const TAG_CHARS_MAX: u64 = 32;

impl GtidEvent {
    /// The fixed form: GTID (33) and ANONYMOUS_GTID (34), which grew at its end from version to version.
    pub(super) fn parse(mut input: Input<'_>, anonymous: bool) -> Result<Self, BadEvent> {
        let flags = input.u8()?;
        let uuid = input.array()?;
        let number = input.u64()?;
        let gtid = (!anonymous).then_some(MysqlGtid { uuid, tag: None, number });
        let mut event = GtidEvent::of(gtid, flags, &input)?;
        if input.is_empty() {
            return Ok(event);
        }
        // 2 says that the two numbers after it are of the kind used since 5.7.5.
        if input.u8()? != 2 {
            return Ok(event);
        }
        event.last_committed = input.u64()?;
        event.sequence_number = input.u64()?;
        if input.is_empty() {
            return Ok(event);
        }
        const FOLLOWED: u64 = 1 << 55;
        let micros = input.uint::<7>()?;
        event.committed_micros = micros & !FOLLOWED;
        event.originally_committed_micros =
            if micros & FOLLOWED != 0 { input.uint::<7>()? } else { event.committed_micros };
        if !input.is_empty() {
            event.transaction_bytes = input.lenenc()?;
        }
        // The versions of the two servers and the ticket of a commit group say nothing about the data.
        Ok(event)
    }

    /// The form that carries tags: GTID_TAGGED (42), in MySQL's serialization library's format.
    pub(super) fn parse_tagged(mut input: Input<'_>) -> Result<Self, BadEvent> {
        let message = input.clone();
        if input.varlen()? != 1 {
            return Err(input.bad(Problem::NotUnderstood("the version of the GTID's format")));
        }
        let size = input.varlen()?;
        let last_needed = input.varlen()?;
        let head = (message.left() - input.left()) as u64;
        let size = size.checked_sub(head).ok_or_else(|| input.malformed("a size smaller than its own field"))?;
        let mut fields = input.part(size)?;
        let (mut flags, mut uuid, mut tag, mut number) = (0, None, None, None);
        let (mut last_committed, mut sequence_number) = (0, 0);
        let (mut micros, mut original_micros, mut transaction_bytes) = (0, None, 0);
        while !fields.is_empty() {
            match fields.varlen()? {
                0 => flags = byte(&mut fields)?,
                1 => {
                    let mut bytes = [0; 16];
                    for place in &mut bytes {
                        *place = byte(&mut fields)?;
                    }
                    uuid = Some(bytes);
                }
                2 => number = Some(fields.varlen_natural()?),
                3 => tag = tag_of(&mut fields)?,
                4 => last_committed = fields.varlen_natural()?,
                5 => sequence_number = fields.varlen_natural()?,
                6 => micros = fields.varlen()?,
                7 => original_micros = Some(fields.varlen()?),
                8 => transaction_bytes = fields.varlen()?,
                // The versions of the two servers, and the ticket of a commit group.
                9..=11 => drop(fields.varlen()?),
                needed if needed <= last_needed => {
                    return Err(fields.bad(Problem::NotUnderstood("a field of the GTID")));
                }
                // The length of a field that nobody here knows is not known either; those after it are newer still.
                _ => break,
            }
        }
        let (Some(uuid), Some(number)) = (uuid, number) else {
            return Err(fields.malformed("a GTID without UUID or number"));
        };
        let mut event = GtidEvent::of(Some(MysqlGtid { uuid, tag, number }), flags, &fields)?;
        event.last_committed = last_committed;
        event.sequence_number = sequence_number;
        event.committed_micros = micros;
        event.originally_committed_micros = original_micros.unwrap_or(micros);
        event.transaction_bytes = transaction_bytes;
        Ok(event)
    }

    fn of(gtid: Option<MysqlGtid>, flags: u8, input: &Input<'_>) -> Result<Self, BadEvent> {
        if gtid.as_ref().is_some_and(|gtid| gtid.number == 0 || gtid.number >= i64::MAX as u64) {
            return Err(input.malformed("a transaction's number out of range"));
        }
        Ok(GtidEvent {
            gtid,
            may_have_statements: flags & 1 != 0,
            last_committed: 0,
            sequence_number: 0,
            committed_micros: 0,
            originally_committed_micros: 0,
            transaction_bytes: 0,
        })
    }
}

/// The transactions of one server (and tag).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GtidIntervals {
    /// The server's UUID.
    pub uuid: [u8; 16],
    /// The tag; `None` without one.
    pub tag: Option<String>,
    /// Numbers from the first up to, but not including, the second; ascending and apart.
    pub intervals: Vec<(u64, u64)>,
}

/// The sets in a PREVIOUS_GTIDS (35): all that was executed before the file was begun.
pub(super) fn parse_previous(mut input: Input<'_>) -> Result<Vec<GtidIntervals>, BadEvent> {
    let head = input.u64()?;
    // The highest byte says whether there are tags, and with tags the lowest byte says so too.
    let (tagged, sets) = match head >> 56 {
        0 => (false, head),
        1 if head & 0xff == 1 => (true, head >> 8 & ((1 << 48) - 1)),
        _ => return Err(input.bad(Problem::NotUnderstood("the form of the GTID set"))),
    };
    let mut previous = Vec::new();
    for _ in 0..sets {
        let uuid = input.array()?;
        let tag = if tagged { tag_of(&mut input)? } else { None };
        let mut intervals = Vec::new();
        let mut from = 1;
        for _ in 0..input.u64()? {
            let (start, end) = (input.u64()?, input.u64()?);
            if start < from || end <= start || end > i64::MAX as u64 {
                return Err(input.malformed("intervals of GTIDs that are empty or out of order"));
            }
            intervals.push((start, end));
            from = end;
        }
        previous.push(GtidIntervals { uuid, tag, intervals });
    }
    input.end()?;
    Ok(previous)
}

fn byte(input: &mut Input<'_>) -> Result<u8, BadEvent> {
    u8::try_from(input.varlen()?).map_err(|_| input.malformed("a byte of more than 255"))
}

/// Length and letters; no letters are no tag.
fn tag_of(input: &mut Input<'_>) -> Result<Option<String>, BadEvent> {
    let length = input.varlen()?;
    if length > TAG_CHARS_MAX {
        return Err(input.malformed("a tag of more than 32 characters"));
    }
    let tag = input.text(length)?;
    if !tag.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_') {
        return Err(input.malformed("a tag of other characters than letters, digits and _"));
    }
    Ok((!tag.is_empty()).then_some(tag))
}
