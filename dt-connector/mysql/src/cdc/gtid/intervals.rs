//! A set of whole numbers as sorted intervals.

use std::ops::Range;

/// A set of numbers as half-open intervals: sorted, none empty, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals(Vec<Range<u64>>);

impl Intervals {
    /// Whether it holds no number.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The intervals, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> {
        self.0.iter().cloned()
    }

    /// How many numbers it holds.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Adds an interval; an empty one adds nothing. Constant time where numbers are added in their order.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        // From the first interval that touches it to the last one.
        let from = match self.0.last() {
            Some(last) if last.end < range.start => self.0.len(),
            Some(_) | None => self.0.partition_point(|known| known.end < range.start),
        };
        let upto = from + self.0[from..].iter().take_while(|known| known.start <= range.end).count();
        if from == upto {
            self.0.insert(from, range);
            return;
        }
        self.0[from].start = self.0[from].start.min(range.start);
        self.0[from].end = self.0[upto - 1].end.max(range.end);
        self.0.drain(from + 1..upto);
    }

    /// Whether the number is in it.
    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|known| known.end <= number);
        self.0.get(at).is_some_and(|known| known.contains(&number))
    }

    /// Whether every number of `other` is in it.
    pub fn contains_all(&self, other: &Intervals) -> bool {
        other.0.iter().all(|wanted| {
            let at = self.0.partition_point(|known| known.end <= wanted.start);
            self.0.get(at).is_some_and(|known| known.start <= wanted.start && wanted.end <= known.end)
        })
    }

    /// Adds every number of `other`.
    pub fn insert_all(&mut self, other: &Intervals) {
        for range in &other.0 {
            self.insert(range.clone());
        }
    }

    /// What is in both.
    #[must_use]
    pub fn intersect(&self, other: &Intervals) -> Intervals {
        let (mut one, mut two) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some(a), Some(b)) = (one.peek(), two.peek()) {
            let range = a.start.max(b.start)..a.end.min(b.end);
            let a_ends_first = a.end < b.end;
            if !range.is_empty() {
                both.push(range);
            }
            if a_ends_first {
                one.next();
            } else {
                two.next();
            }
        }
        Intervals(both)
    }

    /// What of it is not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Intervals) -> Intervals {
        let mut rest = Vec::new();
        let mut taken = other.0.iter().peekable();
        for range in &self.0 {
            let mut start = range.start;
            while let Some(hole) = taken.peek() {
                if hole.start >= range.end {
                    break;
                }
                if start < hole.start {
                    rest.push(start..hole.start);
                }
                start = start.max(hole.end);
                if hole.end > range.end {
                    // It may reach into the next interval as well.
                    break;
                }
                taken.next();
            }
            if start < range.end {
                rest.push(start..range.end);
            }
        }
        Intervals(rest)
    }
}

impl FromIterator<Range<u64>> for Intervals {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut intervals = Intervals::default();
        for range in ranges {
            intervals.insert(range);
        }
        intervals
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges() -> impl Strategy<Value = Vec<Range<u64>>> {
        prop::collection::vec((1_u64..60, 0_u64..9).prop_map(|(start, length)| start..start + length), 0..12)
    }

    fn model(ranges: &[Range<u64>]) -> BTreeSet<u64> {
        ranges.iter().cloned().flatten().collect()
    }

    fn numbers(intervals: &Intervals) -> BTreeSet<u64> {
        intervals.iter().flatten().collect()
    }

    fn is_canonical(intervals: &Intervals) -> bool {
        intervals.0.iter().all(|range| !range.is_empty())
            && intervals.0.windows(2).all(|pair| pair[0].end < pair[1].start)
    }

    proptest! {
        #[test]
        fn intervals_are_the_set_of_their_numbers(a in ranges(), b in ranges(), number in 0_u64..70) {
            let (one, two) = (Intervals::from_iter(a.clone()), Intervals::from_iter(b.clone()));
            let (set, other) = (model(&a), model(&b));
            prop_assert_eq!(numbers(&one), set.clone());
            prop_assert!(is_canonical(&one));
            prop_assert_eq!(one.count(), set.len() as u64);
            prop_assert_eq!(one.is_empty(), set.is_empty());
            prop_assert_eq!(one.contains(number), set.contains(&number));
            prop_assert_eq!(one.contains_all(&two), set.is_superset(&other));
            let mut union = one.clone();
            union.insert_all(&two);
            prop_assert_eq!(numbers(&union), set.union(&other).copied().collect());
            let both = one.intersect(&two);
            prop_assert_eq!(numbers(&both), set.intersection(&other).copied().collect());
            let rest = one.subtract(&two);
            prop_assert_eq!(numbers(&rest), set.difference(&other).copied().collect());
            prop_assert!(is_canonical(&union) && is_canonical(&both) && is_canonical(&rest));
        }
    }

    #[test]
    fn numbers_in_their_order_make_one_interval() {
        let mut intervals = Intervals::default();
        for number in 1..=1000 {
            intervals.insert(number..number + 1);
        }
        assert_eq!(intervals, Intervals(Vec::from([Range { start: 1, end: 1001 }])));
    }
}
