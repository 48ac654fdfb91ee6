//! The statements by which rows are written. Pure.

use dt_common::schema::RoutedTable;
use dt_connector::{Conflict, RowFormat};

use super::check::Found;
use crate::catalog::{CatalogColumn, Index};
use crate::sql;

/// What is done about a row whose key is in the target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// The row that is there goes, whichever unique key it holds, and the new one comes.
    Replace,
    /// The row that is there takes the new values. Where foreign keys are checked, deleting it would delete the rows
    /// that refer to it (ON DELETE CASCADE), or be refused.
    Update,
    /// The task stops.
    Refuse,
    /// The row that is there stays as it is.
    Leave,
}

impl Duplicates {
    /// The rule that the options ask for; `checked` if the target checks foreign keys.
    pub fn of(conflict: Conflict, checked: bool) -> Self {
        match conflict {
            Conflict::Replace if checked => Duplicates::Update,
            Conflict::Replace => Duplicates::Replace,
            Conflict::Interrupt => Duplicates::Refuse,
            Conflict::Ignore => Duplicates::Leave,
        }
    }
}

/// How the rows of one table are written.
#[derive(Clone, Debug)]
pub struct WritePlan {
    /// Rows straight into the table: right as long as no row meets another.
    pub copy: String,
    /// Rows by way of a temporary table; `None` where a conflict stops the task.
    pub merge: Option<Merge>,
}

/// Rows by way of a temporary table, in one transaction.
#[derive(Clone, Debug)]
pub struct Merge {
    /// Makes the temporary table, if it is not there, and plans the joins that follow.
    pub prepare: String,
    /// Rows into the temporary table.
    pub copy: String,
    /// Takes out of the table what stands in the way of the new rows.
    pub deletes: Vec<String>,
    /// Rows from the temporary table into the table.
    pub insert: String,
    /// Empties the temporary table, to be used again in the same transaction.
    pub clear: String,
    /// Whether the insert answers how many rows were not new; otherwise they are those deleted, or left out.
    pub insert_counts_updates: bool,
}

impl WritePlan {
    /// Plans a table; `number` tells its temporary table from others'.
    pub fn new(table: &RoutedTable, found: &Found, format: RowFormat, duplicates: Duplicates, number: usize) -> Self {
        let target = sql::table(&table.target);
        let names = sql::names(table.target_columns.iter().map(String::as_str));
        let copy = |into: &str| match format {
            RowFormat::PgBinary => format!("COPY {into} ({names}) FROM STDIN (FORMAT binary)"),
            RowFormat::PgText | RowFormat::MysqlText | RowFormat::Bson => {
                format!("COPY {into} ({names}) FROM STDIN (FORMAT text)")
            }
        };
        let temporary = format!("pg_temp.{}", sql::name(&format!("dt_rows_{number}")));
        let insert = format!("INSERT INTO {target} ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM {temporary}");
        let indexes = found.indexes(&table.target);
        let is_partitioned = found.relation(&table.target).is_some_and(|relation| relation.kind == 'p');
        let written = |index: &&Index| {
            let columns = index.columns.iter().map(|column| column.name.as_ref());
            !index.partial
                && columns.into_iter().all(|name| name.is_some_and(|name| table.target_columns.contains(name)))
        };
        let (deletes, insert, insert_counts_updates) = match duplicates {
            Duplicates::Refuse => return WritePlan { copy: copy(&target), merge: None },
            Duplicates::Leave => (Vec::new(), format!("{insert} ON CONFLICT DO NOTHING"), false),
            Duplicates::Replace => {
                let from = if is_partitioned { target.clone() } else { format!("ONLY {target}") };
                let delete =
                    |index: &Index| format!("DELETE FROM {from} AS t USING {temporary} AS r WHERE {}", same_key(index));
                (indexes.iter().filter(written).map(delete).collect(), insert, false)
            }
            Duplicates::Update => match arbiter(indexes, written) {
                // Without a key that could meet another row, there is nothing to update.
                None => (Vec::new(), insert, false),
                Some(index) => {
                    let key: Vec<&str> = index.columns.iter().filter_map(|column| column.name.as_deref()).collect();
                    let columns = found.columns(&table.target);
                    let is_set = |name: &&str| !key.contains(name) && !is_identity_always(columns, name);
                    let names = table.target_columns.iter().map(String::as_str).filter(is_set);
                    let sets: Vec<String> = names.map(|name| format!("{0} = EXCLUDED.{0}", sql::name(name))).collect();
                    let action = match sets.is_empty() {
                        true => "DO NOTHING".to_owned(),
                        false => format!("DO UPDATE SET {}", sets.join(", ")),
                    };
                    let key = sql::names(key);
                    // Both parts see the table as it was before.
                    let insert = format!(
                        "WITH w AS ({insert} ON CONFLICT ({key}) {action}) SELECT count(*) FROM {temporary} AS r \
                         WHERE EXISTS (SELECT FROM {target} AS t WHERE {})",
                        same_key(index)
                    );
                    (Vec::new(), insert, true)
                }
            },
        };
        let prepare = format!(
            "CREATE TEMPORARY TABLE IF NOT EXISTS {temporary} ON COMMIT DELETE ROWS AS \
             SELECT {names} FROM {target} WITH NO DATA; \
             SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
        );
        let clear = format!("TRUNCATE {temporary}");
        let merge = Merge { prepare, copy: copy(&temporary), deletes, insert, clear, insert_counts_updates };
        WritePlan { copy: copy(&target), merge: Some(merge) }
    }
}

