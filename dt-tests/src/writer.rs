//! A seeded writer: the load that a source is under while its changes are followed; here for MySQL and MariaDB.
//!
//! Two connections of its own do everything that a binlog has a form for: inserts, updates, deletes and key changes,
//! one by one and many at a time, in transactions of one and of several tables; rollbacks, savepoints, XA transactions
//! and new binlog files. What was written is told by the source itself; the writer keeps no account.

pub mod mongo;
pub mod postgres;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::db::Db;
use crate::dice::Dice;
use crate::sample::numbers;
use crate::servers::Server;

/// A table that the writer writes to.
#[derive(Clone, Copy, Debug)]
pub struct LoadTable {
    /// Its name.
    pub name: &'static str,
    /// An SQL condition for the rows that no key identifies: a resume from a log may write them again.
    pub unidentified: &'static str,
    /// The key's columns and what makes them, with `#` for a number; empty for the tables that are written in ways of
    /// their own.
    key: &'static [(&'static str, &'static str)],
    /// How many keys there are.
    keys: u64,
    create: &'static str,
}

/// Every shape of key.
pub static TABLES: [LoadTable; 13] = [
    LoadTable {
        name: "bins",
        unidentified: "FALSE",
        key: &[(
            "k",
            "UNHEX(ELT(1 + # % 6, '00', '0000', '20', '5C4E', CONCAT('FF', LPAD(HEX(#), 4, '0')), CONCAT('0A09', LPAD(HEX(#), 4, '0'))))",
        )],
        keys: 300,
        create: "k varbinary(8) NOT NULL PRIMARY KEY, v bigint NOT NULL, t varchar(120)",
    },
    LoadTable {
        name: "choices",
        unidentified: "FALSE",
        key: &[("e", "1 + # % 4"), ("n", "# DIV 4")],
        keys: 400,
        create: "e enum('z','m','with,comma','a') NOT NULL, n smallint NOT NULL, v bigint NOT NULL, t varchar(120), \
             PRIMARY KEY (e, n)",
    },
    LoadTable {
        name: "composites",
        unidentified: "FALSE",
        key: &[("a", "# % 7 - 3"), ("b", "CONCAT('é-', #)"), ("c", "'2024-02-29' + INTERVAL # DAY")],
        keys: 300,
        create: "v bigint NOT NULL, c date NOT NULL, b varchar(20) CHARACTER SET latin1 NOT NULL, a bigint NOT NULL, \
             t varchar(120), PRIMARY KEY (a, b, c)",
    },
    LoadTable {
        name: "ints",
        unidentified: "FALSE",
        key: &[("id", "# - 100")],
        keys: 500,
        create: "id int NOT NULL PRIMARY KEY, v bigint NOT NULL, t varchar(120)",
    },
    LoadTable {
        name: "tickets",
        unidentified: "ticket IS NULL",
        key: &[("ticket", "IF(# % 10 = 0, NULL, #)")],
        keys: 300,
        create: "ticket bigint, v bigint NOT NULL, t varchar(120), UNIQUE KEY ticket (ticket)",
    },
    LoadTable {
        name: "wides",
        unidentified: "FALSE",
        key: &[("id", "18446744073709551615 - #")],
        keys: 300,
        create: "id bigint unsigned NOT NULL PRIMARY KEY, v bigint NOT NULL, t varchar(120)",
    },
    LoadTable {
        name: "words",
        unidentified: "FALSE",
        // Keys that differ in bytes and not by the collation.
        key: &[("code", "CONCAT(ELT(1 + # % 4, 'key', 'KEY', 'kéy', 'Kèy'), # DIV 8)")],
        keys: 800,
        create: "code varchar(40) COLLATE utf8mb4_unicode_ci NOT NULL PRIMARY KEY, v bigint NOT NULL, t varchar(120)",
    },
    LoadTable {
        name: "large",
        unidentified: "FALSE",
        key: &[],
        keys: 0,
        create: "id int NOT NULL PRIMARY KEY, v bigint NOT NULL, t varchar(120)",
    },
    LoadTable {
        name: "parents",
        unidentified: "FALSE",
        key: &[],
        keys: 0,
        create: "id int NOT NULL PRIMARY KEY, v bigint NOT NULL",
    },
    LoadTable {
        name: "children",
        unidentified: "FALSE",
        key: &[],
        keys: 0,
        create: "id int NOT NULL PRIMARY KEY, parent int NOT NULL, v bigint NOT NULL, \
             CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id)",
    },
    LoadTable {
        name: "uniques",
        unidentified: "FALSE",
        key: &[],
        keys: 0,
        create: "id int NOT NULL PRIMARY KEY, a int NOT NULL, b varchar(30) NOT NULL, v bigint NOT NULL, UNIQUE KEY a (a), \
             UNIQUE KEY b (b)",
    },
    LoadTable { name: "visits", unidentified: "TRUE", key: &[], keys: 0, create: "v bigint NOT NULL, t varchar(120)" },
    LoadTable {
        name: "xas",
        unidentified: "FALSE",
        key: &[],
        keys: 0,
        create: "id int NOT NULL PRIMARY KEY, v bigint NOT NULL",
    },
];

