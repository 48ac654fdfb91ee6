//! What the tables of the stream are: the stream's own description, which is of the moment of the rows that follow it,
//! completed with what only the source's catalog knows.

use std::sync::Arc;

use dt_common::schema::{Column, Key, TableSchema};
use dt_common::{Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::router::Router;

use super::assemble::FollowedTable;
use super::image::ImagePlan;
use super::moved::Lookup;
use super::pgoutput::{Identity, Relation};
use crate::catalog::{self, Definition};
use crate::connect::{Conn, Server};

/// Finds tables.
#[derive(Debug)]
pub struct Tables {
    filter: Arc<Filter>,
    router: Arc<Router>,
}

impl Tables {
    /// Tables that pass the filter, with the router's names.
    pub fn new(filter: Arc<Filter>, router: Arc<Router>) -> Self {
        Tables { filter, router }
    }

    /// Whether the relation's changes are copied.
    pub fn passes(&self, relation: &Relation) -> bool {
        self.filter.passes(&id_of(relation))
    }

    /// What the relation is; `None` if its changes are not copied.
    ///
    /// # Errors
    /// Those of the connection and of the router.
    pub async fn find(&self, conn: &Conn, server: &Server, relation: &Relation) -> Result<Option<Arc<FollowedTable>>> {
        let id = id_of(relation);
        if !self.filter.passes(&id) {
            return Ok(None);
        }
        let now = catalog::definition(conn, server, &self.filter, &id).await?;
        let types = type_names(conn, relation).await?;
        let schema = describe(relation, &types, now.as_ref(), self.filter.ignored_columns(&id));
        let plan = ImagePlan::new(relation, |name| schema.column(name).is_some());
        let lookup = Lookup::new(relation, &schema, now.as_ref());
        let table = Arc::new(self.router.route(schema)?);
        Ok(Some(Arc::new(FollowedTable { table, plan, lookup })))
    }
}

fn id_of(relation: &Relation) -> TableId {
    TableId::new(&relation.schema, &relation.table)
}

/// The types of the relation's columns as the server writes them.
async fn type_names(conn: &Conn, relation: &Relation) -> Result<Vec<String>> {
    if relation.columns.is_empty() {
        return Ok(Vec::new());
    }
    let columns = relation.columns.iter().enumerate();
    let columns: Vec<String> =
        columns.map(|(at, column)| format!("({at}, {}::oid, {})", column.type_oid, column.type_modifier)).collect();
    let statement = format!(
        "SELECT format_type(c.type, c.modifier) FROM (VALUES {}) c(at, type, modifier) ORDER BY c.at",
        columns.join(", ")
    );
    let rows = conn.rows(&statement, "asking the source for the types of a table").await?;
    Ok(rows.iter().map(|row| row.get(0).unwrap_or_default().to_owned()).collect())
}

/// The relation as a table's schema (pure). Its columns are those of that moment, whatever the catalog has `now`.
fn describe(relation: &Relation, types: &[String], now: Option<&Definition>, ignored: &[String]) -> TableSchema {
    let catalog = |name: &str| now.and_then(|now| now.columns.iter().find(|column| column.column.name == name));
    let is_copied =
        |name: &str| !ignored.iter().any(|ignored| ignored == name) && !catalog(name).is_some_and(|c| c.generated);
    let copied: Vec<usize> = (0..relation.columns.len()).filter(|&at| is_copied(&relation.columns[at].name)).collect();
    let columns: Vec<Column> = copied
        .iter()
        .map(|&at| {
            let described = &relation.columns[at];
            match catalog(&described.name).filter(|known| known.type_oid == described.type_oid) {
                Some(known) => known.column.clone(),
                None => Column {
                    name: described.name.clone(),
                    data_type: types.get(at).cloned().unwrap_or_default(),
                    nullable: true,
                    charset: None,
                    collation: None,
                    binary_form: None,
                },
            }
        })
        .collect();
    let place = |name: &str| columns.iter().position(|column| column.name == name);
    let key = match relation.identity {
        Identity::Default | Identity::Index => {
            let parts: Vec<&str> =
                relation.columns.iter().filter(|column| column.in_key).map(|column| column.name.as_str()).collect();
            let places: Option<Vec<usize>> = parts.iter().map(|name| place(name)).collect();
            places.filter(|places| !places.is_empty()).map(|columns| Key {
                name: "REPLICA IDENTITY".to_owned(),
                columns,
                nullable: false,
            })
        }
        // All columns are sent: a key is what the catalog says is one, if its columns were there at that moment.
        Identity::Full => now.and_then(|now| {
            let key = now.schema.key.as_ref()?;
            let places: Option<Vec<usize>> =
                key.columns.iter().map(|&at| place(&now.schema.columns[at].name)).collect();
            Some(Key { columns: places?, ..key.clone() })
        }),
        Identity::Nothing => None,
    };
    TableSchema { id: id_of(relation), columns, key, rows_estimate: 0 }
}

#[cfg(test)]
mod tests {
    use super::super::pgoutput::RelationColumn;
    use super::*;

    fn relation(identity: Identity) -> Relation {
        let column = |name: &str, in_key| RelationColumn { in_key, name: name.into(), type_oid: 23, type_modifier: -1 };
        Relation {
            oid: 7,
            schema: "s".into(),
            table: "t".into(),
            identity,
            columns: vec![column("a", false), column("id", true), column("b", true)],
        }
    }

    fn types() -> Vec<String> {
        ["text", "integer", "character varying(3)"].map(str::to_owned).to_vec()
    }

    #[test]
    fn the_identity_is_the_key_of_what_is_copied() {
        let schema = describe(&relation(Identity::Default), &types(), None, &["a".to_owned()]);
        let columns: Vec<(&str, &str)> =
            schema.columns.iter().map(|column| (column.name.as_str(), column.data_type.as_str())).collect();
        assert_eq!(columns, [("id", "integer"), ("b", "character varying(3)")]);
        assert_eq!(schema.key_columns(), ["id", "b"]);
    }

    #[test]
    fn a_table_whose_identity_is_not_copied_or_is_everything_has_no_key_of_its_own() {
        assert_eq!(describe(&relation(Identity::Index), &types(), None, &["id".to_owned()]).key, None);
        assert_eq!(describe(&relation(Identity::Full), &types(), None, &[]).key, None);
        assert_eq!(describe(&relation(Identity::Nothing), &types(), None, &[]).key, None);
    }
}
