//! The catalog's tables, columns and unique indexes, as the server lists them.

use std::collections::HashMap;

use dt_common::schema::Column;
use dt_common::{Result, TableId};

use super::types::Types;
use crate::connect::{Conn, Server, flag, number, text};

/// A relation that rows could be read from or written to.
#[derive(Clone, Debug)]
pub struct Relation {
    /// Its OID.
    pub oid: u32,
    /// `relkind`: `r` table, `p` partitioned table, `v` view, `m` materialized view, `f` foreign table.
    pub kind: char,
    /// Is a partition of this relation.
    pub partition_of: Option<u32>,
    /// Is temporary.
    pub temporary: bool,
    /// The server's estimate of its rows.
    pub rows_estimate: u64,
    /// Its size in pages.
    pub pages: u64,
    /// A policy of row-level security hides rows from this account.
    pub hides_rows: bool,
    /// The account may insert.
    pub may_insert: bool,
    /// `relreplident`: `d`efault, `n`othing, `f`ull, `i`ndex.
    pub replica_identity: char,
}

/// A column as the catalog describes it.
#[derive(Clone, Debug)]
pub struct CatalogColumn {
    /// The column. Its type is the one that a domain is over.
    pub column: Column,
    /// Its number (`attnum`).
    pub number: i16,
    /// The OID of its type, a domain's own.
    pub type_oid: u32,
    /// The OID of its type, or of the one that a domain is over.
    pub base_oid: u32,
    /// What a literal is cast to for it: the type without its modifier.
    pub cast: String,
    /// The bare name of its type, without schema and modifier.
    pub type_name: String,
    /// Computed by the server: never copied, never written.
    pub generated: bool,
    /// `GENERATED ALWAYS AS IDENTITY`: written only by COPY, or by overriding.
    pub identity_always: bool,
    /// Has a default, is nullable or counts itself up: may be left out when rows are written.
    pub optional: bool,
    /// Its type can be read in binary.
    pub receives_binary: bool,
    /// Equal texts are the same bytes.
    pub deterministic: bool,
    /// The account may read it.
    pub may_select: bool,
    /// The account may write it in new rows.
    pub may_insert: bool,
}

/// A unique index.
#[derive(Clone, Debug)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// Is the primary key.
    pub primary: bool,
    /// Holds for every row at every moment: valid, not partial, not deferrable, on columns alone.
    pub usable: bool,
    /// The condition of a partial index.
    pub partial: bool,
    /// Nulls are not distinct: they are unique as well.
    pub nulls_not_distinct: bool,
    /// Its key columns, in order; an expression has no name.
    pub columns: Vec<IndexColumn>,
}

/// A column of a unique index.
#[derive(Clone, Debug)]
pub struct IndexColumn {
    /// The column; `None` for an expression.
    pub name: Option<String>,
    /// Its order is the type's own order in the column's own collation.
    pub natural: bool,
    /// The operators of its order.
    pub operators: Operators,
}

/// The operators by which a column is compared, each qualified for use in `OPERATOR(…)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Operators {
    /// Equal.
    pub equal: String,
    /// Greater or equal.
    pub at_least: String,
    /// Greater.
    pub greater: String,
}

impl Operators {
    /// Whether the bare signs mean the same.
    pub fn are_plain(&self) -> bool {
        [&self.equal, &self.at_least, &self.greater].iter().all(|name| name.starts_with("pg_catalog."))
    }
}

const NOT_SYSTEM: &str = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'";

/// The schemas that are not the server's own.
pub async fn schemas(conn: &Conn) -> Result<Vec<String>> {
    let statement = format!("SELECT n.nspname FROM pg_namespace n WHERE {NOT_SYSTEM} ORDER BY 1");
    let rows = conn.rows(&statement, "reading the catalog's schemas").await?;
    Ok(rows.iter().map(|row| text(row, 0)).collect())
}

