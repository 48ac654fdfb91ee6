//! The writer's load for PostgreSQL: everything that its log has a form for. Two connections, so that transactions are
//! open while others are committed; large ones are streamed if the source's `logical_decoding_work_mem` is small.

use anyhow::{Result, bail};

use super::Writer;
use crate::db::Db;
use crate::dice::Dice;
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
    /// What stands between the parentheses of CREATE TABLE; a partitioned table's last one closes PARTITION BY.
    columns: &'static str,
    /// What stands behind CREATE TABLE.
    after: &'static str,
}

/// A table whose rows are `key, v, t`.
const fn keyed(
    name: &'static str,
    key: &'static [(&'static str, &'static str)],
    keys: u64,
    columns: &'static str,
) -> LoadTable {
    LoadTable { name, unidentified: "false", key, keys, columns, after: "" }
}

/// A table that is written in a way of its own.
const fn own(name: &'static str, columns: &'static str, after: &'static str) -> LoadTable {
    LoadTable { name, unidentified: "false", key: &[], keys: 0, columns, after }
}

/// Every shape of key, and every replica identity that can be followed.
pub static TABLES: [LoadTable; 14] = [
    keyed("accounts", &[("id", "# - 100")], 500, "id int PRIMARY KEY, v bigint NOT NULL, t text"),
    own(
        "articles",
        "id int PRIMARY KEY, n bigint NOT NULL, body text",
        "ALTER TABLE articles ALTER body SET STORAGE EXTERNAL",
    ),
    keyed("bins", &[("k", "decode(md5((#)::text), 'hex')")], 300, "k bytea PRIMARY KEY, v bigint NOT NULL, t text"),
    LoadTable {
        after: "ALTER TABLE choices REPLICA IDENTITY USING INDEX choices_e_n_key",
        ..keyed(
            "choices",
            &[("e", "(ARRAY['z', 'm', 'with,comma', 'it''s'])[1 + # % 4]"), ("n", "# / 4")],
            400,
            "v bigint NOT NULL, n smallint NOT NULL, e text NOT NULL, t text, UNIQUE (e, n)",
        )
    },
    own(
        "children",
        "id int PRIMARY KEY, parent int NOT NULL, v bigint NOT NULL",
        "ALTER TABLE children ADD FOREIGN KEY (parent) REFERENCES parents",
    ),
    own("cleared", "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v bigint NOT NULL", ""),
    LoadTable {
        after: "CREATE TABLE days_before PARTITION OF days FOR VALUES FROM (MINVALUE) TO ('2024-02-01'); \
                CREATE TABLE days_after PARTITION OF days FOR VALUES FROM ('2024-02-01') TO (MAXVALUE)",
        ..keyed(
            "days",
            &[("id", "#"), ("day", "'2024-01-01'::date + # % 60")],
            300,
            "id int, day date, v bigint NOT NULL, t text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day",
        )
    },
    own("large", "id int PRIMARY KEY, v bigint NOT NULL, t text", ""),
    keyed(
        "moments",
        &[("at", "'2024-02-29 00:00:00.000001+00'::timestamptz + # * interval '61.000001 s'"), ("x", "# / 7.0")],
        300,
        "x numeric, at timestamptz, v bigint NOT NULL, t text, PRIMARY KEY (at, x)",
    ),
    LoadTable {
        unidentified: "ticket IS NULL",
        after: "ALTER TABLE tickets REPLICA IDENTITY FULL",
        ..keyed(
            "tickets",
            &[("ticket", "CASE WHEN # % 10 > 0 THEN # END")],
            300,
            "ticket bigint UNIQUE, v bigint NOT NULL, t text",
        )
    },
    own("uniques", "id int PRIMARY KEY, a int NOT NULL UNIQUE, b text NOT NULL UNIQUE, v bigint NOT NULL", ""),
    LoadTable {
        unidentified: "true",
        ..own("visits", "v bigint NOT NULL, t text", "ALTER TABLE visits REPLICA IDENTITY FULL")
    },
    // Keys that differ in upper and lower case and in accents only.
    keyed(
        "words",
        &[("code", "(ARRAY['key', 'KEY', 'kéy', 'Kèy'])[1 + # % 4] || # / 8")],
        800,
        "code text COLLATE \"und-x-icu\" PRIMARY KEY, v bigint NOT NULL, t text",
    ),
    // The children's key refers to it.
    own("parents", "id int PRIMARY KEY, v bigint NOT NULL", ""),
];

