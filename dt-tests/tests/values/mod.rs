//! The tables of `mysql_values`: each is named for what it holds, and has an `id`.

use dt_tests::servers::Kind::{Mariadb, Mysql};

use crate::copies::Known::{self, Everywhere, To};

/// A table with its rows.
pub struct Values {
    /// Its name.
    pub name: &'static str,
    /// Who knows its types.
    pub known: Known,
    /// What stands between the parentheses of CREATE TABLE.
    pub columns: &'static str,
    /// The same on the target, where it is not the same.
    pub target_columns: Option<&'static str>,
    /// What follows INSERT INTO and the table's name.
    pub rows: &'static str,
}

const fn table(name: &'static str, known: Known, columns: &'static str, rows: &'static str) -> Values {
    Values { name, known, columns, target_columns: None, rows }
}

const fn into(
    target_columns: &'static str,
    name: &'static str,
    known: Known,
    columns: &'static str,
    rows: &'static str,
) -> Values {
    Values { name, known, columns, target_columns: Some(target_columns), rows }
}

/// All tables.
pub static TABLES: &[Values] = &[
    table(
        "integers",
        Everywhere,
        "id int PRIMARY KEY, t tinyint, tu tinyint unsigned, s smallint, su smallint unsigned, m mediumint, \
         mu mediumint unsigned, i int, iu int unsigned, b bigint, bu bigint unsigned, z int(8) unsigned zerofill, \
         o tinyint(1), bo boolean",
        "VALUES (1, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 7, 2, true), \
         (2, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, \
          18446744073709551615, 4294967295, -128, false), \
         (3, 0, 128, 0, 32768, 0, 8388608, 0, 2147483648, 0, 9223372036854775808, 0, 0, NULL), \
         (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ),
    table(
        "id_zero",
        Everywhere,
        "id int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int",
        "VALUES (0, 1), (-5, 2), (7, 3), (2147483647, 4)",
    ),
    table(
        "decimals",
        Everywhere,
        "id int PRIMARY KEY, d decimal(65,30), e decimal(65,0), f decimal(1,1), g decimal(10,2) unsigned",
        "VALUES (1, 99999999999999999999999999999999999.999999999999999999999999999999, \
          99999999999999999999999999999999999999999999999999999999999999999, 0.9, 99999999.99), \
         (2, -99999999999999999999999999999999999.999999999999999999999999999999, \
          -99999999999999999999999999999999999999999999999999999999999999999, -0.9, 0), \
         (3, 0.000000000000000000000000000001, 0, 0.0, 0.01), (4, -0.000000000000000000000000000001, -1, NULL, NULL)",
    ),
    table(
        "floats",
        Everywhere,
        "id int PRIMARY KEY, f float, d double, fd float(10,3), dd double(20,5), fu float unsigned",
        "VALUES (1, 16777216, 9007199254740993, 1234567.125, 123456789012345.12345, 16777215), \
         (2, 16777218, 1.7976931348623157e308, -0.001, -0.00001, 3.402823466e38), \
         (3, 3.402823466e38, -1.7976931348623157e308, 0, 0, 0), (4, -3.402823466e38, 2.2250738585072014e-308, 1, 1, 1), \
         (5, 1.17549435e-38, 4.9e-324, 9999999, 999999999999999, 0.1), (6, 1.4e-45, -4.9e-324, 0.1, 0.1, 1.4e-45), \
         (7, 0, 0, 0, 0, 0), (8, 0.1, 0.1, 0.1, 0.1, 0.1), (9, 0.30000001192, 0.30000000000000004, NULL, NULL, NULL), \
         (10, 1e10, 1e15, 1, 1, 1), (11, 123456.789e3, 1e16, 1, 1, 1), (12, 8388608.5, 1e22, 1, 1, 1), \
         (13, NULL, 123456789012345678, 1, 1, 1), (14, 33554432, 5e-320, 1, 1, 1)",
    ),
    // MariaDB keeps a 0 in its place.
    table("negative_zeros", To(Mysql), "id int PRIMARY KEY, f float, d double", "VALUES (1, -0e0, -0e0), (2, 0, 0)"),
    table(
        "bits",
        Everywhere,
        "id int PRIMARY KEY, b1 bit(1), b7 bit(7), b8 bit(8), b9 bit(9), b16 bit(16), b63 bit(63), b64 bit(64)",
        "VALUES (1, 0, 0, 0, 0, 0, 0, 0), (2, 1, 127, 255, 511, 65535, 9223372036854775807, 18446744073709551615), \
         (3, 1, 0x5c, 0x5c, 0x15c, 0x5c4e, 0x0a, 0x090a0d5c27220a00), (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
         (5, 1, 0x09, 0x0a, 0x27, 0x0a09, 0x5c4e, 0x5c4e), (6, 0, 0x30, 0x31, 0x30, 0x3030, 0x30, 0x31323334)",
    ),
    table(
        "dates",
        Everywhere,
        "id int PRIMARY KEY, d date, dt datetime, dt6 datetime(6), ts timestamp NULL, ts6 timestamp(6) NULL, y year",
        "VALUES (1, '0000-00-00', '0000-00-00', '0000-00-00 00:00:00.000000', '0000-00-00', '0000-00-00', '0000'), \
         (2, '2024-02-31', '2024-02-31 23:59:59', '2024-02-31 23:59:59.999999', '1970-01-01 00:00:01', \
          '1970-01-01 00:00:00.000001' + INTERVAL 1 SECOND, 1901), \
         (3, '9999-12-31', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07', \
          '2038-01-19 03:14:07.999999', 2155), \
         (4, '2024-00-10', '2024-11-00 01:02:03', '0000-00-00 00:00:00.000001', '2024-03-10 02:30:00', \
          '2024-10-27 02:30:00.5', 2000), \
         (5, '1000-01-01', '1000-01-01', '1000-01-01 00:00:00.000001', '2000-01-01', '2000-01-01', 1970), \
         (6, NULL, NULL, NULL, NULL, NULL, NULL), (7, '2023-02-29', '0001-01-01', '2023-04-31', NULL, NULL, 2069)",
    ),
    table(
        "times",
        Everywhere,
        "id int PRIMARY KEY, t time, t3 time(3), t6 time(6)",
        "VALUES (1, '-838:59:59', '-838:59:59', '-838:59:59.000000'), (2, '838:59:59', '838:59:58.999', \
          '838:59:58.999999'), (3, '-00:00:01', '-00:00:00.001', '-00:00:00.000001'), (4, 0, 0, 0), \
         (5, '-12:34:56', '-12:34:56.789', '-12:34:56.789012'), (6, NULL, NULL, NULL), (7, '100:00:00', '24:00:00.5', '-100:00:00.1')",
    ),
    table(
        "texts",
        Everywhere,
        "id int PRIMARY KEY, c char(20), v varchar(60), t text, b blob, vb varbinary(60), bi binary(5), lt longtext",
        r#"VALUES (1, 'trailing   ', 'trailing   ', 'trailing   ', 'trailing   ', 'trailing   ', 'a  ', ' '),
         (2, '', '', '', '', '', '', ''), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
         (4, '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N'), (5, 'N', 'NULL', 'NULL', 'NULL', 'NULL', 'NULL', 'N'),
         (6, '\t\n\r\\', '\t\n\r\\', '\t\n\r\\', '\t\n\r\\', '\t\n\r\\', '\t\n\r\\', '\\'),
         (7, '\'"`', '\'"`%_', '\'"`', '\'"`', '\'"`', '\'"`', ''''), (8, '\0a\0', '\0', '\0\0', '\0', '\0', '\0', '\Z'),
         (9, '🦀é中', '🦀é中', '🦀é中', '🦀é中', '🦀é中', '🦀', '🦀'), (10, '\\t', '\\n', '\\0', '\\\\', '\\', '\\', '\\\n'),
         (11, ' lead', ' lead', '\n', '\n', '\t', '\t', '\t'), (12, '-- x', '/* x', '); DROP TABLE texts;', '#', ';', '?', ':a'),
         (13, 'x', 'x', REPEAT('\\\n\t', 9000), REPEAT('\0\\\n', 9000), 'x', UNHEX('00FF80005C'), REPEAT('é\t', 200000)),
         (14, 'x', 'x', 'x', UNHEX('000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAFB0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEFF0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF'), UNHEX('5C4E'), 'x', 'x')"#,
    ),
    // Characters whose bytes hold a back-slash, a tab, a newline or a quote, and the whole upper half of latin1.
    table(
        "charsets",
        Everywhere,
        "id int PRIMARY KEY, latin varchar(200) CHARACTER SET latin1, gbk varchar(20) CHARACTER SET gbk, \
         big5 char(20) CHARACTER SET big5, ujis varchar(20) CHARACTER SET ujis, sjis text CHARACTER SET sjis, \
         cp932 varchar(20) CHARACTER SET cp932, euckr varchar(20) CHARACTER SET euckr, \
         utf16 varchar(20) CHARACTER SET utf16, ucs2 char(20) CHARACTER SET ucs2, utf32 varchar(20) CHARACTER SET utf32, \
         utf8mb3 varchar(20) CHARACTER SET utf8mb3, koi8r varchar(20) CHARACTER SET koi8r, \
         ascii varchar(20) CHARACTER SET ascii, bin varchar(20) CHARACTER SET binary",
        r#"VALUES (1, _latin1 x'8081828384858687888990919293949596979899A0A1E0E9FCFF', _gbk x'815C875CD6D0905C', _big5 x'A55CA455B35C',
           _ujis x'C6FCCBDC8FB0A1', _sjis x'955C835C8ABF', _cp932 x'955C835C875C', _euckr x'B0A1C7D1', _utf16 x'5C0A0A0A09090027D83EDD80005C',
           _ucs2 x'5C0A0A0A09090027005C', _utf32 x'00005C0A0001F9800000005C', 'é中', _koi8r x'C1C2C3', 'abc', x'00FF5C0A'),
         (2, '', '', '', '', '', '', '', '', '', '', '', '', '', ''),
         (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
         (4, '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N'),
         (5, '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ', '\t\n''  ')"#,
    ),
    table(
        "gb18030",
        To(Mysql),
        "id int PRIMARY KEY, g varchar(20) CHARACTER SET gb18030",
        "VALUES (1, _gb18030 x'815CA1A18139EF30905C'), (2, '🦀'), (3, NULL)",
    ),
    into(
        "id int PRIMARY KEY, latin varchar(200), gbk text, big5 char(20), sjis longtext, utf16 varchar(20), \
         ucs2 varchar(20) CHARACTER SET utf16, utf8mb3 varchar(20) CHARACTER SET utf16, up varchar(20) CHARACTER SET utf8mb3, \
         e enum('é','ü'), s set('é','ü'), en varchar(20)",
        "other_charsets_on_the_target",
        Everywhere,
        "id int PRIMARY KEY, latin varchar(200) CHARACTER SET latin1, gbk text CHARACTER SET gbk, \
         big5 char(20) CHARACTER SET big5, sjis text CHARACTER SET sjis, utf16 varchar(20) CHARACTER SET utf16, \
         ucs2 varchar(20) CHARACTER SET ucs2, utf8mb3 varchar(20) CHARACTER SET utf8mb3, up varchar(20) CHARACTER SET utf8mb4, \
         e enum('é','ü') CHARACTER SET latin1, s set('é','ü') CHARACTER SET latin1, en enum('a,b','') CHARACTER SET latin1",
        r#"VALUES (1, _latin1 x'80E0E9FCFF5C0A09', _gbk x'815C875CD6D0', _big5 x'A55CA455', _sjis x'955C835C', _utf16 x'5C0A0A0AD83EDD80',
           _ucs2 x'5C0A0027', 'é中', 'é中', 'é', 'é,ü', 'a,b'),
         (2, '', '', '', '', '', '', '', '', 'ü', '', ''), (3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
         (4, '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', '\\N', 'é', 'ü', 'a,b')"#,
    ),
    table(
        "enums",
        Everywhere,
        r"id int PRIMARY KEY, e enum('z','a,b','it''s','','\\','NULL','\\N','é','tab	'), l enum('é','ü') CHARACTER SET latin1, g enum('中','文') CHARACTER SET gbk, s set('x y','it''s','\\','é','0'), s64 set('01','02','03','04','05','06','07','08','09','10','11','12','13','14','15','16','17','18','19','20','21','22','23','24','25','26','27','28','29','30','31','32','33','34','35','36','37','38','39','40','41','42','43','44','45','46','47','48','49','50','51','52','53','54','55','56','57','58','59','60','61','62','63','64')",
        "VALUES (1, 1, 1, 1, 0, 0), (2, 2, 2, 2, 1, 18446744073709551615), (3, 3, 1, 1, 31, 9223372036854775809), \
         (4, 4, 1, 1, 2, 1), (5, 5, 1, 1, 4, 2), (6, 6, 1, 1, 8, 3), (7, 7, 1, 1, 16, 3), (8, 8, 1, 1, 3, 3), \
         (9, 9, 1, 1, 5, 5), (10, NULL, NULL, NULL, NULL, NULL)",
    ),
    table(
        "json",
        To(Mysql),
        "id int PRIMARY KEY, j json",
        r#"VALUES (1, '{"max":9223372036854775807,"min":-9223372036854775808,"unsigned":18446744073709551615,"d":1.5,"e":1e300,"tiny":5e-324}'),
         (2, '{"":{},"é🦀":"\\u00e9\\ud83e\\udd80\\u0000\\\\\\"\\t\\n/","nul":null,"deep":[[[[[{"a":[]}]]]]]}'), (3, 'null'), (4, NULL),
         (5, '"\\\\N"'), (6, 'true'), (7, '-0.0'), (8, '[1.0, 0.1, 0.30000000000000004, 1e22, 123456789012345678901234567890]'),
         (9, JSON_ARRAY(REPEAT('long \\ ''', 100000), 'x')), (10, '""'), (11, '{"b":1,"a":2,"aa":3}'), (12, '9007199254740993')"#,
    ),
    into(
        "id int PRIMARY KEY, j longtext, k longtext CHARACTER SET latin1",
        "json_into_text",
        To(Mysql),
        "id int PRIMARY KEY, j json, k json",
        r#"VALUES (1, '{"a": "é🦀\\n"}', '["é"]'), (2, 'null', '"\\\\"'), (3, NULL, NULL)"#,
    ),
    table(
        "json_that_is_text",
        To(Mariadb),
        "id int PRIMARY KEY, j json",
        r#"VALUES (1, '{"b":1,  "a":2.10, "a":3}'), (2, 'null'), (3, NULL), (4, '"\\u00e9🦀\\\\"'), (5, ' [1e5 , 1.0]\n')"#,
    ),
    table(
        "shapes_in_the_plane",
        Everywhere,
        "id int PRIMARY KEY, g geometry, p point, l linestring, po polygon, mp multipoint, ml multilinestring, \
         mpo multipolygon, gc geometrycollection",
        "VALUES (1, ST_GeomFromText('POINT(1.5 -2e-10)'), ST_GeomFromText('POINT(92 10)'), \
          ST_GeomFromText('LINESTRING(0 0,1 1,2 0.1)'), ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 0),(1 1,2 1,2 2,1 1))'), \
          ST_GeomFromText('MULTIPOINT(1 1,2 2)'), ST_GeomFromText('MULTILINESTRING((0 0,1 1),(2 2,3 3))'), \
          ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)),((5 5,6 5,6 6,5 5)))'), \
          ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')), \
         (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL), \
         (3, ST_GeomFromText('LINESTRING(9.2 9.10,92 10)'), NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    ),
    table(
        "shapes_on_the_globe",
        To(Mysql),
        "id int PRIMARY KEY, g geometry, p point NOT NULL SRID 4326, SPATIAL INDEX (p)",
        "VALUES (1, ST_GeomFromText('POINT(10 20)', 3857), ST_GeomFromText('POINT(48.1 -11.6)', 4326)), \
         (2, ST_GeomFromText('POINT(10 20)', 4326), ST_GeomFromText('POINT(-90 180)', 4326)), \
         (3, ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'), ST_GeomFromText('POINT(0 0)', 4326))",
    ),
    table(
        "shapes_with_a_number",
        To(Mariadb),
        "id int PRIMARY KEY, g geometry, p point NOT NULL, SPATIAL INDEX (p)",
        "VALUES (1, ST_GeomFromText('POINT(10 20)', 4326), ST_GeomFromText('POINT(48.1 -11.6)', 4326)), \
         (2, ST_GeomFromText('LINESTRING(10 20,30 40)', 3857), ST_GeomFromText('POINT(0 0)'))",
    ),
    table(
        "vectors",
        To(Mysql),
        "id int PRIMARY KEY, v vector(3), w vector",
        "VALUES (1, STRING_TO_VECTOR('[1,2.5,-3e-10]'), STRING_TO_VECTOR('[1]')), \
         (2, STRING_TO_VECTOR('[0,0,0]'), STRING_TO_VECTOR('[3.4e38,-1.5e-30,16777216]')), (3, NULL, NULL), \
         (4, x'0A095C0A27220D005C4E0A0A', x'5C0A0909')",
    ),
    table(
        "addresses",
        To(Mariadb),
        "id int PRIMARY KEY, u uuid, a inet6, b inet4",
        "VALUES (1, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::ff00:42:8329', '192.0.2.1'), \
         (2, '00000000-0000-0000-0000-000000000000', '::', '0.0.0.0'), \
         (3, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff', '255.255.255.255'), \
         (4, NULL, NULL, NULL), (5, UUID(), '::ffff:1.2.3.4', '9.10.92.39')",
    ),
    into(
        "id int PRIMARY KEY, u char(36), a varchar(39), b varchar(15)",
        "addresses_into_text",
        To(Mariadb),
        "id int PRIMARY KEY, u uuid, a inet6, b inet4",
        "VALUES (1, '123e4567-e89b-12d3-a456-426655440000', '2001:db8::1', '192.0.2.1'), (2, NULL, NULL, NULL)",
    ),
    table(
        "generated_and_hidden",
        Everywhere,
        "id int PRIMARY KEY, g int GENERATED ALWAYS AS (v * 2) VIRTUAL, h varchar(30) GENERATED ALWAYS AS (CONCAT(v, 'x')) STORED, \
         v int NOT NULL, hidden int DEFAULT 7 INVISIBLE, w varchar(9) DEFAULT 'w', UNIQUE (h)",
        "(id, v, hidden, w) VALUES (1, 5, 1, 'a'), (2, -6, NULL, NULL), (3, 7, 7, DEFAULT)",
    ),
    table(
        "defaults_that_are_expressions",
        To(Mysql),
        "id int PRIMARY KEY, u varchar(40) DEFAULT (UUID()), t timestamp(6) DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)",
        "VALUES (1, 'mine', '2001-01-01'), (2, DEFAULT, DEFAULT), (3, NULL, NULL)",
    ),
    table(
        "wide_blobs",
        Everywhere,
        "id int PRIMARY KEY, b longblob, c longblob",
        r"SELECT 1, REPEAT(CONCAT(REPEAT('0123456789', 1000), '\\\n'), 1000), REPEAT(CONCAT(REPEAT('abcde', 2000), '\t\0'), 1000) UNION ALL SELECT 2, '', NULL UNION ALL SELECT 3, REPEAT('x', 600000), REPEAT(x'00FF', 300000)",
    ),
    into(
        "id int PRIMARY KEY, t longtext, d double, f double, i bigint, n decimal(20,0), v varbinary(40), x varchar(40), dt datetime(6)",
        "wider_types_on_the_target",
        Everywhere,
        "id smallint PRIMARY KEY, t tinytext, d float, f float, i int, n bigint unsigned, v varbinary(9), x char(9), dt timestamp(3)",
        "VALUES (1, 'é', 0.5, 16777216, -5, 18446744073709551615, x'00FF', 'a', '2024-05-06 07:08:09.123'), (2, NULL, 0, 0, 0, 0, '', '', '2000-01-01')",
    ),
];
