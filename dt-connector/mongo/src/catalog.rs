//! What a server knows of its collections.
//!
//! Every collection is read by `_id`, which the server keeps an index of and lets be there once only. To the rest of dt a
//! collection is a table of one column, `_id`: documents travel whole, and no other field is anyone's business.

use std::collections::BTreeMap;

use bson::{Document, RawDocumentBuf, doc};
use dt_common::schema::{Column, Key, TableSchema};
use dt_common::{Error, Result, TableId};
use dt_connector::Held;
use dt_connector::filter::Filter;
use futures_util::{StreamExt, TryStreamExt};

use crate::connect::Server;
use crate::error::classify;
use crate::value::ID;

/// What something that is listed among the collections is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// A collection.
    Collection,
    /// A view: a query, without documents of its own.
    View,
    /// A time-series collection: buckets of another layout, shown as documents.
    TimeSeries,
}

/// A collection of the source with what reading it needs.
#[derive(Clone, Debug)]
pub struct Collection {
    /// What is copied.
    pub schema: TableSchema,
    /// The bytes of a document on average, as far as the server knows.
    pub document_bytes: Option<u64>,
}

/// How many servers' questions are under way at once.
const ASKED_AT_ONCE: usize = 8;

/// The names of the databases that the account may see.
pub async fn databases(server: &Server) -> Result<Vec<String>> {
    let asking = server.client().list_database_names().authorized_databases(true).await;
    let mut names = asking.map_err(|error| classify(format!("listing the databases of {server}"), &error))?;
    names.sort_unstable();
    Ok(names)
}

/// Whether collections hold documents: by their first one.
pub async fn holds_documents(server: &Server, collections: &[TableId]) -> Result<Vec<Held>> {
    let mut databases: BTreeMap<&str, BTreeMap<String, (Listed, Document)>> = BTreeMap::new();
    let mut held = Vec::with_capacity(collections.len());
    for id in collections {
        if !databases.contains_key(id.schema.as_str()) {
            databases.insert(&id.schema, listed(server, &id.schema).await?);
        }
        let is_there = databases.get(id.schema.as_str()).is_some_and(|found| found.contains_key(&id.table));
        let documents = server.client().database(&id.schema).collection::<RawDocumentBuf>(&id.table);
        held.push(match is_there {
            false => Held::Missing,
            true => match documents.find_one(doc! {}).projection(doc! {"_id": 1}).await {
                Ok(Some(_)) => Held::Rows,
                Ok(None) => Held::Nothing,
                Err(error) => return Err(classify(format!("looking for a document of {id}"), &error)),
            },
        });
    }
    Ok(held)
}

/// What a database lists, by name, with its options; without the server's own (`system.…`).
pub async fn listed(server: &Server, database: &str) -> Result<BTreeMap<String, (Listed, Document)>> {
    let doing = format!("listing the collections of `{database}` at {}", server.address().place());
    let database = server.client().database(database);
    let cursor = database.run_cursor_command(doc! {"listCollections": 1, "cursor": {}}).await;
    let cursor = cursor.map_err(|error| classify(doing.as_str(), &error))?;
    let found: Vec<Document> = cursor.try_collect().await.map_err(|error| classify(doing, &error))?;
    let found = found.into_iter().filter_map(|mut entry| {
        let name = entry.get_str("name").ok()?.to_owned();
        let kind = match entry.get_str("type") {
            Ok("view") => Listed::View,
            Ok("timeseries") => Listed::TimeSeries,
            Ok(_) | Err(_) => Listed::Collection,
        };
        let options = match entry.remove("options") {
            Some(bson::Bson::Document(options)) => options,
            Some(_) | None => Document::new(),
        };
        (!name.starts_with("system.")).then_some((name, (kind, options)))
    });
    Ok(found.collect())
}

/// The collections that pass the filter, ordered by database, then name. A view that passes is named in the log; a
/// time-series collection is refused.
pub async fn collections(server: &Server, filter: &Filter) -> Result<Vec<Collection>> {
    let mut found = BTreeMap::new();
    let mut refused = Vec::new();
    for database in databases(server).await?.into_iter().filter(|name| filter.may_pass_schema(name)) {
        for (name, (kind, options)) in listed(server, &database).await? {
            let id = TableId::new(&database, name);
            if !filter.passes(&id) {
                continue;
            }
            match kind {
                Listed::Collection => drop(found.insert(id, options)),
                Listed::View => tracing::info!("{id} passes the filter but is a view: it is left out"),
                Listed::TimeSeries => refused.push(id.to_string()),
            }
        }
    }
    if !refused.is_empty() {
        return Err(Error::user(format!("time-series collections cannot be copied: {}", refused.join(", ")))
            .hint("leave them out with [filter] ignore_tbs"));
    }
    for (id, options) in &found {
        refuse_what_is_for_columns(filter, id)?;
        let lost = options_that_are_not_copied(options);
        if !lost.is_empty() {
            tracing::warn!(
                "{id} has options that are not copied ({}): make the collection on the target first if they are to be there",
                lost.join(", ")
            );
        }
    }
    let asked = found.into_iter().map(|(id, options)| async move {
        let (rows_estimate, document_bytes) = statistics(server, &id).await;
        Collection { schema: schema(id, collation(&options), rows_estimate), document_bytes }
    });
    Ok(futures_util::stream::iter(asked).buffered(ASKED_AT_ONCE).collect().await)
}

