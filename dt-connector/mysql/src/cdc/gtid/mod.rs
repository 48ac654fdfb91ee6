//! GTID sets: which transactions of a source are done.
//!
//! The two families of servers count differently. MySQL numbers the transactions of each origin and a set holds any of
//! them ([`MysqlGtidSet`]); MariaDB numbers those of each domain and a position holds the last of each domain
//! ([`MariadbGtidPos`]). [`GtidSet`] is either, for whoever need not tell them apart.
//!
//! Sets are only ever compared as sets: containment, union, difference. Their texts are never compared and there is no
//! "newer" of two sets. Pure.

mod intervals;
mod mariadb;
mod mysql;

use std::error::Error;
use std::fmt;

pub use intervals::Intervals;
pub use mariadb::{MariadbGtid, MariadbGtidPos, Stretch};
pub use mysql::{MysqlGtid, MysqlGtidSet, Origin, SEQ_MAX, Tag, Uuid};

use crate::connect::Flavor;

/// Why a text is no GTID set. Names the piece that is not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GtidError {
    piece: String,
    expected: &'static str,
}

impl fmt::Display for GtidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not {}", self.piece, self.expected)
    }
}

impl Error for GtidError {}

impl GtidError {
    fn new(piece: &str, expected: &'static str) -> Self {
        // Long enough for any piece that nearly is one, short enough for a message.
        GtidError { piece: piece.chars().take(80).collect(), expected }
    }
}

/// Two sets, or a set and a transaction, of different families of servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherFlavor;

impl fmt::Display for OtherFlavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GTIDs of MySQL and of MariaDB cannot be compared")
    }
}

impl Error for OtherFlavor {}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Gtid {
    /// Of MySQL.
    Mysql(MysqlGtid),
    /// Of MariaDB.
    Mariadb(MariadbGtid),
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Gtid::Mysql(gtid) => gtid.fmt(f),
            Gtid::Mariadb(gtid) => gtid.fmt(f),
        }
    }
}

/// Transactions that are done: a set of MySQL, or a position of MariaDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GtidSet {
    /// Of MySQL.
    Mysql(MysqlGtidSet),
    /// Of MariaDB.
    Mariadb(MariadbGtidPos),
}

impl GtidSet {
    /// No transaction.
    pub fn empty(flavor: Flavor) -> Self {
        match flavor {
            Flavor::Mysql => GtidSet::Mysql(MysqlGtidSet::default()),
            Flavor::Mariadb => GtidSet::Mariadb(MariadbGtidPos::default()),
        }
    }

    /// Reads a set as servers of this family print it; white space does not matter and an empty text is the empty set.
    pub fn parse(flavor: Flavor, text: &str) -> Result<Self, GtidError> {
        match flavor {
            Flavor::Mysql => text.parse().map(GtidSet::Mysql),
            Flavor::Mariadb => text.parse().map(GtidSet::Mariadb),
        }
    }

    /// Which family of servers it is of.
    pub fn flavor(&self) -> Flavor {
        match self {
            GtidSet::Mysql(_) => Flavor::Mysql,
            GtidSet::Mariadb(_) => Flavor::Mariadb,
        }
    }

    /// Whether it holds no transaction.
    pub fn is_empty(&self) -> bool {
        match self {
            GtidSet::Mysql(set) => set.is_empty(),
            GtidSet::Mariadb(position) => position.is_empty(),
        }
    }

    /// Adds the transaction that follows in the binlog: see [`MysqlGtidSet::add`] and [`MariadbGtidPos::advance`].
    pub fn add(&mut self, gtid: &Gtid) -> Result<(), OtherFlavor> {
        match (self, gtid) {
            (GtidSet::Mysql(set), Gtid::Mysql(gtid)) => {
                set.add(gtid);
                Ok(())
            }
            (GtidSet::Mariadb(position), Gtid::Mariadb(gtid)) => {
                position.advance(*gtid);
                Ok(())
            }
            (GtidSet::Mysql(_), Gtid::Mariadb(_)) | (GtidSet::Mariadb(_), Gtid::Mysql(_)) => Err(OtherFlavor),
        }
    }

    /// Whether a transaction is in it.
    pub fn contains(&self, gtid: &Gtid) -> Result<bool, OtherFlavor> {
        match (self, gtid) {
            (GtidSet::Mysql(set), Gtid::Mysql(gtid)) => Ok(set.contains(gtid)),
            (GtidSet::Mariadb(position), Gtid::Mariadb(gtid)) => Ok(position.contains(gtid)),
            (GtidSet::Mysql(_), Gtid::Mariadb(_)) | (GtidSet::Mariadb(_), Gtid::Mysql(_)) => Err(OtherFlavor),
        }
    }

    /// Whether every transaction of `other` is in it.
    pub fn contains_set(&self, other: &GtidSet) -> Result<bool, OtherFlavor> {
        Ok(self.pair(other)?.has_all())
    }

    /// What of it is not in `other`; `None` if all of it is.
    pub fn beyond(&self, other: &GtidSet) -> Result<Option<Beyond>, OtherFlavor> {
        let beyond = match self.pair(other)? {
            Pair::Mysql(one, other) => Beyond::Mysql(one.subtract(other)),
            Pair::Mariadb(one, other) => Beyond::Mariadb(one.beyond(other)),
        };
        Ok(Some(beyond).filter(|beyond| !beyond.is_empty()))
    }

    /// What is in both.
    pub fn intersect(&self, other: &GtidSet) -> Result<GtidSet, OtherFlavor> {
        Ok(match self.pair(other)? {
            Pair::Mysql(one, other) => GtidSet::Mysql(one.intersect(other)),
            Pair::Mariadb(one, other) => GtidSet::Mariadb(one.intersect(other)),
        })
    }

