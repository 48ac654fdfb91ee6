//! Transactions that are known by a name: XA.

use super::error::BadEvent;
use super::input::Input;

/// The name of an XA transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Xid {
    /// 1 unless the application chose another.
    pub format: u32,
    /// The global transaction.
    pub global: Vec<u8>,
    /// The branch of it.
    pub branch: Vec<u8>,
}

/// The end of an XA transaction's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XaPrepare {
    /// The transaction's name.
    pub xid: Xid,
    /// Whether it is committed at once (`XA COMMIT … ONE PHASE`); otherwise `XA COMMIT` or `XA ROLLBACK` follows, any
    /// time later.
    pub one_phase: bool,
}

/// The longest name of a global transaction, and of a branch, in bytes.
const NAME_BYTES_MAX: u32 = 64;

impl XaPrepare {
    pub(super) fn parse(mut input: Input<'_>) -> Result<Self, BadEvent> {
        let one_phase = input.u8()? != 0;
        let format = input.u32()?;
        let (global, branch) = (input.u32()?, input.u32()?);
        let xid = Xid::parse(&mut input, format, global, branch)?;
        input.end()?;
        Ok(XaPrepare { xid, one_phase })
    }
}

impl Xid {
    pub(super) fn parse(input: &mut Input<'_>, format: u32, global: u32, branch: u32) -> Result<Self, BadEvent> {
        if global > NAME_BYTES_MAX || branch > NAME_BYTES_MAX {
            return Err(input.malformed("a name of an XA transaction of more than 64 bytes"));
        }
        let global = input.take_u64(u64::from(global))?.to_vec();
        let branch = input.take_u64(u64::from(branch))?.to_vec();
        Ok(Xid { format, global, branch })
    }
}
