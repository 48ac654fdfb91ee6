//! How changes are spread over lanes: by `_id`, where nothing else makes documents depend on each other.

use std::sync::Arc;

use async_trait::async_trait;
use bson::{Document, doc};
use dt_common::Result;
use dt_common::schema::RoutedTable;
use dt_connector::{Rule, Spreader};
use futures_util::TryStreamExt;

use super::changes::has_unique_index;
use super::write::Shared;
use crate::alive::while_alive;
use crate::error::classify;

/// Asks the target.
pub(super) struct MongoSpreader(pub(super) Arc<Shared>);

#[async_trait]
impl Spreader for MongoSpreader {
    async fn rule(&mut self, table: &Arc<RoutedTable>) -> Result<Rule> {
        let MongoSpreader(shared) = self;
        let target = &table.target;
        let listing = async {
            let database = shared.server.client().database(&target.schema);
            let asked = doc! {"listCollections": 1, "filter": {"name": &target.table}};
            database.run_cursor_command(asked).await?.try_collect::<Vec<Document>>().await
        };
        let listed = while_alive(&shared.server, listing).await?;
        let listed = listed.map_err(|error| classify(format!("looking at {target}"), &error))?;
        let options = listed.first().and_then(|found| found.get_document("options").ok());
        let depend = options.is_some_and(depend) || has_unique_index(shared, target).await?;
        // A collection is one column.
        Ok(if depend { Rule::Whole } else { Rule::ByKey(vec![0]) })
    }
}

/// Whether the order of documents is kept, or `_id`s are equal that are written down in two ways (pure).
fn depend(options: &Document) -> bool {
    options.get_bool("capped").unwrap_or(false) || options.contains_key("collation")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_with_an_order_or_a_collation_is_in_one_lane() {
        assert!(depend(&doc! {"capped": true, "size": 4096}));
        assert!(depend(&doc! {"collation": {"locale": "en", "strength": 2}}));
        assert!(!depend(&doc! {"validator": {}}));
    }
}
