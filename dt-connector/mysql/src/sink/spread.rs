//! How changes are spread over lanes: by a table's key where no two rows that the target takes for equal could be written
//! down in two ways.

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::schema::{Column, RoutedTable};
use dt_common::{Error, Result};
use dt_connector::{Rule, Spreader};
use mysql_async::Conn;

use super::changes::plans::within;
use crate::alive::while_alive;
use crate::catalog::key::Index;
use crate::catalog::{self, CatalogColumn};
use crate::config::Address;
use crate::connect::{self, Server, Session};
use crate::value::{Kind, kind};

/// Asks the target.
pub struct MysqlSpreader {
    address: Address,
    server: Server,
    session: Session,
    // Kept only while all goes well.
    conn: Option<Conn>,
}

impl MysqlSpreader {
    /// Connects when it is first asked.
    pub fn new(address: Address, server: Server, session: Session) -> Self {
        MysqlSpreader { address, server, session, conn: None }
    }
}

#[async_trait]
impl Spreader for MysqlSpreader {
    async fn rule(&mut self, table: &Arc<RoutedTable>) -> Result<Rule> {
        let mut conn = match self.conn.take() {
            Some(conn) => conn,
            None => connect::connect(&self.address, self.server.flavor, &self.session).await?,
        };
        let within = within(std::slice::from_ref(table));
        let id = conn.id();
        let asking = async {
            let columns = catalog::columns(&mut conn, &within).await?;
            Ok::<_, Error>((columns, catalog::unique_indexes(&mut conn, self.server.flavor, &within).await?))
        };
        let (columns, indexes) = while_alive(&self.address, id, asking).await?;
        self.conn = Some(conn);
        let columns = columns.get(&table.target).map_or(&[][..], Vec::as_slice);
        let indexes = indexes.get(&table.target).map_or(&[][..], Vec::as_slice);
        Ok(rule(table, columns, indexes))
    }
}

/// The rule (pure). A table that the target does not have is missed when its changes are applied.
fn rule(table: &RoutedTable, columns: &[CatalogColumn], indexes: &[Index]) -> Rule {
    let Some(key) = &table.source.key else { return Rule::Whole };
    let names: Vec<&str> = key.columns.iter().map(|&at| table.target_columns[at].as_str()).collect();
    let is_named = |name: &String| names.iter().any(|other| other.eq_ignore_ascii_case(name));
    let is_the_key =
        |index: &Index| index.whole && index.columns.len() == names.len() && index.columns.iter().all(is_named);
    let is_told_apart = |&at: &usize| {
        let on_target =
            columns.iter().find(|column| column.column.name.eq_ignore_ascii_case(&table.target_columns[at]));
        on_target.is_some_and(|on_target| is_written_in_one_way(&table.source.columns[at], &on_target.column))
    };
    match !indexes.is_empty() && indexes.iter().all(is_the_key) && key.columns.iter().all(is_told_apart) {
        true => Rule::ByKey(key.columns.clone()),
        false => Rule::Whole,
    }
}

/// Whether two values are equal to both servers only if their texts are: not so where a collation decides, or where a
/// number has several texts.
fn is_written_in_one_way(source: &Column, target: &Column) -> bool {
    let word = |column: &Column| column.data_type.split(['(', ' ']).next().unwrap_or_default().to_owned();
    match (kind(&source.data_type), kind(&target.data_type)) {
        (Some(Kind::Integer), Some(Kind::Integer)) | (Some(Kind::Bit), Some(Kind::Bit)) => true,
        (Some(Kind::Year), Some(Kind::Year)) => true,
        (Some(Kind::Temporal), Some(Kind::Temporal)) => word(source) == word(target),
        // A BINARY is filled up with zeros, and a VARBINARY is not.
        (Some(Kind::Binary), Some(Kind::Binary)) => {
            word(source) == word(target) && ["binary", "varbinary"].contains(&word(source).as_str())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use dt_common::TableId;
    use dt_common::schema::{Key, TableSchema};

    use super::*;

    fn column(name: &str, data_type: &str) -> Column {
        Column {
            name: name.into(),
            data_type: data_type.into(),
            nullable: false,
            charset: None,
            collation: None,
            binary_form: None,
        }
    }

    fn ruled(types: &[&str], key: &[usize], target: &[&str], unique: &[(&[&str], bool)]) -> Rule {
        let names = ["a", "b", "c"];
        let columns: Vec<Column> = types.iter().zip(names).map(|(of, name)| column(name, of)).collect();
        let key = Key { name: "PRIMARY".into(), columns: key.to_vec(), nullable: false };
        let id = TableId::new("d", "t");
        let table = RoutedTable {
            source: TableSchema {
                id: id.clone(),
                columns,
                key: Some(key).filter(|key| !key.columns.is_empty()),
                rows_estimate: 0,
            },
            target: id,
            target_columns: names[..types.len()].iter().map(|&name| name.to_owned()).collect(),
        };
        let columns = target.iter().zip(["A", "b", "c"]).map(|(of, name)| CatalogColumn {
            column: column(name, of),
            generated: false,
            optional: true,
        });
        let indexes = unique.iter().map(|(columns, whole)| Index {
            name: "i".into(),
            columns: columns.iter().map(|&name| name.to_owned()).collect(),
            whole: *whole,
            ordered: true,
        });
        rule(&table, &columns.collect::<Vec<_>>(), &indexes.collect::<Vec<_>>())
    }

    #[test]
    fn a_table_is_spread_by_the_one_key_that_both_servers_have() {
        let by = |places: &[usize]| Rule::ByKey(places.to_vec());
        let int = &["int", "int"];
        assert_eq!(ruled(int, &[0], int, &[(&["a"], true)]), by(&[0]));
        assert_eq!(ruled(int, &[1, 0], int, &[(&["A", "b"], true)]), by(&[1, 0]));
        assert_eq!(ruled(int, &[0], int, &[(&["a"], true), (&["a"], true)]), by(&[0]));
        for unique in [
            &[][..],
            &[(&["a"][..], true), (&["b"][..], true)],
            &[(&["a", "b"], true)],
            &[(&["b"], true)],
            // A prefix or an expression tells fewer rows apart than its columns do.
            &[(&["a"], false)],
            &[(&["a"], true), (&[], false)],
        ] {
            assert_eq!(ruled(int, &[0], int, unique), Rule::Whole, "{unique:?}");
        }
        assert_eq!(ruled(int, &[], int, &[(&["a"], true)]), Rule::Whole);
    }

    #[test]
    fn a_key_whose_values_have_several_texts_is_in_one_lane() {
        for (from, to, is_spread) in [
            ("bigint unsigned", "bigint", true),
            ("bit(8)", "bit(8)", true),
            ("year(4)", "year", true),
            ("datetime(6)", "datetime(6)", true),
            ("varbinary(16)", "varbinary(20)", true),
            ("varbinary(16)", "binary(16)", false),
            ("timestamp", "datetime", false),
            ("blob", "blob", false),
            ("varchar(9)", "varchar(9)", false),
            ("decimal(10,2)", "decimal(10,2)", false),
            ("double", "double", false),
            ("enum('a')", "enum('a')", false),
        ] {
            let rule = ruled(&[from], &[0], &[to], &[(&["a"], true)]);
            assert_eq!(rule != Rule::Whole, is_spread, "{from} → {to}");
        }
    }
}
