//! A load of changes that is the same in every run: inserts, updates and deletes by key in small transactions.

use std::fmt::Write as _;

use anyhow::Result;
use dt_tests::db::Db;
use dt_tests::dice::Dice;

use crate::documents::digits;

/// The most changes in a transaction.
const TRANSACTION_MAX: u64 = 10;

/// Statements go to the source in texts of about this size, so that the load is written in no time.
const TEXT_BYTES: usize = 256 * 1024;

/// The rows of a table, by their ids.
struct Ids {
    live: Vec<u64>,
    next: u64,
}

/// Writes `changes` changes to the tables `sbtest1` to `sbtest{tables}` of the connection's database, which hold the
/// ids 1 to `rows` each: 40 % inserts, 40 % updates of `k` and `c`, 20 % deletes, tables and keys by chance, in
/// transactions of 1 to 10.
///
/// # Errors
/// What the server says.
pub(crate) fn write(db: &Db, tables: usize, rows: u64, changes: u64) -> Result<()> {
    let mut dice = Dice::of(300_000);
    let mut ids: Vec<Ids> = (0..tables).map(|_| Ids { live: (1..=rows).collect(), next: rows + 1 }).collect();
    let mut text = String::with_capacity(TEXT_BYTES + TEXT_BYTES / 8);
    let mut left = changes;
    while left > 0 {
        let size = dice.pick(1..TRANSACTION_MAX + 1).min(left);
        left -= size;
        text.push_str("BEGIN;");
        for _ in 0..size {
            let at = dice.pick(0..tables as u64) as usize;
            change(&mut text, &mut dice, at + 1, &mut ids[at])?;
        }
        text.push_str("COMMIT;");
        if text.len() >= TEXT_BYTES || left == 0 {
            db.exec(&text)?;
            text.clear();
        }
    }
    Ok(())
}

fn change(text: &mut String, dice: &mut Dice, table: usize, ids: &mut Ids) -> Result<()> {
    let kind = dice.pick(0..10);
    if kind < 4 || ids.live.is_empty() {
        let (id, k) = (ids.next, dice.pick(1..1_000_000));
        let (c, pad) = (digits(dice, 10), digits(dice, 5));
        write!(text, "INSERT INTO sbtest{table} VALUES ({id}, {k}, '{c}', '{pad}');")?;
        ids.live.push(id);
        ids.next += 1;
        return Ok(());
    }
    let at = dice.pick(0..ids.live.len() as u64) as usize;
    if kind < 8 {
        let (id, k, c) = (ids.live[at], dice.pick(1..1_000_000), digits(dice, 10));
        write!(text, "UPDATE sbtest{table} SET k = {k}, c = '{c}' WHERE id = {id};")?;
    } else {
        let id = ids.live.swap_remove(at);
        write!(text, "DELETE FROM sbtest{table} WHERE id = {id};")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_row_is_never_changed_again() -> Result<()> {
        let mut dice = Dice::of(1);
        let mut ids = Ids { live: (1..=50).collect(), next: 51 };
        let mut deleted = std::collections::HashSet::new();
        for _ in 0..2000 {
            let mut text = String::new();
            change(&mut text, &mut dice, 1, &mut ids)?;
            let by_key = text.split_once("WHERE id = ").map(|(_, id)| id.trim_end_matches(';').to_owned());
            if let Some(id) = by_key {
                assert!(!deleted.contains(&id), "{text}");
                if text.starts_with("DELETE") {
                    deleted.insert(id);
                }
            }
        }
        assert!(deleted.len() > 100, "{}", deleted.len());
        Ok(())
    }
}
