//! BSON as bytes: documents one after the other, their fields, and documents made of fields. Pure.
//!
//! The layout is that of bsonspec.org, version 1.1. Only lengths are understood: what a value holds, and whether a name or
//! a text is UTF-8, is nobody's business here, so that every document that a server keeps passes unchanged.

/// The kinds of values that are told from others; the numbers are the specification's.
pub mod kind {
    /// Double.
    pub const DOUBLE: u8 = 0x01;
    /// String.
    pub const STRING: u8 = 0x02;
    /// Document.
    pub const DOCUMENT: u8 = 0x03;
    /// Array.
    pub const ARRAY: u8 = 0x04;
    /// Undefined: no longer written by anything.
    pub const UNDEFINED: u8 = 0x06;
    /// Boolean.
    pub const BOOLEAN: u8 = 0x08;
    /// Null.
    pub const NULL: u8 = 0x0a;
    /// JavaScript code with variables.
    pub const CODE_WITH_SCOPE: u8 = 0x0f;
    /// 32-bit integer.
    pub const INT32: u8 = 0x10;
    /// Timestamp.
    pub const TIMESTAMP: u8 = 0x11;
    /// 64-bit integer.
    pub const INT64: u8 = 0x12;
    /// The key that is greater than all others.
    pub const MAX_KEY: u8 = 0x7f;
    /// The key that is less than all others.
    pub const MIN_KEY: u8 = 0xff;
}

/// How deep documents and arrays may lie in each other. MongoDB documents 100 levels (Limits and Thresholds, Nested Depth),
/// and a server takes 200 unless it is told otherwise (`maxBSONDepth`).
pub const DEPTH_MAX: usize = 250;

/// How long a document may become by being amended: far more than the 16 MiB that a server takes, for one that is ahead of
/// its changes may be larger for a while.
pub const AMENDED_BYTES_MAX: usize = 64 << 20;

/// A field of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its name, without the zero byte behind it.
    pub name: &'a [u8],
    /// Its value.
    pub value: RawValue<'a>,
}

/// A value: its kind and its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawValue<'a> {
    /// The kind, one byte of the specification.
    pub kind: u8,
    /// The bytes behind the name.
    pub bytes: &'a [u8],
}

/// The bytes are no BSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The documents that lie one after the other in `data`. After a [`Malformed`] there is nothing more.
pub fn documents(data: &[u8]) -> impl Iterator<Item = Result<&[u8], Malformed>> {
    let mut rest = data;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let split = length(rest).and_then(|length| rest.split_at_checked(length));
        let Some((document, behind)) = split else {
            rest = &[];
            return Some(Err(Malformed));
        };
        rest = behind;
        Some(Ok(document))
    })
}

/// The fields of a document or an array, in order. After a [`Malformed`] there is nothing more.
pub fn fields(document: &[u8]) -> Fields<'_> {
    let body = match length(document) {
        Some(length) if length == document.len() && document.last() == Some(&0) => {
            Some(&document[4..document.len() - 1])
        }
        Some(_) | None => None,
    };
    Fields { rest: body.unwrap_or_default(), malformed: body.is_none() }
}

/// Iterates over fields; see [`fields`].
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
    malformed: bool,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.malformed {
            self.malformed = false;
            self.rest = &[];
            return Some(Err(Malformed));
        }
        let (&kind, rest) = self.rest.split_first()?;
        let read = || {
            let end = rest.iter().position(|&byte| byte == 0)?;
            let behind = &rest[end + 1..];
            let (bytes, behind) = behind.split_at_checked(value_length(kind, behind)?)?;
            Some((Field { name: &rest[..end], value: RawValue { kind, bytes } }, behind))
        };
        match read() {
            Some((field, behind)) => {
                self.rest = behind;
                Some(Ok(field))
            }
            None => {
                self.rest = &[];
                Some(Err(Malformed))
            }
        }
    }
}

