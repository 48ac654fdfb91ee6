//! Documents of sysbench's kind, `{_id, k, c, pad}`, for the benchmarks of MongoDB.

use anyhow::Result;
use dt_tests::dice::Dice;
use dt_tests::mongo::{Mongo, bytes};
use mongodb::bson::{Document, doc};

/// Documents that are made and inserted at once.
const AT_ONCE: u64 = 20_000;

/// A document's number; the rest of it is by chance.
pub(crate) fn document(id: u64, dice: &mut Dice) -> Result<Document> {
    let k = i32::try_from(dice.pick(1..1_000_000))?;
    Ok(doc! {"_id": i32::try_from(id)?, "k": k, "c": digits(dice, 10), "pad": digits(dice, 5)})
}

/// Fills a collection with the numbers 1 to `rows`, the same documents each time.
pub(crate) fn fill(server: &Mongo, database: &str, collection: &str, rows: u64) -> Result<()> {
    let mut dice = Dice::of(rows);
    let mut next = 1;
    while next <= rows {
        let last = rows.min(next + AT_ONCE - 1);
        let made = (next..=last).map(|id| bytes(&document(id, &mut dice)?)).collect::<Result<Vec<_>>>()?;
        server.insert(database, collection, &made)?;
        next = last + 1;
    }
    Ok(())
}

/// Groups of eleven digits with dashes between them, as sysbench fills its columns.
pub(crate) fn digits(dice: &mut Dice, groups: usize) -> String {
    let groups: Vec<String> = (0..groups).map(|_| format!("{:011}", dice.pick(0..100_000_000_000))).collect();
    groups.join("-")
}
