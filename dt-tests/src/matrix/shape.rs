//! The shapes of keys, one table each, and a row's key by its number. Pure.
//!
//! A table has, besides its key, a number `n`, which says which row it is, and a value `v`.

use crate::db::Dialect;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, doc};

/// What tells the rows of a table apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shape {
    /// A whole number.
    Int,
    /// Two columns; a document as `_id`.
    Composite,
    /// Text; on MySQL and MariaDB of a collation that ignores case.
    Text,
    /// Bytes.
    Binary,
    /// One of a few names, in another order than their letters', and a number; an ObjectId as `_id`.
    Enumeration,
    /// The largest numbers that the type has.
    Largest,
    /// A unique column that is null in every third row.
    NullableUnique,
    /// An `_id`, and another field with a unique index.
    SecondUnique,
    /// Nothing; rows that are the same.
    Keyless,
}

impl Shape {
    /// Those of tables.
    pub const OF_SQL: [Shape; 8] = [
        Shape::Int,
        Shape::Composite,
        Shape::Text,
        Shape::Binary,
        Shape::Enumeration,
        Shape::Largest,
        Shape::NullableUnique,
        Shape::Keyless,
    ];

    /// Those of MongoDB, where every document has an `_id`.
    pub const OF_MONGO: [Shape; 7] = [
        Shape::Int,
        Shape::Composite,
        Shape::Text,
        Shape::Binary,
        Shape::Enumeration,
        Shape::Largest,
        Shape::SecondUnique,
    ];