/// How many rows of `uniques` there are; their `a` and `b` are permutations.
const UNIQUES: u64 = 200;
/// Rows of a large transaction.
const LARGE_ROWS: u64 = 20_000;

impl LoadTable {
    /// Whether its rows are written without any key at all.
    pub fn is_keyless(&self) -> bool {
        self.unidentified == "TRUE"
    }
}

/// Makes the tables in the connection's database, and puts the first rows in: the same on every server.
///
/// # Errors
/// What the server says.
pub fn create(db: &Db) -> Result<()> {
    for table in &TABLES {
        db.exec(format!("CREATE TABLE {} ({}) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4", table.name, table.create))?;
        for number in (0..table.keys).step_by(3) {
            db.exec(upsert(table, number, 0))?;
        }
    }
    db.exec_all([
        format!("INSERT INTO large SELECT i, 0, CONCAT('large ', i) FROM {}", numbers(LARGE_ROWS)),
        format!("INSERT INTO uniques SELECT i, i, CONCAT('b', i), 0 FROM {}", numbers(UNIQUES)),
        format!("INSERT INTO parents SELECT i, 0 FROM {}", numbers(100)),
        format!("INSERT INTO children SELECT i, i DIV 3, 0 FROM {}", numbers(300)),
        format!("INSERT INTO visits SELECT i DIV 2, 'before' FROM {}", numbers(100)),
        format!("INSERT INTO xas SELECT i, 0 FROM {}", numbers(50)),
    ])
}

/// A writer at work in a thread of its own, until it is told to stop.
#[derive(Debug)]
pub struct Writer {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Writer {
    /// Starts it in a database of the server that [`create`] has been called for.
    ///
    /// # Errors
    /// The server does not answer.
    pub fn start(server: &Server, database: &str, seed: u64) -> Result<Self> {
        let (first, second) = (server.db()?, server.db()?);
        for db in [&first, &second] {
            db.exec(format!("USE `{database}`"))?;
        }
        let mut load = Load { first, second, dice: Dice::of(seed), number: 1_000 };
        Ok(Writer::of(move |number| load.transaction(number)))
    }

