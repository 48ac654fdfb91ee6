//! Tables as the source's catalog describes them.

use crate::ids::TableId;

/// A base table of the source: its columns in order, and the key it is read by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableSchema {
    /// The table's exact name.
    pub id: TableId,
    /// The columns that are copied, in the table's order: generated columns and `ignore_cols` are left out.
    pub columns: Vec<Column>,
    /// The key that orders the table's rows, if it has one that can be used.
    pub key: Option<Key>,
    /// The server's own estimate of the number of rows; for progress bars only.
    pub rows_estimate: u64,
}

impl TableSchema {
    /// The column of that exact name, with its place.
    pub fn column(&self, name: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.name == name)
    }

    /// The names of the key's columns, in the key's order; empty for a table without a key.
    pub fn key_columns(&self) -> Vec<&str> {
        self.key.iter().flat_map(|key| key.columns.iter().map(|&at| self.columns[at].name.as_str())).collect()
    }
}

/// A column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its exact name.
    pub name: String,
    /// The type as the database itself writes it, in lower case: `bigint(20) unsigned`, `enum('a','b')`, `timestamptz`.
    pub data_type: String,
    /// Whether it may hold null.
    pub nullable: bool,
    /// The character set of a text column.
    pub charset: Option<String>,
    /// The collation of a text column.
    pub collation: Option<String>,
    /// What the server's binary form of the column's values is. Two servers whose columns have the same text here can
    /// pass each other the bytes; `None` where there is no such form.
    pub binary_form: Option<String>,
}

/// A unique key whose columns order a table's rows without ties (among rows without nulls in it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The index's name, `PRIMARY` for MySQL's primary key.
    pub name: String,
    /// Places in [`TableSchema::columns`], in the key's order; never empty.
    pub columns: Vec<usize>,
    /// Whether a column of it may be null: such rows are a range of their own, for nulls are not unique.
    pub nullable: bool,
}

/// A table with the names that it and its columns have on the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedTable {
    /// The table on the source.
    pub source: TableSchema,
    /// The table's name on the target.
    pub target: TableId,
    /// The columns' names on the target, one for each of `source.columns`.
    pub target_columns: Vec<String>,
}
