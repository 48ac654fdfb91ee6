//! GTIDs of MySQL: `uuid:7`, with a tag `uuid:tag:7`, and sets of them: `uuid:1-5:7:tag:1-3,uuid2:1`.
//!
//! Texts are read and printed as the server does with `@@gtid_executed`: UUIDs and tags in lower case, ordered by the
//! UUID's bytes, then untagged before tagged ones by name, a UUID once for all its tags, intervals merged.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use super::GtidError;
use super::intervals::Intervals;

/// The largest number of a transaction: 2^63 − 2, MySQL's own bound.
pub const SEQ_MAX: u64 = i64::MAX as u64 - 1;

/// Where transactions began their life: a server's UUID, or a group's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl FromStr for Uuid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let wrong = || GtidError::new(text, "a UUID like 3e11fa47-71ca-11e1-9e33-c80aa9429562");
        let groups: Vec<&str> = text.split('-').collect();
        let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
        let digits = groups.concat();
        if lengths != [8, 4, 4, 4, 12] || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        u128::from_str_radix(&digits, 16).map(|number| Uuid(number.to_be_bytes())).map_err(|_| wrong())
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", u128::from_be_bytes(self.0));
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

/// A name that sets a transaction's numbers apart from others of its UUID (MySQL 8.3 and later): 1 to 32 letters,
/// digits and underscores, no digit first, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Box<str>);

/// MySQL's bound.
const TAG_CHARS_MAX: usize = 32;

impl FromStr for Tag {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let begins_right = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_');
        let goes_on_right = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !begins_right || !goes_on_right || text.len() > TAG_CHARS_MAX {
            return Err(GtidError::new(
                text,
                "an interval like 1-5 or a tag of up to 32 letters, digits and underscores",
            ));
        }
        Ok(Tag(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the numbers of transactions count within: a UUID, and a tag if there is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// The UUID.
    pub uuid: Uuid,
    /// The tag.
    pub tag: Option<Tag>,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{}:{tag}", self.uuid),
            None => self.uuid.fmt(f),
        }
    }
}

/// One transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MysqlGtid {
    /// What its number counts within.
    pub origin: Origin,
    seq: u64,
}

impl MysqlGtid {
    /// A transaction by its number, from 1 to [`SEQ_MAX`].
    pub fn new(origin: Origin, seq: u64) -> Result<Self, GtidError> {
        if !(1..=SEQ_MAX).contains(&seq) {
            return Err(GtidError::new(&seq.to_string(), "the number of a transaction"));
        }
        Ok(MysqlGtid { origin, seq })
    }

    /// Its number.
    pub fn seq(&self) -> u64 {
        self.seq
    }
}

impl fmt::Display for MysqlGtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.origin, self.seq)
    }
}

impl FromStr for MysqlGtid {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let wrong = || GtidError::new(text, "a GTID like 3e11fa47-71ca-11e1-9e33-c80aa9429562:7");
        let (origin, seq) = text.trim().rsplit_once(':').ok_or_else(wrong)?;
        let (uuid, tag) = match origin.split_once(':') {
            Some((uuid, tag)) => (uuid, Some(tag.trim().parse()?)),
            None => (origin, None),
        };
        MysqlGtid::new(Origin { uuid: uuid.trim().parse()?, tag }, number(seq).ok_or_else(wrong)?)
    }
}

/// A set of transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MysqlGtidSet {
    // No origin without a number.
    origins: BTreeMap<Origin, Intervals>,
}

impl MysqlGtidSet {
    /// Whether it holds no transaction.
    pub fn is_empty(&self) -> bool {
        self.origins.is_empty()
    }

    /// How many transactions it holds.
    pub fn count(&self) -> u64 {
        self.origins.values().fold(0, |sum: u64, intervals| sum.saturating_add(intervals.count()))
    }

    /// The origins in the order in which they are printed, each with its numbers; never without any.
    pub fn origins(&self) -> impl Iterator<Item = (&Origin, &Intervals)> {
        self.origins.iter()
    }

