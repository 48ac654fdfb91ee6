//! Events that servers wrote, with the rows that a snapshot read of them (`testdata/rows`, written by dt-tests), and
//! what becomes of damaged ones.

use std::path::PathBuf;

use bytes::Bytes;
use dt_common::schema::Column;
use proptest::prelude::*;

use super::json;
use super::*;
use crate::cdc::binlog::{Bitmap, Body, Checksum, Event, Format, RowsEvent, RowsKind, TableMap, WireColumn};

/// A table, an event of it, and the rows in it.
struct Captured {
    name: String,
    columns: Vec<Column>,
    copied: Vec<usize>,
    map: TableMap,
    event: RowsEvent,
    rows: Vec<String>,
}

impl Captured {
    fn read(path: PathBuf) -> Self {
        let name = path.file_stem().and_then(|stem| stem.to_str()).expect("a name").to_owned();
        let text = std::fs::read_to_string(&path).expect("readable");
        let format = Format { checksum: Checksum::Crc32, mariadb: name.starts_with("mariadb") };
        let mut captured = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for line in text.lines() {
            let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
            match what {
                "column" => {
                    let fields: Vec<&str> = rest.splitn(4, ' ').collect();
                    let [copied, name, charset, data_type] = fields[..] else { panic!("{line}") };
                    if copied == "copied" {
                        captured.1.push(captured.0.len());
                    }
                    let charset = (charset != "-").then(|| charset.to_owned());
                    captured.0.push(Column { charset, ..column(name, &unescaped(data_type)) });
                }
                "event" => {
                    let bytes = Bytes::from(crate::sql::unhex(rest).expect("hex"));
                    captured.2.push(Event::parse(bytes, format).expect("an event").body);
                }
                "row" => captured.3.push(rest.to_owned()),
                _ => panic!("{line}"),
            }
        }
        let (columns, copied, events, rows) = captured;
        let Ok([Body::TableMap(map), Body::Rows(event)]) = <[Body; 2]>::try_from(events) else { panic!("{name}") };
        Captured { name, columns, copied, map, event, rows }
    }

    fn all() -> Vec<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/rows");
        let files = std::fs::read_dir(folder).expect("testdata/rows");
        let all: Vec<Self> = files.map(|file| Captured::read(file.expect("a file").path())).collect();
        assert!(all.len() > 40, "only {} files", all.len());
        all
    }

    fn of(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("testdata/rows");
        Captured::read(folder.join(name).with_extension("txt"))
    }

    fn plan(&self) -> Result<RowPlan, Mismatch> {
        RowPlan::new(&self.columns, &self.copied, &self.map)
    }

    fn present(&self) -> &Bitmap {
        self.event.present_after.as_ref().expect("an insert or an update")
    }

    /// The rows before, then the rows after, of an event of any kind.
    fn decode_all(&self) -> Result<Vec<String>, BadRow> {
        let plan = self.plan().expect("they fit");
        let Some(present_before) = &self.event.present_before else { return self.decode(&self.event.rows) };
        let (before, after) = (plan.image(present_before)?, plan.image(self.present())?);
        let (mut were, mut are) = (Vec::new(), Vec::new());
        let mut rest = &self.event.rows[..];
        while !rest.is_empty() {
            let start = rest;
            let (mut was, mut is) = (Vec::new(), Vec::new());
            before.decode(&mut was, &mut rest)?;
            let bytes = &start[..start.len() - rest.len()];
            assert_eq!(self.event.kind, RowsKind::PartialUpdate, "{}", self.name);
            after.decode_partial(&mut is, &mut rest, (&before, bytes))?;
            were.push(was.escape_ascii().to_string());
            are.push(is.escape_ascii().to_string());
        }
        were.append(&mut are);
        Ok(were)
    }

    fn decode(&self, mut rows: &[u8]) -> Result<Vec<String>, BadRow> {
        let plan = self.plan().expect("they fit");
        let image = plan.image(self.present())?;
        let mut decoded = Vec::new();
        while !rows.is_empty() {
            let mut out = Vec::new();
            image.decode(&mut out, &mut rows)?;
            decoded.push(out.escape_ascii().to_string());
        }
        Ok(decoded)
    }
}

