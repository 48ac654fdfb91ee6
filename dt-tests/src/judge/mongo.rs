//! Whether collections of two MongoDB servers hold the same documents, byte by byte.
//!
//! Each server hashes its own collections (`dbHash`). Only where the hashes differ are the documents fetched, to count
//! what is missing and what is too much.

use std::collections::HashSet;

use anyhow::{Result, bail};

use super::Verdict;
use crate::mongo::Mongo;

/// Compares collections of a source with collections of a target.
pub struct MongoJudge<'a> {
    source: &'a Mongo,
    target: &'a Mongo,
}

impl<'a> MongoJudge<'a> {
    /// A judge between two servers.
    pub fn new(source: &'a Mongo, target: &'a Mongo) -> Self {
        MongoJudge { source, target }
    }

    /// Compares a collection of the source with one of the target: the documents' bytes.
    ///
    /// # Errors
    /// A server does not answer.
    pub fn collections(&self, source: (&str, &str), target: (&str, &str)) -> Result<Verdict> {
        let had = self.source.documents(source.0, source.1)?;
        let has = self.target.documents(target.0, target.1)?;
        let there: HashSet<&Vec<u8>> = has.iter().collect();
        let were: HashSet<&Vec<u8>> = had.iter().collect();
        Ok(Verdict {
            rows: had.len() as u64,
            target_rows: has.len() as u64,
            missing: had.iter().filter(|document| !there.contains(document)).count() as u64,
            // `_id` is unique: a document is there once or not at all.
            repeated: 0,
            foreign: has.iter().filter(|document| !were.contains(document)).count() as u64,
        })
    }

    /// Compares every collection of a database; the names are in order. One that is empty need not be on the target.
    ///
    /// # Errors
    /// A server does not answer, or there is no collection.
    pub fn database(&self, database: &str) -> Result<Vec<(String, Verdict)>> {
        let names = self.source.collections(database)?;
        if names.is_empty() {
            bail!("the source has no collection in `{database}`");
        }
        let (had, has) = (self.source.hashes(database)?, self.target.hashes(database)?);
        let compared = names.into_iter().map(|name| {
            let same = had.get(&name).is_some_and(|hash| has.get(&name) == Some(hash));
            let verdict = if same {
                let rows = self.source.count(database, &name)?;
                let target_rows = self.target.count(database, &name)?;
                Verdict { rows, target_rows, missing: 0, repeated: 0, foreign: 0 }
            } else {
                self.collections((database, &name), (database, &name))?
            };
            Ok((name, verdict))
        });
        compared.collect()
    }
}
