//! The place that a stream is rewound to: read, completed, and found good before anything is changed.

use std::cmp::Ordering;

use chrono::NaiveDateTime;
use dt_common::config::{ExtractType, TaskConfig};
use dt_common::ladder::{Entry, Rung};
use dt_common::position::wire;
use dt_common::{DbType, Error, Position, Result};
use dt_connector::{Source, Whence};
use dt_resumer::{Loaded, cdc};

use super::args::Rewind;
use super::told;
use crate::connectors;
use crate::task::{options, stream};

/// Where a stream is rewound to.
pub struct Wanted {
    /// The checkpoint.
    pub position: Position,
    /// What is stored now.
    pub stored: Option<Position>,
    /// What the user should know before agreeing.
    pub skips: Option<String>,
}

impl Wanted {
    /// What is put into the store: how far the stream is, and where it is resumed.
    pub fn entries(&self) -> Vec<Entry> {
        [Rung::Current, Rung::Checkpoint].map(|rung| Entry { rung, position: self.position.clone() }).into()
    }

    /// What is to be done, in words.
    pub fn question(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(stored) = &self.stored {
            lines.push(format!("the stream is stored at  {}", told::place(stored)));
        }
        lines.push(format!("it will be followed from {}", told::place(&self.position)));
        lines.push(match &self.skips {
            Some(skips) => format!("warning: {skips}"),
            None => {
                "what was applied since then is applied again: rows of a table with a key end up as in the source, \
                     those of a table without a key may be there twice"
                    .to_owned()
            }
        });
        lines
    }
}

/// The place that the user asks for, once source and target agree to follow from there.
///
/// # Errors
/// The task follows nothing; the place is none of this source's, is not in its log any more, or is ahead of what is
/// stored.
pub async fn wanted(config: &TaskConfig, args: &Rewind, loaded: &Loaded) -> Result<Wanted> {
    let db_type = match &config.extractor.extract_type {
        ExtractType::MysqlCdc(_) => DbType::Mysql,
        ExtractType::PgCdc(_) => DbType::Pg,
        ExtractType::MongoCdc(_) => DbType::Mongo,
        ExtractType::Snapshot => {
            return Err(Error::config("the task follows no changes: it has no stream to rewind")
                .hint("tables of a snapshot are rewound with --table or --all-tables"));
        }
    };
    let stored = cdc::resume_point(loaded, db_type)?.map(|stored| stored.entry.position.clone());
    let given = args.to.as_deref().map(|json| given(json, db_type)).transpose()?;
    let time = args.time.as_deref().map(seconds).transpose()?;
    let mut source = connectors::source(&config.extractor).await?;
    let mut target = connectors::target(&config.sinker, options::sink_options(config)).await?;
    let whence = match (given, time) {
        (Some(given), _) => Whence::Place(completed(given, stored.as_ref())),
        (None, Some(time)) => Whence::Time(time),
        (None, None) => return Err(Error::fatal("a rewind of a stream to nowhere")),
    };
    let position = stream::checkpoint(config, source.as_mut(), target.as_ref(), whence).await?;
    let position = uncounted(position);
    let skips = stored.as_ref().and_then(|stored| skips(source.as_ref(), &position, stored));
    if let Some(skips) = &skips
        && !args.allow_skip
    {
        return Err(Error::user(skips.clone())
            .hint("give an earlier place; to leave out what lies between on purpose, give --allow-skip"));
    }
    drop(stream::open(config, source.as_mut(), target.as_mut(), Some(position.clone()), false).await?);
    Ok(Wanted { position, stored, skips })
}

/// What several lanes had at a place is not what they have now: with the count gone, what they have left counts as nothing.
fn uncounted(position: Position) -> Position {
    match position.behind().is_some_and(|behind| behind.counted.is_some()) {
        true => position.with_behind(None),
        false => position,
    }
}

/// Why changes may be left out.
fn skips(source: &dyn Source, wanted: &Position, stored: &Position) -> Option<String> {
    match source.order(wanted, stored) {
        Some(Ordering::Less | Ordering::Equal) => None,
        Some(Ordering::Greater) => {
            Some("the place is ahead of the stored one: the changes in between would never be applied".to_owned())
        }
        None => Some(
            "whether the place is ahead of the stored one cannot be told: changes might never be applied".to_owned(),
        ),
    }
}

