use dt_common::TableId;
use dt_common::position::KeyText;
use dt_common::schema::{Column, Key, TableSchema};

use super::*;
use crate::catalog::{CatalogColumn, Operators, Relation};

fn column(name: &str, type_name: &str, form: Option<&str>, nullable: bool) -> CatalogColumn {
    CatalogColumn {
        column: Column {
            name: name.into(),
            data_type: type_name.into(),
            nullable,
            charset: None,
            collation: None,
            binary_form: form.map(Into::into),
        },
        number: 1,
        type_oid: 0,
        base_oid: 0,
        cast: type_name.into(),
        type_name: type_name.into(),
        generated: false,
        identity_always: false,
        optional: nullable,
        receives_binary: true,
        deterministic: true,
        may_select: true,
        may_insert: true,
    }
}

fn table(columns: Vec<CatalogColumn>, key: &[usize], operators: &str) -> Definition {
    let relation = Relation {
        oid: 1,
        kind: 'r',
        partition_of: None,
        temporary: false,
        rows_estimate: 0,
        pages: 0,
        hides_rows: false,
        may_insert: true,
        replica_identity: 'd',
    };
    let schema_columns: Vec<Column> = columns.iter().map(|column| column.column.clone()).collect();
    let nullable = key.iter().any(|&at| schema_columns[at].nullable);
    let operator = |sign: &str| format!("{operators}.{sign}");
    let operators = Operators { equal: operator("="), at_least: operator(">="), greater: operator(">") };
    Definition {
        relation,
        copied: (0..columns.len()).collect(),
        columns,
        indexes: Vec::new(),
        key_operators: vec![operators; key.len()],
        schema: TableSchema {
            id: TableId::new("s", "t"),
            columns: schema_columns,
            key: (!key.is_empty()).then(|| Key { name: "k".into(), columns: key.to_vec(), nullable }),
            rows_estimate: 0,
        },
    }
}

fn int(name: &str) -> CatalogColumn {
    column(name, "int4", Some("pg_catalog.int4"), false)
}

fn key(values: &[(&str, &str)]) -> OrderKey {
    let part =
        |(column, value): &(&str, &str)| KeyPart { column: (*column).into(), value: KeyText::Text((*value).into()) };
    OrderKey::new(values.iter().map(part).collect()).expect("a key")
}

fn keyed(table: &Definition, from: From) -> String {
    let plan = TablePlan::new(table, None, RowFormat::PgBinary).expect("a plan");
    plan.query(&Range::Keyed(from)).expect("a query")
}

