//! How changes are spread over lanes: by a table's key where no two rows that the target takes for equal could be written
//! down in two ways.

use std::sync::Arc;

use async_trait::async_trait;
use dt_common::Result;
use dt_common::schema::{Column, RoutedTable};
use dt_connector::{Rule, Spreader};

use crate::catalog::types::Types;
use crate::catalog::{CatalogColumn, Index, read};
use crate::config::Address;
use crate::connect::{self, Conn, Server, Session, text};
use crate::sql;

/// Asks the target.
pub struct PgSpreader {
    address: Address,
    server: Server,
    session: Session,
    // Kept only while all goes well.
    conn: Option<Conn>,
}

impl PgSpreader {
    /// Goes on with a connection.
    pub fn new(address: Address, server: Server, session: Session, conn: Conn) -> Self {
        PgSpreader { address, server, session, conn: Some(conn) }
    }
}

#[async_trait]
impl Spreader for PgSpreader {
    async fn rule(&mut self, table: &Arc<RoutedTable>) -> Result<Rule> {
        let (schema, name) = (sql::string(&table.target.schema), sql::string(&table.target.table));
        let within = format!("n.nspname = {schema} AND c.relname = {name}");
        let (kept, server) = (self.conn.take(), &self.server);
        let questions = async |conn: &Conn| {
            let types = Types::read(conn, server).await?;
            let columns = read::columns(conn, server, &types, &within).await?;
            let indexes = read::indexes(conn, server, &within).await?;
            Ok((columns, indexes, is_plain(conn, &within).await?))
        };
        let (answers, conn) = connect::asking(kept, &self.address, server, &self.session, questions).await?;
        let (columns, indexes, is_plain) = answers;
        self.conn = Some(conn);
        let columns = columns.get(&table.target).map_or(&[][..], Vec::as_slice);
        let indexes = indexes.get(&table.target).map_or(&[][..], Vec::as_slice);
        Ok(if is_plain { rule(table, columns, indexes) } else { Rule::Whole })
    }
}

/// Whether nothing but unique indexes of the table itself makes its rows meet: no exclusion constraint, and no partitions,
/// which may have indexes of their own (PostgreSQL documentation, 51.26 pg_index).
async fn is_plain(conn: &Conn, within: &str) -> Result<bool> {
    let statement = format!(
        "SELECT c.relkind = 'r' AND NOT EXISTS (SELECT FROM pg_index x WHERE x.indrelid = c.oid AND x.indisexclusion) \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE {within}"
    );
    let rows = conn.rows(&statement, "reading the catalog's indexes").await?;
    Ok(rows.first().is_some_and(|row| text(row, 0) == "t"))
}

/// The rule (pure). A table that the target does not have is missed when its changes are applied.
fn rule(table: &RoutedTable, columns: &[CatalogColumn], indexes: &[Index]) -> Rule {
    let Some(key) = &table.source.key else { return Rule::Whole };
    let names: Vec<&str> = key.columns.iter().map(|&at| table.target_columns[at].as_str()).collect();
    let is_the_key = |index: &Index| {
        index.usable
            && index.columns.len() == names.len()
            && index.columns.iter().all(|column| column.name.as_deref().is_some_and(|name| names.contains(&name)))
    };
    let is_told_apart = |&at: &usize| {
        let on_target = columns.iter().find(|column| column.column.name == table.target_columns[at]);
        on_target.is_some_and(|on_target| {
            is_written_in_one_way(&table.source.columns[at], &on_target.column, on_target.deterministic)
        })
    };
    match !indexes.is_empty() && indexes.iter().all(is_the_key) && key.columns.iter().all(is_told_apart) {
        true => Rule::ByKey(key.columns.clone()),
        false => Rule::Whole,
    }
}

/// Whether two values are equal to the target only if their texts are: not so where a collation decides, where a number has
/// several texts, or where blanks are filled in.
fn is_written_in_one_way(source: &Column, target: &Column, deterministic: bool) -> bool {
    const INTEGERS: &[&str] = &["smallint", "integer", "bigint"];
    const OTHERS: &[&str] =
        &["oid", "uuid", "bytea", "boolean", "date", "timestamp without time zone", "timestamp with time zone"];
    const TEXTS: &[&str] = &["text", "character varying"];
    let (from, to) = (bare(&source.data_type), bare(&target.data_type));
    let is_in = |of: &[&str]| of.contains(&from.as_str()) && of.contains(&to.as_str());
    is_in(INTEGERS) || (from == to && is_in(OTHERS)) || (deterministic && is_in(TEXTS))
}

/// A type without its modifiers.
fn bare(data_type: &str) -> String {
    match data_type.split_once('(') {
        Some((head, rest)) => format!("{head}{}", rest.split_once(')').map_or("", |(_, tail)| tail)),
        None => data_type.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(data_type: &str) -> Column {
        Column {
            name: "k".into(),
            data_type: data_type.into(),
            nullable: false,
            charset: None,
            collation: None,
            binary_form: None,
        }
    }

    #[test]
    fn a_key_whose_values_have_several_texts_is_in_one_lane() {
        for (from, to, deterministic, is_spread) in [
            ("integer", "bigint", true, true),
            ("uuid", "uuid", true, true),
            ("timestamp(3) with time zone", "timestamp with time zone", true, true),
            ("timestamp without time zone", "timestamp with time zone", true, false),
            ("character varying(20)", "text", true, true),
            ("text", "text", false, false),
            ("text", "uuid", true, false),
            ("character(4)", "character(4)", true, false),
            ("numeric(10,2)", "numeric(10,2)", true, false),
            ("double precision", "double precision", true, false),
            ("integer[]", "integer[]", true, false),
            ("public.citext", "public.citext", true, false),
        ] {
            let spread = is_written_in_one_way(&column(from), &column(to), deterministic);
            assert_eq!(spread, is_spread, "{from} → {to}");
        }
    }
}
