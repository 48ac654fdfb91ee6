//! The load of the kill tests of PostgreSQL's streams, harder than the one that is shown: every replica identity, values
//! that are stored out of line and go from key to key without being sent, keys that are equal and not the same,
//! transactions that are streamed before they end, and prepared ones.

use anyhow::{Context, Result};
use dt_tests::db::Db;
use dt_tests::dice::Dice;
use dt_tests::servers::Server;
use dt_tests::writer::Writer;

/// A table that the writer writes to.
#[derive(Clone, Copy, Debug)]
pub struct LoadTable {
    /// Its name.
    pub name: &'static str,
    /// What can be promised of it after an interruption.
    pub promise: Promise,
    // The key's columns and what makes them, with `#` for a number; empty for the tables that are written in ways of
    // their own.
    key: &'static [(&'static str, &'static str)],
    keys: u64,
    create: &'static str,
    identity: &'static str,
}

/// What can be promised of a table whose task was interrupted and resumed from its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// The same rows.
    Equal,
    /// No row is lost; and the same rows among those for which this SQL condition holds, which a key identifies.
    EqualWhere(&'static str),
    /// No row is lost, and none is there that the source does not have.
    Repeated,
    /// No row is lost. A row that was written again may have been changed or deleted once.
    NotLost,
}

/// Every shape of key and every replica identity.
pub static TABLES: [LoadTable; 18] = [
    LoadTable {
        name: "bins",
        promise: Promise::Equal,
        key: &[(
            "k",
            "CASE # % 4 WHEN 0 THEN decode(lpad(to_hex(#), 4, '0'), 'hex') WHEN 1 THEN decode('5c' || lpad(to_hex(# / 4), 2, '0'), 'hex') \
             ELSE substr(sha256('#'::bytea), 1, 2 + # % 5) END",
        )],
        keys: 200,
        create: "k bytea PRIMARY KEY, v bigint NOT NULL, t text",
        identity: "DEFAULT",
    },
    LoadTable {
        name: "chosen",
        promise: Promise::Equal,
        key: &[("b", "'é-' || # % 9"), ("a", "# / 9")],
        keys: 300,
        create: "a int NOT NULL, v bigint NOT NULL, b text NOT NULL, t text, CONSTRAINT choice UNIQUE (b, a)",
        identity: "USING INDEX choice",
    },
    LoadTable {
        name: "composites",
        promise: Promise::Equal,
        key: &[("a", "# % 7 - 3"), ("b", "E'\\t\\\\' || #"), ("c", "'2024-02-29'::date + #")],
        keys: 300,
        create: "v bigint NOT NULL, c date NOT NULL, b varchar(20) NOT NULL, a bigint NOT NULL, t text, PRIMARY KEY (a, b, c)",
        identity: "DEFAULT",
    },
    LoadTable {
        name: "decimals",
        promise: Promise::Equal,
        // Keys that are equal and not the same: 1, 1.0 and 1.00.
        key: &[("k", "round((# / 4)::numeric, # % 3)")],
        keys: 400,
        create: "k numeric PRIMARY KEY, v bigint NOT NULL, t text",
        identity: "DEFAULT",
    },
    LoadTable {
        name: "ints",
        promise: Promise::Equal,
        key: &[("id", "# - 100")],
        keys: 500,
        create: "id int PRIMARY KEY, v bigint NOT NULL, t text",
        identity: "DEFAULT",
    },
    LoadTable {
        name: "tickets",
        promise: Promise::EqualWhere("ticket IS NOT NULL"),
        key: &[("ticket", "CASE WHEN # % 10 > 0 THEN # END")],
        keys: 300,
        create: "ticket bigint UNIQUE, v bigint NOT NULL, t text",
        identity: "FULL",
    },
    LoadTable {
        name: "uuids",
        promise: Promise::Equal,
        key: &[("id", "md5('#')::uuid")],
        keys: 300,
        create: "id uuid PRIMARY KEY, v bigint NOT NULL, t text",
        identity: "DEFAULT",
    },
    LoadTable {
        name: "wholes",
        promise: Promise::Equal,
        key: &[("id", "#")],
        keys: 300,
        create: "id int PRIMARY KEY, v bigint NOT NULL, t text",
        identity: "FULL",
    },
    LoadTable {
        name: "words",
        promise: Promise::Equal,
        // Keys that differ in bytes and not by the collation.
        key: &[("code", "(ARRAY['key', 'KEY', 'kéy', 'Kèy'])[1 + # % 4] || # / 8")],
        keys: 800,
        create: "code text COLLATE blind PRIMARY KEY, v bigint NOT NULL, t text",
        identity: "DEFAULT",
    },
    other("drafts", Promise::NotLost, "v bigint NOT NULL, t text", "FULL"),
    other("large", Promise::Equal, "id int PRIMARY KEY, v bigint NOT NULL, t text", "DEFAULT"),
    other("longs", Promise::Equal, LONGS, "DEFAULT"),
    other("longs_whole", Promise::Equal, LONGS, "FULL"),
    other("parents", Promise::Equal, "id int PRIMARY KEY, v bigint NOT NULL", "DEFAULT"),
    other(
        "children",
        Promise::Equal,
        "id int PRIMARY KEY, parent int NOT NULL REFERENCES parents, v bigint NOT NULL",
        "DEFAULT",
    ),
    other("prepared", Promise::Equal, "id int PRIMARY KEY, v bigint NOT NULL, t text", "DEFAULT"),
    other(
        "uniques",
        Promise::Equal,
        "id int PRIMARY KEY, a int NOT NULL UNIQUE, b text NOT NULL UNIQUE, v bigint NOT NULL",
        "DEFAULT",
    ),
    other("visits", Promise::Repeated, "v bigint NOT NULL, t text", "FULL"),
];

