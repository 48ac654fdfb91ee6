//! Rows as the binlog has them, decoded, are the rows that a snapshot reads: byte for byte, for every type, as they
//! are inserted, updated and deleted, on MySQL and MariaDB, with little and with all of the binlog's metadata.
//!
//! With `DT_WRITE_TESTDATA=1` the small ones are written into the decoder's `testdata/rows`, for its own tests.

mod values;

#[path = "changed_rows/tables.rs"]
mod tables;

/// What the tables of `values` need to be told by.
mod copies {
    use dt_tests::servers::Kind;

    /// Which servers know a table's types.
    #[derive(Clone, Copy)]
    pub enum Known {
        /// Both.
        Everywhere,
        /// One of them.
        To(Kind),
    }

    impl Known {
        /// Whether a server of that kind knows them.
        pub fn by(self, kind: Kind) -> bool {
            match self {
                Known::Everywhere => true,
                Known::To(only) => only == kind,
            }
        }
    }
}

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use dt_common::config::Endpoint;
use dt_common::{DbType, Secret, TableId};
use dt_connector_mysql::catalog::{self, CatalogColumn};
use dt_connector_mysql::cdc::binlog::{Body, Event, Format, RowsEvent, RowsKind, TableMap};
use dt_connector_mysql::cdc::row::{Image, RowPlan};
use dt_connector_mysql::connect::{self, Flavor, Session};
use dt_connector_mysql::value::Typed;
use dt_connector_mysql::{Address, rows, sql};
use dt_tests::db::{Db, literal};
use dt_tests::servers::{Kind, Options, Server};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row, Value};
use tokio::runtime::{Builder, Runtime};
use values::Values;

const SCHEMA: &str = "changed_rows";

#[test]
fn a_changed_row_of_mysql_is_the_row_that_a_snapshot_reads() -> Result<()> {
    every_row_is_the_same(&Source::start(Kind::Mysql, &[])?)
}

#[test]
fn a_changed_row_of_mariadb_is_the_row_that_a_snapshot_reads() -> Result<()> {
    every_row_is_the_same(&Source::start(Kind::Mariadb, &[])?)
}

#[test]
fn times_in_the_format_of_before_mysql_5_6_are_read() -> Result<()> {
    let source = Source::start(Kind::Mariadb, &["--mysql56-temporal-format=OFF"])?;
    source
        .db
        .exec("CREATE TABLE old_times (id int PRIMARY KEY, t time, d datetime, ts timestamp NULL, da date, y year)")?;
    let mut finding = Finding::new(&source, "old_times")?;
    finding.change(
        "INSERT INTO old_times VALUES (1, '-838:59:59', '9999-12-31 23:59:59', '2038-01-19 03:14:07', '2024-02-29', 1901), \
         (2, 0, 0, 0, 0, 0), (3, NULL, NULL, NULL, NULL, NULL), (4, '00:00:01', '2024-02-29 01:02:03', '1970-01-01 00:00:01', '0001-01-01', 2155)",
    )?;
    finding.nothing_wrong()
}

