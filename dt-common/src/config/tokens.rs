//! The lists of names in `[filter]` and `[router]`: what is written becomes tokens; nothing is matched here.
//!
//! * Entries are separated by `,`, schema and table by `.`, the two sides of a map by `:`.
//! * A quoted name (back-ticks for MySQL and MongoDB, double quotes for PostgreSQL and Redis) is exact: it may hold
//!   separators and wildcards. A quote within it is written twice.
//! * `r#…#` is a regular expression for the whole name; it may hold separators but no `#` (write `\x23`).
//! * In other names `*` stands for any run of characters, `?` for one or none, everything else for itself.

use crate::ids::{DbType, TableId};

use super::problem::shown_item;

/// One name of a list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Token {
    /// Exactly this name.
    Exact(String),
    /// A name with wildcards: `*` is any run of characters, `?` is one or none.
    Wildcard(String),
    /// A regular expression, as written between `r#` and `#`, for the whole name.
    Regex(String),
}

/// A pattern for tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TablePattern {
    /// What the schema must be.
    pub schema: Token,
    /// What the table must be.
    pub table: Token,
}

/// What is wrong with a list; names the entry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ListError(String);

impl ListError {
    fn new(item: &str, what: &str) -> Self {
        ListError(format!("{} {what}", shown_item(item.trim())))
    }
}

/// The character that quotes names of a kind of database.
pub const fn quote_of(db_type: DbType) -> char {
    match db_type {
        DbType::Mysql | DbType::Mongo => '`',
        DbType::Pg | DbType::Redis => '"',
    }
}

/// A list of schemas.
pub fn schemas(text: &str, quotes: &[char]) -> Result<Vec<Token>, ListError> {
    items(text, quotes, &['.'])?.into_iter().map(|item| item.schema("one name, without a table")).collect()
}

/// A list of `schema.table`.
pub fn tables(text: &str, quotes: &[char]) -> Result<Vec<TablePattern>, ListError> {
    items(text, quotes, &['.'])?.into_iter().map(Item::table).collect()
}

/// A list of `schema:schema`, without wildcards.
pub fn schema_map(text: &str, quotes: &[char]) -> Result<Vec<(String, String)>, ListError> {
    let pairs = items(text, quotes, &['.', ':'])?.into_iter().map(|item| {
        let (from, to) = item.sides()?;
        let side = |side: Item<'_>| side.schema("`schema:schema`").and_then(|name| exact(name, side.text));
        Ok((side(from)?, side(to)?))
    });
    pairs.collect()
}

/// A list of `schema.table:schema.table`, without wildcards.
pub fn table_map(text: &str, quotes: &[char]) -> Result<Vec<(TableId, TableId)>, ListError> {
    let pairs = items(text, quotes, &['.', ':'])?.into_iter().map(|item| {
        let (from, to) = item.sides()?;
        let side = |side: Item<'_>| {
            let text = side.text;
            let pattern = side.table()?;
            Ok(TableId::new(exact(pattern.schema, text)?, exact(pattern.table, text)?))
        };
        Ok((side(from)?, side(to)?))
    });
    pairs.collect()
}

fn exact(token: Token, item: &str) -> Result<String, ListError> {
    match token {
        Token::Exact(name) => Ok(name),
        Token::Wildcard(_) | Token::Regex(_) => Err(ListError::new(
            item,
            "holds a pattern, and a map takes none; if the name is meant literally, put it into quotes",
        )),
    }
}

/// The pieces of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Name(Token),
    Separator(char),
}

/// An entry between two commas, with its text for messages.
#[derive(Clone, Debug)]
struct Item<'a> {
    pieces: Vec<Piece>,
    text: &'a str,
}

impl<'a> Item<'a> {
    fn schema(&self, wanted: &str) -> Result<Token, ListError> {
        match self.pieces.as_slice() {
            [Piece::Name(name)] => Ok(name.clone()),
            _ => Err(ListError::new(
                self.text,
                &format!("must be {wanted}; a name that holds a separator is put into quotes"),
            )),
        }
    }

    fn table(self) -> Result<TablePattern, ListError> {
        match self.pieces.as_slice() {
            [Piece::Name(schema), Piece::Separator('.'), Piece::Name(table)] => {
                Ok(TablePattern { schema: schema.clone(), table: table.clone() })
            }
            _ => Err(ListError::new(
                self.text,
                "must be `schema.table`; a name that holds a separator is put into quotes",
            )),
        }
    }

