//! Whether and from where a source can be followed. Pure: it is told what the server says of itself and what is stored, and
//! answers with a start or a refusal with its way out (invariant 5).

use dt_common::config::{MongoCdcStart, MongoStreamSource};
use dt_common::position::MongoCdc;
use dt_common::{Error, Result};

use super::place::{Place, Time, token_of, utc};
use crate::connect::Kind;

/// What a source says of itself.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Its identity.
    pub identity: String,
    /// What it is part of.
    pub kind: Kind,
    /// The last operation that a majority of the members has.
    pub now: Time,
    /// The oplog, as far as the account may read it.
    pub oplog: Option<Oplog>,
}

/// The ends of an oplog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oplog {
    /// The first entry that is still there.
    pub first: Time,
    /// Whether that is the first that ever was: nothing is missing before it.
    pub is_whole: bool,
}

/// Where a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// After the event with this token; the time is what else is known of it.
    AfterToken {
        /// The token, a document.
        token: Vec<u8>,
        /// The event's time, if it was stored with the token.
        time: Option<Time>,
    },
    /// With the operations of this time and later.
    At(Time),
    /// After the operation of exactly this time, which is the last that was seen.
    After(Time),
}

impl Start {
    /// The place that a stream says before it has read anything.
    pub fn place(&self) -> Place {
        match self {
            Start::AfterToken { token, time } => Place { token: token.clone(), time: time.unwrap_or_default() },
            Start::After(time) => Place { token: Vec::new(), time: *time },
            // Whoever goes on by it begins with the operations of that time as well: none has increment 0.
            Start::At(time) => Place { token: Vec::new(), time: Time { increment: 0, ..*time } },
        }
    }
}

/// Refuses a server that keeps no log of changes, or not the one that is asked for.
pub fn check_followable(facts: &Facts, source: MongoStreamSource) -> Result<()> {
    match (&facts.kind, source) {
        (Kind::Standalone, _) => {
            Err(Error::user("the source is a standalone server, which keeps no log of its changes")
                .hint("make it a replica set of one member: start it with --replSet NAME and run rs.initiate() once"))
        }
        (Kind::Sharded, MongoStreamSource::OpLog) => {
            Err(Error::user("the source is a sharded cluster, which has no oplog of its own")
                .hint("set source=change_stream"))
        }
        (Kind::Sharded | Kind::ReplicaSet(_), MongoStreamSource::ChangeStream | MongoStreamSource::OpLog) => Ok(()),
    }
}

/// Where the stream begins.
///
/// # Errors
/// The stored position is of another server, or not understood; or what is to be read first is no longer in the oplog.
pub fn start(
    facts: &Facts,
    source: MongoStreamSource,
    configured: &MongoCdcStart,
    stored: Option<&MongoCdc>,
    allow_other_server: bool,
) -> Result<Start> {
    let start = match stored {
        Some(stored) => {
            check_server(facts, stored, allow_other_server)?;
            after_stored(source, stored)?
        }
        None => match configured {
            MongoCdcStart::Now => Start::After(facts.now),
            MongoCdcStart::Time(seconds) => Start::At(Time { seconds: whole_seconds(*seconds)?, increment: 0 }),
            MongoCdcStart::AfterToken(text) => Start::AfterToken { token: configured_token(text)?, time: None },
        },
    };
    match &start {
        // The server itself says whether it still knows a token.
        Start::AfterToken { .. } => {}
        Start::At(time) | Start::After(time) => check_covered(facts, *time, stored.is_some())?,
    }
    Ok(start)
}

/// The second way to resume, after the server has refused a token: by its time.
///
/// # Errors
/// No time is known, or the oplog does not cover it.
pub fn start_without_token(facts: &Facts, time: Option<Time>) -> Result<Start> {
    let time = time.filter(|time| time.seconds > 0).ok_or_else(|| {
        Error::user("the source does not accept the resume token, and no time is known to go on from")
            .hint("the token is of another server, or its event is no longer in the oplog: copy the collections again with a snapshot, and follow the changes from there")
    })?;
    check_covered(facts, time, true)?;
    // The operations of that time once more: the token may lie among them.
    Ok(Start::At(time))
}

