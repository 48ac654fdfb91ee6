//! What is decided once for a table: how each of its columns lies on the wire and is written; and reading rows by it.

use dt_common::TableId;
use dt_common::schema::Column;

use super::fit::{self, wire};
use super::flaw::{BadRow, Flaw, Mismatch};
use super::json;
use super::value::{Form, Layout};
use crate::cdc::binlog::{Bitmap, TableMap};
use crate::rows;

/// How the rows of a table are read, for as long as neither its schema nor its map changes.
#[derive(Clone, Debug)]
pub struct RowPlan {
    table: TableId,
    steps: Vec<Step>,
}

#[derive(Clone, Debug)]
struct Step {
    layout: Layout,
    /// `None` for a column that is not copied.
    form: Option<Form>,
    /// Whether a list of differences may stand for the value.
    json: bool,
    /// Whether the column is of the key.
    key: bool,
    name: String,
}

impl RowPlan {
    /// Brings the table's schema and its map together.
    ///
    /// `columns` are all columns that the table had when the rows were written, in its own order, generated and
    /// invisible ones included. `copied` are the places in `columns` of those that are written, ascending, as
    /// [`TableSchema::columns`](dt_common::schema::TableSchema) has them.
    ///
    /// # Errors
    /// The columns are not those of the map: another number of them, other names or signs (where the map tells),
    /// another type; or a type cannot be decoded. Then the schema is not the one of the rows' moment.
    pub fn new(columns: &[Column], copied: &[usize], map: &TableMap) -> Result<Self, Mismatch> {
        let table = TableId::new(&map.schema, &map.table);
        let differs = |column: Option<&Column>, what: String| Mismatch {
            table: table.clone(),
            column: column.map(|column| column.name.clone()),
            what,
            hint: None,
        };
        if columns.len() != map.columns.len() {
            let what = format!("it has {} columns there and {} here", map.columns.len(), columns.len());
            return Err(differs(None, what));
        }
        if !copied.is_sorted_by(|a, b| a < b) || copied.last().is_some_and(|&last| last >= columns.len()) {
            return Err(differs(None, "the columns to copy are not places in it in ascending order".to_owned()));
        }
        let mut steps = Vec::with_capacity(columns.len());
        for (at, (column, on_wire)) in columns.iter().zip(&map.columns).enumerate() {
            let misfit = |misfit: fit::Misfit| Mismatch {
                table: table.clone(),
                column: Some(column.name.clone()),
                what: misfit.what,
                hint: misfit.hint,
            };
            if let Some(name) = map.names.as_ref().and_then(|names| names.get(at)).filter(|name| **name != column.name)
            {
                return Err(differs(Some(column), format!("is `{name}` in the binlog")));
            }
            let unsigned = map.unsigned.as_ref().and_then(|unsigned| unsigned.get(at));
            if let (Some(here), Some(&there)) = (fit::is_unsigned(column), unsigned)
                && here != there
            {
                return Err(differs(Some(column), "is unsigned in one and signed in the other".to_owned()));
            }
            let labels = match on_wire.kind {
                wire::ENUM => &map.enum_values,
                wire::SET => &map.set_values,
                _ => &None,
            };
            let labels = labels.as_ref().and_then(|labels| labels.get(at)).map(Vec::as_slice);
            let form = match copied.binary_search(&at) {
                Ok(_) => Some(fit::form(column, on_wire, labels).map_err(misfit)?),
                Err(_) => None,
            };
            let layout = fit::layout(on_wire).map_err(misfit)?;
            steps.push(Step { layout, form, json: on_wire.kind == wire::JSON, key: false, name: column.name.clone() });
        }
        Ok(RowPlan { table, steps })
    }

    /// Names the key's columns, by their places among the copied ones: they are all that is written of a row that was.
    #[must_use]
    pub fn with_key(mut self, places: &[usize]) -> Self {
        for (place, step) in self.steps.iter_mut().filter(|step| step.form.is_some()).enumerate() {
            step.key = places.contains(&place);
        }
        self
    }

