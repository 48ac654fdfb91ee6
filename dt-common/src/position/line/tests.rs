use super::*;

const DOCUMENTS: &str = include_str!("../../../testdata/positions/documents.log");
const NESTED: &str = include_str!("../../../testdata/positions/nested.log");
const OLDER: &str = include_str!("../../../testdata/positions/older.log");
const OURS: &str = include_str!("../../../testdata/positions/ours.log");

fn lines(file: &str) -> Vec<&str> {
    file.lines().filter(|line| !line.starts_with("//")).collect()
}

fn rewritten(line: &str) -> String {
    Line::parse(line).unwrap_or_else(|error| panic!("{line}: {error}")).expect("a line that says something").to_string()
}

#[test]
fn every_tagged_line_of_the_documents_is_written_as_it_was_read() {
    let (nested, mut tagged): (Vec<&str>, Vec<&str>) =
        lines(DOCUMENTS).into_iter().partition(|line| !line.contains(r#""type":"#));
    assert_eq!(nested.len(), 8);
    // Three bare lines of resume.config are in progress, and are written with the word that says so.
    let bare_in_progress: Vec<&str> =
        tagged.extract_if(.., |line| line.starts_with(r#"{"type":"RdbSnapshot","#)).collect();
    assert_eq!(bare_in_progress.len(), 3);
    for line in &tagged {
        assert_eq!(rewritten(line), *line);
    }
    for line in bare_in_progress {
        assert_eq!(rewritten(line), format!("| current_position | {line}"));
    }
}

#[test]
fn every_nested_line_of_the_documents_is_read() {
    let nested = lines(DOCUMENTS).into_iter().filter(|line| !line.contains(r#""type":"#));
    let written: Vec<String> = nested.map(rewritten).collect();
    assert_eq!(written, lines(NESTED));
}

#[test]
fn every_form_of_older_tools_is_read() {
    for pair in lines(OLDER).chunks(2) {
        assert_eq!(rewritten(pair[0]), pair[1]);
    }
}

#[test]
fn every_form_that_was_ever_written_is_written_again_byte_for_byte() {
    for line in lines(OURS).into_iter().chain(lines(NESTED)) {
        assert_eq!(rewritten(line), line);
    }
}

#[test]
fn blank_lines_and_comments_say_nothing() {
    for line in ["", "  ", "\r\n", "// {\"type\":\"None\"}", "  //"] {
        assert_eq!(Line::parse(line), Ok(None), "{line:?}");
    }
}

#[test]
fn a_line_cut_short_anywhere_is_an_error_and_never_another_position() {
    for line in lines(OURS).into_iter().chain(lines(DOCUMENTS)) {
        for length in 1..line.len() {
            let Some(torn) = line.get(..length) else { continue };
            match Line::parse(torn) {
                Err(_) => {}
                Ok(said) => panic!("{torn:?} was read as {said:?}"),
            }
        }
    }
}

#[test]
fn two_lines_glued_together_are_an_error() {
    let lines = lines(OURS);
    for pair in lines.windows(2) {
        assert!(Line::parse(&format!("{}{}", pair[0], pair[1])).is_err());
        assert!(Line::parse(&format!("{}{}", &pair[0][..40], pair[1])).is_err());
    }
}

#[test]
fn what_is_wrong_with_a_line_is_said() {
    let none = r#"{"type":"None"}"#;
    assert_eq!(Line::parse("yesterday | current_position | x"), Err(LineError::NoStamp));
    assert_eq!(Line::parse(&format!("2024-02-30 00:00:00 | {none}")), Err(LineError::NoStamp));
    assert_eq!(Line::parse(&format!("2024-02-28 00:00:00 | {none}")).map(|line| line.is_some()), Ok(true));
    assert_eq!(Line::parse(&format!("2024-02-28 00:00:00 | some_position | {none}")), Err(LineError::UnknownWord));
    assert!(matches!(Line::parse("2024-02-28 00:00:00 | current_position | "), Err(LineError::Position(_))));
}

#[test]
fn only_a_time_is_a_stamp() {
    for good in ["2024-02-29 23:59:59", "2000-02-29 00:00:00.1", "2024-12-31 00:00:00.123456789"] {
        assert_eq!(Stamp::parse(good).expect(good).as_str(), good);
    }
    for bad in [
        "",
        "2024-02-29",
        "2023-02-29 00:00:00",
        "1900-02-29 00:00:00",
        "2024-13-01 00:00:00",
        "2024-00-01 00:00:00",
        "2024-01-00 00:00:00",
        "2024-01-01 24:00:00",
        "2024-01-01 00:60:00",
        "2024-01-01 00:00:60",
        "2024-01-01T00:00:00",
        "2024-01-01 00:00:00.",
        "2024-01-01 00:00:00.x",
        "2024-01-01 00:00:00.1234567890",
        "+024-01-01 00:00:00",
        "２024-01-01 00:00:0",
    ] {
        assert_eq!(Stamp::parse(bad), None, "{bad}");
    }
}

#[test]
fn stamps_order_as_time_does() {
    let stamp = |text: &str| Stamp::parse(text).expect(text);
    assert!(stamp("2024-01-01 00:00:00") < stamp("2024-01-01 00:00:00.000001"));
    assert!(stamp("2024-01-01 00:00:00.9") < stamp("2024-01-01 00:00:01"));
    assert!(stamp("2023-12-31 23:59:59.999999") < stamp("2024-01-01 00:00:00"));
}
