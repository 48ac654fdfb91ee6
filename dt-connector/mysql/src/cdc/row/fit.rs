//! One column: how it lies on the wire and is written, decided once from the type that the schema says and the type
//! that the wire says; or why the two do not fit.

use dt_common::schema::Column;

use super::decimal::Decimal;
use super::labels::Labels;
use super::temporal::fraction_bytes;
use super::value::{Form, Layout};
use crate::cdc::binlog::WireColumn;
use crate::value::{self, Kind};

/// `MYSQL_TYPE_*`, as the servers' field_types.h numbers them.
pub(super) mod wire {
    pub(in super::super) const TINY: u8 = 1;
    pub(in super::super) const SHORT: u8 = 2;
    pub(in super::super) const LONG: u8 = 3;
    pub(in super::super) const FLOAT: u8 = 4;
    pub(in super::super) const DOUBLE: u8 = 5;
    pub(in super::super) const TIMESTAMP: u8 = 7;
    pub(in super::super) const LONGLONG: u8 = 8;
    pub(in super::super) const INT24: u8 = 9;
    pub(in super::super) const DATE: u8 = 10;
    pub(in super::super) const TIME: u8 = 11;
    pub(in super::super) const DATETIME: u8 = 12;
    pub(in super::super) const YEAR: u8 = 13;
    pub(in super::super) const NEWDATE: u8 = 14;
    pub(in super::super) const VARCHAR: u8 = 15;
    pub(in super::super) const BIT: u8 = 16;
    pub(in super::super) const TIMESTAMP2: u8 = 17;
    pub(in super::super) const DATETIME2: u8 = 18;
    pub(in super::super) const TIME2: u8 = 19;
    pub(in super::super) const BLOB_COMPRESSED: u8 = 140;
    pub(in super::super) const VARCHAR_COMPRESSED: u8 = 141;
    pub(in super::super) const VECTOR: u8 = 242;
    pub(in super::super) const JSON: u8 = 245;
    pub(in super::super) const NEWDECIMAL: u8 = 246;
    pub(in super::super) const ENUM: u8 = 247;
    pub(in super::super) const SET: u8 = 248;
    pub(in super::super) const TINY_BLOB: u8 = 249;
    pub(in super::super) const MEDIUM_BLOB: u8 = 250;
    pub(in super::super) const LONG_BLOB: u8 = 251;
    pub(in super::super) const BLOB: u8 = 252;
    pub(in super::super) const VAR_STRING: u8 = 253;
    pub(in super::super) const STRING: u8 = 254;
    pub(in super::super) const GEOMETRY: u8 = 255;
}

/// Why a column does not fit, without its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    pub(super) what: String,
    pub(super) hint: Option<&'static str>,
}

impl Misfit {
    pub(super) fn new(what: impl Into<String>) -> Self {
        Misfit { what: what.into(), hint: None }
    }
}

/// Where a value of the column ends on the wire, whatever the schema says: columns that are not copied are skipped
/// by this alone.
pub(super) fn layout(column: &WireColumn) -> Result<Layout, Misfit> {
    let [high, low] = column.meta.to_be_bytes();
    let counted = |width: u8| {
        let known = (1..=4).contains(&width).then_some(Layout::Counted(width));
        known.ok_or_else(|| Misfit::new("has values whose length takes an unknown number of bytes"))
    };
    let fraction = |whole: usize| {
        let known = (low <= 6).then(|| Layout::Fixed(whole + fraction_bytes(low)));
        known.ok_or_else(|| Misfit::new("has a fraction of more than six digits"))
    };
    Ok(match column.kind {
        wire::TINY | wire::YEAR => Layout::Fixed(1),
        wire::SHORT => Layout::Fixed(2),
        wire::INT24 | wire::DATE | wire::NEWDATE | wire::TIME => Layout::Fixed(3),
        wire::LONG | wire::FLOAT | wire::TIMESTAMP => Layout::Fixed(4),
        wire::LONGLONG | wire::DOUBLE | wire::DATETIME => Layout::Fixed(8),
        wire::TIME2 => fraction(3)?,
        wire::TIMESTAMP2 => fraction(4)?,
        wire::DATETIME2 => fraction(5)?,
        wire::BIT => Layout::Fixed(usize::from(high) + usize::from(low > 0)),
        wire::NEWDECIMAL => match Decimal::new(high, low) {
            Some(decimal) => Layout::Fixed(decimal.bytes()),
            None => return Err(Misfit::new(format!("is a DECIMAL({high},{low}) in the binlog"))),
        },
        wire::ENUM | wire::SET if (1..=8).contains(&column.meta) => Layout::Fixed(usize::from(column.meta)),
        wire::VARCHAR | wire::VAR_STRING | wire::STRING | wire::VARCHAR_COMPRESSED => {
            Layout::Counted(if column.meta < 256 { 1 } else { 2 })
        }
        wire::BLOB
        | wire::TINY_BLOB
        | wire::MEDIUM_BLOB
        | wire::LONG_BLOB
        | wire::BLOB_COMPRESSED
        | wire::JSON
        | wire::GEOMETRY
        | wire::VECTOR => counted(low)?,
        other => return Err(Misfit::new(format!("has the type {other} in the binlog, which dt does not know"))),
    })
}

