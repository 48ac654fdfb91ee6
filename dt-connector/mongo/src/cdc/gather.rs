//! Changes into blocks, with the place to resume at. Pure.
//!
//! Every event is such a place, and every entry of the oplog; what lies within one, as the operations of a transaction do in
//! the oplog, is not (invariant 4). A change of a document may be applied twice, so that a transaction need not be.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dt_common::config::Events;
use dt_common::position::Lineage;
use dt_common::schema::RoutedTable;
use dt_common::{Error, LaneId, Result, TableId};
use dt_connector::filter::Filter;
use dt_connector::router::Router;
use dt_connector::{Block, BlockContents, Change, Op, RowFormat};

use super::ddl::{self, Plan, Planned};
use super::place::Place;
use super::row::{Ddl, Row, RowOp};
use crate::catalog;
use crate::raw;
use crate::value::ID;

/// The lane of the stream.
const LANE: LaneId = LaneId(0);

/// Changes that are not sent yet.
#[derive(Debug)]
pub struct Gatherer {
    filter: Arc<Filter>,
    router: Arc<Router>,
    events: Events,
    lineage: Lineage,
    // By database, then collection: `None` if its changes are not copied.
    tables: HashMap<String, HashMap<String, Option<Arc<RoutedTable>>>>,
    data: Vec<u8>,
    changes: Vec<Change>,
    // After the last whole event.
    place: Place,
    moved: bool,
    within: bool,
}

impl Gatherer {
    /// None yet; the stream begins at `place`.
    pub fn new(filter: Arc<Filter>, router: Arc<Router>, lineage: Lineage, place: Place) -> Self {
        Gatherer {
            events: filter.events(),
            filter,
            router,
            lineage,
            tables: HashMap::new(),
            data: Vec::new(),
            changes: Vec::new(),
            place,
            moved: true,
            within: false,
        }
    }

    /// Takes in a document's change, if it is copied. [`Gatherer::reached`] follows when all of its event is in.
    ///
    /// # Errors
    /// `[router]` does not fit the collection.
    pub fn row(&mut self, row: &Row<'_>) -> Result<()> {
        self.within = true;
        let passes = match row.op {
            RowOp::Insert(_) => self.events.insert,
            RowOp::Update { .. } => self.events.update,
            RowOp::Delete { .. } => self.events.delete,
        };
        if !passes {
            return Ok(());
        }
        let Some(table) = self.table(row.database, row.collection)? else { return Ok(()) };
        let mut put = |bytes: &[u8]| {
            let start = self.data.len();
            self.data.extend_from_slice(bytes);
            start..self.data.len()
        };
        let op = match row.op {
            RowOp::Insert(document) => Op::Insert { after: put(document) },
            RowOp::Update { key, after } => Op::Update { before: put(&only_id(key)), after: put(after) },
            RowOp::Delete { key } => Op::Delete { before: put(&only_id(key)) },
        };
        self.changes.push(Change { table, op });
        Ok(())
    }

    /// Whether what was done to a collection or a database is of one that is copied.
    pub fn concerns(&self, ddl: &Ddl<'_>) -> bool {
        let passes = |database: &str, collection: &str| {
            !is_system(collection) && self.filter.passes(&TableId::new(database, collection))
        };
        if ddl.to.is_some_and(|(database, collection)| passes(database, collection)) {
            return true;
        }
        match ddl.collection {
            Some(collection) => passes(ddl.database, collection),
            None => self.filter.may_pass_schema(ddl.database),
        }
    }

    /// What becomes of what was done to a collection or a database.
    ///
    /// # Errors
    /// It is asked for and cannot be replicated.
    pub fn plan(&self, ddl: &Ddl<'_>) -> Result<Plan> {
        ddl::plan(&self.filter, &self.router, ddl)
    }

