//! The buffers of blocks that are applied, used again for the next ones.
//!
//! Memory of this size is the system's own as soon as it is freed (`dt-main/src/allocator.rs`), and what comes from the
//! system is cleared page by page at its first use: a fifth of what a snapshot cost. All readers of a snapshot share the
//! buffers, and one is made only while all others hold rows, so that they take no more memory than rows in flight did.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers that hold nothing. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Spare {
    buffers: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A block's bytes, whose buffer goes back when the last of those who hold them is gone.
struct Lent {
    data: Vec<u8>,
    home: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.data));
    }
}

impl Spare {
    /// An empty buffer for so many bytes, and for not many more: a block counts in the memory budget by its length.
    pub fn take(&self, bytes: usize) -> Vec<u8> {
        let spare = self.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match spare {
            Some(buffer) if (bytes..=bytes + bytes / 4).contains(&buffer.capacity()) => buffer,
            // Freed, so that there are no more buffers than before.
            Some(_) | None => Vec::with_capacity(bytes),
        }
    }

    /// The bytes as a block's, whose buffer comes back here.
    pub fn lend(&self, data: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { data, home: self.clone() })
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_with_the_last_of_its_bytes() {
        let spare = Spare::default();
        let mut buffer = spare.take(100);
        buffer.extend_from_slice(b"rows");
        let place = buffer.as_ptr();
        let block = spare.lend(buffer);
        let part = block.slice(1..);
        drop(block);
        let other = spare.take(100);
        assert_ne!(other.as_ptr(), place);
        assert_eq!(part.as_ref(), b"ows");
        drop(part);
        let again = spare.take(100);
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn a_buffer_of_another_size_is_freed() {
        let spare = Spare::default();
        for bytes in [1000, 10, 1000] {
            let buffer = spare.take(bytes);
            assert!((bytes..=bytes + bytes / 4).contains(&buffer.capacity()), "{bytes}");
            drop(spare.lend(buffer));
        }
        assert_eq!(spare.buffers.lock().expect("spare").len(), 1);
    }
}
