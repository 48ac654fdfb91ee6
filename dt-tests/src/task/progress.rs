//! What a task has recorded, read from its position.log and finished.log as an outsider would.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Task;
use crate::db::{literal, quoted};

/// The recorded positions of a snapshot.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    positions: Vec<Value>,
    finished: Vec<Value>,
}

/// The key of the last row that a table's position covers: columns and values, in the key's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedKey(pub Vec<(String, Option<String>)>);

impl Task {
    /// What is recorded in the log_dir now.
    ///
    /// # Errors
    /// A line cannot be read; a last line without its end is left out.
    pub fn progress(&self) -> Result<Progress> {
        Ok(Progress { positions: lines(&self.log("position.log")?)?, finished: lines(&self.log("finished.log")?)? })
    }
}

fn lines(text: &str) -> Result<Vec<Value>> {
    let whole = text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
    let json = whole.filter_map(|line| line.split_once('{').map(|(_, rest)| format!("{{{rest}")));
    json.map(|json| serde_json::from_str(&json).with_context(|| format!("not a position: {json}"))).collect()
}

impl Progress {
    /// Whether the table's last row is recorded; one of its chunks is not the table.
    pub fn is_finished(&self, schema: &str, table: &str) -> bool {
        self.finished.iter().any(|line| is_of(line, schema, table) && line["chunk"].is_null())
    }

    /// The last recorded key of the table; `None` if there is none.
    pub fn of(&self, schema: &str, table: &str) -> Option<RecordedKey> {
        let last = self.positions.iter().rev().find(|line| is_of(line, schema, table))?;
        let part = |pair: &Value| Some((pair[0].as_str()?.to_owned(), pair[1].as_str().map(str::to_owned)));
        let parts: Option<Vec<_>> = match (&last["order_key"]["composite"], &last["order_key"]["single"]) {
            (Value::Array(pairs), _) => pairs.iter().map(part).collect(),
            (_, pair @ Value::Array(_)) => part(pair).map(|part| vec![part]),
            _ => Some(vec![(last["order_col"].as_str()?.to_owned(), last["value"].as_str().map(str::to_owned))]),
        };
        parts.map(RecordedKey)
    }
}

fn is_of(line: &Value, schema: &str, table: &str) -> bool {
    line["schema"].as_str() == Some(schema) && line["tb"].as_str() == Some(table)
}

impl RecordedKey {
    /// An SQL condition for the rows after it, null keys first; for numbers and text, as the server compares them.
    pub fn rows_after(&self) -> String {
        let mut alternatives = Vec::new();
        let mut equal_so_far = String::new();
        for (column, value) in &self.0 {
            let column = quoted(column);
            match value {
                None => {
                    alternatives.push(format!("({equal_so_far}{column} IS NOT NULL)"));
                    equal_so_far += &format!("{column} IS NULL AND ");
                }
                Some(value) => {
                    let value = literal(value);
                    alternatives.push(format!("({equal_so_far}{column} > {value})"));
                    equal_so_far += &format!("{column} = {value} AND ");
                }
            }
        }
        alternatives.join(" OR ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_position_of_a_table_counts_and_a_torn_line_does_not() -> Result<()> {
        let text = "2024-10-10 04:04:08.152044 | current_position | {\"type\":\"RdbSnapshot\",\"schema\":\"a\",\"tb\":\"b\",\"order_col\":\"id\",\"value\":\"6\"}\n\
             2024-10-10 04:04:09.152044 | current_position | {\"type\":\"RdbSnapshot\",\"schema\":\"a\",\"tb\":\"b\",\"order_col\":\"id\",\"value\":\"7\"}\n\
             2024-10-10 04:04:09.152044 | current_position | {\"type\":\"RdbSnapshot\",\"schema\":\"a\",\"tb\":\"c\",\"order_key\":{\"composite\":[[\"x\",\"1\"],[\"y\",\"30\"]]}}\n\
             2024-10-10 04:04:10.152044 | current_position | {\"type\":\"Rdb";
        let progress = Progress { positions: lines(text)?, finished: Vec::new() };
        let key = progress.of("a", "b").context("no position")?;
        assert_eq!(key.rows_after(), "(`id` > '7')");
        let key = progress.of("a", "c").context("no position")?;
        assert_eq!(key.rows_after(), "(`x` > '1') OR (`x` = '1' AND `y` > '30')");
        assert_eq!(progress.of("a", "d"), None);
        assert!(!progress.is_finished("a", "b"));
        Ok(())
    }
}
