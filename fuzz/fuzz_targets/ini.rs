//! Any text as a task's file: a task, or a list of what is wrong with it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match dt_common::config::parse(text) {
        Ok(parsed) => assert!(!parsed.config.task_id().is_empty(), "a task has a name"),
        Err(problems) => assert!(!problems.to_string().is_empty(), "what is wrong is said"),
    }
});