/// Values of `long` are stored out of line, as they are, once they have more than 2 kB.
const LONGS: &str = "id int PRIMARY KEY, v bigint NOT NULL, long text, t text";

/// A table that is written in ways of its own.
const fn other(name: &'static str, promise: Promise, create: &'static str, identity: &'static str) -> LoadTable {
    LoadTable { name, promise, key: &[], keys: 0, create, identity }
}

/// How many rows of `uniques` there are; their `a` and `b` are permutations.
const UNIQUES: u64 = 200;
/// Rows of a large transaction: far more than `logical_decoding_work_mem` holds where it is small.
const LARGE_ROWS: u64 = 6_000;
/// The ids of `longs` are below.
const LONG_IDS: u64 = 80;

/// Makes the tables in the connection's database, and puts the first rows in: the same on every server.
///
/// # Errors
/// What the server says.
pub fn create(db: &Db) -> Result<()> {
    db.exec("CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level1', deterministic = false)")?;
    for table in &TABLES {
        db.exec(format!("CREATE TABLE {} ({})", table.name, table.create))?;
        if table.create == LONGS {
            db.exec(format!("ALTER TABLE {} ALTER long SET STORAGE EXTERNAL", table.name))?;
        }
        db.exec(format!("ALTER TABLE {} REPLICA IDENTITY {}", table.name, table.identity))?;
        for number in (0..table.keys).step_by(3) {
            db.exec(upsert(table, number, 0))?;
        }
    }
    db.exec_all([
        "INSERT INTO drafts SELECT i, 'before' FROM generate_series(0, 99) i".to_owned(),
        format!("INSERT INTO large SELECT i, 0, 'large ' || i FROM generate_series(0, {LARGE_ROWS} - 1) i"),
        "INSERT INTO longs SELECT i, 0, repeat(md5(i::text), 100), 'x' FROM generate_series(0, 59) i".to_owned(),
        "INSERT INTO longs_whole SELECT * FROM longs".to_owned(),
        "INSERT INTO parents SELECT i, 0 FROM generate_series(0, 99) i".to_owned(),
        "INSERT INTO children SELECT i, i / 3, 0 FROM generate_series(0, 299) i".to_owned(),
        "INSERT INTO prepared SELECT i, 0, 'x' FROM generate_series(0, 49) i".to_owned(),
        format!("INSERT INTO uniques SELECT i, i, 'b' || i, 0 FROM generate_series(0, {UNIQUES} - 1) i"),
        "INSERT INTO visits SELECT i / 2, 'before' FROM generate_series(0, 99) i".to_owned(),
    ])
}

