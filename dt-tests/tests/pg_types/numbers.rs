//! Numbers, money and bits.

use super::{Sample, sample, since};

pub static SAMPLES: &[Sample] = &[
    sample(
        "integers",
        "CREATE TABLE integers (id int PRIMARY KEY, s smallint, i integer, b bigint, o oid, bo boolean)",
        "INSERT INTO integers VALUES (1, -32768, -2147483648, -9223372036854775808, 0, true), \
         (2, 32767, 2147483647, 9223372036854775807, 4294967295, false), (3, 0, 0, 0, 2147483648, NULL), \
         (4, NULL, NULL, NULL, NULL, NULL), (-2147483648, 1, 1, 1, 1, true), (2147483647, 1, 1, 1, 1, true), (0, -1, -1, -1, 1, false)",
    ),
    sample(
        "numerics",
        "CREATE TABLE numerics (id int PRIMARY KEY, n numeric, p numeric(20,10), z numeric(5,0), w numeric(1000,998), \
         neg numeric(5,-3), tiny numeric(3,5))",
        "INSERT INTO numerics VALUES (1, 'NaN', 'NaN', 'NaN', 'NaN', 'NaN', 'NaN'), (2, 'Infinity', NULL, NULL, NULL, NULL, NULL), \
         (3, '-Infinity', NULL, NULL, NULL, NULL, NULL), (4, NULL, NULL, NULL, NULL, NULL, NULL), \
         (5, 1.10, 1.1, 1, 0.1, 12345678, 0.00999), (6, 1.100, -1234567890.0123456789, -99999, -0.1, -99999499, -0.00001), \
         (7, 0, 0, 0, 0, 0, 0), (8, 0.000, 0.0000000001, 0, 0, 499, 0), (9, 1e1000, 1, 1, 1, 1, 0), \
         (10, -1e-1000, 1, 1, 1, 1, 0), (11, 123456789012345678901234567890.123456789012345678901234567890, 1, 1, 1, 1, 0); \
         INSERT INTO numerics (id, n) VALUES (12, repeat('9', 131072)::numeric), (13, ('0.' || repeat('1', 16383))::numeric), \
         (14, 10000), (15, 100000000), (16, 9999), (17, 0.0001), (18, 0.00001)",
    ),
    sample(
        "floats",
        "CREATE TABLE floats (id int PRIMARY KEY, f real, d double precision)",
        "INSERT INTO floats VALUES (1, 'NaN', 'NaN'), (2, 'Infinity', 'Infinity'), (3, '-Infinity', '-Infinity'), (4, '-0', '-0'), \
         (5, 0, 0), (6, NULL, NULL), (7, 3.4028235e38, 1.7976931348623157e308), (8, -3.4028235e38, -1.7976931348623157e308), \
         (9, 1.4e-45, 4.9e-324), (10, 1.17549435e-38, 2.2250738585072014e-308), (11, 16777216, 9007199254740993), \
         (12, 0.1, 0.1), (13, 0.3, 0.30000000000000004), (14, 16777217, 123456789012345678), (15, 1e10, 1e22), \
         (16, 1e-5, 1e-5), (17, 1.00000012, 1.0000000000000002)",
    ),
    sample(
        "moneys",
        "CREATE TABLE moneys (id int PRIMARY KEY, m money)",
        "INSERT INTO moneys VALUES (1, '-92233720368547758.08'), (2, '92233720368547758.07'), (3, '0'), (4, '-0.01'), \
         (5, '1,234.56'), (6, NULL)",
    ),
    sample(
        "bits",
        "CREATE TABLE bits (id int PRIMARY KEY, b1 bit, b8 bit(8), b9 bit(9), b64 bit(64), v bit varying, v5 bit varying(5))",
        "INSERT INTO bits VALUES (1, B'0', B'00000000', B'000000000', 0::bit(64), B'', B''), \
         (2, B'1', B'11111111', B'111111111', (-1)::bit(64), B'1', B'11111'), (3, B'1', B'00001001', B'000001010', 92::bit(64), B'00', B'0'), \
         (4, NULL, NULL, NULL, NULL, NULL, NULL), (5, B'1', X'5c', B'101110010', X'5c4e090a0d27225c', (repeat('10', 40000) || '1')::varbit, B'01')",
    ),
    sample(
        "object_identities",
        "CREATE TABLE object_identities (id int PRIMARY KEY, x xid, x8 xid8, c cid, t tid, l pg_lsn, s pg_snapshot, ts txid_snapshot, u uuid)",
        "INSERT INTO object_identities VALUES (1, '0', '0', '0', '(0,0)', '0/0', '10:20:10,14,15', '10:20:10,14,15', '00000000-0000-0000-0000-000000000000'), \
         (2, '4294967295', '18446744073709551615', '4294967295', '(4294967295,65535)', 'FFFFFFFF/FFFFFFFF', '1:1:', '9:12:9', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), \
         (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (4, '3', '3', '3', '(1,2)', '0/406E2C30', '3:5:4', '3:5:4', '5c4e090a-0d27-225c-5c2e-0a5c2e0a0000')",
    ),
    // What they name has another number on another server.
    sample(
        "object_names",
        "CREATE TYPE \"Named Type\" AS ENUM ('a'); CREATE FUNCTION named_function(int) RETURNS int LANGUAGE sql AS 'SELECT 1'; \
         CREATE TABLE object_names (id int PRIMARY KEY, cl regclass, ty regtype, pr regproc, pd regprocedure, op regoper, \
         od regoperator, ro regrole, ns regnamespace, co regconfig, di regdictionary, cn regcollation)",
        "INSERT INTO object_names VALUES (1, 'integers', '\"Named Type\"', 'named_function', 'named_function(int)', '||/', '+(int4,int4)', \
         'postgres', 'public', 'english', 'simple', '\"C\"'), (2, 'pg_class', 'int4', 'now', 'now()', '|/', '!~(text,text)', 'pg_monitor', \
         'pg_catalog', 'simple', 'english_stem', '\"und-x-icu\"'), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
         (4, 'bits_pkey', 'timestamp with time zone', '-', '-', '0', '0', '-', '-', '-', '-', '-')",
    ),
    sample(
        "grants",
        "CREATE TABLE grants (id int PRIMARY KEY, a aclitem, aa aclitem[])",
        "INSERT INTO grants VALUES (1, 'postgres=r/postgres', '{postgres=arwdDxt/postgres,=r/postgres}'), (2, NULL, '{}'), (3, '=r*/postgres', NULL)",
    ),
    since(
        18,
        sample(
            "uuids_of_version_7",
            "CREATE TABLE uuids_of_version_7 (id uuid DEFAULT uuidv7() PRIMARY KEY, v int)",
            "INSERT INTO uuids_of_version_7 (v) SELECT generate_series(1, 50)",
        ),
    ),
];
