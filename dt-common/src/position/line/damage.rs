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

/// Which bytes of a line are a value's own: of the time in front, of a number, of a text that is not `type` or `db_type`.
/// There is no checksum, so that such a byte can become another one, and nothing says that it was not so.
fn free_bytes(line: &str) -> Vec<bool> {
    let json = line.find(['{', '"']).expect("a position");
    let mut free: Vec<bool> = line[..json].bytes().map(|byte| byte.is_ascii_digit()).collect();
    let mut rest = &line[json..];
    let mut name = String::new();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let mut strings = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let text = strings.next().expect("a text").expect("a text");
            let end = strings.byte_offset();
            let is_name = rest[end..].starts_with(':');
            let is_free = !is_name && name != "type" && name != "db_type";
            free.extend((0..end).map(|at| is_free && at > 0 && at + 1 < end));
            if is_name {
                name = text;
            }
            rest = &rest[end..];
        } else {
            free.extend(std::iter::repeat_n(first.is_ascii_digit() || first == '-', first.len_utf8()));
            rest = &rest[first.len_utf8()..];
        }
    }
    // Between two numbers of one digit, it makes them one.
    let json = line.as_bytes();
    for at in 1..json.len() - 1 {
        free[at] |= json[at] == b',' && free[at - 1] && free[at + 1] && json[at + 1].is_ascii_digit();
    }
    free
}

#[test]
fn a_changed_byte_outside_of_values_is_an_error_and_never_another_position() {
    let lines = GENERATIONS.iter().flat_map(|file| file.lines()).filter(|line| !line.starts_with("//"));
    for text in lines {
        let whole = Line::parse(text).expect("a line").expect("a position");
        let free = free_bytes(text);
        assert_eq!(free.len(), text.len());
        for at in (0..text.len()).filter(|at| !free[*at]) {
            let old = text.as_bytes()[at];
            for byte in b" \t\0\"/09az{}[]:,\\|".iter().copied().chain((0..8).map(|bit| old ^ (1 << bit))) {
                let mut bytes = text.as_bytes().to_vec();
                bytes[at] = byte;
                let Ok(changed) = String::from_utf8(bytes) else { continue };
                match Line::parse(&changed) {
                    Err(_) => {}
                    Ok(said) => {
                        let said = said.map(|said| (said.rung, said.position));
                        assert_eq!(said.as_ref(), Some(&(whole.rung, whole.position.clone())), "{changed}");
                    }
                }
            }
        }
    }
}
