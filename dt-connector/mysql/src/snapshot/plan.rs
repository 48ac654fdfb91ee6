//! The statements by which a table is read. Pure.
//!
//! A table with a key is read in pages, `where k > … order by k limit n`, which is sound within one server and one unique
//! key, whatever the collation. Rows that have a null in the key come first, as a range of their own: nulls are not
//! unique. A table without a key is one stream.

use dt_common::position::{KeyPart, KeyText, OrderKey};
use dt_common::schema::TableSchema;
use dt_common::{Error, Result};
use dt_connector::{Start, TableTask};

use crate::sql;
use crate::value::{Kind, Typed};

/// How one table is read.
#[derive(Debug)]
pub struct TablePlan<'a> {
    table: &'a TableSchema,
    columns: Vec<Typed<'a>>,
    key: Vec<KeyColumn>,
    condition: Option<&'a str>,
    until: Option<&'a OrderKey>,
    select: String,
}

/// A column of the key, by its place in [`TableSchema::columns`] and in what is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyColumn {
    column: usize,
    cell: usize,
}

/// A part of a table that is read with one statement, or page by page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Range {
    /// All rows, in no order: a table without a key.
    Whole,
    /// Rows that have a null in the key, in no order.
    NullKeys,
    /// Rows without nulls in the key, in the key's order, after a row, with or without the first key value itself.
    Keyed(From),
    /// A table without a key: rows whose first column is greater than this value or null, in no order.
    AfterFirstColumn(OrderKey),
}

/// Where a keyed range begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// With the first row.
    First,
    /// After the row of this key.
    After(OrderKey),
    /// At this value of the first column.
    At(OrderKey),
}

