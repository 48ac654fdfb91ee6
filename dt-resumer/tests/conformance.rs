//! The stores without a server pass the suite that every store passes. Those in a database do so in dt-tests.

use async_trait::async_trait;
use dt_common::Result;
use dt_resumer::testkit::{Bench, conforms};
use dt_resumer::{LogOptions, LogStore, MemoryStore, Mirrored, PositionStore};

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

struct Mirror(MemoryStore, Files);

#[async_trait]
impl Bench for Mirror {
    async fn open(&self) -> Result<Box<dyn PositionStore>> {
        Ok(Box::new(Mirrored::new(self.0.clone(), LogStore::open(self.1.options()).await?)))
    }

    async fn open_elsewhere(&self) -> Option<Result<Box<dyn PositionStore>>> {
        None
    }

    async fn take_over(&self) -> Option<Result<Box<dyn PositionStore>>> {
        None
    }

    async fn reset(&self) {
        self.0.forget();
        self.1.reset().await;
    }

    fn disturb(&self) {
        self.0.fail_next_saves(2);
    }
}

#[tokio::test]
async fn positions_that_are_copied_to_files_are_kept_as_promised() {
    conforms(&Mirror(MemoryStore::new(), Files(tempfile::tempdir().expect("a temporary folder")))).await;
}

#[tokio::test]
async fn files_that_cannot_be_written_do_not_stop_a_store_that_is_copied_to_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = Files(folder);
    // A line that cannot be read: nothing is appended to such a file.
    std::fs::create_dir(files.0.path().join("logs")).expect("a folder");
    std::fs::write(files.0.path().join("logs/position.log"), "what is this?\nand this?\n").expect("a file");
    let memory = MemoryStore::new();
    let mut store = Mirrored::new(memory.clone(), LogStore::open(files.options()).await.expect("the files are ours"));
    let entry = dt_common::ladder::Entry {
        rung: dt_common::ladder::Rung::Checkpoint,
        position: dt_common::Position::PgCdc(dt_common::position::PgCdc {
            behind: None,
            lsn: "0/1".to_owned(),
            timestamp: String::new(),
            origin: None,
            lineage: dt_common::position::Lineage::default(),
        }),
    };
    let saved = store.save(dt_common::ladder::Recordable::of_applied(vec![entry])).await.expect("the memory has it");
    assert_eq!((saved.entries().len(), memory.entries().len()), (1, 1));
}
