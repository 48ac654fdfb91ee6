use dt_common::TableId;
use dt_common::schema::{Key, TableSchema};

use super::*;

fn column(name: &str, data_type: &str, charset: Option<&str>) -> Column {
    Column {
        name: name.into(),
        data_type: data_type.into(),
        nullable: true,
        charset: charset.map(Into::into),
        collation: None,
        binary_form: None,
    }
}

fn plan_onto(columns: Vec<Column>, target: Vec<Column>, key: &[usize]) -> ChangePlan {
    let key = (!key.is_empty()).then(|| Key { name: "PRIMARY".into(), columns: key.to_vec(), nullable: false });
    let table = RoutedTable {
        target_columns: columns.iter().map(|column| column.name.clone()).collect(),
        source: TableSchema { id: TableId::new("s", "t"), columns, key, rows_estimate: 0 },
        target: TableId::new("d", "t"),
    };
    let target: Vec<CatalogColumn> =
        target.into_iter().map(|column| CatalogColumn { column, generated: false, optional: true }).collect();
    ChangePlan::new(&table, &target, Duplicates::Replace)
}

fn plan(columns: Vec<Column>, key: &[usize]) -> ChangePlan {
    plan_onto(columns.clone(), columns, key)
}

fn text(statement: Vec<u8>) -> String {
    String::from_utf8(statement).expect("utf-8")
}

fn deleted(plan: &ChangePlan, rows: &[&[u8]]) -> String {
    let (statement, count) = plan.delete_keys(rows, 1 << 20);
    assert_eq!(count, rows.len());
    text(statement)
}

#[test]
fn keys_are_deleted_by_a_list() {
    let columns = vec![column("id", "bigint unsigned", None), column("v", "text", Some("utf8mb4"))];
    let plan = plan(columns, &[0]);
    assert_eq!(
        deleted(&plan, &[b"1\tx", b"18446744073709551615\t\\N"]),
        "DELETE FROM `d`.`t` WHERE `id` IN (1,18446744073709551615)"
    );
}

#[test]
fn a_key_of_several_columns_is_a_row_in_the_keys_order() {
    let columns = vec![
        column("v", "int", None),
        column("a", "varchar(9)", Some("utf8mb4")),
        column("b", "varbinary(9)", None),
        column("c", "datetime(3)", None),
    ];
    let plan = plan(columns, &[3, 1, 2]);
    assert_eq!(
        deleted(&plan, &[b"7\tit's\tx\t2024-01-01 00:00:00.000", b"\\N\ta\\tb\t\t0000-00-00 00:00:00.000"]),
        r"DELETE FROM `d`.`t` WHERE (`c`,`a`,`b`) IN (('2024-01-01 00:00:00.000','it\'s',x'78'),('0000-00-00 00:00:00.000','a	b',x''))"
    );
}

#[test]
fn key_literals_have_the_type_that_the_column_compares_by() {
    let cases: [(Column, &[u8], &str); 8] = [
        (column("k", "float", None), b"0.10000000149011612", "0.10000000149011612e0"),
        (column("k", "double", None), b"1.5e-7", "1.5e-7"),
        (column("k", "decimal(9,2)", None), b"-1.50", "-1.50"),
        (column("k", "bit(9)", None), b"\x01\x02", "258"),
        (column("k", "year", None), b"0000", "'0000'"),
        (column("k", "enum('z','m')", Some("utf8mb4")), b"m", "'m'"),
        (column("k", "varchar(9)", Some("gbk")), b"\xd6\xd0", "_gbk x'd6d0'"),
        (column("k", "varchar(9)", Some("latin1")), b"a", "_latin1 x'61'"),
    ];
    for (column, value, literal) in cases {
        let plan = plan(vec![column], &[0]);
        assert_eq!(deleted(&plan, &[value]), format!("DELETE FROM `d`.`t` WHERE `k` IN ({literal})"));
    }
}

#[test]
fn a_double_of_fixed_digits_is_compared_by_them() {
    let plan = plan(vec![column("k", "double(20,5)", None)], &[0]);
    assert_eq!(deleted(&plan, &[b"-0.00001"]), "DELETE FROM `d`.`t` WHERE ROUND(`k`,5) IN (ROUND(-0.00001e0,5))");
    assert_eq!(
        text(plan.delete_row(b"1e22", By::Image)),
        "DELETE FROM `d`.`t` WHERE ROUND(`k`,5)<=>ROUND(1e22,5) LIMIT 1"
    );
}

#[test]
fn a_list_of_keys_stays_within_its_bounds() {
    let plan = plan(vec![column("id", "int", None)], &[0]);
    let many: Vec<&[u8]> = vec![b"12345"; DELETE_KEYS_MAX + 1];
    assert_eq!(plan.delete_keys(&many, 1 << 20).1, DELETE_KEYS_MAX);
    assert_eq!(plan.delete_keys(&many, 1).1, 1, "at least one");
    let (statement, count) = plan.delete_keys(&many, 100);
    assert!(count > 1 && statement.len() <= 101, "{count}");
}

#[test]
fn a_row_without_a_key_is_found_by_all_its_values_exactly() {
    let columns = vec![
        column("i", "int", None),
        column("f", "float", None),
        column("b", "bit(3)", None),
        column("s", "varchar(9)", Some("latin1")),
        column("t", "longtext", Some("utf8mb4")),
        column("j", "json", None),
        column("g", "geometry", None),
        column("n", "date", None),
    ];
    let plan = plan(columns, &[]);
    assert_eq!(
        text(plan.delete_row(b"1\t1.5\t\x05\ta\tb\t{\"a\": 1}\t\x01\xff\t\\N", By::Image)),
        "DELETE FROM `d`.`t` WHERE `i`<=>1 AND `f`+0e0<=>1.5e0 AND `b`<=>5 AND \
         `s`<=>_latin1 x'61' AND CAST(CONVERT(`s` USING latin1) AS BINARY)<=>x'61' AND \
         CAST(CONVERT(`t` USING utf8mb4) AS BINARY)<=>x'62' AND \
         `j`<=>CAST('{\"a\": 1}' AS JSON) AND HEX(`g`)<=>'01FF' AND `n` IS NULL LIMIT 1"
    );
}

#[test]
fn the_targets_type_decides_how_a_value_is_found() {
    let source = vec![column("j", "json", None), column("e", "enum('a')", Some("utf8mb4"))];
    let target = vec![column("j", "longtext", Some("utf8mb4")), column("e", "varchar(3)", Some("latin1"))];
    assert_eq!(
        text(plan_onto(source, target, &[]).delete_row(b"[]\ta", By::Image)),
        "DELETE FROM `d`.`t` WHERE CAST(CONVERT(`j` USING utf8mb4) AS BINARY)<=>x'5b5d' AND \
         `e`<=>'a' AND CAST(CONVERT(`e` USING utf8mb4) AS BINARY)<=>x'61' LIMIT 1"
    );
}

#[test]
fn an_update_sets_all_values_of_one_row() {
    let columns = || vec![column("id", "int", None), column("v", "varchar(9)", Some("utf8mb4"))];
    assert_eq!(
        text(plan(columns(), &[0]).update_row(b"1\ta", b"2\t\\N", By::Key)),
        "UPDATE `d`.`t` SET `id`=2,`v`=NULL WHERE `id`=1"
    );
    assert_eq!(
        text(plan(columns(), &[]).update_row(b"1\t\\N", b"1\tb", By::Image)),
        "UPDATE `d`.`t` SET `id`=1,`v`='b' WHERE `id`<=>1 AND `v` IS NULL LIMIT 1"
    );
}