    /// Adds a transaction; whether it was not there before.
    pub fn add(&mut self, gtid: &MysqlGtid) -> bool {
        let one = gtid.seq..gtid.seq + 1;
        match self.origins.get_mut(&gtid.origin) {
            Some(intervals) if intervals.contains(gtid.seq) => false,
            Some(intervals) => {
                intervals.insert(one);
                true
            }
            None => {
                self.origins.insert(gtid.origin.clone(), Intervals::from_iter([one]));
                true
            }
        }
    }

    /// Whether the transaction is in it.
    pub fn contains(&self, gtid: &MysqlGtid) -> bool {
        self.origins.get(&gtid.origin).is_some_and(|intervals| intervals.contains(gtid.seq))
    }

    /// Whether every transaction of `other` is in it.
    pub fn contains_set(&self, other: &MysqlGtidSet) -> bool {
        other
            .origins
            .iter()
            .all(|(origin, wanted)| self.origins.get(origin).is_some_and(|known| known.contains_all(wanted)))
    }

    /// What is in either.
    #[must_use]
    pub fn union(&self, other: &MysqlGtidSet) -> MysqlGtidSet {
        let mut union = self.clone();
        for (origin, intervals) in &other.origins {
            match union.origins.entry(origin.clone()) {
                Entry::Occupied(mut known) => known.get_mut().insert_all(intervals),
                Entry::Vacant(free) => drop(free.insert(intervals.clone())),
            }
        }
        union
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &MysqlGtidSet) -> MysqlGtidSet {
        self.filtered(|origin, intervals| {
            other.origins.get(origin).map_or_else(Intervals::default, |known| intervals.intersect(known))
        })
    }

    /// What of it is not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &MysqlGtidSet) -> MysqlGtidSet {
        self.filtered(|origin, intervals| match other.origins.get(origin) {
            Some(known) => intervals.subtract(known),
            None => intervals.clone(),
        })
    }

    fn filtered(&self, keep: impl Fn(&Origin, &Intervals) -> Intervals) -> MysqlGtidSet {
        let kept = self.origins.iter().map(|(origin, intervals)| (origin.clone(), keep(origin, intervals)));
        MysqlGtidSet { origins: kept.filter(|(_, intervals)| !intervals.is_empty()).collect() }
    }
}

/// One line without blanks, as every server and client accepts it; `{:#}` breaks the line behind each UUID's comma, as
/// the server prints `@@gtid_executed`.
impl fmt::Display for MysqlGtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let between = if f.alternate() { ",\n" } else { "," };
        let mut last = None;
        for (origin, intervals) in &self.origins {
            if last != Some(origin.uuid) {
                write!(f, "{}{}", if last.is_some() { between } else { "" }, origin.uuid)?;
                last = Some(origin.uuid);
            }
            if let Some(tag) = &origin.tag {
                write!(f, ":{tag}")?;
            }
            for Range { start, end } in intervals.iter() {
                match end - start {
                    1 => write!(f, ":{start}")?,
                    _ => write!(f, ":{start}-{}", end - 1)?,
                }
            }
        }
        Ok(())
    }
}

/// White space around every piece is allowed, and a comma too many. An interval that runs backwards is refused, though
/// the server takes it for an empty one: it is a slip of the pen.
impl FromStr for MysqlGtidSet {
    type Err = GtidError;

    fn from_str(text: &str) -> Result<Self, GtidError> {
        let mut set = MysqlGtidSet::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            set.read_part(part)?;
        }
        Ok(set)
    }
}