    /// The two sides of a map's entry.
    fn sides(self) -> Result<(Item<'a>, Item<'a>), ListError> {
        let colon = Piece::Separator(':');
        match self.pieces.iter().position(|piece| *piece == colon) {
            Some(at) if !self.pieces[at + 1..].contains(&colon) => {
                let (from, to) = (self.pieces[..at].to_vec(), self.pieces[at + 1..].to_vec());
                Ok((Item { pieces: from, text: self.text }, Item { pieces: to, text: self.text }))
            }
            Some(_) | None => Err(ListError::new(self.text, "must be `source:target`")),
        }
    }
}

/// Cuts a list at its commas, and each entry at the separators.
fn items<'a>(text: &'a str, quotes: &[char], separators: &[char]) -> Result<Vec<Item<'a>>, ListError> {
    let mut items = Vec::new();
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let Some(c) = rest.chars().next() else { break };
        if c == ',' {
            items.push(item(std::mem::take(&mut pieces), &text[begin..at])?);
            begin = at + 1;
            at = begin;
        } else if c.is_whitespace() {
            at += c.len_utf8();
        } else if separators.contains(&c) {
            pieces.push(Piece::Separator(c));
            at += c.len_utf8();
        } else {
            let (name, length) = if quotes.contains(&c) {
                quoted(rest, c)?
            } else if rest.starts_with("r#") {
                regex(rest)?
            } else {
                bare(rest, quotes, separators)?
            };
            pieces.push(Piece::Name(name));
            at += length;
        }
    }
    items.push(item(pieces, &text[begin..])?);
    Ok(items)
}

fn item(pieces: Vec<Piece>, text: &str) -> Result<Item<'_>, ListError> {
    if pieces.is_empty() {
        return Err(ListError("there is an empty entry: a `,` too many".to_owned()));
    }
    if pieces.windows(2).any(|two| matches!(two, [Piece::Name(_), Piece::Name(_)])) {
        return Err(ListError::new(text, "has something behind the end of a quoted name or of `r#…#`"));
    }
    Ok(Item { pieces, text })
}

/// A quoted name at the beginning of `text`, and how many bytes it takes.
fn quoted(text: &str, quote: char) -> Result<(Token, usize), ListError> {
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            name.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            name.push(quote);
        } else if name.is_empty() {
            return Err(ListError::new(text, "begins with an empty name"));
        } else {
            return Ok((Token::Exact(name), at + c.len_utf8()));
        }
    }
    Err(ListError::new(text, &format!("has no closing {quote}")))
}

/// `r#…#` at the beginning of `text`, and how many bytes it takes.
fn regex(text: &str) -> Result<(Token, usize), ListError> {
    let inner = &text[2..];
    match inner.find('#') {
        Some(0) => Err(ListError::new(text, "begins with an empty regular expression")),
        Some(end) => Ok((Token::Regex(inner[..end].to_owned()), 2 + end + 1)),
        None => Err(ListError::new(text, "has no closing `#` (a regular expression is written `r#…#`)")),
    }
}