/// How many rows of `uniques` there are; their `a` and `b` are permutations.
const UNIQUES: u64 = 200;
/// Rows of a large transaction.
const LARGE_ROWS: u64 = 10_000;
/// Articles, whose bodies are stored out of line.
const ARTICLES: u64 = 100;

impl LoadTable {
    /// Whether its rows are written without any key at all.
    pub fn is_keyless(&self) -> bool {
        self.unidentified == "true"
    }
}

/// Makes the empty tables in the connection's database.
///
/// # Errors
/// What the server says.
pub fn create(db: &Db) -> Result<()> {
    for table in TABLES.iter().rev() {
        db.exec(format!("CREATE TABLE {} ({}); {}", table.name, table.columns, table.after))?;
    }
    Ok(())
}

/// Puts the first rows in.
///
/// # Errors
/// What the server says.
pub fn fill(db: &Db) -> Result<()> {
    for table in &TABLES {
        db.exec_all((0..table.keys).step_by(3).map(|number| upsert(table, number, 0)))?;
    }
    let from = |count| format!("FROM generate_series(0, {count} - 1) AS i");
    db.exec_all([
        format!("INSERT INTO large SELECT i, 0, 'large ' || i {}", from(LARGE_ROWS)),
        format!("INSERT INTO uniques SELECT i, i, 'b' || i, 0 {}", from(UNIQUES)),
        format!("INSERT INTO parents SELECT i, 0 {}", from(100)),
        format!("INSERT INTO children SELECT i, i / 3, 0 {}", from(300)),
        format!("INSERT INTO visits SELECT i / 2, 'before' {}", from(100)),
        format!("INSERT INTO articles SELECT i, 0, repeat('a' || i, 2000) {}", from(ARTICLES)),
        format!("INSERT INTO cleared (v) SELECT 0 {}", from(50)),
    ])
}

/// Starts the writer in a database of the server that [`create`] and [`fill`] have been called for.
///
/// # Errors
/// The server does not answer.
pub fn start(server: &Server, database: &str, seed: u64) -> Result<Writer> {
    let (first, second) = (server.database(database)?, server.database(database)?);
    let mut load = Load { first, second, dice: Dice::of(seed), number: 1_000, next_article: ARTICLES };
    Ok(Writer::of(move |count| load.transaction(count)))
}

struct Load {
    first: Db,
    second: Db,
    dice: Dice,
    // For what must be new.
    number: u64,
    next_article: u64,
}

