//! Which key a table is read by. Pure.

use dt_common::schema::{Column, Key};

use super::read::Index;

/// The primary key; else the unique key without nulls that is narrowest (fewest columns, numbers before others, then by
/// name); else the narrowest nullable one. With the place of its index among `indexes`. `None`: the table is streamed.
///
/// A key that is deferrable, partial or on expressions is none, nor is one whose order or idea of equality is not the
/// column's own (another collation, another operator class): two rows that differ there may be one to the order that
/// pages are read in.
pub fn choose(columns: &[Column], indexes: &[Index]) -> Option<(Key, usize)> {
    indexes
        .iter()
        .enumerate()
        .filter(|(_, index)| index.usable && index.columns.iter().all(|column| column.natural))
        .filter_map(|(at, index)| {
            let place = |name: &str| columns.iter().position(|column| column.name == name);
            let places = index.columns.iter().map(|column| column.name.as_deref().and_then(place));
            let places = places.collect::<Option<Vec<usize>>>().filter(|places| !places.is_empty())?;
            let nullable = places.iter().any(|&at| columns[at].nullable);
            Some((index.primary, Key { name: index.name.clone(), columns: places, nullable }, at))
        })
        .min_by_key(|(primary, key, _)| {
            let numbers = key.columns.iter().all(|&at| is_integer(&columns[at].data_type));
            (!primary, key.nullable, key.columns.len(), !numbers, key.name.clone())
        })
        .map(|(_, key, at)| (key, at))
}

fn is_integer(data_type: &str) -> bool {
    matches!(data_type, "smallint" | "integer" | "bigint")
}

#[cfg(test)]
mod tests {
    use super::super::read::{IndexColumn, Operators};
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
        let column =
            |name: &&str| IndexColumn { name: Some((*name).into()), natural: true, operators: Operators::default() };
        Index {
            name: name.into(),
            primary: name == "pk",
            usable: true,
            partial: false,
            nulls_not_distinct: false,
            columns: columns.iter().map(column).collect(),
        }
    }

    fn chosen(indexes: &[Index]) -> Option<String> {
        let columns = [column("id", "integer", false), column("code", "text", false), column("maybe", "integer", true)];
        choose(&columns, indexes).map(|(key, _)| key.name)
    }

    #[test]
    fn the_primary_key_comes_first_however_wide() {
        assert_eq!(chosen(&[index("a", &["id"]), index("pk", &["code", "id"])]).as_deref(), Some("pk"));
    }

    #[test]
    fn a_key_without_nulls_beats_a_nullable_one_and_numbers_beat_text() {
        assert_eq!(chosen(&[index("n", &["maybe"]), index("w", &["code", "id"])]).as_deref(), Some("w"));
        assert_eq!(chosen(&[index("a", &["code"]), index("b", &["id"])]).as_deref(), Some("b"));
        assert_eq!(chosen(&[index("n", &["maybe"])]).as_deref(), Some("n"));
    }

    #[test]
    fn partial_deferrable_and_expression_indexes_and_other_orders_make_no_key() {
        let unusable = Index { usable: false, ..index("p", &["id"]) };
        let mut other_order = index("o", &["code"]);
        other_order.columns[0].natural = false;
        let mut expression = index("e", &["code"]);
        expression.columns[0].name = None;
        assert_eq!(chosen(&[unusable, other_order, expression, index("gone", &["not_copied"])]), None);
    }
}