/// Back from `char::escape_default`, as far as types need it.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(code) = rest.strip_prefix("u{") {
            let (code, after) = code.split_once('}').expect("an escape");
            out.push(u32::from_str_radix(code, 16).ok().and_then(char::from_u32).expect("a character"));
            rest = after;
        } else {
            let escaped = rest.chars().next().expect("an escape");
            out.push(match escaped {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            });
            rest = &rest[1..];
        }
    }
    out + rest
}

fn column(name: &str, data_type: &str) -> Column {
    Column {
        name: name.into(),
        data_type: data_type.into(),
        nullable: true,
        charset: None,
        collation: None,
        binary_form: None,
    }
}

fn map(columns: &[(u8, u16)]) -> TableMap {
    TableMap {
        table_id: 1,
        schema: "s".into(),
        table: "t".into(),
        columns: columns.iter().map(|&(kind, meta)| WireColumn { kind, meta, nullable: true }).collect(),
        names: None,
        unsigned: None,
        collations: vec![None; columns.len()],
        enum_values: None,
        set_values: None,
        geometry_types: vec![None; columns.len()],
        primary_key: None,
        visible: None,
        dimensions: vec![None; columns.len()],
    }
}

fn refusal(column_type: &str, on_wire: (u8, u16)) -> String {
    RowPlan::new(&[column("c", column_type)], &[0], &map(&[on_wire])).expect_err("no fit").to_string()
}

#[test]
fn a_captured_row_is_the_row_that_the_snapshot_read() {
    for captured in Captured::all() {
        assert_eq!(captured.decode_all().as_ref(), Ok(&captured.rows), "{}", captured.name);
    }
}

#[test]
fn a_row_that_ends_too_early_is_refused_and_leaves_nothing_behind() {
    for captured in Captured::all() {
        let plan = captured.plan().expect("they fit");
        let image = plan.image(captured.present()).expect("whole");
        let mut whole = &captured.event.rows[..];
        image.decode(&mut Vec::new(), &mut whole).expect("a row");
        let first = captured.event.rows.len() - whole.len();
        for end in 0..first {
            let mut out = b"before".to_vec();
            assert!(image.decode(&mut out, &mut &captured.event.rows[..end]).is_err(), "{} {end}", captured.name);
            assert_eq!(out, b"before");
        }
    }
}

#[test]
fn a_schema_of_another_moment_is_refused_by_table_and_column() {
    assert!(
        refusal("int", (8, 0)).contains("`s`.`t` in the binlog do not fit the table's schema: column `c` is `int`")
    );
    for (data_type, on_wire) in [
        ("bigint", (3, 0)),
        ("decimal(10,2)", (246, 10 << 8 | 3)),
        ("datetime(3)", (18, 6)),
        ("time(3)", (11, 0)),
        ("varchar(9)", (252, 2)),
        ("char(9)", (15, 9)),
        ("binary(9)", (254, 8)),
        ("bit(9)", (16, 1 << 8 | 2)),
        ("json", (252, 4)),
        ("enum('a','b')", (247, 2)),
        ("set('a','b')", (248, 2)),
        ("uuid", (254, 15)),
        ("float", (5, 8)),
        ("hologram", (254, 15)),
    ] {
        assert!(refusal(data_type, on_wire).contains("column `c`"), "{data_type}");
    }
    let two = [column("a", "int"), column("b", "int")];
    let count = RowPlan::new(&two, &[0], &map(&[(3, 0)])).expect_err("two are not one").to_string();
    assert!(count.contains("1 columns there and 2 here"), "{count}");
    let renamed = TableMap { names: Some(vec!["a".into(), "c".into()]), ..map(&[(3, 0), (3, 0)]) };
    let renamed = RowPlan::new(&two, &[0], &renamed).expect_err("another name").to_string();
    assert!(renamed.contains("column `b` is `c` in the binlog"), "{renamed}");
    let unsigned = TableMap { unsigned: Some(vec![false, true]), ..map(&[(3, 0), (3, 0)]) };
    let unsigned = RowPlan::new(&two, &[0], &unsigned).expect_err("another sign").to_string();
    assert!(unsigned.contains("column `b` is unsigned in one"), "{unsigned}");
    assert!(RowPlan::new(&two, &[1, 0], &map(&[(3, 0), (3, 0)])).is_err());
    assert!(RowPlan::new(&two, &[2], &map(&[(3, 0), (3, 0)])).is_err());
}

