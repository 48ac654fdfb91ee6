//! Many tables, odd names and odd shapes: every row ends in its own table, and what would make two rows one is refused.

mod copies;

use anyhow::{Result, ensure};
use copies::{Known, Route, Writing, nothing_wrong, run};
use dt_tests::db::{Db, literal, quoted};
use dt_tests::judge::Judge;
use dt_tests::servers::Kind::{self, Mariadb, Mysql};

const BOTH: [Kind; 2] = [Mysql, Mariadb];

fn routes() -> Result<Vec<Route>> {
    BOTH.into_iter()
        .flat_map(|kind| [Writing::LoadData, Writing::Statements].map(|writing| Route::new(kind, kind, writing)))
        .collect()
}

/// The rows `0..count` of a recursive table `n`.
fn numbers(count: u32) -> String {
    format!("WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {count} - 1)")
}

fn all_equal(database: &str, source: &Db, target: &Db) -> Result<Vec<String>> {
    let verdicts = Judge::new(source, target).database(database)?;
    let wrong = verdicts.into_iter().filter(|(_, verdict)| !verdict.is_equal());
    Ok(wrong.map(|(table, verdict)| format!("{table}: {verdict}")).collect())
}

#[test]
fn every_row_of_forty_small_tables_ends_in_its_own() -> Result<()> {
    const TABLES: u32 = 40;
    for parallel in ["1", "4"] {
        for route in routes()? {
            let (source, target) = route.databases("batches_own")?;
            for table in 0..TABLES {
                // Every second one has no key, and every third one another shape.
                let key = if table % 2 == 0 { "PRIMARY KEY" } else { "NOT NULL" };
                let more = if table % 3 == 0 { ", extra int DEFAULT 5" } else { "" };
                let create = format!("CREATE TABLE t{table} (id int {key}, name varchar(9) NOT NULL{more})");
                let rows = 30 + table * 7;
                let insert = format!("INSERT INTO t{table} (id, name) {} SELECT i, 't{table}' FROM n", numbers(rows));
                run(&source, "forty", &[create.clone(), insert])?;
                run(&target, "forty", &[create])?;
            }
            let task = route.task("batches_own")?.set("extractor", "parallel_size", parallel);
            task.set("parallelizer", "parallel_size", parallel).run()?.expect_code(0)?;
            let mut wrong = all_equal("batches_own", &source, &target)?;
            for table in 0..TABLES {
                let sql = format!("SELECT COUNT(*), SUM(name = 't{table}') FROM t{table}");
                let rows = Some((30 + table * 7).to_string());
                if target.rows(&sql)? != [[rows.clone(), rows]] {
                    wrong.push(format!("t{table}: {:?}", target.rows(&sql)?));
                }
            }
            nothing_wrong(format!("{route}, parallel_size {parallel}"), &wrong)?;
        }
    }
    Ok(())
}

#[test]
fn a_thousand_tables_four_at_a_time() -> Result<()> {
    const TABLES: u32 = 1000;
    for kind in BOTH {
        let route = Route::new(kind, kind, Writing::LoadData)?;
        let (source, target) = route.databases("batches_thousand")?;
        for table in 0..TABLES {
            let create = format!("CREATE TABLE t{table} (id int PRIMARY KEY, name varchar(9))");
            run(
                &source,
                "thousand",
                &[create.clone(), format!("INSERT INTO t{table} VALUES (1, 't{table}'), (2, NULL)")],
            )?;
            run(&target, "thousand", &[create])?;
        }
        let task = route.task("batches_thousand")?.set("extractor", "parallel_size", "4");
        let finished = task.run()?.expect_code(0)?;
        let wrong: Vec<String> = (0..TABLES)
            .filter_map(|table| {
                let sql = format!("SELECT COUNT(*), SUM(name = 't{table}') FROM t{table}");
                let right = target.rows(sql).is_ok_and(|rows| rows == [[Some("2".to_owned()), Some("1".to_owned())]]);
                (!right).then(|| format!("t{table}"))
            })
            .collect();
        nothing_wrong(route, &wrong)?;
        ensure!(finished.summary("rows") == Some(u64::from(2 * TABLES)), "{}", finished.said());
        ensure!(task.log("finished.log")?.lines().count() == TABLES as usize, "finished.log has another count");
    }
    Ok(())
}