#[test]
fn a_composite_key_goes_on_by_row_comparison() {
    let table = table(vec![int("a"), int("b")], &[0, 1], "pg_catalog");
    assert_eq!(
        keyed(&table, From::After(key(&[("a", "1"), ("b", "2")]))),
        r#"SELECT "a", "b" FROM ONLY "s"."t" WHERE ("a", "b") > ('1'::int4, '2'::int4) ORDER BY "a", "b""#
    );
    assert!(keyed(&table, From::At(key(&[("a", "1")]))).contains(r#"WHERE "a" >= '1'::int4 ORDER BY"#));
}

#[test]
fn an_extension_s_operators_are_named() {
    let citext = column("a", "citext", Some("citext.citext"), false);
    let table = table(vec![citext, int("b")], &[0, 1], "public");
    let text = keyed(&table, From::After(key(&[("a", "x"), ("b", "2")])));
    assert!(text.contains(r#""a" OPERATOR(public.>=) 'x'::citext AND ("a" OPERATOR(public.>) 'x'::citext OR ("a" OPERATOR(public.=) 'x'::citext AND"#), "{text}");
}

#[test]
fn a_key_without_a_readable_binary_form_is_asked_for_as_text() {
    let table =
        table(vec![column("n", "numeric", Some("pg_catalog.numeric"), false), int("dt_key_0")], &[0], "pg_catalog");
    let plan = TablePlan::new(&table, None, RowFormat::PgBinary).expect("a plan");
    let text = plan.copy(&Range::Keyed(From::First)).expect("a statement");
    assert!(text.contains(r#"pg_catalog.format('%s', "n") AS "dt_key_0_" FROM"#), "{text}");
    assert_eq!(plan.extras(), 1);
    let found = plan.key_of(b"", b"\0\0\0\x031.5").expect("a key");
    assert_eq!(found, key(&[("n", "1.5")]));
    let text = TablePlan::new(&table, None, RowFormat::PgText).expect("a plan");
    assert_eq!(text.extras(), 0);
    assert_eq!(text.key_of(b"2.50\t7\n", b"").expect("a key"), key(&[("n", "2.50")]));
}

#[test]
fn null_keys_are_a_range_of_their_own_before_all_others() {
    let maybe = column("m", "int4", Some("pg_catalog.int4"), true);
    let table = table(vec![int("a"), maybe], &[1], "pg_catalog");
    let plan = TablePlan::new(&table, Some("a > 1 -- all"), RowFormat::PgText).expect("a plan");
    let ranges = plan.start_ranges(&Start::Beginning).expect("ranges");
    let texts: Vec<String> = ranges.iter().map(|range| plan.query(range).expect("a query")).collect();
    assert_eq!(
        texts,
        [
            "SELECT \"a\", \"m\" FROM ONLY \"s\".\"t\" WHERE (\na > 1 -- all\n) AND (\"m\" IS NULL) ORDER BY ctid",
            "SELECT \"a\", \"m\" FROM ONLY \"s\".\"t\" WHERE (\na > 1 -- all\n) AND \"m\" IS NOT NULL ORDER BY \"m\"",
        ]
    );
    let after = Start::After { key: key(&[("m", "3")]), null_keys_done: true };
    assert_eq!(plan.start_ranges(&after).expect("ranges").len(), 1);
}

#[test]
fn a_stored_key_that_does_not_fit_is_refused() {
    let table = table(vec![column("b", "bytea", Some("pg_catalog.bytea"), false)], &[0], "pg_catalog");
    let plan = TablePlan::new(&table, None, RowFormat::PgBinary).expect("a plan");
    let start = |values: &[(&str, &str)]| Start::After { key: key(values), null_keys_done: false };
    assert!(plan.start_ranges(&start(&[("b", "00ff")])).is_ok());
    assert!(plan.start_ranges(&start(&[("b", "xyz")])).is_err());
    assert!(plan.start_ranges(&start(&[("b", "00"), ("c", "1")])).is_err());
}

#[test]
fn pieces_cover_every_page_and_the_last_has_no_end() {
    assert_eq!(Piece::all(0), [Piece { from: 0, to: None }]);
    let two = [Piece { from: 0, to: Some(PIECE_PAGES) }, Piece { from: PIECE_PAGES, to: None }];
    assert_eq!(Piece::all(PIECE_PAGES + 1), two);
    assert_eq!(Piece::all(PIECE_PAGES), [Piece { from: 0, to: None }]);
    let table = table(vec![int("a")], &[], "pg_catalog");
    let plan = TablePlan::new(&table, None, RowFormat::PgBinary).expect("a plan");
    let range = Range::Unordered { rows: Rows::All, piece: Some(two[0]) };
    assert!(plan.query(&range).expect("a query").ends_with("WHERE ctid >= '(0,0)'::tid AND ctid < '(8192,0)'::tid"));
}

#[test]
fn a_chunk_ends_with_its_last_key() {
    let table = table(vec![int("a"), int("b")], &[0, 1], "pg_catalog");
    let until = key(&[("a", "9"), ("b", "8")]);
    let plan = TablePlan::new(&table, None, RowFormat::PgBinary).expect("a plan");
    let plan = TablePlan { until: Some(&until), ..plan };
    assert_eq!(
        plan.query(&Range::Keyed(From::After(key(&[("a", "1"), ("b", "2")])))).expect("a query"),
        r#"SELECT "a", "b" FROM ONLY "s"."t" WHERE ("a", "b") > ('1'::int4, '2'::int4) AND ("a", "b") <= ('9'::int4, '8'::int4) ORDER BY "a", "b""#
    );
}

#[test]
fn a_chunk_of_an_extension_s_key_ends_where_its_operators_say() {
    let citext = column("a", "citext", Some("citext.citext"), false);
    let table = table(vec![citext], &[0], "public");
    let until = key(&[("a", "x")]);
    let plan = TablePlan::new(&table, None, RowFormat::PgBinary).expect("a plan");
    let plan = TablePlan { until: Some(&until), ..plan };
    let text = plan.query(&Range::Keyed(From::First)).expect("a query");
    assert!(
        text.contains(
            r#"WHERE NOT ("a" OPERATOR(public.>) 'x'::citext) AND NOT ("a" OPERATOR(public.>) 'x'::citext) ORDER"#
        ),
        "{text}"
    );
}

#[test]
fn a_table_is_cut_at_the_keys_of_a_sample() {
    let maybe = column("b", "int4", Some("pg_catalog.int4"), true);
    let table = table(vec![int("a"), maybe], &[0, 1], "pg_catalog");
    let plan = TablePlan::new(&table, None, RowFormat::PgText).expect("a plan");
    assert_eq!(
        plan.bounds_query(4, 0.5),
        "SELECT k0, k1 FROM (SELECT pg_catalog.format('%s', \"a\") AS k0, pg_catalog.format('%s', \"b\") AS k1, \
         row_number() OVER (ORDER BY \"a\", \"b\") AS n, count(*) OVER () AS c \
         FROM ONLY \"s\".\"t\" TABLESAMPLE SYSTEM (0.5) WHERE \"b\" IS NOT NULL) AS sample \
         WHERE n < c AND n * 4 / c > (n - 1) * 4 / c ORDER BY n"
    );
    let bound = plan.bound_of([b"1".as_slice(), b"2"].into_iter()).expect("a key");
    assert_eq!(bound, key(&[("a", "1"), ("b", "2")]));
}
