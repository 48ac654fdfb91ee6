//! SIGTERM and SIGINT: the first drains (invariant 9), the second exits at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Which signal has come, if any.
#[derive(Clone, Debug, Default)]
pub struct Signals(Arc<AtomicU8>);

impl Signals {
    /// Listens; the receiver turns true with the first signal.
    pub fn listen() -> std::io::Result<(Self, watch::Receiver<bool>)> {
        let seen = Signals::default();
        let (stop, stopped) = watch::channel(false);
        for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
            let mut signals = signal(kind)?;
            let number = u8::try_from(kind.as_raw_value()).expect("signals: SIGTERM and SIGINT are small numbers");
            let (seen, stop) = (seen.clone(), stop.clone());
            tokio::spawn(async move {
                while signals.recv().await.is_some() {
                    if seen.0.swap(number, Ordering::SeqCst) != 0 {
                        // Everything recorded so far is on disk: this is a kill like any other.
                        std::process::exit(i32::from(128 + number));
                    }
                    tracing::warn!(
                        "stopping: what was read is written and recorded first; a second signal stops at once"
                    );
                    // Nobody listens any more once the task is over.
                    let _ = stop.send(true);
                }
            });
        }
        Ok((seen, stopped))
    }

    /// The signal that came first.
    pub fn seen(&self) -> Option<u8> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            number => Some(number),
        }
    }
}
