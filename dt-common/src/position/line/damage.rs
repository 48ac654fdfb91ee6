//! Lines of every generation, damaged: each is an error or a position, and a position is written as it is read again.

use proptest::prelude::*;

use super::*;
use crate::damage::damaged;

/// Every form that was ever written, by us and by others.
const GENERATIONS: [&str; 4] = [
    include_str!("../../../testdata/positions/documents.log"),
    include_str!("../../../testdata/positions/nested.log"),
    include_str!("../../../testdata/positions/older.log"),
    include_str!("../../../testdata/positions/ours.log"),
];

fn check(text: &str) -> Result<(), TestCaseError> {
    // What is wrong is said on one line, whatever stands there.
    let line = match Line::parse(text) {
        Ok(Some(line)) => line,
        Ok(None) => return Ok(()),
        Err(error) => {
            prop_assert!(!error.to_string().is_empty());
            return Ok(());
        }
    };
    let written = line.to_string();
    prop_assert!(!written.contains(['\n', '\r']), "{}", written);
    prop_assert_eq!(Line::parse(&written), Ok(Some(line)), "{}", written);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_damaged_line_is_an_error_or_comes_back_as_it_was_read(
        file in 0..GENERATIONS.len(),
        line in any::<prop::sample::Index>(),
        damages in prop::collection::vec(any::<(u8, u16, u8, u8)>(), 1..4),
    ) {
        let lines: Vec<&str> = GENERATIONS[file].lines().collect();
        let bytes = damaged(lines[line.index(lines.len())].as_bytes(), &damages);
        check(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn any_text_at_all_is_an_error_or_comes_back_as_it_was_read(text in any::<String>()) {
        check(&text)?;
    }

    #[test]
    fn any_json_of_known_fields_is_an_error_or_comes_back_as_it_was_read(
        kind in prop::sample::select(vec!["RdbSnapshot", "RdbSnapshotChunk", "RdbSnapshotSplit", "RdbSnapshotRows",
            "RdbSnapshotFinished", "MysqlCdc", "PgCdc", "MongoCdc", "Redis", "None"]),
        fields in prop::collection::btree_map(
            prop::sample::select(vec!["db_type", "schema", "tb", "order_col", "value", "order_key", "hex", "split",
                "chunk", "rows", "cols", "bounds", "lsn", "timestamp", "slot", "timeline", "server_id",
                "binlog_filename", "next_event_position", "gtid_set", "resume_token", "operation_time",
                "operation_increment", "repl_id", "repl_offset", "now_db_id", "source", "null_keys_done",
                "applied_changes", "applied_filter"]),
            prop::sample::select(vec!["\"mysql\"", "\"\"", "\"0/1\"", "\"ff\"", "0", "1", "-1", "18446744073709551615",
                "18446744073709551616", "1e3", "null", "true", "[]", "{}", "[\"a\"]", "[[\"a\"]]",
                "{\"single\":[\"a\",null]}", "{\"composite\":[[\"a\",\"1\"],[\"b\",null]]}", "\"0123456789abcdef\""]),
            0..10,
        ),
    ) {
        let fields: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
        check(&format!("{{\"type\":\"{kind}\"{fields}}}"))?;
    }
}

#[test]
fn nesting_without_end_is_an_error() {
    for deep in ["[".repeat(100_000), "{\"type\":".repeat(100_000)] {
        assert!(Line::parse(&format!("{{\"type\":{deep}")).is_err());
    }
}
