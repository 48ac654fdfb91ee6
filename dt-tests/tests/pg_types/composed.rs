//! Types that are made of others: arrays, ranges, rows, domains, enums.

use super::{Sample, sample, since};

pub static SAMPLES: &[Sample] = &[
    sample(
        "arrays",
        "CREATE TABLE arrays (id int PRIMARY KEY, i int[], t text[], n numeric[], b bytea[], z timestamptz[], j jsonb[], x box[], \
         o boolean[], u uuid[], c char(3)[], v varchar(5)[], f float8[], d date[], bi bit(3)[], iv interval[])",
        r#"INSERT INTO arrays VALUES (1, '{1,2,NULL}', '{a,NULL,"NULL","","q\"\\","{,}"," x "}', '{1.10,NaN}', '{"\\x00","\\x5c"}', '{infinity,"2024-01-01 00:00:00.000001+00"}',
           '{"{\"a\": [1, \"}\"]}",null}', '{(1,1),(0,0);(3,3),(2,2)}', '{t,f,NULL}', '{00000000-0000-0000-0000-000000000000}', '{a,"b  "}', '{a,"b  "}',
           '{NaN,-0,Infinity,0.1}', '{-infinity,4714-11-24 BC}', '{101,000}', '{"1 mon -1 day"}'),
           (2, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
           (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
           (4, '{{1,2},{3,NULL}}', E'{{"\t","\n"},{"\\\\N","é🦀"}}', '{{{1}},{{2}}}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
           (5, '[0:1]={1,2}', '[-2147483648:-2147483647]={a,b}', '[5:5][-3:-2]={{1,2}}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}');
           INSERT INTO arrays (id, i, t) SELECT 6, array_agg(i), array_agg('v' || i) FROM generate_series(1, 20000) AS i"#,
    ),
    // An empty one has a binary form that its own type does not read.
    sample(
        "vectors_of_catalogs",
        "CREATE TABLE vectors_of_catalogs (id int PRIMARY KEY, o oidvector, i int2vector, oa oidvector[])",
        r#"INSERT INTO vectors_of_catalogs VALUES (1, '1 2 3', '1 2 3', '{1 2,NULL}'), (2, '', '', '{}'), (3, NULL, NULL, NULL), (4, '4294967295', '-32768 32767', '{""}')"#,
    ),
    sample(
        "ranges",
        "CREATE TYPE text_range AS RANGE (subtype = text); CREATE TYPE float_range AS RANGE (subtype = float8, subtype_diff = float8mi); \
         CREATE TABLE ranges (id int PRIMARY KEY, i int4range, b int8range, n numrange, t tsrange, z tstzrange, d daterange, x text_range, f float_range, ia int4range[], fa float_range[])",
        r#"INSERT INTO ranges VALUES (1, '[1,5)', '(,5]', '[1.10,2.2]', '[2024-01-01,infinity)', '(-infinity,2024-01-01 00:00:00.000001+00]', '[0001-01-01 BC,2024-01-01)',
           '["a,b","c\"\\]"]', '[0.1,Infinity]', '{"[1,2)",empty,NULL}', '{"[1,2]",NULL}'), (2, 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', 'empty', '{}', '{}'),
           (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (4, '(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '(,)', '{"(,)"}', '{}'),
           (5, '[-2147483648,2147483647)', '[9223372036854775806,)', '(NaN,)', '[,)', '[,2024-01-01 00:00:00+05:45)', '(,infinity]', '["","\\N")', '(-0,0.1)', '[3:3]={"[1,2)"}', NULL)"#,
    ),
    sample(
        "multiranges",
        "CREATE TABLE multiranges (id int PRIMARY KEY, i int4multirange, n nummultirange, z tstzmultirange, d datemultirange, x text_multirange, ia int4multirange[])",
        r#"INSERT INTO multiranges VALUES (1, '{[1,3),[5,8)}', '{[1.10,2.2],(3,)}', '{[2024-01-01,2024-01-02 00:00:00.5+00)}', '{(,2000-01-01),[2024-01-01,infinity)}', '{["a","b,"],["c","d}"]}', '{"{[1,2)}",NULL,"{}"}'),
           (2, '{}', '{}', '{}', '{}', '{}', '{}'), (3, NULL, NULL, NULL, NULL, NULL, NULL), (4, '{(,)}', '{(,)}', '{(,)}', '{(,)}', '{(,)}', NULL)"#,
    ),
    sample(
        "rows_in_rows",
        "CREATE TYPE inner_row AS (a int, b text, c timestamptz); CREATE TYPE outer_row AS (x inner_row, y inner_row[], z numeric(6,2), e text); \
         CREATE TABLE rows_in_rows (id int PRIMARY KEY, r inner_row, o outer_row, ra inner_row[]); CREATE TABLE row_of_a_table (id int PRIMARY KEY, t rows_in_rows)",
        r#"INSERT INTO rows_in_rows VALUES (1, ROW(1, 'a', 'infinity'), ROW(ROW(2, 'q"\,()', NULL), ARRAY[ROW(3, NULL, NULL)::inner_row, NULL], 1.10, ''), ARRAY[ROW(NULL, '', NULL)::inner_row]),
           (2, ROW(NULL, NULL, NULL), ROW(NULL, NULL, NULL, NULL), '{}'), (3, NULL, NULL, NULL), (4, ROW(0, '', '-infinity'), ROW(ROW(NULL, NULL, NULL), '{}', 'NaN', E'\t\n\\N'), NULL);
           INSERT INTO row_of_a_table SELECT id, rows_in_rows FROM rows_in_rows; INSERT INTO row_of_a_table VALUES (9, NULL)"#,
    ),
    sample(
        "domains",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE DOMAIN very_positive AS positive NOT NULL CHECK (VALUE > 10); \
         CREATE DOMAIN short_list AS text[] CHECK (cardinality(VALUE) < 5); CREATE DOMAIN row_domain AS inner_row CHECK ((VALUE).a > 0); CREATE DOMAIN padded AS char(6); \
         CREATE TABLE domains (id positive PRIMARY KEY, v very_positive, l short_list, r row_domain, pa positive[], p padded, pp padded[])",
        r#"INSERT INTO domains VALUES (1, 11, '{a,"b,"}', ROW(1, 'x', NULL), '{1,2,NULL}', 'a', '{b,NULL}'), (2, 2147483647, '{}', NULL, '{}', '', '{}'), (3, 12, NULL, NULL, NULL, NULL, NULL)"#,
    ),
    sample(
        "enums",
        r#"CREATE TYPE mood AS ENUM ('z', 'a', 'M', 'with space', 'it''s', 'q"uote', 'back\slash', '', 'é🦀', '\N', 'NULL', 'comma,{}');
           ALTER TYPE mood ADD VALUE 'first' BEFORE 'z'; CREATE DOMAIN calm AS mood CHECK (VALUE <> 'z');
           CREATE TABLE enums (id int PRIMARY KEY, m mood, ma mood[], c calm); CREATE TABLE enum_keys (m mood PRIMARY KEY, v int)"#,
        r#"INSERT INTO enums SELECT row_number() OVER (), m, ARRAY[m, NULL, m], CASE WHEN m <> 'z' THEN m END FROM unnest(enum_range(NULL::mood)) AS m;
           INSERT INTO enums VALUES (100, NULL, NULL, NULL), (101, 'a', '{}', NULL), (102, 'a', '[0:0]={a}', 'M');
           INSERT INTO enum_keys SELECT m, row_number() OVER () FROM unnest(enum_range(NULL::mood)) AS m"#,
    ),
    since(
        18,
        sample(
            "keys_without_overlaps",
            "CREATE EXTENSION IF NOT EXISTS btree_gist; CREATE TABLE keys_without_overlaps (room int, during daterange, v text, \
             PRIMARY KEY (room, during WITHOUT OVERLAPS))",
            "INSERT INTO keys_without_overlaps SELECT i % 3, daterange('2024-01-01'::date + i * 2, '2024-01-01'::date + i * 2 + 2), 'v' || i FROM generate_series(1, 60) AS i",
        ),
    ),
];
