//! What kind of statement a text is, by its first words.
//!
//! This never parses a statement: it passes over comments and looks at the words that decide.

use super::xid::Xid;

/// What a statement in the binlog is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatementKind {
    /// `BEGIN`, `START TRANSACTION`: a transaction's rows follow.
    Begin,
    /// `COMMIT`: of a transaction on tables without transactions, mostly; others end with an XID event.
    Commit,
    /// `ROLLBACK`: the whole transaction did not happen.
    Rollback,
    /// `SAVEPOINT`.
    Savepoint,
    /// `ROLLBACK TO`: what came after the savepoint did not happen, as far as it can be undone.
    RollbackToSavepoint,
    /// `RELEASE SAVEPOINT`.
    ReleaseSavepoint,
    /// `XA START` or `XA BEGIN`: an XA transaction's rows follow.
    XaStart(Xid),
    /// `XA END`: they end.
    XaEnd(Xid),
    /// `XA PREPARE`.
    XaPrepare(Xid),
    /// `XA COMMIT`.
    XaCommit {
        /// The transaction's name.
        xid: Xid,
        /// Whether it was not prepared before.
        one_phase: bool,
    },
    /// `XA ROLLBACK`.
    XaRollback(Xid),
    /// `CREATE`, `ALTER`, `DROP`, `RENAME`, `TRUNCATE`: what tables look like may change, or all of a table's rows go.
    Ddl,
    /// Changes rows by its text: `INSERT`, `UPDATE`, `DELETE`, `REPLACE`, `LOAD`, `CALL` and the like.
    Dml,
    /// Changes neither rows nor tables: accounts, privileges, maintenance.
    Administration,
    /// Anything else.
    Other,
}

/// The kind of a statement, given as bytes in a character set that holds ASCII.
pub fn kind_of(sql: &[u8]) -> StatementKind {
    let mut tokens = Tokens { rest: sql };
    let Some(mut first) = tokens.next() else { return StatementKind::Other };
    // MariaDB's SET STATEMENT variable = value, … FOR statement.
    if first.is("SET") && tokens.clone().next().is_some_and(|token| token.is("STATEMENT")) {
        let statement = tokens.by_ref().skip_while(|token| !token.is("FOR")).nth(1);
        let Some(statement) = statement else { return StatementKind::Other };
        first = statement;
    }
    let Token::Word(word) = first else {
        // `(SELECT …)`, a stray quote: nothing that a server logs.
        return StatementKind::Other;
    };
    match word.to_ascii_uppercase().as_slice() {
        b"BEGIN" => StatementKind::Begin,
        b"START" if tokens.next().is_some_and(|token| token.is("TRANSACTION")) => StatementKind::Begin,
        b"COMMIT" => StatementKind::Commit,
        b"ROLLBACK" => match tokens.find(|token| !token.is("WORK")) {
            Some(token) if token.is("TO") => StatementKind::RollbackToSavepoint,
            Some(_) | None => StatementKind::Rollback,
        },
        b"SAVEPOINT" => StatementKind::Savepoint,
        b"RELEASE" => StatementKind::ReleaseSavepoint,
        b"XA" => xa(&mut tokens).unwrap_or(StatementKind::Other),
        b"CREATE" | b"DROP" | b"ALTER" | b"RENAME" => schema_or_account(&mut tokens),
        b"TRUNCATE" => StatementKind::Ddl,
        b"INSERT" | b"UPDATE" | b"DELETE" | b"REPLACE" | b"LOAD" | b"CALL" | b"WITH" | b"SELECT" | b"DO"
        | b"IMPORT" | b"EXECUTE" => StatementKind::Dml,
        b"GRANT" | b"REVOKE" | b"SET" | b"FLUSH" | b"ANALYZE" | b"OPTIMIZE" | b"REPAIR" | b"CHECK" | b"INSTALL"
        | b"UNINSTALL" | b"RESET" | b"KILL" => StatementKind::Administration,
        _ => StatementKind::Other,
    }
}

/// What follows `CREATE`, `DROP`, `ALTER`, `RENAME`: accounts are no tables.
fn schema_or_account(tokens: &mut Tokens<'_>) -> StatementKind {
    let object = tokens.find(|token| !["OR", "REPLACE"].iter().any(|word| token.is(word)));
    match object {
        Some(token) if ["USER", "ROLE", "RESOURCE", "INSTANCE"].iter().any(|word| token.is(word)) => {
            StatementKind::Administration
        }
        Some(_) | None => StatementKind::Ddl,
    }
}

