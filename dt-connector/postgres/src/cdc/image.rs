//! A row of the stream as a line of COPY's text form, the very form that a snapshot's rows have. Pure.
//!
//! What the stream does not say of a row is written as `\T`, which no value looks like: a value that is stored out of
//! line and did not change, and in the image of a row that was, all but its replica identity.

use super::pgoutput::{Field, Old, Relation, Tuple};

/// The field of a value that is not said.
pub const UNSAID: &[u8] = b"\\T";

/// Why a row cannot be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// It has another number of values than its table has columns.
    #[error("a row of {values} values in a table of {columns} columns")]
    Columns {
        /// Values of the row.
        values: usize,
        /// Columns of the table as it was described.
        columns: usize,
    },
    /// A new row lacks a value that it must bring.
    #[error("a new row with a value that is not sent")]
    Unsaid,
    /// A row's key is not said.
    #[error("a row whose replica identity is not sent")]
    NoKey,
}

/// Which columns of a relation are copied, and which of them are its replica identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlan {
    columns: Vec<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    copied: bool,
    in_key: bool,
}

impl ImagePlan {
    /// A plan for the relation's rows; `copied` says of each of its columns whether it is copied.
    pub fn new(relation: &Relation, copied: impl Fn(&str) -> bool) -> Self {
        let place =
            |column: &super::pgoutput::RelationColumn| Place { copied: copied(&column.name), in_key: column.in_key };
        ImagePlan { columns: relation.columns.iter().map(place).collect() }
    }

    /// Appends a row that is new.
    ///
    /// # Errors
    /// It does not fit the relation, or not all of it is said.
    pub fn inserted(&self, out: &mut Vec<u8>, new: &Tuple<'_>) -> Result<(), BadRow> {
        self.check(new)?;
        let mut line = Line::new(out);
        for (_, field) in self.columns.iter().zip(new.fields()).filter(|(place, _)| place.copied) {
            match field {
                Field::Unchanged => return Err(BadRow::Unsaid),
                Field::Null | Field::Text(_) => line.push(field),
            }
        }
        line.end();
        Ok(())
    }

    /// Appends what a row has become. Where a value did not change and is not sent again, it is taken from the image of
    /// the row that was, if that has it.
    ///
    /// # Errors
    /// It does not fit the relation.
    pub fn updated(&self, out: &mut Vec<u8>, new: &Tuple<'_>, old: Option<&Old<'_>>) -> Result<(), BadRow> {
        self.check(new)?;
        let mut line = Line::new(out);
        match old {
            None => {
                for (_, field) in self.columns.iter().zip(new.fields()).filter(|(place, _)| place.copied) {
                    line.push(field);
                }
            }
            Some(old) => {
                self.check(&old.tuple)?;
                let fields = new.fields().zip(old.tuple.fields());
                for (place, (field, was)) in self.columns.iter().zip(fields).filter(|(place, _)| place.copied) {
                    let is_said = place.in_key || !old.key_only;
                    line.push(if field == Field::Unchanged && is_said { was } else { field });
                }
            }
        }
        line.end();
        Ok(())
    }

    /// Appends what a row was, as far as it is said.
    ///
    /// # Errors
    /// It does not fit the relation, or its key is not said.
    pub fn was(&self, out: &mut Vec<u8>, old: &Old<'_>) -> Result<(), BadRow> {
        self.check(&old.tuple)?;
        let mut line = Line::new(out);
        for (place, field) in self.columns.iter().zip(old.tuple.fields()).filter(|(place, _)| place.copied) {
            match (old.key_only && !place.in_key, field) {
                (true, _) => line.push(Field::Unchanged),
                (false, Field::Unchanged) => return Err(BadRow::NoKey),
                (false, Field::Null | Field::Text(_)) => line.push(field),
            }
        }
        line.end();
        Ok(())
    }

    fn check(&self, tuple: &Tuple<'_>) -> Result<(), BadRow> {
        match tuple.columns() == self.columns.len() {
            true => Ok(()),
            false => Err(BadRow::Columns { values: tuple.columns(), columns: self.columns.len() }),
        }
    }
}

/// A line that is being written.
struct Line<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl<'o> Line<'o> {
    fn new(out: &'o mut Vec<u8>) -> Self {
        Line { out, is_first: true }
    }

    fn push(&mut self, field: Field<'_>) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b'\t');
        }
        match field {
            Field::Null => self.out.extend_from_slice(b"\\N"),
            Field::Unchanged => self.out.extend_from_slice(UNSAID),
            Field::Text(text) => escape(self.out, text),
        }
    }

    fn end(self) {
        self.out.push(b'\n');
    }
}

/// What stands behind the back-slash for a byte that is escaped, as the server's own COPY writes it (PostgreSQL
/// documentation, COPY, "Text Format").
const ESCAPED: [u8; 256] = {
    let mut table = [0; 256];
    table[0x08] = b'b';
    table[b'\t' as usize] = b't';
    table[b'\n' as usize] = b'n';
    table[0x0b] = b'v';
    table[0x0c] = b'f';
    table[b'\r' as usize] = b'r';
    table[b'\\' as usize] = b'\\';
    table
};

