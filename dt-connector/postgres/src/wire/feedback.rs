//! What the server is told during the copy: how far we have read, and how much of it is safe. Its own task, so that a
//! target that is slow, or a pause of any other kind, never makes the server give up the connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, BytesMut};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::Outgoing;
use crate::cdc::lsn::Lsn;

/// How far the stream is safe; shared by all connections that a stream has one after the other, and by the
/// acknowledger.
#[derive(Debug, Default)]
pub struct Acknowledged {
    // Everything before it is recorded (invariant 1). 0 is nothing.
    flushed: AtomicU64,
    received: AtomicU64,
    changed: Notify,
    // What the server has been told of `flushed`.
    told: AtomicU64,
    telling: Notify,
    // The task of the connection that there is. It outlives the reading, so that what is recorded last is told too.
    feedback: Mutex<Option<Feedback>>,
}

impl Acknowledged {
    /// Everything before `lsn` is recorded: the server may forget it. It never goes back.
    pub fn acknowledge(&self, lsn: Lsn) {
        if self.flushed.fetch_max(lsn.0, Ordering::AcqRel) < lsn.0 {
            self.changed.notify_one();
        }
    }

    /// What has been acknowledged.
    pub fn flushed(&self) -> Lsn {
        Lsn(self.flushed.load(Ordering::Acquire))
    }

    /// Everything before `lsn` has been read; that alone lets the server forget nothing.
    pub fn receive(&self, lsn: Lsn) {
        self.received.fetch_max(lsn.0, Ordering::Relaxed);
    }

    /// Waits until the server has been told; no longer than it takes where there is a connection.
    pub async fn told(&self, lsn: Lsn) {
        let telling = async {
            loop {
                let next = self.telling.notified();
                if self.told.load(Ordering::Acquire) >= lsn.0 {
                    return;
                }
                next.await;
            }
        };
        let is_telling = self.feedback.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if is_telling {
            // Not told is no harm: the next connection tells it.
            let _ = tokio::time::timeout(TELLING_MAX, telling).await;
        }
    }

    /// Tells the server from here on, each interval and whenever there is something to tell; no longer the one before.
    pub(crate) fn tell(self: &Arc<Self>, outgoing: Outgoing, interval: Duration) {
        let feedback = Feedback::start(outgoing, self.clone(), interval);
        *self.feedback.lock().unwrap_or_else(PoisonError::into_inner) = Some(feedback);
    }

    /// Tells no more: the connection is given up.
    pub fn hush(&self) {
        *self.feedback.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The server asks for an answer.
    pub fn answer(&self) {
        self.changed.notify_one();
    }
}

/// How long a last word to the server is waited for.
const TELLING_MAX: Duration = Duration::from_secs(1);

/// The task that tells the server; it ends with this value, or with the connection.
#[derive(Debug)]
struct Feedback(JoinHandle<()>);

impl Drop for Feedback {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Feedback {
    /// Begins to tell: at once, each interval, and whenever there is something to tell.
    fn start(mut outgoing: Outgoing, acknowledged: Arc<Acknowledged>, interval: Duration) -> Self {
        Feedback(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                // An answer is asked for now and then: it says how far the server has read, and that it is there.
                let ask = tokio::select! {
                    _ = ticks.tick() => true,
                    () = acknowledged.changed.notified() => false,
                };
                let flushed = acknowledged.flushed.load(Ordering::Acquire);
                let status = status(&acknowledged, flushed, ask, SystemTime::now());
                // The reading half sees that the connection is gone, and why.
                if outgoing.send(&status).await.is_err() {
                    return;
                }
                acknowledged.told.store(flushed, Ordering::Release);
                acknowledged.telling.notify_waiters();
            }
        }))
    }
}

/// `Standby status update` in a CopyData (PostgreSQL documentation, 55.4).
fn status(acknowledged: &Acknowledged, flushed: u64, ask: bool, now: SystemTime) -> BytesMut {
    const LENGTH: i32 = 4 + 1 + 8 + 8 + 8 + 8 + 1;
    const EPOCH_MICROS: i64 = 946_684_800_000_000;
    let received = acknowledged.received.load(Ordering::Relaxed).max(flushed);
    let micros = now.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0));
    let mut out = BytesMut::with_capacity(1 + LENGTH as usize);
    out.put_u8(b'd');
    out.put_i32(LENGTH);
    out.put_u8(b'r');
    out.put_u64(received);
    // Invariant 1: flushed is what the store has recorded, and no more.
    out.put_u64(flushed);
    out.put_u64(flushed);
    out.put_i64(micros - EPOCH_MICROS);
    out.put_u8(u8::from(ask));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_told_what_is_read_and_what_is_recorded() {
        let acknowledged = Acknowledged::default();
        acknowledged.receive(Lsn(0x500));
        acknowledged.acknowledge(Lsn(0x300));
        acknowledged.acknowledge(Lsn(0x200));
        let now = UNIX_EPOCH + Duration::from_secs(946_684_801);
        let status = status(&acknowledged, acknowledged.flushed().0, true, now);
        let mut expected = vec![b'd', 0, 0, 0, 38, b'r'];
        for number in [0x500u64, 0x300, 0x300, 1_000_000] {
            expected.extend(number.to_be_bytes());
        }
        expected.push(1);
        assert_eq!(status, expected, "what is acknowledged never goes back");
        assert_eq!(status.len(), 1 + 38);
    }

    #[test]
    fn nothing_is_acknowledged_before_something_is_recorded() {
        let acknowledged = Acknowledged::default();
        acknowledged.receive(Lsn(7));
        let status = status(&acknowledged, 0, false, UNIX_EPOCH);
        assert_eq!(&status[14..22], [0; 8]);
    }
}
