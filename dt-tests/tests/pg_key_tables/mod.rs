//! The tables of `pg_keys`: each is named for its key.

use dt_tests::db::Dialect;

/// What tells a table's rows apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// A key.
    Key,
    /// A nullable key, for the rows of this SQL condition.
    NotNull(&'static str),
    /// Nothing that can be used.
    None,
}

/// A table with its rows, which are generated.
#[derive(Clone, Copy, Debug)]
pub struct Keyed {
    /// Its name.
    pub name: &'static str,
    /// The first version whose servers know it.
    pub since: u32,
    /// What its types need to be there.
    before: &'static str,
    /// What stands between the parentheses of CREATE TABLE; a wide column comes behind it, so that few rows fit into
    /// what a server sends at a time.
    columns: &'static str,
    /// Statements that follow CREATE TABLE.
    after: &'static str,
    /// What tells its rows apart.
    pub identity: Identity,
    /// The columns of the key, each with the SQL expression of the text that is to be recorded for it.
    pub recorded: &'static [(&'static str, &'static str)],
    /// An expression for each column; `i` is the row's number from 0.
    values: &'static str,
    /// How many rows.
    pub rows: u32,
}

impl Keyed {
    /// The statements that make it.
    pub fn create(&self) -> String {
        let Keyed { name, before, columns, after, .. } = self;
        format!("{before}; CREATE TABLE {} ({columns}, wide text DEFAULT repeat('x', 500)); {after}", quoted(name))
    }

    /// The statement that fills it.
    pub fn insert(&self) -> String {
        let Keyed { name, values, rows, .. } = self;
        format!(
            "INSERT INTO {} SELECT {values} FROM generate_series(0, {rows} - 1) AS i ORDER BY md5(i::text)",
            quoted(name)
        )
    }
}

fn quoted(name: &str) -> String {
    Dialect::Postgres.quoted(name)
}

type Recorded = &'static [(&'static str, &'static str)];

const ROWS: u32 = 300;
const TEXT: Recorded = &[("k", "k::text")];
/// The type's own output: a cast takes off the padding.
const PADDED: Recorded = &[("k", "format('%s', k)")];
const HEX: Recorded = &[("k", "encode(k, 'hex')")];
const WORD: Recorded = &[("k", "left(k::text, 1)")];

const fn keyed(name: &'static str, columns: &'static str, recorded: Recorded, values: &'static str) -> Keyed {
    let identity = Identity::Key;
    Keyed { name, since: 15, before: "", columns, after: "", identity, recorded, values, rows: ROWS }
}

const fn with(before: &'static str, after: &'static str, table: Keyed) -> Keyed {
    Keyed { before, after, ..table }
}

const fn few(rows: u32, table: Keyed) -> Keyed {
    Keyed { rows, ..table }
}

const fn not_null(condition: &'static str, table: Keyed) -> Keyed {
    Keyed { identity: Identity::NotNull(condition), ..table }
}

const fn keyless(name: &'static str, columns: &'static str, after: &'static str, values: &'static str) -> Keyed {
    with("", after, Keyed { identity: Identity::None, ..keyed(name, columns, &[], values) })
}

const fn since(since: u32, table: Keyed) -> Keyed {
    Keyed { since, ..table }
}

const EXTENSIONS: &str = "CREATE SCHEMA IF NOT EXISTS ext; CREATE EXTENSION IF NOT EXISTS hstore SCHEMA ext; \
     CREATE EXTENSION IF NOT EXISTS citext; CREATE EXTENSION IF NOT EXISTS ltree SCHEMA ext";

