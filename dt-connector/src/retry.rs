//! How long a lost connection is retried (invariant 12). Pure but for [`chance`]: the clock and the chance
//! come in as arguments.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How long failures in a row may last before they are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryBudget {
    /// The time since the last success after which a transient error becomes final.
    pub total: Duration,
}

/// A number in 0..1 that spreads the pauses of many tasks; nothing depends on it but that.
pub fn chance() -> f64 {
    f64::from(RandomState::new().hash_one(0) as u32) / f64::from(u32::MAX)
}

/// The first pause; each further one is twice as long, up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Counts the failures since the last success.
#[derive(Clone, Debug)]
pub struct Backoff {
    budget: RetryBudget,
    failing_since: Option<Duration>,
    attempts: u32,
}

impl Backoff {
    /// A backoff that has not failed yet.
    pub fn new(budget: RetryBudget) -> Self {
        Backoff { budget, failing_since: None, attempts: 0 }
    }

    /// Something worked: the budget is whole again.
    pub fn succeeded(&mut self) {
        self.failing_since = None;
        self.attempts = 0;
    }

    /// Something failed at `now` (any monotonic clock). The pause before the next try, or `None` if the budget is
    /// spent. `chance` in 0..1 spreads the pauses of many tasks.
    pub fn failed(&mut self, now: Duration, chance: f64) -> Option<Duration> {
        let since = *self.failing_since.get_or_insert(now);
        if now.saturating_sub(since) >= self.budget.total {
            return None;
        }
        let whole = PAUSE_FIRST.saturating_mul(1 << self.attempts.min(16)).min(PAUSE_MAX);
        self.attempts += 1;
        Some(whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0))
    }

    /// How many failures in a row there were.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: RetryBudget = RetryBudget { total: Duration::from_secs(30) };

    #[test]
    fn pauses_double_up_to_a_bound() {
        let mut backoff = Backoff::new(BUDGET);
        let pauses: Vec<u128> =
            (0..8).map(|_| backoff.failed(Duration::ZERO, 1.0).expect("within budget").as_millis()).collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn the_budget_counts_from_the_first_failure_and_a_success_restores_it() {
        let mut backoff = Backoff::new(BUDGET);
        assert!(backoff.failed(Duration::from_secs(100), 0.5).is_some());
        assert!(backoff.failed(Duration::from_secs(129), 0.5).is_some());
        assert_eq!(backoff.failed(Duration::from_secs(130), 0.5), None);
        backoff.succeeded();
        assert!(backoff.failed(Duration::from_secs(131), 0.5).is_some());
    }
}
