//! The sample for PostgreSQL: the same tables, with its own types.

use anyhow::{Context, Result};

use super::SampleTable;
use crate::db::Db;

/// The tables in the order of their names.
pub static TABLES: [SampleTable; 5] = [
    SampleTable {
        name: "customers",
        key: "identity",
        share: 40,
        key_columns: &["id"],
        unidentified: "FALSE",
        columns: "id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name varchar(60) NOT NULL, email text, \
             balance numeric(14,4) NOT NULL, score double precision NOT NULL, rating real, created timestamptz NOT NULL, \
             born date, active boolean NOT NULL, tags text[], settings jsonb, note text, \
             upper_name text GENERATED ALWAYS AS (upper(name)) STORED",
        values: r#"i + 1, (ARRAY['Ana', 'Bjørn', 'Chloë', '李', '🦀 '])[1 + i % 5] || to_hex(i * 7919),
             CASE i % 3 WHEN 0 THEN NULL WHEN 1 THEN '' ELSE 'user' || i || '@example.org' END,
             (i * 7919 % 100000000) / 10000.0 - 5000, i * 0.142857142857::float8 - 1000,
             CASE WHEN i % 11 <> 0 THEN i * 0.3333333::float4 END,
             '2020-01-01'::timestamptz + i * interval '61.000001 seconds',
             CASE WHEN i % 7 <> 0 THEN '1950-01-01'::date + (i % 20000)::int END, i % 2 = 0,
             (CASE i % 4 WHEN 1 THEN '{}' WHEN 2 THEN '{a,NULL,"NULL","q\"\\"}' WHEN 3 THEN '[0:1]={x,y}' END)::text[],
             jsonb_build_object('n', i, 'list', jsonb_build_array(i % 3, E'x\ty', NULL), 'half', i * 0.5),
             (ARRAY[NULL, '', E'tab\tand\nline', 'back\slash \N \.', 'quote''"' || i, repeat('long ', 40)])[1 + i % 6]"#,
    },
    SampleTable {
        name: "order_lines",
        key: "composite",
        share: 32,
        key_columns: &["order_id", "line_no"],
        unidentified: "FALSE",
        columns: "order_id bigint NOT NULL, line_no smallint NOT NULL, sku char(12) NOT NULL, quantity int NOT NULL, \
             price money NOT NULL, placed timestamp(3), flags bit(10), raw bytea, PRIMARY KEY (order_id, line_no)",
        values: r"CASE WHEN i % 3 = 0 THEN 9223372036854000000 ELSE 0 END + i / 12, i % 12 - 5,
             'é' || lpad((i % 100000)::text, 8, '0'), i % 100 - 10, ((i * 31 % 100000) / 100.0)::numeric::money,
             CASE WHEN i % 13 <> 0 THEN '2021-06-01 12:00:00.125'::timestamp + i * interval '1 second' END,
             CASE WHEN i % 5 <> 0 THEN (i % 1024)::int::bit(10) END,
             CASE WHEN i % 9 <> 0 THEN substr(sha256(i::text::bytea), 1, (i % 25)::int) END",
    },
    SampleTable {
        name: "products",
        key: "string, ICU collation",
        share: 16,
        key_columns: &["code"],
        unidentified: "FALSE",
        columns: "code varchar(40) COLLATE \"und-x-icu\" NOT NULL PRIMARY KEY, title varchar(80) NOT NULL, \
             description text, photo bytea, weight double precision, changed timestamp NOT NULL",
        values: r"(ARRAY['ä', 'a', 'Z', 'z', 'ß-', ''''])[1 + i % 6] || lpad(to_hex(i * 40503 % 1048576), 5, '0') || '-' || i,
             'Product ' || i, CASE WHEN i % 4 <> 0 THEN repeat('Lorem ' || i || ' ', (i % 20)::int) END,
             CASE WHEN i % 5 <> 0 THEN sha512(i::text::bytea) END, CASE WHEN i % 6 <> 0 THEN i * 0.1 END,
             '2022-02-02 02:02:02'::timestamp + i * interval '1 minute'",
    },
    SampleTable {
        name: "sessions",
        key: "nullable unique",
        share: 8,
        key_columns: &["ticket"],
        unidentified: "ticket IS NULL",
        columns: "ticket bigint UNIQUE, device uuid, opened timetz(3), address inet, city text",
        values: r"CASE WHEN i % 10 <> 0 THEN i * 3 - 5000 END, md5(i::text)::uuid,
             ('00:00:00.125+02'::timetz + i * interval '1 second'),
             '10.0.0.0'::inet + i, (ARRAY[NULL, 'Zürich', 'City ' || i])[1 + i % 3]",
    },
    SampleTable {
        name: "visits",
        key: "none",
        share: 4,
        key_columns: &[],
        unidentified: "TRUE",
        columns: "host text, at timestamp(3), size bigint, path text",
        // Every row twice: a keyless table may hold equal rows.
        values: r"'host-' || i / 2, '2023-03-03'::timestamp + i / 2 * interval '1 second', i / 2 * 4096,
             '/' || encode(sha224((i / 2)::text::bytea), 'hex')",
    },
];

/// The table of that name.
///
/// # Errors
/// There is none.
pub fn table(name: &str) -> Result<&'static SampleTable> {
    TABLES.iter().find(|table| table.name == name).with_context(|| format!("the sample has no table `{name}`"))
}

/// Makes the empty tables in the connection's database.
///
/// # Errors
/// What the server says.
pub fn create_tables(db: &Db) -> Result<()> {
    db.exec_all(TABLES.iter().map(|table| format!("CREATE TABLE {} ({})", table.name, table.columns)))
}

/// Makes the tables in the connection's database and fills them with `rows` rows in all.
///
/// # Errors
/// What the server says.
pub fn create_and_fill(db: &Db, rows: u64) -> Result<()> {
    create_tables(db)?;
    for table in &TABLES {
        let columns = insertable(db, table.name)?;
        let (name, values, last) = (table.name, table.values, table.rows_of(rows).saturating_sub(1));
        db.exec(format!(
            "INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM generate_series(0, {last}::bigint) AS i"
        ))?;
        db.exec(format!("ANALYZE {name}"))?;
    }
    Ok(())
}

/// The columns that are not generated, as a list.
fn insertable(db: &Db, table: &str) -> Result<String> {
    let sql = format!(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute \
         WHERE attrelid = '{table}'::regclass AND attnum > 0 AND attgenerated = ''"
    );
    db.value(sql)?.with_context(|| format!("`{table}` has no columns"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_in_order_and_the_shares_are_a_hundred() {
        assert!(TABLES.is_sorted_by_key(|table| table.name));
        assert_eq!(TABLES.iter().map(|table| table.share).sum::<u64>(), 100);
    }
}