impl Load {
    fn transaction(&mut self, count: u64) -> Result<()> {
        // Those that cost much come by the count, so that each run has some.
        match count % 300 {
            40 => return self.large("COMMIT"),
            120 => return self.large("ROLLBACK"),
            200 => return self.clear(),
            _ => {}
        }
        match self.dice.pick(0..14) {
            0..5 => {
                let statement = self.change();
                self.first.exec(statement)
            }
            5 => self.within("COMMIT"),
            6 => self.within("ROLLBACK"),
            7 => self.with_savepoints(),
            8 => self.swap(),
            9 => self.family(),
            10 => self.unique_moves(),
            11 => self.visit(),
            12 => self.article(),
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
            4..6 => format!("UPDATE {} SET v = {value} WHERE {}", table.name, is_one(table, number)),
            6..8 => format!("DELETE FROM {} WHERE {}", table.name, is_one(table, number)),
            _ => change_of_key(table, number, other),
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
        let statements = ["BEGIN", &kept, "SAVEPOINT a", &undone, "ROLLBACK TO a", &also, "SAVEPOINT b", "RELEASE b"];
        self.first.exec_all(statements)?;
        self.first.exec("COMMIT")
    }

    /// One row changed many times, its key there and back.
    fn again_and_again(&mut self) -> Result<()> {
        let (id, away) = (self.dice.pick(0..400) as i64 - 100, 10_000 + self.next());
        self.first.exec_all([
            "BEGIN".to_owned(),
            format!("DELETE FROM accounts WHERE id = {id}"),
            format!("INSERT INTO accounts VALUES ({id}, {away}, 'one')"),
            format!("UPDATE accounts SET id = {away} WHERE id = {id}"),
            format!("INSERT INTO accounts VALUES ({id}, {away}, NULL)"),
            format!("UPDATE accounts SET v = v + 1, t = 'was ' || id WHERE id IN ({id}, {away})"),
            format!("DELETE FROM accounts WHERE id = {id}"),
            format!("UPDATE accounts SET id = {id} WHERE id = {away}"),
            "COMMIT".to_owned(),
        ])
    }

    /// A row of `uniques`: `id`, `a`, `b`.
    fn unique(&self, place: u64) -> Result<[String; 3]> {
        let rows = self.first.rows(format!("SELECT id, a, b FROM uniques ORDER BY id LIMIT 1 OFFSET {place}"))?;
        let row: Option<Vec<String>> = rows.into_iter().next().map(|row| row.into_iter().flatten().collect());
        match row.and_then(|row| <[String; 3]>::try_from(row).ok()) {
            Some(row) => Ok(row),
            None => bail!("`uniques` has lost rows"),
        }
    }

    /// Two rows exchange their unique values.
    fn swap(&mut self) -> Result<()> {
        let (one, other) = (self.dice.pick(0..UNIQUES), self.dice.pick(0..UNIQUES));
        let value = self.next();
        let ([id, a, b], [other_id, other_a, other_b]) = (self.unique(one)?, self.unique(other)?);
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
        let [id, a, b] = self.unique(place)?;
        let new = self.next();
        self.first.exec(format!("DELETE FROM uniques WHERE id = {id}"))?;
        self.first.exec(format!("INSERT INTO uniques VALUES ({new}, {a}, '{b}', {new})"))
    }

    /// A parent with its children; an old one without them.
    fn family(&mut self) -> Result<()> {
        let (new, old) = (self.next(), self.dice.pick(0..100));
        let child = new * 10;
        self.first.exec_all([
            // Several statements in one text are one transaction.
            format!(
                "INSERT INTO parents VALUES ({new}, 1); \
                 INSERT INTO children VALUES ({child}, {new}, 1), ({child} + 1, {new}, 1); \
                 UPDATE children SET parent = {new}, v = v + 1 WHERE parent = {old}"
            ),
            format!("DELETE FROM parents WHERE id = {old}"),
            format!("INSERT INTO parents VALUES ({old}, {new}); UPDATE children SET v = v + 1 WHERE parent = {new}"),
        ])
    }

    /// Equal rows of a table without a key.
    fn visit(&mut self) -> Result<()> {
        let number = self.next();
        self.first.exec(format!("INSERT INTO visits VALUES ({number}, 'x'), ({number}, 'x'), ({number}, NULL)"))
    }

    /// Values out of line: one that is new, and rows around one that stays.
    fn article(&mut self) -> Result<()> {
        let (number, id) = (self.next(), self.dice.pick(0..self.next_article));
        self.first.exec(match self.dice.pick(0..6) {
            0 => format!("UPDATE articles SET body = repeat('b' || {number}, 2000), n = {number} WHERE id = {id}"),
            1..4 => format!("UPDATE articles SET n = {number} WHERE id = {id}"),
            4 => {
                self.next_article += 1;
                format!("UPDATE articles SET id = {} WHERE id = {id}", self.next_article)
            }
            _ => format!(
                "DELETE FROM articles WHERE id = {id}; INSERT INTO articles VALUES ({id}, {number}, repeat('c', 5000)); \
                 UPDATE articles SET n = n + 1 WHERE id = {id}"
            ),
        })
    }

    /// Much in one transaction, a part of it taken back; others are committed meanwhile.
    fn large(&mut self, end: &str) -> Result<()> {
        let number = self.next();
        self.second.exec_all([
            "BEGIN".to_owned(),
            format!("UPDATE large SET v = {number}"),
            "SAVEPOINT undone".to_owned(),
            format!("UPDATE large SET t = 'undone {number}'"),
            "ROLLBACK TO undone".to_owned(),
            format!("UPDATE large SET id = id + {LARGE_ROWS} WHERE id % 3 = 0 AND id < {LARGE_ROWS}"),
        ])?;
        for _ in 0..5 {
            let statement = self.change();
            self.first.exec(statement)?;
        }
        self.second.exec_all([
            format!("DELETE FROM large WHERE id >= {LARGE_ROWS}"),
            format!(
                "INSERT INTO large SELECT i, {number}, 'back ' || i FROM generate_series(0, {LARGE_ROWS} - 1, 3) AS i"
            ),
            end.to_owned(),
        ])
    }

    /// TRUNCATE, between rows of the same transaction.
    fn clear(&mut self) -> Result<()> {
        let number = self.next();
        self.first.exec(format!(
            "INSERT INTO cleared (v) VALUES ({number}); TRUNCATE cleared RESTART IDENTITY; \
             INSERT INTO cleared (v) SELECT {number} FROM generate_series(1, 20)"
        ))
    }
}

fn numbered(expression: &str, number: u64) -> String {
    expression.replace('#', &number.to_string())
}

/// The condition for the row with that key.
fn is(table: &LoadTable, number: u64) -> String {
    let equal = |(column, value): &(&str, &str)| format!("{column} IS NOT DISTINCT FROM {}", numbered(value, number));
    table.key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
}

/// The condition for one of the rows with that key; null is a key of many.
fn is_one(table: &LoadTable, number: u64) -> String {
    let (name, is) = (table.name, is(table, number));
    format!("(tableoid, ctid) = (SELECT tableoid, ctid FROM {name} WHERE {is} LIMIT 1)")
}

/// A row gets another key, if that is free.
fn change_of_key(table: &LoadTable, number: u64, other: u64) -> String {
    let sets = table.key.iter().map(|(column, value)| format!("{column} = {}", numbered(value, other)));
    let sets: Vec<String> = sets.collect();
    let (name, one) = (table.name, is_one(table, number));
    // Null is always free.
    let is_taken = format!("EXISTS (SELECT FROM {name} WHERE {})", sets.join(" AND "));
    format!("UPDATE {name} SET {} WHERE {one} AND NOT {is_taken}", sets.join(", "))
}

fn upsert(table: &LoadTable, number: u64, value: u64) -> String {
    let columns: Vec<&str> = table.key.iter().map(|(column, _)| *column).collect();
    let values: Vec<String> = table.key.iter().map(|(_, value)| numbered(value, number)).collect();
    let (name, columns, values) = (table.name, columns.join(", "), values.join(", "));
    format!(
        "INSERT INTO {name} ({columns}, v, t) VALUES ({values}, {value}, E'text\\t{number}') \
         ON CONFLICT ({columns}) DO UPDATE SET v = EXCLUDED.v"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_named_by_all_columns_of_its_key() {
        let table = TABLES.iter().find(|table| table.name == "choices").expect("writer: no table `choices`");
        assert!(is(table, 9).ends_with("[1 + 9 % 4] AND n IS NOT DISTINCT FROM 9 / 4"));
        assert!(upsert(table, 9, 3).ends_with("ON CONFLICT (e, n) DO UPDATE SET v = EXCLUDED.v"));
    }
}
