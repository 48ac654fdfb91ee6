//! GTIDs of MariaDB: `domain-server-number`, and positions: the last transaction of each domain, `0-1-5,1-2-7`.
//!
//! Within a domain the binlog is one sequence, so a position stands for everything up to it. Two transactions with the
//! same number and another server are of two histories that parted: neither contains the other.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::GtidError;

/// One transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MariadbGtid {
    /// The replication domain.
    pub domain: u32,
    /// The id of the server that committed it first.
    pub server: u32,
    /// Its number within the domain.
    pub seq: u64,
}

impl MariadbGtid {
    /// Whether whoever has come to this transaction has done `other`, of the same domain.
    fn covers(&self, other: &MariadbGtid) -> bool {
        other.seq < self.seq || other == self
    }
}

impl fmt::Display for MariadbGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.domain, self.server, self.seq)
    }
}

impl FromStr for MariadbGtid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let wrong = || GtidError::new(text.trim(), "a GTID of MariaDB like 0-1-5");
        let pieces: Vec<&str> = text.trim().split('-').collect();
        // The numbers' own parsers take a sign too.
        let plain = |piece: &&str| !piece.is_empty() && piece.bytes().all(|digit| digit.is_ascii_digit());
        match pieces.as_slice() {
            [domain, server, seq] if pieces.iter().all(plain) => Ok(MariadbGtid {
                domain: domain.parse().map_err(|_| wrong())?,
                server: server.parse().map_err(|_| wrong())?,
                seq: seq.parse().map_err(|_| wrong())?,
            }),
            _ => Err(wrong()),
        }
    }
}

/// A position: the last transaction of each domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MariadbGtidPos {
    domains: BTreeMap<u32, MariadbGtid>,
}

impl MariadbGtidPos {
    /// Whether it stands before every transaction.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// The last transaction of each domain, by domain.
    pub fn last(&self) -> impl Iterator<Item = &MariadbGtid> {
        self.domains.values()
    }

    /// Moves the transaction's domain on to it; whether that was a step forward. The binlog decides what follows:
    /// where a server numbers out of order (`gtid_strict_mode=OFF`), the later one is still the position.
    pub fn advance(&mut self, gtid: MariadbGtid) -> bool {
        self.domains.insert(gtid.domain, gtid).is_none_or(|last| last.seq < gtid.seq)
    }

    /// Whether the transaction is done.
    pub fn contains(&self, gtid: &MariadbGtid) -> bool {
        self.domains.get(&gtid.domain).is_some_and(|last| last.covers(gtid))
    }

    /// Whether all that `other` stands for is done.
    pub fn contains_pos(&self, other: &MariadbGtidPos) -> bool {
        other.last().all(|gtid| self.contains(gtid))
    }

    /// What of it is not done in `other`: by domain, a stretch each.
    pub fn beyond(&self, other: &MariadbGtidPos) -> Vec<Stretch> {
        let missing = self.last().filter(|last| !other.contains(last));
        missing.map(|last| Stretch { after: other.domains.get(&last.domain).copied(), last: *last }).collect()
    }

    /// What is done in both: of each domain the one that the other contains. Where histories parted at the same number,
    /// what came before is not known by name, and the domain is left out: less is done than could be, never more.
    #[must_use]
    pub fn intersect(&self, other: &MariadbGtidPos) -> MariadbGtidPos {
        let both = self.last().filter_map(|mine| {
            let theirs = other.domains.get(&mine.domain)?;
            [mine, theirs].into_iter().find(|gtid| self.contains(gtid) && other.contains(gtid))
        });
        MariadbGtidPos { domains: both.map(|gtid| (gtid.domain, *gtid)).collect() }
    }

    /// What is done in either: of each domain the one that contains the other; where histories parted at the same
    /// number, this position's.
    #[must_use]
    pub fn union(&self, other: &MariadbGtidPos) -> MariadbGtidPos {
        let mut union = self.clone();
        for theirs in other.last() {
            match union.domains.get(&theirs.domain) {
                Some(mine) if theirs.seq <= mine.seq => {}
                Some(_) | None => drop(union.domains.insert(theirs.domain, *theirs)),
            }
        }
        union
    }
}

/// As the server prints `gtid_binlog_pos` and takes `gtid_slave_pos`: by domain, without blanks.
impl fmt::Display for MariadbGtidPos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, gtid) in self.last().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            gtid.fmt(f)?;
        }
        Ok(())
    }
}

/// A domain that occurs twice is refused, as the server does: which of the two it is at cannot be known.
impl FromStr for MariadbGtidPos {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let mut domains = BTreeMap::new();
        if text.trim().is_empty() {
            return Ok(MariadbGtidPos::default());
        }
        for piece in text.split(',') {
            let gtid: MariadbGtid = piece.parse()?;
            if domains.insert(gtid.domain, gtid).is_some() {
                return Err(GtidError::new(piece.trim(), "the only one of its domain, as a position must have it"));
            }
        }
        Ok(MariadbGtidPos { domains })
    }
}

/// The transactions of one domain that one position has and another lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where the other is; `None` if it has nothing of the domain. With the number of `last` if histories parted there.
    pub after: Option<MariadbGtid>,
    /// The last one.
    pub last: MariadbGtid,
}

