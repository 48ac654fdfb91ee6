//! The tables as changes name them, each compared with the target when it is first seen: a stream meets its tables
//! only as it goes, and again after each ALTER.

use std::collections::HashMap;
use std::sync::Arc;

use dt_common::schema::RoutedTable;
use dt_common::{Result, TableId};
use mysql_async::Conn;

use super::super::check::{self, Found};
use super::super::statement::Duplicates;
use super::statement::ChangePlan;
use crate::connect::Flavor;
use crate::sql;

/// A table that fits the target, and how changes of it are applied.
#[derive(Debug)]
pub struct Known {
    /// The table's name on the target.
    pub target: TableId,
    /// The statements.
    pub plan: ChangePlan,
    /// A unique key of the target lies within the source's key: a row that is written again meets itself.
    pub meets_itself: bool,
    /// The target has a unique key that does not lie within the source's key.
    pub unique_elsewhere: bool,
}

/// The tables met so far, each in its latest shape.
#[derive(Debug)]
pub struct Plans {
    duplicates: Duplicates,
    known: HashMap<TableId, (Arc<RoutedTable>, Arc<Known>)>,
}

impl Plans {
    /// No table is known yet.
    pub fn new(duplicates: Duplicates) -> Self {
        Plans { duplicates, known: HashMap::new() }
    }

    /// Forgets all: whatever went wrong may have to do with what the target looked like.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// How changes of these tables are applied, one for one. What is new, or has another shape, is compared first.
    ///
    /// # Errors
    /// Of class user, with all misfits of the new tables; those of the connection.
    pub async fn meet(
        &mut self,
        conn: &mut Conn,
        flavor: Flavor,
        tables: &[Arc<RoutedTable>],
    ) -> Result<Vec<Arc<Known>>> {
        // All that are known are taken before any that is new takes its place: a batch may hold a table in two shapes.
        let mut met: Vec<Option<Arc<Known>>> = tables.iter().map(|table| self.known(table)).collect();
        let fresh: Vec<Arc<RoutedTable>> =
            tables.iter().zip(&met).filter(|(_, met)| met.is_none()).map(|(table, _)| table.clone()).collect();
        if !fresh.is_empty() {
            let found = Found::read(conn, flavor, &within(&fresh)).await?;
            check::compare(&fresh, &found)?;
            for (table, met) in tables.iter().zip(&mut met).filter(|(_, met)| met.is_none()) {
                *met = Some(self.learn(table, &found));
            }
        }
        Ok(met.into_iter().flatten().collect())
    }

    fn learn(&mut self, table: &Arc<RoutedTable>, found: &Found) -> Arc<Known> {
        let known = Arc::new(Known {
            target: table.target.clone(),
            plan: ChangePlan::new(table, found.columns(&table.target), self.duplicates),
            meets_itself: found.meets_itself(table),
            unique_elsewhere: found.is_unique_elsewhere(table),
        });
        self.known.insert(table.source.id.clone(), (table.clone(), known.clone()));
        known
    }

    fn known(&self, table: &Arc<RoutedTable>) -> Option<Arc<Known>> {
        let (shape, known) = self.known.get(&table.source.id)?;
        (Arc::ptr_eq(shape, table) || shape == table).then(|| known.clone())
    }
}

/// The condition on information_schema that names these tables on the target.
pub fn within(tables: &[Arc<RoutedTable>]) -> String {
    let pairs = tables.iter().map(|table| {
        let TableId { schema, table } = &table.target;
        format!("({}, {})", sql::string(schema), sql::string(table))
    });
    format!("(table_schema, table_name) IN ({})", pairs.collect::<Vec<_>>().join(", "))
}