/// The first field of that name; `None` if there is none, or the document is malformed in front of it.
pub fn field<'a>(document: &'a [u8], name: &str) -> Option<RawValue<'a>> {
    fields(document).map_while(Result::ok).find(|field| field.name == name.as_bytes()).map(|field| field.value)
}

/// Whether the document is BSON that is no deeper than [`DEPTH_MAX`], so that it can be read by what reads the documents in
/// a document by calling itself.
pub fn is_shallow(document: &[u8]) -> bool {
    let mut open = vec![fields(document)];
    while let Some(innermost) = open.last_mut() {
        match innermost.next() {
            None => drop(open.pop()),
            Some(Err(Malformed)) => return false,
            Some(Ok(Field { value, .. })) => {
                if let Some(within) = value.document().or_else(|| value.scope()) {
                    if open.len() > DEPTH_MAX {
                        return false;
                    }
                    open.push(fields(within));
                }
            }
        }
    }
    true
}

impl<'a> RawValue<'a> {
    /// The document or array that it is.
    pub fn document(self) -> Option<&'a [u8]> {
        matches!(self.kind, kind::DOCUMENT | kind::ARRAY).then_some(self.bytes)
    }

    /// The variables of a code with scope: behind its own length stand a text's length and the text.
    fn scope(self) -> Option<&'a [u8]> {
        let text = (self.kind == kind::CODE_WITH_SCOPE).then_some(self.bytes)?.get(4..)?;
        let length = usize::try_from(i32::from_le_bytes(*text.first_chunk()?)).ok()?;
        text.get(4..)?.get(length..)
    }

    /// The number that it is, if that is whole.
    pub fn integer(self) -> Option<i64> {
        match self.kind {
            kind::INT32 => Some(i32::from_le_bytes(self.bytes.try_into().ok()?).into()),
            kind::INT64 => Some(i64::from_le_bytes(self.bytes.try_into().ok()?)),
            kind::DOUBLE => {
                let number = f64::from_le_bytes(self.bytes.try_into().ok()?);
                (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
            }
            _ => None,
        }
    }

    /// The text that it is; bytes that are no UTF-8 are replaced.
    pub fn text(self) -> Option<String> {
        let text = (self.kind == kind::STRING).then_some(self.bytes)?.get(4..self.bytes.len() - 1)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }
}

/// The length that stands in front of a document, itself included.
fn length(bytes: &[u8]) -> Option<usize> {
    let length = i32::from_le_bytes(*bytes.first_chunk()?);
    usize::try_from(length).ok().filter(|&length| length >= 5)
}

/// How many bytes a value of that kind takes in front of `rest`; `None` if that cannot be.
fn value_length(value_kind: u8, rest: &[u8]) -> Option<usize> {
    let prefixed = |extra: usize| {
        let length = usize::try_from(i32::from_le_bytes(*rest.first_chunk()?)).ok()?;
        length.checked_add(extra)
    };
    let cstring = |from: usize| rest.get(from..)?.iter().position(|&byte| byte == 0).map(|end| from + end + 1);
    Some(match value_kind {
        // Double, date, timestamp, 64-bit integer.
        0x01 | 0x09 | 0x11 | 0x12 => 8,
        // String, code, symbol: a length, the bytes, a zero that the length counts.
        0x02 | 0x0d | 0x0e => prefixed(4).filter(|&length| length >= 5)?,
        // Document, array, code with scope: the length counts itself.
        0x03 | 0x04 | 0x0f => prefixed(0).filter(|&length| length >= 5)?,
        // Binary: a length, a subtype, the bytes.
        0x05 => prefixed(5)?,
        // Undefined, null, the least and the greatest key.
        0x06 | 0x0a | 0xff | 0x7f => 0,
        // ObjectId.
        0x07 => 12,
        0x08 => 1,
        // Regular expression: two C strings.
        0x0b => cstring(cstring(0)?)?,
        // DBPointer: a string and an ObjectId.
        0x0c => prefixed(16).filter(|&length| length >= 17)?,
        0x10 => 4,
        // Decimal128.
        0x13 => 16,
        _ => return None,
    })
}

