//! The statements by which rows are written. Pure.

use dt_common::schema::{Column, RoutedTable};
use dt_connector::{Conflict, SinkOptions};

use crate::catalog::CatalogColumn;
use crate::rows;
use crate::sql;
use crate::value::{Kind, Typed};

/// What is done about a row whose key is in the target already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duplicates {
    /// REPLACE: the row that is there goes, whichever unique key it holds, and the new one comes.
    Replace,
    /// The row that is there takes the new values. Where foreign keys are checked, a REPLACE would delete the rows
    /// that refer to it (ON DELETE CASCADE), or be refused.
    Update,
    /// The task stops.
    Refuse,
    /// The row that is there stays as it is.
    Leave,
}

impl Duplicates {
    /// The rule that the options ask for.
    pub fn of(options: &SinkOptions) -> Self {
        match options.conflict {
            Conflict::Replace if options.disable_foreign_key_checks => Duplicates::Replace,
            Conflict::Replace => Duplicates::Update,
            Conflict::Interrupt => Duplicates::Refuse,
            Conflict::Ignore => Duplicates::Leave,
        }
    }
}

/// How the rows of one table are written.
#[derive(Clone, Debug)]
pub struct WritePlan {
    load_data: String,
    insert_head: String,
    insert_tail: String,
    literals: Vec<Literal>,
}

/// How a cell becomes a literal of a multi-row statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Literal {
    /// A number, as it is.
    Bare,
    /// A quoted string: UTF-8 or ASCII text, dates, JSON.
    Quoted,
    /// `x'…'`, preceded by the character set that the bytes are in, if they are text.
    Hex {
        /// The character set, for text.
        charset: Option<String>,
    },
}

impl WritePlan {
    /// Plans a table; `target` are the target's columns.
    pub fn new(table: &RoutedTable, target: &[CatalogColumn], duplicates: Duplicates) -> Self {
        let into = sql::table(&table.target);
        let names: Vec<String> = table.target_columns.iter().map(|name| sql::name(name)).collect();
        let mut fields = Vec::with_capacity(names.len());
        let mut assignments = Vec::new();
        for (at, (source, name)) in table.source.columns.iter().zip(&names).enumerate() {
            let written = &table.target_columns[at];
            let target = target.iter().find(|column| column.column.name.eq_ignore_ascii_case(written));
            match reinterpreted_as(source, target.map(|column| &column.column)) {
                None => fields.push(name.clone()),
                Some(charset) => {
                    fields.push(format!("@v{at}"));
                    assignments.push(format!("{name} = CONVERT(@v{at} USING {charset})"));
                }
            }
        }
        let replace = match duplicates {
            Duplicates::Replace => " REPLACE",
            // With LOCAL, the server leaves duplicates out whatever is said; the sinker counts them.
            Duplicates::Update | Duplicates::Refuse | Duplicates::Leave => "",
        };
        let set = if assignments.is_empty() { String::new() } else { format!(" SET {}", assignments.join(", ")) };
        let load_data = format!(
            "LOAD DATA LOCAL INFILE 'dt'{replace} INTO TABLE {into} CHARACTER SET binary \
             FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' ({}){set}",
            fields.join(", ")
        );
        let (verb, insert_tail) = match duplicates {
            Duplicates::Replace => ("REPLACE", String::new()),
            Duplicates::Refuse => ("INSERT", String::new()),
            Duplicates::Update => {
                let updates: Vec<String> = names.iter().map(|name| format!("{name} = VALUES({name})")).collect();
                ("INSERT", format!(" ON DUPLICATE KEY UPDATE {}", updates.join(", ")))
            }
            // Leaves the row that is there as it is, and unlike IGNORE hides no other error.
            Duplicates::Leave => ("INSERT", format!(" ON DUPLICATE KEY UPDATE {0} = {into}.{0}", names[0])),
        };
        WritePlan {
            load_data,
            insert_head: format!("{verb} INTO {into} ({}) VALUES ", names.join(", ")),
            insert_tail,
            literals: table.source.columns.iter().map(Literal::of).collect(),
        }
    }

    /// The statement that loads a stream of rows.
    pub fn load_data(&self) -> &str {
        &self.load_data
    }

