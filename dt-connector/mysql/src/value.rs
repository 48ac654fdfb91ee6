//! The kinds of columns, and for each how it is selected, how its values become a key's text, how that text is
//! compared again on the server, and how it is written as a literal. Pure.

use dt_common::position::KeyText;
use dt_common::schema::Column;

use crate::sql;

/// What a column holds, as far as reading, comparing and writing differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TINYINT … BIGINT, signed or not.
    Integer,
    /// DECIMAL: exact text.
    Decimal,
    /// FLOAT: its text loses digits (16777217 prints as 16777200), so it is read as the double it is.
    Float,
    /// DOUBLE: its text is the shortest that gives the same value again.
    Double,
    /// BIT(n): big-endian bytes.
    Bit,
    /// YEAR.
    Year,
    /// DATE, DATETIME, TIMESTAMP, TIME: the server's text, in a session at UTC.
    Temporal,
    /// CHAR, VARCHAR, TEXT: bytes in the column's character set.
    Text,
    /// BINARY, VARBINARY, BLOB.
    Binary,
    /// ENUM: ordered by index, compared as text unless one asks for the number.
    Enum,
    /// SET: likewise, a bit mask.
    Set,
    /// JSON (MySQL): text in utf8mb4, whatever the connection says.
    Json,
    /// Spatial types: SRID and WKB.
    Geometry,
    /// VECTOR: packed floats.
    Vector,
    /// UUID, INET4, INET6 (MariaDB): ASCII text that is not a string column.
    Special,
}

/// The kind of a column whose type the server writes as `data_type`; `None` if dt does not know it.
pub fn kind(data_type: &str) -> Option<Kind> {
    let word = data_type.split(['(', ' ']).next().unwrap_or_default();
    Some(match word {
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" => Kind::Integer,
        "decimal" | "numeric" => Kind::Decimal,
        "float" => Kind::Float,
        "double" | "real" => Kind::Double,
        "bit" => Kind::Bit,
        "year" => Kind::Year,
        "date" | "datetime" | "timestamp" | "time" => Kind::Temporal,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" => Kind::Text,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => Kind::Binary,
        "enum" => Kind::Enum,
        "set" => Kind::Set,
        "json" => Kind::Json,
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => Kind::Geometry,
        "vector" => Kind::Vector,
        "uuid" | "inet4" | "inet6" => Kind::Special,
        _ => return None,
    })
}

/// A column with its kind.
#[derive(Clone, Copy, Debug)]
pub struct Typed<'a> {
    /// The column.
    pub column: &'a Column,
    /// What it holds.
    pub kind: Kind,
}

impl<'a> Typed<'a> {
    /// The column with its kind; `None` if its type is not known.
    pub fn new(column: &'a Column) -> Option<Self> {
        kind(&column.data_type).map(|kind| Typed { column, kind })
    }

    /// The expression by which its value is selected.
    pub fn select(self) -> String {
        let name = sql::name(&self.column.name);
        match self.kind {
            // Times one, for plus zero would make -0 a 0.
            Kind::Float => format!("{name}*1e0"),
            Kind::Integer
            | Kind::Decimal
            | Kind::Double
            | Kind::Bit
            | Kind::Year
            | Kind::Temporal
            | Kind::Text
            | Kind::Binary
            | Kind::Enum
            | Kind::Set
            | Kind::Json
            | Kind::Geometry
            | Kind::Vector
            | Kind::Special => name,
        }
    }

    /// A further expression that gives the value as a key, where the selected one does not.
    pub fn select_key(self) -> Option<String> {
        let name = sql::name(&self.column.name);
        match self.kind {
            // The order is that of the number, so that is what is compared: `e > 'z'` would compare as text.
            Kind::Enum | Kind::Set | Kind::Bit => Some(number(&name)),
            // Null where a character is not in Unicode, or comes back as another one: '?', all of them.
            Kind::Text if !self.is_utf8() => {
                let charset = self.column.charset.as_deref().unwrap_or("utf8mb4");
                let utf8 = format!("CONVERT({name} USING utf8mb4)");
                Some(format!(
                    "IF(CAST(CONVERT({utf8} USING {charset}) AS BINARY) = CAST({name} AS BINARY), {utf8}, NULL)"
                ))
            }
            Kind::Text
            | Kind::Integer
            | Kind::Decimal
            | Kind::Float
            | Kind::Double
            | Kind::Year
            | Kind::Temporal
            | Kind::Binary
            | Kind::Json
            | Kind::Geometry
            | Kind::Vector
            | Kind::Special => None,
        }
    }

    /// The expression that stands for the column in a comparison with [`Typed::literal`].
    pub fn compare(self) -> String {
        let name = sql::name(&self.column.name);
        match self.kind {
            Kind::Enum | Kind::Set | Kind::Bit => number(&name),
            Kind::Float => format!("{name}*1e0"),
            Kind::Integer
            | Kind::Decimal
            | Kind::Double
            | Kind::Year
            | Kind::Temporal
            | Kind::Text
            | Kind::Binary
            | Kind::Json
            | Kind::Geometry
            | Kind::Vector
            | Kind::Special => name,
        }
    }

