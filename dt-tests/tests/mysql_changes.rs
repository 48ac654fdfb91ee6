//! Changes applied to a real target, as a stream would bring them but without one: every type is written and found
//! again by its key and by its values, rows that change places end right, and what fails leaves nothing behind.

mod copies;
mod values;

use std::rc::Rc;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use copies::{Route, Writing, nothing_wrong, run};
use dt_common::config::Endpoint;
use dt_common::ladder::Ticket;
use dt_common::schema::{Column, Key, RoutedTable, TableSchema};
use dt_common::{DbType, ErrorClass, LaneId, Secret, TableId};
use dt_connector::{Batch, Block, BlockContents, Change, Conflict, Op, RowFormat, SinkOptions, Sinker, Target};
use dt_connector_mysql::value::Typed;
use dt_connector_mysql::{MysqlTarget, rows, sql};
use dt_tests::db::{Db, quoted};
use dt_tests::judge::Judge;
use dt_tests::servers::Kind::{self, Mariadb, Mysql};
use dt_tests::servers::{PASSWORD, Server, USER};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row, Value};
use tokio::runtime::{Builder, Runtime};
use values::TABLES;

/// One sinker on a target, and the runtime that it lives in.
struct Sink {
    runtime: Rc<Runtime>,
    sinker: Box<dyn Sinker>,
    seq: u64,
}

fn endpoint(server: &Server) -> Result<Endpoint> {
    let url = Secret::new(server.url());
    let endpoint = Endpoint::new(DbType::Mysql, url).map_err(|_| anyhow::anyhow!("a url that is none"))?;
    Ok(Endpoint { username: Some(USER.to_owned()), password: Some(Secret::new(PASSWORD.to_owned())), ..endpoint })
}

impl Sink {
    fn new(server: &Server, conflict: Conflict, disable_foreign_key_checks: bool) -> Result<Self> {
        Sink::within(
            Rc::new(Builder::new_current_thread().enable_all().build()?),
            server,
            conflict,
            disable_foreign_key_checks,
        )
    }

    /// In the runtime of another, so that what that one leaves behind (a connection given up) is cleared away.
    fn beside(&self, server: &Server, conflict: Conflict) -> Result<Self> {
        Sink::within(self.runtime.clone(), server, conflict, true)
    }

    fn within(
        runtime: Rc<Runtime>,
        server: &Server,
        conflict: Conflict,
        disable_foreign_key_checks: bool,
    ) -> Result<Self> {
        let options = SinkOptions {
            conflict,
            statement_rows: 200,
            disable_foreign_key_checks,
            transaction_isolation: None,
            task_id: "t".into(),
        };
        let target = runtime.block_on(MysqlTarget::connect(&endpoint(server)?, options))?;
        Ok(Sink { runtime, sinker: target.sinker(), seq: 0 })
    }