fn escape(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|&byte| ESCAPED[usize::from(byte)] != 0) {
        out.extend_from_slice(&text[..at]);
        out.extend_from_slice(&[b'\\', ESCAPED[usize::from(text[at])]]);
        text = &text[at + 1..];
    }
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::super::pgoutput::{Identity, Message, RelationColumn, Within, parse};
    use super::*;

    fn plan() -> ImagePlan {
        let column =
            |name: &str, in_key| RelationColumn { in_key, name: name.to_owned(), type_oid: 25, type_modifier: -1 };
        let relation = Relation {
            oid: 1,
            schema: "s".into(),
            table: "t".into(),
            identity: Identity::Default,
            columns: vec![column("id", true), column("left_out", false), column("a", false), column("b", false)],
        };
        ImagePlan::new(&relation, |name| name != "left_out")
    }

    fn tuple(fields: &[Field<'_>]) -> Vec<u8> {
        let mut bytes = (fields.len() as i16).to_be_bytes().to_vec();
        for field in fields {
            match field {
                Field::Null => bytes.push(b'n'),
                Field::Unchanged => bytes.push(b'u'),
                Field::Text(text) => {
                    bytes.push(b't');
                    bytes.extend((text.len() as i32).to_be_bytes());
                    bytes.extend_from_slice(text);
                }
            }
        }
        bytes
    }

    /// The image of an update.
    fn updated(new: &[Field<'_>], old: Option<(u8, &[Field<'_>])>) -> Result<String, BadRow> {
        let mut message = vec![b'U', 0, 0, 0, 1];
        if let Some((marker, old)) = old {
            message.push(marker);
            message.extend(tuple(old));
        }
        message.push(b'N');
        message.extend(tuple(new));
        let Ok(Message::Update { new, old, .. }) = parse(&message, Within::Committed) else { panic!("is an update") };
        let mut out = Vec::new();
        plan().updated(&mut out, &new, old.as_ref())?;
        Ok(String::from_utf8(out).expect("is UTF-8"))
    }

    use Field::{Null, Text, Unchanged};

    #[test]
    fn a_row_is_a_line_of_its_copied_columns() {
        assert_eq!(
            updated(&[Text(b"7"), Text(b"x"), Null, Text(b"")], None),
            Ok("7\t\\N\t\n".to_owned()),
            "null and the empty text differ, and what is not copied is not there"
        );
    }

    #[test]
    fn special_bytes_are_escaped_as_the_server_escapes_them() {
        let text = b"a\tb\nc\rd\\e\x08\x0b\x0c\\N\xc3\xa9";
        assert_eq!(
            updated(&[Text(b"7"), Null, Text(text), Text(b"\\T")], None),
            Ok("7\ta\\tb\\nc\\rd\\\\e\\b\\v\\f\\\\Né\t\\\\T\n".to_owned()),
            "a value that looks like the sign for an unsaid one is another"
        );
    }

    #[test]
    fn what_did_not_change_is_unsaid_unless_the_old_row_has_it() {
        let new = [Text(b"7"), Null, Unchanged, Text(b"y")];
        assert_eq!(updated(&new, None), Ok("7\t\\T\ty\n".to_owned()));
        let was = [Text(b"7"), Null, Text(b"long"), Text(b"x")];
        assert_eq!(updated(&new, Some((b'O', &was))), Ok("7\tlong\ty\n".to_owned()));
        let key = [Text(b"6"), Null, Null, Null];
        assert_eq!(
            updated(&new, Some((b'K', &key))),
            Ok("7\t\\T\ty\n".to_owned()),
            "a null of the identity's image says nothing"
        );
        let unchanged_key = [Unchanged, Null, Unchanged, Text(b"y")];
        assert_eq!(updated(&unchanged_key, Some((b'K', &key))), Ok("6\t\\T\ty\n".to_owned()));
    }

    #[test]
    fn of_a_row_that_was_only_the_identity_is_said() {
        let message = [&[b'D', 0, 0, 0, 1, b'K'][..], &tuple(&[Text(b"6"), Null, Null, Null])].concat();
        let Ok(Message::Delete { old, .. }) = parse(&message, Within::Committed) else { panic!("is a delete") };
        let mut out = Vec::new();
        plan().was(&mut out, &old).expect("is a row");
        assert_eq!(out, b"6\t\\T\t\\T\n");
        let message = [&[b'D', 0, 0, 0, 1, b'O'][..], &tuple(&[Text(b"6"), Null, Null, Null])].concat();
        let Ok(Message::Delete { old, .. }) = parse(&message, Within::Committed) else { panic!("is a delete") };
        out.clear();
        plan().was(&mut out, &old).expect("is a row");
        assert_eq!(out, b"6\t\\N\t\\N\n");
    }

    #[test]
    fn a_row_that_does_not_fit_is_refused() {
        assert_eq!(updated(&[Text(b"7")], None), Err(BadRow::Columns { values: 1, columns: 4 }));
        let message = [&[b'I', 0, 0, 0, 1, b'N'][..], &tuple(&[Text(b"6"), Null, Unchanged, Null])].concat();
        let Ok(Message::Insert { new, .. }) = parse(&message, Within::Committed) else { panic!("is an insert") };
        assert_eq!(plan().inserted(&mut Vec::new(), &new), Err(BadRow::Unsaid));
    }
}