#[test]
fn a_document_made_of_differences_is_the_one_that_the_server_has() -> Result<()> {
    let source = Source::start(Kind::Mysql, &[])?;
    source.db.exec_all([
        "SET SESSION binlog_row_value_options = PARTIAL_JSON",
        "CREATE TABLE partial (id int PRIMARY KEY, j json, n int, k json)",
    ])?;
    let mut finding = Finding::new(&source, "partial")?;
    finding.change(
        r#"INSERT INTO partial VALUES (1, '{"a":1,"bb":{"x":[1,2,3,{"deep":"er"}],"q \\"r\\".s":null},"text":"0123456789012345678901234567890123456789"}', 1, '["abcdefghijklmnopqrstuvwxyz",1,2,3]'),
           (2, '[0,1,2,[3,4,5],"abcdefghijklmnopqrstuvwxyz0123456789"]', 2, NULL), (3, '{"é":{"中":1},"pad":"0123456789012345678901234567890123456789"}', 3, '{}')"#,
    )?;
    for set in [
        "j = JSON_SET(j, '$.a', 2, '$.bb.x[1]', 'two') WHERE id = 1",
        "j = JSON_REMOVE(j, '$.bb.x[0]') WHERE id = 1",
        "j = JSON_SET(j, '$.b', 1), k = JSON_SET(k, '$[1]', JSON_OBJECT('z', 1.50)) WHERE id = 1",
        r#"j = JSON_REPLACE(j, '$.bb."q \\"r\\".s"', CAST('2024-01-01' AS DATE)) WHERE id = 1"#,
        "j = JSON_ARRAY_INSERT(j, '$[1]', 'new'), n = 5 WHERE id = 2",
        "j = JSON_SET(j, '$[last]', 'last') WHERE id = 2",
        "j = JSON_SET(j, '$[last-1][0]', JSON_ARRAY(1, JSON_OBJECT())) WHERE id = 2",
        "j = JSON_SET(j, '$[90]', 'beyond') WHERE id = 2",
        "j = JSON_REMOVE(j, '$[0]', '$[0]') WHERE id = 2",
        "j = JSON_SET(j, '$.\"é\".\"中\"', NULL, '$.\"é\".\"a b\"', TRUE), k = JSON_SET(k, '$.x', 1) WHERE id = 3",
        "j = JSON_SET(j, '$.a', NULL), n = n + 1 WHERE id IN (1, 3)",
        "j = JSON_SET(j, '$.a', NULL), n = n + 1 WHERE id IN (1, 3)",
        "n = n + 1",
        "j = JSON_SET(j, '$.a[0]', 'itself') WHERE id = 1",
        "j = NULL WHERE id = 2",
        "j = '[1]' WHERE id = 2",
    ] {
        finding.change(&format!("UPDATE partial SET {set}"))?;
    }
    ensure!(finding.partial > 10, "only {} events with differences", finding.partial);
    finding.nothing_wrong()?;
    finding.logged.retain(|(logged, _)| logged.rows.kind == RowsKind::PartialUpdate);
    if std::env::var_os("DT_WRITE_TESTDATA").is_some() {
        write_testdata(Kind::Mysql, "MINIMAL", "partial", &finding)?;
    }
    Ok(())
}

#[test]
fn an_image_without_a_copied_column_is_refused_by_the_columns_name() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let source = Source::start(kind, &[])?;
        source.db.exec_all([
            "CREATE TABLE part (id int PRIMARY KEY, a int, b int)",
            "INSERT INTO part VALUES (1, 1, 1)",
            "SET SESSION binlog_row_image = MINIMAL",
        ])?;
        let mut finding = Finding::new(&source, "part")?;
        finding.change("UPDATE part SET a = 2")?;
        let refused = finding.wrong.iter().any(|line| line.contains("column `a`: the row's image does not hold it"));
        ensure!(refused, "{kind}: {:?}", finding.wrong);
    }
    Ok(())
}

#[test]
fn doubles_are_printed_as_the_servers_print_them() -> Result<()> {
    for kind in [Kind::Mysql, Kind::Mariadb] {
        let source = Source::start(kind, &[])?;
        source
            .db
            .exec("CREATE TABLE doubles (id int PRIMARY KEY AUTO_INCREMENT, d double, f float, g double(40,6))")?;
        let mut finding = Finding::new(&source, "doubles")?;
        let mut dice = dt_tests::dice::Dice::of(7);
        let rows: Vec<String> = (0..4000)
            .map(|_| {
                let double = loop {
                    let double = f64::from_bits(dice.roll());
                    if double.is_finite() {
                        break double;
                    }
                };
                let near = (dice.roll() % 1_000_000_007) as f64 / 10_f64.powi((dice.roll() % 19) as i32);
                format!("({:e}, {near:e}, {near:e})", if dice.roll().is_multiple_of(2) { double } else { near * 3.7 })
            })
            .collect();
        finding.change(&format!("INSERT INTO doubles (d, f, g) VALUES {}", rows.join(", ")))?;
        finding.nothing_wrong()?;
    }
    Ok(())
}

/// A server, an administrator's connection that is in the tests' database, and a snapshot's connection.
struct Source {
    kind: Kind,
    db: Db,
    runtime: Runtime,
    flavor: Flavor,
    address: Address,
    _server: Server,
}