    /// The key text of a value, from what [`Typed::select_key`] (if there is such) and [`Typed::select`] gave; `None`
    /// if the row could not be found again by it: it is null, or not valid in its character set.
    pub fn key(self, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<KeyText> {
        match (key, value) {
            (Some(key), _) => match self.key_text(key) {
                text @ KeyText::Text(_) => Some(text),
                KeyText::Bytes(_) | KeyText::Null => None,
            },
            (None, Some(bytes)) if self.takes_bytes() => Some(KeyText::Bytes(bytes.to_vec())),
            (None, _) => None,
        }
    }

    /// Whether a key of it may be bytes: text in a character set that has characters which Unicode has not.
    fn takes_bytes(self) -> bool {
        self.kind == Kind::Text && !self.is_utf8()
    }

    fn key_text(self, value: &[u8]) -> KeyText {
        match self.kind {
            Kind::Binary => KeyText::Text(sql::hex(value)),
            Kind::Integer
            | Kind::Decimal
            | Kind::Float
            | Kind::Double
            | Kind::Bit
            | Kind::Year
            | Kind::Temporal
            | Kind::Text
            | Kind::Enum
            | Kind::Set
            | Kind::Json
            | Kind::Geometry
            | Kind::Vector
            | Kind::Special => match std::str::from_utf8(value) {
                Ok(text) => KeyText::Text(text.to_owned()),
                Err(_) => KeyText::Bytes(value.to_vec()),
            },
        }
    }

    /// The key text as an SQL literal that compares with the column in the column's own order; `None` if the text
    /// is no value of such a column. It is never turned into something that compares as null, which would read
    /// nothing.
    pub fn literal(self, value: &KeyText) -> Option<String> {
        let text = match value {
            KeyText::Text(text) => text,
            KeyText::Bytes(bytes) if self.takes_bytes() => return Some(self.bytes_literal(bytes)),
            KeyText::Null | KeyText::Bytes(_) => return None,
        };
        match self.kind {
            Kind::Integer | Kind::Bit | Kind::Year | Kind::Enum | Kind::Set => is_integer(text).then(|| text.clone()),

            Kind::Decimal => is_decimal(text).then(|| text.clone()),
            Kind::Float | Kind::Double => {
                let finite = text.parse::<f64>().is_ok_and(f64::is_finite) && is_float_text(text);
                finite.then(|| if text.contains(['e', 'E']) { text.clone() } else { format!("{text}e0") })
            }
            Kind::Temporal => is_temporal(text).then(|| sql::string(text)),
            Kind::Special => text.bytes().all(|byte| byte.is_ascii_graphic()).then(|| sql::string(text)),
            Kind::Binary => sql::unhex(text).map(|bytes| sql::hex_literal(&bytes)),
            Kind::Text => Some(self.text_literal(text)),
            Kind::Json | Kind::Geometry | Kind::Vector => None,
        }
    }

    /// The literal takes the column's own character set and collation, so that neither the order nor the
    /// index is lost to the connection's.
    fn text_literal(self, text: &str) -> String {
        let charset = self.column.charset.as_deref().unwrap_or("utf8mb4");
        let utf8 = format!("_utf8mb4 {}", sql::hex_literal(text.as_bytes()));
        self.collated(if charset == "utf8mb4" { utf8 } else { format!("CONVERT({utf8} USING {charset})") })
    }

    fn bytes_literal(self, bytes: &[u8]) -> String {
        let charset = self.column.charset.as_deref().unwrap_or("utf8mb4");
        self.collated(format!("_{charset} {}", sql::hex_literal(bytes)))
    }

    fn collated(self, value: String) -> String {
        match &self.column.collation {
            Some(collation) => format!("{value} COLLATE {collation}"),
            None => value,
        }
    }

    /// Whether the column's bytes are UTF-8.
    pub fn is_utf8(self) -> bool {
        matches!(self.column.charset.as_deref(), None | Some("utf8mb4" | "utf8mb3" | "utf8" | "ascii"))
    }
}

/// The number of an ENUM, SET or BIT. Not `k+0`: MySQL adds as signed doubles, which a SET of 64 members outgrows.
fn number(name: &str) -> String {
    format!("CAST({name} AS UNSIGNED)")
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    !whole.is_empty() && !fraction.is_empty() && whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit())
}

fn is_float_text(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E'))
}