#[test]
fn labels_that_need_the_sources_help_say_what_to_set() {
    let labels = Column { charset: Some("gbk".into()), ..column("c", "enum('中')") };
    let mismatch = RowPlan::new(&[labels], &[0], &map(&[(247, 1)])).expect_err("no table of gbk");
    let error = dt_common::Error::from(mismatch);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("binlog_row_metadata=FULL")), "{error}");
}

#[test]
fn columns_that_are_not_copied_may_be_absent_and_are_skipped() {
    let columns = [column("a", "int"), column("b", "json"), column("c", "tinyint unsigned")];
    let plan = RowPlan::new(&columns, &[0, 2], &map(&[(3, 0), (245, 4), (1, 0)])).expect("they fit");
    let present = |bits: u8| Bitmap::new(Bytes::from(vec![bits]), 3).expect("three columns");

    let decoded = |bits: u8, mut row: &[u8]| {
        let present = present(bits);
        let mut out = Vec::new();
        plan.image(&present)?.decode(&mut out, &mut row)?;
        assert!(row.is_empty());
        Ok::<_, BadRow>(out)
    };
    assert_eq!(decoded(0b111, &[0, 1, 0, 0, 0, 2, 0, 0, 0, 9, 9, 255]).as_deref(), Ok(&b"1\t255"[..]));
    assert_eq!(decoded(0b101, &[0, 254, 255, 255, 255, 7]).as_deref(), Ok(&b"-2\t7"[..]));
    assert_eq!(decoded(0b101, &[0b10, 1, 0, 0, 0]).as_deref(), Ok(&b"1\t\\N"[..]));

    let absent = decoded(0b011, &[0]).expect_err("c is copied");
    assert_eq!((absent.column.as_deref(), absent.flaw), (Some("c"), Flaw::Absent));
    let error = dt_common::Error::from(absent);
    assert!(error.hint_text().is_some_and(|hint| hint.contains("binlog_row_image=FULL")), "{error}");
}

#[test]
fn of_a_row_that_was_only_the_key_is_written_unless_it_holds_a_null() {
    let columns = [column("a", "int"), column("b", "tinyint"), column("c", "tinyint unsigned")];
    let plan = RowPlan::new(&columns, &[0, 1, 2], &map(&[(3, 0), (1, 0), (1, 0)])).expect("they fit");
    let present = Bitmap::new(Bytes::from_static(&[0b111]), 3).expect("three columns");
    let decoded = |plan: &RowPlan, mut row: &[u8]| {
        let mut out = b"before".to_vec();
        plan.image(&present)?.decode_before(&mut out, &mut row)?;
        assert!(row.is_empty());
        Ok::<_, BadRow>(out.split_off(6))
    };
    let keyed = plan.clone().with_key(&[2, 0]);
    assert_eq!(decoded(&keyed, &[0, 1, 0, 0, 0, 2, 3]).as_deref(), Ok(&b"1\t\t3"[..]));
    assert_eq!(decoded(&keyed, &[0b010, 1, 0, 0, 0, 3]).as_deref(), Ok(&b"1\t\t3"[..]));
    assert_eq!(decoded(&keyed, &[0b100, 1, 0, 0, 0, 2]).as_deref(), Ok(&b"1\t2\t\\N"[..]), "a null in the key");
    assert_eq!(decoded(&plan, &[0, 1, 0, 0, 0, 2, 3]).as_deref(), Ok(&b"1\t2\t3"[..]), "no key");
    assert!(decoded(&keyed, &[0, 1, 0, 0, 0, 2]).is_err(), "the image is cut short");
}

