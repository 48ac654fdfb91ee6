//! Any text as lines of position.log: each is a position or an error, and what is a position is written and read again
//! as the same one, on one line.
#![no_main]

use dt_common::position::line::Line;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for text in text.lines() {
        let Ok(Some(line)) = Line::parse(text) else { continue };
        let written = line.to_string();
        assert!(!written.contains(['\n', '\r']), "a line of its own");
        assert_eq!(Line::parse(&written), Ok(Some(line)), "the same position");
    }
});
