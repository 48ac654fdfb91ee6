//! Every type of PostgreSQL and every shape of table, with the rows at their edges. Each sample is a family of tables
//! that is made on both sides and filled on one; a snapshot and a stream of changes must both make the sides equal.

mod composed;
mod documents;
mod numbers;
mod shapes;
mod tables;
mod texts;
mod times;

use anyhow::{Context, Result};
use dt_tests::db::Db;
use dt_tests::servers::Kind;

/// A family of tables with their rows.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// What it holds, for messages.
    pub name: &'static str,
    /// The first version whose servers know it.
    pub since: u32,
    /// The statements that make it, on both sides.
    pub create: &'static str,
    /// Other statements that make it on the target, if they differ there.
    pub create_on_target: Option<&'static str>,
    /// The statements that fill it.
    pub fill: &'static str,
}

const fn sample(name: &'static str, create: &'static str, fill: &'static str) -> Sample {
    Sample { name, since: 15, create, create_on_target: None, fill }
}

const fn since(since: u32, sample: Sample) -> Sample {
    Sample { since, ..sample }
}

const fn on_target(create: &'static str, sample: Sample) -> Sample {
    Sample { create_on_target: Some(create), ..sample }
}

/// The schemas that the samples' tables are in.
pub const SCHEMAS: [&str; 2] = ["public", r#"Odd.Schema "1""#];

/// All samples, in the order in which they are to be made.
pub fn samples() -> impl Iterator<Item = &'static Sample> {
    let families = [
        numbers::SAMPLES,
        texts::SAMPLES,
        times::SAMPLES,
        documents::SAMPLES,
        shapes::SAMPLES,
        composed::SAMPLES,
        tables::SAMPLES,
    ];
    families.into_iter().flatten()
}

/// The samples that servers of both kinds know.
pub fn known_to(one: Kind, other: Kind) -> Vec<&'static Sample> {
    let version = |kind| match kind {
        Kind::Postgres15 => 15,
        Kind::Postgres18 => 18,
        Kind::Mysql | Kind::Mariadb => 0,
    };
    let oldest = version(one).min(version(other));
    samples().filter(|sample| sample.since <= oldest).collect()
}

/// Makes the samples on both sides, empty.
pub fn create(samples: &[&Sample], source: &Db, target: &Db) -> Result<()> {
    // Object ids differ from server to server: what travels must not hold one.
    target.exec_all((0..30).map(|at| format!("CREATE TYPE shift_{at} AS (a int); DROP TYPE shift_{at}")))?;
    for sample in samples {
        source.exec(sample.create).with_context(|| sample.name)?;
        target.exec(sample.create_on_target.unwrap_or(sample.create)).with_context(|| sample.name)?;
    }
    Ok(())
}

/// Fills the samples.
pub fn fill(samples: &[&Sample], db: &Db) -> Result<()> {
    samples.iter().try_for_each(|sample| db.exec(sample.fill).with_context(|| sample.name))
}