    /// Starts one that makes these transactions, each with its number from 0.
    pub fn of(mut transaction: impl FnMut(u64) -> Result<()> + Send + 'static) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let number = count.fetch_add(1, Ordering::Relaxed);
                transaction(number).with_context(|| format!("transaction {number} of the writer"))?;
                // What is left of two processors is for those who follow.
                std::thread::sleep(Duration::from_millis(6));
            }
            Ok(())
        });
        Writer { stop, done, thread: Some(thread) }
    }

    /// Lets it end its transaction, and says how many there were.
    ///
    /// # Errors
    /// What a statement of it failed with, now or before.
    pub fn stop(mut self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("the writer was stopped before")?;
        thread.join().map_err(|_| anyhow!("the writer panicked"))??;
        Ok(self.done.load(Ordering::Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Load {
    first: Db,
    second: Db,
    dice: Dice,
    // For what must be new.
    number: u64,
}

impl Load {
    fn transaction(&mut self, count: u64) -> Result<()> {
        // Those that cost much come by the count, so that each run has some.
        match count % 500 {
            60 => return self.large(),
            120 => return self.many_rows(),
            180 => return self.first.exec("FLUSH BINARY LOGS"),
            _ => {}
        }
        match self.dice.pick(0..14) {
            0..5 => {
                let statement = self.change();
                self.exec(&statement)
            }
            5 => self.within("COMMIT"),
            6 => self.within("ROLLBACK"),
            7 => self.with_savepoints(),
            8 => self.swap(),
            9 => self.family(),
            10 => self.unique_moves(),
            11 => self.visit(),
            12 => self.xa(),
            _ => self.again_and_again(),
        }
    }

    /// Passes over what the source itself refuses: a key that is taken.
    fn exec(&self, statement: &str) -> Result<()> {
        match self.first.exec(statement) {
            Err(error) if format!("{error:#}").contains("1062") => Ok(()),
            other => other,
        }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// One statement on one row of a table with a key.
    fn change(&mut self) -> String {
        let generic: Vec<&LoadTable> = TABLES.iter().filter(|table| table.keys > 0).collect();
        let table = generic[self.dice.pick(0..generic.len() as u64) as usize];
        let (number, other) = (self.dice.pick(0..table.keys), self.dice.pick(0..table.keys));
        let value = self.next();
        match self.dice.pick(0..10) {
            0..4 => upsert(table, number, value),
            4..6 => format!("UPDATE {} SET v = {value} WHERE {} LIMIT 1", table.name, is(table, number)),
            6..8 => format!("DELETE FROM {} WHERE {} LIMIT 1", table.name, is(table, number)),
            _ => {
                let sets: Vec<String> =
                    table.key.iter().map(|(column, value)| format!("{column} = {}", numbered(value, other))).collect();
                format!("UPDATE {} SET {} WHERE {} LIMIT 1", table.name, sets.join(", "), is(table, number))
            }
        }
    }

    /// Several tables in one transaction.
    fn within(&mut self, end: &str) -> Result<()> {
        self.exec("BEGIN")?;
        for _ in 0..self.dice.pick(2..9) {
            let statement = self.change();
            self.exec(&statement)?;
        }
        self.exec(end)
    }

    fn with_savepoints(&mut self) -> Result<()> {
        self.exec("BEGIN")?;
        let [kept, undone, also] = [self.change(), self.change(), self.change()];
        self.exec(&kept)?;
        self.exec("SAVEPOINT `a point`")?;
        self.exec(&undone)?;
        self.exec("ROLLBACK TO SAVEPOINT `a point`")?;
        self.exec(&also)?;
        self.exec("SAVEPOINT b")?;
        self.exec("RELEASE SAVEPOINT b")?;
        self.exec("COMMIT")
    }

    /// One row changed many times, its key there and back.
    fn again_and_again(&mut self) -> Result<()> {
        let (id, away) = (self.dice.pick(0..400) as i64 - 100, 10_000 + self.next());
        self.exec("BEGIN")?;
        for statement in [
            format!("DELETE FROM ints WHERE id = {id}"),
            format!("INSERT INTO ints VALUES ({id}, {away}, 'one')"),
            format!("UPDATE ints SET id = {away} WHERE id = {id}"),
            format!("INSERT INTO ints VALUES ({id}, {away}, NULL)"),
            format!("UPDATE ints SET v = v + 1, t = CONCAT('was ', id) WHERE id IN ({id}, {away})"),
            format!("DELETE FROM ints WHERE id = {id}"),
            format!("UPDATE ints SET id = {id} WHERE id = {away}"),
        ] {
            self.exec(&statement)?;
        }
        self.exec("COMMIT")
    }

    /// Two rows exchange their unique values.
    fn swap(&mut self) -> Result<()> {
        let (one, other) = (self.dice.pick(0..UNIQUES), self.dice.pick(0..UNIQUES));
        let value = self.next();
        let read = |db: &Db, place: u64| -> Result<Option<[String; 3]>> {
            let rows = db.rows(format!("SELECT id, a, b FROM uniques ORDER BY id LIMIT 1 OFFSET {place}"))?;
            let row: Option<Vec<String>> = rows.into_iter().next().map(|row| row.into_iter().flatten().collect());
            Ok(row.and_then(|row| <[String; 3]>::try_from(row).ok()))
        };
        let (Some([id, a, b]), Some([other_id, other_a, other_b])) =
            (read(&self.first, one)?, read(&self.first, other)?)
        else {
            bail!("`uniques` has lost rows");
        };
        if id == other_id {
            return Ok(());
        }
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("UPDATE uniques SET a = -1, b = 'away', v = {value} WHERE id = {id}"),
            format!("UPDATE uniques SET a = {a}, b = '{b}', v = {value} WHERE id = {other_id}"),
            format!("UPDATE uniques SET a = {other_a}, b = '{other_b}' WHERE id = {id}"),
            "COMMIT".to_owned(),
        ])
    }

    /// A row goes, and another takes its unique values.
    fn unique_moves(&mut self) -> Result<()> {
        let place = self.dice.pick(0..UNIQUES - 1);
        let rows = self.first.rows(format!("SELECT id, a, b FROM uniques ORDER BY id LIMIT 1 OFFSET {place}"))?;
        let Some([Some(id), Some(a), Some(b)]) = rows.into_iter().next().and_then(|row| <[_; 3]>::try_from(row).ok())
        else {
            bail!("`uniques` has lost rows");
        };
        let new = self.next();
        self.first.exec(format!("DELETE FROM uniques WHERE id = {id}"))?;
        self.first.exec(format!("INSERT INTO uniques VALUES ({new}, {a}, '{b}', {new})"))
    }

    /// A parent with its children; an old one without them.
    fn family(&mut self) -> Result<()> {
        let (new, old) = (self.next(), self.dice.pick(0..100));
        let child = new * 10;
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("INSERT INTO parents VALUES ({new}, 1)"),
            format!("INSERT INTO children VALUES ({child}, {new}, 1), ({child} + 1, {new}, 1)"),
            format!("UPDATE children SET parent = {new}, v = v + 1 WHERE parent = {old} LIMIT 2"),
            "COMMIT".to_owned(),
            "BEGIN".to_owned(),
            format!("DELETE FROM children WHERE parent = {old}"),
            format!("DELETE FROM parents WHERE id = {old}"),
            "COMMIT".to_owned(),
            "BEGIN".to_owned(),
            format!("INSERT INTO parents VALUES ({old}, {new})"),
            format!("UPDATE children SET v = v + 1 WHERE parent = {new}"),
            "COMMIT".to_owned(),
        ])
    }

    /// Equal rows of a table without a key.
    fn visit(&mut self) -> Result<()> {
        let number = self.next();
        self.first.exec(format!("INSERT INTO visits VALUES ({number}, 'x'), ({number}, 'x'), ({number}, NULL)"))
    }

    /// More rows than any buffer for blocks, in one transaction, by one statement and by several.
    fn large(&mut self) -> Result<()> {
        let number = self.next();
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("UPDATE large SET v = {number} WHERE id < {LARGE_ROWS}"),
            format!("UPDATE large SET id = id + {LARGE_ROWS} WHERE id % 3 = 0 AND id < {LARGE_ROWS}"),
            format!("DELETE FROM large WHERE id >= {LARGE_ROWS}"),
            format!(
                "INSERT INTO large SELECT i, {number}, CONCAT('back ', i) FROM {} WHERE i % 3 = 0",
                numbers(LARGE_ROWS)
            ),
            "COMMIT".to_owned(),
        ])
    }

    /// As many rows, rolled back, and then for good.
    fn many_rows(&mut self) -> Result<()> {
        let number = self.next();
        let update = format!("UPDATE large SET t = CONCAT('many ', {number}, '-', id)");
        self.first.exec_all(["BEGIN", update.as_str(), "ROLLBACK", update.as_str()])
    }

    /// An XA transaction, with others between its end and its commit; or rolled back; or in one phase.
    fn xa(&mut self) -> Result<()> {
        let number = self.next();
        let id = self.dice.pick(0..50);
        let xid = format!("X'{number:08x}00', 'bqual', {}", number % 5 + 1);
        self.second.exec_all([
            format!("XA START {xid}"),
            format!("UPDATE xas SET v = {number} WHERE id = {id}"),
            format!("INSERT INTO xas VALUES ({number}, 1)"),
            format!("DELETE FROM xas WHERE id = {number} - 20 AND id > 1000"),
            format!("XA END {xid}"),
        ])?;
        if self.dice.pick(0..4) == 0 {
            return self.second.exec(format!("XA COMMIT {xid} ONE PHASE"));
        }
        self.second.exec(format!("XA PREPARE {xid}"))?;
        for _ in 0..self.dice.pick(0..4) {
            let statement = self.change();
            self.exec(&statement)?;
        }
        let end = if self.dice.pick(0..3) == 0 { "ROLLBACK" } else { "COMMIT" };
        self.second.exec(format!("XA {end} {xid}"))
    }
}

