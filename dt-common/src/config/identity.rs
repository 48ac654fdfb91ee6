//! The name of a task that was not given one.
//!
//! It is made of what identifies the task, and of nothing else: a changed password, batch size or rate limit must not
//! start a migration over. The text below is stable for ever: a stored position is found by it.

use super::filter::FilterConfig;
use super::router::RouterConfig;
use super::tokens::{TablePattern, Token};
use crate::ids::TableId;

/// `dt-` and 16 hexadecimal digits.
pub(super) fn task_id(source: &str, target: &str, filter: &FilterConfig, router: &RouterConfig) -> String {
    let mut text = Canonical::default();
    text.list("source", vec![vec![source.to_owned()]]);
    text.list("target", vec![vec![target.to_owned()]]);
    text.filter(filter);
    text.list("db_map", router.db_map.iter().map(|(from, to)| vec![from.clone(), to.clone()]).collect());
    text.list("tb_map", router.tb_map.iter().map(|(from, to)| [table(from), table(to)].concat()).collect());
    let columns = |pairs: &[(String, String)]| {
        let mut pairs = pairs.to_vec();
        pairs.sort();
        pairs.into_iter().flat_map(|(from, to)| [from, to]).collect::<Vec<_>>()
    };
    text.list(
        "col_map",
        router.col_map.iter().map(|entry| [table(&entry.table), columns(&entry.columns)].concat()).collect(),
    );
    format!("dt-{:016x}", fnv1a_64(text.0.as_bytes()))
}

impl FilterConfig {
    /// What tells this filter from others, in 16 hexadecimal digits: two streams of one source have the same changes if they
    /// have it in common.
    pub fn fingerprint(&self) -> String {
        let mut text = Canonical::default();
        text.filter(self);
        format!("{:016x}", fnv1a_64(text.0.as_bytes()))
    }
}

/// Text from which everything that went in could be read back, so that two tasks never make the same text.
#[derive(Default)]
struct Canonical(String);

impl Canonical {
    fn filter(&mut self, filter: &FilterConfig) {
        self.list("do_dbs", filter.do_dbs.iter().map(token).collect());
        self.list("ignore_dbs", filter.ignore_dbs.iter().map(token).collect());
        self.list("do_tbs", filter.do_tbs.iter().map(pattern).collect());
        self.list("ignore_tbs", filter.ignore_tbs.iter().map(pattern).collect());
        self.list(
            "ignore_cols",
            filter
                .ignore_cols
                .iter()
                .map(|entry| [table(&entry.table), sorted(entry.columns.clone())].concat())
                .collect(),
        );
        let conditions = filter.where_conditions.iter();
        self.list(
            "where_conditions",
            conditions.map(|entry| [table(&entry.table), vec![entry.condition.clone()]].concat()).collect(),
        );
        let events = filter.do_events;
        self.list("do_events", vec![vec![format!("{}{}{}", events.insert, events.update, events.delete)]]);
    }

    /// A named list, its entries in an order of their own: the order in the file means nothing. An empty list leaves
    /// no trace, so that a list that comes to dt later changes no name.
    fn list(&mut self, name: &str, mut entries: Vec<Vec<String>>) {
        if entries.is_empty() {
            return;
        }
        entries.sort();
        entries.dedup();
        self.0.push_str(&format!("{name}[{}]", entries.len()));
        for entry in entries {
            self.0.push_str(&format!("({})", entry.len()));
            for part in entry {
                self.0.push_str(&format!("{}:{part}", part.len()));
            }
        }
    }
}

fn token(token: &Token) -> Vec<String> {
    let (kind, text) = match token {
        Token::Exact(text) => ("=", text),
        Token::Wildcard(text) => ("*", text),
        Token::Regex(text) => ("r", text),
    };
    vec![kind.to_owned(), text.clone()]
}

fn pattern(pattern: &TablePattern) -> Vec<String> {
    [token(&pattern.schema), token(&pattern.table)].concat()
}

fn table(id: &TableId) -> Vec<String> {
    vec![id.schema.clone(), id.table.clone()]
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

/// FNV-1a, 64 bits.
fn fnv1a_64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        assert_eq!(fnv1a_64(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a_64(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