#[test]
fn a_number_beyond_the_labels_is_refused() {
    let columns = [Column { charset: Some("utf8mb4".into()), ..column("c", "enum('a','b')") }];
    let plan = RowPlan::new(&columns, &[0], &map(&[(247, 1)])).expect("they fit");
    let present = Bitmap::new(Bytes::from_static(&[1]), 1).expect("one column");
    let image = plan.image(&present).expect("whole");
    let bad = image.decode(&mut Vec::new(), &mut &[0, 3][..]).expect_err("there are two labels");
    assert!(bad.to_string().contains("column `c`: a value for which the column has no label"), "{bad}");
}

#[test]
fn a_document_that_holds_itself_comes_to_an_end() {
    // An array of two elements, both of which are the array at its own table of entries, and so on.
    let mut document = vec![2];
    for _ in 0..60 {
        document.extend_from_slice(&[2, 0, 200, 0, 2, 10, 0, 2, 10, 0]);
    }
    assert!(json::push_document(&mut Vec::new(), &document).is_err());
}

#[test]
fn a_difference_that_does_not_apply_is_refused() {
    // {"a": 1}
    let before = [0, 1, 0, 12, 0, 11, 0, 1, 0, 5, 1, 0, b'a'];
    let change = |differences: &[u8]| {
        let mut out = Vec::new();
        json::push_changed(&mut out, &before, differences).map(|()| String::from_utf8(out).expect("UTF-8"))
    };
    assert_eq!(change(b"").as_deref(), Ok("{\"a\": 1}"));
    assert_eq!(change(b"\x00\x03$.a\x03\x05\x07\x00").as_deref(), Ok("{\"a\": 7}"));
    assert_eq!(change(b"\x01\x03$.B\x02\x04\x01").as_deref(), Ok("{\"B\": true, \"a\": 1}"));
    assert_eq!(change(b"\x02\x03$.a").as_deref(), Ok("{}"));
    for wrong in
        [&b"\x02\x03$.b"[..], b"\x01\x03$.a\x02\x04\x01", b"\x00\x03$.b\x02\x04\x01", b"\x02\x01$", b"\x02\x04$[1]"]
    {
        assert!(matches!(change(wrong), Err(Flaw::Unapplicable(_))), "{wrong:?}");
    }
    for broken in [&b"\x00"[..], b"\x03\x03$.a", b"\x00\x09$.a", b"\x00\x03$.a\x09\x05", b"\x00\x03x.a\x02\x04\x01"] {
        assert!(matches!(change(broken), Err(Flaw::Malformed(_))), "{broken:?}");
    }
}

/// Reads the rows of an event as far as they can be read.
fn read_any_kind(plan: &RowPlan, event: &RowsEvent) {
    let images = [&event.present_before, &event.present_after].map(|present| {
        let image = present.as_ref().map(|present| plan.image(present));
        image.transpose().ok()
    });
    let [Some(before), Some(after)] = images else { return };
    let mut rest = &event.rows[..];
    let mut out = Vec::new();
    while !rest.is_empty() {
        let start = rest;
        if let Some(before) = &before
            && before.decode(&mut out, &mut rest).is_err()
        {
            return;
        }
        let read = &start[..start.len() - rest.len()];
        let decoded = match (&before, &after) {
            (Some(before), Some(after)) if event.kind == RowsKind::PartialUpdate => {
                after.decode_partial(&mut out, &mut rest, (before, read))
            }
            (_, Some(after)) => after.decode(&mut out, &mut rest),
            (_, None) => Ok(()),
        };
        if decoded.is_err() || rest.len() == start.len() {
            return;
        }
    }
}

