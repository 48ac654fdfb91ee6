//! `position rewind`: tables that are copied again, and a stream that is followed from an earlier place.

use dt_common::config::TaskConfig;
use dt_common::{Error, Result, TableId};
use dt_resumer::{Forget, Loaded, summary};
use serde_json::{Value, json};

use super::args::Rewind;
use super::change::Change;
use super::place::{self, Wanted};
use super::told::{self, object};
use crate::exit::Exit;
use crate::task::store;

/// Rewinds.
pub async fn rewind(config: &TaskConfig, args: &Rewind) -> Result<Exit> {
    store::kept(config)?;
    super::ask::can_ask(args.yes)?;
    let mut change = Change::begin(config).await?;
    let ended = rewind_in(config, &mut change, args).await;
    change.end().await;
    ended
}

async fn rewind_in(config: &TaskConfig, change: &mut Change, args: &Rewind) -> Result<Exit> {
    let tables = wanted(args, change.loaded())?;
    let place = match args.to.is_some() || args.time.is_some() {
        true => Some(place::wanted(config, args, change.loaded()).await?),
        false => None,
    };
    let mut question = Vec::new();
    if !tables.is_empty() {
        question.push("copied again from the beginning:".to_owned());
        question.extend(tables.iter().map(|table| format!("  {table}")));
        question.push(
            "their rows in the target stay, and are replaced when they come again; a table without a key gets them twice, \
             unless it is emptied before"
                .to_owned(),
        );
    }
    question.extend(place.iter().flat_map(Wanted::question));
    if !super::ask::confirmed(args.yes, &question).await? {
        return super::declined();
    }
    let put = place.as_ref().map(Wanted::entries).unwrap_or_default();
    change.rewind(config, &dt_resumer::Rewind { forget: Forget::Tables(tables.clone()), put }).await?;
    let position = place.as_ref().map(|place| told::json(&place.position));
    let json = object(vec![
        ("tables", json!(tables.iter().map(table_json).collect::<Vec<_>>())),
        ("position", json!(position)),
    ]);
    let mut lines: Vec<String> =
        tables.iter().map(|table| format!("{table}: copied again with the next start")).collect();
    let place = place.as_ref().map(|place| told::place(&place.position));
    lines.extend(place.map(|place| format!("the next start follows from {place}")));
    super::print(args.task.json, &json, &lines)?;
    Ok(Exit::Done)
}

fn table_json(table: &TableId) -> Value {
    json!({"schema": table.schema, "tb": table.table})
}

/// The stored tables that the user means.
fn wanted(args: &Rewind, loaded: &Loaded) -> Result<Vec<TableId>> {
    let stored: Vec<TableId> = summary::tables(loaded).iter().map(|summary| summary.table.clone()).collect();
    if args.all_tables {
        return match stored.is_empty() {
            true => Err(Error::user("no position of a table is stored").hint("`position show` lists what is")),
            false => Ok(stored),
        };
    }
    args.table.iter().map(|name| named(name, &stored)).collect()
}

/// The stored table of a name as it was typed: `db.tb`, or with its quotes.
fn named(name: &str, stored: &[TableId]) -> Result<TableId> {
    let is_named = |table: &&TableId| {
        let TableId { schema, table } = table;
        let forms = ["", "`", "\""].map(|quote| format!("{quote}{schema}{quote}.{quote}{table}{quote}"));
        forms.iter().any(|form| form == name)
    };
    let mut found = stored.iter().filter(is_named);
    match (found.next(), found.next()) {
        (Some(table), None) => Ok(table.clone()),
        (Some(one), Some(other)) => Err(Error::config("the name stands for more than one table")
            .with("--table", name)
            .with("one", one)
            .with("another", other)
            .hint("put quotes around both parts, as in `a.b`.`c`")),
        (None, _) => Err(Error::user("no position of this table is stored")
            .with("--table", name)
            .hint("`position show` lists the tables; names are case-sensitive")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_with_and_without_quotes_and_exactly() {
        let stored = [TableId::new("a", "b"), TableId::new("a.b", "c"), TableId::new("a", "b.c")];
        for name in ["a.b", "`a`.`b`", "\"a\".\"b\""] {
            assert_eq!(named(name, &stored).expect("is stored"), stored[0], "{name}");
        }
        assert_eq!(named("`a.b`.`c`", &stored).expect("is stored"), stored[1]);
        assert!(named("a.b.c", &stored).expect_err("two").to_string().contains("more than one table"));
        for name in ["A.b", "a", "x.y", ""] {
            assert!(named(name, &stored).expect_err("none").to_string().contains("no position of this table"));
        }
    }
}
