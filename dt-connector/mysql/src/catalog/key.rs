//! Which key a table is read by. Pure.

use dt_common::schema::{Column, Key};

use crate::value::{self, Kind};

/// A unique index as the catalog lists it.
#[derive(Clone, Debug)]
pub struct Index {
    /// Its name; `PRIMARY` for the primary key.
    pub name: String,
    /// Its columns in order.
    pub columns: Vec<String>,
    /// It covers whole columns and the optimizer may use it.
    pub whole: bool,
    /// It is kept in order. A HASH is not: its table would be sorted for each page, and by the first bytes only.
    pub ordered: bool,
}

/// The primary key; else the unique key without nulls that is narrowest (fewest columns, numbers before text, then by
/// name); else the narrowest nullable one. `None`: the table is streamed.
pub fn choose(columns: &[Column], indexes: &[Index]) -> Option<Key> {
    indexes
        .iter()
        .filter(|index| index.whole && index.ordered)
        .filter_map(|index| {
            let places: Option<Vec<usize>> =
                index.columns.iter().map(|name| columns.iter().position(|column| &column.name == name)).collect();
            let places = places.filter(|places| !places.is_empty())?;
            if !places.iter().all(|&at| orders_rows(&columns[at])) {
                return None;
            }
            let nullable = places.iter().any(|&at| columns[at].nullable);
            Some(Key { name: index.name.clone(), columns: places, nullable })
        })
        .min_by_key(|key| {
            let numbers = key.columns.iter().all(|&at| value::kind(&columns[at].data_type) == Some(Kind::Integer));
            (key.name != "PRIMARY", key.nullable, key.columns.len(), !numbers, key.name.clone())
        })
}

/// Whether rows can be paged by a column of this kind.
fn orders_rows(column: &Column) -> bool {
    match value::kind(&column.data_type) {
        Some(
            Kind::Integer
            | Kind::Decimal
            | Kind::Float
            | Kind::Double
            | Kind::Bit
            | Kind::Year
            | Kind::Temporal
            | Kind::Text
            | Kind::Binary
            | Kind::Enum
            | Kind::Set
            | Kind::Special,
        ) => true,
        Some(Kind::Json | Kind::Geometry | Kind::Vector) | None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, data_type: &str, nullable: bool) -> Column {
        Column {
            name: name.into(),
            data_type: data_type.into(),
            nullable,
            charset: None,
            collation: None,
            binary_form: None,
        }
    }

    fn index(name: &str, columns: &[&str]) -> Index {
        Index {
            name: name.into(),
            columns: columns.iter().map(|name| (*name).into()).collect(),
            whole: true,
            ordered: true,
        }
    }

    fn columns() -> Vec<Column> {
        vec![
            column("id", "int", false),
            column("code", "varchar(9)", false),
            column("maybe", "int", true),
            column("doc", "json", false),
        ]
    }

    fn chosen(indexes: &[Index]) -> Option<String> {
        choose(&columns(), indexes).map(|key| key.name)
    }

    #[test]
    fn the_primary_key_comes_first_however_wide() {
        assert_eq!(chosen(&[index("a", &["id"]), index("PRIMARY", &["code", "id"])]).as_deref(), Some("PRIMARY"));
    }

    #[test]
    fn a_key_without_nulls_beats_a_nullable_one_and_numbers_beat_text() {
        assert_eq!(chosen(&[index("n", &["maybe"]), index("w", &["code", "id"])]).as_deref(), Some("w"));
        assert_eq!(chosen(&[index("a", &["code"]), index("b", &["id"])]).as_deref(), Some("b"));
        let nullable = choose(&columns(), &[index("n", &["maybe"])]).expect("a key");
        assert!(nullable.nullable);
    }

    #[test]
    fn prefixes_hashes_expressions_and_columns_left_out_make_no_key() {
        let prefix = Index { whole: false, ..index("p", &["code"]) };
        let hash = Index { ordered: false, ..index("h", &["code"]) };
        assert_eq!(chosen(&[prefix, hash, index("gone", &["not_copied"]), index("j", &["doc"])]), None);
        assert_eq!(chosen(&[]), None);
    }
}