proptest! {
    #[test]
    fn no_damage_makes_the_decoder_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), file: prop::sample::Index)
    {
        thread_local!(static ALL: Vec<Captured> = Captured::all());
        ALL.with(|all| {
            let captured = file.get(all);
            let mut rows = captured.event.rows.to_vec();
            for (at, byte) in &damage {
                let at = at.index(rows.len());
                rows[at] = *byte;
            }
            // An error or other rows: both are fine.
            let _ = captured.decode(&rows);
        });
    }

    #[test]
    fn rows_with_pieces_that_are_lost_added_or_doubled_are_rows_or_an_error(
        damages in prop::collection::vec(any::<(u8, u16, u8, u8)>(), 1..6), file: prop::sample::Index)
    {
        thread_local!(static ALL: Vec<Captured> = Captured::all());
        ALL.with(|all| {
            let captured = file.get(all);
            let rows = dt_common::damage::damaged(&captured.event.rows, &damages);
            let _ = captured.decode(&rows);
            let event = RowsEvent { rows: rows.into(), ..captured.event.clone() };
            read_any_kind(&captured.plan().expect("they fit"), &event);
        });
    }

    #[test]
    fn a_table_that_is_described_otherwise_has_rows_or_an_error(
        damages in prop::collection::vec(any::<(prop::sample::Index, u8, u16)>(), 1..4), file: prop::sample::Index)
    {
        thread_local!(static ALL: Vec<Captured> = Captured::all());
        ALL.with(|all| {
            let captured = file.get(all);
            let mut map = captured.map.clone();
            for (at, kind, meta) in &damages {
                let at = at.index(map.columns.len());
                let kind = if kind % 2 == 0 { map.columns[at].kind } else { *kind };
                map.columns[at] = WireColumn { kind, meta: *meta, nullable: true };
            }
            map.names = Some((0..map.columns.len()).map(|at| at.to_string()).collect());
            map.enum_values.get_or_insert_with(|| vec![vec![b"a".to_vec()]; map.columns.len()]);
            map.set_values.get_or_insert_with(|| vec![vec![b"a".to_vec()]; map.columns.len()]);
            map.collations = vec![None; map.columns.len()];
            // As the map says it is, all of it copied; or the captured columns, if they fit.
            let all: Vec<usize> = (0..map.columns.len()).collect();
            if let Some(columns) = crate::cdc::metadata::columns(&map, &Default::default())
                && let Ok(plan) = RowPlan::new(&columns, &all, &map)
            {
                read_any_kind(&plan.with_key(&[0]), &captured.event);
            }
            map.names = None;
            if let Ok(plan) = RowPlan::new(&captured.columns, &captured.copied, &map) {
                read_any_kind(&plan, &captured.event);
            }
        });
    }

    #[test]
    fn no_bytes_make_the_json_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..80), first in 0_u8..16) {
        let document = [&[first][..], &bytes].concat();
        let _ = json::push_document(&mut Vec::new(), &document);
        let _ = json::push_changed(&mut Vec::new(), &document, &bytes);
    }

    #[test]
    fn small_offsets_make_no_document_endless(bytes in prop::collection::vec(0_u8..24, 0..200), first in 0_u8..4) {
        let document = [&[first][..], &bytes].concat();
        let _ = json::push_document(&mut Vec::new(), &document);
    }
}

#[test]
fn an_updates_images_follow_each_other() {
    let captured = Captured::of("mysql-minimal-integers");
    let plan = captured.plan().expect("they fit");
    let image = plan.image(captured.present()).expect("whole");
    let mut rest = &captured.event.rows[..];
    let mut block = Vec::new();
    for _ in 0..2 {
        image.decode(&mut block, &mut rest).expect("a row");
        crate::rows::end_row(&mut block);
    }
    let rows: Vec<String> = crate::rows::rows(&block).map(|row| row.escape_ascii().to_string()).collect();
    assert_eq!(rows, captured.rows[..2]);
}