#[test]
fn odd_shapes_of_tables_arrive() -> Result<()> {
    let wide: Vec<String> = (0..300).map(|column| format!("c{column} int")).collect();
    let values: Vec<String> = (0..300).map(|column| format!("IF(i = {column}, NULL, i * {column})")).collect();
    let empty = ["id int PRIMARY KEY, v int", "v varchar(9)", "a int, b int, UNIQUE (a, b)"];
    for route in routes()? {
        let (source, target) = route.databases("batches_shapes")?;
        for db in [&source, &target] {
            db.exec(format!("CREATE TABLE wide (id int PRIMARY KEY, {})", wide.join(", ")))?;
            db.exec("CREATE TABLE only_a_key (id varchar(9) COLLATE utf8mb4_bin PRIMARY KEY)")?;
            db.exec("CREATE TABLE only_a_text (t text)")?;
            for (at, columns) in empty.iter().enumerate() {
                db.exec(format!("CREATE TABLE empty_{at} ({columns})"))?;
            }
        }
        source.exec(format!("INSERT INTO wide {} SELECT i, {} FROM n", numbers(301), values.join(", ")))?;
        source.exec(format!("INSERT INTO only_a_key {} SELECT CONCAT(i, '\\t') FROM n", numbers(301)))?;
        source.exec("INSERT INTO only_a_text VALUES (NULL), (''), ('\\\\N'), (''), (NULL), ('\\n')")?;
        let task = route.task("batches_shapes")?.set("extractor", "batch_size", "100");
        task.run()?.expect_code(0)?;
        nothing_wrong(route, &all_equal("batches_shapes", &source, &target)?)?;
        for at in 0..empty.len() {
            ensure!(
                task.progress()?.is_finished("batches_shapes", &format!("empty_{at}")),
                "{route}: an empty table is not recorded as finished"
            );
        }
    }
    Ok(())
}

/// Names that some layer could take apart: SQL, the filter's lists, JSON, LOAD DATA, the positions.
const NAMES: [&str; 14] = [
    "it's",
    "a.b",
    "a-b",
    "two words",
    "back`tick",
    "double\"quote",
    "naïve_表",
    "select",
    "1234",
    "back\\slash",
    "a,b",
    "%s",
    "tab\tnewline\n.",
    "#;--",
];

