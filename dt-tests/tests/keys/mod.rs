//! The tables of `mysql_keys`: each is named for its key.

use dt_tests::servers::Kind::{Mariadb, Mysql};

use crate::copies::Known::{self, Everywhere, To};

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
pub struct Keyed {
    /// Its name.
    pub name: &'static str,
    /// Who knows its types.
    pub known: Known,
    /// What stands between the parentheses of CREATE TABLE.
    pub columns: &'static str,
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
    /// The statement that fills it.
    pub fn insert(&self) -> String {
        let Keyed { name, values, rows, .. } = self;
        format!(
            "INSERT INTO {name} WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1) \
             SELECT {values} FROM n"
        )
    }
}

const ROWS: u32 = 300;
const NUMBER: &[(&str, &str)] = &[("k", "CAST(k AS CHAR)")];
const TEXT: &[(&str, &str)] = &[("k", "CONVERT(k USING utf8mb4)")];
const HEX: &[(&str, &str)] = &[("k", "LOWER(HEX(k))")];
const INDEX: &[(&str, &str)] = &[("k", "CAST(CAST(k AS UNSIGNED) AS CHAR)")];
const DOUBLE: &[(&str, &str)] = &[("k", "CAST(k * 1e0 AS CHAR)")];

type Recorded = &'static [(&'static str, &'static str)];

const fn keyed(name: &'static str, columns: &'static str, recorded: Recorded, values: &'static str) -> Keyed {
    Keyed { name, known: Everywhere, columns, identity: Identity::Key, recorded, values, rows: ROWS }
}

const fn of(known: Known, table: Keyed) -> Keyed {
    Keyed { known, ..table }
}

const fn few(rows: u32, table: Keyed) -> Keyed {
    Keyed { rows, ..table }
}

const fn not_null(condition: &'static str, table: Keyed) -> Keyed {
    Keyed { identity: Identity::NotNull(condition), ..table }
}

const fn keyless(name: &'static str, columns: &'static str, values: &'static str) -> Keyed {
    Keyed { name, known: Everywhere, columns, identity: Identity::None, recorded: &[], values, rows: ROWS }
}