/// The relations that `within` (an SQL condition on `n.nspname` and `c.relname`) holds for.
pub async fn relations(conn: &Conn, within: &str) -> Result<Vec<(TableId, Relation)>> {
    let statement = format!(
        "SELECT n.nspname, c.relname, c.oid, c.relkind, h.inhparent, c.relpersistence = 't', \
         GREATEST(c.reltuples, 0)::bigint, \
         CASE WHEN c.relkind IN ('r', 'm') THEN \
         COALESCE(pg_relation_size(c.oid), 0) / current_setting('block_size')::bigint ELSE 0 END, \
         c.relrowsecurity AND row_security_active(c.oid), \
         has_schema_privilege(n.oid, 'USAGE') AND \
         (has_table_privilege(c.oid, 'INSERT') OR has_any_column_privilege(c.oid, 'INSERT')), c.relreplident \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         LEFT JOIN pg_inherits h ON c.relispartition AND h.inhrelid = c.oid \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {NOT_SYSTEM} AND {within}"
    );
    let letter = |text: String| text.chars().next().unwrap_or(' ');
    let rows = conn.rows(&statement, "reading the catalog's tables").await?;
    let relations = rows.iter().map(|row| {
        let relation = Relation {
            oid: number(row, 2),
            kind: letter(text(row, 3)),
            partition_of: row.get(4).and_then(|oid| oid.parse().ok()),
            temporary: flag(row, 5),
            rows_estimate: number(row, 6),
            pages: number(row, 7),
            hides_rows: flag(row, 8),
            may_insert: flag(row, 9),
            replica_identity: letter(text(row, 10)),
        };
        (TableId::new(text(row, 0), text(row, 1)), relation)
    });
    Ok(relations.collect())
}

/// Every table's columns in order.
pub async fn columns(
    conn: &Conn,
    server: &Server,
    types: &Types,
    within: &str,
) -> Result<HashMap<TableId, Vec<CatalogColumn>>> {
    let generated = if server.version_number >= 120_000 { "a.attgenerated <> ''" } else { "false" };
    let deterministic = if server.version_number >= 120_000 { "COALESCE(l.collisdeterministic, true)" } else { "true" };
    // A domain's type and modifier are those of what it is over in the end.
    let statement = format!(
        "SELECT n.nspname, c.relname, a.attname, a.attnum, a.atttypid, \
         CASE WHEN t.typtype = 'd' THEN ( \
           WITH RECURSIVE d(base, modifier) AS ( \
             SELECT t.typbasetype, t.typtypmod \
             UNION ALL SELECT o.typbasetype, o.typtypmod FROM d JOIN pg_type o ON o.oid = d.base WHERE o.typtype = 'd') \
           SELECT format_type(d.base, d.modifier) FROM d JOIN pg_type o ON o.oid = d.base WHERE o.typtype <> 'd') \
         ELSE format_type(a.atttypid, a.atttypmod) END, \
         format_type(a.atttypid, -1), a.attnotnull, {generated}, a.attidentity, \
         a.atthasdef OR t.typdefault IS NOT NULL, t.typreceive <> 0, \
         CASE WHEN l.collname IS NOT NULL THEN lns.nspname || '.' || l.collname END, {deterministic}, \
         has_column_privilege(c.oid, a.attnum, 'SELECT') AND has_schema_privilege(n.oid, 'USAGE'), \
         has_column_privilege(c.oid, a.attnum, 'INSERT') \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
         JOIN pg_type t ON t.oid = a.atttypid \
         LEFT JOIN pg_collation l ON l.oid = a.attcollation \
         LEFT JOIN pg_namespace lns ON lns.oid = l.collnamespace \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {NOT_SYSTEM} AND {within} \
         ORDER BY c.oid, a.attnum"
    );
    let rows = conn.rows(&statement, "reading the catalog's columns").await?;
    let mut tables: HashMap<TableId, Vec<CatalogColumn>> = HashMap::new();
    for row in &rows {
        let type_oid: u32 = number(row, 4);
        let base_oid = types.base(type_oid);
        let identity = text(row, 9);
        let nullable = !flag(row, 7);
        let collation = row.get(12).map(str::to_owned);
        let column = Column {
            name: text(row, 2),
            data_type: text(row, 5),
            nullable,
            charset: (server.is_sql_ascii && collation.is_some()).then(|| "SQL_ASCII".to_owned()),
            collation,
            binary_form: types.binary_form(type_oid),
        };
        let generated = flag(row, 8);
        tables.entry(TableId::new(text(row, 0), text(row, 1))).or_default().push(CatalogColumn {
            column,
            number: number(row, 3),
            type_oid,
            base_oid,
            cast: text(row, 6),
            type_name: types.get(base_oid).map(|found| found.name.clone()).unwrap_or_default(),
            generated,
            identity_always: identity == "a",
            optional: nullable || flag(row, 10) || !identity.is_empty(),
            receives_binary: flag(row, 11),
            deterministic: flag(row, 13),
            may_select: flag(row, 14),
            may_insert: flag(row, 15),
        });
    }
    Ok(tables)
}