fn xa(tokens: &mut Tokens<'_>) -> Option<StatementKind> {
    let Some(Token::Word(verb)) = tokens.next() else { return None };
    let xid = xid(tokens)?;
    match verb.to_ascii_uppercase().as_slice() {
        b"START" | b"BEGIN" => Some(StatementKind::XaStart(xid)),
        b"END" => Some(StatementKind::XaEnd(xid)),
        b"PREPARE" => Some(StatementKind::XaPrepare(xid)),
        b"COMMIT" => {
            Some(StatementKind::XaCommit { xid, one_phase: tokens.next().is_some_and(|token| token.is("ONE")) })
        }
        b"ROLLBACK" => Some(StatementKind::XaRollback(xid)),
        _ => None,
    }
}

/// `X'6774',X'6271',7`, as servers log it; branch and format may be missing, and names may be plain strings.
fn xid(tokens: &mut Tokens<'_>) -> Option<Xid> {
    let mut xid = Xid { format: 1, global: xid_name(tokens)?, branch: Vec::new() };
    if !tokens.clone().next().is_some_and(|token| token == Token::Sign(b',')) {
        return Some(xid);
    }
    tokens.next();
    xid.branch = xid_name(tokens)?;
    if !tokens.clone().next().is_some_and(|token| token == Token::Sign(b',')) {
        return Some(xid);
    }
    tokens.next();
    let Some(Token::Word(format)) = tokens.next() else { return None };
    xid.format = std::str::from_utf8(format).ok()?.parse().ok()?;
    Some(xid)
}

fn xid_name(tokens: &mut Tokens<'_>) -> Option<Vec<u8>> {
    match tokens.next()? {
        Token::Quoted(name) => Some(name.to_vec()),
        Token::Word(b"X" | b"x") => match tokens.next()? {
            Token::Quoted(hex) => bytes_of_hex(hex),
            Token::Word(_) | Token::Sign(_) => None,
        },
        Token::Word(word) => word.strip_prefix(b"0x").and_then(bytes_of_hex),
        Token::Sign(_) => None,
    }
}

fn bytes_of_hex(hex: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, odd) = hex.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// Letters, digits, `_`, `$` and all that is not ASCII.
    Word(&'a [u8]),
    /// What stands within `'`, `"` or back-ticks, as written.
    Quoted(&'a [u8]),
    /// Any other byte.
    Sign(u8),
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        matches!(self, Token::Word(own) if own.eq_ignore_ascii_case(word.as_bytes()))
    }
}

/// The tokens of a statement. What stands in a `/*! … */` is part of it, for the server executed it.
#[derive(Clone)]
struct Tokens<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_comments();
        let (&first, behind) = self.rest.split_first()?;
        if is_of_word(first) {
            let length = self.rest.iter().position(|byte| !is_of_word(*byte)).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(length);
            self.rest = rest;
            return Some(Token::Word(word));
        }
        if matches!(first, b'\'' | b'"' | b'`') {
            let length = quoted_length(behind, first);
            let (quoted, rest) = behind.split_at(length);
            self.rest = rest.get(1..).unwrap_or_default();
            return Some(Token::Quoted(quoted));
        }
        self.rest = behind;
        Some(Token::Sign(first))
    }
}

impl Tokens<'_> {
    fn skip_comments(&mut self) {
        loop {
            let before = self.rest.len();
            self.rest = self.rest.trim_ascii_start();
            let rest = self.rest;
            let dashes = rest.starts_with(b"--") && rest.get(2).is_none_or(|byte| *byte <= b' ');
            if dashes || rest.starts_with(b"#") {
                let line = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
                self.rest = &rest[line..];
            } else if let Some(run) = rest.strip_prefix(b"/*!").or_else(|| rest.strip_prefix(b"/*M!")) {
                // The version from which on it is run.
                let digits = run.iter().take_while(|byte| byte.is_ascii_digit()).count();
                self.rest = &run[digits..];
            } else if let Some(comment) = rest.strip_prefix(b"/*") {
                let end = comment.windows(2).position(|pair| pair == b"*/").map_or(comment.len(), |at| at + 2);
                self.rest = &comment[end..];
            } else if let Some(behind) = rest.strip_prefix(b"*/") {
                self.rest = behind;
            }
            if self.rest.len() == before {
                return;
            }
        }
    }
}

fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$') || !byte.is_ascii()
}

/// How far the closing quote is. Only in names and in short literals is this looked for, never in user data: a
/// back-slash escapes in strings, a doubled quote is part of the text.
fn quoted_length(text: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'\\' && quote != b'`' {
            at += 2;
        } else if text[at] == quote {
            if text.get(at + 1) != Some(&quote) {
                return at;
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_words_decide() {
        use StatementKind as K;
        for (sql, kind) in [
            ("BEGIN", K::Begin),
            ("start  transaction", K::Begin),
            ("COMMIT", K::Commit),
            ("ROLLBACK", K::Rollback),
            ("ROLLBACK WORK", K::Rollback),
            ("ROLLBACK TO `sp`", K::RollbackToSavepoint),
            ("rollback work to savepoint sp", K::RollbackToSavepoint),
            ("SAVEPOINT `sp`", K::Savepoint),
            ("RELEASE SAVEPOINT `sp`", K::ReleaseSavepoint),
            ("create table t (i int)", K::Ddl),
            ("TRUNCATE TABLE t", K::Ddl),
            ("CREATE OR REPLACE TABLE t (i int)", K::Ddl),
            ("CREATE USER 'a'@'b'", K::Administration),
            ("CREATE OR REPLACE USER a", K::Administration),
            ("DROP ROLE r", K::Administration),
            ("GRANT ALL ON *.* TO a", K::Administration),
            ("insert into t values (1)", K::Dml),
            ("FLUSH TABLES", K::Administration),
            ("SET PASSWORD FOR a = 'x'", K::Administration),
            ("SET STATEMENT max_statement_time=9, a='FOR' FOR CREATE TABLE q (id int)", K::Ddl),
            ("SET STATEMENT x=1", K::Other),
            ("# COMMIT", K::Other),
            ("", K::Other),
            ("(select 1)", K::Other),
            ("FROBNICATE", K::Other),
        ] {
            assert_eq!(kind_of(sql.as_bytes()), kind, "{sql}");
        }
    }

    #[test]
    fn comments_are_passed_over_and_what_the_server_ran_in_them_is_not() {
        use StatementKind as K;
        for (sql, kind) in [
            ("/* ApplicationName=x */ drop table t", K::Ddl),
            ("/*!40000 ALTER TABLE t DISABLE KEYS */", K::Ddl),
            ("/*M!100100 BEGIN */", K::Begin),
            ("-- insert\nBEGIN", K::Begin),
            ("--insert", K::Other),
            ("# x\n\t/**/COMMIT/* WORK */", K::Commit),
            ("/* never closed BEGIN", K::Other),
        ] {
            assert_eq!(kind_of(sql.as_bytes()), kind, "{sql}");
        }
    }

    #[test]
    fn xa_statements_name_their_transaction() {
        let xid = Xid { format: 7, global: b"gt".to_vec(), branch: b"bq".to_vec() };
        assert_eq!(kind_of(b"XA START X'6774',X'6271',7"), StatementKind::XaStart(xid.clone()));
        assert_eq!(kind_of(b"XA END X'6774',X'6271',7"), StatementKind::XaEnd(xid.clone()));
        let commit = |one_phase| StatementKind::XaCommit { xid: xid.clone(), one_phase };
        assert_eq!(kind_of(b"XA COMMIT X'6774',X'6271',7"), commit(false));
        assert_eq!(kind_of(b"xa commit 'gt' , 'bq' , 7 one phase"), commit(true));
        let short = Xid { format: 1, global: b"gt".to_vec(), branch: Vec::new() };
        assert_eq!(kind_of(b"XA ROLLBACK 0x6774"), StatementKind::XaRollback(short.clone()));
        assert_eq!(kind_of(b"XA PREPARE 'gt'"), StatementKind::XaPrepare(short));
        assert_eq!(kind_of(b"XA COMMIT X'677',X'',1"), StatementKind::Other);
        assert_eq!(kind_of(b"XA RECOVER"), StatementKind::Other);
    }

    proptest! {
        #[test]
        fn any_bytes_are_of_some_kind(sql in prop::collection::vec(any::<u8>(), 0..80)) {
            kind_of(&sql);
        }

        #[test]
        fn any_text_of_signs_is_of_some_kind(sql in "(XA |SET STATEMENT |[-#/*!'\"`\\\\ ,xX0-9\n]){0,30}") {
            kind_of(sql.as_bytes());
        }
    }
}