impl<'a> TablePlan<'a> {
    /// Plans a table with its `where_conditions`.
    ///
    /// # Errors
    /// A column's type is not known.
    pub fn new(table: &'a TableSchema, condition: Option<&'a str>) -> Result<Self> {
        let columns = table
            .columns
            .iter()
            .map(|column| {
                Typed::new(column).ok_or_else(|| {
                    Error::user(format!("column `{}` has the unknown type `{}`", column.name, column.data_type))
                        .with("table", &table.id)
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut selected: Vec<String> = columns.iter().map(|column| column.select()).collect();
        let key = table
            .key
            .iter()
            .flat_map(|key| &key.columns)
            .map(|&column| {
                let cell = match columns[column].select_key() {
                    None => column,
                    Some(expression) => {
                        selected.push(expression);
                        selected.len() - 1
                    }
                };
                KeyColumn { column, cell }
            })
            .collect();
        Ok(TablePlan { table, columns, key, condition, until: None, select: selected.join(", ") })
    }

    /// Plans a task: a table, or a chunk of one.
    ///
    /// # Errors
    /// As [`TablePlan::new`].
    pub fn of_task(task: &'a TableTask) -> Result<Self> {
        let plan = TablePlan::new(&task.table.source, task.condition.as_deref())?;
        Ok(TablePlan { until: task.until(), ..plan })
    }

    /// How many of the selected cells are the row; what follows them serves the key only.
    pub fn row_cells(&self) -> usize {
        self.columns.len()
    }

    /// Whether the table has a key.
    pub fn is_keyed(&self) -> bool {
        !self.key.is_empty()
    }

    /// The ranges that remain to be read, in order.
    ///
    /// # Errors
    /// The start holds a value that its column cannot hold, or does not fit the table.
    pub fn start_ranges(&self, start: &Start) -> Result<Vec<Range>> {
        let nullable = self.table.key.as_ref().is_some_and(|key| key.nullable);
        let nulls = |wanted: bool| if nullable && wanted { vec![Range::NullKeys] } else { Vec::new() };
        let ranges = match start {
            Start::Beginning if self.is_keyed() => {
                let mut ranges = nulls(true);
                ranges.push(Range::Keyed(From::First));
                ranges
            }
            Start::Beginning => vec![Range::Whole],
            Start::After { key, null_keys_done } => {
                let mut ranges = nulls(!null_keys_done);
                ranges.push(Range::Keyed(From::After(key.clone())));
                ranges
            }
            Start::AtPrefix { key } => {
                let mut ranges = nulls(true);
                ranges.push(Range::Keyed(From::At(key.clone())));
                ranges
            }
            Start::AfterFirstColumn { key } => vec![Range::AfterFirstColumn(key.clone())],
        };
        // The statements are built once here, so that a value that does not fit is found before the first row.
        for range in &ranges {
            self.statement(range, 1)?;
        }
        Ok(ranges)
    }

    /// The statement that reads the range's next `limit` rows; ranges in no order are read whole.
    ///
    /// # Errors
    /// As [`TablePlan::start_ranges`].
    pub fn statement(&self, range: &Range, limit: u64) -> Result<String> {
        let mut conditions: Vec<String> = Vec::new();
        // The user's own SQL stands in parentheses, on lines of its own, for it may end in a comment.
        conditions.extend(self.condition.map(|condition| format!("(\n{condition}\n)")));
        let mut force = String::new();
        let mut tail = String::new();
        match range {
            Range::Whole => {}
            Range::NullKeys => conditions.push(format!("({})", self.each_key_column("IS NULL", " OR "))),
            Range::AfterFirstColumn(key) => {
                let (name, after) = self.first_column(key)?;
                conditions.push(format!("({after} OR {name} IS NULL)"));
            }
            Range::Keyed(from) => {
                force = self.force_index();
                conditions.extend(self.no_nulls());
                match from {
                    From::First => {}
                    From::After(key) => conditions.push(format!("({})", self.after(key)?)),
                    From::At(key) => conditions.push(self.at(key)?),
                }
                if let Some(until) = self.until {
                    conditions.push(format!("({})", self.until(until)?));
                }
                tail = format!("{} LIMIT {limit}", self.order_by());
            }
        }
        let filter = where_all(&conditions);
        Ok(format!("SELECT {} FROM {}{force}{filter}{tail}", self.select, sql::table(&self.table.id)))
    }

    /// The statement that finds the key of the row that comes so many rows after a key, or after the beginning; its
    /// cells are for [`TablePlan::bound_of`].
    ///
    /// # Errors
    /// The key holds a value that its column cannot hold.
    pub fn bound_statement(&self, after: Option<&OrderKey>, skip: u64) -> Result<String> {
        let mut conditions: Vec<String> = self.no_nulls().into_iter().collect();
        if let Some(key) = after {
            conditions.push(format!("({})", self.after(key)?));
        }
        let cells: Vec<String> = self
            .key
            .iter()
            .map(|key| self.columns[key.column])
            .flat_map(|typed| [typed.select(), typed.select_key().unwrap_or_else(|| typed.select())])
            .collect();
        let (table, force, order) = (sql::table(&self.table.id), self.force_index(), self.order_by());
        let filter = where_all(&conditions);
        Ok(format!("SELECT {} FROM {table}{force}{filter}{order} LIMIT 1 OFFSET {skip}", cells.join(", ")))
    }

    /// The key that [`TablePlan::bound_statement`] has found.
    ///
    /// # Errors
    /// As [`TablePlan::key_of`].
    pub fn bound_of<'c>(&self, cell: impl Fn(usize) -> Option<&'c [u8]>) -> Result<OrderKey> {
        self.key(|at, _| (cell(2 * at + 1), cell(2 * at)))
    }

    /// The statement that finds the least and the greatest value of a key of one whole number; `None` for other keys.
    pub fn span_statement(&self) -> Option<String> {
        let [key] = self.key.as_slice() else { return None };
        let typed = self.columns[key.column];
        let name = sql::name(&typed.column.name);
        let table = sql::table(&self.table.id);
        (typed.kind == Kind::Integer).then(|| format!("SELECT MIN({name}), MAX({name}) FROM {table}"))
    }

    /// The key of one whole number with this value.
    pub fn whole_number(&self, value: i128) -> OrderKey {
        let column = self.columns[self.key[0].column].column;
        OrderKey::single(&column.name, KeyText::Text(value.to_string()))
    }

    /// The key of a row, from its selected cells.
    ///
    /// # Errors
    /// A cell of the key is null, or holds bytes that are not text, so that the row could not be found again.
    pub fn key_of<'c>(&self, cell: impl Fn(usize) -> Option<&'c [u8]>) -> Result<OrderKey> {
        self.key(|_, key| (cell(key.cell), cell(key.column)))
    }

    fn key<'c>(&self, cells: impl Fn(usize, &KeyColumn) -> (Option<&'c [u8]>, Option<&'c [u8]>)) -> Result<OrderKey> {
        let parts = self
            .key
            .iter()
            .enumerate()
            .map(|(at, key)| {
                let typed = self.columns[key.column];
                let column = &self.table.columns[key.column].name;
                let (key_cell, value_cell) = cells(at, key);
                let value = typed.key(key_cell, value_cell).ok_or_else(|| {
                    Error::user(format!(
                        "a row's key in column `{column}` cannot be used to find the row again: it is not valid in its character set"
                    ))
                    .with("table", &self.table.id)
                    .hint("mend the row, or leave it out with [filter] where_conditions")
                })?;
                Ok(KeyPart { column: column.clone(), value })
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(OrderKey::new(parts).expect("plan: the key of a table without one"))
    }

    /// The range after a row that was read in the keyed range `range`.
    ///
    /// # Errors
    /// It is the row that the range begins after: the server does not compare the key as it orders it, and the table
    /// would be read for ever.
    pub fn onwards(&self, range: &Range, key: &OrderKey) -> Result<Range> {
        if *range == Range::Keyed(From::After(key.clone())) {
            return Err(Error::fatal("the rows after a key end with that key again").with("table", &self.table.id).hint(
                "the server orders this key otherwise than it compares it; CHECK TABLE tells whether the index is sound, and [filter] ignore_tbs leaves the table out",
            ));
        }
        Ok(Range::Keyed(From::After(key.clone())))
    }

    fn force_index(&self) -> String {
        let key = self.table.key.as_ref().expect("plan: a keyed range of a table without a key");
        format!(" FORCE INDEX ({})", sql::name(&key.name))
    }

    fn order_by(&self) -> String {
        let order: Vec<String> = self.key.iter().map(|key| sql::name(&self.table.columns[key.column].name)).collect();
        format!(" ORDER BY {}", order.join(", "))
    }

    fn no_nulls(&self) -> Option<String> {
        let nullable = self.table.key.as_ref().is_some_and(|key| key.nullable);
        nullable.then(|| self.each_key_column("IS NOT NULL", " AND "))
    }

    fn each_key_column(&self, test: &str, join: &str) -> String {
        let tests: Vec<String> = self
            .key
            .iter()
            .map(|key| &self.table.columns[key.column])
            .filter(|column| column.nullable)
            .map(|column| format!("{} {test}", sql::name(&column.name)))
            .collect();
        tests.join(join)
    }

    /// `a > 1 OR (a = 1 AND b > 2)`, for MySQL does not use an index for `(a, b) > (1, 2)`.
    fn after(&self, key: &OrderKey) -> Result<String> {
        self.beyond(key, ">", ">")
    }

    /// `a < 1 OR (a = 1 AND b <= 2)`.
    fn until(&self, key: &OrderKey) -> Result<String> {
        self.beyond(key, "<", "<=")
    }

    fn beyond(&self, key: &OrderKey, sign: &str, last_sign: &str) -> Result<String> {
        if key.parts().len() != self.key.len() {
            return Err(self.does_not_fit("has another number of columns than the table's key"));
        }
        let literals = self.key.iter().zip(key.parts()).map(|(column, part)| self.compare(column.column, part));
        let literals = literals.collect::<Result<Vec<_>>>()?;
        let alternatives: Vec<String> = (0..literals.len())
            .map(|last| {
                let equal = literals[..last].iter().map(|(name, literal)| format!("{name} = {literal}"));
                let (name, literal) = &literals[last];
                let sign = if last + 1 == literals.len() { last_sign } else { sign };
                let terms: Vec<String> = equal.chain([format!("{name} {sign} {literal}")]).collect();
                if terms.len() == 1 { terms.concat() } else { format!("({})", terms.join(" AND ")) }
            })
            .collect();
        Ok(alternatives.join(" OR "))
    }

    fn at(&self, key: &OrderKey) -> Result<String> {
        let (Some(first), [part]) = (self.key.first(), key.parts()) else {
            return Err(self.does_not_fit("is no prefix of the table's key"));
        };
        let (name, literal) = self.compare(first.column, part)?;
        Ok(format!("{name} >= {literal}"))
    }

    fn first_column(&self, key: &OrderKey) -> Result<(String, String)> {
        let [part] = key.parts() else {
            return Err(self.does_not_fit("has more than one column"));
        };
        let (name, literal) = self.compare(0, part)?;
        Ok((sql::name(&self.table.columns[0].name), format!("{name} > {literal}")))
    }

    fn compare(&self, column: usize, part: &KeyPart) -> Result<(String, String)> {
        let typed = self.columns[column];
        if typed.column.name != part.column {
            return Err(self.does_not_fit(&format!("is of column `{}`, not `{}`", part.column, typed.column.name)));
        }
        let literal = typed.literal(&part.value).ok_or_else(|| {
            self.does_not_fit(&format!("is no value of column `{}` ({})", part.column, typed.column.data_type))
        })?;
        Ok((typed.compare(), literal))
    }

    fn does_not_fit(&self, what: &str) -> Error {
        Error::user(format!("the stored key {what}"))
            .with("table", &self.table.id)
            .hint("if the table was changed since, take its line out of position.log (or resume.config): it is then copied from its beginning")
    }
}

fn where_all(conditions: &[String]) -> String {
    if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) }
}

#[cfg(test)]
mod tests {
    use dt_common::TableId;
    use dt_common::position::KeyText;
    use dt_common::schema::{Column, Key};