fn given(json: &str, db_type: DbType) -> Result<Position> {
    let position = wire::from_json(json).map_err(|error| {
        Error::config("--to is no position")
            .caused_by(error)
            .hint("it is JSON as position.log has it: {\"type\":\"MysqlCdc\",…}, {\"type\":\"PgCdc\",…}, {\"type\":\"MongoCdc\",…}")
    })?;
    let is = match &position {
        Position::MysqlCdc(_) => Some(DbType::Mysql),
        Position::PgCdc(_) => Some(DbType::Pg),
        Position::MongoCdc(_) => Some(DbType::Mongo),
        Position::Redis(_) => Some(DbType::Redis),
        Position::None
        | Position::RdbSnapshot(_)
        | Position::RdbSnapshotRows(_)
        | Position::RdbSnapshotFinished(_)
        | Position::RdbSnapshotSplit(_) => None,
    };
    match is {
        Some(is) if is == db_type => Ok(position),
        Some(is) => Err(Error::config(format!("--to is a place of a {is} stream, and the source is {db_type}"))),
        None => Err(Error::config("--to is no place of a stream")
            .hint("tables are rewound with --table; what is stored is listed by `position show`")),
    }
}

/// A place that says no servers and no slot is of those that the stored one is of.
fn completed(given: Position, stored: Option<&Position>) -> Position {
    match (given, stored) {
        (Position::MysqlCdc(mut given), Some(Position::MysqlCdc(stored))) => {
            if given.lineage == Default::default() {
                given.lineage = stored.lineage.clone();
            }
            Position::MysqlCdc(given)
        }
        (Position::PgCdc(mut given), Some(Position::PgCdc(stored))) => {
            if given.lineage == Default::default() {
                given.lineage = stored.lineage.clone();
            }
            given.origin = given.origin.or_else(|| stored.origin.clone());
            Position::PgCdc(given)
        }
        (Position::MongoCdc(mut given), Some(Position::MongoCdc(stored))) => {
            if given.lineage == Default::default() {
                given.lineage = stored.lineage.clone();
            }
            Position::MongoCdc(given)
        }
        (given, _) => given,
    }
}

/// `2026-01-01 00:00:00`, in UTC, as seconds since 1970.
fn seconds(text: &str) -> Result<u64> {
    let time = NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok();
    time.and_then(|time| u64::try_from(time.and_utc().timestamp()).ok()).ok_or_else(|| {
        Error::config("--time cannot be read")
            .with("--time", text)
            .hint("a time in UTC is written as 2026-01-01 00:00:00")
    })
}

#[cfg(test)]
mod tests {
    use dt_common::position::{Lineage, PgCdc, PgOrigin};

    use super::*;

    #[test]
    fn what_is_no_place_of_this_stream_is_refused() {
        let pg = r#"{"type":"PgCdc","lsn":"0/1","timestamp":""}"#;
        assert!(given(pg, DbType::Pg).is_ok());
        for (json, said) in [
            (pg, "is a place of a pg stream"),
            ("5", "is no position"),
            (r#"{"type":"None"}"#, "is no place of a stream"),
        ] {
            let error = given(json, DbType::Mysql).expect_err("is refused").to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_place_that_says_no_servers_is_of_the_stored_ones() {
        let lineage = Lineage { source: Some("s".into()), target: Some("t".into()) };
        let origin = Some(PgOrigin { slot: "slot".into(), timeline: 1 });
        let stored =
            PgCdc { lsn: "0/2".into(), timestamp: String::new(), origin, lineage: lineage.clone(), behind: None };
        let bare = PgCdc {
            lsn: "0/1".into(),
            timestamp: String::new(),
            origin: None,
            lineage: Lineage::default(),
            behind: None,
        };
        let Position::PgCdc(done) = completed(Position::PgCdc(bare.clone()), Some(&Position::PgCdc(stored.clone())))
        else {
            panic!("another kind")
        };
        assert_eq!((done.lsn.as_str(), &done.lineage, &done.origin), ("0/1", &lineage, &stored.origin));
        let other = Lineage { source: Some("other".into()), target: None };
        let said = PgCdc { lineage: other.clone(), ..bare };
        let Position::PgCdc(done) = completed(Position::PgCdc(said), Some(&Position::PgCdc(stored))) else {
            panic!("another kind")
        };
        assert_eq!(done.lineage, other, "what is said stays");
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(seconds("2024-10-10 08:00:58").expect("a time"), 1_728_547_258);
        for text in ["", "2024-10-10", "2024-13-10 00:00:00", "1969-12-31 23:59:59"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
