//! The labels of ENUM and SET columns, in the bytes of the column's character set.
//!
//! With `binlog_row_metadata=FULL` the source sends them so. Otherwise they are read from the column's type as the
//! catalog writes it, in UTF-8, and turned into the column's character set where that needs no table of characters:
//! UTF-8 and its parts, latin1, the wide Unicode forms, and ASCII labels in any other. What is left is refused, with
//! that setting as the way out.

use crate::rows::push_value;

/// The labels in the form in which they are written into a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Labels {
    labels: Vec<Box<[u8]>>,
    comma: Box<[u8]>,
}

impl Labels {
    /// Labels that are in the column's character set already.
    pub(super) fn encoded(labels: &[Vec<u8>], charset: &str) -> Self {
        let comma = encode(",", charset).unwrap_or_else(|| b",".to_vec());
        Labels { labels: labels.iter().map(|label| escaped(label)).collect(), comma: escaped(&comma) }
    }

    /// The labels of `enum('a','b')` or `set('a','b')`; `Err` says what cannot be done.
    pub(super) fn of_type(data_type: &str, charset: &str) -> Result<Self, &'static str> {
        let texts = parse(data_type).ok_or("has labels that cannot be read")?;
        let encoded: Option<Vec<Vec<u8>>> = texts.iter().map(|text| encode(text, charset)).collect();
        let encoded = encoded.ok_or("has labels that dt cannot write in the column's character set")?;
        Ok(Labels::encoded(&encoded, charset))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Appends the ENUM value of that number, from 1; 0 is the empty string. `None` if there is no such label.
    pub(super) fn push_one(&self, out: &mut Vec<u8>, number: u64) -> Option<()> {
        if number > 0 {
            let at = usize::try_from(number - 1).ok()?;
            out.extend_from_slice(self.labels.get(at)?);
        }
        Some(())
    }

    /// Appends the SET value of those bits, in the order of the labels. `None` if a bit has no label.
    pub(super) fn push_set(&self, out: &mut Vec<u8>, bits: u64) -> Option<()> {
        let mut rest = bits;
        let mut first = true;
        while rest != 0 {
            let label = self.labels.get(rest.trailing_zeros() as usize)?;
            if !first {
                out.extend_from_slice(&self.comma);
            }
            out.extend_from_slice(label);
            first = false;
            rest &= rest - 1;
        }
        Some(())
    }
}

fn escaped(label: &[u8]) -> Box<[u8]> {
    let mut out = Vec::with_capacity(label.len());
    push_value(&mut out, Some(label));
    out.into()
}

/// The texts between the quotes. The servers double a quote, and put a back-slash before a back-slash, and before
/// the letter that stands for a newline, a carriage return or a NUL.
fn parse(data_type: &str) -> Option<Vec<String>> {
    let (_, rest) = data_type.split_once('(')?;
    let mut chars = rest.chars().peekable();
    let mut labels = Vec::new();
    loop {
        if chars.next()? != '\'' {
            return None;
        }
        let mut label = String::new();
        loop {
            match chars.next()? {
                '\'' if chars.peek() == Some(&'\'') => {
                    chars.next();
                    label.push('\'');
                }
                '\'' => break,
                '\\' => label.push(match chars.next()? {
                    'n' => '\n',
                    'r' => '\r',
                    '0' => '\0',
                    other => other,
                }),
                other => label.push(other),
            }
        }
        labels.push(label);
        match chars.next()? {
            ',' => {}
            ')' => return Some(labels),
            _ => return None,
        }
    }
}

/// The text in that character set; `None` if that takes a table that is not here.
fn encode(text: &str, charset: &str) -> Option<Vec<u8>> {
    match charset {
        "utf8mb4" | "utf8mb3" | "utf8" => Some(text.as_bytes().to_vec()),
        "binary" => Some(text.as_bytes().to_vec()),
        "latin1" => text.chars().map(latin1).collect(),
        "utf16" | "ucs2" => Some(text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
        "utf16le" => Some(text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        "utf32" => Some(text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()),
        // These replace some of ASCII's characters by others.
        "swe7" | "sjis" | "cp932" if text.contains(['\\', '~', '[', ']', '{', '}', '|', '@', '^', '`']) => None,
        _ => text.is_ascii().then(|| text.as_bytes().to_vec()),
    }
}

/// MySQL's latin1 is Windows' code page 1252, with the five bytes that it leaves out taken as they are.
fn latin1(c: char) -> Option<u8> {
    const UPPER: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match u32::from(c) {
        code @ (0..0x80 | 0xa0..=0xff) => u8::try_from(code).ok(),
        _ => UPPER.iter().position(|&upper| upper == c).and_then(|at| u8::try_from(0x80 + at).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_commas_and_back_slashes_belong_to_their_label() {
        let labels = parse(r"enum('z','a,b','it''s','','\\','\\N','x)')").expect("labels");
        assert_eq!(labels, ["z", "a,b", "it's", "", r"\", r"\N", "x)"]);
        assert_eq!(parse("enum('a'"), None);
        assert_eq!(parse("int"), None);
    }

    #[test]
    fn labels_are_in_the_columns_character_set() {
        assert_eq!(encode("é€", "latin1"), Some(vec![0xe9, 0x80]));
        assert_eq!(encode("a🦀", "utf16"), Some(vec![0, b'a', 0xd8, 0x3e, 0xdd, 0x80]));
        assert_eq!(encode("中", "gbk"), None);
        assert_eq!(encode("plain", "gbk"), Some(b"plain".to_vec()));
        assert_eq!(encode("é", "ascii"), None);
    }

    #[test]
    fn a_set_is_its_labels_in_their_order() {
        let labels = Labels::of_type("set('x y','b','c\t')", "utf8mb4").expect("labels");
        let set = |bits| {
            let mut out = Vec::new();
            labels.push_set(&mut out, bits).map(|()| out)
        };
        assert_eq!(set(0b101).as_deref(), Some(&b"x y,c\\t"[..]));
        assert_eq!(set(0).as_deref(), Some(&b""[..]));
        assert_eq!(set(0b1000), None);
    }

    #[test]
    fn an_enum_beyond_the_last_label_is_none() {
        let labels = Labels::of_type("enum('a','b')", "latin1").expect("labels");
        let mut out = Vec::new();
        assert_eq!(labels.push_one(&mut out, 3), None);
        assert_eq!(labels.push_one(&mut out, 0), Some(()));
        assert_eq!(labels.push_one(&mut out, 2), Some(()));
        assert_eq!(out, b"b");
        assert_eq!(labels.len(), 2);
    }
}
