//! The tables as changes name them, each compared with the target when it is first seen: a stream meets its tables
//! only as it goes, and again after each ALTER.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use dt_common::schema::RoutedTable;
use dt_common::{Result, TableId};

use super::super::check::{self, Found};
use super::super::statement::Duplicates;
use super::statement::ChangePlan;
use crate::connect::{Conn, Server};

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
    /// The target has columns that are not written.
    pub keeps_columns: bool,
}

/// The tables met so far, each in its latest shape.
#[derive(Debug, Default)]
pub struct Plans {
    known: HashMap<TableId, (Arc<RoutedTable>, Arc<Known>)>,
    // Numbers of temporary tables; never used twice, for another shape is another table.
    numbers: usize,
}

impl Plans {
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
        conn: &Conn,
        server: &Server,
        tables: &[Arc<RoutedTable>],
        duplicates: Duplicates,
    ) -> Result<Vec<Arc<Known>>> {
        // All that are known are taken before any that is new takes its place: a batch may hold a table in two shapes.
        let mut met: Vec<Option<Arc<Known>>> = tables.iter().map(|table| self.known(table)).collect();
        let fresh: Vec<Arc<RoutedTable>> =
            tables.iter().zip(&met).filter(|(_, met)| met.is_none()).map(|(table, _)| table.clone()).collect();
        if !fresh.is_empty() {
            let schemas: BTreeSet<&str> = fresh.iter().map(|table| table.target.schema.as_str()).collect();
            let found = Found::read(conn, server, schemas.into_iter()).await?;
            check::compare(&fresh, &found)?;
            for (table, met) in tables.iter().zip(&mut met).filter(|(_, met)| met.is_none()) {
                *met = Some(self.learn(table, &found, duplicates));
            }
        }
        Ok(met.into_iter().flatten().collect())
    }

    fn learn(&mut self, table: &Arc<RoutedTable>, found: &Found, duplicates: Duplicates) -> Arc<Known> {
        let there = found.columns(&table.target);
        let keeps_columns =
            there.iter().any(|column| !column.generated && !table.target_columns.contains(&column.column.name));
        // Deleting a row to write it again would lose what the target has of its own.
        let duplicates = match duplicates {
            Duplicates::Replace if keeps_columns => Duplicates::Update,
            other => other,
        };
        let key = check::key_on_target(table);
        let is_elsewhere = |index: &crate::catalog::Index| {
            !index.columns.iter().all(|column| column.name.as_deref().is_some_and(|name| key.contains(&name)))
        };
        self.numbers += 1;
        let known = Arc::new(Known {
            target: table.target.clone(),
            plan: ChangePlan::new(table, found, duplicates, self.numbers),
            meets_itself: found.meets_itself(table),
            unique_elsewhere: found.indexes(&table.target).iter().any(is_elsewhere),
            keeps_columns,
        });
        self.known.insert(table.source.id.clone(), (table.clone(), known.clone()));
        known
    }

    fn known(&self, table: &Arc<RoutedTable>) -> Option<Arc<Known>> {
        let (shape, known) = self.known.get(&table.source.id)?;
        (Arc::ptr_eq(shape, table) || shape == table).then(|| known.clone())
    }
}
