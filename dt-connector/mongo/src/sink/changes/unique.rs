//! Whether documents of a collection depend on each other by more than their `_id`.

use bson::{Document, doc};
use dt_common::{Result, TableId};
use futures_util::TryStreamExt;
use mongodb::error::Error as DriverFailure;

use super::super::write::Shared;
use crate::alive::while_alive;
use crate::catalog;
use crate::error::{classify, code};
use crate::value::ID;

/// MongoDB documentation, Error Codes: `NamespaceNotFound`.
const NAMESPACE_NOT_FOUND: i32 = 26;

/// Whether a collection has unique indexes besides that of `_id`. Asked once; a refused document tells it as well.
pub(in crate::sink) async fn has_unique_index(shared: &Shared, target: &TableId) -> Result<bool> {
    if let Some(known) = shared.unique(|unique| unique.get(target).copied()) {
        return Ok(known);
    }
    let asking = async {
        let listing = shared.server.client().database(&target.schema);
        let listing = listing.run_cursor_command(doc! {"listIndexes": &target.table});
        match listing.await {
            Ok(cursor) => cursor.try_collect().await,
            // It is not there yet, and will have none.
            Err(error) if code(&error) == Some(NAMESPACE_NOT_FOUND) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    };
    let failed = |error: DriverFailure| classify(format!("listing the indexes of {target}"), &error);
    let indexes: Vec<Document> = while_alive(&shared.server, asking).await?.map_err(failed)?;
    let mut found = indexes.iter().any(is_unique);
    if found {
        // No transaction writes to a capped collection (MongoDB documentation, Production Considerations).
        let listed = while_alive(&shared.server, catalog::listed(&shared.server, &target.schema)).await??;
        let options = listed.get(&target.table).map(|(_, options)| options);
        found = !options.is_some_and(|options| options.get_bool("capped").unwrap_or(false));
    }
    shared.unique(|unique| unique.insert(target.clone(), found));
    Ok(found)
}

/// The index of `_id` does not say that it is unique, but that of a clustered collection does (MongoDB documentation,
/// Clustered Collections).
fn is_unique(index: &Document) -> bool {
    let is_of_id = index.get_document("key").is_ok_and(|key| key.keys().eq([ID]));
    index.get_bool("unique").unwrap_or(false) && !is_of_id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_index_of_other_fields_makes_documents_depend_on_each_other() {
        assert!(!is_unique(&doc! {"key": {"_id": 1}, "name": "_id_"}));
        assert!(!is_unique(&doc! {"key": {"_id": 1}, "unique": true, "clustered": true}));
        assert!(!is_unique(&doc! {"key": {"a": 1}, "name": "a_1"}));
        assert!(is_unique(&doc! {"key": {"a": 1}, "unique": true}));
        assert!(is_unique(&doc! {"key": {"_id": 1, "a": 1}, "unique": true}));
    }
}
