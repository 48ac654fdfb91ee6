//! Texts and bytes, also those that look like the marks of COPY's own formats.

use super::{Sample, sample};

pub static SAMPLES: &[Sample] = &[
    sample(
        "texts",
        "CREATE TABLE texts (id int PRIMARY KEY, t text, v varchar(60), c char(20), u bpchar, n name, r refcursor)",
        r#"INSERT INTO texts VALUES (1, 'trailing   ', 'trailing   ', 'trailing   ', 'trailing   ', 'trailing   ', 'trailing   '),
           (2, '', '', '', '', '', ''), (3, NULL, NULL, NULL, NULL, NULL, NULL),
           (4, '\N', '\N', '\N', '\N', '\N', '\N'), (5, '\.', '\.', '\.', '\.', '\.', '\.'), (6, '\T', '\T', '\T', '\T', '\T', '\T'),
           (7, 'N', 'NULL', 'null', 'NULL', 'NULL', 'N'), (8, E'\\\\N', E'\\\\.', E'\\\\T', E'\\', E'\\\n', E'\\\t'),
           (9, E'\t', E'\n', E'\r', E'\r\n', E'\b\f\v', E'\x01\x7f'), (10, E'a\tb\nc\rd', E'\n\\.\n', E'\n\\.', E'\\.\n', E'\n', E'\n'),
           (11, '🦀é中', '🦀é中', '🦀é中', '🦀é中', '🦀é中', '🦀é中'), (12, '''"`', '''"', '"', '""', '"', '"'),
           (13, '-- x', '/* x', '); DROP TABLE texts;', '#', ';', '?'), (14, ' lead', ' lead', ' lead', ' lead', ' lead', ' lead'),
           (15, '{}', '{"a"}', '(a,b)', '[1,2)', '$1', ':a'), (16, E'\\t', E'\\n', E'\\x41', E'\\101', E'\\b', E'\\\\');
           INSERT INTO texts (id, t, v) SELECT 20, string_agg(chr(i), ''), 'every character of ASCII' FROM generate_series(1, 127) AS i;
           INSERT INTO texts (id, t, u) VALUES (21, repeat(E'\\\n\t', 30000), repeat('\', 20000)), (22, repeat('x', 2000), repeat('é', 9000)),
           (23, repeat(E'\\.\n', 50000), repeat(' ', 300)), (24, (SELECT string_agg(md5(i::text), '') FROM generate_series(1, 9000) AS i), NULL)"#,
    ),
    sample(
        "single_characters",
        "CREATE TABLE single_characters (id int PRIMARY KEY, c \"char\", d char, v varchar(1))",
        r#"INSERT INTO single_characters VALUES (1, '', '', ''), (2, 'a', 'a', 'a'), (3, ' ', ' ', ' '), (4, '\', '\', '\'), (5, E'\n', E'\n', E'\n'),
           (6, E'\t', E'\t', E'\t'), (7, NULL, NULL, NULL), (8, E'\x7f', '🦀', '中'), (9, '"', '"', '"'), (10, '{', ',', '}')"#,
    ),
    sample(
        "bytes",
        "CREATE TABLE bytes (id int PRIMARY KEY, b bytea, c bytea)",
        r"INSERT INTO bytes VALUES (1, '', NULL), (2, '\x00', '\x0000'), (3, '\x5c4e', '\x5c2e0a'), (4, '\x090a0d5c2722', '\x5c78'),
          (5, '\xff80', '\x000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff');
          INSERT INTO bytes SELECT 6, string_agg(sha512(i::text::bytea), ''), decode(repeat('00', 100000), 'hex') FROM generate_series(1, 3000) AS i",
    ),
    sample(
        "wide_values",
        "CREATE TABLE wide_values (id int PRIMARY KEY, t text, b bytea); \
         ALTER TABLE wide_values ALTER t SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL",
        r"INSERT INTO wide_values SELECT 1, repeat(E'0123456789\\\n', 700000), decode(repeat('5c0a00ff', 1000000), 'hex');
          INSERT INTO wide_values VALUES (2, '', NULL), (3, repeat('x', 600000), NULL), (4, NULL, decode(repeat('0a', 500000), 'hex'))",
    ),
    sample(
        "extension_types",
        "CREATE SCHEMA IF NOT EXISTS ext; CREATE EXTENSION IF NOT EXISTS hstore SCHEMA ext; CREATE EXTENSION IF NOT EXISTS citext; \
         CREATE EXTENSION IF NOT EXISTS ltree SCHEMA ext; \
         CREATE TABLE extension_types (id int PRIMARY KEY, h ext.hstore, c citext, l ext.ltree, q ext.lquery, ha ext.hstore[], ca citext[])",
        r#"INSERT INTO extension_types VALUES (1, 'a=>1, b=>NULL', 'MiXed', 'Top.Science.x_1', 'Top.*.x@', '{"a=>1",NULL}', '{A,a}'),
           (2, '', '', '', 'a', '{}', '{}'), (3, NULL, NULL, NULL, NULL, NULL, NULL),
           (4, '"k\"\\"=>"v	\\N", "é"=>"NULL", ""=>""', E'\t\\N', 'a', '*{1,3}.!b|c', '{"\"x y\"=>\"=>\""}', '{"\\N",NULL}')"#,
    ),
    sample(
        "case_blind_keys",
        "CREATE EXTENSION IF NOT EXISTS citext; CREATE TABLE case_blind_keys (k citext PRIMARY KEY, v int)",
        "INSERT INTO case_blind_keys SELECT (ARRAY['a', 'B', 'É', 'z'])[1 + i % 4] || i, i FROM generate_series(1, 40) AS i",
    ),
];
