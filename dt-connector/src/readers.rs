//! The readers of a snapshot: each works through one queue of tables, or chunks of tables, until nothing is left in it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dt_common::{Error, Result};
use tokio::task::JoinSet;

use crate::outlet::{Outlet, Stopped};

/// Why a reader ends before its tables do.
#[derive(Debug)]
pub enum Interrupted {
    /// The pipeline takes no more.
    Stopped,
    /// For good.
    Failed(Error),
}

impl From<Stopped> for Interrupted {
    fn from(_: Stopped) -> Self {
        Interrupted::Stopped
    }
}

impl From<Error> for Interrupted {
    fn from(error: Error) -> Self {
        Interrupted::Failed(error)
    }
}

/// What comes of reading.
pub type Reading<T> = std::result::Result<T, Interrupted>;

/// One connection's worth of reading.
#[async_trait]
pub trait Reader<T: Sync>: Send + 'static {
    /// Reads a table to its end, over as many connections as it takes.
    async fn read(&mut self, table: &T) -> Reading<()>;

    /// There is nothing left to read.
    async fn finish(self);
}

/// Reads the tables in order, as many at a time as there are to be readers, each made by `reader`. The first error ends all
/// of them; a stop of the outlet is a clean return.
///
/// # Errors
/// The first that a reader fails with.
pub async fn read_all<T, R>(tables: Vec<T>, readers: usize, outlet: &Outlet, reader: impl Fn() -> R) -> Result<()>
where
    T: Send + Sync + 'static,
    R: Reader<T>,
{
    let readers = readers.clamp(1, tables.len().max(1));
    let tables = Arc::new(Mutex::new(VecDeque::from(tables)));
    let mut running = JoinSet::new();
    for _ in 0..readers {
        running.spawn(work(reader(), tables.clone(), outlet.clone()));
    }
    // The first error ends the others: dropping the set aborts them.
    while let Some(ended) = running.join_next().await {
        match ended.map_err(|error| Error::fatal("a table reader broke off").caused_by(error))? {
            Ok(()) | Err(Interrupted::Stopped) => {}
            Err(Interrupted::Failed(error)) => return Err(error),
        }
    }
    Ok(())
}

async fn work<T, R>(mut reader: R, tables: Arc<Mutex<VecDeque<T>>>, outlet: Outlet) -> Reading<()>
where
    T: Send + Sync + 'static,
    R: Reader<T>,
{
    loop {
        let next = tables.lock().expect("readers: one panicked with the list of tables").pop_front();
        let Some(table) = next else { break };
        // Wherever the reader waits, a stop ends it; what it has sent is whole blocks.
        tokio::select! {
            biased;
            stopped = outlet.stopped() => return Err(stopped.into()),
            read = reader.read(&table) => read?,
        }
    }
    reader.finish().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::watch;

    use super::*;

    #[derive(Default)]
    struct Seen {
        read: Mutex<Vec<u32>>,
        finished: AtomicUsize,
    }

    struct Counting(Arc<Seen>);

    #[async_trait]
    impl Reader<u32> for Counting {
        async fn read(&mut self, table: &u32) -> Reading<()> {
            if *table == 99 {
                return Err(Error::fatal("99").into());
            }
            if *table == 0 {
                // Waits for ever: only a stop ends it.
                std::future::pending::<()>().await;
            }
            self.0.read.lock().expect("seen").push(*table);
            Ok(())
        }

        async fn finish(self) {
            self.0.finished.fetch_add(1, Ordering::Relaxed);
        }
    }

    async fn read(tables: Vec<u32>, readers: usize, stop: bool) -> (Result<()>, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        let (sender, stopped) = watch::channel(false);
        let (outlet, _deliveries) = Outlet::new(1024, stopped);
        let reading = read_all(tables, readers, &outlet, || Counting(seen.clone()));
        let stopping = async {
            tokio::task::yield_now().await;
            if stop {
                sender.send_replace(true);
            }
        };
        let (read, ()) = tokio::join!(reading, stopping);
        drop(sender);
        (read, seen)
    }

    #[tokio::test]
    async fn every_table_is_read_once_by_no_more_readers_than_tables() {
        for readers in [0, 1, 3, 9] {
            let (read, seen) = read(vec![1, 2, 3, 4], readers, false).await;
            read.expect("no error");
            let mut tables = seen.read.lock().expect("seen").clone();
            tables.sort_unstable();
            assert_eq!(tables, [1, 2, 3, 4]);
            assert_eq!(seen.finished.load(Ordering::Relaxed), readers.clamp(1, 4));
        }
    }

    #[tokio::test]
    async fn the_first_error_ends_the_others_and_a_stop_is_no_error() {
        // One that waits for ever would keep it from returning.
        assert!(read(vec![0, 99], 2, false).await.0.is_err());
        let (stopped, seen) = read(vec![0, 1], 1, true).await;
        stopped.expect("a stop is clean");
        assert_eq!(seen.finished.load(Ordering::Relaxed), 0);
    }
}