    /// One multi-row statement for the first of `rows` (at least one), of `rows_max` rows and about `bytes_max` bytes
    /// at most; a single larger row is a statement of its own. Returns how many rows it holds.
    pub fn statement(&self, rows: &[&[u8]], rows_max: usize, bytes_max: usize) -> (Vec<u8>, usize) {
        let mut statement = self.insert_head.clone().into_bytes();
        let mut text = Vec::new();
        let mut count = 0;
        for row in rows {
            text.clear();
            self.push_row(&mut text, row);
            if count > 0 && (count == rows_max || statement.len() + text.len() > bytes_max) {
                break;
            }
            if count > 0 {
                statement.push(b',');
            }
            statement.extend_from_slice(&text);
            count += 1;
        }
        statement.extend_from_slice(self.insert_tail.as_bytes());
        (statement, count)
    }

    fn push_row(&self, out: &mut Vec<u8>, row: &[u8]) {
        out.push(b'(');
        for (at, (value, literal)) in rows::values(row).zip(&self.literals).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            literal.push(out, value.as_deref());
        }
        out.push(b')');
    }
}

/// `LOAD DATA … CHARACTER SET binary` copies bytes. Where the target keeps text in another character set than the
/// source, or its type takes no binary string, the bytes are first given the character set that they are in.
fn reinterpreted_as<'c>(source: &'c Column, target: Option<&Column>) -> Option<&'c str> {
    let typed = Typed::new(source)?;
    match typed.kind {
        Kind::Json | Kind::Special => Some("utf8mb4"),
        Kind::Text | Kind::Enum | Kind::Set => {
            let from = source.charset.as_deref()?;
            let to = target.and_then(|column| column.charset.as_deref());
            // No character set there: MySQL's JSON, which takes text only.
            (to != Some(from)).then_some(from)
        }
        Kind::Integer
        | Kind::Decimal
        | Kind::Float
        | Kind::Double
        | Kind::Bit
        | Kind::Year
        | Kind::Temporal
        | Kind::Binary
        | Kind::Geometry
        | Kind::Vector => None,
    }
}

impl Literal {
    /// How cells of a source's column are written.
    pub fn of(column: &Column) -> Self {
        let Some(typed) = Typed::new(column) else { return Literal::Hex { charset: None } };
        match typed.kind {
            Kind::Integer | Kind::Decimal => Literal::Bare,
            // As text: the number -0 would be the double 0; and the number 0 would be the year 0, the text '0000' is.
            Kind::Float | Kind::Double | Kind::Year | Kind::Temporal | Kind::Json | Kind::Special => Literal::Quoted,
            Kind::Bit | Kind::Binary | Kind::Geometry | Kind::Vector => Literal::Hex { charset: None },
            Kind::Text | Kind::Enum | Kind::Set => {
                if typed.is_utf8() {
                    Literal::Quoted
                } else {
                    Literal::Hex { charset: column.charset.clone() }
                }
            }
        }
    }