impl MysqlGtidSet {
    /// `uuid:1-5:7:tag:1-3`
    fn read_part(&mut self, part: &str) -> Result<(), GtidError> {
        let wrong = || GtidError::new(part, "a UUID and intervals like 3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5:7");
        let (uuid, rest) = part.split_once(':').ok_or_else(wrong)?;
        let mut origin = Origin { uuid: uuid.trim().parse()?, tag: None };
        // A UUID or a tag without an interval says nothing: the text is cut off.
        let mut says_nothing = true;
        for piece in rest.split(':').map(str::trim) {
            if piece.starts_with(|first: char| first.is_ascii_digit()) {
                let interval = interval(piece).ok_or_else(|| GtidError::new(piece, "an interval like 7 or 1-5"))?;
                self.origins.entry(origin.clone()).or_default().insert(interval);
                says_nothing = false;
            } else if says_nothing && origin.tag.is_some() {
                return Err(wrong());
            } else {
                origin.tag = Some(piece.parse()?);
                says_nothing = true;
            }
        }
        if says_nothing { Err(wrong()) } else { Ok(()) }
    }
}

fn interval(text: &str) -> Option<Range<u64>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (1 <= first && first <= last && last <= SEQ_MAX).then_some(first..last + 1)
}

/// A number in plain digits; `u64`'s own parser takes a sign too.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    text.bytes().all(|digit| digit.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4f22ab58-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> MysqlGtidSet {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    /// Pairs of what is read and what is printed.
    #[test]
    fn texts_are_printed_as_the_server_prints_them() {
        let cases = [
            (String::new(), String::new()),
            (" \n".to_owned(), String::new()),
            (format!("{A}:1-5"), format!("{A}:1-5")),
            (format!("{A}:1"), format!("{A}:1")),
            (format!("{A}:1-1"), format!("{A}:1")),
            (format!("{A}:1-3:4-5:7:9-11"), format!("{A}:1-5:7:9-11")),
            (format!("{A}:9-11:1-3"), format!("{A}:1-3:9-11")),
            (A.to_uppercase() + ":1-5", format!("{A}:1-5")),
            (format!("{B}:1,\n{A}:2-3"), format!("{A}:2-3,{B}:1")),
            (format!(" {A} : 1 - 5 : 7 ,, {A}:6 , "), format!("{A}:1-7")),
            (format!("{A}:tag1:1-5:tag2:7"), format!("{A}:tag1:1-5:tag2:7")),
            (format!("{A}:1-5:Tag_2:7:tag1:1-5:9"), format!("{A}:1-5:tag1:1-5:9:tag_2:7")),
            (format!("{A}:tag1:1,{A}:2,{B}:tag1:4"), format!("{A}:2:tag1:1,{B}:tag1:4")),
            (format!("{A}:1-9223372036854775806"), format!("{A}:1-9223372036854775806")),
        ];
        for (text, printed) in cases {
            assert_eq!(set(&text).to_string(), printed, "{text}");
            assert_eq!(set(&printed), set(&text));
        }
    }

    /// As MySQL 9.7 printed `@@gtid_executed`.
    #[test]
    fn the_long_form_is_the_servers_own_text() {
        let text = "0a312e4e-e58a-11f1-8abb-02fc00000001:1-3:tag_1:1-2,\n3e11fa47-71ca-11e1-9e33-c80aa9429562:5:7:zz:7";
        assert_eq!(format!("{:#}", set(text)), text);
    }

    #[test]
    fn what_is_not_a_set_is_refused_and_named() {
        let cases = [
            A.to_owned(),
            format!("{A}:"),
            format!("{A}:0"),
            format!("{A}:0-5"),
            format!("{A}:5-3"),
            format!("{A}:1-"),
            format!("{A}:1-5-7"),
            format!("{A}:+1"),
            format!("{A}:1:"),
            format!("{A}:1-9223372036854775807"),
            format!("{A}:tag"),
            format!("{A}:tag:1:tag2"),
            format!("{A}:tag:tag2:1"),
            format!("{A}:ta-g:1"),
            format!("{A}:{}:1", "t".repeat(33)),
            "3e11fa47-71ca-11e1-9e33-c80aa942956:1".to_owned(),
            "3e11fa4771ca-11e1-9e33-c80aa9429562-:1".to_owned(),
            "3g11fa47-71ca-11e1-9e33-c80aa9429562:1".to_owned(),
            "1-5".to_owned(),
            "é:1".to_owned(),
        ];
        for text in cases {
            assert!(text.parse::<MysqlGtidSet>().is_err(), "{text}");
        }
        assert_eq!(
            format!("{A}:1-5:x-y").parse::<MysqlGtidSet>().map_err(|error| error.to_string()),
            Err("`x-y` is not an interval like 1-5 or a tag of up to 32 letters, digits and underscores".to_owned())
        );
    }

    #[test]
    fn a_gtid_is_printed_as_it_is_read() {
        for text in [format!("{A}:7"), format!("{A}:tag1:7")] {
            assert_eq!(text.parse::<MysqlGtid>().map(|gtid| gtid.to_string()), Ok(text));
        }
        for text in [A.to_owned(), format!("{A}:0"), format!("{A}:1-2"), format!("{A}:a:b:1"), format!("{A}:")] {
            assert!(text.parse::<MysqlGtid>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_tag_sets_numbers_apart() {
        assert!(!set(&format!("{A}:1-9")).contains_set(&set(&format!("{A}:tag:3"))));
        assert!(set(&format!("{A}:1-9:tag:3")).contains_set(&set(&format!("{A}:tag:3"))));
        assert_eq!(
            set(&format!("{A}:1-9:tag:3")).subtract(&set(&format!("{A}:2-9"))).to_string(),
            format!("{A}:1:tag:3")
        );
    }

    /// Numbers of a few origins, as text pieces and as a plain set.
    type Model = BTreeSet<(u8, Option<u8>, u64)>;

    fn pieces() -> impl Strategy<Value = Vec<(u8, Option<u8>, u64, u64)>> {
        prop::collection::vec((0_u8..3, prop::option::of(0_u8..2), 1_u64..40, 0_u64..6), 0..14)
    }

    fn read(pieces: &[(u8, Option<u8>, u64, u64)]) -> (MysqlGtidSet, Model) {
        let mut texts = Vec::new();
        let mut model = Model::new();
        for (uuid, tag, first, more) in pieces {
            let tag_text = tag.map_or(String::new(), |tag| format!(":t{tag}"));
            texts.push(format!("{uuid}e11fa47-71ca-11e1-9e33-c80aa9429562{tag_text}:{first}-{}", first + more));
            model.extend((*first..=first + more).map(|seq| (*uuid, *tag, seq)));
        }
        (set(&texts.join(",")), model)
    }

    fn gtid((uuid, tag, seq): (u8, Option<u8>, u64)) -> MysqlGtid {
        let tag_text = tag.map_or(String::new(), |tag| format!(":t{tag}"));
        let text = format!("{uuid}e11fa47-71ca-11e1-9e33-c80aa9429562{tag_text}:{seq}");
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn one_by_one<'a>(model: impl IntoIterator<Item = &'a (u8, Option<u8>, u64)>) -> MysqlGtidSet {
        let mut set = MysqlGtidSet::default();
        for one in model {
            assert!(set.add(&gtid(*one)) && !set.add(&gtid(*one)));
        }
        set
    }

    proptest! {
        #[test]
        fn a_set_is_the_set_of_its_transactions(a in pieces(), b in pieces(), seq in 1_u64..50) {
            let ((one, model), (two, other)) = (read(&a), read(&b));
            prop_assert_eq!(&one, &one_by_one(&model));
            prop_assert_eq!(&set(&one.to_string()), &one);
            prop_assert_eq!(&set(&format!("{one:#}")), &one);
            prop_assert_eq!(one.count(), model.len() as u64);
            prop_assert_eq!(one.contains(&gtid((1, None, seq))), model.contains(&(1, None, seq)));
            prop_assert_eq!(one.contains_set(&two), model.is_superset(&other));
            prop_assert_eq!(one.union(&two), one_by_one(model.union(&other)));
            prop_assert_eq!(one.intersect(&two), one_by_one(model.intersection(&other)));
            prop_assert_eq!(one.subtract(&two), one_by_one(model.difference(&other)));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "[0-9a-f:,\\-t \\n]{0,60}") {
            let _ = text.parse::<MysqlGtidSet>();
        }
    }
}