/// All tables.
pub static TABLES: &[Keyed] = &[
    // Numbers.
    keyed("negative_int", "k int PRIMARY KEY, v int", TEXT, "i * 7919 - 1000000, i"),
    keyed("smallint_around_zero", "k smallint PRIMARY KEY, v int", TEXT, "(i - 150) * 218, i"),
    keyed(
        "bigint_extremes",
        "k bigint PRIMARY KEY, v int",
        TEXT,
        "CASE i % 2 WHEN 1 THEN 9223372036854775807 - i ELSE -9223372036854775808 + i END, i",
    ),
    keyed("object_id", "k oid PRIMARY KEY, v int", TEXT, "(4294967295 - i::bigint * 10000000)::oid, i"),
    keyed(
        "numeric_of_many_digits",
        "k numeric(60,20) PRIMARY KEY, v int",
        TEXT,
        "(i - 150) * 98765432109876.00000000000000000001 + (i % 3) * 0.00000000000000000001, i",
    ),
    keyed(
        "numeric_without_bounds",
        "k numeric PRIMARY KEY, v int",
        TEXT,
        "CASE i WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' WHEN 3 THEN 1e500 ELSE round((i - 150) / 7.0, i % 12) + i END, i",
    ),
    keyed(
        "double_with_all_its_ends",
        "k double precision PRIMARY KEY, v int",
        TEXT,
        "CASE i WHEN 0 THEN 'NaN' WHEN 1 THEN 'Infinity' WHEN 2 THEN '-Infinity' WHEN 3 THEN '-0' WHEN 4 THEN 4.9e-324 ELSE (i - 150.5) * 0.1::float8 END, i",
    ),
    keyed(
        "real_close_together",
        "k real PRIMARY KEY, v int",
        TEXT,
        "CASE i WHEN 0 THEN 'NaN' WHEN 1 THEN '-Infinity' ELSE 16777216::real + i * 2 END, i",
    ),
    keyed("money_below_zero", "k money PRIMARY KEY, v int", TEXT, "((i - 150) * 12345.67)::numeric::money, i"),
    few(2, keyed("boolean_of_two", "k boolean PRIMARY KEY, v int", WORD, "i = 0, i")),
    // Times.
    keyed(
        "timestamp_with_microseconds",
        "k timestamp PRIMARY KEY, v int",
        TEXT,
        "CASE i WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' WHEN 2 THEN '4714-11-24 00:00:00 BC' WHEN 3 THEN '294276-12-31 23:59:59.999999' \
         ELSE '2020-01-01 00:00:00.999990'::timestamp + i * interval '1 microsecond' END, i",
    ),
    keyed(
        "timestamptz_over_a_change_of_clocks",
        "k timestamptz PRIMARY KEY, v int",
        TEXT,
        "'2024-03-31 00:00:00.5+00'::timestamptz + i * interval '61.000001 seconds', i",
    ),
    keyed(
        "date_before_christ",
        "k date PRIMARY KEY, v int",
        TEXT,
        "CASE i WHEN 0 THEN 'infinity' WHEN 1 THEN '-infinity' WHEN 2 THEN '5874897-12-31' ELSE '0001-06-01 BC'::date + i END, i",
    ),
    keyed("time_of_day", "k time PRIMARY KEY, v int", TEXT, "'00:00:00.000001'::time + i * interval '4 minutes', i"),
    keyed(
        "timetz_of_many_zones",
        "k timetz PRIMARY KEY, v int",
        TEXT,
        "('12:00:00.5' || to_char(i % 25 - 12, 'SG00'))::timetz + i * interval '1 second', i",
    ),
    keyed(
        "interval_of_both_signs",
        "k interval PRIMARY KEY, v int",
        TEXT,
        "(i - 150) * interval '1 mon -1 day 00:00:00.000001', i",
    ),
    // Texts.
    keyed(
        "text_in_bytes",
        "k text COLLATE \"C\" PRIMARY KEY, v int",
        TEXT,
        r"(ARRAY['ä', 'a', 'Z', 'z', 'ß', 'É ', '🦀', '''', '\', E'\t', E'\n', '%', '', '\N', '\.', '$1'])[1 + i % 16] || i || repeat(' ', i % 3), i",
    ),
    keyed(
        "text_of_the_database",
        "k text PRIMARY KEY, v int",
        TEXT,
        r"(ARRAY['ä', 'a', 'Z', 'z', 'ß', 'É ', '🦀', '''', '\', '\\'])[1 + i % 10] || i / 10, i",
    ),
    keyed(
        "text_of_icu",
        "k text COLLATE \"und-x-icu\" PRIMARY KEY, v int",
        TEXT,
        "(ARRAY['a', 'A', 'á', 'À', '🦀', 'ss', 'ß', '-a', 'a-', ' a'])[1 + i % 10] || i / 10, i",
    ),
    with(
        "CREATE COLLATION german_phonebook (provider = icu, locale = 'de-u-co-phonebk')",
        "",
        keyed(
            "varchar_of_the_phonebook",
            "k varchar(40) COLLATE german_phonebook PRIMARY KEY, v int",
            TEXT,
            "(ARRAY['Müller', 'Mueller', 'Muller', 'müller'])[1 + i % 4] || i / 4, i",
        ),
    ),
    with(
        "CREATE COLLATION case_blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
        "",
        keyed(
            "text_blind_to_case",
            "k text COLLATE case_blind PRIMARY KEY, v int",
            TEXT,
            "(ARRAY['A', 'b', 'É', 'z'])[1 + i % 4] || i, i",
        ),
    ),
    with(
        EXTENSIONS,
        "",
        keyed(
            "citext_of_mixed_case",
            "k citext PRIMARY KEY, v int",
            TEXT,
            "(ARRAY['A', 'b', 'É', 'z'])[1 + i % 4] || i, i",
        ),
    ),
    keyed(
        "char_with_padding",
        "k char(10) PRIMARY KEY, v int",
        PADDED,
        "(ARRAY['ä', 'B', 'ç', 'd '])[1 + i % 4] || i, i",
    ),
    keyed("name_of_the_server", "k name PRIMARY KEY, v int", TEXT, "'N \"' || i, i"),
    few(100, keyed("one_character", "k \"char\" PRIMARY KEY, v int", TEXT, "(i + 27)::\"char\", i")),
    with(
        "CREATE DOMAIN short_text AS varchar(30) CHECK (VALUE <> 'never')",
        "",
        keyed("domain_over_text", "k short_text PRIMARY KEY, v int", TEXT, "'it''s \\ ' || i, i"),
    ),
    // Bytes.
    keyed(
        "bytes",
        "k bytea PRIMARY KEY, v int",
        HEX,
        r"CASE i WHEN 0 THEN ''::bytea ELSE substr(sha256(i::text::bytea), 1, 1 + i % 30) || '\x5c00'::bytea END, i",
    ),
    keyed("uuid_at_random", "k uuid PRIMARY KEY, v int", TEXT, "md5(i::text)::uuid, i"),
    keyed("bit_of_nine", "k bit(9) PRIMARY KEY, v int", TEXT, "i::bit(9), i"),
    keyed(
        "varbit_of_any_length",
        "k bit varying PRIMARY KEY, v int",
        TEXT,
        "(i::bit(9)::text || repeat('0', i % 4))::varbit, i",
    ),
    // Addresses.
    keyed(
        "inet_of_both_versions",
        "k inet PRIMARY KEY, v int",
        TEXT,
        "CASE i % 2 WHEN 0 THEN '10.0.0.0/8'::inet ELSE '2001:db8::1/64' END + i, i",
    ),
    keyed("cidr_of_hosts", "k cidr PRIMARY KEY, v int", TEXT, "('10.0.0.0'::inet + i)::cidr, i"),
    keyed(
        "macaddr_of_six",
        "k macaddr PRIMARY KEY, v int",
        TEXT,
        "('08:00:2b:01:' || to_char(i / 100, 'FM00') || ':' || to_char(i % 100, 'FM00'))::macaddr, i",
    ),
    keyed(
        "macaddr8_of_eight",
        "k macaddr8 PRIMARY KEY, v int",
        TEXT,
        "('08:00:2b:01:02:03:' || to_char(i / 100, 'FM00') || ':' || to_char(i % 100, 'FM00'))::macaddr8, i",
    ),
    keyed("place_in_the_log", "k pg_lsn PRIMARY KEY, v int", TEXT, "'F/FFFFFF00'::pg_lsn + i::numeric, i"),
    keyed("transaction_id", "k xid8 PRIMARY KEY, v int", TEXT, "(18446744073709551615 - i::numeric)::text::xid8, i"),
    keyed("tuple_id", "k tid PRIMARY KEY, v int", TEXT, "format('(%s,%s)', i % 10, i)::tid, i"),
    // Composed types.
    with(
        "CREATE TYPE level AS ENUM ('zero', 'one', 'Two', 'a b', 'it''s', 'back\\slash', '', 'last'); ALTER TYPE level ADD VALUE 'minus one' BEFORE 'zero'",
        "",
        few(
            9,
            keyed("enum_in_its_own_order", "k level PRIMARY KEY, v int", TEXT, "(enum_range(NULL::level))[1 + i], i"),
        ),
    ),
    keyed(
        "array_of_numbers",
        "k int[] PRIMARY KEY, v int",
        TEXT,
        "CASE i WHEN 0 THEN '{}'::int[] WHEN 1 THEN '[0:1]={1,2}' ELSE ARRAY[i % 7, NULL, i] END, i",
    ),
    keyed(
        "array_of_texts",
        "k text[] PRIMARY KEY, v int",
        TEXT,
        r#"ARRAY[(ARRAY['NULL', 'q"\', '', ','])[1 + i % 4], NULL, i::text], i"#,
    ),
    keyed(
        "range_of_dates",
        "k daterange PRIMARY KEY, v int",
        TEXT,
        "CASE i WHEN 0 THEN 'empty' WHEN 1 THEN '(,)' ELSE daterange('2024-01-01'::date + i % 50, '2025-01-01'::date + i) END, i",
    ),
    keyed(
        "multirange_of_numbers",
        "k int4multirange PRIMARY KEY, v int",
        TEXT,
        "CASE i WHEN 0 THEN '{}' ELSE int4multirange(int4range(i % 9, 20), int4range(30, 40 + i)) END, i",
    ),
    keyed(
        "json_in_binary",
        "k jsonb PRIMARY KEY, v int",
        TEXT,
        r#"jsonb_build_object('a', i % 9, 'b"\', to_jsonb(i::text)), i"#,
    ),
    with(
        "CREATE TYPE pair_of AS (a int, b text)",
        "",
        keyed("row_of_two", "k pair_of PRIMARY KEY, v int", TEXT, r#"ROW(i % 9, 'q"\(,)' || i)::pair_of, i"#),
    ),
    keyed("words_to_search", "k tsvector PRIMARY KEY, v int", TEXT, "to_tsvector('simple', 'word it''s w' || i), i"),
    with(
        EXTENSIONS,
        "",
        keyed(
            "tree_of_labels",
            "k ext.ltree PRIMARY KEY, v int",
            TEXT,
            "('Top.n' || i % 7 || '.x' || i)::ext.ltree, i",
        ),
    ),
    with(
        EXTENSIONS,
        "",
        keyed(
            "map_of_texts",
            "k ext.hstore PRIMARY KEY, v int",
            TEXT,
            "ext.hstore('k', i::text) OPERATOR(ext.||) ext.hstore('n', NULL), i",
        ),
    ),
    // Several columns.
    keyed(
        "two_columns",
        "a int, b text, v int, PRIMARY KEY (b, a)",
        &[("b", "b"), ("a", "a::text")],
        "i, (ARRAY['x', 'Y', 'é'])[1 + i % 3], i",
    ),
    keyed(
        "four_columns",
        "a smallint, b date, c text COLLATE \"und-x-icu\", d numeric, v int, PRIMARY KEY (a, b, c, d)",
        &[("a", "a::text"), ("b", "b::text"), ("c", "c"), ("d", "d::text")],
        "i % 2, '2024-01-01'::date + i % 3, (ARRAY['a', 'A'])[1 + i % 2], i * 1.10, i",
    ),
    with(
        EXTENSIONS,
        "",
        keyed(
            "citext_and_more",
            "a citext, b int, v int, PRIMARY KEY (a, b)",
            &[("a", "a::text"), ("b", "b::text")],
            "(ARRAY['a', 'B'])[1 + i % 2], i, i",
        ),
    ),
    with(
        "",
        "CREATE UNIQUE INDEX ON downwards (a DESC, b)",
        keyed(
            "downwards",
            "a int NOT NULL, b text NOT NULL, v int",
            &[("a", "a::text"), ("b", "b")],
            "i % 20, 'b' || i, i",
        ),
    ),
    with(
        "",
        "CREATE UNIQUE INDEX ON with_included (k) INCLUDE (v)",
        keyed("with_included", "k int NOT NULL, v int", TEXT, "i * 3, i"),
    ),
    keyed(
        "The \"Key\".of",
        "\"The Key\" int PRIMARY KEY, \"select\" int",
        &[("The Key", "\"The Key\"::text")],
        "i * 3, i",
    ),
    // Nulls.
    not_null("k IS NOT NULL", keyed("nullable", "k int UNIQUE, v int", TEXT, "CASE WHEN i % 10 > 0 THEN i END, i")),
    not_null(
        "a IS NOT NULL AND b IS NOT NULL",
        keyed(
            "nullable_in_part",
            "a int, b text, v int, UNIQUE (a, b)",
            &[("a", "a::text"), ("b", "b")],
            "CASE WHEN i % 20 > 0 THEN i / 5 END, CASE WHEN i % 15 > 0 THEN 'b' || i END, i",
        ),
    ),
    with(
        "",
        "CREATE UNIQUE INDEX ON null_only_once (k) NULLS NOT DISTINCT",
        not_null("k IS NOT NULL", keyed("null_only_once", "k int, v int", TEXT, "NULLIF(i, 7), i")),
    ),
    // Partitions.
    with("", "", keyed("alone_beside_partitions", "k int PRIMARY KEY, v int", TEXT, "i, i")),
    // No keys.
    keyless("no_key", "k int, v text", "", "i / 2, 'v' || i / 2"),
    keyless(
        "key_that_may_wait",
        "k int NOT NULL, v int",
        "ALTER TABLE key_that_may_wait ADD UNIQUE (k) DEFERRABLE",
        "i, i",
    ),
    keyless(
        "key_of_some_rows",
        "k int NOT NULL, v int",
        "CREATE UNIQUE INDEX ON key_of_some_rows (k) WHERE v > 10",
        "i, i",
    ),
    keyless(
        "key_of_an_expression",
        "k text NOT NULL, v int",
        "CREATE UNIQUE INDEX ON key_of_an_expression (lower(k))",
        "'K' || i, i",
    ),
    keyless(
        "key_in_another_collation",
        "k text NOT NULL, v int",
        "CREATE UNIQUE INDEX ON key_in_another_collation (k COLLATE \"und-x-icu\")",
        "'K' || i, i",
    ),
    keyless(
        "key_of_patterns",
        "k text COLLATE \"und-x-icu\" NOT NULL, v int",
        "CREATE UNIQUE INDEX ON key_of_patterns (k text_pattern_ops)",
        "'K' || i, i",
    ),
    since(
        18,
        with(
            "CREATE EXTENSION IF NOT EXISTS btree_gist",
            "",
            // No index has its order: it is read by a sort, and has no position before all rows are.
            few(
                150,
                keyed(
                    "key_without_overlaps",
                    "room int, during daterange, PRIMARY KEY (room, during WITHOUT OVERLAPS)",
                    &[("room", "room::text"), ("during", "during::text")],
                    "i % 3, daterange('2024-01-01'::date + i * 2, '2024-01-01'::date + i * 2 + 2)",
                ),
            ),
        ),
    ),
];