/// Starts the writer in a database of the server that [`create`] has been called for.
///
/// # Errors
/// The server does not answer.
pub fn start(server: &Server, database: &str, seed: u64) -> Result<Writer> {
    let (first, second) = (server.database(database)?, server.database(database)?);
    let mut load = Load { first, second, dice: Dice::of(seed), number: 1_000 };
    Ok(Writer::of(move |number| load.transaction(number)))
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
        match count % 300 {
            40 => return self.large("COMMIT"),
            90 => return self.large("ROLLBACK"),
            140 => return self.large_in_parts(),
            _ => {}
        }
        match self.dice.pick(0..18) {
            0..5 => {
                let statement = self.change();
                self.first.exec(statement)
            }
            5 => self.within("COMMIT"),
            6 => self.within("ROLLBACK"),
            7 => self.with_savepoints(),
            8 => self.swap(),
            9 => self.family(),
            10 => self.visit(),
            11 => self.draft(),
            12 => self.prepare(),
            13..15 => self.long(),
            15 => self.longs_change_places(),
            16 => self.longs_move_on(),
            _ => self.again_and_again(),
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
            4..6 => format!("UPDATE {} SET v = {value} WHERE {}", table.name, one(table, number)),
            6..8 => format!("DELETE FROM {} WHERE {}", table.name, one(table, number)),
            _ => change_key(table, number, other),
        }
    }

    /// Several tables in one transaction.
    fn within(&mut self, end: &str) -> Result<()> {
        self.first.exec("BEGIN")?;
        for _ in 0..self.dice.pick(2..9) {
            let statement = self.change();
            self.first.exec(statement)?;
        }
        self.first.exec(end)
    }

    fn with_savepoints(&mut self) -> Result<()> {
        let [kept, undone, also] = [self.change(), self.change(), self.change()];
        let all = ["BEGIN", &kept, "SAVEPOINT \"a point\"", &undone, "ROLLBACK TO \"a point\"", &also, "SAVEPOINT b"];
        self.first.exec_all(all)?;
        self.first.exec_all(["RELEASE b", "COMMIT"])
    }

    /// One row changed many times, its key there and back.
    fn again_and_again(&mut self) -> Result<()> {
        let (id, away) = (self.dice.pick(0..400) as i64 - 100, 10_000 + self.next());
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("DELETE FROM ints WHERE id = {id}"),
            format!("INSERT INTO ints VALUES ({id}, {away}, 'one')"),
            format!("UPDATE ints SET id = {away} WHERE id = {id}"),
            format!("INSERT INTO ints VALUES ({id}, {away}, NULL)"),
            format!("UPDATE ints SET v = v + 1, t = 'was ' || id WHERE id IN ({id}, {away})"),
            format!("DELETE FROM ints WHERE id = {id}"),
            format!("UPDATE ints SET id = {id} WHERE id = {away}"),
            "COMMIT".to_owned(),
        ])
    }

    /// Two rows exchange their unique values.
    fn swap(&mut self) -> Result<()> {
        let (one, other) = (self.dice.pick(0..UNIQUES), self.dice.pick(0..UNIQUES));
        if one == other {
            return Ok(());
        }
        let read = |id: u64| -> Result<[String; 2]> {
            let rows = self.first.rows(format!("SELECT a, b FROM uniques WHERE id = {id}"))?;
            let row: Option<Vec<String>> = rows.into_iter().next().map(|row| row.into_iter().flatten().collect());
            row.and_then(|row| row.try_into().ok()).context("`uniques` has lost rows")
        };
        let ([a, b], [other_a, other_b]) = (read(one)?, read(other)?);
        let value = self.next();
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("UPDATE uniques SET a = -1, b = 'away', v = {value} WHERE id = {one}"),
            format!("UPDATE uniques SET a = {a}, b = '{b}', v = {value} WHERE id = {other}"),
            format!("UPDATE uniques SET a = {other_a}, b = '{other_b}' WHERE id = {one}"),
            "COMMIT".to_owned(),
        ])
    }

    /// A parent with its children; an old one without them.
    fn family(&mut self) -> Result<()> {
        let (new, old) = (self.next(), self.dice.pick(0..100));
        let child = new * 10;
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("INSERT INTO parents VALUES ({new}, 1)"),
            format!("INSERT INTO children VALUES ({child}, {new}, 1), ({child} + 1, {new}, 1)"),
            format!("UPDATE children SET parent = {new}, v = v + 1 WHERE id IN (SELECT id FROM children WHERE parent = {old} LIMIT 2)"),
            format!("DELETE FROM children WHERE parent = {old}"),
            format!("DELETE FROM parents WHERE id = {old}"),
            "COMMIT".to_owned(),
            format!("INSERT INTO parents VALUES ({old}, {new})"),
            format!("UPDATE children SET v = v + 1 WHERE parent = {new}"),
        ])
    }

    /// Equal rows of a table without a key.
    fn visit(&mut self) -> Result<()> {
        let number = self.next();
        self.first.exec(format!("INSERT INTO visits VALUES ({number}, 'x'), ({number}, 'x'), ({number}, NULL)"))
    }

    /// Rows of a table without a key, changed and deleted; no two are equal.
    fn draft(&mut self) -> Result<()> {
        let (number, nth) = (self.next(), self.dice.pick(0..50));
        let row = format!("WHERE v = (SELECT v FROM drafts ORDER BY v OFFSET {nth} LIMIT 1)");
        self.first.exec(format!("INSERT INTO drafts VALUES ({number}, 'new')"))?;
        self.first.exec(match number % 2 {
            0 => format!("DELETE FROM drafts {row}"),
            _ => format!("UPDATE drafts SET t = 'changed {number}' {row}"),
        })
    }

    fn longs_table(&mut self) -> &'static str {
        if self.dice.pick(0..3) == 0 { "longs_whole" } else { "longs" }
    }

    /// A row with a value that is stored out of line, which mostly stays as it is.
    fn long(&mut self) -> Result<()> {
        let (table, value) = (self.longs_table(), self.next());
        let (id, other) = (self.dice.pick(0..LONG_IDS), self.dice.pick(0..LONG_IDS));
        let long = format!("repeat(md5('{value}'), 100)");
        self.first.exec(match self.dice.pick(0..10) {
            0..4 => format!("UPDATE {table} SET v = {value} WHERE id = {id}"),
            4 => format!("UPDATE {table} SET long = {long} WHERE id = {id}"),
            5 => format!("UPDATE {table} SET long = NULL, t = NULL WHERE id = {id}"),
            6 if value % 2 == 0 => format!("DELETE FROM {table} WHERE id = {id}"),
            6 | 7 => format!("UPDATE {table} SET id = {other} WHERE id = {id} AND NOT EXISTS (SELECT FROM {table} WHERE id = {other})"),
            _ => format!("INSERT INTO {table} VALUES ({id}, {value}, {long}, 'new') ON CONFLICT (id) DO UPDATE SET v = EXCLUDED.v, long = EXCLUDED.long"),
        })
    }

    /// Rows exchange their keys, and what is stored out of line goes along without being sent.
    fn longs_change_places(&mut self) -> Result<()> {
        let (table, one, other) = (self.longs_table(), self.dice.pick(0..LONG_IDS), self.dice.pick(0..LONG_IDS));
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("UPDATE {table} SET id = -1 WHERE id = {one}"),
            format!("UPDATE {table} SET id = {one} WHERE id = {other}"),
            format!("UPDATE {table} SET id = {other} WHERE id = -1"),
            "COMMIT".to_owned(),
        ])
    }

    /// Each of some rows takes the key of the next, in transactions of their own.
    fn longs_move_on(&mut self) -> Result<()> {
        let (table, first) = (self.longs_table(), self.dice.pick(0..LONG_IDS - 4));
        self.first.exec(format!("DELETE FROM {table} WHERE id = {first} + 3"))?;
        (0..3)
            .rev()
            .try_for_each(|at| self.first.exec(format!("UPDATE {table} SET id = id + 1 WHERE id = {first} + {at}")))
    }

    /// More rows than the source decodes in memory, in one transaction.
    fn large(&mut self, end: &str) -> Result<()> {
        let number = self.next();
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("UPDATE large SET v = {number} WHERE id % 2 = 0"),
            format!("UPDATE large SET id = id + {LARGE_ROWS} WHERE id % 3 = 0 AND id < {LARGE_ROWS}"),
            "SAVEPOINT a".to_owned(),
            format!("UPDATE large SET t = 'undone {number}'"),
            "ROLLBACK TO a".to_owned(),
            format!("DELETE FROM large WHERE id >= {LARGE_ROWS}"),
            format!("INSERT INTO large SELECT i * 3, {number}, 'back ' || i FROM generate_series(0, ({LARGE_ROWS} - 1) / 3) i"),
            end.to_owned(),
        ])
    }

    /// A large transaction with small ones in between, so that the source streams it in parts.
    fn large_in_parts(&mut self) -> Result<()> {
        let number = self.next();
        let first = number * 10_000;
        self.second.exec("BEGIN")?;
        for part in 0..5 {
            self.second.exec_all([
                format!("INSERT INTO prepared SELECT {first} + i, {number}, repeat('p', 60) FROM generate_series({part} * 400, {part} * 400 + 399) i"),
                format!("SAVEPOINT s{part}"),
                format!("DELETE FROM prepared WHERE id >= {first} AND id % 7 = {part}"),
            ])?;
            if part % 2 == 0 {
                self.second.exec(format!("ROLLBACK TO s{part}"))?;
            }
            let statement = self.change();
            self.first.exec(statement)?;
        }
        self.second.exec(format!("DELETE FROM prepared WHERE id > 1000 AND v < {number}"))?;
        self.second.exec(if number.is_multiple_of(4) { "ROLLBACK" } else { "COMMIT" })
    }

    /// A prepared transaction, with others between its end and its commit; or rolled back.
    fn prepare(&mut self) -> Result<()> {
        let number = self.next();
        let id = self.dice.pick(0..50);
        self.second.exec_all([
            "BEGIN".to_owned(),
            format!("UPDATE prepared SET v = {number} WHERE id = {id}"),
            format!("INSERT INTO prepared VALUES ({number}, 1, 'x')"),
            format!("DELETE FROM prepared WHERE id = {number} - 20 AND id > 1000"),
            format!("PREPARE TRANSACTION '{number}'"),
        ])?;
        for _ in 0..self.dice.pick(0..4) {
            let statement = self.change();
            self.first.exec(statement)?;
        }
        let end = if self.dice.pick(0..3) == 0 { "ROLLBACK" } else { "COMMIT" };
        self.second.exec(format!("{end} PREPARED '{number}'"))
    }
}