/// A name without quotes at the beginning of `text`, and how many bytes it takes.
fn bare(text: &str, quotes: &[char], separators: &[char]) -> Result<(Token, usize), ListError> {
    let end = text.find(|c: char| c == ',' || separators.contains(&c)).unwrap_or(text.len());
    let name = text[..end].trim_end();
    if name.contains(quotes) {
        return Err(ListError::new(name, "has a quote in the middle: put the whole name into quotes"));
    }
    let token =
        if name.contains(['*', '?']) { Token::Wildcard(name.to_owned()) } else { Token::Exact(name.to_owned()) };
    Ok((token, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MYSQL: &[char] = &['`'];

    fn exact(name: &str) -> Token {
        Token::Exact(name.to_owned())
    }

    fn wildcard(name: &str) -> Token {
        Token::Wildcard(name.to_owned())
    }

    fn regex(name: &str) -> Token {
        Token::Regex(name.to_owned())
    }

    fn pair(schema: Token, table: Token) -> TablePattern {
        TablePattern { schema, table }
    }

    #[test]
    fn entries_are_separated_by_commas_and_spaces_around_them_do_not_count() {
        let list = schemas(" a, test_db_@ ,名,c d", MYSQL).unwrap();
        assert_eq!(list, [exact("a"), exact("test_db_@"), exact("名"), exact("c d")]);
    }

    #[test]
    fn wildcards_work_without_quotes_only() {
        let list = schemas("a*,b?,`a*`,`b?`", MYSQL).unwrap();
        assert_eq!(list, [wildcard("a*"), wildcard("b?"), exact("a*"), exact("b?")]);
    }

    #[test]
    fn a_quoted_name_may_hold_separators_and_quotes_of_its_own() {
        let list = tables("`a.b,c`.`finished_table_*$1`, x.`q``q`", MYSQL).unwrap();
        assert_eq!(list, [pair(exact("a.b,c"), exact("finished_table_*$1")), pair(exact("x"), exact("q`q"))]);
        let list = tables("\"a.b\".\"c,d\"", &['"']).unwrap();
        assert_eq!(list, [pair(exact("a.b"), exact("c,d"))]);
    }

    #[test]
    fn the_other_database_s_quotes_are_literal() {
        assert_eq!(schemas("\"a\"", MYSQL).unwrap(), [exact("\"a\"")]);
    }

    #[test]
    fn a_regular_expression_may_hold_separators() {
        let list = tables(r"r#a{1,2}\.b#.r#.*#,c.d", MYSQL).unwrap();
        assert_eq!(list, [pair(regex(r"a{1,2}\.b"), regex(".*")), pair(exact("c"), exact("d"))]);
    }

    #[test]
    fn malformed_lists_name_the_entry() {
        let cases = [
            ("a,,b", "there is an empty entry: a `,` too many"),
            ("a.b,", "there is an empty entry: a `,` too many"),
            ("a", "`a` must be `schema.table`; a name that holds a separator is put into quotes"),
            ("x.y,a.b.c", "`a.b.c` must be `schema.table`; a name that holds a separator is put into quotes"),
            ("a.", "`a.` must be `schema.table`; a name that holds a separator is put into quotes"),
            ("`a.b", "``a.b` has no closing `"),
            ("`a`b.c", "``a`b.c` has something behind the end of a quoted name or of `r#…#`"),
            ("``.c", "```.c` begins with an empty name"),
            ("a`b.c", "`a`b` has a quote in the middle: put the whole name into quotes"),
            ("r#a.b", "`r#a.b` has no closing `#` (a regular expression is written `r#…#`)"),
            ("r##.b", "`r##.b` begins with an empty regular expression"),
        ];
        for (text, message) in cases {
            assert_eq!(tables(text, MYSQL).unwrap_err().to_string(), message, "{text}");
        }
        let error = schemas("a.b", MYSQL).unwrap_err().to_string();
        assert_eq!(error, "`a.b` must be one name, without a table; a name that holds a separator is put into quotes");
    }

    #[test]
    fn maps_pair_exact_names() {
        assert_eq!(schema_map("a:b, `c:d`:e", MYSQL).unwrap(), [("a".into(), "b".into()), ("c:d".into(), "e".into())]);
        let map = table_map("a.b:c.`d.e`", MYSQL).unwrap();
        assert_eq!(map, [(TableId::new("a", "b"), TableId::new("c", "d.e"))]);
    }

    #[test]
    fn a_target_may_be_quoted_in_either_way() {
        assert_eq!(schema_map("`a`:\"b\"", &['`', '"']).unwrap(), [("a".into(), "b".into())]);
    }

    #[test]
    fn malformed_maps_name_the_entry() {
        let cases = [
            ("a", "`a` must be `source:target`"),
            ("a:b:c", "`a:b:c` must be `source:target`"),
            ("a:", "`a:` must be `schema:schema`; a name that holds a separator is put into quotes"),
            ("a.b:c.d", "`a.b:c.d` must be `schema:schema`; a name that holds a separator is put into quotes"),
        ];
        for (text, message) in cases {
            assert_eq!(schema_map(text, MYSQL).unwrap_err().to_string(), message);
        }
        assert_eq!(
            schema_map("a*:b", MYSQL).unwrap_err().to_string(),
            "`a*:b` holds a pattern, and a map takes none; if the name is meant literally, put it into quotes"
        );
        assert!(table_map("a.b:c", MYSQL).is_err());
        assert!(table_map("r#a#.b:c.d", MYSQL).is_err());
    }

    proptest! {
        #[test]
        fn any_name_comes_back_from_its_quotes(schema in "[^\0]+", table in "[^\0]+") {
            let quote = |name: &str| format!("`{}`", name.replace('`', "``"));
            let text = format!("x.y, {}.{} ,z.*", quote(&schema), quote(&table));
            let list = tables(&text, MYSQL).unwrap();
            prop_assert_eq!(list.len(), 3);
            prop_assert_eq!(&list[1], &pair(exact(&schema), exact(&table)));
            let map = table_map(&format!("{0}.{1}:{1}.{0}", quote(&schema), quote(&table)), MYSQL).unwrap();
            prop_assert_eq!(map, [(TableId::new(&schema, &table), TableId::new(&table, &schema))]);
        }

        #[test]
        fn any_text_at_all_is_read_without_a_panic(text in "([`\"a.,:*?# \u{3000}é]|r#|\\PC)*") {
            let _ = (schemas(&text, MYSQL), tables(&text, &['"']), schema_map(&text, &['`', '"']), table_map(&text, MYSQL));
        }
    }

    #[test]
    fn an_address_in_a_list_is_not_shown() {
        let error = tables("mysql://root:hunter2@db", MYSQL).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