    /// A plan for images that hold these columns: once for each rows event, and for an update's before and after.
    ///
    /// # Errors
    /// A column that is copied is not among them: the source writes other images than whole ones.
    pub fn image<'a>(&'a self, present: &'a Bitmap) -> Result<Image<'a>, BadRow> {
        let mut held = 0;
        for (at, step) in self.steps.iter().enumerate() {
            match (present.contains(at), &step.form) {
                (true, _) => held += 1,
                (false, None) => {}
                (false, Some(_)) => return Err(self.bad(Some(at), Flaw::Absent)),
            }
        }
        if present.columns() != self.steps.len() {
            return Err(
                self.bad(None, Flaw::Malformed("the event is about another number of columns than its table has"))
            );
        }
        let some_absent = (held < self.steps.len()).then_some(present);
        Ok(Image { plan: self, some_absent, null_bytes: Bitmap::bytes_for(held) })
    }

    #[cold]
    fn bad(&self, column: Option<usize>, flaw: Flaw) -> BadRow {
        let column = column.map(|at| self.steps[at].name.clone());
        BadRow { table: self.table.clone(), column, flaw }
    }
}

/// How the images of one event are read.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    plan: &'a RowPlan,
    /// The columns that are there, if some are not.
    some_absent: Option<&'a Bitmap>,
    null_bytes: usize,
}

impl<'a> Image<'a> {
    /// Appends the next row to `out`, as a row in `MysqlText` without its newline, and takes its image off `rows`.
    ///
    /// # Errors
    /// The image cannot be read. Then `out` is as it was, and `rows` is of no more use.
    pub fn decode(&self, out: &mut Vec<u8>, rows: &mut &[u8]) -> Result<(), BadRow> {
        self.decode_with(out, rows, &mut Written::AsTheyAre)
    }

    /// The same for a row that was: of a table with a key, the other columns' values are left empty, unless a column of
    /// the key is null. The key is enough to find the row by, and most of an update's bytes are saved.
    ///
    /// # Errors
    /// As [`Image::decode`].
    pub fn decode_before(&self, out: &mut Vec<u8>, rows: &mut &[u8]) -> Result<(), BadRow> {
        if !self.plan.steps.iter().any(|step| step.key) {
            return self.decode(out, rows);
        }
        let (start, whole) = (out.len(), *rows);
        let mut first = true;
        let mut null_key = false;
        let decoded = self.walk(rows, |step, cell| {
            let Some(form) = &step.form else { return Ok(()) };
            if !first {
                rows::end_value(out);
            }
            first = false;
            match (cell, step.key) {
                (Cell::Value(value), true) => form.push(out, value),
                (Cell::Null, true) => {
                    null_key = true;
                    Ok(())
                }
                (Cell::Absent, _) => Err(Flaw::Absent),
                (Cell::Value(_) | Cell::Null, false) => Ok(()),
            }
        });
        if decoded.is_err() || null_key {
            out.truncate(start);
        }
        decoded?;
        if null_key {
            *rows = whole;
            return self.decode(out, rows);
        }
        Ok(())
    }

