use dt_common::TableId;
use dt_common::schema::{Column, Key, TableSchema};

use super::*;

fn plan(key: &[usize]) -> ChangePlan {
    let columns = [("id", "integer"), ("a\"b", "text"), ("tags", "hstore.hstore")];
    let source = TableSchema {
        id: TableId::new("s", "t"),
        columns: columns
            .iter()
            .map(|(name, data_type)| Column {
                name: (*name).into(),
                data_type: (*data_type).into(),
                nullable: true,
                charset: None,
                collation: None,
                binary_form: None,
            })
            .collect(),
        key: (!key.is_empty()).then(|| Key { name: "k".into(), columns: key.to_vec(), nullable: false }),
        rows_estimate: 0,
    };
    let table = RoutedTable {
        target: TableId::new("s", "t"),
        target_columns: columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
        source,
    };
    ChangePlan::new(&table, &Found::default(), Duplicates::Replace, 1)
}

fn text(bytes: impl AsRef<[u8]>) -> String {
    String::from_utf8(bytes.as_ref().to_vec()).expect("is UTF-8")
}

#[test]
fn keys_of_one_column_are_deleted_by_an_array() {
    let rows: &[&[u8]] = &[b"1\t\\T\t\\T", b"2\tx\ty"];
    let (statement, count) = plan(&[0]).delete_keys(rows, 10_000);
    assert_eq!(count, 2);
    assert_eq!(text(statement), r#"DELETE FROM ONLY "s"."t" WHERE "id" = ANY ('{1,2}'::integer[])"#);
    let (_, count) = plan(&[0]).delete_keys(rows, 10);
    assert_eq!(count, 1, "at least one goes, however small the statement is to be");
}

#[test]
fn keys_of_several_columns_are_deleted_by_a_join() {
    let rows: &[&[u8]] = &[b"1\tit's\t\\T", b"2\tx\ty"];
    let (statement, _) = plan(&[1, 0]).delete_keys(rows, 10_000);
    assert_eq!(
        text(statement),
        r#"DELETE FROM ONLY "s"."t" AS t USING (VALUES ('it''s'::text,'1'::integer),('x','2')) AS k(c0,c1) WHERE t."a""b" = k.c0 AND t."id" = k.c1"#
    );
}

#[test]
fn a_row_that_is_not_said_whole_keeps_what_is_not_said() {
    let rows: &[&[u8]] = &[b"1\tx\t\\T", b"2\t\\N\t\\T"];
    let (statement, _) = plan(&[0]).patch(rows, &[2], 10_000);
    assert_eq!(
        text(statement.expect("sets a column")),
        r#"UPDATE ONLY "s"."t" AS t SET "a""b" = k.c1 FROM (VALUES ('1'::integer,'x'::text),('2',NULL)) AS k(c0,c1) WHERE t."id" = k.c0"#
    );
    let (statement, count) = plan(&[0]).patch(rows, &[1, 2], 10_000);
    assert_eq!((statement, count), (None, 2), "nothing is said but the key");
}

#[test]
fn a_row_that_moves_takes_along_what_is_not_said() {
    assert_eq!(
        text(plan(&[0]).move_row(b"1\t\\T\t\\T", b"2\tx\t\\T")),
        r#"WITH there AS (UPDATE ONLY "s"."t" AS t SET "id" = '2',"a""b" = 'x' WHERE t."id" = '2'::integer RETURNING 1), gone AS (DELETE FROM ONLY "s"."t" AS t WHERE t."id" = '1'::integer AND EXISTS (SELECT FROM there)) UPDATE ONLY "s"."t" AS t SET "id" = '2',"a""b" = 'x' WHERE t."id" = '1'::integer AND NOT EXISTS (SELECT FROM there)"#
    );
}

#[test]
fn a_row_without_a_key_is_found_by_all_of_its_values() {
    assert_eq!(
        text(plan(&[]).delete_row(b"\\N\tx\ty")),
        r#"DELETE FROM ONLY "s"."t" AS t USING (SELECT t.tableoid AS o, t.ctid AS c FROM ONLY "s"."t" AS t WHERE t."id" IS NULL AND t."a""b"::text COLLATE "C" = ('x'::text)::text AND t."tags"::text COLLATE "C" = ('y'::hstore.hstore)::text LIMIT 1) AS s WHERE t.tableoid = s.o AND t.ctid = s.c"#
    );
}

#[test]
fn rows_are_inserted_with_their_identities() {
    let rows: &[&[u8]] = &[b"1\tx\t\\N", b"2\ta\\\\b\t"];
    let (statement, count) = plan(&[0]).insert(rows, 10_000);
    assert_eq!(count, 2);
    assert_eq!(
        text(statement),
        r#"INSERT INTO "s"."t" ("id","a""b","tags") OVERRIDING SYSTEM VALUE VALUES ('1','x',NULL),('2', E'a\\b','')"#
    );
}