/// The labels that the wire itself brings for an ENUM or SET column.
pub(super) type WireLabels<'a> = Option<&'a [Vec<u8>]>;

/// How the column's values are written.
pub(super) fn form(column: &Column, wire: &WireColumn, labels: WireLabels<'_>) -> Result<Form, Misfit> {
    let kind = value::kind(&column.data_type)
        .ok_or_else(|| Misfit::new(format!("has the type `{}`, which dt does not know", column.data_type)))?;
    let declared = Declared::of(column);
    let found = match kind {
        Kind::Integer => integer(&declared, wire),
        Kind::Decimal => decimal(&declared, wire),
        Kind::Float => (wire.kind == wire::FLOAT).then_some(Form::Float),
        Kind::Double => double(&declared, wire),
        Kind::Bit => bit(&declared, wire),
        Kind::Year => (wire.kind == wire::YEAR).then_some(Form::Year { two_digits: declared.number(0) == Some(2) }),
        Kind::Temporal => temporal(&declared, wire),
        Kind::Text | Kind::Binary | Kind::Vector | Kind::Geometry => bytes(kind, &declared, wire),
        Kind::Enum | Kind::Set => return choice(kind, column, wire, labels),
        Kind::Json => (wire.kind == wire::JSON).then_some(Form::Json),
        Kind::Special => special(&declared, wire),
    };
    found.ok_or_else(|| misfit(column, wire))
}

fn misfit(column: &Column, wire: &WireColumn) -> Misfit {
    let [high, low] = wire.meta.to_be_bytes();
    Misfit::new(format!(
        "is `{}` in the schema and of the type {} ({high}, {low}) in the binlog",
        shortened(&column.data_type),
        wire.kind
    ))
}

/// Labels may fill pages.
fn shortened(data_type: &str) -> &str {
    match value::kind(data_type) {
        Some(Kind::Enum | Kind::Set) => data_type.split('(').next().unwrap_or_default(),
        _ => data_type,
    }
}

/// A column's type in its parts: `int(8) unsigned zerofill`.
struct Declared<'a> {
    word: &'a str,
    numbers: Option<&'a str>,
    attributes: &'a str,
}

impl<'a> Declared<'a> {
    fn of(column: &'a Column) -> Self {
        let text = column.data_type.as_str();
        let end = text.find(['(', ' ']).unwrap_or(text.len());
        let (word, rest) = text.split_at(end);
        let within = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
        let (numbers, attributes) = within.map_or((None, rest), |(numbers, after)| (Some(numbers), after));
        Declared { word, numbers, attributes }
    }

    fn number(&self, at: usize) -> Option<u16> {
        self.numbers.and_then(|numbers| numbers.split(',').nth(at)).and_then(|text| text.trim().parse().ok())
    }

    fn says(&self, attribute: &str) -> bool {
        self.attributes.split_ascii_whitespace().any(|word| word == attribute)
    }
}

/// Whether the schema says that the column has no sign; `None` for a type without one.
pub(super) fn is_unsigned(column: &Column) -> Option<bool> {
    let declared = Declared::of(column);
    match value::kind(&column.data_type) {
        Some(Kind::Integer | Kind::Decimal | Kind::Float | Kind::Double) => {
            Some(declared.says("unsigned") || declared.says("zerofill"))
        }
        _ => None,
    }
}

fn integer(declared: &Declared<'_>, wire: &WireColumn) -> Option<Form> {
    let kind = match declared.word {
        "tinyint" => wire::TINY,
        "smallint" => wire::SHORT,
        "mediumint" => wire::INT24,
        "int" | "integer" => wire::LONG,
        "bigint" => wire::LONGLONG,
        _ => return None,
    };
    if wire.kind != kind {
        return None;
    }
    Some(if declared.says("zerofill") {
        // The server shows the width of each zerofill column.
        Form::Padded(usize::from(declared.number(0).unwrap_or(1)))
    } else if declared.says("unsigned") {
        Form::Unsigned
    } else {
        Form::Signed
    })
}

fn decimal(declared: &Declared<'_>, wire: &WireColumn) -> Option<Form> {
    let [precision, scale] = wire.meta.to_be_bytes();
    let said = (declared.number(0).unwrap_or(10), declared.number(1).unwrap_or(0));
    if wire.kind != wire::NEWDECIMAL || said != (u16::from(precision), u16::from(scale)) {
        return None;
    }
    let decimal = Decimal::new(precision, scale)?;
    Some(Form::Decimal(Decimal { zerofill: declared.says("zerofill"), ..decimal }))
}