    /// The table's name.
    pub fn table(self) -> &'static str {
        match self {
            Shape::Int => "ints",
            Shape::Composite => "composites",
            Shape::Text => "texts",
            Shape::Binary => "binaries",
            Shape::Enumeration => "enums",
            Shape::Largest => "largest",
            Shape::NullableUnique => "nullables",
            Shape::SecondUnique => "uniques",
            Shape::Keyless => "keyless",
        }
    }

    /// Whether a key tells row `n` from all others.
    pub fn has_key(self, n: u64) -> bool {
        match self {
            Shape::Keyless => false,
            Shape::NullableUnique => !n.is_multiple_of(3),
            _ => true,
        }
    }

    /// Whether its rows may get another key.
    pub fn moves(self) -> bool {
        self != Shape::Keyless
    }

    /// The value that a row begins with; where no key tells it from others, rows of one number are the same.
    pub fn first_value(self, n: u64) -> u64 {
        n
    }

    /// The statements that make the table.
    pub fn create(self, dialect: Dialect) -> Vec<String> {
        let table = self.table();
        let columns = match (dialect, self) {
            (_, Shape::Int) => "id int NOT NULL PRIMARY KEY, ",
            (_, Shape::SecondUnique) => "id int NOT NULL PRIMARY KEY, k int NOT NULL UNIQUE, ",
            (_, Shape::Composite) => "a int NOT NULL, b varchar(20) NOT NULL, PRIMARY KEY (a, b), ",
            (Dialect::Mysql, Shape::Text) => "k varchar(40) COLLATE utf8mb4_general_ci NOT NULL PRIMARY KEY, ",
            (Dialect::Postgres, Shape::Text) => "k varchar(40) NOT NULL PRIMARY KEY, ",
            (Dialect::Mysql, Shape::Binary) => "k varbinary(16) NOT NULL PRIMARY KEY, ",
            (Dialect::Postgres, Shape::Binary) => "k bytea NOT NULL PRIMARY KEY, ",
            (Dialect::Mysql, Shape::Enumeration) => {
                "e enum('z', 'm', 'a', 'b,c') NOT NULL, i int NOT NULL, PRIMARY KEY (e, i), "
            }
            (Dialect::Postgres, Shape::Enumeration) => "e letter NOT NULL, i int NOT NULL, PRIMARY KEY (e, i), ",
            (Dialect::Mysql, Shape::Largest) => "id bigint unsigned NOT NULL PRIMARY KEY, ",
            (Dialect::Postgres, Shape::Largest) => "id bigint NOT NULL PRIMARY KEY, ",
            (_, Shape::NullableUnique) => "k int UNIQUE, ",
            (_, Shape::Keyless) => "",
        };
        let mut statements = Vec::new();
        if (dialect, self) == (Dialect::Postgres, Shape::Enumeration) {
            statements.push("CREATE TYPE letter AS ENUM ('z', 'm', 'a', 'b,c')".to_owned());
        }
        statements.push(format!("CREATE TABLE {table} ({columns}n bigint NOT NULL, v bigint NOT NULL)"));
        if dialect == Dialect::Postgres && matches!(self, Shape::NullableUnique | Shape::Keyless) {
            statements.push(format!("ALTER TABLE {table} REPLICA IDENTITY FULL"));
        }
        statements
    }

    /// The key's columns with their values for row `n`, as SQL.
    pub fn key(self, dialect: Dialect, n: u64) -> Vec<(&'static str, String)> {
        match self {
            Shape::Int => vec![("id", n.to_string())],
            Shape::SecondUnique => vec![("id", n.to_string()), ("k", (n + 1).to_string())],
            Shape::Composite => vec![("a", (n % 7).to_string()), ("b", format!("'b {n}'"))],
            Shape::Text => vec![("k", format!("'{}'", text(n)))],
            Shape::Binary => {
                let bytes = hex(n);
                let literal = match dialect {
                    Dialect::Mysql => format!("x'{bytes}'"),
                    Dialect::Postgres => format!("'\\x{bytes}'"),
                };
                vec![("k", literal)]
            }
            Shape::Enumeration => {
                let letter = ["'z'", "'m'", "'a'", "'b,c'"][(n % 4) as usize];
                vec![("e", letter.to_owned()), ("i", n.to_string())]
            }
            Shape::Largest => {
                let largest = match dialect {
                    Dialect::Mysql => u64::MAX,
                    Dialect::Postgres => i64::MAX as u64,
                };
                vec![("id", (largest - n).to_string())]
            }
            Shape::NullableUnique => {
                vec![("k", if self.has_key(n) { n.to_string() } else { "NULL".to_owned() })]
            }
            Shape::Keyless => Vec::new(),
        }
    }

    /// The `_id` of document `n`.
    pub fn id(self, n: u64) -> Bson {
        let small = i32::try_from(n).unwrap_or(i32::MAX);
        match self {
            Shape::Int | Shape::NullableUnique | Shape::SecondUnique | Shape::Keyless => Bson::Int32(small),
            Shape::Composite => Bson::Document(doc! {"a": small % 7, "b": format!("b {n}")}),
            Shape::Text => Bson::String(text(n)),
            Shape::Binary => {
                let bytes = [&[0xff, 0x00][..], &n.to_be_bytes()].concat();
                Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes })
            }
            Shape::Enumeration => {
                let mut bytes = [0xab; 12];
                bytes[4..].copy_from_slice(&n.to_be_bytes());
                Bson::ObjectId(ObjectId::from_bytes(bytes))
            }
            Shape::Largest => Bson::Int64(i64::MAX - i64::from(small)),
        }
    }
}

/// Upper and lower case, with a space at the end of some.
fn text(n: u64) -> String {
    match n % 3 {
        0 => format!("key {n:06}"),
        1 => format!("KEY {n:06}"),
        _ => format!("Key''{n:06} x"),
    }
}

fn hex(n: u64) -> String {
    format!("ff00{n:016x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_different_also_where_case_is_ignored() {
        for dialect in [Dialect::Mysql, Dialect::Postgres] {
            for shape in Shape::OF_SQL.into_iter().filter(|shape| shape.moves()) {
                let numbers = || (0..500).filter(|&n| shape.has_key(n));
                let keys: BTreeSet<String> =
                    numbers().map(|n| format!("{:?}", shape.key(dialect, n)).to_lowercase()).collect();
                assert_eq!(keys.len(), numbers().count(), "{shape:?}");
            }
        }
    }
}