impl Source {
    fn start(kind: Kind, extra: &[&str]) -> Result<Self> {
        let extra = extra.iter().map(|&argument| argument.to_owned()).collect();
        let server = Server::start(kind, &Options { extra, ..Options::default() })?;
        let db = server.db()?;
        db.exec_all([
            "SET SESSION sql_mode = 'NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES,NO_ENGINE_SUBSTITUTION'".to_owned(),
            format!("CREATE DATABASE {SCHEMA} CHARACTER SET utf8mb4"),
            format!("USE {SCHEMA}"),
        ])?;
        let endpoint = Endpoint::new(DbType::Mysql, Secret::new(format!("mysql://root@127.0.0.1:{}", server.port())))
            .map_err(|error| anyhow!("{error}"))?;
        let flavor = match kind {
            Kind::Mysql => Flavor::Mysql,
            Kind::Mariadb => Flavor::Mariadb,
            Kind::Postgres15 | Kind::Postgres18 => anyhow::bail!("{kind} has no binlog"),
        };
        let address = Address::new(&endpoint, "extractor")?;
        let runtime = Builder::new_current_thread().enable_all().build()?;
        Ok(Source { kind, db, runtime, flavor, address, _server: server })
    }

    fn session(&self) -> Result<Conn> {
        Ok(self.runtime.block_on(connect::connect(&self.address, self.flavor, &Session::Read))?)
    }

    fn columns(&self, table: &str) -> Result<Vec<CatalogColumn>> {
        let mut conn = self.session()?;
        let within = format!("table_schema = {} AND table_name = {}", literal(SCHEMA), literal(table));
        let mut tables = self.runtime.block_on(catalog::columns(&mut conn, &within))?;
        tables.remove(&TableId::new(SCHEMA, table)).context("the table is not in the catalog")
    }

    /// The rows as a snapshot writes them, sorted.
    fn snapshot(&self, table: &str, columns: &[CatalogColumn]) -> Result<Vec<Vec<u8>>> {
        let selected: Option<Vec<String>> = columns
            .iter()
            .filter(|column| !column.generated)
            .map(|column| Typed::new(&column.column).map(Typed::select))
            .collect();
        let selected = selected.context("a type that dt does not know")?.join(", ");
        let statement = format!("SELECT {selected} FROM {}", sql::table(&TableId::new(SCHEMA, table)));
        let mut conn = self.session()?;
        let read: Vec<Row> = self.runtime.block_on(conn.query(statement))?;
        let mut text: Vec<Vec<u8>> = read
            .iter()
            .map(|row| {
                let mut out = Vec::new();
                for at in 0..row.len() {
                    if at > 0 {
                        rows::end_value(&mut out);
                    }
                    match row.as_ref(at) {
                        Some(Value::Bytes(bytes)) => rows::push_value(&mut out, Some(bytes)),
                        _ => rows::push_value(&mut out, None),
                    }
                }
                out
            })
            .collect();
        text.sort();
        Ok(text)
    }