/// A document that is being written. Names are the caller's and hold no zero byte.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    open: Vec<usize>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer::new()
    }
}

impl Writer {
    /// An empty document.
    pub fn new() -> Self {
        Writer::with_capacity(256)
    }

    /// An empty document with room for so many bytes.
    pub fn with_capacity(bytes: usize) -> Self {
        let mut writer = Writer { bytes: Vec::with_capacity(bytes), open: Vec::new() };
        writer.begin();
        writer
    }

    /// Adds a field.
    pub fn put(&mut self, name: &[u8], value: RawValue<'_>) -> &mut Self {
        self.head(value.kind, name);
        self.bytes.extend_from_slice(value.bytes);
        self
    }

    /// Adds a text.
    pub fn text(&mut self, name: &str, text: &str) -> &mut Self {
        self.head(kind::STRING, name.as_bytes());
        let length = i32::try_from(text.len() + 1).expect("raw: a text of 2 GiB");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self
    }

    /// Adds a 32-bit number.
    pub fn int(&mut self, name: &str, number: i32) -> &mut Self {
        self.put(name.as_bytes(), RawValue { kind: kind::INT32, bytes: &number.to_le_bytes() })
    }

    /// Adds a boolean.
    pub fn flag(&mut self, name: &str, flag: bool) -> &mut Self {
        self.put(name.as_bytes(), RawValue { kind: kind::BOOLEAN, bytes: &[u8::from(flag)] })
    }

    /// Adds a document that is there already.
    pub fn document(&mut self, name: &str, document: &[u8]) -> &mut Self {
        self.put(name.as_bytes(), RawValue { kind: kind::DOCUMENT, bytes: document })
    }

    /// Begins a document within this one, up to [`Writer::close`].
    pub fn open(&mut self, name: &str) -> &mut Self {
        self.head(kind::DOCUMENT, name.as_bytes());
        self.begin()
    }

    /// Begins an array within this one, up to [`Writer::close`]; its fields are named 0, 1, ….
    pub fn open_array(&mut self, name: &str) -> &mut Self {
        self.head(kind::ARRAY, name.as_bytes());
        self.begin()
    }

    /// Adds what stands in front of a document within this one: its kind and its name. The document follows, by
    /// [`Writer::extend`] or [`Writer::begin_document`].
    pub fn head_of_document(&mut self, name: &[u8]) {
        self.head(kind::DOCUMENT, name);
    }

    /// Adds the bytes of a document behind its head.
    pub fn extend(&mut self, document: &[u8]) {
        self.bytes.extend_from_slice(document);
    }

    /// Begins a document or an array of that name, up to [`Writer::close`].
    pub fn open_value(&mut self, value_kind: u8, name: &[u8]) -> &mut Self {
        self.head(value_kind, name);
        self.begin()
    }

    /// How many bytes there are up to now.
    pub fn written(&self) -> usize {
        self.bytes.len()
    }

    /// Begins a document behind its head, up to [`Writer::close`].
    pub fn begin_document(&mut self) -> &mut Self {
        self.begin()
    }

    /// Ends what was opened last.
    ///
    /// # Panics
    /// If nothing is open.
    pub fn close(&mut self) -> &mut Self {
        let start = self.open.pop().expect("raw: nothing to close");
        self.bytes.push(0);
        let length = i32::try_from(self.bytes.len() - start).expect("raw: a document of 2 GiB");
        self.bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        self
    }

    /// The document.
    ///
    /// # Panics
    /// If something within it is still open.
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        assert!(self.open.is_empty(), "raw: a document that is still open");
        self.bytes
    }

    fn begin(&mut self) -> &mut Self {
        self.open.push(self.bytes.len());
        self.bytes.extend_from_slice(&[0; 4]);
        self
    }

    fn head(&mut self, kind: u8, name: &[u8]) {
        self.bytes.push(kind);
        self.bytes.extend_from_slice(name);
        self.bytes.push(0);
    }
}

