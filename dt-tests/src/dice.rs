//! Chance that can be repeated: a test prints its seed, and `DT_SEED` plays it again.

use std::ops::Range;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A seeded source of numbers (splitmix64). Not for secrets.
#[derive(Debug, Clone)]
pub struct Dice {
    state: u64,
    seed: u64,
}

impl Dice {
    /// Dice that fall the same way for the same seed.
    pub fn of(seed: u64) -> Self {
        Dice { state: seed, seed }
    }

    /// Dice of a seed for what has this name: it falls the same way whatever is done beside it.
    pub fn named(seed: u64, name: &str) -> Self {
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Dice::of(seed ^ hash)
    }

    /// Dice of the seed in `DT_SEED`, or of the clock. The test prints [`Dice::seed`].
    pub fn new() -> Self {
        let seed = match std::env::var("DT_SEED").ok().and_then(|text| text.parse().ok()) {
            Some(seed) => seed,
            None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_nanos() as u64),
        };
        Dice::of(seed)
    }

    /// What `DT_SEED` must be for the same numbers.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The next number.
    pub fn roll(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of the range, which must not be empty.
    pub fn pick(&mut self, range: Range<u64>) -> u64 {
        range.start + self.roll() % (range.end - range.start)
    }

    /// A moment before `end`.
    pub fn moment(&mut self, end: Duration) -> Duration {
        Duration::from_micros(self.pick(0..(end.as_micros() as u64).max(1)))
    }
}

impl Default for Dice {
    fn default() -> Self {
        Dice::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut one, mut other) = (Dice::of(7), Dice::of(7));
        let rolls: Vec<u64> = (0..100).map(|_| one.pick(3..9)).collect();
        assert_eq!(rolls, (0..100).map(|_| other.pick(3..9)).collect::<Vec<_>>());
        assert!(rolls.iter().all(|roll| (3..9).contains(roll)));
        assert!((3..9).all(|face| rolls.contains(&face)));
    }
}