fn double(declared: &Declared<'_>, wire: &WireColumn) -> Option<Form> {
    /// What the server shows of a DOUBLE without a width.
    const WIDTH: u16 = 22;
    let decimals = declared.number(1).map(usize::from);
    let width = if declared.says("zerofill") { declared.number(0).unwrap_or(WIDTH) } else { 0 };
    (wire.kind == wire::DOUBLE).then_some(Form::Double { decimals, zerofill: usize::from(width) })
}

fn bit(declared: &Declared<'_>, wire: &WireColumn) -> Option<Form> {
    let [bytes, bits] = wire.meta.to_be_bytes();
    let said = declared.number(0).unwrap_or(1);
    (wire.kind == wire::BIT && said == u16::from(bytes) * 8 + u16::from(bits)).then_some(Form::Bytes)
}

fn temporal(declared: &Declared<'_>, wire: &WireColumn) -> Option<Form> {
    let digits = declared.number(0).unwrap_or(0);
    let same = digits == wire.meta;
    let whole = digits == 0;
    let fraction = u8::try_from(digits).ok()?;
    match (declared.word, wire.kind) {
        ("date", wire::DATE | wire::NEWDATE) => Some(Form::Date),
        ("time", wire::TIME2) if same => Some(Form::Time(fraction)),
        ("datetime", wire::DATETIME2) if same => Some(Form::Datetime(fraction)),
        ("timestamp", wire::TIMESTAMP2) if same => Some(Form::Timestamp(fraction)),
        // MariaDB's old format with a fraction is not one that the binlog describes.
        ("time", wire::TIME) if whole => Some(Form::OldTime),
        ("datetime", wire::DATETIME) if whole => Some(Form::OldDatetime),
        ("timestamp", wire::TIMESTAMP) if whole => Some(Form::OldTimestamp),
        _ => None,
    }
}

fn bytes(kind: Kind, declared: &Declared<'_>, wire: &WireColumn) -> Option<Form> {
    let is_blob = matches!(wire.kind, wire::BLOB | wire::TINY_BLOB | wire::MEDIUM_BLOB | wire::LONG_BLOB);
    let is_varchar = matches!(wire.kind, wire::VARCHAR | wire::VAR_STRING);
    let found = match (kind, declared.word) {
        (_, "char") => wire.kind == wire::STRING,
        (_, "binary") => {
            let length = declared.number(0).unwrap_or(1);
            let fits = wire.kind == wire::STRING && wire.meta == length;
            return fits.then_some(Form::Filled(usize::from(length)));
        }
        (_, "varchar" | "varbinary") if wire.kind == wire::VARCHAR_COMPRESSED => return Some(Form::Compressed),
        (_, "varchar" | "varbinary") => is_varchar,
        // MySQL's VECTOR has a type of its own, MariaDB's is a VARBINARY.
        (Kind::Vector, _) => wire.kind == wire::VECTOR || is_varchar,
        (Kind::Geometry, _) => wire.kind == wire::GEOMETRY,
        _ if wire.kind == wire::BLOB_COMPRESSED => return Some(Form::Compressed),
        _ => is_blob,
    };
    found.then_some(Form::Bytes)
}

fn choice(kind: Kind, column: &Column, wire: &WireColumn, labels: WireLabels<'_>) -> Result<Form, Misfit> {
    let charset = column.charset.as_deref().unwrap_or("utf8mb4");
    let labels = match labels {
        Some(labels) => Labels::encoded(labels, charset),
        None => Labels::of_type(&column.data_type, charset).map_err(|what| Misfit {
            what: what.to_owned(),
            hint: Some("set binlog_row_metadata=FULL on the source, and start after the rows that were written without it; or leave the column out with [filter] ignore_cols"),
        })?,
    };
    let (expected, bytes) = match kind {
        Kind::Set => (wire::SET, set_bytes(labels.len())),
        _ => (wire::ENUM, if labels.len() < 256 { 1 } else { 2 }),
    };
    if wire.kind != expected || wire.meta != bytes {
        return Err(misfit(column, wire));
    }
    Ok(if expected == wire::SET { Form::Set(labels) } else { Form::Enum(labels) })
}

/// A byte for each eight labels, but never five to seven.
fn set_bytes(labels: usize) -> u16 {
    match labels.div_ceil(8) {
        bytes @ 0..=4 => bytes.max(1) as u16,
        _ => 8,
    }
}

fn special(declared: &Declared<'_>, wire: &WireColumn) -> Option<Form> {
    let (form, length) = match declared.word {
        "uuid" => (Form::Uuid, 16),
        "inet4" => (Form::Inet4, 4),
        "inet6" => (Form::Inet6, 16),
        _ => return None,
    };
    (wire.kind == wire::STRING && wire.meta == length).then_some(form)
}