    /// Appends a value; `None` is null.
    pub fn push(&self, out: &mut Vec<u8>, value: Option<&[u8]>) {
        match (value, self) {
            (None, _) => out.extend_from_slice(b"NULL"),
            (Some(value), Literal::Bare) => out.extend_from_slice(value),
            (Some(value), Literal::Quoted) => sql::push_string(out, value),
            (Some(value), Literal::Hex { charset }) => {
                if let Some(charset) = charset {
                    out.push(b'_');
                    out.extend_from_slice(charset.as_bytes());
                    out.push(b' ');
                }
                sql::push_hex(out, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use dt_common::TableId;
    use dt_common::schema::TableSchema;

    use super::*;

    fn column(name: &str, data_type: &str, charset: Option<&str>) -> Column {
        Column {
            name: name.into(),
            data_type: data_type.into(),
            nullable: true,
            charset: charset.map(Into::into),
            collation: None,
            binary_form: None,
        }
    }

    fn plan(columns: Vec<Column>, target: Vec<Column>, duplicates: Duplicates) -> WritePlan {
        let table = RoutedTable {
            target_columns: columns.iter().map(|column| column.name.clone()).collect(),
            source: TableSchema { id: TableId::new("s", "t"), columns, key: None, rows_estimate: 0 },
            target: TableId::new("d", "t"),
        };
        let target: Vec<CatalogColumn> =
            target.into_iter().map(|column| CatalogColumn { column, generated: false, optional: true }).collect();
        WritePlan::new(&table, &target, duplicates)
    }

    #[test]
    fn equal_character_sets_load_bytes_and_others_say_what_the_bytes_are() {
        let source = vec![
            column("id", "int", None),
            column("a", "varchar(9)", Some("latin1")),
            column("b", "text", Some("latin1")),
            column("j", "json", None),
            column("raw", "blob", None),
        ];
        let target = vec![
            column("id", "int", None),
            column("a", "varchar(9)", Some("latin1")),
            column("b", "text", Some("utf8mb4")),
            column("j", "json", None),
            column("raw", "blob", None),
        ];
        assert_eq!(
            plan(source, target, Duplicates::Replace).load_data(),
            "LOAD DATA LOCAL INFILE 'dt' REPLACE INTO TABLE `d`.`t` CHARACTER SET binary \
             FIELDS TERMINATED BY '\\t' ESCAPED BY '\\\\' LINES TERMINATED BY '\\n' \
             (`id`, `a`, @v2, @v3, `raw`) SET `b` = CONVERT(@v2 USING latin1), `j` = CONVERT(@v3 USING utf8mb4)"
        );
    }

    fn texts(plan: &WritePlan, block: &[u8], rows_max: usize, bytes_max: usize) -> Vec<String> {
        let rows: Vec<&[u8]> = rows::rows(block).collect();
        let mut texts = Vec::new();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let (statement, count) = plan.statement(rest, rows_max, bytes_max);
            texts.push(String::from_utf8(statement).expect("utf-8"));
            rest = &rest[count..];
        }
        texts
    }

    #[test]
    fn rows_become_multi_row_statements_within_both_bounds() {
        let columns =
            || vec![column("id", "int", None), column("a", "varchar(9)", Some("utf8mb4")), column("raw", "blob", None)];
        let plan = plan(columns(), columns(), Duplicates::Replace);
        let rows = b"1\tit's\tx\n2\t\\N\t\\\\\n3\t\ty\n";
        assert_eq!(
            texts(&plan, rows, 2, 1000),
            [
                r"REPLACE INTO `d`.`t` (`id`, `a`, `raw`) VALUES (1,'it\'s',x'78'),(2,NULL,x'5c')",
                "REPLACE INTO `d`.`t` (`id`, `a`, `raw`) VALUES (3,'',x'79')",
            ]
        );
        assert_eq!(texts(&plan, rows, 100, 10).len(), 3, "each row alone when the bound is tiny");
    }

    #[test]
    fn a_duplicate_is_replaced_updated_refused_or_left() {
        let columns = || vec![column("id", "int", None)];
        let first = |duplicates| texts(&plan(columns(), columns(), duplicates), b"1\n", 9, 999).concat();
        assert_eq!(first(Duplicates::Replace), "REPLACE INTO `d`.`t` (`id`) VALUES (1)");
        assert_eq!(
            first(Duplicates::Update),
            "INSERT INTO `d`.`t` (`id`) VALUES (1) ON DUPLICATE KEY UPDATE `id` = VALUES(`id`)"
        );
        assert_eq!(first(Duplicates::Refuse), "INSERT INTO `d`.`t` (`id`) VALUES (1)");
        assert_eq!(
            first(Duplicates::Leave),
            "INSERT INTO `d`.`t` (`id`) VALUES (1) ON DUPLICATE KEY UPDATE `id` = `d`.`t`.`id`"
        );
        assert!(plan(columns(), columns(), Duplicates::Refuse).load_data().contains("INFILE 'dt' INTO TABLE"));
    }

    #[test]
    fn text_of_another_character_set_is_written_as_hex_that_names_it() {
        let columns = || vec![column("a", "varchar(9)", Some("gbk"))];
        let plan = plan(columns(), columns(), Duplicates::Replace);
        assert_eq!(texts(&plan, b"\xd6\xd0\n", 9, 999).concat(), "REPLACE INTO `d`.`t` (`a`) VALUES (_gbk x'd6d0')");
    }
}
