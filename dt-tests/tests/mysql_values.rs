//! Every type and every awkward value, between MySQL and MariaDB, by LOAD DATA and by statements: what the source
//! holds is what the target holds, byte by byte. The tables are in `values/`.

mod copies;
mod values;

use anyhow::{Result, ensure};
use copies::{Route, Writing, nothing_wrong, run};
use dt_tests::db::{Db, literal, quoted};
use dt_tests::judge::Judge;
use dt_tests::servers::Kind::{self, Mariadb, Mysql};
use values::TABLES;

#[test]
fn mysql_values_survive_load_data() -> Result<()> {
    values_survive(Route::new(Mysql, Mysql, Writing::LoadData)?, Mysql, Mysql, "values_load")
}

#[test]
fn mysql_values_survive_multi_row_statements() -> Result<()> {
    values_survive(Route::new(Mysql, Mysql, Writing::Statements)?, Mysql, Mysql, "values_statements")
}

#[test]
fn mariadb_values_survive_load_data() -> Result<()> {
    values_survive(Route::new(Mariadb, Mariadb, Writing::LoadData)?, Mariadb, Mariadb, "values_load")
}

#[test]
fn mariadb_values_survive_multi_row_statements() -> Result<()> {
    values_survive(Route::new(Mariadb, Mariadb, Writing::Statements)?, Mariadb, Mariadb, "values_statements")
}

#[test]
fn values_that_both_kinds_know_survive_from_mysql_to_mariadb() -> Result<()> {
    values_survive(Route::new(Mysql, Mariadb, Writing::LoadData)?, Mysql, Mariadb, "values_across")?;
    values_survive(Route::new(Mysql, Mariadb, Writing::Statements)?, Mysql, Mariadb, "values_across")
}

#[test]
fn values_that_both_kinds_know_survive_from_mariadb_to_mysql() -> Result<()> {
    values_survive(Route::new(Mariadb, Mysql, Writing::LoadData)?, Mariadb, Mysql, "values_back")?;
    values_survive(Route::new(Mariadb, Mysql, Writing::Statements)?, Mariadb, Mysql, "values_back")
}

/// A JSON column can hold values that its own text has no word for. They arrive as their text reads, which is all that
/// any client of the server sees of them: a decimal as a double, a date as a string.
#[test]
fn what_the_text_of_json_does_not_say_arrives_as_the_text_reads() -> Result<()> {
    for writing in [Writing::LoadData, Writing::Statements] {
        let route = Route::new(Mysql, Mysql, writing)?;
        let (source, target) = route.databases("values_json")?;
        for db in [&source, &target] {
            db.exec("CREATE TABLE t (id int PRIMARY KEY, j json)")?;
        }
        source.exec(
            "INSERT INTO t VALUES (1, JSON_OBJECT('d', CAST(1.10 AS DECIMAL(5,2)), 't', CAST('2020-01-02' AS DATETIME(6))))",
        )?;
        route.task("values_json")?.run()?.expect_code(0)?;
        let read =
            |db: &Db| db.rows("SELECT j->>'$.t', j->>'$.d' + 0e0, JSON_TYPE(j->'$.d'), JSON_TYPE(j->'$.t') FROM t");
        let cells = |cells: [&str; 4]| vec![cells.map(|cell| Some(cell.to_owned())).to_vec()];
        assert_eq!(read(&source)?, cells(["2020-01-02 00:00:00.000000", "1.1", "DECIMAL", "DATETIME"]));
        assert_eq!(read(&target)?, cells(["2020-01-02 00:00:00.000000", "1.1", "DOUBLE", "STRING"]), "{route}");
    }
    Ok(())
}

fn values_survive(route: Route, from: Kind, to: Kind, database: &str) -> Result<()> {
    let (source, target) = route.databases(database)?;
    let tables: Vec<_> = TABLES.iter().filter(|table| table.known.by(from) && table.known.by(to)).collect();
    for table in &tables {
        let create = |columns: &str| format!("CREATE TABLE {} ({columns})", quoted(table.name));
        run(&source, table.name, &[create(table.columns), format!("INSERT INTO {} {}", table.name, table.rows)])?;
        run(&target, table.name, &[create(table.target_columns.unwrap_or(table.columns))])?;
    }
    let finished = route.task(database)?.run()?.expect_code(0)?;

    // Where the type itself differs, the two sides would write the same value differently.
    let judge = Judge::new(&source, &target)
        .column("other_charsets_on_the_target", "en", "CONVERT({} USING utf8mb4)")
        .column("wider_types_on_the_target", "dt", "CAST({} AS DATETIME(6))");
    // A SET of 64 members plus zero is another double on each kind of server.
    let judge = judge.column("enums", "s64", "CAST({} AS UNSIGNED)");
    // The judge's own text of a value of so many megabytes would be larger than a packet, and null.
    let judge = judge.column("wide_blobs", "b", "{}").column("wide_blobs", "c", "{}");
    let mut wrong = Vec::new();
    let mut rows = 0;
    for table in tables {
        let verdict = judge.table(database, table.name)?;
        rows += verdict.rows;
        if verdict.rows == 0 || !verdict.is_equal() {
            wrong.push(format!("{}: {verdict}", table.name));
        }
        if table.target_columns.is_none() {
            wrong.extend(differing_bytes(&source, &target, database, table.name)?);
        }
    }
    nothing_wrong(route, &wrong)?;
    ensure!(finished.summary("rows") == Some(rows), "{rows} rows: {}", finished.said());
    Ok(())
}

/// The judge looks at text in utf8mb4 and at shapes without their bounds: here the stored bytes themselves, and
/// numbers and dates as the server writes them, column by column.
fn differing_bytes(source: &Db, target: &Db, database: &str, table: &str) -> Result<Vec<String>> {
    let columns = source.rows(format!(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = {} AND table_name = {}",
        literal(database),
        literal(table)
    ))?;
    let mut wrong = Vec::new();
    for column in columns {
        let [Some(name), Some(data_type)] = <[_; 2]>::try_from(column).unwrap_or_default() else { continue };
        let of = quoted(&name);
        let seen = match data_type.to_lowercase().as_str() {
            // As the double it is, and with its own number of digits.
            "float" => format!("CONCAT({of} * 1e0, '/', {of})"),
            "bit" => format!("HEX({of} + 0)"),
            "json" => format!("CAST({of} AS CHAR)"),
            "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "tinyblob" | "blob"
            | "mediumblob" | "longblob" | "binary" | "varbinary" => {
                format!("IF(LENGTH({of}) > 1000, CONCAT(LENGTH({of}), ':', SHA2({of}, 256)), HEX({of}))")
            }
            "enum" | "set" => format!("CONCAT(HEX({of}), '/', CAST({of} AS UNSIGNED))"),
            data_type if is_spatial(data_type) => format!("HEX({of})"),
            "vector" => format!("HEX({of})"),
            _ => format!("CAST({of} AS CHAR)"),
        };
        let sql = format!("SELECT id, {seen} FROM {} ORDER BY id", quoted(table));
        let (was, is) = (source.rows(&sql)?, target.rows(&sql)?);
        for (was, is) in was.iter().zip(&is).filter(|(was, is)| was != is) {
            wrong.push(format!("{table}.{name}: {was:?} became {is:?}"));
        }
        ensure!(was.len() == is.len(), "{table} has {} rows and should have {}", is.len(), was.len());
    }
    Ok(wrong)
}

fn is_spatial(data_type: &str) -> bool {
    ["geom", "point", "linestring", "polygon"].iter().any(|word| data_type.contains(word))
}