fn is_temporal(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'.' | b' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: &str, charset: Option<&str>, collation: Option<&str>) -> Column {
        Column {
            name: "k".into(),
            data_type: data_type.into(),
            nullable: false,
            charset: charset.map(Into::into),
            collation: collation.map(Into::into),
            binary_form: None,
        }
    }

    fn literal(data_type: &str, text: &str) -> Option<String> {
        let column = column(data_type, None, None);
        Typed::new(&column).expect("a known type").literal(&KeyText::Text(text.into()))
    }

    #[test]
    fn every_type_the_servers_write_has_a_kind() {
        let cases = [
            ("bigint(20) unsigned zerofill", Kind::Integer),
            ("decimal(65,30)", Kind::Decimal),
            ("float(7,3)", Kind::Float),
            ("double unsigned", Kind::Double),
            ("bit(64)", Kind::Bit),
            ("year", Kind::Year),
            ("timestamp(6)", Kind::Temporal),
            ("enum('a,b','c''d')", Kind::Enum),
            ("set('a')", Kind::Set),
            ("varbinary(10)", Kind::Binary),
            ("longtext", Kind::Text),
            ("json", Kind::Json),
            ("multipolygon", Kind::Geometry),
            ("vector(3)", Kind::Vector),
            ("inet6", Kind::Special),
        ];
        for (text, expected) in cases {
            assert_eq!(kind(text), Some(expected), "{text}");
        }
        assert_eq!(kind("hologram(3)"), None);
    }

    #[test]
    fn an_enum_is_paged_by_its_number() {
        let column = column("enum('z','m','a')", Some("utf8mb4"), Some("utf8mb4_bin"));
        let typed = Typed::new(&column).expect("known");
        assert_eq!(typed.select(), "`k`");
        assert_eq!(typed.select_key().as_deref(), Some("CAST(`k` AS UNSIGNED)"));
        assert_eq!(typed.compare(), "CAST(`k` AS UNSIGNED)");
        assert_eq!(typed.literal(&KeyText::Text("2".into())).as_deref(), Some("2"));
    }

    #[test]
    fn a_float_is_paged_by_the_double_that_it_is() {
        assert_eq!(literal("float", "16777216").as_deref(), Some("16777216e0"));
        assert_eq!(literal("float", "1.5e-7").as_deref(), Some("1.5e-7"));
        assert_eq!(literal("float", "nan"), None);
    }

    #[test]
    fn a_text_literal_carries_the_columns_own_collation() {
        let utf8 = column("varchar(9)", Some("utf8mb4"), Some("utf8mb4_general_ci"));
        let latin = column("varchar(9)", Some("latin1"), Some("latin1_swedish_ci"));
        let text = KeyText::Text("é ".into());
        assert_eq!(
            Typed::new(&utf8).expect("known").literal(&text).as_deref(),
            Some("_utf8mb4 x'c3a920' COLLATE utf8mb4_general_ci")
        );
        assert_eq!(
            Typed::new(&latin).expect("known").literal(&text).as_deref(),
            Some("CONVERT(_utf8mb4 x'c3a920' USING latin1) COLLATE latin1_swedish_ci")
        );
    }

    #[test]
    fn text_that_unicode_does_not_have_is_a_key_of_bytes() {
        let gbk = column("varchar(9)", Some("gbk"), Some("gbk_chinese_ci"));
        let typed = Typed::new(&gbk).expect("known");
        let select = typed.select_key().expect("a key of its own");
        assert!(select.starts_with("IF(CAST(CONVERT(CONVERT(`k` USING utf8mb4) USING gbk) AS BINARY)"), "{select}");
        assert_eq!(typed.key(Some(b"x"), Some(b"x")), Some(KeyText::Text("x".into())));
        let bytes = typed.key(None, Some(b"\xa2\x5c")).expect("a key");
        assert_eq!(bytes, KeyText::Bytes(b"\xa2\x5c".to_vec()));
        assert_eq!(typed.literal(&bytes).as_deref(), Some("_gbk x'a25c' COLLATE gbk_chinese_ci"));
        assert_eq!(typed.key(None, None), None);

        let utf8 = column("varchar(9)", Some("utf8mb4"), None);
        let typed = Typed::new(&utf8).expect("known");
        assert_eq!(typed.key(Some(b"\xff"), Some(b"\xff")), None);
        assert_eq!(typed.literal(&bytes), None);
    }

    #[test]
    fn binary_keys_travel_as_hex() {
        let column = column("binary(3)", None, None);
        let typed = Typed::new(&column).expect("known");
        let text = typed.key(Some(&[0, 0xff, b'\'']), None).expect("a key");
        assert_eq!(text, KeyText::Text("00ff27".into()));
        assert_eq!(typed.literal(&text).as_deref(), Some("x'00ff27'"));
    }

    #[test]
    fn what_is_no_value_of_the_column_becomes_no_literal() {
        for (data_type, text) in [
            ("int", "5; drop table t"),
            ("int", ""),
            ("int", "-"),
            ("bigint unsigned", "1.5"),
            ("decimal(5,2)", "1."),
            ("datetime(6)", "now()"),
            ("date", "--"),
            ("varbinary(3)", "xyz"),
            ("double", "1e999"),
            ("enum('a')", "a"),
        ] {
            assert_eq!(literal(data_type, text), None, "{data_type} {text:?}");
        }
        assert_eq!(literal("bigint unsigned", "18446744073709551615").as_deref(), Some("18446744073709551615"));
        assert_eq!(literal("time(3)", "-838:59:59.000").as_deref(), Some("'-838:59:59.000'"));
        assert_eq!(literal("decimal(65,2)", "-1.50").as_deref(), Some("-1.50"));
    }
}
