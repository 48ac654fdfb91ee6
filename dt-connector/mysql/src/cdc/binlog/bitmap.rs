//! One bit per column, the first column in the lowest bit of the first byte.

use bytes::Bytes;

/// Which columns of a table are meant, by their ordinal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitmap {
    bits: Bytes,
    columns: usize,
}

impl Bitmap {
    /// The bytes that a bitmap of so many columns takes.
    pub const fn bytes_for(columns: usize) -> usize {
        columns.div_ceil(8)
    }

    /// A bitmap over `columns` columns; `None` if there are too few or too many bytes for them.
    pub fn new(bits: Bytes, columns: usize) -> Option<Self> {
        (bits.len() == Self::bytes_for(columns)).then_some(Bitmap { bits, columns })
    }

    /// How many columns it speaks of.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Whether the column is meant; `false` for an ordinal beyond the last column.
    pub fn contains(&self, column: usize) -> bool {
        column < self.columns && self.bits.get(column / 8).is_some_and(|byte| byte >> (column % 8) & 1 == 1)
    }

    /// How many columns are meant.
    pub fn count(&self) -> usize {
        (0..self.columns).filter(|&column| self.contains(column)).count()
    }

    /// Whether every column is meant.
    pub fn is_full(&self) -> bool {
        self.count() == self.columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_beyond_the_last_column_say_nothing() {
        let bitmap = Bitmap::new(Bytes::from_static(&[0xff, 0xf9]), 10).expect("two bytes for ten columns");
        assert!((0..9).all(|column| bitmap.contains(column)));
        assert!(!bitmap.contains(9));
        assert!(!bitmap.contains(12));
        assert_eq!(bitmap.count(), 9);
        assert!(!bitmap.is_full());
    }

    #[test]
    fn a_bitmap_has_exactly_the_bytes_that_its_columns_need() {
        assert_eq!(Bitmap::new(Bytes::from_static(&[0]), 9), None);
        assert_eq!(Bitmap::new(Bytes::from_static(&[0, 0, 0]), 9), None);
        assert!(Bitmap::new(Bytes::new(), 0).is_some());
    }
}