    /// What was written to the binlog since the last look, of that table: each rows event with its map, and both as
    /// they lie in the file.
    fn events(&self, table: &str) -> Result<Vec<Logged>> {
        let files = self.db.rows("SHOW BINARY LOGS")?;
        let file = files.last().and_then(|row| row[0].clone()).context("no binlog")?;
        let folder = self.db.value("SELECT @@datadir")?.context("no data folder")?;
        let text = Bytes::from(std::fs::read(Path::new(&folder).join(file)).context("read the binlog")?);
        self.db.exec("FLUSH BINARY LOGS")?;

        let mut at = 4;
        let mut format = Format::UNANNOUNCED;
        let mut maps: HashMap<u64, (TableMap, Bytes)> = HashMap::new();
        let mut found = Vec::new();
        while at + 19 <= text.len() {
            let size = u32::from_le_bytes(text[at + 9..at + 13].try_into()?) as usize;
            let bytes = text.slice(at..at + size);
            at += size;
            match Event::parse(bytes.clone(), format)?.body {
                Body::FormatDescription(description) => format = description.format,
                Body::TableMap(map) if map.schema == SCHEMA && map.table == table => {
                    maps.insert(map.table_id, (map, bytes));
                }
                Body::Rows(rows) => {
                    if let Some((map, map_bytes)) = maps.get(&rows.table_id) {
                        found.push(Logged { map: map.clone(), rows, bytes: [map_bytes.clone(), bytes] });
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

struct Logged {
    map: TableMap,
    rows: RowsEvent,
    bytes: [Bytes; 2],
}

/// The rows of an event, decoded: those before and those after.
fn decode(logged: &Logged, columns: &[CatalogColumn]) -> Result<[Vec<Vec<u8>>; 2]> {
    let all: Vec<_> = columns.iter().map(|column| column.column.clone()).collect();
    let copied: Vec<usize> = (0..columns.len()).filter(|&at| !columns[at].generated).collect();
    let plan = RowPlan::new(&all, &copied, &logged.map)?;
    let image = |present| plan.image(present);
    let before = logged.rows.present_before.as_ref().map(image).transpose()?;
    let after = logged.rows.present_after.as_ref().map(image).transpose()?;
    let mut rest = &logged.rows.rows[..];
    let mut found = [Vec::new(), Vec::new()];
    while !rest.is_empty() {
        let start = rest;
        if let Some(before) = &before {
            found[0].push(one(before, &mut rest)?);
        }
        let before_bytes = &start[..start.len() - rest.len()];
        match (&after, &before, logged.rows.kind) {
            (Some(after), Some(before), RowsKind::PartialUpdate) => {
                let mut out = Vec::new();
                after.decode_partial(&mut out, &mut rest, (before, before_bytes))?;
                found[1].push(out);
            }
            (Some(after), _, _) => found[1].push(one(after, &mut rest)?),
            (None, _, _) => {}
        }
    }
    Ok(found)
}

fn one(image: &Image<'_>, rest: &mut &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    image.decode(&mut out, rest)?;
    Ok(out)
}

/// What is found out about a table.
struct Finding<'a> {
    source: &'a Source,
    table: &'a str,
    columns: Vec<CatalogColumn>,
    /// How many events came with differences instead of documents.
    partial: usize,
    wrong: Vec<String>,
    logged: Vec<(Logged, Vec<Vec<u8>>)>,
}

impl<'a> Finding<'a> {
    fn new(source: &'a Source, table: &'a str) -> Result<Self> {
        source.events(table)?;
        let columns = source.columns(table)?;
        Ok(Finding { source, table, columns, partial: 0, wrong: Vec::new(), logged: Vec::new() })
    }

    /// Runs a statement, and compares what it wrote to the binlog with the table before and after it.
    fn change(&mut self, statement: &str) -> Result<()> {
        let before = self.source.snapshot(self.table, &self.columns)?;
        self.source.db.exec(statement)?;
        let after = self.source.snapshot(self.table, &self.columns)?;
        let mut images = [Vec::new(), Vec::new()];
        for logged in self.source.events(self.table)? {
            self.partial += usize::from(logged.rows.kind == RowsKind::PartialUpdate);
            match decode(&logged, &self.columns) {
                Ok(decoded) => {
                    self.logged.push((logged, decoded.iter().flatten().cloned().collect()));
                    for (all, new) in images.iter_mut().zip(decoded) {
                        all.extend(new);
                    }
                }
                Err(error) => self.wrong.push(format!("{}: {error:#}", self.table)),
            }
        }
        let [mut were, mut are] = images;
        were.sort();
        are.sort();
        self.compare("deleted", &were, &only(&before, &after));
        self.compare("written", &are, &only(&after, &before));
        Ok(())
    }

    fn compare(&mut self, what: &str, decoded: &[Vec<u8>], read: &[Vec<u8>]) {
        let decoded_only = only(decoded, read);
        let read_only = only(read, decoded);
        if decoded_only.is_empty() && read_only.is_empty() {
            return;
        }
        let differing =
            decoded_only.iter().zip(&read_only).take(4).map(|(decoded, read)| first_difference(decoded, read));
        let differing: Vec<String> = differing.collect();
        self.wrong.push(format!(
            "{} {what}: {} of {} rows in the binlog, {} of {} in the table\n  {}",
            self.table,
            decoded_only.len(),
            decoded.len(),
            read_only.len(),
            read.len(),
            differing.join("\n  ")
        ));
    }

    fn nothing_wrong(&self) -> Result<()> {
        ensure!(self.wrong.is_empty(), "{}:\n{}", self.source.kind, self.wrong.join("\n"));
        Ok(())
    }
}

/// The rows that are in the one and not in the other; both are sorted.
fn only(one: &[Vec<u8>], other: &[Vec<u8>]) -> Vec<Vec<u8>> {
    one.iter().filter(|row| other.binary_search(row).is_err()).cloned().collect()
}

fn first_difference(decoded: &[u8], read: &[u8]) -> String {
    let pairs = decoded.split(|&byte| byte == b'\t').zip(read.split(|&byte| byte == b'\t')).enumerate();
    let different = pairs.filter(|(_, (decoded, read))| decoded != read).take(3);
    let show = |value: &[u8]| {
        let text = value.escape_ascii().to_string();
        if text.len() > 120 { format!("{}… ({} bytes)", &text[..120], value.len()) } else { text }
    };
    let found =
        different.map(|(at, (decoded, read))| format!("#{at} decoded [{}] read [{}]", show(decoded), show(read)));
    found.collect::<Vec<_>>().join("; ")
}

fn every_row_is_the_same(source: &Source) -> Result<()> {
    let mut wrong = Vec::new();
    for metadata in ["MINIMAL", "FULL"] {
        source.db.exec(format!("SET GLOBAL binlog_row_metadata = {metadata}"))?;
        let known = |table: &&Values| table.known.by(source.kind) && table.target_columns.is_none();
        for table in values::TABLES.iter().chain(tables::TABLES).filter(known) {
            let name = table.name;
            source.db.exec(format!("DROP TABLE IF EXISTS {name}"))?;
            source.db.exec(format!("CREATE TABLE {name} ({})", table.columns)).context(name)?;
            let mut finding = Finding::new(source, name)?;
            let needs_labels = metadata == "MINIMAL" && name == "enums";
            finding.change(&format!("INSERT INTO {name} {}", table.rows)).context(name)?;
            if name != "id_zero" {
                finding.change(&format!("UPDATE {name} SET id = id + 1000")).context(name)?;
            }
            finding.change(&format!("DELETE FROM {name}")).context(name)?;
            if needs_labels {
                // Labels in gbk cannot be had without the source's help: that is said, and nothing is guessed.
                let says_so = finding.wrong.iter().any(|line| line.contains("character set"));
                ensure!(says_so, "{:?}", finding.wrong);
                continue;
            }
            wrong.extend(finding.wrong.iter().map(|line| format!("{metadata} {line}")));
            if finding.wrong.is_empty() && std::env::var_os("DT_WRITE_TESTDATA").is_some() {
                write_testdata(source.kind, metadata, name, &finding)?;
            }
        }
    }
    ensure!(wrong.is_empty(), "{}:\n{}", source.kind, wrong.join("\n"));
    Ok(())
}

/// The first event of a table with what it is decoded to, the rows before and the rows after, if it is small.
fn write_testdata(kind: Kind, metadata: &str, table: &str, finding: &Finding<'_>) -> Result<()> {
    const BYTES_MAX: usize = 1500;
    // The metadata makes a difference to labels only.
    if metadata == "FULL" && !["enums", "choices", "integers"].contains(&table) {
        return Ok(());
    }
    let Some((logged, decoded)) = finding.logged.first() else { return Ok(()) };
    let large = |bytes: usize| bytes > BYTES_MAX;
    if large(logged.bytes.iter().map(Bytes::len).sum()) || large(decoded.iter().map(Vec::len).sum()) {
        return Ok(());
    }
    let folder = dt_tests::workspace::folder().join("dt-connector/mysql/testdata/rows");
    std::fs::create_dir_all(&folder)?;
    let mut text = String::new();
    for CatalogColumn { column, generated, .. } in &finding.columns {
        let copied = if *generated { "skipped" } else { "copied" };
        let charset = column.charset.as_deref().unwrap_or("-");
        writeln!(text, "column {copied} {} {charset} {}", column.name, column.data_type.escape_default())?;
    }
    for bytes in &logged.bytes {
        writeln!(text, "event {}", sql::hex(bytes))?;
    }
    for row in decoded {
        writeln!(text, "row {}", row.escape_ascii())?;
    }
    let name = format!("{}-{}-{table}.txt", kind.to_string().to_lowercase(), metadata.to_lowercase());
    std::fs::write(folder.join(name), text)?;
    Ok(())
}