    /// A statement, alone, at the place that was reached last; what was gathered before was taken.
    pub fn ddl_block(&mut self, planned: Planned) -> (Block, Place) {
        let Planned { table, command, .. } = planned;
        self.moved = false;
        let place = self.place.clone();
        let position = place.as_position(&self.lineage);
        let block = Block {
            lane: LANE,
            rows: 1,
            contents: BlockContents::Changes(vec![Change { table, op: Op::Ddl { command: 0..command.len() } }]),
            format: RowFormat::Bson,
            data: Bytes::from(command),
            progress: Some(position.clone()),
            checkpoint: Some(position),
            behind: 0,
            spread: dt_connector::Spread::default(),
        };
        (block, place)
    }

    /// All of an event is in, and the stream can be resumed after it.
    pub fn reached(&mut self, token: &[u8], time: Option<super::place::Time>) {
        self.place.token.clear();
        self.place.token.extend_from_slice(token);
        if let Some(time) = time {
            self.place.time = time;
        }
        self.moved = true;
        self.within = false;
    }

    /// After the last whole event.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Whether so much has been gathered that it should be sent.
    pub fn is_full(&self, block_bytes: usize) -> bool {
        self.data.len() + self.changes.len() * size_of::<Change>() >= block_bytes
    }

    /// What has been gathered since the last block, and the place to resume after it; a block without changes if only the
    /// place has moved, `None` if nothing has. A block that ends within an event has no place.
    pub fn take_block(&mut self) -> Option<(Block, Option<Place>)> {
        if self.changes.is_empty() && (!self.moved || self.within) {
            return None;
        }
        let mut data = std::mem::take(&mut self.data);
        let mut changes = std::mem::take(&mut self.changes);
        // The block may wait for long, and what is reserved and not used would wait with it.
        data.shrink_to_fit();
        changes.shrink_to_fit();
        let place = if self.within { None } else { Some(self.place.clone()) };
        self.moved &= self.within;
        let position = place.as_ref().map(|place| place.as_position(&self.lineage));
        let block = Block {
            lane: LANE,
            rows: changes.len() as u64,
            contents: BlockContents::Changes(changes),
            format: RowFormat::Bson,
            data: Bytes::from(data),
            progress: position.clone(),
            checkpoint: position,
            behind: 0,
            spread: dt_connector::Spread::default(),
        };
        Some((block, place))
    }

    fn table(&mut self, database: &str, collection: &str) -> Result<Option<Arc<RoutedTable>>> {
        if let Some(known) = self.tables.get(database).and_then(|tables| tables.get(collection)) {
            return Ok(known.clone());
        }
        if let Some(name) = collection.strip_prefix(BUCKETS)
            && self.filter.passes(&TableId::new(database, name))
        {
            return Err(Error::user(format!(
                "`{database}`.`{name}` is a time-series collection, and cannot be followed"
            ))
            .hint("leave it out with [filter] ignore_tbs"));
        }
        let id = TableId::new(database, collection);
        if !is_system(collection) && self.filter.passes(&id) {
            catalog::refuse_what_is_for_columns(&self.filter, &id)?;
        }
        let table = match !is_system(collection) && self.filter.passes(&id) {
            true => Some(Arc::new(self.router.route(catalog::schema(id, None, 0))?)),
            false => None,
        };
        let tables = self.tables.entry(database.to_owned()).or_default();
        tables.insert(collection.to_owned(), table.clone());
        Ok(table)
    }
}

/// The key without what a sharded collection's has besides.
fn only_id(key: &[u8]) -> Cow<'_, [u8]> {
    let mut fields = raw::fields(key);
    match (fields.next(), fields.next(), raw::field(key, ID)) {
        (Some(_), Some(_), Some(id)) => {
            let mut only = raw::Writer::new();
            only.put(ID.as_bytes(), id);
            Cow::Owned(only.finish())
        }
        _ => Cow::Borrowed(key),
    }
}

/// What holds the measurements of a time-series collection (MongoDB documentation, Time Series Collections).
const BUCKETS: &str = "system.buckets.";

/// Collections of the server's own within a database (views, time series).
fn is_system(collection: &str) -> bool {
    collection.starts_with("system.")
}

#[cfg(test)]
mod tests {
    use bson::doc;
    use dt_common::DbType;
    use dt_common::Position;
    use dt_common::config::{FilterConfig, RouterConfig, Token};