fn numbered(expression: &str, number: u64) -> String {
    expression.replace('#', &number.to_string())
}

/// The condition for one row with that key.
fn one(table: &LoadTable, number: u64) -> String {
    let equal = |(column, value): &(&str, &str)| format!("{column} IS NOT DISTINCT FROM {}", numbered(value, number));
    let equal: Vec<String> = table.key.iter().map(equal).collect();
    format!("ctid = (SELECT ctid FROM {} WHERE {} LIMIT 1)", table.name, equal.join(" AND "))
}

/// The statement that gives a row another key, if no other row has it.
fn change_key(table: &LoadTable, number: u64, other: u64) -> String {
    let pairs = |between: &str| {
        let pair = |(column, value): &(&str, &str)| format!("{column} = {}", numbered(value, other));
        table.key.iter().map(pair).collect::<Vec<_>>().join(between)
    };
    format!(
        "UPDATE {0} SET {1} WHERE {2} AND NOT EXISTS (SELECT FROM {0} AS o WHERE {3} AND o.ctid <> {0}.ctid)",
        table.name,
        pairs(", "),
        one(table, number),
        pairs(" AND ")
    )
}

fn upsert(table: &LoadTable, number: u64, value: u64) -> String {
    let columns: Vec<&str> = table.key.iter().map(|(column, _)| *column).collect();
    let values: Vec<String> = table.key.iter().map(|(_, value)| numbered(value, number)).collect();
    let sets: Vec<String> = columns.iter().map(|column| format!("{column} = EXCLUDED.{column}")).collect();
    let columns = columns.join(", ");
    format!(
        "INSERT INTO {} ({columns}, v, t) VALUES ({}, {value}, E'text\\t{number}') ON CONFLICT ({columns}) DO UPDATE SET {}, v = EXCLUDED.v",
        table.name,
        values.join(", "),
        sets.join(", ")
    )
}