/// Whether the row `t` of the table and the new row `r` have the same key.
fn same_key(index: &Index) -> String {
    let columns = index.columns.iter().map(|column| {
        let name = sql::name(column.name.as_deref().unwrap_or_default());
        let equal = match column.operators.equal.strip_prefix("pg_catalog.") {
            Some(plain) => format!("t.{name} {plain} r.{name}"),
            None => format!("t.{name} OPERATOR({}) r.{name}", column.operators.equal),
        };
        match index.nulls_not_distinct {
            true => format!("({equal} OR (t.{name} IS NULL AND r.{name} IS NULL))"),
            false => equal,
        }
    });
    columns.collect::<Vec<String>>().join(" AND ")
}

/// The index by which a row is known again: the primary key first.
fn arbiter<'a>(indexes: &'a [Index], written: impl Fn(&&'a Index) -> bool) -> Option<&'a Index> {
    let usable = indexes.iter().filter(|index| index.usable).filter(written);
    usable.min_by_key(|index| (!index.primary, index.columns.len()))
}

fn is_identity_always(columns: &[CatalogColumn], name: &str) -> bool {
    columns.iter().any(|column| column.column.name == name && column.identity_always)
}

#[cfg(test)]
mod tests {
    use dt_common::TableId;
    use dt_common::schema::{Column, TableSchema};

    use super::*;
    use crate::catalog::Operators;
    use crate::catalog::read::IndexColumn;

    fn index(name: &str, columns: &[&str], schema: &str) -> Index {
        let column = |name: &&str| IndexColumn {
            name: Some((*name).into()),
            natural: true,
            operators: Operators { equal: format!("{schema}.="), ..Operators::default() },
        };
        Index {
            name: name.into(),
            primary: name == "pk",
            usable: true,
            partial: false,
            nulls_not_distinct: false,
            columns: columns.iter().map(column).collect(),
        }
    }

    fn plan(duplicates: Duplicates, indexes: Vec<Index>, format: RowFormat) -> WritePlan {
        let column = |name: &str| Column {
            name: name.into(),
            data_type: "integer".into(),
            nullable: false,
            charset: None,
            collation: None,
            binary_form: None,
        };
        let table = RoutedTable {
            source: TableSchema {
                id: TableId::new("s", "t"),
                columns: vec![column("a"), column("b")],
                key: None,
                rows_estimate: 0,
            },
            target: TableId::new("x", "t"),
            target_columns: vec!["a".into(), "c".into()],
        };
        WritePlan::new(&table, &Found::of_indexes(table.target.clone(), indexes), format, duplicates, 7)
    }

    #[test]
    fn rows_go_straight_into_the_named_columns() {
        let binary = plan(Duplicates::Refuse, Vec::new(), RowFormat::PgBinary);
        assert_eq!(binary.copy, r#"COPY "x"."t" ("a", "c") FROM STDIN (FORMAT binary)"#);
        assert!(binary.merge.is_none());
        assert!(plan(Duplicates::Leave, Vec::new(), RowFormat::PgText).copy.ends_with("(FORMAT text)"));
    }

    #[test]
    fn a_replacing_row_takes_the_place_of_all_that_hold_one_of_its_keys() {
        let mut nulls = index("n", &["c"], "pg_catalog");
        nulls.nulls_not_distinct = true;
        let partial = Index { partial: true, ..index("p", &["c"], "pg_catalog") };
        let elsewhere = index("e", &["not_written"], "pg_catalog");
        let indexes = vec![index("pk", &["a"], "ext"), nulls, partial, elsewhere];
        let merge = plan(Duplicates::Replace, indexes, RowFormat::PgBinary).merge.expect("a merge");
        assert_eq!(
            merge.deletes,
            [
                r#"DELETE FROM ONLY "x"."t" AS t USING pg_temp."dt_rows_7" AS r WHERE t."a" OPERATOR(ext.=) r."a""#,
                r#"DELETE FROM ONLY "x"."t" AS t USING pg_temp."dt_rows_7" AS r WHERE (t."c" = r."c" OR (t."c" IS NULL AND r."c" IS NULL))"#,
            ]
        );
        assert_eq!(
            merge.insert,
            r#"INSERT INTO "x"."t" ("a", "c") OVERRIDING SYSTEM VALUE SELECT "a", "c" FROM pg_temp."dt_rows_7""#
        );
    }

    #[test]
    fn where_foreign_keys_are_checked_a_row_is_updated_by_its_primary_key() {
        let indexes = vec![index("u", &["c"], "pg_catalog"), index("pk", &["a"], "pg_catalog")];
        let merge = plan(Duplicates::Update, indexes, RowFormat::PgText).merge.expect("a merge");
        assert!(merge.deletes.is_empty() && merge.insert_counts_updates);
        assert!(merge.insert.contains(r#"ON CONFLICT ("a") DO UPDATE SET "c" = EXCLUDED."c")"#), "{}", merge.insert);
    }

    #[test]
    fn a_row_that_is_left_out_hides_no_other_error() {
        let merge = plan(Duplicates::Leave, Vec::new(), RowFormat::PgText).merge.expect("a merge");
        assert!(merge.insert.ends_with("ON CONFLICT DO NOTHING") && merge.deletes.is_empty());
    }
}