impl Stretch {
    /// How many numbers these are.
    pub fn count(&self) -> u64 {
        self.last.seq.saturating_sub(self.after.map_or(0, |after| after.seq))
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Stretch { after, last } = self;
        match after {
            None => write!(f, "domain {} up to {last}", last.domain),
            Some(after) if after.seq == last.seq => write!(f, "domain {}: {last} instead of {after}", last.domain),
            Some(after) => write!(f, "domain {} after {after} up to {last}", last.domain),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pos(text: &str) -> MariadbGtidPos {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn texts_are_printed_as_the_server_prints_them() {
        for (text, printed) in [
            ("", ""),
            (" \n", ""),
            ("0-1-5", "0-1-5"),
            ("1-2-7,0-1-5", "0-1-5,1-2-7"),
            // As MariaDB 10.11 answered to BINLOG_GTID_POS, which does not order by domain.
            ("0-1-3,10-1-1,2-1-1", "0-1-3,2-1-1,10-1-1"),
            (
                " 0-1-5 ,\n4294967295-4294967295-18446744073709551615 ",
                "0-1-5,4294967295-4294967295-18446744073709551615",
            ),
        ] {
            assert_eq!(pos(text).to_string(), printed, "{text}");
        }
    }

    #[test]
    fn what_is_not_a_position_is_refused_and_named() {
        for text in ["0-1", "0-1-5-6", "0-1-", "a-1-5", "0-1-5,", "0-+1-5", "0-1--5", "4294967296-1-5", "0:1-5"] {
            assert!(text.parse::<MariadbGtidPos>().is_err(), "{text}");
        }
        let error = "0-1-5,0-2-6".parse::<MariadbGtidPos>().expect_err("a domain twice");
        assert_eq!(error.to_string(), "`0-2-6` is not the only one of its domain, as a position must have it");
    }

    #[test]
    fn the_binlog_decides_what_follows() {
        let mut position = pos("0-1-5,1-1-9");
        assert!(position.advance(MariadbGtid { domain: 0, server: 2, seq: 6 }));
        assert!(position.advance(MariadbGtid { domain: 2, server: 2, seq: 1 }));
        assert!(!position.advance(MariadbGtid { domain: 1, server: 1, seq: 8 }));
        assert_eq!(position.to_string(), "0-2-6,1-1-8,2-2-1");
    }

    #[test]
    fn histories_that_parted_do_not_contain_each_other() {
        assert!(!pos("0-1-5").contains_pos(&pos("0-2-5")));
        assert!(!pos("0-2-5").contains_pos(&pos("0-1-5")));
        assert!(pos("0-2-6").contains_pos(&pos("0-1-5")));
        assert_eq!(pos("0-1-5").beyond(&pos("0-2-5"))[0].to_string(), "domain 0: 0-1-5 instead of 0-2-5");
        assert_eq!(pos("0-1-5,1-1-1").intersect(&pos("0-2-5,1-1-3")).to_string(), "1-1-1");
    }

    #[test]
    fn a_domain_that_one_lacks_is_missing_from_its_first_transaction() {
        assert!(!pos("0-1-5").contains_pos(&pos("1-1-1")));
        assert!(pos("0-1-5").contains_pos(&pos("")));
        assert_eq!(pos("1-1-7").beyond(&pos("0-1-5"))[0].to_string(), "domain 1 up to 1-1-7");
    }

    /// One history: a number has one server.
    fn positions() -> impl Strategy<Value = BTreeMap<u32, u64>> {
        prop::collection::btree_map(0_u32..4, 1_u64..20, 0..4)
    }

    fn read(model: &BTreeMap<u32, u64>) -> MariadbGtidPos {
        let texts: Vec<String> = model.iter().map(|(domain, seq)| format!("{domain}-{}-{seq}", seq % 3 + 1)).collect();
        pos(&texts.join(","))
    }

    fn done(model: &BTreeMap<u32, u64>) -> BTreeSet<(u32, u64)> {
        model.iter().flat_map(|(domain, last)| (1..=*last).map(|seq| (*domain, seq))).collect()
    }

    fn done_of(position: &MariadbGtidPos) -> BTreeSet<(u32, u64)> {
        done(&position.last().map(|gtid| (gtid.domain, gtid.seq)).collect())
    }

    proptest! {
        #[test]
        fn within_one_history_a_position_is_the_set_of_what_is_done(a in positions(), b in positions()) {
            let (one, two) = (read(&a), read(&b));
            let (set, other) = (done(&a), done(&b));
            prop_assert_eq!(&pos(&one.to_string()), &one);
            prop_assert_eq!(one.contains_pos(&two), set.is_superset(&other));
            prop_assert_eq!(done_of(&one.union(&two)), set.union(&other).copied().collect());
            prop_assert_eq!(done_of(&one.intersect(&two)), set.intersection(&other).copied().collect());
            let beyond = one.beyond(&two);
            let count: u64 = beyond.iter().map(Stretch::count).sum();
            prop_assert_eq!(count, set.difference(&other).count() as u64);
            prop_assert_eq!(beyond.is_empty(), two.contains_pos(&one));
        }
    }
}
