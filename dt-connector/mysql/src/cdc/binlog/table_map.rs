//! The event that says what the rows events after it are about: a table's name, and the types of its columns.
//!
//! Types come with it always; names, labels, keys and visibility only with `binlog_row_metadata=FULL`.

use super::bitmap::Bitmap;
use super::error::BadEvent;
use super::input::Input;
use super::{kind, optional};

/// A column as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireColumn {
    /// `MYSQL_TYPE_*`, with ENUM (247) and SET (248) found behind the STRING (254) that the wire says.
    pub kind: u8,
    /// What the type needs besides, by `kind`:
    /// STRING, VARCHAR, VAR_STRING, VARCHAR_COMPRESSED: the longest value in bytes;
    /// BLOB, JSON, GEOMETRY, VECTOR, BLOB_COMPRESSED: how many bytes a value's length takes (1 to 4);
    /// ENUM and SET: how many bytes a value takes; FLOAT and DOUBLE likewise;
    /// NEWDECIMAL: the precision in the high byte, the scale in the low one;
    /// BIT: the whole bytes in the high byte, the further bits in the low one;
    /// TIME2, DATETIME2, TIMESTAMP2: the digits of the fraction; 0 for all others.
    pub meta: u16,
    /// Whether it can be null.
    pub nullable: bool,
}

/// A part of a primary key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPart {
    /// The column's ordinal, from 0.
    pub column: usize,
    /// How many characters of it are in the key; `None` for all.
    pub prefix: Option<u64>,
}

/// A table as the rows events after it see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap {
    /// The number by which rows events name the table, until the next map of that number.
    pub table_id: u64,
    /// The table's schema.
    pub schema: String,
    /// The table's name.
    pub table: String,
    /// All its columns, in order, those without a visible place included.
    pub columns: Vec<WireColumn>,
    /// The columns' names, in order; with `binlog_row_metadata=FULL` only.
    pub names: Option<Vec<String>>,
    /// Whether each column is unsigned (`false` for columns without a sign); `None` when the server doesn't say:
    /// before MySQL 8.0 and MariaDB 10.5, and for a table without any numeric column.
    pub unsigned: Option<Vec<bool>>,
    /// Each column's collation, by its number; `None` where the server doesn't say (for ENUM and SET it does with
    /// `binlog_row_metadata=FULL` only). 63 is binary.
    pub collations: Vec<Option<u64>>,
    /// The labels of each ENUM column, in its own character set, empty for columns of other types; with
    /// `binlog_row_metadata=FULL` only, and when there is such a column.
    pub enum_values: Option<Vec<Vec<Vec<u8>>>>,
    /// The same for SET columns.
    pub set_values: Option<Vec<Vec<Vec<u8>>>>,
    /// Each GEOMETRY column's type (0 any, 1 point, 2 line string, …); `None` for other columns.
    pub geometry_types: Vec<Option<u64>>,
    /// The primary key's parts in its order; with `binlog_row_metadata=FULL` only, `None` also without a key.
    pub primary_key: Option<Vec<KeyPart>>,
    /// Whether each column is visible; MySQL with `binlog_row_metadata=FULL` only.
    pub visible: Option<Vec<bool>>,
    /// Each VECTOR column's number of dimensions; `None` for other columns.
    pub dimensions: Vec<Option<u64>>,
}

impl TableMap {
    pub(super) fn parse(mut input: Input<'_>, mariadb: bool) -> Result<Self, BadEvent> {
        let table_id = input.uint::<6>()?;
        // Flags, without meaning for a reader.
        input.u16()?;
        let schema = name(&mut input)?;
        let table = name(&mut input)?;
        let count = input.count(1)?;
        let kinds = input.take(count)?;
        let meta_bytes = input.lenenc()?;
        let mut meta = input.part(meta_bytes)?;
        let nullable = input.take(Bitmap::bytes_for(count))?;
        let column = |(at, wire): (usize, &u8)| {
            let (kind, value) = kind::resolve(*wire, &mut meta)?;
            Ok(WireColumn { kind, meta: value, nullable: nullable[at / 8] >> (at % 8) & 1 == 1 })
        };
        let columns = kinds.iter().enumerate().map(column).collect::<Result<Vec<_>, _>>()?;
        meta.end()?;
        let map = TableMap {
            table_id,
            schema,
            table,
            names: None,
            unsigned: None,
            collations: vec![None; count],
            enum_values: None,
            set_values: None,
            geometry_types: vec![None; count],
            primary_key: None,
            visible: None,
            dimensions: vec![None; count],
            columns,
        };
        optional::parse(map, input, mariadb)
    }
}

fn name(input: &mut Input<'_>) -> Result<String, BadEvent> {
    let length = input.lenenc()?;
    let name = input.text(length)?;
    input.nul()?;
    Ok(name)
}
