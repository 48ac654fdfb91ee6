//! Names and literals in PostgreSQL's SQL. Nothing else in this crate quotes or escapes.

use dt_common::TableId;

/// A name in double quotes; any name is legal between them.
pub fn name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's full name in double quotes.
pub fn table(id: &TableId) -> String {
    format!("{}.{}", name(&id.schema), name(&id.table))
}

/// A string literal. Back-slashes are escaped whatever `standard_conforming_strings` says.
pub fn string(text: &str) -> String {
    if text.contains('\\') {
        format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// A string literal of bytes that are not UTF-8, for a server whose encoding is SQL_ASCII.
pub fn bytes(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("\\x{byte:02x}")).collect();
    format!("E'{digits}'")
}

/// `'a', 'b'`: string literals in a list.
pub fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(string).collect::<Vec<_>>().join(", ")
}

/// `"a", "b"`: names in a list.
pub fn names<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        assert_eq!(table(&TableId::new("a.b", "c\"d-é")), "\"a.b\".\"c\"\"d-é\"");
    }

    #[test]
    fn strings_are_the_same_whatever_the_server_thinks_of_back_slashes() {
        assert_eq!(string("it's"), "'it''s'");
        assert_eq!(string(r"it's a \ and"), r"E'it''s a \\ and'");
        assert_eq!(bytes(&[0xe9, b'\'']), r"E'\xe9\x27'");
    }
}