fn numbered(expression: &str, number: u64) -> String {
    expression.replace('#', &number.to_string())
}

/// The condition for the row with that key.
fn is(table: &LoadTable, number: u64) -> String {
    let equal = |(column, value): &(&str, &str)| format!("{column} <=> {}", numbered(value, number));
    table.key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

fn upsert(table: &LoadTable, number: u64, value: u64) -> String {
    let columns: Vec<&str> = table.key.iter().map(|(column, _)| *column).collect();
    let values: Vec<String> = table.key.iter().map(|(_, value)| numbered(value, number)).collect();
    let sets: Vec<String> = columns.iter().map(|column| format!("{column} = VALUES({column})")).collect();
    format!(
        "INSERT INTO {} ({}, v, t) VALUES ({}, {value}, 'text\\t{number}') ON DUPLICATE KEY UPDATE {}, v = VALUES(v)",
        table.name,
        columns.join(", "),
        values.join(", "),
        sets.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_named_by_all_columns_of_its_key() {
        let table = TABLES.iter().find(|table| table.name == "choices").expect("writer: no table `choices`");
        assert_eq!(is(table, 9), "e <=> 1 + 9 % 4 AND n <=> 9 DIV 4");
        assert!(upsert(table, 9, 3).starts_with("INSERT INTO choices (e, n, v, t) VALUES (1 + 9 % 4, 9 DIV 4, 3, "));
    }
}