    fn apply(&mut self, changes: &[(&Arc<RoutedTable>, Done<'_>)]) -> Result<(), dt_common::Error> {
        let mut data = Vec::new();
        let mut place = |row: &[u8]| {
            let from = data.len();
            data.extend_from_slice(row);
            data.push(b'\n');
            from..data.len() - 1
        };
        let changes: Vec<Change> = changes
            .iter()
            .map(|(table, done)| Change {
                table: (*table).clone(),
                op: match done {
                    Done::Insert(after) => Op::Insert { after: place(after) },
                    Done::Update(before, after) => Op::Update { before: place(before), after: place(after) },
                    Done::Delete(before) => Op::Delete { before: place(before) },
                },
            })
            .collect();
        let block = Block {
            lane: LaneId(0),
            rows: changes.len() as u64,
            contents: BlockContents::Changes(changes),
            format: RowFormat::MysqlText,
            data: Bytes::from(data),
            progress: None,
            checkpoint: None,
            behind: 0,
            spread: dt_connector::Spread::default(),
        };
        let batch = Batch::new(Ticket::issue(LaneId(0), self.seq), vec![block], Vec::new());
        match self.runtime.block_on(self.sinker.apply(batch)) {
            Ok(applied) => {
                assert_eq!(applied.seq(), self.seq);
                self.seq += 1;
                Ok(())
            }
            Err(failed) => Err(failed.error),
        }
    }
}

#[derive(Clone, Copy)]
enum Done<'a> {
    Insert(&'a [u8]),
    Update(&'a [u8], &'a [u8]),
    Delete(&'a [u8]),
}

/// The table as the catalog describes it, with a key or without.
fn schema(db: &Db, database: &str, table: &str, key: &[&str]) -> Result<Arc<RoutedTable>> {
    let listed = db.rows(format!(
        "SELECT column_name, CAST(column_type AS CHAR), is_nullable, character_set_name, collation_name, extra \
         FROM information_schema.columns WHERE table_schema = '{database}' AND table_name = '{table}' \
         ORDER BY ordinal_position"
    ))?;
    let mut columns = Vec::new();
    for row in listed {
        let [Some(name), Some(data_type), Some(nullable), charset, collation, extra] =
            <[_; 6]>::try_from(row).ok().context("six columns")?
        else {
            continue;
        };
        if extra.is_some_and(|extra| extra.contains(" GENERATED")) {
            continue;
        }
        let charset = charset.map(|name| if name == "utf8" { "utf8mb3".to_owned() } else { name });
        columns.push(Column { name, data_type, nullable: nullable == "YES", charset, collation, binary_form: None });
    }
    let place = |name: &&str| columns.iter().position(|column| column.name == **name).context("no such column");
    let places = key.iter().map(place).collect::<Result<Vec<_>>>()?;
    let nullable = places.iter().any(|&at| columns[at].nullable);
    let key = (!places.is_empty()).then(|| Key { name: "PRIMARY".into(), columns: places, nullable });
    let id = TableId::new(database, table);
    Ok(Arc::new(RoutedTable {
        target_columns: columns.iter().map(|column| column.name.clone()).collect(),
        source: TableSchema { id: id.clone(), columns, key, rows_estimate: 0 },
        target: id,
    }))
}

/// The rows of a table in the text form in which they travel.
fn images(runtime: &Runtime, server: &Server, table: &RoutedTable) -> Result<Vec<Vec<u8>>> {
    let options = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(server.port())
        .user(Some(USER))
        .pass(Some(PASSWORD))
        .prefer_socket(false)
        .max_allowed_packet(Some(1 << 30));
    let columns = &table.source.columns;
    let selected = columns.iter().map(|column| Typed::new(column).map(Typed::select).context("an unknown type"));
    let selected = selected.collect::<Result<Vec<_>>>()?.join(", ");
    let rows: Vec<Row> = runtime.block_on(async {
        let mut conn = Conn::new(options).await?;
        conn.query_drop("SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = '', character_set_results = NULL").await?;
        conn.query(format!("SELECT {selected} FROM {}", sql::table(&table.source.id))).await
    })?;
    let image = |row: &Row| {
        let mut image = Vec::new();
        for at in 0..row.len() {
            if at > 0 {
                rows::end_value(&mut image);
            }
            match row.as_ref(at) {
                Some(Value::Bytes(bytes)) => rows::push_value(&mut image, Some(bytes)),
                _ => rows::push_value(&mut image, None),
            }
        }
        image
    };
    Ok(rows.iter().map(image).collect())
}

#[test]
fn every_value_is_written_and_found_again_on_mysql() -> Result<()> {
    every_value(Mysql, Writing::LoadData)
}

#[test]
fn every_value_is_written_and_found_again_on_mariadb() -> Result<()> {
    every_value(Mariadb, Writing::LoadData)
}

fn every_value(kind: Kind, writing: Writing) -> Result<()> {
    let route = Route::new(kind, kind, writing)?;
    let database = "changes_values";
    let (source, target) = route.databases(database)?;
    let mut wrong = Vec::new();
    // Rows too large for a statement are for the test of what is too large.
    let fits = |name: &str| name != "wide_blobs";
    let known: Vec<_> = TABLES
        .iter()
        .filter(|table| table.known.by(kind) && table.target_columns.is_none() && fits(table.name))
        .collect();
    ensure!(known.len() > 10, "hardly any tables");
    for table in &known {
        let create = format!("CREATE TABLE {} ({})", quoted(table.name), table.columns);
        run(&source, table.name, &[create.clone(), format!("INSERT INTO {} {}", table.name, table.rows)])?;
        run(&target, table.name, &[create])?;
    }
    // What a snapshot has written, changes find as well.
    route.task(database)?.run()?.expect_code(0)?;
    for table in known {
        // By values and folded, by key and folded, and each change by itself.
        for (key, disable_foreign_key_checks) in [(&[][..], true), (&["id"], true), (&["id"], false), (&[], false)] {
            let how = format!("{} by {key:?}, foreign keys off: {disable_foreign_key_checks}", table.name);
            let mut sink = Sink::new(route.target, Conflict::Replace, disable_foreign_key_checks)?;
            let routed = schema(&source, database, table.name, key)?;
            let rows = images(&sink.runtime, route.source, &routed)?;
            let of = |done: fn(&[u8]) -> Done<'_>| rows.iter().map(|row| (&routed, done(row))).collect::<Vec<_>>();
            let judge = Judge::new(&source, &target);
            // By values, where the snapshot's rows are: gone, before they come again.
            if key.is_empty()
                && let Err(error) = sink.apply(&of(|row| Done::Delete(row)))
            {
                wrong.push(format!("{how}: {error}"));
            }
            let left = target.rows(format!("SELECT id FROM {}", quoted(table.name)))?;
            if !left.is_empty() {
                wrong.push(format!("{how}: {left:?} were not found at first"));
            }
            for done in [of(|row| Done::Insert(row)), of(|row| Done::Update(row, row))] {
                if let Err(error) = sink.apply(&done) {
                    wrong.push(format!("{how}: {error}"));
                }
                let verdict = judge.table(database, table.name)?;
                if rows.is_empty() || !verdict.is_equal() {
                    wrong.push(format!("{how}: {verdict}"));
                }
            }
            if let Err(error) = sink.apply(&of(|row| Done::Delete(row))) {
                wrong.push(format!("{how}: {error}"));
            }
            let left = target.rows(format!("SELECT id FROM {}", quoted(table.name)))?;
            if !left.is_empty() {
                wrong.push(format!("{how}: {left:?} were not found"));
                target.exec(format!("DELETE FROM {}", quoted(table.name)))?;
            }
        }
    }
    nothing_wrong(route, &wrong)
}

/// What a table holds, as one text.
fn shown(db: &Db, sql: &str) -> Result<String> {
    let rows = db.rows(sql)?;
    let cell = |cell: &Option<String>| cell.clone().unwrap_or_else(|| "NULL".to_owned());
    Ok(rows.iter().map(|row| row.iter().map(cell).collect::<Vec<_>>().join("/")).collect::<Vec<_>>().join(" "))
}

#[test]
fn rows_that_change_places_end_right() -> Result<()> {
    for kind in [Mysql, Mariadb] {
        let route = Route::new(kind, kind, Writing::LoadData)?;
        let database = "changes_places";
        let (_, target) = route.databases(database)?;
        target.exec("CREATE TABLE t (k varchar(9) COLLATE utf8mb4_general_ci PRIMARY KEY, u int UNIQUE, v int)")?;
        let table = schema(&target, database, "t", &["k"])?;
        let history: Vec<Done<'_>> = vec![
            // A key in another case, and a row that takes another's place in the second unique key.
            Done::Update(b"a\t1\t1", b"A\t1\t2"),
            Done::Update(b"b\t2\t1", b"b\t9\t1"),
            Done::Update(b"c\t3\t1", b"c\t2\t1"),
            Done::Update(b"b\t9\t1", b"b\t3\t2"),
            // One that goes, comes again, and one that goes for good.
            Done::Delete(b"d\t4\t1"),
            Done::Insert(b"D\t5\t1"),
            Done::Delete(b"e\t6\t1"),
            Done::Insert(b"f\t6\t1"),
        ];
        let expected = "A/1/2 b/3/2 c/2/1 D/5/1 f/6/1";
        let state = "INSERT INTO t VALUES ('a', 1, 1), ('b', 2, 1), ('c', 3, 1), ('d', 4, 1), ('e', 6, 1)";
        for conflict in [Conflict::Replace, Conflict::Interrupt, Conflict::Ignore] {
            run(&target, "t", &["DELETE FROM t".to_owned(), state.to_owned()])?;
            let mut sink = Sink::new(route.target, conflict, true)?;
            let batch: Vec<_> = history.iter().map(|&done| (&table, done)).collect();
            sink.apply(&batch)?;
            ensure!(shown(&target, "SELECT * FROM t ORDER BY k")? == expected, "{kind} {conflict:?}");
            if conflict == Conflict::Replace {
                // Once more, as after a lost reply, and change by change.
                sink.apply(&batch)?;
                for change in &batch {
                    sink.apply(std::slice::from_ref(change))?;
                }
                ensure!(shown(&target, "SELECT * FROM t ORDER BY k")? == expected, "{kind} repeated");
            }
        }
    }
    Ok(())
}

#[test]
fn with_foreign_keys_checked_rows_that_refer_stay_and_follow() -> Result<()> {
    for kind in [Mysql, Mariadb] {
        let route = Route::new(kind, kind, Writing::LoadData)?;
        let database = "changes_references";
        let (_, target) = route.databases(database)?;
        target.exec_all([
            "CREATE TABLE p (id int PRIMARY KEY, v int)",
            "CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE ON UPDATE CASCADE)",
            "INSERT INTO p VALUES (1, 1), (2, 1), (3, 1)",
            "INSERT INTO c VALUES (10, 1), (20, 2), (30, 3)",
        ])?;
        let p = schema(&target, database, "p", &["id"])?;
        let c = schema(&target, database, "c", &["id"])?;
        let mut sink = Sink::new(route.target, Conflict::Replace, false)?;
        sink.apply(&[
            (&p, Done::Update(b"1\t1", b"1\t2")),
            (&p, Done::Update(b"2\t1", b"5\t1")),
            (&p, Done::Delete(b"3\t1")),
            (&p, Done::Insert(b"4\t1")),
            (&c, Done::Insert(b"40\t4")),
            (&c, Done::Delete(b"40\t4")),
            (&p, Done::Delete(b"4\t1")),
        ])?;
        ensure!(shown(&target, "SELECT * FROM p ORDER BY id")? == "1/2 5/1", "{kind}");
        ensure!(shown(&target, "SELECT * FROM c ORDER BY id")? == "10/1 20/5", "{kind}");
    }
    Ok(())
}

#[test]
fn what_fails_leaves_nothing_and_says_where() -> Result<()> {
    let route = Route::new(Mysql, Mysql, Writing::LoadData)?;
    let database = "changes_failing";
    let (_, target) = route.databases(database)?;
    target.exec_all(["CREATE TABLE a (id int PRIMARY KEY, v int)", "CREATE TABLE b (id int PRIMARY KEY, v int)"])?;
    let a = schema(&target, database, "a", &["id"])?;
    let b = schema(&target, database, "b", &["id"])?;
    let mut sink = Sink::new(route.target, Conflict::Replace, true)?;
    sink.apply(&[])?;

    let error =
        sink.apply(&[(&a, Done::Insert(b"1\t1")), (&b, Done::Insert(b"1\t4444444444"))]).expect_err("too large");
    ensure!(error.to_string().contains("`changes_failing`.`b`") && !error.to_string().contains("4444"), "{error}");
    ensure!(shown(&target, "SELECT * FROM a")?.is_empty(), "a part of the batch is there");
    sink.apply(&[(&a, Done::Insert(b"1\t1"))])?;
    ensure!(shown(&target, "SELECT * FROM a")? == "1/1");

    let mut refusing = sink.beside(route.target, Conflict::Interrupt)?;
    let error = refusing.apply(&[(&a, Done::Insert(b"1\t2"))]).expect_err("a duplicate");
    ensure!(error.class() == ErrorClass::User, "{error}");
    let mut leaving = sink.beside(route.target, Conflict::Ignore)?;
    leaving.apply(&[(&a, Done::Insert(b"1\t3")), (&a, Done::Insert(b"2\t3"))])?;
    ensure!(shown(&target, "SELECT * FROM a ORDER BY id")? == "1/1 2/3");

    target.exec("DROP TABLE b")?;
    let missing = Arc::new(RoutedTable { target: TableId::new(database, "gone"), ..(*b).clone() });
    let error = sink.apply(&[(&a, Done::Delete(b"2\t3")), (&missing, Done::Insert(b"1\t1"))]).expect_err("no table");
    ensure!(error.class() == ErrorClass::User && error.to_string().contains("`gone` is missing"), "{error}");
    ensure!(shown(&target, "SELECT * FROM a ORDER BY id")? == "1/1 2/3");
    Ok(())
}

#[test]
fn a_row_too_large_for_a_statement_is_loaded_or_refused_by_name() -> Result<()> {
    let route = Route::new(Mariadb, Mariadb, Writing::LoadData)?;
    let database = "changes_wide";
    let (_, target) = route.databases(database)?;
    target.exec("CREATE TABLE t (id int PRIMARY KEY, b longblob)")?;
    let table = schema(&target, database, "t", &["id"])?;
    let row = [&b"1\t"[..], &[b'x'; 20 << 20]].concat();
    let mut sink = Sink::new(route.target, Conflict::Replace, true)?;
    sink.apply(&[(&table, Done::Insert(&row))])?;
    ensure!(shown(&target, "SELECT id, LENGTH(b) FROM t")? == format!("1/{}", 20 << 20));
    sink.apply(&[(&table, Done::Delete(&row))])?;
    ensure!(shown(&target, "SELECT id FROM t")?.is_empty());

    let keyless =
        Arc::new(RoutedTable { source: TableSchema { key: None, ..table.source.clone() }, ..(*table).clone() });
    let error = sink.apply(&[(&keyless, Done::Delete(&row))]).expect_err("too large");
    ensure!(error.class() == ErrorClass::User && error.to_string().contains("max_allowed_packet"), "{error}");
    Ok(())
}

#[test]
fn many_rows_of_a_table_are_loaded_and_end_as_those_written_by_statements() -> Result<()> {
    for (kind, writing) in [
        (Mysql, Writing::LoadData),
        (Mysql, Writing::Statements),
        (Mariadb, Writing::LoadData),
        (Mariadb, Writing::Statements),
    ] {
        let route = Route::new(kind, kind, writing)?;
        let database = "changes_many";
        let (_, target) = route.databases(database)?;
        target.exec("CREATE TABLE t (id int PRIMARY KEY, v varchar(20))")?;
        let table = schema(&target, database, "t", &["id"])?;
        let mut sink = Sink::new(route.target, Conflict::Replace, true)?;
        let rows: Vec<Vec<u8>> = (0..3000).map(|id| format!("{id}\tit's\\\\{id}").into_bytes()).collect();
        sink.apply(&rows.iter().map(|row| (&table, Done::Insert(row))).collect::<Vec<_>>())?;
        let new: Vec<Vec<u8>> = (0..3000).map(|id| format!("{id}\tnew{id}").into_bytes()).collect();
        let changes = rows.iter().zip(&new).enumerate();
        let changes = changes.map(|(at, (row, new))| match at % 3 {
            0 => (&table, Done::Delete(row)),
            _ => (&table, Done::Update(row, new)),
        });
        sink.apply(&changes.collect::<Vec<_>>())?;
        let counted = shown(&target, "SELECT COUNT(*), SUM(id % 3 = 0), SUM(v = CONCAT('new', id)) FROM t")?;
        ensure!(counted == "2000/0/2000", "{route}: {counted}");
    }
    Ok(())
}
