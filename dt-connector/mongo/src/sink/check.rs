//! The comparison with the target, before the first document. A collection that is missing there is made by the first
//! write, as always with MongoDB.

use std::collections::BTreeMap;
use std::sync::Arc;

use bson::Document;
use dt_common::schema::RoutedTable;
use dt_common::{Error, Result};

use crate::catalog::{self, Listed};
use crate::connect::Server;
use crate::value::ID;

/// What a database of the target lists.
type Found = BTreeMap<String, (Listed, Document)>;

/// Everything that does not fit is listed in one error.
pub async fn compare(server: &Server, tables: &[Arc<RoutedTable>]) -> Result<()> {
    let mut databases: BTreeMap<&str, Found> = BTreeMap::new();
    for table in tables {
        let name = table.target.schema.as_str();
        if !databases.contains_key(name) {
            databases.insert(name, catalog::listed(server, name).await?);
        }
    }
    let misfits: Vec<String> =
        tables.iter().filter_map(|table| misfit(table, databases.get(table.target.schema.as_str())?)).collect();
    if misfits.is_empty() {
        return Ok(());
    }
    let lines: String = misfits.iter().map(|misfit| format!("\n    - {misfit}")).collect();
    Err(Error::user(format!("the target does not fit ({} collections):{lines}", misfits.len()))
        .hint("drop or rename what stands in the way on the target, or give the collections other names with [router]"))
}

/// Why a collection cannot be written to (pure).
fn misfit(table: &RoutedTable, found: &Found) -> Option<String> {
    let target = &table.target;
    if matches!(target.schema.as_str(), "admin" | "config" | "local") || target.table.starts_with("system.") {
        return Some(format!("{target} belongs to the server"));
    }
    if table.target_columns.iter().any(|column| column != ID) {
        return Some(format!(
            "{target} is to get another name for `_id` ([router] col_map): documents are copied whole"
        ));
    }
    let (kind, options) = found.get(&target.table)?;
    match kind {
        Listed::View => Some(format!("{target} is a view, not a collection")),
        Listed::TimeSeries => Some(format!("{target} is a time-series collection")),
        Listed::Collection => {
            let source = table.source.columns.first().and_then(|id| id.collation.clone());
            let here = catalog::collation(options);
            // Two keys of the source could be one there.
            (here.is_some() && here != source)
                .then(|| format!("{target} has a collation that the source's collection does not have"))
        }
    }
}

#[cfg(test)]
mod tests {
    use bson::doc;
    use dt_common::TableId;

    use super::*;

    fn table(target: &str, collation: Option<&str>) -> RoutedTable {
        RoutedTable {
            source: catalog::schema(TableId::new("d", "s"), collation.map(str::to_owned), 0),
            target: TableId::new("d", target),
            target_columns: vec!["_id".into()],
        }
    }

    #[test]
    fn only_a_collection_that_tells_the_same_keys_apart_is_written_to() {
        let strength = doc! {"locale": "en", "strength": 2};
        let found: Found = [
            ("plain", Listed::Collection, doc! {}),
            ("folding", Listed::Collection, doc! {"collation": strength.clone()}),
            ("view", Listed::View, doc! {}),
            ("series", Listed::TimeSeries, doc! {}),
        ]
        .map(|(name, kind, options)| (name.to_owned(), (kind, options)))
        .into();
        assert_eq!(misfit(&table("new", None), &found), None);
        assert_eq!(misfit(&table("plain", None), &found), None);
        assert_eq!(misfit(&table("plain", Some("{}")), &found), None);
        assert_eq!(misfit(&table("folding", Some(&strength.to_string())), &found), None);
        for name in ["folding", "view", "series", "system.users"] {
            assert!(misfit(&table(name, None), &found).is_some(), "{name}");
        }
        let mut renamed = table("new", None);
        renamed.target_columns = vec!["id".into()];
        assert!(misfit(&renamed, &found).is_some());
    }
}