    use super::*;

    fn table(columns: &[(&str, &str, bool)], key: Option<(&str, &[usize], bool)>) -> TableSchema {
        TableSchema {
            id: TableId::new("d", "t"),
            columns: columns
                .iter()
                .map(|(name, data_type, nullable)| Column {
                    name: (*name).into(),
                    data_type: (*data_type).into(),
                    nullable: *nullable,
                    charset: None,
                    collation: None,
                    binary_form: None,
                })
                .collect(),
            key: key.map(|(name, columns, nullable)| Key { name: name.into(), columns: columns.to_vec(), nullable }),
            rows_estimate: 0,
        }
    }

    fn statements(table: &TableSchema, condition: Option<&str>, start: &Start) -> Vec<String> {
        let plan = TablePlan::new(table, condition).expect("a plan");
        let ranges = plan.start_ranges(start).expect("a start");
        ranges.iter().map(|range| plan.statement(range, 100).expect("a statement")).collect()
    }

    fn key(parts: &[(&str, &str)]) -> OrderKey {
        OrderKey::new(
            parts
                .iter()
                .map(|(column, value)| KeyPart { column: (*column).into(), value: KeyText::Text((*value).into()) })
                .collect(),
        )
        .expect("parts")
    }

    #[test]
    fn a_single_key_is_paged() {
        let table = table(&[("id", "int", false), ("v", "float", true)], Some(("PRIMARY", &[0], false)));
        assert_eq!(
            statements(&table, None, &Start::Beginning),
            ["SELECT `id`, `v`*1e0 FROM `d`.`t` FORCE INDEX (`PRIMARY`) ORDER BY `id` LIMIT 100"]
        );
        assert_eq!(
            statements(
                &table,
                Some("v > 1 or id = 7"),
                &Start::After { key: key(&[("id", "6")]), null_keys_done: false }
            ),
            [
                "SELECT `id`, `v`*1e0 FROM `d`.`t` FORCE INDEX (`PRIMARY`) WHERE (\nv > 1 or id = 7\n) AND (`id` > 6) ORDER BY `id` LIMIT 100"
            ]
        );
    }