fn after_stored(source: MongoStreamSource, stored: &MongoCdc) -> Result<Start> {
    let seconds = whole_seconds(stored.operation_time)?;
    let time = Time { seconds, increment: stored.increment.unwrap_or(0) };
    let by_time = || match (stored.increment, stored.resume_token.is_empty()) {
        (Some(increment), true) if increment > 0 => Start::After(time),
        // An older file says the second only; and behind a token there may be more of the same operation.
        (Some(_) | None, _) => Start::At(time),
    };
    match source {
        MongoStreamSource::ChangeStream if !stored.resume_token.is_empty() => {
            let token = token_of(&stored.resume_token).ok_or_else(|| {
                Error::user("the stored resume token is not understood")
                    .hint("it is a JSON document with `_data`; to start over, set [resumer] resume_type=dummy")
            })?;
            Ok(Start::AfterToken { token, time: Some(time).filter(|time| time.seconds > 0) })
        }
        MongoStreamSource::ChangeStream | MongoStreamSource::OpLog if seconds == 0 => {
            Err(Error::user("the stored position says no time to go on from")
                .hint("to start over, set [resumer] resume_type=dummy"))
        }
        MongoStreamSource::ChangeStream | MongoStreamSource::OpLog => Ok(by_time()),
    }
}

fn check_server(facts: &Facts, stored: &MongoCdc, allow_other_server: bool) -> Result<()> {
    match &stored.lineage.source {
        Some(then) if *then != facts.identity && !allow_other_server => {
            Err(Error::user("the stored position is of another source server")
                .with("stored", then)
                .with("actual", &facts.identity)
                .hint("if it is the same replica set under another name, set [resumer] allow_other_server=true; to start over, set [resumer] resume_type=dummy"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses a beginning that the oplog does not reach back to. What was `read` once is not older than all of the oplog, also
/// where that is the first that this set ever had: then it was read from another set, or the set was made anew.
pub fn check_covered(facts: &Facts, time: Time, read: bool) -> Result<()> {
    if time.seconds > facts.now.seconds.saturating_add(60) {
        return Err(Error::user("the stream is to begin later than the source's last operation")
            .with("begin", utc(time.seconds))
            .with("last operation", utc(facts.now.seconds))
            .hint("the position is of another server, or the time is not in UTC"));
    }
    match facts.oplog {
        Some(oplog) if oplog.first > time && (read || !oplog.is_whole) => {
            Err(Error::user("what is to be read next is no longer in the source's oplog")
                .with("next", utc(time.seconds))
                .with("oplog begins", utc(oplog.first.seconds))
                .with("missed by", format!("{} s", oplog.first.seconds.saturating_sub(time.seconds)))
                .hint("copy the collections again with a snapshot, and follow the changes from there; a larger oplog (replSetResizeOplog) leaves more time"))
        }
        Some(_) | None => Ok(()),
    }
}

fn configured_token(text: &str) -> Result<Vec<u8>> {
    token_of(text).ok_or_else(|| {
        Error::config("`resume_token` of [extractor] is not understood")
            .hint("the form is {\"_data\":\"82…\"}, as position.log has it")
    })
}

fn whole_seconds(seconds: u64) -> Result<u32> {
    u32::try_from(seconds)
        .map_err(|_| Error::user("the time to begin at is beyond what the server's timestamps can say"))
}

#[cfg(test)]
mod tests {
    use dt_common::ErrorClass;
    use dt_common::position::Lineage;

    use super::*;

    const CHANGES: MongoStreamSource = MongoStreamSource::ChangeStream;
    const OPLOG: MongoStreamSource = MongoStreamSource::OpLog;
    const TOKEN: &str = "{\"_data\":\"82\"}";

    fn facts() -> Facts {
        Facts {
            identity: "rs0/a".into(),
            kind: Kind::ReplicaSet("rs0".into()),
            now: time(2000, 5),
            oplog: Some(Oplog { first: time(1000, 1), is_whole: false }),
        }
    }

    fn time(seconds: u32, increment: u32) -> Time {
        Time { seconds, increment }
    }

    fn stored(token: &str, seconds: u64, increment: Option<u32>) -> MongoCdc {
        MongoCdc {
            resume_token: token.into(),
            operation_time: seconds,
            increment,
            timestamp: String::new(),
            lineage: Lineage { source: Some("rs0/a".into()), target: None },
        }
    }

    fn resumed(source: MongoStreamSource, stored: MongoCdc) -> Result<Start> {
        start(&facts(), source, &MongoCdcStart::Now, Some(&stored), false)
    }

    fn token() -> Vec<u8> {
        token_of(TOKEN).expect("a token")
    }

    #[test]
    fn a_stream_goes_on_by_what_it_reads() {
        let after = Start::AfterToken { token: token(), time: Some(time(1500, 3)) };
        assert_eq!(resumed(CHANGES, stored(TOKEN, 1500, Some(3))).expect("a start"), after);
        assert_eq!(resumed(CHANGES, stored("", 1500, Some(3))).expect("a start"), Start::After(time(1500, 3)));
        assert_eq!(resumed(OPLOG, stored("", 1500, Some(3))).expect("a start"), Start::After(time(1500, 3)));
        // Changing over, and files of an older tool: the operations of that time once more.
        assert_eq!(resumed(OPLOG, stored(TOKEN, 1500, Some(3))).expect("a start"), Start::At(time(1500, 3)));
        assert_eq!(resumed(OPLOG, stored("", 1500, None)).expect("a start"), Start::At(time(1500, 0)));
        assert_eq!(resumed(OPLOG, stored("", 1500, Some(0))).expect("a start"), Start::At(time(1500, 0)));
    }

    #[test]
    fn without_a_stored_position_it_begins_where_it_is_told_to() {
        let begin = |configured| start(&facts(), CHANGES, &configured, None, false);
        assert_eq!(begin(MongoCdcStart::Now).expect("a start"), Start::After(time(2000, 5)));
        assert_eq!(begin(MongoCdcStart::Time(1200)).expect("a start"), Start::At(time(1200, 0)));
        let after = Start::AfterToken { token: token(), time: None };
        assert_eq!(begin(MongoCdcStart::AfterToken(TOKEN.into())).expect("a start"), after);
        let bad = begin(MongoCdcStart::AfterToken("82".into())).expect_err("no token");
        assert_eq!(bad.class(), ErrorClass::Config);
    }

    #[test]
    fn what_the_oplog_has_lost_is_missed_by_so_much() {
        let lost = resumed(OPLOG, stored("", 900, Some(1))).expect_err("lost");
        assert_eq!(lost.class(), ErrorClass::User);
        assert!(lost.to_string().contains("missed by: 100 s"), "{lost}");
        let mut young = facts();
        young.oplog = Some(Oplog { first: time(1000, 1), is_whole: true });
        assert!(check_covered(&young, time(900, 0), false).is_ok());
        assert!(check_covered(&young, time(900, 0), true).is_err());
        assert!(check_covered(&young, time(9000, 0), false).is_err());
    }

    #[test]
    fn a_refused_token_leaves_its_time() {
        assert_eq!(start_without_token(&facts(), Some(time(1500, 3))).expect("a start"), Start::At(time(1500, 3)));
        for time in [None, Some(time(0, 0)), Some(time(10, 1))] {
            assert_eq!(start_without_token(&facts(), time).expect_err("none").class(), ErrorClass::User);
        }
    }

    #[test]
    fn another_server_is_refused_unless_it_is_meant() {
        let mut of_other = stored(TOKEN, 1500, Some(3));
        of_other.lineage.source = Some("rs9/z".into());
        assert!(resumed(CHANGES, of_other.clone()).is_err());
        assert!(start(&facts(), CHANGES, &MongoCdcStart::Now, Some(&of_other), true).is_ok());
        of_other.lineage.source = None;
        assert!(resumed(CHANGES, of_other).is_ok(), "an older tool's file");
    }

    #[test]
    fn a_server_without_a_log_is_refused() {
        let mut facts = facts();
        facts.kind = Kind::Standalone;
        assert!(check_followable(&facts, CHANGES).expect_err("none").to_string().contains("--replSet"));
        facts.kind = Kind::Sharded;
        assert!(check_followable(&facts, OPLOG).is_err());
        assert!(check_followable(&facts, CHANGES).is_ok());
    }
}