    use super::super::place::Time;
    use super::super::row::Action;
    use super::*;

    fn gatherer(events: Events) -> Gatherer {
        let mut filter = FilterConfig::new(DbType::Mongo);
        filter.do_dbs = vec![Token::Exact("d".into())];
        filter.do_events = events;
        let filter = Filter::new(&filter).expect("a filter");
        let router = RouterConfig { db_map: vec![("d".into(), "e".into())], ..RouterConfig::default() };
        let router = Router::new(&router).expect("a router");
        Gatherer::new(Arc::new(filter), Arc::new(router), Lineage::default(), Place::default())
    }

    fn insert(gatherer: &mut Gatherer, database: &str, collection: &str) {
        let document = doc! {"_id": 1}.to_vec().expect("bytes");
        gatherer.row(&Row { database, collection, op: RowOp::Insert(&document) }).expect("a row");
    }

    fn time(seconds: u32) -> Option<Time> {
        Some(Time { seconds, increment: 1 })
    }

    #[test]
    fn what_passes_is_sent_under_its_name_on_the_target() {
        let mut gatherer = gatherer(Events::ALL);
        for (database, collection) in [("d", "a"), ("x", "a"), ("d", "system.views"), ("d", "a.b"), ("admin", "a")] {
            insert(&mut gatherer, database, collection);
        }
        gatherer.reached(b"token", time(5));
        let (block, place) = gatherer.take_block().expect("a block");
        let BlockContents::Changes(changes) = &block.contents else { panic!("no changes") };
        let targets: Vec<String> = changes.iter().map(|change| change.table.target.table.clone()).collect();
        assert_eq!((targets, block.rows), (vec!["a".to_owned(), "a.b".to_owned()], 2));
        assert_eq!(changes[0].table.target.schema, "e");
        assert_eq!(place.expect("a place").token, b"token");
        assert_eq!(gatherer.take_block().map(|(block, _)| block.rows), None);
        let ddl = |database, collection, to| Ddl { what: "it", database, collection, to, action: Action::Other };
        assert!(gatherer.concerns(&ddl("d", Some("a"), None)));
        assert!(!gatherer.concerns(&ddl("x", None, None)));
        assert!(gatherer.concerns(&ddl("x", Some("a"), Some(("d", "b")))));
    }

    #[test]
    fn a_key_is_the_id_alone() {
        let bytes = |document: bson::Document| document.to_vec().expect("bytes");
        let id = bytes(doc! {"_id": {"a": 1}});
        assert_eq!(only_id(&id), Cow::Borrowed(&id[..]));
        assert_eq!(only_id(&bytes(doc! {"shard": "x", "_id": {"a": 1}})), Cow::Borrowed(&id[..]));
    }

    #[test]
    fn within_an_event_is_no_place_to_resume_at() {
        let mut gatherer = gatherer(Events::ALL);
        assert!(gatherer.take_block().is_some(), "the beginning");
        gatherer.reached(b"", time(5));
        insert(&mut gatherer, "d", "a");
        let (block, place) = gatherer.take_block().expect("a block");
        assert_eq!((block.rows, block.progress, block.checkpoint, place), (1, None, None, None));
        assert!(gatherer.take_block().is_none());
        insert(&mut gatherer, "d", "a");
        gatherer.reached(b"", time(6));
        let (block, place) = gatherer.take_block().expect("a block");
        assert_eq!(place.map(|place| place.time), time(6));
        assert!(matches!(block.checkpoint, Some(Position::MongoCdc(position)) if position.operation_time == 6));
    }

    #[test]
    fn events_that_are_not_copied_only_move_the_place() {
        let mut gatherer = gatherer(Events { insert: false, update: true, delete: true });
        insert(&mut gatherer, "d", "a");
        gatherer.reached(b"t", time(5));
        let (block, place) = gatherer.take_block().expect("a block");
        assert_eq!((block.rows, place.map(|place| place.time)), (0, time(5)));
    }
}