    #[test]
    fn a_composite_key_is_compared_column_by_column() {
        let table = table(
            &[("a", "int", false), ("b", "date", false), ("c", "int", false)],
            Some(("PRIMARY", &[2, 1, 0], false)),
        );
        let start = Start::After { key: key(&[("c", "1"), ("b", "2024-01-01"), ("a", "-3")]), null_keys_done: false };
        assert_eq!(
            statements(&table, None, &start),
            [
                "SELECT `a`, `b`, `c` FROM `d`.`t` FORCE INDEX (`PRIMARY`) WHERE (`c` > 1 OR (`c` = 1 AND `b` > '2024-01-01') \
              OR (`c` = 1 AND `b` = '2024-01-01' AND `a` > -3)) ORDER BY `c`, `b`, `a` LIMIT 100"
            ]
        );
        assert_eq!(
            statements(&table, None, &Start::AtPrefix { key: key(&[("c", "5")]) }),
            [
                "SELECT `a`, `b`, `c` FROM `d`.`t` FORCE INDEX (`PRIMARY`) WHERE `c` >= 5 ORDER BY `c`, `b`, `a` LIMIT 100"
            ]
        );
    }

    #[test]
    fn rows_with_nulls_in_the_key_are_a_range_of_their_own_and_come_first() {
        let table = table(&[("a", "int", true), ("b", "int", false)], Some(("u", &[0, 1], true)));
        assert_eq!(
            statements(&table, None, &Start::Beginning),
            [
                "SELECT `a`, `b` FROM `d`.`t` WHERE (`a` IS NULL)",
                "SELECT `a`, `b` FROM `d`.`t` FORCE INDEX (`u`) WHERE `a` IS NOT NULL ORDER BY `a`, `b` LIMIT 100",
            ]
        );
        let after = |null_keys_done| Start::After { key: key(&[("a", "1"), ("b", "2")]), null_keys_done };
        assert_eq!(statements(&table, None, &after(false)).len(), 2);
        assert_eq!(statements(&table, None, &after(true)).len(), 1);
    }