#[test]
fn names_may_hold_anything_and_conditions_end_in_a_comment() -> Result<()> {
    for route in routes()? {
        let database = "batches-odd `na.me`";
        let (source, target) = route.databases(database)?;
        for name in NAMES {
            let (table, column) = (quoted(name), quoted(name));
            let create = format!(
                "CREATE TABLE {table} ({column} varchar(9) COLLATE utf8mb4_bin PRIMARY KEY, `or` int, `x{0}` int)",
                name.replace('`', "``")
            );
            let insert = format!("INSERT INTO {table} {} SELECT CONCAT('r', i), i, i FROM n", numbers(50));
            run(&source, name, &[create.clone(), insert])?;
            run(&target, name, &[create])?;
        }
        source.exec("CREATE TABLE chosen (id int PRIMARY KEY, v int)")?;
        source.exec(format!("INSERT INTO chosen {} SELECT i, i % 10 FROM n", numbers(100)))?;
        target.exec("CREATE TABLE chosen (id int PRIMARY KEY, v int)")?;
        let conditions = format!(
            r#"json:[{{"db":{0},"tb":"chosen","condition":"id < 10 or v = 3 -- the comment"}}]"#,
            serde_json_text(database)
        );
        let task = route
            .task(database)?
            .set("filter", "do_dbs", quoted(database))
            .set("filter", "where_conditions", conditions)
            .set("extractor", "batch_size", "7");
        let finished = task.run()?.expect_code(0)?;
        ensure!(finished.summary("tables") == Some(NAMES.len() as u64 + 1), "{}", finished.said());
        let judge = Judge::new(&source, &target);
        for name in NAMES {
            let verdict = judge.table(database, name)?;
            ensure!(verdict.is_equal() && verdict.rows == 50, "{route}, {name:?}: {verdict}");
            ensure!(task.progress()?.is_finished(database, name), "{route}: {name:?} is not recorded as finished");
        }
        // With `… and k > …` after an `or` without its parentheses, rows would come again and again; here each once.
        let sql = "SELECT GROUP_CONCAT(id ORDER BY id) FROM chosen";
        let chosen = source.value("SELECT GROUP_CONCAT(id ORDER BY id) FROM chosen WHERE id < 10 OR v = 3")?;
        ensure!(target.value(sql)? == chosen, "{route}: {:?}", target.value(sql)?);
        ensure!(finished.summary("rows") == Some(50 * NAMES.len() as u64 + 19), "{}", finished.said());
    }
    Ok(())
}

/// A JSON string of a text without control characters.
fn serde_json_text(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[test]
fn a_key_that_tells_case_is_refused_where_the_target_does_not() -> Result<()> {
    for kind in BOTH {
        let route = Route::new(kind, kind, Writing::LoadData)?;
        let (source, target) = route.databases("batches_case")?;
        let cases = [
            (Known::Everywhere, "utf8mb4_bin", "utf8mb4_general_ci"),
            (Known::To(Mysql), "utf8mb4_0900_as_cs", "utf8mb4_0900_ai_ci"),
            (Known::Everywhere, "latin1_general_cs", "latin1_swedish_ci"),
        ];
        for (known, from, to) in cases {
            if !known.by(kind) {
                continue;
            }
            let create = |collation: &str| {
                let charset = collation.split('_').next().unwrap_or_default();
                format!("CREATE TABLE t (k varchar(9) CHARACTER SET {charset} COLLATE {collation} PRIMARY KEY)")
            };
            let remake =
                |db: &Db, collation: &str| db.exec_all(["DROP TABLE IF EXISTS t".to_owned(), create(collation)]);
            remake(&source, from)?;
            remake(&target, to)?;
            source.exec("INSERT INTO t VALUES ('a'), ('A')")?;
            let refused = route.task("batches_case")?.run()?.expect_code(3)?;
            let said = refused.said();
            ensure!(said.contains("`batches_case`.`t`, column `k`"), "{said}");
            ensure!(said.contains(from) && said.contains(to), "{said}");
            ensure!(target.number("SELECT COUNT(*) FROM t")? == 0, "rows were written before the refusal");
        }
    }
    Ok(())
}

#[test]
fn a_table_of_the_same_name_in_another_case_is_another_table() -> Result<()> {
    for route in routes()? {
        let (source, target) = route.databases("batches_upper")?;
        for db in [&source, &target] {
            ensure!(db.number("SELECT @@lower_case_table_names")? == 0, "this server folds names");
            db.exec_all(["CREATE TABLE t (v varchar(9))", "CREATE TABLE T (v varchar(9))"])?;
        }
        source.exec_all(["INSERT INTO t VALUES ('small')", "INSERT INTO T VALUES ('large'), ('large')"])?;
        route.task("batches_upper")?.run()?.expect_code(0)?;
        let sql = format!(
            "SELECT (SELECT GROUP_CONCAT(v) FROM t) = 'small' AND (SELECT COUNT(*) FROM T WHERE v = {}) = 2",
            literal("large")
        );
        ensure!(target.number(sql)? == 1, "{route}: rows are in the wrong table");
    }
    Ok(())
}