#[cfg(test)]
mod tests {
    use bson::{Bson, Document, doc};

    use super::*;

    fn every_kind() -> Document {
        let mut document = doc! {
            "_id": 1, "double": 1.5, "text": "a", "document": {"a": {"b": []}}, "array": [1, "x"], "flag": true,
            "null": Bson::Null, "long": 1_i64, "min": Bson::MinKey, "max": Bson::MaxKey, "undefined": Bson::Undefined,
        };
        document.insert(
            "binary",
            Bson::Binary(bson::Binary { subtype: bson::spec::BinarySubtype::Uuid, bytes: vec![7; 16] }),
        );
        document.insert("oid", bson::oid::ObjectId::new());
        document.insert("date", bson::DateTime::from_millis(5));
        document.insert(
            "regex",
            Bson::RegularExpression(bson::Regex {
                pattern: bson::raw::cstr!("a").into(),
                options: bson::raw::cstr!("i").into(),
            }),
        );
        document.insert("code", Bson::JavaScriptCode("f".into()));
        let scoped = bson::JavaScriptCodeWithScope { code: "f".into(), scope: doc! {"a": 1} };
        document.insert("scoped", Bson::JavaScriptCodeWithScope(scoped));
        document.insert("symbol", Bson::Symbol("s".into()));
        document.insert("timestamp", Bson::Timestamp(bson::Timestamp { time: 1, increment: 2 }));
        document.insert("decimal", Bson::Decimal128("1.5".parse().expect("a decimal")));
        document
    }

    #[test]
    fn every_kind_of_value_is_passed_over_by_its_length() {
        let document = every_kind();
        let bytes = document.to_vec().expect("bytes");
        let found: Vec<Field<'_>> = fields(&bytes).collect::<Result<_, _>>().expect("fields");
        let names: Vec<&[u8]> = found.iter().map(|field| field.name).collect();
        assert_eq!(names, document.keys().map(|name| name.as_bytes()).collect::<Vec<_>>());
        let mut copy = Writer::new();
        for field in found {
            copy.put(field.name, field.value);
        }
        assert_eq!(copy.finish(), bytes);
    }

    #[test]
    fn documents_lie_one_after_the_other_and_a_torn_one_is_malformed() {
        let one = every_kind().to_vec().expect("bytes");
        let two = [one.clone(), one.clone()].concat();
        assert_eq!(documents(&two).collect::<Vec<_>>(), [Ok(&one[..]), Ok(&one[..])]);
        assert_eq!(documents(&two[..two.len() - 1]).last(), Some(Err(Malformed)));
        assert_eq!(documents(&[1, 0, 0]).next(), Some(Err(Malformed)));
    }

    #[test]
    fn a_cut_anywhere_is_malformed_and_never_a_panic() {
        let bytes = every_kind().to_vec().expect("bytes");
        for cut in 0..bytes.len() {
            let mut torn = bytes[..cut].to_vec();
            torn.push(0);
            if torn.len() >= 4 {
                let length = i32::try_from(torn.len()).expect("a length");
                torn[..4].copy_from_slice(&length.to_le_bytes());
            }
            fields(&torn).for_each(drop);
            field(&torn, "decimal");
        }
        assert_eq!(fields(&[]).next(), Some(Err(Malformed)));
    }

    #[test]
    fn what_is_written_is_what_the_driver_reads() {
        let mut writer = Writer::new();
        writer.text("insert", "t").int("n", 2).flag("ordered", false).open_array("documents");
        writer.document("0", &doc! {"_id": 1}.to_vec().expect("bytes"));
        writer.close().open("sub").int("a", 1).close();
        let read = Document::from_reader(&writer.finish()[..]).expect("a document");
        let wanted = doc! {"insert": "t", "n": 2, "ordered": false, "documents": [{"_id": 1}], "sub": {"a": 1}};
        assert_eq!(read, wanted);
    }
}
