//! Tables of `mysql_cdc_rows` beside those of `values/`: what only the binlog's form of a row makes awkward. Each has
//! an `id`.

use dt_tests::servers::Kind::{Mariadb, Mysql};

use crate::copies::Known::{self, Everywhere, To};
use crate::values::Values;

const fn table(name: &'static str, known: Known, columns: &'static str, rows: &'static str) -> Values {
    Values { name, known, columns, target_columns: None, rows }
}

/// All of them.
pub static TABLES: &[Values] = &[
    table(
        "padded_numbers",
        Everywhere,
        "id int PRIMARY KEY, t tinyint zerofill, s smallint(2) zerofill, m mediumint(8) zerofill, b bigint zerofill, \
         d decimal(8,3) zerofill, e decimal(20,0) zerofill, f float zerofill, dd double zerofill, df double(12,3) zerofill",
        "VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0), (2, 255, 65535, 16777215, 18446744073709551615, 99999.999, \
         99999999999999999999, 1.5, 1.5, 1.5), (3, 7, 7, 7, 7, 7.007, 7, 1e30, 1e300, 99999999.999), \
         (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (5, 1, 100, 1, 1, 0.1, 1, 0.1, 1e-20, 0.001)",
    ),
    table(
        "doubles",
        Everywhere,
        "id int PRIMARY KEY, d double, f float, r double(30,10), g double(10,0)",
        "VALUES (1, 1e14, 1e14, 1e14, 1e9), (2, 1e15, 1e15, 1e15, 12345), (3, 123456789012345, 9e15, 0.1, 0), \
         (4, 1234567890123456, 1e16, 1234567890.0123456789, 1), (5, 1e-14, 1e-14, 1e-10, 1), (6, 1e-15, 1e-15, -1e-10, -1), \
         (7, 1e-16, 1e-16, 0.3, 1), (8, 0.00001234, 0.00001234, 1.5, 1), (9, 999999999999999.9, 0.001, 2.675, 1), \
         (10, 5.684341886080802e-14, 1.1754943e-38, 33.3333333333, 1), (11, 9.5367431640625e-7, 8.5e10, 1e19, 1), \
         (12, 2.2250738585072011e-308, 3e38, 5e-324, 1), (13, 4.35, 4.35, 4.35, 4), (14, -123.456, -123.456, -123.456, -5)",
    ),
    table(
        "decimals_of_every_width",
        Everywhere,
        "id int PRIMARY KEY, a decimal(1,0), b decimal(2,1), c decimal(9,9), d decimal(10,9), e decimal(18,9), f decimal(19,10), \
         g decimal(30,30), h decimal(65,1), i decimal(38,20)",
        "VALUES (1, 1, 1.2, 0.123456789, 1.123456789, 123456789.123456789, 123456789.0123456789, \
         0.000000000000000000000000000001, 1234567890123456789012345678901234567890123456789012345678901234.5, 100000000000000000.00000000000000000001), \
         (2, -1, -0.1, -0.000000001, -1.000000001, -1, -0.0000000001, -0.1, -1, -1), (3, 0, 0, 0, 0, 0, 0, 0, 0, 0), \
         (4, 9, 9.9, 0.999999999, 9.999999999, 999999999.999999999, 999999999.9999999999, 0.999999999999999999999999999999, 100000000, 1000000000)",
    ),
    table(
        "times_below_zero",
        Everywhere,
        "id int PRIMARY KEY, t0 time, t1 time(1), t2 time(2), t3 time(3), t4 time(4), t5 time(5), t6 time(6)",
        "VALUES (1, '-00:00:01', '-00:00:00.1', '-00:00:00.01', '-00:00:00.001', '-00:00:00.0001', '-00:00:00.00001', '-00:00:00.000001'), \
         (2, '-838:59:59', '-838:59:59.0', '-838:59:58.99', '-01:00:00.5', '-00:00:01.5', '-23:59:59.99999', '-838:59:58.999999'), \
         (3, '838:59:59', '00:00:00.9', '00:00:00.99', '00:00:00.999', '00:00:00.9999', '00:00:00.99999', '00:00:00.999999'), \
         (4, 0, 0, 0, 0, 0, 0, 0), (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
         (6, '-10:00:00', '-10:00:00', '-10:00:00', '-10:00:00', '-10:00:00', '-10:00:00', '-10:00:00')",
    ),
    table(
        "moments",
        Everywhere,
        "id int PRIMARY KEY, y year, d date, t0 timestamp NULL, t1 timestamp(1) NULL, t2 timestamp(2) NULL, t3 timestamp(3) NULL, \
         t6 timestamp(6) NULL, d0 datetime, d1 datetime(1), d3 datetime(3), d4 datetime(4), d6 datetime(6)",
        "VALUES (1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), (2, 1901, '0001-01-01', '1970-01-01 00:00:01', '1970-01-01 00:00:01.9', \
         '2000-02-29 12:34:56.78', '2038-01-19 03:14:07.999', '2024-12-31 23:59:59.000001', '0000-01-01 00:00:00', \
         '9999-12-31 23:59:59.9', '1000-10-10 10:10:10.123', '2024-02-29 01:02:03.4567', '9999-12-31 23:59:59.999999'), \
         (3, 2155, '2024-02-31', '2100-01-01' - INTERVAL 100 YEAR, '2000-01-01', '2000-03-01', '2001-09-09 01:46:40', '2004-02-29', \
         '2024-00-00', '2024-01-00', '0000-00-00 01:02:03', '2024-02-30 00:00:00.1', '1999-12-31'), \
         (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ),
    table(
        "fixed_lengths",
        Everywhere,
        "id int PRIMARY KEY, b1 binary(1), b16 binary(16), b255 binary(255), c1 char(1), c255 char(255), c0 char(0), \
         cb char(10) CHARACTER SET latin1 COLLATE latin1_bin, cu char(10) CHARACTER SET utf16, v0 varchar(0), v256 varbinary(256), \
         v255 varchar(255) CHARACTER SET latin1",
        "VALUES (1, x'00', x'00010000', x'5c0a0900', ' ', 'é  ', '', 'ab  ', 'ab  ', '', x'0000', 'x  '), \
         (2, x'41', x'FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF', REPEAT(x'00', 255), '', REPEAT('🦀', 255), '', '', '', '', REPEAT(x'5C', 256), REPEAT('\\\\', 255)), \
         (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), (4, '', '', '', '', '', '', ' a', ' a', '', '', '')",
    ),
    table(
        "more_columns_than_a_byte_has_bits",
        Everywhere,
        "id int PRIMARY KEY, a int, b int, c int, d int, e int, f int, g int, h int, i int, j int, k int, l int, m int, n int, o int, p int",
        "VALUES (1, NULL, 1, NULL, 2, NULL, 3, NULL, 4, NULL, 5, NULL, 6, NULL, 7, NULL, 8), \
         (2, 1, NULL, 2, NULL, 3, NULL, 4, NULL, 5, NULL, 6, NULL, 7, NULL, 8, NULL), \
         (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ),
    table(
        "choices",
        Everywhere,
        "id int PRIMARY KEY, e enum('a','b') NOT NULL, u enum('é','ü') CHARACTER SET utf16, s set('é','ü','x y') CHARACTER SET utf16, \
         n set('nl\n','tab\t','back\\\\'), l set('é','ü') CHARACTER SET latin1, z set('1','2','3','4','5','6','7','8','9')",
        "VALUES (1, 'a', 'é', 'é,x y', 7, 3, 511), (2, 'b', 'ü', 'ü', 2, 2, 256), (3, 'b', NULL, NULL, NULL, NULL, NULL), (4, 'a', 1, 0, 0, 0, 0)",
    ),
    table(
        "json_of_other_types",
        To(Mysql),
        "id int PRIMARY KEY, j json",
        r#"VALUES (1, JSON_OBJECT('d', CAST('2024-02-29' AS DATE), 't', CAST('-12:34:56.789' AS TIME(6)), 'dt', CAST('2024-02-29 01:02:03.000004' AS DATETIME(6)),
           'ts', TIMESTAMP'2024-01-01 00:00:00', 'n', CAST(1.50 AS DECIMAL(10,2)), 'neg', CAST(-0.001 AS DECIMAL(65,30)), 'b', CAST('x' AS BINARY), 'bit', b'101')),
         (2, CAST(CAST(REPEAT('abc', 100) AS BINARY) AS JSON)), (3, CAST(x'' AS JSON)), (4, CAST(x'00FF' AS JSON)), (5, CAST(CAST(x'000102' AS BINARY(57)) AS JSON)),
         (6, CAST(CAST(x'000102' AS BINARY(58)) AS JSON)), (7, CAST(ST_GeomFromText('POINT(1 2)') AS JSON)), (8, CAST(CAST(12 AS DECIMAL(5,0)) AS JSON)),
         (9, CAST(CAST(99999999999999999999999999999999999.999999999999999999999999999999 AS DECIMAL(65,30)) AS JSON)), (10, CAST(CAST('838:59:59' AS TIME) AS JSON)),
         (11, CAST(CAST('00:00:00' AS TIME) AS JSON)), (12, CAST(YEAR('2024-01-01') AS JSON)), (13, CAST(1=1 AS JSON))"#,
    ),
    table(
        "json_of_every_shape",
        To(Mysql),
        "id int PRIMARY KEY, j json",
        r#"VALUES (1, '[0,1,-1,127,128,-128,-129,32767,32768,-32768,-32769,65535,65536,2147483647,2147483648,-2147483648,-2147483649,4294967295,4294967296,9223372036854775807,9223372036854775808,-9223372036854775808,18446744073709551615,18446744073709551616]'),
         (2, '[1e0,1.5,-0.0,1e14,1e15,1e16,1e-15,1e-16,0.1,123456.789,1e308,2.2250738585072014e-308,100,100.0,-1e5,3.0e20]'),
         (3, '{"bb":1,"a":2,"ccc":3,"B":4,"":5,"é":6,"z\\u0001\\u001f\\b\\f\\r\\n\\t\\\\\\"/":7}'),
         (4, '[]'), (5, '{}'), (6, '[[],{},[[]],null,true,false,""]'),
         (7, (SELECT JSON_ARRAYAGG(x) FROM (WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 900) SELECT CONCAT(x, REPEAT('y', 100), '"') AS x FROM n) AS t)),
         (8, (SELECT JSON_OBJECTAGG(x, y) FROM (WITH RECURSIVE n AS (SELECT 1 AS x, 70000 AS y UNION ALL SELECT x + 1, y + 40000 FROM n WHERE x < 900) SELECT CONCAT(x, REPEAT('y', 100)) AS x, y FROM n) AS t)),
         (9, JSON_ARRAY(REPEAT('a', 127), REPEAT('b', 128), REPEAT('c', 16384))), (10, CONCAT(REPEAT('[', 99), '1', REPEAT(']', 99)))"#,
    ),
    table(
        "virtual_in_the_middle",
        Everywhere,
        "id int PRIMARY KEY, a varchar(9), v varchar(20) GENERATED ALWAYS AS (CONCAT(a, '!')) VIRTUAL, b int, \
         s int GENERATED ALWAYS AS (b + 1) STORED, c varchar(9)",
        "(id, a, b, c) VALUES (1, 'a', 1, 'c'), (2, NULL, NULL, NULL), (3, 'x', 5, '')",
    ),
    table(
        "squeezed",
        To(Mariadb),
        "id int PRIMARY KEY, v varchar(3000) COMPRESSED, vb varbinary(100) COMPRESSED, t text COMPRESSED, b longblob COMPRESSED, tt tinytext COMPRESSED",
        r"VALUES (1, REPEAT('ab\t', 900), 'short', REPEAT('é\\', 9000), REPEAT(x'00FF', 70000), REPEAT('z', 255)), (2, '', '', '', '', ''),
         (3, NULL, NULL, NULL, NULL, NULL), (4, 'x', REPEAT('y', 100), 'x', 'x', 'x')",
    ),
    table(
        "squeezed_a_little",
        To(Mariadb),
        "id int PRIMARY KEY, v varchar(300) COMPRESSED, b blob COMPRESSED",
        r"VALUES (1, REPEAT('ab\t', 60), REPEAT(x'00FF', 120)), (2, 'x', ''), (3, NULL, NULL)",
    ),
    table(
        "years_of_two_digits",
        To(Mariadb),
        "id int PRIMARY KEY, y year(2)",
        "VALUES (1, 0), (2, 24), (3, 99), (4, 69), (5, 70), (6, NULL)",
    ),
    table(
        "more_addresses",
        To(Mariadb),
        "id int PRIMARY KEY, u uuid, a inet6, b inet4",
        "VALUES (1, '123e4567-e89b-12d3-a456-426655440000', '1:0:2:3:4:5:6:7', '1.0.0.0'), \
         (2, '018e4567-e89b-72d3-a456-426655440000', '1:2:3:4:5:6:7:0', '0.0.0.1'), (3, '123e4567-e89b-42d3-0456-426655440000', '::1.2.3.4', '255.0.255.0'), \
         (4, '123e4567-e89b-02d3-a456-426655440000', '1:0:0:2:0:0:0:3', '10.0.0.0'), (5, '123e4567-e89b-52d3-8056-426655440000', '0:0:1::', '1.2.3.0'), \
         (6, '123e4567-e89b-f2d3-ff56-426655440000', '::ffff:0:1', '0.0.0.0'), (7, 'ffffffff-ffff-1fff-bfff-ffffffffff00', '::1', NULL), \
         (8, '00000000-0000-1000-8000-000000000000', 'ffff::', NULL), (9, '00112233-4455-6677-8899-aabbccddeeff', '0:0:0:0:1::', NULL)",
    ),
];
