//! What the source must hold, kept by those who write to it. Pure: neither server is asked.

use std::collections::BTreeMap;

use super::shape::Shape;
use crate::dice::Dice;

/// Rows of each shape, by their number.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    rows: BTreeMap<Shape, BTreeMap<u64, Row>>,
    next: u64,
}

/// A row, or several that are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Row {
    value: u64,
    times: u64,
}

/// A change of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row; or one more of the same.
    Insert {
        /// Its number.
        n: u64,
        /// Its value.
        v: u64,
    },
    /// Another value.
    Update {
        /// Its number.
        n: u64,
        /// Its value from now on.
        v: u64,
    },
    /// Another key and number, and the same value.
    Move {
        /// Its number.
        n: u64,
        /// Its number from now on.
        to: u64,
        /// Its value.
        v: u64,
    },
    /// One row fewer.
    Delete {
        /// Its number.
        n: u64,
    },
}

/// What is written at a time.
pub type Transaction = Vec<(Shape, Change)>;

/// How a target's rows compare with what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Each row as often as it was written.
    Exactly,
    /// Each row at least as often, where no key tells it from the next.
    AtLeast,
}

/// Rows of one shape as a server has them: number, value, and how often.
pub type Counted = BTreeMap<(u64, u64), u64>;

impl Ledger {
    /// So many rows of each shape.
    pub fn fill(&mut self, shapes: &[Shape], rows: u64) -> Vec<Transaction> {
        let insert = |ledger: &mut Ledger, shape: Shape, n: u64| {
            let change = Change::Insert { n, v: shape.first_value(n) };
            ledger.note(shape, change);
            (shape, change)
        };
        let transactions = shapes.iter().map(|&shape| {
            // Rows that nothing tells apart are there three times each.
            let numbers = (0..rows).map(|n| if shape.has_key(n) { n } else { n - n % 3 });
            numbers.map(|n| insert(self, shape, n)).collect()
        });
        let transactions = transactions.collect();
        self.next = self.next.max(rows);
        transactions
    }

    /// Transactions of a few changes and one of many. `is_exact`: rows that no key tells apart are changed as well, not only
    /// added.
    pub fn burst(&mut self, shapes: &[Shape], dice: &mut Dice, is_exact: bool) -> Vec<Transaction> {
        let sizes = [1, 3, 1, 12, 1, 5, 120, 2, 7, 1];
        sizes.iter().map(|&size| (0..size).map(|_| self.change(shapes, dice, is_exact)).collect()).collect()
    }

    fn change(&mut self, shapes: &[Shape], dice: &mut Dice, is_exact: bool) -> (Shape, Change) {
        let shape = shapes[dice.pick(0..shapes.len() as u64) as usize];
        let there = self.rows.entry(shape).or_default();
        let among = there.len() as u64;
        let old = if among == 0 { None } else { there.keys().nth(dice.pick(0..among) as usize).copied() };
        let change = match (old, dice.pick(0..10)) {
            (Some(n), 0..2) if shape.has_key(n) || is_exact => Change::Delete { n },
            (Some(n), 2..6) if shape.has_key(n) => Change::Update { n, v: dice.pick(0..1 << 40) },
            (Some(n), 6) if shape.has_key(n) && shape.moves() => {
                let v = there[&n].value;
                Change::Move { n, to: self.number(|n| shape.has_key(n)), v }
            }
            (Some(n), 2..8) if !shape.has_key(n) => Change::Insert { n, v: shape.first_value(n) },
            (Some(_) | None, _) => {
                let n = self.number(|_| true);
                Change::Insert { n, v: shape.first_value(n) }
            }
        };
        self.note(shape, change);
        (shape, change)
    }

    fn number(&mut self, fits: impl Fn(u64) -> bool) -> u64 {
        while !fits(self.next) {
            self.next += 1;
        }
        self.next += 1;
        self.next - 1
    }