    /// What is in either.
    pub fn union(&self, other: &GtidSet) -> Result<GtidSet, OtherFlavor> {
        Ok(match self.pair(other)? {
            Pair::Mysql(one, other) => GtidSet::Mysql(one.union(other)),
            Pair::Mariadb(one, other) => GtidSet::Mariadb(one.union(other)),
        })
    }

    fn pair<'a>(&'a self, other: &'a GtidSet) -> Result<Pair<'a>, OtherFlavor> {
        match (self, other) {
            (GtidSet::Mysql(one), GtidSet::Mysql(other)) => Ok(Pair::Mysql(one, other)),
            (GtidSet::Mariadb(one), GtidSet::Mariadb(other)) => Ok(Pair::Mariadb(one, other)),
            (GtidSet::Mysql(_), GtidSet::Mariadb(_)) | (GtidSet::Mariadb(_), GtidSet::Mysql(_)) => Err(OtherFlavor),
        }
    }
}

/// One line, as a server accepts it; `{:#}` has the line breaks with which MySQL prints `@@gtid_executed`.
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            GtidSet::Mysql(set) => set.fmt(f),
            GtidSet::Mariadb(position) => position.fmt(f),
        }
    }
}

/// Two sets of one family.
enum Pair<'a> {
    Mysql(&'a MysqlGtidSet, &'a MysqlGtidSet),
    Mariadb(&'a MariadbGtidPos, &'a MariadbGtidPos),
}

impl Pair<'_> {
    fn has_all(&self) -> bool {
        match self {
            Pair::Mysql(one, other) => one.contains_set(other),
            Pair::Mariadb(one, other) => one.contains_pos(other),
        }
    }
}

/// The transactions that one set has and another lacks; never empty where it is handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beyond {
    /// Of MySQL: a set.
    Mysql(MysqlGtidSet),
    /// Of MariaDB: a stretch of each domain that has one, by domain.
    Mariadb(Vec<Stretch>),
}

impl Beyond {
    fn is_empty(&self) -> bool {
        match self {
            Beyond::Mysql(set) => set.is_empty(),
            Beyond::Mariadb(stretches) => stretches.is_empty(),
        }
    }

    /// How many transactions these are. MariaDB's numbers may have gaps, which count as well.
    pub fn count(&self) -> u64 {
        match self {
            Beyond::Mysql(set) => set.count(),
            Beyond::Mariadb(stretches) => {
                stretches.iter().fold(0, |sum: u64, stretch| sum.saturating_add(stretch.count()))
            }
        }
    }
}

impl fmt::Display for Beyond {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Beyond::Mysql(set) => set.fmt(f),
            Beyond::Mariadb(stretches) => {
                for (at, stretch) in stretches.iter().enumerate() {
                    f.write_str(if at == 0 { "" } else { ", " })?;
                    stretch.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_two_families_are_never_compared() {
        let mysql = GtidSet::empty(Flavor::Mysql);
        let mariadb = GtidSet::empty(Flavor::Mariadb);
        assert_eq!(mysql.contains_set(&mariadb), Err(OtherFlavor));
        assert_eq!(mariadb.beyond(&mysql), Err(OtherFlavor));
        let gtid = Gtid::Mariadb(MariadbGtid { domain: 0, server: 1, seq: 5 });
        assert_eq!(GtidSet::empty(Flavor::Mysql).add(&gtid), Err(OtherFlavor));
    }

    #[test]
    fn a_text_of_the_other_family_is_refused_and_named() {
        let error = GtidSet::parse(Flavor::Mysql, "0-1-5").expect_err("is of MariaDB");
        assert!(error.to_string().starts_with("`0-1-5` is not "), "{error}");
        let text = "3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5";
        let error = GtidSet::parse(Flavor::Mariadb, text).expect_err("is of MySQL");
        assert!(error.to_string().starts_with(&format!("`{text}` is not ")), "{error}");
    }

    #[test]
    fn what_is_beyond_names_the_transactions_and_counts_them() {
        let parse = |flavor, text: &str| GtidSet::parse(flavor, text).expect("is a set");
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let one = parse(Flavor::Mysql, &format!("{uuid}:1-10"));
        let other = parse(Flavor::Mysql, &format!("{uuid}:1-4:7"));
        let beyond = one.beyond(&other).expect("same family").expect("there is something");
        assert_eq!((beyond.to_string(), beyond.count()), (format!("{uuid}:5-6:8-10"), 5));
        assert_eq!(other.beyond(&one), Ok(None));
        let one = parse(Flavor::Mariadb, "0-1-9,2-1-3");
        let other = parse(Flavor::Mariadb, "0-1-5");
        let beyond = one.beyond(&other).expect("same family").expect("there is something");
        assert_eq!(beyond.to_string(), "domain 0 after 0-1-5 up to 0-1-9, domain 2 up to 2-1-3");
        assert_eq!(beyond.count(), 7);
    }

    #[test]
    fn a_stream_that_adds_every_transaction_holds_the_whole_set() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        let mut set = GtidSet::parse(Flavor::Mysql, &format!("{uuid}:1-3")).expect("is a set");
        for seq in 4..=6 {
            set.add(&Gtid::Mysql(format!("{uuid}:{seq}").parse().expect("is a GTID"))).expect("same family");
        }
        assert_eq!(set.to_string(), format!("{uuid}:1-6"));
        let mut position = GtidSet::parse(Flavor::Mariadb, "0-1-3,1-1-1").expect("is a position");
        position.add(&Gtid::Mariadb("0-2-4".parse().expect("is a GTID"))).expect("same family");
        assert_eq!(position.to_string(), "0-2-4,1-1-1");
    }
}