/// Every table's unique indexes.
pub async fn indexes(conn: &Conn, server: &Server, within: &str) -> Result<HashMap<TableId, Vec<Index>>> {
    let key_columns = if server.version_number >= 110_000 { "x.indnkeyatts" } else { "x.indnatts" };
    let nulls = if server.version_number >= 150_000 { "x.indnullsnotdistinct" } else { "false" };
    let operator = |alias: &str, strategy: u8| {
        format!(
            "LEFT JOIN pg_amop {alias} ON {alias}.amopfamily = oc.opcfamily AND {alias}.amoplefttype = oc.opcintype \
             AND {alias}.amoprighttype = oc.opcintype AND {alias}.amopstrategy = {strategy} \
             LEFT JOIN pg_operator {alias}o ON {alias}o.oid = {alias}.amopopr \
             LEFT JOIN pg_namespace {alias}n ON {alias}n.oid = {alias}o.oprnamespace"
        )
    };
    let named = |alias: &str| format!("quote_ident({alias}n.nspname) || '.' || {alias}o.oprname");
    let statement = format!(
        "SELECT n.nspname, c.relname, i.relname, x.indisprimary, \
         x.indisvalid AND x.indimmediate AND x.indpred IS NULL AND x.indexprs IS NULL, x.indpred IS NOT NULL, {nulls}, \
         a.attname, oc.opcdefault AND x.indcollation[k.at] = COALESCE(a.attcollation, 0), {}, {}, {} \
         FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class c ON c.oid = x.indrelid \
         JOIN pg_namespace n ON n.oid = c.relnamespace \
         CROSS JOIN LATERAL generate_series(0, {key_columns} - 1) AS k(at) \
         LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[k.at] AND a.attnum > 0 \
         JOIN pg_opclass oc ON oc.oid = x.indclass[k.at] {} {} {} \
         WHERE x.indisunique AND x.indislive AND {NOT_SYSTEM} AND {within} \
         ORDER BY c.oid, i.relname, x.indexrelid, k.at",
        named("e"),
        named("l"),
        named("g"),
        operator("e", 3),
        operator("l", 4),
        operator("g", 5),
    );
    let rows = conn.rows(&statement, "reading the catalog's indexes").await?;
    let mut tables: HashMap<TableId, Vec<Index>> = HashMap::new();
    for row in &rows {
        let indexes = tables.entry(TableId::new(text(row, 0), text(row, 1))).or_default();
        let name = text(row, 2);
        if indexes.last().is_none_or(|index| index.name != name) {
            indexes.push(Index {
                name,
                primary: flag(row, 3),
                usable: flag(row, 4),
                partial: flag(row, 5),
                nulls_not_distinct: flag(row, 6),
                columns: Vec::new(),
            });
        }
        let index = indexes.last_mut().expect("catalog: an index was just pushed");
        index.columns.push(IndexColumn {
            name: row.get(7).map(str::to_owned),
            natural: flag(row, 8),
            operators: Operators { equal: text(row, 9), at_least: text(row, 10), greater: text(row, 11) },
        });
    }
    Ok(tables)
}