    fn note(&mut self, shape: Shape, change: Change) {
        let rows = self.rows.entry(shape).or_default();
        match change {
            Change::Insert { n, v } => rows.entry(n).or_insert(Row { value: v, times: 0 }).times += 1,
            Change::Update { n, v } => {
                rows.entry(n).and_modify(|row| row.value = v);
            }
            Change::Move { n, to, .. } => {
                if let Some(row) = rows.remove(&n) {
                    rows.insert(to, row);
                }
            }
            Change::Delete { n } => {
                if let Some(row) = rows.get_mut(&n) {
                    row.times -= 1;
                }
                rows.retain(|_, row| row.times > 0);
            }
        }
    }

    /// How many rows there are of a shape.
    pub fn count(&self, shape: Shape) -> u64 {
        self.rows.get(&shape).map_or(0, |rows| rows.values().map(|row| row.times).sum())
    }

    /// What a server has of a shape that it should not have, or the other way round; none if it is as it should be.
    pub fn differences(&self, shape: Shape, counted: &Counted, expected: Expected) -> Vec<String> {
        let mut differences = Vec::new();
        let wanted: Counted = match self.rows.get(&shape) {
            Some(rows) => rows.iter().map(|(n, row)| ((*n, row.value), row.times)).collect(),
            None => Counted::new(),
        };
        for (&(n, v), &times) in &wanted {
            let there = counted.get(&(n, v)).copied().unwrap_or(0);
            let is_right = match expected {
                Expected::AtLeast if !shape.has_key(n) => there >= times,
                Expected::AtLeast | Expected::Exactly => there == times,
            };
            if !is_right {
                differences.push(format!("n={n} v={v}: {there} instead of {times}"));
            }
        }
        let foreign = counted.iter().filter(|(row, _)| !wanted.contains_key(row));
        differences.extend(foreign.map(|((n, v), times)| format!("n={n} v={v}: {times} instead of none")));
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn played(transactions: &[Transaction], shape: Shape) -> Counted {
        let mut rows: Vec<(u64, u64)> = Vec::new();
        for (_, change) in transactions.iter().flatten().filter(|(of, _)| *of == shape) {
            let at = |n: u64| rows.iter().position(|row| row.0 == n);
            match *change {
                Change::Insert { n, v } => rows.push((n, v)),
                Change::Update { n, v } => {
                    let at = at(n).expect("a row to update");
                    rows[at].1 = v;
                }
                Change::Move { n, to, .. } => {
                    let at = at(n).expect("a row to move");
                    rows[at].0 = to;
                }
                Change::Delete { n } => {
                    rows.swap_remove(at(n).expect("a row to delete"));
                }
            }
        }
        rows.into_iter().fold(Counted::new(), |mut counted, row| {
            *counted.entry(row).or_default() += 1;
            counted
        })
    }

    #[test]
    fn the_ledger_says_what_the_changes_come_to() {
        for seed in 0..50 {
            let (mut ledger, mut dice) = (Ledger::default(), Dice::of(seed));
            let mut transactions = ledger.fill(&Shape::OF_SQL, 30);
            for _ in 0..3 {
                transactions.extend(ledger.burst(&Shape::OF_SQL, &mut dice, true));
            }
            for shape in Shape::OF_SQL {
                let counted = played(&transactions, shape);
                assert_eq!(ledger.differences(shape, &counted, Expected::Exactly), Vec::<String>::new(), "{seed}");
                assert_eq!(ledger.count(shape), counted.values().sum::<u64>());
            }
        }
    }

    #[test]
    fn a_row_too_many_too_few_or_other_is_seen() {
        let mut ledger = Ledger::default();
        let mut counted = played(&ledger.fill(&[Shape::Keyless], 3), Shape::Keyless);
        assert_eq!(counted.len(), 1);
        *counted.entry((0, 0)).or_default() += 1;
        assert_eq!(ledger.differences(Shape::Keyless, &counted, Expected::AtLeast), Vec::<String>::new());
        assert_eq!(ledger.differences(Shape::Keyless, &counted, Expected::Exactly).len(), 1);
        counted.insert((0, 0), 1);
        counted.insert((7, 7), 1);
        assert_eq!(ledger.differences(Shape::Keyless, &counted, Expected::AtLeast).len(), 2);
    }
}
