//! Rate limits: a token bucket that says how long to pause. Pure: the clock comes in, and it never sleeps.

use std::time::Duration;

/// Upper bounds on a flow; `None` is no bound. From `max_rps` and `max_mbps`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RateLimit {
    /// Rows a second.
    pub rows_per_sec: Option<u64>,
    /// Bytes a second.
    pub bytes_per_sec: Option<u64>,
}

/// Rows and bytes against their limits.
#[derive(Clone, Debug)]
pub struct Pacer {
    rows: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Pacer {
    /// A pacer whose buckets are full at time zero. A limit of 0 is no limit, as in the configuration.
    pub fn new(limit: RateLimit) -> Self {
        let bucket = |per_sec: Option<u64>| per_sec.filter(|&per_sec| per_sec > 0).map(Bucket::new);
        Pacer { rows: bucket(limit.rows_per_sec), bytes: bucket(limit.bytes_per_sec) }
    }

    /// Takes what is about to flow at `now`, and answers how long to pause before it may.
    pub fn take(&mut self, rows: u64, bytes: u64, now: Duration) -> Duration {
        let rows = self.rows.as_mut().map_or(Duration::ZERO, |bucket| bucket.take(rows, now));
        let bytes = self.bytes.as_mut().map_or(Duration::ZERO, |bucket| bucket.take(bytes, now));
        rows.max(bytes)
    }
}

/// Holds a tenth of a second's tokens, and goes into debt for a take that is larger than what is there: the debt is
/// the pause. So a take may be of any size, and over any stretch of time no more than the limit plus one burst flows.
#[derive(Clone, Debug)]
struct Bucket {
    per_sec: f64,
    tokens: f64,
    filled_at: Duration,
}

const BURST_SECS: f64 = 0.1;

impl Bucket {
    fn new(per_sec: u64) -> Self {
        let per_sec = per_sec as f64;
        Bucket { per_sec, tokens: per_sec * BURST_SECS, filled_at: Duration::ZERO }
    }

    fn take(&mut self, tokens: u64, now: Duration) -> Duration {
        let elapsed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.filled_at = self.filled_at.max(now);
        self.tokens = (self.tokens + elapsed * self.per_sec).min(self.per_sec * BURST_SECS) - tokens as f64;
        // A debt of more than a year is a misconfiguration, but no reason for a panic.
        Duration::try_from_secs_f64((-self.tokens / self.per_sec).clamp(0.0, 31_536_000.0)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_limit_nothing_waits() {
        for limit in [RateLimit::default(), RateLimit { rows_per_sec: Some(0), bytes_per_sec: Some(0) }] {
            assert_eq!(Pacer::new(limit).take(u64::MAX, u64::MAX, Duration::ZERO), Duration::ZERO);
        }
    }

    #[test]
    fn over_any_stretch_no_more_than_the_limit_and_one_burst_flows() {
        let mut pacer = Pacer::new(RateLimit { rows_per_sec: Some(1000), bytes_per_sec: None });
        let (mut now, mut rows) = (Duration::ZERO, 0);
        while now < Duration::from_secs(10) {
            now += pacer.take(300, 0, now);
            rows += 300;
        }
        assert!((10_000..=10_400).contains(&rows), "{rows} rows in 10 s");
    }

    #[test]
    fn an_idle_minute_earns_no_more_than_one_burst() {
        let mut pacer = Pacer::new(RateLimit { rows_per_sec: None, bytes_per_sec: Some(1000) });
        let pause = pacer.take(0, 1100, Duration::from_secs(60));
        assert_eq!(pause, Duration::from_secs(1));
    }

    #[test]
    fn the_tighter_limit_decides() {
        let mut pacer = Pacer::new(RateLimit { rows_per_sec: Some(10), bytes_per_sec: Some(1_000_000) });
        assert_eq!(pacer.take(11, 10, Duration::ZERO), Duration::from_secs(1));
    }
}