/// Refuses what passes the filter and cannot be followed, as far as it is there already and the account may list it.
pub async fn check_followed(server: &Server, filter: &Filter) -> Result<()> {
    let mut refused = Vec::new();
    for database in databases(server).await?.into_iter().filter(|name| filter.may_pass_schema(name)) {
        for (name, (kind, _)) in listed(server, &database).await? {
            let id = TableId::new(&database, name);
            if !filter.passes(&id) {
                continue;
            }
            match kind {
                Listed::Collection => refuse_what_is_for_columns(filter, &id)?,
                Listed::View => {}
                Listed::TimeSeries => refused.push(id.to_string()),
            }
        }
    }
    match refused.is_empty() {
        true => Ok(()),
        false => Err(Error::user(format!("time-series collections cannot be followed: {}", refused.join(", ")))
            .hint("leave them out with [filter] ignore_tbs")),
    }
}

/// A collection as a table of one column.
pub fn schema(id: TableId, collation: Option<String>, rows_estimate: u64) -> TableSchema {
    let column = Column {
        name: ID.to_owned(),
        data_type: "bson".to_owned(),
        nullable: false,
        charset: None,
        collation,
        binary_form: Some("bson".to_owned()),
    };
    let key = Key { name: "_id_".to_owned(), columns: vec![0], nullable: false };
    TableSchema { id, columns: vec![column], key: Some(key), rows_estimate }
}

/// The collation by which a collection's `_id` is unique and ordered; `None` for the comparison of bytes.
pub fn collation(options: &Document) -> Option<String> {
    options.get_document("collation").ok().map(ToString::to_string)
}

/// Documents are copied whole.
pub fn refuse_what_is_for_columns(filter: &Filter, id: &TableId) -> Result<()> {
    if !filter.ignored_columns(id).is_empty() {
        return Err(Error::config("[filter] ignore_cols is not available for MongoDB: documents are copied whole")
            .with("collection", id)
            .hint("take the entry out"));
    }
    if filter.condition(id).is_some() {
        return Err(Error::config(
            "[filter] where_conditions is not available for MongoDB: collections are copied whole",
        )
        .with("collection", id)
        .hint("take the entry out"));
    }
    Ok(())
}

fn options_that_are_not_copied(options: &Document) -> Vec<&'static str> {
    let meant = [
        "capped",
        "collation",
        "validator",
        "clusteredIndex",
        "expireAfterSeconds",
        "encryptedFields",
        "changeStreamPreAndPostImages",
    ];
    meant.into_iter().filter(|name| !matches!(options.get(name), None | Some(bson::Bson::Boolean(false)))).collect()
}

/// How many documents there are and how large they are on average, for progress bars and pages only: whatever stands
/// against the question, the copy itself will meet (MongoDB documentation, `$collStats`).
async fn statistics(server: &Server, id: &TableId) -> (u64, Option<u64>) {
    let collection = server.client().database(&id.schema).collection::<Document>(&id.table);
    let pipeline = [
        doc! {"$collStats": {"storageStats": {}}},
        doc! {"$project": {"count": "$storageStats.count", "bytes": "$storageStats.avgObjSize"}},
    ];
    let Ok(mut answers) = collection.aggregate(pipeline).await else { return (0, None) };
    let (mut count, mut largest) = (0, None);
    // One answer for each shard.
    while let Ok(Some(answer)) = answers.try_next().await {
        let number = |name: &str| match answer.get(name) {
            Some(bson::Bson::Int32(number)) => u64::try_from(*number).ok(),
            Some(bson::Bson::Int64(number)) => u64::try_from(*number).ok(),
            Some(bson::Bson::Double(number)) => Some(*number as u64),
            Some(_) | None => None,
        };
        count += number("count").unwrap_or(0);
        largest = largest.max(number("bytes"));
    }
    (count, largest.filter(|&bytes| bytes > 0))
}