    #[test]
    fn an_enum_key_brings_its_number_along() {
        let table = table(&[("e", "enum('z','m','a')", false)], Some(("PRIMARY", &[0], false)));
        let start = Start::After { key: key(&[("e", "2")]), null_keys_done: false };
        assert_eq!(
            statements(&table, None, &start),
            [
                "SELECT `e`, CAST(`e` AS UNSIGNED) FROM `d`.`t` FORCE INDEX (`PRIMARY`) WHERE (CAST(`e` AS UNSIGNED) > 2) ORDER BY `e` LIMIT 100"
            ]
        );
        let plan = TablePlan::new(&table, None).expect("a plan");
        assert_eq!(plan.row_cells(), 1);
        let cells: [&[u8]; 2] = [b"m", b"2"];
        assert_eq!(plan.key_of(|at| Some(cells[at])).expect("a key"), key(&[("e", "2")]));
    }

    #[test]
    fn a_page_that_ends_where_it_began_is_an_error_and_no_endless_loop() {
        let table = table(&[("id", "int", false)], Some(("PRIMARY", &[0], false)));
        let plan = TablePlan::new(&table, None).expect("a plan");
        let next = plan.onwards(&Range::Keyed(From::First), &key(&[("id", "1")])).expect("a range");
        assert_eq!(next, Range::Keyed(From::After(key(&[("id", "1")]))));
        assert!(plan.onwards(&next, &key(&[("id", "2")])).is_ok());
        assert!(plan.onwards(&next, &key(&[("id", "1")])).is_err());
    }

    #[test]
    fn a_table_without_a_key_is_one_stream() {
        let table = table(&[("v", "int", true)], None);
        assert_eq!(statements(&table, None, &Start::Beginning), ["SELECT `v` FROM `d`.`t`"]);
        assert_eq!(
            statements(&table, None, &Start::AfterFirstColumn { key: key(&[("v", "5")]) }),
            ["SELECT `v` FROM `d`.`t` WHERE (`v` > 5 OR `v` IS NULL)"]
        );
    }

    #[test]
    fn a_stored_value_that_does_not_fit_is_refused_before_the_first_row() {
        let table = table(&[("id", "int", false)], Some(("PRIMARY", &[0], false)));
        let plan = TablePlan::new(&table, None).expect("a plan");
        for bad in [key(&[("id", "x")]), key(&[("other", "1")]), key(&[("id", "1"), ("id", "2")])] {
            let error = plan.start_ranges(&Start::After { key: bad, null_keys_done: false }).expect_err("refused");
            assert_eq!(error.class(), dt_common::ErrorClass::User);
        }
    }

    #[test]
    fn a_chunk_ends_with_its_last_key() {
        let table = table(&[("a", "int", true), ("e", "enum('z','m')", false)], Some(("u", &[0, 1], true)));
        let until = key(&[("a", "9"), ("e", "2")]);
        let plan = TablePlan { until: Some(&until), ..TablePlan::new(&table, None).expect("a plan") };
        assert_eq!(
            plan.statement(&Range::Keyed(From::After(key(&[("a", "1"), ("e", "1")]))), 100).expect("a statement"),
            "SELECT `a`, `e`, CAST(`e` AS UNSIGNED) FROM `d`.`t` FORCE INDEX (`u`) WHERE `a` IS NOT NULL \
             AND (`a` > 1 OR (`a` = 1 AND CAST(`e` AS UNSIGNED) > 1)) \
             AND (`a` < 9 OR (`a` = 9 AND CAST(`e` AS UNSIGNED) <= 2)) ORDER BY `a`, `e` LIMIT 100"
        );
        // Rows with a null in the key are the first chunk's, whole.
        assert_eq!(
            plan.statement(&Range::NullKeys, 100).expect("a statement"),
            "SELECT `a`, `e`, CAST(`e` AS UNSIGNED) FROM `d`.`t` WHERE (`a` IS NULL)"
        );
    }

    #[test]
    fn a_bound_is_looked_for_in_the_index() {
        let table = table(&[("v", "text", false), ("e", "enum('z','m')", false)], Some(("u", &[1], false)));
        let plan = TablePlan::new(&table, None).expect("a plan");
        assert_eq!(
            plan.bound_statement(None, 99).expect("a statement"),
            "SELECT `e`, CAST(`e` AS UNSIGNED) FROM `d`.`t` FORCE INDEX (`u`) ORDER BY `e` LIMIT 1 OFFSET 99"
        );
        let after = plan.bound_statement(Some(&key(&[("e", "1")])), 99).expect("a statement");
        assert!(after.contains(" WHERE (CAST(`e` AS UNSIGNED) > 1) ORDER BY"), "{after}");
        let cells: [&[u8]; 2] = [b"m", b"2"];
        assert_eq!(plan.bound_of(|at| Some(cells[at])).expect("a key"), key(&[("e", "2")]));
        assert_eq!(plan.span_statement(), None);
    }
}