    /// The same as [`Image::decode`] for an after image of an event with lists of differences of JSON documents (`RowsKind::PartialUpdate`).
    /// `before` is the row's before image: how it is read, and its bytes as [`Image::decode`] took them.
    ///
    /// # Errors
    /// As [`Image::decode`]; the differences do not apply to the documents before.
    pub fn decode_partial(
        &self,
        out: &mut Vec<u8>,
        rows: &mut &[u8],
        before: (&Image<'_>, &[u8]),
    ) -> Result<(), BadRow> {
        /// Of the value options: some documents are written as differences.
        const PARTIAL_JSON: u64 = 1;
        let short = || self.plan.bad(None, Flaw::Short);
        let options = json::packed(rows).ok_or_else(short)?;
        if options & !PARTIAL_JSON != 0 {
            return Err(self.plan.bad(None, Flaw::Malformed("an image with value options that dt does not know")));
        }
        if options == 0 {
            return self.decode(out, rows);
        }
        // A bit for each JSON column of the table, whether or not the image holds it.
        let documents = self.plan.steps.iter().filter(|step| step.json).count();
        let (partial, rest) = rows.split_at_checked(documents.div_ceil(8)).ok_or_else(short)?;
        *rows = rest;
        let (image, bytes) = before;
        let before = image.documents(bytes)?;
        self.decode_with(out, rows, &mut Written::AsDifferences { partial, before: &before, seen: 0 })
    }

    #[inline]
    fn decode_with(&self, out: &mut Vec<u8>, rows: &mut &[u8], written: &mut Written<'_>) -> Result<(), BadRow> {
        let start = out.len();
        let mut first = true;
        let decoded = self.walk(rows, |step, cell| {
            let document = if step.json { written.next() } else { Document::Whole };
            let Some(form) = &step.form else { return Ok(()) };
            if !first {
                rows::end_value(out);
            }
            first = false;
            match (cell, document) {
                (Cell::Value(value), Document::Whole) => form.push(out, value),
                (Cell::Value(value), Document::Changed(Some(before))) => json::push_changed(out, before, value),
                (Cell::Value(_), Document::Changed(None)) => Err(Flaw::Unapplicable("the row before held no document")),
                (Cell::Null, _) => {
                    rows::push_value(out, None);
                    Ok(())
                }
                (Cell::Absent, _) => Err(Flaw::Absent),
            }
        });
        if decoded.is_err() {
            out.truncate(start);
        }
        decoded
    }

    /// The bytes of the image's JSON documents, in the columns' order; `None` for null and for absent ones.
    fn documents<'r>(&self, mut image: &'r [u8]) -> Result<Vec<Option<&'r [u8]>>, BadRow> {
        let mut documents = Vec::new();
        self.walk(&mut image, |step, cell| {
            if step.json {
                documents.push(match cell {
                    Cell::Value(value) => Some(value),
                    Cell::Null | Cell::Absent => None,
                });
            }
            Ok(())
        })?;
        Ok(documents)
    }

    /// Visits every column of the image, also those that it does not hold, and takes the image off `rows`.
    #[inline]
    fn walk<'r>(
        &self,
        rows: &mut &'r [u8],
        mut visit: impl FnMut(&Step, Cell<'r>) -> Result<(), Flaw>,
    ) -> Result<(), BadRow> {
        let (nulls, mut rest) =
            rows.split_at_checked(self.null_bytes).ok_or_else(|| self.plan.bad(None, Flaw::Short))?;
        // One bit for each column that is there.
        let mut held = 0;
        for (at, step) in self.plan.steps.iter().enumerate() {
            let cell = if self.some_absent.is_some_and(|present| !present.contains(at)) {
                Cell::Absent
            } else {
                let null = nulls[held / 8] >> (held % 8) & 1 == 1;
                held += 1;
                match null {
                    true => Cell::Null,
                    false => match step.layout.take(&mut rest) {
                        Some(value) => Cell::Value(value),
                        None => return Err(self.plan.bad(Some(at), Flaw::Short)),
                    },
                }
            };
            visit(step, cell).map_err(|flaw| self.plan.bad(Some(at), flaw))?;
        }
        *rows = rest;
        Ok(())
    }
}

/// A column of an image.
#[derive(Clone, Copy)]
enum Cell<'r> {
    Absent,
    Null,
    Value(&'r [u8]),
}

/// How the JSON documents of an image are written.
enum Written<'b> {
    AsTheyAre,
    /// Those whose bit is set as differences.
    AsDifferences {
        partial: &'b [u8],
        before: &'b [Option<&'b [u8]>],
        seen: usize,
    },
}

/// How one of them is.
enum Document<'b> {
    Whole,
    /// As differences from the one before, if there was one.
    Changed(Option<&'b [u8]>),
}

impl<'b> Written<'b> {
    /// The next JSON column's.
    fn next(&mut self) -> Document<'b> {
        match self {
            Written::AsTheyAre => Document::Whole,
            Written::AsDifferences { partial, before, seen } => {
                let at = *seen;
                *seen += 1;
                match partial.get(at / 8).is_some_and(|bits| bits >> (at % 8) & 1 == 1) {
                    true => Document::Changed(before.get(at).copied().flatten()),
                    false => Document::Whole,
                }
            }
        }
    }
}