/// All tables.
pub static TABLES: &[Keyed] = &[
    keyed("negative_int", "k int PRIMARY KEY, v int", NUMBER, "i * 7919 - 1000000, i"),
    keyed(
        "bigint_extremes",
        "k bigint PRIMARY KEY, v int",
        NUMBER,
        "IF(i % 2, 9223372036854775807 - i, -9223372036854775807 - 1 + i), i",
    ),
    keyed(
        "bigint_unsigned_near_the_top",
        "k bigint unsigned PRIMARY KEY, v int",
        NUMBER,
        "IF(i % 2, 18446744073709551615 - i, 9223372036854775808 - 150 + i), i",
    ),
    keyed("auto_increment_with_a_zero", "k int NOT NULL AUTO_INCREMENT PRIMARY KEY, v int", NUMBER, "i - 5, i"),
    keyed("zerofilled", "k int(8) unsigned zerofill PRIMARY KEY, v int", NUMBER, "i * 3, i"),
    keyed(
        "exact_decimal",
        "k decimal(40,20) PRIMARY KEY, v int",
        NUMBER,
        "(i - 150) * 98765432109876.00000000000000000001 + (i % 3) * 0.00000000000000000001, i",
    ),
    keyed(
        "datetime_with_microseconds",
        "k datetime(6) PRIMARY KEY, v int",
        NUMBER,
        "IF(i = 0, '0000-00-00', IF(i = 1, '2024-02-31 00:00:00.000001', CAST('2020-01-01 00:00:00.999990' AS DATETIME(6)) + INTERVAL i MICROSECOND)), i",
    ),
    keyed(
        "date_with_zero",
        "k date PRIMARY KEY, v int",
        NUMBER,
        "IF(i = 0, '0000-00-00', IF(i = 1, '2024-02-31', IF(i = 2, '2024-00-00', CAST('2024-01-01' AS DATE) + INTERVAL i DAY))), i",
    ),
    keyed(
        "timestamp_utc",
        "k timestamp(6) NOT NULL DEFAULT '2001-01-01' PRIMARY KEY, v int",
        NUMBER,
        "CAST('2024-03-31 00:00:00.5' AS DATETIME(6)) + INTERVAL i * 61 SECOND + INTERVAL i MICROSECOND, i",
    ),
    keyed("time_below_zero", "k time(3) PRIMARY KEY, v int", NUMBER, "SEC_TO_TIME((i - 150) * 12345.678), i"),
    few(256, keyed("year_of_all", "k year PRIMARY KEY, v int", NUMBER, "IF(i = 0, '0000', 1900 + i), i")),
    keyed(
        "varchar_ci",
        "k varchar(40) COLLATE utf8mb4_unicode_ci PRIMARY KEY, v int",
        TEXT,
        r"CONCAT(ELT(1 + i % 9, 'ä', 'a', 'Z', 'z', 'ß', 'É ', '🦀', '''', '\\'), i, IF(i % 3 = 0, '  ', '')), i",
    ),
    keyed(
        "varchar_general_ci",
        "k varchar(40) COLLATE utf8mb4_general_ci PRIMARY KEY, v int",
        TEXT,
        r"CONCAT(ELT(1 + i % 7, 'ä', 'A', '\t', '', '%', '🦀', '\n'), i), i",
    ),
    keyed(
        "varchar_bin",
        "k varchar(40) COLLATE utf8mb4_bin PRIMARY KEY, v int",
        TEXT,
        "CONCAT(ELT(1 + i % 5, 'a', 'A', 'á', 'À', '🦀'), i DIV 5), i",
    ),
    of(
        To(Mysql),
        keyed(
            "varchar_without_padding",
            "k varchar(40) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, v int",
            TEXT,
            "CONCAT('a', i DIV 3, REPEAT(' ', i % 3)), i",
        ),
    ),
    of(
        To(Mariadb),
        keyed(
            "varchar_nopad",
            "k varchar(40) COLLATE utf8mb4_unicode_nopad_ci PRIMARY KEY, v int",
            TEXT,
            "CONCAT('a', i DIV 3, REPEAT(' ', i % 3)), i",
        ),
    ),
    of(
        To(Mysql),
        keyed(
            "varchar_as_cs",
            "k varchar(40) COLLATE utf8mb4_0900_as_cs PRIMARY KEY, v int",
            TEXT,
            "CONCAT(ELT(1 + i % 4, 'a', 'A', 'á', 'À'), i DIV 4), i",
        ),
    ),
    keyed(
        "char_ci",
        "k char(10) COLLATE utf8mb4_unicode_ci PRIMARY KEY, v int",
        TEXT,
        "CONCAT(ELT(1 + i % 4, 'ä', 'B', 'ç', 'd '), i), i",
    ),
    keyed(
        "char_utf8mb3",
        "k char(10) CHARACTER SET utf8mb3 PRIMARY KEY, v int",
        TEXT,
        "CONCAT(ELT(1 + i % 4, 'ä', 'B', '中', 'd '), i), i",
    ),
    keyed(
        "latin1_upper_half",
        "k varchar(9) CHARACTER SET latin1 COLLATE latin1_german1_ci PRIMARY KEY, v int",
        TEXT,
        "CONCAT(CHAR(128 + i % 128 USING latin1), i), i",
    ),
    keyed(
        "gbk_with_backslashes",
        "k varchar(9) CHARACTER SET gbk PRIMARY KEY, v int",
        &[(
            "k",
            "IF(CAST(CONVERT(CONVERT(k USING utf8mb4) USING gbk) AS BINARY) = CAST(k AS BINARY), CONVERT(k USING utf8mb4), LOWER(HEX(k)))",
        )],
        "CONCAT(CONVERT(UNHEX(CONCAT(HEX(129 + i % 100), '5C')) USING gbk), i), i",
    ),
    keyed(
        "big5_with_backslashes",
        "k varchar(9) CHARACTER SET big5 PRIMARY KEY, v int",
        &[(
            "k",
            "IF(CAST(CONVERT(CONVERT(k USING utf8mb4) USING big5) AS BINARY) = CAST(k AS BINARY), CONVERT(k USING utf8mb4), LOWER(HEX(k)))",
        )],
        "CONCAT(CONVERT(UNHEX(CONCAT(HEX(164 + i % 30), '5C')) USING big5), i), i",
    ),
    keyed(
        "sjis_with_backslashes",
        "k varchar(9) CHARACTER SET sjis PRIMARY KEY, v int",
        &[(
            "k",
            "IF(CAST(CONVERT(CONVERT(k USING utf8mb4) USING sjis) AS BINARY) = CAST(k AS BINARY), CONVERT(k USING utf8mb4), LOWER(HEX(k)))",
        )],
        "CONCAT(CONVERT(UNHEX(CONCAT(HEX(137 + i % 15), '5C')) USING sjis), i), i",
    ),
    keyed(
        "ujis",
        "k varchar(9) CHARACTER SET ujis PRIMARY KEY, v int",
        &[(
            "k",
            "IF(CAST(CONVERT(CONVERT(k USING utf8mb4) USING ujis) AS BINARY) = CAST(k AS BINARY), CONVERT(k USING utf8mb4), LOWER(HEX(k)))",
        )],
        "CONCAT(CONVERT(UNHEX(CONCAT(HEX(177 + i % 60), 'A1')) USING ujis), i), i",
    ),
    keyed(
        "utf16",
        "k varchar(9) CHARACTER SET utf16 PRIMARY KEY, v int",
        TEXT,
        "CONCAT(CONVERT('🦀é中' USING utf16), i), i",
    ),
    keyed(
        "ucs2",
        "k char(9) CHARACTER SET ucs2 COLLATE ucs2_bin PRIMARY KEY, v int",
        TEXT,
        "CONCAT(CONVERT(UNHEX(CONCAT('5C', LPAD(HEX(i % 100), 2, '0'))) USING ucs2), i), i",
    ),
    keyed("utf32", "k varchar(9) CHARACTER SET utf32 PRIMARY KEY, v int", TEXT, "CONCAT('🦀\\t', i), i"),
    few(
        256,
        keyed(
            "binary_every_byte",
            "k binary(3) PRIMARY KEY, v int",
            HEX,
            "UNHEX(CONCAT(LPAD(HEX(i), 2, '0'), LPAD(HEX(255 - i), 2, '0'), '00')), i",
        ),
    ),
    keyed(
        "varbinary_with_zeros",
        "k varbinary(8) PRIMARY KEY, v int",
        HEX,
        "CONCAT(UNHEX(LPAD(HEX(i DIV 3), 4, '0')), REPEAT(x'00', i % 3)), i",
    ),
    keyed(
        "blob_of_full_length",
        "k varbinary(700) PRIMARY KEY, v int",
        HEX,
        "CONCAT(REPEAT('x', 600), UNHEX(LPAD(HEX(i), 4, '0'))), i",
    ),
    keyed(
        "long_common_beginning",
        "k varchar(700) COLLATE utf8mb4_bin PRIMARY KEY, v int",
        TEXT,
        "CONCAT(REPEAT('é', 680), LPAD(i, 5, '0')), i",
    ),
    few(
        20,
        keyed(
            "enum_out_of_order",
            "k enum('z','m','a','','10','9','b,c','it''s','é','中','t','s','r','q','p','o','n','l','k','j') PRIMARY KEY, v int",
            INDEX,
            "i + 1, i",
        ),
    ),
    keyed(
        "enum_and_number",
        "k enum('z','m','a') CHARACTER SET latin1, n int, v int, PRIMARY KEY (k, n)",
        &[("k", "CAST(CAST(k AS UNSIGNED) AS CHAR)"), ("n", "CAST(n AS CHAR)")],
        "1 + i % 3, i, i",
    ),
    keyed("set_of_eleven", "k set('z','y','x','w','v','u','t','s','r','q','p') PRIMARY KEY, v int", INDEX, "i * 6, i"),
    keyed(
        "set_of_sixty_four",
        "k set('01','02','03','04','05','06','07','08','09','10','11','12','13','14','15','16','17','18','19','20','21','22','23','24','25','26','27','28','29','30','31','32','33','34','35','36','37','38','39','40','41','42','43','44','45','46','47','48','49','50','51','52','53','54','55','56','57','58','59','60','61','62','63','64') PRIMARY KEY, v int",
        INDEX,
        "CAST(IF(i % 2, 9223372036854775808, 0) + i AS UNSIGNED), i",
    ),
    keyed("bit_sixty_four", "k bit(64) PRIMARY KEY, v int", INDEX, "18446744073709551615 - i * 5, i"),
    keyed("bit_nine", "k bit(9) PRIMARY KEY, v int", INDEX, "i, i"),
    keyed(
        "float_beyond_its_text",
        "k float PRIMARY KEY, v int",
        DOUBLE,
        "ELT(1 + i % 4, 16777216 + 2 * i, i * 1.4012985e-45, -i * 0.3333333e0, -3.4028235e38 / (i + 1)), i",
    ),
    keyed(
        "double_to_the_last_digit",
        "k double PRIMARY KEY, v int",
        NUMBER,
        "CASE i % 4 WHEN 0 THEN i * 4.9406564584124654e-324 WHEN 1 THEN -i / 3e0 WHEN 2 THEN 1.7976931348623157e308 / (i + 1) ELSE 9007199254740992e0 + 2 * i END, i",
    ),
    keyed(
        "composite_of_many_kinds",
        "a varchar(9) COLLATE utf8mb4_unicode_ci, b datetime(3), c bigint unsigned, d varbinary(4), e decimal(5,2), f enum('y','x'), v int, \
         PRIMARY KEY (a, b, c, d, e, f)",
        &[
            ("a", "a"),
            ("b", "CAST(b AS CHAR)"),
            ("c", "CAST(c AS CHAR)"),
            ("d", "LOWER(HEX(d))"),
            ("e", "CAST(e AS CHAR)"),
            ("f", "CAST(CAST(f AS UNSIGNED) AS CHAR)"),
        ],
        "ELT(1 + i % 2, 'é', 'Z '), CAST('2020-01-01' AS DATETIME(3)) + INTERVAL (i DIV 2 % 3) * 1000 MICROSECOND, 18446744073709551615 - i DIV 6 % 3, \
         UNHEX(LPAD(HEX(i DIV 18 % 3), 4, '0')), (i DIV 54 % 3) / 4, 1 + i DIV 162, i",
    ),
    not_null(
        "a IS NOT NULL AND b IS NOT NULL",
        keyed(
            "composite_with_nulls",
            "a int, b varchar(9), v int, UNIQUE u (a, b)",
            &[("a", "CAST(a AS CHAR)"), ("b", "b")],
            "IF(i % 7 = 0, NULL, i % 20), IF(i % 11 = 0, NULL, CONCAT('b', i)), i",
        ),
    ),
    not_null(
        "k IS NOT NULL",
        keyed("unique_with_many_nulls", "k int, v int, UNIQUE u (k)", NUMBER, "IF(i % 3 = 0, NULL, -i), i"),
    ),
    not_null(
        "k IS NOT NULL",
        keyed(
            "unique_text_with_nulls",
            "k varchar(9), v int, UNIQUE u (k)",
            TEXT,
            "IF(i % 5 = 0, NULL, CONCAT('x', i)), i",
        ),
    ),
    keyed(
        "best_of_several_keys",
        "wide varchar(30) NOT NULL, n int, k int NOT NULL, v int NOT NULL, UNIQUE (wide, v), UNIQUE (n), UNIQUE (k)",
        NUMBER,
        "CONCAT('w', i), IF(i % 2, NULL, i), 1000 - i, i % 7",
    ),
    keyed(
        "primary_and_unique",
        "k int PRIMARY KEY, u varchar(9) NOT NULL, w int, v int, UNIQUE (u), UNIQUE (w, v)",
        NUMBER,
        "i, CONCAT('u', 999 - i), IF(i % 2, NULL, 1), i",
    ),
    keyed("only_a_key", "k int PRIMARY KEY", NUMBER, "i * 2"),
    keyed(
        "partitioned",
        "k int, p int, v int, PRIMARY KEY (k, p)) PARTITION BY HASH (p",
        &[("k", "CAST(k AS CHAR)"), ("p", "CAST(p AS CHAR)")],
        "i DIV 3, i % 3, i",
    ),
    of(
        To(Mysql),
        keyed(
            "descending",
            "k int, s varchar(9), v int, PRIMARY KEY (k DESC, s DESC)",
            &[("k", "CAST(k AS CHAR)"), ("s", "s")],
            "i DIV 3, i, i",
        ),
    ),
    // Sorted anew for each page, so that the slowed run takes its time for the first: few rows, not waited for.
    of(
        To(Mysql),
        few(
            150,
            keyed(
                "descending_and_ascending",
                "k int, s varchar(9), v int, PRIMARY KEY (k DESC, s ASC)",
                &[("k", "CAST(k AS CHAR)"), ("s", "s")],
                "i DIV 3, i, i",
            ),
        ),
    ),
    of(
        To(Mariadb),
        keyed(
            "uuid",
            "k uuid PRIMARY KEY, v int",
            NUMBER,
            "CONCAT(LPAD(HEX(i * 7919 % 65536), 8, '0'), '-', LPAD(HEX(i), 4, '0'), '-1', LPAD(HEX(i * 31 % 4096), 3, '0'), '-8000-', LPAD(HEX(i), 12, 'f')), i",
        ),
    ),
    of(
        To(Mariadb),
        keyed("inet6", "k inet6 PRIMARY KEY, v int", NUMBER, "CONCAT('2001:db8::', HEX(i * 219 % 65536)), i"),
    ),
    of(
        To(Mariadb),
        keyed(
            "inet4",
            "k inet4 PRIMARY KEY, v int",
            NUMBER,
            "CONCAT(i % 256, '.', 255 - i % 200, '.0.', i DIV 100), i",
        ),
    ),
    // Not keys: what is unique is a part of the value, an expression, or hidden from the optimizer.
    keyless("unique_prefix", "k varchar(30) NOT NULL, v int, UNIQUE (k(5))", "CONCAT(LPAD(i, 5, '0'), 'x'), i"),
    of(To(Mysql), keyless("unique_expression", "k int NOT NULL, v int, UNIQUE ((k * 2))", "i, i")),
    of(To(Mysql), keyless("unique_invisible", "k int, v int, UNIQUE u (k) INVISIBLE", "i, i")),
    of(To(Mariadb), keyless("unique_ignored", "k int, v int, UNIQUE u (k) IGNORED", "i, i")),
    of(To(Mariadb), keyless("unique_hash", "k text NOT NULL, v int, UNIQUE u (k)", "CONCAT(REPEAT('x', 2000), i), i")),
    keyless(
        "unique_generated",
        "k int NOT NULL, g int GENERATED ALWAYS AS (k + 1) STORED INVISIBLE, v int, UNIQUE u (g)",
        "i, i",
    ),
    keyless("no_key_and_duplicates", "k int, v varchar(9)", "i % 10, IF(i % 4 = 0, NULL, 'x')"),
];
