//! The stores without a server pass the suite that every store passes. Those in a database do so in dt-tests.

use async_trait::async_trait;
use dt_common::Result;
use dt_resumer::testkit::{Bench, conforms};
use dt_resumer::{LogOptions, LogStore, MemoryStore, PositionStore};

struct Memory(MemoryStore);

#[async_trait]
impl Bench for Memory {
    async fn open(&self) -> Result<Box<dyn PositionStore>> {
        Ok(Box::new(self.0.clone()))
    }

    async fn open_elsewhere(&self) -> Option<Result<Box<dyn PositionStore>>> {
        None
    }

    async fn take_over(&self) -> Option<Result<Box<dyn PositionStore>>> {
        None
    }

    async fn reset(&self) {
        self.0.forget();
    }

    fn disturb(&self) {
        self.0.fail_next_saves(2);
    }
}

#[tokio::test]
async fn positions_in_memory_are_kept_as_promised() {
    conforms(&Memory(MemoryStore::new())).await;
}

struct Files(tempfile::TempDir);

impl Files {
    fn options(&self) -> LogOptions {
        LogOptions::new(self.0.path().join("logs"))
    }
}

#[async_trait]
impl Bench for Files {
    async fn open(&self) -> Result<Box<dyn PositionStore>> {
        Ok(Box::new(LogStore::open(self.options()).await?))
    }

    async fn open_elsewhere(&self) -> Option<Result<Box<dyn PositionStore>>> {
        Some(self.open().await)
    }

    // A lock of the kernel goes with its process and with nothing else.
    async fn take_over(&self) -> Option<Result<Box<dyn PositionStore>>> {
        None
    }

    async fn reset(&self) {
        let mut store = LogStore::open(self.options()).await.expect("nobody has the files");
        store.set_aside().await.expect("the files are set aside");
    }

    // How a torn write is undone is in the store's own tests, on a disk that fails.
    fn disturb(&self) {}
}

#[tokio::test]
async fn positions_in_files_are_kept_as_promised() {
    conforms(&Files(tempfile::tempdir().expect("a temporary folder"))).await;
}
